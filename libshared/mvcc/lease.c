/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/lease.h"

#include "base/check.h"
#include "base/err.h"
#include "mvcc/key.h"
#include "mvcc/view.h"

int mvcc_lease_get(struct okv_txn *txn, int64_t id, struct mvcc_lease *out)
{
	uint8_t key[LAYOUT_LEASE_BYTES];
	struct okv_row row = {.key = bytes_of(key, sizeof key)};
	int rc;

	put_u64be(key, (uint64_t)id);
	rc = okv_get(txn, OKV_LEASES, row.key, &row.value);
	return rc == ERR_OK ? mvcc_lease_decode(&row, out) : rc;
}

int mvcc_lease_list(struct okv_txn *txn, int64_t after, struct mvcc_lease *v, size_t max, size_t *n)
{
	uint8_t from[LAYOUT_LEASE_BYTES];
	struct okv_cursor *c;
	struct okv_row row;
	int rc = okv_cursor(txn, OKV_LEASES, &c);

	*n = 0;
	if (rc != ERR_OK)
		return rc;
	put_u64be(from, (uint64_t)after + 1);
	rc = after == -1 ? ERR_NOT_FOUND : okv_seek(c, bytes_of(from, sizeof from), &row);
	while (rc == ERR_OK && *n < max) {
		rc = mvcc_lease_decode(&row, &v[*n]);
		if (rc != ERR_OK)
			break;
		++*n;
		rc = okv_step(c, OKV_NEXT, &row);
	}
	okv_cursor_end(&c);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

void mvcc_lease_row_key(struct mvcc_key *out, int64_t id, struct bytes enc)
{
	CHECK(enc.len <= sizeof out->data - LAYOUT_LEASE_BYTES);
	put_u64be(out->data, (uint64_t)id);
	if (enc.len != 0)
		memcpy(out->data + LAYOUT_LEASE_BYTES, enc.data, enc.len);
	out->len = LAYOUT_LEASE_BYTES + enc.len;
}

static bool lease_owns(int64_t id, struct bytes row_key)
{
	return row_key.len > LAYOUT_LEASE_BYTES && get_u64be(row_key.data) == (uint64_t)id;
}

int mvcc_lease_keys(struct okv_txn *txn, int64_t id, struct bytes after, size_t bytes, struct bytes *v,
		    size_t max, size_t *n, bool *more)
{
	struct mvcc_key enc = {.len = 0}, from;
	struct okv_cursor *c;
	struct okv_row row;
	size_t used = 0;
	int rc = okv_cursor(txn, OKV_LEASE_KEYS, &c);

	*n = 0;
	*more = false;
	if (rc != ERR_OK)
		return rc;
	if (after.len != 0)
		mvcc_key_encode(&enc, after);
	mvcc_lease_row_key(&from, id, mvcc_key_bytes(&enc));
	rc = okv_seek(c, mvcc_key_bytes(&from), &row);
	if (rc == ERR_OK && bytes_eq(row.key, mvcc_key_bytes(&from)))
		rc = okv_step(c, OKV_NEXT, &row);
	while (rc == ERR_OK && lease_owns(id, row.key)) {
		*more = *n == max || used >= bytes;
		if (*more)
			break;
		rc = mvcc_lease_key_decode(&row, &v[*n]);
		if (rc != ERR_OK)
			break;
		used += v[*n].len;
		++*n;
		rc = okv_step(c, OKV_NEXT, &row);
	}
	okv_cursor_end(&c);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

int mvcc_view_lease(struct mvcc_view *v, int64_t id, struct mvcc_lease *out)
{
	return mvcc_lease_get(v->txn, id, out);
}

int mvcc_view_leases(struct mvcc_view *v, int64_t after, struct mvcc_lease *out, size_t max, size_t *n)
{
	return mvcc_lease_list(v->txn, after, out, max, n);
}

int mvcc_view_lease_keys(struct mvcc_view *v, int64_t id, struct bytes after, size_t bytes,
			 struct bytes *out, size_t max, size_t *n, bool *more)
{
	return mvcc_lease_keys(v->txn, id, after, bytes, out, max, n, more);
}
