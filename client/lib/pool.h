/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for one thing that is handed out whole and freed whole: a result, a batch of events.
 * Unlike base/arena.h its chunks begin small, since a client may keep thousands of results.
 */
#ifndef QUORATE_LIB_POOL_H
#define QUORATE_LIB_POOL_H

#include <stddef.h>

#include "base/buf.h"
#include "client/quorate.h"

struct pool_chunk;

struct pool {
	struct pool_chunk *chunks;     /* newest first */
	size_t used, max;              /* bytes handed out; asking for more fails */
	bool over;                     /* ...and this says that it was not memory that ran out */
};

/*
 * A struct of `size` bytes, zeroed, with a pool of its own that begins with a struct pool, in which
 * room for `more` bytes is made at once. NULL: out of memory.
 */
void *pool_make(size_t size, size_t more, size_t max);
void pool_drop(void *made);            /* of pool_make(); NULL is fine */

/* Zeroed, aligned for anything; NULL: out of memory, or over the limit. */
void *pool_alloc(struct pool *p, size_t n, size_t size);
/* A copy; false: as above. An empty one is {NULL, 0}. */
bool pool_bytes(struct pool *p, struct bytes from, struct quorate_bytes *to);
/* As a C string; NULL: as above. */
const char *pool_str(struct pool *p, struct bytes from);

#endif
