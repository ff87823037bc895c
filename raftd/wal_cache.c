/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/wal_cache.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

void wal_cache_init(struct wal_cache *c, size_t max_bytes, uint64_t next)
{
	*c = (struct wal_cache){.max_bytes = max_bytes, .first = next, .stable = next};
}

static struct wal_cached *row(const struct wal_cache *c, uint64_t index)
{
	CHECK(index >= c->first && index - c->first < c->n);
	return &c->ring[index & (c->cap - 1)];
}

static size_t cost(const struct wal_cached *e)
{
	return e->len + sizeof *e;
}

static void drop(struct wal_cache *c, uint64_t index)
{
	struct wal_cached *e = row(c, index);

	c->bytes -= cost(e);
	free(e->data);
	e->data = NULL;
}

static void drop_oldest(struct wal_cache *c)
{
	drop(c, c->first);
	c->first++;
	c->n--;
}

void wal_cache_free(struct wal_cache *c)
{
	while (c->n > 0)
		drop_oldest(c);
	free(c->ring);
	*c = (struct wal_cache){0};
}

static void grow(struct wal_cache *c)
{
	size_t cap = c->cap ? c->cap * 2 : 256;
	struct wal_cached *ring = mem_array(cap, sizeof *ring);

	for (uint64_t i = c->first; i < c->first + c->n; i++)
		ring[i & (cap - 1)] = *row(c, i);
	free(c->ring);
	c->ring = ring;
	c->cap = cap;
}

void wal_cache_add(struct wal_cache *c, uint64_t index, uint64_t term, uint8_t kind,
		   struct bytes payload)
{
	struct wal_cached *e;

	CHECK(index == c->first + c->n);
	if (c->n == c->cap)
		grow(c);
	c->n++;
	e = row(c, index);
	*e = (struct wal_cached){.term = term, .len = (uint32_t)payload.len, .kind = kind};
	if (payload.len > 0)
		e->data = mem_dup(payload.data, payload.len);
	c->bytes += cost(e);
}

void wal_cache_truncate(struct wal_cache *c, uint64_t from)
{
	while (c->n > 0 && c->first + c->n > from) {
		drop(c, c->first + c->n - 1);
		c->n--;
	}
	if (c->first > from)
		c->first = from;
	if (c->stable > from)
		c->stable = from;
}

void wal_cache_reset(struct wal_cache *c, uint64_t next)
{
	while (c->n > 0)
		drop_oldest(c);
	c->first = next;
	c->stable = next;
}

void wal_cache_cut(struct wal_cache *c, uint64_t first)
{
	while (c->n > 0 && c->first < first)
		drop_oldest(c);
	if (c->first < first)
		c->first = first;
	if (c->stable < first)
		c->stable = first;
}

void wal_cache_stable(struct wal_cache *c, uint64_t next)
{
	if (next > c->stable)
		c->stable = next;
	CHECK(c->stable <= c->first + c->n);
	while (c->bytes > c->max_bytes && c->first < c->stable)
		drop_oldest(c);
}

struct wal_entry wal_cache_get(const struct wal_cache *c, uint64_t index)
{
	const struct wal_cached *e = row(c, index);

	return (struct wal_entry){index, e->term, e->kind, {e->data, e->len}};
}
