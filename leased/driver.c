/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leased does when. It owns nothing on disk: after a start it hears of the leases from stored
 * and of its role from raftd, and if this node leads, claims and starts all clocks anew.
 *
 * Once a turn the lessor's effects are carried out, in order, one message a link.
 */
#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "leased/leased.h"
#include "proto/kv.h"

#include <sys/random.h>

/* ---- proposals ---- */

struct proposing {
	struct lessor_proposal v[LIMIT_BATCH_ITEMS];
	size_t ends[LIMIT_BATCH_ITEMS];          /* in the buffer, which moves while it grows */
	size_t n;
};

static void propose_send(struct leased *x, struct proposing *p)
{
	struct lessor_propose m;
	size_t from = 0;

	if (p->n == 0)
		return;
	for (size_t i = 0; i < p->n; i++) {
		p->v[i].command = bytes_of(x->commands.data + from, p->ends[i] - from);
		from = p->ends[i];
	}
	m.proposals.v = p->v;
	m.proposals.n = p->n;
	counter_add(&x->counters.proposals, (int64_t)p->n);
	/* Not sent is not lost: what the store does not show is proposed again. */
	if (x->raft != NULL)
		(void)link_send(x->raft, MSG_NO_lessor_propose, &lessor_propose_desc, &m);
	p->n = 0;
	buf_clear(&x->commands);
	buf_shrink(&x->commands, MIB);
}

static void propose_add(struct leased *x, struct proposing *p, const struct lessor_fx *fx,
			const struct lessor_effects *all)
{
	struct lessor_claim claim = {fx->term, fx->lessor};
	struct lessor_expire expire = {fx->term, fx->lessor, fx->expire.id, fx->expire.granted};
	struct lessor_checkpoint checkpoint = {.term = fx->term, .lessor = fx->lessor};
	struct command c = {.gateway = 0};

	if (fx->type == LESSOR_FX_CLAIM) {
		c.claim = &claim;
		log_info("this node leads: claiming the leases' clocks term=%llu", (unsigned long long)fx->term);
	} else if (fx->type == LESSOR_FX_EXPIRE) {
		c.expire = &expire;
	} else {
		checkpoint.seq = fx->checkpoint.seq;
		checkpoint.marks.v = all->marks + fx->checkpoint.from;
		checkpoint.marks.n = fx->checkpoint.n;
		c.checkpoint = &checkpoint;
	}
	CHECK(msg_encode(&x->commands, &command_desc, &c) == ERR_OK);
	p->ends[p->n++] = x->commands.len;
	if (p->n == LIMIT_BATCH_ITEMS || x->commands.len >= LIMIT_BATCH_BYTES)
		propose_send(x, p);
}

/* ---- answers ---- */

struct answering {
	uint64_t node, gateway;
	struct leased_answer v[LIMIT_BATCH_ITEMS];
	size_t n;
};

static void answer_send(struct leased *x, struct answering *a)
{
	struct lessor_reply m = {.node = a->node};

	if (a->n == 0)
		return;
	counter_add(&x->counters.answers, (int64_t)a->n);
	m.answers.v = a->v;
	m.answers.n = a->n;
	if (a->node == 0)
		leased_answer_gateway(x, a->gateway, a->v, a->n);
	else if (x->raft != NULL)
		(void)link_send(x->raft, MSG_NO_lessor_reply, &lessor_reply_desc, &m);
	a->n = 0;
}

static void answer_add(struct leased *x, struct answering *a, const struct lessor_fx *fx)
{
	const struct lessor_ask *to = &fx->answer.to;

	if (a->n == LIMIT_BATCH_ITEMS || to->node != a->node || (a->node == 0 && to->gateway != a->gateway))
		answer_send(x, a);
	a->node = to->node;
	a->gateway = to->gateway;
	a->v[a->n++] = (struct leased_answer){to->gateway, to->ctx, (uint64_t)fx->answer.error, fx->answer.ttl_s,
					      fx->answer.remaining_ms};
}

/* ---- questions for the leader's lessor ---- */

struct forwarding {
	struct leased_ask v[LIMIT_BATCH_ITEMS];
	size_t n;
};

static void forward_send(struct leased *x, struct forwarding *f)
{
	struct lessor_forward m;

	m.asks.v = f->v;
	m.asks.n = f->n;
	counter_add(&x->counters.asks_forwarded, (int64_t)f->n);
	if (f->n > 0 && x->raft != NULL)
		(void)link_send(x->raft, MSG_NO_lessor_forward, &lessor_forward_desc, &m);
	f->n = 0;
}

static void forward_add(struct leased *x, struct forwarding *f, const struct lessor_ask *a)
{
	f->v[f->n++] = (struct leased_ask){a->gateway, a->ctx, (uint64_t)a->kind, a->id};
	if (f->n == LIMIT_BATCH_ITEMS)
		forward_send(x, f);
}

/* ---- the turn ---- */

static void leased_carry_out(struct leased *x)
{
	static struct proposing proposing;
	static struct answering answering;
	static struct forwarding forwarding;
	struct lessor_effects *fx = lessor_effects(x->lessor);

	for (size_t i = 0; i < fx->n; i++) {
		const struct lessor_fx *e = &fx->v[i];
		struct lessor_confirm confirm = {e->ctx};
		struct store_leases_wait wait = {e->index};

		switch (e->type) {
		case LESSOR_FX_CLAIM:
		case LESSOR_FX_EXPIRE:
		case LESSOR_FX_CHECKPOINT:
			propose_add(x, &proposing, e, fx);
			break;
		case LESSOR_FX_CONFIRM:
			if (x->raft != NULL)
				(void)link_send(x->raft, MSG_NO_lessor_confirm, &lessor_confirm_desc, &confirm);
			break;
		case LESSOR_FX_WAIT:
			if (x->store != NULL)
				(void)link_send(x->store, MSG_NO_store_leases_wait, &store_leases_wait_desc, &wait);
			break;
		case LESSOR_FX_ANSWER:
			answer_add(x, &answering, e);
			break;
		case LESSOR_FX_FORWARD:
			forward_add(x, &forwarding, &e->ask);
			break;
		}
	}
	fx->n = fx->n_marks = 0;
	propose_send(x, &proposing);
	answer_send(x, &answering);
	forward_send(x, &forwarding);
}

/* Before the links' own hooks, which write what it sends. */
static void leased_turn(void *arg)
{
	struct leased *x = arg;
	mono_t due;

	lessor_tick(x->lessor, mono_now());
	leased_carry_out(x);
	due = lessor_due(x->lessor);
	if (due.ns == MONO_NEVER.ns)
		loop_timer_clear(x->d->loop, &x->due);
	else
		loop_timer_set(x->d->loop, &x->due, due);
}

/* Does nothing: the turn that it causes does. */
static void leased_due(void *arg)
{
	(void)arg;
}

int leased_open(struct daemon *d)
{
	struct leased *x = mem_alloc(sizeof *x);
	uint64_t seed;

	d->state = x;
	x->d = d;
	leased_counters_init(&x->counters);
	buf_init(&x->commands, 0);
	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		fatal(NULL, "no random numbers from the system");
	x->lessor = lessor_new(d->incarnation, seed);
	return ERR_OK;
}

int leased_start(struct daemon *d)
{
	struct leased *x = d->state;
	int rc;

	loop_timer_init(&x->due, leased_due, x);
	loop_hook_add(d->loop, &x->turn_end, leased_turn, x);
	rc = leased_dial_stored(x);
	if (rc == ERR_OK)
		rc = leased_dial_raftd(x);
	return rc == ERR_OK ? leased_open_gateways(x) : rc;
}

void leased_stop(struct daemon *d)
{
	struct leased *x = d->state;

	loop_hook_del(d->loop, &x->turn_end);
	loop_timer_clear(d->loop, &x->due);
	daemon_stopped(d);
}
