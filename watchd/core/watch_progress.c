/* SPDX-License-Identifier: Apache-2.0 */
/* How far a watcher has got, told when it is asked for and when the time comes. */
#include "base/check.h"
#include "watchd/core/watch_own.h"

#define WATCHER_OF_TIMED(l) container_of((l), struct watcher, timed)
#define WATCHER_OF_ASKED(l) container_of((l), struct watcher, queue)

/*
 * A watcher of the future is told nothing before its start. Whoever is live and asked for more
 * than the head has seen waits in the list of those asked; the others are looked at when they move.
 */
void watcher_progress(struct watch_core *c, struct watcher *w)
{
	struct watch_pos at = w->state == WATCH_LIVE ? c->head : watcher_next(w);
	struct watch_effect e = {.kind = WATCH_PROGRESSED, .link = w->stream->link, .watch = w->id,
				 .revision = at.rev - 1};

	/* Elsewhere than at the head it has seen what is before its place, if that has happened. */
	bool there = w->state == WATCH_LIVE ? watch_pos_cmp(watcher_next(w), at) <= 0 : at.rev <= c->revision + 1;

	if (w->progress_at == 0)
		return;
	if (at.rev > w->progress_at && there) {
		w->progress_at = 0;
		if (w->state == WATCH_LIVE)
			list_remove(&w->queue);
		watch_effect_add(c, &e);
	} else if (w->state == WATCH_LIVE && !list_linked(&w->queue)) {
		list_push(&c->asked, &w->queue);
	}
}

/* The head has moved. */
void watch_asked_check(struct watch_core *c)
{
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, &c->asked);
	while ((l = list_pop(&todo)) != NULL)
		watcher_progress(c, WATCHER_OF_ASKED(l));
}

void watch_link_ask(struct watch_core *c, struct watch_link *l, uint64_t watch, int64_t revision)
{
	struct watcher *w = watcher_find(l, watch);

	if (w == NULL)
		return;
	if (revision < 1)
		revision = 1;
	if (w->progress_at < revision)
		w->progress_at = revision;
	watcher_progress(c, w);
}

void watcher_active(struct watch_core *c, struct watcher *w, mono_t now)
{
	if (!list_linked(&w->timed))
		return;
	w->active = now;
	list_remove(&w->timed);
	list_push(&c->timed, &w->timed);
}

/* Whoever is behind is told when it has come to where the store is now; a client that takes nothing, later. */
static void watcher_tick(struct watch_core *c, struct watcher *w)
{
	if (!c->begun || !watch_room(w->stream) || w->progress_at != 0)
		return;
	if (w->state == WATCH_LIVE && watch_pos_cmp(watcher_next(w), c->head) > 0)
		return;
	w->progress_at = w->state == WATCH_LIVE ? c->head.rev - 1 : c->revision;
	watcher_progress(c, w);
}

void watch_core_tick(struct watch_core *c, mono_t now)
{
	struct list *l;

	while ((l = list_first(&c->timed)) != NULL) {
		struct watcher *w = WATCHER_OF_TIMED(l);

		if (mono_before(now, mono_add_ms(w->active, c->interval_ms)))
			break;
		watcher_active(c, w, now);
		watcher_tick(c, w);
	}
}

mono_t watch_core_due(const struct watch_core *c)
{
	struct list *l = c->timed.next;

	if (l == &c->timed)
		return MONO_NEVER;
	return mono_add_ms(container_of(l, struct watcher, timed)->active, c->interval_ms);
}
