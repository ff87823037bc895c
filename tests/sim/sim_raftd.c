/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual raftd: its log on the fault disk, its start and end, what it says inside its node. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_int.h"

enum { RAFTD_BATCH = 48 * 1024, RAFTD_CACHE = 16 * 1024, RAFTD_ROOM = 6 * 1024 };

/* ---- the log ---- */

static int log_open(struct sim_node *n, struct wal_recovered *rec)
{
	struct wal_options o = {.cluster_id = 1, .node_id = n->id, .create = !n->log_made,
				.synchronous = true, .segment_bytes = n->s->segment_bytes,
				.batch_bytes = RAFTD_BATCH, .cache_bytes = RAFTD_CACHE,
				.salt = n->s->o.seed * 16 + n->id + 1, .io = wal_disk_io(n->disk)};

	if (n->disk_full)
		wal_disk_fail(n->disk, WAL_DISK_PWRITE, 1, 28 /* ENOSPC */, true);
	return wal_open("log", &o, &n->raftd.wal, rec);
}

/* Everything that came back, looked at by the oracle as if it had just been appended. */
static int log_recall(struct sim_node *n, const struct wal_recovered *rec)
{
	struct sim_raftd *d = &n->raftd;
	uint64_t next = rec->first_index, last = rec->last_index;
	struct wal_hard_state hard = rec->hard;
	int rc = ERR_OK;

	if (next - 1 > n->s->committed_last) {
		sim_fail(n->s, "node %llu: the log begins behind what was ever committed",
			 (unsigned long long)n->id);
		return ERR_CORRUPT;
	}
	sim_log_reset(n->s, &d->log, next - 1);
	d->log.hard = hard;
	while (next <= last && rc == ERR_OK) {
		rc = wal_read(d->wal, next, last, n->s->segment_bytes, 64, &d->list);
		for (size_t i = 0; rc == ERR_OK && i < d->list.n; i++, next++)
			sim_log_push(n, d->list.entries[i].term, d->list.entries[i].kind,
				     d->list.entries[i].data);
	}
	return rc;
}

/* A snapshot was installed and its RESET got lost: the log ends before it, or contradicts it. */
static int log_meet_snapshot(struct sim_node *n)
{
	struct sim_log *log = &n->raftd.log;
	struct wal *w = n->raftd.wal;
	int rc;

	if (n->snap.rows.data == NULL || n->snap.index < log->base ||
	    (n->snap.index <= log->last && log->v[n->snap.index].term == n->snap.term))
		return ERR_OK;
	if (log->hard.term < n->snap.term)
		log->hard = (struct wal_hard_state){n->snap.term, 0};
	rc = wal_append_hard_state(w, log->hard);
	if (rc == ERR_OK)
		rc = wal_append_reset(w, n->snap.index, n->snap.term);
	wal_mark(w, 1);
	if (rc == ERR_OK)
		rc = wal_sync_now(w);
	if (rc == ERR_OK)
		sim_log_reset(n->s, log, n->snap.index);
	return rc;
}

static int log_load(struct sim_node *n)
{
	struct sim_log was = {0};
	struct wal_recovered rec;
	int rc;

	sim_log_copy(&was, &n->raftd.log);
	rc = log_open(n, &rec);
	if (rc == ERR_OK && rec.cut_bytes > 0)
		sim_trace(n->s, n, "a torn tail of %llu bytes was cut", (unsigned long long)rec.cut_bytes);
	if (rc == ERR_OK) {
		rc = log_recall(n, &rec);
		if (rc == ERR_OK)
			sim_oracle_recovered(n, &was);
	} else {
		sim_trace(n->s, n, "the log does not open: %s", rec.why);
	}
	if (rc == ERR_OK)
		rc = log_meet_snapshot(n);
	if (rc == ERR_OK) {
		n->log_made = true;
		sim_log_copy(&n->durable, &n->raftd.log);
		sim_oracle_store(n);
	} else {
		if (n->raftd.wal != NULL)
			wal_abandon(&n->raftd.wal);
		sim_log_copy(&n->raftd.log, &was);
		wal_disk_kill(n->disk);
	}
	free(was.v);
	return rc;
}

/* ---- start ---- */

static void core_make(struct sim_node *n)
{
	struct sim_raftd *d = &n->raftd;
	struct sim *s = n->s;
	struct raft_config cfg = {.id = n->id, .voter_count = s->o.nodes,
				  .seed = sim_rand(s, SIM_CH_IDS, 0), .reads_max = 64};
	struct raft_state st = {.term = d->log.hard.term, .vote = d->log.hard.vote,
				.base_index = d->log.base, .base_term = d->log.v[d->log.base].term,
				.last_index = d->log.last};
	struct raft_run *runs = mem_array(d->log.last - d->log.base + 1, sizeof *runs);

	for (uint32_t i = 0; i < s->o.nodes; i++)
		cfg.voters[i] = i + 1;
	for (uint64_t i = d->log.base + 1; i <= d->log.last; i++)
		if (st.run_count == 0 || runs[st.run_count - 1].term != d->log.v[i].term)
			runs[st.run_count++] = (struct raft_run){i, d->log.v[i].term};
	st.runs = runs;
	if (sim_chance(s, SIM_CH_IDS, 500) && n->stored.applied <= d->log.last)
		st.commit = n->stored.applied;
	if (raft_state_check(&cfg, &st) != ERR_OK)
		sim_fail(s, "node %llu: its log does not look like a Raft log", (unsigned long long)n->id);
	else
		d->r = raft_create(&cfg, &st, sim_clock(n));
	d->due = s->now;
	free(runs);
	d->term = d->log.hard.term;
	d->commit = st.commit > st.base_index ? st.commit : st.base_index;
	d->seen_commit = d->log.base;
}

void sim_raftd_start(struct sim_node *n)
{
	struct sim_raftd *d = &n->raftd;
	int rc;

	if (d->r != NULL || d->dead)
		return;
	rc = log_load(n);
	if (rc == ERR_CORRUPT && n->rotten) {
		sim_trace(n->s, n, "the damage is seen: this node is taken out");
		d->dead = true;
		sim_power_off(n, 0);
		return;
	}
	if (rc == ERR_IO) {
		sim_start_later(n, SIM_RAFTD, 200);
		return;
	}
	if (rc != ERR_OK) {
		sim_fail(n->s, "node %llu: its log does not open: %s", (unsigned long long)n->id,
			 err_name(rc));
		return;
	}
	d->incarnation++;
	d->durable_seq = 0;
	d->held_count = d->sent_count = 0;
	d->sync_due = d->died = false;
	d->role = RAFT_FOLLOWER;
	d->leader = d->round = 0;
	core_make(n);
	if (d->r == NULL)
		return;
	sim_trace(n->s, n, "raftd starts, log %llu..%llu", (unsigned long long)d->log.base + 1,
		  (unsigned long long)d->log.last);
	sim_peer_edges(n, true);
	sim_local_connect(n, SIM_RAFTD_STORED);
	sim_local_connect(n, SIM_GATEWAY_RAFTD);
	sim_local_connect(n, SIM_RAFTD_LEASED);
}

/* write_ops: it dies in that write operation of the sync under way; 0: between two of them. */
void sim_raftd_stop(struct sim_node *n, uint64_t write_ops, bool power)
{
	struct sim_raftd *d = &n->raftd;

	if (d->r != NULL) {
		if (write_ops > 0 && d->sync_due && !d->died) {
			wal_disk_die_after(n->disk, write_ops - 1);
			(void)wal_sync_now(d->wal);
		}
		wal_abandon(&d->wal);
		raft_destroy(d->r);
		d->r = NULL;
		d->incarnation++;
		sim_peer_edges(n, false);
	}
	if (power)
		wal_disk_crash(n->disk);
	else
		wal_disk_kill(n->disk);
}

void sim_raftd_dies(struct sim_node *n, const char *why)
{
	sim_trace(n->s, n, "raftd ends itself: %s", why);
	n->raftd.died = true;
	sim_start_later(n, SIM_RAFTD, 50 + (uint32_t)sim_rand(n->s, SIM_CH_DISK, 300));
}

/* ---- time and disk ---- */

void sim_raftd_tick(struct sim_node *n)
{
	if (sim_raftd_room(n))
		(void)sim_step(n, (struct raft_event){.type = RAFT_EV_TICK});
}

/* Room for whatever one step may append; the disk is waited for if need be. */
bool sim_raftd_room(struct sim_node *n)
{
	if (n->raftd.r != NULL && wal_room(n->raftd.wal) < RAFTD_ROOM)
		sim_raftd_sync(n);
	return n->raftd.r != NULL;
}

void sim_raftd_sync(struct sim_node *n)
{
	struct sim_raftd *d = &n->raftd;
	struct wal_durable w;
	uint8_t term[8];

	d->sync_due = false;
	if (wal_sync_now(d->wal) != ERR_OK) {
		sim_raftd_dies(n, wal_why(d->wal));
		sim_kill(n, SIM_RAFTD);
		return;
	}
	sim_log_copy(&n->durable, &d->log);
	if (!wal_collect(d->wal, &w))
		return;
	if (!sim_chance(n->s, SIM_CH_DISK, 300)) {
		sim_raftd_durable(n, w.seq, w.last_index, w.last_term);
		return;
	}
	put_u64(term, w.last_term);
	sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_DURABLE, .node = (uint8_t)n->id,
		.daemon = SIM_RAFTD, .a = w.seq, .b = d->incarnation, .c = w.last_index,
		.at = sim_soon(n->s, SIM_CH_DISK, 10, 3000), .data = bytes_of(mem_dup(term, 8), 8)});
}

void sim_raftd_durable(struct sim_node *n, uint64_t seq, uint64_t last, uint64_t term)
{
	if (seq <= n->raftd.durable_seq)
		return;
	n->raftd.durable_seq = seq;
	(void)sim_step(n, (struct raft_event){.type = RAFT_EV_DURABLE, .seq = seq, .last_index = last,
					      .last_term = term});
}

/* ---- to stored ---- */

void sim_raftd_stored_up(struct sim_node *n)
{
	struct sim_raftd *d = &n->raftd;

	d->feed.applied = n->stored.applied;
	d->feed.next = n->stored.applied + 1;
	d->feed.batches = 0;
	if (n->stored.applied > d->log.last)
		sim_fail(n->s, "node %llu: the store is ahead of the log", (unsigned long long)n->id);
	sim_raftd_feed(n);
}

void sim_raftd_feed(struct sim_node *n)
{
	struct sim_raftd *d = &n->raftd;
	struct log_entry entries[32];

	if (d->r == NULL)
		return;
	while (n->link_up[SIM_RAFTD_STORED] && d->feed.batches < 2 && d->feed.next <= d->commit) {
		struct apply_batch m = {.commit = d->commit, .entries = {entries, 0}};
		int rc = wal_read(d->wal, d->feed.next, d->commit, 8192,
				  1 + sim_rand(n->s, SIM_CH_DISK, ARRAY_LEN(entries)), &d->list);

		if (rc != ERR_OK) {
			sim_raftd_dies(n, rc == ERR_COMPACTED ? "the store needs what was cut" : wal_why(d->wal));
			if (rc == ERR_COMPACTED)
				sim_fail(n->s, "node %llu: the store needs %llu, the log begins later",
					 (unsigned long long)n->id, (unsigned long long)d->feed.next);
			sim_kill(n, SIM_RAFTD);
			return;
		}
		for (; m.entries.n < d->list.n; m.entries.n++) {
			const struct wal_entry *w = &d->list.entries[m.entries.n];

			entries[m.entries.n] = (struct log_entry){w->index, w->term,
				w->kind == WAL_NOOP ? LOG_ENTRY_NOOP : LOG_ENTRY_COMMAND, w->data};
		}
		d->feed.next += m.entries.n;
		d->feed.batches++;
		sim_local_send(n, SIM_RAFTD_STORED, SIM_STORED, MSG_NO_apply_batch, &apply_batch_desc, &m);
	}
}

void sim_raftd_stored_msg(struct sim_node *n, const struct msg_in *in)
{
	const struct apply_done *m = in->msg;
	struct sim_raftd *d = &n->raftd;

	CHECK(in->row->number == MSG_NO_apply_done);
	if (m->index < d->feed.applied || m->index >= d->feed.next)
		sim_fail(n->s, "node %llu: stored applied %llu, sent were up to %llu", (unsigned long long)n->id,
			 (unsigned long long)m->index, (unsigned long long)d->feed.next - 1);
	d->feed.applied = m->index;
	d->feed.batches--;
	sim_raftd_feed(n);
}

/* ---- to the gateway ---- */

void sim_raftd_state(struct sim_node *n)
{
	const struct sim_raftd *d = &n->raftd;
	struct raftd_state m = {(uint64_t)d->role, d->term, d->leader, d->commit, 0};

	n->raftd.state_dirty = false;
	sim_local_send(n, SIM_GATEWAY_RAFTD, SIM_GATEWAY, MSG_NO_raftd_state, &raftd_state_desc, &m);
	sim_raftd_tell_role(n);
}

static void propose_refuse(struct sim_node *n, uint64_t seq, uint64_t gateway, uint64_t from, int err)
{
	struct raftd_refused v = {seq, (uint64_t)err};
	struct raftd_refuse m = {.refused = {&v, 1}};
	struct peer_refused pv = {gateway, seq, (uint64_t)err};
	struct peer_refuse pm = {.refused = {&pv, 1}};

	if (from == 0)
		sim_local_send(n, SIM_GATEWAY_RAFTD, SIM_GATEWAY, MSG_NO_raftd_refuse, &raftd_refuse_desc, &m);
	else
		sim_peer_send(n, from, MSG_NO_peer_refuse, &peer_refuse_desc, &pm);
}

/* from 0: our gateway's; else sent on by that node's raftd. */
void sim_raftd_propose(struct sim_node *n, const struct raftd_proposal *v, size_t count,
		       uint64_t gateway, uint64_t from)
{
	for (size_t i = 0; i < count && sim_raftd_room(n); i++) {
		struct sim_raftd *d = &n->raftd;
		struct peer_proposal pv = {gateway, v[i].seq, v[i].command};
		struct peer_propose pm = {.proposals = {&pv, 1}};
		int rc = d->leader ? ERR_LEADER_CHANGED : ERR_NO_LEADER;

		if (d->role == RAFT_LEADER) {
			d->own = &v[i];
			rc = sim_step(n, (struct raft_event){.type = RAFT_EV_PROPOSE, .n = 1});
		} else if (d->leader != 0 && from == 0) {
			sim_peer_send(n, d->leader, MSG_NO_peer_propose, &peer_propose_desc, &pm);
			rc = ERR_OK;
		}
		if (rc != ERR_OK && n->raftd.r != NULL)
			propose_refuse(n, v[i].seq, gateway, from, rc);
	}
}

/* For a gatewayd, or for leased, which asks whether we lead `term`. */
void sim_raftd_read(struct sim_node *n, enum sim_link l, uint64_t asked, uint64_t term)
{
	struct sim_raftd *d = &n->raftd;
	uint64_t ctx = d->read_next++;

	d->reads[ctx % SIM_ROUNDS].ctx = asked;
	d->reads[ctx % SIM_ROUNDS].epoch = n->link_epoch[l];
	d->reads[ctx % SIM_ROUNDS].term = term;
	d->reads[ctx % SIM_ROUNDS].link = l;
	d->reads[ctx % SIM_ROUNDS].committed = n->s->committed_last;
	(void)sim_step(n, (struct raft_event){.type = RAFT_EV_READ, .ctx = ctx});
}

void sim_raftd_gateway_msg(struct sim_node *n, const struct msg_in *in)
{
	if (in->row->number == MSG_NO_raftd_propose) {
		const struct raftd_propose *m = in->msg;

		sim_raftd_propose(n, m->proposals.v, m->proposals.n, n->gateway.clnt.incarnation, 0);
	} else if (in->row->number == MSG_NO_raftd_read) {
		sim_raftd_read(n, SIM_GATEWAY_RAFTD, ((const struct raftd_read *)in->msg)->ctx, 0);
	} else {
		CHECK(in->row->number == MSG_NO_raftd_status_ask);
		sim_raftd_state(n);
	}
}
