/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches of clients. What a client watches, and where it stands, is kept here (clnt/watch_clnt.h);
 * watchd finds the events. What a client is sent by notifications counts against its credit, which
 * is given back when the client has taken it: a client that does not read is sent no more.
 *
 * A watch from now on begins when the store has come as far as every write that had been answered
 * before it was asked for (read_fence): it sees all that is written after that, and nothing else.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/read_own.h"
#include "proto/native.h"

enum { WATCH_RETRY_MS = 10, WATCH_ID_BUCKETS = 16 };
#define WATCH_AGE_MS 1000000000000   /* 31 years */

struct gate_watch {
	struct watch_sub sub;
	struct gate_watch *hash_next;
	int64_t id;                   /* the client's */
	uint8_t data[];               /* key, range end */
};

/* The watches of one connection. */
struct gate_watches {
	struct watch_client client;
	struct conn *conn;
	struct gate_watch **buckets;  /* by the client's number */
	size_t n_buckets, n;
	int64_t last_id;              /* the last one that the server chose */
};

#define GATE_OF(sub_) container_of((sub_), struct gate_watch, sub)

/* ---- a connection's table ---- */

static struct gate_watch **gate_slot(struct gate_watch **buckets, size_t n, int64_t id)
{
	uint64_t h = (uint64_t)id * 0x9e3779b97f4a7c15u;

	return &buckets[(h ^ h >> 32) & (n - 1)];
}

static struct gate_watch *gate_find(const struct gate_watches *s, int64_t id)
{
	struct gate_watch *w = s != NULL ? *gate_slot(s->buckets, s->n_buckets, id) : NULL;

	while (w != NULL && w->id != id)
		w = w->hash_next;
	return w;
}

static void gate_grow(struct gate_watches *s)
{
	size_t n = s->n_buckets * 2;
	struct gate_watch **b = mem_array(n, sizeof *b), **at, *w;

	for (size_t i = 0; i < s->n_buckets; i++) {
		while ((w = s->buckets[i]) != NULL) {
			s->buckets[i] = w->hash_next;
			at = gate_slot(b, n, w->id);
			w->hash_next = *at;
			*at = w;
		}
	}
	mem_free(s->buckets);
	s->buckets = b;
	s->n_buckets = n;
}

static struct gate_watches *gate_get(struct gateway *g, struct conn *c)
{
	struct gate_watches *s = c->watches;

	if (s != NULL)
		return s;
	s = mem_alloc(sizeof *s);
	s->conn = c;
	s->n_buckets = WATCH_ID_BUCKETS;
	s->buckets = mem_array(s->n_buckets, sizeof *s->buckets);
	watch_clnt_open(&g->watch, &s->client);
	c->watches = s;
	return s;
}

static void gate_forget(struct gate_watches *s, struct gate_watch *w)
{
	struct gate_watch **at = gate_slot(s->buckets, s->n_buckets, w->id);

	while (*at != w)
		at = &(*at)->hash_next;
	*at = w->hash_next;
	s->n--;
	mem_free(w);
}

void watch_conn_gone(struct gateway *g, struct conn *c)
{
	struct gate_watches *s = c->watches;

	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n_buckets; i++) {
		while (s->buckets[i] != NULL) {
			watch_clnt_remove(&g->watch, &s->buckets[i]->sub);
			gate_forget(s, s->buckets[i]);
		}
	}
	watch_clnt_close(&g->watch, &s->client);
	mem_free(s->buckets);
	mem_free(s);
	c->watches = NULL;
}

/* ---- watch ---- */

static int watch_check(const struct native_watch *p)
{
	if (p->watch_id < 0 || p->start_sub > UINT32_MAX)
		return ERR_BAD_ARGUMENT;
	if (p->start_revision < 0)
		return ERR_COMPACTED;
	if (p->start_revision == 0 && p->start_sub != 0)
		return ERR_BAD_ARGUMENT;
	if (p->range_end.len > 0 && !(p->range_end.len == 1 && p->range_end.data[0] == 0) &&
	    bytes_cmp(p->range_end, p->key) <= 0)
		return ERR_WATCH_RANGE;
	return ERR_OK;
}

/* What may only be known when it begins: others may have begun since it was asked for. */
static int watch_admit(const struct gateway *g, const struct conn *c, const struct native_watch *p)
{
	const struct gate_watches *s = c->watches;

	if (p->watch_id > 0 && gate_find(s, p->watch_id) != NULL)
		return ERR_WATCH_EXISTS;
	if ((s != NULL && s->n >= LIMIT_CONN_WATCHES) || g->watch.n >= LIMIT_GATEWAY_WATCHES)
		return ERR_TOO_MANY_WATCHES;
	return ERR_OK;
}

static int64_t gate_choose(struct gate_watches *s)
{
	do {
		s->last_id = s->last_id == INT64_MAX ? 1 : s->last_id + 1;
	} while (gate_find(s, s->last_id) != NULL);
	return s->last_id;
}

/* An empty key is, as etcd has it, the smallest one there can be. */
static struct gate_watch *gate_new(struct gate_watches *s, const struct native_watch *p)
{
	struct bytes key = p->key.len > 0 ? p->key : bytes_of("", 1);
	struct gate_watch *w = mem_alloc(sizeof *w + key.len + p->range_end.len), **at;

	if (s->n >= s->n_buckets)
		gate_grow(s);
	w->id = p->watch_id > 0 ? p->watch_id : gate_choose(s);
	memcpy(w->data, key.data, key.len);
	if (p->range_end.len > 0)
		memcpy(w->data + key.len, p->range_end.data, p->range_end.len);
	w->sub.key = bytes_of(w->data, key.len);
	w->sub.range_end = bytes_of(w->data + key.len, p->range_end.len);
	w->sub.next_rev = p->start_revision;
	w->sub.next_sub = (uint32_t)p->start_sub;
	w->sub.prev_kv = p->prev_kv;
	w->sub.no_put = p->no_put;
	w->sub.no_delete = p->no_delete;
	w->sub.progress_notify = p->progress_notify;
	at = gate_slot(s->buckets, s->n_buckets, w->id);
	w->hash_next = *at;
	*at = w;
	s->n++;
	return w;
}

/* The answer is written before anything can come for it: events are handed out in later turns. */
static struct kv_header watch_begin(struct gateway *g, struct conn *c, struct native_watch *p, int64_t *id)
{
	int64_t revision = g->store.progress.revision;
	struct gate_watches *s = gate_get(g, c);
	struct gate_watch *w;

	if (p->start_revision == 0)
		p->start_revision = revision + 1;
	w = gate_new(s, p);
	watch_clnt_add(&g->watch, &s->client, &w->sub);
	*id = w->id;
	return gateway_header(g, revision);
}

static void watch_from_now(struct gateway *g, struct read *rd)
{
	struct conn *c = rd->r.conn;
	struct native_watch_result r;
	struct kv_header header;
	int err = watch_admit(g, c, &rd->watch);

	if (err != ERR_OK) {
		read_fail(g, rd, err);
		return;
	}
	header = watch_begin(g, c, &rd->watch, &r.watch_id);
	r.header = &header;
	read_end(g, rd);
	request_result(g, &rd->r, &native_watch_result_desc, &r);
}

static void watch_answer(struct conn *c, uint32_t id, const struct msg_desc *d, const void *result)
{
	size_t mark;
	struct buf *b = conn_answer_begin(c, &mark);

	rpc_result_head(b, id);
	(void)msg_encode(b, d, result);
	conn_answer_end(c, b, mark, id, ERR_RESULT_LOST);
}

void watch_create_method(struct gateway *g, struct conn *c, const struct rpc_request *rpc, void *params)
{
	struct native_watch *p = params;
	struct native_watch_result r;
	struct kv_header header;
	struct read *rd;
	int err = watch_check(p);

	if (err == ERR_OK)
		err = watch_admit(g, c, p);
	if (err != ERR_OK) {
		conn_answer_error(c, rpc->id, err);
		return;
	}
	if (p->start_revision > 0) {
		header = watch_begin(g, c, p, &r.watch_id);
		r.header = &header;
		watch_answer(c, rpc->id, &native_watch_result_desc, &r);
		return;
	}
	rd = read_fence(g, c, rpc, watch_from_now);
	if (rd == NULL)
		return;
	rd->watch = *p;
	rd->watch.key = read_move(rd, rpc, p->key);
	rd->watch.range_end = read_move(rd, rpc, p->range_end);
}

/* ---- watch_cancel, watch_progress ---- */

void watch_cancel_method(struct gateway *g, struct conn *c, const struct rpc_request *rpc, void *params)
{
	const struct native_watch_ref *p = params;
	struct gate_watch *w = gate_find(c->watches, p->watch_id);
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct native_watch_header r = {&header};

	if (w == NULL) {
		conn_answer_error(c, rpc->id, ERR_WATCH_NOT_FOUND);
		return;
	}
	watch_clnt_remove(&g->watch, &w->sub);
	gate_forget(c->watches, w);
	watch_answer(c, rpc->id, &native_watch_header_desc, &r);
}

/* The answer names the revision; who has got that far says so by notification. */
static void watch_ask_progress(struct gateway *g, struct read *rd)
{
	struct gate_watches *s = rd->r.conn->watches;
	struct gate_watch *one = gate_find(s, rd->watch.watch_id);
	int64_t revision = g->store.progress.revision;
	struct kv_header header = gateway_header(g, revision);
	struct native_watch_header r = {&header};

	if (rd->watch.watch_id != 0 && one == NULL) {
		read_fail(g, rd, ERR_WATCH_NOT_FOUND);
		return;
	}
	if (one != NULL) {
		watch_clnt_ask(&g->watch, &one->sub, revision);
	} else if (s != NULL) {
		for (struct list *l = s->client.subs.next; l != &s->client.subs; l = l->next)
			watch_clnt_ask(&g->watch, container_of(l, struct watch_sub, in_client), revision);
	}
	read_end(g, rd);
	request_result(g, &rd->r, &native_watch_header_desc, &r);
}

void watch_progress_method(struct gateway *g, struct conn *c, const struct rpc_request *rpc, void *params)
{
	const struct native_watch_ref *p = params;
	struct read *rd;

	if (p->watch_id != 0 && gate_find(c->watches, p->watch_id) == NULL) {
		conn_answer_error(c, rpc->id, ERR_WATCH_NOT_FOUND);
		return;
	}
	rd = read_fence(g, c, rpc, watch_ask_progress);
	if (rd != NULL)
		rd->watch.watch_id = p->watch_id;
}

/* ---- notifications ---- */

static void watch_notify(struct gateway *g, struct conn *c, const char *name, const struct msg_desc *d,
			 const void *msg)
{
	struct buf *b = conn_notify_begin(c);

	if (b == NULL)
		return;
	rpc_notify_head(b, name);
	(void)msg_encode(b, d, msg);          /* an error sticks in the buffer and ends the connection */
	conn_notify_end(c);
	counter_inc(&g->counters.watch_notifications_total);
}

static size_t got_refs(const struct watch_got *got, struct native_watch_ref *refs)
{
	for (size_t i = 0; i < got->n; i++)
		refs[i].watch_id = GATE_OF(got->subs[i])->id;
	return got->n;
}

/* The events of a delivery, one behind the other; a pair before an event only for who asked for it. */
static size_t got_events(const struct watch_got *got, struct watch_event *events)
{
	const struct watch_delivery *d = got->delivery;
	size_t n = 0;

	for (size_t i = 0; i < d->runs.n; i++) {
		for (uint64_t k = 0; k < d->runs.v[i].count && n < LIMIT_BATCH_ITEMS; k++) {
			events[n] = got->events->events.v[d->runs.v[i].first + k];
			if (!d->prev_kv)
				events[n].prev_kv = NULL;
			n++;
		}
	}
	return n;
}

static void notify_events(struct gateway *g, struct gate_watches *s, const struct watch_got *got)
{
	static struct native_watch_ref refs[LIMIT_WATCH_REFS];
	static struct watch_event events[LIMIT_BATCH_ITEMS];
	struct native_watch_events m = {
		.watches = {refs, got_refs(got, refs)},
		.events = {events, got_events(got, events)},
		.revision = got->events->revision,
		.next_revision = got->delivery->next_rev,
		.next_sub = got->delivery->next_sub,
	};

	watch_notify(g, s->conn, "watch_events", &native_watch_events_desc, &m);
	counter_add(&g->counters.watch_events_total, (int64_t)(m.watches.n * m.events.n));
	conn_want_room(s->conn);
}

static void notify_progress(struct gateway *g, struct gate_watches *s, const struct watch_got *got)
{
	static struct native_watch_ref refs[LIMIT_WATCH_REFS];
	struct native_watch_progress m = {{refs, got_refs(got, refs)}, got->revision};

	watch_notify(g, s->conn, "watch_progress", &native_watch_progress_desc, &m);
}

static void notify_canceled(struct gateway *g, struct gate_watches *s, const struct watch_got *got)
{
	struct gate_watch *w = GATE_OF(got->subs[0]);
	struct native_watch_canceled m = {w->id, (uint64_t)got->error, bytes_str(err_text(got->error)),
					  got->revision};

	watch_notify(g, s->conn, "watch_canceled", &native_watch_canceled_desc, &m);
	gate_forget(s, w);
}

int gateway_watch_msg(struct gateway *g, const struct msg_in *in)
{
	const struct watch_hail *hail = in->msg;
	struct watch_got got;
	int err;

	if (in->row->number == MSG_NO_watch_hail) {
		if (hail->age_ms < 0 || hail->age_ms > WATCH_AGE_MS)
			return ERR_MALFORMED;
		g->watchd_age_ms = hail->age_ms;
		g->watchd_hailed = loop_now(g->loop);
		return ERR_OK;
	}
	err = watch_clnt_msg(&g->watch, in);
	while (err == ERR_OK && watch_clnt_next(&g->watch, &got)) {
		struct gate_watches *s = container_of(got.client, struct gate_watches, client);

		if (got.kind == WATCH_GOT_EVENTS)
			notify_events(g, s, &got);
		else if (got.kind == WATCH_GOT_PROGRESS)
			notify_progress(g, s, &got);
		else
			notify_canceled(g, s, &got);
	}
	return err;
}

/* While an answer is streamed notifications are held behind it: its end calls again. */
void watch_conn_room(struct gateway *g, struct conn *c)
{
	struct gate_watches *s = c->watches;

	if (s == NULL || s->client.untaken == 0 || conn_waiting(c) > LIMIT_CONN_OUT_LOW)
		return;
	watch_clnt_give(&g->watch, &s->client, s->client.untaken);
}

/* ---- the link ---- */

void gateway_watch_up(struct gateway *g)
{
	watch_clnt_up(&g->watch);
}

void gateway_watch_down(struct gateway *g)
{
	counter_inc(&g->counters.link_losses_total);
	watch_clnt_down(&g->watch);
}

void watch_flush(struct gateway *g, mono_t now)
{
	g->watch_retry_at = watch_clnt_flush(&g->watch) ? mono_add_ms(now, WATCH_RETRY_MS) : MONO_NEVER;
}
