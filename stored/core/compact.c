/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/compact.h"

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "stored/core/levels.h"

static struct bytes compact_name(void)
{
	return bytes_str(LAYOUT_META_COMPACTION);
}

int compactor_load(struct compactor *c, struct okv_txn *txn)
{
	struct mvcc_compaction row;
	struct bytes value;
	int rc = okv_get(txn, OKV_META, compact_name(), &value);

	*c = (struct compactor){.target = 0};
	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	if (rc == ERR_OK)
		rc = mvcc_compaction_decode(value, &row);
	if (rc != ERR_OK)
		return rc;
	c->target = row.target;
	memcpy(c->position.data, row.position.data, row.position.len);
	c->position.len = row.position.len;
	return ERR_OK;
}

int compactor_flush(struct compactor *c, struct okv_txn *txn)
{
	struct mvcc_compaction row = {c->target, mvcc_key_bytes(&c->position)};
	struct buf b;
	int rc;

	if (!c->dirty)
		return ERR_OK;
	c->dirty = false;
	if (c->target == 0) {
		rc = okv_del(txn, OKV_META, compact_name());
		return rc == ERR_NOT_FOUND ? ERR_OK : rc;
	}
	buf_init(&b, 0);
	mvcc_compaction_encode(&b, &row);
	rc = okv_put(txn, OKV_META, compact_name(), buf_bytes(&b));
	buf_free(&b);
	return rc;
}

bool compactor_has_work(const struct compactor *c, const struct mvcc_state *s)
{
	return c->target != 0 || s->compact_revision > s->compacted_revision;
}

/* The head of the log; *done when nothing before the target is left. */
static int compact_log(struct okv_txn *txn, int64_t target, size_t rows, size_t *removed, bool *done)
{
	struct okv_cursor *log;
	struct mvcc_event e;
	struct okv_row row;
	int rc = okv_cursor(txn, OKV_LOG, &log);

	if (rc != ERR_OK)
		return rc;
	rc = okv_step(log, OKV_FIRST, &row);
	while (rc == ERR_OK && *removed < rows) {
		if (!mvcc_rev_decode(row.key, &e.rev, &e.sub))
			rc = ERR_CORRUPT;
		else if (e.rev >= target)
			rc = ERR_NOT_FOUND;
		else
			rc = okv_cursor_del(log);
		if (rc == ERR_OK) {
			++*removed;
			rc = okv_step(log, OKV_NEXT, &row);
		}
	}
	okv_cursor_end(&log);
	*done = rc == ERR_NOT_FOUND;
	return *done ? ERR_OK : rc;
}

static int compact_cursor(struct okv_cursor **past, struct okv_txn *txn, struct bytes from, struct okv_row *row)
{
	int rc = okv_cursor(txn, OKV_PAST, past);

	if (rc != ERR_OK)
		return rc;
	return from.len == 0 ? okv_step(*past, OKV_FIRST, row) : okv_seek(*past, from, row);
}

static void compact_mark(struct compactor *c, struct bytes row_key)
{
	CHECK(row_key.len <= sizeof c->position.data);
	memcpy(c->position.data, row_key.data, row_key.len);
	c->position.len = row_key.len;
}

/* A row of a long key goes, and the markers that nothing is left below: behind a cursor's back. */
static int compact_long(struct compactor *c, struct okv_txn *txn, struct okv_cursor **past,
			struct okv_row *row, struct bytes row_enc, struct bytes row_whole, size_t *visits)
{
	struct bytes at;
	struct buf key;
	int rc;

	compact_mark(c, row->key);
	at = mvcc_key_bytes(&c->position);
	row_enc = bytes_of(at.data, row_enc.len);
	buf_init(&key, 0);
	buf_add_bytes(&key, row_whole);
	okv_cursor_end(past);
	rc = okv_del(txn, OKV_PAST, at);
	if (rc == ERR_OK)
		rc = levels_drop(txn, OKV_PAST, row_enc, buf_bytes(&key), visits);
	buf_free(&key);
	return rc == ERR_OK ? compact_cursor(past, txn, at, row) : rc;
}

/* Leaves the cursor on the row behind this one. */
static int compact_past_row(struct compactor *c, struct okv_txn *txn, struct okv_cursor **past,
			    struct okv_row *row, size_t *removed, size_t *visits)
{
	struct mvcc_version v;
	struct bytes enc;
	uint32_t sub;
	int64_t rev;
	int rc;

	++*visits;
	if (!mvcc_key_split(row->key, &enc, &rev, &sub))
		return ERR_CORRUPT;
	if (mvcc_key_goes_on(enc))
		return okv_step(*past, OKV_NEXT, row);
	rc = mvcc_version_decode(OKV_PAST, row, &v);
	if (rc == ERR_OK && v.by <= c->target) {
		++*removed;
		if (mvcc_key_is_long(enc))
			return compact_long(c, txn, past, row, enc, v.key, visits);
		rc = okv_cursor_del(*past);
	}
	return rc == ERR_OK ? okv_step(*past, OKV_NEXT, row) : rc;
}

static int compact_past(struct compactor *c, struct okv_txn *txn, size_t rows, size_t *removed, bool *done)
{
	struct okv_cursor *past = NULL;
	struct okv_row row;
	size_t visits = 0;
	int rc = compact_cursor(&past, txn, mvcc_key_bytes(&c->position), &row);

	while (rc == ERR_OK) {
		if (*removed >= rows || visits >= LIMIT_COMPACT_STEP_VISITS) {
			compact_mark(c, row.key);
			break;
		}
		rc = compact_past_row(c, txn, &past, &row, removed, &visits);
	}
	okv_cursor_end(&past);
	*done = rc == ERR_NOT_FOUND;
	return *done ? ERR_OK : rc;
}

int compactor_step(struct compactor *c, struct okv_txn *txn, struct mvcc_state *s, size_t rows,
		   size_t *removed)
{
	bool done = true;
	int rc = ERR_OK;

	*removed = 0;
	if (c->target == 0 && s->compact_revision <= 1) {
		s->compacted_revision = s->compact_revision;     /* nothing was superseded as early */
		return ERR_OK;
	}
	if (c->target == 0) {
		c->target = s->compact_revision;
		c->position.len = 0;
	}
	c->dirty = true;
	if (c->position.len == 0)
		rc = compact_log(txn, c->target, rows, removed, &done);
	if (rc == ERR_OK && done)
		rc = compact_past(c, txn, rows, removed, &done);
	if (rc != ERR_OK || !done)
		return rc;
	s->compacted_revision = c->target;
	c->target = 0;
	c->position.len = 0;
	return ERR_OK;
}
