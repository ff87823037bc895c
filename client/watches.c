/* SPDX-License-Identifier: Apache-2.0 */
#include "client/watches.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"

enum { WATCHES_BUCKETS = 1024, WATCHES_PAUSE_MS = 200 };

struct client_watches {
	struct client_watches_ops ops;
	void *arg;
	struct client_conn *conn;      /* NULL: none */
	bool refused, ask, asking;
	mono_t ask_after;              /* the last time it was refused */
	bool dirty;                    /* there is work since the last client_watches_work() */
	struct client_flight progress;
	struct list buckets[WATCHES_BUCKETS];   /* all, by id */
	struct list todo;              /* those for whom something is to be sent */
	size_t n;
	int64_t last_id;
};

/*
 * What its owner wants and where it stands at the server. The two meet in one_work():
 *	RUN: NONE -> ASKING -> ON;   HOLD, GONE: ON -> CANCELING -> NONE (and GONE is freed)
 * ON -> STALE: something was not taken. What comes after it must not be taken either, so it ends
 * here even if its owner has room again before that could be said.
 */
enum one_want { ONE_RUN, ONE_HOLD, ONE_GONE };
enum one_at { ONE_NONE, ONE_ASKING, ONE_ON, ONE_STALE, ONE_CANCELING };

struct one_watch {
	struct list node, todo;
	struct client_watches *set;
	struct client_flight flight;
	enum one_want want;
	enum one_at at;
	bool begun;
	void *owner;
	struct native_watch params;    /* start_revision, start_sub: where it goes on */
	uint8_t data[];                /* key, range end */
};

#define ONE_OF(l) container_of((l), struct one_watch, node)
#define ONE_TODO(l) container_of((l), struct one_watch, todo)

int client_watches_open(const struct client_watches_ops *ops, void *arg, struct client_watches **out)
{
	struct client_watches *w = calloc(1, sizeof *w);

	*out = w;
	if (w == NULL)
		return ERR_NO_MEMORY;
	w->ops = *ops;
	w->arg = arg;
	list_init(&w->todo);
	for (size_t i = 0; i < WATCHES_BUCKETS; i++)
		list_init(&w->buckets[i]);
	return ERR_OK;
}

static void one_free(struct one_watch *o)
{
	list_remove(&o->node);
	list_remove(&o->todo);
	free(o);
}

void client_watches_close(struct client_watches **wp)
{
	struct client_watches *w = *wp;
	struct list *l;

	*wp = NULL;
	if (w == NULL)
		return;
	CHECK(w->conn == NULL);
	for (size_t i = 0; i < WATCHES_BUCKETS; i++)
		while ((l = list_first(&w->buckets[i])) != NULL)
			one_free(ONE_OF(l));
	free(w);
}

size_t client_watches_count(const struct client_watches *w)
{
	return w->n;
}

static void one_todo(struct one_watch *o)
{
	o->set->dirty = true;
	if (!list_linked(&o->todo))
		list_push(&o->set->todo, &o->todo);
}

int client_watches_add(struct client_watches *w, const struct native_watch *p, void *owner, int64_t *id)
{
	struct one_watch *o = calloc(1, sizeof *o + p->key.len + p->range_end.len);

	if (o == NULL)
		return ERR_NO_MEMORY;
	o->set = w;
	o->owner = owner;
	o->params = *p;
	if (p->key.len > 0)
		memcpy(o->data, p->key.data, p->key.len);
	if (p->range_end.len > 0)
		memcpy(o->data + p->key.len, p->range_end.data, p->range_end.len);
	o->params.key = bytes_of(o->data, p->key.len);
	o->params.range_end = bytes_of(o->data + p->key.len, p->range_end.len);
	o->params.watch_id = *id = ++w->last_id;
	list_init(&o->todo);
	list_push(&w->buckets[o->params.watch_id % WATCHES_BUCKETS], &o->node);
	w->n++;
	one_todo(o);
	return ERR_OK;
}

/* One that is gone is found no more. */
static struct one_watch *one_find(struct client_watches *w, int64_t id)
{
	struct list *head = &w->buckets[(uint64_t)id % WATCHES_BUCKETS];

	for (struct list *l = head->next; l != head; l = l->next)
		if (ONE_OF(l)->params.watch_id == id)
			return ONE_OF(l)->want != ONE_GONE ? ONE_OF(l) : NULL;
	return NULL;
}

static void one_gone(struct one_watch *o)
{
	o->want = ONE_GONE;
	o->set->n--;
	one_todo(o);
}

void client_watches_remove(struct client_watches *w, int64_t id)
{
	struct one_watch *o = one_find(w, id);

	if (o != NULL)
		one_gone(o);
}

void client_watches_let_go(struct client_watches *w, int64_t id)
{
	struct one_watch *o = one_find(w, id);

	if (o == NULL || o->want != ONE_HOLD)
		return;
	o->want = ONE_RUN;
	one_todo(o);
}

void client_watches_ask(struct client_watches *w)
{
	w->ask = w->dirty = true;
}

/* ---- what comes ---- */

/* The one that a notification is for: what comes for another is late, and not for anybody. */
static struct one_watch *one_on(struct client_watches *w, int64_t id)
{
	struct one_watch *o = one_find(w, id);

	return o != NULL && o->at == ONE_ON && o->want == ONE_RUN ? o : NULL;
}

static void got_events(struct client_watches *w, const struct native_watch_events *m)
{
	for (size_t i = 0; i < m->watches.n; i++) {
		struct one_watch *o = one_on(w, m->watches.v[i].watch_id);

		if (o == NULL)
			continue;
		if (m->events.n > 0 && !w->ops.events(w->arg, o->params.watch_id, o->owner, m)) {
			o->at = ONE_STALE;
			if (o->want == ONE_RUN)
				o->want = ONE_HOLD;
			one_todo(o);
			continue;      /* its place stays where it was */
		}
		o->params.start_revision = m->next_revision;
		o->params.start_sub = m->next_sub;
	}
}

static void got_progress(struct client_watches *w, const struct native_watch_progress *m)
{
	for (size_t i = 0; i < m->watches.n; i++) {
		struct one_watch *o = one_on(w, m->watches.v[i].watch_id);

		if (o == NULL)
			continue;
		if (m->revision >= o->params.start_revision) {
			o->params.start_revision = m->revision + 1;
			o->params.start_sub = 0;
		}
		w->ops.progress(w->arg, o->params.watch_id, o->owner, m->revision);
	}
}

static void one_end(struct one_watch *o, int code, struct bytes text, int64_t compact)
{
	struct client_watches *w = o->set;

	w->ops.ended(w->arg, o->params.watch_id, o->owner, code,
		     text.len > 0 ? text : bytes_str(err_text(code)), compact);
	if (o->want != ONE_GONE)
		one_gone(o);
}

static void got_canceled(struct client_watches *w, const struct native_watch_canceled *m)
{
	struct one_watch *o = one_find(w, m->watch_id);
	int code = m->code > 0 && m->code <= INT_MAX ? (int)m->code : ERR_MALFORMED;   /* an end is no success */
	bool stale;

	if (o == NULL || (o->at != ONE_ON && o->at != ONE_STALE))
		return;
	stale = o->at == ONE_STALE;
	o->at = ONE_NONE;
	if (o->want == ONE_RUN && !stale)
		one_end(o, code, m->text, m->compact_revision);
	else
		one_todo(o);           /* it asks again, then or later, and is told then */
}

static void got_notice(void *arg, const struct native_notification *n, const void *params)
{
	struct client_watches *w = arg;

	if (n->params == &native_watch_events_desc)
		got_events(w, params);
	else if (n->params == &native_watch_progress_desc)
		got_progress(w, params);
	else if (n->params == &native_watch_canceled_desc)
		got_canceled(w, params);
}

static void got_begun(struct client_flight *f, const struct client_reply *reply)
{
	struct one_watch *o = f->arg;
	struct client_watches *w = o->set;
	const struct native_watch_result *res = reply->result;
	bool again = o->begun;

	w->dirty = true;               /* there is room for another one, if nothing else */
	o->at = ONE_NONE;
	if (w->conn == NULL) {
		one_todo(o);
	} else if (reply->err == ERR_OK && res->header != NULL) {
		o->at = ONE_ON;
		o->begun = true;
		if (o->params.start_revision == 0)
			o->params.start_revision = res->header->revision + 1;
		if (o->want != ONE_GONE)
			w->ops.begun(w->arg, o->params.watch_id, o->owner, res->header, again);
	} else if (reply->err == ERR_OK || reply->again != ERR_AGAIN_NO) {
		w->refused = true;
	} else if (o->want != ONE_GONE) {
		one_end(o, reply->err, reply->text, 0);
	}
	if (o->want != ONE_RUN)
		one_todo(o);
}

static void got_cancel(struct client_flight *f, const struct client_reply *reply)
{
	struct one_watch *o = f->arg;

	(void)reply;                   /* if it was not there, so much the better */
	o->at = ONE_NONE;
	one_todo(o);
}

static void got_asked(struct client_flight *f, const struct client_reply *reply)
{
	struct client_watches *w = f->arg;

	w->asking = false;
	w->dirty = true;
	if (reply->err == ERR_OK || reply->again == ERR_AGAIN_NO)
		return;
	w->ask = true;                 /* later: a node without a leader says no at once */
	w->ask_after = mono_add_ms(mono_now(), WATCHES_PAUSE_MS);
}

/* ---- what is sent ---- */

void client_watches_attach(struct client_watches *w, struct client_conn *c)
{
	CHECK(w->conn == NULL);
	w->conn = c;
	w->refused = false;
	client_conn_notices(c, got_notice, w);
	for (size_t i = 0; i < WATCHES_BUCKETS; i++)
		for (struct list *l = w->buckets[i].next; l != &w->buckets[i]; l = l->next)
			one_todo(ONE_OF(l));
}

void client_watches_detach(struct client_watches *w)
{
	w->conn = NULL;
	for (size_t i = 0; i < WATCHES_BUCKETS; i++)
		for (struct list *l = w->buckets[i].next; l != &w->buckets[i]; l = l->next)
			if (ONE_OF(l)->at == ONE_ON || ONE_OF(l)->at == ONE_STALE)
				ONE_OF(l)->at = ONE_NONE;
}

static bool watches_send(struct client_watches *w, struct client_flight *f, const char *method,
			 void (*done)(struct client_flight *, const struct client_reply *), void *arg,
			 const void *params)
{
	*f = (struct client_flight){.method = native_method_find(bytes_str(method)), .done = done, .arg = arg};
	CHECK(f->method != NULL);
	return client_conn_send(w->conn, f, params) == ERR_OK;
}

/* False: there is no room to send just now. */
static bool one_work(struct one_watch *o)
{
	struct client_watches *w = o->set;
	struct native_watch_ref ref = {o->params.watch_id};

	if (o->at == ONE_STALE || (o->at == ONE_ON && o->want != ONE_RUN)) {
		if (w->conn == NULL || !watches_send(w, &o->flight, "watch_cancel", got_cancel, o, &ref))
			return false;
		o->at = ONE_CANCELING;
	} else if (o->at == ONE_NONE && o->want == ONE_RUN) {
		if (w->conn == NULL || !watches_send(w, &o->flight, "watch", got_begun, o, &o->params))
			return false;
		o->at = ONE_ASKING;
	}
	list_remove(&o->todo);
	if (o->at == ONE_NONE && o->want == ONE_GONE)
		one_free(o);
	return true;
}

void client_watches_work(struct client_watches *w)
{
	static const struct native_watch_ref all = {0};
	struct list *l, *next;

	w->dirty = false;
	for (l = w->todo.next; l != &w->todo; l = next) {
		next = l->next;
		if (!one_work(ONE_TODO(l)) && w->conn != NULL)
			return;
	}
	if (w->ask && !w->asking && w->conn != NULL && !mono_before(mono_now(), w->ask_after)) {
		w->asking = watches_send(w, &w->progress, "watch_progress", got_asked, w, &all);
		w->ask = !w->asking;
	}
}

bool client_watches_refused(const struct client_watches *w)
{
	return w->refused;
}

bool client_watches_dirty(const struct client_watches *w)
{
	return w->dirty;
}

mono_t client_watches_due(const struct client_watches *w, mono_t now)
{
	return w->ask && mono_before(now, w->ask_after) ? w->ask_after : MONO_NEVER;
}
