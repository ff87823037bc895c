/* SPDX-License-Identifier: Apache-2.0 */
/* The gatewayds of this node: decodes what they ask, tells them of leaders and terms. */
#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/node.h"

static void gateway_hello(void *arg, struct link_hello *out)
{
	struct raftd *n = arg;

	out->node_id = n->d->config->node_id;
	out->daemon = DAEMON_RAFTD;
	out->incarnation = n->d->incarnation;
	out->resume = 0;
}

void gateways_tell(struct link *l, uint32_t number, const struct msg_desc *d, const void *msg)
{
	int rc = link_send(l, number, d, msg);

	if (rc != ERR_OK && rc != ERR_CLOSED)
		link_drop(l, "it does not read its answers");
}

static void gateway_tell_state(const struct raftd *n, struct link *l)
{
	struct raftd_state m = {(uint64_t)n->role, n->term, n->leader, n->commit,
				wal_first_index(n->wal) - 1};

	gateways_tell(l, MSG_NO_raftd_state, &raftd_state_desc, &m);
}

static int gateway_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct raftd *n = arg;

	(void)peer;
	if (n->gateways.n == GATEWAYS_MAX)    /* those that went in this turn still count */
		return ERR_LIMIT;
	n->gateways.links[n->gateways.n++] = l;
	gateway_tell_state(n, l);
	return ERR_OK;
}

static void gateway_down(void *arg, struct link *l, const char *reason)
{
	struct raftd *n = arg;
	struct gateways *g = &n->gateways;

	(void)reason;
	for (size_t i = 0; i < g->n; i++)
		if (g->links[i] == l)
			g->links[i] = g->links[--g->n];
	reads_forget(n, l);
}

static int on_propose(struct raftd *n, struct link *l, const struct raftd_propose *m)
{
	static struct proposal v[LIMIT_BATCH_ITEMS];
	uint64_t gateway = link_peer(l)->incarnation;

	for (size_t i = 0; i < m->proposals.n; i++) {
		if (m->proposals.v[i].command.len > ENTRY_BYTES_MAX)
			return ERR_REQUEST_TOO_LARGE;    /* the gateway should have refused it */
		v[i] = (struct proposal){gateway, m->proposals.v[i].seq, m->proposals.v[i].command};
	}
	propose_batch(n, v, m->proposals.n, (struct proposer){.link = l});
	return ERR_OK;
}

static int on_status(struct raftd *n, struct link *l, const struct raftd_status_ask *ask)
{
	struct raftd_peer_status peers[LIMIT_NODES];
	struct raftd_status_result m = {.ctx = ask->ctx};
	struct wal_status ws;
	struct raft_status rs;

	raft_status(n->raft, mono_now(), &rs);
	wal_status(n->wal, &ws);
	m.role = (uint64_t)rs.role;
	m.term = rs.term;
	m.leader = rs.leader;
	m.commit = rs.commit;
	m.last = rs.last_index;
	m.durable = n->durable_index;
	m.log_bytes = ws.bytes;
	m.age_ms = mono_sub_ms(mono_now(), n->d->started);
	m.stored_up = n->feed.link != NULL;
	for (uint32_t i = 0; i < rs.peer_count; i++)
		peers[i] = (struct raftd_peer_status){rs.peers[i].id, rs.peers[i].up,
						      rs.peers[i].match,
						      rs.peers[i].silent_ms};
	m.peers.v = peers;
	m.peers.n = rs.peer_count;
	gateways_tell(l, MSG_NO_raftd_status_result, &raftd_status_result_desc, &m);
	return ERR_OK;
}

static int on_transfer(struct raftd *n, struct link *l, const struct raftd_transfer *ask)
{
	struct raft_event ev = {.type = RAFT_EV_TRANSFER, .peer = ask->target};
	struct raftd_transfer_result m = {.ctx = ask->ctx};

	m.error = (uint64_t)raftd_step(n, &ev);
	gateways_tell(l, MSG_NO_raftd_transfer_result, &raftd_transfer_result_desc, &m);
	return ERR_OK;
}

static int gateway_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct raftd *n = arg;

	switch (in->row->number) {
	case MSG_NO_raftd_propose:
		return on_propose(n, l, in->msg);
	case MSG_NO_raftd_read:
		reads_ask(n, l, ((const struct raftd_read *)in->msg)->ctx);
		return ERR_OK;
	case MSG_NO_raftd_status_ask:
		return on_status(n, l, in->msg);
	case MSG_NO_raftd_transfer:
		return on_transfer(n, l, in->msg);
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

void gateways_state(struct raftd *n)
{
	if (!n->gateways.state_dirty)
		return;
	n->gateways.state_dirty = false;
	for (size_t i = 0; i < n->gateways.n; i++)
		gateway_tell_state(n, n->gateways.links[i]);
}

struct link *gateways_find(struct raftd *n, uint64_t incarnation)
{
	for (size_t i = 0; i < n->gateways.n; i++)
		if (link_is_up(n->gateways.links[i]) &&
		    link_peer(n->gateways.links[i])->incarnation == incarnation)
			return n->gateways.links[i];
	return NULL;
}

void gateways_refuse(struct link *l, struct raftd_refused *v, size_t count)
{
	struct raftd_refuse m;

	CHECK(count <= LIMIT_BATCH_ITEMS);
	m.refused.v = v;
	m.refused.n = count;
	gateways_tell(l, MSG_NO_raftd_refuse, &raftd_refuse_desc, &m);
}

int gateways_open(struct raftd *n)
{
	static const struct link_ops ops = {gateway_hello, gateway_up, gateway_msg, gateway_down,
					    NULL};
	char *path = daemon_socket(n->d, DAEMON_RAFTD, DAEMON_GATEWAYD);
	struct link_setup s = {.loop = n->d->loop, .path = path, .messages = &link_raft,
			       .peer = DAEMON_GATEWAYD, .ops = &ops, .arg = n,
			       .max_links = GATEWAYS_MAX};
	int rc = link_server_open(&s, &n->gateways.server);

	mem_free(path);
	return rc;
}
