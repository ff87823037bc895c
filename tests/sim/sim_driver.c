/* SPDX-License-Identifier: Apache-2.0 */
/* A driver's duties, as raftd/core/raft.h states them: the core's effects, in their order. */
#include "base/check.h"
#include "base/err.h"
#include "tests/sim/sim_int.h"

static void sync_later(struct sim_node *n)
{
	struct sim_raftd *d = &n->raftd;

	if (d->sync_due)
		return;
	d->sync_due = true;
	sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_SYNC, .node = (uint8_t)n->id,
		.daemon = SIM_RAFTD, .b = d->incarnation,
		.at = sim_soon(n->s, SIM_CH_DISK, 100, n->slow_disk ? 60000 : 2000)});
}

static void logged(struct sim_node *n, int rc, uint64_t seq)
{
	if (rc != ERR_OK) {
		sim_raftd_dies(n, "the log takes nothing");
		return;
	}
	wal_mark(n->raftd.wal, seq);
	sync_later(n);
}

static void fx_hard_state(struct sim_node *n, const struct raft_effect *e)
{
	struct wal_hard_state hard = {e->hard_state.term, e->hard_state.vote};

	n->raftd.log.hard = hard;
	logged(n, wal_append_hard_state(n->raftd.wal, hard), e->seq);
}

static void fx_truncate(struct sim_node *n, const struct raft_effect *e)
{
	n->raftd.log.last = e->truncate.from - 1;
	sim_moment(n, SIM_MOMENT_CUTS, n->raftd.leader);
	logged(n, wal_append_truncate(n->raftd.wal, e->truncate.from), e->seq);
}

static void fx_append(struct sim_node *n, const struct raft_effect *e)
{
	struct sim_raftd *d = &n->raftd;
	int rc = ERR_OK;

	for (uint32_t i = 0; i < e->append.n && rc == ERR_OK; i++) {
		uint64_t term = e->append.term;
		struct bytes payload = {0};
		uint8_t kind = WAL_NOOP;

		if (e->append.own) {
			kind = WAL_COMMAND;
			payload = d->own[i].command;
		} else if (!e->append.noop) {
			const struct peer_entry *in = &d->received->entries.v[e->append.skip + i];

			kind = (uint8_t)in->kind;
			term = in->term;
			payload = in->payload;
		}
		rc = wal_append_entry(d->wal, e->append.first + i, term, kind, payload);
		sim_log_push(n, term, kind, payload);
	}
	logged(n, rc, e->seq);
}

static void fx_reset(struct sim_node *n, const struct raft_effect *e)
{
	sim_log_reset(n->s, &n->raftd.log, e->reset.index);
	logged(n, wal_append_reset(n->raftd.wal, e->reset.index, e->reset.term), e->seq);
}

static void fx_send(struct sim_node *n, const struct raft_effect *e)
{
	struct sim_raftd *d = &n->raftd;

	if (e->send.need_seq <= d->durable_seq)
		sim_peer_raft(n, &e->send.msg);
	else if (d->held_count < SIM_HELD)
		d->held[d->held_count++] = (struct sim_sent){e->send.msg, e->send.need_seq};
}

static void held_release(struct sim_node *n)
{
	struct sim_raftd *d = &n->raftd;
	uint32_t keep = 0;

	for (uint32_t i = 0; i < d->held_count; i++) {
		if (d->held[i].need_seq > d->durable_seq)
			d->held[keep++] = d->held[i];
		else
			sim_peer_raft(n, &d->held[i].msg);
	}
	d->held_count = keep;
}

static void fx_replicate(struct sim_node *n, const struct raft_effect *e)
{
	struct peer_entry entries[16];
	struct peer_append m = {.term = e->replicate.term, .prev_index = e->replicate.prev_index,
				.prev_term = e->replicate.prev_term, .commit = e->replicate.commit,
				.round = e->replicate.round};
	bool wants = e->replicate.last >= e->replicate.first;
	struct sim_raftd *d = &n->raftd;

	if (e->replicate.round > d->round)
		sim_moment(n, SIM_MOMENT_ROUND, e->replicate.peer);
	d->round = e->replicate.round;
	m.entries.v = entries;
	if (wants && !sim_chance(n->s, SIM_CH_NET, 10)) {
		int rc = wal_read(d->wal, e->replicate.first, e->replicate.last, 4096,
				  1 + sim_rand(n->s, SIM_CH_NET, n->s->append_max), &d->list);

		if (rc != ERR_OK) {
			sim_raftd_dies(n, wal_why(d->wal));
			return;
		}
		for (; m.entries.n < d->list.n; m.entries.n++) {
			const struct wal_entry *w = &d->list.entries[m.entries.n];

			entries[m.entries.n] = (struct peer_entry){w->term, w->kind, w->data};
		}
	}
	if (!wants || m.entries.n > 0)
		sim_peer_send(n, e->replicate.peer, MSG_NO_peer_append, &peer_append_desc, &m);
	if (!wants)
		return;
	CHECK(d->sent_count < SIM_GRANTS);
	d->sent[d->sent_count++] = (struct raft_event){
		.type = RAFT_EV_SENT, .peer = e->replicate.peer, .grant = e->replicate.grant,
		.last = e->replicate.first - 1 + m.entries.n, .bytes = m.entries.n * 100};
}

static void fx_role(struct sim_node *n, const struct raft_effect *e)
{
	struct sim_raftd *d = &n->raftd;

	if (e->role.role != d->role)
		sim_trace(n->s, n, "%s -> %s, %s, term %llu", raft_role_name(d->role),
			  raft_role_name(e->role.role), e->role.reason, (unsigned long long)e->role.term);
	if (e->role.role == RAFT_LEADER && d->role != RAFT_LEADER)
		sim_moment_leads(n);
	d->role = e->role.role;
	d->round = 0;
	d->term = e->role.term;
	d->leader = e->role.leader;
	d->state_dirty = true;
	d->sent_count = 0;               /* a permission to replicate dies with the role */
}

static void fx_read(struct sim_node *n, const struct raft_effect *e)
{
	struct sim_raftd *d = &n->raftd;
	uint32_t at = e->read.ctx % SIM_ROUNDS;
	enum sim_link link = d->reads[at].link;
	struct raftd_read_result m = {.ctx = d->reads[at].ctx, .index = e->read.index};

	if (e->type == RAFT_FX_READ_FAIL) {
		m.error = d->leader ? ERR_LEADER_CHANGED : ERR_NO_LEADER;
		m.index = 0;
	}
	sim_oracle_read(n, e, d->reads[at].committed);
	if (d->reads[at].epoch != n->link_epoch[link])
		return;
	if (link == SIM_GATEWAY_RAFTD) {
		sim_local_send(n, link, SIM_GATEWAY, MSG_NO_raftd_read_result, &raftd_read_result_desc, &m);
		return;
	}
	/* Asked and answered in one term that we lead: else another leader may have answered for us. */
	if (m.error == ERR_OK && (d->role != RAFT_LEADER || d->term != d->reads[at].term))
		m.error = ERR_NOT_LEADER;
	sim_raftd_confirmed(n, m.ctx, (int)m.error, d->reads[at].term, m.index);
}

static void fx_do(struct sim_node *n, const struct raft_effect *e)
{
	sim_mix(n->s, (uint64_t)e->type << 8 | n->id);
	switch (e->type) {
	case RAFT_FX_HARD_STATE:
		fx_hard_state(n, e);
		break;
	case RAFT_FX_TRUNCATE:
		fx_truncate(n, e);
		break;
	case RAFT_FX_APPEND:
		fx_append(n, e);
		break;
	case RAFT_FX_RESET:
		fx_reset(n, e);
		break;
	case RAFT_FX_SEND:
		fx_send(n, e);
		break;
	case RAFT_FX_REPLICATE:
		fx_replicate(n, e);
		break;
	case RAFT_FX_COMMIT:
		sim_oracle_told(n, e->commit.index);
		n->raftd.commit = e->commit.index;
		break;
	case RAFT_FX_ROLE:
		fx_role(n, e);
		break;
	case RAFT_FX_READ_OK:
	case RAFT_FX_READ_FAIL:
		fx_read(n, e);
		break;
	case RAFT_FX_SNAPSHOT:
		sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_SNAP_SEND, .node = (uint8_t)n->id,
			.daemon = SIM_RAFTD, .a = e->peer.peer, .b = n->raftd.incarnation,
			.at = sim_soon(n->s, SIM_CH_NET, 1000, 50000)});
		break;
	case RAFT_FX_TRANSFER_ABORTED:
		break;
	case RAFT_FX_COUNT:
		panic("no such effect");
	}
}

static int step_once(struct sim_node *n, struct raft_event ev)
{
	struct sim_raftd *d = &n->raftd;
	int rc;

	ev.now = sim_clock(n);
	rc = raft_step(d->r, &ev, &d->fx);
	for (uint32_t i = 0; i < d->fx.n && !d->died; i++)
		fx_do(n, &d->fx.v[i]);
	if (!d->died)
		sim_oracle_stepped(n);
	return rc;
}

/* Carries out the whole step; a raftd that died in it is gone afterwards. */
int sim_step(struct sim_node *n, struct raft_event ev)
{
	struct sim_raftd *d = &n->raftd;
	int rc = step_once(n, ev);

	while (d->sent_count > 0 && !d->died) {
		struct raft_event sent = d->sent[0];

		d->sent_count--;
		for (uint32_t i = 0; i < d->sent_count; i++)
			d->sent[i] = d->sent[i + 1];
		(void)step_once(n, sent);
	}
	d->own = NULL;
	d->received = NULL;
	if (d->died) {
		sim_kill(n, SIM_RAFTD);
		return rc;
	}
	if (ev.type == RAFT_EV_DURABLE)
		held_release(n);
	if (d->state_dirty)
		sim_raftd_state(n);
	sim_raftd_feed(n);
	if (d->r != NULL)
		d->due = sim_when(n, raft_deadline(d->r));
	return rc;
}
