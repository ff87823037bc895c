/* SPDX-License-Identifier: Apache-2.0 */
/* How much one transaction may look at: refused whole, alike on every node. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/view.h"
#include "tests/lib/store_rig.h"
#include "tests/lib/tap.h"

#define K(s) bytes_str(s)
#define ALL bytes_of("\0", 1)
#define OPS(list) {list, sizeof(list) / sizeof(list[0])}

static const struct mvcc_state *state(const struct rig *r)
{
	return apply_state(r->apply);
}

static struct command_result *do_put(struct rig *r, struct kv_put p)
{
	return rig_do(r, (struct command){.put = &p});
}

static struct command_result *do_txn(struct rig *r, struct kv_txn t)
{
	return rig_do(r, (struct command){.txn = &t});
}


enum { MANY = 999, FILL = LIMIT_TXN_ROWS / (MANY + 1) };      /* so often all keys, and all is used up */

_Static_assert(FILL * (MANY + 1) == LIMIT_TXN_ROWS && FILL < LIMIT_TXN_OPS, "exactly");

/* Keys that differ in their last bytes, so that no range over them is "all keys". */
static void put_many(struct rig *r, const char *prefix, unsigned n)
{
	char key[32];

	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(key, sizeof key, "%s%04u", prefix, i);
		rig_put(r, key, "v");
	}
}

/* The transaction is refused and nothing is different after it; without its last part it is done. */
static void too_large(struct rig *r, struct kv_txn *t, size_t *parts)
{
	uint8_t before[16], after[16];
	struct mvcc_state was = *state(r);

	rig_hash(r, 0, 1000, before);
	EQ_INT(do_txn(r, *t)->error, ERR_TXN_TOO_LARGE);
	OK(r->r.txn == NULL && r->r.revision == was.revision);
	OK(state(r)->revision == was.revision && state(r)->keys == was.keys);
	rig_hash(r, 0, 1000, after);
	EQ_MEM(after, before, 16);
	--*parts;
	EQ_INT(do_txn(r, *t)->error, ERR_OK);
}

TEST(compares_of_ranges_use_up_what_a_transaction_may_look_at)
{
	struct kv_compare c[FILL];
	struct kv_put p = {.key = K("new")};
	struct kv_op ops[] = {{.put = &p}};
	struct kv_txn t = {.compares = OPS(c), .success = OPS(ops)};
	struct rig r;

	rig_open(&r, "s");
	put_many(&r, "k", MANY);
	for (size_t i = 0; i < FILL; i++)
		c[i] = (struct kv_compare){.key = K("k"), .range_end = ALL, .target = KV_TARGET_MOD, .op = KV_GREATER};
	too_large(&r, &t, &t.success.n);         /* without the put it is just enough */
	OK(r.r.txn->succeeded);
	EQ_STR(rig_get(&r, "new", 0), "(none)");
	c[0].op = KV_EQUAL;                      /* the first key decides: nothing more is looked at */
	t.failure.v = ops;
	t.failure.n = 1;
	EQ_INT(do_txn(&r, t)->error, ERR_OK);
	EQ_STR(rig_get(&r, "new", 0), "");
	rig_close(&r);
}

TEST(ranges_and_deletes_use_up_what_a_transaction_may_look_at)
{
	struct kv_put p = {.key = K("new")};
	struct kv_range first = {.key = K("k"), .range_end = K("l"), .limit = 1};
	struct kv_range count = {.key = K("k"), .range_end = K("l"), .count_only = true};
	struct kv_delete d = {.key = K("k"), .range_end = K("l")};
	struct kv_op ops[FILL + 1] = {{.put = &p}};
	struct kv_txn t = {.success = OPS(ops)};
	struct rig r;

	rig_open(&r, "s");
	put_many(&r, "k", MANY);
	for (size_t i = 1; i <= FILL; i++)
		ops[i] = i % 2 ? (struct kv_op){.range = &first} : (struct kv_op){.range = &count};
	ops[FILL].range = NULL;
	ops[FILL].del = &d;
	too_large(&r, &t, &t.success.n);         /* the delete is the last, and is undone half done */
	t.success.v++;
	t.success.n = FILL;
	EQ_INT(do_txn(&r, t)->error, ERR_OK);    /* "new" is behind the end, and not looked at */
	EQ_INT(r.r.txn->responses.v[FILL - 1].del->deleted, MANY);
	rig_close(&r);
}

TEST(siblings_share_what_a_transaction_may_look_at)
{
	enum { SIBLINGS = 11, EACH = 10 };
	struct kv_compare c[EACH];
	struct kv_put p = {.key = K("new")};
	struct kv_op put[] = {{.put = &p}}, ops[SIBLINGS];
	struct kv_txn inner = {.compares = OPS(c)}, first = {.success = OPS(put)}, t = {.success = OPS(ops)};
	struct rig r;

	rig_open(&r, "s");
	put_many(&r, "k", MANY);
	for (size_t i = 0; i < EACH; i++)
		c[i] = (struct kv_compare){.key = K("k"), .range_end = ALL, .target = KV_TARGET_LEASE, .op = KV_EQUAL};
	for (size_t i = 0; i < SIBLINGS; i++)
		ops[i] = (struct kv_op){.txn = i ? &inner : &first};
	too_large(&r, &t, &t.success.n);
	EQ_STR(rig_get(&r, "new", 0), "");
	rig_close(&r);
}

TEST(large_values_count_by_their_size)
{
	enum { KIBS = 1000, TIMES = LIMIT_TXN_ROWS / (KIBS + 2) + 1 };
	uint8_t *value = mem_alloc(KIBS * KIB);
	struct kv_put p = {.key = K("new")};
	struct kv_op ops[] = {{.put = &p}};
	struct kv_compare c[TIMES];
	struct kv_txn t = {.compares = OPS(c), .success = OPS(ops)};
	struct rig r;

	rig_open(&r, "s");
	do_put(&r, (struct kv_put){.key = K("k"), .value = bytes_of(value, KIBS * KIB)});
	for (size_t i = 0; i < TIMES; i++)
		c[i] = (struct kv_compare){.key = K("k"), .target = KV_TARGET_VALUE, .op = KV_GREATER};
	too_large(&r, &t, &t.compares.n);
	OK(r.r.txn->succeeded);
	rig_close(&r);
	free(value);
}

/* Old revisions: what compaction has not removed yet is there on one of two nodes, and never counts. */
TEST(how_far_compaction_is_does_not_decide_what_is_too_large)
{
	enum { LIVE = 799, BACK = 100, LATER = 100, COST = 1 + LIVE + BACK + LATER, TIMES = LIMIT_TXN_ROWS / COST };
	struct kv_range old = {.key = K("a"), .range_end = ALL, .limit = 1};
	struct kv_op ops[TIMES + 1];
	struct kv_put p = {.key = K("k0001")};
	struct kv_txn t = {.success = OPS(ops)};
	struct rig r[2];

	_Static_assert(TIMES * COST == (int)LIMIT_TXN_ROWS && TIMES < (int)LIMIT_TXN_OPS, "exactly");
	ops[0] = (struct kv_op){.put = &p};
	for (size_t i = 1; i <= TIMES; i++)
		ops[i] = (struct kv_op){.range = &old};
	for (int i = 0; i < 2; i++) {
		rig_open(&r[i], i ? "s" : "t");
		put_many(&r[i], "gone", 300);            /* in `past` only, until it is removed */
		put_many(&r[i], "back", BACK);
		rig_delete(&r[i], "b", "h");
		put_many(&r[i], "k", LIVE);
		old.revision = state(&r[i])->revision;
		put_many(&r[i], "back", BACK);           /* in `past` twice, one of them to be removed */
		put_many(&r[i], "later", LATER);
		rig_delete(&r[i], "back", "c");
		rig_delete(&r[i], "later", "m");
		EQ_INT(rig_compact(&r[i], old.revision)->error, ERR_OK);
	}
	rig_compact_all(&r[0], 100);
	OK(apply_compacting(r[1].apply) && !apply_compacting(r[0].apply));
	for (int i = 0; i < 2; i++) {
		t.success.v = ops;
		t.success.n = TIMES + 1;
		too_large(&r[i], &t, &t.success.n);
		t.success.v = ops + 1;
		t.success.n = TIMES;
		EQ_INT(do_txn(&r[i], t)->error, ERR_OK);         /* exactly all of it */
		EQ_INT(r[i].r.txn->responses.v[0].range->count, LIVE);
	}
	EQ_MEM(state(&r[0])->apply_hash, state(&r[1])->apply_hash, 16);
	rig_close(&r[0]);
	rig_close(&r[1]);
}

TESTS = {
	T(compares_of_ranges_use_up_what_a_transaction_may_look_at),
	T(ranges_and_deletes_use_up_what_a_transaction_may_look_at),
	T(siblings_share_what_a_transaction_may_look_at),
	T(large_values_count_by_their_size),
	T(how_far_compaction_is_does_not_decide_what_is_too_large),
};

TAP_MAIN
