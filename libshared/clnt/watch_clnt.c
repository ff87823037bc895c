/* SPDX-License-Identifier: Apache-2.0 */
#include "clnt/watch_clnt.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define SUB_OF_QUEUE(l) container_of((l), struct watch_sub, queue)
#define SUB_OF_CLIENT(l) container_of((l), struct watch_sub, in_client)
#define SUB_OF_ASK(l) container_of((l), struct watch_sub, ask)
#define CLIENT_OF_OWING(l) container_of((l), struct watch_client, owing)
#define CLIENT_OF_ASKING(l) container_of((l), struct watch_client, asking)

enum { CLNT_BUCKETS = 64, CLNT_CLIENT_BUCKETS = 4096, CLNT_CREATE_COST = 64 };

void watch_clnt_init(struct watch_clnt *c, const struct clnt_io *io)
{
	*c = (struct watch_clnt){.io = *io, .n_buckets = CLNT_BUCKETS, .n_client_buckets = CLNT_CLIENT_BUCKETS};
	c->buckets = mem_array(c->n_buckets, sizeof *c->buckets);
	c->client_buckets = mem_array(c->n_client_buckets, sizeof *c->client_buckets);
	c->creates = mem_array(LIMIT_BATCH_ITEMS, sizeof *c->creates);
	c->credits = mem_array(LIMIT_BATCH_ITEMS, sizeof *c->credits);
	c->ask_rows = mem_array(LIMIT_BATCH_ITEMS, sizeof *c->ask_rows);
	c->subs = mem_array(LIMIT_WATCH_REFS, sizeof *c->subs);
	list_init(&c->queue);
	list_init(&c->owing);
	list_init(&c->asks);
	list_init(&c->asking);
}

void watch_clnt_free(struct watch_clnt *c)
{
	CHECK(c->n == 0 && c->n_clients == 0);
	mem_free(c->buckets);
	mem_free(c->client_buckets);
	mem_free(c->creates);
	mem_free(c->credits);
	mem_free(c->ask_rows);
	mem_free(c->subs);
	mem_free(c->cancels);
	mem_free(c->closes);
}

static void *clnt_room(void *v, size_t *cap, size_t n, size_t size)
{
	if (n < *cap)
		return v;
	*cap = *cap ? *cap * 2 : 64;
	return mem_grow(v, *cap, size);
}

/* ---- tables ---- */

static size_t clnt_hash(uint64_t id)
{
	id *= 0x9e3779b97f4a7c15u;
	return (size_t)(id ^ id >> 32);
}

static struct watch_sub *sub_find(const struct watch_clnt *c, uint64_t id)
{
	struct watch_sub *w = c->buckets[clnt_hash(id) & (c->n_buckets - 1)];

	while (w != NULL && w->id != id)
		w = w->hash_next;
	return w;
}

static void subs_grow(struct watch_clnt *c)
{
	size_t n = c->n_buckets * 2;
	struct watch_sub **b = mem_array(n, sizeof *b), **at, *w;

	for (size_t i = 0; i < c->n_buckets; i++) {
		while ((w = c->buckets[i]) != NULL) {
			c->buckets[i] = w->hash_next;
			at = &b[clnt_hash(w->id) & (n - 1)];
			w->hash_next = *at;
			*at = w;
		}
	}
	mem_free(c->buckets);
	c->buckets = b;
	c->n_buckets = n;
}

static struct watch_client **client_slot(const struct watch_clnt *c, uint64_t id)
{
	struct watch_client **at = &c->client_buckets[clnt_hash(id) & (c->n_client_buckets - 1)];

	while (*at != NULL && (*at)->id != id)
		at = &(*at)->hash_next;
	return at;
}

/* ---- clients and their watches ---- */

void watch_clnt_open(struct watch_clnt *c, struct watch_client *s)
{
	struct watch_client **at;

	*s = (struct watch_client){.id = ++c->next_id};
	list_init(&s->subs);
	list_init(&s->owing);
	list_init(&s->asking);
	at = client_slot(c, s->id);
	*at = s;
	c->n_clients++;
}

void watch_clnt_close(struct watch_clnt *c, struct watch_client *s)
{
	struct watch_client **at = client_slot(c, s->id);

	CHECK(*at == s && s->n == 0 && list_empty(&s->subs));
	*at = s->hash_next;
	list_remove(&s->owing);
	list_remove(&s->asking);
	c->n_clients--;
	if (!c->up)
		return;
	c->closes = clnt_room(c->closes, &c->cap_closes, c->n_closes, sizeof *c->closes);
	c->closes[c->n_closes++] = (struct watch_close){s->id};
}

void watch_clnt_add(struct watch_clnt *c, struct watch_client *s, struct watch_sub *w)
{
	struct watch_sub **at;

	if (c->n >= c->n_buckets)
		subs_grow(c);
	w->id = ++c->next_id;
	w->client = s;
	list_init(&w->queue);
	list_init(&w->ask);
	list_push(&s->subs, &w->in_client);
	list_push(&c->queue, &w->queue);
	at = &c->buckets[clnt_hash(w->id) & (c->n_buckets - 1)];
	w->hash_next = *at;
	*at = w;
	c->n++;
	s->n++;
}

static void sub_forget(struct watch_clnt *c, struct watch_sub *w)
{
	struct watch_sub **at = &c->buckets[clnt_hash(w->id) & (c->n_buckets - 1)];

	while (*at != w)
		at = &(*at)->hash_next;
	*at = w->hash_next;
	list_remove(&w->queue);
	list_remove(&w->ask);
	list_remove(&w->in_client);
	c->n--;
	w->client->n--;
}

void watch_clnt_remove(struct watch_clnt *c, struct watch_sub *w)
{
	if (w->known) {
		c->cancels = clnt_room(c->cancels, &c->cap_cancels, c->n_cancels, sizeof *c->cancels);
		c->cancels[c->n_cancels++] = (struct watch_ref){w->id};
	}
	sub_forget(c, w);
}

void watch_clnt_ask(struct watch_clnt *c, struct watch_sub *w, int64_t revision)
{
	if (w->progress_at < revision)
		w->progress_at = revision;
	if (w->known && !list_linked(&w->ask))        /* else its registration will say it */
		list_push(&c->asks, &w->ask);
}

void watch_clnt_ask_all(struct watch_clnt *c, struct watch_client *s, int64_t revision)
{
	if (!list_linked(&s->asking)) {
		list_push(&c->asking, &s->asking);
		s->ask_all = revision;
	} else if (s->ask_all < revision) {
		s->ask_all = revision;
	}
}

void watch_clnt_give(struct watch_clnt *c, struct watch_client *s, uint64_t bytes)
{
	CHECK(bytes <= s->untaken);
	s->untaken -= bytes;
	if (!c->up)
		return;                       /* the next link begins with what is untaken then */
	s->owed += bytes;
	if (s->owed > 0 && !list_linked(&s->owing))
		list_push(&c->owing, &s->owing);
}

/* ---- the link ---- */

void watch_clnt_up(struct watch_clnt *c)
{
	CHECK(!c->up);
	c->up = true;
	c->head_rev = 0;
	c->head_sub = 0;
}

static bool place_before(int64_t rev, uint64_t sub, int64_t rev2, uint64_t sub2)
{
	return rev != rev2 ? rev < rev2 : sub < sub2;
}

static void sub_reach(struct watch_sub *w, int64_t rev, uint64_t sub)
{
	if (!place_before(w->next_rev, w->next_sub, rev, sub))
		return;
	w->next_rev = rev;
	w->next_sub = (uint32_t)sub;
}

/* What watchd knew is gone with the link; so is what was on its way to it. */
static void client_down(struct watch_clnt *c, struct watch_client *s)
{
	s->owed = 0;
	list_remove(&s->owing);
	for (struct list *l = s->subs.next; l != &s->subs; l = l->next) {
		struct watch_sub *w = SUB_OF_CLIENT(l);

		if (w->joined)
			sub_reach(w, c->head_rev, c->head_sub);
		w->joined = w->known = false;
		list_remove(&w->ask);
		if (!list_linked(&w->queue))
			list_push(&c->queue, &w->queue);
	}
}

void watch_clnt_down(struct watch_clnt *c)
{
	if (!c->up)
		return;
	c->up = false;
	c->n_cancels = c->n_closes = 0;
	c->taken = 0;
	for (size_t i = 0; i < c->n_client_buckets; i++)
		for (struct watch_client *s = c->client_buckets[i]; s != NULL; s = s->hash_next)
			client_down(c, s);
}

/* ---- out ---- */

static bool clnt_send(struct watch_clnt *c, uint32_t number, const struct msg_desc *d, const void *msg)
{
	return c->io.send(c->io.arg, number, d, msg) == ERR_OK;
}

static bool flush_closes(struct watch_clnt *c)
{
	while (c->n_closes > 0) {
		if (!clnt_send(c, MSG_NO_watch_close, &watch_close_desc, &c->closes[c->n_closes - 1]))
			return false;
		c->n_closes--;
	}
	return true;
}

static bool flush_cancels(struct watch_clnt *c)
{
	struct watch_cancels m;

	while (c->n_cancels > 0) {
		m.watches.n = c->n_cancels < LIMIT_WATCH_REFS ? c->n_cancels : LIMIT_WATCH_REFS;
		m.watches.v = c->cancels + c->n_cancels - m.watches.n;
		if (!clnt_send(c, MSG_NO_watch_cancels, &watch_cancels_desc, &m))
			return false;
		c->n_cancels -= m.watches.n;
	}
	return true;
}

static struct watch_create sub_create(const struct watch_sub *w)
{
	return (struct watch_create){
		.stream = w->client->id, .watch = w->id, .key = w->key, .range_end = w->range_end,
		.next_rev = w->next_rev, .next_sub = w->next_sub, .prev_kv = w->prev_kv,
		.no_put = w->no_put, .no_delete = w->no_delete, .progress_notify = w->progress_notify,
		.progress_at = w->progress_at, .untaken = w->client->untaken,
	};
}

/* As many as fit one message, from the front of the queue. */
static bool flush_creates(struct watch_clnt *c)
{
	struct watch_creates m = {{c->creates, 0}};
	size_t bytes = 0;
	struct list *l;

	for (l = c->queue.next; l != &c->queue && m.creates.n < LIMIT_BATCH_ITEMS; l = l->next) {
		const struct watch_sub *w = SUB_OF_QUEUE(l);

		bytes += CLNT_CREATE_COST + w->key.len + w->range_end.len;
		if (m.creates.n > 0 && bytes > LIMIT_BATCH_BYTES)
			break;
		c->creates[m.creates.n++] = sub_create(w);
	}
	if (m.creates.n == 0)
		return true;
	if (!clnt_send(c, MSG_NO_watch_creates, &watch_creates_desc, &m))
		return false;
	c->n_registered += m.creates.n;
	for (size_t i = 0; i < m.creates.n; i++)
		SUB_OF_QUEUE(list_pop(&c->queue))->known = true;
	return true;
}

static void flush_asking(struct watch_clnt *c)
{
	struct list *l;

	while ((l = list_pop(&c->asking)) != NULL) {
		const struct watch_client *s = CLIENT_OF_ASKING(l);

		for (l = s->subs.next; l != &s->subs; l = l->next)
			watch_clnt_ask(c, SUB_OF_CLIENT(l), s->ask_all);
	}
}

/* Who has been told meanwhile is not asked. */
static bool flush_asks(struct watch_clnt *c)
{
	struct watch_asks m = {{c->ask_rows, 0}};
	struct list *l;
	size_t n = 0;

	for (l = c->asks.next; l != &c->asks && n < LIMIT_BATCH_ITEMS; l = l->next, n++)
		if (SUB_OF_ASK(l)->progress_at > 0)
			c->ask_rows[m.asks.n++] = (struct watch_ask){SUB_OF_ASK(l)->id, SUB_OF_ASK(l)->progress_at};
	if (m.asks.n > 0 && !clnt_send(c, MSG_NO_watch_asks, &watch_asks_desc, &m))
		return false;
	while (n-- > 0)
		(void)list_pop(&c->asks);
	return true;
}

static bool flush_credits(struct watch_clnt *c)
{
	struct watch_credits m = {c->taken, {c->credits, 0}};
	struct list *l;

	for (l = c->owing.next; l != &c->owing && m.streams.n < LIMIT_BATCH_ITEMS; l = l->next) {
		const struct watch_client *s = CLIENT_OF_OWING(l);

		c->credits[m.streams.n++] = (struct watch_credit){s->id, s->owed};
	}
	if (m.taken == 0 && m.streams.n == 0)
		return true;
	if (!clnt_send(c, MSG_NO_watch_credits, &watch_credits_desc, &m))
		return false;
	c->taken = 0;
	for (size_t i = 0; i < m.streams.n; i++)
		CLIENT_OF_OWING(list_pop(&c->owing))->owed = 0;
	return true;
}

bool watch_clnt_flush(struct watch_clnt *c)
{
	if (!c->up)
		return false;
	flush_asking(c);
	if (!flush_closes(c) || !flush_cancels(c))
		return true;
	while (!list_empty(&c->queue))
		if (!flush_creates(c))
			return true;
	while (!list_empty(&c->asks))
		if (!flush_asks(c))
			return true;
	do {
		if (!flush_credits(c))
			return true;
	} while (!list_empty(&c->owing));
	return false;
}

/* ---- in ---- */

static int events_check(const struct watch_events *m)
{
	for (size_t i = 0; i < m->events.n; i++) {
		const struct watch_event *e = &m->events.v[i];

		if (e->kv == NULL || (e->type != WATCH_EVENT_PUT && e->type != WATCH_EVENT_DELETE))
			return ERR_MALFORMED;
	}
	for (size_t i = 0; i < m->deliveries.n; i++) {
		const struct watch_delivery *d = &m->deliveries.v[i];

		if (d->next_rev < 0 || d->next_sub > UINT32_MAX)
			return ERR_MALFORMED;
		for (size_t k = 0; k < d->runs.n; k++)
			if (d->runs.v[k].count == 0 || d->runs.v[k].count > m->events.n ||
			    d->runs.v[k].first > m->events.n - d->runs.v[k].count)
				return ERR_MALFORMED;
	}
	return ERR_OK;
}

static int news_take(struct watch_clnt *c, const struct watch_news *m)
{
	if (m->head_rev < 0 || m->head_sub > UINT32_MAX)
		return ERR_MALFORMED;
	for (size_t i = 0; i < m->places.n; i++) {
		const struct watch_place *p = &m->places.v[i];
		struct watch_sub *w = sub_find(c, p->watch);

		if (p->next_rev < 0 || p->next_sub > UINT32_MAX)
			return ERR_MALFORMED;
		if (w == NULL)
			continue;
		w->joined = p->joined;
		sub_reach(w, p->next_rev, p->next_sub);
	}
	/* After the places: whoever has left stands before this head. */
	c->head_rev = m->head_rev;
	c->head_sub = (uint32_t)m->head_sub;
	return ERR_OK;
}

int watch_clnt_msg(struct watch_clnt *c, const struct msg_in *in)
{
	int rc;

	c->events = NULL;
	c->news = NULL;
	c->at = c->at_progress = c->at_canceled = 0;
	switch (in->row->number) {
	case MSG_NO_watch_events:
		rc = events_check(in->msg);
		if (rc == ERR_OK) {
			c->events = in->msg;
			c->taken += c->events->cost;
		}
		return rc;
	case MSG_NO_watch_news:
		rc = news_take(c, in->msg);
		if (rc == ERR_OK)
			c->news = in->msg;
		return rc;
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

/* Who of a delivery is still there, and does not have it yet. */
static bool next_delivery(struct watch_clnt *c, struct watch_got *out)
{
	while (c->events != NULL && c->at < c->events->deliveries.n) {
		const struct watch_delivery *d = &c->events->deliveries.v[c->at++];
		struct watch_client *s = *client_slot(c, d->stream);
		size_t n = 0;

		if (s == NULL)
			continue;
		for (size_t i = 0; i < d->watches.n; i++) {
			struct watch_sub *w = sub_find(c, d->watches.v[i].watch);

			if (w == NULL || w->client != s ||
			    !place_before(w->next_rev, w->next_sub, d->next_rev, d->next_sub)) {
				c->n_stale += w != NULL;
				continue;
			}
			sub_reach(w, d->next_rev, d->next_sub);
			c->subs[n++] = w;
		}
		s->untaken += d->cost;
		if (n == 0) {
			watch_clnt_give(c, s, d->cost);
			continue;
		}
		c->n_events++;
		*out = (struct watch_got){.kind = WATCH_GOT_EVENTS, .client = s, .subs = c->subs, .n = n,
					  .events = c->events, .delivery = d};
		return true;
	}
	return false;
}

/* One after the other of the same client and revision are handed out together. */
static bool next_progress(struct watch_clnt *c, struct watch_got *out)
{
	*out = (struct watch_got){.kind = WATCH_GOT_PROGRESS, .subs = c->subs};
	while (c->news != NULL && c->at_progress < c->news->progress.n) {
		const struct watch_progressed *p = &c->news->progress.v[c->at_progress];
		struct watch_sub *w = sub_find(c, p->watch);

		if (w != NULL && out->n > 0 && (w->client != out->client || p->revision != out->revision))
			break;
		c->at_progress++;
		if (w == NULL)
			continue;
		if (w->progress_at <= p->revision)
			w->progress_at = 0;
		sub_reach(w, p->revision + 1, 0);
		out->client = w->client;
		out->revision = p->revision;
		c->subs[out->n++] = w;
	}
	return out->n > 0;
}

static bool next_canceled(struct watch_clnt *c, struct watch_got *out)
{
	while (c->news != NULL && c->at_canceled < c->news->canceled.n) {
		const struct watch_canceled *p = &c->news->canceled.v[c->at_canceled++];
		struct watch_sub *w = sub_find(c, p->watch);

		if (w == NULL)
			continue;
		sub_forget(c, w);
		c->subs[0] = w;
		*out = (struct watch_got){.kind = WATCH_GOT_CANCELED, .client = w->client, .subs = c->subs,
					  .n = 1, .revision = p->compact_revision, .error = (int)p->error};
		return true;
	}
	return false;
}

bool watch_clnt_next(struct watch_clnt *c, struct watch_got *out)
{
	return next_delivery(c, out) || next_progress(c, out) || next_canceled(c, out);
}
