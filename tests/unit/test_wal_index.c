/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log's three small tables in memory: terms (wal_state), places (wal_points), entries
 * (wal_cache).
 */
#include "raftd/wal_cache.h"
#include "raftd/wal_points.h"
#include "raftd/wal_state.h"
#include "tests/lib/tap.h"

#include <string.h>

TEST(terms_are_kept_as_runs)
{
	struct wal_state s;

	wal_state_init(&s);
	for (uint64_t i = 1; i <= 100; i++)
		OK(wal_state_entry(&s, i, 1 + i / 40) == NULL);
	EQ_INT(s.nruns, 3);
	EQ_INT(wal_state_term(&s, 0), 0);
	EQ_INT(wal_state_term(&s, 39), 1);
	EQ_INT(wal_state_term(&s, 40), 2);
	EQ_INT(wal_state_term(&s, 100), 3);
	OK(wal_state_truncate(&s, 60, 2) == NULL);
	EQ_INT(s.last, 59);
	EQ_INT(s.nruns, 2);
	wal_state_cut(&s, 50);
	EQ_INT(s.first, 50);
	EQ_INT(s.prev_term, 2);
	EQ_INT(s.nruns, 1);
	EQ_INT(s.runs[0].first_index, 50);
	wal_state_cut(&s, 60);
	EQ_INT(s.nruns, 0);
	EQ_INT(wal_state_term(&s, 59), 2);
	OK(wal_state_reset(&s, 500, 7) == NULL);
	EQ_INT(s.first, 501);
	EQ_INT(wal_state_term(&s, 500), 7);
	wal_state_free(&s);
}

TEST(what_no_log_may_say_is_refused_and_changes_nothing)
{
	struct wal_state s;

	wal_state_init(&s);
	OK(wal_state_hard(&s, (struct wal_hard_state){5, 1}) == NULL);
	OK(wal_state_hard(&s, (struct wal_hard_state){4, 1}) != NULL);
	OK(wal_state_entry(&s, 1, 5) == NULL);
	OK(wal_state_entry(&s, 1, 5) != NULL);
	OK(wal_state_entry(&s, 3, 5) != NULL);
	OK(wal_state_entry(&s, 2, 4) != NULL);
	OK(wal_state_entry(&s, 2, 6) == NULL);
	OK(wal_state_truncate(&s, 3, 6) != NULL);
	OK(wal_state_truncate(&s, 0, 0) != NULL);
	OK(wal_state_truncate(&s, 2, 6) != NULL);   /* entry 1 has term 5 */
	OK(wal_state_reset(&s, UINT64_MAX, 1) != NULL);
	EQ_INT(s.hard.term, 5);
	EQ_INT(s.last, 2);
	EQ_INT(s.nruns, 2);
	OK(wal_state_truncate(&s, 1, 0) == NULL);   /* the whole log: it begins there anew */
	EQ_INT(s.last, 0);
	EQ_INT(s.first, 1);
	wal_state_free(&s);
}

/* Entry i lies at offset 4096 + 100 * i of segment 1; every one is offered as a point. */
static void fill_points(struct wal_points *p, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i <= to; i++)
		wal_points_add(p, &(struct wal_point){i, 1, (uint32_t)(4096 + 100 * i), 0,
						      i == from});
}

TEST(points_are_sparse_and_the_nearest_is_found)
{
	struct wal_points p;

	wal_points_init(&p, 1000);
	fill_points(&p, 1, 10000);
	OK(p.n >= 15 && p.n <= 17);
	OK(wal_points_find(&p, 0) == NULL);
	for (uint64_t i = 1; i <= 10000; i++) {
		const struct wal_point *q = wal_points_find(&p, i);

		OK(q != NULL && q->index <= i && (i - q->index) * 100 < 2 * WAL_POINT_SPACING);
	}
	wal_points_free(&p);
}

TEST(too_many_points_are_thinned_out)
{
	struct wal_points p;

	wal_points_init(&p, 8);
	fill_points(&p, 1, 100000);
	OK(p.n <= 8);
	for (uint64_t i = 1; i <= 100000; i++) {
		const struct wal_point *q = wal_points_find(&p, i);

		OK(q != NULL && q->index <= i && (i - q->index) * 100 < 2 * (uint64_t)p.spacing);
	}
	wal_points_free(&p);
}

TEST(jumps_bound_a_stretch)
{
	struct wal_points p;

	wal_points_init(&p, 1000);
	fill_points(&p, 1, 3000);
	wal_points_truncate(&p, 2001);
	wal_points_add(&p, &(struct wal_point){2001, 1, 500000, 0, true});
	wal_points_add(&p, &(struct wal_point){2100, 2, 8192, 0, true});
	EQ_INT(wal_points_find(&p, 2000)->index <= 2000, 1);
	EQ_INT(wal_points_jump_after(&p, wal_points_find(&p, 1)), 2001);
	EQ_INT(wal_points_jump_after(&p, wal_points_find(&p, 2000)), 2001);
	EQ_INT(wal_points_jump_after(&p, wal_points_find(&p, 2050)), 2100);
	OK(wal_points_jump_after(&p, wal_points_find(&p, 2100)) == UINT64_MAX);
	wal_points_cut(&p, 2);
	EQ_INT(p.n, 1);
	wal_points_truncate(&p, 0);
	EQ_INT(p.n, 0);
	wal_points_free(&p);
}

TEST(the_cache_lets_only_stable_entries_go)
{
	struct wal_cache c;
	uint8_t data[1000];

	memset(data, 'x', sizeof data);
	wal_cache_init(&c, 10000, 5);
	for (uint64_t i = 5; i < 505; i++) {
		data[0] = (uint8_t)i;
		wal_cache_add(&c, i, 1, WAL_COMMAND, bytes_of(data, sizeof data));
	}
	EQ_INT(c.n, 500);
	wal_cache_stable(&c, 100);
	EQ_INT(c.first, 100);
	wal_cache_stable(&c, 505);
	OK(c.bytes <= 10000 && c.n > 5);
	EQ_INT(wal_cache_get(&c, 504).data.data[0], 504 & 255);
	wal_cache_truncate(&c, 504);
	wal_cache_add(&c, 504, 2, WAL_NOOP, bytes_of(NULL, 0));
	EQ_INT(wal_cache_get(&c, 504).term, 2);
	EQ_INT(c.stable, 504);
	wal_cache_truncate(&c, 50);
	EQ_INT(c.n, 0);
	EQ_INT(c.first, 50);
	wal_cache_reset(&c, 1000);
	wal_cache_add(&c, 1000, 3, WAL_COMMAND, bytes_of(data, 1));
	wal_cache_cut(&c, 1001);
	EQ_INT(c.n, 0);
	EQ_INT(c.bytes, 0);
	wal_cache_free(&c);
}

TESTS = {
	T(terms_are_kept_as_runs),
	T(what_no_log_may_say_is_refused_and_changes_nothing),
	T(points_are_sparse_and_the_nearest_is_found),
	T(too_many_points_are_thinned_out),
	T(jumps_bound_a_stretch),
	T(the_cache_lets_only_stable_entries_go),
};
TAP_MAIN
