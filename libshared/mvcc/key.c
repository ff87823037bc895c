/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/key.h"

#include "base/check.h"
#include "mvcc/digest.h"

_Static_assert((int)LAYOUT_HASH_BYTES == (int)DIGEST_BYTES, "a digest names a level");

/* Escapes as much of `rest` as fits behind what is there, and ends it. */
static void key_level(struct mvcc_key *out, struct bytes *rest)
{
	size_t i, n = out->len;

	for (i = 0; i < rest->len; i++) {
		size_t need = rest->data[i] == 0 ? 2 : 1;

		if (n + need > LIMIT_KEY_INLINE_BYTES)
			break;
		out->data[n++] = rest->data[i];
		if (need == 2)
			out->data[n++] = LAYOUT_KEY_ZERO;
	}
	*rest = bytes_of(rest->data + i, rest->len - i);
	out->data[n++] = 0;
	out->data[n++] = rest->len == 0 ? LAYOUT_KEY_END : LAYOUT_KEY_LONG;
	out->len = n;
}

void mvcc_key_top(struct mvcc_key *out, struct bytes *rest)
{
	out->len = 0;
	key_level(out, rest);
}

void mvcc_key_level_below(struct mvcc_key *level, struct bytes marker)
{
	CHECK(mvcc_key_goes_on(marker));
	level->data[0] = 0;
	level->data[1] = LAYOUT_KEY_LONG;
	digest_of(marker, level->data + 2);
	level->len = LAYOUT_LEVEL_BYTES;
}

void mvcc_key_down(struct mvcc_key *k, struct bytes *rest)
{
	struct mvcc_key below;

	mvcc_key_level_below(&below, mvcc_key_bytes(k));
	memcpy(k->data, below.data, below.len);
	k->len = below.len;
	key_level(k, rest);
}

void mvcc_key_encode(struct mvcc_key *out, struct bytes key)
{
	mvcc_key_top(out, &key);
	while (mvcc_key_goes_on(mvcc_key_bytes(out)))
		mvcc_key_down(out, &key);
}

void mvcc_key_add_rev(struct mvcc_key *k, int64_t rev, uint32_t sub)
{
	CHECK(k->len <= LAYOUT_KEY_MAX);
	put_u64be(k->data + k->len, (uint64_t)rev);
	put_u32be(k->data + k->len + 8, sub);
	k->len += LAYOUT_REV_BYTES;
}

/* Escaped bytes have 0x00 0xff, so only a level's name begins with 0x00 0x01. */
bool mvcc_key_is_long(struct bytes enc)
{
	return enc.len > LAYOUT_LEVEL_BYTES && enc.data[0] == 0 && enc.data[1] == LAYOUT_KEY_LONG;
}

bool mvcc_key_goes_on(struct bytes enc)
{
	return enc.len > 2 && enc.data[enc.len - 1] == LAYOUT_KEY_LONG;
}

struct bytes mvcc_key_level(struct bytes enc)
{
	return bytes_of(enc.data, mvcc_key_is_long(enc) ? LAYOUT_LEVEL_BYTES : 0);
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
