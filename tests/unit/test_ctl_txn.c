/* SPDX-License-Identifier: Apache-2.0 */
/* The text of transactions: comparisons, words, blocks, and the quoting below them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/err.h"
#include "ctl/codec.h"
#include "ctl/txn_parse.h"
#include "tests/lib/tap.h"

static struct arena arena;

static int compare(const char *line, struct kv_compare *c)
{
	char why[256];

	arena_free(&arena);
	arena_init(&arena, MIB);
	return txn_parse_compare(line, &arena, c, why);
}

TEST(comparisons_name_target_key_operator_and_value)
{
	struct kv_compare c;

	EQ_INT(compare("mod(\"k\") > \"5\"", &c), ERR_OK);
	EQ_INT(c.target, KV_TARGET_MOD);
	EQ_INT(c.op, KV_GREATER);
	EQ_INT(c.number, 5);
	OK(bytes_eq(c.key, bytes_str("k")));
	EQ_INT(compare("m(\"k\") < \"-5\"", &c), ERR_OK);
	EQ_INT(c.number, -5);
	EQ_INT(c.op, KV_LESS);
	EQ_INT(compare("c(\"k\") = \"1\"", &c), ERR_OK);
	EQ_INT(c.target, KV_TARGET_CREATE);
	EQ_INT(compare("create(\"k\") != \"1\"", &c), ERR_OK);
	EQ_INT(c.op, KV_NOT_EQUAL);
	EQ_INT(compare("ver(\"k\") = \"1\"", &c), ERR_OK);
	EQ_INT(c.target, KV_TARGET_VERSION);
	EQ_INT(compare("version(\"k\") = \"1\"", &c), ERR_OK);
	EQ_INT(compare("val(\"k\") = \"10\"", &c), ERR_OK);
	EQ_INT(c.target, KV_TARGET_VALUE);
	OK(bytes_eq(c.value, bytes_str("10")));
	EQ_INT(c.number, 0);
	EQ_INT(compare("lease(\"k\") = \"10\"", &c), ERR_OK);
	EQ_INT(c.target, KV_TARGET_LEASE);
	EQ_INT(c.number, 16);
}

TEST(comparisons_quote_as_go_does)
{
	struct kv_compare c;

	EQ_INT(compare("value(\"a(b) \\\"c\\\"\\n\\x00\\u00e9\\101\") = \"\"", &c), ERR_OK);
	OK(bytes_eq(c.key, bytes_of("a(b) \"c\"\n\0\xc3\xa9" "A", 13)));
	EQ_INT(c.value.len, 0);
	EQ_INT(compare("value(`raw\\n`) = `x`", &c), ERR_OK);
	OK(bytes_eq(c.key, bytes_str("raw\\n")));
	EQ_INT(compare("value(\"k\")=\"v\"", &c), ERR_OK);
	OK(bytes_eq(c.value, bytes_str("v")));
}

TEST(malformed_comparisons_are_refused)
{
	static const char *const bad[] = {
		"", "mod", "mod(", "mod(k) > \"5\"", "mod(\"k\" > \"5\"", "mod(\"k\") \"5\"",
		"mod(\"k\") > 5",
		"mod(\"k\") ~ \"5\"", "mod(\"k\") >= \"5\"", "mod(\"k\") > \"x\"",
		"mod(\"k\") > \"\"",
		"mod(\"k\") > \"5\" more", "foo(\"k\") > \"5\"", "mod(\"k\\q\") > \"5\"",
		"mod(\"k) > \"5\"",
		"lease(\"k\") = \"xyz\"", "mod(\"k\") > \"5\\x00\"",
		"mod(\"k\") > \"99999999999999999999\"",
		" mod(\"k\") > \"5\""};
	struct kv_compare c;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		EQ_INT(compare(bad[i], &c), ERR_MALFORMED);
}

static void words(const char *line, int want_rc, const char *joined)
{
	struct buf b;
	size_t n;

	buf_init(&b, 4096);
	EQ_INT(codec_words(line, &b, 8, &n), want_rc);
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] == 0)
			b.data[i] = '|';
	buf_u8(&b, 0);
	if (want_rc == ERR_OK)
		EQ_STR((const char *)b.data, joined);
	buf_free(&b);
}

TEST(words_are_split_as_etcdctl_splits_them)
{
	words("", ERR_OK, "");
	words("foo bar baz", ERR_OK, "foo|bar|baz|");
	words("'hello world'", ERR_OK, "hello world|");
	words("\"hello world\"", ERR_OK, "hello world|");
	words("put 'my key' \"my value\"", ERR_OK, "put|my key|my value|");
	words("'' \"\"", ERR_OK, "||");
	words("\"hello\\\"world\"", ERR_OK, "hello\"world|");
	words("a\"b c'd", ERR_OK, "a\"b|c'd|");
	words("  x\t y ", ERR_OK, "x|y|");
	words("'a\\n'", ERR_OK, "a\\n|");
	words("\"open", ERR_MALFORMED, NULL);
	words("'open", ERR_MALFORMED, NULL);
	words("\"a\\x00b\"", ERR_MALFORMED, NULL);
	words("1 2 3 4 5 6 7 8 9", ERR_LIMIT, NULL);
}

static FILE *null_file;

static int parse(const char *text, struct kv_txn *txn)
{
	struct ctl ctl = {.in_fd = -1, .out = null_file, .err = null_file};
	struct input in;
	int p[2], code;

	arena_free(&arena);
	arena_init(&arena, 4 * MIB);
	OK(pipe(p) == 0);
	OK(write(p[1], text, strlen(text)) == (ssize_t)strlen(text));
	(void)close(p[1]);
	input_open(&in, p[0], MIB);
	code = txn_parse(&ctl, &in, false, &arena, txn);
	input_free(&in);
	(void)close(p[0]);
	return code;
}

TEST(a_transaction_has_three_blocks)
{
	struct kv_txn t;

	null_file = fopen("/dev/null", "w");
	EQ_INT(parse("mod(\"a\") > \"0\"\nver(\"b\") = \"1\"\n\n"
		     "put a \"x y\" --prev-kv\nget --prefix a --limit=3\n\n"
		     "del a z\n\n", &t), CTL_OK);
	EQ_INT(t.compares.n, 2);
	EQ_INT(t.success.n, 2);
	EQ_INT(t.failure.n, 1);
	OK(bytes_eq(t.success.v[0].put->value, bytes_str("x y")));
	OK(t.success.v[0].put->prev_kv);
	EQ_INT(t.success.v[1].range->limit, 3);
	OK(bytes_eq(t.success.v[1].range->range_end, bytes_str("b")));
	OK(bytes_eq(t.failure.v[0].del->range_end, bytes_str("z")));
	EQ_INT(parse("\n\n\n", &t), CTL_OK);
	EQ_INT(t.compares.n + t.success.n + t.failure.n, 0);
	EQ_INT(parse("\n  put a b  \r\n \t \n\n", &t), CTL_OK);
	EQ_INT(t.success.n, 1);
	(void)fclose(null_file);
}

TEST(flags_of_one_line_do_not_leak_into_the_next)
{
	struct kv_txn t;

	null_file = fopen("/dev/null", "w");
	EQ_INT(parse("\nget a --prefix --keys-only\nget b\n\n\n", &t), CTL_OK);
	OK(t.success.v[0].range->keys_only);
	OK(!t.success.v[1].range->keys_only);
	EQ_INT(t.success.v[1].range->range_end.len, 0);
	(void)fclose(null_file);
}

TEST(half_a_transaction_does_not_run)
{
	static const char *const bad[] = {
		"", "mod(\"a\") > \"0\"", "mod(\"a\") > \"0\"\n\nput a b\n\n", "\n\n",
		"\nfrob x\n\n\n", "\nput\n\n\n",
		"\nput a\n\n\n", "\nput a b c\n\n\n", "\nget a --frob\n\n\n", "\nput 'a b\n\n\n",
		"x\n\n\n\n"};
	struct kv_txn t;

	null_file = fopen("/dev/null", "w");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		OK(parse(bad[i], &t) != CTL_OK);
	(void)fclose(null_file);
}

TEST(too_many_lines_are_refused)
{
	struct kv_txn t;
	struct buf b;

	null_file = fopen("/dev/null", "w");
	buf_init(&b, 0);
	buf_u8(&b, '\n');
	for (unsigned i = 0; i < LIMIT_TXN_OPS + 1; i++)
		buf_str(&b, "put k v\n");
	buf_str(&b, "\n\n");
	buf_u8(&b, 0);
	EQ_INT(parse((const char *)b.data, &t), CTL_INVALID_INPUT);
	buf_free(&b);
	(void)fclose(null_file);
}

TEST(base64_is_strict)
{
	static const struct { const char *text, *plain; } good[] = {
		{"", ""}, {"YQ==", "a"}, {"YWI=", "ab"}, {"YWJj", "abc"}, {"YWJjZA==", "abcd"}};
	static const char *const bad[] = {"Y", "YQ", "YQ=", "Y===", "====", "YR==", "YWJ=x", "YW=j",
					  "YQ==YQ==", "Y Q="};
	struct buf b;
	char out[64];

	buf_init(&b, 256);
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		FILE *f = fmemopen(out, sizeof out, "w");

		codec_base64(f, bytes_str(good[i].plain));
		(void)fputc(0, f);
		(void)fclose(f);
		EQ_STR(out, good[i].text);
		buf_clear(&b);
		EQ_INT(base64_decode(bytes_str(good[i].text), &b), ERR_OK);
		OK(bytes_eq(buf_bytes(&b), bytes_str(good[i].plain)));
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_clear(&b);
		EQ_INT(base64_decode(bytes_str(bad[i]), &b), ERR_MALFORMED);
	}
	buf_free(&b);
}

TEST(escaped_bytes_come_back)
{
	uint64_t seed = 7;
	struct buf b;

	buf_init(&b, 4096);
	for (int i = 0; i < 2000; i++) {
		uint8_t raw[64];
		size_t n = tap_rand(&seed) % sizeof raw, len;
		char *text;
		FILE *f = open_memstream(&text, &len);

		for (size_t k = 0; k < n; k++)
			raw[k] = (uint8_t)tap_rand(&seed);
		codec_escape(f, bytes_of(raw, n));
		(void)fclose(f);
		OK(memchr(text, '\t', len) == NULL && memchr(text, '\n', len) == NULL);
		buf_clear(&b);
		EQ_INT(codec_unescape(bytes_of(text, len), &b), ERR_OK);
		OK(bytes_eq(buf_bytes(&b), bytes_of(raw, n)));
		free(text);
	}
	buf_free(&b);
}

TESTS = {
	T(comparisons_name_target_key_operator_and_value),
	T(comparisons_quote_as_go_does),
	T(malformed_comparisons_are_refused),
	T(words_are_split_as_etcdctl_splits_them),
	T(a_transaction_has_three_blocks),
	T(flags_of_one_line_do_not_leak_into_the_next),
	T(half_a_transaction_does_not_run),
	T(too_many_lines_are_refused),
	T(base64_is_strict),
	T(escaped_bytes_come_back),
};
TAP_MAIN
