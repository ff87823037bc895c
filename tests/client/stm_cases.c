/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each level of isolation allows and prevents, anomaly by anomaly. The other transaction of an
 * anomaly runs inside the function of the first, between two of its reads, so that nothing depends on
 * chance. Run by tests/system/test_stm.py, with QUORATE_ENDPOINTS of a cluster.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/quorate.h"
#include "tests/lib/tap.h"

#define LEVELS 4

static const char *const levels[LEVELS] = {
	"serializable snapshot", "serializable", "repeatable reads", "read committed"};

/* The client of the case, and the other one's: the function of one may not wait for itself. */
static struct quorate *mine, *others;
static int case_number;

static void open_clients(void)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	char prefix[64];

	o.endpoints = getenv("QUORATE_ENDPOINTS");
	for (struct quorate **q = &mine;; q = &others) {
		struct quorate *whole;

		EQ_INT(quorate_open(&o, &whole, &e), QUORATE_OK);
		(void)snprintf(prefix, sizeof prefix, "/stm/%d/%d/", (int)getpid(), case_number);
		EQ_INT(quorate_namespace(whole, quorate_str(prefix), q, &e), QUORATE_OK);
		quorate_close(whole);
		if (q == &others)
			break;
	}
	case_number++;
}

static void close_clients(void)
{
	quorate_close(mine);
	quorate_close(others);
}

static void set(struct quorate *q, const char *key, int number)
{
	struct quorate_error e;
	char text[16];

	(void)snprintf(text, sizeof text, "%d", number);
	EQ_INT(quorate_put(q, key, text, &e), QUORATE_OK);
}

static int number_of(const struct quorate_kv *kv)
{
	char text[16] = "";

	if (kv == NULL)
		return -1;
	OK(kv->value.size < sizeof text);
	memcpy(text, kv->value.data, kv->value.size);
	return atoi(text);
}

static int now(const char *key)
{
	struct quorate_result *r;
	struct quorate_error e;
	int n;

	EQ_INT(quorate_get(mine, key, &r, &e), QUORATE_OK);
	n = number_of(r->n_kvs > 0 ? &r->kvs[0] : NULL);
	quorate_result_free(r);
	return n;
}

static int read_in(struct quorate_stm *t, const char *key)
{
	const struct quorate_kv *kv;

	EQ_INT(quorate_stm_get(t, quorate_str(key), &kv), QUORATE_OK);
	return number_of(kv);
}

static void write_in(struct quorate_stm *t, const char *key, int number)
{
	char text[16];

	(void)snprintf(text, sizeof text, "%d", number);
	EQ_INT(quorate_stm_put(t, quorate_str(key), quorate_str(text), 0), QUORATE_OK);
}

/* What a function has seen, in its first try and in its last. */
struct seen {
	int tries;
	int first[4], last[4];
};

static void see(struct seen *s, int i, int number)
{
	s->last[i] = number;
	if (s->tries == 1)
		s->first[i] = number;
}

static int run(int level, int (*apply)(struct quorate_stm *t, void *arg), struct seen *s)
{
	struct quorate_stm_options o = QUORATE_STM_OPTIONS_INIT;
	struct quorate_error e;
	int rc;

	*s = (struct seen){0};
	o.isolation = (enum quorate_isolation)level;
	rc = quorate_stm_run(mine, &o, apply, s, 60000, NULL, &e);
	printf("# %s: %d tries\n", levels[level], s->tries);
	return rc;
}

/* ---- what is not committed is never seen ---- */

static int look(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;

	s->tries++;
	see(s, 0, read_in(t, "x"));
	return 0;
}

static int write_and_let_others_look(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg, other;
	struct quorate_stm_options o = QUORATE_STM_OPTIONS_INIT;

	s->tries++;
	write_in(t, "x", 2);
	EQ_INT(read_in(t, "x"), 2);    /* its own it sees */
	for (int level = 0; level < LEVELS; level++) {
		other = (struct seen){0};
		o.isolation = (enum quorate_isolation)level;
		EQ_INT(quorate_stm_run(others, &o, look, &other, 60000, NULL, NULL), QUORATE_OK);
		EQ_INT(other.last[0], 1);
	}
	return -1;                     /* aborts */
}

TEST(no_level_allows_dirty_reads)
{
	struct seen s;

	open_clients();
	for (int level = 0; level < LEVELS; level++) {
		set(mine, "x", 1);
		EQ_INT(run(level, write_and_let_others_look, &s), -1);
		EQ_INT(s.tries, 1);
		EQ_INT(now("x"), 1);
	}
	close_clients();
}

/* ---- a second read of the same key ---- */

static int read_twice(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;

	s->tries++;
	see(s, 0, read_in(t, "x"));
	if (s->tries == 1)
		set(others, "x", 2);
	see(s, 1, read_in(t, "x"));
	return 0;
}

TEST(only_read_committed_allows_reads_that_do_not_repeat)
{
	struct seen s;

	open_clients();
	for (int level = 0; level < LEVELS; level++) {
		bool allowed = level == QUORATE_READ_COMMITTED;

		set(mine, "x", 1);
		EQ_INT(run(level, read_twice, &s), QUORATE_OK);
		EQ_INT(s.first[0], 1);
		EQ_INT(s.first[1], allowed ? 2 : 1);
		EQ_INT(s.tries, allowed ? 1 : 2);   /* the others do not end with what has changed */
		EQ_INT(s.last[0], allowed ? 1 : 2);
		EQ_INT(s.last[1], 2);
	}
	close_clients();
}

/* ---- two keys of different instants ---- */

static int read_two(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;

	s->tries++;
	see(s, 0, read_in(t, "x"));
	if (s->tries == 1) {
		set(others, "x", 2);
		set(others, "y", 2);
	}
	see(s, 1, read_in(t, "y"));
	return 0;
}

TEST(the_serializable_levels_see_one_instant)
{
	struct seen s;

	open_clients();
	for (int level = 0; level < LEVELS; level++) {
		set(mine, "x", 1);
		set(mine, "y", 1);
		EQ_INT(run(level, read_two, &s), QUORATE_OK);
		EQ_INT(s.first[0], 1);
		EQ_INT(s.first[1], level <= QUORATE_SERIALIZABLE_READS ? 1 : 2);
		if (level == QUORATE_READ_COMMITTED) {
			EQ_INT(s.tries, 1);
		} else {               /* but no level that checks ends with the mixture */
			EQ_INT(s.tries, 2);
			EQ_INT(s.last[0], 2);
			EQ_INT(s.last[1], 2);
		}
	}
	close_clients();
}

/* ---- lost updates ---- */

static int add_one(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;
	int x;

	s->tries++;
	x = read_in(t, "x");
	see(s, 0, x);
	if (s->tries == 1)
		set(others, "x", 20);
	write_in(t, "x", x + 1);
	return 0;
}

TEST(only_read_committed_loses_updates)
{
	struct seen s;

	open_clients();
	for (int level = 0; level < LEVELS; level++) {
		bool allowed = level == QUORATE_READ_COMMITTED;

		set(mine, "x", 10);
		EQ_INT(run(level, add_one, &s), QUORATE_OK);
		EQ_INT(now("x"), allowed ? 11 : 21);
		EQ_INT(s.tries, allowed ? 1 : 2);
	}
	close_clients();
}

/* ---- write skew: each reads both, and writes one ---- */

static int withdraw_x(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;
	int sum;

	s->tries++;
	sum = read_in(t, "x") + read_in(t, "y");
	if (s->tries == 1)
		set(others, "y", 0);   /* who has also seen that there is enough */
	if (sum >= 100)
		write_in(t, "x", 0);
	return 0;
}

TEST(only_read_committed_allows_write_skew)
{
	struct seen s;

	open_clients();
	for (int level = 0; level < LEVELS; level++) {
		bool allowed = level == QUORATE_READ_COMMITTED;

		set(mine, "x", 50);
		set(mine, "y", 50);
		EQ_INT(run(level, withdraw_x, &s), QUORATE_OK);
		EQ_INT(now("x") + now("y"), allowed ? 0 : 50);
	}
	close_clients();
}

/* ---- phantoms: a key that was not there ---- */

static int create_once(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;
	int owner;

	s->tries++;
	owner = read_in(t, "owner");
	see(s, 0, owner);
	if (s->tries == 1)
		set(others, "owner", 1);
	if (owner < 0)
		write_in(t, "mine", 1);
	return 0;
}

TEST(only_read_committed_allows_phantoms)
{
	struct seen s;

	open_clients();
	for (int level = 0; level < LEVELS; level++) {
		bool allowed = level == QUORATE_READ_COMMITTED;

		EQ_INT(quorate_delete(mine, "owner", NULL), QUORATE_OK);
		EQ_INT(quorate_delete(mine, "mine", NULL), QUORATE_OK);
		EQ_INT(run(level, create_once, &s), QUORATE_OK);
		EQ_INT(s.first[0], -1);
		EQ_INT(now("mine"), allowed ? 1 : -1);
	}
	close_clients();
}

/* ---- a key written without having been read ---- */

static int write_blindly(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;

	s->tries++;
	see(s, 0, read_in(t, "x"));
	if (s->tries == 1)
		set(others, "y", 5);
	write_in(t, "y", 6);
	return 0;
}

TEST(only_the_snapshot_level_minds_what_it_overwrites_unread)
{
	struct seen s;

	open_clients();
	for (int level = 0; level < LEVELS; level++) {
		set(mine, "x", 1);
		EQ_INT(run(level, write_blindly, &s), QUORATE_OK);
		EQ_INT(s.tries, level == QUORATE_SERIALIZABLE_SNAPSHOT ? 2 : 1);
		EQ_INT(now("y"), 6);
	}
	close_clients();
}

/* ---- limits, ends ---- */

static int always_late(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;

	s->tries++;
	see(s, 0, read_in(t, "x"));
	set(others, "x", 100 + s->tries);
	write_in(t, "y", 1);
	return 0;
}

TEST(tries_and_time_are_limits)
{
	struct quorate_stm_options o = QUORATE_STM_OPTIONS_INIT;
	struct quorate_error e;
	struct seen s = {0};

	open_clients();
	set(mine, "x", 1);
	o.max_tries = 3;
	EQ_INT(quorate_stm_run(mine, &o, always_late, &s, 60000, NULL, &e), QUORATE_ERR_CONFLICT);
	EQ_INT(e.again, QUORATE_AGAIN_SAFE);
	EQ_INT(s.tries, 3);
	s = (struct seen){0};
	EQ_INT(quorate_stm_run(mine, NULL, always_late, &s, 300, NULL, &e), QUORATE_ERR_TIMEOUT);
	EQ_INT(now("y"), -1);
	close_clients();
}

static int read_ahead(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;

	s->tries++;
	if (s->tries == 1)
		set(others, "y", 9);   /* behind what was fetched: it sees the instant of the fetch */
	see(s, 0, read_in(t, "x"));
	see(s, 1, read_in(t, "y"));
	see(s, 2, read_in(t, "z"));
	write_in(t, "sum", s->last[0] + s->last[1]);
	return 0;
}

TEST(what_is_fetched_ahead_is_one_instant_with_the_rest)
{
	struct quorate_bytes keys[] = {quorate_str("x"), quorate_str("y")};
	struct quorate_stm_options o = QUORATE_STM_OPTIONS_INIT;
	struct seen s = {0};

	open_clients();
	set(mine, "x", 1);
	set(mine, "y", 2);
	o.prefetch = keys;
	o.n_prefetch = 2;
	EQ_INT(quorate_stm_run(mine, &o, read_ahead, &s, 60000, NULL, NULL), QUORATE_OK);
	EQ_INT(s.first[0], 1);
	EQ_INT(s.first[1], 2);
	EQ_INT(s.first[2], -1);
	EQ_INT(s.tries, 2);
	EQ_INT(now("sum"), 10);
	close_clients();
}

static int delete_and_put(struct quorate_stm *t, void *arg)
{
	struct quorate_result **none = arg;

	(void)none;
	EQ_INT(quorate_stm_delete(t, quorate_str("x")), QUORATE_OK);
	EQ_INT(read_in(t, "x"), -1);
	write_in(t, "x", 7);
	EQ_INT(read_in(t, "x"), 7);
	EQ_INT(quorate_stm_delete(t, quorate_str("y")), QUORATE_OK);
	return 0;
}

TEST(the_last_write_of_a_key_counts_and_all_have_one_revision)
{
	struct quorate_result *r, *x;

	open_clients();
	set(mine, "x", 1);
	set(mine, "y", 1);
	EQ_INT(quorate_stm_run(mine, NULL, delete_and_put, NULL, 60000, &r, NULL), QUORATE_OK);
	OK(r != NULL && r->succeeded);
	EQ_INT(quorate_get(mine, "x", &x, NULL), QUORATE_OK);
	EQ_INT(x->kvs[0].mod_revision, r->header.revision);
	EQ_INT(number_of(&x->kvs[0]), 7);
	EQ_INT(now("y"), -1);
	quorate_result_free(x);
	quorate_result_free(r);
	close_clients();
}

static int too_many(struct quorate_stm *t, void *arg)
{
	char key[16];
	int rc = QUORATE_OK;

	for (int i = 0; rc == QUORATE_OK && i < 1000; i++) {
		(void)snprintf(key, sizeof key, "k%d", i);
		rc = quorate_stm_put(t, quorate_str(key), quorate_str("v"), 0);
		++*(int *)arg;
	}
	EQ_INT(quorate_stm_delete(t, quorate_str("x")), rc);   /* it is doomed */
	return 0;                      /* which cannot be overlooked */
}

TEST(a_doomed_transaction_does_not_commit)
{
	int writes = 0;

	open_clients();
	EQ_INT(quorate_stm_run(mine, NULL, too_many, &writes, 60000, NULL, NULL), QUORATE_ERR_TOO_MANY_OPS);
	EQ_INT(writes, 129);
	EQ_INT(now("k0"), -1);
	close_clients();
}

/* Other keys each time, and the first time one of them is changed by somebody else. */
static int read_others_each_time(struct quorate_stm *t, void *arg)
{
	struct seen *s = arg;
	char key[16];

	s->tries++;
	for (int i = 0; i < 100; i++) {
		(void)snprintf(key, sizeof key, "%d.%d", s->tries, i);
		see(s, 0, read_in(t, key));
	}
	if (s->tries == 1)
		set(others, "1.7", 1);
	write_in(t, "sum", s->tries);
	return 0;
}

TEST(what_an_earlier_try_has_read_takes_no_place)
{
	struct seen s;

	open_clients();
	EQ_INT(run(QUORATE_SERIALIZABLE_SNAPSHOT, read_others_each_time, &s), QUORATE_OK);
	EQ_INT(s.tries, 2);
	EQ_INT(now("sum"), 2);
	close_clients();
}

TESTS = {
	T(no_level_allows_dirty_reads),
	T(only_read_committed_allows_reads_that_do_not_repeat),
	T(the_serializable_levels_see_one_instant),
	T(only_read_committed_loses_updates),
	T(only_read_committed_allows_write_skew),
	T(only_read_committed_allows_phantoms),
	T(only_the_snapshot_level_minds_what_it_overwrites_unread),
	T(tries_and_time_are_limits),
	T(what_is_fetched_ahead_is_one_instant_with_the_rest),
	T(the_last_write_of_a_key_counts_and_all_have_one_revision),
	T(a_doomed_transaction_does_not_commit),
	T(what_an_earlier_try_has_read_takes_no_place),
};
TAP_MAIN
