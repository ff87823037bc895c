/* SPDX-License-Identifier: Apache-2.0 */
/* etcd's: protobuf messages, whose lengths are bytes and stand before them. */
#include "gatewayd/form.h"
#include "proto/etcd.h"

enum { RANGE_HEADER = 1, RANGE_KVS = 2, RANGE_MORE = 3, RANGE_COUNT = 4 };
enum { TXN_HEADER = 1, TXN_SUCCEEDED = 2, TXN_RESPONSES = 3 };
enum { OP_RANGE = 1, OP_TXN = 4 };

static size_t etcd_part_size(uint32_t number, size_t body)
{
	return pb_head_size(number, body) + body;
}

static void etcd_part(struct buf *out, uint32_t number, const struct pb_desc *d, const void *msg)
{
	pb_head(out, number, pb_size(d, msg));
	(void)pb_encode(out, d, msg);
}

static void etcd_pair(struct buf *out, const struct kv_pair *p)
{
	etcd_part(out, RANGE_KVS, &kv_pair_pb, p);
}

static size_t etcd_pair_size(const struct kv_pair *p)
{
	return etcd_part_size(RANGE_KVS, pb_size(&kv_pair_pb, p));
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
	etcd_part(out, RANGE_HEADER, &kv_header_pb, h);
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

	etcd_part(out, TXN_HEADER, &kv_header_pb, nested ? &empty : h);
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
