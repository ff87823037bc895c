/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/txn.h"

#include "base/check.h"
#include "base/err.h"
#include "mvcc/compare.h"
#include "mvcc/kv_check.h"

/* Which way each transaction takes, in the order in which they are come upon. */
struct txn_path {
	bool *taken;
	size_t n, max, next;
};

struct txn_run {
	struct mvcc_view *v;
	const struct mvcc_txn_writes *writes;
	struct arena *arena;
	struct txn_path path;
};

static const struct kv_op *txn_branch(const struct kv_txn *txn, bool taken, size_t *n)
{
	*n = taken ? txn->success.n : txn->failure.n;
	return taken ? txn->success.v : txn->failure.v;
}

static size_t txn_count(const struct kv_txn *txn, unsigned depth)
{
	size_t count = 1, n;

	CHECK(depth < LIMIT_TXN_DEPTH);
	for (int way = 0; way < 2; way++) {
		const struct kv_op *ops = txn_branch(txn, way == 1, &n);

		for (size_t i = 0; i < n; i++)
			if (ops[i].txn != NULL)
				count += txn_count(ops[i].txn, depth + 1);
	}
	return count;
}

static bool path_next(struct txn_path *p)
{
	CHECK(p->next < p->n);
	return p->taken[p->next++];
}

/* ---- compares ---- */

/* It must hold for every key of the range; a range without keys is one missing key. */
static int compare_holds(struct mvcc_view *v, const struct kv_compare *c, bool *holds)
{
	struct mvcc_span span = {c->key, c->range_end};
	struct mvcc_scan *scan;
	struct kv_pair pair;
	bool any = false;
	int rc;

	*holds = true;
	if (!mvcc_view_spend_rows(v, 1))
		return ERR_TXN_TOO_LARGE;
	rc = mvcc_scan_begin(v, &span, v->info.revision, &scan);
	if (rc != ERR_OK)
		return rc;
	while (*holds && (rc = mvcc_scan_next(scan, &pair)) == ERR_OK) {
		any = true;
		if (c->target == KV_TARGET_VALUE && !mvcc_view_spend_rows(v, mvcc_value_rows(pair.value))) {
			rc = ERR_TXN_TOO_LARGE;
			break;
		}
		*holds = mvcc_compare_pair(c, &pair);
	}
	mvcc_scan_end(&scan);
	if (rc == ERR_NOT_FOUND && !any)
		*holds = mvcc_compare_missing(c);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static int txn_compare(struct txn_run *run, const struct kv_txn *txn)
{
	const struct kv_op *ops;
	bool taken = true;
	int rc = ERR_OK;
	size_t n;

	for (size_t i = 0; i < txn->compares.n && taken && rc == ERR_OK; i++)
		rc = compare_holds(run->v, &txn->compares.v[i], &taken);
	CHECK(run->path.n < run->path.max);
	run->path.taken[run->path.n++] = taken;
	ops = txn_branch(txn, taken, &n);
	for (size_t i = 0; i < n && rc == ERR_OK; i++)
		if (ops[i].txn != NULL)
			rc = txn_compare(run, ops[i].txn);
	return rc;
}

/* ---- what can be refused before anything is done ---- */

/* As etcd has it, only 0 means the latest here; before the first compaction -1 does too. */
static int txn_may_range(const struct mvcc_view *v, const struct kv_range *r)
{
	if (r->revision == 0)
		return ERR_OK;
	if (r->revision > v->info.revision)
		return ERR_FUTURE_REV;
	return r->revision < v->info.compact_revision ? ERR_COMPACTED : ERR_OK;
}

static int txn_may_puts(struct txn_run *run, const struct kv_txn *txn)
{
	bool taken = path_next(&run->path);
	int rc = ERR_OK;
	size_t n;
	const struct kv_op *ops = txn_branch(txn, taken, &n);

	for (size_t i = 0; i < n && rc == ERR_OK; i++) {
		if (!mvcc_view_spend_rows(run->v, 1))
			rc = ERR_TXN_TOO_LARGE;
		else if (ops[i].put != NULL)
			rc = run->writes->may_put(run->writes->arg, ops[i].put);
		else if (ops[i].txn != NULL)
			rc = txn_may_puts(run, ops[i].txn);
	}
	return rc;
}

static int txn_may_ranges(struct txn_run *run, const struct kv_txn *txn)
{
	bool taken = path_next(&run->path);
	int rc = ERR_OK;
	size_t n;
	const struct kv_op *ops = txn_branch(txn, taken, &n);

	for (size_t i = 0; i < n && rc == ERR_OK; i++) {
		if (ops[i].range != NULL)
			rc = txn_may_range(run->v, ops[i].range);
		else if (ops[i].txn != NULL)
			rc = txn_may_ranges(run, ops[i].txn);
	}
	return rc;
}

/* Which of several errors is told is etcd's choice: those of puts before those of ranges. */
static int txn_may(struct txn_run *run, const struct kv_txn *txn)
{
	int rc;

	run->path.next = 0;
	rc = txn_may_puts(run, txn);
	run->path.next = 0;
	return rc == ERR_OK ? txn_may_ranges(run, txn) : rc;
}

/* ---- doing it ---- */

static int txn_do(struct txn_run *run, const struct kv_txn *txn, struct kv_txn_result *out);

static int txn_do_range(struct txn_run *run, const struct kv_range *r, struct kv_range_result *out)
{
	int64_t at = r->revision > 0 ? r->revision : run->v->info.revision;

	return mvcc_range(run->v, r, at, run->arena, out);
}

static int txn_do_op(struct txn_run *run, const struct kv_op *op, struct kv_op_result *out)
{
	struct arena *arena = run->arena;

	if (!mvcc_view_spend(run->v, MVCC_PAIR_COST))
		return ERR_RESPONSE_TOO_LARGE;
	if (op->range != NULL) {
		out->range = arena_alloc(arena, sizeof *out->range);
		return out->range ? txn_do_range(run, op->range, out->range) : ERR_LIMIT;
	}
	if (op->put != NULL) {
		out->put = arena_alloc(arena, sizeof *out->put);
		return out->put ? run->writes->put(run->writes->arg, op->put, out->put) : ERR_LIMIT;
	}
	if (op->del != NULL) {
		out->del = arena_alloc(arena, sizeof *out->del);
		return out->del ? run->writes->del(run->writes->arg, op->del, out->del) : ERR_LIMIT;
	}
	out->txn = arena_alloc(arena, sizeof *out->txn);
	return out->txn ? txn_do(run, op->txn, out->txn) : ERR_LIMIT;
}

static int txn_do(struct txn_run *run, const struct kv_txn *txn, struct kv_txn_result *out)
{
	int rc = ERR_OK;
	size_t n;
	const struct kv_op *ops;

	*out = (struct kv_txn_result){.succeeded = path_next(&run->path)};
	ops = txn_branch(txn, out->succeeded, &n);
	out->responses.v = n ? arena_array(run->arena, n, sizeof *out->responses.v) : NULL;
	if (n > 0 && out->responses.v == NULL)
		return ERR_LIMIT;
	out->responses.n = n;
	for (size_t i = 0; i < n && rc == ERR_OK; i++)
		rc = txn_do_op(run, &ops[i], &out->responses.v[i]);
	if (rc != ERR_OK)
		return rc;
	out->header = mvcc_header(run->arena, run->v->info.revision);
	return out->header ? ERR_OK : ERR_LIMIT;
}

int mvcc_txn_run(struct mvcc_view *v, const struct kv_txn *txn, const struct mvcc_txn_writes *writes,
		 struct arena *arena, struct kv_txn_result *out)
{
	struct txn_run run = {.v = v, .writes = writes, .arena = arena};
	uint64_t rows_left = LIMIT_TXN_ROWS;
	int rc;

	run.path.max = txn_count(txn, 0);
	run.path.taken = arena_array(arena, run.path.max, sizeof *run.path.taken);
	if (run.path.taken == NULL)
		return ERR_LIMIT;
	v->rows_left = &rows_left;
	rc = txn_compare(&run, txn);
	if (rc == ERR_OK)
		rc = txn_may(&run, txn);
	run.path.next = 0;
	if (rc == ERR_OK)
		rc = txn_do(&run, txn, out);
	v->rows_left = NULL;
	return rc;
}

int mvcc_read_txn(struct mvcc_view *v, const struct kv_txn *txn, struct arena *arena,
		  struct kv_txn_result *out)
{
	if (!kv_txn_reads_only(txn))
		return ERR_BAD_ARGUMENT;
	return mvcc_txn_run(v, txn, NULL, arena, out);
}
