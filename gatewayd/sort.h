/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the rows of a range in order, a little at a time, so that a million of them never hold up
 * the loop: rows are added one by one to a heap (the last in order on top), and the heap is taken
 * apart in steps. Of each row only its key and what it is sorted by is kept; a bound on the number
 * of rows keeps the first ones of the order.
 */
#ifndef QUORATE_SORT_H
#define QUORATE_SORT_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/kv.h"

struct sort_row;

struct sorter {
	enum kv_sort_target target;
	bool descend;
	size_t max;                   /* rows kept; 0: as many as the limits allow */
	struct sort_row *rows;
	size_t n, cap;
	size_t ordered;               /* rows at the end that are in their place */
	size_t bytes;                 /* held */
};

/* Ties are broken by key, upwards. */
struct sorter *sorter_new(enum kv_sort_target target, bool descend, size_t max);
/* ERR_OK; ERR_SORT_TOO_LARGE: beyond LIMIT_SORT_ROWS or LIMIT_GATEWAY_SORT_BYTES. */
int sorter_add(struct sorter *s, const struct kv_pair *pair);
/* After the last add: does `steps` rows of the work; true when all are in order. */
bool sorter_order(struct sorter *s, size_t steps);
/* The i-th key of the order. */
struct bytes sorter_key(const struct sorter *s, size_t i);
/* Gives up to `rows` rows back; true and *s is NULL when all is free. */
bool sorter_free_some(struct sorter **s, size_t rows);

#endif
