/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generic encoder and decoder over every message that any list declares: what is encoded is
 * read back, and every truncation, extension and alteration is an error or another valid message.
 */
#include "proto/msg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "proto/link_apply.h"
#include "proto/link_hello.h"
#include "proto/link_lease.h"
#include "proto/link_leases.h"
#include "proto/link_lessor.h"
#include "proto/link_news.h"
#include "proto/link_raft.h"
#include "proto/link_store.h"
#include "proto/link_watch.h"
#include "proto/native.h"
#include "proto/peer.h"
#include "tests/lib/tap.h"

enum { ALL_MAX = 200, ARENA_MAX = 1 << 20 };

static const struct msg_link *const all_links[] = {&link_apply, &link_hello_link, &link_raft, &link_store, &peer_link,
	&link_lease, &link_leases, &link_lessor, &link_news, &link_watch};
enum { ALL_LINKS = sizeof all_links / sizeof all_links[0] };

static size_t all_messages(const struct msg_desc **d)
{
	size_t n = 0;

	for (size_t i = 0; i < ALL_LINKS; i++)
		for (size_t j = 0; j < all_links[i]->n_rows; j++)
			d[n++] = all_links[i]->rows[j].desc;
	for (size_t i = 0; i < native_method_count; i++) {
		d[n++] = native_methods[i].params;
		d[n++] = native_methods[i].result;
	}
	OK(n > 20 && n <= ALL_MAX);
	return n;
}

/* ---- filling a message with anything */

static void fill(const struct msg_desc *d, struct arena *a, uint64_t *seed, unsigned depth, void *msg);

static uint64_t any_number(uint64_t *seed)
{
	uint64_t v = tap_rand(seed), shift = tap_rand(seed) % 65;

	return shift == 64 ? 0 : v >> shift;
}

static struct bytes any_bytes(struct arena *a, uint64_t *seed)
{
	size_t n = (size_t)(tap_rand(seed) % (tap_rand(seed) % 8 == 0 ? 300 : 20));
	uint8_t *p = arena_alloc(a, n ? n : 1);

	OK(p != NULL);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)tap_rand(seed);
	return bytes_of(p, n);
}

static void fill_list(const struct msg_field *f, struct arena *a, uint64_t *seed, unsigned depth, void *at)
{
	struct msg_list *list = at;

	list->n = depth > 5 ? 0 : (size_t)(tap_rand(seed) % 4);
	if (list->n > f->max)
		list->n = f->max;
	list->v = list->n ? arena_array(a, list->n, f->sub->size) : NULL;
	for (size_t i = 0; i < list->n; i++)
		fill(f->sub, a, seed, depth + 1, (char *)list->v + i * f->sub->size);
}

static void fill_field(const struct msg_field *f, struct arena *a, uint64_t *seed, unsigned depth, void *at)
{
	uint64_t v = any_number(seed);
	struct bytes bytes;
	bool flag = v & 1;
	void *sub = NULL;

	switch (f->kind) {
	case MSG_U64: case MSG_I64:
		memcpy(at, &v, sizeof v);
		break;
	case MSG_BOOL:
		memcpy(at, &flag, sizeof flag);
		break;
	case MSG_BYTES: case MSG_STR:
		bytes = any_bytes(a, seed);
		memcpy(at, &bytes, sizeof bytes);
		break;
	case MSG_LIST:
		fill_list(f, a, seed, depth, at);
		break;
	case MSG_OPT:
		if (depth < 6 && tap_rand(seed) % 2) {
			sub = arena_alloc(a, f->sub->size);
			OK(sub != NULL);
			fill(f->sub, a, seed, depth + 1, sub);
		}
		memcpy(at, &sub, sizeof sub);
		break;
	}
}

static void fill(const struct msg_desc *d, struct arena *a, uint64_t *seed, unsigned depth, void *msg)
{
	for (size_t i = 0; i < d->n_fields; i++)
		fill_field(&d->fields[i], a, seed, depth, (char *)msg + d->fields[i].offset);
}

/* One filled message, encoded. */
static struct buf encoded(const struct msg_desc *d, uint64_t *seed)
{
	struct arena a;
	struct buf b;
	void *msg;

	arena_init(&a, ARENA_MAX);
	msg = arena_alloc(&a, d->size);
	OK(msg != NULL);
	fill(d, &a, seed, 1, msg);
	buf_init(&b, 0);
	EQ_INT(msg_encode(&b, d, msg), ERR_OK);
	arena_free(&a);
	return b;
}

static int decode(struct bytes v, enum wire_mode mode, const struct msg_desc *d, struct arena *a, void **msg)
{
	struct wire w = wire_of(v, mode);

	arena_reset(a);
	*msg = arena_alloc(a, d->size);
	OK(*msg != NULL);
	(void)msg_decode(&w, d, a, *msg);
	return wire_end(&w);
}

/* A copy of exactly this size, so that AddressSanitizer sees the first byte read too far. */
static struct bytes exact(const uint8_t *data, size_t n)
{
	uint8_t *p = malloc(n ? n : 1);

	OK(p != NULL);
	memcpy(p, data, n);
	return bytes_of(p, n);
}

static void exact_free(struct bytes v)
{
	union {
		const uint8_t *in;
		void *out;
	} p = {v.data};

	free(p.out);
}

TEST(every_message_is_read_back_as_it_was)
{
	const struct msg_desc *d[ALL_MAX];
	size_t n = all_messages(d);
	uint64_t seed = 1;
	struct arena a;
	void *msg;

	arena_init(&a, ARENA_MAX);
	for (size_t i = 0; i < n; i++) {
		for (int round = 0; round < 50; round++) {
			struct buf b = encoded(d[i], &seed), again;

			EQ_INT(decode(buf_bytes(&b), (enum wire_mode)(round % 3), d[i], &a, &msg), ERR_OK);
			buf_init(&again, 0);
			EQ_INT(msg_encode(&again, d[i], msg), ERR_OK);
			EQ_INT(again.len, b.len);
			EQ_MEM(again.data, b.data, b.len);
			buf_free(&again);
			buf_free(&b);
		}
	}
	arena_free(&a);
}

TEST(every_truncation_and_every_extension_is_an_error)
{
	const struct msg_desc *d[ALL_MAX];
	size_t n = all_messages(d);
	uint64_t seed = 2;
	struct arena a;
	void *msg;

	arena_init(&a, ARENA_MAX);
	for (size_t i = 0; i < n; i++) {
		for (int round = 0; round < 5; round++) {
			struct buf b = encoded(d[i], &seed);

			for (size_t cut = 0; cut < b.len; cut++) {
				struct bytes v = exact(b.data, cut);

				OK(decode(v, WIRE_STRICT, d[i], &a, &msg) != ERR_OK);
				OK(decode(v, WIRE_LENIENT, d[i], &a, &msg) != ERR_OK);
				exact_free(v);
			}
			buf_u8(&b, 0xc0);
			EQ_INT(decode(buf_bytes(&b), WIRE_STRICT, d[i], &a, &msg), ERR_TRAILING);
			buf_free(&b);
		}
	}
	arena_free(&a);
}

TEST(altered_messages_are_refused_or_are_messages)
{
	const struct msg_desc *d[ALL_MAX];
	size_t n = all_messages(d);
	uint64_t seed = 3;
	struct arena a;
	void *msg;

	arena_init(&a, ARENA_MAX);
	for (size_t i = 0; i < n; i++) {
		for (int round = 0; round < 300; round++) {
			struct buf b = encoded(d[i], &seed), out;
			struct bytes v;

			for (int flips = 0; flips < 1 + round % 4; flips++)
				b.data[tap_rand(&seed) % b.len] = (uint8_t)tap_rand(&seed);
			v = exact(b.data, b.len);
			buf_init(&out, 0);
			if (decode(v, (enum wire_mode)(round % 3), d[i], &a, &msg) == ERR_OK) {
				EQ_INT(msg_encode(&out, d[i], msg), ERR_OK);
				msg_print(&out, d[i], msg);
			}
			buf_free(&out);
			exact_free(v);
			buf_free(&b);
		}
	}
	arena_free(&a);
}

TEST(every_row_has_its_own_number_and_a_help_text)
{
	for (size_t i = 0; i < ALL_LINKS; i++) {
		const struct msg_link *l = all_links[i];

		for (size_t j = 0; j < l->n_rows; j++) {
			OK(l->rows[j].help[0] != 0);
			EQ_INT(l->rows[j].number < LINK_FIRST_MESSAGE, l == &link_hello_link);
			OK(msg_row(l, l->rows[j].number) == &l->rows[j]);
		}
		OK(msg_row(l, 15) == NULL);
	}
}

/* ---- one small message, byte for byte */

#define INNER_FIELDS(F, L, O) \
	F(U64, n, "")
MSG_DECLARE(inner, INNER_FIELDS)
#define OUTER_FIELDS(F, L, O) \
	F(U64, a, "") \
	F(I64, b, "") \
	F(BOOL, c, "") \
	F(BYTES, d, "") \
	F(STR, e, "") \
	L(inner, f, 3, "") \
	O(inner, g, "")
MSG_DECLARE(outer, OUTER_FIELDS)
#define MSG_T inner
MSG_DEFINE(INNER_FIELDS)
#undef MSG_T
#define MSG_T outer
MSG_DEFINE(OUTER_FIELDS)
#undef MSG_T
#define OUTER_LINK(M) M(16, outer, "test")
static const struct msg_row outer_rows[] = {OUTER_LINK(MSG_LINK_ROW)};
static const struct msg_link outer_link = {"test", outer_rows, 1};

static const char golden[] = "\x97\x07\xff\xc3\xc4\x02\x00\xff\xa2hi\x92\x91\x01\x91\xcd\x01\x00\xc0";

static struct outer outer_example(struct inner *items)
{
	items[0].n = 1;
	items[1].n = 256;
	return (struct outer){
		.a = 7, .b = -1, .c = true, .d = bytes_of("\0\xff", 2), .e = bytes_str("hi"),
		.f = {items, 2},
	};
}

TEST(the_encoding_is_the_documented_one)
{
	struct inner items[2];
	struct outer o = outer_example(items);
	struct buf b;

	buf_init(&b, 0);
	EQ_INT(msg_encode(&b, &outer_desc, &o), ERR_OK);
	EQ_INT(b.len, sizeof golden - 1);
	EQ_MEM(b.data, golden, b.len);
	buf_clear(&b);
	msg_print(&b, &outer_desc, &o);
	buf_u8(&b, 0);
	EQ_STR((char *)b.data, "outer{a=7 b=-1 c=true d=\"\\x00\\xff\" e=\"hi\" f=[2 inner{n=1} inner{n=256}] g=nil}");
	buf_free(&b);
}

/* Other versions of our daemons must at least be able to read that they do not fit. */
TEST(the_hello_of_version_1_stays_as_it_is)
{
	static const char want[] = "\0\0\0\x21\x93\x00\x01\x97\xcf\x51\x75\x6f\x72\x61\x74\x65\x01\x01\xa4pair"
				   "\x03\x05\xcf\x01\x02\x03\x04\x05\x06\x07\x08\xcd\x12\x34";
	struct hello_frame h = {
		.magic = LINK_MAGIC, .version = 1, .link = bytes_str("pair"), .node_id = 3, .daemon = 5,
		.incarnation = 0x0102030405060708, .resume = 0x1234,
	};
	struct buf b;

	buf_init(&b, 0);
	EQ_INT(msg_frame(&b, MSG_NO_hello_frame, 1, &hello_frame_desc, &h), ERR_OK);
	EQ_INT(b.len, sizeof want - 1);
	EQ_MEM(b.data, want, b.len);
	buf_free(&b);
}

static int decode_outer(const char *bytes, size_t len, enum wire_mode mode, struct outer *o)
{
	struct wire w = wire_of(bytes_of(bytes, len), mode);
	struct arena a;
	int err;

	arena_init(&a, 4096);
	(void)msg_decode(&w, &outer_desc, &a, o);
	err = wire_end(&w);
	arena_free(&a);
	return err;
}

TEST(the_strict_reader_wants_every_field_as_declared)
{
	struct outer o;

	EQ_INT(decode_outer(golden, sizeof golden - 1, WIRE_STRICT, &o), ERR_OK);
	/* a field less, a field more */
	EQ_INT(decode_outer("\x96\x07\xff\xc3\xc4\x00\xa0\x90", 8, WIRE_STRICT, &o), ERR_MALFORMED);
	EQ_INT(decode_outer("\x98\x07\xff\xc3\xc4\x00\xa0\x90\xc0\xc0", 10, WIRE_STRICT, &o), ERR_MALFORMED);
	/* nil for a number, str for bytes, a list too long */
	EQ_INT(decode_outer("\x97\xc0\xff\xc3\xc4\x00\xa0\x90\xc0", 9, WIRE_STRICT, &o), ERR_MALFORMED);
	EQ_INT(decode_outer("\x97\x07\xff\xc3\xa0\xa0\x90\xc0", 8, WIRE_STRICT, &o), ERR_MALFORMED);
	EQ_INT(decode_outer("\x97\x07\xff\xc3\xc4\x00\xa0\x94\x91\1\x91\1\x91\1\x91\1\xc0", 17, WIRE_STRICT, &o), ERR_LIMIT);
}

TEST(the_tolerant_reader_passes_over_what_is_appended_and_nothing_else)
{
	struct outer o;

	EQ_INT(decode_outer(golden, sizeof golden - 1, WIRE_TOLERANT, &o), ERR_OK);
	EQ_INT(decode_outer("\x99\x07\xff\xc3\xc4\x00\xa0\x90\xc0\xc0\x92\x01\xa1x", 14, WIRE_TOLERANT, &o), ERR_OK);
	EQ_INT(o.a, 7);
	/* a field less, half of one more, nil for a number, str for bytes */
	EQ_INT(decode_outer("\x96\x07\xff\xc3\xc4\x00\xa0\x90", 8, WIRE_TOLERANT, &o), ERR_MALFORMED);
	EQ_INT(decode_outer("\x98\x07\xff\xc3\xc4\x00\xa0\x90\xc0\xa2x", 11, WIRE_TOLERANT, &o), ERR_TRUNCATED);
	EQ_INT(decode_outer("\x97\xc0\xff\xc3\xc4\x00\xa0\x90\xc0", 9, WIRE_TOLERANT, &o), ERR_MALFORMED);
	EQ_INT(decode_outer("\x97\x07\xff\xc3\xa0\xa0\x90\xc0", 8, WIRE_TOLERANT, &o), ERR_MALFORMED);
}

TEST(the_lenient_reader_takes_defaults_and_str_but_nothing_unknown)
{
	struct outer o;

	EQ_INT(decode_outer("\x90", 1, WIRE_LENIENT, &o), ERR_OK);
	OK(o.a == 0 && o.b == 0 && !o.c && o.d.len == 0 && o.f.n == 0 && o.g == NULL);
	EQ_INT(decode_outer("\x94\xc0\x05\xc0\xa1x", 6, WIRE_LENIENT, &o), ERR_OK);
	OK(o.a == 0 && o.b == 5 && o.d.len == 1);
	EQ_INT(decode_outer("\x97\xc0\xc0\xc0\xc0\xc0\xc0\xc0", 8, WIRE_LENIENT, &o), ERR_OK);
	EQ_INT(decode_outer("\x98\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0", 9, WIRE_LENIENT, &o), ERR_MALFORMED);
	EQ_INT(decode_outer("\x91\xa1x", 3, WIRE_LENIENT, &o), ERR_MALFORMED);
}

TEST(a_frame_has_its_length_number_and_sequence)
{
	struct inner items[2];
	struct outer o = outer_example(items);
	struct msg_in in;
	struct arena a;
	struct buf b;

	buf_init(&b, 0);
	buf_str(&b, "before");
	EQ_INT(msg_frame(&b, 16, 300, &outer_desc, &o), ERR_OK);
	EQ_INT(get_u32be(b.data + 6), sizeof golden - 1 + 5);
	EQ_MEM(b.data + 10, "\x93\x10\xcd\x01\x2c", 5);
	EQ_MEM(b.data + 15, golden, sizeof golden - 1);
	arena_init(&a, 4096);
	EQ_INT(msg_unframe(&outer_link, bytes_of(b.data + 10, b.len - 10), &a, &in), ERR_OK);
	EQ_INT(in.seq, 300);
	EQ_INT(((struct outer *)in.msg)->f.v[1].n, 256);
	EQ_INT(msg_unframe(&link_raft, bytes_of("\x93\x0f\x01\x90", 4), &a, &in), ERR_UNKNOWN_METHOD);
	EQ_INT(msg_unframe(&outer_link, bytes_of("\x93\xcf\0\0\0\1\0\0\0\x10\x01\x90", 12), &a, &in), ERR_UNKNOWN_METHOD);
	EQ_INT(msg_unframe(&outer_link, bytes_of("\x92\x10\x01", 3), &a, &in), ERR_MALFORMED);
	EQ_INT(msg_unframe(&outer_link, bytes_of("", 0), &a, &in), ERR_TRUNCATED);
	arena_free(&a);
	buf_free(&b);
}

TEST(a_message_larger_than_a_frame_leaves_the_buffer_as_it_was)
{
	uint8_t *big = calloc(LIMIT_FRAME_BYTES, 1);
	struct outer o = {.d = bytes_of(big, LIMIT_FRAME_BYTES)};
	struct buf b;

	buf_init(&b, 0);
	buf_str(&b, "before");
	EQ_INT(msg_frame(&b, 16, 1, &outer_desc, &o), ERR_LIMIT);
	EQ_INT(b.len, 6);
	EQ_INT(b.err, ERR_OK);
	o.d.len -= 100;
	EQ_INT(msg_frame(&b, 16, 1, &outer_desc, &o), ERR_OK);
	buf_free(&b);
	free(big);
}

/* txn { failure: [ { txn: { ... } } ] }: each level costs a few bytes and two calls. */
TEST(nesting_is_bounded)
{
	struct arena a;
	struct buf b;
	void *msg;

	for (unsigned depth = 1; depth < 2000; depth += depth) {
		buf_init(&b, 0);
		for (unsigned i = 0; i < depth; i++)
			buf_str(&b, "\x93\x90\x90\x91\x94\xc0\xc0\xc0");
		buf_str(&b, "\x93\x90\x90\x90");
		arena_init(&a, ARENA_MAX);
		EQ_INT(decode(buf_bytes(&b), WIRE_STRICT, &kv_txn_desc, &a, &msg), depth <= 11 ? ERR_OK : ERR_LIMIT);
		arena_free(&a);
		buf_free(&b);
	}
}

/* A short message must not become a large allocation: the arena's limit is the end of it. */
TEST(a_list_that_does_not_fit_the_arena_is_refused)
{
	struct arena a;
	struct buf b;
	void *msg;

	buf_init(&b, 0);
	buf_str(&b, "\x94\xc0\xcd\x01\x02\xc2\xdd");
	buf_u32be(&b, 1000000);
	for (int i = 0; i < 1000000; i++)
		buf_u8(&b, 0x90);
	arena_init(&a, ARENA_MAX);
	EQ_INT(decode(buf_bytes(&b), WIRE_LENIENT, &kv_range_result_desc, &a, &msg), ERR_LIMIT);
	OK(a.used <= ARENA_MAX);
	arena_free(&a);
	buf_free(&b);
}

TESTS = {
	T(every_message_is_read_back_as_it_was),
	T(every_truncation_and_every_extension_is_an_error),
	T(altered_messages_are_refused_or_are_messages),
	T(every_row_has_its_own_number_and_a_help_text),
	T(the_encoding_is_the_documented_one),
	T(the_hello_of_version_1_stays_as_it_is),
	T(the_strict_reader_wants_every_field_as_declared),
	T(the_tolerant_reader_passes_over_what_is_appended_and_nothing_else),
	T(the_lenient_reader_takes_defaults_and_str_but_nothing_unknown),
	T(a_frame_has_its_length_number_and_sequence),
	T(a_message_larger_than_a_frame_leaves_the_buffer_as_it_was),
	T(nesting_is_bounded),
	T(a_list_that_does_not_fit_the_arena_is_refused),
};
TAP_MAIN
