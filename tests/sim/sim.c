/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, events, chance, and one run from its seed to its verdict. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "tests/lib/tap.h"
#include "tests/sim/sim_int.h"

/* A CHECK that fires is a find: the first two take the place of libbase's, which end the process. */
static struct sim *sim_running;

_Noreturn void panic_at(const char *file, int line, const char *what)
{
	if (sim_running == NULL) {
		fprintf(stderr, "panic at %s:%d: %s\n", file, line, what);
		abort();
	}
	sim_fail(sim_running, "a CHECK fired at %s:%d: %s", file, line, what);
	longjmp(sim_running->panicked, 1);
}

_Noreturn void fatal(const char *hint, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	(void)hint;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	panic_at("fatal", 0, text);
}

/* The daemons' own log lines would carry the time of day. */
void log_write(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (sim_running == NULL || sim_running->o.trace == NULL)
		return;
	fprintf(sim_running->o.trace, "             . %s", level <= LOG_WARN ? "warning: " : "");
	va_start(ap, fmt);
	(void)vfprintf(sim_running->o.trace, fmt, ap);
	va_end(ap);
	fputc('\n', sim_running->o.trace);
}

/* ---- chance ---- */

uint64_t sim_rand(struct sim *s, enum sim_chance stream, uint64_t below)
{
	uint64_t v = tap_rand(&s->rng[stream]);

	return below ? v % below : v;
}

bool sim_chance(struct sim *s, enum sim_chance stream, uint32_t permille)
{
	return permille != 0 && sim_rand(s, stream, 1000) < permille;
}

mono_t sim_soon(struct sim *s, enum sim_chance stream, uint32_t min_us, uint32_t max_us)
{
	return mono_add_us(s->now, (int64_t)(min_us + sim_rand(s, stream, max_us - min_us + 1)));
}

void sim_mix(struct sim *s, uint64_t v)
{
	s->hash = (s->hash ^ v) * 0x9e3779b97f4a7c15u;
	s->hash ^= s->hash >> 29;
}

/* ---- words ---- */

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (s->out->failed)
		return;
	s->out->failed = true;
	n = snprintf(s->out->what, sizeof s->out->what, "at %lld us: ", (long long)(s->now.ns / 1000));
	va_start(ap, fmt);
	(void)vsnprintf(s->out->what + n, sizeof s->out->what - (size_t)n, fmt, ap);
	va_end(ap);
	sim_trace(s, NULL, "FAILURE %s", s->out->what);
}

void sim_trace(struct sim *s, const struct sim_node *n, const char *fmt, ...)
{
	va_list ap;

	if (s->o.trace == NULL)
		return;
	fprintf(s->o.trace, "%12.3f %c ", (double)s->now.ns / 1e6, n ? (char)('0' + n->id) : '-');
	va_start(ap, fmt);
	(void)vfprintf(s->o.trace, fmt, ap);
	va_end(ap);
	fputc('\n', s->o.trace);
}

/* ---- clocks ---- */

mono_t sim_clock(const struct sim_node *n)
{
	int64_t gone = n->s->now.ns - n->clock_at.ns;

	return (mono_t){n->clock_base.ns + gone + gone / 1000000 * n->rate_ppm +
			gone % 1000000 * n->rate_ppm / 1000000};
}

/* Rounded up: at that moment its clock says at least `local`. */
mono_t sim_when(const struct sim_node *n, mono_t local)
{
	int64_t left = local.ns - sim_clock(n).ns;

	if (local.ns == INT64_MAX)
		return local;
	if (left <= 0)
		return n->s->now;
	return mono_add_ns(n->s->now, left + left / (1000000 + n->rate_ppm) * -n->rate_ppm + 2000);
}

/* Whoever waits for it looks at it anew. */
void sim_clock_rate(struct sim_node *n, int64_t ppm)
{
	n->clock_base = sim_clock(n);
	n->clock_at = n->s->now;
	n->rate_ppm = ppm;
	n->raftd.due = n->gateway.due = n->watchd.due = n->leased.due = n->s->now;
	sim_rates_changed(n->s);
}

/* ---- the event heap ---- */

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
	if (a->at.ns != b->at.ns)
		return a->at.ns < b->at.ns;
	return a->rank != b->rank ? a->rank < b->rank : a->order < b->order;
}

static void event_insert(struct sim *s, struct sim_event ev)
{
	size_t i = s->n_events++;

	if (s->n_events > s->cap_events) {
		s->cap_events = s->cap_events ? s->cap_events * 2 : 256;
		s->events = mem_grow(s->events, s->cap_events, sizeof *s->events);
	}
	for (; i > 0 && event_before(&ev, &s->events[(i - 1) / 2]); i = (i - 1) / 2)
		s->events[i] = s->events[(i - 1) / 2];
	s->events[i] = ev;
}

void sim_schedule(struct sim *s, struct sim_event ev)
{
	ev.order = ++s->order;
	event_insert(s, ev);
}

static struct sim_event event_take(struct sim *s)
{
	struct sim_event top = s->events[0], last = s->events[--s->n_events];
	size_t i = 0, n = s->n_events;

	while (2 * i + 1 < n) {
		size_t child = 2 * i + 1;

		if (child + 1 < n && event_before(&s->events[child + 1], &s->events[child]))
			child++;
		if (!event_before(&s->events[child], &last))
			break;
		s->events[i] = s->events[child];
		i = child;
	}
	s->events[i] = last;
	return top;
}

static void bytes_drop(struct bytes *b)
{
	void *p;

	memcpy(&p, &b->data, sizeof p);
	free(p);
	*b = (struct bytes){0};
}

/* ---- what happens ---- */

/* The connection to a peer is another one now, or (a fault) there is none for a while. */
static void connection_edge(struct sim_node *n, uint64_t peer, bool back)
{
	(void)sim_step(n, (struct raft_event){.type = RAFT_EV_PEER_DOWN, .peer = peer});
	if (back && n->raftd.r != NULL && sim_is_up(&n->s->nodes[peer], SIM_RAFTD))
		(void)sim_step(n, (struct raft_event){.type = RAFT_EV_PEER_UP, .peer = peer});
}

/* It may get lost; the raftd that sends it goes on either way. */
static void snapshot_send(struct sim_node *n, const struct sim_event *ev)
{
	struct sim *s = n->s;

	if (n->snap.rows.data != NULL) {
		struct sim_event data = {.kind = SIM_EV_SNAP_DATA, .node = (uint8_t)ev->a,
			.daemon = SIM_STORED, .a = n->snap.index, .b = n->snap.term,
			.at = sim_soon(s, SIM_CH_NET, 1000, 30000),
			.data = bytes_of(mem_dup(n->snap.rows.data, n->snap.rows.len), n->snap.rows.len)};

		if (s->cut[n->id][ev->a] || sim_chance(s, SIM_CH_NET, s->loss ? s->loss_permille : 0))
			bytes_drop(&data.data);
		else
			sim_schedule(s, data);
	}
	sim_schedule(s, (struct sim_event){.kind = SIM_EV_SNAP_DONE, .node = ev->node,
		.daemon = SIM_RAFTD, .a = ev->a, .b = ev->b, .at = sim_soon(s, SIM_CH_NET, 1000, 60000)});
}

static void node_event(struct sim *s, struct sim_event *ev)
{
	struct sim_node *n = &s->nodes[ev->node];
	bool raftd = n->raftd.r != NULL, mine = n->raftd.incarnation == ev->b;

	switch (ev->kind) {
	case SIM_EV_PEER_FRAME:
		if (raftd)
			sim_peer_frame(n, ev->a, ev->data);
		break;
	case SIM_EV_PEER_LINK:
		if (raftd && mine)
			connection_edge(n, ev->a, ev->c);
		break;
	case SIM_EV_LOCAL_FRAME:
		if (n->link_up[ev->a] && n->link_epoch[ev->a] == ev->b)
			sim_local_frame(n, (enum sim_link)ev->a, (enum sim_daemon)ev->c, ev->data);
		break;
	case SIM_EV_LOCAL_UP:
		if (!n->link_up[ev->a] && n->link_epoch[ev->a] == ev->b)
			sim_local_up(n, (enum sim_link)ev->a);
		break;
	case SIM_EV_SYNC:
		if (raftd && mine)
			sim_raftd_sync(n);
		break;
	case SIM_EV_DURABLE:
		if (raftd && mine)
			sim_raftd_durable(n, ev->a, ev->c, get_u64(ev->data.data));
		break;
	case SIM_EV_START:
		sim_start(n, (enum sim_daemon)ev->a);
		break;
	case SIM_EV_COMPACT:
		sim_stored_compact(n);
		break;
	case SIM_EV_LEASE_LIST:
		sim_stored_list(n, ev->b);
		break;
	case SIM_EV_SNAP_MAKE:
		sim_snap_make(n, ev->a);
		break;
	case SIM_EV_SNAP_DATA:
		sim_snap_install(n, ev->a, ev->b, ev->data);
		break;
	case SIM_EV_SNAP_DONE:
		if (raftd && mine)
			(void)sim_step(n, (struct raft_event){.type = RAFT_EV_SNAPSHOT_DONE, .peer = ev->a});
		break;
	case SIM_EV_SNAP_SEND:
		if (raftd && mine)
			snapshot_send(n, ev);
		break;
	case SIM_EV_FAULT:
	case SIM_EV_FAULT_END:
	case SIM_EV_CLIENT:
	case SIM_EV_NOTHING:
	case SIM_EV_WATCHER:
	case SIM_EV_TRANSFER:
		break;
	}
}

/*
 * What comes for a daemon that is stopped waits until it goes on. Then it reads one connection after
 * the other: of each in the order in which it came, but which one comes first is chance.
 */
static void hold_up(struct sim *s, struct sim_event *ev, mono_t until)
{
	uint64_t source = (uint64_t)until.ns ^ (uint64_t)ev->kind << 48 ^ ev->a << 40 ^ (uint64_t)ev->node << 56;

	ev->at = until;
	if (ev->kind == SIM_EV_PEER_FRAME || ev->kind == SIM_EV_LOCAL_FRAME)
		ev->rank = (uint32_t)(tap_rand(&source) >> 40);
	event_insert(s, *ev);
	ev->data = (struct bytes){0};
}

static void event_do(struct sim *s, struct sim_event *ev)
{
	struct sim_node *n = &s->nodes[ev->node];

	if (ev->node != 0 && ev->kind != SIM_EV_START && mono_before(s->now, n->paused[ev->daemon])) {
		hold_up(s, ev, n->paused[ev->daemon]);
		return;
	}
	s->out->events++;
	sim_mix(s, (uint64_t)s->now.ns);
	sim_mix(s, (uint64_t)ev->kind << 32 | ev->node);
	sim_mix(s, ev->a);
	for (size_t i = 0; i < ev->data.len; i++)
		sim_mix(s, ev->data.data[i]);
	if (ev->kind == SIM_EV_FAULT)
		sim_fault_begin(s, (uint32_t)ev->a);
	else if (ev->kind == SIM_EV_FAULT_END)
		sim_fault_end(s, (uint32_t)ev->a);
	else if (ev->kind == SIM_EV_CLIENT)
		sim_client_wake(&s->clients[ev->a]);
	else if (ev->kind == SIM_EV_WATCHER)
		sim_watcher_wake(&s->watchers[ev->a]);
	else if (ev->kind == SIM_EV_TRANSFER)
		sim_transfer(s, ev->a);
	else
		node_event(s, ev);
	if (ev->node != 0 && sim_is_up(n, SIM_GATEWAY))
		sim_gateway_flush(n);
}

struct due {
	struct sim_node *node;
	enum sim_daemon daemon;
	mono_t at;
};

static void due_consider(struct due *d, struct sim_node *n, enum sim_daemon daemon, mono_t at)
{
	if (mono_before(at, n->paused[daemon]))
		at = n->paused[daemon];
	if (mono_before(at, d->at))
		*d = (struct due){n, daemon, at};
}

/* Messages first, then clocks: silence is judged by what was fed. */
static void sim_one(struct sim *s, mono_t end)
{
	struct due d = {NULL, SIM_RAFTD, end};

	if (s->n_events && !mono_before(d.at, s->events[0].at))
		d.at = s->events[0].at;
	for (uint64_t id = 1; id <= s->o.nodes; id++) {
		struct sim_node *n = &s->nodes[id];

		if (n->raftd.r != NULL)
			due_consider(&d, n, SIM_RAFTD, n->raftd.due);
		if (n->gateway.up)
			due_consider(&d, n, SIM_GATEWAY, n->gateway.due);
		if (n->watchd.core != NULL)
			due_consider(&d, n, SIM_WATCHD, n->watchd.due);
		if (n->leased.lessor != NULL)
			due_consider(&d, n, SIM_LEASED, n->leased.due);
	}
	if (mono_before(s->now, d.at))
		s->now = d.at;
	if (d.node != NULL && d.daemon == SIM_RAFTD) {
		sim_raftd_tick(d.node);
	} else if (d.node != NULL && d.daemon == SIM_WATCHD) {
		sim_watchd_turn(d.node);
	} else if (d.node != NULL && d.daemon == SIM_LEASED) {
		sim_leased_turn(d.node);
	} else if (d.node != NULL) {
		sim_gateway_flush(d.node);
	} else if (s->n_events && !mono_before(end, s->events[0].at)) {
		struct sim_event ev = event_take(s);

		event_do(s, &ev);
		bytes_drop(&ev.data);
	}
	if (s->n_struck > 0)
		sim_moments_strike(s);
}

bool sim_run_until(struct sim *s, bool (*done)(struct sim *), mono_t end)
{
	while (sim_ok(s) && mono_before(s->now, end)) {
		if (done != NULL && done(s))
			return true;
		sim_one(s, end);
	}
	return sim_ok(s) && done != NULL && done(s);
}

/* ---- a run ---- */

/* Half of the seeds have clients of their own kind. */
static void load_choose(struct sim *s)
{
	static const uint32_t thinks[] = {15000, 60000, 60000, 150000}, patience[] = {100, 100, 1000, 4000}, writes[] = {250, 500, 800, 950},
		linears[] = {300, 700, 1000, 1000}, homes[] = {0, 300, 700, 1000};

	s->load = (struct sim_load){8, 60000, 4000, 650, 700, 700};
	if (sim_chance(s, SIM_CH_LOAD, 500))
		return;
	s->load.keys = 1 + (uint32_t)sim_rand(s, SIM_CH_LOAD, 12);
	s->load.think_us = thinks[sim_rand(s, SIM_CH_LOAD, 4)];
	s->load.patience_ms = patience[sim_rand(s, SIM_CH_LOAD, 4)];
	s->load.write_permille = writes[sim_rand(s, SIM_CH_LOAD, 4)];
	s->load.linear_permille = linears[sim_rand(s, SIM_CH_LOAD, 4)];
	s->load.home_permille = homes[sim_rand(s, SIM_CH_LOAD, 4)];
}

static void sim_open(struct sim *s)
{
	static const uint32_t segments[] = {24 << 10, 32 << 10, 64 << 10};

	for (int i = 0; i < SIM_CH_STREAMS; i++)
		s->rng[i] = (s->o.seed + 1) * 0x2545f4914f6cdd1du + (uint64_t)i * 0x9e3779b97f4a7c15u;
	s->now = (mono_t){1000000000};
	arena_init(&s->arena, 64u << 20);
	arena_init(&s->model_arena, 64u << 20);
	buf_init(&s->frame, 0);
	buf_init(&s->text, 0);
	sim_check_open(s);
	s->append_max = sim_chance(s, SIM_CH_IDS, 400) ? 1 : 16;
	s->segment_bytes = segments[sim_rand(s, SIM_CH_IDS, ARRAY_LEN(segments))];
	load_choose(s);
	s->n_plan = sim_plan(&s->o, s->plan);
	for (uint64_t id = 1; id <= s->o.nodes; id++)
		sim_node_open(s, id);
	sim_rates_changed(s);
	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		s->clients[i] = (struct sim_client){.id = i, .holder = i >= SIM_CLIENTS - SIM_HOLDERS};
		list_init(&s->clients[i].proposal.node);
		list_init(&s->clients[i].read.node);
		sim_schedule(s, (struct sim_event){.kind = SIM_EV_CLIENT, .a = i,
			.at = sim_soon(s, SIM_CH_LOAD, 100000, 600000)});
	}
	sim_watchers_open(s);
	for (uint32_t i = 0; i < s->n_plan; i++)
		if (!s->o.masked || s->o.keep[i])
			sim_schedule(s, (struct sim_event){.kind = SIM_EV_FAULT, .a = i,
				.at = mono_add_ms(s->now, s->plan[i].at_ms)});
}

static void sim_close(struct sim *s)
{
	for (uint64_t id = 1; id <= s->o.nodes; id++)
		sim_node_close(&s->nodes[id]);
	while (s->n_events) {
		struct sim_event ev = event_take(s);

		bytes_drop(&ev.data);
	}
	free(s->events);
	for (size_t i = 0; i < ARRAY_LEN(s->old_frame); i++)
		bytes_drop(&s->old_frame[i]);
	sim_oracle_free(s);
	sim_check_free(s);
	sim_watchers_free(s);
	sim_lives_free(s);
	arena_free(&s->arena);
	arena_free(&s->model_arena);
	buf_free(&s->frame);
	buf_free(&s->text);
}

void sim_run(const struct sim_options *o, struct sim_result *out)
{
	struct sim *s = mem_alloc(sizeof *s);

	memset(out, 0, sizeof *out);
	s->o = *o;
	s->out = out;
	sim_options_fill(&s->o);
	out->nodes = s->o.nodes;
	out->ms = s->o.ms;
	out->lmdb = s->o.lmdb > 0;
	sim_running = s;
	if (setjmp(s->panicked) == 0) {
		sim_open(s);
		(void)sim_run_until(s, NULL, mono_add_ms(s->now, s->o.ms));
		if (sim_ok(s))
			sim_calm(s);
		sim_running = NULL;
		sim_close(s);
		out->faults = s->n_plan;
		out->commits = s->committed_last;
		out->trace_hash = s->hash;
		free(s);
		return;
	}
	/* A core stopped halfway: what it holds cannot be given back. */
	sim_running = NULL;
	out->faults = s->n_plan;
	out->trace_hash = s->hash;
}
