/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/range_job.h"

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"

enum { STEP_CLOCK_ROWS = 64, RANGE_ORDER_STEPS = 500 };

void step_begin(struct step *s, struct mvcc_view *view, mono_t until)
{
	*s = (struct step){view, LIMIT_GATEWAY_STEP_ROWS, LIMIT_GATEWAY_STEP_BYTES, until, 0};
}

/* The clock is looked at now and then only. */
bool step_over(struct step *s)
{
	if (s->rows == 0 || s->bytes == 0)
		return true;
	if (s->looked % STEP_CLOCK_ROWS == STEP_CLOCK_ROWS - 1 && !mono_before(mono_now(), s->until))
		s->rows = 0;
	return s->rows == 0;
}

static void step_spend(struct step *s, size_t rows, size_t bytes)
{
	s->rows -= rows < s->rows ? rows : s->rows;
	s->bytes -= bytes < s->bytes ? bytes : s->bytes;
	s->looked += rows;
}

/* ---- what is asked ---- */

/* The store may have been compacted, or be another copy that is behind, since the last step. */
static int range_still(const struct range_job *j, const struct mvcc_view *v)
{
	const struct mvcc_info *info = mvcc_view_info(v);

	return j->at < info->compact_revision || j->at > info->revision ? ERR_COMPACTED : ERR_OK;
}

static void range_plan(struct range_job *j, const struct kv_range *r, const struct form *form)
{
	bool by_key = r->sort_target == KV_SORT_KEY;

	*j = (struct range_job){.r = r, .form = form, .phase = RANGE_FIRST};
	buf_init(&j->last, 0);
	j->filtered = r->min_mod_revision != 0 || r->max_mod_revision != 0 ||
		      r->min_create_revision != 0 || r->max_create_revision != 0;
	if (r->count_only)
		return;
	j->sorted = !by_key || r->sort_order == KV_ORDER_DESCEND;
	/* As etcd has it: a target without an order sorts upwards, but only what the limit lets in. */
	j->first_rows = !by_key && r->sort_order == KV_ORDER_NONE && !j->filtered && r->limit > 0;
}

int range_job_begin(struct range_job *j, const struct kv_range *r, const struct form *form,
		    const struct mvcc_view *v)
{
	range_plan(j, r, form);
	j->sized = form->pair_size != NULL;
	j->latest = mvcc_view_info(v)->revision;
	return mvcc_view_revision(v, r->revision, &j->at);
}

int range_job_begin_in_txn(struct range_job *j, const struct kv_range *r, const struct form *form,
			   const struct mvcc_view *v, int64_t latest)
{
	range_plan(j, r, form);
	j->latest = latest;
	j->at = r->revision > 0 ? r->revision : latest;
	if (r->revision > latest)
		return ERR_FUTURE_REV;
	if (r->revision != 0 && r->revision < mvcc_view_info(v)->compact_revision)
		return ERR_COMPACTED;
	return range_still(j, v);
}

struct sorter *range_job_end(struct range_job *j)
{
	struct sorter *s = j->sort;

	j->sort = NULL;
	buf_free(&j->last);
	return s;
}

size_t range_job_bytes(const struct range_job *j)
{
	return j->last.cap + (j->sort != NULL ? j->sort->bytes : 0);
}

static bool range_keeps(const struct kv_range *r, const struct kv_pair *p)
{
	return (r->max_mod_revision == 0 || p->mod_revision <= r->max_mod_revision) &&
	       (r->min_mod_revision == 0 || p->mod_revision >= r->min_mod_revision) &&
	       (r->max_create_revision == 0 || p->create_revision <= r->max_create_revision) &&
	       (r->min_create_revision == 0 || p->create_revision >= r->min_create_revision);
}

static bool range_limited(const struct range_job *j, uint64_t n)
{
	return j->r->limit > 0 && n >= (uint64_t)j->r->limit;
}

/* ---- moving on in a view ---- */

static int range_scan(struct range_job *j, struct step *s, struct mvcc_scan **scan)
{
	struct mvcc_span span = {j->r->key, j->r->range_end};
	int err = mvcc_scan_begin(s->view, &span, j->at, scan);

	CHECK(s->rows > 0);
	if (err != ERR_OK)
		return err;
	if (j->moved)
		err = mvcc_scan_after(*scan, buf_bytes(&j->last));
	mvcc_scan_limit(*scan, s->rows);
	if (err != ERR_OK)
		mvcc_scan_end(scan);
	return err;
}

static int range_mark(struct range_job *j, struct bytes key)
{
	buf_clear(&j->last);
	buf_add_bytes(&j->last, key);
	j->moved = true;
	return j->last.err;
}

/*
 * Ends a scan that stopped with `err`. ERR_NOT_FOUND: the range is at its end. ERR_OK: the step is
 * over; `after` is the last row taken, unless the scan itself ran out of rows.
 */
static int range_pause(struct range_job *j, struct step *s, struct mvcc_scan **scan, int err,
		       struct bytes after)
{
	struct bytes last = err == ERR_LIMIT ? mvcc_scan_last(*scan) : after;

	if (err == ERR_LIMIT)
		s->rows = 0;
	if (err == ERR_LIMIT || err == ERR_OK)
		err = last.len > 0 ? range_mark(j, last) : ERR_OK;
	mvcc_scan_end(scan);
	return err;
}

static void range_rewind(struct range_job *j)
{
	j->moved = false;
	buf_clear(&j->last);
}

/* ---- preparing ---- */

static void range_ready(struct range_job *j)
{
	j->n = j->r->count_only ? 0 : j->matched;
	j->more = !j->r->count_only && j->r->limit > 0 && j->matched > (uint64_t)j->r->limit;
	if (j->more)
		j->n = (uint64_t)j->r->limit;
	range_rewind(j);
	j->phase = j->sized && !j->fast && j->n > 0 ? RANGE_SIZE : RANGE_READY;
}

static void range_put_pair(const struct range_job *j, struct buf *out, const struct kv_pair *pair)
{
	struct kv_pair p = *pair;

	if (j->r->keys_only)
		p.value = bytes_of(NULL, 0);
	j->form->pair(out, &p);
}

/* The next pair of the answer: written, or only measured. */
static void range_send(struct range_job *j, struct step *s, struct buf *out, const struct kv_pair *pair)
{
	struct kv_pair p = *pair;
	size_t bytes = 0;

	if (j->r->keys_only)
		p.value = bytes_of(NULL, 0);
	if (out == NULL) {
		j->pair_bytes += j->form->pair_size(&p);
	} else {
		bytes = out->len;
		j->form->pair(out, &p);
		bytes = out->len - bytes;
	}
	j->sent++;
	step_spend(s, 1, bytes);
}

/* A row of the range. Is it one of the answer? */
static bool range_takes(struct range_job *j, const struct kv_pair *pair)
{
	bool wanted = !range_limited(j, j->matched);

	j->count++;
	if (j->filtered && !range_keeps(j->r, pair))
		return false;
	j->matched++;
	return wanted;
}

static int range_one_key(struct range_job *j, struct step *s, struct buf *kept)
{
	struct kv_pair pair;
	int err = mvcc_get(s->view, j->r->key, j->at, &pair);

	step_spend(s, 1, 0);
	if (err == ERR_OK && range_takes(j, &pair) && !j->r->count_only)
		range_put_pair(j, kept, &pair);
	if (err != ERR_OK && err != ERR_NOT_FOUND)
		return err;
	j->fast = true;
	range_ready(j);
	return kept->err;
}

/* Takes and counts at once, in the hope that all of it fits into this step. */
static int range_first(struct range_job *j, struct step *s, struct buf *kept)
{
	struct mvcc_scan *scan;
	struct kv_pair pair = {.lease = 0};
	int err = range_scan(j, s, &scan);

	if (err != ERR_OK)
		return err;
	while (!step_over(s) && (err = mvcc_scan_next(scan, &pair)) == ERR_OK) {
		size_t before = kept->len;

		if (range_takes(j, &pair) && !j->r->count_only)
			range_put_pair(j, kept, &pair);
		step_spend(s, 1, kept->len - before);
	}
	err = range_pause(j, s, &scan, err, pair.key);
	if (err == ERR_NOT_FOUND) {
		j->fast = true;
		range_ready(j);
		return kept->err;
	}
	j->phase = RANGE_COUNT;
	return err;
}

/* Once more rows match than the limit lets through, only their number is of interest. */
static bool range_only_counts(const struct range_job *j)
{
	return j->r->count_only || !j->filtered || (j->r->limit > 0 && j->matched > (uint64_t)j->r->limit);
}

static int range_count_bare(struct range_job *j, struct step *s)
{
	struct mvcc_scan *scan;
	int64_t n = 0;
	size_t rows = s->rows;
	int err = range_scan(j, s, &scan);

	if (err != ERR_OK)
		return err;
	err = mvcc_count(scan, rows, &n);
	step_spend(s, rows, 0);
	j->count += n;
	if (!j->filtered)
		j->matched += (uint64_t)n;
	if (err == ERR_OK)
		err = ERR_NOT_FOUND;          /* counted to the end */
	return range_pause(j, s, &scan, err, bytes_of(NULL, 0));
}

static int range_count_filtered(struct range_job *j, struct step *s)
{
	struct mvcc_scan *scan;
	struct kv_pair pair = {.lease = 0};
	int err = range_scan(j, s, &scan);

	if (err != ERR_OK)
		return err;
	while (!step_over(s) && !range_only_counts(j) && (err = mvcc_scan_next(scan, &pair)) == ERR_OK) {
		(void)range_takes(j, &pair);
		step_spend(s, 1, 0);
	}
	return range_pause(j, s, &scan, err, pair.key);
}

static int range_count(struct range_job *j, struct step *s)
{
	int err = range_only_counts(j) ? range_count_bare(j, s) : range_count_filtered(j, s);

	if (err != ERR_NOT_FOUND)
		return err;
	range_ready(j);
	return ERR_OK;
}

static size_t range_sort_max(const struct range_job *j)
{
	return j->r->limit > 0 && (uint64_t)j->r->limit < LIMIT_SORT_ROWS ? (size_t)j->r->limit : 0;
}

/* Every row, or with first_rows those that the limit would let in and one more. */
static bool range_sorts(const struct range_job *j)
{
	return !j->first_rows || j->matched <= (uint64_t)j->r->limit;
}

static int range_gather(struct range_job *j, struct step *s)
{
	struct mvcc_scan *scan;
	struct kv_pair pair = {.lease = 0};
	int err = range_scan(j, s, &scan);

	if (err != ERR_OK)
		return err;
	if (j->sort == NULL)
		j->sort = sorter_new((enum kv_sort_target)j->r->sort_target,
				     j->r->sort_order == KV_ORDER_DESCEND, range_sort_max(j));
	while (!step_over(s) && (err = mvcc_scan_next(scan, &pair)) == ERR_OK) {
		uint64_t before = j->matched;
		bool sorts = range_sorts(j);

		(void)range_takes(j, &pair);
		if (sorts && j->matched > before)
			err = sorter_add(j->sort, &pair);
		if (err != ERR_OK)
			break;
		step_spend(s, 1, 0);
	}
	err = range_pause(j, s, &scan, err, pair.key);
	if (err == ERR_NOT_FOUND) {
		j->phase = RANGE_ORDER;
		err = ERR_OK;
	}
	return err;
}

static int range_order(struct range_job *j, struct step *s)
{
	bool done = sorter_order(j->sort, RANGE_ORDER_STEPS);

	step_spend(s, RANGE_ORDER_STEPS / 4, 0);
	if (!done)
		return ERR_OK;
	range_ready(j);
	CHECK(j->n <= j->sort->n);
	return ERR_OK;
}

/* ---- the pairs ---- */

static int range_emit_sorted(struct range_job *j, struct step *s, struct buf *out)
{
	int err = ERR_OK;

	while (!step_over(s) && j->sent < j->n && err == ERR_OK) {
		struct kv_pair pair;

		err = mvcc_get(s->view, sorter_key(j->sort, (size_t)j->sent), j->at, &pair);
		if (err == ERR_OK)
			range_send(j, s, out, &pair);
	}
	return err;
}

static int range_emit_plain(struct range_job *j, struct step *s, struct buf *out)
{
	struct mvcc_scan *scan;
	struct kv_pair pair = {.lease = 0};
	int err = range_scan(j, s, &scan);

	if (err != ERR_OK)
		return err;
	while (!step_over(s) && j->sent < j->n && (err = mvcc_scan_next(scan, &pair)) == ERR_OK) {
		if (!j->filtered || range_keeps(j->r, &pair))
			range_send(j, s, out, &pair);
		else
			step_spend(s, 1, 0);
	}
	return range_pause(j, s, &scan, err, pair.key);
}

/* The pairs once, as they will be written; `out` is NULL while they are only measured. */
static int range_pass(struct range_job *j, struct step *s, struct buf *out)
{
	int err = j->sorted ? range_emit_sorted(j, s, out) : range_emit_plain(j, s, out);

	/* fewer rows than were counted at the same revision */
	return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

static int range_measure(struct range_job *j, struct step *s)
{
	int err = range_pass(j, s, NULL);

	if (err != ERR_OK || j->sent < j->n)
		return err;
	j->sent = 0;
	range_rewind(j);
	j->phase = RANGE_READY;
	return ERR_OK;
}

/* All keys at the latest revision: the store knows how many. */
static bool range_counts_all(const struct range_job *j, const struct mvcc_info *info)
{
	const struct kv_range *r = j->r;

	return r->count_only && j->at == info->revision && r->key.len == 1 && r->key.data[0] == 0 &&
	       r->range_end.len == 1 && r->range_end.data[0] == 0;
}

static int range_begin(struct range_job *j, struct step *s, struct buf *kept)
{
	const struct mvcc_info *info = mvcc_view_info(s->view);

	if (range_counts_all(j, info)) {
		j->count = (int64_t)info->keys;
		j->fast = true;
		range_ready(j);
		return ERR_OK;
	}
	if (j->r->range_end.len == 0)
		return range_one_key(j, s, kept);
	if (!j->sorted)
		return range_first(j, s, kept);
	j->phase = RANGE_GATHER;
	return ERR_OK;
}

int range_job_prepare(struct range_job *j, struct step *s, struct buf *kept)
{
	int err = range_still(j, s->view);

	buf_clear(kept);
	while (err == ERR_OK && j->phase < RANGE_READY && !step_over(s)) {
		switch (j->phase) {
		case RANGE_FIRST:
			err = range_begin(j, s, kept);
			break;
		case RANGE_COUNT:
			err = range_count(j, s);
			break;
		case RANGE_GATHER:
			err = range_gather(j, s);
			break;
		case RANGE_SIZE:
			err = range_measure(j, s);
			break;
		default:
			err = range_order(j, s);
			break;
		}
	}
	return err;
}

/* ---- answering ---- */

size_t range_job_total(const struct range_job *j, const struct kv_header *header)
{
	CHECK(j->phase == RANGE_READY && !j->fast);
	return j->sized ? j->form->range_size(header, j->count, j->more, j->pair_bytes) : 0;
}

void range_job_head(struct range_job *j, struct buf *out, const struct kv_header *header,
		    const struct buf *kept)
{
	CHECK(j->phase == RANGE_READY);
	j->form->range_head(out, header, j->count, j->more, j->n);
	if (j->fast)
		buf_add_bytes(out, buf_bytes(kept));
	j->phase = j->fast || j->n == 0 ? RANGE_DONE : RANGE_EMIT;
	if (j->phase == RANGE_DONE)
		j->form->range_tail(out, j->count, j->more);
}

int range_job_emit(struct range_job *j, struct step *s, struct buf *out)
{
	int err = range_still(j, s->view);

	CHECK(j->phase == RANGE_EMIT);
	if (err == ERR_OK && !step_over(s))
		err = range_pass(j, s, out);
	if (err == ERR_OK && j->sent == j->n) {
		j->phase = RANGE_DONE;
		j->form->range_tail(out, j->count, j->more);
	}
	return err != ERR_OK ? err : out->err;
}
