/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/wal_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void wal_state_init(struct wal_state *s)
{
	*s = (struct wal_state){.first = 1};
}

void wal_state_free(struct wal_state *s)
{
	free(s->runs);
	*s = (struct wal_state){.first = 1};
}

/* Which run holds `index`; the log is not empty and has it. */
static size_t run_of(const struct wal_state *s, uint64_t index)
{
	size_t low = 0, high = s->nruns;

	CHECK(s->nruns > 0 && index >= s->runs[0].first_index && index <= s->last);
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (s->runs[mid].first_index <= index)
			low = mid;
		else
			high = mid;
	}
	return low;
}

uint64_t wal_state_term(const struct wal_state *s, uint64_t index)
{
	CHECK(index + 1 >= s->first && index <= s->last);
	return index < s->first ? s->prev_term : s->runs[run_of(s, index)].term;
}

const char *wal_state_hard(struct wal_state *s, struct wal_hard_state hard)
{
	if (hard.term < s->hard.term)
		return "the current term goes backwards";
	s->hard = hard;
	return NULL;
}

const char *wal_state_entries(struct wal_state *s, uint64_t index, uint64_t last, uint64_t term)
{
	uint64_t last_term = wal_state_term(s, s->last);

	if (index != s->last + 1)
		return "an entry does not follow the one before it";
	if (term < last_term)
		return "an entry's term is older than that of the entry before it";
	if (s->nruns == 0 || term != s->runs[s->nruns - 1].term) {
		if (s->nruns == LIMIT_WAL_TERM_RUNS)
			return "there are too many terms in one log: a snapshot has to cut it";
		if (s->nruns == s->cap) {
			s->cap = s->cap ? s->cap * 2 : 16;
			s->runs = mem_grow(s->runs, s->cap, sizeof *s->runs);
		}
		s->runs[s->nruns++] = (struct wal_term_run){index, term};
	}
	s->last = last;
	return NULL;
}

const char *wal_state_entry(struct wal_state *s, uint64_t index, uint64_t term)
{
	return wal_state_entries(s, index, index, term);
}

const char *wal_state_truncate(struct wal_state *s, uint64_t from, uint64_t prev_term)
{
	if (from == 0 || from > s->last)
		return "entries that do not exist are truncated";
	if (from <= s->first) {
		s->nruns = 0;
		s->first = from;
		s->last = from - 1;
		s->prev_term = prev_term;
		return NULL;
	}
	if (wal_state_term(s, from - 1) != prev_term)
		return "the term before truncated entries is not the one that it was";
	s->last = from - 1;
	while (s->nruns > 0 && s->runs[s->nruns - 1].first_index >= from)
		s->nruns--;
	return NULL;
}

const char *wal_state_reset(struct wal_state *s, uint64_t index, uint64_t term)
{
	if (index == UINT64_MAX)
		return "the log would begin behind the last index there is";
	s->nruns = 0;
	s->first = index + 1;
	s->last = index;
	s->prev_term = term;
	return NULL;
}

const char *wal_state_apply(struct wal_state *s, const struct wal_record *r)
{
	switch (r->type) {
	case WAL_HARD_STATE:
		return wal_state_hard(
			s, (struct wal_hard_state){r->term, get_u64(r->payload.data)});
	case WAL_ENTRY:
		return wal_state_entry(s, r->index, r->term);
	case WAL_TRUNCATE:
		return wal_state_truncate(s, r->index, r->term);
	case WAL_RESET:
		return wal_state_reset(s, r->index, r->term);
	case WAL_BATCH:
	case WAL_SEGMENT_HEAD:
		break;
	}
	return "a record stands where it may not";
}

void wal_state_cut(struct wal_state *s, uint64_t first)
{
	size_t keep;

	CHECK(first <= s->last + 1);
	if (first <= s->first)
		return;
	s->prev_term = wal_state_term(s, first - 1);
	s->first = first;
	if (first > s->last) {
		s->nruns = 0;
		return;
	}
	keep = run_of(s, first);
	s->nruns -= keep;
	memmove(s->runs, s->runs + keep, s->nruns * sizeof *s->runs);
	s->runs[0].first_index = first;
}
