/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leadership transfer, thesis 3.10: take no more proposals, bring the successor up to date, tell
 * it to campaign at once. If it has not taken over within an election timeout, go on as before.
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
