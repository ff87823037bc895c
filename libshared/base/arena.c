/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_CHUNK = 8192, ARENA_ALIGN = 16 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	_Alignas(ARENA_ALIGN) unsigned char data[];
};

void arena_init(struct arena *a, size_t max)
{
	*a = (struct arena){.max = max};
}

static struct arena_chunk *arena_grow(struct arena *a, size_t size)
{
	size_t least = a->chunk != 0 ? a->chunk : ARENA_CHUNK, room = size > least ? size : least;
	struct arena_chunk *c = malloc(sizeof *c + room);

	if (c == NULL)
		return NULL;
	c->size = room;
	c->used = 0;
	c->next = a->chunks;
	a->chunks = c;
	return c;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_chunk *c = a->chunks;
	void *p;

	if (size > a->max || a->used > a->max - size)
		return NULL;
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (c == NULL || c->size - c->used < size)
		c = arena_grow(a, size);
	if (c == NULL)
		return NULL;
	p = c->data + c->used;
	c->used += size;
	a->used += size;
	memset(p, 0, size);
	return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	if (size != 0 && n > SIZE_MAX / 2 / size)
		return NULL;
	return arena_alloc(a, n * size);
}

size_t arena_bytes(const struct arena *a)
{
	size_t n = 0;

	for (const struct arena_chunk *c = a->chunks; c != NULL; c = c->next)
		n += sizeof *c + c->size;
	return n;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *c = a->chunks, *next;

	while (c != NULL && c->next != NULL) {
		next = c->next;
		free(c);
		c = next;
	}
	if (c != NULL && c->size > ARENA_CHUNK) {   /* a giant is not kept for the next small one */
		free(c);
		c = NULL;
	}
	if (c != NULL)
		c->used = 0;
	a->chunks = c;
	a->used = 0;
}

void arena_free(struct arena *a)
{
	struct arena_chunk *next;

	for (struct arena_chunk *c = a->chunks; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	a->chunks = NULL;
	a->used = 0;
}
