/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans in key order. The walk underneath gives the order of rows; a run of long keys is read
 * through once per LIMIT_RUN_ROWS of its keys, which are put in order and given out.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/top.h"
#include "mvcc/walk.h"

enum scan_end { SCAN_END_POINT, SCAN_END_NEVER, SCAN_END_KEY };
enum scan_test { SCAN_PASS, SCAN_SKIP, SCAN_STOP };

struct mvcc_scan {
	struct mvcc_view *v;
	int64_t at;
	struct mvcc_walk w;

	struct bytes floor;              /* keys before it are not wanted... */
	bool after;                      /* ...nor is itself */
	enum scan_end end_kind;
	struct bytes end;                /* nor are keys from here on */
	struct mvcc_key end_seek;
	bool end_long;

	bool started;
	bool pending;                    /* the walk stands on a row that has not been given out */
	bool over;                       /* past the end of the span */
	struct mvcc_top run;             /* the run being given out, if n > 0... */
	size_t run_next;                 /* ...from here on */
	struct mvcc_key run_key;
};

static void scan_set_end(struct mvcc_scan *s, struct bytes range_end)
{
	if (range_end.len == 0) {
		s->end_kind = SCAN_END_POINT;
	} else if (range_end.len == 1 && range_end.data[0] == 0) {
		s->end_kind = SCAN_END_NEVER;
	} else {
		s->end_kind = SCAN_END_KEY;
		s->end = range_end;
		mvcc_key_encode(&s->end_seek, range_end);
		s->end_long = mvcc_key_is_long(mvcc_key_bytes(&s->end_seek));
		if (s->end_long)
			mvcc_key_seek(&s->end_seek, range_end);
	}
}

int mvcc_scan_begin(struct mvcc_view *v, const struct mvcc_span *span, int64_t at, struct mvcc_scan **out)
{
	struct mvcc_scan *s;
	struct mvcc_walk w;
	int rc = mvcc_walk_begin(&w, v, at);

	if (rc != ERR_OK)
		return rc;
	s = mem_alloc(sizeof *s);
	s->v = v;
	s->at = at;
	s->w = w;
	s->floor = span->key;
	scan_set_end(s, span->range_end);
	mvcc_top_init(&s->run, (struct mvcc_order){KV_SORT_KEY, false}, LIMIT_RUN_ROWS);
	*out = s;
	return ERR_OK;
}

int mvcc_scan_after(struct mvcc_scan *s, struct bytes after)
{
	CHECK(!s->started);
	if (bytes_cmp(after, s->floor) >= 0) {
		s->floor = after;
		s->after = true;
	}
	return ERR_OK;
}

void mvcc_scan_limit(struct mvcc_scan *s, uint64_t rows)
{
	s->w.limit = rows ? s->w.looked + rows : 0;
}

void mvcc_scan_end(struct mvcc_scan **s)
{
	struct mvcc_scan *scan = *s;

	*s = NULL;
	if (scan == NULL)
		return;
	mvcc_walk_end(&scan->w);
	mvcc_top_free(&scan->run);
	free(scan);
}

/* A span of one key. */
static int scan_point(struct mvcc_scan *s, struct kv_pair *out)
{
	int rc;

	if (s->over || s->after)
		return ERR_NOT_FOUND;
	s->over = true;
	rc = mvcc_get(s->v, s->floor, s->at, out);
	return rc == ERR_OK && !mvcc_view_spend_rows(s->v, 1) ? ERR_TXN_TOO_LARGE : rc;
}

/* ---- is the walk's row wanted? ---- */

static enum scan_test scan_test_floor(const struct mvcc_scan *s)
{
	int c = bytes_cmp(s->w.version.key, s->floor);

	return c < 0 || (c == 0 && s->after) ? SCAN_SKIP : SCAN_PASS;
}

static enum scan_test scan_test_long(const struct mvcc_scan *s)
{
	bool same = false;

	if (s->end_kind == SCAN_END_KEY) {
		same = s->end_long && mvcc_key_in_run(s->w.enc, mvcc_key_bytes(&s->end_seek));
		if (!same && bytes_cmp(s->w.enc, mvcc_key_bytes(&s->end_seek)) >= 0)
			return SCAN_STOP;
	}
	if (same && bytes_cmp(s->w.version.key, s->end) >= 0)
		return SCAN_SKIP;
	return scan_test_floor(s);
}

/*
 * A plain row is compared as it is encoded: when counting, its key has not been decoded. The walk
 * began at or behind the floor.
 */
static enum scan_test scan_test(const struct mvcc_scan *s)
{
	if (mvcc_key_is_long(s->w.enc))
		return scan_test_long(s);
	if (s->end_kind == SCAN_END_KEY && bytes_cmp(s->w.enc, mvcc_key_bytes(&s->end_seek)) >= 0)
		return SCAN_STOP;
	return SCAN_PASS;
}

/* ---- moving ---- */

static int scan_start(struct mvcc_scan *s)
{
	struct mvcc_key from;

	s->started = true;
	mvcc_key_encode(&from, s->floor);
	if (s->after && !mvcc_key_is_long(mvcc_key_bytes(&from)))
		return mvcc_walk_seek_behind(&s->w, mvcc_key_bytes(&from));
	mvcc_key_seek(&from, s->floor);
	return mvcc_walk_seek(&s->w, mvcc_key_bytes(&from));
}

/* ERR_OK: the walk stands on the next row of the span. */
static int scan_step(struct mvcc_scan *s)
{
	enum scan_test test = SCAN_SKIP;
	int rc = ERR_OK;

	if (!s->started)
		rc = scan_start(s);
	while (rc == ERR_OK && test == SCAN_SKIP) {
		if (!s->pending)
			rc = mvcc_walk_next(&s->w);
		s->pending = false;
		if (rc == ERR_OK)
			test = scan_test(s);
	}
	if (rc == ERR_OK && test == SCAN_STOP)
		rc = ERR_NOT_FOUND;
	s->over = rc == ERR_NOT_FOUND;
	return rc;
}

/* The walk stands on a row of a run: reads the run through and keeps its lowest wanted keys. */
static int scan_run(struct mvcc_scan *s)
{
	struct bytes run = mvcc_key_run(s->w.enc);
	uint64_t limit = s->w.limit;
	struct kv_pair pair;
	int rc = ERR_OK;

	memcpy(s->run_key.data, run.data, run.len);
	s->run_key.len = run.len;
	run = mvcc_key_bytes(&s->run_key);
	mvcc_top_clear(&s->run);
	s->run_next = 0;
	s->w.limit = 0;
	while (rc == ERR_OK && mvcc_key_in_run(s->w.enc, run)) {
		if (scan_test_long(s) == SCAN_PASS) {
			mvcc_version_pair(&s->w.version, &pair);
			mvcc_top_add(&s->run, &pair);
		}
		rc = mvcc_walk_next(&s->w);
	}
	s->w.limit = limit;
	s->pending = rc == ERR_OK;
	mvcc_top_sort(&s->run);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* All that was kept of the run has been given out: takes up the rest of it, if there is one. */
static int scan_run_again(struct mvcc_scan *s)
{
	s->floor = s->run.v[s->run.n - 1].key;
	s->after = true;
	s->pending = false;
	mvcc_top_clear(&s->run);
	s->run_next = 0;
	return mvcc_walk_seek(&s->w, mvcc_key_bytes(&s->run_key));
}

int mvcc_scan_next(struct mvcc_scan *s, struct kv_pair *out)
{
	int rc = ERR_OK;

	if (s->end_kind == SCAN_END_POINT)
		return scan_point(s, out);
	if (s->run.n > 0 && s->run_next == s->run.n) {
		if (s->run.dropped)
			rc = scan_run_again(s);
		else
			mvcc_top_clear(&s->run);
	}
	if (rc == ERR_OK && s->run.n == 0) {
		rc = s->over ? ERR_NOT_FOUND : scan_step(s);
		if (rc == ERR_OK && mvcc_key_is_long(s->w.enc)) {
			s->run_next = 0;
			rc = scan_run(s);
		} else if (rc == ERR_OK) {
			mvcc_version_pair(&s->w.version, out);
			return ERR_OK;
		}
	}
	if (rc != ERR_OK)
		return rc;
	CHECK(s->run_next < s->run.n);       /* scan_step found at least one that is wanted */
	*out = s->run.v[s->run_next++];
	return ERR_OK;
}

struct bytes mvcc_scan_last(const struct mvcc_scan *s)
{
	struct mvcc_version v;

	if (s->w.looked == 0 || mvcc_version_decode(s->w.last_table, &s->w.last_row, &v) != ERR_OK)
		return bytes_of(NULL, 0);
	return v.key;
}

/* Counting needs no order: what has been kept of a run and not given out is counted with the rest. */
static int count_from_run(struct mvcc_scan *s)
{
	if (s->run.n == 0)
		return ERR_OK;
	if (s->run_next < s->run.n)
		s->run.n = s->run_next;
	CHECK(s->run.n > 0);
	return scan_run_again(s);
}

int mvcc_count(struct mvcc_scan *s, uint64_t limit, int64_t *count)
{
	struct kv_pair pair;
	int rc;

	*count = 0;
	if (s->end_kind == SCAN_END_POINT) {
		rc = scan_point(s, &pair);
		*count = rc == ERR_OK;
		return rc == ERR_NOT_FOUND ? ERR_OK : rc;
	}
	rc = s->over && s->run.n == 0 ? ERR_NOT_FOUND : count_from_run(s);
	mvcc_scan_limit(s, limit);
	s->w.bare = true;
	while (rc == ERR_OK && (rc = scan_step(s)) == ERR_OK)
		++*count;
	s->w.bare = false;
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}
