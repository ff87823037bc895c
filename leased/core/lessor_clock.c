/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: what has run out is ended, what nobody keeps alive is checkpointed, what wakes is woken. */
#include "base/check.h"
#include "base/mem.h"
#include "leased/core/lessor_own.h"

/* Longer than any machine stays up: so that no sum overflows. */
enum { CLOCK_MAX_S = 1000000000, CLOCK_COLLECT = 4000 };

static int64_t ttl_ms(const struct lease *e)
{
	return (e->ttl_s < CLOCK_MAX_S ? e->ttl_s : CLOCK_MAX_S) * 1000;
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* Nothing heard until then: it is sent to doze. */
static mono_t clock_idle(const struct lease *e, mono_t now)
{
	return mono_add_ms(now, clamp(ttl_ms(e) / 2, 1, LESSOR_IDLE_MAX_MS));
}

static mono_t clock_next_mark(const struct lease *e, mono_t now)
{
	return mono_add_ms(now, clamp(ttl_ms(e) / 4, LESSOR_MARK_MIN_MS, LESSOR_MARK_MAX_MS));
}

/* whole: its whole TTL, whatever it was checkpointed with. */
void lessor_start_clock(struct lessor *l, struct lease *e, bool whole, mono_t now)
{
	bool dozes = e->remaining_ms > 0 && !whole;

	e->deadline = mono_add_ms(now, dozes ? e->remaining_ms : ttl_ms(e));
	e->next_mark = dozes ? clock_next_mark(e, now) : clock_idle(e, now);
	lease_move(l, e, LEASE_TIMED);
}

static void clock_renew(struct lessor *l, struct lease *e, mono_t now)
{
	if (e->place != LEASE_TIMED) {
		lessor_start_clock(l, e, true, now);
		return;
	}
	e->deadline = mono_add_ms(now, ttl_ms(e));
	e->next_mark = clock_idle(e, now);
}

void lessor_touch(struct lessor *l, struct lease *e, mono_t now)
{
	if (e->place == LEASE_TIMED || e->place == LEASE_OVER || e->place == LEASE_MARKING)
		clock_renew(l, e, now);
}

void lessor_renew(struct lessor *l, struct lease *e, mono_t now)
{
	CHECK(lessor_awake(l, e) && e->place != LEASE_ENDING);
	l->stats.renewed++;
	clock_renew(l, e, now);
}

/* Surely: no checkpoint that may still be on its way says otherwise. */
bool lessor_awake(const struct lessor *l, const struct lease *e)
{
	return l->trusted && e->remaining_ms == 0 && e->mark_seq <= l->view.seq;
}

/* ---- ends ---- */

static void clock_propose_end(struct lessor *l, struct lease *e, mono_t now)
{
	struct lessor_fx *fx = lessor_propose(l, LESSOR_FX_EXPIRE);

	e->sent = now;
	lease_move(l, e, LEASE_ENDING);
	fx->expire.id = e->id;
	fx->expire.granted = e->granted;
}

/* What is left over is due at the next tick. */
static void clock_collect(struct lessor *l, mono_t now)
{
	struct lease *e;

	for (int i = 0; i < CLOCK_COLLECT && (e = lease_pop_due(l, now)) != NULL; i++)
		if (e->held > 0)
			lessor_touch(l, e, now);
		else
			lease_move(l, e, mono_before(now, e->deadline) ? LEASE_MARKING : LEASE_OVER);
}

/* What the store has not shown yet may have been lost: again, since twice does no harm. */
static void clock_again(struct lessor *l, struct list *sent, enum lease_place back, mono_t now)
{
	struct list *first;

	while ((first = list_first(sent)) != NULL) {
		struct lease *e = container_of(first, struct lease, node);

		if (mono_before(now, mono_add_ms(e->sent, LESSOR_RETRY_MS)))
			return;
		l->stats.resent++;
		if (back == LEASE_ENDING)
			clock_propose_end(l, e, now);
		else
			lease_move(l, e, back);
	}
}

static void clock_end(struct lessor *l, mono_t now)
{
	struct list *first;

	for (int i = 0; i < LESSOR_TICK_ENDS && l->n_ending < LESSOR_ENDS_INFLIGHT; i++) {
		first = list_first(&l->over);
		if (first == NULL)
			return;
		clock_propose_end(l, container_of(first, struct lease, node), now);
	}
}

/* ---- checkpoints ---- */

static struct lessor_mark *clock_mark(struct lessor *l, struct lease *e, int64_t remaining_ms)
{
	struct lessor_effects *fx = &l->fx;

	if (fx->n_marks == fx->cap_marks) {
		fx->cap_marks = fx->cap_marks ? fx->cap_marks * 2 : 256;
		fx->marks = mem_grow(fx->marks, fx->cap_marks, sizeof *fx->marks);
	}
	e->mark_seq = l->seq;
	fx->marks[fx->n_marks] = (struct lessor_mark){e->id, e->granted, remaining_ms};
	return &fx->marks[fx->n_marks++];
}

static void clock_mark_wakes(struct lessor *l, size_t *room, mono_t now)
{
	struct list *first;

	for (; *room > 0 && (first = list_first(&l->wake)) != NULL; --*room) {
		struct lease *e = container_of(first, struct lease, node);

		(void)clock_mark(l, e, 0);
		e->sent = now;
		lease_move(l, e, LEASE_WAKING);
		l->stats.wakes++;
	}
}

static void clock_mark_dozes(struct lessor *l, size_t *room, mono_t now)
{
	struct list *first;

	while (*room > 0 && (first = list_first(&l->marking)) != NULL) {
		struct lease *e = container_of(first, struct lease, node);
		int64_t left = mono_sub_ms(e->deadline, now);

		if (left <= 0) {
			lease_move(l, e, LEASE_OVER);
			continue;
		}
		/* One that was begun again elsewhere with less than its TTL cannot be marked with more. */
		(void)clock_mark(l, e, left < ttl_ms(e) ? left : ttl_ms(e) - 1);
		e->next_mark = clock_next_mark(e, now);
		lease_move(l, e, LEASE_TIMED);
		l->stats.marks++;
		--*room;
	}
}

/* One a tick; it waits while the store has not shown the ones before, or a second. */
static void clock_checkpoint(struct lessor *l, mono_t now)
{
	size_t room = LIMIT_LEASE_MARKS, from = l->fx.n_marks;
	struct lessor_fx *fx;

	if (list_empty(&l->wake) && list_empty(&l->marking))
		return;
	if (l->seq >= l->view.seq + LESSOR_MARKS_INFLIGHT &&
	    mono_before(now, mono_add_ms(l->seq_at, LESSOR_RETRY_MS)))
		return;
	l->seq++;
	l->seq_at = now;
	clock_mark_wakes(l, &room, now);
	clock_mark_dozes(l, &room, now);
	if (l->fx.n_marks == from)
		return;
	l->stats.checkpoints++;
	fx = lessor_propose(l, LESSOR_FX_CHECKPOINT);
	fx->checkpoint.seq = l->seq;
	fx->checkpoint.from = from;
	fx->checkpoint.n = l->fx.n_marks - from;
}

/*
 * What was waited for is in the log and applied: who had asked is answered, with a whole TTL from
 * now. A checkpoint that was lost shows by a later one's number: the lease is woken again.
 */
void lessor_woken(struct lessor *l, mono_t now)
{
	struct list *first;

	if (l->state != LESSOR_LEADING)
		return;
	while ((first = list_first(&l->waking)) != NULL) {
		struct lease *e = container_of(first, struct lease, node);

		if (e->mark_seq > l->view.seq)
			return;
		if (lessor_awake(l, e))
			lessor_answer_lease(l, e, now);
		else
			lease_move(l, e, LEASE_WAKE);
	}
}

/* ---- the tick ---- */

/* Wakes wait for nobody's tick: a client does. */
void lessor_clock_tick(struct lessor *l, mono_t now)
{
	if (l->state != LESSOR_LEADING || !l->synced || mono_before(now, l->quiet_until))
		return;
	if (!mono_before(now, l->tick_at)) {
		l->tick_at = mono_add_ms(now, LESSOR_TICK_MS);
		clock_collect(l, now);
		clock_again(l, &l->ending, LEASE_ENDING, now);
		clock_again(l, &l->waking, LEASE_WAKE, now);
		clock_end(l, now);
		clock_checkpoint(l, now);
	} else if (!list_empty(&l->wake)) {
		clock_checkpoint(l, now);
	}
}

static mono_t clock_later(mono_t a, mono_t b)
{
	return mono_before(a, b) ? b : a;
}

mono_t lessor_clock_due(const struct lessor *l)
{
	mono_t due = MONO_NEVER;

	if (l->state != LESSOR_LEADING || !l->synced)
		return due;
	if (l->n_heap > 0)
		due = l->heap[0].due;
	if (!list_empty(&l->over) || !list_empty(&l->marking) || !list_empty(&l->wake) ||
	    !list_empty(&l->ending) || !list_empty(&l->waking))
		due = mono_min(due, l->tick_at);
	return clock_later(clock_later(due, l->tick_at), l->quiet_until);
}
