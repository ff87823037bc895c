/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newest entries in memory: a ring of copies whose indexes run without a gap up to the log's
 * last entry. Entries that are not on disk yet can only be read from here, so they never go.
 */
#ifndef QUORATE_WAL_CACHE_H
#define QUORATE_WAL_CACHE_H

#include "raftd/wal.h"

struct wal_cached {
	uint64_t term;
	uint8_t *data;       /* NULL if len is 0 */
	uint32_t len;
	uint8_t kind;
};

struct wal_cache {
	struct wal_cached *ring;
	size_t cap;          /* a power of two, or 0 */
	size_t n;
	uint64_t first;      /* index of the oldest; entry i is in ring[i % cap] */
	size_t bytes;        /* payloads and their rows */
	size_t max_bytes;
	uint64_t stable;     /* entries below are on disk and may go */
};

void wal_cache_init(struct wal_cache *c, size_t max_bytes, uint64_t next);
void wal_cache_free(struct wal_cache *c);
void wal_cache_add(struct wal_cache *c, uint64_t index, uint64_t term, uint8_t kind,
		   struct bytes payload);
void wal_cache_truncate(struct wal_cache *c, uint64_t from);   /* the next entry is `from` */
void wal_cache_reset(struct wal_cache *c, uint64_t next);
void wal_cache_cut(struct wal_cache *c, uint64_t first);       /* drops entries below first */
/* Entries below `next` are on disk; lets the oldest of them go until the rest fits. */
void wal_cache_stable(struct wal_cache *c, uint64_t next);
/* first <= index < first + n */
struct wal_entry wal_cache_get(const struct wal_cache *c, uint64_t index);

#endif
