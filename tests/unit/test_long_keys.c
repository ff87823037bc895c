/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What long keys cost, in calls of the backend: a range, a count, a delete and a compaction of keys
 * that begin alike look at each of them a few times, however many there are. And their markers
 * (mvcc/layout.h) are there exactly as long as they are needed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mvcc/view.h"
#include "tests/lib/store_rig.h"
#include "tests/lib/tap.h"

#define K(s) bytes_str(s)
#define ALL bytes_of("\0", 1)

/* ---- a backend that counts ---- */

static const struct okv_ops *real_ops;
static uint64_t calls;

static int count_get(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes *value)
{
	calls++;
	return real_ops->get(t, table, key, value);
}

static int count_put(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	calls++;
	return real_ops->put(t, table, key, value);
}

static int count_del(struct okv_txn *t, enum okv_table table, struct bytes key)
{
	calls++;
	return real_ops->del(t, table, key);
}

static int count_seek(struct okv_cursor *c, struct bytes key, struct okv_row *row)
{
	calls++;
	return real_ops->seek(c, key, row);
}

static int count_step(struct okv_cursor *c, enum okv_step step, struct okv_row *row)
{
	calls++;
	return real_ops->step(c, step, row);
}

static void open_counting(struct rig *r)
{
	static struct okv_ops ops;

	rig_open(r, "s");
	rig_commit(r);
	real_ops = r->db->ops;
	ops = *real_ops;
	ops.get = count_get;
	ops.put = count_put;
	ops.del = count_del;
	ops.seek = count_seek;
	ops.step = count_step;
	r->db->ops = &ops;
	calls = 0;
}

static uint64_t calls_since(void)
{
	uint64_t n = calls;

	calls = 0;
	return n;
}

static uint64_t rows(struct rig *r, enum okv_table table)
{
	struct okv_stat st;

	rig_commit(r);
	EQ_INT(okv_stat(r->db, &st), ERR_OK);
	return st.rows[table];
}

/* ---- keys that share 2,000 bytes ---- */

enum { N = 4000, SHARED = 2000, LEN = SHARED + 3, LEVELS = 4 };

static struct bytes key_of(uint8_t k[LEN], unsigned number)
{
	memset(k, 'k', LEN);
	k[SHARED] = (uint8_t)(number >> 8);
	k[SHARED + 1] = (uint8_t)number;
	return bytes_of(k, LEN);
}

static void put_key(struct rig *r, struct bytes key, const char *value)
{
	struct kv_put p = {.key = key, .value = bytes_str(value)};

	EQ_INT(rig_do(r, (struct command){.put = &p})->error, ERR_OK);
}

static void put_all(struct rig *r, const char *value)
{
	uint8_t k[LEN];

	for (unsigned i = 0; i < N; i++)
		put_key(r, key_of(k, i * 1237 % N), value);
}

static int64_t delete_all(struct rig *r)
{
	struct kv_delete d = {.key = K("k"), .range_end = K("l")};

	EQ_INT(rig_do(r, (struct command){.del = &d})->error, ERR_OK);
	return r->r.del->deleted;
}

/* Walks the keys from number `from` to `to`, checks each, and says what it cost. */
static uint64_t scan_calls(struct rig *r, unsigned from, unsigned to, size_t limit, int64_t at)
{
	uint8_t low[LEN], high[LEN], want[LEN];
	struct mvcc_span span = {key_of(low, from), key_of(high, to)};
	struct mvcc_view *v = rig_view(r);
	struct mvcc_scan *scan;
	struct kv_pair pair;
	uint64_t n;

	if (at == 0)
		at = mvcc_view_info(v)->revision;
	(void)calls_since();
	EQ_INT(mvcc_scan_begin(v, &span, at, &scan), ERR_OK);
	for (; from < to && limit > 0; from++, limit--) {
		EQ_INT(mvcc_scan_next(scan, &pair), ERR_OK);
		OK(bytes_eq(pair.key, key_of(want, from)));
	}
	if (from == to)
		EQ_INT(mvcc_scan_next(scan, &pair), ERR_NOT_FOUND);
	mvcc_scan_end(&scan);
	n = calls_since();
	mvcc_view_end(&v);
	return n;
}

static uint64_t count_calls(struct rig *r, unsigned from, unsigned to, int64_t at)
{
	uint8_t low[LEN], high[LEN];
	struct mvcc_span span = {key_of(low, from), key_of(high, to)};
	struct mvcc_view *v = rig_view(r);
	struct mvcc_scan *scan;
	int64_t count;
	uint64_t n;

	if (at == 0)
		at = mvcc_view_info(v)->revision;
	(void)calls_since();
	EQ_INT(mvcc_scan_begin(v, &span, at, &scan), ERR_OK);
	EQ_INT(mvcc_count(scan, 0, &count), ERR_OK);
	EQ_INT(count, to - from);
	mvcc_scan_end(&scan);
	n = calls_since();
	mvcc_view_end(&v);
	return n;
}

TEST(reading_looks_at_what_it_answers)
{
	struct rig r;
	int64_t old;

	open_counting(&r);
	put_all(&r, "1");
	OK(calls_since() < (uint64_t)N * 12);
	OK(scan_calls(&r, 0, N, N + 1, 0) <= N + 4 * LEVELS);
	OK(scan_calls(&r, N / 2, N, 1, 0) <= 4 * LEVELS);
	OK(count_calls(&r, 17, 27, 0) <= 10 + 4 * LEVELS);
	OK(count_calls(&r, 17, N - 17, 0) <= N + 4 * LEVELS);

	/* the same at an old revision: all overwritten, then all gone */
	old = apply_state(r.apply)->revision;
	put_all(&r, "2");
	OK(scan_calls(&r, 0, N, N + 1, old) <= 6 * (uint64_t)N + 8 * LEVELS);
	EQ_INT(delete_all(&r), N);
	OK(scan_calls(&r, 0, N, N + 1, old) <= 6 * (uint64_t)N + 8 * LEVELS);
	OK(scan_calls(&r, N / 2, N, 1, old) <= 8 * LEVELS);
	OK(count_calls(&r, 17, 27, old) <= 60 + 8 * LEVELS);
	OK(count_calls(&r, 17, 17, 0) <= 8 * LEVELS);
	rig_close(&r);
}

TEST(an_old_range_looks_at_nothing_behind_its_end)
{
	struct rig r;
	int64_t old;

	open_counting(&r);
	rig_put(&r, "a", "1");
	old = apply_state(r.apply)->revision;
	put_all(&r, "1");                        /* behind the end, and not there yet */
	OK(count_calls(&r, 0, 0, old) <= 4 * LEVELS);
	for (int i = 0; i < 2; i++) {
		struct mvcc_view *v = rig_view(&r);
		struct mvcc_span span = {K("a"), K("b")};
		struct mvcc_scan *scan;
		int64_t count;

		(void)calls_since();
		EQ_INT(mvcc_scan_begin(v, &span, old, &scan), ERR_OK);
		EQ_INT(mvcc_count(scan, 0, &count), ERR_OK);
		EQ_INT(count, 1);
		OK(calls_since() <= 8);
		mvcc_scan_end(&scan);
		mvcc_view_end(&v);
		if (i == 0)
			EQ_INT(delete_all(&r), N);
	}
	rig_close(&r);
}

TEST(a_delete_and_its_compaction_look_at_each_key_a_few_times)
{
	struct rig r;

	open_counting(&r);
	put_all(&r, "1");
	put_all(&r, "2");
	EQ_INT(rows(&r, OKV_NOW), N + LEVELS);
	EQ_INT(rows(&r, OKV_PAST), N + LEVELS);
	(void)calls_since();
	EQ_INT(delete_all(&r), N);
	OK(calls_since() <= (uint64_t)N * 12);
	EQ_INT(rows(&r, OKV_NOW), 0);            /* the markers went with the last key */
	EQ_INT(rows(&r, OKV_PAST), 2 * N + LEVELS);
	EQ_INT(rig_compact(&r, apply_state(r.apply)->revision)->error, ERR_OK);
	(void)calls_since();
	rig_compact_all(&r, 100);
	OK(calls_since() <= (uint64_t)N * 24);
	EQ_INT(rows(&r, OKV_PAST), 0);
	rig_close(&r);
}

TEST(a_refused_transaction_leaves_no_markers)
{
	uint8_t k[LEN];
	struct kv_put p = {.key = key_of(k, 7), .value = K("x")}, other = {.key = K("other")};
	struct kv_range all = {.key = K("a"), .range_end = ALL};
	struct kv_delete d = {.key = K("k"), .range_end = K("l")};
	struct kv_op put[] = {{.put = &other}, {.put = &p}, {.range = &all}};
	struct kv_op del[] = {{.del = &d}, {.put = &other}, {.range = &all}};
	struct kv_txn t = {.success = {put, 3}};
	uint8_t before[16], after[16], *large = mem_alloc(1u << 20);
	char name[2] = "l";
	struct rig r;
	uint64_t in_past;

	open_counting(&r);
	for (; name[0] < 'p'; name[0]++) {       /* more than a command may answer */
		struct kv_put big = {.key = bytes_str(name), .value = bytes_of(large, 1u << 20)};

		EQ_INT(rig_do(&r, (struct command){.put = &big})->error, ERR_OK);
	}
	rig_hash(&r, 0, 1000, before);
	EQ_INT(rig_do(&r, (struct command){.txn = &t})->error, ERR_RESPONSE_TOO_LARGE);
	EQ_INT(rows(&r, OKV_NOW), 4);
	rig_hash(&r, 0, 1000, after);
	EQ_MEM(after, before, 16);

	for (unsigned i = 0; i < 20; i++)
		put_key(&r, key_of(k, i), "1");
	in_past = rows(&r, OKV_PAST);
	rig_hash(&r, 0, 1000, before);
	t.success.v = del;
	EQ_INT(rig_do(&r, (struct command){.txn = &t})->error, ERR_RESPONSE_TOO_LARGE);
	EQ_INT(rows(&r, OKV_NOW), 4 + 20 + LEVELS);
	EQ_INT(rows(&r, OKV_PAST), in_past);
	rig_hash(&r, 0, 1000, after);
	EQ_MEM(after, before, 16);
	OK(count_calls(&r, 0, 20, 0) <= 20 + 4 * LEVELS);
	rig_close(&r);
	free(large);
}

/* ---- the longest ---- */

enum { LONGEST = 1400 * 1024, DEEP = (LONGEST - 480) / 462 + 1 };

/* One row a view: no step looks at more rows than the key has levels, down and up. */
static unsigned scan_by_one(struct rig *r, int64_t at, uint64_t *most)
{
	struct mvcc_span span = {K("a"), ALL};
	struct mvcc_scan *scan;
	struct kv_pair pair;
	unsigned found = 0;
	struct buf after;
	int rc;

	*most = 0;
	buf_init(&after, 0);
	do {
		struct mvcc_view *v = rig_view(r);

		(void)calls_since();
		EQ_INT(mvcc_scan_begin(v, &span, at, &scan), ERR_OK);
		if (after.len > 0)
			EQ_INT(mvcc_scan_after(scan, buf_bytes(&after)), ERR_OK);
		mvcc_scan_limit(scan, 1);
		while ((rc = mvcc_scan_next(scan, &pair)) == ERR_OK)
			found++;
		if (rc == ERR_LIMIT) {
			OK(mvcc_scan_last(scan).len > 0);
			OK(bytes_cmp(mvcc_scan_last(scan), buf_bytes(&after)) > 0);
			buf_clear(&after);
			buf_add_bytes(&after, mvcc_scan_last(scan));
		}
		mvcc_scan_end(&scan);
		*most = calls > *most ? calls : *most;
		mvcc_view_end(&v);
	} while (rc == ERR_LIMIT);
	EQ_INT(rc, ERR_NOT_FOUND);
	buf_free(&after);
	return found;
}

TEST(the_longest_key_is_a_key_like_others)
{
	uint8_t *k = mem_alloc(LONGEST);
	struct mvcc_view *v;
	struct kv_pair pair;
	struct rig r;
	uint64_t most;
	int64_t old;

	open_counting(&r);
	memset(k, 'k', LONGEST);
	rig_put(&r, "b", "before");
	put_key(&r, bytes_of(k, LONGEST), "1");
	put_key(&r, bytes_of(k, LONGEST - 1), "2");
	k[600] = 'l';
	put_key(&r, bytes_of(k, LONGEST), "3");
	old = apply_state(r.apply)->revision;
	rig_put(&r, "l", "behind");
	EQ_INT(rows(&r, OKV_NOW), 5 + DEEP + DEEP - 1);
	v = rig_view(&r);
	EQ_INT(mvcc_get(v, bytes_of(k, LONGEST), old, &pair), ERR_OK);
	OK(bytes_eq(pair.value, K("3")));
	mvcc_view_end(&v);
	EQ_INT(scan_by_one(&r, apply_state(r.apply)->revision, &most), 5);
	OK(most <= 5 * DEEP);
	EQ_INT(scan_by_one(&r, old, &most), 4);
	OK(most <= 10 * DEEP);
	rig_restart(&r);
	real_ops = r.db->ops;                    /* not counted any more */
	rig_delete(&r, "k", "l");
	EQ_INT(r.r.del->deleted, 3);
	EQ_INT(rows(&r, OKV_NOW), 2);
	EQ_INT(scan_by_one(&r, old, &most), 4);
	EQ_INT(rig_compact(&r, apply_state(r.apply)->revision)->error, ERR_OK);
	rig_compact_all(&r, 100);
	EQ_INT(rows(&r, OKV_PAST), 0);
	rig_close(&r);
	free(k);
}

/* A transaction pays for the levels that it goes down through, alike on every node. */
TEST(levels_count_in_what_a_transaction_may_look_at)
{
	enum { RANGES = LIMIT_TXN_ROWS / (1 + DEEP + 1) };

	uint8_t *k = mem_alloc(LONGEST);
	struct kv_range deep = {.key = K("k"), .range_end = K("l"), .count_only = true};
	struct kv_put p = {.key = K("new")};
	struct kv_op ops[RANGES + 2];
	struct kv_txn t = {.success = {ops, RANGES + 2}};
	struct rig r;

	rig_open(&r, "s");
	memset(k, 'k', LONGEST);
	put_key(&r, bytes_of(k, LONGEST), "1");
	ops[0] = (struct kv_op){.put = &p};
	for (size_t i = 1; i <= RANGES + 1; i++)
		ops[i] = (struct kv_op){.range = &deep};
	EQ_INT(rig_do(&r, (struct command){.txn = &t})->error, ERR_TXN_TOO_LARGE);
	t.success.n = RANGES;
	EQ_INT(rig_do(&r, (struct command){.txn = &t})->error, ERR_OK);
	EQ_INT(r.r.txn->responses.v[RANGES - 1].range->count, 1);
	rig_close(&r);
	free(k);
}

/* One of 2,048 keys of one to six levels, of which few share the last. */
static struct bytes deep_key(uint8_t *k, unsigned number)
{
	size_t n = 470 + number % 6 * 462;

	memset(k, 'k', n);
	k[1 + number / 6 % 6 * 400 % (n - 2)] = (uint8_t)('a' + number / 36 % 19);
	if (number & 1)
		k[n - 300] = 0;
	k[n - 2] = (uint8_t)(number >> 8);
	k[n - 1] = (uint8_t)number;
	return bytes_of(k, n);
}

/* How many ranges at an old revision one transaction may do. */
static size_t ranges_allowed(struct rig *r, int64_t old)
{
	struct kv_range range = {.key = K("k"), .range_end = K("m"), .revision = old, .count_only = true};
	struct kv_op ops[LIMIT_TXN_OPS];
	struct kv_txn t = {.success = {ops, 0}};
	size_t low = 0, high = LIMIT_TXN_OPS;

	for (size_t i = 0; i < LIMIT_TXN_OPS; i++)
		ops[i] = (struct kv_op){.range = &range};
	while (low + 1 < high) {
		t.success.n = (low + high) / 2;
		if (rig_do(r, (struct command){.txn = &t})->error == ERR_OK)
			low = t.success.n;
		else
			high = t.success.n;
	}
	return low;
}

/* Keys that only a node has whose compaction is behind lie between others, in levels of their own. */
TEST(how_far_compaction_is_does_not_decide_what_levels_count)
{
	uint8_t k[470 + 5 * 462];
	uint64_t seed = 5;
	struct rig r[2];
	size_t allowed;
	int64_t old = 0;

	rig_open(&r[0], "s");
	rig_open(&r[1], "t");
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 2000; i++) {
			struct bytes key = deep_key(k, (unsigned)(tap_rand(&seed) % 2048));
			bool del = tap_rand(&seed) % 3 == 0;
			struct kv_delete d = {.key = key};

			for (int j = 0; j < 2; j++)
				if (del)
					rig_do(&r[j], (struct command){.del = &d});
				else
					put_key(&r[j], key, "x");
			if (i == 1000)
				old = apply_state(r[0].apply)->revision;
		}
		for (int j = 0; j < 2; j++)
			EQ_INT(rig_compact(&r[j], old)->error, ERR_OK);
		rig_compact_all(&r[0], 100);
		OK(apply_compacting(r[1].apply));
		allowed = ranges_allowed(&r[0], old);
		OK(allowed > 20 && allowed < LIMIT_TXN_OPS - 1);
		EQ_INT(ranges_allowed(&r[1], old), allowed);
	}
	EQ_MEM(apply_state(r[0].apply)->apply_hash, apply_state(r[1].apply)->apply_hash, 16);
	rig_close(&r[0]);
	rig_close(&r[1]);
}

/* ---- damage ---- */

static void put_row(struct rig *r, enum okv_table table, struct bytes key, struct bytes value)
{
	struct okv_txn *t;

	rig_commit(r);
	EQ_INT(okv_begin(r->db, true, &t), ERR_OK);
	EQ_INT(value.len ? okv_put(t, table, key, value) : okv_del(t, table, key), ERR_OK);
	EQ_INT(okv_commit(&t), ERR_OK);
}

static int count_all(struct rig *r)
{
	struct mvcc_view *v = rig_view(r);
	struct mvcc_span span = {K("a"), ALL};
	struct mvcc_scan *scan;
	int64_t count;
	int rc;

	EQ_INT(mvcc_scan_begin(v, &span, mvcc_view_info(v)->revision, &scan), ERR_OK);
	rc = mvcc_count(scan, 0, &count);
	mvcc_scan_end(&scan);
	mvcc_view_end(&v);
	return rc;
}

TEST(a_damaged_marker_is_found)
{
	uint8_t k[LEN];
	struct bytes rest = key_of(k, 1);
	struct mvcc_key marker, row;
	struct rig r;
	struct buf b;

	rig_open(&r, "s");
	put_key(&r, rest, "1");
	mvcc_key_encode(&row, rest);
	mvcc_key_top(&marker, &rest);
	mvcc_key_down(&marker, &rest);
	EQ_INT(count_all(&r), ERR_OK);
	put_row(&r, OKV_NOW, mvcc_key_bytes(&marker), K("!!!!"));
	EQ_INT(count_all(&r), ERR_CORRUPT);
	buf_init(&b, 0);
	mvcc_marker_encode(&b, mvcc_key_bytes(&marker));
	put_row(&r, OKV_NOW, mvcc_key_bytes(&marker), buf_bytes(&b));
	EQ_INT(count_all(&r), ERR_OK);
	put_row(&r, OKV_NOW, mvcc_key_bytes(&row), K(""));       /* a marker with nothing below it */
	EQ_INT(count_all(&r), ERR_CORRUPT);
	buf_free(&b);
	rig_close(&r);
}

TESTS = {
	T(reading_looks_at_what_it_answers),
	T(an_old_range_looks_at_nothing_behind_its_end),
	T(a_delete_and_its_compaction_look_at_each_key_a_few_times),
	T(a_refused_transaction_leaves_no_markers),
	T(the_longest_key_is_a_key_like_others),
	T(levels_count_in_what_a_transaction_may_look_at),
	T(how_far_compaction_is_does_not_decide_what_levels_count),
	T(a_damaged_marker_is_found),
};
TAP_MAIN
