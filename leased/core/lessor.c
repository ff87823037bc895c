/* SPDX-License-Identifier: Apache-2.0 */
/* The lessor's state, and what raftd and stored say. */
#include "leased/core/lessor.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "leased/core/lessor_own.h"

struct lessor *lessor_new(uint64_t number, uint64_t seed)
{
	struct lessor *l = mem_alloc(sizeof *l);

	l->number = number;
	l->seed = seed;
	list_init(&l->over);
	list_init(&l->ending);
	list_init(&l->marking);
	list_init(&l->wake);
	list_init(&l->waking);
	return l;
}

static void waits_free(struct wait_queue *q)
{
	struct lessor_wait *w;

	while ((w = wait_pop(q)) != NULL)
		mem_free(w);
}

static void lease_drop(struct lessor *l, struct lease *e, void *arg)
{
	(void)l;
	(void)arg;
	waits_free(&e->waits);
	mem_free(e);
}

void lessor_free(struct lessor **lp)
{
	struct lessor *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	lease_each(l, lease_drop, NULL);
	waits_free(&l->fresh);
	waits_free(&l->asked);
	waits_free(&l->held);
	mem_free(l->buckets);
	mem_free(l->heap);
	mem_free(l->fx.v);
	mem_free(l->fx.marks);
	mem_free(l);
}

struct lessor_effects *lessor_effects(struct lessor *l)
{
	return &l->fx;
}

const char *lessor_state_name(enum lessor_state s)
{
	static const char *const names[] = {
#define S(name) #name,
		LESSOR_STATES(S)
#undef S
	};

	return (size_t)s < ARRAY_LEN(names) ? names[s] : "?";
}

/* ---- who leads ---- */

static void lessor_forget_waits(struct lessor *l, struct lease *e, void *error)
{
	lessor_answer_all(l, &e->waits, *(int *)error);
}

/* Nothing here is ours to say any more. */
static void lessor_follow(struct lessor *l, int error)
{
	if (l->state == LESSOR_LEADING)
		lease_each(l, lessor_forget_waits, &error);
	lessor_answer_all(l, &l->fresh, error);
	lessor_answer_all(l, &l->asked, error);
	lessor_answer_all(l, &l->held, error);
	CHECK(l->n_asks == 0);
	lease_rest_all(l);
	l->state = LESSOR_FOLLOWING;
	l->trusted = false;
}

static void lessor_begin_clock(struct lessor *l, struct lease *e, void *now)
{
	lessor_start_clock(l, e, false, *(mono_t *)now);
}

/*
 * LEADING only while the last claim that the store has shown is ours, for the term that raftd says
 * we lead, and our picture of the leases is whole. It is left with the role alone: while stored is
 * away clocks go on and nothing ends, keepalives count and are held.
 */
static void lessor_look(struct lessor *l, mono_t now)
{
	if (l->state != LESSOR_CLAIMING || !l->synced || l->view.term != l->term || l->view.lessor != l->number)
		return;
	l->state = LESSOR_LEADING;
	l->trusted = true;
	l->seq = l->view.seq;
	l->stats.takeovers++;
	lease_each(l, lessor_begin_clock, &now);
	l->tick_at = now;
}

void lessor_role(struct lessor *l, bool leads, uint64_t term, uint64_t leader, mono_t now)
{
	if (l->leads == leads && l->term == term && l->leader == leader)
		return;
	if (l->state != LESSOR_FOLLOWING && (!leads || term != l->term))
		lessor_follow(l, leader != 0 ? ERR_LEADER_CHANGED : ERR_NO_LEADER);
	l->leads = leads;
	l->term = term;
	l->leader = leader;
	if (!leads || l->state != LESSOR_FOLLOWING)
		return;
	/* What we had under way the last time, even in this term, is void by the new number. */
	l->number += l->number == UINT64_MAX ? 2 : 1;
	l->state = LESSOR_CLAIMING;
	l->claim_at = l->quiet_until = now;
}

void lessor_refused(struct lessor *l, mono_t now)
{
	l->quiet_until = mono_add_ms(now, LESSOR_REFUSED_MS);
}

/* ---- what the store says ---- */

void lessor_store_up(struct lessor *l)
{
	l->linked = true;
	l->synced = l->trusted = false;
	l->list_no++;
	l->waited_index = 0;
}

void lessor_store_down(struct lessor *l)
{
	l->linked = l->synced = false;
}

/* Who waits for it is answered when the store is known to have come as far as the question. */
static void lessor_remove(struct lessor *l, struct lease *e, mono_t now)
{
	struct lessor_wait *w;

	while ((w = wait_pop(&e->waits)) != NULL)
		lessor_wait_over(l, w, now);
	lease_unlink(l, e);
	mem_free(e);
}

/*
 * A row of the list or a change: the later one is what counts. A lease that we have a clock for
 * keeps it; what has changed is whether it dozes. One that is new to a LEADING lessor gets its
 * whole TTL: if it dozes, that may be history (a store begun anew).
 */
void lessor_row(struct lessor *l, const struct lessor_row *row, mono_t now)
{
	struct lease *e = lease_find(l, row->id);

	if (e != NULL && e->granted != row->granted) {
		lessor_remove(l, e, now);
		e = NULL;
	}
	if (e == NULL) {
		e = lease_insert(l, row->id);
		e->granted = row->granted;
		e->ttl_s = row->ttl_s;
		e->remaining_ms = row->remaining_ms;
		if (l->state == LESSOR_LEADING)
			lessor_start_clock(l, e, true, now);
	}
	e->remaining_ms = row->remaining_ms;
	e->listed = l->list_no;
}

void lessor_gone(struct lessor *l, int64_t id, mono_t now)
{
	struct lease *e = lease_find(l, id);

	if (e == NULL)
		return;
	if (e->place == LEASE_ENDING)
		l->stats.expired++;
	lessor_remove(l, e, now);
}

static void lessor_drop_unlisted(struct lessor *l, struct lease *e, void *now)
{
	if (e->listed != l->list_no)
		lessor_remove(l, e, *(mono_t *)now);
}

static void lessor_seen(struct lessor *l, mono_t now)
{
	if (l->state == LESSOR_LEADING)
		l->trusted = l->view.term == l->term && l->view.lessor == l->number;
	lessor_look(l, now);
	lessor_woken(l, now);
	lessor_held(l, now);
}

void lessor_listed(struct lessor *l, mono_t now)
{
	lease_each(l, lessor_drop_unlisted, &now);
	l->synced = true;
	lessor_seen(l, now);
}

/* The first one of a link may lie behind what an earlier link said: the store was begun anew. */
void lessor_progress(struct lessor *l, const struct lessor_progress *p, mono_t now)
{
	l->view = *p;
	if (l->synced)
		lessor_seen(l, now);
}

/* ---- time ---- */

static void lessor_claim(struct lessor *l, mono_t now)
{
	if (l->state != LESSOR_CLAIMING || mono_before(now, l->claim_at) || mono_before(now, l->quiet_until))
		return;
	l->claim_at = mono_add_ms(now, LESSOR_RETRY_MS);
	(void)lessor_propose(l, LESSOR_FX_CLAIM);
}

void lessor_tick(struct lessor *l, mono_t now)
{
	lessor_claim(l, now);
	lessor_ask_tick(l, now);
	lessor_clock_tick(l, now);
}

static mono_t mono_max(mono_t a, mono_t b)
{
	return mono_before(a, b) ? b : a;
}

mono_t lessor_due(const struct lessor *l)
{
	mono_t due = lessor_ask_due(l);

	if (l->state == LESSOR_CLAIMING)
		due = mono_min(due, mono_max(l->claim_at, l->quiet_until));
	return mono_min(due, lessor_clock_due(l));
}

void lessor_stats(const struct lessor *l, struct lessor_stats *out)
{
	*out = l->stats;
	out->state = l->state;
	out->term = l->term;
	out->leader = l->leader;
	out->synced = l->synced;
	out->leases = l->n;
	out->asks = l->n_asks;
	out->held = l->held.n;
	out->over = l->n_over;
	out->ending = l->n_ending;
	out->marking = l->n_marking;
	out->waking = l->n_waking;
}
