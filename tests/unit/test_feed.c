/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of committed entries to stored: no gap, no growth, and it begins where stored is. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/fake_raftd.h"
#include "tests/lib/tap.h"

static struct link stored = {.name = "stored"};

static void begin(void)
{
	stored = (struct link){.name = "stored"};
	fake_open();
	EQ_INT(feed_open(fake.n), ERR_OK);
}

static int up(uint64_t applied)
{
	struct link_hello hello = {.node_id = 1, .daemon = DAEMON_STORED, .resume = applied};

	return fake.dialer_ops->up(fake.n, &stored, &hello);
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
	T(what_is_committed_is_sent_once_and_as_what_it_is),
	T(nothing_is_sent_while_stored_is_away),
	T(a_stored_that_is_ahead_of_the_commit_index_waits_for_it),
	T(a_stored_that_is_ahead_of_the_log_is_refused),
	T(answers_that_cannot_be_are_refused),
	T(the_window_holds_the_feed_back_and_answers_move_it),
	T(a_long_way_is_gone_in_many_turns),
	T(thousands_of_small_batches_stay_bounded),
	T(one_batch_carries_all_that_a_turn_has_committed),
	T(a_full_link_stops_the_feed_until_it_has_drained),
	T(a_new_connection_forgets_what_was_under_way),
};
TAP_MAIN
