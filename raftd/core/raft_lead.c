/* SPDX-License-Identifier: Apache-2.0 */
/* The leader: proposals, heartbeats, what each peer may be sent now, commit, check-quorum. */
#include "base/check.h"
#include "base/err.h"
#include "raftd/core/raft_core.h"

static void lead_append(struct raft *r, uint32_t n, bool noop)
{
	struct raft_effect *e;

	raft_emit_log(r, RAFT_FX_APPEND, &e);
	e->append.first = r->log.last + 1;
	e->append.n = n;
	e->append.term = r->term;
	e->append.own = !noop;
	e->append.noop = noop;
	raft_terms_append(&r->log, r->term, n);
}

/* Thesis 6.4 and 3.6.2: an entry of its own term tells a new leader what is committed. */
void raft_lead_begin(struct raft *r)
{
	raft_become(r, RAFT_LEADER, r->term, r->id, "a quorum voted");
	r->leaderships++;
	r->leader_since = r->now;
	r->heartbeat_at = mono_add_ms(r->now, r->cfg.heartbeat_ms);
	r->term_first = r->log.last + 1;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		raft_progress_probe(&r->peers[i], r->log.last + 1);
		r->peers[i].beat_due = true;
	}
	lead_append(r, 1, true);
}

int raft_lead_propose(struct raft *r, uint32_t n)
{
	CHECK(n > 0 && n <= LIMIT_APPEND_ENTRIES);
	if (r->role != RAFT_LEADER)
		return r->leader ? ERR_NOT_LEADER : ERR_NO_LEADER;
	if (r->transfer_to)
		return ERR_LEADER_CHANGED;   /* thesis 3.10: the successor must catch up */
	if (r->log.last >= RAFT_INDEX_MAX - 2 * LIMIT_APPEND_ENTRIES)
		return ERR_LIMIT;
	lead_append(r, n, false);
	return ERR_OK;
}

bool raft_lead_hears(const struct raft *r, const struct raft_peer *p)
{
	mono_t at = r->leader_since;

	if (p->heard_ever && mono_before(at, p->heard))
		at = p->heard;
	return mono_sub_ns(r->now, at) <= r->cfg.election_max_ms * 1000000ll;
}

/* Check-quorum (thesis 6.2): a leader that is cut off must not keep its clients waiting. */
static bool hears_quorum(const struct raft *r)
{
	uint32_t n = 1;

	for (uint32_t i = 0; i < r->peer_count; i++)
		n += raft_lead_hears(r, &r->peers[i]);
	return n >= r->quorum;
}

void raft_lead_tick(struct raft *r)
{
	if (r->transfer_to && !mono_before(r->now, r->transfer_end))
		raft_transfer_abort(r);
	if (mono_before(r->now, r->heartbeat_at))
		return;
	if (!hears_quorum(r)) {
		raft_become(r, RAFT_FOLLOWER, r->term, 0, "no longer hears a quorum");
		return;
	}
	if (raft_transfer_stalled(r))
		return;
	r->heartbeat_at = mono_add_ms(r->now, r->cfg.heartbeat_ms);
	for (uint32_t i = 0; i < r->peer_count; i++) {
		r->peers[i].beat_due = true;
		r->peers[i].stalled = false;
	}
}

/*
 * Thesis 3.6.2: only entries of the leader's own term are committed by counting; all before them
 * are committed with them. The leader counts itself once its own disk has the entry (10.2.1).
 */
void raft_lead_commit(struct raft *r)
{
	uint64_t match[LIMIT_NODES];
	uint32_t n = 0;

	for (uint32_t i = 0; i <= r->peer_count; i++) {
		uint64_t v = i < r->peer_count ? r->peers[i].match : r->durable;
		uint32_t at = n++;

		for (; at > 0 && match[at - 1] < v; at--)
			match[at] = match[at - 1];
		match[at] = v;
	}

	uint64_t index = match[r->quorum - 1];

	if (index > r->commit && raft_terms_at(&r->log, index) == r->term)
		r->commit = index;
}

static void emit_replicate(struct raft *r, struct raft_peer *p, uint64_t prev, uint64_t last)
{
	struct raft_effect *e = raft_emit(r, RAFT_FX_REPLICATE);

	CHECK(!r->hard_dirty && last >= prev && last <= r->log.last);
	e->replicate.peer = p->id;
	e->replicate.prev_index = prev;
	e->replicate.prev_term = raft_terms_at(&r->log, prev);
	e->replicate.first = prev + 1;
	e->replicate.last = last;
	e->replicate.commit = r->commit;
	e->replicate.term = r->term;
	e->replicate.round = r->round;
	p->commit_sent = r->commit;
	if (last == prev)
		return;
	p->grant = e->replicate.grant = ++r->grants;
	p->grant_first = prev + 1;
	p->grant_last = last;
}

/* Heartbeat, probe and commit notice in one: an append without entries (thesis 3.5). */
static void emit_empty(struct raft *r, struct raft_peer *p)
{
	/* Who needs a snapshot is told only that we lead: everybody agrees about index 0. */
	uint64_t prev = p->state == RAFT_PEER_SNAPSHOT ? 0 : p->next - 1;

	p->beat_due = false;
	emit_replicate(r, p, prev, prev);
	if (p->state == RAFT_PEER_PROBE)
		p->probe_out = true;
}

static void snapshot_begin(struct raft *r, struct raft_peer *p)
{
	raft_progress_probe(p, p->next);
	p->state = RAFT_PEER_SNAPSHOT;
	raft_emit(r, RAFT_FX_SNAPSHOT)->peer.peer = p->id;
}

/* Entries, as far as the peer's state allows; one append at a time is in the driver's hands. */
static void flush_entries(struct raft *r, struct raft_peer *p)
{
	uint64_t last = r->log.last;

	if (p->grant != 0 || p->stalled || p->next > last)
		return;
	if (p->state == RAFT_PEER_PROBE) {
		if (p->probe_out)
			return;
		last = p->next;            /* a probe carries one entry at most */
		p->probe_out = true;
	} else if (p->state == RAFT_PEER_SNAPSHOT || raft_progress_window_full(r, p)) {
		return;
	}
	if (last - p->next >= LIMIT_APPEND_ENTRIES)
		last = p->next + LIMIT_APPEND_ENTRIES - 1;
	emit_replicate(r, p, p->next - 1, last);
}

static void flush_peer(struct raft *r, struct raft_peer *p)
{
	if (!p->up)
		return;
	if (p->state != RAFT_PEER_SNAPSHOT && p->next <= raft_terms_base(&r->log))
		snapshot_begin(r, p);
	flush_entries(r, p);

	/* Nothing to carry the news of a commit: it must not wait for the next heartbeat. */
	bool news = p->state == RAFT_PEER_REPLICATE && p->commit_sent < r->commit &&
		    p->grant == 0 && p->next > r->log.last;
	bool ask = p->state == RAFT_PEER_PROBE && !p->probe_out && p->grant == 0;

	if (p->beat_due || news || ask)
		emit_empty(r, p);
}

void raft_lead_flush(struct raft *r)
{
	for (uint32_t i = 0; i < r->peer_count; i++)
		flush_peer(r, &r->peers[i]);
}
