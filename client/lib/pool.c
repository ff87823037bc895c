/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/pool.h"

#include <stdalign.h>
#include <stdlib.h>

enum { POOL_CHUNK_MIN = 512, POOL_CHUNK_MAX = 256 * 1024, POOL_ALIGN = alignof(max_align_t) };

struct pool_chunk {
	struct pool_chunk *next;
	size_t size, used;
	_Alignas(max_align_t) unsigned char data[];
};

static size_t pool_round(size_t size)
{
	return (size + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
}

static struct pool_chunk *pool_chunk(struct pool_chunk *next, size_t size)
{
	struct pool_chunk *c = malloc(sizeof *c + size);

	if (c != NULL) {
		c->next = next;
		c->size = size;
		c->used = 0;
	}
	return c;
}

static void *pool_take(struct pool_chunk *c, size_t size)
{
	void *p = c->data + c->used;

	c->used += size;
	memset(p, 0, size);
	return p;
}

void *pool_make(size_t size, size_t more, size_t max)
{
	struct pool_chunk *c;
	struct pool *p;

	size = pool_round(size);
	c = pool_chunk(NULL, size + pool_round(more));
	if (c == NULL)
		return NULL;
	p = pool_take(c, size);
	p->chunks = c;
	p->max = max;
	return p;
}

void pool_drop(void *made)
{
	struct pool_chunk *c = made != NULL ? ((struct pool *)made)->chunks : NULL, *next;

	for (; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
}

void *pool_alloc(struct pool *p, size_t n, size_t size)
{
	struct pool_chunk *c = p->chunks;
	size_t room = c->size * 2;

	if (size != 0 && n > SIZE_MAX / 2 / size)
		return NULL;
	size = pool_round(n * size);
	if (size > p->max || p->used > p->max - size) {
		p->over = true;
		return NULL;
	}
	if (c->size - c->used < size) {
		room = room < POOL_CHUNK_MIN ? POOL_CHUNK_MIN : room > POOL_CHUNK_MAX ? POOL_CHUNK_MAX : room;
		c = pool_chunk(c, room < size ? size : room);
		if (c == NULL)
			return NULL;
		p->chunks = c;
	}
	p->used += size;
	return pool_take(c, size);
}

bool pool_bytes(struct pool *p, struct bytes from, struct quorate_bytes *to)
{
	void *copy;

	*to = (struct quorate_bytes){NULL, 0};
	if (from.len == 0)
		return true;
	copy = pool_alloc(p, 1, from.len);
	if (copy == NULL)
		return false;
	memcpy(copy, from.data, from.len);
	*to = (struct quorate_bytes){copy, from.len};
	return true;
}

const char *pool_str(struct pool *p, struct bytes from)
{
	char *copy = pool_alloc(p, 1, from.len + 1);

	if (copy != NULL && from.len > 0)
		memcpy(copy, from.data, from.len);
	return copy;
}
