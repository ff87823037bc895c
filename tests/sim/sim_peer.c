/* SPDX-License-Identifier: Apache-2.0 */
/* Between raftds: the core's messages as bytes, and a network that does what it likes with them. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_int.h"

/* ---- the network ---- */

void sim_net_deliver(struct sim *s, uint64_t from, uint64_t to, struct bytes frame)
{
	uint32_t slow_us = s->slow ? 120000 : sim_chance(s, SIM_CH_NET, 20) ? 15000 : 1000;

	sim_schedule(s, (struct sim_event){.kind = SIM_EV_PEER_FRAME, .node = (uint8_t)to,
		.daemon = SIM_RAFTD, .a = from, .at = sim_soon(s, SIM_CH_NET, 100, slow_us),
		.data = bytes_of(mem_dup(frame.data, frame.len), frame.len)});
}

/* What is under way from and to a node when it is cut off does not arrive. */
void sim_net_lose(struct sim *s, uint64_t id, bool from, bool to)
{
	for (size_t i = 0; i < s->n_events; i++) {
		struct sim_event *ev = &s->events[i];

		if (ev->kind == SIM_EV_PEER_FRAME && ((to && ev->node == id) || (from && ev->a == id)))
			ev->kind = SIM_EV_NOTHING;
	}
}

/* Now and then one is kept, to come again much later. */
static void net_remember(struct sim *s, uint64_t from, uint64_t to, struct bytes frame)
{
	uint32_t i = s->old_next % (uint32_t)ARRAY_LEN(s->old_frame);
	void *p;

	if (!sim_chance(s, SIM_CH_NET, 100))
		return;
	memcpy(&p, &s->old_frame[i].data, sizeof p);
	free(p);
	s->old_frame[i] = bytes_of(mem_dup(frame.data, frame.len), frame.len);
	s->old_way[i].from = (uint8_t)from;
	s->old_way[i].to = (uint8_t)to;
	s->old_next++;
}

void sim_peer_send(struct sim_node *n, uint64_t to, uint32_t number, const struct msg_desc *d,
		   const void *msg)
{
	struct sim *s = n->s;
	uint32_t loss = s->calm ? 0 : s->loss ? s->loss_permille : 1;
	struct bytes frame;

	buf_clear(&s->frame);
	CHECK(msg_frame(&s->frame, number, 0, d, msg) == ERR_OK);
	frame = bytes_of(s->frame.data + MSG_FRAME_HEAD, s->frame.len - MSG_FRAME_HEAD);
	net_remember(s, n->id, to, frame);
	if (s->cut[n->id][to] || sim_chance(s, SIM_CH_NET, loss))
		return;
	sim_net_deliver(s, n->id, to, frame);
	if (sim_chance(s, SIM_CH_NET, loss))
		sim_net_deliver(s, n->id, to, frame);
}

/* ---- sending what the core says ---- */

void sim_peer_raft(struct sim_node *n, const struct raft_msg *m)
{
	sim_oracle_sending(n, m);
	switch (m->type) {
	case RAFT_MSG_PREVOTE:
	case RAFT_MSG_VOTE: {
		struct peer_vote v = {m->term, m->type == RAFT_MSG_PREVOTE, m->vote.transfer,
				      m->vote.last_index, m->vote.last_term};
		sim_peer_send(n, m->to, MSG_NO_peer_vote, &peer_vote_desc, &v);
		break;
	}
	case RAFT_MSG_PREVOTE_RESP:
	case RAFT_MSG_VOTE_RESP: {
		struct peer_vote_resp v = {m->term, m->type == RAFT_MSG_PREVOTE_RESP,
					   m->vote_resp.granted};
		if (m->type == RAFT_MSG_VOTE_RESP && v.granted)
			sim_moment(n, SIM_MOMENT_VOTED, m->to);
		sim_peer_send(n, m->to, MSG_NO_peer_vote_resp, &peer_vote_resp_desc, &v);
		break;
	}
	case RAFT_MSG_APPEND_RESP: {
		struct peer_append_resp v = {m->term, m->append_resp.round, m->append_resp.reject,
					     m->append_resp.index, m->append_resp.match,
					     m->append_resp.hint_index, m->append_resp.hint_term};
		if (!v.reject && v.match > 0 && v.match == n->raftd.log.last)
			sim_moment(n, SIM_MOMENT_ACKED, m->to);
		sim_peer_send(n, m->to, MSG_NO_peer_append_resp, &peer_append_resp_desc, &v);
		break;
	}
	case RAFT_MSG_READ_REQ: {
		struct peer_read v = {m->term, m->read.id};
		sim_peer_send(n, m->to, MSG_NO_peer_read, &peer_read_desc, &v);
		break;
	}
	case RAFT_MSG_READ_RESP: {
		struct peer_read_resp v = {m->term, m->read.id, m->read.ok, m->read.index};
		sim_peer_send(n, m->to, MSG_NO_peer_read_resp, &peer_read_resp_desc, &v);
		break;
	}
	case RAFT_MSG_TIMEOUT_NOW: {
		struct peer_timeout_now v = {m->term};
		sim_peer_send(n, m->to, MSG_NO_peer_timeout_now, &peer_timeout_now_desc, &v);
		break;
	}
	case RAFT_MSG_APPEND:
	case RAFT_MSG_NONE:
	case RAFT_MSG_COUNT:
		panic("the core sends no such message");
	}
}

/* ---- receiving ---- */

static void peer_recv(struct sim_node *n, const struct raft_msg *m)
{
	if (sim_step(n, (struct raft_event){.type = RAFT_EV_RECV, .msg = m}) != ERR_OK &&
	    n->raftd.r != NULL)
		sim_fail(n->s, "node %llu calls an honest %s a lie", (unsigned long long)n->id,
			 raft_msg_name(m->type));
}

static void recv_append(struct sim_node *n, struct raft_msg *m, const struct peer_append *in)
{
	uint64_t terms[16];

	CHECK(in->entries.n <= ARRAY_LEN(terms));
	for (size_t i = 0; i < in->entries.n; i++)
		terms[i] = in->entries.v[i].term;
	m->type = RAFT_MSG_APPEND;
	m->append = (struct raft_msg_append){in->prev_index, in->prev_term, in->commit, in->round,
					     (uint32_t)in->entries.n, terms};
	n->raftd.received = in;
	peer_recv(n, m);
}

static void recv_propose(struct sim_node *n, uint64_t from, const struct peer_propose *in)
{
	for (size_t i = 0; i < in->proposals.n && n->raftd.r != NULL; i++) {
		const struct peer_proposal *p = &in->proposals.v[i];
		struct raftd_proposal v = {p->seq, p->command};

		sim_raftd_propose(n, &v, 1, p->gateway, from);
	}
}

static void recv_refuse(struct sim_node *n, const struct peer_refuse *in)
{
	for (size_t i = 0; i < in->refused.n; i++) {
		struct raftd_refused v = {in->refused.v[i].seq, in->refused.v[i].error};
		struct raftd_refuse m = {.refused = {&v, 1}};

		if (n->gateway.up && n->gateway.clnt.incarnation == in->refused.v[i].gateway)
			sim_local_send(n, SIM_GATEWAY_RAFTD, SIM_GATEWAY, MSG_NO_raftd_refuse,
				       &raftd_refuse_desc, &m);
	}
}

static void recv_raft(struct sim_node *n, struct raft_msg *m, const struct msg_in *in)
{
	if (in->row->number == MSG_NO_peer_vote) {
		const struct peer_vote *v = in->msg;

		m->type = v->pre ? RAFT_MSG_PREVOTE : RAFT_MSG_VOTE;
		m->term = v->term;
		m->vote = (struct raft_msg_vote){v->last_index, v->last_term, v->transfer};
	} else if (in->row->number == MSG_NO_peer_vote_resp) {
		const struct peer_vote_resp *v = in->msg;

		m->type = v->pre ? RAFT_MSG_PREVOTE_RESP : RAFT_MSG_VOTE_RESP;
		m->term = v->term;
		m->vote_resp.granted = v->granted;
	} else if (in->row->number == MSG_NO_peer_append_resp) {
		const struct peer_append_resp *v = in->msg;

		m->type = RAFT_MSG_APPEND_RESP;
		m->term = v->term;
		m->append_resp = (struct raft_msg_append_resp){v->round, v->reject, v->index, v->match,
							       v->hint_index, v->hint_term};
	} else if (in->row->number == MSG_NO_peer_read) {
		m->type = RAFT_MSG_READ_REQ;
		m->term = ((const struct peer_read *)in->msg)->term;
		m->read = (struct raft_msg_read){.id = ((const struct peer_read *)in->msg)->id};
	} else if (in->row->number == MSG_NO_peer_read_resp) {
		const struct peer_read_resp *v = in->msg;

		m->type = RAFT_MSG_READ_RESP;
		m->term = v->term;
		m->read = (struct raft_msg_read){v->id, v->ok, v->index};
	} else {
		CHECK(in->row->number == MSG_NO_peer_timeout_now);
		m->type = RAFT_MSG_TIMEOUT_NOW;
		m->term = ((const struct peer_timeout_now *)in->msg)->term;
	}
	peer_recv(n, m);
}

void sim_peer_frame(struct sim_node *n, uint64_t from, struct bytes frame)
{
	struct raft_msg m = {.from = from, .to = n->id};
	struct msg_in in;

	if (!sim_raftd_room(n))
		return;
	arena_reset(&n->s->arena);
	CHECK(msg_unframe(&peer_link, frame, &n->s->arena, &in) == ERR_OK);
	switch (in.row->number) {
	case MSG_NO_peer_append:
		m.term = ((const struct peer_append *)in.msg)->term;
		recv_append(n, &m, in.msg);
		break;
	case MSG_NO_peer_propose:
		recv_propose(n, from, in.msg);
		break;
	case MSG_NO_peer_refuse:
		recv_refuse(n, in.msg);
		break;
	case MSG_NO_peer_lease_asks:
		sim_raftd_lease_asks(n, from, in.msg);
		break;
	case MSG_NO_peer_lease_answers:
		sim_raftd_lease_answers(n, in.msg);
		break;
	default:
		recv_raft(n, &m, &in);
		break;
	}
}

/* Connections to all others come up, or are seen to be gone, each end in its own time. */
void sim_peer_edges(struct sim_node *n, bool up)
{
	struct sim *s = n->s;

	for (uint64_t id = 1; id <= s->o.nodes; id++) {
		if (id == n->id || s->nodes[id].raftd.r == NULL)
			continue;
		sim_schedule(s, (struct sim_event){.kind = SIM_EV_PEER_LINK, .node = (uint8_t)id,
			.daemon = SIM_RAFTD, .a = n->id, .b = s->nodes[id].raftd.incarnation, .c = 1,
			.at = sim_soon(s, SIM_CH_NET, 500, up ? 20000 : 100000)});
		if (up)
			sim_schedule(s, (struct sim_event){.kind = SIM_EV_PEER_LINK,
				.node = (uint8_t)n->id, .daemon = SIM_RAFTD, .a = id, .b = n->raftd.incarnation, .c = 1,
				.at = sim_soon(s, SIM_CH_NET, 500, 20000)});
	}
}
