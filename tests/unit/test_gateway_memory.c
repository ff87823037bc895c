/* SPDX-License-Identifier: Apache-2.0 */
/* What clients make a gatewayd keep for them is bounded, whatever it is kept for. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "gatewayd/watch.h"
#include "tests/lib/h2_peer.h"
#include "tests/lib/tap.h"

enum { SHORT = 2000, TIMEOUT = 60000, MIB_BYTES = 1 << 20 };

static uint8_t large[MIB_BYTES];

/* A key of a megabyte, another one for each i. */
static struct bytes large_key(int i)
{
	memset(large, 'k', sizeof large);
	large[0] = (uint8_t)('a' + i % 26);
	large[1] = (uint8_t)('a' + i / 26);
	return bytes_of(large, sizeof large);
}

/* ---- watches ---- */

TEST(the_keys_that_a_connection_watches_are_bounded)
{
	enum { WATCHES = 20 };
	struct world *w = world_new(TIMEOUT);
	struct rpc_reply r;
	struct rpc_peer p;
	int begun = 0;

	world_join(w, &p);
	for (int i = 0; i < WATCHES; i++) {
		struct native_watch watch = {.key = large_key(i), .start_revision = 1};

		world_call(w, &p, "watch", &native_watch_desc, &watch, &r);
		OK(r.error == 0 || r.error == ERR_TOO_MANY_WATCHES);
		begun += r.error == 0;
	}
	OK(begun > 4 && begun < WATCHES);
	world_turns(w, 3);
	EQ_INT(w->g.watch.n, begun);
	rpc_peer_close(&p);
	world_turns(w, 3);
	EQ_INT(w->g.watch.n, 0);
	world_join(w, &p);                      /* what it had is free again */
	world_call(w, &p, "watch", &native_watch_desc,
		   &(struct native_watch){.key = large_key(0), .start_revision = 1}, &r);
	EQ_INT(r.error, 0);
	rpc_peer_close(&p);
	world_free(w);
}

static void lonely_watch(struct gateway *g, struct caller *k, const struct watch_got *got)
{
	(void)g;
	(void)k;
	(void)got;
}

/* watchd takes so many; it would drop the link, and again, for ever, if there were more. */
TEST(there_are_no_more_streams_with_watches_than_watchd_takes)
{
	enum { STREAMS = LIMIT_WATCH_STREAMS + 1 };
	static const struct caller_ops ops = {.watch = lonely_watch};
	struct native_watch watch = {.key = bytes_str("k"), .start_revision = 1};
	struct world *w = world_new(TIMEOUT);
	struct caller *k = mem_array(STREAMS, sizeof *k);
	struct watch_share *share = mem_array(STREAMS, sizeof *share);
	int refused = 0;

	for (size_t i = 0; i < STREAMS; i++) {
		caller_init(&k[i], &ops);
		k[i].share = &share[i];
		if (watch_admit(&w->g, &k[i], &watch) == ERR_OK)
			(void)watch_begin(&w->g, watch_table(&w->g, &k[i], 1), &watch);
		else
			refused++;
	}
	world_turns(w, 5);                      /* the world checks that watchd takes what it is told */
	EQ_INT(refused, 1);
	for (size_t i = 0; i < STREAMS; i++)
		watch_caller_gone(&w->g, &k[i]);
	mem_free(k);
	mem_free(share);
	world_free(w);
}

/* A question is twenty bytes; an answer to it names every watch of the connection. */
TEST(many_questions_how_far_all_watches_are_cost_no_more_than_one)
{
	enum { WATCHES = 200, QUESTIONS = 1000 };
	struct world *w = world_new(TIMEOUT);
	struct native_watch_ref all = {0};
	size_t told = 0, answered = 0;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	for (int i = 0; i < WATCHES; i++) {
		struct native_watch watch = {.key = bytes_str("k"), .start_revision = 1000};

		world_call(w, &p, "watch", &native_watch_desc, &watch, &r);
		EQ_INT(r.error, 0);
	}
	for (int i = 0; i < WATCHES; i++) {
		struct native_watch watch = {.key = bytes_str("j"), .start_revision = 1};

		world_call(w, &p, "watch", &native_watch_desc, &watch, &r);
		EQ_INT(r.error, 0);
	}
	world_turns(w, 5);
	for (uint32_t i = 0; i < QUESTIONS; i++)
		world_send(&p, 100000 + i, "watch_progress", &native_watch_ref_desc, &all);
	while (answered < QUESTIONS || told < WATCHES) {
		OK(world_reply(w, &p, &r));
		if (r.notice[0] != '\0') {
			struct native_watch_progress m;

			EQ_STR(r.notice, "watch_progress");
			told += ((struct native_watch_progress *)world_decode(&r, &native_watch_progress_desc, &m))->watches.n;
		} else {
			EQ_INT(r.error, 0);
			answered++;
		}
	}
	OK(told <= 10 * WATCHES);
	rpc_peer_close(&p);
	world_free(w);
}

/* ---- requests that wait ---- */

TEST(questions_about_leases_that_wait_are_bounded_by_their_bytes)
{
	enum { QUESTIONS = 100 };
	struct world *w = world_new(10 * TIMEOUT);
	struct native_time_to_live ttl = {.id = 1, .keys = true};
	size_t refused = 0;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	w->lease_forgets = true;
	for (uint32_t i = 0; i < QUESTIONS; i++) {
		ttl.after = large_key(0);
		world_send(&p, i, "lease_time_to_live", &native_time_to_live_desc, &ttl);
	}
	while (refused + w->g.lease.n < QUESTIONS) {
		rpc_peer_write(&p, 1u << 20);
		world_turn(w);
		rpc_peer_read(&p, 1u << 20);
		while (rpc_peer_next(&p, &r)) {
			EQ_INT(r.error, ERR_TOO_MANY_REQUESTS);
			refused++;
		}
	}
	EQ_INT(w->g.lease.n, LIMIT_GATEWAY_READ_BYTES / MIB_BYTES);
	rpc_peer_close(&p);
	world_turns(w, 3);
	EQ_INT(w->g.reads.bytes, 0);
	world_free(w);
}

/* A range that is asked for in ten bytes is a struct of a hundred and fifty. */
TEST(transactions_that_wait_are_bounded_by_what_they_unfold_to)
{
	enum { PEERS = 5, TXNS = 1000, OPS = 120 };
	struct world *w = world_new(10 * TIMEOUT);
	struct kv_range range = {.key = bytes_str("k")};
	struct kv_op ops[OPS];
	struct kv_txn txn = {{NULL, 0}, {ops, OPS}, {NULL, 0}};
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, most = 0, waiting;
	struct rpc_peer p[PEERS];

	for (int i = 0; i < OPS; i++)
		ops[i] = (struct kv_op){.range = &range};
	w->forgets = true;
	for (int i = 0; i < PEERS; i++) {
		world_join(w, &p[i]);
		for (uint32_t k = 0; k < TXNS; k++)
			world_send(&p[i], k, "txn", &kv_txn_desc, &txn);
		while (p[i].out.len > 0) {
			rpc_peer_write(&p[i], 1u << 20);
			world_turn(w);
			rpc_peer_read(&p[i], 1u << 20);
		}
		waiting = mallinfo2().uordblks + mallinfo2().hblkhd - before;
		most = waiting > most ? waiting : most;
	}
	OK(w->g.reads.n > 100);
	OK(most <= LIMIT_GATEWAY_READ_BYTES + 24 * MIB_BYTES);
	for (int i = 0; i < PEERS; i++)
		rpc_peer_close(&p[i]);
	world_turns(w, 3);
	EQ_INT(w->g.reads.bytes, 0);
	world_free(w);
}

/* stored is away, so nobody is answered before the deadline. */
TEST(questions_to_other_daemons_are_bounded)
{
	enum { PEERS = 10, QUESTIONS = 1000 };
	struct world *w = world_new(SHORT);
	struct native_hash hash = {0};
	struct rpc_peer p[PEERS];
	struct rpc_reply r;
	size_t most = 0, refused = 0;

	world_store(w, false);
	for (int i = 0; i < PEERS; i++) {
		world_join(w, &p[i]);
		for (uint32_t k = 0; k < QUESTIONS; k++)
			world_send(&p[i], k, "hash", &native_hash_desc, &hash);
		rpc_peer_write(&p[i], 1u << 20);
	}
	for (int i = 0; i < 20; i++) {
		world_turn(w);
		most = w->g.n_requests > most ? w->g.n_requests : most;
	}
	EQ_INT(most, LIMIT_GATEWAY_QUESTIONS);
	for (int i = 0; i < PEERS; i++) {
		for (int k = 0; k < QUESTIONS; k++) {
			OK(world_reply(w, &p[i], &r));
			OK(r.error == ERR_STORE_DOWN || r.error == ERR_TOO_MANY_REQUESTS);
			refused += r.error == ERR_TOO_MANY_REQUESTS;
		}
		rpc_peer_close(&p[i]);
	}
	EQ_INT(refused, PEERS * QUESTIONS - LIMIT_GATEWAY_QUESTIONS);
	EQ_INT(w->g.n_questions, 0);
	world_free(w);
}

/* What a sorted range has gathered is freed in pieces, and must be so faster than it can be gathered. */
TEST(what_sorted_ranges_leave_behind_does_not_pile_up)
{
	enum { KEYS = 40000, AT_ONCE = 100, ROUNDS = 150 };
	struct kv_range sorted = {.key = bytes_str("k"), .range_end = bytes_str("l"), .sort_target = KV_SORT_MOD,
				  .sort_order = KV_ORDER_DESCEND, .serializable = true, .keys_only = true};
	struct world *w = world_new(10 * TIMEOUT);
	struct kv_put puts[AT_ONCE];
	struct kv_op ops[AT_ONCE];
	struct kv_txn txn = {{NULL, 0}, {ops, AT_ONCE}, {NULL, 0}};
	char keys[AT_ONCE][8];
	size_t before, now, most = 0, one = 0;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	for (int i = 0; i < KEYS; i++) {
		int at = i % AT_ONCE;

		puts[at] = (struct kv_put){.key = bytes_of(keys[at], (size_t)snprintf(keys[at], 8, "k%05d", i))};
		ops[at] = (struct kv_op){.put = &puts[at]};
		if (at == AT_ONCE - 1)
			world_call(w, &p, "txn", &kv_txn_desc, &txn, &r);
	}
	rpc_peer_close(&p);
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	for (int i = 0; i < ROUNDS; i++) {
		world_join(w, &p);
		world_send(&p, 1, "range", &kv_range_desc, &sorted);
		rpc_peer_write(&p, 1u << 20);
		for (int turns = 0; turns < 8; turns++) {
			world_turn(w);
			one = w->g.reads.work > one ? w->g.reads.work : one;
		}
		rpc_peer_close(&p);
		now = mallinfo2().uordblks + mallinfo2().hblkhd - before;
		most = now > most ? now : most;
	}
	OK(one > 200000);
	OK(most <= 10 * one);                   /* without a bound it was a hundred times as much */
	world_free(w);
}

TEST(the_values_of_candidates_that_wait_are_bounded)
{
	enum { CANDIDATES = 20 };
	struct h2_peer *h;
	struct world *w;
	int32_t id[CANDIDATES];
	size_t refused = 0;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	w->forgets = true;                      /* no lease is granted */
	w->g.timeout_ms = 10 * TIMEOUT;
	for (int i = 0; i < CANDIDATES; i++) {
		struct etcd_campaign c = {.name = bytes_str("e"), .value = large_key(0)};

		id[i] = h2_peer_call(h, "/v3electionpb.Election/Campaign", &etcd_campaign_pb, &c, NULL);
		/* one after the other: what has come in part is bounded too */
		H2_UNTIL(h, h2_peer_of(h, id[i])->closed || w->g.raft.n_proposals == (size_t)i + 1);
	}
	for (int i = 0; i < CANDIDATES; i++)
		refused += h2_peer_of(h, id[i])->closed;
	OK(refused > 0 && refused < CANDIDATES);
	h2_peer_teardown(w, h);
}

/* ---- answers that nobody takes ---- */

/* Its windows are shut, and it goes on asking: each question is twelve bytes, and its answer sixty. */
static void ask_without_taking(const char *path, const struct pb_desc *d, const void *question, size_t n)
{
	struct h2_peer *h;
	struct world *w;
	struct conn *c;
	size_t most = 0;
	int32_t id;

	h2_peer_setup(&w, &h, 0);
	id = h2_peer_open(h, path);
	c = container_of(list_first(&w->g.conns.all), struct conn, node);
	for (size_t i = 0; i < n; i++) {
		h2_peer_say(h, id, d, question);
		if (i % 1000 == 0)
			h2_peer_turn(h);
		most = c->extra_out > most ? c->extra_out : most;
	}
	for (int i = 0; i < 200; i++)
		h2_peer_turn(h);
	most = c->extra_out > most ? c->extra_out : most;
	OK(!h->p.closed);
	OK(most > LIMIT_CONN_OUT_LOW && most <= 2 * LIMIT_CONN_OUT_HIGH);
	h2_peer_teardown(w, h);
}

TEST(watches_that_are_refused_to_who_takes_no_answer_are_bounded)
{
	struct etcd_watch_create c = {.key = bytes_str("b"), .range_end = bytes_str("a")};
	struct etcd_watch_request create = {.create = &c};

	ask_without_taking("/etcdserverpb.Watch/Watch", &etcd_watch_request_pb, &create, 300000);
}

/* Its other streams hold all that a connection may, and it does not take that: its lease lives on all the same. */
TEST(keepalives_that_are_taken_go_on_beside_answers_that_are_not)
{
	enum { RANGES = 20 };
	struct kv_range range = {.key = bytes_str("k"), .range_end = bytes_str("l"), .serializable = true};
	struct native_lease lease = {12345678};
	struct native_keepalive_result r;
	struct h2_peer *h, *other;
	struct conn *c;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, 0);
	other = h2_peer_new(w, H2_PEER_WINDOW);
	h2_peer_fill(other, 6, MIB_BYTES / 8);
	c = container_of(list_first(&w->g.conns.all), struct conn, node);
	for (int i = 0; i < RANGES; i++)
		(void)h2_peer_call(h, KV "Range", &kv_range_pb, &range, NULL);
	H2_UNTIL(h, c->extra_out >= LIMIT_CONN_OUT_MAX);
	id = h2_peer_open(h, "/etcdserverpb.Lease/LeaseKeepAlive");
	h2_peer_turn(h);
	EQ_INT(nghttp2_submit_window_update(h->session, NGHTTP2_FLAG_NONE, id, 1 << 16), 0);
	for (int i = 0; i < 100; i++) {
		for (int k = 0; k < 20; k++)
			h2_peer_say(h, id, &native_lease_pb, &lease);
		for (int k = 0; k < 20; k++) {
			h2_peer_next(h, id, &native_keepalive_result_pb, &r);
			EQ_INT(r.id, lease.id);
		}
	}
	OK(c->extra_out >= LIMIT_CONN_OUT_MAX);
	h2_peer_free(other);
	h2_peer_teardown(w, h);
}

/* Ten thousand watches of a connection that has shut its windows, for fifty intervals. */
TEST(progress_that_nobody_takes_is_left_out)
{
	enum { WATCHES = 10000, INTERVALS = 50 };
	const nghttp2_settings_entry shut[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}};
	struct etcd_watch_create c = {.key = bytes_str("k"), .progress_notify = true, .start_revision = 1};
	struct etcd_watch_request create = {.create = &c};
	struct etcd_watch_response r;
	struct h2_peer *h;
	struct conn *conn;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, 1 << 24);
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	for (int i = 0; i < WATCHES; i++)
		h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	for (int i = 0; i < WATCHES; i++) {
		h2_peer_next(h, id, &etcd_watch_response_pb, &r);
		OK(!r.canceled);
	}
	EQ_INT(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, shut, 1), 0);
	for (int i = 0; i < 5; i++)
		h2_peer_turn(h);
	conn = container_of(list_first(&w->g.conns.all), struct conn, node);
	for (int i = 1; i <= INTERVALS; i++) {
		watch_core_tick(w->core, mono_add_ms(mono_now(), i * 10000));
		h2_peer_turn(h);
		h2_peer_turn(h);
		OK(conn->extra_out <= 2 * LIMIT_CONN_OUT_HIGH);
	}
	h2_peer_teardown(w, h);
}

TEST(keepalives_of_who_takes_no_answer_are_bounded)
{
	struct native_lease lease = {12345678};

	ask_without_taking("/etcdserverpb.Lease/LeaseKeepAlive", &native_lease_pb, &lease, 300000);
}

TESTS = {
	T(the_keys_that_a_connection_watches_are_bounded),
	T(there_are_no_more_streams_with_watches_than_watchd_takes),
	T(many_questions_how_far_all_watches_are_cost_no_more_than_one),
	T(questions_about_leases_that_wait_are_bounded_by_their_bytes),
	T(transactions_that_wait_are_bounded_by_what_they_unfold_to),
	T(questions_to_other_daemons_are_bounded),
	T(what_sorted_ranges_leave_behind_does_not_pile_up),
	T(the_values_of_candidates_that_wait_are_bounded),
	T(watches_that_are_refused_to_who_takes_no_answer_are_bounded),
	T(keepalives_of_who_takes_no_answer_are_bounded),
	T(progress_that_nobody_takes_is_left_out),
	T(keepalives_that_are_taken_go_on_beside_answers_that_are_not),
};

TAP_MAIN
