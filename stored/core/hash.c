/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/hash.h"

#include "base/check.h"
#include "base/err.h"

int store_hash_begin(struct store_hash *h, const struct mvcc_view *v, int64_t revision)
{
	int64_t at;
	int rc = mvcc_view_revision(v, revision, &at);

	if (rc != ERR_OK)
		return rc;
	*h = (struct store_hash){.revision = at, .compact_revision = v->info.compact_revision};
	digest_begin(&h->digest);
	return ERR_OK;
}

static void hash_mark(struct store_hash *h, struct bytes key)
{
	CHECK(key.len <= sizeof h->position.data);
	memcpy(h->position.data, key.data, key.len);
	h->position.len = key.len;
}

/*
 * A version's place is (key, revision), whether it stands in `now` or in `past`: it may move from
 * the one to the other between two steps.
 */
struct hash_walk {
	struct store_hash *h;
	struct okv_cursor *now, *past;
	struct okv_row now_row, past_row;
	bool now_ok, past_ok;
	struct mvcc_version now_version;
	struct mvcc_key now_place;
};

static int hash_now_place(struct hash_walk *w, int rc)
{
	w->now_ok = rc == ERR_OK;
	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	if (rc != ERR_OK)
		return rc;
	w->now_version = (struct mvcc_version){.mod = 0};
	if (mvcc_key_goes_on(w->now_row.key))
		rc = mvcc_marker_check(&w->now_row);
	else
		rc = mvcc_version_decode(OKV_NOW, &w->now_row, &w->now_version);
	if (rc != ERR_OK)
		return rc;
	memcpy(w->now_place.data, w->now_row.key.data, w->now_row.key.len);
	w->now_place.len = w->now_row.key.len;
	mvcc_key_add_rev(&w->now_place, w->now_version.mod, w->now_version.sub);
	return ERR_OK;
}

static int hash_now_next(struct hash_walk *w)
{
	return hash_now_place(w, okv_step(w->now, OKV_NEXT, &w->now_row));
}

static int hash_past_head(struct hash_walk *w, int rc)
{
	w->past_ok = rc == ERR_OK;
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* Both cursors behind the position. */
static int hash_seek(struct hash_walk *w)
{
	struct bytes at = mvcc_key_bytes(&w->h->position), enc = at;
	int64_t rev;
	uint32_t sub;
	int rc;

	if (at.len == 0) {
		rc = hash_now_place(w, okv_step(w->now, OKV_FIRST, &w->now_row));
		return rc == ERR_OK ? hash_past_head(w, okv_step(w->past, OKV_FIRST, &w->past_row)) : rc;
	}
	CHECK(mvcc_key_split(at, &enc, &rev, &sub));
	rc = hash_now_place(w, okv_seek(w->now, enc, &w->now_row));
	if (rc == ERR_OK && w->now_ok && bytes_cmp(mvcc_key_bytes(&w->now_place), at) <= 0)
		rc = hash_now_next(w);
	if (rc == ERR_OK)
		rc = hash_past_head(w, okv_seek(w->past, at, &w->past_row));
	if (rc == ERR_OK && w->past_ok && bytes_eq(w->past_row.key, at))
		rc = hash_past_head(w, okv_step(w->past, OKV_NEXT, &w->past_row));
	return rc;
}

/* Markers are not hashed: each table has its own, and they follow from the versions. */
static void hash_version(struct store_hash *h, const struct mvcc_version *v)
{
	bool superseded = v->by != 0 && v->by <= h->revision;

	if (v->mod == 0)
		return;
	if (v->mod > h->revision || (v->by != 0 && v->by <= h->compact_revision))
		return;
	digest_field(&h->digest, v->key);
	digest_u64(&h->digest, (uint64_t)v->mod);
	digest_u64(&h->digest, v->sub);
	digest_u64(&h->digest, (uint64_t)v->create);
	digest_u64(&h->digest, (uint64_t)v->version);
	digest_u64(&h->digest, (uint64_t)v->lease);
	digest_u64(&h->digest, superseded ? (uint64_t)v->by : 0);
	digest_field(&h->digest, v->value);
}

static int hash_past_version(const struct okv_row *row, struct mvcc_version *v)
{
	struct bytes enc;
	int64_t rev;
	uint32_t sub;

	*v = (struct mvcc_version){.mod = 0};
	if (!mvcc_key_split(row->key, &enc, &rev, &sub))
		return ERR_CORRUPT;
	return mvcc_key_goes_on(enc) ? mvcc_marker_check(row) : mvcc_version_decode(OKV_PAST, row, v);
}

/* The next version, or marker, in the order of places. */
static int hash_next(struct hash_walk *w)
{
	struct mvcc_version v;
	int rc;

	if (w->past_ok && (!w->now_ok || bytes_cmp(w->past_row.key, mvcc_key_bytes(&w->now_place)) < 0)) {
		rc = hash_past_version(&w->past_row, &v);
		if (rc != ERR_OK)
			return rc;
		hash_version(w->h, &v);
		hash_mark(w->h, w->past_row.key);
		return hash_past_head(w, okv_step(w->past, OKV_NEXT, &w->past_row));
	}
	hash_version(w->h, &w->now_version);
	hash_mark(w->h, mvcc_key_bytes(&w->now_place));
	return hash_now_next(w);
}

static int hash_keys(struct store_hash *h, struct mvcc_view *v, size_t rows)
{
	struct hash_walk w = {.h = h};
	int rc = okv_cursor(v->txn, OKV_NOW, &w.now);

	if (rc == ERR_OK)
		rc = okv_cursor(v->txn, OKV_PAST, &w.past);
	if (rc == ERR_OK)
		rc = hash_seek(&w);
	for (size_t n = 0; rc == ERR_OK && (w.now_ok || w.past_ok); n++)
		rc = n < rows ? hash_next(&w) : ERR_LIMIT;
	okv_cursor_end(&w.now);
	okv_cursor_end(&w.past);
	return rc;
}

static int hash_events_from(struct store_hash *h, struct okv_cursor *log, struct okv_row *row)
{
	struct mvcc_rev_key from;
	int rc;

	if (h->position.len == 0) {
		mvcc_rev_encode(&from, h->compact_revision > 0 ? h->compact_revision : 0, 0);
		return okv_seek(log, bytes_of(from.data, sizeof from.data), row);
	}
	rc = okv_seek(log, mvcc_key_bytes(&h->position), row);
	if (rc == ERR_OK && bytes_eq(row->key, mvcc_key_bytes(&h->position)))
		rc = okv_step(log, OKV_NEXT, row);
	return rc;
}

static int hash_event(struct store_hash *h, const struct okv_row *row)
{
	struct mvcc_event e;
	int rc = mvcc_event_decode(row, &e);

	if (rc != ERR_OK)
		return rc;
	if (e.rev > h->revision)
		return ERR_NOT_FOUND;
	digest_u64(&h->digest, (uint64_t)e.rev);
	digest_u64(&h->digest, e.sub);
	digest_u64(&h->digest, (uint64_t)e.type);
	digest_field(&h->digest, e.key);
	hash_mark(h, row->key);
	return ERR_OK;
}

static int hash_events(struct store_hash *h, struct mvcc_view *v, size_t rows)
{
	struct okv_cursor *log;
	struct okv_row row;
	int rc = okv_cursor(v->txn, OKV_LOG, &log);

	if (rc != ERR_OK)
		return rc;
	rc = hash_events_from(h, log, &row);
	for (size_t n = 0; rc == ERR_OK; n++) {
		rc = n < rows ? hash_event(h, &row) : ERR_LIMIT;
		if (rc == ERR_OK)
			rc = okv_step(log, OKV_NEXT, &row);
	}
	okv_cursor_end(&log);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

int store_hash_step(struct store_hash *h, struct mvcc_view *v, size_t rows)
{
	int rc = ERR_OK;

	if (v->info.compact_revision != h->compact_revision)
		rc = store_hash_begin(h, v, h->revision);
	if (rc == ERR_OK && !h->in_log) {
		rc = hash_keys(h, v, rows);
		if (rc != ERR_OK)
			return rc;
		h->in_log = true;
		h->position.len = 0;
		return ERR_LIMIT;
	}
	if (rc == ERR_OK)
		rc = hash_events(h, v, rows);
	if (rc == ERR_OK)
		digest_end(&h->digest, h->hash);
	return rc;
}
