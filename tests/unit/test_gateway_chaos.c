/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway whose daemons and clients come, go, refuse and forget at random. In the end: each
 * request of a client that stayed has exactly one answer; a write that was answered well has taken
 * effect exactly once, one that may safely be repeated never; and a linearizable range sees every
 * write that was answered before it was asked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { CLIENTS = 6, REQUESTS = 5000, RUN_MS = 1500, TIMEOUT = 250, GOOD = 50 };

struct what {
	bool is_put, answered, gone;
	int error;
	uint32_t key;            /* a put's own number, or the put that a range looks for */
	bool must_see;
};

struct chaos {
	struct world *w;
	struct rpc_peer peers[CLIENTS];
	unsigned owner[REQUESTS];
	struct what all[REQUESTS];
	uint32_t n;
	size_t n_answered, n_gone, n_good;
};

static bool chance(struct chaos *c, unsigned of_1000)
{
	return tap_rand(&c->w->seed) % 1000 < of_1000;
}

static struct bytes key_of(uint32_t n, char text[16])
{
	(void)snprintf(text, 16, "c/%08" PRIu32, n);
	return bytes_str(text);
}

static void send_one(struct chaos *c, unsigned client)
{
	struct what *x = &c->all[c->n];
	char text[16];

	*x = (struct what){.is_put = chance(c, 500), .key = c->n};
	if (!x->is_put) {
		x->key = (uint32_t)(tap_rand(&c->w->seed) % (c->n + 1));
		x->must_see = c->all[x->key].is_put && c->all[x->key].answered && c->all[x->key].error == 0;
	}
	c->owner[c->n] = client;
	if (x->is_put) {
		struct kv_put put = {.key = key_of(x->key, text), .value = bytes_str("v")};

		world_send(&c->peers[client], c->n, "put", &kv_put_desc, &put);
	} else {
		struct kv_range range = {.key = key_of(x->key, text)};

		world_send(&c->peers[client], c->n, "range", &kv_range_desc, &range);
	}
	c->n++;
}

static void take(struct chaos *c, const struct rpc_reply *r)
{
	struct what *x = &c->all[r->id];
	struct kv_range_result res;

	OK(!r->goodbye);
	OK(r->id < c->n);
	OK(!x->answered && !x->gone);
	x->answered = true;
	x->error = r->error;
	c->n_answered++;
	c->n_good += r->error == 0;
	if (x->is_put || r->error != 0)
		return;
	world_decode(r, &kv_range_result_desc, &res);
	if (x->must_see)
		EQ_INT(res.count, 1);
	if (res.count == 1)
		EQ_INT(res.kvs.v[0].version, 1);
}

static void rejoin(struct chaos *c, unsigned client)
{
	rpc_peer_close(&c->peers[client]);
	for (uint32_t i = 0; i < c->n; i++) {
		if (c->owner[i] == client && !c->all[i].answered && !c->all[i].gone) {
			c->all[i].gone = true;
			c->n_gone++;
		}
	}
	world_join(c->w, &c->peers[client]);
}

static void upset(struct chaos *c)
{
	struct world *w = c->w;

	if (chance(c, 10))
		world_raft(w, !w->g.raft.up);
	if (chance(c, 10))
		world_store(w, !w->g.store.up);
	if (chance(c, 10))
		world_leader(w, tap_rand(&w->seed) % 3);
	if (chance(c, 10))
		w->refuses = chance(c, 500) ? ERR_FULL : 0;
	if (chance(c, 10))
		w->forgets = chance(c, 300);
	if (chance(c, 10))
		w->mute_results = chance(c, 300);
	if (chance(c, 10))
		w->applies = chance(c, 700);
	if (chance(c, 3))
		world_generation(w, false);
	if (chance(c, 5))
		rejoin(c, (unsigned)(tap_rand(&w->seed) % CLIENTS));
}

static void calm(struct world *w)
{
	w->refuses = 0;
	w->forgets = w->mute_results = false;
	w->applies = true;
	world_raft(w, true);
	world_store(w, true);
	world_leader(w, 1);
}

static void turn(struct chaos *c)
{
	struct rpc_reply r;

	world_turn(c->w);
	for (unsigned i = 0; i < CLIENTS; i++) {
		rpc_peer_write(&c->peers[i], 1 + tap_rand(&c->w->seed) % 200);
		rpc_peer_read(&c->peers[i], 1u << 16);
		while (rpc_peer_next(&c->peers[i], &r))
			take(c, &r);
		OK(!c->peers[i].closed);
	}
}

static void check(struct chaos *c)
{
	struct mvcc_view *v;
	struct kv_pair pair;
	char text[16];

	EQ_INT(mvcc_view_begin(c->w->store.env, &v), ERR_OK);
	for (uint32_t i = 0; i < c->n; i++) {
		const struct what *x = &c->all[i];
		int found;

		OK(x->answered != x->gone);
		if (!x->is_put)
			continue;
		found = mvcc_get(v, key_of(i, text), mvcc_view_info(v)->revision, &pair);
		if (found == ERR_OK)
			EQ_INT(pair.version, 1);
		if (x->answered && x->error == 0)
			EQ_INT(found, ERR_OK);
		if (x->answered && x->error != 0 && err_again(x->error) == ERR_AGAIN_SAFE)
			EQ_INT(found, ERR_NOT_FOUND);
	}
	mvcc_view_end(&v);
}

/* On a busy machine it takes longer until enough has gone well. */
static void run(uint64_t seed)
{
	struct chaos *c = mem_alloc(sizeof *c);
	mono_t end;

	c->w = world_new(TIMEOUT);
	c->w->seed = seed;
	for (unsigned i = 0; i < CLIENTS; i++)
		world_join(c->w, &c->peers[i]);
	end = mono_add_ms(mono_now(), RUN_MS);
	while ((c->n_good < GOOD || mono_before(mono_now(), end)) && c->n < REQUESTS) {
		if (chance(c, 300))
			send_one(c, (unsigned)(tap_rand(&c->w->seed) % CLIENTS));
		upset(c);
		turn(c);
	}
	calm(c->w);
	end = mono_add_ms(mono_now(), 60000);
	while (c->n_answered + c->n_gone < c->n) {
		OK(mono_before(mono_now(), end));
		turn(c);
	}
	world_ms(c->w, 50);
	if (c->n_good < GOOD)
		printf("# seed %" PRIu64 ": only %zu of %" PRIu32 " went well\n", seed, c->n_good, c->n);
	OK(c->n_good >= GOOD);
	check(c);
	EQ_INT(c->w->g.n_requests, 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		rpc_peer_close(&c->peers[i]);
	world_free(c->w);
	mem_free(c);
}

TEST(nothing_is_done_twice_lost_or_seen_too_late)
{
	for (uint64_t i = 0; i < tap_rounds(6); i++)
		run(tap_seed(1) + i);
}

TESTS = {
	T(nothing_is_done_twice_lost_or_seen_too_late),
};
TAP_MAIN
