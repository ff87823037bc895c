/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sparse index of the durable log: where on disk an entry is, or a place not far before it
 * from which one can read on to it. Bounded: when there are too many points, those that are close
 * to their neighbours go and the spacing doubles.
 *
 * Points ascend in index and in place. A `jump` point is where reading on from the point before
 * does not lead (a new segment, or the first entry after a truncation): it stays.
 */
#ifndef QUORATE_WAL_POINTS_H
#define QUORATE_WAL_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wal_point {
	uint64_t index;
	uint64_t segment;
	uint32_t offset;     /* of the ENTRY record */
	uint32_t before;     /* checksum of the record before it */
	bool jump;
};

struct wal_points {
	struct wal_point *v;
	size_t n, cap;
	size_t limit;        /* thinned out above this */
	uint32_t spacing;    /* bytes between points of one stretch, at least */
};

#define WAL_POINT_SPACING 65536u

void wal_points_init(struct wal_points *p, size_t limit);
void wal_points_free(struct wal_points *p);
void wal_points_add(struct wal_points *p, const struct wal_point *point);   /* unless too close */
/* drops those of entries >= from */
void wal_points_truncate(struct wal_points *p, uint64_t from);
void wal_points_cut(struct wal_points *p, uint64_t segment);     /* drops those in older segments */

/* The last point at or before `index`, or NULL. */
const struct wal_point *wal_points_find(const struct wal_points *p, uint64_t index);
/* The first jump behind `point`: reading on ends before its index. UINT64_MAX if there is none. */
uint64_t wal_points_jump_after(const struct wal_points *p, const struct wal_point *point);

#endif
