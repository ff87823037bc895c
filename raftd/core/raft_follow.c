/* SPDX-License-Identifier: Apache-2.0 */
/* A follower's answer to APPEND: thesis 3.5 and figure 3.1, "AppendEntries RPC". */
#include "base/check.h"
#include "base/err.h"
#include "raftd/core/raft_core.h"

enum plan_kind { PLAN_ACCEPT, PLAN_REJECT, PLAN_LIE };

struct plan {
	enum plan_kind kind;
	uint32_t skip;                   /* entries we have already */
	bool truncate;                   /* what we have from there on contradicts the leader */
};

/* Do we agree at index? What lies before the base is committed, and so is the leader's. */
static bool agrees(const struct raft *r, uint64_t index, uint64_t term)
{
	return index < raft_terms_base(&r->log) || raft_terms_at(&r->log, index) == term;
}

/* Reads only: what the message means for our log, before anything is changed. */
static struct plan append_plan(const struct raft *r, const struct raft_msg_append *a)
{
	struct plan p = {PLAN_ACCEPT, 0, false};

	if (!agrees(r, a->prev_index, a->prev_term)) {
		p.kind = a->prev_index <= r->commit ? PLAN_LIE : PLAN_REJECT;
		return p;
	}
	while (p.skip < a->n) {
		uint64_t index = a->prev_index + 1 + p.skip;

		if (index > r->log.last)
			break;
		if (!agrees(r, index, a->terms[p.skip])) {
			p.truncate = true;
			p.kind = index <= r->commit ? PLAN_LIE : PLAN_ACCEPT;
			break;
		}
		p.skip++;
	}
	return p;
}

/* Removing what contradicts the leader is the only way a log ever shrinks at its end. */
static void log_truncate(struct raft *r, uint64_t from)
{
	struct raft_effect *e;

	CHECK(from > r->commit);
	raft_terms_truncate(&r->log, from);
	if (r->durable >= from)
		r->durable = from - 1;
	r->cut_seq = raft_emit_log(r, RAFT_FX_TRUNCATE, &e);
	e->truncate.from = from;
}

static uint64_t log_append(struct raft *r, const struct raft_msg_append *a, uint32_t skip)
{
	struct raft_effect *e;
	uint64_t seq = raft_emit_log(r, RAFT_FX_APPEND, &e);

	e->append.first = r->log.last + 1;
	e->append.n = a->n - skip;
	e->append.skip = skip;
	for (uint32_t i = skip; i < a->n; i++)
		raft_terms_append(&r->log, a->terms[i], 1);
	CHECK(r->log.last == a->prev_index + a->n);
	return seq;
}

/*
 * Thesis 3.5, end: tell the leader where our log may agree with its, so that it skips whole terms
 * instead of single entries. Our entries above the hint have later terms than its prev_term, so
 * they cannot be its.
 */
static void append_reject(struct raft *r, const struct raft_msg *m)
{
	struct raft_msg answer = {.type = RAFT_MSG_APPEND_RESP, .to = m->from};
	struct raft_msg_append_resp *a = &answer.append_resp;

	a->reject = true;
	a->round = m->append.round;
	a->index = m->append.prev_index;
	a->hint_index = raft_terms_at_most(&r->log, m->append.prev_index, m->append.prev_term);
	a->hint_term = raft_terms_at(&r->log, a->hint_index);
	raft_emit_send(r, answer, 0);
}

/*
 * New entries are acknowledged once they are durable. An append that brings nothing new is answered
 * at once with what is durable already: heartbeats and read rounds must not wait for the disk.
 */
static void append_accept(struct raft *r, const struct raft_msg *m, struct plan plan)
{
	const struct raft_msg_append *in = &m->append;
	struct raft_msg answer = {.type = RAFT_MSG_APPEND_RESP, .to = m->from};
	struct raft_msg_append_resp *a = &answer.append_resp;
	uint64_t need_seq = 0;

	a->round = in->round;
	a->index = in->prev_index + in->n;
	a->match = a->index < r->durable ? a->index : r->durable;
	if (plan.truncate)
		log_truncate(r, in->prev_index + 1 + plan.skip);
	if (plan.skip < in->n) {
		need_seq = log_append(r, in, plan.skip);
		a->match = a->index;
	}

	uint64_t commit = in->commit < a->index ? in->commit : a->index;

	if (commit > r->commit)
		r->commit = commit;
	raft_emit_send(r, answer, need_seq);
}

int raft_recv_append(struct raft *r, const struct raft_msg *m)
{
	if (m->term == r->term &&
	    (r->role == RAFT_LEADER || (r->leader != 0 && r->leader != m->from)))
		return raft_refuse(r, RAFT_REFUSED_TWO_LEADERS);

	struct plan plan = append_plan(r, &m->append);

	if (plan.kind == PLAN_LIE)
		return raft_refuse(r, RAFT_REFUSED_CONTRADICTS_COMMIT);
	raft_become(r, RAFT_FOLLOWER, m->term, m->from, "heard from a leader");
	raft_election_reset_timer(r);
	r->leader_heard = r->now;
	if (plan.kind == PLAN_REJECT)
		append_reject(r, m);
	else
		append_accept(r, m, plan);
	return ERR_OK;
}
