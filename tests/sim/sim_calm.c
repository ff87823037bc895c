/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After the storm. Every fault that is still under way comes to its end, nothing new goes wrong,
 * and then the cluster has to get somewhere: else this says who waits for whom.
 */
#include <string.h>

#include "base/check.h"
#include "tests/sim/sim_int.h"

typedef unsigned long long ull;

enum { CALM_MS = 15000, CALM_FAULTS_END_MS = 1300, CALM_ANSWERS = 3, CALM_LEASES_PERMILLE = 300 };

static bool all_served(struct sim *s)
{
	for (uint32_t i = 0; i < SIM_CLIENTS; i++)
		if (s->clients[i].calm_done < CALM_ANSWERS)
			return false;
	return true;
}

static bool settled(struct sim *s)
{
	const struct sim_node *leader = sim_leader(s);

	for (uint32_t i = 0; i < SIM_CLIENTS; i++)
		if (s->clients[i].node != NULL)
			return false;
	for (uint64_t id = 1; id <= s->o.nodes && leader != NULL; id++) {
		const struct sim_node *n = &s->nodes[id];

		if (n->raftd.dead)
			continue;
		if (n->raftd.r == NULL || !n->stored.up || n->raftd.leader != leader->id ||
		    n->raftd.commit != leader->raftd.log.last || n->stored.applied != leader->raftd.log.last)
			return false;
	}
	return leader != NULL && sim_leased_leads(leader);
}

static void say(struct sim *s, const char *line)
{
	size_t n = strlen(s->out->waits);

	(void)snprintf(s->out->waits + n, sizeof s->out->waits - n, "%s\n", line);
}

static void say_node(struct sim *s, const struct sim_node *n)
{
	const struct sim_raftd *d = &n->raftd;
	struct raft_status st;
	char line[400];

	if (d->r == NULL) {
		(void)snprintf(line, sizeof line, "node %llu: raftd is down%s; stored %s, applied %llu", (ull)n->id,
			       d->dead ? " for good" : "", n->stored.up ? "up" : "down", (ull)n->stored.applied);
		say(s, line);
		return;
	}
	raft_status(d->r, sim_clock(n), &st);
	(void)snprintf(line, sizeof line,
		       "node %llu: %s term=%llu leader=%llu log=%llu..%llu durable=%llu commit=%llu "
		       "disk behind=%llu feed next=%llu batches=%u; stored %s, applied %llu; gatewayd %s, links %d%d%d",
		       (ull)n->id, raft_role_name(st.role), (ull)st.term, (ull)st.leader, (ull)d->log.base + 1,
		       (ull)st.last_index, (ull)st.durable_index, (ull)st.commit, (ull)(st.seq - st.durable_seq),
		       (ull)d->feed.next, d->feed.batches, n->stored.up ? "up" : "down", (ull)n->stored.applied,
		       n->gateway.up ? "up" : "down", n->link_up[0], n->link_up[1], n->link_up[2]);
	say(s, line);
	for (uint32_t i = 0; st.role == RAFT_LEADER && i < st.peer_count; i++) {
		const struct raft_peer_status *p = &st.peers[i];

		(void)snprintf(line, sizeof line, "  waits for %llu: %s match=%llu next=%llu up=%d silent=%lld ms "
			       "in flight=%u", (ull)p->id, raft_peer_state_name(p->state), (ull)p->match,
			       (ull)p->next, p->up, (long long)p->silent_ms, p->inflight_msgs);
		say(s, line);
	}
}

static void say_waits(struct sim *s)
{
	static const char *const places[] = {"nowhere", "queued", "sent", "delayed", "failed"};
	char line[200];

	for (uint64_t id = 1; id <= s->o.nodes; id++)
		say_node(s, &s->nodes[id]);
	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		const struct sim_client *c = &s->clients[i];

		if (c->node == NULL)
			continue;
		(void)snprintf(line, sizeof line, "client %u waits for node %llu: %s, since %lld ms", i,
			       (ull)c->node->id, c->write ? places[c->proposal.place] : c->asked
			       ? "a read, for its index to be applied" : "a read, for its index",
			       (long long)mono_sub_ms(s->now, c->began));
		say(s, line);
	}
}

static void say_watchers(struct sim *s)
{
	char line[200];

	for (const struct sim_watcher *c = s->watchers; c < s->watchers + SIM_WATCHERS; c++) {
		for (const struct sim_watch *w = c->w; w < c->w + SIM_CONN_WATCHES; w++) {
			(void)snprintf(line, sizeof line, "watcher %u at node %llu: %s..%s from %lld at %lld.%u%s%s%s, "
				       "told %lld of %lld", c->id, c->node ? (ull)c->node->id : 0, w->key, w->end,
				       (long long)w->start, (long long)w->next.rev, (unsigned)w->next.sub,
				       w->begun ? "" : " not begun", w->fencing ? " asks" : "", w->cut ? " cut" : "",
				       (long long)w->progress, (long long)s->model.revision);
			say(s, line);
		}
	}
}

static void await(struct sim *s, bool (*done)(struct sim *), const char *what)
{
	sim_trace(s, NULL, "calm: %s", what);
	if (sim_run_until(s, done, mono_add_ms(s->now, CALM_MS)) || !sim_ok(s))
		return;
	say_waits(s);
	say_watchers(s);
	sim_fail(s, "no progress: %s within %d ms of calm", what, CALM_MS);
}

/* Equal states everywhere, and the state the model says. */
static void last_look(struct sim *s)
{
	for (uint64_t id = 1; id <= s->o.nodes && sim_ok(s); id++) {
		struct sim_node *n = &s->nodes[id];

		if (!n->stored.up)
			continue;
		sim_oracle_applied(n, apply_state(n->stored.apply));
		sim_check_store(n);
	}
}

void sim_calm(struct sim *s)
{
	memset(s->waiting, 0, sizeof s->waiting);
	(void)sim_run_until(s, NULL, mono_add_ms(s->now, CALM_FAULTS_END_MS));
	s->calm = true;
	for (uint64_t id = 1; id <= s->o.nodes; id++)
		s->nodes[id].leased.stall_ms = 0;
	for (uint64_t a = 1; a <= s->o.nodes; a++)
		for (uint64_t b = 1; b <= s->o.nodes && sim_ok(s); b++)
			CHECK(s->cut[a][b] == 0);
	sim_clients_hurry(s);
	await(s, all_served, "not all clients were answered");
	s->stop_clients = true;
	if (sim_ok(s))
		await(s, settled, "not all nodes have applied the whole log");
	if (sim_ok(s) && sim_chance(s, SIM_CH_LEASE, CALM_LEASES_PERMILLE)) {
		sim_calm_leases(s);
		if (sim_ok(s))
			await(s, settled, "not all nodes have applied what ended the leases");
	}
	if (sim_ok(s))
		await(s, sim_watchers_done, "not all watchers have read what is theirs");
	if (sim_ok(s))                   /* meanwhile a lease may have been checkpointed, or have run out */
		await(s, settled, "not all nodes have applied the whole log at the end");
	if (sim_ok(s))
		await(s, settled, "not all nodes have applied the lessor's last words");
	if (sim_ok(s))
		last_look(s);
}
