/* SPDX-License-Identifier: Apache-2.0 */
/* Watches through a gateway, with watchd's own core behind it: methods, notifications, faults. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/native.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { PATIENCE = 20000 };

static struct native_watch watch_of(const char *key)
{
	return (struct native_watch){.key = bytes_str(key)};
}

/* The error, or 0 and in *id the watch. */
static int watch(struct world *w, struct rpc_peer *p, const struct native_watch *params, int64_t *id,
		 int64_t *revision)
{
	struct native_watch_result res;
	struct rpc_reply r;

	world_call(w, p, "watch", &native_watch_desc, params, &r);
	if (r.error != ERR_OK)
		return r.error;
	(void)world_decode(&r, &native_watch_result_desc, &res);
	*id = res.watch_id;
	if (revision != NULL)
		*revision = res.header->revision;
	return ERR_OK;
}

static int call_ref(struct world *w, struct rpc_peer *p, const char *method, int64_t id)
{
	struct native_watch_ref ref = {id};
	struct rpc_reply r;

	world_call(w, p, method, &native_watch_ref_desc, &ref, &r);
	return r.error;
}

/* The next notification, decoded; it must have this name. */
static void notice(struct world *w, struct rpc_peer *p, const char *name, void *out)
{
	const struct native_notification *n = native_notification_find(bytes_str(name));
	struct rpc_reply r;

	OK(world_reply(w, p, &r));
	EQ_STR(r.notice, name);
	(void)world_decode(&r, n->params, out);
}

static void expect_put(struct world *w, struct rpc_peer *p, int64_t id, const char *key, const char *value)
{
	struct native_watch_events m;

	notice(w, p, "watch_events", &m);
	EQ_INT(m.watches.n, 1);
	EQ_INT(m.watches.v[0].watch_id, id);
	EQ_INT(m.events.n, 1);
	EQ_INT(m.events.v[0].type, WATCH_EVENT_PUT);
	OK(bytes_eq(m.events.v[0].kv->key, bytes_str(key)));
	OK(bytes_eq(m.events.v[0].kv->value, bytes_str(value)));
	EQ_INT(m.next_sub, 0);
	OK(m.next_revision > m.events.v[0].kv->mod_revision);
}

static void setup(struct world **w, struct rpc_peer *p, struct rpc_peer *q)
{
	*w = world_new(7000);
	world_join(*w, p);
	world_join(*w, q);
}

static void teardown(struct world *w, struct rpc_peer *p, struct rpc_peer *q)
{
	rpc_peer_close(p);
	rpc_peer_close(q);
	world_free(w);
}

TEST(a_watch_is_told_what_is_written_after_it_began)
{
	struct native_watch a = watch_of("a"), past = watch_of("a");
	struct rpc_peer p, q;
	struct world *w;
	int64_t id = 0, revision = 0;

	setup(&w, &p, &q);
	EQ_INT(world_put(w, &q, "a", "before"), ERR_OK);
	EQ_INT(watch(w, &p, &a, &id, &revision), ERR_OK);
	EQ_INT(id, 1);
	EQ_INT(revision, 2);
	EQ_INT(world_put(w, &q, "b", "other"), ERR_OK);
	EQ_INT(world_put(w, &q, "a", "after"), ERR_OK);
	expect_put(w, &p, 1, "a", "after");
	OK(world_silence(w, &p));
	past.start_revision = 1;
	past.watch_id = 77;
	EQ_INT(watch(w, &q, &past, &id, NULL), ERR_OK);
	EQ_INT(id, 77);
	{
		struct native_watch_events m;

		notice(w, &q, "watch_events", &m);
		EQ_INT(m.events.n, 2);
		OK(bytes_eq(m.events.v[0].kv->value, bytes_str("before")));
		OK(bytes_eq(m.events.v[1].kv->value, bytes_str("after")));
		EQ_INT(m.next_revision, 5);
	}
	teardown(w, &p, &q);
}

TEST(watches_of_one_connection_share_a_notification)
{
	struct native_watch a = watch_of("a"), prefix = watch_of("a"), prev = watch_of("a");
	struct native_watch_events m;
	struct rpc_peer p, q;
	struct world *w;
	int64_t id = 0;

	setup(&w, &p, &q);
	prefix.range_end = bytes_str("b");
	prev.prev_kv = true;
	EQ_INT(world_put(w, &q, "a", "0"), ERR_OK);
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_OK);
	EQ_INT(watch(w, &p, &prefix, &id, NULL), ERR_OK);
	EQ_INT(watch(w, &p, &prev, &id, NULL), ERR_OK);
	EQ_INT(world_put(w, &q, "a", "1"), ERR_OK);
	notice(w, &p, "watch_events", &m);
	EQ_INT(m.watches.n, 2);
	OK(m.events.v[0].prev_kv == NULL);
	notice(w, &p, "watch_events", &m);
	EQ_INT(m.watches.n, 1);
	EQ_INT(m.watches.v[0].watch_id, 3);
	OK(bytes_eq(m.events.v[0].prev_kv->value, bytes_str("0")));
	OK(world_silence(w, &p));
	teardown(w, &p, &q);
}

TEST(what_makes_no_sense_is_refused)
{
	struct native_watch a = watch_of("a");
	struct rpc_peer p, q;
	struct world *w;
	int64_t id = 0;

	setup(&w, &p, &q);
	a.range_end = bytes_str("a");
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_WATCH_RANGE);
	a.range_end = bytes_of(NULL, 0);
	a.start_revision = -1;
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_COMPACTED);
	a.start_revision = 0;
	a.start_sub = 1;
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_BAD_ARGUMENT);
	a.start_revision = 5;
	a.start_sub = (uint64_t)UINT32_MAX + 1;
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_BAD_ARGUMENT);
	a.start_sub = 0;
	a.watch_id = -1;
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_BAD_ARGUMENT);
	a.watch_id = 9;
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_OK);
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_WATCH_EXISTS);
	EQ_INT(call_ref(w, &p, "watch_cancel", 8), ERR_WATCH_NOT_FOUND);
	EQ_INT(call_ref(w, &q, "watch_cancel", 9), ERR_WATCH_NOT_FOUND);
	EQ_INT(call_ref(w, &p, "watch_progress", -3), ERR_WATCH_NOT_FOUND);
	EQ_INT(call_ref(w, &p, "watch_cancel", 9), ERR_OK);
	EQ_INT(call_ref(w, &p, "watch_cancel", 9), ERR_WATCH_NOT_FOUND);
	EQ_INT(world_put(w, &q, "a", "1"), ERR_OK);
	OK(world_silence(w, &p));
	EQ_INT(w->g.watch.n, 0);
	teardown(w, &p, &q);
}

TEST(a_connection_may_have_so_many_watches_and_no_more)
{
	struct native_watch a = watch_of("a");
	struct rpc_peer p, q;
	struct rpc_reply r;
	struct world *w;
	unsigned sent = 0, good = 0, bad = 0;
	int64_t id = 0;

	setup(&w, &p, &q);
	a.start_revision = 100;
	while (good + bad < LIMIT_CONN_WATCHES + 50) {
		for (; sent < LIMIT_CONN_WATCHES + 50 && sent < good + bad + 500; sent++)
			world_send(&p, sent, "watch", &native_watch_desc, &a);
		OK(world_reply(w, &p, &r));
		good += r.error == ERR_OK;
		bad += r.error == ERR_TOO_MANY_WATCHES;
		OK(r.error == ERR_OK || r.error == ERR_TOO_MANY_WATCHES);
	}
	EQ_INT(good, LIMIT_CONN_WATCHES);
	EQ_INT(bad, 50);
	EQ_INT(watch(w, &q, &a, &id, NULL), ERR_OK);       /* others are not concerned */
	rpc_peer_close(&p);
	for (int i = 0; i < PATIENCE && w->g.watch.n > 1; i++)
		world_turn(w);
	EQ_INT(w->g.watch.n, 1);
	world_turns(w, 5);
	EQ_INT(watch_link_watches(w->watch_peer.link), 1);
	rpc_peer_close(&q);
	world_free(w);
}

/* What watchd says of a watch, as if it had not heard of the last compaction. */
static void say_compacted(struct world *w, int64_t revision)
{
	struct watch_canceled no = {w->g.watch.next_id, ERR_COMPACTED, revision};
	struct watch_news m = {.head_rev = w->g.watch.head_rev, .canceled = {&no, 1}};

	net_send(&w->to_gateway_watch, mono_now(), MSG_NO_watch_news, &watch_news_desc, &m);
}

TEST(the_greater_compact_revision_is_told_though_watchd_knows_an_older_one)
{
	struct native_watch past = watch_of("k");
	struct kv_compact compact = {.revision = 4};
	struct native_watch_canceled m;
	struct rpc_peer p, q;
	struct rpc_reply r;
	struct world *w;
	int64_t id = 0;

	setup(&w, &p, &q);
	for (int i = 0; i < 4; i++)
		EQ_INT(world_put(w, &q, "k", "v"), 0);
	world_call(w, &q, "compact", &kv_compact_desc, &compact, &r);
	EQ_INT(r.error, 0);
	world_turns(w, 3);
	past.start_revision = 1000;
	EQ_INT(watch(w, &p, &past, &id, NULL), 0);
	say_compacted(w, 2);
	notice(w, &p, "watch_canceled", &m);
	EQ_INT(m.watch_id, id);
	EQ_INT(m.code, ERR_COMPACTED);
	EQ_INT(m.compact_revision, 4);
	teardown(w, &p, &q);
}

TEST(compaction_ends_a_watch_that_starts_before_it)
{
	struct native_watch a = watch_of("a");
	struct native_watch_canceled m;
	struct kv_compact compact = {.revision = 4};
	struct rpc_peer p, q;
	struct rpc_reply r;
	struct world *w;
	int64_t id = 0;

	setup(&w, &p, &q);
	for (int i = 0; i < 5; i++)
		EQ_INT(world_put(w, &q, "a", "x"), ERR_OK);
	world_call(w, &q, "compact", &kv_compact_desc, &compact, &r);
	EQ_INT(r.error, ERR_OK);
	a.start_revision = 2;
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_OK);
	notice(w, &p, "watch_canceled", &m);
	EQ_INT(m.watch_id, id);
	EQ_INT(m.code, ERR_COMPACTED);
	EQ_INT(m.compact_revision, 4);
	EQ_INT(call_ref(w, &p, "watch_cancel", id), ERR_WATCH_NOT_FOUND);
	a.start_revision = 4;
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_OK);
	{
		struct native_watch_events e;

		notice(w, &p, "watch_events", &e);
		EQ_INT(e.events.n, 3);
	}
	teardown(w, &p, &q);
}

TEST(progress_comes_when_asked_and_in_time)
{
	struct native_watch a = watch_of("a"), quiet = watch_of("q");
	struct native_watch_progress m;
	struct native_watch_ref all = {0};
	struct rpc_peer p, q;
	struct rpc_reply r;
	struct world *w;
	int64_t id = 0;

	setup(&w, &p, &q);
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_OK);
	EQ_INT(world_put(w, &q, "b", "1"), ERR_OK);
	world_send(&p, 5, "watch_progress", &native_watch_ref_desc, &all);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.id, 5);
	EQ_INT(r.error, ERR_OK);
	notice(w, &p, "watch_progress", &m);
	EQ_INT(m.watches.n, 1);
	EQ_INT(m.revision, 2);
	quiet.progress_notify = true;           /* the model's interval is 100 ms */
	EQ_INT(watch(w, &q, &quiet, &id, NULL), ERR_OK);
	notice(w, &q, "watch_progress", &m);
	EQ_INT(m.watches.v[0].watch_id, id);
	EQ_INT(m.revision, 2);
	teardown(w, &p, &q);
}

TEST(when_watchd_dies_clients_see_a_pause)
{
	struct native_watch a = watch_of("a"), late = watch_of("a");
	struct rpc_peer p, q;
	struct world *w;
	int64_t id = 0;

	setup(&w, &p, &q);
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_OK);
	EQ_INT(world_put(w, &q, "a", "1"), ERR_OK);
	expect_put(w, &p, 1, "a", "1");
	world_watchd(w, false);
	EQ_INT(world_put(w, &q, "a", "2"), ERR_OK);
	EQ_INT(watch(w, &p, &late, &id, NULL), ERR_OK);    /* begins without watchd */
	EQ_INT(world_put(w, &q, "a", "3"), ERR_OK);
	OK(world_silence(w, &p));
	world_watchd(w, true);
	{
		struct native_watch_events m;
		size_t first = 0, second = 0;

		while (first < 2 || second < 1) {
			notice(w, &p, "watch_events", &m);
			for (size_t i = 0; i < m.watches.n; i++)
				*(m.watches.v[i].watch_id == 1 ? &first : &second) += m.events.n;
		}
		EQ_INT(first, 2);
		EQ_INT(second, 1);
	}
	OK(world_silence(w, &p));
	teardown(w, &p, &q);
}

TEST(a_watch_from_now_waits_for_the_quorum)
{
	struct native_watch a = watch_of("a");
	struct rpc_peer p, q;
	struct rpc_reply r;
	struct world *w;

	setup(&w, &p, &q);
	w->applies = false;
	world_send(&q, 3, "put", &kv_put_desc, &(struct kv_put){.key = bytes_str("a"), .value = bytes_str("1")});
	OK(world_silence(w, &q));
	world_send(&p, 4, "watch", &native_watch_desc, &a);
	OK(world_silence(w, &p));               /* the put may have been answered by another node */
	w->applies = true;
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, ERR_OK);
	OK(world_silence(w, &p));
	teardown(w, &p, &q);
}

TEST(a_watch_from_now_without_a_leader_is_told_so)
{
	struct native_watch a = watch_of("a");
	struct rpc_peer p;
	struct world *w = world_new(200);
	int64_t id = 0;

	world_join(w, &p);
	world_leader(w, 0);
	world_turns(w, 10);
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_NO_LEADER);
	a.start_revision = 1;                   /* this one needs no quorum */
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_OK);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_client_that_does_not_read_is_sent_a_bounded_amount)
{
	static char value[8192];
	struct native_watch a = watch_of("a");
	struct rpc_peer p, q;
	struct world *w;
	int64_t id = 0;
	size_t most = 0, got = 0;

	setup(&w, &p, &q);
	memset(value, 'v', sizeof value - 1);
	EQ_INT(watch(w, &p, &a, &id, NULL), ERR_OK);
	EQ_INT(watch(w, &q, &a, &id, NULL), ERR_OK);
	for (int i = 0; i < 600; i++) {
		world_send(&q, 9, "put", &kv_put_desc,
			   &(struct kv_put){.key = bytes_str("a"), .value = bytes_str(value)});
		for (bool event = false, answer = false; !event || !answer;) {   /* the other is not held up */
			struct rpc_reply r;

			OK(world_reply(w, &q, &r));
			event = event || r.notice[0] != 0;
			answer = answer || r.notice[0] == 0;
		}
		most = w->g.conns.out_bytes > most ? w->g.conns.out_bytes : most;
	}
	OK(most < 3u * LIMIT_WATCH_STREAM_BYTES);
	while (got < 600) {
		struct native_watch_events m;

		notice(w, &p, "watch_events", &m);
		got += m.events.n;
	}
	EQ_INT(got, 600);
	OK(world_silence(w, &p));
	teardown(w, &p, &q);
}

TESTS = {
	T(a_watch_is_told_what_is_written_after_it_began),
	T(watches_of_one_connection_share_a_notification),
	T(what_makes_no_sense_is_refused),
	T(a_connection_may_have_so_many_watches_and_no_more),
	T(the_greater_compact_revision_is_told_though_watchd_knows_an_older_one),
	T(compaction_ends_a_watch_that_starts_before_it),
	T(progress_comes_when_asked_and_in_time),
	T(when_watchd_dies_clients_see_a_pause),
	T(a_watch_from_now_waits_for_the_quorum),
	T(a_watch_from_now_without_a_leader_is_told_so),
	T(a_client_that_does_not_read_is_sent_a_bounded_amount),
};
TAP_MAIN
