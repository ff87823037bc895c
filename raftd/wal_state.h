/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sequence of records means: hard state, which indexes exist, their terms. The same rules
 * serve appending (breaking them is the caller's bug) and recovery (breaking them is corruption).
 *
 *       prev_term                                   last_term
 *   ... first-1 | first ........................... last |
 *                 runs[0]        runs[1]    runs[n-1]
 */
#ifndef QUORATE_WAL_STATE_H
#define QUORATE_WAL_STATE_H

#include "raftd/wal_format.h"

struct wal_state {
	struct wal_hard_state hard;
	uint64_t first, last;        /* last == first - 1: empty */
	uint64_t prev_term;          /* of entry first - 1 */
	struct wal_term_run *runs;   /* ascending; runs[0].first_index == first unless empty */
	size_t nruns, cap;
};

void wal_state_init(struct wal_state *s);   /* an empty log that begins at index 1 */
void wal_state_free(struct wal_state *s);

/* Term of an entry in first - 1 .. last. */
uint64_t wal_state_term(const struct wal_state *s, uint64_t index);

/* Each changes the state and gives NULL, or changes nothing and says what forbids it. */
const char *wal_state_hard(struct wal_state *s, struct wal_hard_state hard);
const char *wal_state_entry(struct wal_state *s, uint64_t index, uint64_t term);
/* index to last */
const char *wal_state_entries(struct wal_state *s, uint64_t index, uint64_t last, uint64_t term);
const char *wal_state_truncate(struct wal_state *s, uint64_t from, uint64_t prev_term);
const char *wal_state_reset(struct wal_state *s, uint64_t index, uint64_t term);
/* any of the four, one entry */
const char *wal_state_apply(struct wal_state *s, const struct wal_record *r);

/* forgets entries below first <= last + 1 */
void wal_state_cut(struct wal_state *s, uint64_t first);

#endif
