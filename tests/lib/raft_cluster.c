/* SPDX-License-Identifier: Apache-2.0 */
/* The world around the cores: virtual clock, network, nodes that come and go. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/raft_cluster_int.h"

uint64_t cluster_rand(struct cluster *c, uint64_t below)
{
	uint64_t z = (c->rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return below ? z % below : z;
}

bool cluster_chance(struct cluster *c, uint32_t permille)
{
	return permille != 0 && cluster_rand(c, 1000) < permille;
}

int64_t cluster_between_us(struct cluster *c, uint32_t low, uint32_t high)
{
	return (int64_t)(low + cluster_rand(c, (uint64_t)(high - low) + 1));
}

/* ---- the event heap ---- */

static bool event_before(const struct cluster_event *a, const struct cluster_event *b)
{
	return a->at.ns < b->at.ns || (a->at.ns == b->at.ns && a->order < b->order);
}

void cluster_schedule(struct cluster *c, struct cluster_event ev)
{
	size_t i = c->event_count++;

	if (c->event_count > c->event_cap) {
		c->event_cap = c->event_cap ? c->event_cap * 2 : 64;
		c->events = mem_grow(c->events, c->event_cap, sizeof *c->events);
	}
	ev.order = ++c->event_order;
	for (; i > 0 && event_before(&ev, &c->events[(i - 1) / 2]); i = (i - 1) / 2)
		c->events[i] = c->events[(i - 1) / 2];
	c->events[i] = ev;
}

static struct cluster_event event_take(struct cluster *c)
{
	struct cluster_event top = c->events[0], last = c->events[--c->event_count];
	size_t i = 0, n = c->event_count;

	while (2 * i + 1 < n) {
		size_t child = 2 * i + 1;

		if (child + 1 < n && event_before(&c->events[child + 1], &c->events[child]))
			child++;
		if (!event_before(&c->events[child], &last))
			break;
		c->events[i] = c->events[child];
		i = child;
	}
	c->events[i] = last;
	return top;
}

static void event_free(struct cluster_event *ev)
{
	free(ev->terms);
	free(ev->values);
}

/* ---- the network ---- */

static void net_schedule(struct cluster *c, const struct raft_msg *m, const uint64_t *values)
{
	uint64_t from = m->from, to = m->to;
	struct cluster_event ev = {.kind = EVENT_MESSAGE, .node = to, .msg = *m};

	if (m->type == RAFT_MSG_APPEND && m->append.n) {
		ev.terms = mem_dup(m->append.terms, m->append.n * sizeof *ev.terms);
		ev.values = mem_dup(values, m->append.n * sizeof *ev.values);
		ev.msg.append.terms = ev.terms;
	}
	ev.at = mono_add_us(c->now,
			    cluster_between_us(c, c->o.latency_min_us, c->o.latency_max_us));
	if (c->o.fifo && mono_before(ev.at, c->link_at[from][to]))
		ev.at = c->link_at[from][to];
	c->link_at[from][to] = ev.at;
	cluster_schedule(c, ev);
}

void cluster_send(struct cluster *c, struct cluster_node *n, const struct raft_msg *m,
		  const uint64_t *values)
{
	oracle_sending(c, n, m);
	if (m->from != n->id || m->to < 1 || m->to > c->o.nodes || m->to == n->id) {
		cluster_fail(c, "node %llu sends to nowhere", (unsigned long long)n->id);
		return;
	}
	if (c->cut[n->id][m->to] || cluster_chance(c, c->o.drop_permille))
		return;
	net_schedule(c, m, values);
	if (cluster_chance(c, c->o.repeat_permille))
		net_schedule(c, m, values);
}

/* ---- what happens ---- */

static void on_snapshot_send(struct cluster *c, struct cluster_node *n,
			     const struct cluster_event *ev)
{
	struct cluster_event end = {.kind = EVENT_SNAPSHOT_END,
				    .node = n->id,
				    .incarnation = n->incarnation,
				    .peer = ev->peer};
	struct cluster_event data = {.kind = EVENT_SNAPSHOT, .node = ev->peer, .index = n->applied};

	data.at = mono_add_us(c->now, cluster_between_us(c, 1000, 30000));
	end.at = mono_add_us(c->now, cluster_between_us(c, 1000, 60000));
	if (!c->cut[n->id][ev->peer] && !cluster_chance(c, c->o.drop_permille))
		cluster_schedule(c, data);
	cluster_schedule(c, end);
}

static void on_snapshot(struct cluster *c, struct cluster_node *n, uint64_t index)
{
	if (index <= n->applied)
		return;                    /* its store has that already */
	n->applied = index;
	n->snapshot = index;

	int rc = cluster_event(c, n->id, (struct raft_event){
		.type = RAFT_EV_INSTALLED,
		.index = index,
		.index_term = cluster_committed_entry(c, index)->term,
	});

	if (rc)
		cluster_fail(c, "node %llu cannot install a snapshot", (unsigned long long)n->id);
}

static void event_do(struct cluster *c, struct cluster_event *ev)
{
	struct cluster_node *n = &c->nodes[ev->node];
	struct cluster_input in = {.values = ev->values};

	if (n->r == NULL)
		return;
	if (mono_before(c->now, n->paused_until)) {
		struct cluster_event later = *ev;

		later.at = n->paused_until;
		ev->terms = ev->values = NULL;
		cluster_schedule(c, later);
		return;
	}
	if (ev->kind == EVENT_MESSAGE) {
		if (cluster_node_step(c, n,
				      (struct raft_event){.type = RAFT_EV_RECV, .msg = &ev->msg},
				      &in) != ERR_OK)
			cluster_fail(c, "node %llu calls an honest %s a lie",
				     (unsigned long long)n->id, raft_msg_name(ev->msg.type));
		return;
	}
	if (ev->kind == EVENT_SNAPSHOT) {
		on_snapshot(c, n, ev->index);
		return;
	}
	if (ev->incarnation != n->incarnation)
		return;
	if (ev->kind == EVENT_SYNCED)
		cluster_synced(c, n, ev->seq);
	else if (ev->kind == EVENT_GRANT)
		cluster_grant_use(c, n, &ev->grant);
	else if (ev->kind == EVENT_SNAPSHOT_SEND)
		on_snapshot_send(c, n, ev);
	else
		cluster_event(c, n->id,
			      (struct raft_event){.type = RAFT_EV_SNAPSHOT_DONE, .peer = ev->peer});
}

static mono_t node_deadline(const struct cluster_node *n)
{
	if (n->r == NULL)
		return MONO_NEVER;
	mono_t at = raft_deadline(n->r);

	return mono_before(at, n->paused_until) ? n->paused_until : at;
}

/* Messages first, then clocks: silence is judged by what was fed. */
static bool step_until(struct cluster *c, mono_t end)
{
	struct cluster_node *due = NULL;
	mono_t at = end;

	if (c->failure[0])
		return false;
	if (c->event_count && !mono_before(at, c->events[0].at))
		at = c->events[0].at;
	for (uint64_t id = 1; id <= c->o.nodes; id++) {
		mono_t t = node_deadline(&c->nodes[id]);

		if (mono_before(t, at)) {
			due = &c->nodes[id];
			at = t;
		}
	}
	if (at.ns == INT64_MAX)
		return true;               /* nothing will ever happen by itself */
	if (mono_before(c->now, at))
		c->now = at;
	if (due != NULL) {
		cluster_node_step(c, due, (struct raft_event){.type = RAFT_EV_TICK}, NULL);
	} else if (c->event_count && !mono_before(end, c->events[0].at)) {
		struct cluster_event ev = event_take(c);

		event_do(c, &ev);
		event_free(&ev);
	}
	return !c->failure[0];
}

bool cluster_step(struct cluster *c)
{
	return step_until(c, MONO_NEVER);
}

bool cluster_run(struct cluster *c, uint32_t ms)
{
	mono_t end = mono_add_ms(c->now, ms);

	while (mono_before(c->now, end) && step_until(c, end))
		continue;
	return !c->failure[0];
}

bool cluster_run_until(struct cluster *c, bool (*done)(struct cluster *), uint32_t max_ms)
{
	mono_t end = mono_add_ms(c->now, max_ms);

	while (!c->failure[0] && !done(c)) {
		if (!mono_before(c->now, end)) {
			cluster_fail(c, "liveness: waited %u ms in vain", (unsigned)max_ms);
			break;
		}
		step_until(c, end);
	}
	return !c->failure[0];
}

/* ---- nodes ---- */

static void node_start(struct cluster *c, struct cluster_node *n)
{
	struct raft_config cfg = {.id = n->id,
				  .voter_count = c->o.nodes,
				  .seed = cluster_rand(c, 0),
				  .reads_max = 256,
				  .inflight_msgs = c->o.inflight_msgs};
	struct raft_state st = {.term = n->disk_term,
				.vote = n->disk_vote,
				.base_index = n->disk.base,
				.last_index = n->disk.last,
				.commit = n->applied};
	struct raft_run *runs = mem_array(n->disk.last + 1, sizeof *runs);

	for (uint64_t id = 1; id <= c->o.nodes; id++)
		cfg.voters[id - 1] = id;
	st.base_term = n->disk.v[st.base_index].term;
	for (uint64_t i = st.base_index + 1; i <= st.last_index; i++) {
		if (st.run_count == 0 || runs[st.run_count - 1].term != n->disk.v[i].term)
			runs[st.run_count++] = (struct raft_run){i, n->disk.v[i].term};
	}
	st.runs = runs;
	CHECK(raft_state_check(&cfg, &st) == ERR_OK);
	n->r = raft_create(&cfg, &st, c->now);
	free(runs);
	cluster_log_copy(&n->mem, &n->disk);
	n->seq = n->durable_seq = 0;
	n->role = RAFT_FOLLOWER;
	n->seen_commit = n->applied;
}

void cluster_restart(struct cluster *c, uint64_t id)
{
	struct cluster_node *n = &c->nodes[id];

	CHECK(n->r == NULL);
	if (n->applied > n->disk.last) {   /* a snapshot was installed, its RESET was lost */
		cluster_log_reset(c, &n->disk, n->applied);
		if (n->disk_term < n->disk.v[n->applied].term) {
			n->disk_term = n->disk.v[n->applied].term;
			n->disk_vote = 0;
		}
	}
	node_start(c, n);
	for (uint64_t other = 1; other <= c->o.nodes; other++) {
		if (other != id)
			cluster_link(c, id, other, true);
	}
}

void cluster_crash(struct cluster *c, uint64_t id, enum cluster_crash kind)
{
	struct cluster_node *n = &c->nodes[id];

	if (n->r == NULL)
		return;
	if (c->o.trace)
		fprintf(c->o.trace, "%9.3f %llu crashes\n", (double)c->now.ns / 1e6,
			(unsigned long long)id);
	cluster_disk_crash(c, n);
	n->held_count = 0;
	n->grant_count = 0;
	n->incarnation++;
	n->epoch++;
	n->paused_until = (mono_t){0};
	if (kind == CLUSTER_CRASH_POWER)
		n->applied = n->snapshot;
	for (size_t i = 0; i < c->read_count; i++) {
		if (c->reads[i].node == id && c->reads[i].state == CLUSTER_READ_PENDING)
			c->reads[i].state = CLUSTER_READ_LOST;
	}
	raft_destroy(n->r);
	n->r = NULL;
}

bool cluster_runs(struct cluster *c, uint64_t id)
{
	return c->nodes[id].r != NULL && !mono_before(c->now, c->nodes[id].paused_until);
}

void cluster_pause(struct cluster *c, uint64_t id, uint32_t ms)
{
	c->nodes[id].paused_until = mono_add_ms(c->now, ms);
}

/* What waited for the end of the pause is handed over now, in the order it came. */
void cluster_resume(struct cluster *c, uint64_t id)
{
	struct cluster_event *old = c->events;
	size_t count = c->event_count;

	c->events = NULL;
	c->event_count = c->event_cap = 0;
	for (size_t i = 0; i < count; i++) {
		struct cluster_event ev = old[i];
		uint64_t order = c->event_order;

		if (ev.node == id && ev.at.ns == c->nodes[id].paused_until.ns)
			ev.at = c->now;
		c->event_order = ev.order - 1;   /* keeps its place among equals */
		cluster_schedule(c, ev);
		c->event_order = order;
	}
	free(old);
	c->nodes[id].paused_until = c->now;
}

void cluster_compact(struct cluster *c, uint64_t id, uint64_t keep)
{
	struct cluster_node *n = &c->nodes[id];

	if (n->r == NULL || n->applied <= keep || n->applied - keep <= n->mem.base)
		return;
	n->snapshot = n->applied;
	n->mem.base = n->disk.base = n->applied - keep;
	cluster_event(c, id, (struct raft_event){.type = RAFT_EV_COMPACTED, .index = n->mem.base});
}

void cluster_cut(struct cluster *c, uint64_t from, uint64_t to, bool cut)
{
	c->cut[from][to] = cut;
}

void cluster_isolate(struct cluster *c, uint64_t id)
{
	for (uint64_t other = 1; other <= c->o.nodes; other++)
		c->cut[id][other] = c->cut[other][id] = other != id;
}

static void link_tell(struct cluster *c, uint64_t id, uint64_t peer, bool up)
{
	struct cluster_node *n = &c->nodes[id];

	if (!cluster_runs(c, id))
		return;
	if (!up)
		n->link_epoch[peer]++;
	cluster_event(c, id,
		      (struct raft_event){.type = up ? RAFT_EV_PEER_UP : RAFT_EV_PEER_DOWN,
					  .peer = peer});
}

void cluster_link(struct cluster *c, uint64_t a, uint64_t b, bool up)
{
	link_tell(c, a, b, up);
	link_tell(c, b, a, up);
}

void cluster_heal(struct cluster *c)
{
	memset(c->cut, 0, sizeof c->cut);
	for (uint64_t a = 1; a <= c->o.nodes; a++) {
		for (uint64_t b = 1; b < a; b++)
			cluster_link(c, a, b, true);
	}
}

struct raft_status cluster_status(struct cluster *c, uint64_t id)
{
	struct raft_status s;

	CHECK(c->nodes[id].r != NULL);
	raft_status(c->nodes[id].r, c->now, &s);
	return s;
}

uint64_t cluster_leader(struct cluster *c)
{
	uint64_t leader = 0, term = 0;

	for (uint64_t id = 1; id <= c->o.nodes; id++) {
		if (c->nodes[id].r == NULL || c->nodes[id].role != RAFT_LEADER)
			continue;
		uint64_t t = cluster_status(c, id).term;

		if (t > term) {
			leader = id;
			term = t;
		}
	}
	return leader;
}

static bool has_leader(struct cluster *c)
{
	return cluster_leader(c) != 0;
}

bool cluster_await_leader(struct cluster *c, uint32_t max_ms)
{
	return cluster_run_until(c, has_leader, max_ms);
}

bool cluster_settled(struct cluster *c)
{
	uint64_t leader = cluster_leader(c);

	for (uint64_t id = 1; id <= c->o.nodes; id++) {
		if (c->nodes[id].r == NULL || leader == 0)
			return false;
		struct raft_status s = cluster_status(c, id);

		if (s.leader != leader || s.told_commit != s.last_index ||
		    s.last_index != c->nodes[leader].mem.last)
			return false;
	}
	return true;
}

static void options_fill(struct cluster_options *o)
{
	CHECK(o->nodes >= 1 && o->nodes <= CLUSTER_NODES);
	if (o->latency_max_us == 0) {
		o->latency_min_us = 100;
		o->latency_max_us = 1000;
	}
	if (o->sync_max_us == 0) {
		o->sync_min_us = 100;
		o->sync_max_us = 2000;
	}
	if (o->nemesis_permille == 0)
		o->nemesis_permille = 100;
	if (o->append_max == 0)
		o->append_max = 16;
}

struct cluster *cluster_create(const struct cluster_options *o)
{
	struct cluster *c = mem_alloc(sizeof *c);

	c->o = *o;
	options_fill(&c->o);
	c->rng = o->seed * 2654435761u + 1;
	c->now = (mono_t){1000000000};
	c->next_value = 1;
	c->oracle = oracle_create();
	for (uint64_t id = 1; id <= o->nodes; id++) {
		struct cluster_node *n = &c->nodes[id];

		n->id = id;
		n->mem.v = mem_array(n->mem.cap = 64, sizeof *n->mem.v);
		n->disk.v = mem_array(n->disk.cap = 64, sizeof *n->disk.v);
		node_start(c, n);
	}
	cluster_heal(c);
	return c;
}

void cluster_destroy(struct cluster *c)
{
	for (uint64_t id = 1; id <= c->o.nodes; id++) {
		struct cluster_node *n = &c->nodes[id];

		cluster_disk_clear(n);
		raft_destroy(n->r);
		raft_effects_free(&n->fx);
		free(n->mem.v);
		free(n->disk.v);
		free(n->ops);
		free(n->held);
		free(n->grants);
	}
	while (c->event_count) {
		struct cluster_event ev = event_take(c);

		event_free(&ev);
	}
	free(c->events);
	free(c->reads);
	oracle_destroy(c->oracle);
	free(c);
}
