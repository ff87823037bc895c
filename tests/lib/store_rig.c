/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/store_rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/err.h"
#include "mvcc/view.h"
#include "stored/core/hash.h"
#include "tests/lib/tap.h"

static const struct mvcc_identity rig_identity = {STORE_FORMAT, 1, 1, 1};

static void rig_up(struct rig *r)
{
	struct okv_lmdb_setup setup = {.dir = r->dir, .map_bytes = 1u << 30, .write = true};

	if (r->db == NULL && r->dir[0] != 0)
		CHECK(okv_lmdb_open(&setup, &r->db) == ERR_OK);
	if (r->db == NULL)
		CHECK(okv_mem_open(&r->db) == ERR_OK);
	if (r->env == NULL)
		r->env = mvcc_env_over(r->db);
	EQ_INT(apply_open(r->db, &rig_identity, &r->apply), ERR_OK);
}

void rig_open_bare(struct rig *r, const char *name)
{
	*r = (struct rig){.term = 1};
	arena_init(&r->arena, 64u << 20);
	buf_init(&r->entry, 0);
	buf_init(&r->result, 0);
	if (name != NULL) {
		(void)snprintf(r->dir, sizeof r->dir, "%s/%s", tap_dir(), name);
		CHECK(mkdir(r->dir, 0700) == 0);
	}
	rig_up(r);
}

void rig_open(struct rig *r, const char *name)
{
	struct command open = {.gateway = RIG_GATEWAY};

	rig_open_bare(r, name);
	EQ_INT(rig_command(r, &open)->error, ERR_OK);
}

static void rig_down(struct rig *r)
{
	rig_commit(r);
	apply_close(&r->apply);
	if (r->dir[0] != 0) {
		mvcc_close(&r->env);
		r->db = NULL;
	}
}

void rig_close(struct rig *r)
{
	rig_down(r);
	mvcc_close(&r->env);
	arena_free(&r->arena);
	buf_free(&r->entry);
	buf_free(&r->result);
}

void rig_restart(struct rig *r)
{
	rig_down(r);
	rig_up(r);
}

void rig_commit(struct rig *r)
{
	if (r->open)
		EQ_INT(apply_commit(r->apply), ERR_OK);
	r->open = false;
}

static void rig_begin(struct rig *r)
{
	if (!r->open)
		EQ_INT(apply_begin(r->apply), ERR_OK);
	r->open = true;
}

uint64_t rig_next_index(const struct rig *r)
{
	return apply_state(r->apply)->applied + 1;
}

uint64_t rig_rows(struct rig *r, enum okv_table table)
{
	struct okv_stat st;

	rig_commit(r);
	EQ_INT(okv_stat(r->db, &st), ERR_OK);
	return st.rows[table];
}

void rig_entry(struct rig *r, uint64_t kind, struct bytes payload)
{
	struct log_entry e = {.index = rig_next_index(r), .term = r->term, .kind = kind, .payload = payload};

	rig_begin(r);
	EQ_INT(apply_entry(r->apply, &e, &r->outcome), ERR_OK);
	buf_clear(&r->result);
	buf_add_bytes(&r->result, r->outcome.result);
}

struct command_result *rig_command(struct rig *r, const struct command *c)
{
	struct wire w;

	buf_clear(&r->entry);
	CHECK(msg_encode(&r->entry, &command_desc, c) == ERR_OK);
	rig_entry(r, LOG_ENTRY_COMMAND, buf_bytes(&r->entry));
	OK(!r->outcome.rejected && r->outcome.gateway == c->gateway && r->outcome.seq == c->seq);
	w = wire_of(buf_bytes(&r->result), WIRE_STRICT);
	arena_reset(&r->arena);
	EQ_INT(msg_decode(&w, &command_result_desc, &r->arena, &r->r), ERR_OK);
	EQ_INT(wire_end(&w), ERR_OK);
	EQ_INT(r->r.error, r->outcome.error);
	return &r->r;
}

void rig_lessor(struct rig *r, const struct command *c)
{
	buf_clear(&r->entry);
	CHECK(msg_encode(&r->entry, &command_desc, c) == ERR_OK);
	rig_entry(r, LOG_ENTRY_COMMAND, buf_bytes(&r->entry));
	OK(!r->outcome.rejected && r->outcome.gateway == 0 && r->outcome.result.len == 0);
}

struct command_result *rig_grant(struct rig *r, int64_t id, int64_t ttl)
{
	struct lease_grant g = {id, ttl};

	return rig_do(r, (struct command){.lease_grant = &g});
}

struct command_result *rig_revoke(struct rig *r, int64_t id)
{
	struct lease_revoke v = {id};

	return rig_do(r, (struct command){.lease_revoke = &v});
}

struct command_result *rig_do(struct rig *r, struct command c)
{
	c.gateway = RIG_GATEWAY;
	c.seq = ++r->seq;
	return rig_command(r, &c);
}

struct command_result *rig_put(struct rig *r, const char *key, const char *value)
{
	struct kv_put p = {.key = bytes_str(key), .value = bytes_str(value)};

	return rig_do(r, (struct command){.put = &p});
}

struct command_result *rig_delete(struct rig *r, const char *key, const char *end)
{
	struct kv_delete d = {.key = bytes_str(key)};

	if (end != NULL)
		d.range_end = bytes_of(end, end[0] ? strlen(end) : 1);     /* "": one zero byte */
	return rig_do(r, (struct command){.del = &d});
}

struct command_result *rig_compact(struct rig *r, int64_t revision)
{
	struct kv_compact c = {.revision = revision};

	return rig_do(r, (struct command){.compact = &c});
}

void rig_compact_all(struct rig *r, size_t rows)
{
	size_t removed;

	rig_commit(r);
	while (apply_compacting(r->apply)) {
		rig_begin(r);
		EQ_INT(apply_compact_step(r->apply, rows, &removed), ERR_OK);
		OK(removed <= rows);
		rig_commit(r);
	}
}

struct mvcc_view *rig_view(struct rig *r)
{
	struct mvcc_view *v = NULL;

	rig_commit(r);
	EQ_INT(mvcc_view_begin(r->env, &v), ERR_OK);
	return v;
}

const char *rig_get(struct rig *r, const char *key, int64_t revision)
{
	static char text[512];
	struct mvcc_view *v = rig_view(r);
	struct kv_pair pair;
	int64_t at;
	int rc = mvcc_view_revision(v, revision, &at);

	if (rc == ERR_OK)
		rc = mvcc_get(v, bytes_str(key), at, &pair);
	if (rc == ERR_OK)
		(void)snprintf(text, sizeof text, "%.*s", (int)pair.value.len, (const char *)pair.value.data);
	else
		(void)snprintf(text, sizeof text, "%s", rc == ERR_NOT_FOUND ? "(none)" : err_name(rc));
	mvcc_view_end(&v);
	return text;
}

const char *rig_range(struct rig *r, const struct kv_range *range)
{
	static char text[4096];
	struct mvcc_view *v = rig_view(r);
	struct kv_range_result out;
	struct arena arena;
	struct buf b;
	int64_t at = 0;
	int rc = mvcc_view_revision(v, range->revision, &at);

	buf_init(&b, sizeof text);
	arena_init(&arena, 1u << 20);
	if (rc == ERR_OK)
		rc = mvcc_range(v, range, at, &arena, &out);
	if (rc != ERR_OK)
		buf_str(&b, err_name(rc));
	for (size_t i = 0; rc == ERR_OK && i < out.kvs.n; i++)
		buf_printf(&b, "%s%.*s=%.*s", i ? " " : "", (int)out.kvs.v[i].key.len,
			   (const char *)out.kvs.v[i].key.data, (int)out.kvs.v[i].value.len,
			   (const char *)out.kvs.v[i].value.data);
	if (rc == ERR_OK)
		buf_printf(&b, " (%d%s)", (int)out.count, out.more ? " more" : "");
	(void)snprintf(text, sizeof text, "%.*s", (int)b.len, (const char *)b.data);
	buf_free(&b);
	arena_free(&arena);
	mvcc_view_end(&v);
	return text;
}

void rig_hash(struct rig *r, int64_t revision, size_t rows, uint8_t hash[16])
{
	struct mvcc_view *v = rig_view(r);
	struct store_hash h;
	int rc;

	EQ_INT(store_hash_begin(&h, v, revision), ERR_OK);
	do {
		mvcc_view_end(&v);
		v = rig_view(r);
		rc = store_hash_step(&h, v, rows);
	} while (rc == ERR_LIMIT);
	mvcc_view_end(&v);
	EQ_INT(rc, ERR_OK);
	memcpy(hash, h.hash, sizeof h.hash);
}
