/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment at the start: by its summary if a process of this boot has left one and nobody has
 * written to the file since, else every byte of it. Of the newest two the end is compared with what
 * the disk itself has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "raftd/wal_recover.h"

#define COMPARE_CHUNK (1u * MIB)
#define UNUSED_LOOK (16u * KIB)

/* ---- what is read */

struct loading {
	struct recovery *r;
	struct wal_file *file;
	struct wal_reader reader;
	struct wal_scan scan;
	bool recent;             /* of the newest two: the cache may show what the disk has not got */
	bool compared;
};

static int load_begin(struct loading *l, struct recovery *r, struct wal_file *file, bool recent)
{
	const struct wal *w = r->w;
	struct wal_source source;
	int rc = recent ? w->io->fsync(w->io->ctx, file->fd) : 0;

	*l = (struct loading){.r = r, .file = file, .reader = {w, file->fd}, .recent = recent};
	source = wal_source_of(&l->reader);
	wal_scan_open(&l->scan, &source, &file->header, 0);
	return rc < 0 ? wal_recover_failed(r, "cannot sync a segment", rc) : ERR_OK;
}

/* 1, 0 (or it cannot be told), or -errno */
static int same_on_disk(const struct wal *w, int fd, uint32_t from, uint32_t to, uint8_t *buffer)
{
	for (uint32_t at = from, n; at < to; at += n) {
		int64_t got;
		int rc;

		n = to - at < COMPARE_CHUNK ? to - at : COMPARE_CHUNK;
		got = w->io->pread_disk(w->io->ctx, fd, buffer, n, at);
		if (got < 0 && got != -EOPNOTSUPP)
			return (int)got;
		if (got != (int64_t)n)
			return 0;
		rc = wal_read_full(w, fd, buffer + COMPARE_CHUNK, n, at);
		if (rc < 0)
			return rc;
		if (memcmp(buffer, buffer + COMPARE_CHUNK, n) != 0)
			return 0;
	}
	return 1;
}

/*
 * After a failed sync the page cache may show what the disk has not got, and the next sync says
 * nothing of it. That ends raftd at once, and one batch is in flight at a time: so only the last one
 * that is there can be such, or one behind it that a failed cut has left. So these are compared with
 * the disk itself. If they differ, or that cannot be told, all of the file is dropped from the
 * cache: Linux drops whole folios only, and one that begins before the last batch would stay.
 */
static int compare(struct loading *l, uint32_t from, uint32_t to)
{
	const struct wal *w = l->r->w;
	uint8_t *buffer;
	int rc;

	if (from == to)
		return 1;
	buffer = aligned_alloc(WAL_PAGE, 2 * (size_t)COMPARE_CHUNK);
	if (buffer == NULL)
		return -ENOMEM;
	rc = same_on_disk(w, l->file->fd, from, to, buffer);
	free(buffer);
	if (rc == 0)
		(void)w->io->drop_cache(w->io->ctx, l->file->fd, 0, 0);
	return rc;
}

static enum wal_found load_next(struct loading *l)
{
	struct wal_scan *s = &l->scan;
	struct wal_place place = s->at;
	enum wal_found found = wal_scan_next(s);
	uint64_t end = (uint64_t)s->at.offset + s->header.batch_bytes;
	int rc;

	if (!l->recent || l->compared || found == WAL_FOUND_FAILED ||
	    (found == WAL_FOUND_BATCH && s->more))
		return found;
	l->compared = true;
	if (found != WAL_FOUND_BATCH)
		end += s->header.batch_bytes;   /* there may be a head of one that is not whole */
	rc = compare(l, place.offset, end < s->size ? (uint32_t)end : s->size);
	if (rc < 0) {
		s->rc = rc;
		return WAL_FOUND_FAILED;
	}
	if (rc > 0)
		return found;
	wal_scan_again(s, place);
	return wal_scan_next(s);
}

/* ---- what it means */

/* A segment's first batch: it must agree with all that came before. */
static const char *begin_segment(struct recovery *r, const struct wal_segment_head *h,
				 uint64_t number)
{
	struct wal_state *s = &r->w->state;

	if (!r->any) {
		if (h->prev_index == UINT64_MAX)
			return "a segment's head has an impossible index";
		(void)wal_state_reset(s, h->prev_index, h->prev_term);
		s->hard = h->hard;
		return NULL;
	}
	if (number != r->w->tail.number || h->prev_end != r->prev_end || h->prev_crc != r->prev_crc)
		return "the segment before this one does not end where it did";
	if (h->hard.term != s->hard.term || h->hard.vote != s->hard.vote ||
	    h->prev_index != s->last || h->prev_term != wal_state_term(s, s->last))
		return "a segment's head contradicts the segments before it";
	if (r->sealed.state == WAL_SUM_SEALED)
		wal_known_write(r->w, &r->sealed);
	wal_sum_free(&r->sealed);
	return NULL;
}

static const char *first_record(struct recovery *r, const struct wal_scan *s,
				const struct wal_record *rec)
{
	struct wal_tail *t = &r->w->tail;
	struct wal_segment_head h;
	const char *wrong;

	if (wal_segment_head_get(rec, &h) != ERR_OK || s->batch.records != 1)
		return "a segment does not begin with its head";
	wrong = begin_segment(r, &h, s->batch.number);
	if (wrong == NULL)
		wal_sum_begin(&t->sum, &s->header, &h, s->batch.number);
	return wrong;
}

static void apply_ops(struct recovery *r)
{
	wal_ops_apply(r->w, &r->ops);
	r->ops.n = 0;
}

static int apply_batch(struct recovery *r, const struct wal_scan *s)
{
	struct wal *w = r->w;
	const struct wal_batch *b = &s->batch;
	struct wal_walk walk = wal_walk_of(s->data, b);
	struct wal_record rec;
	uint32_t at, before;

	while (wal_walk_next(&walk, &rec, &at, &before)) {
		const char *wrong;

		if (b->offset == WAL_PAGE)
			wrong = first_record(r, s, &rec);
		else
			wrong = wal_state_apply(&w->state, &rec);
		if (wrong != NULL)
			return wal_damaged(w, r->why, s->header.segment, b->offset + at, "%s", wrong);
	}
	w->tail.number = b->number + 1;
	wal_tail_index(&w->tail, s->data, b, &r->ops);
	apply_ops(r);
	return ERR_OK;
}

static void enter_segment(struct recovery *r, const struct wal_header *h)
{
	struct wal_op op = {.type = WAL_OP_SEGMENT, .size = (uint32_t)h->segment_bytes,
			    .seed = h->seed,
			    .point = {.segment = h->segment, .offset = r->prev_end}};

	wal_ops_add(&r->ops, &op);
	apply_ops(r);
	r->w->tail.jump = true;
}

static void leave_segment(struct recovery *r, uint32_t end, uint32_t crc)
{
	struct wal_tail *t = &r->w->tail;

	r->any = true;
	r->prev_end = t->offset = end;
	r->prev_crc = t->chain = crc;
	r->w->segments[r->w->nsegments - 1].used = end;
}

/* ---- by reading it */

static int judge_end(struct recovery *r, const struct wal_scan *s, enum wal_found found, bool newest)
{
	uint64_t number = s->header.segment;

	if (found == WAL_FOUND_FAILED)
		return wal_recover_failed(r, "cannot read a segment", s->rc);
	if (found == WAL_FOUND_CORRUPT)
		return wal_damaged(r->w, r->why, number, s->bad, "%s", s->why);
	if (s->at.offset == WAL_PAGE)
		return wal_damaged(r->w, r->why, number, s->at.offset,
				   "the segment is empty, but newer ones exist");
	if (found == WAL_FOUND_TORN && !newest)
		return wal_damaged(r->w, r->why, number, s->at.offset,
				   "a batch is not whole, but a newer segment is in use");
	r->cut_bytes = found == WAL_FOUND_TORN ? s->torn_end - s->at.offset : 0;
	leave_segment(r, s->at.offset, s->at.chain);
	return ERR_OK;
}

static int read_segment(struct recovery *r, bool recent, bool newest)
{
	struct wal *w = r->w;
	struct wal_tail *t = &w->tail;
	enum wal_found found = WAL_FOUND_FAILED;
	struct loading l;
	struct wal_stamp stamp;
	int rc, stamped = w->io->stamp(w->io->ctx, t->file.fd, &stamp);

	rc = load_begin(&l, r, &t->file, recent);
	while (rc == ERR_OK && (found = load_next(&l)) == WAL_FOUND_BATCH)
		rc = apply_batch(r, &l.scan);
	if (rc == ERR_OK)
		rc = judge_end(r, &l.scan, found, newest);
	wal_scan_close(&l.scan);
	if (rc == ERR_OK && !newest && stamped >= 0) {
		wal_tail_seal(t, &stamp);
		wal_sum_move(&r->sealed, &t->sum);
	}
	return rc;
}

/* ---- by its summary */

static const char *apply_row(struct recovery *r, const struct wal_sum_row *row)
{
	struct wal_state *s = &r->w->state;
	struct wal_op op = {.type = WAL_OP_TRUNCATE, .point = {.index = row->index}};
	const char *wrong = NULL;

	switch (row->type) {
	case WAL_SUM_RUN:
		return wal_state_entries(s, row->index, row->last, row->term);
	case WAL_SUM_TRUNCATE:
		wrong = wal_state_truncate(s, row->index, row->term);
		break;
	case WAL_SUM_RESET:
		wrong = wal_state_reset(s, row->index, row->term);
		op.point.index = 0;
		break;
	case WAL_SUM_POINT:
		op.type = WAL_OP_POINT;
		op.point = (struct wal_point){row->index, r->w->tail.file.header.segment, row->offset,
					      row->before, row->jump};
	}
	wal_ops_add(&r->ops, &op);
	return wrong;
}

static int believe(struct recovery *r, const struct wal_sum *sum)
{
	struct wal_check *c = &r->believed;
	const char *wrong = begin_segment(r, &sum->head, sum->first_number);

	for (size_t i = 0; wrong == NULL && i < sum->n; i++)
		wrong = apply_row(r, &sum->rows[i]);
	if (wrong == NULL)
		wrong = wal_state_hard(&r->w->state, sum->hard);
	if (wrong != NULL)
		return wal_damaged(r->w, r->why, sum->segment, 0, "%s", wrong);
	apply_ops(r);
	r->w->tail.number = sum->next_number;
	leave_segment(r, sum->end, sum->crc);
	c->v = mem_grow(c->v, c->n + 1, sizeof *c->v);
	c->v[c->n++] = (struct wal_believed){sum->segment, sum->end, sum->crc};
	return ERR_OK;
}

int wal_load_segment(struct recovery *r, size_t i)
{
	struct wal *w = r->w;
	struct wal_tail *t = &w->tail;
	bool newest = i + 1 == r->segments.n;
	struct wal_sum sum;
	int rc;

	wal_file_close(w, &t->file);
	rc = wal_segment_open(w, r->segments.v[i], &t->file, r->why);
	if (rc != ERR_OK)
		return rc;
	enter_segment(r, &t->file.header);
	if (!wal_known_read(w, &t->file, &sum) || sum.state != WAL_SUM_SEALED)
		rc = read_segment(r, i + 2 >= r->segments.n, newest);
	else if (newest)
		rc = wal_damaged(w, r->why, sum.segment + 1, 0,
				 "the segment is empty or missing, but it had been begun");
	else
		rc = believe(r, &sum);
	wal_sum_free(&sum);
	return rc;
}

/* ---- the one that was made ahead */

/* A summary alone is not enough: should it have outlived the first write, that shows at the front. */
static bool known_unused(struct recovery *r, const struct wal_file *file)
{
	const struct wal *w = r->w;
	uint64_t size = file->header.segment_bytes;
	size_t n = size < UNUSED_LOOK ? (size_t)size : UNUSED_LOOK;
	struct wal_sum sum;
	uint8_t *front;
	bool known = wal_known_read(w, file, &sum) && sum.state == WAL_SUM_UNUSED;

	wal_sum_free(&sum);
	if (!known)
		return false;
	front = mem_alloc(n);
	known = wal_read_full(w, file->fd, front, n, 0) == 0 &&
		wal_is_zero(front + WAL_PAGE, n - WAL_PAGE);
	mem_free(front);
	return known;
}

static int look_at_newest(struct recovery *r, struct wal_file *file)
{
	const struct wal *w = r->w;
	int stamped = w->io->stamp(w->io->ctx, file->fd, &r->unused_stamp);
	enum wal_found found = WAL_FOUND_FAILED;
	struct loading l;
	int rc = load_begin(&l, r, file, true);

	if (rc == ERR_OK)
		found = load_next(&l);
	if (rc == ERR_OK && found == WAL_FOUND_FAILED)
		rc = wal_recover_failed(r, "cannot read a segment", l.scan.rc);
	wal_scan_close(&l.scan);
	if (found == WAL_FOUND_END || found == WAL_FOUND_TORN) {
		r->unused = *file;
		file->fd = -1;
		r->unused_torn_end = found == WAL_FOUND_TORN ? l.scan.torn_end : 0;
		r->segments.n--;
	}
	if (found == WAL_FOUND_END && stamped >= 0)
		wal_known_write_unused(w, &r->unused.header, &r->unused_stamp);
	return rc;
}

int wal_load_newest(struct recovery *r)
{
	const struct wal *w = r->w;
	struct wal_file file;
	int rc = wal_segment_open(w, r->segments.v[r->segments.n - 1], &file, r->why);

	if (rc != ERR_OK)
		return rc;
	if (!known_unused(r, &file)) {
		rc = look_at_newest(r, &file);
		wal_file_close(w, &file);
		return rc;
	}
	r->unused = file;
	r->unused_known = true;
	r->segments.n--;
	return ERR_OK;
}
