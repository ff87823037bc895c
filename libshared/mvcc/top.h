/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the first `max` pairs in some order of those that are added, in bounded memory, and puts
 * them in that order at the end.
 */
#ifndef QUORATE_MVCC_TOP_H
#define QUORATE_MVCC_TOP_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/kv.h"

/* Ties are broken by key, so that every replica gives the same answer. */
struct mvcc_order {
	enum kv_sort_target target;
	bool descend;
};
int mvcc_order_cmp(const struct mvcc_order *o, const struct kv_pair *a, const struct kv_pair *b);

struct mvcc_top {
	struct mvcc_order order;
	size_t max;
	struct kv_pair *v;       /* a heap with the last pair of the order first; after sort: in order */
	size_t n, cap;
};

void mvcc_top_init(struct mvcc_top *t, struct mvcc_order order, size_t max);   /* max > 0 */
void mvcc_top_add(struct mvcc_top *t, const struct kv_pair *pair);
/* For pairs that are all wanted: at most max are pushed, in any order, and none are added. */
void mvcc_top_push(struct mvcc_top *t, const struct kv_pair *pair);
void mvcc_top_sort(struct mvcc_top *t);
void mvcc_top_free(struct mvcc_top *t);

#endif
