/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: a message is looked at in this order, and the first thing wrong ends it.
 *   who and to whom -> is its shape possible -> its term against ours -> the handler of its type
 * Nothing changes before the shape is known to be possible, so a lying message leaves no trace
 * but its count.
 */
#include "base/err.h"
#include "raftd/core/raft_core.h"

static bool vote_possible(const struct raft_msg *m)
{
	const struct raft_msg_vote *v = &m->vote;

	return v->last_index <= RAFT_INDEX_MAX && v->last_term < m->term &&
	       (v->last_index == 0) == (v->last_term == 0);
}

static bool append_possible(const struct raft_msg *m)
{
	const struct raft_msg_append *a = &m->append;

	return a->prev_index <= RAFT_INDEX_MAX - LIMIT_APPEND_ENTRIES &&
	       a->commit <= RAFT_INDEX_MAX && a->n <= LIMIT_APPEND_ENTRIES &&
	       (a->n == 0 || a->terms != NULL) && (a->prev_index == 0) == (a->prev_term == 0);
}

/* A leader's log never goes back in term, and holds nothing newer than its term (thesis 3.6.3). */
static bool append_ordered(const struct raft_msg *m)
{
	uint64_t term = m->append.prev_term;

	for (uint32_t i = 0; i < m->append.n; i++) {
		if (m->append.terms[i] < term || m->append.terms[i] == 0)
			return false;
		term = m->append.terms[i];
	}
	return term <= m->term;
}

static bool append_resp_possible(const struct raft_msg *m)
{
	const struct raft_msg_append_resp *a = &m->append_resp;

	if (a->index > RAFT_INDEX_MAX || a->hint_index > RAFT_INDEX_MAX)
		return false;
	return a->reject || a->match <= a->index;
}

static int shape_check(struct raft *r, const struct raft_msg *m)
{
	bool possible = m->term <= RAFT_TERM_MAX;

	switch (m->type) {
	case RAFT_MSG_PREVOTE:
	case RAFT_MSG_VOTE:
		possible = possible && vote_possible(m);
		break;
	case RAFT_MSG_APPEND:
		possible = possible && append_possible(m);
		if (possible && !append_ordered(m))
			return raft_refuse(r, RAFT_REFUSED_TERMS_UNORDERED);
		break;
	case RAFT_MSG_APPEND_RESP:
		possible = possible && append_resp_possible(m);
		break;
	case RAFT_MSG_READ_RESP:
		possible = possible && m->read.index <= RAFT_INDEX_MAX;
		break;
	case RAFT_MSG_PREVOTE_RESP:
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_READ_REQ:
	case RAFT_MSG_TIMEOUT_NOW:
		break;
	default:
		return raft_refuse(r, RAFT_REFUSED_UNKNOWN_TYPE);
	}
	return possible ? ERR_OK : raft_refuse(r, RAFT_REFUSED_OUT_OF_RANGE);
}

/* The sender lives in the past: whoever acts on its term must learn ours (thesis 3.3). */
static int recv_old_term(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg answer = {.to = m->from};

	if (m->type == RAFT_MSG_APPEND) {
		answer.type = RAFT_MSG_APPEND_RESP;
		/* Of index 0: it must not pass for news of the log. */
		answer.append_resp.reject = true;
		raft_emit_send(r, answer, 0);
	} else if (m->type == RAFT_MSG_VOTE) {
		answer.type = RAFT_MSG_VOTE_RESP;
		raft_emit_send(r, answer, 0);
	}
	return raft_refuse(r, RAFT_REFUSED_OLD_TERM);
}

/* Has the sender shown that it lives in a newer term? Being asked about one shows nothing. */
static bool shows_new_term(const struct raft *r, const struct raft_msg *m)
{
	if (m->term <= r->term || m->type == RAFT_MSG_PREVOTE)
		return false;
	return m->type != RAFT_MSG_PREVOTE_RESP || !m->vote_resp.granted;
}

static int recv_dispatch(struct raft *r, struct raft_peer *p, const struct raft_msg *m)
{
	switch (m->type) {
	case RAFT_MSG_VOTE:
		return raft_recv_vote(r, m);
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_PREVOTE_RESP:
		return raft_recv_vote_resp(r, p, m);
	case RAFT_MSG_APPEND_RESP:
		return raft_recv_append_resp(r, p, m);
	case RAFT_MSG_READ_REQ:
		return raft_recv_read_req(r, p, m);
	case RAFT_MSG_READ_RESP:
		return raft_recv_read_resp(r, m);
	case RAFT_MSG_TIMEOUT_NOW:
		return raft_recv_timeout_now(r, m);
	default:
		return raft_refuse(r, RAFT_REFUSED_UNKNOWN_TYPE);
	}
}

int raft_recv(struct raft *r, const struct raft_msg *m)
{
	struct raft_peer *p = raft_peer_find(r, m->from);

	if (p == NULL)
		return raft_refuse(r, RAFT_REFUSED_UNKNOWN_SENDER);
	if (m->to != r->id)
		return raft_refuse(r, RAFT_REFUSED_WRONG_ADDRESSEE);

	int rc = shape_check(r, m);

	if (rc)
		return rc;
	if (m->type == RAFT_MSG_PREVOTE)
		return raft_recv_prevote(r, m);
	if (m->term < r->term)
		return recv_old_term(r, m);
	/* Thesis 4.2.3: who has just heard from a leader does not let a candidate disturb it. */
	if (m->type == RAFT_MSG_VOTE && m->term > r->term && !m->vote.transfer &&
	    raft_election_sticky(r))
		return raft_refuse(r, RAFT_REFUSED_STICKY);
	if (m->type == RAFT_MSG_APPEND) {
		rc = raft_recv_append(r, m);   /* names the leader of its term as well */
	} else {
		if (shows_new_term(r, m))
			raft_become(r, RAFT_FOLLOWER, m->term, 0, "newer term");
		rc = recv_dispatch(r, p, m);
	}
	if (rc == ERR_OK) {
		p->heard = r->now;
		p->heard_ever = true;
	}
	return rc;
}
