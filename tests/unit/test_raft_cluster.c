/* SPDX-License-Identifier: Apache-2.0 */
/* Whole clusters under seeded misfortune; the oracle of tests/lib judges every step. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/raft_cluster.h"
#include "tests/lib/tap.h"

/* RAFT_SEED=n runs one seed; RAFT_TRACE=1 prints it. */
static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 10) : otherwise;
}

static void ordeal(struct cluster_options o, uint32_t ms)
{
	o.trace = env_number("RAFT_TRACE", 0) ? stderr : NULL;
	o.outcomes_only = env_number("RAFT_OUTCOMES_ONLY", 0) != 0;

	struct cluster *c = cluster_create(&o);

	cluster_ordeal(c, ms);
	if (c->failure[0])
		printf("# seed %llu\n", (unsigned long long)o.seed);
	EQ_STR(c->failure, "");
	cluster_destroy(c);
}

static void seeds(struct cluster_options o, uint32_t ms, uint64_t count)
{
	uint64_t one = env_number("RAFT_SEED", 0);
	static const uint32_t sizes[] = {3, 5, 3, 1, 4, 3, 2, 7};

	count = one ? 1 : tap_rounds(count);
	for (uint64_t i = 0; i < count; i++) {
		o.seed = (one ? one : tap_seed(1)) + i;
		o.nodes = sizes[o.seed % 8];
		ordeal(o, ms);
	}
}

TEST(safety_and_liveness_on_links_that_keep_the_order)
{
	seeds((struct cluster_options){.fifo = true}, 4000, 100);
}

TEST(safety_and_liveness_on_a_network_that_loses_repeats_and_reorders)
{
	seeds((struct cluster_options){.drop_permille = 50,
				       .repeat_permille = 100,
				       .latency_min_us = 50,
				       .latency_max_us = 20000,
				       .grant_delay_permille = 200,
				       .grant_empty_permille = 50,
				       .append_max = 4,
				       .inflight_msgs = 4},
	      4000, 100);
}

TEST(safety_and_liveness_on_slow_disks)
{
	seeds((struct cluster_options){.sync_min_us = 1000,
				       .sync_max_us = 120000,
				       .latency_min_us = 100,
				       .latency_max_us = 5000,
				       .drop_permille = 10},
	      4000, 100);
}

TEST(safety_and_liveness_when_there_is_hardly_any_peace)
{
	seeds((struct cluster_options){.sync_min_us = 500,
				       .sync_max_us = 30000,
				       .latency_min_us = 100,
				       .latency_max_us = 15000,
				       .repeat_permille = 50,
				       .drop_permille = 20,
				       .nemesis_permille = 500},
	      3000, 150);
}

TESTS = {
	T(safety_and_liveness_on_links_that_keep_the_order),
	T(safety_and_liveness_on_a_network_that_loses_repeats_and_reorders),
	T(safety_and_liveness_on_slow_disks),
	T(safety_and_liveness_when_there_is_hardly_any_peace),
};
TAP_MAIN
