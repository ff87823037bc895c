/* SPDX-License-Identifier: Apache-2.0 */
/* Slices of history: where the next one begins, whom its events match, where it ends. */
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "watchd/core/watch_own.h"

#define WATCHER_OF_QUEUE(l) container_of((l), struct watcher, queue)
#define WATCHER_OF_SPAN(l) container_of((l), struct watcher, in_span)

enum { SLICE_EVENT_COST = 64, WATCH_CUT_SLICES = LIMIT_WATCH_CUT_ROWS / LIMIT_WATCH_SLICE_ROWS };

/* Room for n elements; the memory is kept from slice to slice. */
void *watch_room_for(void *v, size_t *cap, size_t n, size_t size)
{
	if (n <= *cap)
		return v;
	*cap = *cap * 2 > n ? *cap * 2 : n + 64;
	return mem_grow(v, *cap, size);
}

void watch_slice_free(struct watch_slice *s)
{
	mem_free(s->events);
	mem_free(s->costs);
	mem_free(s->prev_costs);
	mem_free(s->pairs);
	mem_free(s->slots);
	mem_free(s->lists);
	mem_free(s->groups);
	mem_free(s->table);
	mem_free(s->ids);
	mem_free(s->out);
}

/* ---- where ---- */

/* The first in the queue for whom there is history; those it passes have come to the head. */
static struct watcher *slice_behind(struct watch_core *c)
{
	for (size_t n = c->n_behind; n > 0; n--) {
		struct watcher *w = WATCHER_OF_QUEUE(c->behind.next);

		if (watch_pos_cmp(watcher_next(w), c->head) >= 0) {
			watcher_settle(c, w);
			continue;
		}
		list_remove(&w->queue);
		list_push(&c->behind, &w->queue);
		if (w->next_rev <= c->revision)
			return w;
	}
	return NULL;
}

static bool slice_head(struct watch_core *c)
{
	if (c->head.rev > c->revision)
		return false;
	if (c->n_live > 0)
		return true;
	c->head = (struct watch_pos){c->revision + 1, 0};      /* nobody to read it for */
	return false;
}

/* Head and past take turns, so that neither waits for the other. */
bool watch_slice_begin(struct watch_core *c, struct watch_pos *from, bool *head)
{
	struct watch_slice *s = &c->slice;
	struct watcher *w = NULL;
	bool at_head;

	CHECK(!s->open && s->n_events == 0);
	if (!c->begun)
		return false;
	at_head = slice_head(c);
	if (!at_head || c->took_head)
		w = slice_behind(c);
	if (w == NULL && !slice_head(c))
		return false;
	s->open = true;
	s->head = c->took_head = w == NULL;
	s->from = w != NULL ? watcher_next(w) : c->head;
	s->last = (struct watch_pos){-1, 0};
	s->rows = s->bytes = 0;
	s->n_pairs = s->n_slots = s->n_out = s->n_groups = s->n_ids = 0;
	s->wants_prev = false;
	*from = s->from;
	*head = s->head;
	return true;
}

bool watch_slice_full(const struct watch_core *c, struct watch_pos at)
{
	const struct watch_slice *s = &c->slice;

	CHECK(s->open);
	if (s->n_events >= LIMIT_WATCH_SLICE_EVENTS || s->bytes >= LIMIT_WATCH_SLICE_BYTES ||
	    s->rows >= WATCH_CUT_SLICES * c->slice_rows || s->n_pairs >= 4 * LIMIT_WATCH_SLICE_HITS)
		return true;
	if (at.rev == s->last.rev)
		return false;
	return s->n_events >= LIMIT_WATCH_SLICE_EVENTS / 2 || s->bytes >= LIMIT_WATCH_SLICE_BYTES / 2 ||
	       s->rows >= c->slice_rows || s->n_pairs >= LIMIT_WATCH_SLICE_HITS;
}

/* ---- whom ---- */

static uint32_t slice_slot(struct watch_slice *s, struct watcher *w)
{
	if (w->slot != WATCH_NO_SLOT)
		return w->slot;
	s->slots = watch_room_for(s->slots, &s->cap_slots, s->n_slots + 1, sizeof *s->slots);
	s->slots[s->n_slots] = (struct watch_slot){.w = w, .hash = 0x9e3779b97f4a7c15u};
	w->slot = (uint32_t)s->n_slots;
	return (uint32_t)s->n_slots++;
}

static bool slice_wants(const struct watch_slice *s, const struct watcher *w)
{
	struct watch_pos next = watcher_next(w);

	if (watch_pos_cmp(next, s->last) > 0)
		return false;                 /* it is ahead of this slice, or of this event */
	if (!s->head && watch_pos_cmp(next, s->from) < 0)
		return false;                 /* it has not seen what is before this slice */
	return s->type == WATCH_EVENT_PUT ? !w->no_put : !w->no_delete;
}

static void slice_hit(struct watch_core *c, struct watch_span *span)
{
	struct watch_slice *s = &c->slice;
	struct list *head = s->head ? &span->live : &span->behind;

	for (struct list *l = head->next; l != head; l = l->next) {
		struct watcher *w = container_of(l, struct watcher, in_span);
		struct watch_slot *slot;

		if (!slice_wants(s, w))
			continue;
		s->pairs = watch_room_for(s->pairs, &s->cap_pairs, s->n_pairs + 1, sizeof *s->pairs);
		s->pairs[s->n_pairs++] = (struct watch_pair){slice_slot(s, w), (uint32_t)s->n_events};
		slot = &s->slots[w->slot];
		slot->n++;
		slot->hash = (slot->hash ^ (s->n_events + 1)) * 0xd6e8feb86659fd93u;
		slot->hash ^= slot->hash >> 32;
		s->wants |= WATCH_WANT_PAIR | (w->prev_kv ? WATCH_WANT_PREV : 0u);
	}
}

unsigned watch_slice_match(struct watch_core *c, struct watch_pos at, enum watch_event_type type,
			   struct bytes key)
{
	struct watch_slice *s = &c->slice;
	struct watch_hit hit = {slice_hit, c};

	CHECK(s->open && watch_pos_cmp(at, s->from) >= 0 && watch_pos_cmp(at, s->last) > 0);
	s->last = at;
	s->type = type;
	s->wants = 0;
	s->rows++;
	watch_index_match(&c->index, key, &hit);
	return s->wants;
}

void watch_slice_add(struct watch_core *c, const struct watch_slice_event *e)
{
	struct watch_slice *s = &c->slice;
	size_t cap = s->cap_events, n = s->n_events;
	size_t cost = SLICE_EVENT_COST + e->kv.key.len + e->kv.value.len;
	size_t prev = e->has_prev ? SLICE_EVENT_COST + e->prev.key.len + e->prev.value.len : 0;

	CHECK(s->open && s->wants != 0 && watch_pos_cmp(e->at, s->last) == 0);
	s->events = watch_room_for(s->events, &s->cap_events, n + 1, sizeof *s->events);
	if (cap != s->cap_events) {
		s->costs = mem_grow(s->costs, s->cap_events, sizeof *s->costs);
		s->prev_costs = mem_grow(s->prev_costs, s->cap_events, sizeof *s->prev_costs);
	}
	s->events[n] = *e;
	s->costs[n] = cost;
	s->prev_costs[n] = cost + prev;
	s->n_events++;
	s->bytes += cost + prev;
}

/* ---- the end ---- */

/* Those who stood in the stretch that was read, matched or not, stand behind it now. */
static void slice_move_behind(struct watch_core *c, struct watch_pos next)
{
	struct watch_slice *s = &c->slice;
	struct list *l, *after;

	for (l = c->behind.next; l != &c->behind; l = after) {
		struct watcher *w = WATCHER_OF_QUEUE(l);

		after = l->next;
		if (watch_pos_cmp(watcher_next(w), s->from) < 0 || watch_pos_cmp(watcher_next(w), next) > 0)
			continue;
		watcher_set_next(w, next);
		if (watch_pos_cmp(next, c->head) >= 0)
			watcher_settle(c, w);
		else
			watcher_progress(c, w);
	}
}

void watch_slice_end(struct watch_core *c, struct watch_pos next, mono_t now)
{
	struct watch_slice *s = &c->slice;

	CHECK(s->open && watch_pos_cmp(next, s->last) > 0);
	s->open = false;
	if (watch_pos_cmp(next, s->from) < 0)
		next = s->from;
	watch_groups_deliver(c, next, now);
	if (s->head) {
		c->head = next;
		watch_asked_check(c);
	} else {
		slice_move_behind(c, next);
	}
	if (next.sub == 0)                    /* else nobody has come to the end of a revision */
		watch_cuts_end(c);
}

void watch_slice_done(struct watch_core *c)
{
	c->slice.n_events = 0;
	c->slice.n_out = 0;
}

size_t watch_slice_out(const struct watch_core *c, const struct watch_out **out)
{
	*out = c->slice.out;
	return c->slice.n_out;
}

const struct watch_slice_event *watch_slice_events(const struct watch_core *c, size_t *n)
{
	*n = c->slice.n_events;
	return c->slice.events;
}
