/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual gatewayd: the real client halves decide when to propose, to repeat and to ask for a
 * round; here is only what their owner has to do.
 */
#include "base/check.h"
#include "base/err.h"
#include "tests/sim/sim_int.h"

enum { GATEWAY_PROPOSALS = 256, GATEWAY_BYTES = 1 << 20 };

static int send_raftd(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct sim_node *n = arg;

	if (!n->link_up[SIM_GATEWAY_RAFTD])
		return ERR_CLOSED;
	sim_local_send(n, SIM_GATEWAY_RAFTD, SIM_RAFTD, number, d, msg);
	return ERR_OK;
}

static int send_watchd(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct sim_node *n = arg;

	if (!n->link_up[SIM_GATEWAY_WATCHD])
		return ERR_CLOSED;
	sim_local_send(n, SIM_GATEWAY_WATCHD, SIM_WATCHD, number, d, msg);
	return ERR_OK;
}

static int send_leased(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct sim_node *n = arg;

	if (!n->link_up[SIM_GATEWAY_LEASED])
		return ERR_CLOSED;
	sim_local_send(n, SIM_GATEWAY_LEASED, SIM_LEASED, number, d, msg);
	return ERR_OK;
}

void sim_gateway_start(struct sim_node *n)
{
	struct clnt_io io = {send_raftd, n}, watch_io = {send_watchd, n}, lease_io = {send_leased, n};

	raft_clnt_init(&n->gateway.clnt, &io, sim_rand(n->s, SIM_CH_IDS, 0) | 1, GATEWAY_PROPOSALS,
		       GATEWAY_BYTES);
	watch_clnt_init(&n->gateway.watch, &watch_io);
	lease_clnt_init(&n->gateway.lease, &lease_io);
	n->gateway.up = true;
	n->gateway.due = n->s->now;
	n->gateway.store.applied = 0;
	n->gateway.store.revision = 0;
	sim_local_connect(n, SIM_GATEWAY_RAFTD);
	sim_local_connect(n, SIM_GATEWAY_STORED);
	sim_local_connect(n, SIM_GATEWAY_WATCHD);
	sim_local_connect(n, SIM_GATEWAY_LEASED);
}

void sim_gateway_stop(struct sim_node *n)
{
	sim_client_lost(n->s, n);
	sim_watchers_lost(n);
	watch_clnt_down(&n->gateway.watch);
	watch_clnt_free(&n->gateway.watch);
	lease_clnt_free(&n->gateway.lease);
	if (n->gateway.clnt.up)
		raft_clnt_down(&n->gateway.clnt);
	raft_clnt_free(&n->gateway.clnt);
	n->gateway.up = false;
}

void sim_gateway_raftd_msg(struct sim_node *n, const struct msg_in *in)
{
	if (raft_clnt_msg(&n->gateway.clnt, in, sim_clock(n)) != ERR_OK)
		sim_fail(n->s, "node %llu: gatewayd calls a message of raftd malformed",
			 (unsigned long long)n->id);
}

/* Results may have been lost with the old link: all that is unanswered is asked again. */
void sim_gateway_stored_up(struct sim_node *n)
{
	raft_clnt_resend(&n->gateway.clnt);
}

static struct sim_client *client_of(struct raft_proposal *p)
{
	return container_of(p, struct sim_client, proposal);
}

static void result_in(struct sim_node *n, const struct store_result *r)
{
	struct wire w = wire_of(r->result, WIRE_STRICT);
	struct raft_proposal *p;
	uint64_t error;

	(void)wire_get_array(&w);
	error = wire_get_u64(&w);
	p = raft_clnt_result(&n->gateway.clnt, r->seq, (int)error, sim_clock(n));
	if (p != NULL)
		sim_client_written(client_of(p), r->index, r->result);
}

void sim_gateway_stored_msg(struct sim_node *n, const struct msg_in *in)
{
	struct raft_clnt *c = &n->gateway.clnt;

	if (in->row->number == MSG_NO_store_results) {
		const struct store_results *m = in->msg;

		for (size_t i = 0; i < m->results.n; i++)
			result_in(n, &m->results.v[i]);
		if (c->session_lost) {
			raft_clnt_new_session(c, sim_rand(n->s, SIM_CH_IDS, 0) | 1);
			sim_local_drop(n, SIM_GATEWAY_STORED);
		}
		return;
	}
	CHECK(in->row->number == MSG_NO_store_progress);
	n->gateway.store.applied = ((const struct store_progress *)in->msg)->applied;
	n->gateway.store.revision = ((const struct store_progress *)in->msg)->revision;
}

/* Reads whose index is here, and the store with it: the map shows what stored has committed. */
void sim_gateway_reads(struct sim_node *n)
{
	struct raft_read *r;

	while ((r = raft_clnt_pop_read(&n->gateway.clnt)) != NULL) {
		if (r->kind == SIM_READ_FENCE)
			sim_watch_indexed(r);
		else
			container_of(r, struct sim_client, read)->asked = true;
	}
	for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
		struct sim_client *c = &n->s->clients[i];

		if (c->node == n && !c->write && c->asked && n->stored.db != NULL &&
		    n->gateway.store.applied >= c->read.index && n->stored.applied >= c->read.index)
			sim_client_read(c);
	}
}

void sim_gateway_flush(struct sim_node *n)
{
	struct raft_clnt *c = &n->gateway.clnt;
	struct raft_proposal *p;

	if (mono_before(n->s->now, n->paused[SIM_GATEWAY]))
		return;
	sim_gateway_reads(n);
	sim_gateway_fences(n);
	while ((p = raft_clnt_pop_failed(c)) != NULL)
		sim_client_give_up(client_of(p), "failed");
	while (raft_clnt_flush(c, sim_clock(n)))
		continue;
	(void)watch_clnt_flush(&n->gateway.watch);
	sim_gateway_leases(n);
	n->gateway.due = sim_when(n, mono_min(raft_clnt_due(c), lease_clnt_due(&n->gateway.lease)));
}
