/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far each peer is, as its leader sees it (thesis 3.5; flow control after 10.2.1).
 *
 *              accepted                        its log ends before ours begins
 *   PROBE ------------------> REPLICATE      PROBE ---------------------------> SNAPSHOT
 *     ^  one at a time,           |            ^                                    |
 *     |  to find where we agree   |            |      done or given up              |
 *     '---------------------------'            '------------------------------------'
 *      rejected, or its link broke
 *
 * REPLICATE is optimistic: `next` moves with what was sent, not with what was acknowledged. A
 * heartbeat has prev = next - 1, so whatever was lost on the way shows as a rejection, and the
 * peer is probed again from where it says its log ends.
 */
#include "base/check.h"
#include "base/err.h"
#include "raftd/core/raft_core.h"

static void inflight_clear(struct raft_peer *p)
{
	p->inflight_head = 0;
	p->inflight_count = 0;
	p->inflight_bytes = 0;
}

static void inflight_push(struct raft_peer *p, uint64_t last, uint64_t bytes)
{
	CHECK(p->inflight_count < LIMIT_PEER_INFLIGHT_MSGS);
	uint32_t at = (p->inflight_head + p->inflight_count++) % LIMIT_PEER_INFLIGHT_MSGS;

	p->inflight[at] = (struct raft_inflight){last, bytes};
	p->inflight_bytes += bytes;
}

static void inflight_acked(struct raft_peer *p)
{
	while (p->inflight_count > 0 && p->inflight[p->inflight_head].last <= p->match) {
		p->inflight_bytes -= p->inflight[p->inflight_head].bytes;
		p->inflight_head = (p->inflight_head + 1) % LIMIT_PEER_INFLIGHT_MSGS;
		p->inflight_count--;
	}
}

bool raft_progress_window_full(const struct raft *r, const struct raft_peer *p)
{
	return p->inflight_count >= r->cfg.inflight_msgs ||
	       p->inflight_bytes >= r->cfg.inflight_bytes;
}

/* A permission given before is void: its message may still go out, but nothing is built on it. */
void raft_progress_probe(struct raft_peer *p, uint64_t next)
{
	p->state = RAFT_PEER_PROBE;
	p->next = next;
	p->grant = 0;
	p->probe_out = false;
	p->stalled = false;
	inflight_clear(p);
}

void raft_progress_sent(struct raft *r, struct raft_peer *p, uint64_t last, uint64_t bytes)
{
	CHECK(last + 1 >= p->grant_first && last <= p->grant_last && last <= r->log.last);
	p->grant = 0;
	if (last < p->grant_first) {
		p->stalled = true;         /* asking again at once would only spin */
		p->probe_out = false;
	} else if (p->state == RAFT_PEER_REPLICATE) {
		if (p->next <= last)
			p->next = last + 1;
		if (last > p->match)
			inflight_push(p, last, bytes);
	}
}

static void progress_replicate(struct raft_peer *p, uint64_t next)
{
	raft_progress_probe(p, next);
	p->state = RAFT_PEER_REPLICATE;
}

static void progress_accepted(struct raft *r, struct raft_peer *p,
			      const struct raft_msg_append_resp *a)
{
	bool news = a->index > p->match || a->index + 1 >= p->next;

	if (p->match < a->match)
		p->match = a->match;

	uint64_t next = (a->index > p->match ? a->index : p->match) + 1;

	switch (p->state) {
	case RAFT_PEER_PROBE:
		if (news)                  /* else it answers what was asked before this probe */
			progress_replicate(p, next);
		break;
	case RAFT_PEER_REPLICATE:
		if (p->next < next)
			p->next = next;
		inflight_acked(p);
		p->stalled = false;
		break;
	default:
		/* It got our log's beginning from somewhere, perhaps from a snapshot. */
		if (a->index > 0 && a->index >= raft_terms_base(&r->log))
			progress_replicate(p, next);
		else if (p->next <= p->match)
			p->next = p->match + 1;
		break;
	}
}

/* Thesis 3.5, end: skip the terms that cannot agree, by the peer's runs and by ours. */
static void progress_rejected(struct raft *r, struct raft_peer *p,
			      const struct raft_msg_append_resp *a)
{
	if (p->state == RAFT_PEER_SNAPSHOT || a->index <= p->match)
		return;                    /* overtaken by what it accepted later */
	if (p->state == RAFT_PEER_PROBE && a->index != p->next - 1)
		return;                    /* answers an older probe */

	uint64_t next = raft_terms_at_most(&r->log, a->hint_index, a->hint_term) + 1;

	if (next > a->index)
		next = a->index;
	if (next <= p->match)
		next = p->match + 1;
	raft_progress_probe(p, next);
}

int raft_recv_append_resp(struct raft *r, struct raft_peer *p, const struct raft_msg *m)
{
	const struct raft_msg_append_resp *a = &m->append_resp;

	if (r->role != RAFT_LEADER)
		return raft_refuse(r, RAFT_REFUSED_NOT_FOR_ME_NOW);
	if (a->reject && a->index == 0)
		return raft_refuse(r, RAFT_REFUSED_NOT_FOR_ME_NOW);   /* we led an older term too */
	if (a->index > r->log.last || a->round > r->round)
		return raft_refuse(r, RAFT_REFUSED_UNSENT);
	/* Whatever it thinks of the log, it answered our round: we led when the round began. */
	if (p->round_acked < a->round)
		p->round_acked = a->round;
	if (a->reject) {
		progress_rejected(r, p, a);
		return ERR_OK;
	}
	progress_accepted(r, p, a);
	CHECK(p->match < p->next);
	raft_lead_commit(r);
	return ERR_OK;
}
