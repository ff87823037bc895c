/* SPDX-License-Identifier: Apache-2.0 */
/* The native protocol's: arrays, whose lengths are counts, so nothing need be measured. */
#include "gatewayd/form.h"
#include "proto/msg.h"

static void native_pair(struct buf *out, const struct kv_pair *p)
{
	(void)msg_encode(out, &kv_pair_desc, p);
}

static void native_range_head(struct buf *out, const struct kv_header *h, int64_t count, bool more, uint64_t n)
{
	wire_array(out, 4);
	(void)msg_encode(out, &kv_header_desc, h);
	wire_i64(out, count);
	wire_bool(out, more);
	wire_array(out, (size_t)n);
}

static void native_range_tail(struct buf *out, int64_t count, bool more)
{
	(void)out;
	(void)count;
	(void)more;
}

static void native_txn_head(struct buf *out, const struct kv_header *h, bool nested)
{
	(void)nested;
	wire_array(out, 3);
	(void)msg_encode(out, &kv_header_desc, h);
}

static void native_txn_taken(struct buf *out, bool taken, size_t n)
{
	wire_bool(out, taken);
	wire_array(out, n);
}

static void native_op_head(struct buf *out, enum form_op op)
{
	wire_array(out, 4);
	if (op == FORM_RANGE)
		return;                       /* the range comes first; the nils are added after it */
	wire_nil(out);
	wire_nil(out);
	wire_nil(out);
}

static void native_op_tail(struct buf *out, enum form_op op, size_t mark)
{
	(void)mark;
	if (op != FORM_RANGE)
		return;
	wire_nil(out);
	wire_nil(out);
	wire_nil(out);
}

const struct form form_native = {
	.pair = native_pair,
	.range_head = native_range_head,
	.range_tail = native_range_tail,
	.txn_head = native_txn_head,
	.txn_taken = native_txn_taken,
	.op_head = native_op_head,
	.op_tail = native_op_tail,
};
