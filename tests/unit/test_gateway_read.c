/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges and reading transactions: when they may be read, how large ones are written. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proto/native.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { TIMEOUT = 7000, SHORT = 150 };

static const struct kv_range all = {.key = {(const uint8_t *)"", 1}, .range_end = {(const uint8_t *)"", 1}};

/* Straight into the store, as if another gateway had written it. */
static void fill(struct world *w, int keys, size_t value_bytes)
{
	char *value = mem_alloc(value_bytes + 1);
	char key[16];

	memset(value, 'v', value_bytes);
	for (int i = 0; i < keys; i++) {
		(void)snprintf(key, sizeof key, "k/%06d", i);
		small_store_put(&w->store, key, value);
		w->n_log++;             /* so that the index and the log keep step */
	}
	mem_free(value);
	world_progress(w);
	world_turns(w, 3);
}

TEST(a_range_sees_the_write_before_it)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range range = {.key = bytes_str("k")};
	struct kv_range_result res;
	struct rpc_peer p, q;

	world_join(w, &p);
	world_join(w, &q);
	for (int i = 0; i < 50; i++) {
		char value[16];

		(void)snprintf(value, sizeof value, "%d", i);
		EQ_INT(world_put(w, &p, "k", value), 0);
		EQ_INT(world_range(w, &q, &range, &res), 0);
		EQ_INT(res.count, 1);
		OK(bytes_eq(res.kvs.v[0].value, bytes_str(value)));
		EQ_INT(res.header->revision, i + 2);
		EQ_INT(res.header->member_id, 1);
	}
	rpc_peer_close(&p);
	rpc_peer_close(&q);
	world_free(w);
}

TEST(a_linearizable_range_waits_for_the_store)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v")};
	struct kv_range range = {.key = bytes_str("k")}, stale = {.key = bytes_str("k"), .serializable = true};
	struct kv_range_result res;
	struct rpc_reply r;
	struct rpc_peer p, q;

	world_join(w, &p);
	world_join(w, &q);
	w->applies = false;             /* committed, not applied */
	world_send(&p, 1, "put", &kv_put_desc, &put);
	OK(world_silence(w, &p));
	world_send(&q, 2, "range", &kv_range_desc, &range);
	OK(world_silence(w, &q));
	EQ_INT(world_range(w, &p, &stale, &res), 0);     /* its own is not held up */
	EQ_INT(res.count, 0);
	w->applies = true;
	OK(world_reply(w, &q, &r));
	world_decode(&r, &kv_range_result_desc, &res);
	EQ_INT(res.count, 1);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.id, 1);
	rpc_peer_close(&p);
	rpc_peer_close(&q);
	world_free(w);
}

TEST(reads_that_wait_share_one_round)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range range = {.key = bytes_str("k")};
	struct rpc_reply r;
	struct rpc_peer p;
	size_t before = w->n_reads;

	world_join(w, &p);
	for (uint32_t id = 0; id < 500; id++)
		world_send(&p, id, "range", &kv_range_desc, &range);
	for (int i = 0; i < 500; i++)
		OK(world_reply(w, &p, &r));
	OK(w->n_reads - before <= 4);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_round_is_asked_again_after_raftd_has_gone_and_come)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range range = {.key = bytes_str("k")};
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	w->forgets = true;
	world_send(&p, 1, "range", &kv_range_desc, &range);
	OK(world_silence(w, &p));
	world_raft(w, false);
	w->forgets = false;
	OK(world_silence(w, &p));
	world_raft(w, true);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	w->forgets = true;              /* and after half a second without an answer */
	world_send(&p, 2, "range", &kv_range_desc, &range);
	OK(world_silence(w, &p));
	w->forgets = false;
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	w->refuses = ERR_NO_LEADER;     /* and after a refusal */
	world_send(&p, 3, "range", &kv_range_desc, &range);
	OK(world_silence(w, &p));
	w->refuses = 0;
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(without_raftd_only_serializable_reads_are_answered)
{
	struct world *w = world_new(SHORT);
	struct kv_range range = {.key = bytes_str("k")}, stale = {.key = bytes_str("k"), .serializable = true};
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	world_raft(w, false);
	EQ_INT(world_range(w, &p, &stale, &res), 0);
	EQ_INT(res.count, 1);
	EQ_INT(world_range(w, &p, &range, &res), ERR_NO_LEADER);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(without_stored_the_mapped_store_answers_what_it_can)
{
	struct world *w = world_new(SHORT);
	struct kv_range range = {.key = bytes_str("k")};
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	world_store(w, false);
	EQ_INT(world_range(w, &p, &range, &res), 0);
	EQ_INT(res.count, 1);
	fill(w, 1, 10);                 /* stored died before it could tell of this */
	EQ_INT(world_range(w, &p, &range, &res), 0);
	w->applies = false;
	w->n_log++;                     /* this has not been applied */
	EQ_INT(world_range(w, &p, &range, &res), ERR_STORE_DOWN);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_store_that_ends_before_the_log_begins_serves_nobody)
{
	struct world *w = world_new(SHORT);
	struct kv_range stale = {.key = bytes_str("k"), .serializable = true};
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "j", "v"), 0);
	w->log_begins = w->n_log + 2;   /* one entry more than it has */
	world_leader(w, 1);             /* raftd tells */
	OK(world_silence(w, &p));
	EQ_INT(world_range(w, &p, &stale, &res), ERR_TIMEOUT);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(before_a_store_is_mapped_reads_wait)
{
	struct world *w = world_new_down(SHORT);
	struct kv_range stale = {.key = bytes_str("k"), .serializable = true};
	struct kv_range_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	w->unmappable = true;
	world_raft(w, true);
	EQ_INT(world_range(w, &p, &stale, &res), ERR_STORE_DOWN);
	world_store(w, true);
	world_send(&p, 7, "range", &kv_range_desc, &stale);
	OK(world_silence(w, &p));
	w->unmappable = false;
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	EQ_INT(w->n_opened, 1);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(another_generation_is_mapped_when_stored_says_so)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	world_generation(w, false);
	EQ_INT(world_range(w, &p, &all, &res), 0);
	EQ_INT(res.count, 1);
	EQ_INT(w->n_opened, 2);
	EQ_INT(w->n_closed, 1);
	EQ_INT(w->g.map.generation, 2);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_read_is_not_served_from_a_new_store_that_is_behind)
{
	struct world *w = world_new(SHORT);
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	for (int i = 0; i < 5; i++)
		EQ_INT(world_put(w, &p, "k", "v"), 0);
	w->applies = false;
	world_generation(w, true);
	w->n_log = 5;                   /* the cluster's log, not applied again yet */
	EQ_INT(world_range(w, &p, &all, &res), ERR_TIMEOUT);
	w->n_log = 0;
	rpc_peer_close(&p);
	world_free(w);
}

/* The wait ends by what the old store had, and by then the new one is mapped. */
TEST(a_read_let_go_by_the_old_store_still_waits_for_the_new_one)
{
	struct world *w = world_new(TIMEOUT);
	struct store_progress old, new;
	struct kv_range_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	w->applies = false;
	w->n_log++;
	world_send(&p, 1, "range", &kv_range_desc, &all);
	OK(world_silence(w, &p));
	old = new = w->g.store.progress;
	old.applied += 10;
	new.generation = ++w->generation;
	net_send(&w->to_gateway_store, mono_now(), MSG_NO_store_progress, &store_progress_desc, &old);
	net_send(&w->to_gateway_store, mono_now(), MSG_NO_store_progress, &store_progress_desc, &new);
	OK(world_silence(w, &p));
	EQ_INT(w->n_opened, 2);
	w->applies = true;
	OK(world_reply(w, &p, &r));
	world_decode(&r, &kv_range_result_desc, &res);
	EQ_INT(res.count, 1);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(errors_of_ranges)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range none = {.key = bytes_of(NULL, 0)}, order = {.key = bytes_str("k"), .sort_order = 9};
	struct kv_range future = {.key = bytes_str("k"), .revision = 100}, past = {.key = bytes_str("k"), .revision = 2};
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	fill(w, 10, 10);
	small_store_compact(&w->store, 5);
	w->n_log++;
	world_progress(w);
	EQ_INT(world_range(w, &p, &none, &res), ERR_KEY_EMPTY);
	EQ_INT(world_range(w, &p, &order, &res), ERR_SORT_OPTION);
	EQ_INT(world_range(w, &p, &future, &res), ERR_FUTURE_REV);
	EQ_INT(world_range(w, &p, &past, &res), ERR_COMPACTED);
	rpc_peer_close(&p);
	world_free(w);
}

/* ---- large ones ---- */

enum { KEYS = 6000, VALUE = 500 };

static void check_all(const struct kv_range_result *res, int keys)
{
	EQ_INT(res->count, keys);
	EQ_INT(res->kvs.n, keys);
	for (int i = 0; i < keys; i++) {
		char key[16];

		(void)snprintf(key, sizeof key, "k/%06d", i);
		OK(bytes_eq(res->kvs.v[i].key, bytes_str(key)));
		EQ_INT(res->kvs.v[i].value.len, VALUE);
	}
}

TEST(a_large_range_is_streamed_whole)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range sorted = all;
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	fill(w, KEYS, VALUE);
	EQ_INT(world_range(w, &p, &all, &res), 0);
	check_all(&res, KEYS);
	EQ_INT(w->g.counters.read_streams_total.value, 1);
	sorted.sort_order = KV_ORDER_DESCEND;
	sorted.sort_target = KV_SORT_MOD;
	sorted.limit = 2000;
	EQ_INT(world_range(w, &p, &sorted, &res), 0);
	EQ_INT(res.kvs.n, 2000);
	OK(res.more);
	EQ_INT(res.kvs.v[0].mod_revision, KEYS + 1);
	EQ_INT(w->g.reads.work, w->g.reads.spent_bytes);
	EQ_INT(w->g.reads.bytes, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(streams_share_turns_and_small_requests_pass_them)
{
	struct world *w = world_new(TIMEOUT);
	struct rpc_peer big[4], small;
	struct rpc_reply r;
	struct kv_range_result res;
	struct kv_range keys = {.key = bytes_str("k/"), .range_end = bytes_str("k0")};
	size_t replies = 0, puts = 0;

	fill(w, KEYS, VALUE);
	world_join(w, &small);
	for (size_t i = 0; i < 4; i++) {
		world_join(w, &big[i]);
		world_send(&big[i], 1, "range", &kv_range_desc, &keys);
		rpc_peer_write(&big[i], 1u << 16);
	}
	while (replies < 4) {
		EQ_INT(world_put(w, &small, "z", "z"), 0);
		puts++;
		OK((w->g.conns.in_bytes + w->g.conns.out_bytes) < 4 * 2 * (LIMIT_CONN_OUT_HIGH + LIMIT_GATEWAY_STEP_BYTES + VALUE) + (1u << 18));
		for (size_t i = 0; i < 4; i++) {
			rpc_peer_read(&big[i], 100000);
			if (!rpc_peer_next(&big[i], &r))
				continue;
			world_decode(&r, &kv_range_result_desc, &res);
			check_all(&res, KEYS);          /* at one revision, though puts went on */
			replies++;
		}
	}
	OK(puts > 20);
	for (size_t i = 0; i < 4; i++)
		rpc_peer_close(&big[i]);
	rpc_peer_close(&small);
	world_free(w);
}

TEST(many_large_ranges_on_one_connection_are_answered_in_full)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range one = {.key = bytes_str("k/000000")};
	struct kv_range_result res;
	struct rpc_reply r;
	struct rpc_peer p;
	bool seen[40] = {false};

	fill(w, KEYS / 4, VALUE);
	world_join(w, &p);
	for (uint32_t id = 0; id < 40; id++)
		world_send(&p, id, "range", &kv_range_desc, id % 2 ? &one : &all);
	for (int i = 0; i < 40; i++) {
		OK(world_reply(w, &p, &r));
		OK(!seen[r.id]);
		seen[r.id] = true;
		world_decode(&r, &kv_range_result_desc, &res);
		if (r.id % 2)
			EQ_INT(res.kvs.n, 1);
		else
			check_all(&res, KEYS / 4);
	}
	EQ_INT(w->g.n_requests, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(when_memory_is_short_those_go_who_do_not_read)
{
	struct world *w = world_new(TIMEOUT);
	struct rpc_peer hog[12], good;
	struct kv_range_result res;

	fill(w, KEYS, VALUE);
	w->g.conns.max_out_bytes = 1u << 20;
	for (size_t i = 0; i < ARRAY_LEN(hog); i++) {
		world_join(w, &hog[i]);
		world_send(&hog[i], 1, "range", &kv_range_desc, &all);
		rpc_peer_write(&hog[i], 1u << 16);
	}
	for (int i = 0; i < 300; i++) {
		world_turn(w);
		OK(w->g.conns.out_bytes <= 1u << 20);
	}
	OK(w->g.counters.clients_stalled_total.value > 0);
	OK(w->g.conns.n > 0);
	world_join(w, &good);
	EQ_INT(world_range(w, &good, &all, &res), 0);
	check_all(&res, KEYS);
	for (size_t i = 0; i < ARRAY_LEN(hog); i++)
		rpc_peer_close(&hog[i]);
	rpc_peer_close(&good);
	world_free(w);
}

TEST(a_compaction_during_a_stream_closes_that_client_only)
{
	struct world *w = world_new(TIMEOUT);
	struct rpc_peer p, q;

	fill(w, KEYS, VALUE);
	world_join(w, &p);
	world_join(w, &q);
	world_send(&p, 1, "range", &kv_range_desc, &all);
	rpc_peer_write(&p, 1u << 16);
	while (w->g.counters.read_streams_total.value == 0)
		world_turn(w);
	fill(w, 1, 10);
	small_store_compact(&w->store, small_store_revision(&w->store));
	w->n_log++;
	world_turns(w, 5);
	while (!p.closed) {
		rpc_peer_read(&p, 1u << 18);
		world_turn(w);
	}
	EQ_INT(w->g.counters.read_compacted_total.value, 1);
	EQ_INT(world_put(w, &q, "k", "v"), 0);
	EQ_INT(w->g.n_requests, 0);
	EQ_INT(w->g.reads.work, w->g.reads.spent_bytes);
	rpc_peer_close(&p);
	rpc_peer_close(&q);
	world_free(w);
}

TEST(a_compaction_before_the_first_byte_is_not_noticed)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range range = all;
	struct kv_range_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	range.sort_order = KV_ORDER_DESCEND;    /* many steps before anything is written */
	fill(w, KEYS, 10);
	world_join(w, &p);
	world_send(&p, 1, "range", &kv_range_desc, &range);
	rpc_peer_write(&p, 1u << 16);
	while (list_empty(&w->g.reads.slow))
		world_turn(w);
	small_store_put(&w->store, "k/000000", "w");    /* between two steps */
	small_store_compact(&w->store, small_store_revision(&w->store));
	w->n_log += 2;
	OK(world_reply(w, &p, &r));
	world_decode(&r, &kv_range_result_desc, &res);
	EQ_INT(res.kvs.n, KEYS);
	EQ_INT(res.header->revision, KEYS + 2);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_client_that_goes_in_the_middle_of_a_stream_leaves_nothing)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range sorted = all;
	struct rpc_peer p;

	sorted.sort_order = KV_ORDER_DESCEND;
	sorted.sort_target = KV_SORT_VALUE;
	fill(w, KEYS, VALUE);
	for (int i = 0; i < 40; i++) {
		world_join(w, &p);
		world_send(&p, 1, "range", &kv_range_desc, &all);
		world_send(&p, 2, "range", &kv_range_desc, &sorted);
		rpc_peer_write(&p, 1u << 16);
		world_turns(w, i);
		rpc_peer_close(&p);
		world_turns(w, 3);
		EQ_INT(w->g.n_requests, 0);
		EQ_INT(w->g.reads.n, 0);
		EQ_INT(w->g.reads.work, w->g.reads.spent_bytes);
	}
	world_turns(w, 400);
	OK(list_empty(&w->g.reads.spent));
	world_free(w);
}

/* ---- transactions ---- */

TEST(a_reading_transaction_does_not_go_through_the_log)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range one = {.key = bytes_str("k/000001")}, range = all;
	struct kv_op ops[2] = {{.range = &one}, {.range = &range}};
	struct kv_compare cmp = {.key = bytes_str("k/000001"), .target = KV_TARGET_VERSION, .op = KV_GREATER};
	struct kv_txn txn = {.compares = {&cmp, 1}, .success = {ops, 2}};
	struct kv_txn_result res;
	struct rpc_reply r;
	struct rpc_peer p;
	size_t before;

	world_join(w, &p);
	fill(w, KEYS, VALUE);
	before = w->n_proposals;
	world_call(w, &p, "txn", &kv_txn_desc, &txn, &r);
	world_decode(&r, &kv_txn_result_desc, &res);
	OK(res.succeeded);
	EQ_INT(res.header->revision, KEYS + 1);
	EQ_INT(res.header->cluster_id, 77);
	EQ_INT(res.responses.n, 2);
	EQ_INT(res.responses.v[0].range->kvs.n, 1);
	check_all(res.responses.v[1].range, KEYS);
	EQ_INT(w->n_proposals, before);
	EQ_INT(w->g.reads.work, w->g.reads.spent_bytes);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_transaction_of_compares_alone_is_linearizable)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_compare cmp = {.key = bytes_str("k"), .target = KV_TARGET_VERSION, .op = KV_EQUAL};
	struct kv_range stale = {.key = bytes_str("k"), .serializable = true};
	struct kv_range fresh = {.key = bytes_str("k")};
	struct kv_op ops[2] = {{.range = &stale}, {.range = &fresh}};
	struct kv_txn compares = {.compares = {&cmp, 1}}, lax = {.success = {ops, 1}}, mixed = {.success = {ops, 2}};
	struct rpc_reply r;
	struct rpc_peer p;
	size_t before;

	world_join(w, &p);
	before = w->n_reads;
	world_call(w, &p, "txn", &kv_txn_desc, &lax, &r);
	EQ_INT(r.error, 0);
	EQ_INT(w->n_reads, before);
	world_call(w, &p, "txn", &kv_txn_desc, &compares, &r);
	EQ_INT(r.error, 0);
	EQ_INT(w->n_reads, before + 1);
	world_call(w, &p, "txn", &kv_txn_desc, &mixed, &r);
	EQ_INT(r.error, 0);
	EQ_INT(w->n_reads, before + 2);
	rpc_peer_close(&p);
	world_free(w);
}

TESTS = {
	T(a_range_sees_the_write_before_it),
	T(a_linearizable_range_waits_for_the_store),
	T(reads_that_wait_share_one_round),
	T(a_round_is_asked_again_after_raftd_has_gone_and_come),
	T(without_raftd_only_serializable_reads_are_answered),
	T(without_stored_the_mapped_store_answers_what_it_can),
	T(a_store_that_ends_before_the_log_begins_serves_nobody),
	T(before_a_store_is_mapped_reads_wait),
	T(another_generation_is_mapped_when_stored_says_so),
	T(a_read_is_not_served_from_a_new_store_that_is_behind),
	T(a_read_let_go_by_the_old_store_still_waits_for_the_new_one),
	T(errors_of_ranges),
	T(a_large_range_is_streamed_whole),
	T(streams_share_turns_and_small_requests_pass_them),
	T(many_large_ranges_on_one_connection_are_answered_in_full),
	T(when_memory_is_short_those_go_who_do_not_read),
	T(a_compaction_during_a_stream_closes_that_client_only),
	T(a_compaction_before_the_first_byte_is_not_noticed),
	T(a_client_that_goes_in_the_middle_of_a_stream_leaves_nothing),
	T(a_reading_transaction_does_not_go_through_the_log),
	T(a_transaction_of_compares_alone_is_linearizable),
};
TAP_MAIN
