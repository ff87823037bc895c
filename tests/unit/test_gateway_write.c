/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that go by way of the log, information, the daemons' deaths. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proto/native.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { TIMEOUT = 7000, SHORT = 150 };

TEST(a_put_is_answered_with_a_full_header)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v"), .prev_kv = true};
	struct kv_put_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	for (int i = 0; i < 2; i++) {
		world_call(w, &p, "put", &kv_put_desc, &put, &r);
		world_decode(&r, &kv_put_result_desc, &res);
		EQ_INT(res.header->cluster_id, 77);
		EQ_INT(res.header->member_id, 1);
		EQ_INT(res.header->raft_term, 5);
		EQ_INT(res.header->revision, 2 + i);
		EQ_INT(res.prev_kv != NULL, i);
	}
	OK(bytes_eq(res.prev_kv->value, bytes_str("v")));
	rpc_peer_close(&p);
	world_free(w);
}

TEST(what_is_proposed_is_written_before_clients_are_answered)
{
	struct world *w = world_new(TIMEOUT);
	struct native_empty none = {0};
	struct kv_put put = {.key = bytes_str("k")};
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	w->witness = &p;
	world_send(&p, 1, "version", &native_empty_desc, &none);
	world_send(&p, 2, "put", &kv_put_desc, &put);
	OK(world_reply(w, &p, &r) && r.id == 1);
	OK(world_reply(w, &p, &r) && r.id == 2);
	EQ_INT(w->n_written_first, 1);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(delete_txn_and_compact_are_answered)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_delete del = {.key = bytes_str("a"), .range_end = bytes_str("c"), .prev_kv = true};
	struct kv_put put = {.key = bytes_str("t"), .value = bytes_str("1")};
	struct kv_range range = {.key = bytes_str("t")};
	struct kv_op ops[2] = {{.put = &put}, {.range = &range}};
	struct kv_txn txn = {.success = {ops, 2}};
	struct kv_compact compact = {.revision = 4};
	struct kv_delete_result dr;
	struct kv_txn_result tr;
	struct kv_compact_result cr;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "a", "1"), 0);
	EQ_INT(world_put(w, &p, "b", "2"), 0);
	world_call(w, &p, "delete", &kv_delete_desc, &del, &r);
	world_decode(&r, &kv_delete_result_desc, &dr);
	EQ_INT(dr.deleted, 2);
	EQ_INT(dr.prev_kvs.n, 2);
	EQ_INT(dr.header->revision, 4);
	world_call(w, &p, "txn", &kv_txn_desc, &txn, &r);
	world_decode(&r, &kv_txn_result_desc, &tr);
	OK(tr.succeeded);
	EQ_INT(tr.header->revision, 5);
	EQ_INT(tr.header->cluster_id, 77);
	EQ_INT(tr.responses.n, 2);
	EQ_INT(tr.responses.v[1].range->kvs.n, 1);
	EQ_INT(tr.responses.v[1].range->header->revision, 5);
	world_call(w, &p, "compact", &kv_compact_desc, &compact, &r);
	world_decode(&r, &kv_compact_result_desc, &cr);
	EQ_INT(cr.header->revision, 5);
	world_call(w, &p, "compact", &kv_compact_desc, &compact, &r);
	EQ_INT(r.error, ERR_COMPACTED);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_physical_compaction_is_answered_when_the_space_is_back)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_compact compact = {.revision = 2, .physical = true};
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "a", "1"), 0);
	world_send(&p, 1, "compact", &kv_compact_desc, &compact);
	OK(world_silence(w, &p));
	w->compacted = 2;
	w->n_log++;                     /* any entry: progress is told again */
	world_turns(w, 2);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(what_is_wrong_by_itself_is_not_proposed)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put no_key = {.value = bytes_str("v")};
	struct kv_put both = {.key = bytes_str("k"), .value = bytes_str("v"), .ignore_value = true};
	struct kv_txn many = {.compares = {mem_array(LIMIT_TXN_OPS + 1, sizeof(struct kv_compare)), LIMIT_TXN_OPS}};
	size_t before = w->n_proposals;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	world_call(w, &p, "put", &kv_put_desc, &no_key, &r);
	EQ_INT(r.error, ERR_KEY_EMPTY);
	EQ_INT(r.again, ERR_AGAIN_NO);
	OK(bytes_eq(r.text, bytes_str("key is not provided")));
	world_call(w, &p, "put", &kv_put_desc, &both, &r);
	EQ_INT(r.error, ERR_VALUE_PROVIDED);
	world_call(w, &p, "txn", &kv_txn_desc, &many, &r);
	EQ_INT(r.error, ERR_KEY_EMPTY);
	EQ_INT(w->n_proposals, before);
	EQ_INT(w->g.n_requests, 0);
	mem_free(many.compares.v);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(too_many_operations_and_too_large_requests_leave_the_connection_open)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put big = {.key = bytes_str("k")};
	uint8_t *value = mem_alloc(LIMIT_REQUEST_BYTES);
	struct buf b = {0};
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	wire_array(&b, 1);
	wire_array(&b, LIMIT_TXN_OPS + 1);
	for (unsigned i = 0; i <= LIMIT_TXN_OPS; i++)
		wire_array(&b, 0);
	rpc_peer_request(&p, 1, "txn", buf_bytes(&b));
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, ERR_TOO_MANY_OPS);
	for (size_t n = LIMIT_REQUEST_BYTES - 64; n <= LIMIT_REQUEST_BYTES; n += 16) {
		big.value = bytes_of(value, n);
		world_call(w, &p, "put", &kv_put_desc, &big, &r);
		EQ_INT(r.error, n == LIMIT_REQUEST_BYTES - 64 ? 0 : r.error);
		OK(r.error == 0 || r.error == ERR_REQUEST_TOO_LARGE);
	}
	EQ_INT(r.error, ERR_REQUEST_TOO_LARGE);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	mem_free(value);
	buf_free(&b);
	rpc_peer_close(&p);
	world_free(w);
}

static void raw(struct rpc_peer *p, const char *method, const char *params, size_t n)
{
	rpc_peer_request(p, 9, method, bytes_of(params, n));
}

TEST(defaults_may_be_left_out_or_nil_and_str_will_do)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_range_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	raw(&p, "put", "\x92\xa1k\xa1v", 5);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	raw(&p, "range", "\x94\xa1k\xc0\xc0\xc0", 6);
	OK(world_reply(w, &p, &r));
	world_decode(&r, &kv_range_result_desc, &res);
	EQ_INT(res.kvs.n, 1);
	EQ_INT(res.count, 1);
	raw(&p, "version", "\x90", 1);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(an_unknown_method_is_told_so_and_the_connection_goes_on)
{
	struct world *w = world_new(TIMEOUT);
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	raw(&p, "lease_grants", "\x91\x80", 2);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, ERR_UNKNOWN_METHOD);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(parameters_of_the_wrong_kind_end_the_connection)
{
	static const struct { const char *bytes; size_t n; } bad[] = {
		{"\x91\x01", 2},                                /* a key that is a number */
		{"\x92\xa1k\x80", 4},                           /* a value that is a map */
		{"\x97\xa1k\xa1v\x00\xc2\xc2\xc2\x00", 10},     /* one parameter too many */
		{"\x93\xa1k\xa1v\xcb\x00\x00\x00\x00\x00\x00\x00\x00", 14},     /* a lease that is a float */
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct world *w = world_new(TIMEOUT);
		struct rpc_reply r;
		struct rpc_peer p;

		world_join(w, &p);
		raw(&p, "put", bad[i].bytes, bad[i].n);
		OK(world_reply(w, &p, &r));
		EQ_INT(r.id, 9);
		EQ_INT(r.error, ERR_MALFORMED);
		OK(!world_reply(w, &p, &r));
		EQ_INT(w->g.n_requests, 0);
		rpc_peer_close(&p);
		world_free(w);
	}
}

TEST(every_method_of_the_protocol_has_a_handler)
{
	struct world *w = world_new(TIMEOUT);
	struct rpc_reply r;
	struct rpc_peer p;

	for (size_t i = 0; i < native_method_count; i++) {
		world_join(w, &p);
		raw(&p, native_methods[i].name, "\x90", 1);
		OK(world_reply(w, &p, &r));
		OK(r.error != ERR_UNKNOWN_METHOD);
		rpc_peer_close(&p);
		world_turns(w, 2);
		if (i + 2 == native_method_count)       /* so that move_leader is answered at once */
			world_leader(w, 2);
	}
	world_free(w);
}

/* ---- deaths ---- */

TEST(a_put_survives_the_death_of_raftd)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v")};
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	w->forgets = true;              /* it dies with the proposal */
	world_send(&p, 1, "put", &kv_put_desc, &put);
	OK(world_silence(w, &p));
	world_raft(w, false);
	OK(world_silence(w, &p));
	w->forgets = false;
	world_raft(w, true);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	EQ_INT(small_store_revision(&w->store), 2);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_put_survives_the_death_of_stored_and_is_done_once)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v")};
	struct kv_put_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	w->mute_results = true;         /* applied, but the result is lost with the link */
	world_send(&p, 1, "put", &kv_put_desc, &put);
	OK(world_silence(w, &p));
	EQ_INT(small_store_revision(&w->store), 2);
	world_store(w, false);
	OK(world_silence(w, &p));
	w->mute_results = false;
	world_store(w, true);
	OK(world_reply(w, &p, &r));
	world_decode(&r, &kv_put_result_desc, &res);
	EQ_INT(res.header->revision, 2);
	EQ_INT(small_store_revision(&w->store), 2);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_put_survives_a_change_of_the_leader)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v")};
	struct kv_put_result res;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	w->forgets = true;              /* the old leader's log is lost */
	world_send(&p, 1, "put", &kv_put_desc, &put);
	OK(world_silence(w, &p));
	world_leader(w, 0);
	OK(world_silence(w, &p));
	w->forgets = false;
	world_leader(w, 2);
	OK(world_reply(w, &p, &r));
	world_decode(&r, &kv_put_result_desc, &res);
	EQ_INT(res.header->raft_term, 7);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(without_a_leader_a_put_is_surely_not_done)
{
	struct world *w = world_new(SHORT);
	struct rpc_peer p;

	world_join(w, &p);
	world_leader(w, 0);
	world_turns(w, 2);
	EQ_INT(world_put(w, &p, "k", "v"), ERR_NO_LEADER);
	world_leader(w, 2);
	world_ms(w, 20);
	EQ_INT(small_store_revision(&w->store), 1);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_put_that_got_lost_times_out_as_unsure)
{
	struct world *w = world_new(SHORT);
	struct rpc_peer p;

	world_join(w, &p);
	w->commits = false;
	EQ_INT(world_put(w, &p, "k", "v"), ERR_TIMEOUT);
	EQ_INT(w->g.n_requests, 0);
	w->commits = true;              /* now it is done after all */
	world_ms(w, 20);
	EQ_INT(small_store_revision(&w->store), 2);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(refusals_are_tried_again)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v")};
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	w->refuses = ERR_FULL;
	world_send(&p, 1, "put", &kv_put_desc, &put);
	rpc_peer_write(&p, 1000);
	world_ms(w, 200);
	OK(w->n_proposals >= 3 && w->n_proposals <= 8);
	w->refuses = 0;
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_lost_session_makes_one_outcome_unknown_and_then_all_is_well)
{
	struct world *w = world_new(TIMEOUT);
	struct rpc_peer p;

	world_join(w, &p);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	world_generation(w, true);      /* a store that knows no sessions */
	EQ_INT(world_put(w, &p, "k", "v"), ERR_OUTCOME_UNKNOWN);
	EQ_INT(w->n_hellos, 1);
	EQ_INT(world_put(w, &p, "k", "v"), 0);
	EQ_INT(world_put(w, &p, "k", "w"), 0);
	EQ_INT(small_store_revision(&w->store), 3);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(too_many_commands_in_flight_are_refused)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v")};
	struct rpc_peer p[10];
	unsigned refused = 0, done = 0;

	w->commits = false;
	for (size_t i = 0; i < ARRAY_LEN(p); i++) {
		world_join(w, &p[i]);
		for (uint32_t id = 0; id < 1000; id++)
			world_send(&p[i], id, "put", &kv_put_desc, &put);
		while (p[i].out.len > 0) {
			rpc_peer_write(&p[i], 1u << 16);
			world_turn(w);
		}
	}
	world_turns(w, 10);
	EQ_INT(w->g.raft.n_proposals, LIMIT_GATEWAY_PROPOSALS);
	w->commits = true;
	for (size_t i = 0; i < ARRAY_LEN(p); i++) {
		for (int k = 0; k < 1000; k++) {
			struct rpc_reply r;

			OK(world_reply(w, &p[i], &r));
			OK(r.error == 0 || r.error == ERR_TOO_MANY_REQUESTS);
			refused += r.error != 0;
			done += r.error == 0;
		}
		rpc_peer_close(&p[i]);
	}
	EQ_INT(done, LIMIT_GATEWAY_PROPOSALS);
	EQ_INT(refused, 10000 - LIMIT_GATEWAY_PROPOSALS);
	world_free(w);
}

TEST(a_client_that_goes_leaves_nothing_behind)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v")};
	struct kv_range range = {.key = bytes_str("k")};
	struct native_empty none = {0};
	struct native_hash hash = {0};
	struct kv_compact compact = {.revision = 1, .physical = true};
	struct rpc_peer p;

	w->commits = false;
	world_join(w, &p);
	world_send(&p, 1, "put", &kv_put_desc, &put);
	world_send(&p, 2, "compact", &kv_compact_desc, &compact);
	w->forgets = true;
	world_send(&p, 3, "range", &kv_range_desc, &range);
	world_send(&p, 4, "hash", &native_hash_desc, &hash);
	world_send(&p, 5, "status", &native_empty_desc, &none);
	rpc_peer_write(&p, 1u << 16);
	world_turns(w, 1);
	OK(w->g.n_requests >= 4);
	rpc_peer_close(&p);
	world_turns(w, 3);
	EQ_INT(w->g.n_requests, 0);
	EQ_INT(w->g.raft.n_proposals, 0);
	EQ_INT(w->g.raft.n_reads, 0);
	world_free(w);
}

TEST(stopping_answers_what_is_in_flight)
{
	struct world *w = world_new(TIMEOUT);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_str("v")};
	struct rpc_reply r;
	struct rpc_peer p, idle;

	world_join(w, &p);
	world_join(w, &idle);
	w->commits = false;
	world_send(&p, 1, "put", &kv_put_desc, &put);
	OK(world_silence(w, &p));
	gateway_stop(&w->g);
	OK(!world_reply(w, &idle, &r));
	w->commits = true;
	OK(world_reply(w, &p, &r));
	EQ_INT(r.error, 0);
	OK(!world_reply(w, &p, &r));
	rpc_peer_close(&p);
	rpc_peer_close(&idle);
	world_turns(w, 3);
	EQ_INT(w->g.conns.n, 0);
	world_free(w);
}

/* ---- information ---- */

TEST(status_tells_what_the_daemons_say)
{
	struct world *w = world_new(TIMEOUT);
	struct native_empty none = {0};
	struct native_status_result s;
	struct rpc_reply r;
	struct rpc_peer p;
	mono_t began;

	world_join(w, &p);
	world_call(w, &p, "status", &native_empty_desc, &none, &r);
	world_decode(&r, &native_status_result_desc, &s);
	OK(bytes_eq(s.role, bytes_str("leader")));
	OK(bytes_eq(s.name, bytes_str("one")));
	EQ_INT(s.log_bytes, 4711);
	EQ_INT(s.keys, 7);
	EQ_INT(s.apply_hash.len, 16);
	EQ_INT(s.daemons.n, 5);
	EQ_INT(s.daemons.v[0].age_ms, 12);
	EQ_INT(s.daemons.v[1].age_ms, 34);
	OK(bytes_eq(s.daemons.v[2].name, bytes_str("leased")) && s.daemons.v[2].age_ms >= 12);
	OK(bytes_eq(s.daemons.v[3].name, bytes_str("watchd")) && s.daemons.v[3].age_ms >= 56);
	OK(bytes_eq(s.daemons.v[4].name, bytes_str("gatewayd.0")));
	w->forgets = true;              /* raftd hangs */
	began = mono_now();
	world_call(w, &p, "status", &native_empty_desc, &none, &r);
	world_decode(&r, &native_status_result_desc, &s);
	OK(mono_sub_ms(mono_now(), began) >= GATEWAY_STATUS_MS - 10);
	OK(bytes_eq(s.role, bytes_str("unknown")));
	OK(bytes_eq(s.daemons.v[0].state, bytes_str("down")));
	EQ_INT(s.daemons.v[0].age_ms, -1);
	OK(bytes_eq(s.daemons.v[1].state, bytes_str("up")));
	world_raft(w, false);
	world_store(w, false);
	world_call(w, &p, "status", &native_empty_desc, &none, &r);
	world_decode(&r, &native_status_result_desc, &s);
	OK(bytes_eq(s.daemons.v[1].state, bytes_str("down")));
	EQ_INT(s.applied, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(members_hash_and_move_leader_are_answered)
{
	struct world *w = world_new(TIMEOUT);
	struct native_empty none = {0};
	struct native_hash hash = {.revision = 1}, future = {.revision = 1000};
	struct native_move_leader move = {.target = 2};
	struct native_members_result m;
	struct native_hash_result h;
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	world_call(w, &p, "members", &native_empty_desc, &none, &r);
	world_decode(&r, &native_members_result_desc, &m);
	EQ_INT(m.members.n, 2);
	OK(bytes_eq(m.members.v[1].name, bytes_str("two")));
	world_call(w, &p, "hash", &native_hash_desc, &hash, &r);
	world_decode(&r, &native_hash_result_desc, &h);
	EQ_INT(h.hash.len, 16);
	EQ_INT(h.hash_revision, 1);
	world_call(w, &p, "hash", &native_hash_desc, &future, &r);
	EQ_INT(r.error, ERR_FUTURE_REV);
	world_send(&p, 50, "move_leader", &native_move_leader_desc, &move);
	OK(world_silence(w, &p));       /* begun, not done */
	EQ_INT(w->transfer_target, 2);
	world_leader(w, 2);
	OK(world_reply(w, &p, &r));
	EQ_INT(r.id, 50);
	EQ_INT(r.error, 0);
	world_call(w, &p, "move_leader", &native_move_leader_desc, &move, &r);
	EQ_INT(r.error, ERR_NOT_LEADER);
	rpc_peer_close(&p);
	world_free(w);
}

TESTS = {
	T(a_put_is_answered_with_a_full_header),
	T(what_is_proposed_is_written_before_clients_are_answered),
	T(delete_txn_and_compact_are_answered),
	T(a_physical_compaction_is_answered_when_the_space_is_back),
	T(what_is_wrong_by_itself_is_not_proposed),
	T(too_many_operations_and_too_large_requests_leave_the_connection_open),
	T(defaults_may_be_left_out_or_nil_and_str_will_do),
	T(an_unknown_method_is_told_so_and_the_connection_goes_on),
	T(parameters_of_the_wrong_kind_end_the_connection),
	T(every_method_of_the_protocol_has_a_handler),
	T(a_put_survives_the_death_of_raftd),
	T(a_put_survives_the_death_of_stored_and_is_done_once),
	T(a_put_survives_a_change_of_the_leader),
	T(without_a_leader_a_put_is_surely_not_done),
	T(a_put_that_got_lost_times_out_as_unsure),
	T(refusals_are_tried_again),
	T(a_lost_session_makes_one_outcome_unknown_and_then_all_is_well),
	T(too_many_commands_in_flight_are_refused),
	T(a_client_that_goes_leaves_nothing_behind),
	T(stopping_answers_what_is_in_flight),
	T(status_tells_what_the_daemons_say),
	T(members_hash_and_move_leader_are_answered),
};
TAP_MAIN
