/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links of leased: every message has the bytes it had in version 1, and gatewayd's half joined
 * with a lessor in one process, under virtual time, gets one answer to each question however
 * messages are lost, doubled and reordered and however often the link breaks.
 */
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "clnt/lease_clnt.h"
#include "leased/core/lessor.h"
#include "proto/link_leases.h"
#include "proto/link_lessor.h"
#include "tests/lib/tap.h"
#include "tests/proto/net.h"

/* ---- golden bytes ---- */

static void golden(const struct msg_link *link, uint32_t number, const void *msg, const char *want)
{
	const struct msg_row *row = msg_row(link, number);
	struct buf b = {0}, hex = {0};

	OK(row != NULL);
	EQ_INT(msg_frame(&b, number, 5, row->desc, msg), ERR_OK);
	for (size_t i = 0; i < b.len; i++)
		buf_printf(&hex, "%02x", b.data[i]);
	buf_u8(&hex, 0);
	EQ_STR((const char *)hex.data, want);
	buf_free(&b);
	buf_free(&hex);
}

TEST(messages_have_the_bytes_of_version_1)
{
	struct leased_ask a = {9, 2, LEASED_TTL, -7};
	struct leased_asks asks = {{&a, 1}};
	struct leased_answer r = {9, 2, 30, 60, 59000};
	struct leased_answers answers = {{&r, 1}};
	struct leased_here here = {1000};
	struct lessor_role role = {true, 4, 2};
	struct lessor_proposal p = {bytes_str("x")};
	struct lessor_propose propose = {{&p, 1}};
	struct lessor_refuse refuse = {3, 82};
	struct lessor_confirm confirm = {7};
	struct lessor_confirmed confirmed = {7, 0, 4, 300};
	struct lessor_forward forward = {{&a, 1}};
	struct lessor_forwarded forwarded = {3, {&a, 1}};
	struct lessor_reply back = {3, {&r, 1}};
	struct lessor_replied replied = {{&r, 1}};
	struct store_lease l = {7, false, 60, 1500, 11};
	struct store_leases leases = {.leases = {&l, 1}, .listed = true, .applied = 12, .term = 4, .lessor = 5, .seq = 6};
	struct store_leases_wait wait = {300};

	golden(&link_lease, 16, &asks, "0000000a931005919194090202f9");
	golden(&link_lease, 17, &answers, "0000000d93110591919509021e3ccde678");
	golden(&link_lease, 18, &here, "0000000793120591cd03e8");
	golden(&link_lessor, 16, &role, "0000000793100593c30402");
	golden(&link_lessor, 17, &propose, "00000009931105919191c40178");
	golden(&link_lessor, 18, &refuse, "00000006931205920352");
	golden(&link_lessor, 19, &confirm, "000000059313059107");
	golden(&link_lessor, 20, &confirmed, "0000000a93140594070004cd012c");
	golden(&link_lessor, 21, &forward, "0000000a931505919194090202f9");
	golden(&link_lessor, 22, &forwarded, "0000000b93160592039194090202f9");
	golden(&link_lessor, 23, &back, "0000000e9317059203919509021e3ccde678");
	golden(&link_lessor, 24, &replied, "0000000d93180591919509021e3ccde678");
	golden(&link_leases, 16, &leases, "0000001393100597919507c23ccd05dc0bc2c30c040506");
	golden(&link_leases, 17, &wait, "0000000793110591cd012c");
}

/* ---- the two halves joined ---- */

enum { QUESTIONS = 500, LEASES = 20, STEPS = 20000 };

struct question {
	struct lease_ask a;
	bool asked, answered;
};

struct world {
	uint64_t seed;
	unsigned cut;                    /* of 1000 steps */
	mono_t now;
	struct lease_clnt c;
	struct lessor *lessor;
	struct net to_leased, to_gateway;
	struct question q[QUESTIONS];
	size_t n, n_answered;
	bool leads;
	uint64_t term, number;
};

static int world_send(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct world *w = arg;

	if (!w->c.up)
		return ERR_CLOSED;
	net_send(&w->to_leased, w->now, number, d, msg);
	return ERR_OK;
}

static void leased_answer(struct world *w, const struct lessor_fx *e)
{
	struct leased_answer a = {e->answer.to.gateway, e->answer.to.ctx, (uint64_t)e->answer.error, e->answer.ttl_s,
				  e->answer.remaining_ms};
	struct leased_answers m = {{&a, 1}};

	if (w->c.up)
		net_send(&w->to_gateway, w->now, MSG_NO_leased_answers, &leased_answers_desc, &m);
}

/* raftd and stored answer at once; nobody else leads, so forwarded questions are lost. */
static void leased_effects(struct world *w)
{
	struct lessor_effects *fx = lessor_effects(w->lessor);

	for (size_t i = 0; i < fx->n; i++) {
		struct lessor_fx e = fx->v[i];

		if (e.type == LESSOR_FX_CLAIM)
			w->number = e.lessor;
		if (e.type == LESSOR_FX_ANSWER)
			leased_answer(w, &e);
		if (e.type == LESSOR_FX_CONFIRM)
			lessor_confirmed(w->lessor, e.ctx, w->leads ? ERR_OK : ERR_NOT_LEADER, w->term, 1, w->now);
	}
	fx->n = fx->n_marks = 0;
	if (w->number != 0)
		lessor_progress(w->lessor, &(struct lessor_progress){10, w->term, w->number, 0}, w->now);
}

static void world_link(struct world *w, bool up)
{
	if (up == w->c.up)
		return;
	if (up) {
		lease_clnt_up(&w->c);
		return;
	}
	lease_clnt_down(&w->c);
	net_cut(&w->to_leased);
	net_cut(&w->to_gateway);
}

static void world_messages(struct world *w)
{
	struct msg_in in;
	struct lease_ask *a;

	while (net_next(&w->to_leased, w->now, &in)) {
		const struct leased_asks *m = in.msg;

		for (size_t i = 0; i < m->asks.n; i++)
			lessor_ask(w->lessor, &(struct lessor_ask){0, 1, m->asks.v[i].ctx,
				   (enum lessor_ask_kind)m->asks.v[i].kind, m->asks.v[i].id}, w->now);
	}
	while (w->c.up && net_next(&w->to_gateway, w->now, &in))
		EQ_INT(lease_clnt_msg(&w->c, &in, w->now), ERR_OK);
	while ((a = lease_clnt_pop(&w->c)) != NULL) {
		struct question *q = container_of(a, struct question, a);

		OK(q->asked && !q->answered);
		EQ_INT(a->ttl_s, a->id <= LEASES ? 3600 : 0);
		q->answered = true;
		w->n_answered++;
	}
}

static void world_step(struct world *w)
{
	w->now = mono_add_ms(w->now, 5);
	if (tap_rand(&w->seed) % 1000 < w->cut)
		world_link(w, false);
	if (tap_rand(&w->seed) % 20 == 0)
		world_link(w, true);
	if (w->cut > 0 && tap_rand(&w->seed) % 400 == 0) {
		w->leads = !w->leads;
		w->term += w->leads;
		lessor_role(w->lessor, w->leads, w->term, 1 + !w->leads, w->now);
	}
	if (w->n < QUESTIONS && tap_rand(&w->seed) % 10 == 0) {
		struct question *q = &w->q[w->n++];

		q->asked = true;
		EQ_INT(lease_clnt_ask(&w->c, &q->a, tap_rand(&w->seed) % 2 ? LEASED_KEEPALIVE : LEASED_TTL,
				      1 + (int64_t)(tap_rand(&w->seed) % (LEASES + 5))), ERR_OK);
	}
	(void)lease_clnt_flush(&w->c, w->now);
	world_messages(w);
	lessor_tick(w->lessor, w->now);
	leased_effects(w);
}

static void joined(uint64_t seed, unsigned drop, unsigned twice, unsigned cut, int delay_ms, bool ordered)
{
	struct world *w = mem_alloc(sizeof *w);
	struct clnt_io io = {world_send, w};
	size_t asked;

	*w = (struct world){.seed = seed, .cut = cut, .now = {1000000000}, .leads = true, .term = 1};
	net_init(&w->to_leased, &link_lease, &w->seed);
	net_init(&w->to_gateway, &link_lease, &w->seed);
	w->to_leased.drop = w->to_gateway.drop = drop;
	w->to_leased.twice = w->to_gateway.twice = twice;
	w->to_leased.delay_ms = w->to_gateway.delay_ms = delay_ms;
	w->to_leased.ordered = w->to_gateway.ordered = ordered;
	lease_clnt_init(&w->c, &io);
	w->lessor = lessor_new(5, 6);
	lessor_store_up(w->lessor);
	for (int64_t id = 1; id <= LEASES; id++)
		lessor_row(w->lessor, &(struct lessor_row){id, 3600, 0, (uint64_t)id}, w->now);
	lessor_listed(w->lessor, w->now);
	lessor_role(w->lessor, true, 1, 1, w->now);
	for (int i = 0; i < STEPS && w->n_answered < QUESTIONS; i++) {
		if (i == STEPS / 2) {            /* then it gets calm */
			w->cut = w->to_leased.drop = w->to_gateway.drop = 0;
			w->leads = true;
			w->term++;
			lessor_role(w->lessor, true, w->term, 1, w->now);
		}
		world_step(w);
	}
	asked = w->n;
	EQ_INT(asked, QUESTIONS);
	EQ_INT(w->n_answered, QUESTIONS);
	lease_clnt_free(&w->c);
	lessor_free(&w->lessor);
	net_free(&w->to_leased);
	net_free(&w->to_gateway);
	mem_free(w);
}

TEST(on_a_good_link_each_question_has_one_answer)
{
	joined(1, 0, 0, 0, 0, true);
}

TEST(on_a_bad_one_too)
{
	for (uint64_t i = 0; i < tap_rounds(10); i++)
		joined(tap_seed(1) + i, 200, 200, 5, 60, false);
}

TEST(what_is_given_up_is_not_answered)
{
	struct world *w = mem_alloc(sizeof *w);
	struct clnt_io io = {world_send, w};
	struct leased_answer r = {0, 1, 0, 60, 60000};
	struct leased_answers m = {{&r, 1}};
	struct msg_row row = {MSG_NO_leased_answers, &leased_answers_desc, ""};
	struct msg_in in = {&row, 1, &m};
	struct lease_ask a, b;

	net_init(&w->to_leased, &link_lease, &w->seed);
	lease_clnt_init(&w->c, &io);
	EQ_INT(lease_clnt_ask(&w->c, &a, LEASED_KEEPALIVE, 7), ERR_OK);
	EQ_INT(lease_clnt_ask(&w->c, &b, LEASED_KEEPALIVE, 7), ERR_OK);
	lease_clnt_up(&w->c);
	(void)lease_clnt_flush(&w->c, w->now);
	EQ_INT(lease_clnt_give_up(&w->c, &a), ERR_TIMEOUT);
	EQ_INT(lease_clnt_msg(&w->c, &in, w->now), ERR_OK);
	OK(lease_clnt_pop(&w->c) == NULL);
	r.ctx = 2;
	r.error = ERR_NO_LEADER;
	EQ_INT(lease_clnt_msg(&w->c, &in, w->now), ERR_OK);
	OK(lease_clnt_pop(&w->c) == NULL);
	EQ_INT(lease_clnt_give_up(&w->c, &b), ERR_NO_LEADER);
	row.number = MSG_NO_leased_asks;
	EQ_INT(lease_clnt_msg(&w->c, &in, w->now), ERR_UNKNOWN_METHOD);
	lease_clnt_free(&w->c);
	net_free(&w->to_leased);
	mem_free(w);
}

TESTS = {
	T(messages_have_the_bytes_of_version_1),
	T(on_a_good_link_each_question_has_one_answer),
	T(on_a_bad_one_too),
	T(what_is_given_up_is_not_answered),
};
TAP_MAIN
