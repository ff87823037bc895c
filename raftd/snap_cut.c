/* SPDX-License-Identifier: Apache-2.0 */
/* When a snapshot is made, and how much of the log is cut behind it (docs/snapshot-format.md). */
#include "raftd/snap.h"

#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "raftd/node.h"

/*
 * A quarter of the threshold is kept as a tail. A copy costs what the store is large, so a large
 * store is copied only when the log has grown by a quarter of it. Peers that are catching up hold
 * the cut back, until the log is so many times larger than it should be; a snapshot on its way does
 * for so many times as long.
 */
enum { SNAP_TICK_MS = 500, SNAP_TAIL_PART = 4, SNAP_STORE_PART = 4, SNAP_PATIENCE = 4 };

static uint64_t cut_threshold(const struct raftd *n)
{
	uint64_t log = n->d->config->snapshot_log_mb * MIB, store = n->snap.store_bytes;

	if (store < n->snap.newest.bytes)
		store = n->snap.newest.bytes;
	return log > store / SNAP_STORE_PART ? log : store / SNAP_STORE_PART;
}

/*
 * Entries at and above it are still to be sent to somebody who is there and getting them. Who gets a
 * snapshot that slowly would get the next one in any case.
 */
static uint64_t cut_hold(struct raftd *n)
{
	uint64_t log = wal_bytes_from(n->wal, wal_first_index(n->wal)), most = SNAP_PATIENCE * cut_threshold(n);
	uint64_t hold = log > SNAP_PATIENCE * most ? UINT64_MAX : snap_send_hold(n);
	struct raft_status rs;

	if (n->role != RAFT_LEADER || log > most)
		return hold;
	raft_status(n->raft, loop_now(n->d->loop), &rs);
	for (uint32_t i = 0; i < rs.peer_count; i++) {
		const struct raft_peer_status *p = &rs.peers[i];

		if (p->up && p->match > 0 && p->state != RAFT_PEER_SNAPSHOT && p->match + 1 < hold)
			hold = p->match + 1;
	}
	return hold;
}

static void cut_log(struct raftd *n)
{
	struct raft_event ev = {.type = RAFT_EV_COMPACTED};
	uint64_t before = n->snap.newest.index + 1, first = wal_first_index(n->wal), tail, hold;

	if (n->snap.newest.index == 0 || n->snap.newest.index > n->commit || before <= first)
		return;
	if (n->snap.newest.index > n->feed.applied)
		return;                  /* stored could not use it: the log may be all there is */
	tail = wal_index_behind(n->wal, n->d->config->snapshot_log_mb * MIB / SNAP_TAIL_PART);
	if (tail < before)
		before = tail;
	if (before <= first)
		return;
	hold = cut_hold(n);
	if (hold < before)
		before = hold;
	wal_cut(n->wal, before);
	if (wal_first_index(n->wal) == first)
		return;                  /* whole segments go, or none */
	ev.index = wal_first_index(n->wal) - 1;
	n->gateways.state_dirty = true;
	CHECK(ev.index <= n->snap.newest.index && ev.index <= n->commit);
	counter_inc(&n->counters.log_cuts);
	log_info("log cut first=%" PRIu64 " was=%" PRIu64 " snapshot=%" PRIu64, ev.index + 1, first,
		 n->snap.newest.index);
	(void)raftd_step(n, &ev);
}

void snap_ask(struct raftd *n, uint64_t index)
{
	struct apply_snapshot m = {index};

	if (n->feed.link == NULL || !n->feed.ready || n->snap.asked >= index || index > n->feed.applied)
		return;
	if (link_send(n->feed.link, MSG_NO_apply_snapshot, &apply_snapshot_desc, &m) != ERR_OK)
		return;
	n->snap.asked = index;
	counter_inc(&n->counters.snapshots_asked);
}

static void cut_look(struct raftd *n)
{
	const struct snap *s = &n->snap;

	if (n->feed.applied > s->newest.index && s->asked <= s->newest.index &&
	    wal_bytes_from(n->wal, s->newest.index + 1) > cut_threshold(n))
		snap_ask(n, n->feed.applied);
}

static void on_snap_timer(void *arg)
{
	struct raftd *n = arg;

	cut_look(n);
	cut_log(n);
	snap_recv_tick(n);
	loop_timer_set(n->d->loop, &n->snap.timer, mono_add_ms(loop_now(n->d->loop), SNAP_TICK_MS));
}

void snap_state(struct raftd *n, const struct apply_state *m)
{
	struct snap *s = &n->snap;

	s->store_bytes = m->store_bytes;
	s->newest = m->snapshot != NULL ? *m->snapshot : (struct snapshot_id){0};
	if (s->asked <= s->newest.index)
		s->asked = 0;
	loop_timer_set(n->d->loop, &s->timer, loop_now(n->d->loop));
}

void snap_link_down(struct raftd *n)
{
	n->snap.asked = 0;
	n->snap.recv.asked = false;
}

void snap_open(struct raftd *n)
{
	loop_timer_init(&n->snap.timer, on_snap_timer, n);
	snap_send_open(n);
	snap_recv_open(n);
	loop_timer_set(n->d->loop, &n->snap.timer, loop_now(n->d->loop));
}

void snap_close(struct raftd *n)
{
	loop_timer_clear(n->d->loop, &n->snap.timer);
	for (size_t i = 0; i < n->snap.n_send; i++)
		snap_send_stop(n, n->snap.send[i].peer);
	snap_recv_close(n);
}

static void report_sends(const struct snap *s, struct admin_reply *r)
{
	for (size_t i = 0; i < s->n_send; i++) {
		const struct snap_send *o = &s->send[i];

		if (o->state == SNAP_SEND_IDLE)
			continue;
		admin_begin(r, "sending");
		admin_u64(r, "to", o->peer);
		admin_u64(r, "index", o->id.index);
		admin_u64(r, "bytes", o->id.bytes);
		admin_u64(r, "acknowledged", o->acked);
		admin_end(r);
		return;                  /* one at a time is enough to see that it goes on */
	}
}

void snap_report(const struct raftd *n, struct admin_reply *r)
{
	const struct snap *s = &n->snap;
	bool coming = s->recv.coming || s->recv.complete;

	admin_begin(r, "snapshot");
	admin_u64(r, "index", s->newest.index);
	admin_u64(r, "bytes", s->newest.bytes);
	admin_u64(r, "asked", s->asked);
	admin_bool(r, "store_has_gap", n->feed.behind);
	if (coming) {
		admin_begin(r, "receiving");
		admin_u64(r, "from", s->recv.from);
		admin_u64(r, "index", s->recv.id.index);
		admin_u64(r, "bytes", s->recv.id.bytes);
		admin_u64(r, "have", s->recv.have);
		admin_bool(r, "installing", s->recv.complete);
		admin_end(r);
	}
	report_sends(s, r);
	admin_end(r);
}
