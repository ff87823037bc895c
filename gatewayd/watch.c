/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/watch.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/gateway.h"

enum { WATCH_RETRY_MS = 10, WATCH_ID_BUCKETS = 16 };
#define WATCH_AGE_MS 1000000000000   /* 31 years */

/* ---- a caller's table ---- */

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

struct gate_watches *watch_table(struct gateway *g, struct caller *k, int64_t first)
{
	struct gate_watches *s = k->watches;

	if (s != NULL)
		return s;
	s = mem_alloc(sizeof *s);
	s->caller = k;
	s->last_id = first - 1;
	s->n_buckets = WATCH_ID_BUCKETS;
	s->buckets = mem_array(s->n_buckets, sizeof *s->buckets);
	watch_clnt_open(&g->watch, &s->client);
	k->watches = s;
	return s;
}

static void gate_unlink(struct gateway *g, struct gate_watches *s, struct gate_watch *w)
{
	struct gate_watch **at = gate_slot(s->buckets, s->n_buckets, w->id);
	size_t bytes = w->sub.key.len + w->sub.range_end.len;

	while (*at != w)
		at = &(*at)->hash_next;
	*at = w->hash_next;
	s->n--;
	s->caller->share->n--;
	s->caller->share->bytes -= bytes;
	g->watch_bytes -= bytes;
}

static void gate_forget(struct gateway *g, struct gate_watches *s, struct gate_watch *w)
{
	gate_unlink(g, s, w);
	mem_free(w);
}

static size_t gate_kept_at(const struct gate_ended *e, int64_t id)
{
	size_t i = 0;

	while (i < e->n && e->ids[i] != id)
		i++;
	return i;
}

static bool gate_kept(const struct gate_watches *s, int64_t id)
{
	return s != NULL && s->ended != NULL && gate_kept_at(s->ended, id) < s->ended->n;
}

static void gate_drop_kept(struct gate_ended *e, size_t at)
{
	CHECK(at < e->n && e->n <= LIMIT_WATCH_ENDED_IDS);
	e->n--;
	memmove(&e->ids[at], &e->ids[at + 1], (e->n - at) * sizeof e->ids[0]);
}

void watch_keep_id(struct gate_watches *s, int64_t id)
{
	CHECK(gate_find(s, id) == NULL && !gate_kept(s, id));
	if (s->ended == NULL)
		s->ended = mem_alloc(sizeof *s->ended);
	if (s->ended->n == LIMIT_WATCH_ENDED_IDS)
		gate_drop_kept(s->ended, 0);
	s->ended->ids[s->ended->n++] = id;
}

bool watch_free_id(struct gate_watches *s, int64_t id)
{
	if (!gate_kept(s, id))
		return false;
	gate_drop_kept(s->ended, gate_kept_at(s->ended, id));
	return true;
}

static bool gate_taken(const struct gate_watches *s, int64_t id)
{
	return gate_find(s, id) != NULL || gate_kept(s, id);
}

struct gate_watch *watch_find(const struct caller *k, int64_t id)
{
	return gate_find(k->watches, id);
}

void watch_caller_gone(struct gateway *g, struct caller *k)
{
	struct gate_watches *s = k->watches;

	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n_buckets; i++) {
		while (s->buckets[i] != NULL) {
			watch_clnt_remove(&g->watch, &s->buckets[i]->sub);
			gate_forget(g, s, s->buckets[i]);
		}
	}
	watch_clnt_close(&g->watch, &s->client);
	mem_free(s->ended);
	mem_free(s->buckets);
	mem_free(s);
	k->watches = NULL;
}

/* ---- watch ---- */

int watch_check(const struct native_watch *p)
{
	if (p->start_sub > UINT32_MAX)
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

int watch_admit(const struct gateway *g, const struct caller *k, const struct native_watch *p)
{
	const struct gate_watches *s = k->watches;
	size_t bytes = p->key.len + p->range_end.len;

	if (p->watch_id != 0 && gate_taken(s, p->watch_id))
		return ERR_WATCH_EXISTS;
	if (k->share->n >= LIMIT_CONN_WATCHES || g->watch.n >= LIMIT_GATEWAY_WATCHES)
		return ERR_TOO_MANY_WATCHES;
	if (k->share->bytes + bytes > LIMIT_CONN_WATCH_BYTES || g->watch_bytes + bytes > LIMIT_GATEWAY_WATCH_BYTES)
		return ERR_TOO_MANY_WATCHES;
	/* watchd drops a link that has more */
	if (s == NULL && g->watch.n_clients >= LIMIT_WATCH_STREAMS)
		return ERR_TOO_MANY_WATCHES;
	return ERR_OK;
}

static int64_t gate_choose(struct gate_watches *s)
{
	do {
		s->last_id = s->last_id == INT64_MAX ? 1 : s->last_id + 1;
	} while (gate_taken(s, s->last_id));
	return s->last_id;
}

/* An empty key is, as etcd has it, the smallest one there can be. */
static struct gate_watch *gate_new(struct gate_watches *s, const struct native_watch *p)
{
	struct bytes key = p->key.len > 0 ? p->key : bytes_of("", 1);
	struct gate_watch *w = mem_alloc(sizeof *w + key.len + p->range_end.len), **at;

	if (s->n >= s->n_buckets)
		gate_grow(s);
	w->id = p->watch_id != 0 ? p->watch_id : gate_choose(s);
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

struct gate_watch *watch_begin(struct gateway *g, struct gate_watches *s, const struct native_watch *p)
{
	struct gate_watch *w = gate_new(s, p);

	if (p->start_revision == 0)
		w->sub.next_rev = g->store.furthest_revision + 1;
	s->caller->share->n++;
	s->caller->share->bytes += w->sub.key.len + w->sub.range_end.len;
	g->watch_bytes += w->sub.key.len + w->sub.range_end.len;
	watch_clnt_add(&g->watch, &s->client, &w->sub);
	return w;
}

void watch_end(struct gateway *g, struct gate_watch *w, struct caller *k)
{
	watch_clnt_remove(&g->watch, &w->sub);
	gate_forget(g, k->watches, w);
}

void watch_ask(struct gateway *g, struct caller *k, struct gate_watch *w, int64_t revision)
{
	if (w != NULL)
		watch_clnt_ask(&g->watch, &w->sub, revision);
	else if (k->watches != NULL)
		watch_clnt_ask_all(&g->watch, &k->watches->client, revision);
}

/* ---- what watchd says ---- */

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
		struct gate_watch *ended = got.kind == WATCH_GOT_CANCELED ? GATE_OF(got.subs[0]) : NULL;

		/* watchd may have heard of the last compaction later than this process */
		if (ended != NULL && got.error == ERR_COMPACTED && got.revision < g->store.progress.compact_revision)
			got.revision = g->store.progress.compact_revision;
		/* the caller may end by what it is told, and its table with it */
		if (ended != NULL)
			gate_unlink(g, s, ended);
		s->caller->ops->watch(g, s->caller, &got);
		mem_free(ended);
	}
	return err;
}

/* While an answer is streamed notifications are held behind it: its end calls again. */
void watch_caller_room(struct gateway *g, struct caller *k)
{
	struct gate_watches *s = k->watches;

	if (s == NULL || s->client.untaken == 0 || k->ops->waiting(k) > LIMIT_CONN_OUT_LOW)
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
