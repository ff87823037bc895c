/* SPDX-License-Identifier: Apache-2.0 */
#include "client/watches.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"

enum {
	WATCHES_QUIET_MS = 5000,       /* silent for so long: is the server still there? */
	WATCHES_ANSWER_MS = 5000,      /* and so long it has to say so */
	WATCHES_DIAL_MS = 1000,        /* of one turn: others of the owner's business go on */
	WATCHES_PAUSE_MS = 100         /* after a refusal that may pass */
};

struct client_watches {
	struct client *client;
	struct client_watches_ops ops;
	void *arg;
	struct client_conn *conn;      /* the one that the watches are registered on; NULL: none */
	bool told_lost;
	bool retry;                    /* a watch was refused for now: another endpoint may take it */
	bool ask, asking, pinging;
	mono_t heard;
	struct client_flight ping, progress;
	struct list all;
	size_t n;
	int64_t last_id;
};

struct one_watch {
	struct list node;
	struct client_watches *set;
	struct client_flight flight;
	bool in_flight, registered, begun, over;
	struct native_watch params;    /* start_revision, start_sub: where it goes on */
	uint8_t data[];                /* key, range end */
};

#define ONE_OF(l) container_of((l), struct one_watch, node)

int client_watches_open(struct client *c, const struct client_watches_ops *ops, void *arg,
			struct client_watches **out)
{
	struct client_watches *w = calloc(1, sizeof *w);

	*out = w;
	if (w == NULL)
		return ERR_NO_MEMORY;
	w->client = c;
	w->ops = *ops;
	w->arg = arg;
	list_init(&w->all);
	return ERR_OK;
}

static void one_free(struct client_watches *w, struct one_watch *o)
{
	list_remove(&o->node);
	w->n--;
	free(o);
}

void client_watches_close(struct client_watches **wp)
{
	struct client_watches *w = *wp;
	struct list *l;

	*wp = NULL;
	if (w == NULL)
		return;
	if (w->conn != NULL)
		client_disconnect(w->client, false);
	while ((l = list_first(&w->all)) != NULL)
		one_free(w, ONE_OF(l));
	free(w);
}

size_t client_watches_count(const struct client_watches *w)
{
	return w->n;
}

int client_watches_add(struct client_watches *w, const struct native_watch *p, int64_t *id)
{
	struct one_watch *o = calloc(1, sizeof *o + p->key.len + p->range_end.len);

	if (o == NULL)
		return ERR_NO_MEMORY;
	o->set = w;
	o->params = *p;
	if (p->key.len > 0)
		memcpy(o->data, p->key.data, p->key.len);
	if (p->range_end.len > 0)
		memcpy(o->data + p->key.len, p->range_end.data, p->range_end.len);
	o->params.key = bytes_of(o->data, p->key.len);
	o->params.range_end = bytes_of(o->data + p->key.len, p->range_end.len);
	o->params.watch_id = *id = ++w->last_id;
	list_push(&w->all, &o->node);
	w->n++;
	return ERR_OK;
}

void client_watches_ask(struct client_watches *w)
{
	w->ask = true;
}

static struct one_watch *one_find(struct client_watches *w, int64_t id)
{
	for (struct list *l = w->all.next; l != &w->all; l = l->next)
		if (ONE_OF(l)->params.watch_id == id)
			return ONE_OF(l);
	return NULL;
}

/* ---- what comes ---- */

static void got_events(struct client_watches *w, const struct native_watch_events *m)
{
	for (size_t i = 0; i < m->watches.n; i++) {
		struct one_watch *o = one_find(w, m->watches.v[i].watch_id);

		if (o == NULL || o->over || !o->registered)
			continue;
		o->params.start_revision = m->next_revision;
		o->params.start_sub = m->next_sub;
		if (m->events.n > 0)
			w->ops.events(w->arg, o->params.watch_id, m);
	}
}

static void got_progress(struct client_watches *w, const struct native_watch_progress *m)
{
	for (size_t i = 0; i < m->watches.n; i++) {
		struct one_watch *o = one_find(w, m->watches.v[i].watch_id);

		if (o == NULL || o->over || !o->registered)
			continue;
		if (m->revision >= o->params.start_revision) {
			o->params.start_revision = m->revision + 1;
			o->params.start_sub = 0;
		}
		w->ops.progress(w->arg, o->params.watch_id, m->revision);
	}
}

static void one_end(struct client_watches *w, struct one_watch *o, int code, struct bytes text, int64_t compact)
{
	o->over = true;
	w->ops.ended(w->arg, o->params.watch_id, code, text, compact);
}

static void got_notice(void *arg, const struct native_notification *n, const void *params)
{
	struct client_watches *w = arg;
	const struct native_watch_canceled *canceled = params;
	struct one_watch *o;

	w->heard = mono_now();
	if (n->params == &native_watch_events_desc) {
		got_events(w, params);
	} else if (n->params == &native_watch_progress_desc) {
		got_progress(w, params);
	} else if (n->params == &native_watch_canceled_desc) {
		o = one_find(w, canceled->watch_id);
		if (o != NULL && !o->over)
			one_end(w, o, (int)canceled->code, canceled->text, canceled->compact_revision);
	}
}

static void got_begun(struct client_flight *f, const struct client_reply *reply)
{
	struct one_watch *o = f->arg;
	struct client_watches *w = o->set;
	const struct native_watch_result *res = reply->result;
	bool again = o->begun;

	o->in_flight = false;
	w->heard = mono_now();
	if (reply->err == ERR_OK && res->header != NULL) {
		o->registered = o->begun = true;
		if (o->params.start_revision == 0)
			o->params.start_revision = res->header->revision + 1;
		w->ops.begun(w->arg, o->params.watch_id, res->header, again);
	} else if (reply->err == ERR_OK || reply->again != ERR_AGAIN_NO) {
		w->retry = true;
	} else {
		one_end(w, o, reply->err, reply->text.len > 0 ? reply->text : bytes_str(err_text(reply->err)),
			0);
	}
}

static void got_pong(struct client_flight *f, const struct client_reply *reply)
{
	struct client_watches *w = f->arg;

	(void)reply;
	w->pinging = false;
	w->heard = mono_now();
}

static void got_asked(struct client_flight *f, const struct client_reply *reply)
{
	struct client_watches *w = f->arg;

	w->asking = false;
	if (reply->err != ERR_OK && reply->again != ERR_AGAIN_NO)
		w->ask = true;
}

/* ---- the connection ---- */

static void watches_lost(struct client_watches *w, const char *why)
{
	if (w->ops.lost != NULL && !w->told_lost)
		w->ops.lost(w->arg, why);
	w->told_lost = true;
}

/* Flights in the air end now, and what was registered is to be registered again. */
static void watches_drop(struct client_watches *w, const char *why)
{
	w->conn = NULL;
	client_disconnect(w->client, true);
	for (struct list *l = w->all.next; l != &w->all; l = l->next)
		ONE_OF(l)->registered = false;
	w->retry = w->pinging = w->asking = false;
	watches_lost(w, why);
}

static void watches_sleep(int ms)
{
	(void)poll(NULL, 0, ms);
}

static bool watches_connect(struct client_watches *w, mono_t deadline)
{
	struct client_error e;

	if (w->conn != NULL)
		return true;
	deadline = mono_min(deadline, mono_add_ms(mono_now(), WATCHES_DIAL_MS));
	if (client_connect(w->client, deadline, &w->conn, &e) != ERR_OK) {
		w->conn = NULL;
		watches_lost(w, e.text);
		watches_sleep(WATCHES_PAUSE_MS);
		return false;
	}
	client_conn_notices(w->conn, got_notice, w);
	w->heard = mono_now();
	return true;
}

static bool watches_send(struct client_watches *w, struct client_flight *f, const char *method,
			 void (*done)(struct client_flight *, const struct client_reply *), void *arg,
			 const void *params)
{
	*f = (struct client_flight){.method = native_method_find(bytes_str(method)), .done = done, .arg = arg};
	CHECK(f->method != NULL);
	return client_conn_send(w->conn, f, params) == ERR_OK;
}

static void watches_register(struct client_watches *w)
{
	static const struct native_watch_ref all = {0};

	for (struct list *l = w->all.next; l != &w->all; l = l->next) {
		struct one_watch *o = ONE_OF(l);

		if (!o->registered && !o->in_flight && !o->over)
			o->in_flight = watches_send(w, &o->flight, "watch", got_begun, o, &o->params);
	}
	if (w->ask && !w->asking) {
		w->asking = watches_send(w, &w->progress, "watch_progress", got_asked, w, &all);
		w->ask = !w->asking;
	}
}

/* A server that has gone without a word is found out by a question. */
static bool watches_alive(struct client_watches *w)
{
	static const struct native_empty hello = {0};
	int64_t silent = mono_sub_ms(mono_now(), w->heard);

	if (silent >= WATCHES_QUIET_MS && !w->pinging)
		w->pinging = watches_send(w, &w->ping, "version", got_pong, w, &hello);
	return silent < WATCHES_QUIET_MS + WATCHES_ANSWER_MS;
}

static void watches_reap(struct client_watches *w)
{
	struct list *l, *next;

	for (l = w->all.next; l != &w->all; l = next) {
		next = l->next;
		if (ONE_OF(l)->over && !ONE_OF(l)->in_flight)
			one_free(w, ONE_OF(l));
	}
}

static void watches_wait(struct client_watches *w, int more_fd, mono_t deadline)
{
	mono_t until = mono_min(deadline, mono_add_ms(mono_now(), WATCHES_QUIET_MS / 5));
	int64_t ms = (mono_sub_ns(until, mono_now()) + 999999) / 1000000;
	struct pollfd p[2] = {{.fd = client_conn_fd(w->conn), .events = client_conn_events(w->conn)},
			      {.fd = more_fd, .events = POLLIN}};

	(void)poll(p, 2, ms < 0 ? 0 : (int)ms);
}

void client_watches_turn(struct client_watches *w, int more_fd, mono_t deadline)
{
	if (!watches_connect(w, deadline))
		return;
	watches_register(w);
	if (client_conn_turn(w->conn) == ERR_OK)
		watches_wait(w, more_fd, deadline);
	if (client_conn_turn(w->conn) != ERR_OK) {
		watches_drop(w, "the connection was lost");
	} else if (w->retry) {
		watches_sleep(WATCHES_PAUSE_MS);
		watches_drop(w, "the server cannot begin a watch just now");
	} else if (!watches_alive(w)) {
		watches_drop(w, "the server does not answer");
	} else {
		w->told_lost = false;
	}
	watches_reap(w);
}
