/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that watch, and gatewayd's part of it (gatewayd/watch.c is played, over the real
 * watch_clnt). A client is slow at times, loses its connection, and goes on at another node from
 * the last place that it has read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_int.h"

static void wake_at(struct sim *s, struct sim_watcher *c, mono_t at)
{
	c->wake_at = at;
	sim_schedule(s, (struct sim_event){.kind = SIM_EV_WATCHER, .a = c->id, .at = at});
}

/* ---- what its gatewayd tells it ---- */

static void notes_drop(struct sim_watcher *c)
{
	for (size_t i = 0; i < c->n_notes; i++) {
		void *p;

		memcpy(&p, &c->notes[i].data.data, sizeof p);
		free(p);
	}
	c->n_notes = 0;
}

static void note_add(struct sim *s, struct sim_watcher *c, enum watch_got_kind kind, const struct msg_desc *d,
		     const void *msg)
{
	mono_t soon = sim_soon(s, SIM_CH_WATCH, 50, 2000);

	buf_clear(&s->frame);
	CHECK(msg_encode(&s->frame, d, msg) == ERR_OK);
	if (c->n_notes == c->cap_notes) {
		c->cap_notes = c->cap_notes ? 2 * c->cap_notes : 16;
		c->notes = mem_grow(c->notes, c->cap_notes, sizeof *c->notes);
	}
	c->notes[c->n_notes++] = (struct sim_note){kind, bytes_of(mem_dup(s->frame.data, s->frame.len), s->frame.len)};
	if (mono_before(soon, c->wake_at) && !mono_before(soon, c->slow_until))
		wake_at(s, c, soon);
}

static void note_events(struct sim *s, struct sim_watcher *c, const struct watch_got *got,
			struct native_watch_ref *refs)
{
	const struct watch_delivery *d = got->delivery;
	struct native_watch_events m = {.watches = {refs, got->n}, .revision = got->events->revision,
					.next_revision = d->next_rev, .next_sub = d->next_sub};
	uint64_t count = 0;

	for (size_t i = 0; i < d->runs.n; i++)
		count += d->runs.v[i].count;
	m.events.v = arena_array(&s->arena, count + 1, sizeof *m.events.v);
	CHECK(m.events.v != NULL);
	for (size_t i = 0; i < d->runs.n; i++) {
		for (uint64_t k = 0; k < d->runs.v[i].count; k++) {
			struct watch_event *e = &m.events.v[m.events.n++];

			*e = got->events->events.v[d->runs.v[i].first + k];
			if (!d->prev_kv)
				e->prev_kv = NULL;
		}
	}
	note_add(s, c, WATCH_GOT_EVENTS, &native_watch_events_desc, &m);
}

static void note_canceled(struct sim *s, struct sim_watcher *c, const struct watch_got *got, struct watch_pos head)
{
	struct sim_watch *w = container_of(got->subs[0], struct sim_watch, sub);
	struct native_watch_canceled m = {w->id, (uint64_t)got->error, bytes_str("compacted"), got->revision};
	struct watch_pos place = {w->sub.next_rev, w->sub.next_sub};

	if (w->sub.joined && watch_pos_cmp(place, head) < 0)
		place = head;
	sim_stream_canceled(s, c, w, place, got->revision, got->error);
	w->here = false;
	note_add(s, c, WATCH_GOT_CANCELED, &native_watch_canceled_desc, &m);
}

static void hand_out(struct sim *s, const struct watch_got *got, struct watch_pos head)
{
	struct sim_watcher *c = container_of(got->client, struct sim_watcher, client);
	/* Asked more than once, a watch may be named more than once. */
	struct native_watch_ref *refs = arena_array(&s->arena, got->n, sizeof *refs);
	struct native_watch_progress m = {{refs, got->n}, got->revision};

	CHECK(refs != NULL);
	for (size_t i = 0; i < got->n; i++) {
		const struct sim_watch *w = container_of(got->subs[i], struct sim_watch, sub);

		refs[i].watch_id = w->id;
		if (got->kind == WATCH_GOT_EVENTS && got->delivery->prev_kv != w->sub.prev_kv)
			sim_fail(s, "watch: watcher %u: pairs before the events, or none, against what it asked for", c->id);
	}
	if (got->kind == WATCH_GOT_EVENTS)
		note_events(s, c, got, refs);
	else if (got->kind == WATCH_GOT_PROGRESS)
		note_add(s, c, WATCH_GOT_PROGRESS, &native_watch_progress_desc, &m);
	else
		note_canceled(s, c, got, head);
}

void sim_gateway_watchd_msg(struct sim_node *n, const struct msg_in *in)
{
	struct watch_clnt *k = &n->gateway.watch;
	struct watch_pos head = {k->head_rev, k->head_sub};
	struct watch_got got;

	if (in->row->number == MSG_NO_watch_hail)
		return;
	if (watch_clnt_msg(k, in) != ERR_OK) {
		sim_fail(n->s, "node %llu: gatewayd calls a message of watchd malformed", (unsigned long long)n->id);
		return;
	}
	while (watch_clnt_next(k, &got))
		hand_out(n->s, &got, head);
}

/* ---- a watch begins ---- */

static void watch_register(struct sim_watcher *c, struct sim_watch *w)
{
	struct watch_clnt *k = &c->node->gateway.watch;

	w->sub = (struct watch_sub){.key = w->sub.key, .range_end = w->sub.range_end, .next_rev = w->next.rev,
				    .next_sub = w->next.sub, .prev_kv = w->sub.prev_kv, .no_put = w->sub.no_put,
				    .no_delete = w->sub.no_delete, .progress_notify = w->sub.progress_notify};
	watch_clnt_add(k, &c->client, &w->sub);
	w->here = true;
	if (w->asked > w->progress)
		watch_clnt_ask(k, &w->sub, w->asked);
}

static void watch_fence(struct sim *s, struct sim_watcher *c, struct sim_watch *w)
{
	w->fencing = true;
	w->indexed = false;
	w->floor = s->floor;
	w->fence.index = 0;
	w->fence.kind = SIM_READ_FENCE;
	raft_clnt_read(&c->node->gateway.clnt, &w->fence);
}

void sim_watch_indexed(struct raft_read *r)
{
	container_of(r, struct sim_watch, fence)->indexed = true;
}

/* Those that begin now, once the store has come as far as their question. */
void sim_gateway_fences(struct sim_node *n)
{
	for (struct sim_watcher *c = n->s->watchers; c < n->s->watchers + SIM_WATCHERS; c++) {
		for (struct sim_watch *w = c->w; c->node == n && w < c->w + SIM_CONN_WATCHES; w++) {
			int64_t revision = n->gateway.store.revision;

			if (!w->fencing || !w->indexed || n->gateway.store.applied < w->fence.index)
				continue;
			w->fencing = false;
			sim_stream_begin(n->s, w, revision + 1);
			if (revision < n->s->applied[w->floor].revision)
				sim_fail(n->s, "watch: watcher %u: \"now\" is %lld, before what was over when it asked",
					 c->id, (long long)revision);
			watch_register(c, w);
		}
	}
}

static void watch_choose(struct sim *s, struct sim_watcher *c, struct sim_watch *w)
{
	static const char *const ranges[][2] = {{"k", "n"}, {"k", "l"}, {"k2", "k6"}, {"m", "n"}};
	uint64_t dice = sim_rand(s, SIM_CH_WATCH, 8);

	*w = (struct sim_watch){.id = ++c->last_id};
	list_init(&w->fence.node);
	if (dice < ARRAY_LEN(ranges)) {
		(void)snprintf(w->key, sizeof w->key, "%s", ranges[dice][0]);
		(void)snprintf(w->end, sizeof w->end, "%s", ranges[dice][1]);
	} else {
		(void)snprintf(w->key, sizeof w->key, "k%u", (unsigned)sim_rand(s, SIM_CH_WATCH, 8));
	}
	w->sub.key = bytes_str(w->key);
	w->sub.range_end = bytes_str(w->end);
	w->sub.prev_kv = sim_chance(s, SIM_CH_WATCH, 400);
	w->sub.no_put = sim_chance(s, SIM_CH_WATCH, 100);
	w->sub.no_delete = sim_chance(s, SIM_CH_WATCH, 100);
	w->sub.progress_notify = sim_chance(s, SIM_CH_WATCH, 300);
}

/* In the past, now, or in the future. */
static void watch_start(struct sim *s, struct sim_watcher *c, struct sim_watch *w)
{
	uint64_t dice = sim_rand(s, SIM_CH_WATCH, 100);
	int64_t revision = s->model.revision, start = 1;

	if (!w->begun && dice < 40) {
		watch_fence(s, c, w);
		return;
	}
	if (!w->begun) {
		if (dice < 70)
			start = revision - (int64_t)sim_rand(s, SIM_CH_WATCH, 40);
		else if (dice < 85)
			start = revision + (int64_t)sim_rand(s, SIM_CH_WATCH, 30);
		sim_stream_begin(s, w, start > 1 ? start : 1);
	}
	watch_register(c, w);
}

static void watch_end(struct sim_watcher *c, struct sim_watch *w)
{
	if (w->fencing && list_linked(&w->fence.node))
		(void)raft_clnt_read_give_up(&c->node->gateway.clnt, &w->fence);
	w->fencing = false;
	if (w->here)
		watch_clnt_remove(&c->node->gateway.watch, &w->sub);
	w->here = false;
}

/* ---- a connection ---- */

static void disconnect(struct sim *s, struct sim_watcher *c)
{
	for (struct sim_watch *w = c->w; w < c->w + SIM_CONN_WATCHES; w++)
		watch_end(c, w);
	watch_clnt_close(&c->node->gateway.watch, &c->client);
	notes_drop(c);
	c->node = NULL;
	wake_at(s, c, sim_soon(s, SIM_CH_WATCH, 1000, 100000));
}

void sim_watchers_lost(struct sim_node *n)
{
	for (struct sim_watcher *c = n->s->watchers; c < n->s->watchers + SIM_WATCHERS; c++)
		if (c->node == n)
			disconnect(n->s, c);
}

static void connect_to(struct sim *s, struct sim_watcher *c, struct sim_node *n)
{
	c->node = n;
	c->slow_until = s->now;
	watch_clnt_open(&n->gateway.watch, &c->client);
	for (struct sim_watch *w = c->w; w < c->w + SIM_CONN_WATCHES; w++) {
		if (w->id == 0)
			watch_choose(s, c, w);
		watch_start(s, c, w);
	}
}

/* ---- reading ---- */

static struct sim_watch *watch_find(struct sim_watcher *c, int64_t id)
{
	for (struct sim_watch *w = c->w; w < c->w + SIM_CONN_WATCHES; w++)
		if (w->id == id)
			return w;
	return NULL;
}

/* What was compacted is given up: it goes on with what there is. */
static void read_canceled(struct sim *s, struct sim_watcher *c, const struct native_watch_canceled *m)
{
	struct sim_watch *w = watch_find(c, m->watch_id);

	if (w == NULL)
		return;
	w->id = ++c->last_id;
	sim_stream_begin(s, w, m->compact_revision);
	watch_register(c, w);
}

static void read_note(struct sim *s, struct sim_watcher *c, const struct sim_note *note)
{
	static const struct msg_desc *const descs[] = {
		[WATCH_GOT_EVENTS] = &native_watch_events_desc, [WATCH_GOT_PROGRESS] = &native_watch_progress_desc,
		[WATCH_GOT_CANCELED] = &native_watch_canceled_desc};
	union {
		struct native_watch_events events;
		struct native_watch_progress progress;
		struct native_watch_canceled canceled;
	} m;
	struct wire in = wire_of(note->data, WIRE_STRICT);
	struct sim_watch *w;

	arena_reset(&s->arena);
	CHECK(msg_decode(&in, descs[note->kind], &s->arena, &m) == ERR_OK);
	if (note->kind == WATCH_GOT_CANCELED)
		read_canceled(s, c, &m.canceled);
	for (size_t i = 0; note->kind == WATCH_GOT_EVENTS && i < m.events.watches.n; i++)
		if ((w = watch_find(c, m.events.watches.v[i].watch_id)) != NULL)
			sim_stream_events(s, c, w, &m.events);
	for (size_t i = 0; note->kind == WATCH_GOT_PROGRESS && i < m.progress.watches.n; i++)
		if ((w = watch_find(c, m.progress.watches.v[i].watch_id)) != NULL)
			sim_stream_progress(s, c, w, m.progress.revision);
}

static void read_notes(struct sim *s, struct sim_watcher *c)
{
	for (size_t i = 0; i < c->n_notes && sim_ok(s); i++)
		read_note(s, c, &c->notes[i]);
	notes_drop(c);
	watch_clnt_give(&c->node->gateway.watch, &c->client, c->client.untaken);
}

/* ---- what it does next ---- */

static void ask_progress(struct sim_watcher *c, struct sim_watch *w)
{
	w->asked = c->node->gateway.store.revision;
	if (w->here)
		watch_clnt_ask(&c->node->gateway.watch, &w->sub, w->asked);
}

static void act(struct sim *s, struct sim_watcher *c)
{
	struct sim_watch *w = &c->w[sim_rand(s, SIM_CH_WATCH, SIM_CONN_WATCHES)];
	uint64_t dice = sim_rand(s, SIM_CH_WATCH, 1000);

	if (dice < 40) {
		sim_trace(s, c->node, "watcher %u loses its connection", c->id);
		disconnect(s, c);
	} else if (dice < 80) {
		c->slow_until = mono_add_ms(s->now, 200 + (int64_t)sim_rand(s, SIM_CH_WATCH, 1500));
		wake_at(s, c, c->slow_until);
	} else if (dice < 120) {
		watch_end(c, w);
		watch_choose(s, c, w);
		watch_start(s, c, w);
	} else if (dice < 200) {
		ask_progress(c, w);
	}
}

static struct sim_node *some_gateway(struct sim *s)
{
	struct sim_node *n = &s->nodes[sim_rand(s, SIM_CH_WATCH, s->o.nodes) + 1];

	return n->gateway.up ? n : NULL;
}

void sim_watcher_wake(struct sim_watcher *c)
{
	struct sim *s = container_of(c - c->id, struct sim, watchers[0]);
	struct sim_node *n;

	if (s->now.ns != c->wake_at.ns)
		return;                  /* it was woken earlier */
	wake_at(s, c, sim_soon(s, SIM_CH_WATCH, 50000, 400000));
	n = c->node != NULL ? c->node : some_gateway(s);
	if (n == NULL)
		return;
	if (c->node == NULL)
		connect_to(s, c, n);
	else
		read_notes(s, c);
	for (struct sim_watch *w = c->w; s->stop_clients && c->node != NULL && w < c->w + SIM_CONN_WATCHES; w++)
		ask_progress(c, w);
	if (!s->calm && c->node != NULL && sim_ok(s))
		act(s, c);
	sim_gateway_flush(n);
}

/* Everybody has read all that is its, and knows that it has. */
bool sim_watchers_done(struct sim *s)
{
	for (struct sim_watcher *c = s->watchers; c < s->watchers + SIM_WATCHERS; c++)
		for (struct sim_watch *w = c->w; w < c->w + SIM_CONN_WATCHES; w++)
			if (!w->begun || w->cut || sim_stream_next(s, w) != NULL ||
			    (w->start <= s->model.revision && w->progress < s->model.revision))
				return false;
	return true;
}

void sim_watchers_open(struct sim *s)
{
	static const size_t rows[] = {1, 1, 2, 3, 8, 0}, bytes[] = {400, 1000, 3000, 20000, 0};

	s->watch_rows = rows[sim_rand(s, SIM_CH_WATCH, ARRAY_LEN(rows))];
	s->watch_bytes = bytes[sim_rand(s, SIM_CH_WATCH, ARRAY_LEN(bytes))];
	for (uint32_t i = 0; i < SIM_WATCHERS; i++) {
		s->watchers[i].id = i;
		wake_at(s, &s->watchers[i], sim_soon(s, SIM_CH_WATCH, 100000, 900000));
	}
}

void sim_watchers_free(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_WATCHERS; i++) {
		notes_drop(&s->watchers[i]);
		free(s->watchers[i].notes);
	}
	free(s->history);
}
