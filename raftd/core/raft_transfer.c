/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leadership transfer, thesis 3.10: take no more proposals, bring the successor up to date, tell
 * it to campaign at once. If it has not taken over within an election timeout, go on as before.
 * A leader whose own disk is stalled hands over by itself.
 */
#include "base/err.h"
#include "raftd/core/raft_core.h"

static struct raft_peer *best_successor(struct raft *r)
{
	struct raft_peer *best = NULL;

	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct raft_peer *p = &r->peers[i];

		if (p->up && raft_lead_hears(r, p) && (best == NULL || best->match < p->match))
			best = p;
	}
	return best;
}

int raft_transfer_start(struct raft *r, uint64_t target)
{
	if (r->role != RAFT_LEADER)
		return r->leader ? ERR_NOT_LEADER : ERR_NO_LEADER;
	if (target == r->id)
		return ERR_OK;

	struct raft_peer *p = target ? raft_peer_find(r, target) : best_successor(r);

	if (p == NULL || !p->up)
		return ERR_BAD_TARGET;
	if (r->transfer_to == p->id)
		return ERR_OK;
	if (r->transfer_to)
		raft_transfer_abort(r);
	r->transfer_to = p->id;
	r->transfer_told = false;
	r->transfer_end = mono_add_ms(r->now, r->cfg.election_max_ms);
	return ERR_OK;
}

/* Are those who are there now, without this node, a quorum that has synced what it has not? */
static bool others_suffice(const struct raft *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->peer_count; i++) {
		const struct raft_peer *p = &r->peers[i];

		n += p->up && raft_lead_hears(r, p) && p->match > r->durable;
	}
	return n >= r->quorum;
}

/*
 * A leader whose disk hangs would lead on: heartbeats need no disk. But its log takes no more once
 * the batch that gathers is full, and nothing it leads is ever known to be committed on its own
 * node. So it steps down in favour of a peer, if a quorum without it has synced what it has not:
 * then its disk is the slow one, and the others can do without it (its next vote needs that disk).
 * Its messages need no more of the disk than the vote of its term, which is long durable.
 */
bool raft_transfer_stalled(struct raft *r)
{
	int64_t patience_ms = (int64_t)RAFT_DISK_PATIENCE * r->cfg.election_max_ms;
	struct raft_msg m = {.type = RAFT_MSG_TIMEOUT_NOW};
	struct raft_peer *p;

	if (r->durable_seq == r->seq || !others_suffice(r) ||
	    mono_before(r->now, mono_add_ms(r->disk_moved, patience_ms)))
		return false;
	p = best_successor(r);
	if (p == NULL)
		return false;
	m.to = p->id;
	raft_emit_send(r, m, 0);
	raft_become(r, RAFT_FOLLOWER, r->term, 0, "its disk is stalled, others' are not: handed over");
	return true;
}

void raft_transfer_advance(struct raft *r)
{
	if (r->transfer_to == 0 || r->transfer_told)
		return;

	struct raft_peer *p = raft_peer_find(r, r->transfer_to);
	struct raft_msg m = {.type = RAFT_MSG_TIMEOUT_NOW, .to = p->id};

	if (p->match < r->log.last)
		return;
	r->transfer_told = true;
	raft_emit_send(r, m, 0);
}

void raft_transfer_abort(struct raft *r)
{
	raft_emit(r, RAFT_FX_TRANSFER_ABORTED)->peer.peer = r->transfer_to;
	r->transfer_to = 0;
	r->transfer_told = false;
}

int raft_recv_timeout_now(struct raft *r, const struct raft_msg *m)
{
	if (r->role != RAFT_FOLLOWER || r->leader != m->from)
		return raft_refuse(r, RAFT_REFUSED_NOT_FOR_ME_NOW);
	raft_election_campaign(r, true);
	return ERR_OK;
}
