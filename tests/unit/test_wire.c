/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire.h"

#include <string.h>

#include "base/err.h"
#include "tests/lib/tap.h"

static struct wire strict(const void *data, size_t len)
{
	return wire_of(bytes_of(data, len), WIRE_STRICT);
}

TEST(integers_of_every_width_come_back)
{
	static const uint64_t u[] = {0, 1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX,
		UINT64_C(1) << 32, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};
	static const int64_t i[] = {0, -1, -32, -33, -128, -129, -32768, -32769, INT32_MIN,
		INT64_C(-2147483649), INT64_MIN, 127, 128, INT64_MAX};
	struct buf b;
	struct wire w;

	for (size_t n = 0; n < sizeof u / sizeof u[0]; n++) {
		buf_init(&b, 0);
		wire_u64(&b, u[n]);
		w = strict(b.data, b.len);
		EQ_INT(wire_peek(&w), WIRE_UINT);
		OK(wire_get_u64(&w) == u[n]);
		EQ_INT(wire_end(&w), ERR_OK);
		w = strict(b.data, b.len);
		(void)wire_get_i64(&w);
		EQ_INT(wire_end(&w), u[n] > INT64_MAX ? ERR_MALFORMED : ERR_OK);
		buf_free(&b);
	}
	for (size_t n = 0; n < sizeof i / sizeof i[0]; n++) {
		buf_init(&b, 0);
		wire_i64(&b, i[n]);
		w = strict(b.data, b.len);
		EQ_INT(wire_get_i64(&w), i[n]);
		EQ_INT(wire_end(&w), ERR_OK);
		w = strict(b.data, b.len);
		(void)wire_get_u64(&w);
		EQ_INT(wire_end(&w), i[n] < 0 ? ERR_MALFORMED : ERR_OK);
		buf_free(&b);
	}
}

/* The bytes of the MessagePack specification, not of our own packer. */
TEST(golden_bytes_are_read)
{
	struct wire w;

	w = strict("\xd0\x80", 2);
	EQ_INT(wire_get_i64(&w), -128);
	w = strict("\xd1\xff\xfe", 3);
	EQ_INT(wire_get_i64(&w), -2);
	w = strict("\xd2\x00\x00\x00\x05", 5);
	EQ_INT(wire_get_u64(&w), 5);
	w = strict("\xd3\xff\xff\xff\xff\xff\xff\xff\xff", 9);
	EQ_INT(wire_get_i64(&w), -1);
	w = strict("\xe0", 1);
	EQ_INT(wire_get_i64(&w), -32);
	w = strict("\xcd\x01\x00", 3);
	EQ_INT(wire_get_u64(&w), 256);
	w = strict("\xc3", 1);
	OK(wire_get_bool(&w));
	w = strict("\xa3" "abc", 4);
	OK(bytes_eq(wire_get_str(&w), bytes_str("abc")));
	w = strict("\xd9\x03" "abc", 5);
	OK(bytes_eq(wire_get_str(&w), bytes_str("abc")));
	w = strict("\xc5\x00\x02xy", 5);
	OK(bytes_eq(wire_get_bin(&w), bytes_str("xy")));
	w = strict("\xc0\xc0", 2);
	OK(wire_get_nil(&w) && wire_get_nil(&w) && !wire_get_nil(&w));
	EQ_INT(wire_end(&w), ERR_OK);
	w = strict("\xde\x00\x01\x01\x02", 5);
	EQ_INT(wire_get_map(&w), 1);
}

TEST(kinds_are_not_confused)
{
	static const char *const values[] = {"\xc0", "\xc2", "\x01", "\xff", "\xca\0\0\0\0", "\xa1x", "\xc4\x01x",
		"\x91\x01", "\x81\x01\x02", "\xd4\x01x"};
	static const size_t lens[] = {1, 1, 1, 1, 5, 2, 3, 2, 3, 3};

	for (int i = 0; i < 10; i++) {
		struct wire w = strict(values[i], lens[i]);

		EQ_INT(wire_peek(&w), i);
		(void)wire_get_bool(&w);
		EQ_INT(w.c.err != 0, i != WIRE_BOOL);
		w = strict(values[i], lens[i]);
		(void)wire_get_bin(&w);
		EQ_INT(w.c.err != 0, i != WIRE_BIN);
		w = strict(values[i], lens[i]);
		(void)wire_get_str(&w);
		EQ_INT(w.c.err != 0, i != WIRE_STR);
		w = strict(values[i], lens[i]);
		(void)wire_get_array(&w);
		EQ_INT(w.c.err != 0, i != WIRE_ARRAY);
		w = strict(values[i], lens[i]);
		(void)wire_get_u64(&w);
		EQ_INT(w.c.err != 0, i != WIRE_UINT);
		w = strict(values[i], lens[i]);
		wire_skip(&w);
		EQ_INT(wire_end(&w), ERR_OK);
	}
}

TEST(bin_may_be_str_for_the_lenient_only)
{
	struct wire w = wire_of(bytes_of("\xa1x", 2), WIRE_LENIENT);

	OK(bytes_eq(wire_get_bin(&w), bytes_str("x")));
	EQ_INT(wire_end(&w), ERR_OK);
	w = strict("\xa1x", 2);
	(void)wire_get_bin(&w);
	EQ_INT(wire_end(&w), ERR_MALFORMED);
	w = wire_of(bytes_of("\xc4\x01x", 3), WIRE_LENIENT);
	(void)wire_get_str(&w);
	EQ_INT(wire_end(&w), ERR_MALFORMED);
}

TEST(hostile_lengths_and_counts_are_errors)
{
	static const char *const bad[] = {"\xc6\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff",
		"\xdf\xff\xff\xff\xff", "\xdf\x80\x00\x00\x00", "\xc9\xff\xff\xff\xff", "\xdc\x00\x01", "\xde\x00\x01"};
	static const size_t lens[] = {5, 5, 5, 5, 5, 5, 3, 3};

	for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		struct wire w = strict(bad[i], lens[i]);

		(void)wire_get_bin(&w);
		OK(w.c.err != 0);
		w = strict(bad[i], lens[i]);
		(void)wire_get_str(&w);
		OK(w.c.err != 0);
		w = strict(bad[i], lens[i]);
		EQ_INT(wire_get_array(&w), 0);
		OK(w.c.err != 0);
		w = strict(bad[i], lens[i]);
		EQ_INT(wire_get_map(&w), 0);
		OK(w.c.err != 0);
		w = strict(bad[i], lens[i]);
		wire_skip(&w);
		OK(w.c.err != 0);
	}
	for (size_t cut = 0; cut < 9; cut++) {
		struct wire w = strict("\xcf\1\2\3\4\5\6\7\x08", cut);

		(void)wire_get_u64(&w);
		OK(w.c.err != 0);
		EQ_INT(wire_peek(&w), WIRE_END);
	}
}

TEST(the_byte_that_is_never_used_is_malformed)
{
	struct wire w = strict("\xc1\xc0", 2);

	EQ_INT(wire_peek(&w), WIRE_END);
	wire_skip(&w);
	EQ_INT(wire_end(&w), ERR_MALFORMED);
}

TEST(skipping_is_exact_and_does_not_recurse)
{
	static uint8_t deep[100001];
	struct wire w;

	memset(deep, 0x91, sizeof deep - 1);
	deep[sizeof deep - 1] = 0xc0;
	w = strict(deep, sizeof deep);
	wire_skip(&w);
	EQ_INT(wire_end(&w), ERR_OK);
	w = strict(deep, sizeof deep - 1);
	wire_skip(&w);
	OK(w.c.err != 0);
	w = strict("\x82\x01\x92\xa1x\xc4\x01y\xc0\x83\1\2\3\4\5\6\x2a", 17);
	wire_skip(&w);
	EQ_INT(wire_get_u64(&w), 42);
	EQ_INT(wire_end(&w), ERR_OK);
}

TEST(the_first_error_sticks_and_later_reads_give_nothing)
{
	struct wire w = strict("\x01\x02\x03", 3);

	(void)wire_get_str(&w);
	EQ_INT(w.c.err, ERR_MALFORMED);
	EQ_INT(wire_get_u64(&w), 0);
	EQ_INT(wire_get_array(&w), 0);
	OK(!wire_get_bool(&w) && !wire_get_nil(&w));
	wire_fail(&w, ERR_LIMIT);
	EQ_INT(wire_end(&w), ERR_MALFORMED);
	w = strict("\x01\x02", 2);
	(void)wire_get_u64(&w);
	EQ_INT(wire_end(&w), ERR_TRAILING);
}

TEST(random_bytes_are_survived)
{
	uint64_t seed = 11;

	for (int round = 0; round < 200000; round++) {
		uint8_t v[24];
		size_t n = (size_t)(tap_rand(&seed) % sizeof v);
		struct wire w;

		for (size_t i = 0; i < n; i++)
			v[i] = (uint8_t)tap_rand(&seed);
		w = strict(v, n);
		while (w.c.err == 0 && wire_peek(&w) != WIRE_END)
			wire_skip(&w);
		w = strict(v, n);
		(void)wire_get_array(&w);
		(void)wire_get_bin(&w);
		(void)wire_get_i64(&w);
		(void)wire_end(&w);
	}
}

TESTS = {
	T(integers_of_every_width_come_back),
	T(golden_bytes_are_read),
	T(kinds_are_not_confused),
	T(bin_may_be_str_for_the_lenient_only),
	T(hostile_lengths_and_counts_are_errors),
	T(the_byte_that_is_never_used_is_malformed),
	T(skipping_is_exact_and_does_not_recurse),
	T(the_first_error_sticks_and_later_reads_give_nothing),
	T(random_bytes_are_survived),
};
TAP_MAIN
