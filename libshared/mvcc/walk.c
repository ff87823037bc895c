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
}

/* Turns "no such row" into ok = false. */
static int walk_head(int rc, bool *ok)
{
	*ok = rc == ERR_OK;
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

int mvcc_walk_seek(struct mvcc_walk *w, struct bytes from)
{
	int rc = walk_head(okv_seek(w->now, from, &w->now_row), &w->now_ok);

	w->past_ok = false;
	if (rc == ERR_OK && w->past != NULL)
		rc = walk_head(okv_seek(w->past, from, &w->past_row), &w->past_ok);
	return rc;
}

static int walk_now_on(struct mvcc_walk *w)
{
	return walk_head(okv_step(w->now, OKV_NEXT, &w->now_row), &w->now_ok);
}

static int walk_past_on(struct mvcc_walk *w, struct bytes enc)
{
	struct mvcc_key seek;

	walk_row_key(&seek, enc, INT64_MAX, UINT32_MAX);
	return walk_head(okv_seek(w->past, mvcc_key_bytes(&seek), &w->past_row), &w->past_ok);
}

int mvcc_walk_seek_behind(struct mvcc_walk *w, struct bytes enc)
{
	int rc = walk_head(okv_seek(w->now, enc, &w->now_row), &w->now_ok);

	if (rc == ERR_OK && w->now_ok && bytes_eq(w->now_row.key, enc))
		rc = walk_now_on(w);
	w->past_ok = false;
	if (rc == ERR_OK && w->past != NULL)
		rc = walk_past_on(w, enc);
	return rc;
}

static void walk_look(struct mvcc_walk *w, enum okv_table table, const struct okv_row *row)
{
	w->looked++;
	w->last_table = table;
	w->last_row = *row;
}

static int walk_latest(struct mvcc_walk *w)
{
	int rc = ERR_OK;

	w->enc = w->now_row.key;
	walk_look(w, OKV_NOW, &w->now_row);
	if (!w->bare || mvcc_key_is_long(w->enc))
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
static int walk_past(struct mvcc_walk *w, int64_t rev)
{
	int rc, err = ERR_OK;

	walk_look(w, OKV_PAST, &w->past_row);
	if (rev > w->at)
		return ERR_NOT_FOUND;
	rc = mvcc_past_find(w->past, w->enc, w->at, &w->version);
	if (rc == ERR_NOT_FOUND && !w->in_now && w->rows_left != NULL)
		err = walk_is_kept(w, &w->counts);
	return err != ERR_OK ? err : rc;
}

/* The next key of either table. ERR_NOT_FOUND: it was not live at that revision. */
static int walk_old(struct mvcc_walk *w)
{
	int order, rc = ERR_OK, found = ERR_NOT_FOUND;
	struct bytes enc = {NULL, 0};
	int64_t rev = 0;
	uint32_t sub;

	if (w->past_ok && !mvcc_key_split(w->past_row.key, &enc, &rev, &sub))
		return ERR_CORRUPT;
	order = !w->past_ok ? -1 : !w->now_ok ? 1 : bytes_cmp(w->now_row.key, enc);
	w->enc = order <= 0 ? w->now_row.key : enc;
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
			found = walk_past(w, rev);
		if (found == ERR_OK || found == ERR_NOT_FOUND)
			rc = walk_past_on(w, w->enc);
	}
	return rc != ERR_OK ? rc : found;
}

/* In a run the last row is not the highest key: the walk cannot be taken up from there. */
static bool walk_may_stop(const struct mvcc_walk *w)
{
	struct bytes enc = w->last_row.key;
	int64_t rev;
	uint32_t sub;

	if (w->last_table == OKV_PAST && !mvcc_key_split(w->last_row.key, &enc, &rev, &sub))
		return true;
	return !mvcc_key_is_long(enc);
}

/* Only what every node has is counted: the same transaction must be refused by all or none. */
static bool walk_spend(struct mvcc_walk *w)
{
	if (w->rows_left == NULL || !w->counts)
		return true;
	if (*w->rows_left == 0)
		return false;
	--*w->rows_left;
	return true;
}

int mvcc_walk_next(struct mvcc_walk *w)
{
	int rc;

	do {
		if (!w->now_ok && !w->past_ok)
			return ERR_NOT_FOUND;
		if (w->limit != 0 && w->looked >= w->limit && walk_may_stop(w))
			return ERR_LIMIT;
		w->counts = true;
		rc = w->past == NULL ? walk_latest(w) : walk_old(w);
		if ((rc == ERR_OK || rc == ERR_NOT_FOUND) && !walk_spend(w))
			rc = ERR_TXN_TOO_LARGE;
	} while (rc == ERR_NOT_FOUND);
	return rc;
}
