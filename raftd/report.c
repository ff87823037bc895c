/* SPDX-License-Identifier: Apache-2.0 */
/* What raftd says on its admin socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "raftd/node.h"

static void report_log(struct raftd *n, struct admin_reply *r)
{
	struct wal_status ws;

	wal_status(n->wal, &ws);
	admin_begin(r, "log");
	admin_u64(r, "first", ws.first_index);
	admin_u64(r, "last", ws.last_index);
	admin_u64(r, "durable", ws.durable_index);
	admin_u64(r, "segments", ws.segments);
	admin_u64(r, "bytes", ws.bytes);
	admin_u64(r, "unread", ws.unread);
	admin_u64(r, "batches", ws.batches);
	admin_u64(r, "sync_p50_us", ws.sync_p50_us);
	admin_u64(r, "sync_p99_us", ws.sync_p99_us);
	admin_u64(r, "sync_max_us", ws.sync_max_us);
	admin_u64(r, "cached_entries", ws.cached_entries);
	admin_u64(r, "cached_bytes", ws.cached_bytes);
	admin_str(r, "spare", wal_spare_name(ws.spare));
	if (ws.spare_error[0])
		admin_str(r, "spare_error", ws.spare_error);
	admin_end(r);
}

static void report_refusals(const struct raft_status *rs, struct admin_reply *r)
{
	admin_begin(r, "refused");
	for (int i = 0; i < RAFT_REFUSAL_COUNT; i++)
		if (rs->refused[i] != 0)
			admin_u64(r, raft_refusal_name((enum raft_refusal)i), rs->refused[i]);
	admin_end(r);
}

static void report_progress(const struct raft_status *rs, struct admin_reply *r)
{
	char name[32];

	for (uint32_t i = 0; i < rs->peer_count; i++) {
		const struct raft_peer_status *p = &rs->peers[i];

		(void)snprintf(name, sizeof name, "peer_%llu", (unsigned long long)p->id);
		admin_begin(r, name);
		admin_bool(r, "up", p->up);
		admin_str(r, "state", raft_peer_state_name(p->state));
		admin_u64(r, "match", p->match);
		admin_u64(r, "next", p->next);
		admin_i64(r, "silent_ms", p->silent_ms);
		admin_u64(r, "inflight", p->inflight_msgs);
		admin_end(r);
	}
}

void raftd_report(void *daemon, struct admin_reply *r)
{
	struct raftd *n = ((struct daemon *)daemon)->state;
	struct raft_status rs;

	raft_status(n->raft, mono_now(), &rs);
	admin_str(r, "role", raft_role_name(rs.role));
	admin_u64(r, "term", rs.term);
	admin_u64(r, "vote", rs.vote);
	admin_u64(r, "leader", rs.leader);
	admin_u64(r, "commit", rs.commit);
	admin_u64(r, "reads_waiting", rs.reads_waiting);
	admin_bool(r, "stored", n->feed.link != NULL);
	admin_u64(r, "applied", n->feed.applied);
	admin_i64(r, "store_lag_ms", lag_ms(&n->feed.lag, mono_now()));
	admin_u64(r, "gateways", n->gateways.n);
	admin_bool(r, "leased", n->lessor.link != NULL);
	report_log(n, r);
	snap_report(n, r);
	report_progress(&rs, r);
	report_refusals(&rs, r);
}

void raftd_refresh(void *daemon)
{
	struct raftd *n = ((struct daemon *)daemon)->state;
	const struct peers_stats *ps = peers_stats(n->peers);
	struct raftd_counters *c = &n->counters;
	struct wal_status ws;

	wal_status(n->wal, &ws);
	counter_set(&c->role, (int64_t)n->role);
	counter_set(&c->term, (int64_t)n->term);
	counter_set(&c->leader, (int64_t)n->leader);
	counter_set(&c->commit, (int64_t)n->commit);
	counter_set(&c->last, (int64_t)ws.last_index);
	counter_set(&c->durable, (int64_t)n->durable_index);
	counter_set(&c->applied, (int64_t)n->feed.applied);
	counter_set(&c->log_bytes, (int64_t)ws.bytes);
	counter_set(&c->wal_batches, (int64_t)ws.batches);
	counter_set(&c->wal_sync_p50_us, (int64_t)ws.sync_p50_us);
	counter_set(&c->wal_sync_p99_us, (int64_t)ws.sync_p99_us);
	counter_set(&c->wal_spare_failed, ws.spare == WAL_SPARE_FAILED);
	counter_set(&c->snapshot_index, (int64_t)n->snap.newest.index);
	counter_set(&c->store_gap, n->feed.behind);
	counter_set(&c->uncommitted_bytes, (int64_t)n->propose.bytes);
	counter_set(&c->peer_frames_in, (int64_t)ps->frames_in);
	counter_set(&c->peer_frames_out, (int64_t)ps->frames_out);
	counter_set(&c->peer_refused, (int64_t)ps->refused);
	counter_set(&c->peer_bad_frames, (int64_t)ps->bad_frames);
	counter_set(&c->peer_connects, (int64_t)ps->connects);
}

static void admin_peers(void *daemon, const char *args, struct admin_reply *r)
{
	struct raftd *n = ((struct daemon *)daemon)->state;

	(void)args;
	peers_report(n->peers, r);
}

static void admin_transfer(void *daemon, const char *args, struct admin_reply *r)
{
	struct raft_event ev = {.type = RAFT_EV_TRANSFER};
	struct raftd *n = ((struct daemon *)daemon)->state;
	char *end;
	int rc;

	errno = 0;
	ev.peer = args[0] ? strtoull(args, &end, 10) : 0;
	if (args[0] && (errno != 0 || *end != 0)) {
		admin_error(r, "transfer takes a node id");
		return;
	}
	rc = raftd_step(n, &ev);
	if (rc != ERR_OK)
		admin_error(r, "%s", err_text(rc));
	else
		admin_str(r, "transfer", "begun");
}

const struct admin_command raftd_commands[] = {
	{"peers", "", "connections to the other nodes", admin_peers},
	{"transfer", "[NODE_ID]", "hand the leadership over; without an id to the most advanced",
	 admin_transfer},
	{NULL, NULL, NULL, NULL},
};
