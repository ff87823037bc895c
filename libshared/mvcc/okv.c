/* SPDX-License-Identifier: Apache-2.0 */
/* The backend-independent half: dispatch, and the rules every backend may rely on. */
#include "mvcc/okv.h"

#include "base/check.h"
#include "base/err.h"
#include "mvcc/layout.h"

static bool okv_key_fits(struct bytes key)
{
	return key.len > 0 && key.len <= LAYOUT_ROW_KEY_MAX;
}

const char *okv_table_name(enum okv_table table)
{
	static const char *const names[OKV_TABLES] = {
#define OKV_TABLE_NAME_(name, text) text,
		OKV_TABLE_LIST(OKV_TABLE_NAME_)
#undef OKV_TABLE_NAME_
	};

	CHECK(table < OKV_TABLES);
	return names[table];
}

int okv_begin(struct okv *db, bool write, struct okv_txn **out)
{
	int rc = db->ops->begin(db, write, out);

	if (rc == ERR_OK) {
		(*out)->db = db;
		(*out)->write = write;
	}
	return rc;
}

int okv_commit(struct okv_txn **t)
{
	struct okv_txn *txn = *t;

	CHECK(txn->write);
	*t = NULL;
	return txn->db->ops->commit(txn);
}

void okv_abort(struct okv_txn **t)
{
	struct okv_txn *txn = *t;

	*t = NULL;
	if (txn != NULL)
		txn->db->ops->abort(txn);
}

int okv_get(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes *value)
{
	CHECK(okv_key_fits(key));
	return t->db->ops->get(t, table, key, value);
}

int okv_put(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	CHECK(t->write && okv_key_fits(key));
	return t->db->ops->put(t, table, key, value);
}

int okv_append(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	CHECK(t->write && okv_key_fits(key));
	return t->db->ops->append(t, table, key, value);
}

int okv_del(struct okv_txn *t, enum okv_table table, struct bytes key)
{
	CHECK(t->write && okv_key_fits(key));
	return t->db->ops->del(t, table, key);
}

int okv_cursor(struct okv_txn *t, enum okv_table table, struct okv_cursor **out)
{
	int rc = t->db->ops->cursor(t, table, out);

	if (rc == ERR_OK) {
		(*out)->txn = t;
		(*out)->table = table;
	}
	return rc;
}

void okv_cursor_end(struct okv_cursor **c)
{
	struct okv_cursor *cursor = *c;

	*c = NULL;
	if (cursor != NULL)
		cursor->txn->db->ops->cursor_end(cursor);
}

int okv_seek(struct okv_cursor *c, struct bytes key, struct okv_row *row)
{
	CHECK(okv_key_fits(key));
	return c->txn->db->ops->seek(c, key, row);
}

int okv_step(struct okv_cursor *c, enum okv_step step, struct okv_row *row)
{
	return c->txn->db->ops->step(c, step, row);
}

int okv_cursor_del(struct okv_cursor *c)
{
	CHECK(c->txn->write);
	return c->txn->db->ops->cursor_del(c);
}

int okv_stat(struct okv *db, struct okv_stat *st)
{
	return db->ops->stat(db, st);
}

int okv_check_readers(struct okv *db, int *dead)
{
	return db->ops->check_readers(db, dead);
}

int okv_sync(struct okv *db)
{
	return db->ops->sync(db);
}

void okv_close(struct okv **db)
{
	struct okv *d = *db;

	*db = NULL;
	if (d != NULL)
		d->ops->close(d);
}
