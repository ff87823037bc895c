/* SPDX-License-Identifier: Apache-2.0 */
/* Environments, views, single keys, events. */
#include "mvcc/mvcc.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/view.h"

void mvcc_generation_dir(struct buf *out, const char *store_dir, uint64_t generation)
{
	buf_printf(out, "%s/gen-%" PRIu64, store_dir, generation);
}

struct mvcc_env *mvcc_env_over(struct okv *db)
{
	struct mvcc_env *env = mem_alloc(sizeof *env);

	env->db = db;
	return env;
}

static int mvcc_check_identity(struct okv *db)
{
	struct mvcc_identity id;
	struct okv_txn *txn;
	struct bytes value;
	int rc = okv_begin(db, false, &txn);

	if (rc != ERR_OK)
		return rc;
	rc = okv_get(txn, OKV_META, bytes_str(LAYOUT_META_IDENTITY), &value);
	if (rc == ERR_OK)
		rc = mvcc_identity_decode(value, &id);
	if (rc == ERR_OK && id.format != STORE_FORMAT)
		rc = ERR_VERSION;
	okv_abort(&txn);
	return rc;
}

int mvcc_open(const char *dir, uint64_t map_bytes, struct mvcc_env **out)
{
	struct okv_lmdb_setup setup = {.dir = dir, .map_bytes = map_bytes};
	struct okv *db;
	int rc = okv_lmdb_open(&setup, &db);

	if (rc != ERR_OK)
		return rc;
	rc = mvcc_check_identity(db);
	if (rc != ERR_OK) {
		okv_close(&db);
		return rc;
	}
	*out = mvcc_env_over(db);
	return ERR_OK;
}

void mvcc_close(struct mvcc_env **env)
{
	struct mvcc_env *e = *env;

	*env = NULL;
	if (e != NULL)
		okv_close(&e->db);
	free(e);
}

int mvcc_state_read(struct okv_txn *txn, struct mvcc_state *s)
{
	struct bytes value;
	int rc = okv_get(txn, OKV_META, bytes_str(LAYOUT_META_STATE), &value);

	return rc == ERR_OK ? mvcc_state_decode(value, s) : rc;
}

void mvcc_info_of(struct mvcc_info *info, const struct mvcc_state *s)
{
	*info = (struct mvcc_info){
		.applied = s->applied, .applied_term = s->applied_term, .revision = s->revision,
		.compact_revision = s->compact_revision, .compacted_revision = s->compacted_revision,
		.keys = s->keys,
	};
	memcpy(info->apply_hash, s->apply_hash, sizeof info->apply_hash);
}

void mvcc_view_over(struct mvcc_view *v, struct okv_txn *txn, const struct mvcc_state *s)
{
	*v = (struct mvcc_view){.txn = txn, .writing = true};
	mvcc_info_of(&v->info, s);
}

int mvcc_view_begin(struct mvcc_env *env, struct mvcc_view **out)
{
	struct mvcc_state state;
	struct mvcc_view *v;
	struct okv_txn *txn;
	int rc = okv_begin(env->db, false, &txn);

	if (rc != ERR_OK)
		return rc;
	rc = mvcc_state_read(txn, &state);
	if (rc != ERR_OK) {
		okv_abort(&txn);
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	}
	v = mem_alloc(sizeof *v);
	v->txn = txn;
	mvcc_info_of(&v->info, &state);
	*out = v;
	return ERR_OK;
}

void mvcc_view_end(struct mvcc_view **v)
{
	struct mvcc_view *view = *v;

	*v = NULL;
	if (view != NULL) {
		CHECK(!view->writing);
		okv_abort(&view->txn);
	}
	free(view);
}

const struct mvcc_info *mvcc_view_info(const struct mvcc_view *v)
{
	return &v->info;
}

void mvcc_view_limit(struct mvcc_view *v, size_t *bytes)
{
	v->bytes_left = bytes;
}

bool mvcc_view_spend(struct mvcc_view *v, size_t n)
{
	if (v->bytes_left == NULL)
		return true;
	if (n > *v->bytes_left)
		return false;
	*v->bytes_left -= n;
	return true;
}

bool mvcc_view_spend_rows(struct mvcc_view *v, uint64_t n)
{
	if (v->rows_left == NULL)
		return true;
	if (n > *v->rows_left)
		return false;
	*v->rows_left -= n;
	return true;
}

uint64_t mvcc_value_rows(struct bytes value)
{
	return value.len / KIB;
}

int mvcc_view_revision(const struct mvcc_view *v, int64_t revision, int64_t *at)
{
	if (revision > v->info.revision)
		return ERR_FUTURE_REV;
	if (revision > 0 && revision < v->info.compact_revision)
		return ERR_COMPACTED;
	*at = revision > 0 ? revision : v->info.revision;
	return ERR_OK;
}

static int mvcc_get_past(struct mvcc_view *v, struct bytes enc, int64_t at, struct mvcc_version *out)
{
	struct okv_cursor *past;
	int rc = okv_cursor(v->txn, OKV_PAST, &past);

	if (rc != ERR_OK)
		return rc;
	rc = mvcc_past_find(past, enc, at, out);
	okv_cursor_end(&past);
	return rc;
}

int mvcc_get(struct mvcc_view *v, struct bytes key, int64_t at, struct kv_pair *out)
{
	struct mvcc_version version;
	struct mvcc_key enc;
	struct okv_row row;
	int rc;

	mvcc_key_encode(&enc, key);
	row.key = mvcc_key_bytes(&enc);
	rc = okv_get(v->txn, OKV_NOW, row.key, &row.value);
	if (rc == ERR_OK) {
		rc = mvcc_version_decode(OKV_NOW, &row, &version);
		if (rc == ERR_OK && version.mod > at)
			rc = ERR_NOT_FOUND;
	}
	if (rc == ERR_NOT_FOUND && at < v->info.revision)
		rc = mvcc_get_past(v, row.key, at, &version);
	if (rc != ERR_OK)
		return rc;
	mvcc_version_pair(&version, out);
	out->key = key;     /* the row's may be decoded from `enc`, which ends here */
	return bytes_eq(version.key, key) ? ERR_OK : ERR_NOT_FOUND;   /* no: two keys of one hash */
}

struct kv_header *mvcc_header(struct arena *arena, int64_t revision)
{
	struct kv_header *h = arena_alloc(arena, sizeof *h);

	if (h != NULL)
		h->revision = revision;
	return h;
}

static int mvcc_bytes_keep(struct arena *arena, struct bytes *b)
{
	uint8_t *copy;

	if (b->len == 0)
		return ERR_OK;
	copy = arena_alloc(arena, b->len);
	if (copy == NULL)
		return ERR_LIMIT;
	memcpy(copy, b->data, b->len);
	b->data = copy;
	return ERR_OK;
}

int mvcc_pair_keep(struct mvcc_view *v, struct arena *arena, struct kv_pair *pair)
{
	int rc;

	if (!v->writing)
		return ERR_OK;
	rc = mvcc_bytes_keep(arena, &pair->key);
	return rc == ERR_OK ? mvcc_bytes_keep(arena, &pair->value) : rc;
}

/* ---- events ---- */

struct mvcc_events {
	struct okv_cursor *log;
	struct okv_row row;
	int rc;                  /* of the row that comes next */
};

static int mvcc_events_at(struct mvcc_view *v, int64_t from, uint32_t sub, struct mvcc_events **out)
{
	struct mvcc_rev_key key;
	struct mvcc_events *e;
	struct okv_cursor *log;
	int rc = okv_cursor(v->txn, OKV_LOG, &log);

	if (rc != ERR_OK)
		return rc;
	e = mem_alloc(sizeof *e);
	e->log = log;
	mvcc_rev_encode(&key, from, sub);
	e->rc = okv_seek(log, bytes_of(key.data, sizeof key.data), &e->row);
	*out = e;
	return ERR_OK;
}

int mvcc_events_begin(struct mvcc_view *v, int64_t from, struct mvcc_events **out)
{
	if (from < 0 || from < v->info.compact_revision)
		return ERR_COMPACTED;
	return mvcc_events_at(v, from, 0, out);
}

/* Compaction takes the log away from its head on, and only then what the log's events are about. */
static int mvcc_log_reaches(struct mvcc_view *v, int64_t from, uint32_t sub)
{
	struct mvcc_rev_key key;
	struct okv_cursor *log;
	struct okv_row row;
	int rc = okv_cursor(v->txn, OKV_LOG, &log);

	if (rc != ERR_OK)
		return rc;
	rc = okv_step(log, OKV_FIRST, &row);
	mvcc_rev_encode(&key, from, sub);
	if (rc == ERR_NOT_FOUND || (rc == ERR_OK && bytes_cmp(row.key, bytes_of(key.data, sizeof key.data)) > 0))
		rc = ERR_COMPACTED;
	okv_cursor_end(&log);
	return rc;
}

int mvcc_events_resume(struct mvcc_view *v, int64_t from, uint32_t sub, struct mvcc_events **out)
{
	int rc = from < v->info.compact_revision ? mvcc_log_reaches(v, from, sub) : ERR_OK;

	return rc == ERR_OK ? mvcc_events_at(v, from, sub, out) : rc;
}

int mvcc_events_next(struct mvcc_events *e, struct mvcc_event *out)
{
	int rc = e->rc;

	if (rc == ERR_OK)
		rc = mvcc_event_decode(&e->row, out);
	if (rc == ERR_OK)
		e->rc = okv_step(e->log, OKV_NEXT, &e->row);
	return rc;
}

int mvcc_event_pair(struct mvcc_view *v, const struct mvcc_event *e, struct kv_pair *out)
{
	int rc = e->type == MVCC_EVENT_PUT ? mvcc_get(v, e->key, e->rev, out) : ERR_NOT_FOUND;

	return rc == ERR_OK && out->mod_revision != e->rev ? ERR_CORRUPT : rc;
}

void mvcc_events_end(struct mvcc_events **e)
{
	struct mvcc_events *events = *e;

	*e = NULL;
	if (events != NULL)
		okv_cursor_end(&events->log);
	free(events);
}
