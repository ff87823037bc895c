/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction in bench_layout: the ways to find what is superseded, in steps of bounded size.
 */
#include "bench_layout.h"

#include <string.h>

struct compaction {
	enum method method;
	uint64_t upto;
	MDB_txn *txn;
	MDB_cursor *cur;		/* on `past` for scan, else on the rows by revision */
	unsigned char resume[PAST_KEY_MAX];
	size_t resume_len;
	unsigned step_rows;
	struct compacted done;
};

static void remove_past(struct bench *b, struct compaction *c, const void *key, size_t len,
    uint64_t rev)
{
	unsigned char at[PAST_KEY_MAX];
	MDB_val k = { encode_past_key(at, key, len, rev), at };

	must(mdb_del(c->txn, b->past, &k, NULL), "delete past");
	c->step_rows++;
	c->done.versions++;
}

static void remove_by_rev(struct bench *b, struct compaction *c, uint64_t rev)
{
	unsigned char at[REV_LEN];
	MDB_val k = { REV_LEN, at };

	encode_rev(at, rev);
	must(mdb_del(c->txn, b->by_rev, &k, NULL), "delete by revision");
	c->step_rows++;
}

static void remove_here(struct compaction *c)
{
	must(mdb_cursor_del(c->cur, 0), "delete at the cursor");
	c->step_rows++;
}

static void compact_link(struct bench *b, struct compaction *c, const MDB_val *v)
{
	const unsigned char *row = v->mv_data;
	size_t skip = b->layout == LAYOUT_B ? LOG_HEAD : RECORD_HEAD;
	size_t len = b->layout == LAYOUT_B ? v->mv_size - LOG_HEAD : get_be(row + skip - 2, 2);
	uint64_t prev = get_be(row, 8);
	unsigned char key[KEY_LEN];

	CHECK(len <= sizeof key);
	memcpy(key, row + skip, len);
	if (b->layout == LAYOUT_B)
		remove_here(c);
	else if (prev != 0)
		remove_by_rev(b, c, prev);
	if (prev != 0)
		remove_past(b, c, key, len, prev);
}

static void compact_walk(struct bench *b, struct compaction *c, uint64_t rev, const MDB_val *v)
{
	const unsigned char *row = v->mv_data;
	unsigned char key[KEY_LEN], at[PAST_KEY_MAX];
	size_t len = get_be(row + RECORD_HEAD - 2, 2);
	MDB_val k = { len, key }, found;

	CHECK(len <= sizeof key);
	memcpy(key, row + RECORD_HEAD, len);
	must(mdb_get(c->txn, b->now, &k, &found), "get now");
	if (get_be(found.mv_data, 8) == rev)
		return;
	k.mv_size = encode_past_key(at, key, len, rev);
	k.mv_data = at;
	must(mdb_get(c->txn, b->past, &k, &found), "get past");
	if (get_be(found.mv_data, 8) > c->upto)
		return;
	remove_here(c);
	remove_past(b, c, key, len, rev);
}

static void compact_scan(struct bench *b, struct compaction *c, const MDB_val *k, const MDB_val *v)
{
	unsigned char key[KEY_LEN];
	uint64_t rev;

	if (get_be(v->mv_data, 8) > c->upto)
		return;
	decode_past_key(k, key, &rev);
	remove_here(c);
	c->done.versions++;
	if (b->layout != LAYOUT_B)
		remove_by_rev(b, c, rev);
}

/* One transaction's worth; false at the end of the table or of the revisions to compact. */
static bool compact_step(struct bench *b, struct compaction *c)
{
	MDB_val k = { c->resume_len, c->resume }, v;
	unsigned visits = 0;
	bool more = false;

	must(mdb_txn_begin(b->env, NULL, 0, &c->txn), "begin");
	must(mdb_cursor_open(c->txn, c->method == METHOD_SCAN ? b->past : b->by_rev, &c->cur),
	    "open cursor");
	c->step_rows = 0;
	int rc = mdb_cursor_get(c->cur, &k, &v, c->resume_len == 0 ? MDB_FIRST : MDB_SET_RANGE);
	for (; rc == 0; rc = mdb_cursor_get(c->cur, &k, &v, MDB_NEXT)) {
		if (c->method != METHOD_SCAN && get_be(k.mv_data, 8) > c->upto)
			break;
		if (c->step_rows + 2 > STEP_ROWS || visits++ >= STEP_VISITS) {
			more = true;
			memcpy(c->resume, k.mv_data, k.mv_size);
			c->resume_len = k.mv_size;
			break;
		}
		if (c->method == METHOD_SCAN)
			compact_scan(b, c, &k, &v);
		else if (c->method == METHOD_WALK)
			compact_walk(b, c, get_be(k.mv_data, 8), &v);
		else
			compact_link(b, c, &v);
	}
	if (rc != 0 && rc != MDB_NOTFOUND)
		must(rc, "compaction");
	mdb_cursor_close(c->cur);
	must(mdb_txn_commit(c->txn), "commit");
	c->done.rows += c->step_rows;
	return more;
}

/* Layout b's log below the compacted revision goes as a whole when the method left it. */
static bool trim_log_step(struct bench *b, struct compaction *c)
{
	MDB_val k, v;
	int rc;

	must(mdb_txn_begin(b->env, NULL, 0, &c->txn), "begin");
	must(mdb_cursor_open(c->txn, b->by_rev, &c->cur), "open cursor");
	c->step_rows = 0;
	rc = mdb_cursor_get(c->cur, &k, &v, MDB_FIRST);
	while (rc == 0 && get_be(k.mv_data, 8) <= c->upto && c->step_rows < STEP_ROWS) {
		remove_here(c);
		rc = mdb_cursor_get(c->cur, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(c->cur);
	must(mdb_txn_commit(c->txn), "commit");
	c->done.rows += c->step_rows;
	return c->step_rows == STEP_ROWS;
}

struct compacted compact(struct bench *b, enum method method, uint64_t upto)
{
	struct compaction c = { .method = method, .upto = upto };

	while (compact_step(b, &c))
		continue;
	while (b->layout == LAYOUT_B && trim_log_step(b, &c))
		continue;
	return c.done;
}
