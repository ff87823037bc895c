/* SPDX-License-Identifier: Apache-2.0 */
#include "watchd/serve.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

#define PEER_OF(l) container_of((l), struct serve_peer, in_serve)

enum { SERVE_DELIVERIES = 2048, SERVE_NO_EVENT = UINT32_MAX };

_Static_assert(LIMIT_WATCH_SLICE_EVENTS <= LIMIT_WATCH_REFS, "a delivery's runs fit a message");

/* Rooms for one message of each kind; a message goes when one is full. */
struct serve {
	struct watch_core *core;
	struct list peers;
	/* watch_events */
	uint32_t place[LIMIT_BATCH_ITEMS];    /* of a slice's event in the message */
	struct watch_event events[LIMIT_BATCH_ITEMS];
	struct kv_pair pairs[LIMIT_BATCH_ITEMS], prevs[LIMIT_BATCH_ITEMS];
	struct watch_delivery deliveries[SERVE_DELIVERIES];
	struct watch_ref refs[LIMIT_WATCH_REFS];
	struct watch_run runs[LIMIT_WATCH_REFS];
	size_t n_events, n_deliveries, n_refs, n_runs;
	uint64_t cost;
	uint64_t n_delivered_all, n_messages, n_canceled;
	/* watch_news */
	struct watch_place places[LIMIT_WATCH_REFS];
	struct watch_progressed progress[LIMIT_WATCH_REFS];
	struct watch_canceled canceled[LIMIT_WATCH_REFS];
};

struct serve *serve_new(struct watch_core *c)
{
	struct serve *s = mem_alloc(sizeof *s);

	s->core = c;
	list_init(&s->peers);
	return s;
}

void serve_free(struct serve **s)
{
	CHECK(list_empty(&(*s)->peers));
	mem_free(*s);
	*s = NULL;
}

void serve_open(struct serve *s, struct serve_peer *p, const struct clnt_io *io)
{
	*p = (struct serve_peer){.io = *io};
	p->link = watch_link_open(s->core, p);
	list_push(&s->peers, &p->in_serve);
}

void serve_close(struct serve *s, struct serve_peer *p)
{
	list_remove(&p->in_serve);
	watch_link_close(s->core, &p->link);
}

uint64_t serve_delivered(const struct serve *s)
{
	return s->n_delivered_all;
}

uint64_t serve_messages(const struct serve *s)
{
	return s->n_messages;
}

uint64_t serve_canceled(const struct serve *s)
{
	return s->n_canceled;
}

static void serve_send(struct serve *s, struct serve_peer *p, uint32_t number, const struct msg_desc *d, const void *msg)
{
	if (!p->failed && p->io.send(p->io.arg, number, d, msg) != ERR_OK)
		p->failed = true;
	s->n_messages++;
}

/* ---- requests ---- */

static int serve_creates(struct serve *s, struct serve_peer *p, const struct watch_creates *m, mono_t now)
{
	int rc = ERR_OK;

	for (size_t i = 0; i < m->creates.n && rc == ERR_OK; i++)
		rc = watch_link_create(s->core, p->link, &m->creates.v[i], now);
	return rc;
}

static int serve_credits(struct serve *s, struct serve_peer *p, const struct watch_credits *m)
{
	watch_link_taken(s->core, p->link, m->taken);
	for (size_t i = 0; i < m->streams.n; i++)
		watch_link_credit(s->core, p->link, m->streams.v[i].stream, m->streams.v[i].bytes);
	return ERR_OK;
}

static int serve_cancels(struct serve *s, struct serve_peer *p, const struct watch_cancels *m)
{
	for (size_t i = 0; i < m->watches.n; i++)
		watch_link_cancel(s->core, p->link, m->watches.v[i].watch);
	return ERR_OK;
}

static int serve_asks(struct serve *s, struct serve_peer *p, const struct watch_asks *m)
{
	for (size_t i = 0; i < m->asks.n; i++)
		watch_link_ask(s->core, p->link, m->asks.v[i].watch, m->asks.v[i].revision);
	return ERR_OK;
}

int serve_msg(struct serve *s, struct serve_peer *p, const struct msg_in *in, mono_t now)
{
	const struct watch_close *close = in->msg;

	switch (in->row->number) {
	case MSG_NO_watch_creates:
		return serve_creates(s, p, in->msg, now);
	case MSG_NO_watch_cancels:
		return serve_cancels(s, p, in->msg);
	case MSG_NO_watch_close:
		watch_link_close_stream(s->core, p->link, close->stream);
		return ERR_OK;
	case MSG_NO_watch_asks:
		return serve_asks(s, p, in->msg);
	case MSG_NO_watch_credits:
		return serve_credits(s, p, in->msg);
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

/* ---- deliveries ---- */

static void events_begin(struct serve *s)
{
	memset(s->place, 0xff, sizeof s->place);
	s->n_events = s->n_deliveries = s->n_refs = s->n_runs = 0;
	s->cost = 0;
}

static void events_send(struct serve *s, struct serve_peer *p)
{
	struct watch_stats stats;
	struct watch_events m = {.cost = s->cost, .events = {s->events, s->n_events},
				 .deliveries = {s->deliveries, s->n_deliveries}};

	if (s->n_deliveries == 0)
		return;
	watch_core_stats(s->core, &stats);
	m.revision = stats.revision;
	serve_send(s, p, MSG_NO_watch_events, &watch_events_desc, &m);
	events_begin(s);
}

/* Where the event stands in the message; its pair before the event comes with the first who wants it. */
static uint32_t events_place(struct serve *s, const struct watch_slice_event *all, uint32_t i, bool prev_kv)
{
	uint32_t at = s->place[i];

	if (at == SERVE_NO_EVENT) {
		at = s->place[i] = (uint32_t)s->n_events++;
		s->pairs[at] = all[i].kv;
		s->events[at] = (struct watch_event){all[i].type, &s->pairs[at], NULL};
	}
	if (prev_kv && all[i].has_prev) {
		s->prevs[at] = all[i].prev;
		s->events[at].prev_kv = &s->prevs[at];
	}
	return at;
}

static void events_runs(struct serve *s, const struct watch_slice_event *all, const struct watch_out *o,
			struct watch_delivery *d)
{
	d->runs.v = &s->runs[s->n_runs];
	d->runs.n = 0;
	for (size_t i = 0; i < o->n_events; i++) {
		uint32_t at = events_place(s, all, o->events[i], o->prev_kv);
		struct watch_run *r = d->runs.n > 0 ? &d->runs.v[d->runs.n - 1] : NULL;

		if (r != NULL && r->first + r->count == at)
			r->count++;
		else
			d->runs.v[d->runs.n++] = (struct watch_run){at, 1};
	}
	s->n_runs += d->runs.n;
}

static void events_add(struct serve *s, struct serve_peer *p, const struct watch_slice_event *all,
		       const struct watch_out *o)
{
	struct watch_delivery *d;

	if (s->n_deliveries == SERVE_DELIVERIES || s->n_refs + o->n_watches > LIMIT_WATCH_REFS ||
	    s->n_runs + o->n_events > LIMIT_WATCH_REFS)
		events_send(s, p);
	d = &s->deliveries[s->n_deliveries++];
	*d = (struct watch_delivery){.stream = o->stream, .cost = o->cost, .prev_kv = o->prev_kv,
				     .next_rev = o->next.rev, .next_sub = o->next.sub};
	d->watches.v = &s->refs[s->n_refs];
	d->watches.n = o->n_watches;
	for (size_t i = 0; i < o->n_watches; i++)
		s->refs[s->n_refs++].watch = o->watches[i];
	events_runs(s, all, o, d);
	s->cost += o->cost;
	p->n_delivered += o->n_watches * o->n_events;
	s->n_delivered_all += o->n_watches * o->n_events;
}

void serve_slice(struct serve *s)
{
	const struct watch_out *out;
	size_t n_all, n = watch_slice_out(s->core, &out);
	const struct watch_slice_event *all = watch_slice_events(s->core, &n_all);

	CHECK(n_all <= LIMIT_BATCH_ITEMS);
	for (struct list *l = s->peers.next; n > 0 && l != &s->peers; l = l->next) {
		events_begin(s);
		for (size_t i = 0; i < n; i++)
			if (out[i].link == PEER_OF(l)->link)
				events_add(s, PEER_OF(l), all, &out[i]);
		events_send(s, PEER_OF(l));
	}
}

/* ---- the rest ---- */

static struct watch_news news_begin(struct serve *s)
{
	struct watch_stats stats;

	watch_core_stats(s->core, &stats);
	return (struct watch_news){
		.head_rev = stats.head.rev, .head_sub = stats.head.sub, .places = {s->places, 0},
		.progress = {s->progress, 0}, .canceled = {s->canceled, 0},
	};
}

static void news_send(struct serve *s, struct serve_peer *p, struct watch_news *m)
{
	serve_send(s, p, MSG_NO_watch_news, &watch_news_desc, m);
	p->head = (struct watch_pos){m->head_rev, (uint32_t)m->head_sub};
	s->n_canceled += m->canceled.n;
	m->places.n = m->progress.n = m->canceled.n = 0;
}

static size_t news_add(struct watch_news *m, const struct watch_effect *e)
{
	switch (e->kind) {
	case WATCH_PLACED:
		m->places.v[m->places.n++] = (struct watch_place){e->watch, e->joined, e->next.rev, e->next.sub};
		return m->places.n;
	case WATCH_PROGRESSED:
		m->progress.v[m->progress.n++] = (struct watch_progressed){e->watch, e->revision};
		return m->progress.n;
	case WATCH_CANCELED:
		m->canceled.v[m->canceled.n++] = (struct watch_canceled){e->watch, (uint64_t)e->error, e->revision};
		return m->canceled.n;
	}
	return 0;
}

void serve_effects(struct serve *s)
{
	const struct watch_effect *effects;
	size_t n = watch_core_effects(s->core, &effects);

	for (struct list *l = s->peers.next; n > 0 && l != &s->peers; l = l->next) {
		struct watch_news m = news_begin(s);

		for (size_t i = 0; i < n; i++)
			if (effects[i].link == PEER_OF(l)->link &&
			    news_add(&m, &effects[i]) == LIMIT_WATCH_REFS)
				news_send(s, PEER_OF(l), &m);
		if (m.places.n + m.progress.n + m.canceled.n > 0)
			news_send(s, PEER_OF(l), &m);
	}
	watch_core_effects_done(s->core);
}

void serve_heads(struct serve *s)
{
	for (struct list *l = s->peers.next; l != &s->peers; l = l->next) {
		struct watch_news m = news_begin(s);
		struct watch_pos head = {m.head_rev, (uint32_t)m.head_sub};

		if (m.head_rev > 0 && watch_link_watches(PEER_OF(l)->link) > 0 &&
		    watch_pos_cmp(head, PEER_OF(l)->head) != 0)
			news_send(s, PEER_OF(l), &m);
	}
}
