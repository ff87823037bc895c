/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/levels.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/row.h"

/* The markers of a key as their rows' keys, from the top. */
struct levels {
	struct mvcc_key *v;
	size_t n, cap;
};

static void levels_of(struct levels *l, enum okv_table table, struct bytes key)
{
	struct mvcc_key k;

	*l = (struct levels){.n = 0};
	for (mvcc_key_top(&k, &key); mvcc_key_goes_on(mvcc_key_bytes(&k)); mvcc_key_down(&k, &key)) {
		if (l->n == l->cap) {
			l->cap = l->cap ? l->cap * 2 : 4;
			l->v = mem_grow(l->v, l->cap, sizeof *l->v);
		}
		l->v[l->n] = k;
		if (table == OKV_PAST)
			mvcc_key_add_rev(&l->v[l->n], 0, 0);
		l->n++;
	}
	CHECK(l->n > 0);
}

/* ERR_OK: the level has a row; ERR_NOT_FOUND. */
static int level_look(struct okv_txn *txn, enum okv_table table, struct bytes level)
{
	struct okv_cursor *c;
	struct okv_row row;
	int rc = okv_cursor(txn, table, &c);

	if (rc != ERR_OK)
		return rc;
	rc = okv_seek(c, level, &row);
	if (rc == ERR_OK && !bytes_eq(mvcc_key_level(row.key), level))
		rc = ERR_NOT_FOUND;
	okv_cursor_end(&c);
	return rc;
}

int levels_add(struct okv_txn *txn, enum okv_table table, struct bytes enc, struct bytes key)
{
	struct bytes value, marker;
	struct levels l;
	struct buf b;
	int rc;

	if (!mvcc_key_is_long(enc))
		return ERR_OK;
	rc = level_look(txn, table, mvcc_key_level(enc));
	if (rc != ERR_NOT_FOUND)
		return rc;
	levels_of(&l, table, key);
	buf_init(&b, 0);
	for (size_t i = l.n; i > 0 && rc == ERR_NOT_FOUND; i--) {
		marker = mvcc_key_bytes(&l.v[i - 1]);
		rc = okv_get(txn, table, marker, &value);
		if (rc != ERR_NOT_FOUND)
			break;
		mvcc_marker_encode(&b, marker);
		rc = okv_put(txn, table, marker, buf_bytes(&b));
		if (rc == ERR_OK)
			rc = ERR_NOT_FOUND;
	}
	buf_free(&b);
	mem_free(l.v);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

int levels_drop(struct okv_txn *txn, enum okv_table table, struct bytes enc, struct bytes key, size_t *gone)
{
	struct levels l;
	int rc;

	if (!mvcc_key_is_long(enc))
		return ERR_OK;
	rc = level_look(txn, table, mvcc_key_level(enc));
	if (rc != ERR_NOT_FOUND)
		return rc;
	levels_of(&l, table, key);
	for (size_t i = l.n; i > 0 && rc == ERR_NOT_FOUND; i--) {
		struct bytes marker = mvcc_key_bytes(&l.v[i - 1]), level = mvcc_key_level(marker);

		rc = okv_del(txn, table, marker);
		if (rc != ERR_OK) {
			rc = rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
			break;
		}
		++*gone;
		rc = level.len == 0 ? ERR_OK : level_look(txn, table, level);
	}
	mem_free(l.v);
	return rc;
}
