/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold after every step of any node: thesis, figure 3.2, and section 6.4 for reads. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/lib/raft_cluster_int.h"

struct term_leader {
	uint64_t term, leader;
};

struct term_hash {
	uint64_t term, hash;
};

struct hashes {                    /* the logs seen so far that end at one index */
	struct term_hash *v;
	size_t count, cap;
};

struct committed {
	struct cluster_entry entry;
	uint64_t in_term;                /* of the node first seen to call it committed */
};

struct cluster_oracle {
	struct term_leader *leaders;
	size_t leader_count, leader_cap;
	struct hashes *logs;             /* by index */
	size_t log_cap;
	struct committed *committed;     /* by index, 1..committed_last */
	size_t committed_cap;
	uint64_t committed_last;
};

struct cluster_oracle *oracle_create(void)
{
	return mem_alloc(sizeof(struct cluster_oracle));
}

void oracle_destroy(struct cluster_oracle *o)
{
	for (size_t i = 0; i < o->log_cap; i++)
		free(o->logs[i].v);
	free(o->logs);
	free(o->leaders);
	free(o->committed);
	free(o);
}

void cluster_fail(struct cluster *c, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (c->failure[0])
		return;
	n = snprintf(c->failure, sizeof c->failure,
		     "seed %llu, %lld us: ", (unsigned long long)c->o.seed,
		     (long long)(c->now.ns / 1000));
	va_start(ap, fmt);
	(void)vsnprintf(c->failure + n, sizeof c->failure - (size_t)n, fmt, ap);
	va_end(ap);
	if (c->o.trace)
		fprintf(c->o.trace, "FAILURE %s\n", c->failure);
}

uint64_t cluster_committed(struct cluster *c)
{
	return c->oracle->committed_last;
}

const struct cluster_entry *cluster_committed_entry(struct cluster *c, uint64_t index)
{
	CHECK(index >= 1 && index <= c->oracle->committed_last);
	return &c->oracle->committed[index].entry;
}

/* Log matching: one index and term stand for one log up to there. */
void oracle_appended(struct cluster *c, struct cluster_node *n, uint64_t index)
{
	struct cluster_oracle *o = c->oracle;
	const struct cluster_entry *e = &n->mem.v[index];

	if (index >= o->log_cap) {
		size_t cap = index * 2 + 64;

		o->logs = mem_grow(o->logs, cap, sizeof *o->logs);
		for (size_t i = o->log_cap; i < cap; i++)
			o->logs[i] = (struct hashes){0};
		o->log_cap = cap;
	}
	struct hashes *h = &o->logs[index];

	for (size_t i = 0; i < h->count; i++) {
		if (h->v[i].term != e->term)
			continue;
		if (h->v[i].hash != e->hash)
			cluster_fail(c, "log matching: node %llu has another log up to %llu@%llu",
				     (unsigned long long)n->id, (unsigned long long)index,
				     (unsigned long long)e->term);
		return;
	}
	if (h->count == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 2;
		h->v = mem_grow(h->v, h->cap, sizeof *h->v);
	}
	h->v[h->count++] = (struct term_hash){e->term, e->hash};
}

static void election_safety(struct cluster *c, const struct cluster_node *n, uint64_t term)
{
	struct cluster_oracle *o = c->oracle;

	for (size_t i = o->leader_count; i-- > 0;) {
		if (o->leaders[i].term != term)
			continue;
		if (o->leaders[i].leader != n->id)
			cluster_fail(c, "election safety: %llu and %llu both lead term %llu",
				     (unsigned long long)o->leaders[i].leader,
				     (unsigned long long)n->id, (unsigned long long)term);
		return;
	}
	if (o->leader_count == o->leader_cap) {
		o->leader_cap = o->leader_cap ? o->leader_cap * 2 : 16;
		o->leaders = mem_grow(o->leaders, o->leader_cap, sizeof *o->leaders);
	}
	o->leaders[o->leader_count++] = (struct term_leader){term, n->id};
}

static bool log_has(const struct cluster_log *log, uint64_t index, uint64_t hash)
{
	return index <= log->last && log->v[index].hash == hash;
}

/* Leader completeness: what was committed in older terms is in a new leader's log. */
static void leader_completeness(struct cluster *c, struct cluster_node *n, uint64_t term)
{
	const struct cluster_oracle *o = c->oracle;
	uint64_t i = o->committed_last;

	while (i > 0 && o->committed[i].in_term >= term)
		i--;
	if (i > 0 && !log_has(&n->mem, i, o->committed[i].entry.hash))
		cluster_fail(
			c, "leader completeness: leader %llu of term %llu lacks committed %llu",
			(unsigned long long)n->id, (unsigned long long)term, (unsigned long long)i);
}

/* Committed means: a quorum's disks have it, and every leader of a later term has it. */
static void first_committed(struct cluster *c, uint64_t index, uint64_t in_term)
{
	uint64_t hash = c->oracle->committed[index].entry.hash;
	uint32_t disks = 0;

	for (uint64_t id = 1; id <= c->o.nodes; id++) {
		struct cluster_node *n = &c->nodes[id];

		disks += log_has(&n->disk, index, hash);
		if (n->r == NULL || n->role != RAFT_LEADER)
			continue;
		if (cluster_status(c, id).term > in_term && !log_has(&n->mem, index, hash))
			cluster_fail(c,
				     "leader completeness: %llu committed in term %llu, leader "
				     "%llu lacks it",
				     (unsigned long long)index, (unsigned long long)in_term,
				     (unsigned long long)id);
	}
	if (disks < c->o.nodes / 2 + 1 && !c->o.outcomes_only)
		cluster_fail(c, "durability: %llu is called committed, on %u disks",
			     (unsigned long long)index, (unsigned)disks);
}

/* State machine safety: one entry per committed index, for ever. */
static void state_machine_safety(struct cluster *c, struct cluster_node *n, uint64_t index,
				 uint64_t term)
{
	struct cluster_oracle *o = c->oracle;
	const struct cluster_entry *e = &n->mem.v[index];

	if (index <= o->committed_last) {
		if (o->committed[index].entry.hash != e->hash)
			cluster_fail(
				c,
				"state machine safety: node %llu committed another entry at %llu",
				(unsigned long long)n->id, (unsigned long long)index);
		return;
	}
	CHECK(index == o->committed_last + 1);
	if (index >= o->committed_cap) {
		o->committed_cap = index * 2 + 64;
		o->committed = mem_grow(o->committed, o->committed_cap, sizeof *o->committed);
	}
	o->committed[index] = (struct committed){*e, term};
	o->committed_last = index;
	first_committed(c, index, term);
}

/* Rule of raft.h: what was told may be applied is on this node's own disk. */
void oracle_committed(struct cluster *c, struct cluster_node *n, uint64_t told)
{
	if (told <= n->applied)
		cluster_fail(c, "node %llu is told to apply %llu again", (unsigned long long)n->id,
			     (unsigned long long)told);
	if (told > n->disk.last || n->disk.v[told].hash != n->mem.v[told].hash)
		cluster_fail(c, "node %llu may apply %llu but its disk lacks it",
			     (unsigned long long)n->id, (unsigned long long)told);
}

void oracle_stepped(struct cluster *c, struct cluster_node *n)
{
	struct raft_status s = cluster_status(c, n->id);

	if (s.last_index != n->mem.last || s.last_term != n->mem.v[n->mem.last].term)
		cluster_fail(c, "node %llu: core and driver differ about the log",
			     (unsigned long long)n->id);
	if (s.role == RAFT_LEADER) {
		election_safety(c, n, s.term);
		for (uint32_t i = 0; i < n->fx.n; i++) {
			if (n->fx.v[i].type == RAFT_FX_TRUNCATE || n->fx.v[i].type == RAFT_FX_RESET)
				cluster_fail(c, "leader append-only: leader %llu cuts its log",
					     (unsigned long long)n->id);
		}
		if (n->role != RAFT_LEADER)
			leader_completeness(c, n, s.term);
	}
	n->role = s.role;
	for (; n->seen_commit < s.commit; n->seen_commit++)
		state_machine_safety(c, n, n->seen_commit + 1, s.term);
}

/* Thesis 3.8: a message says nothing that its sender could forget. */
void oracle_sending(struct cluster *c, struct cluster_node *n, const struct raft_msg *m)
{
	bool future = m->type == RAFT_MSG_PREVOTE ||
		      (m->type == RAFT_MSG_PREVOTE_RESP && m->vote_resp.granted);

	if (c->o.outcomes_only)
		return;
	if (!future && m->term > n->disk_term)
		cluster_fail(c, "node %llu reveals term %llu before it is durable",
			     (unsigned long long)n->id, (unsigned long long)m->term);
	if (m->type == RAFT_MSG_VOTE_RESP && m->vote_resp.granted && m->term == n->disk_term &&
	    n->disk_vote != m->to)
		cluster_fail(c, "node %llu reveals a vote before it is durable",
			     (unsigned long long)n->id);
	if (m->type == RAFT_MSG_VOTE && m->term == n->disk_term && n->disk_vote != n->id)
		cluster_fail(c, "candidate %llu reveals itself before it is durable",
			     (unsigned long long)n->id);
	if (m->type == RAFT_MSG_APPEND_RESP && !m->append_resp.reject && m->term == n->disk_term &&
	    m->append_resp.match > n->disk.last && m->append_resp.match > n->snapshot)
		cluster_fail(c, "node %llu acknowledges %llu before it is durable",
			     (unsigned long long)n->id, (unsigned long long)m->append_resp.match);
}

/* Linearizable: a read sees at least what was committed anywhere when it was asked. */
void oracle_read(struct cluster *c, struct cluster_node *n, const struct raft_effect *e)
{
	if (e->read.ctx >= c->read_count) {
		cluster_fail(c, "an answer to a read that was never asked");
		return;
	}
	struct cluster_read *read = &c->reads[e->read.ctx];

	if (read->node != n->id || read->incarnation != n->incarnation ||
	    read->state != CLUSTER_READ_PENDING)
		cluster_fail(c, "read %llu is answered twice or elsewhere",
			     (unsigned long long)e->read.ctx);
	read->state = e->type == RAFT_FX_READ_OK ? CLUSTER_READ_OK : CLUSTER_READ_FAILED;
	read->index = e->read.index;
	if (read->state == CLUSTER_READ_OK && read->index < read->floor)
		cluster_fail(c,
			     "stale read at node %llu: index %llu, but %llu was committed when it "
			     "was asked",
			     (unsigned long long)n->id, (unsigned long long)read->index,
			     (unsigned long long)read->floor);
}
