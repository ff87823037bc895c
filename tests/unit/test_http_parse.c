/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 requests, whole and byte by byte, good ones and those that two readers could read differently. */
#include "gatewayd/http/parse.h"

#include <stdio.h>

#include "base/err.h"
#include "base/limits.h"
#include "tests/lib/tap.h"

static int parse(const char *text, struct http_request *r)
{
	size_t used = 0;
	int status = http_parse(bytes_str(text), r, &used);

	if (status == 0)
		EQ_INT(used, strlen(text));
	return status;
}

static bool is(struct bytes v, const char *text)
{
	return bytes_eq(v, bytes_str(text));
}

TEST(a_head_is_taken_apart)
{
	struct http_request r;

	EQ_INT(parse("POST /v3/kv/put?a=b HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:  12 \r\nExpect: 100-Continue\r\n"
		     "Grpc-Timeout: 5S\r\nGrpc-Metadata-HasLeader: true\r\n\r\n", &r), 0);
	OK(is(r.method, "POST") && is(r.path, "/v3/kv/put") && is(r.query, "a=b") && is(r.timeout, "5S"));
	EQ_INT(r.length, 12);
	OK(r.keep_alive && r.expects_continue && r.has_leader && !r.chunked && r.minor == 1);
	EQ_INT(parse("GET / HTTP/1.0\r\n\r\n", &r), 0);
	OK(!r.keep_alive && r.minor == 0 && r.length == 0);
	EQ_INT(parse("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", &r), 0);
	OK(r.keep_alive);
	EQ_INT(parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &r), 0);
	OK(!r.keep_alive && !r.head);
	EQ_INT(parse("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", &r), 0);
	OK(!r.keep_alive && r.head);
	EQ_INT(parse("POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n", &r), 0);
	OK(r.keep_alive && !r.expects_continue);          /* a reader of 1.0 knows no such answer */
}

TEST(a_head_may_come_byte_by_byte)
{
	static const char text[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
	struct http_request r;
	size_t used;

	for (size_t n = 0; n < sizeof text - 1; n++)
		EQ_INT(http_parse(bytes_of(text, n), &r, &used), HTTP_MORE);
	EQ_INT(http_parse(bytes_of(text, sizeof text - 1), &r, &used), 0);
}

TEST(what_can_be_understood_in_two_ways_is_refused)
{
	static const struct {
		const char *text;
		int status;
	} bad[] = {
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n", 400},
		{"GET / HTTP/1.1\nHost: a\n\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
		{"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"G{T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
		{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
		{"GET / http/1.1\r\nHost: a\r\n\r\n", 505},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	};
	struct http_request r;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		printf("# %zu\n", i);
		EQ_INT(parse(bad[i].text, &r), bad[i].status);
	}
}

TEST(a_head_without_end_is_refused)
{
	static char text[LIMIT_HTTP_HEAD_BYTES + 100];
	struct http_request r;
	size_t used;

	memset(text, 'a', sizeof text);
	EQ_INT(http_parse(bytes_of(text, LIMIT_HTTP_HEAD_BYTES), &r, &used), HTTP_MORE);
	EQ_INT(http_parse(bytes_of(text, sizeof text), &r, &used), 431);
	memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
	memcpy(text + sizeof text - 4, "\r\n\r\n", 4);
	EQ_INT(http_parse(bytes_of(text, sizeof text), &r, &used), 431);
}

TEST(queries_are_pairs)
{
	struct bytes query = bytes_str("a=1&b&=&exclude=x=y"), n, v;
	size_t at = 0;

	OK(http_query_next(query, &at, &n, &v) && is(n, "a") && is(v, "1"));
	OK(http_query_next(query, &at, &n, &v) && is(n, "b") && is(v, ""));
	OK(http_query_next(query, &at, &n, &v) && is(n, "") && is(v, ""));
	OK(http_query_next(query, &at, &n, &v) && is(n, "exclude") && is(v, "x=y"));
	OK(!http_query_next(query, &at, &n, &v));
}

/* What of `text` is data, given in pieces of `step` bytes; false: malformed, or not at its end. */
static bool body_of(bool chunked, uint64_t length, const char *text, size_t step, struct buf *out)
{
	struct http_request r = {.chunked = chunked, .length = length};
	struct http_body b;
	struct bytes data;
	size_t n = strlen(text), at = 0, used;

	buf_clear(out);
	http_body_begin(&b, &r);
	while (at < n && b.state != HTTP_BODY_DONE) {
		size_t piece = n - at < step ? n - at : step;

		if (!http_body_take(&b, bytes_of(text + at, piece), &used, &data))
			return false;
		buf_add_bytes(out, data);
		at += used;
	}
	return b.state == HTTP_BODY_DONE && at == n;
}

TEST(bodies_have_a_length_or_come_in_chunks)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t step = 1; step < 40; step++) {
		OK(body_of(false, 5, "hello", step, &b) && is(buf_bytes(&b), "hello"));
		OK(body_of(true, 0, "5\r\nhello\r\nA;x=\"y\"\r\n, world...\r\n0\r\n\r\n", step, &b) &&
		   is(buf_bytes(&b), "hello, world..."));
		OK(body_of(true, 0, "1\r\nx\r\n000\r\nTrailer: y\r\n\r\n", step, &b) && is(buf_bytes(&b), "x"));
	}
	buf_free(&b);
}

TEST(chunks_that_lie_are_refused)
{
	static const char *const bad[] = {
		"\r\nx", "g\r\n", "123456789\r\n", "-1\r\n", "1\r\nxy\r\n", "1\r\nx\n\r", "0x1\r\n", ";\r\n",
		/* lines that end with less, or more, than CRLF */
		"1;\nx\r\n0\r\n\r\n", "1;a\nx\r\n0\r\n\r\n", "1\r\r\nx\r\n0\r\n\r\n", "1\ra\nx\r\n0\r\n\r\n",
		"0\r\n\n", "0\r\na\n", "0\r\na: b\n\r\n", "0\r\na: b\rc\r\n\r\n",
	};
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		OK(!body_of(true, 0, bad[i], 1, &b));
	buf_free(&b);
}

TEST(what_stands_around_chunks_is_bounded)
{
	static char text[4096];
	struct buf b;

	buf_init(&b, 0);
	memset(text, 'a', sizeof text - 1);
	memcpy(text, "1;", 2);
	OK(!body_of(true, 0, text, 100, &b));
	memcpy(text, "0\r\n", 3);
	OK(!body_of(true, 0, text, 100, &b));
	for (size_t i = 3; i + 4 < sizeof text; i += 4)
		memcpy(text + i, "a:\r\n", 4);
	OK(!body_of(true, 0, text, 100, &b));
	buf_free(&b);
}

TESTS = {
	T(a_head_is_taken_apart),
	T(a_head_may_come_byte_by_byte),
	T(what_can_be_understood_in_two_ways_is_refused),
	T(a_head_without_end_is_refused),
	T(queries_are_pairs),
	T(bodies_have_a_length_or_come_in_chunks),
	T(chunks_that_lie_are_refused),
	T(what_stands_around_chunks_is_bounded),
};
TAP_MAIN
