/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, one line each: time in ms, node, event; effects are indented. */
#include "tests/lib/raft_cluster_int.h"

void cluster_trace_event(struct cluster *c, const struct cluster_node *n,
			 const struct raft_event *ev)
{
	const struct raft_msg *m = ev->msg;

	if (!c->o.trace)
		return;
	fprintf(c->o.trace, "%9.3f %llu %s", (double)c->now.ns / 1e6, (unsigned long long)n->id,
		raft_event_name(ev->type));
	if (ev->type == RAFT_EV_RECV)
		fprintf(c->o.trace, " %s from %llu term %llu", raft_msg_name(m->type),
			(unsigned long long)m->from, (unsigned long long)m->term);
	if (ev->type == RAFT_EV_RECV && m->type == RAFT_MSG_APPEND)
		fprintf(c->o.trace, " prev %llu@%llu n %u commit %llu round %llu",
			(unsigned long long)m->append.prev_index,
			(unsigned long long)m->append.prev_term, (unsigned)m->append.n,
			(unsigned long long)m->append.commit, (unsigned long long)m->append.round);
	if (ev->type == RAFT_EV_RECV && m->type == RAFT_MSG_APPEND_RESP)
		fprintf(c->o.trace, " %s index %llu match %llu round %llu hint %llu@%llu",
			m->append_resp.reject ? "reject" : "accept",
			(unsigned long long)m->append_resp.index,
			(unsigned long long)m->append_resp.match,
			(unsigned long long)m->append_resp.round,
			(unsigned long long)m->append_resp.hint_index,
			(unsigned long long)m->append_resp.hint_term);
	if (ev->type == RAFT_EV_RECV &&
	    (m->type == RAFT_MSG_VOTE_RESP || m->type == RAFT_MSG_PREVOTE_RESP))
		fprintf(c->o.trace, " %s", m->vote_resp.granted ? "granted" : "refused");
	fprintf(c->o.trace, "\n");
}

void cluster_trace_effect(struct cluster *c, const struct cluster_node *n,
			  const struct raft_effect *e)
{
	if (!c->o.trace)
		return;
	fprintf(c->o.trace, "%9.3f %llu   %s", (double)c->now.ns / 1e6, (unsigned long long)n->id,
		raft_effect_name(e->type));
	if (e->type == RAFT_FX_ROLE)
		fprintf(c->o.trace, " %s term %llu leader %llu, %s", raft_role_name(e->role.role),
			(unsigned long long)e->role.term, (unsigned long long)e->role.leader,
			e->role.reason);
	else if (e->type == RAFT_FX_SEND)
		fprintf(c->o.trace, " %s to %llu need %llu", raft_msg_name(e->send.msg.type),
			(unsigned long long)e->send.msg.to, (unsigned long long)e->send.need_seq);
	else if (e->type == RAFT_FX_REPLICATE)
		fprintf(c->o.trace, " to %llu (%llu, %llu]", (unsigned long long)e->replicate.peer,
			(unsigned long long)e->replicate.prev_index,
			(unsigned long long)e->replicate.last);
	else if (e->type == RAFT_FX_COMMIT || e->type == RAFT_FX_TRUNCATE ||
		 e->type == RAFT_FX_RESET)
		fprintf(c->o.trace, " %llu", (unsigned long long)e->commit.index);
	else if (e->type == RAFT_FX_APPEND)
		fprintf(c->o.trace, " first %llu n %u skip %u", (unsigned long long)e->append.first,
			(unsigned)e->append.n, (unsigned)e->append.skip);
	fprintf(c->o.trace, "\n");
}
