/* SPDX-License-Identifier: Apache-2.0 */
/* The runs of terms, against a plain array of one term per index. */
#include "raftd/core/raft_terms.h"

#include "tests/lib/tap.h"

enum { MODEL_MAX = 400 };

struct model {
	uint64_t term[MODEL_MAX];        /* by index */
	uint64_t base, last;
};

static uint64_t model_at_most(const struct model *m, uint64_t index, uint64_t term)
{
	if (index > m->last)
		index = m->last;
	while (index > m->base && m->term[index] > term)
		index--;
	return index < m->base ? m->base : index;
}

static void compare(const struct raft_terms *t, const struct model *m, uint64_t *rng)
{
	EQ_INT(raft_terms_base(t), m->base);
	EQ_INT(t->last, m->last);
	EQ_INT(raft_terms_last(t), m->term[m->last]);
	for (uint64_t i = 0; i < MODEL_MAX; i++)
		EQ_INT(raft_terms_at(t, i), i < m->base || i > m->last ? 0 : m->term[i]);
	for (int i = 0; i < 20; i++) {
		uint64_t index = tap_rand(rng) % MODEL_MAX, term = tap_rand(rng) % 40;

		EQ_INT(raft_terms_at_most(t, index, term), model_at_most(m, index, term));
	}
}

static void change(struct raft_terms *t, struct model *m, uint64_t *rng)
{
	uint64_t n = 1 + tap_rand(rng) % 8, term = m->term[m->last], pick = tap_rand(rng) % 20;

	if (pick < 12 && m->last + n < MODEL_MAX) {
		term += tap_rand(rng) % 3 == 0 || term == 0;
		raft_terms_append(t, term, n);
		for (; n > 0; n--)
			m->term[++m->last] = term;
	} else if (pick < 17 && m->last > m->base) {
		uint64_t from = m->base + 1 + tap_rand(rng) % (m->last - m->base);

		raft_terms_truncate(t, from);
		m->last = from - 1;
	} else if (pick < 19) {
		m->base += tap_rand(rng) % (m->last - m->base + 1) / 8;
		raft_terms_compact(t, m->base);
	} else if (m->last + 20 < MODEL_MAX && tap_rand(rng) % 4 == 0) {
		m->base = m->last = m->last + n;
		m->term[m->last] = term + 1;
		raft_terms_reset(t, m->last, term + 1);
	}
}

TEST(runs_say_the_same_as_one_term_per_index)
{
	uint64_t rng = 11;

	for (int round = 0; round < 60; round++) {
		struct model m = {.last = 0};
		struct raft_terms t;

		raft_terms_init(&t, &(struct raft_state){0});
		for (int i = 0; i < 100; i++) {
			change(&t, &m, &rng);
			compare(&t, &m, &rng);
		}
		raft_terms_free(&t);
	}
}

TEST(a_long_log_of_one_leader_is_one_run)
{
	struct raft_terms t;

	raft_terms_init(&t, &(struct raft_state){0});
	for (int i = 0; i < 100000; i++)
		raft_terms_append(&t, 1, 10);
	EQ_INT(t.count, 2);
	EQ_INT(t.last, 1000000);
	raft_terms_free(&t);
}

TEST(recovered_runs_of_equal_terms_are_merged)
{
	struct raft_run runs[] = {{6, 3}, {9, 3}, {12, 4}};
	struct raft_terms t;

	raft_terms_init(&t, &(struct raft_state){.term = 4,
						 .base_index = 5,
						 .base_term = 3,
						 .last_index = 20,
						 .runs = runs,
						 .run_count = 3});
	EQ_INT(t.count, 2);
	EQ_INT(raft_terms_at(&t, 5), 3);
	EQ_INT(raft_terms_at(&t, 11), 3);
	EQ_INT(raft_terms_at(&t, 12), 4);
	EQ_INT(raft_terms_at(&t, 4), 0);
	raft_terms_free(&t);
}

TESTS = {
	T(runs_say_the_same_as_one_term_per_index),
	T(a_long_log_of_one_leader_is_one_run),
	T(recovered_runs_of_equal_terms_are_merged),
};
TAP_MAIN
