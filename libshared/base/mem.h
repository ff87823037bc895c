/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for the daemons: never NULL. Without memory a daemon cannot keep its promises, and a
 * daemon may die at any moment, so it says so and dies. The client library does not use this.
 */
#ifndef QUORATE_MEM_H
#define QUORATE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                    /* zeroed */
void *mem_array(size_t n, size_t size);          /* zeroed, overflow checked */
void *mem_grow(void *p, size_t n, size_t size);  /* realloc to n elements; new room is not zeroed */
void *mem_dup(const void *p, size_t size);
char *mem_strdup(const char *s);
void mem_free(void *p);                           /* NULL is fine */

#endif
