/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/writer.h"

#include "base/check.h"
#include "base/err.h"
#include "mvcc/txn.h"
#include "stored/core/levels.h"

/* Keys of a delete range that are gathered before they are deleted: a scan and writes do not mix. */
enum { WRITER_DELETE_KEYS = 256, WRITER_DELETE_BYTES = 256 * 1024, WRITER_KEEP_BYTES = 1024 * 1024 };

void writer_init(struct writer *w)
{
	*w = (struct writer){.txn = NULL};
	buf_init(&w->past, 0);
	buf_init(&w->now, 0);
	buf_init(&w->event, 0);
	buf_init(&w->keys, 0);
}

void writer_free(struct writer *w)
{
	buf_free(&w->past);
	buf_free(&w->now);
	buf_free(&w->event);
	buf_free(&w->keys);
}

void writer_begin(struct writer *w, struct okv_txn *txn, struct mvcc_state *state, struct effects *effects,
		  struct arena *arena, size_t *bytes_left)
{
	w->txn = txn;
	w->state = state;
	w->effects = effects;
	w->arena = arena;
	w->before = state->revision;
	w->keys_before = state->keys;
	w->sub = 0;
	mvcc_view_over(&w->view, txn, state);
	mvcc_view_limit(&w->view, bytes_left);
	buf_clear(&w->past);
	buf_shrink(&w->past, WRITER_KEEP_BYTES);
	buf_clear(&w->now);
	buf_shrink(&w->now, WRITER_KEEP_BYTES);
}

/* ---- one key ---- */

/* A key as the tables have it now, and its live version if there is one. */
struct target {
	struct mvcc_key enc;
	bool found;
	struct mvcc_version old;         /* its bytes last until the next write */
};

static int writer_look(struct writer *w, struct bytes key, struct target *t)
{
	struct okv_row row;
	int rc;

	mvcc_key_encode(&t->enc, key);
	row.key = mvcc_key_bytes(&t->enc);
	rc = okv_get(w->txn, OKV_NOW, row.key, &row.value);
	t->found = rc == ERR_OK;
	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	if (rc == ERR_OK)
		rc = mvcc_version_decode(OKV_NOW, &row, &t->old);
	/* Two long keys of one hash: not in this universe's lifetime, and never mixed up. */
	if (rc == ERR_OK && !bytes_eq(t->old.key, key))
		rc = ERR_BAD_ARGUMENT;
	return rc;
}

static int64_t writer_revision(const struct writer *w)
{
	return w->before + 1;
}

/* Makes the row of `past` for the version that is superseded: after this it may be written over. */
static void writer_past_row(struct writer *w, const struct target *t, struct mvcc_key *row_key)
{
	struct mvcc_version past = t->old;

	past.by = writer_revision(w);
	*row_key = t->enc;
	mvcc_key_add_rev(row_key, past.mod, past.sub);
	mvcc_version_encode(&w->past, OKV_PAST, mvcc_key_bytes(row_key), &past);
}

static int writer_event(struct writer *w, enum mvcc_event_type type, struct bytes key)
{
	struct mvcc_event e = {.rev = writer_revision(w), .sub = w->sub, .type = type, .key = key};
	struct mvcc_rev_key at;
	struct bytes row_key;
	int rc;

	CHECK(w->sub < UINT32_MAX);
	mvcc_rev_encode(&at, e.rev, e.sub);
	row_key = bytes_of(at.data, sizeof at.data);
	mvcc_event_encode(&w->event, row_key, &e);
	rc = okv_append(w->txn, OKV_LOG, row_key, buf_bytes(&w->event));
	w->sub++;
	w->state->revision = w->view.info.revision = e.rev;
	w->view.info.keys = w->state->keys;
	return rc;
}

/* ---- rows come and go with the markers above them ---- */

static int writer_supersede(struct writer *w, struct bytes enc, struct bytes key, const struct mvcc_key *past_key)
{
	int rc = levels_add(w->txn, OKV_PAST, enc, key);

	return rc == ERR_OK ? okv_put(w->txn, OKV_PAST, mvcc_key_bytes(past_key), buf_bytes(&w->past)) : rc;
}

static int writer_now_put(struct writer *w, struct bytes enc, struct bytes key)
{
	int rc = levels_add(w->txn, OKV_NOW, enc, key);

	return rc == ERR_OK ? okv_put(w->txn, OKV_NOW, enc, buf_bytes(&w->now)) : rc;
}

static int writer_now_del(struct writer *w, struct bytes enc, struct bytes key)
{
	size_t gone = 0;
	int rc = okv_del(w->txn, OKV_NOW, enc);

	return rc == ERR_OK ? levels_drop(w->txn, OKV_NOW, enc, key, &gone) : rc;
}

/* ---- put ---- */

static int writer_missing(const struct target *t, const struct kv_put *p)
{
	return (p->ignore_value || p->ignore_lease) && !t->found ? ERR_KEY_NOT_FOUND : ERR_OK;
}

/* No lease can be granted yet. */
static int writer_lease(const struct kv_put *p)
{
	return p->lease != 0 ? ERR_LEASE_NOT_FOUND : ERR_OK;
}

int writer_may_put(struct writer *w, const struct kv_put *p)
{
	struct target t;
	int rc = writer_look(w, p->key, &t);

	if (rc == ERR_OK)
		rc = writer_missing(&t, p);
	return rc == ERR_OK ? writer_lease(p) : rc;
}

/* Copies a pair into the results. */
static int writer_answer(struct writer *w, const struct mvcc_version *v, struct kv_pair **out)
{
	struct kv_pair *pair = arena_alloc(w->arena, sizeof *pair);

	if (pair == NULL || !mvcc_view_spend(&w->view, MVCC_PAIR_COST + v->key.len + v->value.len))
		return ERR_RESPONSE_TOO_LARGE;
	mvcc_version_pair(v, pair);
	*out = pair;
	return mvcc_pair_keep(&w->view, w->arena, pair);
}

static void writer_now_row(struct writer *w, const struct target *t, const struct kv_put *p)
{
	struct mvcc_version v = {
		.mod = writer_revision(w), .sub = w->sub, .create = writer_revision(w), .version = 1,
		.lease = p->lease, .key = p->key, .value = p->value,
	};

	if (t->found) {
		v.create = t->old.create;
		v.version = t->old.version + 1;
		v.value = p->ignore_value ? t->old.value : p->value;
		v.lease = p->ignore_lease ? t->old.lease : p->lease;
	}
	mvcc_version_encode(&w->now, OKV_NOW, mvcc_key_bytes(&t->enc), &v);
}

static int writer_put_rows(struct writer *w, const struct kv_put *p, const struct target *t)
{
	struct bytes enc = mvcc_key_bytes(&t->enc);
	struct mvcc_key past_key;
	int rc = ERR_OK;

	writer_now_row(w, t, p);
	if (t->found) {
		CHECK(t->old.mod < writer_revision(w));      /* kv_check_txn: no key twice */
		writer_past_row(w, t, &past_key);
		rc = writer_supersede(w, enc, p->key, &past_key);
	} else {
		w->state->keys++;
	}
	if (rc == ERR_OK)
		rc = writer_now_put(w, enc, p->key);
	if (rc == ERR_OK)
		effects_add(w->effects, 'p', 0, enc, buf_bytes(&w->now));
	return rc == ERR_OK ? writer_event(w, MVCC_EVENT_PUT, p->key) : rc;
}

int writer_put(struct writer *w, const struct kv_put *p, struct kv_put_result *out)
{
	struct target t;
	int rc = writer_lease(p);

	if (rc == ERR_OK)
		rc = writer_look(w, p->key, &t);
	if (rc == ERR_OK)
		rc = writer_missing(&t, p);
	if (rc == ERR_OK && p->prev_kv && t.found)
		rc = writer_answer(w, &t.old, &out->prev_kv);
	if (rc == ERR_OK)
		rc = writer_put_rows(w, p, &t);
	if (rc != ERR_OK)
		return rc;
	out->header = mvcc_header(w->arena, w->view.info.revision);
	return out->header ? ERR_OK : ERR_LIMIT;
}

/* ---- delete ---- */

static int writer_delete_key(struct writer *w, struct bytes key)
{
	struct mvcc_key past_key;
	struct bytes enc;
	struct target t;
	int rc = writer_look(w, key, &t);

	if (rc != ERR_OK)
		return rc;
	CHECK(t.found && t.old.mod < writer_revision(w));
	enc = mvcc_key_bytes(&t.enc);
	writer_past_row(w, &t, &past_key);
	rc = writer_supersede(w, enc, key, &past_key);
	if (rc == ERR_OK)
		rc = writer_now_del(w, enc, key);
	if (rc != ERR_OK)
		return rc;
	w->state->keys--;
	effects_add(w->effects, 'd', w->sub, enc, bytes_of(NULL, 0));
	return writer_event(w, MVCC_EVENT_DELETE, key);
}

/* Copies the next keys of the span into w->keys, each behind its length. */
static int writer_gather(struct writer *w, const struct mvcc_span *span, struct bytes after, size_t *n)
{
	struct mvcc_scan *scan;
	struct kv_pair pair;
	int rc = mvcc_scan_begin(&w->view, span, w->view.info.revision, &scan);

	if (rc != ERR_OK)
		return rc;
	if (after.len != 0)
		rc = mvcc_scan_after(scan, after);
	buf_clear(&w->keys);
	for (*n = 0; rc == ERR_OK && *n < WRITER_DELETE_KEYS && w->keys.len < WRITER_DELETE_BYTES;) {
		rc = mvcc_scan_next(scan, &pair);
		if (rc == ERR_OK) {
			buf_u64(&w->keys, pair.key.len);
			buf_add_bytes(&w->keys, pair.key);
			++*n;
		}
	}
	mvcc_scan_end(&scan);
	CHECK(w->keys.err == ERR_OK);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* Deletes what was gathered; *last is the last of it, in w->keys. */
static int writer_delete_gathered(struct writer *w, struct bytes *last)
{
	struct cur c = cur_of(buf_bytes(&w->keys));
	int rc = ERR_OK;

	while (rc == ERR_OK && cur_left(&c) > 0) {
		*last = cur_take(&c, cur_u64(&c));
		rc = writer_delete_key(w, *last);
	}
	CHECK(c.err == ERR_OK);
	return rc;
}

static int writer_delete_span(struct writer *w, const struct kv_delete *d, int64_t *deleted)
{
	struct mvcc_span span = {d->key, d->range_end};
	struct bytes last = {NULL, 0};
	struct buf after;
	size_t n = 0;
	int rc;

	buf_init(&after, 0);
	do {
		rc = writer_gather(w, &span, buf_bytes(&after), &n);
		if (rc == ERR_OK)
			rc = writer_delete_gathered(w, &last);
		*deleted += (int64_t)n;
		buf_clear(&after);
		buf_add_bytes(&after, last);
	} while (rc == ERR_OK && n > 0 && d->range_end.len != 0);
	buf_free(&after);
	return rc;
}

/* The pairs that will be deleted, for the answer. */
static int writer_prev_kvs(struct writer *w, const struct kv_delete *d, struct kv_delete_result *out)
{
	struct kv_range r = {.key = d->key, .range_end = d->range_end};
	struct kv_range_result found;
	int rc = mvcc_range(&w->view, &r, w->view.info.revision, w->arena, &found);

	out->prev_kvs.v = rc == ERR_OK ? found.kvs.v : NULL;
	out->prev_kvs.n = rc == ERR_OK ? found.kvs.n : 0;
	return rc;
}

int writer_delete(struct writer *w, const struct kv_delete *d, struct kv_delete_result *out)
{
	int rc = d->prev_kv ? writer_prev_kvs(w, d, out) : ERR_OK;

	if (rc == ERR_OK)
		rc = writer_delete_span(w, d, &out->deleted);
	if (rc != ERR_OK)
		return rc;
	out->header = mvcc_header(w->arena, w->view.info.revision);
	return out->header ? ERR_OK : ERR_LIMIT;
}

/* ---- transactions ---- */

static int txn_may_put(void *arg, const struct kv_put *p)
{
	return writer_may_put(arg, p);
}

static int txn_put(void *arg, const struct kv_put *p, struct kv_put_result *out)
{
	return writer_put(arg, p, out);
}

static int txn_delete(void *arg, const struct kv_delete *d, struct kv_delete_result *out)
{
	return writer_delete(arg, d, out);
}

int writer_txn(struct writer *w, const struct kv_txn *txn, struct kv_txn_result *out)
{
	const struct mvcc_txn_writes writes = {txn_may_put, txn_put, txn_delete, w};

	return mvcc_txn_run(&w->view, txn, &writes, w->arena, out);
}

/* ---- undo ---- */

/* The version that this command superseded goes back to `now`; *was tells whether there was one. */
static int undo_restore(struct writer *w, struct bytes enc, struct bytes key, bool *was)
{
	struct okv_cursor *past;
	struct mvcc_version v;
	struct mvcc_key row_key = {.len = enc.len};
	size_t gone = 0;
	int rc = okv_cursor(w->txn, OKV_PAST, &past);

	if (rc != ERR_OK)
		return rc;
	rc = mvcc_past_find(past, enc, w->before, &v);
	*was = rc == ERR_OK && v.by == writer_revision(w);
	if (*was) {
		memcpy(row_key.data, enc.data, enc.len);
		mvcc_key_add_rev(&row_key, v.mod, v.sub);
		v.by = 0;
		mvcc_version_encode(&w->now, OKV_NOW, enc, &v);
	}
	okv_cursor_end(&past);
	if (rc != ERR_OK || !*was)
		return rc == ERR_NOT_FOUND ? ERR_OK : rc;
	rc = okv_del(w->txn, OKV_PAST, mvcc_key_bytes(&row_key));
	if (rc == ERR_OK)
		rc = levels_drop(w->txn, OKV_PAST, enc, key, &gone);
	return rc == ERR_OK ? writer_now_put(w, enc, key) : rc;
}

/* The key lies in the row, which is gone before the last use of the key. */
static struct bytes undo_keep(struct writer *w, struct bytes key)
{
	buf_clear(&w->keys);
	buf_add_bytes(&w->keys, key);
	CHECK(w->keys.err == ERR_OK);
	return buf_bytes(&w->keys);
}

static int undo_event(struct writer *w, uint32_t sub)
{
	struct mvcc_rev_key at;
	struct mvcc_event e;
	struct okv_row row;
	struct mvcc_key enc;
	bool was = false, put;
	int rc;

	mvcc_rev_encode(&at, writer_revision(w), sub);
	row.key = bytes_of(at.data, sizeof at.data);
	rc = okv_get(w->txn, OKV_LOG, row.key, &row.value);
	if (rc == ERR_OK)
		rc = mvcc_event_decode(&row, &e);
	if (rc != ERR_OK)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	put = e.type == MVCC_EVENT_PUT;
	e.key = undo_keep(w, e.key);
	mvcc_key_encode(&enc, e.key);
	rc = undo_restore(w, mvcc_key_bytes(&enc), e.key, &was);
	if (rc == ERR_OK && !was)
		rc = put ? writer_now_del(w, mvcc_key_bytes(&enc), e.key) : ERR_CORRUPT;
	return rc == ERR_OK ? okv_del(w->txn, OKV_LOG, row.key) : rc;
}

int writer_undo(struct writer *w)
{
	int rc = ERR_OK;

	while (rc == ERR_OK && w->sub > 0)
		rc = undo_event(w, --w->sub);
	w->state->revision = w->view.info.revision = w->before;
	w->state->keys = w->keys_before;
	effects_again(w->effects);
	return rc;
}
