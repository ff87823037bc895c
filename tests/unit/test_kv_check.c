/* SPDX-License-Identifier: Apache-2.0 */
/* What is refused whatever the store holds: etcd's error cases. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mvcc/kv_check.h"
#include "tests/lib/tap.h"

#define K(s) bytes_str(s)

static struct kv_op op_put(const char *key)
{
	struct kv_put *p = mem_alloc(sizeof *p);

	p->key = K(key);
	return (struct kv_op){.put = p};
}

static struct kv_op op_del(const char *key, const char *end)
{
	struct kv_delete *d = mem_alloc(sizeof *d);

	d->key = K(key);
	if (end != NULL)
		d->range_end = bytes_of(end, end[0] ? strlen(end) : 1);
	return (struct kv_op){.del = d};
}

static struct kv_op op_range(const char *key)
{
	struct kv_range *r = mem_alloc(sizeof *r);

	r->key = K(key);
	return (struct kv_op){.range = r};
}

static struct kv_op op_txn(struct kv_op *then, size_t n_then, struct kv_op *other, size_t n_other)
{
	struct kv_txn *t = mem_alloc(sizeof *t);

	t->success.v = then;
	t->success.n = n_then;
	t->failure.v = other;
	t->failure.n = n_other;
	return (struct kv_op){.txn = t};
}

/* One level of operations; frees what the makers above made. */
static void free_ops(struct kv_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ops[i].txn != NULL) {
			free_ops(ops[i].txn->success.v, ops[i].txn->success.n);
			free_ops(ops[i].txn->failure.v, ops[i].txn->failure.n);
		}
		free(ops[i].txn);
		free(ops[i].put);
		free(ops[i].del);
		free(ops[i].range);
	}
}

static int check(struct kv_op *ops, size_t n)
{
	struct kv_txn t = {.compares = {NULL, 0}};
	int rc, other;

	t.success.v = ops;
	t.success.n = n;
	rc = kv_check_txn(&t);
	t = (struct kv_txn){.compares = {NULL, 0}};
	t.failure.v = ops;
	t.failure.n = n;
	other = kv_check_txn(&t);
	EQ_INT(rc, other);
	free_ops(ops, n);
	return rc;
}
#define CHECK_OPS(...) check((struct kv_op[]){__VA_ARGS__}, sizeof((struct kv_op[]){__VA_ARGS__}) / sizeof(struct kv_op))

TEST(single_requests_are_checked_as_etcd_does)
{
	EQ_INT(kv_check_range(&(struct kv_range){.key = K("")}), ERR_KEY_EMPTY);
	EQ_INT(kv_check_range(&(struct kv_range){.key = K("a"), .sort_order = 3}), ERR_SORT_OPTION);
	EQ_INT(kv_check_range(&(struct kv_range){.key = K("a"), .sort_target = 5}), ERR_SORT_OPTION);
	EQ_INT(kv_check_range(&(struct kv_range){.key = K("a"), .sort_order = 2, .sort_target = 4}), ERR_OK);
	EQ_INT(kv_check_put(&(struct kv_put){.value = K("v")}), ERR_KEY_EMPTY);
	EQ_INT(kv_check_put(&(struct kv_put){.key = K("a"), .value = K("v"), .ignore_value = true}), ERR_VALUE_PROVIDED);
	EQ_INT(kv_check_put(&(struct kv_put){.key = K("a"), .lease = 1, .ignore_lease = true}), ERR_LEASE_PROVIDED);
	EQ_INT(kv_check_put(&(struct kv_put){.key = K("a"), .ignore_value = true, .ignore_lease = true}), ERR_OK);
	EQ_INT(kv_check_delete(&(struct kv_delete){.range_end = K("z")}), ERR_KEY_EMPTY);
	EQ_INT(kv_check_delete(&(struct kv_delete){.key = K("z"), .range_end = K("a")}), ERR_OK);
}

TEST(an_operation_has_exactly_one_part)
{
	struct kv_op two = op_put("a");
	struct kv_op other = op_range("b");

	two.range = other.range;
	EQ_INT(CHECK_OPS(two), ERR_BAD_ARGUMENT);
	EQ_INT(CHECK_OPS((struct kv_op){.put = NULL}), ERR_KEY_NOT_FOUND);
	EQ_INT(CHECK_OPS(op_put("")), ERR_KEY_EMPTY);
	EQ_INT(CHECK_OPS(op_range("")), ERR_KEY_EMPTY);
	EQ_INT(CHECK_OPS(op_del("", NULL)), ERR_KEY_EMPTY);
}

TEST(compares_are_checked)
{
	struct kv_compare c = {.key = K("")};
	struct kv_txn t = {.compares = {&c, 1}};

	EQ_INT(kv_check_txn(&t), ERR_KEY_EMPTY);
	c.key = K("a");
	EQ_INT(kv_check_txn(&t), ERR_OK);
	c.target = KV_TARGET_LEASE + 1;
	EQ_INT(kv_check_txn(&t), ERR_BAD_ARGUMENT);
	c.target = 0;
	c.op = KV_NOT_EQUAL + 1;
	EQ_INT(kv_check_txn(&t), ERR_BAD_ARGUMENT);
}

TEST(a_key_is_changed_once_on_one_way)
{
	EQ_INT(CHECK_OPS(op_put("a"), op_put("b")), ERR_OK);
	EQ_INT(CHECK_OPS(op_put("a"), op_put("b"), op_put("a")), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_put("a"), op_del("a", NULL)), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_del("a", NULL), op_put("a")), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_del("a", NULL), op_put("ab")), ERR_OK);
	EQ_INT(CHECK_OPS(op_del("a", "c"), op_put("b")), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_del("a", "c"), op_put("c")), ERR_OK);
	EQ_INT(CHECK_OPS(op_del("b", "c"), op_put("a")), ERR_OK);
	EQ_INT(CHECK_OPS(op_put("z"), op_del("a", "")), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_put("A"), op_del("a", "")), ERR_OK);
	EQ_INT(CHECK_OPS(op_del("a", "d"), op_del("b", "c")), ERR_OK);
	EQ_INT(CHECK_OPS(op_del("a", "z"), op_del("b", "c"), op_put("x")), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_del("z", "a"), op_put("c")), ERR_OK);
	EQ_INT(CHECK_OPS(op_range("a"), op_put("a"), op_range("a")), ERR_OK);
}

TEST(the_two_ways_of_a_nested_transaction_exclude_each_other)
{
	EQ_INT(CHECK_OPS(op_txn((struct kv_op[]){op_put("a")}, 1, (struct kv_op[]){op_put("a")}, 1)), ERR_OK);
	EQ_INT(CHECK_OPS(op_txn((struct kv_op[]){op_put("a")}, 1, (struct kv_op[]){op_del("a", "b")}, 1)), ERR_OK);
	EQ_INT(CHECK_OPS(op_put("a"), op_txn((struct kv_op[]){op_put("b")}, 1, (struct kv_op[]){op_put("a")}, 1)), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_del("a", "b"), op_txn(NULL, 0, (struct kv_op[]){op_put("ab")}, 1)), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_txn(NULL, 0, (struct kv_op[]){op_del("a", "b")}, 1), op_put("a")), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_txn((struct kv_op[]){op_put("a")}, 1, NULL, 0), op_txn((struct kv_op[]){op_put("a")}, 1, NULL, 0)), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_txn((struct kv_op[]){op_put("a")}, 1, NULL, 0), op_txn((struct kv_op[]){op_del("a", NULL)}, 1, NULL, 0)), ERR_DUPLICATE_KEY);
	EQ_INT(CHECK_OPS(op_txn((struct kv_op[]){op_txn((struct kv_op[]){op_put("a")}, 1, NULL, 0)}, 1, NULL, 0), op_put("a")), ERR_DUPLICATE_KEY);
}

TEST(nested_transactions_have_what_their_parents_leave)
{
	struct kv_op inner[LIMIT_TXN_OPS], outer[2], none = {.range = NULL};
	struct kv_range r = {.key = K("a")};
	struct kv_txn t = {.compares = {NULL, 0}}, sub = t;
	struct kv_compare compares[LIMIT_TXN_OPS];

	for (size_t i = 0; i < LIMIT_TXN_OPS; i++) {
		inner[i] = none;
		inner[i].range = &r;
		compares[i] = (struct kv_compare){.key = K("a")};
	}
	t.success.v = inner;
	t.success.n = LIMIT_TXN_OPS;
	EQ_INT(kv_check_txn(&t), ERR_OK);
	outer[0] = none;
	outer[0].txn = &sub;
	outer[1] = inner[0];
	t.success.v = outer;
	t.success.n = 2;
	sub.failure.v = inner;
	sub.failure.n = LIMIT_TXN_OPS - 2;
	EQ_INT(kv_check_txn(&t), ERR_OK);
	sub.failure.n = LIMIT_TXN_OPS - 1;
	EQ_INT(kv_check_txn(&t), ERR_TOO_MANY_OPS);
	sub.failure.n = 1;
	t.compares.v = compares;
	t.compares.n = LIMIT_TXN_OPS;                           /* the longest of the three lists counts */
	EQ_INT(kv_check_txn(&t), ERR_TOO_MANY_OPS);
	t.compares.n = LIMIT_TXN_OPS - 1;
	EQ_INT(kv_check_txn(&t), ERR_OK);
}

TEST(depth_is_limited)
{
	struct kv_txn t[LIMIT_TXN_DEPTH + 1] = {{.compares = {NULL, 0}}};
	struct kv_op op[LIMIT_TXN_DEPTH + 1] = {{.range = NULL}};

	for (unsigned i = 0; i < LIMIT_TXN_DEPTH; i++) {
		op[i].txn = &t[i + 1];
		t[i].success.v = &op[i];
		t[i].success.n = 1;
	}
	EQ_INT(kv_check_txn(&t[0]), ERR_TXN_TOO_DEEP);
	EQ_INT(kv_check_txn(&t[1]), ERR_OK);
}

TEST(siblings_count_together)
{
	enum { OUTER = 8, INNER = LIMIT_TXN_TREE_OPS / OUTER - 1 };
	struct kv_op outer[OUTER], inner[INNER];
	struct kv_compare compare = {.key = K("a")};
	struct kv_range r = {.key = K("a")};
	struct kv_txn sub = {.success = {inner, INNER / 2}, .failure = {inner, INNER - INNER / 2}};
	struct kv_txn t = {.success = {outer, OUTER}};

	for (size_t i = 0; i < INNER; i++)
		inner[i] = (struct kv_op){.range = &r};
	for (size_t i = 0; i < OUTER; i++)
		outer[i] = (struct kv_op){.txn = &sub};
	EQ_INT(kv_check_txn(&t), ERR_OK);
	t.compares.v = &compare;
	t.compares.n = 1;
	EQ_INT(kv_check_txn(&t), ERR_TOO_MANY_OPS);
}

/* As many changes in nested transactions as there may be must not take for ever. */
TEST(many_changes_are_compared_in_little_time)
{
	enum { OUTER = 64, INNER = LIMIT_TXN_TREE_OPS / OUTER - 1 };
	static char keys[OUTER * INNER][8];
	struct kv_op *outer = mem_array(OUTER, sizeof *outer);
	struct kv_op *inner = mem_array((size_t)OUTER * INNER, sizeof *inner);
	struct kv_txn t = {.compares = {NULL, 0}};

	for (unsigned i = 0; i < OUTER * INNER; i++) {
		keys[i][0] = (char)('a' + i % 26);
		keys[i][1] = (char)('a' + i / 26 % 26);
		keys[i][2] = (char)('a' + i / 676 % 26);
		inner[i] = i % 2 ? op_del(keys[i], NULL) : op_put(keys[i]);
	}
	for (unsigned i = 0; i < OUTER; i++)
		outer[i] = op_txn(&inner[i * INNER], INNER, NULL, 0);
	t.success.v = outer;
	t.success.n = OUTER;
	for (int i = 0; i < 100; i++)
		EQ_INT(kv_check_txn(&t), ERR_OK);
	free_ops(outer, OUTER);
	free(inner);
	free(outer);
}

TEST(what_a_transaction_does_is_told)
{
	struct kv_range r = {.key = K("a"), .serializable = true};
	struct kv_put p = {.key = K("a")};
	struct kv_op read = {.range = &r}, write = {.put = &p}, nested = {.range = NULL};
	struct kv_txn inner = {.compares = {NULL, 0}}, t = inner;

	OK(kv_txn_reads_only(&t) && kv_txn_serializable(&t));
	t.success.v = &read;
	t.success.n = 1;
	OK(kv_txn_reads_only(&t) && kv_txn_serializable(&t));
	r.serializable = false;
	OK(kv_txn_reads_only(&t) && !kv_txn_serializable(&t));
	inner.failure.v = &write;
	inner.failure.n = 1;
	nested.txn = &inner;
	t.success.v = &nested;
	OK(!kv_txn_reads_only(&t));
	inner.failure.v = &read;
	OK(kv_txn_reads_only(&t) && !kv_txn_serializable(&t));
}

TESTS = {
	T(single_requests_are_checked_as_etcd_does),
	T(an_operation_has_exactly_one_part),
	T(compares_are_checked),
	T(a_key_is_changed_once_on_one_way),
	T(the_two_ways_of_a_nested_transaction_exclude_each_other),
	T(nested_transactions_have_what_their_parents_leave),
	T(siblings_count_together),
	T(depth_is_limited),
	T(many_changes_are_compared_in_little_time),
	T(what_a_transaction_does_is_told),
};
TAP_MAIN
