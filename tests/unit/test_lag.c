/* SPDX-License-Identifier: Apache-2.0 */
/* For how long commands wait for the store, on a clock of the test's own. */
#include "raftd/lag.h"
#include "tests/lib/tap.h"

static struct lag lag;

static mono_t at(int64_t ms)
{
	return mono_add_ms((mono_t){1}, ms);
}

static void begin(void)
{
	lag = (struct lag){.mark = 0};
}

static void moved(uint64_t commit, uint64_t applied, int64_t ms)
{
	lag_moved(&lag, commit, applied, at(ms));
}

TEST(a_store_that_has_all_is_never_late)
{
	begin();
	EQ_INT(lag_ms(&lag, at(100000)), 0);
	moved(5, 5, 0);
	EQ_INT(lag_ms(&lag, at(100000)), 0);
	moved(6, 5, 200000);              /* long idle, and only now something to do */
	EQ_INT(lag_ms(&lag, at(200001)), 1);
	moved(6, 6, 200002);
	EQ_INT(lag_ms(&lag, at(300000)), 0);
}

TEST(what_was_committed_first_is_waited_for)
{
	begin();
	moved(10, 0, 0);
	moved(20, 0, 50);                 /* more comes, and the first is still not there */
	moved(20, 9, 90);
	EQ_INT(lag_ms(&lag, at(100)), 100);
	moved(20, 10, 100);               /* now the next is watched, and what this one took is remembered */
	EQ_INT(lag_ms(&lag, at(101)), 100);
	EQ_INT(lag_ms(&lag, at(350)), 250);
	moved(21, 20, 400);
	EQ_INT(lag_ms(&lag, at(401)), 300);
	moved(30, 21, 410);
	EQ_INT(lag_ms(&lag, at(411)), 10);
}

TEST(it_ends_when_all_is_there)
{
	begin();
	moved(10, 0, 0);
	moved(20, 10, 5000);
	EQ_INT(lag_ms(&lag, at(5001)), 5000);
	moved(20, 20, 5100);
	EQ_INT(lag_ms(&lag, at(5101)), 0);
}

TEST(a_store_that_is_begun_anew_is_as_late_as_the_one_before)
{
	begin();
	moved(10, 8, 0);
	moved(10, 2, 100);
	EQ_INT(lag_ms(&lag, at(200)), 200);
	moved(12, 10, 300);
	EQ_INT(lag_ms(&lag, at(301)), 300);
	moved(12, 12, 302);
	EQ_INT(lag_ms(&lag, at(400)), 0);
}

TESTS = {
	T(a_store_that_has_all_is_never_late),
	T(what_was_committed_first_is_waited_for),
	T(it_ends_when_all_is_there),
	T(a_store_that_is_begun_anew_is_as_late_as_the_one_before),
};
TAP_MAIN
