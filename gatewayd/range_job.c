/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/range_job.h"

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"

enum { RANGE_ORDER_STEPS = 500 };

/* ---- what is asked ---- */

/* The store may have been compacted, or be another copy that is behind, since the last step. */
static int range_still(const struct range_job *j, const struct mvcc_view *v)
{
	const struct mvcc_info *info = mvcc_view_info(v);

	return j->at < info->compact_revision || j->at > info->revision ? ERR_COMPACTED : ERR_OK;
}

static void range_plan(struct range_job *j, const struct kv_range *r, const struct form *form, bool sized)
{
	bool by_key = r->sort_target == KV_SORT_KEY;

	*j = (struct range_job){.r = r, .form = form, .phase = RANGE_BEGIN, .sized = sized};
	j->keep_max = sized ? LIMIT_GATEWAY_KEEP_BYTES : LIMIT_GATEWAY_STEP_BYTES;
	buf_init(&j->kept, 0);
	buf_init(&j->last, 0);
	buf_init(&j->behind_kept, 0);
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
	range_plan(j, r, form, form->pair_size != NULL);
	j->latest = mvcc_view_info(v)->revision;
	return mvcc_view_revision(v, r->revision, &j->at);
}

int range_job_begin_in_txn(struct range_job *j, const struct kv_range *r, const struct form *form,
			   const struct mvcc_view *v, int64_t latest)
{
	range_plan(j, r, form, false);
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
	buf_free(&j->kept);
	buf_free(&j->last);
	buf_free(&j->behind_kept);
	return s;
}

size_t range_job_bytes(const struct range_job *j)
{
	return j->kept.cap + j->last.cap + j->behind_kept.cap + (j->sort != NULL ? j->sort->bytes : 0);
}

void range_job_unkeep(struct range_job *j)
{
	buf_free(&j->kept);
	buf_clear(&j->behind_kept);
	j->keep_max = 0;
	j->taken = 0;
	if (j->phase != RANGE_READY)
		return;
	j->sent = 0;
	j->moved = false;
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

/* ---- preparing ---- */

/* The number of pairs is known. */
static void range_counted(struct range_job *j)
{
	j->n = j->r->count_only ? 0 : j->matched;
	j->more = !j->r->count_only && j->r->limit > 0 && j->matched > (uint64_t)j->r->limit;
	if (j->more)
		j->n = (uint64_t)j->r->limit;
}

/* What is behind the kept pairs is read from there on. */
static void range_ready(struct range_job *j)
{
	CHECK(j->taken <= j->n);
	j->sent = j->taken;
	j->moved = j->behind_kept.len > 0;
	buf_clear(&j->last);
	buf_add_bytes(&j->last, buf_bytes(&j->behind_kept));
	j->phase = RANGE_READY;
}

static struct kv_pair range_pair(const struct range_job *j, const struct kv_pair *pair)
{
	struct kv_pair p = *pair;

	if (j->r->keys_only)
		p.value = bytes_of(NULL, 0);
	return p;
}

/* The next pair of the answer: kept, or only measured. */
static void range_keep(struct range_job *j, struct buf *kept, const struct kv_pair *pair)
{
	static const uint8_t room[RANGE_ROOM];
	struct kv_pair p = range_pair(j, pair);
	size_t before;

	if (kept->len == 0)
		buf_add(kept, room, sizeof room);
	before = kept->len;
	j->form->pair(kept, &p);
	j->pair_bytes += kept->len - before;
	j->taken++;
}

static void range_measure(struct range_job *j, const struct kv_pair *pair)
{
	struct kv_pair p = range_pair(j, pair);

	j->pair_bytes += j->form->pair_size(&p);
}

static bool range_full(const struct range_job *j, const struct buf *kept)
{
	return kept->len >= (kept->len > 0 ? RANGE_ROOM : 0) + j->keep_max;
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
		range_keep(j, kept, &pair);
	if (err != ERR_OK && err != ERR_NOT_FOUND)
		return err;
	range_counted(j);
	range_ready(j);
	return kept->err;
}

/* The pairs behind the kept ones: their length, their number, or nothing is still to be known. */
static int range_go_on(struct range_job *j)
{
	if (j->taken > 0 && !j->sorted)
		buf_add_bytes(&j->behind_kept, buf_bytes(&j->last));
	if (j->sized && !(j->sorted ? j->sent == j->n : range_limited(j, j->matched)))
		j->phase = RANGE_SIZE;
	else if (!j->sorted)
		j->phase = RANGE_COUNT;
	else
		range_ready(j);
	return j->behind_kept.err;
}

/* Rows in key order: kept, or with `kept` NULL measured; all of them, or as many as the limit lets through. */
static int range_take_plain(struct range_job *j, struct step *s, struct buf *kept)
{
	struct mvcc_scan *scan;
	struct kv_pair pair = {.lease = 0};
	int err = range_scan(j, s, &scan);

	if (err != ERR_OK)
		return err;
	while (!step_over(s) && !range_limited(j, j->matched) && !(kept != NULL && range_full(j, kept)) &&
	       (err = mvcc_scan_next(scan, &pair)) == ERR_OK) {
		if (!range_takes(j, &pair))
			;
		else if (kept != NULL)
			range_keep(j, kept, &pair);
		else
			range_measure(j, &pair);
		step_spend(s, 1, 0);
	}
	err = range_pause(j, s, &scan, err, pair.key);
	if (err != ERR_NOT_FOUND)
		return err;
	range_counted(j);
	range_ready(j);
	return ERR_OK;
}

static int range_take_sorted(struct range_job *j, struct step *s, struct buf *kept)
{
	int err = ERR_OK;

	while (!step_over(s) && j->sent < j->n && !(kept != NULL && range_full(j, kept)) && err == ERR_OK) {
		struct kv_pair pair;

		err = mvcc_get(s->view, sorter_key(j->sort, (size_t)j->sent), j->at, &pair);
		if (err != ERR_OK)
			break;
		if (kept != NULL)
			range_keep(j, kept, &pair);
		else
			range_measure(j, &pair);
		j->sent++;
		step_spend(s, 1, 0);
	}
	/* fewer rows than were counted at the same revision */
	return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

/* Takes and counts at once, in the hope that all of it may be kept. */
static int range_take(struct range_job *j, struct step *s, struct buf *kept)
{
	int err = j->sorted ? range_take_sorted(j, s, kept) : range_take_plain(j, s, kept);
	bool all = j->sorted ? j->sent == j->n : range_limited(j, j->matched);

	if (err == ERR_OK && j->phase == RANGE_TAKE && (all || range_full(j, kept)))
		err = range_go_on(j);
	return err != ERR_OK ? err : kept->err;
}

static int range_size(struct range_job *j, struct step *s)
{
	int err = j->sorted ? range_take_sorted(j, s, NULL) : range_take_plain(j, s, NULL);

	if (err != ERR_OK || j->phase != RANGE_SIZE)
		return err;
	if (j->sorted && j->sent == j->n)
		range_ready(j);
	else if (!j->sorted && range_limited(j, j->matched))
		j->phase = RANGE_COUNT;
	return ERR_OK;
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
	range_counted(j);
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
	range_counted(j);
	CHECK(j->n <= j->sort->n);
	j->phase = RANGE_TAKE;
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
		range_counted(j);
		range_ready(j);
		return ERR_OK;
	}
	if (j->r->range_end.len == 0)
		return range_one_key(j, s, kept);
	j->phase = j->r->count_only ? RANGE_COUNT : j->sorted ? RANGE_GATHER : RANGE_TAKE;
	return ERR_OK;
}

static int range_prepare(struct range_job *j, struct step *s, struct buf *kept)
{
	switch (j->phase) {
	case RANGE_BEGIN:
		return range_begin(j, s, kept);
	case RANGE_GATHER:
		return range_gather(j, s);
	case RANGE_ORDER:
		return range_order(j, s);
	case RANGE_TAKE:
		return range_take(j, s, kept);
	case RANGE_SIZE:
		return range_size(j, s);
	default:
		return range_count(j, s);
	}
}

static struct buf *range_kept(struct range_job *j, struct buf *spare)
{
	return j->kept.data != NULL ? &j->kept : spare;
}

int range_job_prepare(struct range_job *j, struct step *s, struct buf *spare)
{
	struct buf *kept = range_kept(j, spare);
	int err = range_still(j, s->view);

	if (kept == spare)
		buf_clear(kept);
	while (err == ERR_OK && j->phase < RANGE_READY && !step_over(s))
		err = range_prepare(j, s, kept);
	if (kept == spare && j->taken > 0 && !(err == ERR_OK && range_job_whole(j))) {
		j->kept = *spare;
		buf_init(spare, 0);
	}
	return err;
}

/* ---- answering ---- */

bool range_job_whole(const struct range_job *j)
{
	return j->phase == RANGE_READY && j->taken == j->n;
}

size_t range_job_total(const struct range_job *j, const struct kv_header *header)
{
	CHECK(j->phase == RANGE_READY && !range_job_whole(j));
	return j->sized ? j->form->range_size(header, j->count, j->more, j->pair_bytes) : 0;
}

size_t range_job_kept(const struct range_job *j, const struct buf *spare)
{
	size_t len = j->kept.data != NULL ? j->kept.len : spare->len;

	return j->taken > 0 ? len - RANGE_ROOM : 0;
}

/* A larger buffer is worth more. */
static void range_give_back(struct range_job *j, struct buf *spare)
{
	struct buf old = *spare;

	if (j->kept.cap > spare->cap) {
		*spare = j->kept;
		j->kept = old;
	}
	buf_free(&j->kept);
}

void range_job_head(struct range_job *j, struct buf *out, const struct kv_header *header, struct buf *spare)
{
	CHECK(j->phase == RANGE_READY);
	j->form->range_head(out, header, j->count, j->more, j->n);
	if (j->taken > 0)
		buf_add(out, range_kept(j, spare)->data + RANGE_ROOM, range_job_kept(j, spare));
	range_give_back(j, spare);
	j->phase = j->taken == j->n ? RANGE_DONE : RANGE_EMIT;
	if (j->phase == RANGE_DONE)
		j->form->range_tail(out, j->count, j->more);
}

void range_job_hand_over(struct range_job *j, struct buf *out, size_t *at, const struct kv_header *header,
			 struct buf *spare)
{
	struct buf *kept = range_kept(j, spare), head;

	CHECK(range_job_whole(j) && j->taken > 0);
	buf_init(&head, RANGE_ROOM - RANGE_ROOM_LEFT);
	j->form->range_head(&head, header, j->count, j->more, j->n);
	CHECK(head.err == ERR_OK);            /* a header of four numbers */
	*at = RANGE_ROOM - head.len;
	memcpy(kept->data + *at, head.data, head.len);
	buf_free(&head);
	j->form->range_tail(kept, j->count, j->more);
	*out = *kept;
	buf_init(kept, 0);
	j->phase = RANGE_DONE;
}

static void range_send(struct range_job *j, struct step *s, struct buf *out, const struct kv_pair *pair)
{
	struct kv_pair p = range_pair(j, pair);
	size_t before = out->len;

	j->form->pair(out, &p);
	j->sent++;
	step_spend(s, 1, out->len - before);
}

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

int range_job_emit(struct range_job *j, struct step *s, struct buf *out)
{
	int err = range_still(j, s->view);

	CHECK(j->phase == RANGE_EMIT);
	if (err == ERR_OK && !step_over(s))
		err = j->sorted ? range_emit_sorted(j, s, out) : range_emit_plain(j, s, out);
	if (err == ERR_NOT_FOUND)
		err = ERR_CORRUPT;            /* fewer rows than were counted at the same revision */
	if (err == ERR_OK && j->sent == j->n) {
		j->phase = RANGE_DONE;
		j->form->range_tail(out, j->count, j->more);
	}
	return err != ERR_OK ? err : out->err;
}
