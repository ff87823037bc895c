/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four roles (thesis 3.3, figure 3.3, with the pre-candidate of 9.6) and the moves between
 * them. Every change of role, term or leader goes through raft_become().
 *
 *             silence                quorum would vote          quorum voted,
 *                                                               own vote durable
 *   FOLLOWER --------> PRECANDIDATE -----------------> CANDIDATE ---------------> LEADER
 *    |  ^ ^                |   ^                        |  ^   |                    |
 *    |  | '----------------'   '------------------------'  |   |                    |
 *    |  |  leader found, newer        silence again        |   |                    |
 *    |  |  term, or refused                                |   |                    |
 *    |  '--------------------------------------------------+---'--------------------'
 *    |     leader found, newer term, refused, no quorum    |
 *    '-----------------------------------------------------'
 *          TIMEOUT_NOW: the leader chose us
 */
#include "base/check.h"
#include "raftd/core/raft_core.h"

static const bool allowed[RAFT_ROLE_COUNT][RAFT_ROLE_COUNT] = {
	[RAFT_FOLLOWER] = {
		[RAFT_FOLLOWER] = true,    /* another term or leader */
		[RAFT_PRECANDIDATE] = true,
		[RAFT_CANDIDATE] = true,
	},
	[RAFT_PRECANDIDATE] = {
		[RAFT_FOLLOWER] = true,
		[RAFT_PRECANDIDATE] = true,   /* asks again */
		[RAFT_CANDIDATE] = true,
	},
	[RAFT_CANDIDATE] = {
		[RAFT_FOLLOWER] = true,
		[RAFT_PRECANDIDATE] = true,
		[RAFT_LEADER] = true,
	},
	[RAFT_LEADER] = {
		[RAFT_FOLLOWER] = true,
	},
};

/* A new term, with no vote cast in it (thesis 3.3). Candidates vote for themselves next. */
static void term_enter(struct raft *r, uint64_t term)
{
	CHECK(term > r->term && term <= RAFT_TERM_MAX);
	r->term = term;
	r->vote = 0;
	r->hard_dirty = true;
}

static void leadership_leave(struct raft *r)
{
	r->transfer_to = 0;
	r->transfer_told = false;
	r->term_first = 0;
	r->round = 0;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct raft_peer *p = &r->peers[i];

		raft_progress_probe(p, 1);
		p->match = 0;
		p->round_acked = 0;
		p->commit_sent = 0;
		p->beat_due = false;
		p->read_slot = RAFT_READ_NONE;
	}
}

void raft_become(struct raft *r, enum raft_role role, uint64_t term, uint64_t leader,
		 const char *reason)
{
	enum raft_role from = r->role;

	CHECK(allowed[from][role]);
	CHECK(term >= r->term);
	CHECK(term == r->term || role == RAFT_FOLLOWER || role == RAFT_CANDIDATE);
	if (role == RAFT_FOLLOWER && from == RAFT_FOLLOWER && term == r->term &&
	    leader == r->leader)
		return;
	raft_read_fail_all(r);             /* their round or request belongs to what was */
	if (from == RAFT_LEADER)
		leadership_leave(r);
	if (term > r->term)
		term_enter(r, term);
	r->role = role;
	r->leader = leader;
	for (uint32_t i = 0; i < r->peer_count; i++)
		r->peers[i].vote = RAFT_VOTE_OPEN;
	/* A follower keeps its timer: only a leader, or a vote given, earns it more patience. */
	if (!(from == RAFT_FOLLOWER && role == RAFT_FOLLOWER))
		raft_election_reset_timer(r);

	struct raft_effect *e = raft_emit(r, RAFT_FX_ROLE);

	e->role.role = role;
	e->role.term = r->term;
	e->role.leader = leader;
	e->role.reason = reason;
}
