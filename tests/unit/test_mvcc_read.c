/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: ranges with all their options, etcd's oddities, scans, long keys, damage. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "mvcc/txn.h"
#include "mvcc/view.h"
#include "tests/lib/store_rig.h"
#include "tests/lib/tap.h"

#define K(s) bytes_str(s)
#define ALL bytes_of("\0", 1)

/* c=1 at 2, a=2 at 3, b=3 at 4, a=1 at 5, d=0 at 6, d deleted at 7 */
static void fill(struct rig *r)
{
	rig_put(r, "c", "1");
	rig_put(r, "a", "2");
	rig_put(r, "b", "3");
	rig_put(r, "a", "1");
	rig_put(r, "d", "0");
	EQ_INT(rig_delete(r, "d", NULL)->revision, 7);
}

TEST(a_range_is_half_open_and_in_key_order)
{
	struct rig r;

	rig_open(&r, "s");
	fill(&r);
	EQ_STR(rig_range(&r, &(struct kv_range){.key = K("a")}), "a=1 (1)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = K("d")}), " (0)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = K("a"), .range_end = K("c")}), "a=1 b=3 (2)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = K("b"), .range_end = ALL}), "b=3 c=1 (2)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = ALL, .range_end = ALL}), "a=1 b=3 c=1 (3)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = K("b"), .range_end = K("b")}), " (0)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = K("c"), .range_end = K("a")}), " (0)");
	rig_close(&r);
}

TEST(count_ignores_limit_and_filters)
{
	struct rig r;
	struct kv_range q = {.key = ALL, .range_end = ALL, .limit = 2};

	rig_open(&r, "s");
	fill(&r);
	EQ_STR(rig_range(&r, &q), "a=1 b=3 (3 more)");
	q.limit = 3;
	EQ_STR(rig_range(&r, &q), "a=1 b=3 c=1 (3)");
	q.limit = -1;
	EQ_STR(rig_range(&r, &q), "a=1 b=3 c=1 (3)");
	q = (struct kv_range){.key = ALL, .range_end = ALL, .min_mod_revision = 4};
	EQ_STR(rig_range(&r, &q), "a=1 b=3 (3)");
	q.max_mod_revision = 4;
	EQ_STR(rig_range(&r, &q), "b=3 (3)");
	q = (struct kv_range){.key = ALL, .range_end = ALL, .max_create_revision = 3, .limit = 1};
	EQ_STR(rig_range(&r, &q), "a=1 (3 more)");
	q.min_create_revision = 3;
	EQ_STR(rig_range(&r, &q), "a=1 (3)");
	q = (struct kv_range){.key = ALL, .range_end = ALL, .count_only = true, .limit = 1};
	EQ_STR(rig_range(&r, &q), " (3)");
	q = (struct kv_range){.key = K("a"), .range_end = K("c"), .count_only = true, .revision = 4};
	EQ_STR(rig_range(&r, &q), " (2)");
	q = (struct kv_range){.key = K("a"), .range_end = ALL, .keys_only = true};
	EQ_STR(rig_range(&r, &q), "a= b= c= (3)");
	rig_close(&r);
}

TEST(sorting_is_etcd_s)
{
	struct rig r;
	struct kv_range q = {.key = ALL, .range_end = ALL, .sort_order = KV_ORDER_DESCEND};

	rig_open(&r, "s");
	fill(&r);
	EQ_STR(rig_range(&r, &q), "c=1 b=3 a=1 (3)");
	q.limit = 1;
	EQ_STR(rig_range(&r, &q), "c=1 (3 more)");
	q.sort_target = KV_SORT_MOD;
	EQ_STR(rig_range(&r, &q), "a=1 (3 more)");
	q.sort_order = KV_ORDER_ASCEND;
	EQ_STR(rig_range(&r, &q), "c=1 (3 more)");
	q.sort_target = KV_SORT_VERSION;
	q.sort_order = KV_ORDER_DESCEND;
	q.limit = 0;
	EQ_STR(rig_range(&r, &q), "a=1 b=3 c=1 (3)");
	q.sort_target = KV_SORT_VALUE;
	q.sort_order = KV_ORDER_ASCEND;
	EQ_STR(rig_range(&r, &q), "a=1 c=1 b=3 (3)");
	q.sort_target = KV_SORT_CREATE;
	EQ_STR(rig_range(&r, &q), "c=1 a=1 b=3 (3)");
	rig_close(&r);
}

/* etcd: limit + 1 rows are taken in key order and sorted among themselves. */
TEST(a_target_without_order_sorts_what_the_limit_left)
{
	struct rig r;
	struct kv_range q = {.key = ALL, .range_end = ALL, .sort_target = KV_SORT_CREATE, .limit = 1};

	rig_open(&r, "s");
	rig_put(&r, "z", "0");
	rig_put(&r, "b", "1");
	rig_put(&r, "a", "2");
	EQ_STR(rig_range(&r, &q), "b=1 (3 more)");
	q.limit = 2;
	EQ_STR(rig_range(&r, &q), "z=0 b=1 (3 more)");
	q.min_mod_revision = 1;                                 /* a filter: every row takes part */
	q.limit = 1;
	EQ_STR(rig_range(&r, &q), "z=0 (3 more)");
	rig_close(&r);
}

TEST(the_past_is_read_as_it_was)
{
	struct rig r;

	rig_open(&r, "s");
	fill(&r);
	EQ_STR(rig_range(&r, &(struct kv_range){.key = ALL, .range_end = ALL, .revision = 1}), " (0)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = ALL, .range_end = ALL, .revision = 4}), "a=2 b=3 c=1 (3)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = ALL, .range_end = ALL, .revision = 6}), "a=1 b=3 c=1 d=0 (4)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = ALL, .range_end = ALL, .revision = 7}), "a=1 b=3 c=1 (3)");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = ALL, .range_end = ALL, .revision = 8}), "FUTURE_REV");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = ALL, .range_end = ALL, .revision = -5}), "a=1 b=3 c=1 (3)");
	EQ_STR(rig_get(&r, "d", 6), "0");
	EQ_STR(rig_get(&r, "d", 7), "(none)");
	EQ_STR(rig_get(&r, "d", 5), "(none)");
	rig_close(&r);
}

/* ---- long keys ---- */

enum { LONG_LEN = 520 };

static void long_key(uint8_t key[LONG_LEN], unsigned number)
{
	memset(key, 'k', LONG_LEN);
	key[LONG_LEN - 3] = (uint8_t)(number >> 16);
	key[LONG_LEN - 2] = (uint8_t)(number >> 8);
	key[LONG_LEN - 1] = (uint8_t)number;
}

static void put_long(struct rig *r, unsigned number)
{
	uint8_t key[LONG_LEN];
	struct kv_put p = {.key = bytes_of(key, sizeof key), .value = K("v")};

	long_key(key, number);
	EQ_INT(rig_do(r, (struct command){.put = &p})->error, ERR_OK);
}

/* Put in a shuffled order. */
TEST(long_keys_that_begin_alike_are_in_order)
{
	enum { N = 2700 };
	uint8_t from[LONG_LEN], to[LONG_LEN], want[LONG_LEN];
	struct mvcc_span span = {bytes_of(from, sizeof from), bytes_of(to, sizeof to)};
	struct mvcc_scan *scan;
	struct mvcc_view *v;
	struct kv_pair pair;
	struct rig r;
	unsigned n = 10;
	int64_t count;

	rig_open(&r, "s");
	for (unsigned i = 0; i < N; i++)
		put_long(&r, i * 1237 % N);
	rig_put(&r, "kkk", "before");
	rig_put(&r, "l", "behind");
	long_key(from, 10);
	long_key(to, N - 10);
	v = rig_view(&r);
	EQ_INT(mvcc_scan_begin(v, &span, mvcc_view_info(v)->revision, &scan), ERR_OK);
	for (; mvcc_scan_next(scan, &pair) == ERR_OK; n++) {
		long_key(want, n);
		OK(bytes_eq(pair.key, bytes_of(want, sizeof want)));
	}
	EQ_INT(n, N - 10);
	mvcc_scan_end(&scan);

	/* some given out, the rest counted */
	EQ_INT(mvcc_scan_begin(v, &span, mvcc_view_info(v)->revision, &scan), ERR_OK);
	for (int i = 0; i < 5; i++)
		EQ_INT(mvcc_scan_next(scan, &pair), ERR_OK);
	EQ_INT(mvcc_count(scan, 0, &count), ERR_OK);
	EQ_INT(count, N - 25);
	mvcc_scan_end(&scan);

	span = (struct mvcc_span){K("kkk"), ALL};
	EQ_INT(mvcc_scan_begin(v, &span, mvcc_view_info(v)->revision, &scan), ERR_OK);
	EQ_INT(mvcc_count(scan, 0, &count), ERR_OK);
	EQ_INT(count, N + 2);
	mvcc_scan_end(&scan);
	mvcc_view_end(&v);
	rig_close(&r);
}

/* One row a view: every step gets on, over dead keys too. */
TEST(a_scan_gets_on_by_single_rows)
{
	struct mvcc_span span = {K("a"), ALL};
	struct mvcc_scan *scan;
	struct kv_pair pair;
	struct buf after;
	struct rig r;
	int rc, views = 0, found = 0;

	rig_open(&r, "s");
	fill(&r);
	for (int i = 0; i < 5; i++)
		rig_put(&r, "dead", "x");
	rig_delete(&r, "dead", NULL);
	rig_put(&r, "z", "9");
	buf_init(&after, 0);
	do {
		struct mvcc_view *v = rig_view(&r);

		EQ_INT(mvcc_scan_begin(v, &span, 13, &scan), ERR_OK);
		if (after.len > 0)
			EQ_INT(mvcc_scan_after(scan, buf_bytes(&after)), ERR_OK);
		mvcc_scan_limit(scan, 1);
		while ((rc = mvcc_scan_next(scan, &pair)) == ERR_OK)
			found++;
		buf_clear(&after);
		buf_add_bytes(&after, mvcc_scan_last(scan));
		mvcc_scan_end(&scan);
		mvcc_view_end(&v);
		OK(++views < 20);
	} while (rc == ERR_LIMIT);
	EQ_INT(rc, ERR_NOT_FOUND);
	EQ_INT(found, 3);
	buf_free(&after);
	rig_close(&r);
}

/* ---- views ---- */

TEST(a_view_does_not_see_what_comes_after_it)
{
	struct mvcc_view *old, *fresh;
	struct kv_pair pair;
	struct rig r;

	rig_open(&r, "s");
	rig_put(&r, "a", "1");
	old = rig_view(&r);
	rig_put(&r, "a", "2");
	fresh = rig_view(&r);
	EQ_INT(mvcc_view_info(old)->revision, 2);
	EQ_INT(mvcc_view_info(fresh)->revision, 3);
	EQ_INT(mvcc_view_info(fresh)->applied, mvcc_view_info(old)->applied + 1);
	EQ_INT(mvcc_get(old, K("a"), 2, &pair), ERR_OK);
	OK(bytes_eq(pair.value, K("1")));
	EQ_INT(mvcc_get(fresh, K("a"), 3, &pair), ERR_OK);
	OK(bytes_eq(pair.value, K("2")));
	mvcc_view_end(&old);
	mvcc_view_end(&fresh);
	rig_close(&r);
}

TEST(an_answer_can_be_bounded)
{
	size_t left = 2 * (MVCC_PAIR_COST + 2);
	struct kv_range q = {.key = ALL, .range_end = ALL};
	struct kv_range_result out;
	struct mvcc_view *v;
	struct arena arena;
	struct rig r;

	rig_open(&r, "s");
	fill(&r);
	arena_init(&arena, 1u << 20);
	v = rig_view(&r);
	mvcc_view_limit(v, &left);
	EQ_INT(mvcc_range(v, &q, 7, &arena, &out), ERR_RESPONSE_TOO_LARGE);
	q.sort_order = KV_ORDER_DESCEND;
	left = 2 * (MVCC_PAIR_COST + 2);
	EQ_INT(mvcc_range(v, &q, 7, &arena, &out), ERR_RESPONSE_TOO_LARGE);
	q.limit = 2;
	left = 2 * (MVCC_PAIR_COST + 2);
	EQ_INT(mvcc_range(v, &q, 7, &arena, &out), ERR_OK);
	EQ_INT(left, 0);
	q.sort_order = KV_ORDER_NONE;
	left = 2 * (MVCC_PAIR_COST + 2);
	EQ_INT(mvcc_range(v, &q, 7, &arena, &out), ERR_OK);
	EQ_INT(left, 0);
	mvcc_view_end(&v);
	arena_free(&arena);
	rig_close(&r);
}

TEST(a_reading_transaction_is_served_from_a_view)
{
	struct kv_compare cmp = {.key = K("a"), .target = KV_TARGET_VERSION, .op = KV_EQUAL, .number = 2};
	struct kv_range ra = {.key = K("a"), .range_end = K("c")}, old = {.key = K("a"), .revision = 3};
	struct kv_op ops[2] = {{.range = &ra}, {.range = &old}};
	struct kv_put p = {.key = K("a")};
	struct kv_op write = {.put = &p};
	struct kv_txn t = {.compares = {&cmp, 1}, .success = {ops, 2}, .failure = {NULL, 0}};
	struct kv_txn_result out;
	struct mvcc_view *v;
	struct arena arena;
	struct rig r;

	rig_open(&r, "s");
	fill(&r);
	arena_init(&arena, 1u << 20);
	v = rig_view(&r);
	EQ_INT(mvcc_read_txn(v, &t, &arena, &out), ERR_OK);
	OK(out.succeeded && out.responses.n == 2 && out.header->revision == 7);
	EQ_INT(out.responses.v[0].range->kvs.n, 2);
	EQ_INT(out.responses.v[0].range->header->revision, 7);
	OK(bytes_eq(out.responses.v[1].range->kvs.v[0].value, K("2")));
	cmp.number = 3;
	EQ_INT(mvcc_read_txn(v, &t, &arena, &out), ERR_OK);
	OK(!out.succeeded && out.responses.n == 0);
	cmp.number = 2;
	old.revision = 8;
	EQ_INT(mvcc_read_txn(v, &t, &arena, &out), ERR_FUTURE_REV);
	t.failure.v = &write;
	t.failure.n = 1;
	EQ_INT(mvcc_read_txn(v, &t, &arena, &out), ERR_BAD_ARGUMENT);
	mvcc_view_end(&v);
	arena_free(&arena);
	rig_close(&r);
}

/* ---- damage ---- */

static void flip(struct rig *r, enum okv_table table, struct bytes key)
{
	struct okv_txn *t;
	struct bytes v;
	uint8_t *copy;

	EQ_INT(okv_begin(r->db, true, &t), ERR_OK);
	EQ_INT(okv_get(t, table, key, &v), ERR_OK);
	copy = malloc(v.len);
	OK(copy != NULL);
	memcpy(copy, v.data, v.len);
	copy[v.len - 1] ^= 1;
	EQ_INT(okv_put(t, table, key, bytes_of(copy, v.len)), ERR_OK);
	EQ_INT(okv_commit(&t), ERR_OK);
	free(copy);
}

TEST(a_flipped_bit_is_never_an_answer)
{
	struct mvcc_key k;
	struct rig r;

	rig_open(&r, "s");
	fill(&r);
	rig_commit(&r);
	mvcc_key_encode(&k, K("b"));
	flip(&r, OKV_NOW, mvcc_key_bytes(&k));
	EQ_STR(rig_get(&r, "b", 0), "CORRUPT");
	EQ_STR(rig_get(&r, "a", 0), "1");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = ALL, .range_end = ALL}), "CORRUPT");
	EQ_STR(rig_range(&r, &(struct kv_range){.key = K("c"), .range_end = ALL}), "c=1 (1)");
	mvcc_key_encode(&k, K("a"));
	mvcc_key_add_rev(&k, 3, 0);
	flip(&r, OKV_PAST, mvcc_key_bytes(&k));
	EQ_STR(rig_get(&r, "a", 4), "CORRUPT");
	rig_close(&r);
}

TEST(readers_open_only_a_store_of_their_format)
{
	struct mvcc_identity id = {STORE_FORMAT + 1, 1, 1, 1};
	struct mvcc_env *env = NULL;
	struct okv_txn *t;
	struct rig r;
	struct buf b;
	char dir[512];

	rig_open(&r, "s");
	rig_put(&r, "a", "1");
	rig_commit(&r);
	(void)snprintf(dir, sizeof dir, "%s", r.dir);
	buf_init(&b, 0);
	mvcc_identity_encode(&b, &id);
	EQ_INT(okv_begin(r.db, true, &t), ERR_OK);
	EQ_INT(okv_put(t, OKV_META, bytes_str(LAYOUT_META_IDENTITY), buf_bytes(&b)), ERR_OK);
	EQ_INT(okv_commit(&t), ERR_OK);
	buf_free(&b);
	rig_close(&r);
	EQ_INT(mvcc_open(dir, 1u << 30, &env), ERR_VERSION);
	EQ_INT(mvcc_open(tap_dir(), 1u << 30, &env), ERR_NOT_FOUND);
}

TEST(a_generation_has_a_directory_of_its_own)
{
	struct buf b;

	buf_init(&b, 0);
	mvcc_generation_dir(&b, "/d/store", 12);
	OK(bytes_eq(buf_bytes(&b), K("/d/store/gen-12")));
	buf_free(&b);
}

TESTS = {
	T(a_range_is_half_open_and_in_key_order),
	T(count_ignores_limit_and_filters),
	T(sorting_is_etcd_s),
	T(a_target_without_order_sorts_what_the_limit_left),
	T(the_past_is_read_as_it_was),
	T(long_keys_that_begin_alike_are_in_order),
	T(a_scan_gets_on_by_single_rows),
	T(a_view_does_not_see_what_comes_after_it),
	T(an_answer_can_be_bounded),
	T(a_reading_transaction_is_served_from_a_view),
	T(a_flipped_bit_is_never_an_answer),
	T(readers_open_only_a_store_of_their_format),
	T(a_generation_has_a_directory_of_its_own),
};
TAP_MAIN
