/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leased of this node: who leads, what its lessor proposes, and questions between lessors, which
 * raftd carries between the nodes without looking into them.
 */
#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/node.h"

static void lessor_hello(void *arg, struct link_hello *out)
{
	struct raftd *n = arg;

	out->node_id = n->d->config->node_id;
	out->daemon = DAEMON_RAFTD;
	out->incarnation = n->d->incarnation;
	out->resume = 0;
}

static void lessor_tell_role(struct raftd *n)
{
	struct lessor_role m = {n->role == RAFT_LEADER, n->term, n->leader};

	n->lessor.role_dirty = false;
	if (n->lessor.link != NULL)
		gateways_tell(n->lessor.link, MSG_NO_lessor_role, &lessor_role_desc, &m);
}

void lessors_state(struct raftd *n)
{
	if (n->lessor.role_dirty)
		lessor_tell_role(n);
}

static int lessor_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct raftd *n = arg;

	if (peer->node_id != n->d->config->node_id)
		return ERR_CONFIG;
	if (n->lessor.link != NULL && n->lessor.link != l) {
		reads_forget(n, n->lessor.link);
		link_drop(n->lessor.link, "a new leased has come");
	}
	n->lessor.link = l;
	log_info("leased is there");
	lessor_tell_role(n);
	return ERR_OK;
}

static void lessor_down(void *arg, struct link *l, const char *reason)
{
	struct raftd *n = arg;

	reads_forget(n, l);
	if (n->lessor.link != l)
		return;
	n->lessor.link = NULL;
	log_warn("leased has gone: no lease expires until it is back reason=\"%s\"", reason);
}

void lessors_refuse(struct raftd *n, size_t count, int err)
{
	struct lessor_refuse m = {count, (uint64_t)err};

	if (n->lessor.link != NULL)
		gateways_tell(n->lessor.link, MSG_NO_lessor_refuse, &lessor_refuse_desc, &m);
}

/* Only into our own log: what a lessor says counts in the term that its node leads. */
static int on_lessor_propose(struct raftd *n, struct link *l, const struct lessor_propose *m)
{
	static struct proposal v[LIMIT_BATCH_ITEMS];

	for (size_t i = 0; i < m->proposals.n; i++) {
		if (m->proposals.v[i].command.len > ENTRY_BYTES_MAX)
			return ERR_REQUEST_TOO_LARGE;
		v[i] = (struct proposal){0, 0, m->proposals.v[i].command};
	}
	propose_batch(n, v, m->proposals.n, (struct proposer){.link = l, .lessor = true});
	return ERR_OK;
}

void lessors_confirmed(struct raftd *n, struct link *l, uint64_t ctx, int err, uint64_t term, uint64_t index)
{
	struct lessor_confirmed m = {ctx, (uint64_t)err, term, index};

	(void)n;
	gateways_tell(l, MSG_NO_lessor_confirmed, &lessor_confirmed_desc, &m);
}

/* ---- questions between lessors ---- */

/* They cannot be asked now: whoever asks tries again. */
static void lessor_unasked(struct raftd *n, uint64_t peer, const struct leased_ask *v, size_t count, int err)
{
	static struct leased_answer out[LIMIT_BATCH_ITEMS];
	struct lessor_replied own;
	struct peer_lease_answers far;

	for (size_t i = 0; i < count; i++)
		out[i] = (struct leased_answer){v[i].gateway, v[i].ctx, (uint64_t)err, 0, 0};
	own.answers.v = far.answers.v = out;
	own.answers.n = far.answers.n = count;
	if (peer != 0)
		(void)peers_send(n->peers, peer, MSG_NO_peer_lease_answers, &peer_lease_answers_desc, &far);
	else
		gateways_tell(n->lessor.link, MSG_NO_lessor_replied, &lessor_replied_desc, &own);
}

static int on_lessor_forward(struct raftd *n, const struct lessor_forward *m)
{
	struct peer_lease_asks out;
	int rc = ERR_CLOSED;

	out.asks.v = m->asks.v;
	out.asks.n = m->asks.n;
	if (n->leader != 0 && n->role != RAFT_LEADER && peers_version(n->peers, n->leader) >= PEER_VERSION_LEASES)
		rc = peers_send(n->peers, n->leader, MSG_NO_peer_lease_asks, &peer_lease_asks_desc, &out);
	if (rc == ERR_OK)
		counter_add(&n->counters.lease_asks_forwarded, (int64_t)m->asks.n);
	else
		lessor_unasked(n, 0, m->asks.v, m->asks.n, n->leader == 0 ? ERR_NO_LEADER : ERR_LEADER_CHANGED);
	return ERR_OK;
}

int lessors_asked(struct raftd *n, uint64_t from, const struct peer_lease_asks *in)
{
	struct lessor_forwarded m = {.node = from};

	m.asks.v = in->asks.v;
	m.asks.n = in->asks.n;
	if (n->lessor.link == NULL ||
	    link_send(n->lessor.link, MSG_NO_lessor_forwarded, &lessor_forwarded_desc, &m) != ERR_OK)
		lessor_unasked(n, from, in->asks.v, in->asks.n, ERR_LEADER_CHANGED);
	return ERR_OK;
}

static int on_lessor_reply(struct raftd *n, const struct lessor_reply *m)
{
	struct peer_lease_answers out;

	out.answers.v = m->answers.v;
	out.answers.n = m->answers.n;
	/* Lost with the connection: asked again. */
	if (peers_send(n->peers, m->node, MSG_NO_peer_lease_answers, &peer_lease_answers_desc, &out) != ERR_OK)
		counter_inc(&n->counters.sends_dropped);
	return ERR_OK;
}

int lessors_answered(struct raftd *n, const struct peer_lease_answers *in)
{
	struct lessor_replied m;

	m.answers.v = in->answers.v;
	m.answers.n = in->answers.n;
	if (n->lessor.link != NULL)
		gateways_tell(n->lessor.link, MSG_NO_lessor_replied, &lessor_replied_desc, &m);
	return ERR_OK;
}

static int lessor_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct raftd *n = arg;

	if (n->lessor.link != l)
		return ERR_CLOSED;
	switch (in->row->number) {
	case MSG_NO_lessor_propose:
		return on_lessor_propose(n, l, in->msg);
	case MSG_NO_lessor_confirm:
		reads_confirm(n, l, ((const struct lessor_confirm *)in->msg)->ctx);
		return ERR_OK;
	case MSG_NO_lessor_forward:
		return on_lessor_forward(n, in->msg);
	case MSG_NO_lessor_reply:
		return on_lessor_reply(n, in->msg);
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

int lessors_open(struct raftd *n)
{
	static const struct link_ops ops = {lessor_hello, lessor_up, lessor_msg, lessor_down, NULL};
	char *path = daemon_socket(n->d, DAEMON_RAFTD, DAEMON_LEASED);
	struct link_setup s = {.loop = n->d->loop, .path = path, .messages = &link_lessor,
			       .peer = DAEMON_LEASED, .ops = &ops, .arg = n, .max_links = 2};
	int rc = link_server_open(&s, &n->lessor.server);

	mem_free(path);
	return rc;
}
