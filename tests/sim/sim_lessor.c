/* SPDX-License-Identifier: Apache-2.0 */
/* What a raftd and a stored do for the leased of their node (raftd/lessor_ipc.c, stored/leased_ipc.c). */
#include "base/check.h"
#include "base/err.h"
#include "mvcc/lease.h"
#include "tests/sim/sim_int.h"

/* ---- raftd: the role, proposals, confirmations ---- */

void sim_raftd_tell_role(struct sim_node *n)
{
	const struct sim_raftd *d = &n->raftd;
	struct lessor_role m = {d->role == RAFT_LEADER, d->term, d->leader};

	sim_local_send(n, SIM_RAFTD_LEASED, SIM_LEASED, MSG_NO_lessor_role, &lessor_role_desc, &m);
}

/* Only into our own log. */
static void on_propose(struct sim_node *n, const struct lessor_propose *m)
{
	struct lessor_refuse refuse = {m->proposals.n, ERR_NOT_LEADER};

	for (size_t i = 0; i < m->proposals.n && sim_raftd_room(n); i++, refuse.refused--) {
		struct raftd_proposal v = {0, m->proposals.v[i].command};

		if (n->raftd.role != RAFT_LEADER)
			break;
		n->raftd.own = &v;
		if (sim_step(n, (struct raft_event){.type = RAFT_EV_PROPOSE, .n = 1}) != ERR_OK)
			break;
	}
	if (refuse.refused > 0)
		sim_local_send(n, SIM_RAFTD_LEASED, SIM_LEASED, MSG_NO_lessor_refuse, &lessor_refuse_desc, &refuse);
}

void sim_raftd_confirmed(struct sim_node *n, uint64_t ctx, int err, uint64_t term, uint64_t index)
{
	struct lessor_confirmed m = {ctx, (uint64_t)err, term, index};

	sim_local_send(n, SIM_RAFTD_LEASED, SIM_LEASED, MSG_NO_lessor_confirmed, &lessor_confirmed_desc, &m);
}

static void on_confirm(struct sim_node *n, uint64_t ctx)
{
	struct sim_raftd *d = &n->raftd;

	if (d->role == RAFT_LEADER)
		sim_raftd_read(n, SIM_RAFTD_LEASED, ctx, d->term);
	else
		sim_raftd_confirmed(n, ctx, ERR_NOT_LEADER, d->term, 0);
}

/* ---- raftd: questions between lessors ---- */

static void unasked(struct sim_node *n, uint64_t peer, const struct leased_ask *v, size_t count, int err)
{
	for (size_t i = 0; i < count; i++) {
		struct leased_answer a = {v[i].gateway, v[i].ctx, (uint64_t)err, 0, 0};
		struct lessor_replied own = {.answers = {&a, 1}};
		struct peer_lease_answers far = {.answers = {&a, 1}};

		if (peer == 0)
			sim_local_send(n, SIM_RAFTD_LEASED, SIM_LEASED, MSG_NO_lessor_replied, &lessor_replied_desc, &own);
		else
			sim_peer_send(n, peer, MSG_NO_peer_lease_answers, &peer_lease_answers_desc, &far);
	}
}

static void on_forward(struct sim_node *n, const struct lessor_forward *m)
{
	struct peer_lease_asks out = {.asks = {m->asks.v, m->asks.n}};
	struct sim_raftd *d = &n->raftd;

	if (d->leader != 0 && d->role != RAFT_LEADER)
		sim_peer_send(n, d->leader, MSG_NO_peer_lease_asks, &peer_lease_asks_desc, &out);
	else
		unasked(n, 0, m->asks.v, m->asks.n, d->leader == 0 ? ERR_NO_LEADER : ERR_LEADER_CHANGED);
}

static void on_reply(struct sim_node *n, const struct lessor_reply *m)
{
	struct peer_lease_answers out = {.answers = {m->answers.v, m->answers.n}};

	sim_peer_send(n, m->node, MSG_NO_peer_lease_answers, &peer_lease_answers_desc, &out);
}

void sim_raftd_lease_asks(struct sim_node *n, uint64_t from, const struct peer_lease_asks *in)
{
	struct lessor_forwarded m = {.node = from, .asks = {in->asks.v, in->asks.n}};

	if (n->link_up[SIM_RAFTD_LEASED])
		sim_local_send(n, SIM_RAFTD_LEASED, SIM_LEASED, MSG_NO_lessor_forwarded, &lessor_forwarded_desc, &m);
	else
		unasked(n, from, in->asks.v, in->asks.n, ERR_LEADER_CHANGED);
}

void sim_raftd_lease_answers(struct sim_node *n, const struct peer_lease_answers *in)
{
	struct lessor_replied m = {.answers = {in->answers.v, in->answers.n}};

	sim_local_send(n, SIM_RAFTD_LEASED, SIM_LEASED, MSG_NO_lessor_replied, &lessor_replied_desc, &m);
}

void sim_raftd_leased_msg(struct sim_node *n, const struct msg_in *in)
{
	switch (in->row->number) {
	case MSG_NO_lessor_propose:
		on_propose(n, in->msg);
		break;
	case MSG_NO_lessor_confirm:
		on_confirm(n, ((const struct lessor_confirm *)in->msg)->ctx);
		break;
	case MSG_NO_lessor_forward:
		on_forward(n, in->msg);
		break;
	default:
		CHECK(in->row->number == MSG_NO_lessor_reply);
		on_reply(n, in->msg);
		break;
	}
}

/* ---- stored: leases and their changes ---- */

static void stored_send(struct sim_node *n, struct store_lease *v, size_t count, bool listed)
{
	const struct mvcc_state *c = apply_state(n->stored.apply);
	struct store_leases m = {.leases = {v, count}, .listed = listed, .applied = c->applied, .term = c->lessor_term,
				 .lessor = c->lessor, .seq = c->lessor_seq};

	sim_local_send(n, SIM_STORED_LEASED, SIM_LEASED, MSG_NO_store_leases, &store_leases_desc, &m);
}

static void list_later(struct sim_node *n)
{
	sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_LEASE_LIST, .node = (uint8_t)n->id,
		.daemon = SIM_STORED, .b = n->link_epoch[SIM_STORED_LEASED],
		.at = sim_soon(n->s, SIM_CH_LEASE, 10, 3000)});
}

void sim_stored_leased_up(struct sim_node *n)
{
	n->stored.leased = (struct sim_leased_link){.listing = true};
	stored_send(n, NULL, 0, false);
	list_later(n);
}

/* A page, as small as it gets: changes come in between. */
void sim_stored_list(struct sim_node *n, uint64_t epoch)
{
	struct sim_leased_link *x = &n->stored.leased;
	size_t max = 1 + sim_rand(n->s, SIM_CH_LEASE, 3), count;
	struct store_lease rows[3];
	struct mvcc_lease page[3];
	struct mvcc_view *v;

	if (!n->link_up[SIM_STORED_LEASED] || n->link_epoch[SIM_STORED_LEASED] != epoch || !x->listing)
		return;
	CHECK(mvcc_view_begin(n->stored.env, &v) == ERR_OK);
	CHECK(mvcc_view_leases(v, x->after, page, max, &count) == ERR_OK);
	mvcc_view_end(&v);
	for (size_t i = 0; i < count; i++)
		rows[i] = (struct store_lease){page[i].id, false, page[i].ttl_s, page[i].remaining_ms, page[i].granted};
	if (count > 0)
		x->after = page[count - 1].id;
	x->listing = count == max;
	stored_send(n, rows, count, !x->listing);
	if (x->listing)
		list_later(n);
}

static bool has_news(struct sim_node *n, size_t events)
{
	const struct mvcc_state *c = apply_state(n->stored.apply);
	struct sim_leased_link *x = &n->stored.leased;
	bool news = events > 0 || c->lessor_term != x->term || c->lessor != x->lessor || c->lessor_seq != x->seq;

	if (x->want != 0 && x->want <= c->applied) {
		x->want = 0;
		news = true;
	}
	x->term = c->lessor_term;
	x->lessor = c->lessor;
	x->seq = c->lessor_seq;
	return news;
}

void sim_stored_tell_leased(struct sim_node *n)
{
	size_t count;
	const struct lease_event *e = apply_lease_events(n->stored.apply, &count);
	struct store_lease *rows = arena_array(&n->s->arena, count + 1, sizeof *rows);

	CHECK(rows != NULL && count <= LIMIT_BATCH_ITEMS);
	for (size_t i = 0; i < count; i++)
		rows[i] = (struct store_lease){e[i].id, e[i].gone, e[i].ttl_s, e[i].remaining_ms, e[i].granted};
	if (n->link_up[SIM_STORED_LEASED] && has_news(n, count))
		stored_send(n, rows, count, false);
	apply_lease_told(n->stored.apply);
}

void sim_stored_leased_msg(struct sim_node *n, const struct msg_in *in)
{
	struct sim_leased_link *x = &n->stored.leased;
	uint64_t index = ((const struct store_leases_wait *)in->msg)->index;

	CHECK(in->row->number == MSG_NO_store_leases_wait);
	x->want = index > x->want ? index : x->want;
	if (x->want > apply_state(n->stored.apply)->applied)
		return;
	x->want = 0;
	stored_send(n, NULL, 0, false);
}
