/* SPDX-License-Identifier: Apache-2.0 */
/* Watches as other threads see them: opened, read, closed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/lib/session.h"
#include "client/lib/watch.h"

enum { WATCH_BYTES = MIB, WATCH_NEWS_MAX = 256 * MIB };

#define NEWS_OF(l) container_of((l), struct news_box, node)

/* ---- news ---- */

struct news_box *news_make(enum quorate_news_kind kind, size_t more)
{
	struct news_box *b = pool_make(sizeof *b, more, WATCH_NEWS_MAX);

	if (b == NULL)
		return NULL;
	b->news.kind = kind;
	list_init(&b->node);
	return b;
}

void quorate_news_free(struct quorate_news *news)
{
	if (news != NULL)
		pool_drop(container_of(news, struct news_box, news));
}

/* With the lock held. */
static void watch_come(struct quorate_watch *w)
{
	(void)pthread_cond_broadcast(&w->come);
	if (w->queue != NULL && !w->closed)
		queue_push(w->queue, &w->item);
}

bool watch_has_room(struct quorate_watch *w)
{
	bool room;

	(void)pthread_mutex_lock(&w->core->lock);
	room = list_empty(&w->news) || w->bytes < w->max_bytes;
	w->held = !room;
	(void)pthread_mutex_unlock(&w->core->lock);
	return room;
}

static size_t news_bytes(const struct news_box *b)
{
	return sizeof *b + b->pool.used;
}

bool watch_put(struct quorate_watch *w, struct news_box *box)
{
	bool room;

	(void)pthread_mutex_lock(&w->core->lock);
	room = !w->over && !w->closed;
	if (room) {
		list_push(&w->news, &box->node);
		w->bytes += news_bytes(box);
		watch_come(w);
	}
	(void)pthread_mutex_unlock(&w->core->lock);
	if (!room)
		pool_drop(box);
	return room;
}

bool watch_progressed(struct quorate_watch *w, int64_t revision)
{
	struct news_box *last;
	bool merged = false;

	(void)pthread_mutex_lock(&w->core->lock);
	if (!list_empty(&w->news)) {
		last = NEWS_OF(w->news.prev);
		merged = last->news.kind == QUORATE_PROGRESSED;
		if (merged)
			last->news.revision = revision;
	}
	(void)pthread_mutex_unlock(&w->core->lock);
	return merged;
}

/* With the lock held. */
static void watch_finish_locked(struct quorate_watch *w, int code, enum err_again again, const char *text,
			     int64_t compact_revision)
{
	if (w->over)
		return;
	w->over = true;
	(void)lib_error(&w->end, code, again, "%s", text);
	w->compact_revision = compact_revision;
	watch_come(w);
}

void watch_finish(struct quorate_watch *w, int code, enum err_again again, const char *text,
	       int64_t compact_revision)
{
	(void)pthread_mutex_lock(&w->core->lock);
	watch_finish_locked(w, code, again, text, compact_revision);
	(void)pthread_mutex_unlock(&w->core->lock);
}

/* With the lock held: whether the I/O thread must be woken. */
static bool watch_ask_io(struct quorate_watch *w, unsigned work)
{
	w->work |= work;
	if (!list_linked(&w->work_node))
		list_push(&w->core->watch_work, &w->work_node);
	return core_must_wake(w->core);
}

void watch_cut(struct quorate_watch *w, int code, const char *text)
{
	watch_finish_locked(w, code, ERR_AGAIN_NO, text, 0);
	if (watch_ask_io(w, WATCH_STOP))
		core_wake(w->core);
}

bool watch_is_over(struct quorate_watch *w)
{
	bool over;

	(void)pthread_mutex_lock(&w->core->lock);
	over = w->over;
	(void)pthread_mutex_unlock(&w->core->lock);
	return over;
}

/* ---- opened ---- */

static int watch_options(const struct quorate *q, struct quorate_watch_options *o,
			 const struct quorate_watch_options *given, struct quorate_error *e)
{
	unsigned known = QUORATE_PREFIX | QUORATE_FROM_KEY | QUORATE_PREV_KV | QUORATE_NO_PUT |
			 QUORATE_NO_DELETE | QUORATE_PROGRESS;

	if (!options_take(o, sizeof *o, given, given->size))
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "options: use QUORATE_WATCH_OPTIONS_INIT");
	if ((o->flags & ~known) != 0)
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "a flag that means nothing for a watch");
	if (o->start_revision < 0)
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "start_revision is negative");
	if ((o->queue == NULL) != (o->ready == NULL))
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "queue and ready() come together");
	if (o->queue != NULL && !queue_is_of(o->queue, q->core))
		return lib_error_foreign(e, "queue");
	if (o->session != NULL && o->session->core != q->core)
		return lib_error_foreign(e, "session");
	return ERR_OK;
}

/* From its queue: something has come, and it is still there. */
static void watch_ready(struct queue_item *item)
{
	struct quorate_watch *w = container_of(item, struct quorate_watch, item);

	w->ready(w->arg, w);
}

static struct quorate_watch *watch_make(struct quorate *q, const struct quorate_watch_options *o,
					const struct request_range *r)
{
	struct quorate_watch *w = calloc(1, sizeof *w + r->key.len + r->range_end.len);

	if (w == NULL)
		return NULL;
	memcpy(w->data, r->key.data, r->key.len);
	if (r->range_end.len > 0)
		memcpy(w->data + r->key.len, r->range_end.data, r->range_end.len);
	w->params = (struct native_watch){
		.key = bytes_of(w->data, r->key.len),
		.range_end = bytes_of(w->data + r->key.len, r->range_end.len),
		.start_revision = o->start_revision, .prev_kv = (o->flags & QUORATE_PREV_KV) != 0,
		.no_put = (o->flags & QUORATE_NO_PUT) != 0, .no_delete = (o->flags & QUORATE_NO_DELETE) != 0,
		.progress_notify = (o->flags & QUORATE_PROGRESS) != 0};
	w->core = q->core;
	w->view = q;
	w->max_bytes = o->max_bytes != 0 ? o->max_bytes : WATCH_BYTES;
	w->queue = o->queue;
	w->ready = o->ready;
	w->arg = o->arg;
	w->item.run = watch_ready;
	list_init(&w->item.node);
	list_init(&w->news);
	list_init(&w->work_node);
	list_init(&w->session_node);
	list_init(&w->io_node);
	lib_cond_init(&w->come);
	return w;
}

void watch_free(struct quorate_watch *w)
{
	struct list *l;

	while ((l = list_pop(&w->news)) != NULL)
		pool_drop(NEWS_OF(l));
	(void)pthread_cond_destroy(&w->come);
	free(w);
}

static void watch_begin(struct quorate_watch *w, struct quorate_session *s)
{
	struct core *core = w->core;
	bool wake;

	(void)pthread_mutex_lock(&core->lock);
	core->users++;
	view_hold(w->view);
	if (w->queue != NULL)
		queue_hold(w->queue);
	if (s != NULL && !session_tie(s, &w->session_node))
		watch_finish_locked(w, ERR_LEASE_NOT_FOUND, ERR_AGAIN_NO, "the session was lost", 0);
	wake = watch_ask_io(w, WATCH_OPEN);
	(void)pthread_mutex_unlock(&core->lock);
	if (wake)
		core_wake(core);
}

int quorate_watch_open(struct quorate *q, const struct quorate_watch_options *given,
		       struct quorate_watch **out, struct quorate_error *e)
{
	struct bytes prefix = bytes_of(q->prefix.data, q->prefix.size);
	struct quorate_watch_options o;
	struct request_range range;
	struct arena arena;
	int rc = view_usable(q, e);

	*out = NULL;
	if (rc == ERR_OK)
		rc = watch_options(q, &o, given, e);
	if (rc != ERR_OK)
		return rc;
	arena_init(&arena, 8 * MIB);
	rc = request_range(o.key, o.range_end, o.flags, prefix, &arena, &range);
	if (rc == ERR_OK && range.key.len + range.range_end.len > LIMIT_REQUEST_BYTES - KIB)
		rc = ERR_REQUEST_TOO_LARGE;
	if (rc == ERR_OK)
		*out = watch_make(q, &o, &range);
	arena_free(&arena);
	if (*out == NULL)
		return lib_error_of(e, rc == ERR_OK ? ERR_NO_MEMORY : rc);
	watch_begin(*out, o.session);
	return ERR_OK;
}

/* ---- read ---- */

/* The last news, of what watch_finish() has left. It stays to be told if there is no memory now. */
static struct news_box *watch_last(struct quorate_watch *w)
{
	struct news_box *b = news_make(w->end.code == ERR_COMPACTED ? QUORATE_COMPACTED : QUORATE_ENDED, 0);

	if (b == NULL)
		return NULL;
	b->error = w->end;
	b->news.error = &b->error;
	b->news.compact_revision = w->compact_revision;
	w->over_taken = true;
	return b;
}

static int watch_take(struct quorate_watch *w, struct quorate_news **news, struct quorate_error *e, bool *wake)
{
	struct list *l = list_pop(&w->news);
	struct news_box *b;

	if (l != NULL) {
		b = NEWS_OF(l);
		w->bytes -= news_bytes(b);
		if (w->held && list_empty(&w->news)) {
			w->held = false;
			*wake = watch_ask_io(w, WATCH_LET_GO);
		}
		*news = &b->news;
		return ERR_OK;
	}
	if (w->over_taken) {
		if (e != NULL)
			*e = w->end;
		return w->end.code;
	}
	b = watch_last(w);
	if (b == NULL)
		return lib_error_of(e, ERR_NO_MEMORY);
	*news = &b->news;
	return ERR_OK;
}

int quorate_watch_next(struct quorate_watch *w, int64_t timeout_ms, struct quorate_news **news,
		       struct quorate_error *e)
{
	struct core *core = w->core;
	bool in_time = timeout_ms != 0, wake = false;
	mono_t deadline = wait_deadline(timeout_ms);
	int rc;

	*news = NULL;
	if (core_forked(core))
		return view_usable(w->view, e);
	lib_error_clear(e);
	(void)pthread_mutex_lock(&core->lock);
	while (list_empty(&w->news) && !w->over && in_time)
		in_time = lib_cond_wait(&w->come, &core->lock, deadline);
	if (list_empty(&w->news) && !w->over)
		rc = lib_error(e, ERR_TIMEOUT, ERR_AGAIN_SAFE, "nothing has come in time");
	else
		rc = watch_take(w, news, e, &wake);
	(void)pthread_mutex_unlock(&core->lock);
	if (wake)
		core_wake(core);
	return rc;
}

int quorate_watch_progress(struct quorate_watch *w, struct quorate_error *e)
{
	bool wake;
	int rc = view_usable(w->view, e);

	if (rc != ERR_OK)
		return rc;
	(void)pthread_mutex_lock(&w->core->lock);
	wake = watch_ask_io(w, WATCH_ASK);
	(void)pthread_mutex_unlock(&w->core->lock);
	if (wake)
		core_wake(w->core);
	return ERR_OK;
}

void quorate_watch_close(struct quorate_watch *w)
{
	struct core *core;
	bool wake;

	if (w == NULL || core_forked(w->core))
		return;
	core = w->core;
	(void)pthread_mutex_lock(&core->lock);
	w->closed = true;
	list_remove(&w->session_node);
	if (w->queue != NULL) {
		queue_remove(w->queue, &w->item);
		queue_drop(w->queue);
		w->queue = NULL;
	}
	wake = watch_ask_io(w, WATCH_CLOSE);   /* which frees it */
	(void)pthread_mutex_unlock(&core->lock);
	if (wake)
		core_wake(core);
	core_leave(core);
}
