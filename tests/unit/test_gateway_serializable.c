/* SPDX-License-Identifier: Apache-2.0 */
/* What one gatewayd has told or been told it does not take back: its serializable reads do not go back in time. */
#include "base/err.h"
#include "gatewayd/gateway.h"
#include "proto/native.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { SHORT = 300, TIMEOUT = 60000 };

static const struct kv_range stale = {.key = {(const uint8_t *)"k", 1}, .serializable = true};

TEST(a_serializable_read_waits_until_a_rebuilt_store_is_as_far_as_the_old_one_was)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "1"), 0);
	EQ_INT(world_put(w, &p, "k", "2"), 0);
	EQ_INT(world_range(w, &p, &stale, &res), 0);
	EQ_INT(res.kvs.v[0].version, 2);
	world_rebuild(w);
	world_send(&p, 7, "range", &kv_range_desc, &stale);
	OK(world_silence(w, &p));
	w->applies = true;
	OK(world_reply(w, &p, &r));
	(void)world_decode(&r, &kv_range_result_desc, &res);
	EQ_INT(res.kvs.n, 1);
	EQ_INT(res.kvs.v[0].version, 2);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(so_does_a_transaction_that_only_reads)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range range = stale;
	struct kv_op op = {.range = &range};
	struct kv_txn txn = {{NULL, 0}, {&op, 1}, {NULL, 0}};
	struct kv_txn_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "1"), 0);
	world_rebuild(w);
	world_send(&p, 7, "txn", &kv_txn_desc, &txn);
	OK(world_silence(w, &p));
	w->applies = true;
	OK(world_reply(w, &p, &r));
	(void)world_decode(&r, &kv_txn_result_desc, &res);
	EQ_INT(res.responses.v[0].range->kvs.n, 1);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(no_longer_than_its_deadline)
{
	struct world *w = world_new(SHORT);
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "1"), 0);
	world_rebuild(w);
	EQ_INT(world_range(w, &p, &stale, &res), ERR_TIMEOUT);
	rpc_peer_close(&p);
	world_free(w);
}

/* stored is down and gatewayd has seen more in the map than stored could tell. */
TEST(what_was_seen_in_the_map_counts_too)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range_result res;
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("2")};
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "1"), 0);
	world_store(w, false);
	world_send(&p, 6, "put", &kv_put_desc, &put);
	OK(world_silence(w, &p));
	EQ_INT(world_range(w, &p, &stale, &res), 0);
	EQ_INT(res.kvs.v[0].version, 2);
	world_rebuild(w);
	world_send(&p, 7, "range", &kv_range_desc, &stale);
	OK(world_silence(w, &p));
	w->applies = true;
	do
		OK(world_reply(w, &p, &r));
	while (r.id != 7);
	(void)world_decode(&r, &kv_range_result_desc, &res);
	EQ_INT(res.kvs.v[0].version, 2);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_list_of_leases_does_not_go_back_either)
{
	struct world *w = world_new(TIMEOUT);
	struct lease_grant grant = {.ttl = 60, .id = 7};
	struct native_lease_list all = {0, 0};
	struct native_lease_list_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	world_call(w, &p, "lease_grant", &lease_grant_desc, &grant, &r);
	EQ_INT(r.error, 0);
	world_rebuild(w);
	world_send(&p, 9, "lease_list", &native_lease_list_desc, &all);
	OK(world_silence(w, &p));
	w->applies = true;
	OK(world_reply(w, &p, &r));
	(void)world_decode(&r, &native_lease_list_result_desc, &res);
	EQ_INT(res.leases.n, 1);
	rpc_peer_close(&p);
	world_free(w);
}

/* raftd has just come back, and not said yet how things are. */
TEST(the_term_of_a_header_is_the_last_known_one)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range_result res;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "1"), 0);
	world_raft(w, false);
	EQ_INT(world_range(w, &p, &stale, &res), 0);
	EQ_INT(res.header->raft_term, w->term);
	gateway_raft_up(&w->g);
	EQ_INT(world_range(w, &p, &stale, &res), 0);
	EQ_INT(res.header->raft_term, w->term);
	w->term--;                              /* killed before its newest term was durable */
	world_raft(w, false);
	world_raft(w, true);
	EQ_INT(world_put(w, &p, "k", "2"), 0);
	EQ_INT(world_range(w, &p, &stale, &res), 0);
	EQ_INT(res.header->raft_term, w->term);
	rpc_peer_close(&p);
	world_free(w);
}

TESTS = {
	T(a_serializable_read_waits_until_a_rebuilt_store_is_as_far_as_the_old_one_was),
	T(so_does_a_transaction_that_only_reads),
	T(no_longer_than_its_deadline),
	T(what_was_seen_in_the_map_counts_too),
	T(a_list_of_leases_does_not_go_back_either),
	T(the_term_of_a_header_is_the_last_known_one),
};

TAP_MAIN
