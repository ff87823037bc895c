/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/rpc.h"
#include "proto/wire.h"
#include "tests/lib/tap.h"

static void request(struct buf *b, uint32_t id, const char *method, size_t value)
{
	void *v = mem_alloc(value + 1);

	wire_array(b, 4);
	wire_u64(b, 0);
	wire_u64(b, id);
	wire_cstr(b, method);
	wire_array(b, 2);
	wire_bin(b, bytes_str("key"));
	wire_bin(b, bytes_of(v, value));
	free(v);
}

static int scan(struct bytes in, struct rpc_scan *s, struct rpc_request *r)
{
	rpc_scan_begin(s);
	return rpc_scan(s, in, r);
}

TEST(a_request_is_found_and_taken_apart)
{
	struct buf b = {0};
	struct rpc_scan s;
	struct rpc_request r;

	request(&b, 4000000000u, "put", 300);
	EQ_INT(scan(buf_bytes(&b), &s, &r), ERR_OK);
	EQ_INT(s.pos, b.len);
	EQ_INT(r.id, 4000000000u);
	OK(bytes_eq(r.method, bytes_str("put")));
	EQ_INT(r.params.data[0], 0x92);
	EQ_INT(r.params.data + r.params.len - b.data, b.len);
	buf_free(&b);
}

TEST(every_prefix_asks_for_more)
{
	struct buf b = {0};
	struct rpc_scan s;
	struct rpc_request r;

	request(&b, 70000, "range", 70000);
	for (size_t n = 0; n < b.len; n++)
		EQ_INT(scan(bytes_of(b.data, n), &s, &r), ERR_TRUNCATED);
	buf_free(&b);
}

TEST(byte_by_byte_gives_the_same)
{
	struct buf b = {0};
	struct rpc_scan s;
	struct rpc_request r;
	size_t n = 0;

	request(&b, 7, "put", 1000);
	rpc_scan_begin(&s);
	while (rpc_scan(&s, bytes_of(b.data, n), &r) == ERR_TRUNCATED)
		n++;
	EQ_INT(n, b.len);
	EQ_INT(s.pos, b.len);
	EQ_INT(r.id, 7);
	buf_free(&b);
}

TEST(what_follows_is_not_looked_at)
{
	struct buf b = {0};
	struct rpc_scan s;
	struct rpc_request r;
	size_t first;

	request(&b, 7, "put", 10);
	first = b.len;
	buf_u8(&b, 0xc1);
	EQ_INT(scan(buf_bytes(&b), &s, &r), ERR_OK);
	EQ_INT(s.pos, first);
	buf_free(&b);
}

static void bad(const char *bytes, size_t n, int err, bool id_known)
{
	struct rpc_scan s;
	struct rpc_request r;

	EQ_INT(scan(bytes_of(bytes, n), &s, &r), err);
	EQ_INT(s.id_known, id_known);
}

TEST(the_first_bad_byte_is_the_last_one_read)
{
	bad("GET / HTTP/1.1\r\n", 16, ERR_MALFORMED, false);
	bad("G", 1, ERR_MALFORMED, false);
	bad("\xc1", 1, ERR_MALFORMED, false);
	bad("\x16\x03\x01", 3, ERR_MALFORMED, false);           /* TLS */
	bad("\x93\x02", 2, ERR_MALFORMED, false);               /* notification */
	bad("\x94\x01", 2, ERR_MALFORMED, false);               /* response */
	bad("\x94\x00\xa1", 3, ERR_MALFORMED, false);           /* id is a string */
	bad("\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 11, ERR_MALFORMED, false);
	bad("\x94\x00\xff", 3, ERR_MALFORMED, false);           /* id -1 */
	bad("\x94\x00\x05\xc4\x03" "put", 8, ERR_MALFORMED, true);      /* method is bin */
	bad("\x94\x00\x05\xd9\x21", 5, ERR_MALFORMED, true);    /* method of 33 bytes */
	bad("\x94\x00\x05\xa3" "put\x80", 8, ERR_MALFORMED, true);      /* params are a map */
	bad("\x94\x00\x05\xa3" "put\x91\xc1", 9, ERR_MALFORMED, true);
}

TEST(declared_lengths_are_checked_before_they_are_awaited)
{
	bad("\x94\x00\x05\xa3" "put\x91\xc6\xff\xff\xff\xff", 13, ERR_REQUEST_TOO_LARGE, true);
	bad("\x94\x00\x05\xa3" "put\x91\xdd\xff\xff\xff\xff", 13, ERR_REQUEST_TOO_LARGE, true);
	bad("\x94\x00\x05\xa3" "put\x91\xdf\xff\xff\xff\xff", 13, ERR_REQUEST_TOO_LARGE, true);
	bad("\x94\x00\x05\xa3" "put\x91\xc9\xff\xff\xff\xff", 13, ERR_REQUEST_TOO_LARGE, true);
	bad("\x94\x00\x05\xa3" "put\xdd\x00\x20\x00\x00", 12, ERR_REQUEST_TOO_LARGE, true);
	bad("\xdd\xff\xff\xff\xff", 5, ERR_MALFORMED, false);
}

TEST(the_largest_message_passes_and_a_byte_more_does_not)
{
	struct rpc_scan s;
	struct rpc_request r;

	for (size_t extra = 0; extra < 2; extra++) {
		struct buf b = {0};
		size_t head;

		request(&b, 1, "put", 1u << 20);
		head = b.len - (1u << 20);
		buf_clear(&b);
		request(&b, 1, "put", LIMIT_CONN_MESSAGE_BYTES - head + extra);
		EQ_INT(scan(buf_bytes(&b), &s, &r), extra ? ERR_REQUEST_TOO_LARGE : ERR_OK);
		buf_free(&b);
	}
}

/* Random values of all kinds; the pull reader of proto/wire.h must agree on where they end. */
static void any_value(struct buf *b, uint64_t *seed, int depth)
{
	uint64_t n = tap_rand(seed) % 5, v = tap_rand(seed) >> tap_rand(seed) % 64;
	uint8_t bytes[300] = {0};

	switch (tap_rand(seed) % (depth > 0 ? 10 : 8)) {
	case 0: wire_nil(b); break;
	case 1: wire_bool(b, v & 1); break;
	case 2: wire_u64(b, v); break;
	case 3: wire_i64(b, -(int64_t)(v >> 1)); break;
	case 4: wire_bin(b, bytes_of(bytes, v % sizeof bytes)); break;
	case 5: wire_str(b, bytes_of(bytes, v % sizeof bytes)); break;
	case 6: buf_u8(b, 0xcb); buf_u64(b, v); break;          /* double */
	case 7:                                                 /* fixext and ext 8 */
		buf_u8(b, (uint8_t)(v & 1 ? 0xd4 + n : 0xc7));
		if (!(v & 1))
			buf_u8(b, (uint8_t)n);
		buf_add(b, bytes, v & 1 ? (1u << n) + 1u : n + 1);
		break;
	case 8:
		wire_array(b, n);
		for (uint64_t i = 0; i < n; i++)
			any_value(b, seed, depth - 1);
		break;
	default:
		wire_map(b, n);
		for (uint64_t i = 0; i < 2 * n; i++)
			any_value(b, seed, depth - 1);
	}
}

TEST(random_parameters_end_where_the_reader_says)
{
	uint64_t seed = 42;

	for (int i = 0; i < 3000; i++) {
		struct buf b = {0};
		struct rpc_scan s;
		struct rpc_request r;
		struct wire w;

		wire_array(&b, 4);
		wire_u64(&b, 0);
		wire_u64(&b, (uint64_t)i);
		wire_cstr(&b, "m");
		wire_array(&b, 2);
		any_value(&b, &seed, 6);
		any_value(&b, &seed, 6);
		w = wire_of(buf_bytes(&b), WIRE_LENIENT);
		wire_skip(&w);
		EQ_INT(wire_end(&w), ERR_OK);
		buf_str(&b, "behind");
		EQ_INT(scan(buf_bytes(&b), &s, &r), ERR_OK);
		EQ_INT(s.pos, b.len - 6);
		EQ_INT(scan(bytes_of(b.data, b.len - 7), &s, &r), ERR_TRUNCATED);
		buf_free(&b);
	}
}

TEST(responses_have_the_documented_shape)
{
	struct buf b = {0};

	rpc_error(&b, 9, ERR_NO_LEADER);
	EQ_INT(b.len, 17);
	EQ_MEM(b.data, "\x94\x01\x09\x93\x1e\xa9no leader\x01\xc0", b.len);
	buf_clear(&b);
	rpc_result_head(&b, 300);
	EQ_MEM(b.data, "\x94\x01\xcd\x01\x2c\xc0", b.len);
	buf_clear(&b);
	rpc_goodbye(&b, ERR_TOO_MANY_REQUESTS);
	EQ_MEM(b.data, "\x93\x02\xa5" "error\x93\x22\xb1too many requests\x01", b.len);
	buf_free(&b);
}

TESTS = {
	T(a_request_is_found_and_taken_apart),
	T(every_prefix_asks_for_more),
	T(byte_by_byte_gives_the_same),
	T(what_follows_is_not_looked_at),
	T(the_first_bad_byte_is_the_last_one_read),
	T(declared_lengths_are_checked_before_they_are_awaited),
	T(the_largest_message_passes_and_a_byte_more_does_not),
	T(random_parameters_end_where_the_reader_says),
	T(responses_have_the_documented_shape),
};
TAP_MAIN
