/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the store's file, as damage may leave them. The first byte picks the decoder, the second
 * how long the row's key is; the rest is the key, then the value. With bit 7 of the first byte the
 * checksum is made right, so that what is behind it is looked at. What a decoder accepts, the encoder
 * must take, and read back as the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "mvcc/key.h"
#include "mvcc/row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void version(enum okv_table table, const struct okv_row *row, struct buf *out)
{
	struct mvcc_version v, again;
	struct kv_pair pair;

	if (mvcc_version_decode(table, row, &v) != ERR_OK)
		return;
	mvcc_version_pair(&v, &pair);
	CHECK(pair.key.len > 0 && pair.mod_revision >= pair.create_revision);
	mvcc_version_encode(out, table, row->key, &v);
	CHECK(mvcc_version_decode(table, &(struct okv_row){row->key, buf_bytes(out)}, &again) == ERR_OK);
	CHECK(again.mod == v.mod && again.by == v.by && bytes_eq(again.value, v.value));
}

static void event(const struct okv_row *row, struct buf *out)
{
	struct mvcc_event e;

	if (mvcc_event_decode(row, &e) != ERR_OK)
		return;
	mvcc_event_encode(out, row->key, &e);
	CHECK(bytes_eq(buf_bytes(out), row->value));
}

static void done(const struct okv_row *row, struct buf *out)
{
	struct mvcc_done d;

	if (mvcc_done_decode(row, &d) != ERR_OK)
		return;
	mvcc_done_encode(out, row->key, &d);
	CHECK(bytes_eq(buf_bytes(out), row->value));
}

static void session(const struct okv_row *row, struct buf *out)
{
	struct mvcc_session s;

	if (mvcc_session_decode(row, &s) != ERR_OK)
		return;
	mvcc_session_encode(out, row->key, &s);
	CHECK(bytes_eq(buf_bytes(out), row->value));
}

/* The three rows of `meta`: their keys are fixed names, and the encoders know them. */
static void meta(struct bytes value, uint8_t which, struct buf *out)
{
	struct mvcc_state s;
	struct mvcc_identity i;
	struct mvcc_compaction c;
	bool good;

	if (which == 0) {
		good = mvcc_state_decode(value, &s) == ERR_OK;
		if (good)
			mvcc_state_encode(out, &s);
	} else if (which == 1) {
		good = mvcc_identity_decode(value, &i) == ERR_OK && i.format == STORE_FORMAT;
		if (good)
			mvcc_identity_encode(out, &i);
	} else {
		good = mvcc_compaction_decode(value, &c) == ERR_OK;
		if (good)
			mvcc_compaction_encode(out, &c);
	}
	CHECK(!good || bytes_eq(buf_bytes(out), value));
}

static void decode(uint8_t which, const struct okv_row *row)
{
	struct buf out;

	buf_init(&out, 0);
	switch (which) {
	case 0:
	case 1:
		version(which ? OKV_PAST : OKV_NOW, row, &out);
		break;
	case 2:
		event(row, &out);
		break;
	case 3:
		done(row, &out);
		break;
	case 4:
		session(row, &out);
		break;
	default:
		meta(row->value, which - 5, &out);
		break;
	}
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {LAYOUT_META_STATE, LAYOUT_META_IDENTITY,
					    LAYOUT_META_COMPACTION};
	uint8_t which, *value;
	struct bytes key;
	struct cur c = cur_of(bytes_of(data, size));
	size_t len;

	which = cur_u8(&c);
	len = cur_u8(&c);
	key = cur_take(&c, len < cur_left(&c) ? len : cur_left(&c));
	len = cur_left(&c);
	value = malloc(len + 1);
	if (value == NULL)
		return 0;
	memcpy(value, c.pos, len);
	if (which % 8 >= 5)
		key = bytes_str(names[which % 8 - 5]);
	if ((which & 0x80) != 0 && len >= LAYOUT_CRC_BYTES)
		put_u32(value, crc32c(crc32c(0, key.data, key.len), value + LAYOUT_CRC_BYTES,
				      len - LAYOUT_CRC_BYTES));
	decode(which % 8, &(struct okv_row){key, bytes_of(value, len)});
	free(value);
	return 0;
}
