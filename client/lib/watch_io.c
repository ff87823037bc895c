/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

#define WATCH_OF(l) container_of((l), struct quorate_watch, io_node)

struct wset {
	struct io *io;
	struct client_watches *watches;
	struct list all;               /* by io_node */
	struct line *line;             /* NULL: none */
	bool attached;
};

/* ---- what comes ---- */

static void wio_remove(struct wset *s, struct quorate_watch *w)
{
	if (w->id != 0)
		client_watches_remove(s->watches, w->id);
	w->id = 0;
}

static void wio_no_memory(struct wset *s, struct quorate_watch *w)
{
	watch_finish(w, ERR_NO_MEMORY, ERR_AGAIN_SAFE, err_text(ERR_NO_MEMORY), 0);
	wio_remove(s, w);
}

static void wio_begun(void *arg, int64_t id, void *owner, const struct kv_header *h, bool again)
{
	struct quorate_watch *w = owner;
	struct wset *s = arg;
	struct news_box *b;

	(void)id;
	line_proven(s->line);
	if (w->asked)                  /* it was not registered when the server was asked */
		client_watches_ask(s->watches);
	if (again)
		return;
	b = news_make(QUORATE_BEGUN, 0);
	if (b == NULL) {
		wio_no_memory(s, w);
		return;
	}
	result_header(h, &b->news.header);
	b->news.revision = w->params.start_revision > 0 ? w->params.start_revision - 1 : h->revision;
	(void)watch_put(w, b);
}

static int wio_event(struct news_box *b, struct bytes prefix, const struct watch_event *from,
		     struct quorate_event *to)
{
	struct quorate_kv *prev;
	int rc;

	if (from->kv == NULL || (from->type != QUORATE_EVENT_PUT && from->type != QUORATE_EVENT_DELETE))
		return ERR_MALFORMED;
	to->type = (enum quorate_event_type)from->type;
	rc = result_pair(&b->pool, prefix, from->kv, &to->kv);
	if (rc != ERR_OK || from->prev_kv == NULL)
		return rc;
	prev = pool_alloc(&b->pool, 1, sizeof *prev);
	to->prev = prev;
	return prev == NULL ? ERR_NO_MEMORY : result_pair(&b->pool, prefix, from->prev_kv, prev);
}

static int wio_events_of(struct news_box *b, struct bytes prefix, const struct native_watch_events *m)
{
	struct quorate_event *to = pool_alloc(&b->pool, m->events.n, sizeof *to);
	int rc = to == NULL ? ERR_NO_MEMORY : ERR_OK;

	for (size_t i = 0; i < m->events.n && rc == ERR_OK; i++)
		rc = wio_event(b, prefix, &m->events.v[i], &to[i]);
	b->news.events = to;
	b->news.n_events = m->events.n;
	b->news.revision = m->next_revision - 1;
	b->news.partial = m->next_sub != 0;
	return rc;
}

static bool wio_events(void *arg, int64_t id, void *owner, const struct native_watch_events *m)
{
	struct quorate_watch *w = owner;
	struct bytes prefix = bytes_of(w->view->prefix.data, w->view->prefix.size);
	struct news_box *b;
	int rc;

	(void)id;
	if (!watch_has_room(w))
		return false;
	b = news_make(QUORATE_EVENTS, m->events.n * 2 * sizeof(struct quorate_event));
	rc = b == NULL ? ERR_NO_MEMORY : wio_events_of(b, prefix, m);
	if (rc == ERR_OK) {
		(void)watch_put(w, b);
		return true;
	}
	pool_drop(b);
	watch_finish(w, rc, err_again(rc), err_text(rc), 0);
	wio_remove(arg, w);
	return true;
}

static void wio_progress(void *arg, int64_t id, void *owner, int64_t revision)
{
	struct quorate_watch *w = owner;
	struct news_box *b;

	(void)id;
	w->asked = false;
	if (watch_progressed(w, revision))
		return;
	b = news_make(QUORATE_PROGRESSED, 0);
	if (b == NULL) {
		wio_no_memory(arg, w);
		return;
	}
	b->news.revision = revision;
	(void)watch_put(w, b);
}

static void wio_ended(void *arg, int64_t id, void *owner, int code, struct bytes text, int64_t compact_revision)
{
	struct quorate_watch *w = owner;
	char words[LIMIT_CLIENT_ERROR_BYTES];

	(void)arg;
	(void)id;
	(void)snprintf(words, sizeof words, "%.*s", (int)text.len, (const char *)text.data);
	w->id = 0;
	watch_finish(w, code, err_again(code), words, compact_revision);
}

/* ---- made and freed ---- */

int watch_io_make(struct io *io)
{
	static const struct client_watches_ops ops = {wio_begun, wio_events, wio_progress, wio_ended};
	struct wset *s = calloc(1, sizeof *s);

	if (s == NULL)
		return ERR_NO_MEMORY;
	s->io = io;
	list_init(&s->all);
	io->watches = s;
	return client_watches_open(&ops, s, &s->watches);
}

static void wio_free_one(struct wset *s, struct quorate_watch *w)
{
	wio_remove(s, w);
	list_remove(&w->io_node);
	(void)pthread_mutex_lock(&w->core->lock);
	view_drop(w->view);
	(void)pthread_mutex_unlock(&w->core->lock);
	watch_free(w);
}

void watch_io_free(struct io *io)
{
	struct wset *s = io->watches;

	if (s == NULL)
		return;
	CHECK(list_empty(&s->all) && s->line == NULL);
	client_watches_close(&s->watches);
	free(s);
	io->watches = NULL;
}

/* ---- what other threads want ---- */

static void wio_open(struct wset *s, struct quorate_watch *w)
{
	list_push(&s->all, &w->io_node);
	if (atomic_load(&w->view->canceled))
		watch_finish(w, ERR_CANCELED, ERR_AGAIN_NO, err_text(ERR_CANCELED), 0);
	if (watch_is_over(w))
		return;
	if (client_watches_add(s->watches, &w->params, w, &w->id) != ERR_OK) {
		w->id = 0;
		wio_no_memory(s, w);
	}
}

static void wio_do(struct wset *s, struct quorate_watch *w, unsigned work)
{
	if (work & WATCH_OPEN)
		wio_open(s, w);
	if (work & WATCH_LET_GO && w->id != 0)
		client_watches_let_go(s->watches, w->id);
	if (work & WATCH_STOP)
		wio_remove(s, w);
	if (work & WATCH_ASK) {
		w->asked = true;
		client_watches_ask(s->watches);
	}
	if (work & WATCH_CLOSE)
		wio_free_one(s, w);
}

void watch_io_take(struct io *io, struct list *work)
{
	struct list *l;

	for (;;) {
		struct quorate_watch *w;
		unsigned what;

		(void)pthread_mutex_lock(&io->core->lock);
		l = list_pop(work);
		w = l != NULL ? container_of(l, struct quorate_watch, work_node) : NULL;
		what = w != NULL ? w->work : 0;
		if (w != NULL)
			w->work = 0;
		(void)pthread_mutex_unlock(&io->core->lock);
		if (w == NULL)
			return;
		wio_do(io->watches, w, what);
	}
}

void watch_io_canceled(struct io *io)
{
	struct wset *s = io->watches;

	for (struct list *l = s->all.next; l != &s->all; l = l->next) {
		struct quorate_watch *w = WATCH_OF(l);

		if (!atomic_load(&w->view->canceled))
			continue;
		watch_finish(w, ERR_CANCELED, ERR_AGAIN_NO, err_text(ERR_CANCELED), 0);
		wio_remove(s, w);
	}
}

/* ---- the line ---- */

void watch_io_lost(struct io *io, struct line *l)
{
	struct wset *s = io->watches;

	if (s == NULL || s->line != l)
		return;
	s->line = NULL;
	if (s->attached)
		client_watches_detach(s->watches);
	s->attached = false;
}

static void wio_line(struct wset *s)
{
	struct client_endpoint *at;

	while (s->line == NULL && (at = io_endpoint(s->io)) != NULL)
		s->line = line_open(s->io, at, LINE_WATCHES);
}

void watch_io_turn(struct io *io)
{
	struct wset *s = io->watches;

	if (client_watches_count(s->watches) > 0 && s->line == NULL)
		wio_line(s);
	if (s->line != NULL && s->line->state == LINE_READY && !s->attached) {
		client_watches_attach(s->watches, s->line->conn);
		s->attached = true;
	}
	if (s->attached && client_watches_refused(s->watches)) {
		line_close(s->line, "the server cannot begin a watch just now");
		return;
	}
	client_watches_work(s->watches);
	io_due(io, client_watches_due(s->watches, io->now));
	if (s->line != NULL && client_watches_count(s->watches) == 0 && client_conn_flights(s->line->conn) == 0 &&
	    client_conn_queued(s->line->conn) == 0)
		line_close(s->line, NULL);
}

bool watch_io_dirty(const struct io *io)
{
	return client_watches_dirty(io->watches->watches);
}
