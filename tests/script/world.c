/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's duties for each node (raftd/core/raft.h), with a disk that is told when to sync. */
#include "tests/script/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

struct world *world_new(void)
{
	struct world *w = mem_alloc(sizeof *w);

	buf_init(&w->out, 0);
	w->now = (mono_t){1000000000};
	return w;
}

void world_free(struct world **w)
{
	for (uint64_t id = 1; id <= (*w)->n; id++) {
		raft_destroy((*w)->node[id].r);
		raft_effects_free(&(*w)->node[id].fx);
	}
	buf_free(&(*w)->out);
	free((*w)->mail);
	free(*w);
	*w = NULL;
}

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->failure[0])
		return;
	va_start(ap, fmt);
	(void)vsnprintf(w->failure, sizeof w->failure, fmt, ap);
	va_end(ap);
}

void world_add(struct world *w, const char *name)
{
	if (w->running || w->n == LIMIT_NODES || strlen(name) >= WORLD_NAME) {
		world_fail(w, "no room for node %s", name);
		return;
	}
	memcpy(w->node[++w->n].name, name, strlen(name) + 1);
}

struct raft_status world_status(struct world *w, uint64_t id)
{
	struct raft_status s;

	raft_status(w->node[id].r, w->now, &s);
	return s;
}

static void node_create(struct world *w, uint64_t id)
{
	struct world_node *n = &w->node[id];
	struct raft_config cfg = {.id = id, .voter_count = w->n, .seed = id * 1000 + ++n->starts};
	struct raft_run runs[WORLD_ENTRIES];
	struct raft_state st = {.term = n->disk.term, .vote = n->disk.vote, .runs = runs,
				.base_index = n->disk.base,
				.base_term = n->disk.terms[n->disk.base],
				.last_index = n->disk.last, .commit = n->applied};

	for (uint32_t i = 0; i < w->n; i++)
		cfg.voters[i] = i + 1;
	for (uint64_t i = n->disk.base + 1; i <= n->disk.last; i++) {
		if (st.run_count == 0 || runs[st.run_count - 1].term != n->disk.terms[i])
			runs[st.run_count++] = (struct raft_run){i, n->disk.terms[i]};
	}
	if (raft_state_check(&cfg, &st)) {
		world_fail(w, "%s: no Raft log can look like that", n->name);
		return;
	}
	n->mem = n->disk;
	n->seq = n->durable_seq = 0;
	n->r = raft_create(&cfg, &st, w->now);
}

/* The connection between two nodes is there, or is gone: both are told. */
static void link_change(struct world *w, uint64_t id, enum raft_event_type type)
{
	for (uint64_t other = 1; other <= w->n && !w->failure[0]; other++) {
		if (other == id || w->node[other].r == NULL)
			continue;
		world_step(w, other, (struct raft_event){.type = type, .peer = id});
		if (w->node[id].r)
			world_step(w, id, (struct raft_event){.type = type, .peer = other});
	}
}

void world_start(struct world *w)
{
	if (w->running)
		return;
	w->running = true;
	if (w->n == 0)
		world_fail(w, "no nodes yet");
	for (uint64_t id = 1; id <= w->n && !w->failure[0]; id++) {
		node_create(w, id);
		if (!w->failure[0])
			link_change(w, id, RAFT_EV_PEER_UP);
	}
}

void world_crash(struct world *w, uint64_t id)
{
	struct world_node *n = &w->node[id];

	raft_destroy(n->r);
	n->r = NULL;
	n->n_held = n->n_grants = 0;
	world_lose(w, id);
	link_change(w, id, RAFT_EV_PEER_DOWN);
}

void world_restart(struct world *w, uint64_t id)
{
	node_create(w, id);
	if (!w->failure[0])
		link_change(w, id, RAFT_EV_PEER_UP);
}

/* ---- effects */

static void log_append(struct world_node *n, const struct raft_effect *e,
		       const struct raft_event *ev)
{
	for (uint32_t i = 0; i < e->append.n; i++) {
		bool ours = e->append.own || e->append.noop;

		CHECK(n->mem.last + 1 < WORLD_ENTRIES && e->append.first + i == n->mem.last + 1);
		n->mem.terms[++n->mem.last] =
			ours ? e->append.term : ev->msg->append.terms[e->append.skip + i];
	}
}

static void role_check(struct world *w, uint64_t id, const struct raft_effect *e)
{
	CHECK(e->role.term < WORLD_TERMS);
	if (e->role.role != RAFT_LEADER)
		return;
	if (w->leader_of[e->role.term] != 0)
		world_fail(w, "election safety: two leaders in term %u", (unsigned)e->role.term);
	w->leader_of[e->role.term] = id;
}

/* State machine safety: whoever applies an index applies the same entry there. */
static void apply_up_to(struct world *w, struct world_node *n, uint64_t index)
{
	CHECK(index <= n->disk.last);    /* a store is never ahead of its own log */
	while (n->applied < index) {
		uint64_t i = ++n->applied;

		if (i <= n->disk.base)
			continue;
		if (w->applied[i] && w->applied[i] != n->mem.terms[i])
			world_fail(w, "state machine safety: %s applies another entry at %u",
				   n->name, (unsigned)i);
		w->applied[i] = n->mem.terms[i];
	}
}

static void send_or_hold(struct world *w, struct world_node *n, const struct raft_effect *e)
{
	if (e->send.need_seq <= n->durable_seq) {
		world_send(w, &e->send.msg);
		return;
	}
	CHECK(n->n_held < WORLD_ENTRIES);
	n->held[n->n_held].m = e->send.msg;
	n->held[n->n_held++].need_seq = e->send.need_seq;
}

static void do_effect(struct world *w, uint64_t id, const struct raft_effect *e,
		      const struct raft_event *ev)
{
	struct world_node *n = &w->node[id];

	if (e->seq)
		CHECK(e->seq == ++n->seq);
	switch (e->type) {
	case RAFT_FX_HARD_STATE:
		n->mem.term = e->hard_state.term;
		n->mem.vote = e->hard_state.vote;
		break;
	case RAFT_FX_TRUNCATE:
		n->mem.last = e->truncate.from - 1;
		break;
	case RAFT_FX_APPEND:
		log_append(n, e, ev);
		break;
	case RAFT_FX_RESET:
		n->mem.base = n->mem.last = e->reset.index;
		n->mem.terms[e->reset.index] = e->reset.term;
		break;
	case RAFT_FX_SEND:
		send_or_hold(w, n, e);
		break;
	case RAFT_FX_REPLICATE:
		CHECK(n->n_grants < WORLD_ENTRIES);
		if (e->replicate.last < e->replicate.first)
			world_append(w, n, e);
		else
			n->grants[n->n_grants++] = *e;
		break;
	case RAFT_FX_COMMIT:
		apply_up_to(w, n, e->commit.index);
		break;
	case RAFT_FX_ROLE:
		n->n_grants = 0;
		role_check(w, id, e);
		break;
	case RAFT_FX_READ_OK:
	case RAFT_FX_READ_FAIL:
		w->reads[e->read.ctx].state =
			e->type == RAFT_FX_READ_OK ? WORLD_READ_OK : WORLD_READ_FAILED;
		w->reads[e->read.ctx].index = e->read.index;
		break;
	case RAFT_FX_SNAPSHOT:
		world_snapshot(w, id, e->peer.peer);
		break;
	default:
		break;
	}
	say_effect(w, n, e);
}

static int step_once(struct world *w, uint64_t id, struct raft_event ev)
{
	struct world_node *n = &w->node[id];
	struct raft_status before = world_status(w, id);

	ev.now = w->now;

	int rc = raft_step(n->r, &ev, &n->fx);

	say_refusal(w, id, &before);
	for (uint32_t i = 0; i < n->fx.n; i++)
		do_effect(w, id, &n->fx.v[i], &ev);
	return rc;
}

/* The oldest permission to send entries, used to its full. */
static void grant_use(struct world *w, uint64_t id)
{
	struct world_node *n = &w->node[id];
	struct raft_effect e = n->grants[0];

	memmove(n->grants, n->grants + 1, --n->n_grants * sizeof n->grants[0]);
	if (w->node[e.replicate.peer].r == NULL)
		return;                    /* died with PEER_DOWN */
	world_append(w, n, &e);
	step_once(w, id, (struct raft_event){.type = RAFT_EV_SENT,
					     .peer = e.replicate.peer,
					     .grant = e.replicate.grant,
					     .last = e.replicate.last,
					     .bytes = 100 * (e.replicate.last - e.replicate.prev_index)});
}

static void held_release(struct world *w, struct world_node *n)
{
	size_t keep = 0;

	for (size_t i = 0; i < n->n_held; i++) {
		if (n->held[i].need_seq > n->durable_seq)
			n->held[keep++] = n->held[i];
		else
			world_send(w, &n->held[i].m);
	}
	n->n_held = keep;
}

static void disk_sync(struct world *w, uint64_t id)
{
	struct world_node *n = &w->node[id];

	n->disk = n->mem;
	n->durable_seq = n->seq;
	held_release(w, n);
	step_once(w, id, (struct raft_event){.type = RAFT_EV_DURABLE,
					     .seq = n->seq,
					     .last_index = n->disk.last,
					     .last_term = n->disk.terms[n->disk.last]});
}

static void follow_up(struct world *w, uint64_t id)
{
	struct world_node *n = &w->node[id];

	while (!w->failure[0]) {
		if (n->n_grants > 0)
			grant_use(w, id);
		else if (!n->slow && n->durable_seq < n->seq)
			disk_sync(w, id);
		else
			break;
	}
}

int world_step(struct world *w, uint64_t id, struct raft_event ev)
{
	int rc = step_once(w, id, ev);

	follow_up(w, id);
	return rc;
}

void world_sync(struct world *w, uint64_t id)
{
	disk_sync(w, id);
	follow_up(w, id);
}
