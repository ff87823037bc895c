/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/walk.h"

#include "base/check.h"
#include "base/err.h"

static void walk_row_key(struct mvcc_key *out, struct bytes enc, int64_t rev, uint32_t sub)
{
	CHECK(enc.len <= LAYOUT_KEY_MAX);
	memcpy(out->data, enc.data, enc.len);
	out->len = enc.len;
	mvcc_key_add_rev(out, rev, sub);
}

/* The last row of `past` that is not after (enc, at), if it is of that key and was live at `at`. */
int mvcc_past_find(struct okv_cursor *past, struct bytes enc, int64_t at, struct mvcc_version *out)
{
	struct mvcc_key seek;
	struct okv_row row;
	struct bytes found;
	int64_t rev;
	uint32_t sub;
	int rc;

	walk_row_key(&seek, enc, at + 1, 0);
	rc = okv_seek(past, mvcc_key_bytes(&seek), &row);
	if (rc == ERR_OK)
		rc = okv_step(past, OKV_PREV, &row);
	else if (rc == ERR_NOT_FOUND)
		rc = okv_step(past, OKV_LAST, &row);
	if (rc != ERR_OK)
		return rc;
	if (!mvcc_key_split(row.key, &found, &rev, &sub))
		return ERR_CORRUPT;
	if (!bytes_eq(found, enc))
		return ERR_NOT_FOUND;
	rc = mvcc_version_decode(OKV_PAST, &row, out);
	if (rc != ERR_OK)
		return rc;
	return out->by > at ? ERR_OK : ERR_NOT_FOUND;
}

int mvcc_walk_begin(struct mvcc_walk *w, struct mvcc_view *v, int64_t at)
{
	int rc;

	*w = (struct mvcc_walk){.at = at, .rows_left = v->rows_left, .compact = v->info.compact_revision};
	buf_init(&w->above, 0);
	rc = okv_cursor(v->txn, OKV_NOW, &w->now);
	if (rc == ERR_OK && at < v->info.revision)
		rc = okv_cursor(v->txn, OKV_PAST, &w->past);
	if (rc != ERR_OK)
		mvcc_walk_end(w);
	return rc;
}

void mvcc_walk_end(struct mvcc_walk *w)
{
	okv_cursor_end(&w->now);
	okv_cursor_end(&w->past);
	buf_free(&w->above);
}

void mvcc_walk_bound(struct mvcc_walk *w, struct bytes end)
{
	w->bounded = true;
	w->end_rest = end;
	mvcc_key_top(&w->end, &w->end_rest);
}

/* ---- inside a level ---- */

static bool walk_in_level(const struct mvcc_walk *w, struct bytes key)
{
	return w->level.len == 0 ||
	       (key.len > w->level.len && memcmp(key.data, w->level.data, w->level.len) == 0);
}

/* Turns "no such row" and "not of this level" into ok = false. */
static int walk_now_head(struct mvcc_walk *w, int rc)
{
	w->now_ok = rc == ERR_OK && walk_in_level(w, w->now_row.key);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static int walk_past_head(struct mvcc_walk *w, int rc)
{
	uint32_t sub;

	w->past_ok = rc == ERR_OK && walk_in_level(w, w->past_row.key);
	if (w->past_ok && !mvcc_key_split(w->past_row.key, &w->past_enc, &w->past_rev, &sub))
		return ERR_CORRUPT;
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static int walk_now_on(struct mvcc_walk *w)
{
	return walk_now_head(w, okv_step(w->now, OKV_NEXT, &w->now_row));
}

static int walk_past_on(struct mvcc_walk *w, struct bytes enc)
{
	struct mvcc_key seek;

	walk_row_key(&seek, enc, INT64_MAX, UINT32_MAX);
	return walk_past_head(w, okv_seek(w->past, mvcc_key_bytes(&seek), &w->past_row));
}

static int walk_to(struct mvcc_walk *w, struct bytes enc)
{
	int rc = walk_now_head(w, okv_seek(w->now, enc, &w->now_row));

	w->past_ok = false;
	if (rc == ERR_OK && w->past != NULL)
		rc = walk_past_head(w, okv_seek(w->past, enc, &w->past_row));
	return rc;
}

static int walk_behind(struct mvcc_walk *w, struct bytes enc)
{
	int rc = walk_now_head(w, okv_seek(w->now, enc, &w->now_row));

	if (rc == ERR_OK && w->now_ok && bytes_eq(w->now_row.key, enc))
		rc = walk_now_on(w);
	w->past_ok = false;
	if (rc == ERR_OK && w->past != NULL)
		rc = walk_past_on(w, enc);
	return rc;
}

/* ---- from level to level ---- */

/* The level below a marker becomes this one; the cursors are still to be moved. */
static void walk_enter(struct mvcc_walk *w, struct bytes marker)
{
	if (w->bounded && w->depth == w->end_depth && bytes_eq(marker, mvcc_key_bytes(&w->end))) {
		mvcc_key_down(&w->end, &w->end_rest);
		w->end_depth++;
	}
	mvcc_key_level_below(&w->level, marker);
	buf_add_bytes(&w->above, marker);
	buf_u32(&w->above, (uint32_t)marker.len);
	CHECK(w->above.err == ERR_OK);
	w->depth++;
}

/* Down through the marker that comes next: in `now` if order <= 0, in `past` if order >= 0. */
static int walk_down(struct mvcc_walk *w, int order)
{
	bool in_now = order <= 0, in_past = order >= 0;
	int rc = ERR_OK;

	w->looked++;
	if (in_now)
		rc = mvcc_marker_check(&w->now_row);
	if (rc == ERR_OK && in_past)
		rc = mvcc_marker_check(&w->past_row);
	if (rc != ERR_OK)
		return rc;
	walk_enter(w, in_now ? w->now_row.key : w->past_enc);
	w->now_ok = w->past_ok = false;
	if (in_now)
		rc = walk_now_head(w, okv_seek(w->now, mvcc_key_bytes(&w->level), &w->now_row));
	if (rc == ERR_OK && in_past)
		rc = walk_past_head(w, okv_seek(w->past, mvcc_key_bytes(&w->level), &w->past_row));
	if (rc == ERR_OK && (w->now_ok != in_now || w->past_ok != in_past))
		rc = ERR_CORRUPT;        /* a marker with nothing below it */
	return rc;
}

/* Nothing is left in this level: on behind its marker. */
static int walk_up(struct mvcc_walk *w)
{
	size_t len = get_u32(w->above.data + w->above.len - sizeof(uint32_t));
	struct mvcc_key behind = {.len = len};
	struct bytes level;

	w->looked++;
	w->above.len -= len + sizeof(uint32_t);
	memcpy(behind.data, w->above.data + w->above.len, len);
	level = mvcc_key_level(mvcc_key_bytes(&behind));
	memcpy(w->level.data, level.data, level.len);
	w->level.len = level.len;
	behind.data[len - 1]++;
	w->depth--;
	if (w->depth < w->shared)
		w->shared = w->depth;
	return walk_to(w, mvcc_key_bytes(&behind));
}

int mvcc_walk_seek(struct mvcc_walk *w, struct bytes from, bool behind)
{
	static const uint8_t top[] = {0, LAYOUT_KEY_LONG + 1};       /* behind all lower levels */
	struct mvcc_key k;
	struct bytes enc;
	int rc;

	if (from.len == 0)
		return walk_to(w, bytes_of(top, sizeof top));
	for (mvcc_key_top(&k, &from);; mvcc_key_down(&k, &from)) {
		enc = mvcc_key_bytes(&k);
		if (!mvcc_key_goes_on(enc))
			return behind ? walk_behind(w, enc) : walk_to(w, enc);
		rc = walk_to(w, enc);
		if (rc != ERR_OK)
			return rc;
		if (!(w->now_ok && bytes_eq(w->now_row.key, enc)) &&
		    !(w->past_ok && bytes_eq(w->past_enc, enc)))
			return ERR_OK;
		walk_enter(w, enc);
	}
}

static bool walk_is_over(const struct mvcc_walk *w)
{
	int c;

	if (!w->bounded || w->depth > w->end_depth)
		return false;
	c = w->depth < w->end_depth ? 1 : bytes_cmp(w->enc, mvcc_key_bytes(&w->end));
	return c > 0 || (c == 0 && !mvcc_key_goes_on(w->enc));
}

/* Up and down until a key comes next: w->enc, in `now` if *order <= 0, in `past` if *order >= 0. */
static int walk_settle(struct mvcc_walk *w, int *order)
{
	int rc = ERR_OK;

	while (rc == ERR_OK) {
		if (!w->now_ok && !w->past_ok) {
			if (w->depth == 0)
				return ERR_NOT_FOUND;
			rc = walk_up(w);
			continue;
		}
		*order = !w->past_ok ? -1 : !w->now_ok ? 1 : bytes_cmp(w->now_row.key, w->past_enc);
		w->enc = *order <= 0 ? w->now_row.key : w->past_enc;
		if (walk_is_over(w))
			return ERR_NOT_FOUND;
		if (!mvcc_key_goes_on(w->enc))
			return ERR_OK;
		rc = walk_down(w, *order);
	}
	return rc;
}

/* ---- keys ---- */

static void walk_look(struct mvcc_walk *w, enum okv_table table, const struct okv_row *row)
{
	w->looked++;
	w->last_table = table;
	w->last_row = *row;
}

static int walk_latest(struct mvcc_walk *w)
{
	int rc = ERR_OK;

	walk_look(w, OKV_NOW, &w->now_row);
	if (!w->bare)
		rc = mvcc_version_decode(OKV_NOW, &w->now_row, &w->version);
	return rc == ERR_OK ? walk_now_on(w) : rc;
}

/*
 * The key has rows in `past` only, and w->version is the last one before the revision, not live at
 * it. Will any of its rows outlast the compaction under way? If not, other nodes may have none.
 */
static int walk_is_kept(struct mvcc_walk *w, bool *kept)
{
	struct mvcc_key seek;
	struct okv_row row;
	struct bytes found;
	int64_t rev;
	uint32_t sub;
	int rc;

	*kept = w->version.by > w->compact;
	if (*kept)
		return ERR_OK;
	walk_row_key(&seek, w->enc, w->at + 1, 0);
	rc = okv_seek(w->past, mvcc_key_bytes(&seek), &row);
	if (rc == ERR_OK && !mvcc_key_split(row.key, &found, &rev, &sub))
		rc = ERR_CORRUPT;
	*kept = rc == ERR_OK && bytes_eq(found, w->enc);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* The next row of `past` is of the key w->enc: was that live at the revision? */
static int walk_past(struct mvcc_walk *w)
{
	int rc, err = ERR_OK;

	walk_look(w, OKV_PAST, &w->past_row);
	if (w->past_rev > w->at)
		return ERR_NOT_FOUND;
	rc = mvcc_past_find(w->past, w->enc, w->at, &w->version);
	if (rc == ERR_NOT_FOUND && !w->in_now && w->rows_left != NULL)
		err = walk_is_kept(w, &w->counts);
	return err != ERR_OK ? err : rc;
}

/* The next key of either table. ERR_NOT_FOUND: it was not live at that revision. */
static int walk_old(struct mvcc_walk *w, int order)
{
	int rc = ERR_OK, found = ERR_NOT_FOUND;

	w->in_now = order <= 0;
	if (order <= 0) {
		walk_look(w, OKV_NOW, &w->now_row);
		rc = mvcc_version_decode(OKV_NOW, &w->now_row, &w->version);
		if (rc == ERR_OK && w->version.mod <= w->at)
			found = ERR_OK;
		if (rc == ERR_OK)
			rc = walk_now_on(w);
	}
	if (rc == ERR_OK && order >= 0) {
		if (found != ERR_OK)
			found = walk_past(w);
		if (found == ERR_OK || found == ERR_NOT_FOUND)
			rc = walk_past_on(w, w->enc);
	}
	return rc != ERR_OK ? rc : found;
}

/*
 * Only what every node has is counted: the same transaction must be refused by all or none. Levels
 * are counted by the keys that count, since a node may have others between them.
 */
static bool walk_spend(struct mvcc_walk *w)
{
	uint64_t rows = 1 + (w->depth - w->shared);

	if (w->rows_left == NULL || !w->counts)
		return true;
	w->shared = w->depth;
	if (*w->rows_left < rows)
		return false;
	*w->rows_left -= rows;
	return true;
}

int mvcc_walk_next(struct mvcc_walk *w)
{
	int rc, order;

	do {
		if (w->limit != 0 && w->looked >= w->limit && (w->now_ok || w->past_ok || w->depth > 0))
			return ERR_LIMIT;
		w->counts = true;
		rc = walk_settle(w, &order);
		if (rc != ERR_OK)
			return rc;
		rc = w->past == NULL ? walk_latest(w) : walk_old(w, order);
		if ((rc == ERR_OK || rc == ERR_NOT_FOUND) && !walk_spend(w))
			rc = ERR_TXN_TOO_LARGE;
	} while (rc == ERR_NOT_FOUND);
	return rc;
}
