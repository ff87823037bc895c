/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bump allocator with a limit, for what is decoded from one message and freed with it.
 * Decoded bytes point into the message; only lists and optional parts live here.
 */
#ifndef QUORATE_ARENA_H
#define QUORATE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;   /* newest first */
	size_t used;                  /* bytes handed out since the last reset */
	size_t max;                   /* handing out more fails */
	size_t chunk;                 /* taken from the system at a time, at least; 0: 8 KiB */
};

void arena_init(struct arena *a, size_t max);
void *arena_alloc(struct arena *a, size_t size);           /* zeroed, 16-byte aligned; NULL over max */
void *arena_array(struct arena *a, size_t n, size_t size); /* as above, overflow checked */
size_t arena_bytes(const struct arena *a);                 /* taken from the system */
void arena_reset(struct arena *a);                         /* forgets all, keeps one chunk */
void arena_free(struct arena *a);

#endif
