/* SPDX-License-Identifier: Apache-2.0 */
/* Compaction by itself: which revision, when, and by whom. */
#include <stdio.h>

#include "base/err.h"
#include "gatewayd/retention.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { HOUR_S = 3600, TIMEOUT = 7000 };

static mono_t at_s(int64_t s)
{
	return mono_add_ms((mono_t){0}, s * 1000);
}

/* ---- which revision ---- */

TEST(nothing_is_compacted_unless_asked_for)
{
	struct retention h;

	retention_init(&h, 0, 0);
	EQ_INT(retention_look_ms(&h), 0);
}

TEST(by_time_the_revision_of_then_is_compacted)
{
	struct retention h;
	int64_t compacted = -1, step;

	retention_init(&h, HOUR_S, 0);
	step = retention_look_ms(&h) / 1000;
	EQ_INT(step, HOUR_S / RETENTION_MARKS);
	for (int64_t s = 0; s < 10 * HOUR_S; s += step) {
		int64_t rev = retention_look(&h, at_s(s), 1000 + s, compacted);      /* a revision a second */

		EQ_INT(rev, s < HOUR_S ? 0 : 1000 + s - HOUR_S);
		compacted = rev > 0 ? rev : compacted;
	}
}

/* Looks come late, some very late: what is younger than an hour stays, nothing stays for ever. */
TEST(late_looks_keep_more_and_never_less)
{
	struct retention h;
	uint64_t seed = tap_seed(7);
	int64_t compacted = -1, s = 0, step;

	retention_init(&h, HOUR_S, 0);
	step = retention_look_ms(&h) / 1000;
	for (uint64_t i = 0; i < tap_rounds(2000); i++) {
		int64_t late = (int64_t)(tap_rand(&seed) % 10 == 0 ? tap_rand(&seed) % (3 * HOUR_S) : tap_rand(&seed) % 5);
		int64_t rev, before = s;

		s += step + late;
		rev = retention_look(&h, at_s(s), 1000 + s, compacted);
		OK(rev == 0 || rev <= 1000 + s - HOUR_S);
		if (rev > 0) {
			OK(rev > compacted);
			compacted = rev;
		}
		if (i > RETENTION_MARKS + 1)             /* a mark may be the one before a gap */
			OK(compacted >= 1000 + before - HOUR_S - 4 * step - 3 * HOUR_S);
	}
}

TEST(a_quiet_cluster_is_not_compacted_again)
{
	struct retention h;

	retention_init(&h, 10, 0);
	for (int s = 0; s < 100; s++)
		EQ_INT(retention_look(&h, at_s(s), 500, 500), 0);
}

TEST(by_number_a_tenth_more_stays_than_was_asked_for)
{
	struct retention h;

	retention_init(&h, 0, 1000);
	EQ_INT(retention_look_ms(&h), RETENTION_LOOK_MS);
	EQ_INT(retention_look(&h, at_s(1), 900, -1), 0);
	EQ_INT(retention_look(&h, at_s(2), 1100, -1), 0);
	EQ_INT(retention_look(&h, at_s(3), 1101, -1), 101);
	EQ_INT(retention_look(&h, at_s(4), 1201, 101), 0);
	EQ_INT(retention_look(&h, at_s(5), 1202, 101), 202);
	EQ_INT(retention_look(&h, at_s(6), 50000, 202), 49000);
}

TEST(what_either_keeps_is_kept)
{
	struct retention h;

	retention_init(&h, 100, 1000);
	EQ_INT(retention_look(&h, at_s(0), 10, -1), 0);
	EQ_INT(retention_look(&h, at_s(50), 5000, -1), 0);            /* many, but young */
	EQ_INT(retention_look(&h, at_s(100), 6000, -1), 10);
	EQ_INT(retention_look(&h, at_s(151), 6000, 10), 5000);
	EQ_INT(retention_look(&h, at_s(300), 6000, 5000), 0);         /* old, but few */
}

TEST(the_largest_settings_do_not_overflow)
{
	struct retention h;

	retention_init(&h, 315360000, INT64_MAX);
	for (int i = 0; i < 100; i++)
		EQ_INT(retention_look(&h, at_s(i), INT64_MAX - 100 + i, -1), 0);
}

/* ---- by whom ---- */

static void world_retains(struct world *w, uint64_t revisions)
{
	w->config.history_revisions = revisions;
	compact_free(&w->g);
	compact_init(&w->g);
}

static void world_puts(struct world *w, struct rpc_peer *p, int n)
{
	for (int i = 0; i < n; i++)
		EQ_INT(world_put(w, p, "k", "v"), 0);
}

TEST(the_leaders_gateway_compacts)
{
	struct world *w = world_new(TIMEOUT);
	const struct mvcc_state *s = apply_state(w->store.apply);
	struct rpc_peer p;

	world_join(w, &p);
	world_retains(w, 10);
	world_puts(w, &p, 30);
	EQ_INT(s->revision, 31);
	for (int ms = 0; s->compact_revision < 0 && ms < TAP_PATIENCE_MS; ms += 10)
		world_ms(w, 10);
	EQ_INT(s->compact_revision, 21);
	world_turns(w, 3);
	EQ_INT(w->g.counters.compactions_total.value, 1);
	EQ_INT(w->g.n_requests, 0);
	rpc_peer_close(&p);
	world_free(w);
}

/* A follower's, and one that is not the first of its node. */
TEST(no_other_gateway_does)
{
	struct world *w = world_new(TIMEOUT);
	const struct mvcc_state *s = apply_state(w->store.apply);
	struct rpc_peer p;

	world_join(w, &p);
	world_puts(w, &p, 30);
	world_leader(w, 2);
	world_retains(w, 10);
	world_ms(w, 2 * RETENTION_LOOK_MS);
	EQ_INT(s->compact_revision, -1);
	w->g.instance = 1;
	world_leader(w, 1);
	world_ms(w, 2 * RETENTION_LOOK_MS);
	EQ_INT(s->compact_revision, -1);
	w->g.instance = 0;
	for (int ms = 0; s->compact_revision < 0 && ms < TAP_PATIENCE_MS; ms += 10)
		world_ms(w, 10);
	EQ_INT(s->compact_revision, 21);
	rpc_peer_close(&p);
	world_free(w);
}

/* While nothing is committed there is one question under way, not one more each second. */
TEST(one_compaction_is_asked_for_at_a_time)
{
	struct world *w = world_new(60000);
	struct rpc_peer p;

	world_join(w, &p);
	world_puts(w, &p, 30);
	w->commits = false;
	world_retains(w, 10);
	world_ms(w, 3 * RETENTION_LOOK_MS + 200);
	EQ_INT(w->g.n_requests, 1);
	rpc_peer_close(&p);
	world_free(w);
}

/* ---- what reads see of a compaction ---- */

/* It waits for another answer's end, with some of its own kept: nobody has been told a byte of it. */
TEST(a_range_that_waits_for_its_turn_to_be_written_is_told_of_a_compaction)
{
	enum { KEYS = 400, VALUE = 4000 };
	static const struct kv_range all = {.key = {(const uint8_t *)"", 1}, .range_end = {(const uint8_t *)"", 1}};
	struct world *w = world_new(TIMEOUT);
	struct kv_range before = all;
	struct kv_range_result res;
	char key[16], value[VALUE + 1];
	struct rpc_reply r;
	struct rpc_peer p;

	memset(value, 'v', VALUE);
	value[VALUE] = '\0';
	for (int i = 0; i < KEYS; i++) {
		(void)snprintf(key, sizeof key, "k%d", i);
		small_store_put(&w->store, key, value);
		w->n_log++;
	}
	world_progress(w);
	world_join(w, &p);
	before.revision = small_store_revision(&w->store) - 1;
	world_send(&p, 1, "range", &kv_range_desc, &all);
	world_send(&p, 2, "range", &kv_range_desc, &before);
	rpc_peer_write(&p, 1u << 16);
	while (w->g.counters.read_streams_total.value == 0 || !list_empty(&w->g.reads.slow) || w->g.reads.kept == 0)
		world_turn(w);
	small_store_compact(&w->store, before.revision + 1);
	w->n_log++;
	OK(world_reply(w, &p, &r));
	EQ_INT(r.id, 1);
	world_decode(&r, &kv_range_result_desc, &res);
	EQ_INT(res.kvs.n, KEYS);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.id, 2);
	EQ_INT(r.error, ERR_COMPACTED);
	EQ_INT(w->g.reads.kept + w->g.reads.work, w->g.reads.spent_bytes);
	rpc_peer_close(&p);
	world_free(w);
}

TESTS = {
	T(nothing_is_compacted_unless_asked_for),
	T(by_time_the_revision_of_then_is_compacted),
	T(late_looks_keep_more_and_never_less),
	T(a_quiet_cluster_is_not_compacted_again),
	T(by_number_a_tenth_more_stays_than_was_asked_for),
	T(what_either_keeps_is_kept),
	T(the_largest_settings_do_not_overflow),
	T(the_leaders_gateway_compacts),
	T(no_other_gateway_does),
	T(one_compaction_is_asked_for_at_a_time),
	T(a_range_that_waits_for_its_turn_to_be_written_is_told_of_a_compaction),
};

TAP_MAIN
