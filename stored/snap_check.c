/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/snap_check.h"

#include "base/err.h"
#include "base/log.h"
#include "mvcc/row.h"

enum { CHECK_PAGE_BYTES = 4096 };

static int check_found(struct okv_txn *t, enum okv_table table, const struct okv_row *row)
{
	struct bytes value;
	int rc = okv_get(t, table, row->key, &value);

	if (rc == ERR_NOT_FOUND || (rc == ERR_OK && value.data != row->value.data))
		return ERR_CORRUPT;
	return rc;
}

static bool check_same_page(const struct okv_row *a, const struct okv_row *b)
{
	return (uintptr_t)a->key.data / CHECK_PAGE_BYTES == (uintptr_t)b->key.data / CHECK_PAGE_BYTES;
}

/* The way to all rows of a page is the same: if the first and the last are found, all are. */
static int check_row(struct okv_txn *t, enum okv_table table, const struct okv_row *before, const struct okv_row *row)
{
	int rc = mvcc_row_check(row);

	if (rc == ERR_OK && before != NULL && bytes_cmp(before->key, row->key) >= 0)
		rc = ERR_CORRUPT;
	if (rc != ERR_OK || (before != NULL && check_same_page(before, row)))
		return rc;
	if (before != NULL)
		rc = check_found(t, table, before);
	return rc == ERR_OK ? check_found(t, table, row) : rc;
}

static int check_table(struct okv_txn *t, enum okv_table table, uint64_t rows)
{
	struct okv_row row, before;
	struct okv_cursor *c;
	uint64_t n = 0;
	int rc = okv_cursor(t, table, &c);

	if (rc != ERR_OK)
		return rc;
	rc = okv_step(c, OKV_FIRST, &row);
	while (rc == ERR_OK) {
		rc = check_row(t, table, n > 0 ? &before : NULL, &row);
		before = row;
		n++;
		if (rc == ERR_OK)
			rc = okv_step(c, OKV_NEXT, &row);
	}
	okv_cursor_end(&c);
	if (rc == ERR_NOT_FOUND)
		rc = n > 0 ? check_found(t, table, &before) : ERR_OK;
	return rc == ERR_OK && n != rows ? ERR_CORRUPT : rc;
}

int snap_check(struct okv_txn *t)
{
	uint64_t rows[OKV_TABLES];
	int rc = okv_lmdb_rows(t, rows);

	for (unsigned table = 0; table < OKV_TABLES && rc == ERR_OK; table++) {
		rc = check_table(t, (enum okv_table)table, rows[table]);
		if (rc == ERR_CORRUPT)
			log_error("the store is damaged: a row does not have its checksum, is not in its place, or is missing table=%s",
				  okv_table_name((enum okv_table)table));
	}
	return rc;
}
