/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of bench_layout share: one store in one of the candidate layouts, and what is done
 * to it. Every failure ends the program: a bench that cannot do its work has nothing to report.
 *
 * a         history: revision -> record;  now: key -> head;         past: key, revision -> by
 * a-inline  the same, and values of at most INLINE_MAX bytes are in `now` as well
 * b         log: revision -> key;         now: key -> head, value;
 *           past: key, revision -> by, head, value
 *
 * `past` holds superseded versions only, each with the revision that superseded it (`by`), so that
 * compaction can tell what may go without looking anywhere else.
 */
#ifndef QUORATE_BENCH_LAYOUT_H
#define QUORATE_BENCH_LAYOUT_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_LEN		40u
#define VALUE_MAX	65536u
#define INLINE_MAX	1024u
#define BATCH		100u			/* commands per LMDB commit */
#define STEP_ROWS	1000u			/* rows removed per transaction of a compaction */
#define STEP_VISITS	10000u			/* rows looked at per transaction of a compaction */
#define WALK_ROWS	1000u			/* rows per read transaction of a watcher's walk */
#define RANGE_ROWS	1000u
#define MAP_BYTES	((size_t)64 << 30)
#define REV_LEN		12u			/* main 8 bytes, sub 4 bytes, big-endian */
#define PAST_KEY_MAX	(2 * KEY_LEN + 2 + 8)
#define HEAD_LEN	(REV_LEN + 24u)		/* revision, create revision, version, lease */
#define RECORD_HEAD	(8u + 24u + 2u)		/* previous revision, create .. lease, key length */
#define LOG_HEAD	8u			/* previous revision */
#define BY_LEN		8u			/* the superseding revision, first in a row of `past` */
#define REV_NEWEST	UINT64_MAX

enum layout { LAYOUT_A, LAYOUT_A_INLINE, LAYOUT_B };

/*
 * link: the rows by revision, from the last compaction on, name the version each superseded.
 * walk: all of `history` in order; `now` and `past` tell what is superseded (layout a only).
 * scan: all of `past` in the order of keys; its rows tell when they were superseded.
 */
enum method { METHOD_LINK, METHOD_WALK, METHOD_SCAN };

/* What a put must know of the version before it, and a reader of the one it found. */
struct head {
	uint64_t rev;
	uint64_t create;
	uint64_t version;
	uint64_t lease;
};

struct bench {
	enum layout layout;
	uint64_t keys;
	uint64_t overwrites;
	uint64_t cycles;		/* of compaction and overwrites */
	size_t value_len;
	int method;			/* enum method */
	const char *dir;
	MDB_env *env;
	MDB_dbi by_rev;			/* `history` of a, `log` of b: ordered by revision */
	MDB_dbi now;
	MDB_dbi past;
	MDB_txn *read;
	MDB_cursor *read_rev, *read_now, *read_past;
	uint64_t rev;			/* the newest revision */
	uint64_t *latest;		/* key number -> its newest revision: what reads are held to */
	uint64_t rand;
	unsigned char value[VALUE_MAX];
	unsigned char row[VALUE_MAX + 256];
	unsigned char past_row[VALUE_MAX + 256];
	unsigned char out[4u << 20];	/* where an answer is gathered, as a server would */
	size_t out_len;
	uint64_t delivered;
};

struct compacted {
	uint64_t rows;			/* removed, of all tables */
	uint64_t versions;		/* removed */
};

_Noreturn void fail(const char *what, const char *why);
void must(int rc, const char *what);

#define CHECK(cond) ((cond) ? (void)0 : fail("check failed", #cond))

/* A bijection (splitmix64's finalizer): different numbers give different keys in random order. */
uint64_t mix64(uint64_t x);

void put_be(unsigned char *at, uint64_t v, unsigned len);
uint64_t get_be(const void *from, unsigned len);
void encode_rev(unsigned char *at, uint64_t rev);

/* Escaped key, terminator, revision: rows of one key are together, and ordered by revision. */
size_t encode_past_key(unsigned char *at, const void *key, size_t len, uint64_t rev);
size_t decode_past_key(const MDB_val *row, unsigned char key[KEY_LEN], uint64_t *rev);

void store_open(struct bench *b);
void store_close(struct bench *b);

/* Puts key `number` in the caller's transaction, as one command with a revision of its own. */
void put_one(struct bench *b, MDB_txn *txn, uint64_t number);

/* Each read is one read transaction; `at` is a revision or REV_NEWEST. */
void read_point(struct bench *b, uint64_t number, uint64_t at);
void read_range(struct bench *b, uint64_t number, uint64_t at);

/* Delivers up to `count` revisions from `from` on; returns the one to go on from. */
uint64_t walk_revisions(struct bench *b, uint64_t from, uint64_t count);

/* Removes everything superseded at or before revision `upto`, in steps. */
struct compacted compact(struct bench *b, enum method method, uint64_t upto);

#endif
