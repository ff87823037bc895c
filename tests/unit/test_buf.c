/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdlib.h>

#include "base/err.h"
#include "tests/lib/tap.h"

TEST(integers_come_back_from_their_bytes)
{
	static const uint8_t want[] = {0x01, 0x05, 0x04, 0x03, 0x02, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x07, 0x06,
		0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d};
	struct buf b;
	struct cur c;

	buf_init(&b, 0);
	buf_u8(&b, 0x01);
	buf_u32(&b, 0x02030405);
	buf_u64(&b, 0x060708090a0b0c0d);
	buf_u32be(&b, 0x02030405);
	buf_u64be(&b, 0x060708090a0b0c0d);
	EQ_INT(b.len, sizeof want);
	EQ_MEM(b.data, want, sizeof want);
	c = cur_of(buf_bytes(&b));
	EQ_INT(cur_u8(&c), 1);
	EQ_INT(cur_u32(&c), 0x02030405);
	EQ_INT(cur_u64(&c), 0x060708090a0b0c0d);
	EQ_INT(cur_u32be(&c), 0x02030405);
	EQ_INT(cur_left(&c), 8);
	EQ_INT(cur_u64be(&c), 0x060708090a0b0c0d);
	EQ_INT(cur_end(&c), ERR_OK);
	buf_free(&b);
}

TEST(varints_are_leb128_and_refuse_what_does_not_fit_64_bits)
{
	static const uint64_t values[] = {0, 1, 127, 128, 300, 1u << 21, UINT32_MAX, INT64_MAX, UINT64_MAX};
	struct buf b;
	struct cur c;

	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		buf_init(&b, 0);
		buf_varint(&b, values[i]);
		for (size_t cut = 0; cut < b.len; cut++) {
			c = cur_of(bytes_of(b.data, cut));
			(void)cur_varint(&c);
			EQ_INT(c.err, ERR_TRUNCATED);
		}
		c = cur_of(buf_bytes(&b));
		OK(cur_varint(&c) == values[i]);
		EQ_INT(cur_end(&c), ERR_OK);
		buf_free(&b);
	}
	c = cur_of(bytes_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
	(void)cur_varint(&c);
	EQ_INT(c.err, ERR_MALFORMED);
	c = cur_of(bytes_of("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11));
	(void)cur_varint(&c);
	EQ_INT(c.err, ERR_MALFORMED);
}

TEST(the_limit_sticks_and_nothing_is_written_behind_it)
{
	struct buf b;

	buf_init(&b, 100);
	for (int i = 0; i < 33; i++)
		buf_add(&b, "abc", 3);
	EQ_INT(b.err, ERR_OK);
	EQ_INT(b.len, 99);
	buf_add(&b, "ab", 2);
	EQ_INT(b.err, ERR_LIMIT);
	buf_u8(&b, 'x');
	buf_printf(&b, "%d", 1);
	EQ_INT(b.len, 99);
	OK(buf_reserve(&b, 0) == NULL);
	buf_clear(&b);
	EQ_INT(b.err, ERR_OK);
	OK(buf_reserve(&b, 101) == NULL);
	buf_clear(&b);
	OK(buf_reserve(&b, SIZE_MAX) == NULL);
	buf_clear(&b);
	OK(buf_reserve(&b, 100) != NULL);
	EQ_INT(b.cap <= 100, 1);
	buf_free(&b);
	EQ_INT(b.max, 100);
}

TEST(printf_appends_text_of_any_length)
{
	struct buf b;

	buf_init(&b, 0);
	buf_str(&b, "x=");
	buf_printf(&b, "%d%s", 7, "");
	buf_printf(&b, "%200d", 1);
	EQ_INT(b.len, 203);
	EQ_MEM(b.data, "x=7  ", 5);
	buf_free(&b);
}

TEST(consume_and_shrink_keep_what_is_left)
{
	struct buf b;

	buf_init(&b, 0);
	buf_str(&b, "hello world");
	buf_consume(&b, 6);
	OK(bytes_eq(buf_bytes(&b), bytes_str("world")));
	buf_consume(&b, 0);
	buf_consume(&b, 5);
	EQ_INT(b.len, 0);
	buf_shrink(&b, 1000);
	OK(b.data != NULL);
	buf_shrink(&b, 10);
	OK(b.data == NULL && b.cap == 0);
	buf_str(&b, "again");
	EQ_INT(b.len, 5);
	buf_free(&b);
}

TEST(a_cursor_never_passes_the_end_and_its_first_error_sticks)
{
	struct cur c = cur_of(bytes_of("abc", 3));

	EQ_INT(cur_take(&c, 2).len, 2);
	OK(cur_take(&c, 2).data == NULL);
	EQ_INT(c.err, ERR_TRUNCATED);
	EQ_INT(cur_u8(&c), 0);
	EQ_INT(cur_end(&c), ERR_TRUNCATED);
	c = cur_of(bytes_of("abc", 3));
	OK(cur_take(&c, SIZE_MAX).data == NULL);
	c = cur_of(bytes_of("abc", 3));
	EQ_INT(cur_end(&c), ERR_TRAILING);
	c = cur_of(bytes_of(NULL, 0));
	EQ_INT(cur_left(&c), 0);
	EQ_INT(cur_take(&c, 0).len, 0);
	EQ_INT(cur_end(&c), ERR_OK);
}

TEST(bytes_compare_as_memcmp_with_the_shorter_first)
{
	static const char *const sorted[] = {"", "\x01", "a", "aa", "ab", "b", "\xff"};

	for (int i = 0; i < 7; i++) {
		for (int j = 0; j < 7; j++) {
			int c = bytes_cmp(bytes_str(sorted[i]), bytes_str(sorted[j]));

			EQ_INT(c < 0, i < j);
			EQ_INT(c > 0, i > j);
			EQ_INT(bytes_eq(bytes_str(sorted[i]), bytes_str(sorted[j])), i == j);
		}
	}
	EQ_INT(bytes_cmp(bytes_of(NULL, 0), bytes_str("")), 0);
}

TESTS = {
	T(integers_come_back_from_their_bytes),
	T(varints_are_leb128_and_refuse_what_does_not_fit_64_bits),
	T(the_limit_sticks_and_nothing_is_written_behind_it),
	T(printf_appends_text_of_any_length),
	T(consume_and_shrink_keep_what_is_left),
	T(a_cursor_never_passes_the_end_and_its_first_error_sticks),
	T(bytes_compare_as_memcmp_with_the_shorter_first),
};
TAP_MAIN
