/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual leased: the real lessor; its driver and its links (leased/) are played. */
#include "base/check.h"
#include "base/err.h"
#include "tests/sim/sim_int.h"

typedef unsigned long long ull;

/* ---- life ---- */

void sim_leased_start(struct sim_node *n)
{
	struct sim_leased *x = &n->leased;

	x->lessor = lessor_new(sim_rand(n->s, SIM_CH_LEASE, 0) | 1, sim_rand(n->s, SIM_CH_LEASE, 0));
	x->due = n->s->now;
	x->stall_ms = 0;
	sim_local_connect(n, SIM_RAFTD_LEASED);
	sim_local_connect(n, SIM_STORED_LEASED);
	sim_local_connect(n, SIM_GATEWAY_LEASED);
}

void sim_leased_stop(struct sim_node *n)
{
	lessor_free(&n->leased.lessor);
}

/* ---- effects ---- */

static void fx_propose(struct sim_node *n, const struct lessor_fx *fx, const struct lessor_effects *all)
{
	struct lessor_claim claim = {fx->term, fx->lessor};
	struct lessor_expire expire = {fx->term, fx->lessor, fx->expire.id, fx->expire.granted};
	struct lessor_checkpoint checkpoint = {.term = fx->term, .lessor = fx->lessor};
	struct command c = {.gateway = 0};
	struct lessor_proposal v;
	struct lessor_propose m = {.proposals = {&v, 1}};
	struct buf b;

	if (fx->type == LESSOR_FX_CLAIM) {
		sim_trace(n->s, n, "lessor claims term %llu", (ull)fx->term);
		c.claim = &claim;
	} else if (fx->type == LESSOR_FX_EXPIRE) {
		sim_trace(n->s, n, "lessor of term %llu ends lease %lld", (ull)fx->term, (long long)expire.id);
		c.expire = &expire;
	} else {
		checkpoint.seq = fx->checkpoint.seq;
		checkpoint.marks.v = all->marks + fx->checkpoint.from;
		checkpoint.marks.n = fx->checkpoint.n;
		c.checkpoint = &checkpoint;
	}
	buf_init(&b, 0);
	CHECK(msg_encode(&b, &command_desc, &c) == ERR_OK);
	v.command = buf_bytes(&b);
	sim_local_send(n, SIM_RAFTD_LEASED, SIM_RAFTD, MSG_NO_lessor_propose, &lessor_propose_desc, &m);
	buf_free(&b);
}

/* To the gatewayd that has asked, if it is still that one. */
static void answer_gateway(struct sim_node *n, struct leased_answer *v)
{
	struct leased_answers m = {.answers = {v, 1}};

	if (n->link_up[SIM_GATEWAY_LEASED] && n->gateway.clnt.incarnation == v->gateway)
		sim_local_send(n, SIM_GATEWAY_LEASED, SIM_GATEWAY, MSG_NO_leased_answers, &leased_answers_desc, &m);
}

static void fx_answer(struct sim_node *n, const struct lessor_fx *fx)
{
	const struct lessor_ask *to = &fx->answer.to;
	struct leased_answer v = {to->gateway, to->ctx, (uint64_t)fx->answer.error, fx->answer.ttl_s,
				  fx->answer.remaining_ms};
	struct lessor_reply m = {.node = to->node, .answers = {&v, 1}};

	if (to->node == 0)
		answer_gateway(n, &v);
	else
		sim_local_send(n, SIM_RAFTD_LEASED, SIM_RAFTD, MSG_NO_lessor_reply, &lessor_reply_desc, &m);
}

static void fx_do(struct sim_node *n, const struct lessor_fx *fx, const struct lessor_effects *all)
{
	struct lessor_confirm confirm = {fx->ctx};
	struct store_leases_wait wait = {fx->index};
	struct leased_ask ask = {fx->ask.gateway, fx->ask.ctx, (uint64_t)fx->ask.kind, fx->ask.id};
	struct lessor_forward forward = {.asks = {&ask, 1}};

	switch (fx->type) {
	case LESSOR_FX_CLAIM:
	case LESSOR_FX_EXPIRE:
	case LESSOR_FX_CHECKPOINT:
		fx_propose(n, fx, all);
		break;
	case LESSOR_FX_CONFIRM:
		sim_local_send(n, SIM_RAFTD_LEASED, SIM_RAFTD, MSG_NO_lessor_confirm, &lessor_confirm_desc, &confirm);
		break;
	case LESSOR_FX_WAIT:
		sim_local_send(n, SIM_STORED_LEASED, SIM_STORED, MSG_NO_store_leases_wait, &store_leases_wait_desc,
			       &wait);
		break;
	case LESSOR_FX_ANSWER:
		fx_answer(n, fx);
		break;
	case LESSOR_FX_FORWARD:
		sim_local_send(n, SIM_RAFTD_LEASED, SIM_RAFTD, MSG_NO_lessor_forward, &lessor_forward_desc, &forward);
		break;
	}
}

/* The fault of a lessor that is stopped between its decision and its words: see sim_local_send. */
static void stall(struct sim_node *n, const struct lessor_effects *fx)
{
	struct sim_leased *x = &n->leased;

	for (size_t i = 0; i < fx->n && x->stall_ms > 0; i++) {
		if (fx->v[i].type != LESSOR_FX_EXPIRE)
			continue;
		sim_trace(n->s, n, "leased stops with an end in its hands");
		n->paused[SIM_LEASED] = mono_add_ms(n->s->now, x->stall_ms);
		sim_fault_lead_round_trip(n, x->stall_ms);
		x->stall_ms = 0;
	}
}

void sim_leased_turn(struct sim_node *n)
{
	struct lessor_effects *fx = lessor_effects(n->leased.lessor);

	lessor_tick(n->leased.lessor, sim_clock(n));
	if (n->leased.stall_ms > 0)
		stall(n, fx);
	for (size_t i = 0; i < fx->n; i++)
		fx_do(n, &fx->v[i], fx);
	fx->n = fx->n_marks = 0;
	n->leased.due = sim_when(n, lessor_due(n->leased.lessor));
}

/* ---- raftd ---- */

void sim_leased_raftd_down(struct sim_node *n)
{
	struct lessor_stats st;

	if (n->leased.lessor == NULL)
		return;
	lessor_stats(n->leased.lessor, &st);
	lessor_role(n->leased.lessor, false, st.term, 0, sim_clock(n));
	n->leased.due = n->s->now;
}

static void on_forwarded(struct sim_node *n, const struct lessor_forwarded *m)
{
	for (size_t i = 0; i < m->asks.n; i++) {
		const struct leased_ask *a = &m->asks.v[i];
		struct lessor_ask ask = {m->node, a->gateway, a->ctx, (enum lessor_ask_kind)a->kind, a->id};

		lessor_ask(n->leased.lessor, &ask, sim_clock(n));
	}
}

static void on_replied(struct sim_node *n, const struct lessor_replied *m)
{
	for (size_t i = 0; i < m->answers.n; i++)
		answer_gateway(n, &m->answers.v[i]);
}

void sim_leased_raftd_msg(struct sim_node *n, const struct msg_in *in)
{
	const struct lessor_role *role = in->msg;
	const struct lessor_confirmed *c = in->msg;
	struct lessor *l = n->leased.lessor;
	mono_t now = sim_clock(n);

	switch (in->row->number) {
	case MSG_NO_lessor_role:
		lessor_role(l, role->leads, role->term, role->leader, now);
		break;
	case MSG_NO_lessor_refuse:
		lessor_refused(l, now);
		break;
	case MSG_NO_lessor_confirmed:
		lessor_confirmed(l, c->ctx, (int)c->error, c->term, c->index, now);
		break;
	case MSG_NO_lessor_forwarded:
		on_forwarded(n, in->msg);
		break;
	default:
		CHECK(in->row->number == MSG_NO_lessor_replied);
		on_replied(n, in->msg);
		break;
	}
	sim_leased_turn(n);
}

/* ---- stored ---- */

void sim_leased_stored_msg(struct sim_node *n, const struct msg_in *in)
{
	const struct store_leases *m = in->msg;
	struct lessor_progress p = {m->applied, m->term, m->lessor, m->seq};
	struct lessor *l = n->leased.lessor;
	mono_t now = sim_clock(n);

	CHECK(in->row->number == MSG_NO_store_leases);
	for (size_t i = 0; i < m->leases.n; i++) {
		const struct store_lease *e = &m->leases.v[i];
		struct lessor_row row = {e->id, e->ttl_s, e->remaining_ms, e->granted};

		if (e->gone)
			lessor_gone(l, e->id, now);
		else
			lessor_row(l, &row, now);
	}
	lessor_progress(l, &p, now);
	if (m->listed)
		lessor_listed(l, now);
	sim_leased_turn(n);
}

void sim_leased_stored_up(struct sim_node *n)
{
	lessor_store_up(n->leased.lessor);
}

void sim_leased_stored_down(struct sim_node *n)
{
	if (n->leased.lessor != NULL)
		lessor_store_down(n->leased.lessor);
}

/* ---- gatewayd ---- */

void sim_leased_gateway_up(struct sim_node *n)
{
	struct leased_here here = {0};

	sim_local_send(n, SIM_GATEWAY_LEASED, SIM_GATEWAY, MSG_NO_leased_here, &leased_here_desc, &here);
}

void sim_leased_gateway_msg(struct sim_node *n, const struct msg_in *in)
{
	const struct leased_asks *m = in->msg;

	CHECK(in->row->number == MSG_NO_leased_asks);
	for (size_t i = 0; i < m->asks.n; i++) {
		const struct leased_ask *a = &m->asks.v[i];
		struct lessor_ask ask = {0, n->gateway.clnt.incarnation, a->ctx, (enum lessor_ask_kind)a->kind, a->id};

		lessor_ask(n->leased.lessor, &ask, sim_clock(n));
	}
	sim_leased_turn(n);
}

bool sim_leased_leads(const struct sim_node *n)
{
	struct lessor_stats st;

	if (n->leased.lessor == NULL)
		return false;
	lessor_stats(n->leased.lessor, &st);
	return st.state == LESSOR_LEADING;
}
