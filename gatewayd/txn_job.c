/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/txn_job.h"

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "mvcc/compare.h"

/* ---- compares ---- */

static int compare_one(struct txn_job *j, struct step *s, const struct kv_compare *c, bool *holds)
{
	struct kv_pair pair;
	int err = mvcc_get(s->view, c->key, j->at, &pair);

	s->rows--;
	s->looked++;
	if (err == ERR_NOT_FOUND)
		*holds = mvcc_compare_missing(c);
	else if (err == ERR_OK)
		*holds = mvcc_compare_pair(c, &pair);
	return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static int compare_pause(struct txn_job *j, struct step *s, struct mvcc_scan *scan, int err,
			 struct bytes after)
{
	struct bytes last = err == ERR_LIMIT ? mvcc_scan_last(scan) : after;

	if (err == ERR_LIMIT)
		s->rows = 0;
	if (last.len > 0) {
		buf_clear(&j->last);
		buf_add_bytes(&j->last, last);
		j->moved = true;
	}
	return j->last.err;
}

/* It must hold for every key of the range. *decided stays false if the step ends first. */
static int compare_range(struct txn_job *j, struct step *s, const struct kv_compare *c, bool *decided,
			 bool *holds)
{
	struct mvcc_span span = {c->key, c->range_end};
	struct kv_pair pair = {.lease = 0};
	struct mvcc_scan *scan;
	int err = mvcc_scan_begin(s->view, &span, j->at, &scan);

	*decided = false;
	*holds = true;
	if (err != ERR_OK)
		return err;
	if (j->moved)
		err = mvcc_scan_after(scan, buf_bytes(&j->last));
	mvcc_scan_limit(scan, s->rows);
	while (err == ERR_OK && *holds && !step_over(s) && (err = mvcc_scan_next(scan, &pair)) == ERR_OK) {
		j->any = true;
		*holds = mvcc_compare_pair(c, &pair);
		s->rows--;
		s->looked++;
	}
	*decided = err == ERR_NOT_FOUND || !*holds;
	if (err == ERR_NOT_FOUND) {
		err = ERR_OK;
		*holds = j->any || mvcc_compare_missing(c);
	} else if (err == ERR_OK || err == ERR_LIMIT) {
		err = compare_pause(j, s, scan, err, pair.key);
	}
	mvcc_scan_end(&scan);
	return err;
}

/* ---- frames ---- */

static const struct kv_op *frame_ops(const struct txn_frame *f, size_t *n)
{
	*n = f->taken ? f->txn->success.n : f->txn->failure.n;
	return f->taken ? f->txn->success.v : f->txn->failure.v;
}

static void frame_push(struct txn_job *j, const struct kv_txn *txn)
{
	CHECK(j->depth < LIMIT_TXN_DEPTH);
	j->frames[j->depth++] = (struct txn_frame){.txn = txn};
}

static struct txn_frame *frame_top(struct txn_job *j)
{
	return &j->frames[j->depth - 1];
}

/* The branch is known: the result's beginning can be written. A nested header has only a revision. */
static void frame_decide(struct txn_job *j, bool taken)
{
	struct txn_frame *f = frame_top(j);
	struct kv_header header = {.revision = j->at};
	size_t n;

	f->decided = true;
	f->taken = taken;
	if (j->depth > 1)
		j->form->txn_head(&j->out, &header, true);
	(void)frame_ops(f, &n);
	j->form->txn_taken(&j->out, taken, n);
}

static int frame_compare(struct txn_job *j, struct step *s)
{
	struct txn_frame *f = frame_top(j);
	const struct kv_compare *c;
	bool decided = true, holds = true;
	int err;

	if (f->compare == f->txn->compares.n) {
		frame_decide(j, true);
		return ERR_OK;
	}
	c = &f->txn->compares.v[f->compare];
	if (c->range_end.len == 0)
		err = compare_one(j, s, c, &holds);
	else
		err = compare_range(j, s, c, &decided, &holds);
	if (err != ERR_OK || !decided)
		return err;
	f->compare++;
	j->any = false;
	j->moved = false;
	if (!holds)
		frame_decide(j, false);
	return ERR_OK;
}

/* ---- operations ---- */

/* The branch is done: so is the operation of the transaction around it. */
static void op_end_txn(struct txn_job *j)
{
	size_t mark = frame_top(j)->mark;

	j->depth--;
	if (j->depth > 0)
		j->form->op_tail(&j->out, FORM_TXN, mark);
}

static int op_next(struct txn_job *j, struct step *s)
{
	struct txn_frame *f = frame_top(j);
	const struct kv_op *ops, *op;
	size_t n, mark;

	ops = frame_ops(f, &n);
	if (f->op == n) {
		op_end_txn(j);
		return ERR_OK;
	}
	op = &ops[f->op++];
	mark = j->out.len;
	j->form->op_head(&j->out, op->range != NULL ? FORM_RANGE : FORM_TXN);
	if (op->txn != NULL) {
		frame_push(j, op->txn);
		frame_top(j)->mark = mark;
		return ERR_OK;
	}
	CHECK(op->range != NULL);
	j->in_range = true;
	j->range_mark = mark;
	return range_job_begin_in_txn(&j->range, op->range, j->form, s->view, j->at);
}

static void op_end_range(struct txn_job *j, struct sorter **spent)
{
	*spent = range_job_end(&j->range);
	j->in_range = false;
	j->form->op_tail(&j->out, FORM_RANGE, j->range_mark);
}

static int op_range(struct txn_job *j, struct step *s, struct buf *kept, struct sorter **spent)
{
	struct kv_header header = {.revision = j->at};
	struct range_job *r = &j->range;
	int err = ERR_OK;

	if (r->phase < RANGE_READY)
		err = range_job_prepare(r, s, kept);
	if (err == ERR_OK && r->phase == RANGE_READY)
		range_job_head(r, &j->out, &header, kept);
	else if (err == ERR_OK && r->phase == RANGE_EMIT)
		err = range_job_emit(r, s, &j->out);
	if (err == ERR_OK && r->phase == RANGE_DONE)
		op_end_range(j, spent);
	return err;
}

/* ---- */

void txn_job_begin(struct txn_job *j, const struct kv_txn *txn, const struct form *form,
		   const struct mvcc_view *v, struct kv_header *header)
{
	memset(j, 0, sizeof *j);
	j->form = form;
	j->at = header->revision = mvcc_view_info(v)->revision;
	buf_init(&j->last, 0);
	buf_init(&j->out, LIMIT_TXN_RESPONSE_BYTES + LIMIT_REQUEST_BYTES);
	form->txn_head(&j->out, header, false);
	frame_push(j, txn);
}

static int txn_still(const struct txn_job *j, const struct step *s)
{
	const struct mvcc_info *info = mvcc_view_info(s->view);

	return j->at < info->compact_revision || j->at > info->revision ? ERR_COMPACTED : ERR_OK;
}

int txn_job_step(struct txn_job *j, struct step *s, struct buf *kept, struct sorter **spent)
{
	int err = txn_still(j, s);

	*spent = NULL;
	while (err == ERR_OK && j->depth > 0 && *spent == NULL && !step_over(s)) {
		if (j->in_range)
			err = op_range(j, s, kept, spent);
		else if (!frame_top(j)->decided)
			err = frame_compare(j, s);
		else
			err = op_next(j, s);
		if (err == ERR_OK && (j->out.err == ERR_LIMIT || j->out.len > LIMIT_TXN_RESPONSE_BYTES))
			err = ERR_RESPONSE_TOO_LARGE;
	}
	return err != ERR_OK ? err : j->out.err;
}

struct sorter *txn_job_end(struct txn_job *j)
{
	buf_free(&j->last);
	buf_free(&j->out);
	return j->in_range ? range_job_end(&j->range) : NULL;
}

size_t txn_job_bytes(const struct txn_job *j)
{
	return j->out.cap + j->last.cap + (j->in_range ? range_job_bytes(&j->range) : 0);
}
