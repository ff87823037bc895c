/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/core/raft_terms.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static void terms_push(struct raft_terms *t, uint64_t first, uint64_t term)
{
	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 16;
		t->runs = mem_grow(t->runs, t->cap, sizeof *t->runs);
	}
	t->runs[t->count++] = (struct raft_run){first, term};
}

void raft_terms_init(struct raft_terms *t, const struct raft_state *st)
{
	*t = (struct raft_terms){0};
	terms_push(t, st->base_index, st->base_term);
	for (size_t i = 0; i < st->run_count; i++) {
		if (st->runs[i].term != t->runs[t->count - 1].term)
			terms_push(t, st->runs[i].first, st->runs[i].term);
	}
	t->last = st->last_index;
}

void raft_terms_free(struct raft_terms *t)
{
	free(t->runs);
	*t = (struct raft_terms){0};
}

uint64_t raft_terms_base(const struct raft_terms *t)
{
	return t->runs[0].first;
}

/* The position of the run that holds index; index >= base. */
static size_t terms_find(const struct raft_terms *t, uint64_t index)
{
	size_t low = 0, high = t->count;   /* runs[low].first <= index < runs[high].first */

	if (index >= t->runs[t->count - 1].first)
		return t->count - 1;       /* nearly always asked */
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (t->runs[mid].first <= index)
			low = mid;
		else
			high = mid;
	}
	return low;
}

uint64_t raft_terms_at(const struct raft_terms *t, uint64_t index)
{
	if (index < raft_terms_base(t) || index > t->last)
		return 0;
	return t->runs[terms_find(t, index)].term;
}

uint64_t raft_terms_last(const struct raft_terms *t)
{
	return t->runs[t->count - 1].term;
}

void raft_terms_append(struct raft_terms *t, uint64_t term, uint64_t n)
{
	CHECK(n > 0 && term >= raft_terms_last(t) && term > 0);
	if (term != raft_terms_last(t))
		terms_push(t, t->last + 1, term);
	t->last += n;
}

void raft_terms_truncate(struct raft_terms *t, uint64_t from)
{
	CHECK(from > raft_terms_base(t) && from <= t->last);
	while (t->count > 1 && t->runs[t->count - 1].first >= from)
		t->count--;
	t->last = from - 1;
}

void raft_terms_compact(struct raft_terms *t, uint64_t index)
{
	CHECK(index >= raft_terms_base(t) && index <= t->last);
	size_t at = terms_find(t, index);

	memmove(t->runs, t->runs + at, (t->count - at) * sizeof *t->runs);
	t->count -= at;
	t->runs[0].first = index;
}

void raft_terms_reset(struct raft_terms *t, uint64_t index, uint64_t term)
{
	t->count = 1;
	t->runs[0] = (struct raft_run){index, term};
	t->last = index;
}

uint64_t raft_terms_at_most(const struct raft_terms *t, uint64_t index, uint64_t term)
{
	if (index > t->last)
		index = t->last;
	if (index <= raft_terms_base(t))
		return raft_terms_base(t);
	for (size_t i = terms_find(t, index); i > 0; i--) {
		if (t->runs[i].term <= term)
			return index;
		index = t->runs[i].first - 1;
	}
	/* The first run: either all of it fits, or none of it, and then its start has to do. */
	return t->runs[0].term <= term ? index : raft_terms_base(t);
}
