/* SPDX-License-Identifier: Apache-2.0 */
/* Compaction: what goes, what stays, in steps, over restarts; and the store's hash beside it. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "mvcc/view.h"
#include "stored/core/hash.h"
#include "tests/lib/store_rig.h"
#include "tests/lib/tap.h"

static uint64_t rows(struct rig *r, enum okv_table table)
{
	struct okv_stat st;

	rig_commit(r);
	EQ_INT(okv_stat(r->db, &st), ERR_OK);
	return st.rows[table];
}

/* 2000 keys, four versions each, every tenth then deleted: revisions 2 to 8201 */
enum { KEYS = 2000, LAST = 1 + 4 * KEYS + KEYS / 10 };

static void fill(struct rig *r)
{
	char key[32], value[32];

	for (int version = 0; version < 4; version++)
		for (int i = 0; i < KEYS; i++) {
			(void)snprintf(key, sizeof key, "key%d", i);
			(void)snprintf(value, sizeof value, "%d.%d", i, version);
			rig_put(r, key, value);
		}
	for (int i = 0; i < KEYS; i += 10) {
		(void)snprintf(key, sizeof key, "key%d", i);
		rig_delete(r, key, NULL);
	}
	EQ_INT(apply_state(r->apply)->revision, LAST);
}

TEST(exactly_what_nobody_can_read_goes)
{
	struct rig r;
	int64_t at = 1 + 2 * KEYS;                              /* two versions of each have been written */

	rig_open(&r, "s");
	fill(&r);
	EQ_INT(rows(&r, OKV_LOG), LAST - 1);
	EQ_INT(rows(&r, OKV_PAST), 3 * KEYS + KEYS / 10);
	EQ_INT(rig_compact(&r, at)->error, ERR_OK);
	OK(apply_compacting(r.apply));
	rig_compact_all(&r, 1000);
	EQ_INT(apply_state(r.apply)->compacted_revision, at);
	EQ_INT(rows(&r, OKV_PAST), 2 * KEYS + KEYS / 10);       /* the first versions are gone */
	EQ_INT(rows(&r, OKV_LOG), LAST - at + 1);               /* the event at the revision itself stays */
	EQ_STR(rig_get(&r, "key7", at), "7.1");
	EQ_STR(rig_get(&r, "key7", at - 1), "COMPACTED");
	EQ_STR(rig_get(&r, "key10", LAST - 200), "10.3");
	EQ_INT(rig_compact(&r, LAST)->error, ERR_OK);
	rig_compact_all(&r, 1000);
	EQ_INT(rows(&r, OKV_PAST), 0);
	EQ_INT(rows(&r, OKV_LOG), 1);
	EQ_INT(rows(&r, OKV_NOW), KEYS - KEYS / 10);
	EQ_STR(rig_get(&r, "key1999", 0), "1999.3");
	EQ_STR(rig_get(&r, "key1990", 0), "(none)");
	rig_close(&r);
}

TEST(a_watcher_may_begin_at_the_compacted_revision)
{
	struct mvcc_events *events;
	struct mvcc_event e;
	struct mvcc_view *v;
	struct kv_pair pair;
	struct rig r;

	rig_open(&r, "s");
	rig_put(&r, "a", "1");
	rig_put(&r, "a", "2");
	rig_delete(&r, "a", NULL);
	rig_compact(&r, 3);
	rig_compact_all(&r, 10);
	v = rig_view(&r);
	EQ_INT(mvcc_events_begin(v, 2, &events), ERR_COMPACTED);
	EQ_INT(mvcc_events_begin(v, 3, &events), ERR_OK);
	EQ_INT(mvcc_events_next(events, &e), ERR_OK);
	OK(e.rev == 3 && e.type == MVCC_EVENT_PUT);
	EQ_INT(mvcc_event_pair(v, &e, &pair), ERR_OK);
	OK(bytes_eq(pair.value, bytes_str("2")));
	mvcc_events_end(&events);
	mvcc_view_end(&v);
	rig_compact(&r, 4);
	rig_compact_all(&r, 10);
	v = rig_view(&r);
	EQ_INT(mvcc_events_begin(v, 4, &events), ERR_OK);       /* a delete at exactly that revision */
	EQ_INT(mvcc_events_next(events, &e), ERR_OK);
	OK(e.rev == 4 && e.type == MVCC_EVENT_DELETE);
	mvcc_events_end(&events);
	mvcc_view_end(&v);
	rig_close(&r);
}

TEST(a_pass_goes_on_after_a_restart)
{
	struct rig r, unbroken;
	size_t removed, total = 0, steps = 0;
	uint8_t a[16], b[16];

	rig_open(&r, "s");
	rig_open(&unbroken, "t");
	fill(&r);
	fill(&unbroken);
	rig_compact(&r, 6000);
	rig_compact(&unbroken, 6000);
	rig_compact_all(&unbroken, 100000);
	rig_commit(&r);
	while (apply_compacting(r.apply)) {
		EQ_INT(apply_begin(r.apply), ERR_OK);
		EQ_INT(apply_compact_step(r.apply, 100, &removed), ERR_OK);
		EQ_INT(apply_commit(r.apply), ERR_OK);
		OK(removed <= 100);
		total += removed;
		steps++;
		if (steps % 3 == 0)
			rig_restart(&r);
	}
	EQ_INT(total, 5998 + (6000 - 1 - KEYS));                /* events 2 to 5999; versions superseded by 6000 */
	OK(steps < total / 100 + 15);
	EQ_INT(rows(&r, OKV_PAST), rows(&unbroken, OKV_PAST));
	EQ_INT(rows(&r, OKV_LOG), rows(&unbroken, OKV_LOG));
	EQ_INT(rows(&r, OKV_META), 2);                          /* nothing of the pass is left */
	rig_hash(&r, 0, 5000, a);
	rig_hash(&unbroken, 0, 300, b);
	EQ_MEM(a, b, 16);
	rig_close(&r);
	rig_close(&unbroken);
}

TEST(a_new_target_is_the_next_pass_s)
{
	struct rig r;
	size_t removed;

	rig_open(&r, "s");
	fill(&r);
	rig_compact(&r, 3000);
	rig_commit(&r);
	for (int i = 0; i < 40; i++) {
		EQ_INT(apply_begin(r.apply), ERR_OK);
		EQ_INT(apply_compact_step(r.apply, 90, &removed), ERR_OK);
		EQ_INT(apply_commit(r.apply), ERR_OK);
	}
	OK(apply_state(r.apply)->compacted_revision == -1);
	rig_compact(&r, LAST);
	rig_put(&r, "key5", "later");                           /* behind the pass or before it, it is newer */
	rig_compact_all(&r, 90);
	EQ_INT(apply_state(r.apply)->compacted_revision, LAST);
	EQ_INT(rows(&r, OKV_PAST), 1);
	EQ_STR(rig_get(&r, "key5", LAST), "5.3");
	EQ_STR(rig_get(&r, "key5", 0), "later");
	rig_close(&r);
}

TEST(compacting_to_the_beginning_is_done_at_once)
{
	struct rig r;

	rig_open(&r, "s");
	fill(&r);
	EQ_INT(rig_compact(&r, 0)->error, ERR_OK);
	rig_compact_all(&r, 1);
	EQ_INT(apply_state(r.apply)->compacted_revision, 0);
	EQ_INT(rig_compact(&r, 1)->error, ERR_OK);
	rig_compact_all(&r, 1);
	EQ_INT(apply_state(r.apply)->compacted_revision, 1);
	EQ_INT(rows(&r, OKV_LOG), LAST - 1);
	rig_close(&r);
}

/* ---- the store's hash ---- */

TEST(the_hash_is_that_of_the_revision)
{
	uint8_t at5[16], again[16], other[16];
	struct rig r;

	rig_open(&r, "s");
	for (int i = 0; i < 4; i++)
		rig_put(&r, i % 2 ? "a" : "b", "v");
	rig_hash(&r, 0, 100, at5);
	rig_put(&r, "a", "later");
	rig_delete(&r, "b", NULL);
	rig_hash(&r, 5, 1, again);
	EQ_MEM(again, at5, 16);
	rig_hash(&r, 6, 100, other);
	OK(memcmp(other, at5, 16) != 0);
	rig_close(&r);
}

/* The writer supersedes, deletes and compacts between the steps of a hash. */
TEST(a_hash_is_computed_while_the_store_goes_on)
{
	struct rig r, quiet;
	struct store_hash h;
	struct mvcc_view *v;
	uint8_t want[16];
	int rc, i = 0;

	rig_open(&r, "s");
	rig_open(&quiet, "t");
	fill(&r);
	fill(&quiet);
	rig_hash(&quiet, 5000, 100000, want);
	v = rig_view(&r);
	EQ_INT(store_hash_begin(&h, v, 5000), ERR_OK);
	do {
		char key[32];

		mvcc_view_end(&v);
		(void)snprintf(key, sizeof key, "key%d", i * 37 % KEYS);
		if (i++ % 3)
			rig_put(&r, key, "moved");
		else
			rig_delete(&r, key, NULL);
		v = rig_view(&r);
		rc = store_hash_step(&h, v, 50);
	} while (rc == ERR_LIMIT);
	mvcc_view_end(&v);
	EQ_INT(rc, ERR_OK);
	OK(i > 50);
	EQ_MEM(h.hash, want, 16);

	/* compacted on the way: begun anew at the new compacted revision */
	rig_compact(&quiet, 4000);
	rig_hash(&quiet, 5000, 100000, want);
	v = rig_view(&r);
	EQ_INT(store_hash_begin(&h, v, 5000), ERR_OK);
	EQ_INT(store_hash_step(&h, v, 500), ERR_LIMIT);
	mvcc_view_end(&v);
	rig_compact(&r, 4000);
	rig_compact_all(&r, 700);
	v = rig_view(&r);
	while ((rc = store_hash_step(&h, v, 500)) == ERR_LIMIT)
		;
	EQ_INT(rc, ERR_OK);
	EQ_INT(h.compact_revision, 4000);
	EQ_MEM(h.hash, want, 16);
	EQ_INT(store_hash_begin(&h, v, 5000), ERR_OK);
	EQ_INT(store_hash_step(&h, v, 10), ERR_LIMIT);
	mvcc_view_end(&v);
	rig_compact(&r, 5001);
	v = rig_view(&r);
	EQ_INT(store_hash_step(&h, v, 10), ERR_COMPACTED);
	EQ_INT(store_hash_begin(&h, v, 5000), ERR_COMPACTED);
	EQ_INT(store_hash_begin(&h, v, 1000000), ERR_FUTURE_REV);
	mvcc_view_end(&v);
	rig_close(&r);
	rig_close(&quiet);
}

TESTS = {
	T(exactly_what_nobody_can_read_goes),
	T(a_watcher_may_begin_at_the_compacted_revision),
	T(a_pass_goes_on_after_a_restart),
	T(a_new_target_is_the_next_pass_s),
	T(compacting_to_the_beginning_is_done_at_once),
	T(the_hash_is_that_of_the_revision),
	T(a_hash_is_computed_while_the_store_goes_on),
};
TAP_MAIN
