/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend around a backend. Each write is noted with what it replaced, so that a transaction can
 * be undone over either inner backend (okv_mem cannot by itself): that is what the death of a
 * process inside a transaction looks like. Writes and commits can be made to fail.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_int.h"

struct undo {
	enum okv_table table;
	uint8_t *key, *value;            /* value NULL: there was none */
	size_t key_len, value_len;
};

struct sim_okv {
	struct okv base;
	struct okv *inner;
	struct undo *undo;
	size_t n, cap;
	uint64_t fail_after;             /* writes and commits until one fails, 0: none will */
	int error;
};

struct sim_okv_txn {
	struct okv_txn base;
	struct okv_txn *inner;
};

struct sim_okv_cursor {
	struct okv_cursor base;
	struct okv_cursor *inner;
	struct okv_row row;
};

#define OKV(db) ((struct sim_okv *)(void *)(db))
#define TXN(t) ((struct sim_okv_txn *)(void *)(t))
#define CURSOR(c) ((struct sim_okv_cursor *)(void *)(c))

static int fails(struct sim_okv *o)
{
	return o->fail_after > 0 && --o->fail_after == 0 ? o->error : ERR_OK;
}

static void undo_forget(struct sim_okv *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->undo[i].key);
		free(o->undo[i].value);
	}
	o->n = 0;
}

static void undo_note(struct sim_okv *o, struct okv_txn *inner, enum okv_table table, struct bytes key)
{
	struct undo u = {.table = table, .key = mem_dup(key.data, key.len), .key_len = key.len};
	struct bytes old;

	if (okv_get(inner, table, key, &old) == ERR_OK) {
		u.value = mem_alloc(old.len + 1);
		if (old.len > 0)
			memcpy(u.value, old.data, old.len);
		u.value_len = old.len;
	}
	if (o->n == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 64;
		o->undo = mem_grow(o->undo, o->cap, sizeof *o->undo);
	}
	o->undo[o->n++] = u;
}

static int over_begin(struct okv *db, bool write, struct okv_txn **out)
{
	struct sim_okv_txn *t = mem_alloc(sizeof *t);
	int rc = okv_begin(OKV(db)->inner, write, &t->inner);

	if (rc != ERR_OK)
		free(t);
	else
		*out = &t->base;
	return rc;
}

static void over_abort(struct okv_txn *txn)
{
	struct sim_okv *o = OKV(txn->db);
	struct okv_txn *inner = TXN(txn)->inner;

	if (!txn->write || o->n == 0) {
		okv_abort(&inner);
		free(txn);
		return;
	}
	for (size_t i = o->n; i-- > 0;) {
		const struct undo *u = &o->undo[i];
		struct bytes key = bytes_of(u->key, u->key_len);
		int rc = u->value ? okv_put(inner, u->table, key, bytes_of(u->value, u->value_len))
				  : okv_del(inner, u->table, key);

		CHECK(rc == ERR_OK || rc == ERR_NOT_FOUND);
	}
	undo_forget(o);
	CHECK(okv_commit(&inner) == ERR_OK);
	free(txn);
}

static int over_commit(struct okv_txn *txn)
{
	struct sim_okv *o = OKV(txn->db);
	int rc = fails(o);

	if (rc != ERR_OK) {
		over_abort(txn);
		return rc;
	}
	rc = okv_commit(&TXN(txn)->inner);
	undo_forget(o);
	free(txn);
	return rc;
}

static int over_get(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes *value)
{
	return okv_get(TXN(t)->inner, table, key, value);
}

static int over_put(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	int rc = fails(OKV(t->db));

	if (rc != ERR_OK)
		return rc;
	undo_note(OKV(t->db), TXN(t)->inner, table, key);
	return okv_put(TXN(t)->inner, table, key, value);
}

static int over_append(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	int rc = fails(OKV(t->db));

	if (rc != ERR_OK)
		return rc;
	undo_note(OKV(t->db), TXN(t)->inner, table, key);
	return okv_append(TXN(t)->inner, table, key, value);
}

static int over_del(struct okv_txn *t, enum okv_table table, struct bytes key)
{
	undo_note(OKV(t->db), TXN(t)->inner, table, key);
	return okv_del(TXN(t)->inner, table, key);
}

static int over_cursor(struct okv_txn *t, enum okv_table table, struct okv_cursor **out)
{
	struct sim_okv_cursor *c = mem_alloc(sizeof *c);
	int rc = okv_cursor(TXN(t)->inner, table, &c->inner);

	if (rc != ERR_OK)
		free(c);
	else
		*out = &c->base;
	return rc;
}

static void over_cursor_end(struct okv_cursor *c)
{
	okv_cursor_end(&CURSOR(c)->inner);
	free(c);
}

static int over_seek(struct okv_cursor *c, struct bytes key, struct okv_row *row)
{
	int rc = okv_seek(CURSOR(c)->inner, key, row);

	CURSOR(c)->row = *row;
	return rc;
}

static int over_step(struct okv_cursor *c, enum okv_step step, struct okv_row *row)
{
	int rc = okv_step(CURSOR(c)->inner, step, row);

	CURSOR(c)->row = *row;
	return rc;
}

static int over_cursor_del(struct okv_cursor *c)
{
	undo_note(OKV(c->txn->db), TXN(c->txn)->inner, c->table, CURSOR(c)->row.key);
	return okv_cursor_del(CURSOR(c)->inner);
}

static int over_stat(struct okv *db, struct okv_stat *st)
{
	return okv_stat(OKV(db)->inner, st);
}

static int over_check_readers(struct okv *db, int *dead)
{
	return okv_check_readers(OKV(db)->inner, dead);
}

static int over_sync(struct okv *db)
{
	return okv_sync(OKV(db)->inner);
}

static void over_close(struct okv *db)
{
	undo_forget(OKV(db));
	okv_close(&OKV(db)->inner);
	free(OKV(db)->undo);
	free(db);
}

struct okv *sim_okv_over(struct okv *inner)
{
	static const struct okv_ops ops = {
		over_begin, over_commit, over_abort, over_get, over_put, over_append, over_del,
		over_cursor, over_cursor_end, over_seek, over_step, over_cursor_del, over_stat,
		over_check_readers, over_sync, over_close};
	struct sim_okv *o = mem_alloc(sizeof *o);

	o->base.ops = &ops;
	o->inner = inner;
	return &o->base;
}

void sim_okv_fail_after(struct okv *db, uint64_t writes, int error)
{
	OKV(db)->fail_after = writes;
	OKV(db)->error = error;
}
