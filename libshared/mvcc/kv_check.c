/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/kv_check.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

int kv_check_range(const struct kv_range *r)
{
	if (r->key.len == 0)
		return ERR_KEY_EMPTY;
	if (r->sort_order > KV_ORDER_DESCEND || r->sort_target > KV_SORT_VALUE)
		return ERR_SORT_OPTION;
	return ERR_OK;
}

int kv_check_put(const struct kv_put *p)
{
	if (p->key.len == 0)
		return ERR_KEY_EMPTY;
	if (p->ignore_value && p->value.len != 0)
		return ERR_VALUE_PROVIDED;
	if (p->ignore_lease && p->lease != 0)
		return ERR_LEASE_PROVIDED;
	return ERR_OK;
}

int kv_check_delete(const struct kv_delete *d)
{
	return d->key.len == 0 ? ERR_KEY_EMPTY : ERR_OK;
}

/* ---- the shape of a transaction ---- */

/* `budget` is for this way through the transaction, *left for the whole of it. */
static int check_shape(const struct kv_txn *txn, size_t budget, unsigned depth, size_t *left);

static int check_op(const struct kv_op *op, size_t budget, unsigned depth, size_t *left)
{
	int parts = (op->range != NULL) + (op->put != NULL) + (op->del != NULL) + (op->txn != NULL);

	if (parts != 1)
		return parts == 0 ? ERR_KEY_NOT_FOUND : ERR_BAD_ARGUMENT;
	if (op->range != NULL)
		return kv_check_range(op->range);
	if (op->put != NULL)
		return kv_check_put(op->put);
	if (op->del != NULL)
		return kv_check_delete(op->del);
	return check_shape(op->txn, budget, depth + 1, left);
}

static int check_compare(const struct kv_compare *c)
{
	if (c->key.len == 0)
		return ERR_KEY_EMPTY;
	if (c->target > KV_TARGET_LEASE || c->op > KV_NOT_EQUAL)
		return ERR_BAD_ARGUMENT;
	return ERR_OK;
}

static size_t longest_list(const struct kv_txn *txn)
{
	size_t n = txn->compares.n;

	n = txn->success.n > n ? txn->success.n : n;
	return txn->failure.n > n ? txn->failure.n : n;
}

static int check_shape(const struct kv_txn *txn, size_t budget, unsigned depth, size_t *left)
{
	size_t longest = longest_list(txn), all;
	int rc = ERR_OK;

	if (depth >= LIMIT_TXN_DEPTH)
		return ERR_TXN_TOO_DEEP;
	if (longest > budget)
		return ERR_TOO_MANY_OPS;
	all = txn->compares.n + txn->success.n + txn->failure.n;
	if (all > *left)
		return ERR_TOO_MANY_OPS;
	*left -= all;
	for (size_t i = 0; i < txn->compares.n && rc == ERR_OK; i++)
		rc = check_compare(&txn->compares.v[i]);
	for (size_t i = 0; i < txn->success.n && rc == ERR_OK; i++)
		rc = check_op(&txn->success.v[i], budget - longest, depth, left);
	for (size_t i = 0; i < txn->failure.n && rc == ERR_OK; i++)
		rc = check_op(&txn->failure.v[i], budget - longest, depth, left);
	return rc;
}

/* ---- keys changed twice ---- */

/*
 * All puts and deletes below one list of operations. Those of one operation are of one `branch`
 * and have been compared with each other (or exclude each other: the two ways of a nested
 * transaction); those of different operations of a list must not touch.
 */
enum touch_end { TOUCH_POINT, TOUCH_BEFORE, TOUCH_FOREVER };

struct touch {
	struct bytes key, end;
	enum touch_end end_kind;
	bool del;
	uint32_t branch;
};

struct touches {
	struct touch *v;
	size_t n, cap;
};

static void touch_add(struct touches *t, struct touch touch)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 32;
		t->v = mem_grow(t->v, t->cap, sizeof *t->v);
	}
	t->v[t->n++] = touch;
}

static void touch_delete(struct touches *t, const struct kv_delete *d)
{
	struct touch x = {.key = d->key, .end = d->range_end, .end_kind = TOUCH_BEFORE, .del = true};

	if (d->range_end.len == 0)
		x.end_kind = TOUCH_POINT;
	else if (d->range_end.len == 1 && d->range_end.data[0] == 0)
		x.end_kind = TOUCH_FOREVER;
	touch_add(t, x);
}

/* Does a deletion that begins at or before `key` reach it? */
static bool touch_covers(const struct touch *del, struct bytes key)
{
	switch (del->end_kind) {
	case TOUCH_POINT:
		return bytes_eq(del->key, key);
	case TOUCH_BEFORE:
		return bytes_cmp(key, del->end) < 0;
	case TOUCH_FOREVER:
	default:
		return true;
	}
}

/* Does `a` reach further than `b`? A point k reaches as far as an end of k and a zero byte. */
static bool touch_further(const struct touch *a, const struct touch *b)
{
	if (b->end_kind == TOUCH_FOREVER)
		return false;
	if (a->end_kind == TOUCH_FOREVER)
		return true;
	if (a->end_kind == TOUCH_POINT)
		return b->end_kind == TOUCH_POINT ? bytes_cmp(a->key, b->key) > 0 :
						    bytes_cmp(b->end, a->key) <= 0;
	if (b->end_kind == TOUCH_POINT)
		return bytes_cmp(a->end, b->key) > 0;
	return bytes_cmp(a->end, b->end) > 0;
}

/* By key; a deletion before a put of the key it begins with. */
static int touch_order(const void *pa, const void *pb)
{
	const struct touch *a = pa, *b = pb;
	int c = bytes_cmp(a->key, b->key);

	if (c != 0)
		return c;
	if (a->del != b->del)
		return a->del ? -1 : 1;
	return a->branch < b->branch ? -1 : a->branch > b->branch;
}

/* The furthest-reaching deletions so far, of two different branches. */
struct reach {
	const struct touch *first, *second;
};

static void reach_add(struct reach *r, const struct touch *del)
{
	if (r->first == NULL || touch_further(del, r->first)) {
		if (r->first != NULL && r->first->branch != del->branch)
			r->second = r->first;
		r->first = del;
	} else if (r->first->branch != del->branch &&
		   (r->second == NULL || touch_further(del, r->second))) {
		r->second = del;
	}
}

static bool reach_covers(const struct reach *r, const struct touch *put)
{
	const struct touch *del = r->first;

	if (del != NULL && del->branch == put->branch)
		del = r->second;
	return del != NULL && touch_covers(del, put->key);
}

/* Sorted, one look at each is enough. */
static int touch_sweep(struct touch *v, size_t n)
{
	const struct touch *last_put = NULL;
	struct reach reach = {NULL, NULL};

	qsort(v, n, sizeof *v, touch_order);
	for (size_t i = 0; i < n; i++) {
		if (v[i].del) {
			reach_add(&reach, &v[i]);
			continue;
		}
		if (last_put != NULL && last_put->branch != v[i].branch && bytes_eq(last_put->key, v[i].key))
			return ERR_DUPLICATE_KEY;
		if (reach_covers(&reach, &v[i]))
			return ERR_DUPLICATE_KEY;
		last_put = &v[i];
	}
	return ERR_OK;
}

static int touch_list(struct touches *t, const struct kv_op *ops, size_t n, unsigned depth);

static int touch_op(struct touches *t, const struct kv_op *op, unsigned depth)
{
	int rc = ERR_OK;

	if (op->put != NULL) {
		touch_add(t, (struct touch){.key = op->put->key});
	} else if (op->del != NULL) {
		touch_delete(t, op->del);
	} else if (op->txn != NULL) {
		rc = touch_list(t, op->txn->success.v, op->txn->success.n, depth + 1);
		if (rc == ERR_OK)
			rc = touch_list(t, op->txn->failure.v, op->txn->failure.n, depth + 1);
	}
	return rc;
}

/* Adds the list's touches behind those in `t` and compares them with each other. */
static int touch_list(struct touches *t, const struct kv_op *ops, size_t n, unsigned depth)
{
	size_t start = t->n, from;
	int rc;

	CHECK(depth < LIMIT_TXN_DEPTH);      /* check_shape has been here */
	for (size_t i = 0; i < n; i++) {
		from = t->n;
		rc = touch_op(t, &ops[i], depth);
		if (rc != ERR_OK)
			return rc;
		for (size_t j = from; j < t->n; j++)
			t->v[j].branch = (uint32_t)i;
	}
	return t->n == start ? ERR_OK : touch_sweep(t->v + start, t->n - start);
}

int kv_check_txn(const struct kv_txn *txn)
{
	struct touches t = {NULL, 0, 0};
	size_t left = LIMIT_TXN_TREE_OPS;
	int rc = check_shape(txn, LIMIT_TXN_OPS, 0, &left);

	if (rc == ERR_OK)
		rc = touch_list(&t, txn->success.v, txn->success.n, 0);
	t.n = 0;
	if (rc == ERR_OK)
		rc = touch_list(&t, txn->failure.v, txn->failure.n, 0);
	free(t.v);
	return rc;
}

int kv_check_grant(const struct lease_grant *g)
{
	return g->ttl > LIMIT_LEASE_TTL_S ? ERR_LEASE_TTL : ERR_OK;
}

int kv_command_parts(const struct command *c)
{
	return (c->put != NULL) + (c->del != NULL) + (c->txn != NULL) + (c->compact != NULL) +
	       (c->lease_grant != NULL) + (c->lease_revoke != NULL);
}

int kv_check_command(const struct command *c)
{
	int parts = kv_command_parts(c);

	if (parts > 1 || c->gateway == 0 || (parts == 0) != (c->seq == 0))
		return ERR_BAD_ARGUMENT;
	if (c->lease_grant != NULL)
		return kv_check_grant(c->lease_grant);
	if (c->put != NULL)
		return kv_check_put(c->put);
	if (c->del != NULL)
		return kv_check_delete(c->del);
	return c->txn != NULL ? kv_check_txn(c->txn) : ERR_OK;
}

/* ---- what a transaction does ---- */

static bool list_reads_only(const struct kv_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ops[i].put != NULL || ops[i].del != NULL)
			return false;
		if (ops[i].txn != NULL && !kv_txn_reads_only(ops[i].txn))
			return false;
	}
	return true;
}

bool kv_txn_reads_only(const struct kv_txn *txn)
{
	return list_reads_only(txn->success.v, txn->success.n) &&
	       list_reads_only(txn->failure.v, txn->failure.n);
}

static bool list_serializable(const struct kv_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ops[i].range != NULL && !ops[i].range->serializable)
			return false;
		if (ops[i].txn != NULL && !kv_txn_serializable(ops[i].txn))
			return false;
	}
	return true;
}

bool kv_txn_serializable(const struct kv_txn *txn)
{
	return list_serializable(txn->success.v, txn->success.n) &&
	       list_serializable(txn->failure.v, txn->failure.n);
}
