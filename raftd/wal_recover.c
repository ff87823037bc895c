/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the files in the directory to a log that can be appended to. What no process of this boot has
 * left a summary of is read, and every checksum verified; the newest files are synced first, since
 * what a killed process has written may be in the page cache only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal_recover.h"

static void add_number(struct wal_numbers *l, uint64_t number)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->v = mem_grow(l->v, l->cap, sizeof *l->v);
	}
	l->v[l->n++] = number;
}

static void see_name(void *arg, const char *name)
{
	struct recovery *r = arg;
	enum wal_name_type type;
	uint64_t number;

	if (!wal_name_parse(name, &number, &type))
		return;
	switch (type) {
	case WAL_NAME_SEGMENT:
		add_number(&r->segments, number);
		break;
	case WAL_NAME_TMP:
		add_number(&r->tmps, number);
		break;
	case WAL_NAME_SUMMARY:
		add_number(&r->sums, number);
	}
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int wal_recover_failed(struct recovery *r, const char *what, int rc)
{
	wal_why_set(r->why, "%s: %s: %s", r->w->dir, what, strerror(-rc));
	return ERR_IO;
}

static int remove_tmps(struct recovery *r)
{
	const struct wal *w = r->w;
	int rc = 0;

	for (size_t i = 0; i < r->tmps.n && rc >= 0; i++) {
		char name[WAL_NAME_MAX], path[WAL_PATH_MAX];

		wal_name(name, r->tmps.v[i], WAL_NAME_TMP);
		wal_path(w, path, sizeof path, name);
		rc = w->io->unlink(w->io->ctx, path);
	}
	if (rc >= 0)
		rc = w->io->sync_dir(w->io->ctx, w->dir);
	return rc;
}

/* Of segments that are no more. */
static void remove_sums(struct recovery *r)
{
	const struct wal_numbers *s = &r->segments;

	for (size_t i = 0; i < r->sums.n; i++)
		if (s->n == 0 || r->sums.v[i] < s->v[0] || r->sums.v[i] > s->v[s->n - 1])
			(void)wal_known_remove(r->w, r->sums.v[i]);
}

static int list_segments(struct recovery *r)
{
	const struct wal *w = r->w;
	struct wal_numbers *s = &r->segments;
	int rc = w->io->list(w->io->ctx, w->dir, see_name, r);

	if (rc < 0)
		return wal_recover_failed(r, "cannot list the directory", rc);
	rc = remove_tmps(r);
	if (rc < 0)
		return wal_recover_failed(r, "cannot tidy the directory", rc);
	if (s->n > 0)
		qsort(s->v, s->n, sizeof *s->v, by_number);
	for (size_t i = 1; i < s->n; i++)
		if (s->v[i] != s->v[i - 1] + 1)
			return wal_damaged(w, r->why, s->v[i - 1] + 1, 0,
					   "the segment is missing, but newer ones exist");
	if (s->n > LIMIT_WAL_SEGMENTS)
		return wal_damaged(w, r->why, s->v[s->n - 1], 0,
				   "there are more segments than may be");
	remove_sums(r);
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
		return wal_recover_failed(r, "cannot cut the torn end of the log", rc);
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
		*(r->unused_known ? &sh->spare_found : &sh->spare_file) = *u;
		sh->spare = r->unused_known ? WAL_SPARE_NONE : WAL_SPARE_READY;
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
	rc = r->unused_known ? wal_check_unused(w, &r->unused, r->why) : ERR_OK;
	r->unused_known = false;
	if (rc == ERR_OK)
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

	if (rc == ERR_OK && r->segments.n > 0)
		rc = wal_load_newest(r);
	if (rc != ERR_OK)
		return rc;
	*created = r->segments.n == 0 && (r->unused.fd < 0 || r->unused.header.segment == 1);
	if (*created) {
		rc = create(r);
	} else if (r->segments.n == 0) {
		return wal_damaged(w, r->why, r->unused.header.segment - 1, 0,
				   "the segment is missing, but a newer one exists");
	} else {
		for (size_t i = 0; rc == ERR_OK && i < r->segments.n; i++)
			rc = wal_load_segment(r, i);
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
	w->check.v = r->believed.v;
	w->check.n = w->sh.unread = r->believed.n;
	r->believed.v = NULL;
	return ERR_OK;
}

int wal_recover(struct wal *w, struct wal_recovered *rec)
{
	struct recovery r = {.w = w, .why = &w->why, .unused = {.fd = -1}};
	const struct wal_state *s = &w->state;
	int rc = recover(&r, &rec->created);

	rec->cut_bytes = r.cut_bytes;
	rec->unread = w->check.n;
	rec->hard = s->hard;
	rec->first_index = s->first;
	rec->last_index = s->last;
	rec->prev_term = s->prev_term;
	rec->last_term = wal_state_term(s, s->last);
	rec->runs = s->runs;
	rec->nruns = s->nruns;
	wal_file_close(w, &r.unused);
	wal_ops_free(&r.ops);
	mem_free(r.segments.v);
	mem_free(r.tmps.v);
	mem_free(r.sums.v);
	mem_free(r.believed.v);
	wal_sum_free(&r.sealed);
	return rc;
}
