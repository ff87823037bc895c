/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static void *mem_check(void *p, size_t size)
{
	if (p == NULL)
		fatal("give the machine more memory or lower the limits", "no memory for %zu bytes", size);
	return p;
}

void *mem_alloc(size_t size)
{
	return mem_array(1, size);
}

void *mem_array(size_t n, size_t size)
{
	CHECK(size != 0 && n <= SIZE_MAX / 2 / size);
	return mem_check(calloc(n ? n : 1, size), n * size);
}

void *mem_grow(void *p, size_t n, size_t size)
{
	CHECK(n != 0 && size != 0 && n <= SIZE_MAX / 2 / size);
	return mem_check(realloc(p, n * size), n * size);
}

void *mem_dup(const void *p, size_t size)
{
	void *q = mem_check(malloc(size ? size : 1), size);

	if (size)
		memcpy(q, p, size);
	return q;
}

char *mem_strdup(const char *s)
{
	return mem_dup(s, strlen(s) + 1);
}

void mem_free(void *p)
{
	free(p);
}
