/* SPDX-License-Identifier: Apache-2.0 */
/* Elections: thesis 3.4 and 3.6.1, with pre-vote (9.6) and leader stickiness (4.2.3). */
#include "base/check.h"
#include "base/err.h"
#include "raftd/core/raft_core.h"

/* Drawn anew each time, so that split votes do not repeat (thesis 3.4). */
void raft_election_reset_timer(struct raft *r)
{
	uint64_t span_us = (uint64_t)(r->cfg.election_max_ms - r->cfg.election_min_ms) * 1000 + 1;
	int64_t us = (int64_t)(r->cfg.election_min_ms * 1000ull + raft_rand(r) % span_us);

	r->election_at = mono_add_us(r->now, us);
}

/* A leader counts as heard from all the time: check-quorum ends it when it no longer is. */
bool raft_election_sticky(const struct raft *r)
{
	if (r->role == RAFT_LEADER)
		return true;
	return r->leader != 0 &&
	       mono_sub_ms(r->now, r->leader_heard) < (int64_t)r->cfg.election_min_ms;
}

void raft_election_ask(struct raft *r, const struct raft_peer *p)
{
	struct raft_msg m = {.to = p->id};

	m.vote.last_index = r->log.last;
	m.vote.last_term = raft_terms_last(&r->log);
	if (r->role == RAFT_PRECANDIDATE) {
		m.type = RAFT_MSG_PREVOTE;
		m.term = r->term + 1;
	} else {
		m.type = RAFT_MSG_VOTE;
	}
	raft_emit_send(r, m, 0);
}

/* Our own vote is cast once it is durable. */
static bool own_vote_counts(const struct raft *r)
{
	return r->role == RAFT_PRECANDIDATE || (!r->hard_dirty && r->durable_seq >= r->hard_seq);
}

/* Silence: ask first whether an election could be won, without touching the term (thesis 9.6). */
void raft_election_timeout(struct raft *r)
{
	CHECK(r->role != RAFT_LEADER);
	raft_election_reset_timer(r);
	if (r->term >= RAFT_TERM_MAX)
		return;
	if (r->role == RAFT_CANDIDATE && !own_vote_counts(r))
		return;                    /* a slow disk does not get faster by one more term */
	raft_become(r, RAFT_PRECANDIDATE, r->term, 0, "heard from no leader");
	for (uint32_t i = 0; i < r->peer_count; i++)
		raft_election_ask(r, &r->peers[i]);
	raft_election_tally(r);
}

/* Thesis 3.4: a new term, a vote for itself, and a request to all others. */
void raft_election_campaign(struct raft *r, bool transfer)
{
	if (r->term >= RAFT_TERM_MAX)
		return;
	raft_become(r, RAFT_CANDIDATE, r->term + 1, 0,
		    transfer ? "chosen by the leader" : "a quorum would vote");
	r->vote = r->id;
	r->hard_dirty = true;
	r->elections++;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct raft_msg m = {.type = RAFT_MSG_VOTE, .to = r->peers[i].id};

		m.vote.last_index = r->log.last;
		m.vote.last_term = raft_terms_last(&r->log);
		m.vote.transfer = transfer;
		raft_emit_send(r, m, 0);
	}
	raft_emit_hard_state(r);
}

/* Nobody can have answered before that (VOTE is held until then), whoever says so. */
void raft_election_tally(struct raft *r)
{
	uint32_t yes = 1, no = 0;

	if (!own_vote_counts(r))
		return;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		yes += r->peers[i].vote == RAFT_VOTE_YES;
		no += r->peers[i].vote == RAFT_VOTE_NO;
	}
	if (yes >= r->quorum && r->role == RAFT_PRECANDIDATE)
		raft_election_campaign(r, false);
	else if (yes >= r->quorum && r->role == RAFT_CANDIDATE)
		raft_lead_begin(r);
	else if (no > r->peer_count + 1 - r->quorum)
		raft_become(r, RAFT_FOLLOWER, r->term, 0, "a quorum refused");
}

/* Thesis 3.6.1: the log with the later last term wins, then the longer one. */
static bool log_up_to_date(const struct raft *r, const struct raft_msg_vote *v)
{
	uint64_t last_term = raft_terms_last(&r->log);

	return v->last_term > last_term ||
	       (v->last_term == last_term && v->last_index >= r->log.last);
}

int raft_recv_prevote(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg answer = {.type = RAFT_MSG_PREVOTE_RESP, .to = m->from};

	if (m->term > r->term && !raft_election_sticky(r) && log_up_to_date(r, &m->vote)) {
		answer.term = m->term;
		answer.vote_resp.granted = true;
	}
	raft_emit_send(r, answer, 0);
	return ERR_OK;
}

/* In our term by now. First come, first served, one vote a term (thesis 3.4). */
int raft_recv_vote(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg answer = {.type = RAFT_MSG_VOTE_RESP, .to = m->from};
	bool free = r->vote == m->from || (r->vote == 0 && r->leader == 0);

	if (free && log_up_to_date(r, &m->vote)) {
		CHECK(r->role == RAFT_FOLLOWER || r->role == RAFT_PRECANDIDATE);
		if (r->role == RAFT_PRECANDIDATE)
			raft_become(r, RAFT_FOLLOWER, r->term, 0, "voted for another");
		if (r->vote == 0) {
			r->vote = m->from;
			r->hard_dirty = true;
		}
		raft_election_reset_timer(r);
		answer.vote_resp.granted = true;
	}
	raft_emit_send(r, answer, 0);
	return ERR_OK;
}

int raft_recv_vote_resp(struct raft *r, struct raft_peer *p, const struct raft_msg *m)
{
	bool pre = m->type == RAFT_MSG_PREVOTE_RESP;
	uint64_t term = pre && m->vote_resp.granted ? r->term + 1 : r->term;

	if (r->role != (pre ? RAFT_PRECANDIDATE : RAFT_CANDIDATE) || m->term != term ||
	    p->vote != RAFT_VOTE_OPEN)
		return raft_refuse(r, RAFT_REFUSED_NOT_FOR_ME_NOW);
	p->vote = m->vote_resp.granted ? RAFT_VOTE_YES : RAFT_VOTE_NO;
	raft_election_tally(r);
	return ERR_OK;
}
