/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message of etcd's API, from any bytes. The first byte picks the message. What is accepted
 * must come out of the encoder so that it reads back the same, at the size that was foretold.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "mvcc/kv_check.h"
#include "proto/etcd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_again(const struct pb_desc *d, const void *msg)
{
	struct buf first, second;
	struct arena a;
	void *again;

	arena_init(&a, 64 * MIB);
	buf_init(&first, 0);
	buf_init(&second, 0);
	CHECK(pb_encode(&first, d, msg) == ERR_OK && first.len == pb_size(d, msg));
	again = arena_alloc(&a, d->size);
	CHECK(again != NULL);
	CHECK(pb_decode(buf_bytes(&first), d, &a, again) == ERR_OK);
	CHECK(pb_encode(&second, d, again) == ERR_OK);
	CHECK(bytes_eq(buf_bytes(&first), buf_bytes(&second)));
	buf_free(&first);
	buf_free(&second);
	arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pb_desc *d;
	struct kv_txn txn;
	struct arena a;
	void *msg;

	if (size < 1)
		return 0;
	d = etcd_messages[data[0] % etcd_message_count];
	arena_init(&a, 1 * MIB);
	msg = arena_alloc(&a, d->size);
	CHECK(msg != NULL);
	if (pb_decode(bytes_of(data + 1, size - 1), d, &a, msg) == ERR_OK) {
		fuzz_again(d, msg);
		if (d == &etcd_txn_pb && etcd_txn_take(msg, &a, &txn) == ERR_OK)
			(void)kv_check_txn(&txn);
	}
	arena_free(&a);
	return 0;
}
