/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The term of every index of the log, as runs. runs[0] stands for the base: the index behind
 * which the log begins (0 with term 0 for a log that was never cut). A log of millions of entries
 * has as many runs as it saw leaders.
 */
#ifndef QUORATE_RAFT_TERMS_H
#define QUORATE_RAFT_TERMS_H

#include "raftd/core/raft.h"

struct raft_terms {
	struct raft_run *runs;
	size_t count, cap;               /* count >= 1 */
	uint64_t last;
};

void raft_terms_init(struct raft_terms *t, const struct raft_state *st);
void raft_terms_free(struct raft_terms *t);
uint64_t raft_terms_base(const struct raft_terms *t);
uint64_t raft_terms_at(const struct raft_terms *t, uint64_t index);   /* 0 outside [base, last] */
uint64_t raft_terms_last(const struct raft_terms *t);                 /* of the last index */
void raft_terms_append(struct raft_terms *t, uint64_t term, uint64_t n);
void raft_terms_truncate(struct raft_terms *t, uint64_t from);        /* from > base */
void raft_terms_compact(struct raft_terms *t, uint64_t index);        /* index becomes the base */
void raft_terms_reset(struct raft_terms *t, uint64_t index, uint64_t term);

/* The largest index <= `index` whose term is <= `term`, but not below the base. */
uint64_t raft_terms_at_most(const struct raft_terms *t, uint64_t index, uint64_t term);

#endif
