/* SPDX-License-Identifier: Apache-2.0 */
/* watch, watch_cancel, watch_progress of the native protocol, and its notifications. */
#include "gatewayd/native.h"

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "gatewayd/read_own.h"
#include "gatewayd/watch.h"

/* ---- methods ---- */

/* The answer is written before anything can come for it: events are handed out in later turns. */
static void watch_create(struct gateway *g, struct caller *k, uint32_t id, const struct native_watch *p)
{
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct native_watch_result r = {&header, watch_begin(g, watch_table(g, k, 1), p)->id};

	caller_result(k, id, &native_watch_result_desc, &r, ERR_RESULT_LOST);
}

static void watch_from_now(struct gateway *g, struct read *rd)
{
	struct caller *k = rd->r.caller;
	int err = watch_admit(g, k, &rd->watch);

	if (err != ERR_OK) {
		read_fail(g, rd, err);
		return;
	}
	watch_create(g, k, rd->r.id, &rd->watch);
	read_end(g, rd);
	request_forget(g, &rd->r);
}

void watch_create_method(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct native_watch *p = params;
	struct read *rd;
	int err = p->watch_id < 0 ? ERR_BAD_ARGUMENT : watch_check(p);

	if (err == ERR_OK)
		err = watch_admit(g, k, p);
	if (err != ERR_OK) {
		caller_error(k, rpc->id, err);
		return;
	}
	if (p->start_revision > 0) {
		watch_create(g, k, rpc->id, p);
		return;
	}
	rd = read_fence(g, k, rpc, watch_from_now);
	if (rd == NULL)
		return;
	rd->watch = *p;
	rd->watch.key = read_move(rd, rpc, p->key);
	rd->watch.range_end = read_move(rd, rpc, p->range_end);
}

void watch_cancel_method(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct native_watch_ref *p = params;
	struct gate_watch *w = watch_find(k, p->watch_id);
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct native_watch_header r = {&header};

	if (w == NULL) {
		caller_error(k, rpc->id, ERR_WATCH_NOT_FOUND);
		return;
	}
	watch_end(g, w, k);
	caller_result(k, rpc->id, &native_watch_header_desc, &r, ERR_RESULT_LOST);
}

/* The answer names the revision; who has got that far says so by notification. */
static void watch_ask_progress(struct gateway *g, struct read *rd)
{
	struct caller *k = rd->r.caller;
	struct gate_watch *one = watch_find(k, rd->watch.watch_id);
	int64_t revision = g->store.progress.revision;
	struct kv_header header = gateway_header(g, revision);
	struct native_watch_header r = {&header};

	if (rd->watch.watch_id != 0 && one == NULL) {
		read_fail(g, rd, ERR_WATCH_NOT_FOUND);
		return;
	}
	watch_ask(g, k, one, revision);
	read_end(g, rd);
	request_result(g, &rd->r, &native_watch_header_desc, &r);
}

void watch_progress_method(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct native_watch_ref *p = params;
	struct read *rd;

	if (p->watch_id != 0 && watch_find(k, p->watch_id) == NULL) {
		caller_error(k, rpc->id, ERR_WATCH_NOT_FOUND);
		return;
	}
	rd = read_fence(g, k, rpc, watch_ask_progress);
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

static void notify_events(struct gateway *g, struct conn *c, const struct watch_got *got)
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

	watch_notify(g, c, "watch_events", &native_watch_events_desc, &m);
	counter_add(&g->counters.watch_events_total, (int64_t)(m.watches.n * m.events.n));
	conn_want_room(c);
}

static void notify_progress(struct gateway *g, struct conn *c, const struct watch_got *got)
{
	static struct native_watch_ref refs[LIMIT_WATCH_REFS];
	struct native_watch_progress m = {{refs, got_refs(got, refs)}, got->revision};

	watch_notify(g, c, "watch_progress", &native_watch_progress_desc, &m);
}

static void notify_canceled(struct gateway *g, struct conn *c, const struct watch_got *got)
{
	struct gate_watch *w = GATE_OF(got->subs[0]);
	struct native_watch_canceled m = {w->id, (uint64_t)got->error, bytes_str(err_text(got->error)),
					  got->revision};

	watch_notify(g, c, "watch_canceled", &native_watch_canceled_desc, &m);
}

void native_watch_got(struct gateway *g, struct caller *k, const struct watch_got *got)
{
	struct conn *c = container_of(k, struct conn, caller);

	if (got->kind == WATCH_GOT_EVENTS)
		notify_events(g, c, got);
	else if (got->kind == WATCH_GOT_PROGRESS)
		notify_progress(g, c, got);
	else
		notify_canceled(g, c, got);
}
