/* SPDX-License-Identifier: Apache-2.0 */
/* A leader whose stored stays behind gives the lead away: to one that can take it, and without haste. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/fake_raftd.h"
#include "tests/lib/tap.h"

enum { MEMBERS = 5, STEP_MS = 100, ELECTION_MS = 300 };

static mono_t clock_now;
static struct raft_status core;          /* what it says of the others: peers[i] is member i + 2 */
static int tries[64];
static size_t n_tries;

mono_t mono_now(void)
{
	return clock_now;
}

/* ---- what handover.c calls besides */

void raft_status(const struct raft *r, mono_t now, struct raft_status *out)
{
	(void)r;
	(void)now;
	*out = core;
}

int raftd_step(struct raftd *n, struct raft_event *ev)
{
	(void)n;
	CHECK(ev->type == RAFT_EV_TRANSFER && n_tries < ARRAY_LEN(tries));
	if (!core.peers[ev->peer - 2].up)
		return ERR_BAD_TARGET;
	tries[n_tries++] = (int)ev->peer;
	return ERR_OK;
}

/* ---- */

/* We are member 1, lead, and our stored has what is committed. */
static void begin(void)
{
	static struct config config;

	clock_now = (mono_t){1000000000};
	n_tries = 0;
	fake_open();
	config = (struct config){.node_id = 1, .election_max_ms = ELECTION_MS};
	for (uint64_t id = 1; id <= MEMBERS; id++)
		config.members[config.n_members++] = (struct config_member){.id = id};
	fake.n->d->config = &config;
	core = (struct raft_status){.peer_count = MEMBERS - 1};
	for (uint32_t i = 0; i < core.peer_count; i++)
		core.peers[i] = (struct raft_peer_status){.id = i + 2, .match = 100, .up = true,
							  .state = RAFT_PEER_REPLICATE, .silent_ms = 20};
	fake.n->role = RAFT_LEADER;
	fake.n->commit = fake.n->feed.applied = 100;
	fake.n->feed.ready = true;
	handover_open(fake.n);
}

static void end(void)
{
	handover_close(fake.n);
	fake_close();
}

static void pass(int ms)
{
	for (int i = 0; i < ms; i += STEP_MS) {
		clock_now = mono_add_ms(clock_now, STEP_MS);
		loop_turn(fake.n->d->loop, 0);
	}
}

TEST(whose_store_follows_keeps_the_lead)
{
	begin();
	for (int i = 0; i < 20; i++) {
		fake.n->commit += 1000;
		pass(1000);
		fake.n->feed.applied = fake.n->commit - 500;
	}
	EQ_INT(n_tries, 0);
	end();
}

TEST(whose_store_has_gone_hands_over_to_the_next_after_five_seconds)
{
	begin();
	fake.n->feed.ready = false;
	pass(4500);
	EQ_INT(n_tries, 0);
	pass(1000);
	EQ_INT(n_tries, 1);
	EQ_INT(tries[0], 2);
	fake.n->role = RAFT_FOLLOWER;
	pass(20000);
	EQ_INT(n_tries, 1);
	fake.n->role = RAFT_LEADER;              /* again: patient again */
	pass(4000);
	EQ_INT(n_tries, 1);
	end();
}

/* While it is handed over nothing is proposed, and the cluster's writes need no store of ours. */
TEST(who_does_not_take_it_is_tried_once_and_then_the_next_one)
{
	begin();
	fake.n->feed.ready = false;
	pass(26000);
	EQ_INT(n_tries, 5);
	for (int i = 0; i < 5; i++)
		EQ_INT(tries[i], 2 + i % (MEMBERS - 1));
	end();
}

TEST(who_cannot_take_it_is_not_asked)
{
	begin();
	fake.n->feed.applied = 50;
	fake.n->commit = 200;
	core.peers[0].match = 99;                /* has less than our store should have had by then */
	core.peers[1].state = RAFT_PEER_SNAPSHOT;
	core.peers[2].silent_ms = ELECTION_MS + 1;
	core.peers[3].up = false;
	pass(20000);
	EQ_INT(n_tries, 0);
	core.peers[2].silent_ms = 10;
	pass(500);
	EQ_INT(n_tries, 1);
	EQ_INT(tries[0], 4);
	end();
}

TESTS = {
	T(whose_store_follows_keeps_the_lead),
	T(whose_store_has_gone_hands_over_to_the_next_after_five_seconds),
	T(who_does_not_take_it_is_tried_once_and_then_the_next_one),
	T(who_cannot_take_it_is_not_asked),
};
TAP_MAIN
