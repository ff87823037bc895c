/* SPDX-License-Identifier: Apache-2.0 */
/* Scans in key order: one key, or the walk between two bounds. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/walk.h"

enum scan_end { SCAN_END_POINT, SCAN_END_NEVER, SCAN_END_KEY };

struct mvcc_scan {
	struct mvcc_view *v;
	int64_t at;
	struct mvcc_walk w;

	struct bytes floor;              /* keys before it are not wanted... */
	bool after;                      /* ...nor is itself */
	enum scan_end end_kind;
	struct bytes end;                /* nor are keys from here on */

	bool started;
	bool over;
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

static int scan_start(struct mvcc_scan *s)
{
	s->started = true;
	if (s->end_kind == SCAN_END_KEY) {
		if (bytes_cmp(s->floor, s->end) >= 0)
			return ERR_NOT_FOUND;
		mvcc_walk_bound(&s->w, s->end);
	}
	return mvcc_walk_seek(&s->w, s->floor, s->after);
}

/* ERR_OK: the walk stands on the next key of the span. */
static int scan_step(struct mvcc_scan *s)
{
	int rc = s->over ? ERR_NOT_FOUND : ERR_OK;

	if (rc == ERR_OK && !s->started)
		rc = scan_start(s);
	if (rc == ERR_OK)
		rc = mvcc_walk_next(&s->w);
	s->over = rc == ERR_NOT_FOUND;
	return rc;
}

int mvcc_scan_next(struct mvcc_scan *s, struct kv_pair *out)
{
	int rc;

	if (s->end_kind == SCAN_END_POINT)
		return scan_point(s, out);
	rc = scan_step(s);
	if (rc == ERR_OK)
		mvcc_version_pair(&s->w.version, out);
	return rc;
}

struct bytes mvcc_scan_last(const struct mvcc_scan *s)
{
	struct mvcc_version v;

	if (s->w.looked == 0 || mvcc_version_decode(s->w.last_table, &s->w.last_row, &v) != ERR_OK)
		return bytes_of(NULL, 0);
	return v.key;
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
	mvcc_scan_limit(s, limit);
	s->w.bare = true;
	while ((rc = scan_step(s)) == ERR_OK)
		++*count;
	s->w.bare = false;
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}
