/* SPDX-License-Identifier: Apache-2.0 */
/* raftd of this node: the role, refusals, confirmations, and questions of other nodes' lessors. */
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "leased/leased.h"

static void raft_hello(void *arg, struct link_hello *out)
{
	struct leased *x = arg;

	*out = (struct link_hello){x->d->config->node_id, DAEMON_LEASED, x->d->incarnation, 0};
}

static int raft_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct leased *x = arg;

	if (peer->node_id != x->d->config->node_id)
		return ERR_CONFIG;
	x->raft = l;
	return ERR_OK;
}

/* Who leads is not known without it. */
static void raft_down(void *arg, struct link *l, const char *reason)
{
	struct leased *x = arg;
	struct lessor_stats st;

	(void)l;
	(void)reason;
	x->raft = NULL;
	lessor_stats(x->lessor, &st);
	lessor_role(x->lessor, false, st.term, 0, mono_now());
}

static int on_role(struct leased *x, const struct lessor_role *m)
{
	lessor_role(x->lessor, m->leads, m->term, m->leader, mono_now());
	return ERR_OK;
}

static int on_refuse(struct leased *x, const struct lessor_refuse *m)
{
	counter_add(&x->counters.refused, m->refused <= LIMIT_BATCH_ITEMS ? (int64_t)m->refused : 0);
	lessor_refused(x->lessor, mono_now());
	return ERR_OK;
}

static int raft_error(uint64_t error)
{
	return error <= INT32_MAX ? (int)error : ERR_INTERNAL;
}

static int on_forwarded(struct leased *x, const struct lessor_forwarded *m)
{
	mono_t now = mono_now();

	if (m->node == 0)
		return ERR_MALFORMED;
	for (size_t i = 0; i < m->asks.n; i++) {
		const struct leased_ask *a = &m->asks.v[i];
		struct lessor_ask ask = {m->node, a->gateway, a->ctx, (enum lessor_ask_kind)a->kind, a->id};

		/* Another node's word is no reason to lose our raftd: what makes no sense is left out. */
		if (a->kind != LEASED_KEEPALIVE && a->kind != LEASED_TTL)
			continue;
		counter_inc(&x->counters.asks_far);
		lessor_ask(x->lessor, &ask, now);
	}
	return ERR_OK;
}

/* Those for one gatewayd together, as they nearly always are. */
static int on_replied(struct leased *x, const struct lessor_replied *m)
{
	for (size_t from = 0, n; from < m->answers.n; from += n) {
		uint64_t gateway = m->answers.v[from].gateway;

		for (n = 1; from + n < m->answers.n && m->answers.v[from + n].gateway == gateway; n++)
			;
		counter_add(&x->counters.answers, (int64_t)n);
		leased_answer_gateway(x, gateway, m->answers.v + from, n);
	}
	return ERR_OK;
}

static int raft_msg(void *arg, struct link *l, const struct msg_in *in)
{
	const struct lessor_confirmed *c = in->msg;
	struct leased *x = arg;

	(void)l;
	switch (in->row->number) {
	case MSG_NO_lessor_role:
		return on_role(x, in->msg);
	case MSG_NO_lessor_refuse:
		return on_refuse(x, in->msg);
	case MSG_NO_lessor_confirmed:
		lessor_confirmed(x->lessor, c->ctx, raft_error(c->error), c->term, c->index, mono_now());
		return ERR_OK;
	case MSG_NO_lessor_forwarded:
		return on_forwarded(x, in->msg);
	case MSG_NO_lessor_replied:
		return on_replied(x, in->msg);
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

int leased_dial_raftd(struct leased *x)
{
	static const struct link_ops ops = {raft_hello, raft_up, raft_msg, raft_down, NULL};
	char *path = daemon_socket(x->d, DAEMON_RAFTD, DAEMON_LEASED);
	struct link_setup s = {.loop = x->d->loop, .path = path, .messages = &link_lessor,
			       .peer = DAEMON_RAFTD, .ops = &ops, .arg = x};
	int rc = link_dialer_open(&s, &x->raft_dialer);

	mem_free(path);
	return rc;
}
