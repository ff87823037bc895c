/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and rows as they stand in the file: order, length, and every flipped bit found. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "mvcc/key.h"
#include "mvcc/row.h"
#include "tests/lib/tap.h"

static struct bytes encode(struct mvcc_key *k, struct bytes key)
{
	mvcc_key_encode(k, key);
	return mvcc_key_bytes(k);
}

static int sign(int x)
{
	return x < 0 ? -1 : x > 0;
}

/* The order in which a walk comes to two keys: by the first level in which they differ. */
static int walk_order(struct bytes a, struct bytes b)
{
	struct mvcc_key ka, kb;

	mvcc_key_top(&ka, &a);
	mvcc_key_top(&kb, &b);
	while (bytes_eq(mvcc_key_bytes(&ka), mvcc_key_bytes(&kb)) && mvcc_key_goes_on(mvcc_key_bytes(&ka))) {
		mvcc_key_down(&ka, &a);
		mvcc_key_down(&kb, &b);
	}
	return bytes_cmp(mvcc_key_bytes(&ka), mvcc_key_bytes(&kb));
}

enum { ODD_MAX = 2000 };

/* Lengths around the cuts, contents around zero. */
static size_t odd_key(uint64_t *seed, uint8_t *k)
{
	static const size_t lengths[] = {0, 1, 2, 3, 238, 240, 241, 471, 472, 478, 479, 480, 481, 482, 500, 700,
					 941, 942, 943, 1403, 1404, 1405, 1990};
	size_t n = lengths[tap_rand(seed) % 23];
	unsigned kind = (unsigned)(tap_rand(seed) % 4);

	for (size_t i = 0; i < n; i++)
		k[i] = kind == 0 ? 0 : kind == 1 ? 'x' : (uint8_t)(tap_rand(seed) % 500 ? 'x' : tap_rand(seed) % 3);
	if (n > 3)
		k[n - 1 - tap_rand(seed) % 3] = (uint8_t)(tap_rand(seed) % 3 * 127);
	return n;
}

TEST(rows_are_in_the_order_of_keys_level_by_level)
{
	uint64_t seed = 7;
	unsigned together = 0, longs = 0;

	for (int i = 0; i < 60000; i++) {
		static uint8_t x[ODD_MAX], y[ODD_MAX];
		struct bytes a = bytes_of(x, odd_key(&seed, x)), b = bytes_of(y, odd_key(&seed, y));
		struct mvcc_key ka, kb;
		struct bytes ea, eb;

		if (tap_rand(&seed) % 2 && a.len > 0) {       /* the same but for its end */
			memcpy(y, x, a.len < b.len ? a.len : b.len);
			if (b.len > 0 && tap_rand(&seed) % 2)
				y[b.len - 1]++;
		}
		ea = encode(&ka, a);
		eb = encode(&kb, b);
		OK(ea.len <= LAYOUT_KEY_MAX && eb.len <= LAYOUT_KEY_MAX);
		OK(!mvcc_key_goes_on(ea) && !mvcc_key_goes_on(eb));
		longs += mvcc_key_is_long(ea);
		together += mvcc_key_is_long(ea) && bytes_eq(mvcc_key_level(ea), mvcc_key_level(eb));
		EQ_INT(bytes_eq(ea, eb), bytes_eq(a, b));
		EQ_INT(sign(walk_order(a, b)), sign(bytes_cmp(a, b)));
	}
	OK(together > 1000 && longs > 10000);
}

TEST(a_key_is_inline_up_to_480_escaped_bytes)
{
	static uint8_t x[1000];
	struct mvcc_key k;

	memset(x, 'k', sizeof x);
	OK(!mvcc_key_is_long(encode(&k, bytes_of(x, 480))));
	EQ_INT(k.len, 482);
	OK(bytes_eq(mvcc_key_plain(mvcc_key_bytes(&k)), bytes_of(x, 480)));
	OK(mvcc_key_is_long(encode(&k, bytes_of(x, 481))));
	EQ_INT(k.len, 18 + 1 + 2);
	EQ_INT(mvcc_key_plain(mvcc_key_bytes(&k)).len, 0);
	x[0] = 0;
	OK(mvcc_key_is_long(encode(&k, bytes_of(x, 480))));
	OK(!mvcc_key_is_long(encode(&k, bytes_of(x, 479))));
	EQ_INT(mvcc_key_plain(mvcc_key_bytes(&k)).len, 0);
	x[0] = 'k';
	x[479] = 0;                                             /* its escape does not fit: cut before it */
	OK(mvcc_key_is_long(encode(&k, bytes_of(x, 480))));
	EQ_INT(k.len, 18 + 2 + 2);
	memset(x, 0, sizeof x);
	OK(!mvcc_key_is_long(encode(&k, bytes_of(x, 240))));
	OK(mvcc_key_is_long(encode(&k, bytes_of(x, 241))));
	memset(x, 'k', sizeof x);
	encode(&k, bytes_of(x, 480 + 462));                     /* fills the second level */
	EQ_INT(k.len, 482);
	mvcc_key_add_rev(&k, INT64_MAX, UINT32_MAX);
	OK(k.len <= 511);
	encode(&k, bytes_of(x, 480 + 463));
	EQ_INT(k.len, 18 + 1 + 2);
}

TEST(a_long_key_goes_down_through_its_markers)
{
	static uint8_t x[480 + 462 + 5];
	struct bytes rest = bytes_of(x, sizeof x);
	struct mvcc_key k, level, whole;

	memset(x, 'k', sizeof x);
	x[480] = 0;                                             /* the second level holds a byte less */
	mvcc_key_top(&k, &rest);
	OK(mvcc_key_goes_on(mvcc_key_bytes(&k)) && !mvcc_key_is_long(mvcc_key_bytes(&k)));
	EQ_INT(mvcc_key_level(mvcc_key_bytes(&k)).len, 0);
	EQ_INT(rest.len, 462 + 5);
	mvcc_key_level_below(&level, mvcc_key_bytes(&k));
	mvcc_key_down(&k, &rest);
	OK(mvcc_key_goes_on(mvcc_key_bytes(&k)) && mvcc_key_is_long(mvcc_key_bytes(&k)));
	OK(bytes_eq(mvcc_key_level(mvcc_key_bytes(&k)), mvcc_key_bytes(&level)));
	EQ_INT(rest.len, 6);
	mvcc_key_down(&k, &rest);
	EQ_INT(rest.len, 0);
	OK(bytes_eq(mvcc_key_bytes(&k), encode(&whole, bytes_of(x, sizeof x))));
	OK(bytes_cmp(mvcc_key_bytes(&k), encode(&whole, bytes_of("", 1))) < 0);     /* before all short keys */
}

TEST(a_revision_ends_a_key_of_past)
{
	struct mvcc_key k;
	struct bytes enc;
	int64_t rev;
	uint32_t sub;

	mvcc_key_encode(&k, bytes_str("a"));
	mvcc_key_add_rev(&k, 0x0102030405060708, 9);
	EQ_MEM(k.data, "a\0\0\1\2\3\4\5\6\7\10\0\0\0\11", 15);
	OK(mvcc_key_split(mvcc_key_bytes(&k), &enc, &rev, &sub));
	OK(bytes_eq(enc, bytes_of("a\0\0", 3)));
	EQ_INT(rev, 0x0102030405060708);
	EQ_INT(sub, 9);
	OK(!mvcc_key_split(bytes_of(k.data, 12), &enc, &rev, &sub));
	k.data[3] = 0x80;                                       /* negative */
	OK(!mvcc_key_split(mvcc_key_bytes(&k), &enc, &rev, &sub));
}

static void version_round_trip(enum okv_table table, struct bytes key, struct bytes value)
{
	struct mvcc_version v = {.by = table == OKV_PAST ? 99 : 0, .mod = 42, .sub = 3, .create = 7, .version = 5,
				 .lease = -8, .key = key, .value = value}, got;
	struct mvcc_key k;
	struct okv_row row;
	struct buf b;

	buf_init(&b, 0);
	mvcc_key_encode(&k, key);
	if (table == OKV_PAST)
		mvcc_key_add_rev(&k, 42, 3);
	mvcc_version_encode(&b, table, mvcc_key_bytes(&k), &v);
	row.key = mvcc_key_bytes(&k);
	row.value = buf_bytes(&b);
	EQ_INT(mvcc_version_decode(table, &row, &got), ERR_OK);
	OK(got.by == v.by && got.mod == 42 && got.sub == 3 && got.create == 7 && got.version == 5 && got.lease == -8);
	OK(bytes_eq(got.key, key) && bytes_eq(got.value, value));
	/* any bit, of the row or of its key */
	for (size_t i = 0; i < 8 * (b.len + k.len); i += 7) {
		uint8_t *p = i < 8 * b.len ? &b.data[i / 8] : &k.data[i / 8 - b.len];

		*p ^= (uint8_t)(1u << i % 8);
		EQ_INT(mvcc_version_decode(table, &row, &got), ERR_CORRUPT);
		*p ^= (uint8_t)(1u << i % 8);
	}
	for (size_t n = 0; n < b.len; n++) {
		row.value = bytes_of(b.data, n);
		EQ_INT(mvcc_version_decode(table, &row, &got), ERR_CORRUPT);
	}
	buf_free(&b);
}

TEST(a_row_s_every_bit_is_checked)
{
	static uint8_t x[600];

	memset(x, 'k', sizeof x);
	version_round_trip(OKV_NOW, bytes_str("key"), bytes_str("value"));
	version_round_trip(OKV_PAST, bytes_str("key"), bytes_str(""));
	version_round_trip(OKV_NOW, bytes_of("\0", 1), bytes_str("v"));
	version_round_trip(OKV_PAST, bytes_of("a\0b", 3), bytes_of("\0\0", 2));
	version_round_trip(OKV_NOW, bytes_of(x, 600), bytes_of(x, 500));
	version_round_trip(OKV_PAST, bytes_of(x, 480), bytes_of(x, 50));
}

TEST(the_other_rows_come_back_as_they_were)
{
	struct mvcc_state s = {1, 2, 3, -1, 4, 5, 6, "0123456789abcde"}, s2;
	struct mvcc_identity id = {1, 2, 3, 4}, id2;
	struct mvcc_compaction c = {9, bytes_str("position")}, c2;
	struct mvcc_done d = {5, 6, 7, 8, true, bytes_str("result")}, d2;
	struct mvcc_session g = {1, 2, 3, 4}, g2;
	struct mvcc_event e = {5, 6, MVCC_EVENT_DELETE, bytes_str("key")}, e2;
	struct mvcc_rev_key rk;
	struct okv_row row;
	uint8_t at[8];
	struct buf b;

	buf_init(&b, 0);
	mvcc_state_encode(&b, &s);
	EQ_INT(mvcc_state_decode(buf_bytes(&b), &s2), ERR_OK);
	EQ_MEM(&s, &s2, sizeof s);
	mvcc_identity_encode(&b, &id);
	EQ_INT(mvcc_identity_decode(buf_bytes(&b), &id2), ERR_OK);
	OK(id2.format == 1 && id2.cluster_id == 2 && id2.node_id == 3 && id2.generation == 4);
	mvcc_compaction_encode(&b, &c);
	EQ_INT(mvcc_compaction_decode(buf_bytes(&b), &c2), ERR_OK);
	OK(c2.target == 9 && bytes_eq(c2.position, c.position));
	put_u64be(at, 5);
	row.key = bytes_of(at, 8);
	mvcc_done_encode(&b, row.key, &d);
	row.value = buf_bytes(&b);
	EQ_INT(mvcc_done_decode(&row, &d2), ERR_OK);
	OK(d2.index == 5 && d2.gateway == 6 && d2.seq == 7 && d2.revision == 8 && d2.kept && bytes_eq(d2.result, d.result));
	put_u64be(at, 1);
	mvcc_session_encode(&b, row.key, &g);
	row.value = buf_bytes(&b);
	EQ_INT(mvcc_session_decode(&row, &g2), ERR_OK);
	EQ_MEM(&g, &g2, sizeof g);
	mvcc_rev_encode(&rk, 5, 6);
	row.key = bytes_of(rk.data, sizeof rk.data);
	mvcc_event_encode(&b, row.key, &e);
	row.value = buf_bytes(&b);
	EQ_INT(mvcc_event_decode(&row, &e2), ERR_OK);
	OK(e2.rev == 5 && e2.sub == 6 && e2.type == MVCC_EVENT_DELETE && bytes_eq(e2.key, e.key));
	mvcc_marker_encode(&b, row.key);
	EQ_INT(b.len, LAYOUT_CRC_BYTES);
	row.value = buf_bytes(&b);
	EQ_INT(mvcc_marker_check(&row), ERR_OK);
	b.data[3] ^= 1;
	EQ_INT(mvcc_marker_check(&row), ERR_CORRUPT);
	mvcc_event_encode(&b, row.key, &e);
	row.value = buf_bytes(&b);
	EQ_INT(mvcc_marker_check(&row), ERR_CORRUPT);
	rk.data[7]++;                                           /* a row in another row's place */
	EQ_INT(mvcc_event_decode(&row, &e2), ERR_CORRUPT);
	buf_free(&b);
}

TESTS = {
	T(rows_are_in_the_order_of_keys_level_by_level),
	T(a_key_is_inline_up_to_480_escaped_bytes),
	T(a_long_key_goes_down_through_its_markers),
	T(a_revision_ends_a_key_of_past),
	T(a_row_s_every_bit_is_checked),
	T(the_other_rows_come_back_as_they_were),
};
TAP_MAIN
