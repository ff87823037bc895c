/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults that lie in wait. What happens in a step is noted while it is under way; once it is over,
 * and before anything else happens, the first fault in wait for such a moment strikes, and those
 * that go along with it. Which moments there are says what a Raft is vulnerable at: between a
 * promise and the disk, between an entry's quorum and its commit, between a round and its answers.
 */
#include "tests/sim/sim_int.h"

void sim_moment(struct sim_node *actor, enum sim_moment m, uint64_t other)
{
	struct sim *s = actor->s;

	if (s->waiting[m] == 0 || s->n_struck == sizeof s->struck / sizeof *s->struck)
		return;
	s->struck[s->n_struck++] = (struct sim_struck){m, actor->id, other};
}

void sim_moment_leads(struct sim_node *n)
{
	const struct sim_node *old = sim_leader(n->s);

	sim_moment(n, SIM_MOMENT_LEADS, old ? old->id : 0);
}

/* Figure 8 (c): an old term's entry has got to a quorum, which its leader knows, and nothing newer has. */
void sim_moment_counted(struct sim_node *n, const struct raft_status *st)
{
	struct sim *s = n->s;
	uint64_t index = 0;

	if (s->waiting[SIM_MOMENT_OLD_ON_QUORUM] == 0)
		return;
	for (uint32_t i = 0; i <= st->peer_count; i++) {
		uint64_t match = i < st->peer_count ? st->peers[i].match : st->durable_index;
		uint32_t have = st->durable_index >= match;

		for (uint32_t k = 0; k < st->peer_count; k++)
			have += st->peers[k].match >= match;
		if (have > s->o.nodes / 2 && match > index)
			index = match;
	}
	if (index > s->committed_last && n->raftd.log.v[index].term < st->term)
		sim_moment(n, SIM_MOMENT_OLD_ON_QUORUM, 0);
}

/* A leader's newest applied entry is one that another log, which reaches as far, has otherwise. */
void sim_moment_applied(struct sim_node *n)
{
	struct sim *s = n->s;
	uint64_t index = n->stored.applied;

	if (s->waiting[SIM_MOMENT_STRAY] == 0 || n->raftd.role != RAFT_LEADER || index <= n->raftd.log.base || index > n->raftd.log.last)
		return;
	for (uint64_t id = 1; id <= s->o.nodes; id++) {
		const struct sim_log *log = &s->nodes[id].raftd.log;

		if (index > log->base && index <= log->last && log->v[index].hash != n->raftd.log.v[index].hash) {
			sim_moment(n, SIM_MOMENT_STRAY, id);
			return;
		}
	}
}

static void strike(struct sim *s, uint32_t i, const struct sim_struck *at)
{
	struct sim_fault *f = &s->plan[i];
	uint64_t other = at->other;

	if (other == 0 || other == at->actor) {
		other = f->x % (s->o.nodes - 1) + 1;
		other += other >= at->actor;
	}
	f->a = f->other ? other : at->actor;
	f->b = f->other ? at->actor : other;
	s->waits[i] = false;
	s->waiting[f->moment]--;
	sim_fault_do(s, i);
}

void sim_moments_strike(struct sim *s)
{
	for (uint32_t k = 0; k < s->n_struck; k++) {
		struct sim_struck at = s->struck[k];
		uint32_t i = 0;

		while (i < s->n_plan && (!s->waits[i] || s->plan[i].moment != at.moment))
			i++;
		if (i == s->n_plan)
			continue;
		do
			strike(s, i++, &at);
		while (i < s->n_plan && s->waits[i] && s->plan[i].along && s->plan[i].moment == at.moment);
	}
	s->n_struck = 0;
}
