/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Protocol Buffers codec over every message of etcd's API that is declared: bytes as the published
 * encoding has them, everything read back, hostile bytes refused within bounds.
 */
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "proto/etcd.h"
#include "proto/msg.h"
#include "tests/lib/tap.h"

enum { ARENA_MAX = 1 << 20 };

#define GOLDEN(b, ...) golden(b, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void golden(struct buf *b, const uint8_t *want, size_t n)
{
	EQ_INT(b->err, ERR_OK);
	EQ_INT(b->len, n);
	EQ_MEM(b->data, want, n);
	buf_clear(b);
}

TEST(messages_have_the_bytes_of_the_published_encoding)
{
	struct kv_header header = {1, 300, 7, 0};
	struct kv_pair pair = {bytes_str("k"), 2, 3, 1, bytes_str("v"), -1};
	struct kv_range_result range = {&header, 1, true, {&pair, 1}};
	struct kv_put put = {bytes_str("foo"), bytes_str("bar"), 5, true, false, true};
	struct kv_op_result op = {.range = &range};
	struct kv_txn_result txn = {&header, false, {&op, 1}};
	struct etcd_filter filters[] = {{ETCD_NO_DELETE}, {300}};
	struct etcd_watch_create create = {.key = bytes_str("a"), .filters = {filters, 2}, .fragment = true};
	struct etcd_watch_request request = {.create = &create};
	struct etcd_watch_response response = {.watch_id = -1, .canceled = true};
	struct native_lease_key keys[] = {{bytes_str("x")}, {bytes_of(NULL, 0)}};
	struct native_time_to_live_result ttl = {.ttl = -1, .keys = {keys, 2}};
	struct etcd_hash_result hash = {NULL, 0xffffffffu};
	struct buf b;

	buf_init(&b, 0);
	(void)pb_encode(&b, &kv_put_pb, &put);
	GOLDEN(&b, 0x0a, 3, 'f', 'o', 'o', 0x12, 3, 'b', 'a', 'r', 0x18, 5, 0x20, 1, 0x30, 1);
	(void)pb_encode(&b, &kv_range_result_pb, &range);
	GOLDEN(&b, 0x0a, 7, 8, 1, 0x10, 0xac, 2, 0x18, 7, 0x12, 23, 0x0a, 1, 'k', 0x10, 2, 0x18, 3, 0x20, 1,
	       0x2a, 1, 'v', 0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x18, 1, 0x20, 1);
	range.kvs.n = 0;
	range.header = NULL;
	(void)pb_encode(&b, &kv_txn_result_pb, &txn);
	GOLDEN(&b, 0x0a, 7, 8, 1, 0x10, 0xac, 2, 0x18, 7, 0x1a, 6, 0x0a, 4, 0x18, 1, 0x20, 1);
	(void)pb_encode(&b, &etcd_watch_request_pb, &request);
	GOLDEN(&b, 0x0a, 10, 0x0a, 1, 'a', 0x2a, 3, 1, 0xac, 2, 0x40, 1);
	(void)pb_encode(&b, &etcd_watch_response_pb, &response);
	GOLDEN(&b, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x20, 1);
	(void)pb_encode(&b, &native_time_to_live_result_pb, &ttl);
	GOLDEN(&b, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x2a, 1, 'x', 0x2a, 0);
	(void)pb_encode(&b, &etcd_hash_result_pb, &hash);
	GOLDEN(&b, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f);
	buf_free(&b);
}

/* ---- anything, read back ---- */

static void fill(const struct pb_desc *d, struct arena *a, uint64_t *seed, unsigned depth, void *msg);

static struct bytes any_bytes(struct arena *a, uint64_t *seed)
{
	size_t n = (size_t)(tap_rand(seed) % (tap_rand(seed) % 8 == 0 ? 300 : 20));
	uint8_t *p = arena_alloc(a, n + 1);

	OK(p != NULL);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)tap_rand(seed);
	return bytes_of(p, n);
}

static void fill_scalar(enum pb_kind kind, struct arena *a, uint64_t *seed, void *at)
{
	uint64_t v = tap_rand(seed) >> tap_rand(seed) % 64;

	switch (kind) {
	case PB_BYTES: case PB_STR:
		*(struct bytes *)at = any_bytes(a, seed);
		break;
	case PB_BOOL:
		*(bool *)at = v & 1;
		break;
	case PB_U32:
		*(uint32_t *)at = (uint32_t)v;
		break;
	case PB_ENUM:
		*(uint64_t *)at = (uint64_t)(int64_t)(int32_t)v;
		break;
	default:
		*(uint64_t *)at = v;
		break;
	}
}

static void *fill_sub(const struct pb_field *f, struct arena *a, uint64_t *seed, unsigned depth)
{
	void *sub = arena_alloc(a, f->size);

	OK(sub != NULL);
	fill(f->sub, a, seed, depth + 1, sub);
	return sub;
}

static void fill_list(const struct pb_field *f, struct arena *a, uint64_t *seed, unsigned depth,
		      struct msg_list *list)
{
	list->n = depth > 5 ? 0 : (size_t)(tap_rand(seed) % 12);
	if (list->n > f->max)
		list->n = f->max;
	list->v = arena_array(a, list->n + 1, f->size);
	OK(list->v != NULL);
	for (size_t i = 0; i < list->n; i++) {
		char *at = (char *)list->v + i * f->size;

		if (f->bare)
			fill_scalar(f->kind, a, seed, at);
		else
			fill(f->sub, a, seed, depth + 1, at);
	}
}

static void fill(const struct pb_desc *d, struct arena *a, uint64_t *seed, unsigned depth, void *msg)
{
	bool one = false;

	for (size_t i = 0; i < d->n_fields; i++) {
		const struct pb_field *f = &d->fields[i];
		char *at = (char *)msg + f->offset;

		if (f->bare || f->kind == PB_LIST) {
			fill_list(f, a, seed, depth, (struct msg_list *)(void *)at);
		} else if (f->kind == PB_OPT || f->kind == PB_ONE) {
			if (depth < 6 && tap_rand(seed) % 2 && !(one && f->kind == PB_ONE)) {
				*(void **)(void *)at = fill_sub(f, a, seed, depth);
				one = true;
			}
		} else {
			fill_scalar(f->kind, a, seed, at);
		}
	}
}

static struct buf encoded(const struct pb_desc *d, uint64_t *seed)
{
	struct arena a;
	struct buf b;
	void *msg;

	arena_init(&a, 64 * MIB);
	msg = arena_alloc(&a, d->size);
	OK(msg != NULL);
	fill(d, &a, seed, 1, msg);
	buf_init(&b, 0);
	EQ_INT(pb_encode(&b, d, msg), ERR_OK);
	EQ_INT(b.len, pb_size(d, msg));
	arena_free(&a);
	return b;
}

static int decode(struct bytes v, const struct pb_desc *d, struct arena *a, void **msg)
{
	arena_reset(a);
	*msg = arena_alloc(a, d->size);
	OK(*msg != NULL);
	return pb_decode(v, d, a, *msg);
}

TEST(every_message_is_read_back_as_it_was)
{
	uint64_t seed = tap_seed(1);
	struct arena a;
	void *msg;

	OK(etcd_message_count > 40);
	for (size_t i = 0; i < etcd_message_count; i++) {
		for (uint64_t round = 0; round < tap_rounds(30); round++) {
			const struct pb_desc *d = etcd_messages[i];
			struct buf b = encoded(d, &seed), again;

			arena_init(&a, 64 * MIB);
			EQ_INT(decode(buf_bytes(&b), d, &a, &msg), ERR_OK);
			buf_init(&again, 0);
			EQ_INT(pb_encode(&again, d, msg), ERR_OK);
			arena_free(&a);
			EQ_INT(again.len, b.len);
			if (b.len > 0)
				EQ_MEM(again.data, b.data, b.len);
			buf_free(&again);
			buf_free(&b);
		}
	}
}

TEST(altered_and_cut_messages_are_refused_or_make_sense)
{
	uint64_t seed = tap_seed(2);
	struct arena a;
	void *msg;

	for (uint64_t i = 0; i < tap_rounds(2000); i++) {
		const struct pb_desc *d = etcd_messages[i % etcd_message_count];
		struct buf b = encoded(d, &seed);
		size_t n = b.len > 0 ? (size_t)(tap_rand(&seed) % b.len) : 0;
		uint8_t *exact = malloc(n + 1);

		OK(exact != NULL);
		if (n > 0)
			memcpy(exact, b.data, n);
		if (n > 0 && i % 2)
			exact[tap_rand(&seed) % n] ^= (uint8_t)(1u << tap_rand(&seed) % 8);
		arena_init(&a, ARENA_MAX);
		(void)decode(bytes_of(exact, n), d, &a, &msg);
		arena_free(&a);
		free(exact);
		buf_free(&b);
	}
}

static int decode_put(const uint8_t *p, size_t n, struct kv_put *put)
{
	struct arena a;
	int err;

	arena_init(&a, ARENA_MAX);
	err = pb_decode(bytes_of(p, n), &kv_put_pb, &a, put);
	arena_free(&a);
	return err;
}

#define PUT(put, ...) decode_put((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), put)

TEST(what_is_not_known_is_skipped_and_what_is_wrong_refused)
{
	struct kv_put put;

	/* a varint, 8 bytes, bytes, a group with a group inside, 4 bytes; then the key */
	EQ_INT(PUT(&put, 0x78, 0xff, 1, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7a, 1, 'z', 0x7b, 0x83, 1, 8, 1, 0x84, 1, 0x7c,
		   0x7d, 1, 2, 3, 4, 0x0a, 1, 'k'), ERR_OK);
	OK(bytes_eq(put.key, bytes_str("k")));
	EQ_INT(PUT(&put, 0x0a, 1, 'a', 0x0a, 1, 'b'), ERR_OK);
	OK(bytes_eq(put.key, bytes_str("b")));                      /* the last one counts */
	EQ_INT(PUT(&put, 0x20, 0x80, 1), ERR_OK);
	OK(put.prev_kv);                                            /* any number but 0 */
	EQ_INT(PUT(&put, 0x0a, 2, 'a'), ERR_TRUNCATED);
	EQ_INT(PUT(&put, 0x0a), ERR_TRUNCATED);
	EQ_INT(PUT(&put, 0x08, 1), ERR_MALFORMED);                  /* the key as a number */
	EQ_INT(PUT(&put, 0x1a, 1, 'x'), ERR_MALFORMED);             /* the lease as bytes */
	EQ_INT(PUT(&put, 0x02, 1, 'x'), ERR_MALFORMED);             /* field 0 */
	EQ_INT(PUT(&put, 0x7c), ERR_MALFORMED);                     /* the end of no group */
	EQ_INT(PUT(&put, 0x7e), ERR_MALFORMED);                     /* no such wire type */
	EQ_INT(PUT(&put, 0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1), ERR_MALFORMED);
	EQ_INT(PUT(&put, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), ERR_TRUNCATED);
}

TEST(the_last_part_of_a_oneof_stands)
{
	const uint8_t bytes[] = {0x0a, 3, 0x0a, 1, 'a', 0x12, 3, 0x0a, 1, 'b'};
	struct arena a;
	struct etcd_op op;

	arena_init(&a, ARENA_MAX);
	EQ_INT(pb_decode(bytes_of(bytes, sizeof bytes), &etcd_op_pb, &a, &op), ERR_OK);
	OK(op.range == NULL && op.put != NULL && bytes_eq(op.put->key, bytes_str("b")));
	arena_free(&a);
}

/* success { txn { success { txn ... } } } */
static void nest(struct buf *b, unsigned depth)
{
	buf_clear(b);
	for (unsigned i = 0; i < depth; i++) {
		pb_wrap(b, 0, 4);
		pb_wrap(b, 0, 2);
	}
}

TEST(nesting_lists_and_memory_are_bounded)
{
	struct arena a;
	struct buf b;
	struct etcd_txn txn;

	buf_init(&b, 0);
	arena_init(&a, ARENA_MAX);
	nest(&b, LIMIT_TXN_DEPTH);
	EQ_INT(pb_decode(buf_bytes(&b), &etcd_txn_pb, &a, &txn), ERR_OK);
	nest(&b, 5000);
	EQ_INT(pb_decode(buf_bytes(&b), &etcd_txn_pb, &a, &txn), ERR_LIMIT);
	buf_clear(&b);
	for (unsigned i = 0; i < LIMIT_TXN_OPS; i++)
		pb_head(&b, 1, 0);
	EQ_INT(pb_decode(buf_bytes(&b), &etcd_txn_pb, &a, &txn), ERR_OK);
	EQ_INT(txn.compares.n, LIMIT_TXN_OPS);
	pb_head(&b, 1, 0);
	EQ_INT(pb_decode(buf_bytes(&b), &etcd_txn_pb, &a, &txn), ERR_LIMIT);
	buf_clear(&b);
	for (unsigned i = 0; i < 100000; i++)     /* 200 kB that would unfold to megabytes */
		pb_head(&b, 2, 0);
	{
		struct kv_range_result r;

		arena_reset(&a);
		EQ_INT(pb_decode(buf_bytes(&b), &kv_range_result_pb, &a, &r), ERR_LIMIT);
		OK(a.used <= ARENA_MAX);
	}
	buf_clear(&b);
	for (unsigned i = 0; i < 1000000; i++)    /* groups without end */
		buf_u8(&b, 0x7b);
	EQ_INT(pb_decode(buf_bytes(&b), &kv_put_pb, &a, &(struct kv_put){.lease = 0}), ERR_TRUNCATED);
	buf_free(&b);
	arena_free(&a);
}

TEST(a_compare_takes_the_number_of_its_target_only)
{
	struct etcd_compare compares[] = {
		{.target = KV_TARGET_MOD, .mod_revision = 7, .version = 9, .key = bytes_str("a")},
		{.target = KV_TARGET_VERSION, .mod_revision = 7},
		{.target = KV_TARGET_LEASE, .lease = 3, .value = bytes_str("x")},
		{.target = KV_TARGET_VALUE, .value = bytes_str("v")},
	};
	struct etcd_txn inner = {.compares = {compares, 1}};
	struct etcd_op ops[] = {{.txn = &inner}};
	struct etcd_txn from = {.compares = {compares, 4}, .failure = {ops, 1}};
	struct kv_txn to;
	struct arena a;

	arena_init(&a, ARENA_MAX);
	EQ_INT(etcd_txn_take(&from, &a, &to), ERR_OK);
	EQ_INT(to.compares.n, 4);
	EQ_INT(to.compares.v[0].number, 7);
	OK(bytes_eq(to.compares.v[0].key, bytes_str("a")));
	EQ_INT(to.compares.v[1].number, 0);
	EQ_INT(to.compares.v[2].number, 3);
	EQ_INT(to.compares.v[2].value.len, 0);
	OK(bytes_eq(to.compares.v[3].value, bytes_str("v")));
	EQ_INT(to.success.n, 0);
	EQ_INT(to.failure.n, 1);
	EQ_INT(to.failure.v[0].txn->compares.v[0].number, 7);
	a.max = a.used;
	EQ_INT(etcd_txn_take(&from, &a, &to), ERR_LIMIT);
	arena_free(&a);
}

TESTS = {
	T(messages_have_the_bytes_of_the_published_encoding),
	T(every_message_is_read_back_as_it_was),
	T(altered_and_cut_messages_are_refused_or_make_sense),
	T(what_is_not_known_is_skipped_and_what_is_wrong_refused),
	T(the_last_part_of_a_oneof_stands),
	T(nesting_lists_and_memory_are_bounded),
	T(a_compare_takes_the_number_of_its_target_only),
};
TAP_MAIN
