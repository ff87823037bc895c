/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leased and stored of one node behind their real links, with raftd and a gatewayd played by the
 * test: who claims, what ends when, and that nothing is answered before the quorum has been asked.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "leased/leased.h"
#include "stored/stored.h"
#include "tests/lib/tap.h"

enum { SEEN = 64 };

struct world {
	struct config config;
	struct daemon store_d, lease_d;
	struct loop *loop;
	/* raftd */
	struct link_dialer *apply_dialer;
	struct link *apply;
	struct link_server *lessor_server;
	struct link *lessor;
	uint64_t index, term, done;
	bool confirms;                   /* else rounds stay open */
	uint64_t n_rounds, open_ctx;
	bool eats;                       /* proposals are lost */
	unsigned claims, expires, checkpoints;
	struct leased_ask forwarded[SEEN];
	size_t n_forwarded;
	struct leased_answer replied[SEEN];
	size_t n_replied;
	uint64_t reply_node;
	/* gatewayd */
	struct link_dialer *gateway_dialer;
	struct link *gateway;
	unsigned gateway_ups;
	struct leased_answer answers[SEEN];
	size_t n_answers;
	bool here;
};

#define UNTIL(w, cond) do { \
		mono_t until_ = mono_add_ms(mono_now(), TAP_PATIENCE_MS); \
		while (!(cond)) { \
			tap_ok(mono_before(mono_now(), until_), "in time: " #cond, __FILE__, __LINE__); \
			loop_turn((w)->loop, 5); \
		} \
	} while (0)

static struct lessor_stats stats(struct world *w)
{
	struct leased *x = w->lease_d.state;
	struct lessor_stats st;

	lessor_stats(x->lessor, &st);
	return st;
}

/* ---- raftd, to stored ---- */

static void raftd_hello(void *arg, struct link_hello *out)
{
	(void)arg;
	*out = (struct link_hello){1, DAEMON_RAFTD, 7, 0};
}

static int apply_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct world *w = arg;

	w->apply = l;
	w->index = peer->resume;
	return ERR_OK;
}

static int apply_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct world *w = arg;

	(void)l;
	w->done = ((const struct apply_done *)in->msg)->index;
	return ERR_OK;
}

static void apply_down(void *arg, struct link *l, const char *reason)
{
	struct world *w = arg;

	(void)l;
	(void)reason;
	w->apply = NULL;
}

static void feed_bytes(struct world *w, struct bytes payload)
{
	struct log_entry e = {++w->index, w->term, LOG_ENTRY_COMMAND, payload};
	struct apply_batch m = {.commit = w->index, .entries = {&e, 1}};

	EQ_INT(link_send(w->apply, MSG_NO_apply_batch, &apply_batch_desc, &m), ERR_OK);
}

static void feed(struct world *w, struct command c)
{
	struct buf b = {0};

	if (c.gateway == 0)
		c.gateway = 50;
	OK(msg_encode(&b, &command_desc, &c) == ERR_OK);
	feed_bytes(w, buf_bytes(&b));
	buf_free(&b);
}

static void grant(struct world *w, int64_t id, int64_t ttl)
{
	struct lease_grant g = {id, ttl};

	feed(w, (struct command){.seq = w->index + 1, .lease_grant = &g});
}

/* ---- raftd, to leased ---- */

static int lessor_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct world *w = arg;

	(void)peer;
	w->lessor = l;
	return ERR_OK;
}

static void lessor_down(void *arg, struct link *l, const char *reason)
{
	struct world *w = arg;

	(void)l;
	(void)reason;
	w->lessor = NULL;
}

static void confirm(struct world *w, uint64_t ctx)
{
	struct lessor_confirmed m = {ctx, ERR_OK, w->term, w->index};

	EQ_INT(link_send(w->lessor, MSG_NO_lessor_confirmed, &lessor_confirmed_desc, &m), ERR_OK);
}

static void proposed(struct world *w, const struct lessor_propose *m)
{
	for (size_t i = 0; i < m->proposals.n; i++) {
		struct wire in = wire_of(m->proposals.v[i].command, WIRE_STRICT);
		struct arena arena;
		struct command c;

		arena_init(&arena, 1u << 20);
		OK(msg_decode(&in, &command_desc, &arena, &c) == ERR_OK && c.gateway == 0 && c.seq == 0);
		w->claims += c.claim != NULL;
		w->expires += c.expire != NULL;
		w->checkpoints += c.checkpoint != NULL;
		arena_free(&arena);
		if (!w->eats)
			feed_bytes(w, m->proposals.v[i].command);
	}
}

static int lessor_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct world *w = arg;
	const struct lessor_forward *forward = in->msg;
	const struct lessor_reply *reply = in->msg;

	(void)l;
	switch (in->row->number) {
	case MSG_NO_lessor_propose:
		proposed(w, in->msg);
		return ERR_OK;
	case MSG_NO_lessor_confirm:
		w->n_rounds++;
		w->open_ctx = ((const struct lessor_confirm *)in->msg)->ctx;
		if (w->confirms)
			confirm(w, w->open_ctx);
		return ERR_OK;
	case MSG_NO_lessor_forward:
		for (size_t i = 0; i < forward->asks.n && w->n_forwarded < SEEN; i++)
			w->forwarded[w->n_forwarded++] = forward->asks.v[i];
		return ERR_OK;
	case MSG_NO_lessor_reply:
		w->reply_node = reply->node;
		for (size_t i = 0; i < reply->answers.n && w->n_replied < SEEN; i++)
			w->replied[w->n_replied++] = reply->answers.v[i];
		return ERR_OK;
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

static void role(struct world *w, bool leads, uint64_t term, uint64_t leader)
{
	struct lessor_role m = {leads, term, leader};

	w->term = term;
	EQ_INT(link_send(w->lessor, MSG_NO_lessor_role, &lessor_role_desc, &m), ERR_OK);
}

/* ---- gatewayd ---- */

static void gateway_hello(void *arg, struct link_hello *out)
{
	(void)arg;
	*out = (struct link_hello){1, DAEMON_GATEWAYD, 500, 0};
}

static int gateway_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct world *w = arg;

	(void)peer;
	w->gateway = l;
	w->gateway_ups++;
	return ERR_OK;
}

static void gateway_down(void *arg, struct link *l, const char *reason)
{
	struct world *w = arg;

	(void)l;
	(void)reason;
	w->gateway = NULL;
}

static int gateway_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct world *w = arg;
	const struct leased_answers *m = in->msg;

	(void)l;
	if (in->row->number == MSG_NO_leased_here) {
		w->here = true;
		return ERR_OK;
	}
	for (size_t i = 0; i < m->answers.n && w->n_answers < SEEN; i++)
		w->answers[w->n_answers++] = m->answers.v[i];
	return ERR_OK;
}

static void ask(struct world *w, uint64_t ctx, uint64_t kind, int64_t id)
{
	struct leased_ask a = {0, ctx, kind, id};
	struct leased_asks m = {{&a, 1}};

	EQ_INT(link_send(w->gateway, MSG_NO_leased_asks, &leased_asks_desc, &m), ERR_OK);
}

/* ---- the world ---- */

static void world_links(struct world *w)
{
	static const struct link_ops apply_ops = {raftd_hello, apply_up, apply_msg, apply_down, NULL};
	static const struct link_ops lessor_ops = {raftd_hello, lessor_up, lessor_msg, lessor_down, NULL};
	static const struct link_ops gateway_ops = {gateway_hello, gateway_up, gateway_msg, gateway_down, NULL};
	char *paths[] = {daemon_socket(&w->store_d, DAEMON_STORED, DAEMON_RAFTD),
			 daemon_socket(&w->store_d, DAEMON_RAFTD, DAEMON_LEASED),
			 daemon_socket(&w->store_d, DAEMON_LEASED, DAEMON_GATEWAYD)};
	struct link_setup s = {.loop = w->loop, .path = paths[0], .messages = &link_apply, .peer = DAEMON_STORED,
			       .ops = &apply_ops, .arg = w, .max_links = 2};

	EQ_INT(link_dialer_open(&s, &w->apply_dialer), ERR_OK);
	s.path = paths[1];
	s.messages = &link_lessor;
	s.peer = DAEMON_LEASED;
	s.ops = &lessor_ops;
	EQ_INT(link_server_open(&s, &w->lessor_server), ERR_OK);
	s.path = paths[2];
	s.messages = &link_lease;
	s.ops = &gateway_ops;
	EQ_INT(link_dialer_open(&s, &w->gateway_dialer), ERR_OK);
	for (int i = 0; i < 3; i++)
		mem_free(paths[i]);
}

static struct world *world_open(void)
{
	struct world *w = mem_alloc(sizeof *w);

	log_set_level(LOG_ERROR);
	w->config.data_dir = mem_strdup(tap_dir());
	w->config.run_dir = mem_strdup(tap_dir());
	w->config.cluster_id = 5;
	w->config.node_id = 1;
	w->config.store_map_gb = 1;
	w->loop = loop_new();
	w->term = 3;
	w->confirms = true;
	w->store_d = (struct daemon){.kind = DAEMON_STORED, .incarnation = 99, .loop = w->loop, .config = &w->config};
	w->lease_d = (struct daemon){.kind = DAEMON_LEASED, .incarnation = 88, .loop = w->loop, .config = &w->config};
	EQ_INT(stored_open(&w->store_d), ERR_OK);
	EQ_INT(stored_start(&w->store_d), ERR_OK);
	EQ_INT(leased_open(&w->lease_d), ERR_OK);
	EQ_INT(leased_start(&w->lease_d), ERR_OK);
	world_links(w);
	UNTIL(w, w->apply != NULL && w->lessor != NULL && w->gateway != NULL && w->here && stats(w).synced);
	feed(w, (struct command){.gateway = 50});
	return w;
}

static void world_close(struct world *w)
{
	struct stored *s = w->store_d.state;
	struct leased *x = w->lease_d.state;

	leased_stop(&w->lease_d);
	link_dialer_close(&w->apply_dialer);
	link_dialer_close(&w->gateway_dialer);
	link_dialer_close(&x->raft_dialer);
	link_dialer_close(&x->store_dialer);
	link_server_close(&x->gateway_server);
	link_server_close(&w->lessor_server);
	stored_stop(&w->store_d);
	link_server_close(&s->raftd_server);
	link_server_close(&s->gateway_server);
	link_server_close(&s->leased.server);
	link_server_close(&s->watch_server);
	lessor_free(&x->lessor);
	buf_free(&x->commands);
	loop_free(w->loop);
	mem_free(w->config.data_dir);
	mem_free(w->config.run_dir);
	mem_free(s);
	mem_free(x);
	mem_free(w);
}

static void lead(struct world *w)
{
	role(w, true, w->term, 1);
	UNTIL(w, stats(w).state == LESSOR_LEADING);
}

TEST(a_leader_s_leased_claims_and_ends_what_has_run_out)
{
	struct world *w = world_open();
	mono_t began;

	lead(w);
	EQ_INT(w->claims, 1);
	began = mono_now();
	grant(w, 7, 1);
	UNTIL(w, stats(w).leases == 1);
	UNTIL(w, stats(w).leases == 0);
	OK(mono_sub_ms(mono_now(), began) >= 1000);
	EQ_INT(w->expires, 1);
	EQ_INT(stats(w).expired, 1);
	world_close(w);
}

TEST(a_follower_s_ends_nothing)
{
	struct world *w = world_open();
	mono_t end;

	role(w, false, 3, 2);
	grant(w, 7, 1);
	UNTIL(w, stats(w).leases == 1);
	end = mono_add_ms(mono_now(), 1500);
	while (mono_before(mono_now(), end))
		loop_turn(w->loop, 5);
	EQ_INT(w->claims + w->expires + w->checkpoints, 0);
	/* It leads at last: the clock begins with its claim. */
	end = mono_add_ms(mono_now(), 1000);
	w->term = 4;
	lead(w);
	UNTIL(w, stats(w).leases == 0);
	OK(!mono_before(mono_now(), end));
	world_close(w);
}

TEST(a_keepalive_waits_for_its_round_and_shares_it)
{
	struct world *w = world_open();

	lead(w);
	grant(w, 7, 60);
	UNTIL(w, stats(w).leases == 1);
	w->confirms = false;
	ask(w, 1, LEASED_KEEPALIVE, 7);
	UNTIL(w, w->n_rounds == 1);
	for (uint64_t ctx = 2; ctx < 12; ctx++)
		ask(w, ctx, LEASED_KEEPALIVE, ctx == 5 ? 8 : 7);
	UNTIL(w, stats(w).asks == 11);
	EQ_INT(w->n_answers, 0);
	confirm(w, w->open_ctx);
	UNTIL(w, w->n_rounds == 2);
	UNTIL(w, w->n_answers == 1);
	OK(w->answers[0].ctx == 1 && w->answers[0].ttl_s == 60 && w->answers[0].error == 0);
	confirm(w, w->open_ctx);
	UNTIL(w, w->n_answers == 11);
	for (size_t i = 1; i < 11; i++)
		EQ_INT(w->answers[i].ttl_s, w->answers[i].ctx == 5 ? 0 : 60);
	EQ_INT(w->n_rounds, 2);
	EQ_INT(w->claims, 1);
	world_close(w);
}

TEST(a_lost_lead_answers_no_and_a_follower_sends_on)
{
	struct world *w = world_open();
	struct leased_answer far = {500, 9, 0, 60, 1500};
	struct lessor_replied m = {{&far, 1}};

	lead(w);
	w->confirms = false;
	ask(w, 1, LEASED_KEEPALIVE, 7);
	UNTIL(w, w->n_rounds == 1);
	role(w, false, 4, 2);
	UNTIL(w, w->n_answers == 1);
	EQ_INT(w->answers[0].error, ERR_LEADER_CHANGED);
	ask(w, 9, LEASED_TTL, 7);
	UNTIL(w, w->n_forwarded == 1);
	OK(w->forwarded[0].gateway == 500 && w->forwarded[0].ctx == 9 && w->forwarded[0].kind == LEASED_TTL);
	EQ_INT(link_send(w->lessor, MSG_NO_lessor_replied, &lessor_replied_desc, &m), ERR_OK);
	UNTIL(w, w->n_answers == 2);
	OK(w->answers[1].ctx == 9 && w->answers[1].ttl_s == 60 && w->answers[1].remaining_ms == 1500);
	role(w, false, 4, 0);
	UNTIL(w, stats(w).leader == 0);
	ask(w, 10, LEASED_TTL, 7);
	UNTIL(w, w->n_answers == 3);
	EQ_INT(w->answers[2].error, ERR_NO_LEADER);
	world_close(w);
}

TEST(another_node_s_questions_are_answered_to_it)
{
	struct world *w = world_open();
	struct leased_ask asks[] = {{900, 1, LEASED_KEEPALIVE, 7}, {900, 2, 77, 7}, {901, 3, LEASED_TTL, 7}};
	struct lessor_forwarded m = {2, {asks, 3}};

	lead(w);
	grant(w, 7, 60);
	UNTIL(w, stats(w).leases == 1);
	EQ_INT(link_send(w->lessor, MSG_NO_lessor_forwarded, &lessor_forwarded_desc, &m), ERR_OK);
	UNTIL(w, w->n_replied == 2);                 /* what made no sense has no answer */
	EQ_INT(w->reply_node, 2);
	OK(w->replied[0].gateway == 900 && w->replied[0].ctx == 1 && w->replied[0].ttl_s == 60);
	OK(w->replied[1].gateway == 901 && w->replied[1].ctx == 3 && w->replied[1].remaining_ms <= 60000);
	OK(w->lessor != NULL);
	world_close(w);
}

TEST(what_is_lost_is_proposed_again)
{
	struct world *w = world_open();

	w->eats = true;
	role(w, true, w->term, 1);
	UNTIL(w, w->claims == 2);
	w->eats = false;
	UNTIL(w, stats(w).state == LESSOR_LEADING);
	grant(w, 7, 1);
	UNTIL(w, stats(w).leases == 1);
	w->eats = true;
	UNTIL(w, w->expires >= 2);
	w->eats = false;
	UNTIL(w, stats(w).leases == 0);
	world_close(w);
}

/* Thousands, in pages, and the same again after the link has broken, with what happened meanwhile. */
TEST(leases_are_listed_anew_after_each_connection)
{
	struct world *w = world_open();
	struct leased *x = w->lease_d.state;

	lead(w);
	for (int64_t id = 1; id <= 3500; id++) {
		grant(w, id, 3600);
		if (id % 100 == 0)
			UNTIL(w, w->done == w->index);
	}
	UNTIL(w, stats(w).leases == 3500);
	link_drop(x->store, "test");
	UNTIL(w, !stats(w).synced);
	feed(w, (struct command){.seq = w->index + 1, .lease_revoke = &(struct lease_revoke){17}});
	grant(w, 4000, 3600);
	UNTIL(w, stats(w).synced && w->done == w->index);
	UNTIL(w, stats(w).leases == 3500);
	ask(w, 1, LEASED_KEEPALIVE, 17);
	ask(w, 2, LEASED_KEEPALIVE, 4000);
	UNTIL(w, w->n_answers == 2);
	EQ_INT(w->answers[0].ttl_s + w->answers[1].ttl_s, 3600);
	EQ_INT(w->claims, 1);
	world_close(w);
}

TEST(who_makes_no_sense_is_dropped)
{
	struct world *w = world_open();

	ask(w, 1, 9, 7);
	UNTIL(w, w->gateway == NULL);
	UNTIL(w, w->gateway_ups == 2);
	EQ_INT(link_send(w->lessor, MSG_NO_lessor_forward, &lessor_forward_desc, &(struct lessor_forward){{NULL, 0}}),
	       ERR_OK);                      /* leased's own message */
	UNTIL(w, w->lessor == NULL);
	UNTIL(w, w->lessor != NULL);
	world_close(w);
}

TESTS = {
	T(a_leader_s_leased_claims_and_ends_what_has_run_out),
	T(a_follower_s_ends_nothing),
	T(a_keepalive_waits_for_its_round_and_shares_it),
	T(a_lost_lead_answers_no_and_a_follower_sends_on),
	T(another_node_s_questions_are_answered_to_it),
	T(what_is_lost_is_proposed_again),
	T(leases_are_listed_anew_after_each_connection),
	T(who_makes_no_sense_is_dropped),
};
TAP_MAIN
