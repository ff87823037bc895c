/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range as etcd answers it. Without sort and filter, `limit` + 1 rows in key order are enough, and
 * the rest is counted. With a real sort or a filter the limit applies to what comes out of it. One
 * oddity is kept: order NONE with a target other than KEY means: take `limit` + 1 rows in key
 * order, then sort those upwards.
 */
#include <stdlib.h>

#include "base/err.h"
#include "mvcc/top.h"
#include "mvcc/view.h"

struct range_plan {
	bool filtered;
	bool sort_all;           /* every row takes part in the sort */
	struct mvcc_order order; /* of the answer */
	size_t rows;             /* the answer needs no more, one of them only to say `more`; 0: all */
};

static void range_plan(struct range_plan *p, const struct kv_range *r)
{
	bool descend = r->sort_order == KV_ORDER_DESCEND;
	bool by_key = r->sort_target == KV_SORT_KEY;

	p->filtered = r->min_mod_revision != 0 || r->max_mod_revision != 0 ||
		      r->min_create_revision != 0 || r->max_create_revision != 0;
	p->order = (struct mvcc_order){(enum kv_sort_target)r->sort_target, descend};
	p->sort_all = (r->sort_order != KV_ORDER_NONE || p->filtered) && (!by_key || descend);
	p->rows = r->limit > 0 && r->limit < LIMIT_SORT_ROWS ? (size_t)r->limit + 1 : 0;
}

static bool range_keeps(const struct kv_range *r, const struct kv_pair *p)
{
	return (r->max_mod_revision == 0 || p->mod_revision <= r->max_mod_revision) &&
	       (r->min_mod_revision == 0 || p->mod_revision >= r->min_mod_revision) &&
	       (r->max_create_revision == 0 || p->create_revision <= r->max_create_revision) &&
	       (r->min_create_revision == 0 || p->create_revision >= r->min_create_revision);
}

static size_t range_cost(const struct kv_range *r, const struct kv_pair *p)
{
	return MVCC_PAIR_COST + p->key.len + (r->keys_only ? 0 : p->value.len);
}

static bool range_uses_values(const struct kv_range *r)
{
	return !r->keys_only || r->sort_target == KV_SORT_VALUE;
}

/*
 * Rows taken in key order go into the answer one by one, so a too large answer ends at once. Rows
 * to be sorted are all held until the end.
 */
struct range_run {
	struct mvcc_view *v;
	const struct kv_range *r;
	struct range_plan plan;
	struct mvcc_top top;
	size_t cost;
	int64_t count;
};

static int range_take(struct range_run *run, const struct kv_pair *pair)
{
	struct mvcc_top *top = &run->top;
	size_t cost = range_cost(run->r, pair);

	if (run->plan.filtered && !range_keeps(run->r, pair))
		return ERR_OK;
	if (run->plan.rows == 0 && top->n == LIMIT_SORT_ROWS)
		return ERR_SORT_TOO_LARGE;
	if (range_uses_values(run->r) && !mvcc_view_spend_rows(run->v, mvcc_value_rows(pair->value)))
		return ERR_TXN_TOO_LARGE;
	if (run->plan.sort_all) {
		mvcc_top_add(top, pair);
		return ERR_OK;
	}
	if (run->v->bytes_left != NULL && run->cost > *run->v->bytes_left)
		return ERR_RESPONSE_TOO_LARGE;
	run->cost += cost;       /* the last one may be there to say `more`, and not be answered */
	mvcc_top_push(top, pair);
	return ERR_OK;
}

/* All that is left to do is to count. */
static bool range_has_enough(const struct range_run *run)
{
	if (run->r->count_only)
		return true;
	return !run->plan.sort_all && run->plan.rows != 0 && run->top.n == run->plan.rows;
}

static int range_gather(struct range_run *run, struct mvcc_scan *scan)
{
	struct kv_pair pair;
	int64_t rest = 0;
	int rc = ERR_OK;

	while (rc == ERR_OK && !range_has_enough(run)) {
		rc = mvcc_scan_next(scan, &pair);
		if (rc == ERR_OK) {
			run->count++;
			rc = range_take(run, &pair);
		}
	}
	if (rc == ERR_OK)
		rc = mvcc_count(scan, 0, &rest);
	run->count += rest;
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* The pairs of the answer, in order, out of what was gathered. */
static int range_emit(struct range_run *run, struct arena *arena, struct kv_range_result *out)
{
	const struct kv_range *r = run->r;
	size_t n = run->top.n;
	int rc = ERR_OK;

	if (r->sort_target != KV_SORT_KEY || run->plan.sort_all)
		mvcc_top_sort(&run->top);
	out->more = r->limit > 0 && n > (uint64_t)r->limit;
	if (out->more)
		n = (size_t)r->limit;
	out->kvs.v = n ? arena_array(arena, n, sizeof *out->kvs.v) : NULL;
	if (n > 0 && out->kvs.v == NULL)
		return ERR_LIMIT;
	for (size_t i = 0; i < n && rc == ERR_OK; i++) {
		struct kv_pair *pair = &out->kvs.v[i];

		*pair = run->top.v[i];
		if (!mvcc_view_spend(run->v, range_cost(r, pair)))
			return ERR_RESPONSE_TOO_LARGE;
		if (r->keys_only)
			pair->value = bytes_of(NULL, 0);
		rc = mvcc_pair_keep(run->v, arena, pair);
	}
	out->kvs.n = n;
	return rc;
}

/* The number of all keys is known. */
static bool range_is_count_of_all(const struct mvcc_view *v, const struct kv_range *r, int64_t at)
{
	return r->count_only && at == v->info.revision && r->key.len == 1 && r->key.data[0] == 0 &&
	       r->range_end.len == 1 && r->range_end.data[0] == 0;
}

int mvcc_range(struct mvcc_view *v, const struct kv_range *r, int64_t at, struct arena *arena,
	       struct kv_range_result *out)
{
	struct range_run run = {.v = v, .r = r};
	struct mvcc_span span = {r->key, r->range_end};
	struct mvcc_scan *scan;
	int rc;

	*out = (struct kv_range_result){.header = mvcc_header(arena, v->info.revision)};
	if (out->header == NULL)
		return ERR_LIMIT;
	if (range_is_count_of_all(v, r, at)) {
		out->count = (int64_t)v->info.keys;
		return ERR_OK;
	}
	range_plan(&run.plan, r);
	/* Gathered in key order and sorted at the end, or kept sorted from the start. */
	mvcc_top_init(&run.top, run.plan.order, run.plan.rows ? run.plan.rows : LIMIT_SORT_ROWS);
	rc = mvcc_scan_begin(v, &span, at, &scan);
	if (rc == ERR_OK) {
		rc = range_gather(&run, scan);
		mvcc_scan_end(&scan);
	}
	if (rc == ERR_OK)
		rc = range_emit(&run, arena, out);
	out->count = run.count;
	mvcc_top_free(&run.top);
	return rc;
}
