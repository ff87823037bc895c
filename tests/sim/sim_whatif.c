/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What if all machines lost power now? Every promise of Raft has to survive that, so what the disks
 * hold at this instant must be enough for it. These rules see the danger, where the rules of
 * sim_oracle.c see the harm, which comes only if the rest of the story happens too.
 */
#include "tests/sim/sim_int.h"

typedef unsigned long long ull;

/* The log that a node would come back with, as far as others can tell. */
struct rest {
	uint64_t last, term, upto;       /* upto: what its snapshot has */
};

static struct rest rest_of(const struct sim_node *n)
{
	const struct sim_log *log = &n->durable;
	const struct sim_snap *snap = &n->snap;
	struct rest r = {log->last, log->v[log->last].term, log->base};

	/* An installed snapshot whose RESET is not on disk takes the log's place at the next start. */
	if (snap->rows.data != NULL && snap->index >= log->base &&
	    (snap->index > log->last || log->v[snap->index].term != snap->term))
		r = (struct rest){snap->index, snap->term, snap->index};
	return r;
}

static bool rest_has(const struct sim_node *n, uint64_t index, uint64_t hash)
{
	struct rest r = rest_of(n);

	return index <= r.upto || (index <= r.last && n->durable.v[index].hash == hash);
}

/* Thesis 3.6.1: would v vote for c? */
static bool rest_loses(struct rest v, struct rest c)
{
	return c.term > v.term || (c.term == v.term && c.last >= v.last);
}

/* Thesis 3.6.3: nobody who lacks a committed entry could be elected. */
void sim_whatif_committed(struct sim *s, uint64_t index)
{
	uint64_t hash = sim_committed_at(s, index)->hash;

	for (uint64_t c = 1; c <= s->o.nodes && !s->o.outcomes_only; c++) {
		uint32_t votes = 0;

		if (s->nodes[c].rotten || rest_has(&s->nodes[c], index, hash))
			continue;
		for (uint64_t v = 1; v <= s->o.nodes; v++)
			votes += !s->nodes[v].rotten && rest_loses(rest_of(&s->nodes[v]), rest_of(&s->nodes[c]));
		if (votes > s->o.nodes / 2)
			sim_fail(s, "what if: %llu is called committed, but after a crash node %llu could be elected "
				 "without it", (ull)index, (ull)c);
	}
}

/* Thesis 3.4: a quorum's disks know that they have elected it, so nobody else can be. */
void sim_whatif_elected(struct sim_node *n, uint64_t term)
{
	struct sim *s = n->s;
	uint32_t votes = 0;

	for (uint64_t id = 1; id <= s->o.nodes; id++) {
		const struct wal_hard_state *h = &s->nodes[id].durable.hard;

		votes += h->term > term || (h->term == term && h->vote == n->id);
	}
	if (votes <= s->o.nodes / 2 && !s->o.outcomes_only)
		sim_fail(s, "what if: node %llu leads term %llu, but after a crash another could", (ull)n->id,
			 (ull)term);
}

/* What a leader counts on a peer for is on that peer's disk, unless a newer leader has been there. */
void sim_whatif_counted(struct sim_node *n, const struct raft_status *st)
{
	struct sim *s = n->s;

	for (uint32_t i = 0; i < st->peer_count && !s->o.outcomes_only; i++) {
		const struct raft_peer_status *p = &st->peers[i];
		const struct sim_node *peer = &s->nodes[p->id];

		if (p->match > n->raftd.log.base && peer->durable.hard.term <= st->term &&
		    !rest_has(peer, p->match, n->raftd.log.v[p->match].hash))
			sim_fail(s, "what if: leader %llu counts on node %llu for %llu, which its disk lacks", (ull)n->id,
				 (ull)p->id, (ull)p->match);
	}
}
