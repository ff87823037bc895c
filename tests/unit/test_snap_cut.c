/* SPDX-License-Identifier: Apache-2.0 */
/* When raftd asks for a snapshot, and how much of the log it cuts behind it (raftd/snap_cut.c). */
#include <fcntl.h>
#include <string.h>

#include "base/err.h"
#include "tests/lib/snap_world.h"
#include "tests/lib/tap.h"

static void state_is(uint64_t applied, uint64_t snapshot, uint64_t store_bytes)
{
	struct snapshot_id id = {snapshot, 1, 1000, 5};
	struct apply_state m = {.applied = applied, .applied_term = 1, .store_bytes = store_bytes,
				.snapshot = snapshot ? &id : NULL};

	fake.n->feed.applied = applied;
	snap_state(fake.n, &m);
}

/* In the fake log an entry has a mebibyte, and the threshold is 4. */
TEST(a_snapshot_is_asked_for_once_when_the_log_has_grown)
{
	begin();
	for (int i = 0; i < 10; i++)
		fake_have(1, WAL_COMMAND, 0);
	state_is(10, 6, 0);
	loop_turn(fake.n->d->loop, 5);
	OK(strstr(fake_journal(), "apply_snapshot") == NULL);
	state_is(10, 5, 0);
	UNTIL(fake.n->snap.asked == 10);
	OK(strstr(fake_journal(), "stored: apply_snapshot{index=10}") != NULL);
	state_is(10, 5, 0);
	loop_turn(fake.n->d->loop, 5);
	OK(strstr(fake_journal(), "apply_snapshot") == NULL);
	snap_link_down(fake.n);                      /* a killed stored has forgotten it */
	state_is(10, 5, 0);
	UNTIL(fake.n->snap.asked == 10);
	state_is(10, 10, 0);
	EQ_INT(fake.n->snap.asked, 0);
	end();
}

TEST(a_large_store_is_not_copied_for_a_little_log)
{
	begin();
	for (int i = 0; i < 10; i++)
		fake_have(1, WAL_COMMAND, 0);
	state_is(10, 1, 40 * MIB);
	loop_turn(fake.n->d->loop, 5);
	EQ_INT(fake.n->snap.asked, 0);
	state_is(10, 1, 30 * MIB);
	UNTIL(fake.n->snap.asked == 10);
	end();
}

static const char *cut_of(uint64_t commit, uint64_t snapshot)
{
	fake.n->commit = commit;
	state_is(commit, snapshot, 0);
	(void)fake_journal();
	loop_turn(fake.n->d->loop, 5);
	loop_turn(fake.n->d->loop, 5);
	return fake_journal();
}

TEST(the_log_is_cut_behind_a_snapshot_less_a_tail)
{
	begin();
	for (int i = 0; i < 20; i++)
		fake_have(1, WAL_COMMAND, 0);
	OK(strstr(cut_of(20, 0), "cut") == NULL);
	OK(strstr(cut_of(9, 10), "cut") == NULL);    /* what is committed is not known that far yet */
	OK(strstr(cut_of(20, 10), "cut 11\nstep 9 peer=0 index=10\n") != NULL);     /* COMPACTED */
	OK(strstr(cut_of(20, 20), "cut 20\nstep 9 peer=0 index=19\n") != NULL);     /* a quarter of 4 stays */
	OK(strstr(cut_of(20, 20), "cut") == NULL);
	end();
}

TEST(a_peer_that_is_catching_up_holds_the_cut_for_a_while)
{
	begin();
	for (int i = 0; i < 15; i++)
		fake_have(1, WAL_COMMAND, 0);
	fake.n->role = RAFT_LEADER;
	core.peer_up = true;
	core.match = 4;
	OK(strstr(cut_of(15, 10), "cut 5\nstep 9 peer=0 index=4\n") != NULL);
	core.peer_up = false;                        /* gone: it will get the snapshot */
	OK(strstr(cut_of(15, 10), "cut 11\n") != NULL);
	core.peer_up = true;
	core.match = 11;
	for (int i = 0; i < 20; i++)
		fake_have(1, WAL_COMMAND, 0);
	OK(strstr(cut_of(30, 30), "cut 31\n") != NULL);            /* four times too long: no more patience */
	end();
}

/* So it does when stored could not read it, and was begun anew from less. */
TEST(the_log_is_not_cut_behind_a_snapshot_that_the_store_is_not_up_to)
{
	begin();
	for (int i = 0; i < 20; i++)
		fake_have(1, WAL_COMMAND, 0);
	fake.n->commit = 20;
	state_is(5, 10, 0);
	(void)fake_journal();
	loop_turn(fake.n->d->loop, 5);
	loop_turn(fake.n->d->loop, 5);
	OK(strstr(fake_journal(), "cut") == NULL);
	OK(strstr(cut_of(20, 10), "cut 11\n") != NULL);
	end();
}

TEST(a_transfer_holds_the_cut_but_not_for_ever)
{
	struct snap_send *o;

	begin();
	for (int i = 0; i < 30; i++)
		fake_have(1, WAL_COMMAND, 0);
	o = &fake.n->snap.send[0];
	o->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	o->id.index = 5;
	OK(strstr(cut_of(30, 30), "cut 6\n") != NULL);
	for (int i = 0; i < 50; i++)
		fake_have(1, WAL_COMMAND, 0);
	OK(strstr(cut_of(80, 80), "cut 80\n") != NULL);
	end();
}

TESTS = {
	T(a_snapshot_is_asked_for_once_when_the_log_has_grown),
	T(a_large_store_is_not_copied_for_a_little_log),
	T(the_log_is_cut_behind_a_snapshot_less_a_tail),
	T(a_peer_that_is_catching_up_holds_the_cut_for_a_while),
	T(the_log_is_not_cut_behind_a_snapshot_that_the_store_is_not_up_to),
	T(a_transfer_holds_the_cut_but_not_for_ever),
};
TAP_MAIN
