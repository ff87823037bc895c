/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between raftds <-> the core's plain values. */
#include "base/check.h"
#include "base/err.h"
#include "raftd/node.h"

void raftd_send(struct raftd *n, const struct raft_msg *m)
{
	int rc = ERR_INTERNAL;

	switch (m->type) {
	case RAFT_MSG_PREVOTE:
	case RAFT_MSG_VOTE: {
		struct peer_vote v = {m->term, m->type == RAFT_MSG_PREVOTE, m->vote.transfer,
				      m->vote.last_index, m->vote.last_term};
		rc = peers_send(n->peers, m->to, MSG_NO_peer_vote, &peer_vote_desc, &v);
		break;
	}
	case RAFT_MSG_PREVOTE_RESP:
	case RAFT_MSG_VOTE_RESP: {
		struct peer_vote_resp v = {m->term, m->type == RAFT_MSG_PREVOTE_RESP,
					   m->vote_resp.granted};
		rc = peers_send(n->peers, m->to, MSG_NO_peer_vote_resp, &peer_vote_resp_desc, &v);
		break;
	}
	case RAFT_MSG_APPEND_RESP: {
		struct peer_append_resp v = {m->term, m->append_resp.round, m->append_resp.reject,
					     m->append_resp.index, m->append_resp.match,
					     m->append_resp.hint_index, m->append_resp.hint_term};
		rc = peers_send(n->peers, m->to, MSG_NO_peer_append_resp, &peer_append_resp_desc,
				&v);
		break;
	}
	case RAFT_MSG_READ_REQ: {
		struct peer_read v = {m->term, m->read.id};
		rc = peers_send(n->peers, m->to, MSG_NO_peer_read, &peer_read_desc, &v);
		break;
	}
	case RAFT_MSG_READ_RESP: {
		struct peer_read_resp v = {m->term, m->read.id, m->read.ok, m->read.index};
		rc = peers_send(n->peers, m->to, MSG_NO_peer_read_resp, &peer_read_resp_desc, &v);
		break;
	}
	case RAFT_MSG_TIMEOUT_NOW: {
		struct peer_timeout_now v = {m->term};
		rc = peers_send(n->peers, m->to, MSG_NO_peer_timeout_now, &peer_timeout_now_desc,
				&v);
		break;
	}
	case RAFT_MSG_APPEND:     /* built by the driver, which owns the payloads */
	case RAFT_MSG_NONE:
	case RAFT_MSG_COUNT:
		panic("the core sends no such message");
	}
	if (rc != ERR_OK)
		counter_inc(&n->counters.sends_dropped);
}

static int peer_recv(struct raftd *n, struct raft_msg *m)
{
	struct raft_event ev = {.type = RAFT_EV_RECV, .msg = m};

	/* Refused messages are the network's normal life or counted lies: no reason to close. */
	(void)raftd_step(n, &ev);
	return ERR_OK;
}

static int peer_recv_append(struct raftd *n, struct raft_msg *m, const struct peer_append *in)
{
	static uint64_t terms[LIMIT_APPEND_ENTRIES];
	size_t bytes = 0;

	for (size_t i = 0; i < in->entries.n; i++) {
		const struct peer_entry *e = &in->entries.v[i];

		if (e->kind != WAL_NOOP && e->kind != WAL_COMMAND)
			return ERR_MALFORMED;
		if (e->kind == WAL_NOOP && e->payload.len > 0)
			return ERR_MALFORMED;
		if (e->payload.len > ENTRY_BYTES_MAX)
			return ERR_LIMIT;
		terms[i] = e->term;
		bytes += e->payload.len + ENTRY_HEAD_ROOM;
	}
	if (bytes > APPEND_ROOM)         /* what peer_can_take has seen room for */
		return ERR_LIMIT;
	m->type = RAFT_MSG_APPEND;
	m->append = (struct raft_msg_append){in->prev_index, in->prev_term, in->commit, in->round,
					     (uint32_t)in->entries.n, terms};
	n->received = in;
	return peer_recv(n, m);
}

static int peer_recv_propose(struct raftd *n, uint64_t from, const struct peer_propose *in)
{
	static struct proposal v[LIMIT_BATCH_ITEMS];

	for (size_t i = 0; i < in->proposals.n; i++) {
		const struct peer_proposal *p = &in->proposals.v[i];

		if (p->command.len > ENTRY_BYTES_MAX)
			return ERR_LIMIT;
		v[i] = (struct proposal){p->gateway, p->seq, p->command};
	}
	propose_batch(n, v, in->proposals.n, (struct proposer){.peer = from});
	return ERR_OK;
}

/* One by one: they may belong to different gateways, and refusals are rare. */
static int peer_recv_refuse(struct raftd *n, const struct peer_refuse *in)
{
	for (size_t i = 0; i < in->refused.n; i++) {
		struct link *l = gateways_find(n, in->refused.v[i].gateway);
		struct raftd_refused v = {in->refused.v[i].seq, in->refused.v[i].error};

		if (l != NULL)
			gateways_refuse(l, &v, 1);
	}
	return ERR_OK;
}

/*
 * Entries wait until the log has room. All else is taken as long as small records fit, since a
 * leader must hear its followers, and candidates each other, while a disk is slow.
 */
static bool peer_can_take(void *arg, const struct msg_in *in)
{
	const struct raftd *n = arg;

	if (in->row->number == MSG_NO_peer_append &&
	    ((const struct peer_append *)in->msg)->entries.n > 0)
		return raftd_can_append(n);
	return raftd_can_append_small(n);
}

/*
 * While our disk is behind (or a long frame is still coming in) the leader's heartbeats wait behind
 * its entries, and no answer of ours tells it that we are alive: it would give up the lead, and
 * none better would follow. So it is told, by an answer that acknowledges nothing. It reveals our
 * term, so that must be durable.
 */
static void peer_waiting(void *arg, uint64_t from)
{
	struct raftd *n = arg;
	struct raft_msg m = {.type = RAFT_MSG_APPEND_RESP, .from = n->d->config->node_id,
			     .to = from, .term = n->term};

	if (n->role == RAFT_FOLLOWER && n->leader == from && n->durable_seq >= n->hard_seq)
		raftd_send(n, &m);
}

/* What the core does not hear of. */
static int peer_message_aside(struct raftd *n, uint64_t from, const struct msg_in *in)
{
	switch (in->row->number) {
	case MSG_NO_peer_propose:
		return peer_recv_propose(n, from, in->msg);
	case MSG_NO_peer_refuse:
		return peer_recv_refuse(n, in->msg);
	case MSG_NO_peer_snapshot:
		return snap_recv_piece(n, from, in->msg);
	case MSG_NO_peer_snapshot_resp:
		return snap_send_resp(n, from, in->msg);
	case MSG_NO_peer_snapshot_want:
		snap_send_begin(n, from, ((const struct peer_snapshot_want *)in->msg)->index, false);
		return ERR_OK;
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

static int peer_message(void *arg, uint64_t from, const struct msg_in *in)
{
	struct raftd *n = arg;
	struct raft_msg m = {.from = from, .to = n->d->config->node_id};

	switch (in->row->number) {
	case MSG_NO_peer_ping:
		return ERR_OK;
	case MSG_NO_peer_vote: {
		const struct peer_vote *v = in->msg;

		m.type = v->pre ? RAFT_MSG_PREVOTE : RAFT_MSG_VOTE;
		m.term = v->term;
		m.vote = (struct raft_msg_vote){v->last_index, v->last_term, v->transfer};
		return peer_recv(n, &m);
	}
	case MSG_NO_peer_vote_resp: {
		const struct peer_vote_resp *v = in->msg;

		m.type = v->pre ? RAFT_MSG_PREVOTE_RESP : RAFT_MSG_VOTE_RESP;
		m.term = v->term;
		m.vote_resp.granted = v->granted;
		return peer_recv(n, &m);
	}
	case MSG_NO_peer_append:
		m.term = ((const struct peer_append *)in->msg)->term;
		return peer_recv_append(n, &m, in->msg);
	case MSG_NO_peer_append_resp: {
		const struct peer_append_resp *v = in->msg;

		m.type = RAFT_MSG_APPEND_RESP;
		m.term = v->term;
		m.append_resp = (struct raft_msg_append_resp){v->round, v->reject, v->index,
							      v->match,
							      v->hint_index, v->hint_term};
		return peer_recv(n, &m);
	}
	case MSG_NO_peer_read: {
		const struct peer_read *v = in->msg;

		m.type = RAFT_MSG_READ_REQ;
		m.term = v->term;
		m.read = (struct raft_msg_read){.id = v->id};
		return peer_recv(n, &m);
	}
	case MSG_NO_peer_read_resp: {
		const struct peer_read_resp *v = in->msg;

		m.type = RAFT_MSG_READ_RESP;
		m.term = v->term;
		m.read = (struct raft_msg_read){v->id, v->ok, v->index};
		return peer_recv(n, &m);
	}
	case MSG_NO_peer_timeout_now:
		m.type = RAFT_MSG_TIMEOUT_NOW;
		m.term = ((const struct peer_timeout_now *)in->msg)->term;
		return peer_recv(n, &m);
	default:
		return peer_message_aside(n, from, in);
	}
}

/* A new connection has lost the old one's messages: the core must see both edges. */
static void peer_up(void *arg, uint64_t id)
{
	struct raft_event down = {.type = RAFT_EV_PEER_DOWN, .peer = id};
	struct raft_event up = {.type = RAFT_EV_PEER_UP, .peer = id};

	snap_send_stop(arg, id);
	snap_recv_stop(arg, id);
	(void)raftd_step(arg, &down);
	(void)raftd_step(arg, &up);
}

static void peer_down(void *arg, uint64_t id)
{
	struct raft_event down = {.type = RAFT_EV_PEER_DOWN, .peer = id};

	snap_send_stop(arg, id);
	snap_recv_stop(arg, id);
	(void)raftd_step(arg, &down);
}

const struct peers_ops raftd_peers_ops = {peer_up, peer_down, peer_can_take, peer_waiting,
					  peer_message};
