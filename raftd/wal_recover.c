/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the files in the directory to a log that can be appended to. Everything is read and every
 * checksum verified; the newest files are synced first, since what a killed process has written
 * may be in the page cache only, and their ends are then read from the disk itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal_int.h"
#include "raftd/wal_scan.h"

#define SEE_DAMAGED "what to do: see docs/log-format.md, \"When the log is damaged\""

struct recovery {
	struct wal *w;
	struct wal_why *why;
	uint64_t *numbers;       /* of the segment files, ascending */
	size_t n, cap;
	uint64_t *tmps;
	size_t ntmps, tmps_cap;
	uint8_t *image;          /* of the segment being read */
	size_t image_cap;
	struct wal_ops ops;
	bool any;                /* a segment has been read */
	uint32_t prev_end, prev_crc;   /* of the one before */
	struct wal_file unused;  /* the newest file, if it has no batch yet */
	uint32_t unused_torn_end;
	uint64_t cut_bytes;
};

static void add_number(uint64_t **v, size_t *n, size_t *cap, uint64_t number)
{
	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 16;
		*v = mem_grow(*v, *cap, sizeof **v);
	}
	(*v)[(*n)++] = number;
}

static void see_name(void *arg, const char *name)
{
	struct recovery *r = arg;
	uint64_t number;
	bool tmp;

	if (!wal_name_parse(name, &number, &tmp))
		return;
	if (tmp)
		add_number(&r->tmps, &r->ntmps, &r->tmps_cap, number);
	else
		add_number(&r->numbers, &r->n, &r->cap, number);
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int io_failed(struct recovery *r, const char *what, int rc)
{
	wal_why_set(r->why, "%s: %s: %s", r->w->dir, what, strerror(-rc));
	return ERR_IO;
}

static int __attribute__((format(printf, 4, 5)))
damaged(struct recovery *r, uint64_t number, uint64_t offset, const char *fmt, ...)
{
	char text[256], name[WAL_NAME_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	wal_name(name, number, false);
	wal_why_set(r->why, "%s/%s offset %" PRIu64 ": %s; " SEE_DAMAGED, r->w->dir, name, offset,
		    text);
	return ERR_CORRUPT;
}

static int list_segments(struct recovery *r)
{
	const struct wal *w = r->w;
	int rc = w->io->list(w->io->ctx, w->dir, see_name, r);

	if (rc < 0)
		return io_failed(r, "cannot list the directory", rc);
	for (size_t i = 0; i < r->ntmps && rc >= 0; i++) {
		char name[WAL_NAME_MAX], path[WAL_PATH_MAX];

		wal_name(name, r->tmps[i], true);
		wal_path(w, path, sizeof path, name);
		rc = w->io->unlink(w->io->ctx, path);
	}
	if (rc >= 0)
		rc = w->io->sync_dir(w->io->ctx, w->dir);
	if (rc < 0)
		return io_failed(r, "cannot tidy the directory", rc);
	if (r->n > 0)
		qsort(r->numbers, r->n, sizeof *r->numbers, by_number);
	for (size_t i = 1; i < r->n; i++)
		if (r->numbers[i] != r->numbers[i - 1] + 1)
			return damaged(r, r->numbers[i - 1] + 1, 0,
				       "the segment is missing, but newer ones exist");
	if (r->n > LIMIT_WAL_SEGMENTS)
		return damaged(r, r->numbers[r->n - 1], 0, "there are more segments than may be");
	return ERR_OK;
}

/*
 * After a failed sync the page cache may show what the disk has not got, and the next sync says
 * nothing of it. That ends raftd at once, and one batch is in flight at a time: so only the last one
 * that is there can be such, or one behind it that a failed cut has left. The disk itself is read
 * for these, since all of a segment may be a second of reading. But all of it is dropped from the cache:
 * Linux drops whole folios only, so one that begins before the last batch would stay.
 */
static int read_end_again(struct recovery *r, const struct wal_file *file)
{
	const struct wal *w = r->w;
	uint32_t size = (uint32_t)file->header.segment_bytes, last = WAL_PAGE, end = WAL_PAGE;
	struct wal_batch b;

	while (end < size && wal_batch_get(r->image + end, file->header.seed, end, &b) && b.bytes > 0 &&
	       wal_padded(b.bytes) <= size - end) {
		last = end;
		end += wal_padded(b.bytes);
	}
	end = file->header.batch_bytes < size - end ? end + file->header.batch_bytes : size;
	if (last == end)
		return 0;
	(void)w->io->drop_cache(w->io->ctx, file->fd, 0, 0);
	return wal_read_full(w, file->fd, r->image + last, end - last, last);
}

/* Opens a segment and reads it whole. The newest two may hold what no disk has yet. */
static int load(struct recovery *r, size_t i, struct wal_file *file)
{
	const struct wal *w = r->w;
	int rc = wal_segment_open(w, r->numbers[i], file, r->why);
	bool newest = i + 2 >= r->n;
	size_t size;

	if (rc != ERR_OK)
		return rc;
	if (newest)
		rc = w->io->fsync(w->io->ctx, file->fd);
	size = (size_t)file->header.segment_bytes;
	if (rc >= 0 && r->image_cap < size) {
		free(r->image);
		r->image = NULL;
		r->image = mem_grow(NULL, size, 1);
		r->image_cap = size;
	}
	if (rc >= 0)
		rc = wal_read_full(w, file->fd, r->image, size, 0);
	if (rc >= 0 && newest)
		rc = read_end_again(r, file);
	if (rc < 0) {
		wal_file_close(w, file);
		return io_failed(r, "cannot sync and read a segment", rc);
	}
	return ERR_OK;
}

/* A segment's first batch: one SEGMENT_HEAD that agrees with all that came before. */
static const char *begin_segment(struct recovery *r, const struct wal_record *rec,
				 const struct wal_batch *b)
{
	struct wal_state *s = &r->w->state;
	struct wal_segment_head h;

	if (wal_segment_head_get(rec, &h) != ERR_OK || b->records != 1)
		return "a segment does not begin with its head";
	if (!r->any) {
		if (h.prev_index == UINT64_MAX)
			return "a segment's head has an impossible index";
		(void)wal_state_reset(s, h.prev_index, h.prev_term);
		s->hard = h.hard;
		return NULL;
	}
	if (b->number != r->w->tail.number || h.prev_end != r->prev_end ||
	    h.prev_crc != r->prev_crc)
		return "the segment before this one does not end where it did";
	if (h.hard.term != s->hard.term || h.hard.vote != s->hard.vote || h.prev_index != s->last ||
	    h.prev_term != wal_state_term(s, s->last))
		return "a segment's head contradicts the segments before it";
	return NULL;
}

static int apply_batch(struct recovery *r, const struct wal_scan *s)
{
	struct wal *w = r->w;
	const struct wal_batch *b = &s->batch;
	const uint8_t *data = s->image + b->offset;
	struct wal_walk walk = wal_walk_of(data, b);
	struct wal_record rec;
	uint32_t at, before;

	while (wal_walk_next(&walk, &rec, &at, &before)) {
		const char *wrong;

		if (b->offset == WAL_PAGE)
			wrong = begin_segment(r, &rec, b);
		else
			wrong = wal_state_apply(&w->state, &rec);
		if (wrong != NULL)
			return damaged(r, s->header.segment, b->offset + at, "%s", wrong);
	}
	w->tail.number = b->number + 1;
	wal_tail_index(&w->tail, data, b, &r->ops);
	wal_ops_apply(w, &r->ops);
	r->ops.n = 0;
	return ERR_OK;
}

static void enter_segment(struct recovery *r, const struct wal_header *h)
{
	struct wal_op op = {.type = WAL_OP_SEGMENT, .size = (uint32_t)h->segment_bytes,
			    .seed = h->seed,
			    .point = {.segment = h->segment, .offset = r->prev_end}};

	wal_ops_add(&r->ops, &op);
	r->w->tail.jump = true;
}

/* Reads segment i; w->tail is its end then, and its file stays open there. */
static int read_segment(struct recovery *r, size_t i, bool newest)
{
	struct wal_tail *t = &r->w->tail;
	struct wal_scan s;
	enum wal_found found;
	int rc;

	wal_file_close(r->w, &t->file);
	rc = load(r, i, &t->file);
	if (rc != ERR_OK)
		return rc;
	enter_segment(r, &t->file.header);
	wal_scan_open(&s, r->image, &t->file.header, 0);
	while (rc == ERR_OK && (found = wal_scan_next(&s)) == WAL_FOUND_BATCH)
		rc = apply_batch(r, &s);
	if (rc != ERR_OK)
		return rc;
	if (found == WAL_FOUND_CORRUPT)
		return damaged(r, r->numbers[i], s.bad, "%s", s.why);
	if (s.offset == WAL_PAGE)
		return damaged(r, r->numbers[i], s.offset,
			       "the segment is empty, but newer ones exist");
	if (found == WAL_FOUND_TORN && !newest)
		return damaged(r, r->numbers[i], s.offset,
			       "a batch is not whole, but a newer segment is in use");
	r->cut_bytes = found == WAL_FOUND_TORN ? s.torn_end - s.offset : 0;
	r->any = true;
	r->prev_end = t->offset = s.offset;
	r->prev_crc = t->chain = s.chain;
	r->w->segments[r->w->nsegments - 1].used = s.offset;
	return ERR_OK;
}

/* A newest file without a whole first batch was made ahead and not used yet. */
static int look_at_newest(struct recovery *r)
{
	struct wal_file file;
	struct wal_scan s;
	enum wal_found found;
	int rc = load(r, r->n - 1, &file);

	if (rc != ERR_OK)
		return rc;
	wal_scan_open(&s, r->image, &file.header, 0);
	found = wal_scan_next(&s);
	if (found == WAL_FOUND_END || found == WAL_FOUND_TORN) {
		r->unused = file;
		r->unused_torn_end = found == WAL_FOUND_TORN ? s.torn_end : 0;
		r->n--;
		return ERR_OK;
	}
	wal_file_close(r->w, &file);
	return ERR_OK;
}

/* What was torn must be zeros again before anything is written behind or over it. */
static int zero_out(struct recovery *r, const struct wal_file *file, uint64_t from, uint64_t end)
{
	const struct wal_io *io = r->w->io;
	uint8_t *zero = mem_alloc((size_t)(end - from));
	int64_t put = io->pwrite(io->ctx, file->fd, zero, (size_t)(end - from), from);
	int rc = put < 0 ? (int)put : (uint64_t)put == end - from ? 0 : -ENOSPC;

	free(zero);
	if (rc >= 0)
		rc = io->fdatasync(io->ctx, file->fd);
	if (rc < 0)
		return io_failed(r, "cannot cut the torn end of the log", rc);
	log_warn("cut an unfinished batch off the log: it was never acknowledged segment=%" PRIu64
		 " offset=%" PRIu64 " bytes=%" PRIu64, file->header.segment, from, end - from);
	return ERR_OK;
}

/* The unused file serves as the next one if it suits the options of today. */
static int keep_unused(struct recovery *r)
{
	struct wal *w = r->w;
	struct wal_shared *sh = &w->sh;
	struct wal_file *u = &r->unused;
	uint64_t number;

	if (u->fd < 0)
		return ERR_OK;
	number = u->header.segment;
	if (r->unused_torn_end > 0) {
		int rc = zero_out(r, u, WAL_PAGE, r->unused_torn_end);

		if (rc != ERR_OK)
			return rc;
		r->cut_bytes = r->unused_torn_end - WAL_PAGE;
	}
	if (u->header.batch_bytes >= w->batch_max &&
	    u->header.segment_bytes == w->options.segment_bytes) {
		sh->spare_file = *u;
		sh->spare = WAL_SPARE_READY;
		u->fd = -1;
		return ERR_OK;
	}
	wal_file_close(w, u);
	return wal_segment_remove(w, number, number + 1, r->why);
}

/* A new log: its first segment, and in it the first batch. */
static int create(struct recovery *r)
{
	struct wal *w = r->w;
	struct wal_segment_head head = {.prev_index = 0};
	int rc;

	if (!w->options.create) {
		wal_why_set(r->why,
			    "there is no log in %s; what to do: check the data directory, or "
			    "initialise this node", w->dir);
		return ERR_NOT_FOUND;
	}
	rc = keep_unused(r);
	if (rc != ERR_OK)
		return rc;
	w->sh.spare_next = 1;
	if (w->sh.spare == WAL_SPARE_READY) {
		w->tail.file = w->sh.spare_file;
		w->sh.spare = WAL_SPARE_NONE;
		w->sh.spare_file.fd = -1;
	} else if (wal_segment_make(w, 1, &w->tail.file, r->why) != ERR_OK) {
		return ERR_IO;
	}
	w->tail.number = 1;
	rc = wal_tail_begin(w, &head, &r->ops);
	if (rc != ERR_OK) {
		*r->why = w->tail.why;
		return rc;
	}
	wal_ops_apply(w, &r->ops);
	w->segments[0].used = w->tail.offset;
	return ERR_OK;
}

static int recover(struct recovery *r, bool *created)
{
	struct wal *w = r->w;
	int rc = list_segments(r);

	if (rc == ERR_OK && r->n > 0)
		rc = look_at_newest(r);
	if (rc != ERR_OK)
		return rc;
	*created = r->n == 0 && (r->unused.fd < 0 || r->unused.header.segment == 1);
	if (*created) {
		rc = create(r);
	} else if (r->n == 0) {
		return damaged(r, r->unused.header.segment - 1, 0,
			       "the segment is missing, but a newer one exists");
	} else {
		for (size_t i = 0; rc == ERR_OK && i < r->n; i++)
			rc = read_segment(r, i, i + 1 == r->n);
		if (rc == ERR_OK && r->cut_bytes > 0)
			rc = zero_out(r, &w->tail.file, w->tail.offset,
				      w->tail.offset + r->cut_bytes);
		if (rc == ERR_OK)
			rc = keep_unused(r);
	}
	if (rc != ERR_OK)
		return rc;
	w->sh.spare_next = w->tail.file.header.segment + 1;
	w->sh.oldest = w->sh.keep = w->segments[0].number;
	w->durable_index = w->state.last;
	return ERR_OK;
}

int wal_recover(struct wal *w, struct wal_recovered *rec)
{
	struct recovery r = {.w = w, .why = &w->why, .unused = {.fd = -1}};
	const struct wal_state *s = &w->state;
	int rc = recover(&r, &rec->created);

	rec->cut_bytes = r.cut_bytes;
	rec->hard = s->hard;
	rec->first_index = s->first;
	rec->last_index = s->last;
	rec->prev_term = s->prev_term;
	rec->last_term = wal_state_term(s, s->last);
	rec->runs = s->runs;
	rec->nruns = s->nruns;
	wal_file_close(w, &r.unused);
	wal_ops_free(&r.ops);
	free(r.numbers);
	free(r.tmps);
	free(r.image);
	return rc;
}
