/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/core/raft.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/core/raft_core.h"

enum { ELECTION_MIN_MS = 150, ELECTION_MAX_MS = 300, HEARTBEAT_MS = 50 };

static void config_fill(struct raft_config *c)
{
	if (c->election_min_ms == 0)
		c->election_min_ms = ELECTION_MIN_MS;
	if (c->election_max_ms == 0)
		c->election_max_ms = ELECTION_MAX_MS;
	if (c->heartbeat_ms == 0)
		c->heartbeat_ms = HEARTBEAT_MS;
	if (c->reads_max == 0)
		c->reads_max = LIMIT_READS_WAITING;
	if (c->inflight_msgs == 0)
		c->inflight_msgs = LIMIT_PEER_INFLIGHT_MSGS;
	if (c->inflight_bytes == 0)
		c->inflight_bytes = LIMIT_PEER_INFLIGHT_BYTES;
}

static int config_check(const struct raft_config *given)
{
	struct raft_config c = *given;
	bool self = false;

	config_fill(&c);
	if (c.voter_count == 0 || c.voter_count > LIMIT_NODES || c.id == 0)
		return ERR_CONFIG;
	for (uint32_t i = 0; i < c.voter_count; i++) {
		self |= c.voters[i] == c.id;
		if (c.voters[i] == 0)
			return ERR_CONFIG;
		for (uint32_t j = 0; j < i; j++) {
			if (c.voters[i] == c.voters[j])
				return ERR_CONFIG;
		}
	}
	if (!self || c.election_max_ms < c.election_min_ms || c.election_max_ms > 3600u * 1000u ||
	    c.heartbeat_ms > c.election_min_ms / 3 || c.inflight_msgs > LIMIT_PEER_INFLIGHT_MSGS ||
	    c.reads_max > LIMIT_READS_WAITING)
		return ERR_CONFIG;
	return ERR_OK;
}

static int runs_check(const struct raft_state *st)
{
	uint64_t term = st->base_term;

	for (size_t i = 0; i < st->run_count; i++) {
		const struct raft_run *run = &st->runs[i];

		if (run->term < term || run->term == 0 || run->first > st->last_index)
			return ERR_CORRUPT;
		if (i == 0 ? run->first != st->base_index + 1 : run->first <= st->runs[i - 1].first)
			return ERR_CORRUPT;
		term = run->term;
	}
	return term <= st->term ? ERR_OK : ERR_CORRUPT;
}

int raft_state_check(const struct raft_config *cfg, const struct raft_state *st)
{
	if (config_check(cfg))
		return ERR_CONFIG;
	if (st->term > RAFT_TERM_MAX || st->last_index > RAFT_INDEX_MAX ||
	    st->base_index > st->last_index || st->commit > st->last_index)
		return ERR_CORRUPT;
	if ((st->base_index == 0) != (st->base_term == 0) || (st->vote != 0 && st->term == 0))
		return ERR_CORRUPT;
	if ((st->run_count == 0) != (st->last_index == st->base_index))
		return ERR_CORRUPT;
	return runs_check(st);
}

struct raft *raft_create(const struct raft_config *cfg, const struct raft_state *st, mono_t now)
{
	CHECK(raft_state_check(cfg, st) == ERR_OK);
	struct raft *r = mem_alloc(sizeof *r);

	r->id = cfg->id;
	r->cfg = *cfg;
	config_fill(&r->cfg);
	r->rng = cfg->seed;
	r->quorum = cfg->voter_count / 2 + 1;
	for (uint32_t i = 0; i < cfg->voter_count; i++) {
		if (cfg->voters[i] != cfg->id)
			r->peers[r->peer_count++].id = cfg->voters[i];
	}
	r->term = st->term;
	r->vote = st->vote;
	raft_terms_init(&r->log, st);
	r->durable = st->last_index;
	r->commit = st->commit > st->base_index ? st->commit : st->base_index;
	r->told_commit = r->commit;
	r->now = now;
	raft_read_init(r);
	raft_election_reset_timer(r);
	if (r->quorum == 1)
		r->election_at = now;      /* there is nobody to wait for */
	return r;
}

void raft_destroy(struct raft *r)
{
	if (r == NULL)
		return;
	raft_read_free(r);
	raft_terms_free(&r->log);
	free(r);
}

struct raft_peer *raft_peer_find(struct raft *r, uint64_t id)
{
	for (uint32_t i = 0; i < r->peer_count; i++) {
		if (r->peers[i].id == id)
			return &r->peers[i];
	}
	return NULL;
}

/* splitmix64 */
uint64_t raft_rand(struct raft *r)
{
	uint64_t z = (r->rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

int raft_refuse(struct raft *r, enum raft_refusal why)
{
	r->refused[why]++;
	return why <= RAFT_REFUSED_STICKY ? ERR_OK : ERR_MALFORMED;
}

static void step_tick(struct raft *r)
{
	raft_read_tick(r);
	if (r->role == RAFT_LEADER)
		raft_lead_tick(r);
	else if (!mono_before(r->now, r->election_at))
		raft_election_timeout(r);
}

static void step_durable(struct raft *r, const struct raft_event *ev)
{
	CHECK(ev->seq <= r->seq && !r->hard_dirty);
	if (ev->seq <= r->durable_seq)
		return;
	r->durable_seq = ev->seq;
	r->disk_moved = r->now;
	/* Until the last cut is on disk, DURABLE speaks of entries that are about to go. */
	if (ev->seq >= r->cut_seq) {
		CHECK(ev->last_index <= r->log.last);
		CHECK(ev->last_index < raft_terms_base(&r->log) ||
		      raft_terms_at(&r->log, ev->last_index) == ev->last_term);
		if (ev->last_index > r->durable)   /* not so if a snapshot has overtaken it */
			r->durable = ev->last_index;
	}
	if (r->role == RAFT_CANDIDATE)
		raft_election_tally(r);
	else if (r->role == RAFT_LEADER)
		raft_lead_commit(r);
}

static void step_peer_up(struct raft *r, struct raft_peer *p)
{
	p->up = true;
	if (r->role == RAFT_LEADER) {
		raft_progress_probe(p, p->next);
		p->beat_due = true;
	} else if (r->role != RAFT_FOLLOWER && p->vote == RAFT_VOTE_OPEN) {
		raft_election_ask(r, p);
	}
}

static void step_peer_down(struct raft *r, struct raft_peer *p)
{
	p->up = false;
	if (r->role == RAFT_LEADER) {
		raft_progress_probe(p, p->next);
		if (r->transfer_to == p->id)
			raft_transfer_abort(r);
	} else if (r->leader == p->id) {
		raft_read_fail_all(r);     /* an answer can no longer come */
	}
}

static struct raft_peer *step_peer(struct raft *r, const struct raft_event *ev)
{
	struct raft_peer *p = raft_peer_find(r, ev->peer);

	CHECK(p != NULL);
	return p;
}

static void step_sent(struct raft *r, struct raft_peer *p, const struct raft_event *ev)
{
	if (r->role == RAFT_LEADER && p->grant != 0 && p->grant == ev->grant)
		raft_progress_sent(r, p, ev->last, ev->bytes);
}

static int step_event(struct raft *r, const struct raft_event *ev)
{
	switch (ev->type) {
	case RAFT_EV_TICK:
		step_tick(r);
		return ERR_OK;
	case RAFT_EV_RECV:
		return raft_recv(r, ev->msg);
	case RAFT_EV_PROPOSE:
		return raft_lead_propose(r, ev->n);
	case RAFT_EV_SENT:
		step_sent(r, step_peer(r, ev), ev);
		return ERR_OK;
	case RAFT_EV_DURABLE:
		step_durable(r, ev);
		return ERR_OK;
	case RAFT_EV_READ:
		raft_read_add(r, ev->ctx);
		return ERR_OK;
	case RAFT_EV_TRANSFER:
		return raft_transfer_start(r, ev->peer);
	case RAFT_EV_PEER_UP:
		step_peer_up(r, step_peer(r, ev));
		return ERR_OK;
	case RAFT_EV_PEER_DOWN:
		step_peer_down(r, step_peer(r, ev));
		return ERR_OK;
	case RAFT_EV_COMPACTED:
		raft_snapshot_compacted(r, ev->index);
		return ERR_OK;
	case RAFT_EV_SNAPSHOT_DONE:
		raft_snapshot_done(r, step_peer(r, ev));
		return ERR_OK;
	case RAFT_EV_INSTALLED:
		return raft_snapshot_installed(r, ev->index, ev->index_term);
	case RAFT_EV_COUNT:
		break;
	}
	panic("unknown event");
}

static void check_leader(const struct raft *r)
{
	CHECK(r->leader == r->id && r->vote == r->id);
	CHECK(!r->hard_dirty && r->durable_seq >= r->hard_seq);
	CHECK(r->term_first > 0 && raft_terms_at(&r->log, r->log.last) == r->term);
	for (uint32_t i = 0; i < r->peer_count; i++) {
		const struct raft_peer *p = &r->peers[i];

		CHECK(p->match < p->next && p->next <= r->log.last + 1);
		CHECK(p->round_acked <= r->round);
		CHECK(p->inflight_count == 0 || p->state == RAFT_PEER_REPLICATE);
	}
}

/* What holds after every step. */
static void check_invariants(const struct raft *r)
{
	CHECK(r->told_commit <= r->commit && r->commit <= r->log.last);
	CHECK(r->told_commit <= r->durable && r->durable <= r->log.last);
	CHECK(raft_terms_base(&r->log) <= r->told_commit);
	CHECK(raft_terms_last(&r->log) <= r->term);
	CHECK(r->durable_seq <= r->seq && r->hard_seq <= r->seq && r->cut_seq <= r->seq);
	CHECK(r->reads.asked <= r->reads.count && (r->reads.open || r->reads.asked == 0));
	if (r->role == RAFT_LEADER)
		check_leader(r);
	else
		CHECK(r->leader != r->id && r->transfer_to == 0);
	if (r->role == RAFT_CANDIDATE)
		CHECK(r->vote == r->id);
	if (r->role != RAFT_FOLLOWER)
		CHECK(r->leader == (r->role == RAFT_LEADER ? r->id : 0));
}

int raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	CHECK(!mono_before(ev->now, r->now));
	r->now = ev->now;
	fx->n = 0;
	r->fx = fx;

	int rc = step_event(r, ev);

	raft_emit_commit(r);
	raft_read_advance(r);
	if (r->role == RAFT_LEADER) {
		raft_transfer_advance(r);
		raft_lead_flush(r);
	}
	raft_emit_hard_state(r);
	r->fx = NULL;
	check_invariants(r);
	return rc;
}

mono_t raft_deadline(const struct raft *r)
{
	if (r->role == RAFT_LEADER) {
		mono_t at = r->peer_count ? r->heartbeat_at : MONO_NEVER;

		return r->transfer_to ? mono_min(at, r->transfer_end) : at;
	}
	return r->reads.open ? mono_min(r->election_at, r->reads.give_up_at) : r->election_at;
}

uint64_t raft_leader(const struct raft *r)
{
	return r->leader;
}

uint64_t raft_term_at(const struct raft *r, uint64_t index)
{
	return raft_terms_at(&r->log, index);
}
