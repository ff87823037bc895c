/* SPDX-License-Identifier: Apache-2.0 */
/* Both backends do the same, and what LMDB alone has: readers beside the writer, and other processes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "mvcc/okv.h"
#include "tests/lib/tap.h"

static struct okv *open_lmdb(bool write, uint64_t map_bytes)
{
	struct okv_lmdb_setup s = {.dir = tap_dir(), .map_bytes = map_bytes, .write = write};
	struct okv *db = NULL;

	EQ_INT(okv_lmdb_open(&s, &db), ERR_OK);
	return db;
}

static struct okv *open_mem(void)
{
	struct okv *db = NULL;

	EQ_INT(okv_mem_open(&db), ERR_OK);
	return db;
}

static void put(struct okv *db, const char *key, const char *value)
{
	struct okv_txn *t;

	EQ_INT(okv_begin(db, true, &t), ERR_OK);
	EQ_INT(okv_put(t, OKV_NOW, bytes_str(key), bytes_str(value)), ERR_OK);
	EQ_INT(okv_commit(&t), ERR_OK);
}

static const char *get(struct okv *db, const char *key)
{
	static char text[64];
	struct okv_txn *t;
	struct bytes v;
	int rc;

	EQ_INT(okv_begin(db, false, &t), ERR_OK);
	rc = okv_get(t, OKV_NOW, bytes_str(key), &v);
	(void)snprintf(text, sizeof text, "%.*s", rc == ERR_OK ? (int)v.len : 6,
		       rc == ERR_OK ? (const char *)v.data : "(none)");
	okv_abort(&t);
	return text;
}

static size_t random_bytes(uint64_t *seed, uint8_t *b, size_t max)
{
	size_t n = 1 + tap_rand(seed) % max;

	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)(tap_rand(seed) % 3);
	return n;
}

static void same_row(int ra, const struct okv_row *a, int rb, const struct okv_row *b)
{
	EQ_INT(ra, rb);
	if (ra == ERR_OK)
		OK(bytes_eq(a->key, b->key) && bytes_eq(a->value, b->value));
}

/* The same steps in both; every answer is compared. */
static void same_cursor(struct okv_txn *a, struct okv_txn *b, enum okv_table table, uint64_t *seed)
{
	struct okv_cursor *ca, *cb;
	struct okv_row ra, rb;
	uint8_t key[8];
	size_t n = random_bytes(seed, key, sizeof key);
	enum okv_step step = (enum okv_step)(tap_rand(seed) % 2);      /* FIRST or LAST */
	int xa, xb;

	EQ_INT(okv_cursor(a, table, &ca), ERR_OK);
	EQ_INT(okv_cursor(b, table, &cb), ERR_OK);
	if (tap_rand(seed) % 2) {
		xa = okv_seek(ca, bytes_of(key, n), &ra);
		xb = okv_seek(cb, bytes_of(key, n), &rb);
	} else {
		xa = okv_step(ca, step, &ra);
		xb = okv_step(cb, step, &rb);
	}
	same_row(xa, &ra, xb, &rb);
	for (int i = 0; i < 5 && xa == ERR_OK; i++) {
		if (tap_rand(seed) % 6 == 0) {
			EQ_INT(okv_cursor_del(ca), ERR_OK);
			EQ_INT(okv_cursor_del(cb), ERR_OK);
			step = OKV_NEXT;
		} else {
			step = tap_rand(seed) % 3 ? OKV_NEXT : OKV_PREV;
		}
		xa = okv_step(ca, step, &ra);
		xb = okv_step(cb, step, &rb);
		same_row(xa, &ra, xb, &rb);
	}
	okv_cursor_end(&ca);
	okv_cursor_end(&cb);
}

static void same_step(struct okv_txn *a, struct okv_txn *b, uint64_t *seed)
{
	enum okv_table table = (enum okv_table)(tap_rand(seed) % OKV_TABLES);
	uint8_t key[8], value[300];
	struct bytes k = bytes_of(key, random_bytes(seed, key, sizeof key));
	struct bytes v = bytes_of(value, random_bytes(seed, value, sizeof value)), va, vb;
	int rc;

	switch (tap_rand(seed) % 5) {
	case 0:
		EQ_INT(okv_put(a, table, k, v), ERR_OK);
		EQ_INT(okv_put(b, table, k, v), ERR_OK);
		break;
	case 1:
		rc = okv_del(a, table, k);
		EQ_INT(okv_del(b, table, k), rc);
		break;
	case 2:
		rc = okv_append(a, OKV_LOG, k, v);
		EQ_INT(okv_append(b, OKV_LOG, k, v), rc);
		break;
	case 3:
		rc = okv_get(a, table, k, &va);
		EQ_INT(okv_get(b, table, k, &vb), rc);
		if (rc == ERR_OK)
			OK(bytes_eq(va, vb));
		break;
	default:
		same_cursor(a, b, table, seed);
		break;
	}
}

TEST(both_backends_give_the_same_rows)
{
	uint64_t seed = tap_seed(1);
	struct okv *a = open_lmdb(true, 64u << 20), *b = open_mem();
	struct okv_stat sa, sb;

	for (uint64_t round = 0; round < tap_rounds(200); round++) {
		struct okv_txn *ta, *tb;

		EQ_INT(okv_begin(a, true, &ta), ERR_OK);
		EQ_INT(okv_begin(b, true, &tb), ERR_OK);
		for (int i = 0; i < 100; i++)
			same_step(ta, tb, &seed);
		EQ_INT(okv_commit(&ta), ERR_OK);
		EQ_INT(okv_commit(&tb), ERR_OK);
		if (round % 50 == 0) {
			okv_close(&a);
			a = open_lmdb(true, 64u << 20);
		}
	}
	EQ_INT(okv_stat(a, &sa), ERR_OK);
	EQ_INT(okv_stat(b, &sb), ERR_OK);
	for (int i = 0; i < OKV_TABLES; i++)
		EQ_INT(sa.rows[i], sb.rows[i]);
	OK(sa.file_bytes > sa.free_bytes);
	okv_close(&a);
	okv_close(&b);
}

TEST(an_append_out_of_order_is_refused)
{
	struct okv *dbs[2] = {open_lmdb(true, 1u << 20), open_mem()};

	for (int i = 0; i < 2; i++) {
		struct okv_txn *t;

		EQ_INT(okv_begin(dbs[i], true, &t), ERR_OK);
		EQ_INT(okv_append(t, OKV_LOG, bytes_str("b"), bytes_str("1")), ERR_OK);
		EQ_INT(okv_append(t, OKV_LOG, bytes_str("b"), bytes_str("2")), ERR_EXISTS);
		EQ_INT(okv_append(t, OKV_LOG, bytes_str("a"), bytes_str("3")), ERR_EXISTS);
		EQ_INT(okv_append(t, OKV_LOG, bytes_str("ba"), bytes_str("4")), ERR_OK);
		EQ_INT(okv_commit(&t), ERR_OK);
		okv_close(&dbs[i]);
	}
}

TEST(a_reader_keeps_its_state_while_the_writer_goes_on)
{
	struct okv *db = open_lmdb(true, 16u << 20);
	struct okv_txn *old;
	struct bytes v;

	put(db, "k", "1");
	EQ_INT(okv_begin(db, false, &old), ERR_OK);
	put(db, "k", "2");
	EQ_STR(get(db, "k"), "2");
	EQ_INT(okv_get(old, OKV_NOW, bytes_str("k"), &v), ERR_OK);
	OK(bytes_eq(v, bytes_str("1")));
	okv_abort(&old);
	EQ_STR(get(db, "k"), "2");
	okv_close(&db);
}

TEST(what_was_not_committed_never_was)
{
	struct okv *db = open_lmdb(true, 16u << 20);
	struct okv_txn *t;

	put(db, "k", "1");
	EQ_INT(okv_begin(db, true, &t), ERR_OK);
	EQ_INT(okv_put(t, OKV_NOW, bytes_str("k"), bytes_str("2")), ERR_OK);
	okv_abort(&t);
	EQ_STR(get(db, "k"), "1");
	okv_close(&db);
}

static void put_many(struct okv *db, int from, int end)
{
	uint8_t value[1900];
	char key[16];
	struct okv_txn *t;

	EQ_INT(okv_begin(db, true, &t), ERR_OK);
	for (int i = from; i < end; i++) {
		memset(value, i, sizeof value);
		(void)snprintf(key, sizeof key, "%06d", i);
		EQ_INT(okv_put(t, OKV_NOW, bytes_str(key), bytes_of(value, sizeof value)), ERR_OK);
	}
	EQ_INT(okv_commit(&t), ERR_OK);
}

static int rows_whole(struct okv *db)
{
	struct okv_cursor *c;
	struct okv_row row;
	struct okv_txn *t;
	int rc, n = 0;

	EQ_INT(okv_begin(db, false, &t), ERR_OK);
	EQ_INT(okv_cursor(t, OKV_NOW, &c), ERR_OK);
	for (rc = okv_step(c, OKV_FIRST, &row); rc == ERR_OK; rc = okv_step(c, OKV_NEXT, &row), n++)
		for (size_t i = 0; i < row.value.len; i++)
			if (row.value.data[i] != (uint8_t)n)
				return -1;
	okv_cursor_end(&c);
	okv_abort(&t);
	return n;
}

/* Transactions that make the file longer by more than it was prepared for, and by less. */
TEST(a_file_that_grows_ahead_keeps_its_rows)
{
	struct okv *db = open_lmdb(true, 64u << 20);
	int at = 0;

	for (int grown = 1; at < 4000; at += grown, grown = grown < 1024 ? grown * 2 : 1)
		put_many(db, at, at + grown);
	EQ_INT(rows_whole(db), at);
	okv_close(&db);
	db = open_lmdb(true, 64u << 20);
	for (int i = 0; i < 20; i++, at++)
		put_many(db, at, at + 1);
	EQ_INT(rows_whole(db), at);
	okv_close(&db);
}

TEST(a_full_map_says_so)
{
	struct okv *db = open_lmdb(true, 1u << 20);
	static uint8_t big[200000];
	struct okv_txn *t;
	int rc = ERR_OK;
	char key[16];

	EQ_INT(okv_begin(db, true, &t), ERR_OK);
	for (int i = 0; i < 10 && rc == ERR_OK; i++) {
		(void)snprintf(key, sizeof key, "%d", i);
		rc = okv_put(t, OKV_NOW, bytes_str(key), bytes_of(big, sizeof big));
	}
	EQ_INT(rc, ERR_FULL);
	okv_abort(&t);
	put(db, "k", "it goes on");
	EQ_STR(get(db, "k"), "it goes on");
	okv_close(&db);
}

TEST(a_reader_without_a_store_is_told_so)
{
	struct okv_lmdb_setup s = {.dir = tap_dir(), .map_bytes = 1u << 20};
	struct okv *db = NULL;

	EQ_INT(okv_lmdb_open(&s, &db), ERR_NOT_FOUND);
	s.dir = "/nonexistent/quorate";
	EQ_INT(okv_lmdb_open(&s, &db), ERR_NOT_FOUND);
}

/* Runs `child` in a process of its own, which must not return an error. */
static void in_child(void (*child)(void))
{
	pid_t pid = fork();
	int status;

	OK(pid >= 0);
	if (pid == 0) {
		child();
		_exit(0);
	}
	OK(waitpid(pid, &status, 0) == pid);
	EQ_INT(status, 0);
}

static void child_reads(void)
{
	struct okv_lmdb_setup s = {.dir = tap_dir(), .map_bytes = 16u << 20};
	struct okv *db;

	if (okv_lmdb_open(&s, &db) != ERR_OK || strcmp(get(db, "k"), "seen") != 0)
		_exit(1);
	okv_close(&db);
}

TEST(another_process_reads_what_is_committed)
{
	struct okv *db;

	(void)tap_dir();
	db = open_lmdb(true, 16u << 20);
	put(db, "k", "seen");
	okv_close(&db);
	in_child(child_reads);
}

static void child_dies_reading(void)
{
	struct okv_lmdb_setup s = {.dir = tap_dir(), .map_bytes = 16u << 20};
	struct okv_txn *t;
	struct okv *db;

	if (okv_lmdb_open(&s, &db) != ERR_OK || okv_begin(db, false, &t) != ERR_OK)
		_exit(1);
	_exit(0);        /* its slot stays taken */
}

/* The writer of this test opens after the fork: an environment does not live through one. */
TEST(the_slots_of_dead_readers_are_freed)
{
	struct okv *db;
	struct okv_stat st;
	int dead = 0, ready[2], go[2], status;
	char c;
	pid_t pid;

	(void)tap_dir();
	OK(pipe(ready) == 0 && pipe(go) == 0);
	pid = fork();
	OK(pid >= 0);
	if (pid == 0) {
		if (read(go[0], &c, 1) != 1)
			_exit(1);
		child_dies_reading();
	}
	db = open_lmdb(true, 16u << 20);
	put(db, "k", "1");
	OK(write(go[1], "", 1) == 1);
	OK(waitpid(pid, &status, 0) == pid);
	EQ_INT(status, 0);
	put(db, "k", "2");
	put(db, "k", "3");
	EQ_INT(okv_stat(db, &st), ERR_OK);
	EQ_INT(st.reader_lag, 2);
	EQ_INT(okv_check_readers(db, &dead), ERR_OK);
	EQ_INT(dead, 1);
	EQ_INT(okv_stat(db, &st), ERR_OK);
	EQ_INT(st.reader_lag, 0);
	okv_close(&db);
}

TESTS = {
	T(both_backends_give_the_same_rows),
	T(an_append_out_of_order_is_refused),
	T(a_reader_keeps_its_state_while_the_writer_goes_on),
	T(what_was_not_committed_never_was),
	T(a_file_that_grows_ahead_keeps_its_rows),
	T(a_full_map_says_so),
	T(a_reader_without_a_store_is_told_so),
	T(another_process_reads_what_is_committed),
	T(the_slots_of_dead_readers_are_freed),
};
TAP_MAIN
