/* SPDX-License-Identifier: Apache-2.0 */
/* Links, streams, watchers and the states they are in. */
#include "watchd/core/watch.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "watchd/core/watch_own.h"

#define WATCHER_OF_QUEUE(l) container_of((l), struct watcher, queue)
#define WATCHER_OF_STREAM(l) container_of((l), struct watcher, in_stream)
#define STREAM_OF(l) container_of((l), struct watch_stream, in_link)
#define LINK_OF(l) container_of((l), struct watch_link, in_core)

enum { WATCH_BUCKETS = 64, WATCH_STREAM_BUCKETS = 4096 };

struct watch_core *watch_core_new(const struct watch_setup *s)
{
	struct watch_core *c = mem_alloc(sizeof *c);

	CHECK(s->interval_ms > 0);
	watch_index_init(&c->index, s->seed);
	c->interval_ms = s->interval_ms;
	c->max_watches = s->max_watches;
	c->max_bytes = s->max_bytes ? s->max_bytes : LIMIT_WATCH_BYTES;
	c->slice_rows = s->slice_rows ? s->slice_rows : LIMIT_WATCH_SLICE_ROWS;
	c->stream_bytes = (int64_t)(s->stream_bytes ? s->stream_bytes : LIMIT_WATCH_STREAM_BYTES);
	c->link_bytes = (int64_t)(s->link_bytes ? s->link_bytes : LIMIT_WATCH_LINK_BYTES);
	c->compact = -1;
	list_init(&c->links);
	list_init(&c->behind);
	list_init(&c->asked);
	list_init(&c->timed);
	return c;
}

void watch_core_free(struct watch_core **cp)
{
	struct watch_core *c = *cp;

	*cp = NULL;
	CHECK(list_empty(&c->links) && c->n == 0);
	watch_index_free(&c->index);
	watch_slice_free(&c->slice);
	mem_free(c->cuts);
	mem_free(c->effects);
	mem_free(c);
}

void watch_effect_add(struct watch_core *c, const struct watch_effect *e)
{
	c->effects = watch_room_for(c->effects, &c->cap_effects, c->n_effects + 1, sizeof *c->effects);
	c->effects[c->n_effects++] = *e;
}

size_t watch_core_effects(const struct watch_core *c, const struct watch_effect **out)
{
	*out = c->effects;
	return c->n_effects;
}

void watch_core_effects_done(struct watch_core *c)
{
	c->n_effects = 0;
}

/* ---- tables ---- */

static uint64_t table_hash(uint64_t id)
{
	id *= 0x9e3779b97f4a7c15u;
	return id ^ id >> 32;
}

struct watcher *watcher_find(const struct watch_link *l, uint64_t id)
{
	struct watcher *w = l->buckets[table_hash(id) & (l->n_buckets - 1)];

	while (w != NULL && w->id != id)
		w = w->hash_next;
	return w;
}

static void table_add(struct watch_link *l, struct watcher *w)
{
	struct watcher **at;

	if (l->n >= l->n_buckets) {
		size_t n = l->n_buckets * 2;
		struct watcher **b = mem_array(n, sizeof *b), *old;

		for (size_t i = 0; i < l->n_buckets; i++) {
			while ((old = l->buckets[i]) != NULL) {
				l->buckets[i] = old->hash_next;
				at = &b[table_hash(old->id) & (n - 1)];
				old->hash_next = *at;
				*at = old;
			}
		}
		mem_free(l->buckets);
		l->buckets = b;
		l->n_buckets = n;
	}
	at = &l->buckets[table_hash(w->id) & (l->n_buckets - 1)];
	w->hash_next = *at;
	*at = w;
	l->n++;
}

static void table_remove(struct watch_link *l, struct watcher *w)
{
	struct watcher **at = &l->buckets[table_hash(w->id) & (l->n_buckets - 1)];

	while (*at != w)
		at = &(*at)->hash_next;
	*at = w->hash_next;
	l->n--;
}

/* ---- places ---- */

void watcher_set_next(struct watcher *w, struct watch_pos next)
{
	w->next_rev = next.rev;
	w->next_sub = next.sub;
}

/* Whoever is live stands at the head, or waits for a revision of the future. */
struct watch_pos watcher_place(const struct watch_core *c, const struct watcher *w)
{
	struct watch_pos next = watcher_next(w);

	return w->state == WATCH_LIVE && watch_pos_cmp(next, c->head) < 0 ? c->head : next;
}

bool watch_room(const struct watch_stream *s)
{
	return s->credit > 0 && s->link->credit > 0;
}

/* Out of the list of its state. */
static void watcher_leave(struct watch_core *c, struct watcher *w)
{
	list_remove(&w->in_span);
	list_remove(&w->queue);
	if (w->state == WATCH_LIVE)
		c->n_live--;
	else if (w->state == WATCH_BEHIND)
		c->n_behind--;
}

static void watcher_enter(struct watch_core *c, struct watcher *w, enum watch_state state)
{
	w->state = (uint8_t)state;
	if (state == WATCH_LIVE) {
		list_push(&w->span->live, &w->in_span);
		c->n_live++;
	} else if (state == WATCH_BEHIND) {
		list_push(&w->span->behind, &w->in_span);
		list_push(&c->behind, &w->queue);
		c->n_behind++;
	} else {
		list_push(&w->stream->blocked, &w->queue);
	}
}

static void watcher_tell_place(struct watch_core *c, const struct watcher *w, bool joined)
{
	struct watch_effect e = {.kind = WATCH_PLACED, .link = w->stream->link, .watch = w->id,
				 .joined = joined, .next = watcher_next(w)};

	watch_effect_add(c, &e);
}

static void watcher_sort(struct watch_core *c, struct watcher *w)
{
	if (c->begun && watch_pos_cmp(watcher_next(w), c->head) >= 0) {
		watcher_enter(c, w, WATCH_LIVE);
		watcher_tell_place(c, w, true);
	} else {
		watcher_enter(c, w, watch_room(w->stream) ? WATCH_BEHIND : WATCH_BLOCKED);
	}
	watcher_progress(c, w);
}

void watcher_settle(struct watch_core *c, struct watcher *w)
{
	watcher_leave(c, w);
	watcher_sort(c, w);
}

/* Its place must have been set. */
void watcher_block(struct watch_core *c, struct watcher *w)
{
	watcher_leave(c, w);
	watcher_enter(c, w, WATCH_BLOCKED);
	watcher_tell_place(c, w, false);
}

static void watcher_drop(struct watch_core *c, struct watcher *w)
{
	CHECK(!c->slice.open);
	watcher_leave(c, w);
	list_remove(&w->in_stream);
	list_remove(&w->timed);
	table_remove(w->stream->link, w);
	watch_index_put(&c->index, w->span);
	c->n--;
	mem_free(w);
}

void watcher_end(struct watch_core *c, struct watcher *w, int error)
{
	struct watch_effect e = {.kind = WATCH_CANCELED, .link = w->stream->link, .watch = w->id,
				 .error = error, .revision = error == ERR_COMPACTED ? c->compact : 0};

	watch_effect_add(c, &e);
	watcher_drop(c, w);
}

/* ---- streams ---- */

static struct watch_stream **stream_slot(const struct watch_link *l, uint64_t id)
{
	struct watch_stream **at = &l->stream_buckets[table_hash(id) & (l->n_stream_buckets - 1)];

	while (*at != NULL && (*at)->id != id)
		at = &(*at)->hash_next;
	return at;
}

/* A new one begins with what its client has still to take of what came over an earlier link. */
static struct watch_stream *stream_get(struct watch_core *c, struct watch_link *l, uint64_t id, uint64_t untaken)
{
	struct watch_stream **at = stream_slot(l, id), *s;

	if (*at != NULL || l->n_streams >= LIMIT_WATCH_STREAMS)
		return *at;
	s = mem_alloc(sizeof *s);
	s->id = id;
	s->link = l;
	s->credit = c->stream_bytes - (int64_t)untaken;
	list_init(&s->watchers);
	list_init(&s->blocked);
	list_push(&l->streams, &s->in_link);
	*at = s;
	l->n_streams++;
	c->n_streams++;
	return s;
}

static void stream_close(struct watch_core *c, struct watch_stream *s)
{
	struct watch_link *l = s->link;
	struct watch_stream **at = stream_slot(l, s->id);
	struct list *w;

	while ((w = list_first(&s->watchers)) != NULL)
		watcher_drop(c, WATCHER_OF_STREAM(w));
	CHECK(*at == s);
	*at = s->hash_next;
	list_remove(&s->in_link);
	l->n_streams--;
	c->n_streams--;
	mem_free(s);
}

/* There is room again: whoever was blocked goes on from its place. */
static void stream_release(struct watch_core *c, struct watch_stream *s)
{
	struct list todo, *l;

	if (!watch_room(s))
		return;
	list_init(&todo);
	list_splice(&todo, &s->blocked);
	while ((l = list_first(&todo)) != NULL)
		watcher_settle(c, WATCHER_OF_QUEUE(l));
}

void watch_link_close_stream(struct watch_core *c, struct watch_link *l, uint64_t stream)
{
	struct watch_stream *s = *stream_slot(l, stream);

	if (s != NULL)
		stream_close(c, s);
}

void watch_link_credit(struct watch_core *c, struct watch_link *l, uint64_t stream, uint64_t bytes)
{
	struct watch_stream *s = *stream_slot(l, stream);

	if (s == NULL)
		return;
	/* No more than was taken can come back, whatever the other side says. */
	if (bytes > (uint64_t)(c->stream_bytes - s->credit))
		s->credit = c->stream_bytes;
	else
		s->credit += (int64_t)bytes;
	stream_release(c, s);
}

void watch_link_taken(struct watch_core *c, struct watch_link *l, uint64_t cost)
{
	bool had = l->credit > 0;

	if (cost > (uint64_t)(c->link_bytes - l->credit))
		l->credit = c->link_bytes;
	else
		l->credit += (int64_t)cost;
	if (had || l->credit <= 0)
		return;
	for (struct list *s = l->streams.next; s != &l->streams; s = s->next)
		stream_release(c, STREAM_OF(s));
}

/* ---- links ---- */

struct watch_link *watch_link_open(struct watch_core *c, void *owner)
{
	struct watch_link *l = mem_alloc(sizeof *l);

	l->owner = owner;
	l->credit = c->link_bytes;
	l->n_buckets = WATCH_BUCKETS;
	l->n_stream_buckets = WATCH_STREAM_BUCKETS;
	l->buckets = mem_array(l->n_buckets, sizeof *l->buckets);
	l->stream_buckets = mem_array(l->n_stream_buckets, sizeof *l->stream_buckets);
	list_init(&l->streams);
	list_push(&c->links, &l->in_core);
	return l;
}

void watch_link_close(struct watch_core *c, struct watch_link **lp)
{
	struct watch_link *l = *lp;
	struct list *s;

	*lp = NULL;
	CHECK(c->n_effects == 0);
	while ((s = list_first(&l->streams)) != NULL)
		stream_close(c, STREAM_OF(s));
	for (size_t i = 0; i < c->n_cuts;) {
		if (c->cuts[i].link == l)
			c->cuts[i] = c->cuts[--c->n_cuts];
		else
			i++;
	}
	list_remove(&l->in_core);
	CHECK(l->n == 0 && l->n_streams == 0);
	mem_free(l->buckets);
	mem_free(l->stream_buckets);
	mem_free(l);
}

void *watch_link_owner(const struct watch_link *l)
{
	return l->owner;
}

size_t watch_link_watches(const struct watch_link *l)
{
	return l->n;
}

static bool create_is_empty(const struct watch_create *w)
{
	if (w->range_end.len == 0 || (w->range_end.len == 1 && w->range_end.data[0] == 0))
		return false;
	return bytes_cmp(w->range_end, w->key) <= 0;
}

/* Why it cannot be; the gateway has looked already, but nothing depends on that. */
static int create_check(const struct watch_core *c, const struct watch_create *w)
{
	if (create_is_empty(w))
		return ERR_WATCH_RANGE;
	if (c->compact >= 0 && w->next_rev < c->compact)
		return ERR_COMPACTED;
	if (c->n >= c->max_watches || c->index.bytes + w->key.len + w->range_end.len > c->max_bytes)
		return ERR_TOO_MANY_WATCHES;
	return ERR_OK;
}

/*
 * Another watchd has sent it the beginning of a revision, which its gatewayd may be keeping back. Each slice looks at all of
 * these, so they are bounded, and places that a client has made up for the future are not among them.
 */
static bool watcher_resumes(const struct watch_core *c, const struct watcher *w)
{
	return w->next_sub != 0 && (!c->begun || w->next_rev <= c->revision) && c->n_cuts < LIMIT_WATCH_REFS;
}

static void watcher_new(struct watch_core *c, struct watch_stream *s, const struct watch_create *m,
			mono_t now)
{
	struct watcher *w = mem_alloc(sizeof *w);

	w->stream = s;
	w->id = m->watch;
	w->next_rev = m->next_rev;
	w->next_sub = (uint32_t)m->next_sub;
	w->prev_kv = m->prev_kv;
	w->no_put = m->no_put;
	w->no_delete = m->no_delete;
	w->progress_at = m->progress_at;
	w->slot = WATCH_NO_SLOT;
	list_init(&w->in_span);
	list_init(&w->queue);
	list_init(&w->timed);
	list_push(&s->watchers, &w->in_stream);
	w->span = watch_index_get(&c->index, m->key, m->range_end);
	w->span->n++;
	table_add(s->link, w);
	watcher_cut(c, w, watcher_resumes(c, w));
	c->n++;
	if (m->progress_notify) {
		list_push(&c->timed, &w->timed);
		w->active = now;
	}
	watcher_sort(c, w);
}

int watch_link_create(struct watch_core *c, struct watch_link *l, const struct watch_create *m, mono_t now)
{
	struct watch_effect e = {.kind = WATCH_CANCELED, .link = l, .watch = m->watch};
	struct watch_stream *s;

	if (m->next_rev < 0 || m->next_sub > UINT32_MAX || m->progress_at < 0 ||
	    m->untaken > UINT32_MAX)
		return ERR_MALFORMED;
	if (watcher_find(l, m->watch) != NULL)
		return ERR_EXISTS;
	e.error = create_check(c, m);
	if (e.error != ERR_OK) {
		e.revision = e.error == ERR_COMPACTED ? c->compact : 0;
		watch_effect_add(c, &e);
		return ERR_OK;
	}
	s = stream_get(c, l, m->stream, m->untaken);
	if (s == NULL)
		return ERR_LIMIT;
	watcher_new(c, s, m, now);
	return ERR_OK;
}

void watch_link_cancel(struct watch_core *c, struct watch_link *l, uint64_t watch)
{
	struct watcher *w = watcher_find(l, watch);

	if (w != NULL)
		watcher_drop(c, w);
}

/* ---- the store ---- */

/* Ends those that stand before the compacted revision; `live` ones may yet read what is there. */
static void watch_compacted(struct watch_core *c, bool live)
{
	struct list *l, *s, *at, *next;

	for (l = c->links.next; l != &c->links; l = l->next) {
		for (s = LINK_OF(l)->streams.next; s != &LINK_OF(l)->streams; s = s->next) {
			for (at = STREAM_OF(s)->watchers.next; at != &STREAM_OF(s)->watchers; at = next) {
				struct watcher *w = WATCHER_OF_STREAM(at);

				next = at->next;
				if ((w->state != WATCH_LIVE || live) && watcher_place(c, w).rev < c->compact)
					watcher_end(c, w, ERR_COMPACTED);
			}
		}
	}
}

void watch_core_store(struct watch_core *c, int64_t revision, int64_t compact_revision)
{
	CHECK(!c->slice.open);
	c->revision = revision;
	if (!c->begun)
		c->head = (struct watch_pos){revision + 1, 0};
	c->begun = true;
	if (compact_revision <= c->compact)
		return;
	c->compact = compact_revision;
	watch_compacted(c, false);
}

void watch_core_lost(struct watch_core *c)
{
	watch_compacted(c, c->took_head);
	if (c->took_head && c->head.rev < c->compact)
		c->head = (struct watch_pos){c->compact, 0};
	watch_asked_check(c);
}

void watch_core_stats(const struct watch_core *c, struct watch_stats *s)
{
	struct list *front = c->behind.next;

	*s = (struct watch_stats){
		.watches = c->n, .live = c->n_live, .behind = c->n_behind,
		.blocked = c->n - c->n_live - c->n_behind, .spans = c->index.n + c->index.n_singles,
		.streams = c->n_streams, .head = c->head, .revision = c->revision,
		.compact_revision = c->compact,
	};
	if (front != &c->behind)
		s->oldest = watcher_next(container_of(front, struct watcher, queue));
}
