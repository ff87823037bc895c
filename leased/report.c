/* SPDX-License-Identifier: Apache-2.0 */
/* What leased says on its admin socket. */
#include "leased/leased.h"

void leased_report(void *daemon, struct admin_reply *r)
{
	struct leased *x = ((struct daemon *)daemon)->state;
	struct lessor_stats st;

	lessor_stats(x->lessor, &st);
	admin_str(r, "state", lessor_state_name(st.state));
	admin_u64(r, "term", st.term);
	admin_u64(r, "leader", st.leader);
	admin_bool(r, "raftd", x->raft != NULL);
	admin_bool(r, "stored", x->store != NULL);
	admin_bool(r, "leases_known", st.synced);
	admin_u64(r, "gateways", x->n_gateways);
	admin_u64(r, "leases", st.leases);
	admin_u64(r, "asks_waiting", st.asks);
	admin_u64(r, "asks_held", st.held);
	admin_u64(r, "over", st.over);
	admin_u64(r, "ending", st.ending);
	admin_u64(r, "marking", st.marking);
	admin_u64(r, "waking", st.waking);
}

void leased_refresh(void *daemon)
{
	struct leased *x = ((struct daemon *)daemon)->state;
	struct leased_counters *c = &x->counters;
	struct lessor_stats st;

	lessor_stats(x->lessor, &st);
	counter_set(&c->expired, (int64_t)st.expired);
	counter_set(&c->renewed, (int64_t)st.renewed);
	counter_set(&c->rounds, (int64_t)st.rounds);
	counter_set(&c->checkpoints, (int64_t)st.checkpoints);
	counter_set(&c->marks, (int64_t)st.marks);
	counter_set(&c->wakes, (int64_t)st.wakes);
	counter_set(&c->resent, (int64_t)st.resent);
	counter_set(&c->takeovers, (int64_t)st.takeovers);
	counter_set(&c->raftd_up, x->raft != NULL);
	counter_set(&c->stored_up, x->store != NULL);
	counter_set(&c->gateways, (int64_t)x->n_gateways);
	counter_set(&c->leading, st.state == LESSOR_LEADING);
	counter_set(&c->term, (int64_t)st.term);
	counter_set(&c->leases, (int64_t)st.leases);
	counter_set(&c->asks_waiting, (int64_t)st.asks);
	counter_set(&c->asks_held, (int64_t)st.held);
	counter_set(&c->over, (int64_t)st.over);
	counter_set(&c->ending, (int64_t)st.ending);
}
