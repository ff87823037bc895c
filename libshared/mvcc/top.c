/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/top.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

static int cmp_i64(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

static int order_target(enum kv_sort_target target, const struct kv_pair *a, const struct kv_pair *b)
{
	switch (target) {
	case KV_SORT_VERSION:
		return cmp_i64(a->version, b->version);
	case KV_SORT_CREATE:
		return cmp_i64(a->create_revision, b->create_revision);
	case KV_SORT_MOD:
		return cmp_i64(a->mod_revision, b->mod_revision);
	case KV_SORT_VALUE:
		return bytes_cmp(a->value, b->value);
	case KV_SORT_KEY:
	default:
		return bytes_cmp(a->key, b->key);
	}
}

int mvcc_order_cmp(const struct mvcc_order *o, const struct kv_pair *a, const struct kv_pair *b)
{
	int c = order_target(o->target, a, b);

	if (c != 0)
		return o->descend ? -c : c;
	return bytes_cmp(a->key, b->key);
}

void mvcc_top_init(struct mvcc_top *t, struct mvcc_order order, size_t max)
{
	CHECK(max > 0);
	*t = (struct mvcc_top){.order = order, .max = max};
}

static void top_swap(struct mvcc_top *t, size_t i, size_t j)
{
	struct kv_pair x = t->v[i];

	t->v[i] = t->v[j];
	t->v[j] = x;
}

static bool top_after(const struct mvcc_top *t, size_t i, size_t j)
{
	return mvcc_order_cmp(&t->order, &t->v[i], &t->v[j]) > 0;
}

static void top_up(struct mvcc_top *t, size_t i)
{
	for (; i > 0 && top_after(t, i, (i - 1) / 2); i = (i - 1) / 2)
		top_swap(t, i, (i - 1) / 2);
}

static void top_down(struct mvcc_top *t, size_t i, size_t n)
{
	for (size_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && top_after(t, child + 1, child))
			child++;
		if (!top_after(t, child, i))
			return;
		top_swap(t, i, child);
	}
}

void mvcc_top_push(struct mvcc_top *t, const struct kv_pair *pair)
{
	CHECK(t->n < t->max);
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->v = mem_grow(t->v, t->cap, sizeof *t->v);
	}
	t->v[t->n++] = *pair;
}

void mvcc_top_add(struct mvcc_top *t, const struct kv_pair *pair)
{
	if (t->n == t->max) {
		if (mvcc_order_cmp(&t->order, pair, &t->v[0]) >= 0)
			return;
		t->v[0] = *pair;
		top_down(t, 0, t->n);
		return;
	}
	mvcc_top_push(t, pair);
	top_up(t, t->n - 1);
}

void mvcc_top_sort(struct mvcc_top *t)
{
	for (size_t i = t->n / 2; i > 0; i--)        /* pushed pairs are no heap yet */
		top_down(t, i - 1, t->n);
	for (size_t n = t->n; n > 1; n--) {
		top_swap(t, 0, n - 1);
		top_down(t, 0, n - 1);
	}
}

void mvcc_top_free(struct mvcc_top *t)
{
	free(t->v);
	t->v = NULL;
	t->n = t->cap = 0;
}
