/* SPDX-License-Identifier: Apache-2.0 */
/* Load and misfortune, all from the seed. */
#include "base/err.h"
#include "tests/lib/raft_cluster_int.h"

static uint64_t any_node(struct cluster *c)
{
	return 1 + cluster_rand(c, c->o.nodes);
}

static enum cluster_crash any_crash(struct cluster *c)
{
	return cluster_chance(c, 500) ? CLUSTER_CRASH_PROCESS : CLUSTER_CRASH_POWER;
}

void cluster_load(struct cluster *c)
{
	uint64_t id = cluster_chance(c, 700) && cluster_leader(c) ? cluster_leader(c) : any_node(c);

	if (!cluster_runs(c, id))
		return;
	if (cluster_chance(c, 500))
		cluster_propose(c, id, 1 + (uint32_t)cluster_rand(c, 4));
	else
		cluster_read(c, id);
}

static void split(struct cluster *c)
{
	uint64_t sides = cluster_rand(c, 1ull << c->o.nodes);

	for (uint64_t a = 1; a <= c->o.nodes; a++) {
		for (uint64_t b = 1; b <= c->o.nodes; b++)
			c->cut[a][b] = (sides >> (a - 1) & 1) != (sides >> (b - 1) & 1);
	}
}

static void restart_one(struct cluster *c)
{
	uint64_t id = any_node(c);

	for (uint32_t i = 0; i < c->o.nodes; i++, id = id % c->o.nodes + 1) {
		if (c->nodes[id].r == NULL) {
			cluster_restart(c, id);
			return;
		}
	}
}

/* A link that breaks visibly; sometimes both ends come back before anything else happens. */
static void break_link(struct cluster *c)
{
	uint64_t a = any_node(c), b = any_node(c);

	if (a == b)
		return;
	cluster_link(c, a, b, false);
	if (cluster_chance(c, 500))
		cluster_link(c, a, b, true);
}

static void transfer(struct cluster *c)
{
	uint64_t id = cluster_leader(c);

	if (id && cluster_runs(c, id))
		cluster_event(c, id, (struct raft_event){.type = RAFT_EV_TRANSFER,
							 .peer = cluster_rand(c, c->o.nodes + 1)});
}

static void blackout(struct cluster *c)
{
	for (uint64_t id = 1; id <= c->o.nodes; id++)
		cluster_crash(c, id, CLUSTER_CRASH_POWER);
	for (uint64_t id = 1; id <= c->o.nodes; id++)
		cluster_restart(c, id);
}

/* Anybody may campaign at any time: that costs peace, never safety. */
static void kick(struct cluster *c, uint64_t id)
{
	struct raft_msg m = {.type = RAFT_MSG_TIMEOUT_NOW, .to = id};

	if (!cluster_runs(c, id))
		return;
	struct raft_status s = cluster_status(c, id);

	m.from = s.leader;
	m.term = s.term;
	if (s.leader != 0 && s.leader != id)
		cluster_deliver(c, &m);
}

void cluster_nemesis(struct cluster *c)
{
	uint64_t a = any_node(c), b = any_node(c);

	switch (cluster_rand(c, 20)) {
	case 0:
		cluster_crash(c, a, any_crash(c));
		break;
	case 1:
		if (cluster_leader(c))
			cluster_crash(c, cluster_leader(c), any_crash(c));
		break;
	case 2:
	case 3:
	case 4:
		restart_one(c);
		break;
	case 5:
		cluster_isolate(c, a);
		break;
	case 6:
		if (cluster_leader(c))
			cluster_isolate(c, cluster_leader(c));
		break;
	case 7:
		cluster_cut(c, a, b, a != b);
		break;
	case 8:
		split(c);
		break;
	case 9:
	case 10:
		cluster_heal(c);
		break;
	case 11:
		break_link(c);
		break;
	case 12:
		cluster_pause(c, a, 1 + (uint32_t)cluster_rand(c, 1000));
		break;
	case 13:
		transfer(c);
		break;
	case 14:
		if (cluster_runs(c, a))
			cluster_compact(c, a, cluster_rand(c, 20));
		break;
	case 15:
	case 16:
		kick(c, a);
		kick(c, b);
		break;
	case 17:
	case 18:
		cluster_crash(c, a, any_crash(c));
		if (c->nodes[a].r == NULL)
			cluster_restart(c, a);
		break;
	default:
		if (cluster_chance(c, 200))
			blackout(c);
		break;
	}
}

static void mend(struct cluster *c)
{
	c->o.drop_permille = c->o.repeat_permille = 0;
	c->o.grant_empty_permille = 0;
	for (uint64_t id = 1; id <= c->o.nodes; id++) {
		if (c->nodes[id].r == NULL)
			cluster_restart(c, id);
		cluster_resume(c, id);
	}
	cluster_heal(c);
}

static bool reads_done(struct cluster *c)
{
	for (size_t i = 0; i < c->read_count; i++) {
		if (c->reads[i].state == CLUSTER_READ_PENDING)
			return false;
	}
	return true;
}

static bool steady(struct cluster *c)
{
	return cluster_settled(c) && cluster_status(c, cluster_leader(c)).transfer_to == 0;
}

bool cluster_ordeal(struct cluster *c, uint32_t ms)
{
	mono_t end = mono_add_ms(c->now, ms);

	while (mono_before(c->now, end) && cluster_run(c, 1 + (uint32_t)cluster_rand(c, 10))) {
		cluster_load(c);
		if (cluster_chance(c, c->o.nemesis_permille))
			cluster_nemesis(c);
	}
	if (c->failure[0])
		return false;
	mend(c);
	/* A late TIMEOUT_NOW may still bring one more election, so peace is asked for last. */
	if (!cluster_run_until(c, steady, 10000) || !cluster_run_until(c, reads_done, 2000) ||
	    !cluster_run_until(c, steady, 5000))
		return false;

	uint64_t before = cluster_committed(c);

	if (cluster_propose(c, cluster_leader(c), 1) != ERR_OK)
		cluster_fail(c, "a settled leader refuses a proposal");
	return cluster_run_until(c, cluster_settled, 5000) && cluster_committed(c) > before;
}
