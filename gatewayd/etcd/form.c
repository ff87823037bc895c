/* SPDX-License-Identifier: Apache-2.0 */
/* etcd's: protobuf messages, whose lengths are bytes and stand before them. */
#include "base/check.h"
#include "gatewayd/etcd/grpc_own.h"
#include "gatewayd/form.h"
#include "proto/etcd.h"

enum { RANGE_HEADER = 1, RANGE_KVS = 2, RANGE_MORE = 3, RANGE_COUNT = 4 };
enum { TXN_HEADER = 1, TXN_SUCCEEDED = 2, TXN_RESPONSES = 3 };
enum { OP_RANGE = 1, OP_TXN = 4 };

static size_t etcd_part_size(uint32_t number, size_t body)
{
	return pb_head_size(number, body) + body;
}

/*
 * Pairs are most of all that is written, so they do not go by kv_pair_pb's list, which costs three times as
 * much; a test compares.
 */
enum { KV_KEY = 1, KV_CREATE = 2, KV_MOD = 3, KV_VERSION = 4, KV_VALUE = 5, KV_LEASE = 6, WIRE_BYTES = 2 };

static size_t kv_number_size(int64_t v)
{
	return v == 0 ? 0 : 1 + pb_varint_size((uint64_t)v);
}

static size_t kv_bytes_size(struct bytes b)
{
	return b.len == 0 ? 0 : 1 + pb_varint_size(b.len) + b.len;
}

static size_t kv_size(const struct kv_pair *p)
{
	return kv_bytes_size(p->key) + kv_number_size(p->create_revision) + kv_number_size(p->mod_revision) +
	       kv_number_size(p->version) + kv_bytes_size(p->value) + kv_number_size(p->lease);
}

static uint8_t *kv_number(uint8_t *to, unsigned number, int64_t v)
{
	if (v == 0)
		return to;
	*to++ = (uint8_t)(number << 3);
	return pb_put_varint(to, (uint64_t)v);
}

static uint8_t *kv_bytes(uint8_t *to, unsigned number, struct bytes b)
{
	if (b.len == 0)
		return to;
	*to++ = (uint8_t)(number << 3 | WIRE_BYTES);
	to = pb_put_varint(to, b.len);
	memcpy(to, b.data, b.len);
	return to + b.len;
}

static size_t etcd_pair_size(const struct kv_pair *p)
{
	size_t body = kv_size(p);

	return 1 + pb_varint_size(body) + body;
}

static void etcd_pair(struct buf *out, const struct kv_pair *p)
{
	size_t body = kv_size(p), n = 1 + pb_varint_size(body) + body;
	uint8_t *begin = buf_reserve(out, n), *to = begin;

	if (begin == NULL)
		return;
	*to++ = RANGE_KVS << 3 | WIRE_BYTES;
	to = pb_put_varint(to, body);
	to = kv_bytes(to, KV_KEY, p->key);
	to = kv_number(to, KV_CREATE, p->create_revision);
	to = kv_number(to, KV_MOD, p->mod_revision);
	to = kv_number(to, KV_VERSION, p->version);
	to = kv_bytes(to, KV_VALUE, p->value);
	to = kv_number(to, KV_LEASE, p->lease);
	CHECK(to == begin + n);
	out->len += n;
}

static size_t etcd_range_size(const struct kv_header *h, int64_t count, bool more, uint64_t pair_bytes)
{
	return etcd_part_size(RANGE_HEADER, pb_size(&kv_header_pb, h)) + (size_t)pair_bytes +
	       pb_number_size(RANGE_MORE, more) + pb_number_size(RANGE_COUNT, (uint64_t)count);
}

static void etcd_range_head(struct buf *out, const struct kv_header *h, int64_t count, bool more, uint64_t n)
{
	(void)count;
	(void)more;
	(void)n;
	(void)pb_part(out, RANGE_HEADER, &kv_header_pb, h);
}

static void etcd_range_tail(struct buf *out, int64_t count, bool more)
{
	pb_number(out, RANGE_MORE, more);
	pb_number(out, RANGE_COUNT, (uint64_t)count);
}

/* etcd fills the outermost header only; clients want one to be there. */
static void etcd_txn_head(struct buf *out, const struct kv_header *h, bool nested)
{
	static const struct kv_header empty;

	(void)pb_part(out, TXN_HEADER, &kv_header_pb, nested ? &empty : h);
}

static void etcd_txn_taken(struct buf *out, bool taken, size_t n)
{
	(void)n;
	pb_number(out, TXN_SUCCEEDED, taken);
}

static void etcd_op_head(struct buf *out, enum form_op op)
{
	(void)out;
	(void)op;
}

static void etcd_op_tail(struct buf *out, enum form_op op, size_t mark)
{
	pb_wrap(out, mark, op == FORM_RANGE ? OP_RANGE : OP_TXN);
	pb_wrap(out, mark, TXN_RESPONSES);
}

const struct form form_etcd = {
	.pair = etcd_pair,
	.pair_size = etcd_pair_size,
	.range_size = etcd_range_size,
	.range_head = etcd_range_head,
	.range_tail = etcd_range_tail,
	.txn_head = etcd_txn_head,
	.txn_taken = etcd_txn_taken,
	.op_head = etcd_op_head,
	.op_tail = etcd_op_tail,
};

/* For messages of which several make an answer. */
const struct form form_etcd_chunks = {
	.pair = etcd_pair,
	.range_head = etcd_range_head,
	.range_tail = etcd_range_tail,
	.txn_head = etcd_txn_head,
	.txn_taken = etcd_txn_taken,
	.op_head = etcd_op_head,
	.op_tail = etcd_op_tail,
};
