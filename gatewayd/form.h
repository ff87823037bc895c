/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How ranges, and transactions that only read, are written: they are too large for a struct, so they
 * go from the mapped store into the answer's bytes directly. One form for each wire.
 */
#ifndef QUORATE_FORM_H
#define QUORATE_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/kv.h"

enum form_op { FORM_RANGE, FORM_TXN };

struct form {
	/* One pair of a range; they stand one behind the other. */
	void (*pair)(struct buf *out, const struct kv_pair *p);
	/* Not NULL: a range that is written in pieces must be measured, by the next two, as far as it is not kept. */
	size_t (*pair_size)(const struct kv_pair *p);
	size_t (*range_size)(const struct kv_header *h, int64_t count, bool more, uint64_t pair_bytes);
	/* Before the n pairs, and behind them. */
	void (*range_head)(struct buf *out, const struct kv_header *h, int64_t count, bool more, uint64_t n);
	void (*range_tail)(struct buf *out, int64_t count, bool more);

	/* A transaction's header; then, when its branch is known, which and how many operations. */
	void (*txn_head)(struct buf *out, const struct kv_header *h, bool nested);
	void (*txn_taken)(struct buf *out, bool taken, size_t n);
	/* Around the result of each of them; `mark` is where it begins. */
	void (*op_head)(struct buf *out, enum form_op op);
	void (*op_tail)(struct buf *out, enum form_op op, size_t mark);
};

extern const struct form form_native;
extern const struct form form_etcd;

#endif
