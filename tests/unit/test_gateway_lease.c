/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of leases: by way of the log, of leased, of the mapped store. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proto/native.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { TIMEOUT = 20000, SHORT = 400 };

static struct rpc_reply reply;

static struct lease_grant_result grant(struct world *w, struct rpc_peer *p, int64_t id, int64_t ttl)
{
	struct lease_grant g = {id, ttl};
	struct lease_grant_result r = {NULL, 0, 0};

	world_call(w, p, "lease_grant", &lease_grant_desc, &g, &reply);
	if (reply.error == 0)
		(void)world_decode(&reply, &lease_grant_result_desc, &r);
	return r;
}

/* The TTL, or minus the error. */
static int64_t keepalive(struct world *w, struct rpc_peer *p, int64_t id)
{
	struct native_lease l = {id};
	struct native_keepalive_result r;

	world_call(w, p, "lease_keepalive", &native_lease_desc, &l, &reply);
	if (reply.error != 0)
		return -reply.error;
	(void)world_decode(&reply, &native_keepalive_result_desc, &r);
	EQ_INT(r.id, id);
	EQ_INT(r.header->cluster_id, 77);
	return r.ttl;
}

static struct native_time_to_live_result ttl(struct world *w, struct rpc_peer *p, int64_t id, bool keys,
					     const char *after)
{
	struct native_time_to_live t = {id, keys, bytes_str(after)};
	struct native_time_to_live_result r = {.ttl = 0};

	world_call(w, p, "lease_time_to_live", &native_time_to_live_desc, &t, &reply);
	if (reply.error == 0)
		(void)world_decode(&reply, &native_time_to_live_result_desc, &r);
	return r;
}

static int put_lease(struct world *w, struct rpc_peer *p, const char *key, int64_t lease)
{
	struct kv_put put = {.key = bytes_str(key), .lease = lease};

	world_call(w, p, "put", &kv_put_desc, &put, &reply);
	return reply.error;
}

TEST(a_lease_is_granted_with_the_cluster_s_least_ttl_and_a_positive_id)
{
	struct world *w = world_new(TIMEOUT);
	struct lease_grant_result r;
	struct rpc_peer p;

	w->config.election_max_ms = 2500;
	world_join(w, &p);
	r = grant(w, &p, 0, 0);
	EQ_INT(reply.error, 0);
	OK(r.id > 0);
	EQ_INT(r.ttl, 4);                 /* 3.75 s, rounded up */
	EQ_INT(grant(w, &p, -7, INT64_MIN).ttl, 4);
	EQ_INT(grant(w, &p, 7, 60).ttl, 60);
	(void)grant(w, &p, 7, 60);
	EQ_INT(reply.error, ERR_LEASE_EXISTS);
	w->n_proposals = 0;
	(void)grant(w, &p, 8, 9000000001);
	EQ_INT(reply.error, ERR_LEASE_TTL);
	EQ_INT(w->n_proposals, 0);        /* that much is known here */
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_keepalive_is_leased_s_answer)
{
	struct world *w = world_new(TIMEOUT);
	struct rpc_peer p;

	world_join(w, &p);
	(void)grant(w, &p, 7, 60);
	EQ_INT(keepalive(w, &p, 7), 60);
	EQ_INT(keepalive(w, &p, 8), 0);
	EQ_INT(w->n_lease_asks, 2);
	EQ_INT(w->g.counters.keepalives_total.value, 2);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(what_leased_refuses_or_loses_is_asked_again)
{
	struct world *w = world_new(TIMEOUT);
	struct native_lease l = {7};
	struct rpc_peer p;

	world_join(w, &p);
	(void)grant(w, &p, 7, 60);
	w->lease_refuses = ERR_NO_LEADER;
	world_send(&p, 1000, "lease_keepalive", &native_lease_desc, &l);
	while (w->n_lease_asks < 3) {
		rpc_peer_write(&p, 1u << 20);
		world_turn(w);
	}
	w->lease_refuses = 0;
	OK(world_reply(w, &p, &reply) && reply.id == 1000 && reply.error == 0);
	w->lease_forgets = true;
	w->n_lease_asks = 0;
	world_send(&p, 1001, "lease_keepalive", &native_lease_desc, &l);
	while (w->n_lease_asks < 2) {
		rpc_peer_write(&p, 1u << 20);
		world_turn(w);
	}
	world_lease(w, false);            /* and what was asked of an old leased is asked of the new one */
	w->lease_forgets = false;
	world_lease(w, true);
	OK(world_reply(w, &p, &reply) && reply.id == 1001 && reply.error == 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_keepalive_has_a_deadline_and_says_why)
{
	struct world *w = world_new(SHORT);
	struct rpc_peer p;

	world_join(w, &p);
	w->lease_forgets = true;
	EQ_INT(keepalive(w, &p, 7), -ERR_TIMEOUT);
	w->lease_forgets = false;
	w->lease_refuses = ERR_NO_LEADER;
	EQ_INT(keepalive(w, &p, 7), -ERR_NO_LEADER);
	world_lease(w, false);
	EQ_INT(keepalive(w, &p, 7), -ERR_TIMEOUT);
	EQ_INT(w->g.lease.n, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(time_to_live_knows_the_keys_page_by_page)
{
	struct world *w = world_new(TIMEOUT);
	struct native_time_to_live_result r;
	struct rpc_peer p;
	size_t reads;

	world_join(w, &p);
	(void)grant(w, &p, 7, 60);
	EQ_INT(put_lease(w, &p, "b", 7), 0);
	EQ_INT(put_lease(w, &p, "a", 7), 0);
	EQ_INT(put_lease(w, &p, "c", 9), ERR_LEASE_NOT_FOUND);
	reads = w->n_reads;
	r = ttl(w, &p, 7, false, "");
	OK(r.ttl == 59 && r.granted_ttl == 60 && r.keys.n == 0 && !r.more);
	EQ_INT(w->n_reads, reads);
	r = ttl(w, &p, 7, true, "");
	OK(r.ttl == 59 && r.keys.n == 2 && bytes_eq(r.keys.v[0].key, bytes_str("a")) &&
	   bytes_eq(r.keys.v[1].key, bytes_str("b")) && !r.more);
	EQ_INT(w->n_reads, reads + 1);    /* the keys are linearizable */
	r = ttl(w, &p, 7, true, "a");
	OK(r.keys.n == 1 && bytes_eq(r.keys.v[0].key, bytes_str("b")));
	r = ttl(w, &p, 8, true, "");
	OK(r.ttl == -1 && r.granted_ttl == 0 && r.keys.n == 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(keys_wait_for_the_store_and_give_up_at_the_deadline)
{
	struct world *w = world_new(SHORT);
	struct rpc_peer p;

	world_join(w, &p);
	(void)grant(w, &p, 7, 60);
	w->forgets = true;
	(void)ttl(w, &p, 7, true, "");
	EQ_INT(reply.error, ERR_TIMEOUT);
	w->forgets = false;
	w->applies = false;
	buf_add_bytes(&w->log[w->n_log++], bytes_str("x"));      /* committed, and never applied */
	(void)ttl(w, &p, 7, true, "");
	EQ_INT(reply.error, ERR_TIMEOUT);
	EQ_INT(w->g.n_requests, 0);
	w->n_log--;
	buf_free(&w->log[w->n_log]);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(leases_are_listed_page_by_page_from_the_mapped_store)
{
	struct world *w = world_new(TIMEOUT);
	struct native_lease_list ask = {0, 3};
	struct native_lease_list_result r;
	struct rpc_peer p;

	world_join(w, &p);
	for (int64_t id = -2; id <= 2; id++)
		if (id != 0)
			(void)grant(w, &p, id, 60);
	world_call(w, &p, "lease_list", &native_lease_list_desc, &ask, &reply);
	(void)world_decode(&reply, &native_lease_list_result_desc, &r);
	OK(r.leases.n == 3 && r.more && r.leases.v[0].id == 1 && r.leases.v[1].id == 2 && r.leases.v[2].id == -2);
	ask.after = -2;
	world_call(w, &p, "lease_list", &native_lease_list_desc, &ask, &reply);
	(void)world_decode(&reply, &native_lease_list_result_desc, &r);
	OK(r.leases.n == 1 && !r.more && r.leases.v[0].id == -1);
	w->unmappable = true;
	map_close(&w->g);
	world_call(w, &p, "lease_list", &native_lease_list_desc, &ask, &reply);
	EQ_INT(reply.error, ERR_STORE_DOWN);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_revoke_is_a_command_like_any_other)
{
	struct world *w = world_new(TIMEOUT);
	struct lease_revoke v = {7};
	struct lease_revoke_result r;
	struct rpc_peer p;

	world_join(w, &p);
	(void)grant(w, &p, 7, 60);
	EQ_INT(put_lease(w, &p, "a", 7), 0);
	world_call(w, &p, "lease_revoke", &lease_revoke_desc, &v, &reply);
	(void)world_decode(&reply, &lease_revoke_result_desc, &r);
	EQ_INT(r.header->revision, 3);
	world_call(w, &p, "lease_revoke", &lease_revoke_desc, &v, &reply);
	EQ_INT(reply.error, ERR_LEASE_NOT_FOUND);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_client_that_goes_leaves_no_question_behind)
{
	struct world *w = world_new(TIMEOUT);
	struct native_time_to_live t = {7, true, {NULL, 0}};
	struct native_lease l = {7};
	struct rpc_peer p;

	world_join(w, &p);
	(void)grant(w, &p, 7, 60);
	w->lease_forgets = true;
	for (uint32_t i = 1; i <= 50; i++)
		world_send(&p, i, "lease_keepalive", &native_lease_desc, &l);
	OK(world_silence(w, &p));
	EQ_INT(w->g.lease.n, 50);
	w->lease_forgets = false;
	w->forgets = true;
	world_send(&p, 51, "lease_time_to_live", &native_time_to_live_desc, &t);
	OK(world_silence(w, &p));
	rpc_peer_close(&p);
	world_turns(w, 5);
	EQ_INT(w->g.lease.n, 0);
	EQ_INT(w->g.n_requests, 0);
	world_free(w);
}

/* Its answers are counted by what waits for the client, since one that is made too early waits there. */
static void many_at_once(struct world *w, const char *method, const struct msg_desc *d, const void *params, size_t rows)
{
	enum { CALLS = 100, MOST = 1 << 20 };
	struct rpc_peer p;
	int answered = 0;

	world_join(w, &p);
	for (uint32_t i = 0; i < CALLS; i++)
		world_send(&p, i, method, d, params);
	OK(rows * 3 * CALLS > 2 * MOST);        /* of three bytes at least */
	while (answered < CALLS) {
		rpc_peer_write(&p, 1u << 20);
		world_turn(w);
		OK(w->g.conns.out_bytes <= MOST);
		rpc_peer_read(&p, 1u << 20);
		while (rpc_peer_next(&p, &reply)) {
			EQ_INT(reply.error, 0);
			answered++;
		}
	}
	rpc_peer_close(&p);
}

/* A list of ten thousand is milliseconds of work: a hundred of them at once are not done before others have their turn. */
TEST(long_lists_of_leases_and_keys_are_made_as_they_are_taken)
{
	enum { ROWS = 15000, AT_ONCE = 500 };
	struct world *w = world_new(TIMEOUT * 3);
	struct native_time_to_live keys = {.id = 1, .keys = true};
	struct native_lease_list all = {0, 0};
	struct lease_grant g = {0, 60};
	struct kv_put put = {.lease = 1};
	char key[16];
	struct rpc_peer p;

	world_join(w, &p);
	for (int i = 0; i < ROWS; i++) {
		g.id = i + 1;
		put.key = bytes_of(key, (size_t)snprintf(key, sizeof key, "%d", i));
		world_send(&p, 0, "lease_grant", &lease_grant_desc, &g);
		world_send(&p, 0, "put", &kv_put_desc, &put);
		for (int k = 0; i % AT_ONCE == AT_ONCE - 1 && k < 2 * AT_ONCE; k++) {
			OK(world_reply(w, &p, &reply));
			EQ_INT(reply.error, 0);
		}
	}
	many_at_once(w, "lease_list", &native_lease_list_desc, &all, 10000);
	many_at_once(w, "lease_time_to_live", &native_time_to_live_desc, &keys, 10000);
	rpc_peer_close(&p);
	world_free(w);
}

TESTS = {
	T(a_lease_is_granted_with_the_cluster_s_least_ttl_and_a_positive_id),
	T(a_keepalive_is_leased_s_answer),
	T(what_leased_refuses_or_loses_is_asked_again),
	T(a_keepalive_has_a_deadline_and_says_why),
	T(time_to_live_knows_the_keys_page_by_page),
	T(keys_wait_for_the_store_and_give_up_at_the_deadline),
	T(leases_are_listed_page_by_page_from_the_mapped_store),
	T(a_revoke_is_a_command_like_any_other),
	T(a_client_that_goes_leaves_no_question_behind),
	T(long_lists_of_leases_and_keys_are_made_as_they_are_taken),
};
TAP_MAIN
