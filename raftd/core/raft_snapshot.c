/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log that was cut behind a snapshot (thesis 5.1), and a peer whose log ends before ours begins
 * (5.3). The core only keeps count: the driver makes, sends, receives and installs snapshots.
 */
#include "base/check.h"
#include "base/err.h"
#include "raftd/core/raft_core.h"

void raft_snapshot_compacted(struct raft *r, uint64_t index)
{
	CHECK(index <= r->told_commit);
	if (index > raft_terms_base(&r->log))
		raft_terms_compact(&r->log, index);
}

/* Whether it got it shows in its answer to a probe at the end of our log. */
void raft_snapshot_done(struct raft *r, struct raft_peer *p)
{
	if (r->role == RAFT_LEADER && p->state == RAFT_PEER_SNAPSHOT)
		raft_progress_probe(p, r->log.last + 1);
}

/*
 * Thesis 5.3: keep what follows the snapshot's last entry if we have that entry, else nothing.
 * Either way all up to it is durable, as part of the store.
 */
int raft_snapshot_installed(struct raft *r, uint64_t index, uint64_t term)
{
	struct raft_effect *e;

	if (index > RAFT_INDEX_MAX || term == 0 || term > RAFT_TERM_MAX)
		return ERR_CORRUPT;
	if (term > r->term)                /* an entry of it was committed, so it began */
		raft_become(r, RAFT_FOLLOWER, term, 0, "newer term in a snapshot");
	if (index <= r->told_commit)
		return ERR_OK;
	if (raft_terms_at(&r->log, index) != term) {
		/* A leader has every committed entry (3.6.3), and what we know committed stays. */
		if (r->role == RAFT_LEADER || index <= r->commit)
			return ERR_CORRUPT;
		r->cut_seq = raft_emit_log(r, RAFT_FX_RESET, &e);
		e->reset.index = index;
		e->reset.term = term;
		raft_terms_reset(&r->log, index, term);
		r->durable = index;
	}
	if (r->durable < index)
		r->durable = index;
	if (r->commit < index)
		r->commit = index;
	r->told_commit = index;
	return ERR_OK;
}
