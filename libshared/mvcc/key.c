/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/key.h"

#include "base/check.h"
#include "mvcc/digest.h"

_Static_assert((int)LAYOUT_HASH_BYTES == (int)DIGEST_BYTES, "a digest ends a long key");

/* Escapes as much of the key as fits; returns how much of it that was. */
static size_t mvcc_key_escape(struct mvcc_key *out, struct bytes key)
{
	size_t i, n = 0;

	for (i = 0; i < key.len; i++) {
		size_t need = key.data[i] == 0 ? 2 : 1;

		if (n + need > LIMIT_KEY_INLINE_BYTES)
			break;
		out->data[n++] = key.data[i];
		if (need == 2)
			out->data[n++] = LAYOUT_KEY_ZERO;
	}
	out->len = n;
	return i;
}

/* True if the key went in whole. */
static bool mvcc_key_begin(struct mvcc_key *out, struct bytes key)
{
	bool whole = mvcc_key_escape(out, key) == key.len;

	out->data[out->len++] = 0;
	out->data[out->len++] = whole ? LAYOUT_KEY_END : LAYOUT_KEY_LONG;
	return whole;
}

void mvcc_key_encode(struct mvcc_key *out, struct bytes key)
{
	if (mvcc_key_begin(out, key))
		return;
	CHECK(out->len + LAYOUT_HASH_BYTES <= LAYOUT_KEY_MAX);
	digest_of(key, out->data + out->len);
	out->len += LAYOUT_HASH_BYTES;
}

void mvcc_key_seek(struct mvcc_key *out, struct bytes key)
{
	(void)mvcc_key_begin(out, key);
}

void mvcc_key_add_rev(struct mvcc_key *k, int64_t rev, uint32_t sub)
{
	CHECK(k->len <= LAYOUT_KEY_MAX);
	put_u64be(k->data + k->len, (uint64_t)rev);
	put_u32be(k->data + k->len + 8, sub);
	k->len += LAYOUT_REV_BYTES;
}

/*
 * A 0x00 in an encoded key is followed by 0xff or ends it as 0x00 0x00, so 0x00 0x01 in front of
 * the last 16 bytes is there in long keys only.
 */
bool mvcc_key_is_long(struct bytes enc)
{
	size_t tail = LAYOUT_HASH_BYTES + 2;

	return enc.len > tail && enc.data[enc.len - tail] == 0 &&
	       enc.data[enc.len - tail + 1] == LAYOUT_KEY_LONG;
}

struct bytes mvcc_key_run(struct bytes enc)
{
	CHECK(mvcc_key_is_long(enc));
	return bytes_of(enc.data, enc.len - LAYOUT_HASH_BYTES);
}

bool mvcc_key_in_run(struct bytes enc, struct bytes run)
{
	return enc.len == run.len + LAYOUT_HASH_BYTES && memcmp(enc.data, run.data, run.len) == 0;
}

struct bytes mvcc_key_plain(struct bytes enc)
{
	struct bytes key = bytes_of(enc.data, enc.len >= 2 ? enc.len - 2 : 0);

	if (key.len == 0 || mvcc_key_is_long(enc) || memchr(key.data, 0, key.len) != NULL)
		return bytes_of(NULL, 0);
	return key;
}

bool mvcc_key_split(struct bytes row_key, struct bytes *enc, int64_t *rev, uint32_t *sub)
{
	if (row_key.len <= LAYOUT_REV_BYTES)
		return false;
	*enc = bytes_of(row_key.data, row_key.len - LAYOUT_REV_BYTES);
	return mvcc_rev_decode(bytes_of(row_key.data + enc->len, LAYOUT_REV_BYTES), rev, sub);
}

void mvcc_rev_encode(struct mvcc_rev_key *out, int64_t rev, uint32_t sub)
{
	put_u64be(out->data, (uint64_t)rev);
	put_u32be(out->data + 8, sub);
}

bool mvcc_rev_decode(struct bytes b, int64_t *rev, uint32_t *sub)
{
	uint64_t main_rev;

	if (b.len != LAYOUT_REV_BYTES)
		return false;
	main_rev = get_u64be(b.data);
	*rev = (int64_t)main_rev;
	*sub = get_u32be(b.data + 8);
	return main_rev <= INT64_MAX;
}
