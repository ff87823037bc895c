/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of committed entries to stored: no gap, no growth, and it begins where stored is. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/fake_raftd.h"
#include "tests/lib/tap.h"

static struct link stored = {.name = "stored"};
static uint64_t told_snapshot;

static void begin(void)
{
	stored = (struct link){.name = "stored"};
	fake_open();
	EQ_INT(feed_open(fake.n), ERR_OK);
}

/* ---- what feed.c calls besides */

int raftd_step(struct raftd *n, struct raft_event *ev)
{
	(void)n;
	CHECK(ev->type == RAFT_EV_INSTALLED);
	fake_say("installed %d term=%d", (int)ev->index, (int)ev->index_term);
	return ERR_OK;
}

bool raftd_can_append_small(const struct raftd *n)
{
	(void)n;
	return fake.room >= SMALL_ROOM / 2;
}

void propose_committed(struct raftd *n, uint64_t index)
{
	(void)n;
	(void)index;
}

void snap_state(struct raftd *n, const struct apply_state *m)
{
	(void)n;
	told_snapshot = m->snapshot != NULL ? m->snapshot->index : 0;
}

void snap_recv_state(struct raftd *n, uint64_t applied)
{
	(void)n;
	(void)applied;
}

int snap_recv_installed(struct raftd *n, const struct apply_installed *m)
{
	(void)n;
	(void)m;
	return ERR_OK;
}

void snap_link_down(struct raftd *n)
{
	(void)n;
}

/* ---- */

static int say_state(uint64_t applied, uint64_t term, const struct snapshot_id *snapshot)
{
	struct snapshot_id id = snapshot ? *snapshot : (struct snapshot_id){0};
	struct apply_state m = {.applied = applied, .applied_term = term, .snapshot = snapshot ? &id : NULL};
	struct msg_in in = {.row = msg_row(&link_apply, MSG_NO_apply_state), .msg = &m};

	return fake.dialer_ops->msg(fake.n, &stored, &in);
}

static int up_with(uint64_t applied, uint64_t term, const struct snapshot_id *snapshot)
{
	struct link_hello hello = {.node_id = 1, .daemon = DAEMON_STORED, .resume = applied};
	int rc = fake.dialer_ops->up(fake.n, &stored, &hello);

	if (rc == ERR_OK)
		rc = say_state(applied, term, snapshot);
	if (rc != ERR_OK)                /* what the link does of an error */
		fake.dialer_ops->down(fake.n, &stored, "refused");
	return rc;
}

static int up(uint64_t applied)
{
	return up_with(applied, 1, NULL);
}

static int done(uint64_t index)
{
	struct apply_done m = {.index = index};
	struct msg_in in = {.row = msg_row(&link_apply, MSG_NO_apply_done), .msg = &m};

	return fake.dialer_ops->msg(fake.n, &stored, &in);
}

static void have(size_t count, size_t bytes)
{
	for (size_t i = 0; i < count; i++)
		fake_have(1, WAL_COMMAND, bytes);
}

/* What the ends of turns do, until nothing is due. */
static void turn(void)
{
	while (fake.n->feed.due)
		feed_more(fake.n);
}

static void commit(uint64_t index)
{
	fake.n->commit = index;
	fake.n->feed.due = true;
	turn();
}

static unsigned batches(void)
{
	const char *at = fake_journal();
	unsigned n = 0;

	for (; (at = strstr(at, "apply_batch{")) != NULL; at++)
		n++;
	return n;
}

TEST(a_leader_s_batch_does_not_wait_for_the_end_of_the_turn)
{
	const char *journal, *batch;

	begin();
	have(1, 10);
	feed_now(fake.n);                            /* nobody is there */
	EQ_INT(up(0), ERR_OK);
	(void)fake_journal();
	fake.n->commit = 1;
	feed_now(fake.n);
	journal = fake_journal();
	batch = strstr(journal, "apply_batch{");
	OK(batch != NULL && strstr(batch, "stored written") != NULL);
	fake_close();
}

TEST(what_is_committed_is_sent_once_and_as_what_it_is)
{
	begin();
	fake_have(1, WAL_NOOP, 0);
	fake_have(2, WAL_COMMAND, 0);
	fake_have(2, WAL_COMMAND, 0);
	EQ_INT(up(0), ERR_OK);
	turn();
	EQ_STR(fake_journal(), "");
	commit(2);
	EQ_STR(fake_journal(), "stored: apply_batch{commit=2 entries=[2 log_entry{index=1 term=1 kind=2 payload=\"\"} "
			       "log_entry{index=2 term=2 kind=1 payload=\"\"}]}\n");
	commit(2);
	EQ_STR(fake_journal(), "");
	commit(3);
	EQ_STR(fake_journal(), "stored: apply_batch{commit=3 entries=[1 log_entry{index=3 term=2 kind=1 "
			       "payload=\"\"}]}\n");
	EQ_INT(fake.n->counters.fed_entries.value, 3);
	fake_close();
}

TEST(nothing_is_sent_while_stored_is_away)
{
	begin();
	have(3, 0);
	commit(3);
	EQ_STR(fake_journal(), "");
	EQ_INT(up(1), ERR_OK);
	turn();
	OK(strstr(fake_journal(), "entries=[2 log_entry{index=2 ") != NULL);
	fake.dialer_ops->down(fake.n, &stored, "gone");
	have(1, 0);
	commit(4);
	EQ_STR(fake_journal(), "");
	EQ_INT(up(3), ERR_OK);
	turn();
	OK(strstr(fake_journal(), "entries=[1 log_entry{index=4 ") != NULL);
	fake_close();
}

/* raftd's commit index starts low after a restart: what stored knows already is not sent again. */
TEST(a_stored_that_is_ahead_of_the_commit_index_waits_for_it)
{
	begin();
	have(10, 0);
	EQ_INT(up(5), ERR_OK);
	commit(1);
	commit(5);
	EQ_STR(fake_journal(), "");
	commit(6);
	OK(strstr(fake_journal(), "entries=[1 log_entry{index=6 ") != NULL);
	fake_close();
}

TEST(a_stored_that_is_ahead_of_the_log_is_refused)
{
	begin();
	have(3, 0);
	EQ_INT(up(4), ERR_CORRUPT);
	OK(fake.n->feed.link == NULL);
	EQ_INT(up(3), ERR_OK);
	fake_close();
}

/* An install that crashed in between: the store equals its snapshot, the log had no time to follow. */
TEST(a_store_that_is_its_snapshot_begins_the_log_behind_it)
{
	struct snapshot_id id = {.index = 50, .term = 4};

	begin();
	have(3, 0);
	EQ_INT(up_with(50, 4, &id), ERR_OK);
	EQ_STR(fake_journal(), "installed 50 term=4\n");
	EQ_INT(fake.n->commit, 50);
	EQ_INT(fake.n->feed.next, 51);
	EQ_INT(told_snapshot, 50);
	fake_close();
}

TEST(a_store_beyond_its_snapshot_and_the_log_is_refused)
{
	struct snapshot_id older = {.index = 49, .term = 4}, other = {.index = 50, .term = 3};

	begin();
	have(3, 0);
	EQ_INT(up_with(50, 4, &older), ERR_CORRUPT);
	EQ_INT(up_with(50, 4, &other), ERR_CORRUPT);
	EQ_INT(up_with(50, 4, NULL), ERR_CORRUPT);
	EQ_STR(fake_journal(), "");
	OK(fake.n->feed.link == NULL);
	fake_close();
}

/* The log may reach that far by number alone, with entries that were never committed. */
TEST(the_core_judges_a_snapshot_above_the_commit_index)
{
	struct snapshot_id id = {.index = 3, .term = 4};

	begin();
	have(5, 0);
	fake.n->commit = 2;
	EQ_INT(up_with(3, 4, &id), ERR_OK);
	EQ_STR(fake_journal(), "installed 3 term=4\n");
	fake.n->commit = 5;
	EQ_INT(up_with(3, 4, &id), ERR_OK);
	turn();
	OK(strstr(fake_journal(), "installed") == NULL);
	fake_close();
}

TEST(without_room_for_it_the_log_is_not_begun_anew_yet)
{
	struct snapshot_id id = {.index = 50, .term = 4};

	begin();
	fake.room = 0;
	EQ_INT(up_with(50, 4, &id), ERR_FULL);
	EQ_STR(fake_journal(), "");
	fake.room = SMALL_ROOM;
	EQ_INT(up_with(50, 4, &id), ERR_OK);
	fake_close();
}

TEST(a_store_that_ends_before_the_log_begins_is_sent_nothing)
{
	begin();
	have(10, 0);
	fake.n->commit = 10;
	wal_cut(fake.n->wal, 6);
	(void)fake_journal();
	EQ_INT(up(4), ERR_OK);
	turn();
	OK(fake.n->feed.behind);
	EQ_STR(fake_journal(), "");
	EQ_INT(up(5), ERR_OK);
	turn();
	OK(!fake.n->feed.behind);
	OK(strstr(fake_journal(), "entries=[5 log_entry{index=6 ") != NULL);
	fake_close();
}

TEST(nothing_is_sent_before_the_state_is_known)
{
	struct link_hello hello = {.node_id = 1, .daemon = DAEMON_STORED, .resume = 1};

	begin();
	have(3, 0);
	fake.n->commit = 3;
	EQ_INT(fake.dialer_ops->up(fake.n, &stored, &hello), ERR_OK);
	fake.n->feed.due = true;
	turn();
	EQ_STR(fake_journal(), "");
	EQ_INT(say_state(0, 1, NULL), ERR_MALFORMED);     /* it cannot have gone back */
	EQ_INT(say_state(2, 1, NULL), ERR_OK);            /* but an earlier link may have brought it on */
	turn();
	OK(strstr(fake_journal(), "entries=[1 log_entry{index=3 ") != NULL);
	fake_close();
}

TEST(answers_that_cannot_be_are_refused)
{
	begin();
	have(10, 0);
	EQ_INT(up(2), ERR_OK);
	commit(6);
	EQ_INT(done(7), ERR_MALFORMED);
	EQ_INT(done(1), ERR_MALFORMED);
	EQ_INT(done(2), ERR_OK);
	EQ_INT(done(6), ERR_OK);
	EQ_INT(done(5), ERR_MALFORMED);
	EQ_INT(fake.n->feed.applied, 6);
	fake_close();
}

TEST(the_window_holds_the_feed_back_and_answers_move_it)
{
	size_t sent;

	begin();
	have(40, MIB);
	EQ_INT(up(0), ERR_OK);
	commit(40);
	sent = batches();
	OK(sent >= 8 && sent <= 9);
	OK(fake.n->feed.window >= LIMIT_APPLY_WINDOW_BYTES &&
	   fake.n->feed.window <= LIMIT_APPLY_WINDOW_BYTES + LIMIT_FRAME_BYTES);
	for (uint64_t i = 1; i <= 40; i++) {
		if (i < fake.n->feed.next)
			EQ_INT(done(i), ERR_OK);
		turn();
	}
	EQ_INT(fake.n->feed.next, 41);
	EQ_INT(done(40), ERR_OK);
	EQ_INT(fake.n->feed.window, 0);
	EQ_INT(fake.n->feed.count, 0);
	fake_close();
}

TEST(a_long_way_is_gone_in_many_turns)
{
	begin();
	have(6, MIB);
	EQ_INT(up(0), ERR_OK);
	fake.n->commit = 6;
	fake.n->feed.due = true;
	feed_more(fake.n);
	EQ_INT(fake.n->feed.next, 3);
	OK(fake.n->feed.due);
	turn();
	EQ_INT(fake.n->feed.next, 7);
	OK(!fake.n->feed.due);
	fake_close();
}

TEST(thousands_of_small_batches_stay_bounded)
{
	begin();
	EQ_INT(up(0), ERR_OK);
	for (uint64_t i = 1; i <= 1000; i++) {
		have(1, 0);
		commit(i);
	}
	EQ_INT(fake.n->feed.count, ARRAY_LEN(fake.n->feed.sent));
	EQ_INT(fake.n->feed.next, ARRAY_LEN(fake.n->feed.sent) + 1);
	EQ_INT(done(fake.n->feed.next - 1), ERR_OK);
	turn();
	EQ_INT(fake.n->feed.next, 1001);         /* all the rest in one */
	EQ_INT(fake.n->feed.count, 1);
	fake_close();
}

TEST(one_batch_carries_all_that_a_turn_has_committed)
{
	begin();
	have(100, 0);
	EQ_INT(up(0), ERR_OK);
	for (uint64_t i = 1; i <= 100; i++) {
		fake.n->commit = i;
		fake.n->feed.due = true;
	}
	turn();
	EQ_INT(batches(), 1);
	fake_close();
}

TEST(a_full_link_stops_the_feed_until_it_has_drained)
{
	begin();
	have(3, 0);
	EQ_INT(up(0), ERR_OK);
	stored.answer = ERR_FULL;
	commit(2);
	EQ_INT(fake.n->feed.next, 1);
	EQ_INT(fake.n->feed.window, 0);
	turn();
	stored.answer = ERR_OK;
	fake.dialer_ops->drained(fake.n, &stored);
	turn();
	EQ_INT(fake.n->feed.next, 3);
	fake_close();
}

TEST(a_new_connection_forgets_what_was_under_way)
{
	begin();
	have(20, MIB);
	EQ_INT(up(0), ERR_OK);
	commit(20);
	fake.dialer_ops->down(fake.n, &stored, "killed");
	EQ_INT(up(3), ERR_OK);
	EQ_INT(fake.n->feed.window, 0);
	(void)fake_journal();
	turn();
	OK(strstr(fake_journal(), "log_entry{index=4 ") != NULL);
	EQ_INT(done(4), ERR_OK);
	fake_close();
}

TESTS = {
	T(a_leader_s_batch_does_not_wait_for_the_end_of_the_turn),
	T(what_is_committed_is_sent_once_and_as_what_it_is),
	T(nothing_is_sent_while_stored_is_away),
	T(a_stored_that_is_ahead_of_the_commit_index_waits_for_it),
	T(a_stored_that_is_ahead_of_the_log_is_refused),
	T(a_store_that_is_its_snapshot_begins_the_log_behind_it),
	T(a_store_beyond_its_snapshot_and_the_log_is_refused),
	T(the_core_judges_a_snapshot_above_the_commit_index),
	T(without_room_for_it_the_log_is_not_begun_anew_yet),
	T(a_store_that_ends_before_the_log_begins_is_sent_nothing),
	T(nothing_is_sent_before_the_state_is_known),
	T(answers_that_cannot_be_are_refused),
	T(the_window_holds_the_feed_back_and_answers_move_it),
	T(a_long_way_is_gone_in_many_turns),
	T(thousands_of_small_batches_stay_bounded),
	T(one_batch_carries_all_that_a_turn_has_committed),
	T(a_full_link_stops_the_feed_until_it_has_drained),
	T(a_new_connection_forgets_what_was_under_way),
};
TAP_MAIN
