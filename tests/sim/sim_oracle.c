/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold after every step of any node: thesis, figure 3.2, and what drivers must keep. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/sim/sim_int.h"

typedef unsigned long long ull;

static void log_room(struct sim_log *log, uint64_t last)
{
	if (last < log->cap)
		return;
	log->cap = last * 2 + 64;
	log->v = mem_grow(log->v, log->cap, sizeof *log->v);
}

void sim_log_copy(struct sim_log *to, const struct sim_log *from)
{
	log_room(to, from->last);
	memcpy(to->v + from->base, from->v + from->base,
	       (from->last - from->base + 1) * sizeof *to->v);
	to->base = from->base;
	to->last = from->last;
	to->hard = from->hard;
}

/* What lies at or before a base is committed, and so everybody's is the same. */
void sim_log_reset(struct sim *s, struct sim_log *log, uint64_t index)
{
	log_room(log, index);
	log->base = log->last = index;
	log->v[index] = (struct sim_entry){0, 0};
	if (index > 0) {
		const struct sim_record *r = sim_committed_at(s, index);

		log->v[index] = (struct sim_entry){r->term, r->hash};
	}
}

const struct sim_record *sim_committed_at(const struct sim *s, uint64_t index)
{
	CHECK(index >= 1 && index <= s->committed_last);
	return &s->logs[index].v[s->committed[index].record];
}

static uint64_t entry_hash(uint64_t before, uint64_t term, uint8_t kind, struct bytes payload)
{
	uint64_t h = (before ^ term) * 0xff51afd7ed558ccdu + kind;

	for (size_t i = 0; i < payload.len; i++)
		h = (h ^ payload.data[i]) * 0x100000001b3u;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 29;
}

static struct sim_records *records_at(struct sim *s, uint64_t index)
{
	if (index >= s->logs_cap) {
		size_t cap = index * 2 + 64;

		s->logs = mem_grow(s->logs, cap, sizeof *s->logs);
		memset(s->logs + s->logs_cap, 0, (cap - s->logs_cap) * sizeof *s->logs);
		s->logs_cap = cap;
	}
	return &s->logs[index];
}

/* Log matching: one index and term stand for one log up to there. */
void sim_log_push(struct sim_node *n, uint64_t term, uint8_t kind, struct bytes payload)
{
	struct sim_log *log = &n->raftd.log;
	uint64_t index = log->last + 1, hash = entry_hash(log->v[log->last].hash, term, kind, payload);
	struct sim_records *r = records_at(n->s, index);

	log_room(log, index);
	log->v[index] = (struct sim_entry){term, hash};
	log->last = index;
	for (size_t i = 0; i < r->n; i++) {
		if (r->v[i].term != term)
			continue;
		if (r->v[i].hash != hash)
			sim_fail(n->s, "log matching: node %llu has another log up to %llu@%llu",
				 (ull)n->id, (ull)index, (ull)term);
		return;
	}
	r->v = mem_grow(r->v, r->n + 1, sizeof *r->v);
	r->v[r->n++] = (struct sim_record){term, hash, kind,
		bytes_of(mem_dup(payload.len ? payload.data : (const uint8_t *)"", payload.len), payload.len)};
}

static bool log_has(const struct sim_log *log, uint64_t index, uint64_t hash)
{
	return index < log->base || (index <= log->last && log->v[index].hash == hash);
}

static void election_safety(struct sim_node *n, uint64_t term)
{
	struct sim *s = n->s;

	for (size_t i = s->n_leaders; i-- > 0;) {
		if (s->leaders[i].term != term)
			continue;
		if (s->leaders[i].leader != n->id)
			sim_fail(s, "election safety: %llu and %llu both lead term %llu",
				 (ull)s->leaders[i].leader, (ull)n->id, (ull)term);
		return;
	}
	s->leaders = mem_grow(s->leaders, s->n_leaders + 1, sizeof *s->leaders);
	s->leaders[s->n_leaders].term = term;
	s->leaders[s->n_leaders++].leader = n->id;
	s->out->elections++;
	sim_whatif_elected(n, term);
}

static void leader_completeness(struct sim_node *n, uint64_t term)
{
	const struct sim *s = n->s;
	uint64_t i = s->committed_last;

	while (i > 0 && s->committed[i].in_term >= term)
		i--;
	if (i > 0 && !log_has(&n->raftd.log, i, sim_committed_at(s, i)->hash))
		sim_fail(n->s, "leader completeness: leader %llu of term %llu lacks committed %llu",
			 (ull)n->id, (ull)term, (ull)i);
}

/* Committed means: a quorum's disks have it, and every leader of a later term has it. */
static void first_committed(struct sim *s, uint64_t index, uint64_t in_term)
{
	uint64_t hash = sim_committed_at(s, index)->hash;
	uint32_t disks = 0;

	for (uint64_t id = 1; id <= s->o.nodes; id++) {
		const struct sim_node *n = &s->nodes[id];
		const struct sim_raftd *r = &n->raftd;

		disks += log_has(&n->durable, index, hash);
		if (r->r != NULL && r->role == RAFT_LEADER && r->term > in_term &&
		    !log_has(&r->log, index, hash))
			sim_fail(s, "leader completeness: %llu committed in term %llu, leader %llu lacks it",
				 (ull)index, (ull)in_term, (ull)id);
	}
	if (disks < s->o.nodes / 2 + 1 && !s->o.outcomes_only)
		sim_fail(s, "durability: %llu is called committed, on %u disks", (ull)index,
			 (unsigned)disks);
}

/* State machine safety: one entry per committed index, for ever. */
static void state_machine_safety(struct sim_node *n, uint64_t index, uint64_t term)
{
	struct sim *s = n->s;
	const struct sim_log *log = &n->raftd.log;
	size_t i = 0;

	if (index <= log->base)
		return;
	if (index <= s->committed_last) {
		if (sim_committed_at(s, index)->hash != log->v[index].hash)
			sim_fail(s, "state machine safety: node %llu committed another entry at %llu",
				 (ull)n->id, (ull)index);
		return;
	}
	CHECK(index == s->committed_last + 1);
	if (index >= s->committed_cap) {
		s->committed_cap = index * 2 + 64;
		s->committed = mem_grow(s->committed, s->committed_cap, sizeof *s->committed);
	}
	while (s->logs[index].v[i].hash != log->v[index].hash)
		CHECK(++i < s->logs[index].n);
	s->committed[index] = (struct sim_committed){i, term, sim_fastest(s)};
	s->committed_last = index;
	first_committed(s, index, term);
	sim_whatif_committed(s, index);
	if (n->raftd.role == RAFT_LEADER)
		sim_moment(n, SIM_MOMENT_COMMITS, 0);
}

/* Rule 5 of raft.h: what was told may be applied is on this node's own disk. */
void sim_oracle_told(struct sim_node *n, uint64_t index)
{
	const struct sim_log *log = &n->raftd.log;

	if (n->s->o.outcomes_only)
		return;
	if (!log_has(&n->durable, index, log->v[index].hash))
		sim_fail(n->s, "node %llu may apply %llu but its disk lacks it", (ull)n->id, (ull)index);
}

/* raft.h, "Reads": an index is confirmed after the question, and so not older than all it knew of. */
void sim_oracle_read(struct sim_node *n, const struct raft_effect *e, uint64_t committed)
{
	if (e->type == RAFT_FX_READ_OK && e->read.index < committed && !n->s->o.outcomes_only)
		sim_fail(n->s, "linearizable: node %llu gives read index %llu, but %llu was committed when it was "
			 "asked", (ull)n->id, (ull)e->read.index, (ull)committed);
}

void sim_oracle_stepped(struct sim_node *n)
{
	struct sim_raftd *d = &n->raftd;
	struct raft_status st;

	raft_status(d->r, sim_clock(n), &st);
	if (st.last_index != d->log.last || st.last_term != d->log.v[d->log.last].term)
		sim_fail(n->s, "node %llu: core and driver differ about the log", (ull)n->id);
	if (st.role == RAFT_LEADER) {
		election_safety(n, st.term);
		for (uint32_t i = 0; i < d->fx.n; i++)
			if (d->fx.v[i].type == RAFT_FX_TRUNCATE || d->fx.v[i].type == RAFT_FX_RESET)
				sim_fail(n->s, "leader append-only: leader %llu cuts its log", (ull)n->id);
		leader_completeness(n, st.term);
		sim_whatif_counted(n, &st);
		sim_moment_counted(n, &st);
	}
	for (; d->seen_commit < st.commit && sim_ok(n->s); d->seen_commit++)
		state_machine_safety(n, d->seen_commit + 1, st.term);
}

/* Thesis 3.8: a message says nothing that its sender could forget. */
void sim_oracle_sending(struct sim_node *n, const struct raft_msg *m)
{
	bool future = m->type == RAFT_MSG_PREVOTE ||
		      (m->type == RAFT_MSG_PREVOTE_RESP && m->vote_resp.granted);
	const struct wal_hard_state *h = &n->durable.hard;

	if (n->s->o.outcomes_only)
		return;
	if (!future && m->term > h->term)
		sim_fail(n->s, "node %llu reveals term %llu before it is durable", (ull)n->id, (ull)m->term);
	if (m->type == RAFT_MSG_VOTE_RESP && m->vote_resp.granted && m->term == h->term && h->vote != m->to)
		sim_fail(n->s, "node %llu reveals a vote before it is durable", (ull)n->id);
	if (m->type == RAFT_MSG_VOTE && m->term == h->term && h->vote != n->id)
		sim_fail(n->s, "candidate %llu reveals itself before it is durable", (ull)n->id);
	if (m->type == RAFT_MSG_APPEND_RESP && !m->append_resp.reject && m->term == h->term &&
	    m->append_resp.match > n->durable.last && m->append_resp.match > n->snap.index)
		sim_fail(n->s, "node %llu acknowledges %llu before it is durable", (ull)n->id,
			 (ull)m->append_resp.match);
}

/* What a node has applied, or has as a snapshot, its log does not have otherwise. */
void sim_oracle_store(struct sim_node *n)
{
	const struct sim_log *log = &n->raftd.log;
	uint64_t index = n->stored.applied > n->snap.index ? n->stored.applied : n->snap.index;

	if (index > log->base && index <= log->last && log->v[index].hash != sim_committed_at(n->s, index)->hash)
		sim_fail(n->s, "state machine safety: node %llu: the log contradicts its store at %llu", (ull)n->id,
			 (ull)index);
}

static bool log_ends_alike(const struct sim_log *a, const struct sim_log *b)
{
	return a->last == b->last && a->v[a->last].hash == b->v[b->last].hash &&
	       a->hard.term == b->hard.term && a->hard.vote == b->hard.vote;
}

/*
 * A log comes back as it surely was on disk, or with the batch that was under way when it died: a
 * batch is whole or not there.
 */
void sim_oracle_recovered(struct sim_node *n, const struct sim_log *was)
{
	const struct sim_log *log = &n->raftd.log;

	if (!log_ends_alike(log, &n->durable) && !log_ends_alike(log, was))
		sim_fail(n->s, "node %llu: the log came back with last=%llu term=%llu vote=%llu, synced were "
			 "last=%llu term=%llu vote=%llu", (ull)n->id, (ull)log->last, (ull)log->hard.term,
			 (ull)log->hard.vote, (ull)n->durable.last, (ull)n->durable.hard.term,
			 (ull)n->durable.hard.vote);
}

/* Equal apply hashes at equal applied index, and nothing applied that was not committed. */
void sim_oracle_applied(struct sim_node *n, const struct mvcc_state *st)
{
	struct sim *s = n->s;

	if (st->applied > s->committed_last) {
		sim_fail(s, "node %llu applied %llu, committed is %llu", (ull)n->id, (ull)st->applied,
			 (ull)s->committed_last);
		return;
	}
	if (st->applied >= s->hash_cap) {
		uint64_t cap = st->applied * 2 + 64;

		s->apply_hash = mem_grow(s->apply_hash, cap, sizeof *s->apply_hash);
		memset(s->apply_hash[s->hash_cap], 0, (cap - s->hash_cap) * sizeof *s->apply_hash);
		s->hash_cap = cap;
	}
	if (st->applied == s->hash_last + 1)
		memcpy(s->apply_hash[++s->hash_last], st->apply_hash, 16);
	else if (st->applied <= s->hash_last &&
		 memcmp(s->apply_hash[st->applied], st->apply_hash, 16) != 0)
		sim_fail(s, "apply hash: node %llu differs at applied index %llu", (ull)n->id,
			 (ull)st->applied);
	sim_check_applied(n, st);
}

void sim_oracle_free(struct sim *s)
{
	for (size_t i = 0; i < s->logs_cap; i++) {
		for (size_t k = 0; k < s->logs[i].n; k++) {
			void *p;

			memcpy(&p, &s->logs[i].v[k].payload.data, sizeof p);
			free(p);
		}
		free(s->logs[i].v);
	}
	free(s->logs);
	free(s->committed);
	free(s->leaders);
	free(s->apply_hash);
}
