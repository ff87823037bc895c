/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the matches of a slice to deliveries: watchers of one client that get the same events get
 * them together, and each event is sent to a client once for all of them. Whoever has no credit
 * is left where it stood.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "watchd/core/watch_own.h"

enum { GROUP_NONE = UINT32_MAX, GROUP_WATCH_COST = 10 };

/* The events of each slot, one list behind the other. */
static void lists_fill(struct watch_slice *s)
{
	uint32_t at = 0;

	s->lists = watch_room_for(s->lists, &s->cap_lists, s->n_pairs, sizeof *s->lists);
	for (size_t i = 0; i < s->n_slots; i++) {
		s->slots[i].first = at;
		at += s->slots[i].n;
		s->slots[i].n = 0;
	}
	for (size_t i = 0; i < s->n_pairs; i++) {
		struct watch_slot *slot = &s->slots[s->pairs[i].slot];

		s->lists[slot->first + slot->n++] = s->pairs[i].event;
	}
}

static bool group_fits(const struct watch_slice *s, const struct watch_slot *a, const struct watch_slot *b)
{
	return a->hash == b->hash && a->n == b->n && a->w->stream == b->w->stream &&
	       a->w->prev_kv == b->w->prev_kv &&
	       memcmp(&s->lists[a->first], &s->lists[b->first], a->n * sizeof *s->lists) == 0;
}

static uint64_t group_hash(const struct watch_slot *a)
{
	uint64_t h = (a->hash ^ a->w->stream->id ^ (uintptr_t)a->w->stream->link) * 0x9e3779b97f4a7c15u;

	return h ^ h >> 29 ^ a->w->prev_kv;
}

/* To the end of its group, or into a new one. */
static void group_join(struct watch_slice *s, uint32_t i, size_t mask)
{
	struct watch_slot *slot = &s->slots[i];
	size_t at = group_hash(slot) & mask;
	struct watch_group *g;

	slot->next = GROUP_NONE;
	for (; s->table[at] != GROUP_NONE; at = (at + 1) & mask) {
		g = &s->groups[s->table[at]];
		if (!group_fits(s, &s->slots[g->first], slot))
			continue;
		if (g->n == LIMIT_WATCH_REFS)
			break;                /* full: another one takes its place */
		s->slots[g->last].next = i;
		g->last = i;
		g->n++;
		return;
	}
	s->groups = watch_room_for(s->groups, &s->cap_groups, s->n_groups + 1, sizeof *s->groups);
	s->groups[s->n_groups] = (struct watch_group){i, i, 1};
	s->table[at] = (uint32_t)s->n_groups++;
}

static void groups_make(struct watch_slice *s)
{
	size_t size = 64;

	while (size < 2 * s->n_slots)
		size *= 2;
	s->table = watch_room_for(s->table, &s->cap_table, size, sizeof *s->table);
	memset(s->table, 0xff, size * sizeof *s->table);
	for (size_t i = 0; i < s->n_slots; i++)
		group_join(s, (uint32_t)i, size - 1);
}

static void group_block(struct watch_core *c, const struct watch_group *g)
{
	struct watch_slice *s = &c->slice;

	for (uint32_t i = g->first; i != GROUP_NONE; i = s->slots[i].next) {
		struct watcher *w = s->slots[i].w;

		if (watch_pos_cmp(watcher_next(w), s->from) < 0)
			watcher_set_next(w, s->from);
		watcher_block(c, w);
	}
}

void watcher_cut(struct watch_core *c, struct watcher *w, bool cut)
{
	if (cut && !w->cut) {
		c->cuts = watch_room_for(c->cuts, &c->cap_cuts, c->n_cuts + 1, sizeof *c->cuts);
		c->cuts[c->n_cuts++] = (struct watch_cut){w->stream->link, w->id};
	}
	w->cut = cut;
}

static size_t group_cost(const struct watch_slice *s, const struct watch_slot *slot, size_t n)
{
	const size_t *costs = slot->w->prev_kv ? s->prev_costs : s->costs;
	size_t cost = 32 + n * GROUP_WATCH_COST;

	for (uint32_t i = 0; i < slot->n; i++)
		cost += costs[s->lists[slot->first + i]];
	return cost;
}

static struct watch_out *out_add(struct watch_slice *s, const struct watch_stream *stream, bool prev_kv,
				 struct watch_pos next)
{
	struct watch_out *o;

	s->out = watch_room_for(s->out, &s->cap_out, s->n_out + 1, sizeof *s->out);
	o = &s->out[s->n_out++];
	*o = (struct watch_out){.link = stream->link, .stream = stream->id, .prev_kv = prev_kv, .next = next,
				.watches = &s->ids[s->n_ids]};
	return o;
}

static void group_deliver(struct watch_core *c, const struct watch_group *g, struct watch_pos next, mono_t now)
{
	struct watch_slice *s = &c->slice;
	struct watch_slot *first = &s->slots[g->first];
	struct watch_stream *stream = first->w->stream;
	struct watch_out *o = out_add(s, stream, first->w->prev_kv, next);

	o->events = &s->lists[first->first];
	o->n_events = first->n;
	o->cost = group_cost(s, first, g->n);
	for (uint32_t i = g->first; i != GROUP_NONE; i = s->slots[i].next) {
		struct watcher *w = s->slots[i].w;

		s->ids[s->n_ids++] = w->id;
		watcher_set_next(w, next);
		watcher_active(c, w, now);
		watcher_cut(c, w, next.sub != 0);
	}
	o->n_watches = g->n;
	stream->credit -= (int64_t)o->cost;
	stream->link->credit -= (int64_t)o->cost;
}

/* A watcher was sent a part of a revision, and there was no more for it: it is told that. */
void watch_cuts_end(struct watch_core *c)
{
	struct watch_slice *s = &c->slice;

	for (size_t i = 0; i < c->n_cuts;) {
		struct watcher *w = watcher_find(c->cuts[i].link, c->cuts[i].watch);
		struct watch_pos at;

		if (w != NULL && w->cut) {
			at = watcher_place(c, w);
			if (at.sub != 0) {
				i++;
				continue;
			}
			w->cut = false;
			s->ids[s->n_ids] = w->id;
			out_add(s, w->stream, w->prev_kv, at)->n_watches = 1;
			s->n_ids++;
		}
		c->cuts[i] = c->cuts[--c->n_cuts];
	}
}

void watch_groups_deliver(struct watch_core *c, struct watch_pos next, mono_t now)
{
	struct watch_slice *s = &c->slice;

	s->ids = watch_room_for(s->ids, &s->cap_ids, s->n_slots + c->n_cuts, sizeof *s->ids);
	lists_fill(s);
	groups_make(s);
	for (size_t i = 0; i < s->n_slots; i++)
		s->slots[i].w->slot = WATCH_NO_SLOT;
	for (size_t i = 0; i < s->n_groups; i++) {
		const struct watch_group *g = &s->groups[i];

		if (watch_room(s->slots[g->first].w->stream))
			group_deliver(c, g, next, now);
		else
			group_block(c, g);
	}
}
