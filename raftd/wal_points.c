/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/wal_points.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void wal_points_init(struct wal_points *p, size_t limit)
{
	CHECK(limit > 0);
	*p = (struct wal_points){.limit = limit, .spacing = WAL_POINT_SPACING};
}

void wal_points_free(struct wal_points *p)
{
	free(p->v);
	*p = (struct wal_points){.limit = p->limit, .spacing = WAL_POINT_SPACING};
}

static bool wanted(const struct wal_points *p, const struct wal_point *point)
{
	const struct wal_point *last = p->n ? &p->v[p->n - 1] : NULL;

	return last == NULL || point->jump || point->offset - last->offset >= p->spacing;
}

/*
 * An entry is less than spacing behind its point when the point is chosen; dropping that point for
 * an older one less than twice the spacing away keeps every entry within twice the new spacing.
 */
static void thin_out(struct wal_points *p)
{
	size_t n = p->n;

	p->spacing *= 2;
	p->n = 0;
	for (size_t i = 0; i < n; i++) {
		struct wal_point point = p->v[i];

		if (wanted(p, &point))
			p->v[p->n++] = point;
	}
}

void wal_points_add(struct wal_points *p, const struct wal_point *point)
{
	const struct wal_point *last = p->n ? &p->v[p->n - 1] : NULL;

	CHECK(last == NULL || (last->index < point->index && last->segment <= point->segment));
	CHECK(last == NULL || point->jump || (last->segment == point->segment &&
					      last->offset < point->offset));
	if (!wanted(p, point))
		return;
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 64;
		p->v = mem_grow(p->v, p->cap, sizeof *p->v);
	}
	p->v[p->n++] = *point;
	while (p->n > p->limit && p->spacing < UINT32_MAX / 4)
		thin_out(p);
}

/* How many points are at or before `index`. */
static size_t count_upto(const struct wal_points *p, uint64_t index)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->v[mid].index <= index)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void wal_points_truncate(struct wal_points *p, uint64_t from)
{
	p->n = from == 0 ? 0 : count_upto(p, from - 1);
}

void wal_points_cut(struct wal_points *p, uint64_t segment)
{
	size_t drop = 0;

	while (drop < p->n && p->v[drop].segment < segment)
		drop++;
	p->n -= drop;
	if (drop > 0 && p->n > 0)
		memmove(p->v, p->v + drop, p->n * sizeof *p->v);
}

const struct wal_point *wal_points_find(const struct wal_points *p, uint64_t index)
{
	size_t n = count_upto(p, index);

	return n ? &p->v[n - 1] : NULL;
}

uint64_t wal_points_jump_after(const struct wal_points *p, const struct wal_point *point)
{
	for (const struct wal_point *q = point + 1; q < p->v + p->n; q++)
		if (q->jump)
			return q->index;
	return UINT64_MAX;
}
