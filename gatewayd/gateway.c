/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/gateway.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "gatewayd/etcd/grpc.h"

/* Does nothing: the turn it causes does. */
static void gateway_timer(void *arg)
{
	(void)arg;
}

static void gateway_sleep(struct gateway *g)
{
	mono_t due = mono_min(mono_min(raft_clnt_due(&g->raft), lease_clnt_due(&g->lease)),
			      mono_min(map_due(g), g->watch_retry_at));
	struct list *lists[] = {&g->deadlines, &g->short_deadlines};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct list *l = list_first(lists[i]);

		if (l != NULL)
			due = mono_min(due, container_of(l, struct request, by_deadline)->deadline);
	}
	if (due.ns == MONO_NEVER.ns)
		loop_timer_clear(g->loop, &g->timer);
	else
		loop_timer_set(g->loop, &g->timer, due);
}

/*
 * Once a turn, after all that has come in: what was asked goes out to the daemons in one batch per
 * link, what has come is answered, what can be read is read, and everything is written: first to raftd,
 * whose disk it waits for; to the other daemons after this hook, since it was registered before the links'.
 */
static void gateway_turn(void *arg)
{
	struct gateway *g = arg;
	mono_t now = loop_now(g->loop);

	map_poll(g, now);
	conn_set_input(&g->conns);
	write_poll(g);
	lease_poll(g);
	read_poll(g);
	info_poll(g);
	request_expire(g, now);
	if (raft_clnt_flush(&g->raft, now))
		loop_again(g->loop);
	g->io.flush_raft(g->io.arg);
	if (lease_clnt_flush(&g->lease, now))
		loop_again(g->loop);
	store_clnt_flush(&g->store);
	read_turn(g);
	conn_set_output(&g->conns);
	watch_flush(g, now);
	gateway_sleep(g);
}

void gateway_init(struct gateway *g, struct loop *loop, const struct gateway_io *io,
		  const struct config *config, unsigned instance, uint64_t incarnation)
{
	struct clnt_io raft = {io->send_raft, io->arg}, store = {io->send_store, io->arg};
	struct clnt_io lease = {io->send_lease, io->arg};
	struct clnt_io watch = {io->send_watch, io->arg};

	*g = (struct gateway){.loop = loop, .io = *io, .config = config, .instance = instance,
			      .started = mono_now(), .timeout_ms = (int64_t)config->request_timeout_ms};
	gatewayd_counters_init(&g->counters);
	conn_set_init(&g->conns, loop, &gateway_conn_ops, g, &g->counters);
	raft_clnt_init(&g->raft, &raft, incarnation, LIMIT_GATEWAY_PROPOSALS, LIMIT_GATEWAY_PROPOSAL_BYTES);
	store_clnt_init(&g->store, &store);
	lease_clnt_init(&g->lease, &lease);
	watch_clnt_init(&g->watch, &watch);
	g->watch_retry_at = MONO_NEVER;
	list_init(&g->deadlines);
	list_init(&g->short_deadlines);
	list_init(&g->moves);
	arena_init(&g->arena, GATEWAY_RESULT_ARENA);
	read_init(g);
	grpc_init(g);
	compact_init(g);
	loop_timer_init(&g->timer, gateway_timer, g);
	loop_hook_add(loop, &g->hook, gateway_turn, g);
}

void gateway_free(struct gateway *g)
{
	loop_hook_del(g->loop, &g->hook);
	loop_timer_clear(g->loop, &g->timer);
	conn_set_free(&g->conns);
	grpc_free(g);
	compact_free(g);
	CHECK(g->n_requests == 0);
	map_close(g);
	read_free(g);
	raft_clnt_free(&g->raft);
	store_clnt_free(&g->store);
	lease_clnt_free(&g->lease);
	watch_clnt_free(&g->watch);
	arena_free(&g->arena);
}

void gateway_stop(struct gateway *g)
{
	log_info("stopping clients=%zu requests_in_flight=%zu", g->conns.n, g->n_requests);
	conn_set_stop(&g->conns);
}

void gateway_refresh(struct gateway *g)
{
	struct gatewayd_counters *c = &g->counters;

	counter_set(&c->requests_in_flight, (int64_t)g->n_requests);
	counter_set(&c->proposals, (int64_t)g->raft.n_proposals);
	counter_set(&c->proposal_bytes, (int64_t)g->raft.n_bytes);
	counter_set(&c->proposals_resent_total, (int64_t)g->raft.n_resent);
	counter_set(&c->proposals_refused_total, (int64_t)g->raft.n_refused);
	counter_set(&c->sessions_total, (int64_t)g->raft.n_sessions);
	counter_set(&c->read_rounds_total, (int64_t)g->raft.n_rounds);
	counter_set(&c->reads_waiting, (int64_t)(g->raft.n_reads + g->store.n_waits));
	counter_set(&c->reads_running, (int64_t)(g->reads.n - g->raft.n_reads - g->store.n_waits));
	counter_set(&c->work_bytes, (int64_t)g->reads.work);
	counter_set(&c->raftd_up, g->raft.up);
	counter_set(&c->stored_up, g->store.up);
	counter_set(&c->leased_up, g->lease.up);
	counter_set(&c->lease_asks, (int64_t)g->lease.n);
	counter_set(&c->watchd_up, g->watch.up);
	counter_set(&c->watches, (int64_t)g->watch.n);
	counter_set(&c->watches_registered_total, (int64_t)g->watch.n_registered);
	counter_set(&c->store_generation, g->map.env != NULL ? (int64_t)g->map.generation : 0);
}

void gateway_raft_up(struct gateway *g)
{
	raft_clnt_up(&g->raft, loop_now(g->loop));
}

void gateway_raft_down(struct gateway *g)
{
	counter_inc(&g->counters.link_losses_total);
	raft_clnt_down(&g->raft);
}

int gateway_raft_msg(struct gateway *g, const struct msg_in *in)
{
	uint64_t leader = g->raft.state.leader, term = g->raft.state.term;
	int err = raft_clnt_msg(&g->raft, in, loop_now(g->loop));

	if (leader != g->raft.state.leader || term != g->raft.state.term)
		log_info("leader is now leader=%llu term=%llu",
			 (unsigned long long)g->raft.state.leader, (unsigned long long)g->raft.state.term);
	return err;
}

/* Results may have been lost with the old link: all that is unanswered is asked again. */
void gateway_store_up(struct gateway *g)
{
	store_clnt_up(&g->store);
	raft_clnt_resend(&g->raft);
}

void gateway_store_down(struct gateway *g)
{
	counter_inc(&g->counters.link_losses_total);
	store_clnt_down(&g->store);
}

/* Only after the whole message: results of the old session in it are still good. */
static void gateway_new_session(struct gateway *g)
{
	uint64_t incarnation = g->io.incarnation(g->io.arg);

	log_warn("the store has forgotten this gateway's session; a new one is opened incarnation=%016llx",
		 (unsigned long long)incarnation);
	raft_clnt_new_session(&g->raft, incarnation);
	g->io.hello_again(g->io.arg, incarnation);
}

int gateway_store_msg(struct gateway *g, const struct msg_in *in)
{
	const struct store_results *m = in->msg;

	if (in->row->number != MSG_NO_store_results)
		return store_clnt_msg(&g->store, in);
	for (size_t i = 0; i < m->results.n; i++)
		write_result(g, &m->results.v[i]);
	if (g->raft.session_lost)
		gateway_new_session(g);
	return ERR_OK;
}

void gateway_lease_up(struct gateway *g)
{
	lease_clnt_up(&g->lease);
}

void gateway_lease_down(struct gateway *g)
{
	counter_inc(&g->counters.link_losses_total);
	lease_clnt_down(&g->lease);
}

int gateway_lease_msg(struct gateway *g, const struct msg_in *in)
{
	return lease_clnt_msg(&g->lease, in, loop_now(g->loop));
}
