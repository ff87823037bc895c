/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keepalives and questions. All that gather while a round is under way share the next one:
 *
 *   fresh --round begins--> asked --confirmed--> held: until the store has come as far as the round
 *                                                  |--> answered
 *                                                  '--> waits at its lease (being ended or woken)
 *
 * What is held is answered in the order in which it came, or refused after LESSOR_HOLD_MS: then its
 * gatewayd, if it still wants to know, asks again. A keepalive counts from when it was confirmed.
 */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "leased/core/lessor_own.h"

struct lessor_fx *lessor_emit(struct lessor *l, enum lessor_fx_type type)
{
	struct lessor_effects *fx = &l->fx;

	if (fx->n == fx->cap) {
		fx->cap = fx->cap ? fx->cap * 2 : 256;
		fx->v = mem_grow(fx->v, fx->cap, sizeof *fx->v);
	}
	fx->v[fx->n] = (struct lessor_fx){.type = type};
	return &fx->v[fx->n++];
}

struct lessor_fx *lessor_propose(struct lessor *l, enum lessor_fx_type type)
{
	struct lessor_fx *fx = lessor_emit(l, type);

	fx->term = l->term;
	fx->lessor = l->number;
	return fx;
}

void wait_push(struct wait_queue *q, struct lessor_wait *w)
{
	w->next = NULL;
	if (q->last != NULL)
		q->last->next = w;
	else
		q->first = w;
	q->last = w;
	q->n++;
}

struct lessor_wait *wait_pop(struct wait_queue *q)
{
	struct lessor_wait *w = q->first;

	if (w == NULL)
		return NULL;
	q->first = w->next;
	if (q->first == NULL)
		q->last = NULL;
	q->n--;
	return w;
}

/* ---- answers ---- */

static void ask_answer(struct lessor *l, const struct lessor_ask *to, int error, int64_t ttl_s, int64_t remaining_ms)
{
	struct lessor_fx *fx = lessor_emit(l, LESSOR_FX_ANSWER);

	fx->answer.to = *to;
	fx->answer.error = error;
	fx->answer.ttl_s = ttl_s;
	fx->answer.remaining_ms = remaining_ms;
}

static struct lessor_wait **ask_bucket(struct lessor *l, const struct lessor_ask *ask)
{
	return &l->asks[(ask->ctx ^ ask->gateway) % LESSOR_ASK_BUCKETS];
}

/*
 * A gatewayd that hears nothing asks again every second, and a question may be held for five: it is the same
 * question, and takes no more room than one. Its number is used once by one gatewayd, and each gatewayd
 * has a number of its own.
 */
static bool ask_waits(struct lessor *l, const struct lessor_ask *ask)
{
	const struct lessor_wait *w = *ask_bucket(l, ask);

	while (w != NULL && (w->ask.ctx != ask->ctx || w->ask.gateway != ask->gateway || w->ask.node != ask->node ||
			     w->ask.kind != ask->kind || w->ask.id != ask->id))
		w = w->hash_next;
	return w != NULL;
}

static void ask_begin(struct lessor *l, const struct lessor_ask *ask)
{
	struct lessor_wait *w = mem_alloc(sizeof *w), **bucket = ask_bucket(l, ask);

	w->ask = *ask;
	w->hash_next = *bucket;
	*bucket = w;
	l->n_asks++;
	wait_push(&l->fresh, w);
}

static void ask_end(struct lessor *l, struct lessor_wait *w)
{
	struct lessor_wait **at = ask_bucket(l, &w->ask);

	CHECK(l->n_asks > 0);
	while (*at != w) {
		CHECK(*at != NULL);
		at = &(*at)->hash_next;
	}
	*at = w->hash_next;
	l->n_asks--;
	mem_free(w);
}

void lessor_answer_all(struct lessor *l, struct wait_queue *q, int error)
{
	struct lessor_wait *w;

	while ((w = wait_pop(q)) != NULL) {
		ask_answer(l, &w->ask, error, 0, 0);
		ask_end(l, w);
	}
}

static void ask_answer_lease(struct lessor *l, struct lease *e, const struct lessor_ask *ask, mono_t now)
{
	int64_t left = mono_sub_ms(e->deadline, now);

	ask_answer(l, ask, ERR_OK, e->ttl_s, left > 0 ? left : 0);
}

void lessor_answer_lease(struct lessor *l, struct lease *e, mono_t now)
{
	struct lessor_wait *w;

	lessor_renew(l, e, now);
	while ((w = wait_pop(&e->waits)) != NULL) {
		ask_answer_lease(l, e, &w->ask, now);
		ask_end(l, w);
	}
}

/* ---- held ---- */

static bool ask_behind(const struct lessor *l, const struct lessor_wait *w)
{
	return !l->synced || l->view.applied < w->index;
}

/* Its lease gets its TTL now already, and does not end before the answer: its client was in time. */
static void ask_hold(struct lessor *l, struct lessor_wait *w, mono_t now)
{
	struct lease *e = w->ask.kind == LESSOR_KEEPALIVE ? lease_find(l, w->ask.id) : NULL;

	w->until = mono_add_ms(now, LESSOR_HOLD_MS);
	w->granted = 0;
	wait_push(&l->held, w);
	if (e == NULL)
		return;
	w->granted = e->granted;
	e->held++;
	lessor_touch(l, e, now);
}

/* The lease that it asks for, as it is known now, is held by it no more. */
static struct lease *ask_release(struct lessor *l, const struct lessor_wait *w)
{
	struct lease *e = lease_find(l, w->ask.id);

	if (e != NULL && e->granted == w->granted && e->held > 0)
		e->held--;
	return e;
}

static void ask_refuse_held(struct lessor *l, mono_t now)
{
	struct lessor_wait *w;

	while ((w = l->held.first) != NULL && !mono_before(now, w->until)) {
		struct lease *e = ask_release(l, wait_pop(&l->held));

		if (e != NULL && w->ask.kind == LESSOR_KEEPALIVE)
			lessor_touch(l, e, now);         /* until it is asked again */
		ask_answer(l, &w->ask, ERR_STORE_DOWN, 0, 0);
		ask_end(l, w);
	}
}

/*
 * stored tells when it has come to the furthest index that it was asked for. So the next one is
 * asked for when the last one has come: else rounds that go on in front of a store that is behind
 * would put off every answer.
 */
static void ask_wait_for_store(struct lessor *l)
{
	const struct lessor_wait *w = l->held.first;

	if (w == NULL || !l->linked || w->index <= l->view.applied || l->waited_index > l->view.applied)
		return;
	l->waited_index = w->index;
	lessor_emit(l, LESSOR_FX_WAIT)->index = w->index;
}

/* ---- decided ---- */

static void ask_wait_at(struct lease *e, struct lessor_wait *w)
{
	wait_push(&e->waits, w);
}

static void ask_keepalive(struct lessor *l, struct lease *e, struct lessor_wait *w, mono_t now)
{
	if (e->place == LEASE_ENDING || e->place == LEASE_WAKE || e->place == LEASE_WAKING) {
		ask_wait_at(e, w);
		return;
	}
	if (!lessor_awake(l, e)) {
		ask_wait_at(e, w);
		lease_move(l, e, LEASE_WAKE);
		return;
	}
	lessor_renew(l, e, now);
	ask_answer_lease(l, e, &w->ask, now);
	ask_end(l, w);
}

/* The store has come as far as its round. Of a lease that is being ended nothing is left. */
static void ask_decide(struct lessor *l, struct lease *e, struct lessor_wait *w, mono_t now)
{
	if (e != NULL && w->ask.kind == LESSOR_KEEPALIVE) {
		ask_keepalive(l, e, w, now);
		return;
	}
	if (e != NULL)
		ask_answer_lease(l, e, &w->ask, now);
	else
		ask_answer(l, &w->ask, ERR_OK, 0, 0);
	ask_end(l, w);
}

void lessor_held(struct lessor *l, mono_t now)
{
	struct lessor_wait *w;

	while ((w = l->held.first) != NULL && !ask_behind(l, w))
		ask_decide(l, ask_release(l, wait_pop(&l->held)), w, now);
	ask_wait_for_store(l);
}

/* Its lease has gone, or is another one now. */
void lessor_wait_over(struct lessor *l, struct lessor_wait *w, mono_t now)
{
	w->until = mono_add_ms(now, LESSOR_HOLD_MS);
	w->granted = 0;
	wait_push(&l->held, w);
}

/* ---- in and out ---- */

void lessor_ask(struct lessor *l, const struct lessor_ask *ask, mono_t now)
{
	(void)now;
	if (l->state == LESSOR_FOLLOWING) {
		if (ask->node == 0 && l->leader != 0)
			lessor_emit(l, LESSOR_FX_FORWARD)->ask = *ask;
		else
			ask_answer(l, ask, l->leader != 0 ? ERR_LEADER_CHANGED : ERR_NO_LEADER, 0, 0);
		return;
	}
	if (ask_waits(l, ask))
		return;
	if (l->n_asks >= LIMIT_LEASE_ASKS)
		ask_answer(l, ask, ERR_TOO_MANY_REQUESTS, 0, 0);
	else
		ask_begin(l, ask);
}

void lessor_confirmed(struct lessor *l, uint64_t ctx, int error, uint64_t term, uint64_t index, mono_t now)
{
	struct lessor_wait *w;

	if (l->state != LESSOR_LEADING || ctx != l->ctx || l->asked.n == 0)
		return;
	if (error != ERR_OK || term != l->term) {
		/* Asked again after a while: if we really lead no more, raftd says so. */
		l->again_at = mono_add_ms(now, LESSOR_REFUSED_MS);
		return;
	}
	while ((w = wait_pop(&l->asked)) != NULL) {
		w->index = index;
		if (ask_behind(l, w))
			ask_hold(l, w, now);
		else
			ask_decide(l, lease_find(l, w->ask.id), w, now);
	}
	ask_wait_for_store(l);
}

static void ask_round(struct lessor *l, mono_t now)
{
	l->again_at = mono_add_ms(now, LESSOR_CONFIRM_MS);
	l->stats.rounds++;
	lessor_emit(l, LESSOR_FX_CONFIRM)->ctx = ++l->ctx;
}

/* A round that is asked again is a new one: who came meanwhile may join it. */
void lessor_ask_tick(struct lessor *l, mono_t now)
{
	struct lessor_wait *w;

	if (l->state != LESSOR_LEADING)
		return;
	ask_refuse_held(l, now);
	if (l->asked.n > 0 && mono_before(now, l->again_at))
		return;
	while ((w = wait_pop(&l->fresh)) != NULL)
		wait_push(&l->asked, w);
	if (l->asked.n > 0)
		ask_round(l, now);
}

mono_t lessor_ask_due(const struct lessor *l)
{
	mono_t due = l->held.n > 0 ? l->held.first->until : MONO_NEVER;

	if (l->state != LESSOR_LEADING)
		return MONO_NEVER;
	if (l->asked.n > 0)
		return mono_min(due, l->again_at);
	return l->fresh.n > 0 ? (mono_t){0} : due;
}
