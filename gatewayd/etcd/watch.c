/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watch: the watches of a stream are those of a caller (gatewayd/watch.h). Requests are taken one at a
 * time, so answers come in their order.
 *
 * A watch from now on begins, as in the native protocol, behind all that had been answered; but
 * when no quorum is to be had soon, where this node's store stands, or has stood: that is where etcd begins it always.
 */
#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/etcd/grpc.h"
#include "gatewayd/read_own.h"
#include "gatewayd/watch.h"

/* The events of a revision that watchd has cut, until it is whole. The stream frees those of its watches. */
struct watch_whole {
	struct list node;
	struct buf events;
};

struct watch_stream {
	/* the watch being begun */
	uint32_t create_id;           /* the request's; 0: none */
	struct native_watch create;
	struct buf create_bytes;      /* its key and range end */
	bool fragment;
	/* the progress that is asked for */
	uint32_t progress_id;         /* its fence; 0: passed, or none */
	size_t progress_left;         /* watches that have not got that far */
	int64_t progress_at;
	struct list whole;
};

static const struct grpc_state watch_ops;

static struct watch_stream *watch_stream(struct grpc_stream *s)
{
	struct watch_stream *st = s->state;

	if (st != NULL)
		return st;
	st = mem_alloc(sizeof *st);
	buf_init(&st->create_bytes, 0);
	list_init(&st->whole);
	s->state = st;
	s->state_ops = &watch_ops;
	return st;
}

/* ---- what is said ---- */

static void watch_say(struct grpc_stream *s, struct etcd_watch_response *r, int64_t revision)
{
	struct kv_header header = gateway_header(s->g, revision);

	r->header = &header;
	grpc_send(s, &etcd_watch_response_pb, r);
}

static int64_t watch_revision(const struct grpc_stream *s)
{
	return s->g->store.furthest_revision;
}

static void watch_say_created(struct grpc_stream *s, int64_t id)
{
	struct etcd_watch_response r = {.watch_id = id, .created = true};

	watch_say(s, &r, watch_revision(s));
}

/* It never began. */
static void watch_say_refused(struct grpc_stream *s, int err)
{
	bool bare = err == ERR_WATCH_RANGE || err == ERR_WATCH_EXISTS;
	struct etcd_watch_response r = {
		.watch_id = -1, .created = true, .canceled = true,
		.cancel_reason = bytes_str(bare ? err_text(err) : grpc_text(err)),
	};

	watch_say(s, &r, watch_revision(s));
}

/* ---- create ---- */

static struct native_watch watch_native(const struct etcd_watch_create *c)
{
	struct native_watch w = {
		.key = c->key, .range_end = c->range_end, .start_revision = c->start_revision,
		.prev_kv = c->prev_kv, .progress_notify = c->progress_notify, .watch_id = c->watch_id,
	};

	for (size_t i = 0; i < c->filters.n; i++) {
		w.no_put |= c->filters.v[i].filter == ETCD_NO_PUT;
		w.no_delete |= c->filters.v[i].filter == ETCD_NO_DELETE;
	}
	return w;
}

static void watch_start(struct grpc_stream *s, const struct native_watch *p, bool fragment)
{
	int err = watch_admit(s->g, &s->caller, p);
	struct gate_watch *w;

	if (err != ERR_OK) {
		watch_say_refused(s, err);
		return;
	}
	w = watch_begin(s->g, watch_table(s->g, &s->caller, 0), p);
	w->fragment = fragment;
	watch_say_created(s, w->id);
}

/* The fence is passed, or there is none to be had. */
static void watch_start_pending(struct grpc_stream *s)
{
	struct watch_stream *st = s->state;

	st->create_id = 0;
	watch_start(s, &st->create, st->fragment);
	buf_free(&st->create_bytes);
}

static void watch_fenced(struct gateway *g, struct read *rd)
{
	struct grpc_stream *s = GRPC_OF(rd->r.caller);

	read_end(g, rd);
	request_forget(g, &rd->r);
	watch_start_pending(s);
	grpc_go_on(s);
}

static void watch_create(struct grpc_stream *s, const struct rpc_request *rpc, const struct etcd_watch_create *c)
{
	struct watch_stream *st = watch_stream(s);
	struct native_watch p = watch_native(c);
	struct read *rd;
	int err = watch_check(&p);

	if (err != ERR_OK) {
		watch_say_refused(s, err);
		return;
	}
	if (p.start_revision > 0) {
		watch_start(s, &p, c->fragment);
		return;
	}
	buf_add_bytes(&st->create_bytes, p.key);
	buf_add_bytes(&st->create_bytes, p.range_end);
	p.key = bytes_of(st->create_bytes.data, p.key.len);
	p.range_end = bytes_of(st->create_bytes.data + p.key.len, p.range_end.len);
	st->create = p;
	st->fragment = c->fragment;
	st->create_id = rpc->id;
	s->busy = true;
	rd = read_fence(s->g, &s->caller, rpc, watch_fenced);
	if (rd != NULL)
		request_short(s->g, &rd->r, GATEWAY_STATUS_MS);
}

/* ---- cancel, progress ---- */

static void watch_progress_one(struct grpc_stream *s)
{
	struct watch_stream *st = s->state;
	struct etcd_watch_response r = {.watch_id = -1};

	CHECK(st->progress_left > 0);
	if (--st->progress_left > 0)
		return;
	watch_say(s, &r, st->progress_at);
	st->progress_at = 0;
}

static void watch_forget_asked(struct grpc_stream *s, struct gate_watch *w)
{
	if (w->asked == 0)
		return;
	w->asked = 0;
	watch_progress_one(s);
}

static void watch_free_whole(struct grpc_stream *s, struct watch_whole *x)
{
	(void)h2_count_in(&s->h2, x->events.cap, 0);
	list_remove(&x->node);
	buf_free(&x->events);
	mem_free(x);
}

static void watch_drop_whole(struct grpc_stream *s, struct gate_watch *w)
{
	if (w->whole != NULL)
		watch_free_whole(s, w->whole);
	w->whole = NULL;
}

static void watch_ended(struct grpc_stream *s, struct gate_watch *w)
{
	watch_drop_whole(s, w);
	watch_forget_asked(s, w);
}

static void watch_cancel(struct grpc_stream *s, int64_t id)
{
	struct gate_watch *w = watch_find(&s->caller, id);
	struct etcd_watch_response r = {.watch_id = id, .canceled = true};

	if (w != NULL) {
		watch_ended(s, w);
		watch_end(s->g, w, &s->caller);
	} else if (!watch_free_id(s->caller.watches, id)) {
		return;
	}
	watch_say(s, &r, watch_revision(s));
}

/* Each watch says when it has got that far; the last one of them answers. */
static void watch_ask_all(struct gateway *g, struct read *rd)
{
	struct grpc_stream *s = GRPC_OF(rd->r.caller);
	struct watch_stream *st = s->state;
	struct gate_watches *t = s->caller.watches;

	st->progress_id = 0;
	st->progress_at = watch_revision(s);
	st->progress_left = 1;
	read_end(g, rd);
	request_forget(g, &rd->r);
	for (struct list *l = t != NULL ? t->client.subs.next : NULL; t != NULL && l != &t->client.subs; l = l->next) {
		struct gate_watch *w = GATE_OF(container_of(l, struct watch_sub, in_client));

		if (w->sub.next_rev > st->progress_at)
			continue;                     /* it has nothing to get up to there */
		w->asked = st->progress_at;
		st->progress_left++;
		watch_ask(g, &s->caller, w, st->progress_at);
	}
	watch_progress_one(s);
}

/* A second one while the first is not answered says nothing new. */
static void watch_progress(struct grpc_stream *s, const struct rpc_request *rpc)
{
	struct watch_stream *st = watch_stream(s);

	if (st->progress_id != 0 || st->progress_left > 0)
		return;
	st->progress_id = rpc->id;
	(void)read_fence(s->g, &s->caller, rpc, watch_ask_all);
}

void grpc_watch(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct etcd_watch_request *r = params;
	struct grpc_stream *s = GRPC_OF(k);

	(void)g;
	(void)watch_stream(s);
	if (r->create != NULL)
		watch_create(s, rpc, r->create);
	else if (r->cancel != NULL)
		watch_cancel(s, r->cancel->watch_id);
	else if (r->progress != NULL)
		watch_progress(s, rpc);
}

/* ---- events ---- */

static void watch_put_events(struct buf *out, const struct watch_got *got)
{
	const struct watch_delivery *d = got->delivery;

	for (size_t i = 0; i < d->runs.n; i++) {
		for (uint64_t n = 0; n < d->runs.v[i].count; n++) {
			const struct watch_event *e = &got->events->events.v[d->runs.v[i].first + n];
			struct etcd_event to = {
				e->type == WATCH_EVENT_DELETE ? ETCD_DELETE_EVENT : ETCD_PUT_EVENT, e->kv,
				d->prev_kv ? e->prev_kv : NULL,
			};

			pb_head(out, ETCD_WATCH_EVENTS_NUMBER, pb_size(&etcd_event_pb, &to));
			(void)pb_encode(out, &etcd_event_pb, &to);
		}
	}
}

static void watch_send_events(struct grpc_stream *s, int64_t id, int64_t revision, bool fragment, struct bytes events)
{
	struct kv_header header = gateway_header(s->g, revision);
	struct etcd_watch_response r = {.header = &header, .watch_id = id, .fragment = fragment};
	size_t mark = grpc_message_begin(s);

	(void)pb_encode(&s->h2.out, &etcd_watch_response_pb, &r);
	buf_add_bytes(&s->h2.out, events);
	grpc_message_end(s, mark);
	counter_inc(&s->g->counters.watch_notifications_total);
}

/* As many whole events as a fragment holds, at least one. */
static struct bytes watch_fragment(struct bytes events)
{
	struct cur c = cur_of(events);
	size_t n = 0;

	while (cur_left(&c) > 0) {
		uint64_t tag = cur_varint(&c), len = cur_varint(&c);

		(void)cur_take(&c, (size_t)len);
		CHECK(tag >> 3 == ETCD_WATCH_EVENTS_NUMBER && c.err == ERR_OK);
		if (n > 0 && (size_t)(c.pos - events.data) > LIMIT_WATCH_FRAGMENT_BYTES)
			break;
		n = (size_t)(c.pos - events.data);
	}
	return bytes_of(events.data, n);
}

/*
 * Fragments follow each other without anything in between: etcd's Go client puts together what comes, and loses
 * another watch's events that stand among them.
 */
static void watch_send_revision(struct grpc_stream *s, const struct gate_watch *w, int64_t revision, struct bytes events)
{
	while (events.len > 0) {
		struct bytes part = w->fragment ? watch_fragment(events) : events;

		events = bytes_of(events.data + part.len, events.len - part.len);
		watch_send_events(s, w->id, revision, events.len > 0, part);
	}
}

/* A revision is gathered until it is whole, unless it is larger than a connection may hold. */
static bool watch_gather(struct grpc_stream *s, struct gate_watch *w, struct bytes events)
{
	struct watch_stream *st = s->state;
	struct watch_whole *x = w->whole;
	size_t before, len;

	if (x == NULL) {
		x = w->whole = mem_alloc(sizeof *x);
		buf_init(&x->events, LIMIT_H2_IN_BYTES);
		list_push(&st->whole, &x->node);
	}
	before = x->events.cap;
	len = x->events.len;
	if (x->events.len + events.len <= LIMIT_H2_IN_BYTES / 2)
		buf_add_bytes(&x->events, events);
	else
		x->events.err = ERR_LIMIT;
	if (h2_count_in(&s->h2, before, x->events.cap) && x->events.err == ERR_OK)
		return true;
	x->events.len = len;                  /* these are sent by themselves */
	return false;
}

static void watch_events_of(struct grpc_stream *s, struct gate_watch *w, const struct watch_got *got,
			    struct bytes events)
{
	int64_t revision = got->events->revision;
	bool cut = got->delivery->next_sub != 0;
	struct watch_whole *x;

	if (cut && watch_gather(s, w, events))
		return;
	x = w->whole;
	if (x != NULL) {
		x->events.err = ERR_OK;
		if (x->events.len > 0 && cut)
			watch_send_revision(s, w, revision, buf_bytes(&x->events));
		if (!cut && x->events.len > 0) {
			size_t before = x->events.cap;

			buf_add_bytes(&x->events, events);
			(void)h2_count_in(&s->h2, before, x->events.cap);
			events = buf_bytes(&x->events);
		}
	}
	watch_send_revision(s, w, revision, events);
	watch_drop_whole(s, w);
}

/* Each watch of the stream is told in a message of its own: the sum is bounded only by this. */
static bool watch_overflows(const struct grpc_stream *s)
{
	const struct conn_set *set = h2_conn_of(&s->h2)->set;

	return set->out_bytes > set->max_out_bytes && h2_waiting(&s->h2) > LIMIT_CONN_OUT_HIGH;
}

static void watch_got_events(struct grpc_stream *s, const struct watch_got *got)
{
	struct buf events;

	buf_init(&events, 0);
	watch_put_events(&events, got);
	for (size_t i = 0; i < got->n && !s->settled; i++) {
		if (watch_overflows(s))
			grpc_error(s, ERR_TOO_MANY_REQUESTS);
		else
			watch_events_of(s, GATE_OF(got->subs[i]), got, buf_bytes(&events));
	}
	counter_add(&s->g->counters.watch_events_total, (int64_t)got->n);
	buf_free(&events);
	h2_want_little(&s->h2);
}

/* Who has not even taken the last ones is told no more of it: it says nothing that the next event would not. */
static void watch_got_progress(struct grpc_stream *s, const struct watch_got *got)
{
	for (size_t i = 0; i < got->n; i++) {
		struct gate_watch *w = GATE_OF(got->subs[i]);
		struct etcd_watch_response r = {.watch_id = w->id};

		if (w->asked != 0 && got->revision >= w->asked)
			watch_forget_asked(s, w);
		else if (w->sub.progress_notify && h2_room_for_little(&s->h2))
			watch_say(s, &r, got->revision);
	}
}

/* As etcd has it: of a compaction neither a revision nor words, and the id stays taken until it is cancelled. */
static void watch_got_canceled(struct grpc_stream *s, const struct watch_got *got)
{
	struct gate_watch *w = GATE_OF(got->subs[0]);
	struct etcd_watch_response r = {.watch_id = w->id, .canceled = true};

	watch_ended(s, w);
	if (got->error == ERR_COMPACTED) {
		watch_keep_id(s->caller.watches, w->id);
		r.compact_revision = got->revision;
	} else {
		r.cancel_reason = bytes_str(grpc_text(got->error));
	}
	watch_say(s, &r, got->error == ERR_COMPACTED ? 0 : watch_revision(s));
}

static void watch_got(struct grpc_stream *s, const struct watch_got *got)
{
	if (got->kind == WATCH_GOT_EVENTS)
		watch_got_events(s, got);
	else if (got->kind == WATCH_GOT_PROGRESS)
		watch_got_progress(s, got);
	else
		watch_got_canceled(s, got);
}

/* ---- the stream ---- */

static void watch_failed(struct grpc_stream *s, uint32_t id, int err)
{
	struct watch_stream *st = s->state;

	if (id == st->progress_id) {
		st->progress_id = 0;          /* as etcd: nothing; the client asks again */
		return;
	}
	CHECK(id == st->create_id);
	if (s->g->store.known) {
		watch_start_pending(s);
	} else {
		st->create_id = 0;
		buf_free(&st->create_bytes);
		watch_say_refused(s, err);
	}
	grpc_go_on(s);
}

static void watch_stream_gone(struct grpc_stream *s)
{
	struct watch_stream *st = s->state;
	struct list *l;

	while ((l = list_first(&st->whole)) != NULL)
		watch_free_whole(s, container_of(l, struct watch_whole, node));
	buf_free(&st->create_bytes);
	mem_free(st);
}

static const struct grpc_state watch_ops = {
	.error = watch_failed,
	.watch = watch_got,
	.gone = watch_stream_gone,
};
