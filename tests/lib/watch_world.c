/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/watch_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/tap.h"

static void world_fault(struct watch_world *w, const char *what)
{
	if (w->fault == NULL)
		w->fault = what;
}

static unsigned world_rand(struct watch_world *w, unsigned n)
{
	return (unsigned)(tap_rand(&w->seed) % n);
}

static void key_name(char out[8], unsigned key)
{
	(void)snprintf(out, 8, "k%02u", key);
}

/* ---- the link ---- */

static int send_to_watchd(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct watch_world *w = arg;
	const struct watch_creates *m = msg;

	if (!w->up)
		return ERR_CLOSED;
	for (size_t i = 0; number == MSG_NO_watch_creates && i < m->creates.n; i++)
		if (w->n_restarts > 0)
			m->creates.v[i].next_rev += w->plant_next;
	net_send(&w->to_watchd, w->now, number, d, msg);
	return ERR_OK;
}

static int send_to_gateway(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct watch_world *w = arg;

	if (number == MSG_NO_watch_events && w->plant_lose > 0 && world_rand(w, (unsigned)w->plant_lose) == 0)
		return ERR_OK;
	net_send(&w->to_gateway, w->now, number, d, msg);
	return ERR_OK;
}

static void watchd_new(struct watch_world *w)
{
	struct watch_setup setup = {.seed = tap_rand(&w->seed), .interval_ms = 1000, .max_watches = WORLD_WATCHES};

	w->core = watch_core_new(&setup);
	w->serve = serve_new(w->core);
}

static void watchd_free(struct watch_world *w)
{
	serve_free(&w->serve);
	watch_core_free(&w->core);
}

void watch_world_up(struct watch_world *w)
{
	struct clnt_io io = {send_to_gateway, w};

	CHECK(!w->up);
	if (w->core == NULL)
		watchd_new(w);
	w->up = true;
	serve_open(w->serve, &w->peer, &io);
	watch_clnt_up(&w->clnt);
}

void watch_world_down(struct watch_world *w, bool watchd)
{
	if (w->up) {
		serve_close(w->serve, &w->peer);
		watch_clnt_down(&w->clnt);
		net_cut(&w->to_watchd);
		net_cut(&w->to_gateway);
		w->up = false;
		w->n_restarts++;
	}
	if (watchd && w->core != NULL)
		watchd_free(w);
}

struct watch_world *watch_world_new(uint64_t seed)
{
	struct watch_world *w = calloc(1, sizeof *w);
	struct clnt_io io = {send_to_watchd, w};

	OK(w != NULL);
	w->seed = seed;
	w->compact = -1;
	w->now = (mono_t){1000000000};
	small_store_open(&w->store);
	net_init(&w->to_watchd, &link_watch, &w->seed);
	net_init(&w->to_gateway, &link_watch, &w->seed);
	w->to_watchd.ordered = w->to_gateway.ordered = true;
	watch_clnt_init(&w->clnt, &io);
	for (size_t i = 0; i < WORLD_CLIENTS; i++)
		watch_clnt_open(&w->clnt, &w->clients[i]);
	return w;
}

void watch_world_free(struct watch_world *w)
{
	for (size_t i = 0; i < WORLD_WATCHES; i++)
		if (w->watches[i].used && !w->watches[i].ended)
			watch_world_cancel(w, &w->watches[i]);
	for (size_t i = 0; i < WORLD_CLIENTS; i++)
		watch_clnt_close(&w->clnt, &w->clients[i]);
	watch_world_down(w, true);
	watch_clnt_free(&w->clnt);
	net_free(&w->to_watchd);
	net_free(&w->to_gateway);
	small_store_close(&w->store);
	free(w);
}

/* ---- watches ---- */

struct model_watch *watch_world_watch(struct watch_world *w, unsigned client, const char *key,
				      const char *end, int64_t start)
{
	struct model_watch *m = w->watches;

	while (m < w->watches + WORLD_WATCHES && m->used && !m->ended)
		m++;
	if (m == w->watches + WORLD_WATCHES)
		return NULL;
	*m = (struct model_watch){.used = true, .start = start};
	(void)snprintf(m->key, sizeof m->key, "%s", key);
	(void)snprintf(m->end, sizeof m->end, "%s", end);
	m->sub.key = bytes_str(m->key);
	m->sub.range_end = strcmp(end, "0") == 0 ? bytes_of("", 1) : bytes_str(m->end);
	m->sub.next_rev = start;
	watch_clnt_add(&w->clnt, &w->clients[client], &m->sub);
	return m;
}

void watch_world_cancel(struct watch_world *w, struct model_watch *m)
{
	m->ended = true;
	watch_clnt_remove(&w->clnt, &m->sub);
}

void watch_world_ask(struct watch_world *w, struct model_watch *m)
{
	m->asked = small_store_revision(&w->store);
	watch_clnt_ask(&w->clnt, &m->sub, m->asked);
}

static bool model_wants(const struct model_watch *m, const struct model_event *e)
{
	char key[8];

	key_name(key, e->key);
	if (e->rev < m->start)
		return false;
	if (e->type == WATCH_EVENT_PUT ? m->sub.no_put : m->sub.no_delete)
		return false;
	if (m->sub.range_end.len == 0)
		return strcmp(key, m->key) == 0;
	return strcmp(key, m->key) >= 0 && (m->end[0] == '0' || strcmp(key, m->end) < 0);
}

static const struct model_event *model_next(const struct watch_world *w, struct model_watch *m)
{
	while (m->at < w->n_events && !model_wants(m, &w->events[m->at]))
		m->at++;
	return m->at < w->n_events ? &w->events[m->at] : NULL;
}

static bool same_text(struct bytes got, const char *want)
{
	return bytes_eq(got, bytes_str(want));
}

static void check_event(struct watch_world *w, struct model_watch *m, const struct watch_event *got, bool prev)
{
	const struct model_event *want = model_next(w, m);
	char key[8];

	if (want == NULL) {
		world_fault(w, "an event that did not happen, or came twice");
		return;
	}
	key_name(key, want->key);
	if (got->type != want->type || got->kv->mod_revision != want->rev || !same_text(got->kv->key, key))
		world_fault(w, "not the event that is next");
	else if (want->type == WATCH_EVENT_PUT && !same_text(got->kv->value, want->value))
		world_fault(w, "another value");
	if (prev && got->prev_kv != NULL && (!want->has_prev || !same_text(got->prev_kv->value, want->prev)))
		world_fault(w, "another value before");
	if (prev && got->prev_kv == NULL && want->has_prev && want->rev - 1 >= w->compact)
		world_fault(w, "the value before is missing");
	m->at++;
	m->got++;
	w->n_delivered++;
}

static void check_delivery(struct watch_world *w, struct model_watch *m, const struct watch_got *g)
{
	const struct watch_delivery *d = g->delivery;
	const struct model_event *next;

	if (m->sub.prev_kv != d->prev_kv)
		world_fault(w, "the pair before the event was not asked for, or was");
	for (size_t i = 0; i < d->runs.n; i++)
		for (uint64_t k = 0; k < d->runs.v[i].count; k++)
			check_event(w, m, &g->events->events.v[d->runs.v[i].first + k], d->prev_kv);
	if (d->runs.n == 0 && !m->cut)
		world_fault(w, "an empty delivery");
	m->cut = d->next_sub != 0;
	next = model_next(w, m);
	if (next != NULL && (next->rev < d->next_rev || (next->rev == d->next_rev && next->sub < d->next_sub)))
		world_fault(w, "events before its place were left out");
}

static void check_progress(struct watch_world *w, struct model_watch *m, int64_t revision)
{
	const struct model_event *next = model_next(w, m);

	if (next != NULL && next->rev <= revision)
		world_fault(w, "progress is ahead of an event");
	if (revision < m->progress)
		world_fault(w, "progress goes back");
	if (revision < m->start - 1)
		world_fault(w, "progress before the start");
	m->progress = revision;
	w->n_progress++;
}

static void check_canceled(struct watch_world *w, struct model_watch *m, const struct watch_got *g)
{
	int64_t place = m->sub.next_rev;

	if (m->sub.joined && place < w->head_before)
		place = w->head_before;
	m->ended = true;
	w->n_canceled++;
	if (g->error != ERR_COMPACTED || g->revision <= 0 || g->revision > w->compact)
		world_fault(w, "ended for another reason than compaction");
	else if (place >= g->revision)
		world_fault(w, "ended though its next event is still there");
}

static void world_hand_out(struct watch_world *w)
{
	struct watch_got g;

	while (watch_clnt_next(&w->clnt, &g)) {
		for (size_t i = 0; i < g.n; i++) {
			struct model_watch *m = container_of(g.subs[i], struct model_watch, sub);

			if (g.kind == WATCH_GOT_EVENTS)
				check_delivery(w, m, &g);
			else if (g.kind == WATCH_GOT_PROGRESS)
				check_progress(w, m, g.revision);
			else
				check_canceled(w, m, &g);
		}
		if (g.client->untaken > w->most_untaken)
			w->most_untaken = g.client->untaken;
	}
}

/* ---- turns ---- */

static bool world_arrive(struct watch_world *w)
{
	struct msg_in in;
	bool any = false;

	while (w->up && net_next(&w->to_watchd, w->now, &in)) {
		EQ_INT(serve_msg(w->serve, &w->peer, &in, w->now), ERR_OK);
		serve_effects(w->serve);
		any = true;
	}
	while (w->up && net_next(&w->to_gateway, w->now, &in)) {
		w->head_before = w->clnt.head_rev;
		EQ_INT(watch_clnt_msg(&w->clnt, &in), ERR_OK);
		world_hand_out(w);
		any = true;
	}
	return any;
}

static bool world_read(struct watch_world *w)
{
	struct mvcc_view *view;
	int rc;

	if (w->core == NULL)
		return false;
	watch_core_tick(w->core, w->now);
	rc = history_read(w->core, w->store.env, w->now, &w->counts, &view);
	if (rc == ERR_OK) {
		serve_slice(w->serve);
		history_close(w->core, &view);
	}
	serve_effects(w->serve);
	OK(rc == ERR_OK || rc == ERR_NOT_FOUND);
	return rc == ERR_OK;
}

static bool world_take(struct watch_world *w)
{
	bool any = false;

	for (size_t i = 0; i < WORLD_CLIENTS; i++) {
		struct watch_client *client = &w->clients[i];

		if (w->stopped[i] || client->untaken == 0)
			continue;
		watch_clnt_give(&w->clnt, client, client->untaken);
		any = true;
	}
	(void)watch_clnt_flush(&w->clnt);
	return any;
}

void watch_world_turn(struct watch_world *w, unsigned slices)
{
	w->now = mono_add_ms(w->now, 1);
	(void)world_arrive(w);
	for (unsigned i = 0; i < slices; i++)
		(void)world_read(w);
	if (w->core != NULL && w->now.ns / 1000000 % 8 == 0)
		serve_heads(w->serve);
	(void)world_take(w);
}

void watch_world_settle(struct watch_world *w)
{
	bool any = true;

	for (int quiet = 0; quiet < 100; quiet = any ? 0 : quiet + 1) {
		w->now = mono_add_ms(w->now, 1);
		any = world_arrive(w);
		any = world_read(w) || any;
		any = world_take(w) || any;
		any = any || w->to_watchd.n > w->to_watchd.head || w->to_gateway.n > w->to_gateway.head;
		if (w->fault != NULL)
			return;
	}
}

void watch_world_check(struct watch_world *w)
{
	for (size_t i = 0; i < WORLD_WATCHES; i++) {
		struct model_watch *m = &w->watches[i];

		if (!m->used || m->ended)
			continue;
		if (model_next(w, m) != NULL)
			world_fault(w, "an event is missing");
		if (m->cut)
			world_fault(w, "the end of a revision is missing");
		if (m->asked > 0 && m->start <= small_store_revision(&w->store) && m->progress < m->asked)
			world_fault(w, "progress was asked for and not told");
	}
}

/* ---- changes ---- */

static struct model_event *model_add(struct watch_world *w, int64_t rev, uint32_t sub, unsigned key,
				     enum watch_event_type type)
{
	struct model_event *e = &w->events[w->n_events++];

	CHECK(w->n_events <= WORLD_EVENTS);
	*e = (struct model_event){.rev = rev, .sub = sub, .type = type, .key = key, .has_prev = w->live[key]};
	if (e->has_prev)
		memcpy(e->prev, w->values[key], WORLD_VALUE);
	w->live[key] = type == WATCH_EVENT_PUT;
	return e;
}

static void model_put(struct watch_world *w, int64_t rev, uint32_t sub, unsigned key, const char *value)
{
	struct model_event *e = model_add(w, rev, sub, key, WATCH_EVENT_PUT);

	(void)snprintf(e->value, WORLD_VALUE, "%s", value);
	(void)snprintf(w->values[key], WORLD_VALUE, "%s", value);
}

void watch_world_put(struct watch_world *w, unsigned key, const char *value)
{
	char name[8];

	key_name(name, key);
	small_store_put(&w->store, name, value);
	model_put(w, small_store_revision(&w->store), 0, key, value);
}

void watch_world_delete(struct watch_world *w, unsigned from, unsigned to)
{
	int64_t rev = small_store_revision(&w->store) + 1;
	char name[8], end[8];
	uint32_t sub = 0;

	key_name(name, from);
	key_name(end, to);
	small_store_delete(&w->store, name, end);
	for (unsigned k = from; k < to; k++)
		if (w->live[k])
			(void)model_add(w, rev, sub++, k, WATCH_EVENT_DELETE);
	EQ_INT(small_store_revision(&w->store), sub > 0 ? rev : rev - 1);
}

static void world_txn(struct watch_world *w)
{
	unsigned from = world_rand(w, WORLD_KEYS - 4), n = 2 + world_rand(w, 3);
	int64_t rev = small_store_revision(&w->store) + 1;
	char names[4][8], value[WORLD_VALUE];
	struct kv_put puts[4] = {0};
	struct kv_op ops[4] = {0};
	struct kv_txn txn = {.success = {ops, n}};

	(void)snprintf(value, sizeof value, "txn %lld", (long long)rev);
	for (unsigned i = 0; i < n; i++) {
		key_name(names[i], from + i);
		puts[i].key = bytes_str(names[i]);
		puts[i].value = bytes_str(value);
		ops[i].put = &puts[i];
		model_put(w, rev, i, from + i, value);
	}
	(void)small_store_do(&w->store, &(struct command){.txn = &txn});
	EQ_INT(w->store.last.error, ERR_OK);
}

void watch_world_change(struct watch_world *w)
{
	unsigned what = world_rand(w, 10), from = world_rand(w, WORLD_KEYS);
	char value[WORLD_VALUE];

	if (what < 6) {
		(void)snprintf(value, sizeof value, "%llx", (unsigned long long)tap_rand(&w->seed));
		watch_world_put(w, from, value);
	} else if (what < 8) {
		watch_world_delete(w, from, from + 1 + world_rand(w, WORLD_KEYS - from));
	} else {
		world_txn(w);
	}
}

void watch_world_compact(struct watch_world *w, int64_t revision)
{
	if (revision <= w->compact || revision > small_store_revision(&w->store))
		return;
	small_store_compact(&w->store, revision);
	w->compact = revision;
}
