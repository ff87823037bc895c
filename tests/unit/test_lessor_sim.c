/* SPDX-License-Identifier: Apache-2.0 */
/* Lessors under elections, pauses, restarts and losses: no lease ends early, none lives for ever. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/lessor_world.h"
#include "tests/lib/tap.h"

enum { ROUNDS = 40, RUN_MS = 90000 };

static unsigned found(enum world_bug bug, uint64_t seed)
{
	struct world w;
	unsigned bad;

	world_open(&w, seed, bug);
	world_run(&w, RUN_MS, true);
	bad = w.early + w.false_answers;
	world_close(&w);
	return bad;
}

TEST(no_lease_ends_before_its_client_may_think_so)
{
	uint64_t rounds = tap_rounds(ROUNDS), ended = 0, answered = 0, elections = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t seed = tap_seed(1) + i;
		struct world w;

		world_open(&w, seed, WORLD_SOUND);
		world_run(&w, RUN_MS, true);
		if (w.early + w.false_answers > 0 || i == 0)
			printf("# seed %llu: early %u, false answers %u, ended %u, answered %u, elections %u\n",
			       (unsigned long long)seed, w.early, w.false_answers, w.ended, w.answered, w.elections);
		EQ_INT(w.early, 0);
		EQ_INT(w.false_answers, 0);
		ended += w.ended;
		answered += w.answered;
		elections += w.elections;

		/* Then it is calm, and all that nobody keeps alive has gone in time. */
		w.calm = true;
		world_run(&w, 40000, false);
		for (int c = 0; c < WORLD_CLIENTS; c++)
			EQ_INT(w.clients[c].granted, 0);
		EQ_INT(w.early, 0);
		world_close(&w);
	}
	/* It was not for nothing. */
	printf("# ended %llu, answered %llu, elections %llu\n", (unsigned long long)ended,
	       (unsigned long long)answered, (unsigned long long)elections);
	OK(ended > 20 * rounds && answered > 50 * rounds && elections > 3 * rounds);
}

static void plant(enum world_bug bug, const char *what)
{
	unsigned seen = 0, i = 0;

	for (; i < 4 * ROUNDS && seen == 0; i++)
		seen = found(bug, tap_seed(1) + i);
	printf("# %s: found after %u runs\n", what, i);
	OK(seen > 0);
}

TEST(an_old_leader_s_revoke_is_found)
{
	plant(WORLD_STALE_ENDS, "stale ends");
}

TEST(an_answer_without_a_round_is_found)
{
	plant(WORLD_NO_ROUND, "no round");
}

TEST(a_clock_that_is_too_fast_is_found)
{
	plant(WORLD_ENDS_EARLY, "early");
}

TEST(an_end_meant_for_an_older_lease_is_found)
{
	plant(WORLD_OLD_LEASE, "old lease");
}

TEST(a_checkpoint_kept_after_a_keepalive_is_found)
{
	plant(WORLD_NO_WAKE, "no wake");
}

/* 60 seconds, silent for 45, and then every leader is a new one. */
static int64_t life_over_leaders(enum world_bug bug)
{
	struct world w;
	int64_t began, life;

	world_open(&w, 7, bug);
	w.calm = true;
	world_run(&w, 500, false);
	began = world_ms(&w);
	world_grant(&w, 0, 60);
	world_run(&w, 45000, false);
	for (int i = 1; i <= 100 && w.clients[0].granted != 0; i++) {
		world_elect(&w, i % WORLD_NODES);
		world_run(&w, 20000, false);
	}
	EQ_INT(w.early, 0);
	life = w.clients[0].ended_ns / 1000000 - began;
	printf("# lived %lld ms, %u elections\n", (long long)life, w.elections);
	world_close(&w);
	return life;
}

/* It dozes from second 30 on and is checkpointed every 15: a change costs it at most those. */
TEST(a_change_of_leader_gives_no_whole_ttl_again)
{
	int64_t life = life_over_leaders(WORLD_SOUND);

	OK(life >= 60000 && life <= 60000 + 2 * 15000 + 1000);
	life = life_over_leaders(WORLD_TTL_AGAIN);
	OK(life < 0 || life > 60000 + 2 * 15000 + 1000);     /* planted: it never ends */
}

TEST(in_calm_a_lease_ends_within_half_a_second_of_its_time)
{
	struct world w;

	world_open(&w, 11, WORLD_SOUND);
	w.calm = true;
	world_run(&w, 500, false);
	for (int c = 0; c < WORLD_CLIENTS; c++)
		world_grant(&w, c, 2 + c);
	world_run(&w, 1500, false);
	for (int c = 0; c < WORLD_CLIENTS; c += 2)
		world_keepalive(&w, c);
	world_run(&w, 30000, false);
	for (int c = 0; c < WORLD_CLIENTS; c++) {
		int64_t late = w.clients[c].ended_ns - w.clients[c].relies_ns;

		EQ_INT(w.clients[c].granted, 0);
		OK(late >= 0 && late < 500000000);
	}
	OK(w.answered > 3);
	world_close(&w);
}

TESTS = {
	T(no_lease_ends_before_its_client_may_think_so),
	T(an_old_leader_s_revoke_is_found),
	T(an_answer_without_a_round_is_found),
	T(a_clock_that_is_too_fast_is_found),
	T(an_end_meant_for_an_older_lease_is_found),
	T(a_checkpoint_kept_after_a_keepalive_is_found),
	T(a_change_of_leader_gives_no_whole_ttl_again),
	T(in_calm_a_lease_ends_within_half_a_second_of_its_time),
};
TAP_MAIN
