/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message of every list, from any bytes. The first byte picks the list, the second the
 * reader's mode; the rest is a frame's content (or a client's parameters). What is accepted must
 * come out of the encoder so that it reads back the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct msg_link *const fuzz_links[] = {&link_apply, &link_hello_link, &link_raft, &link_store, &peer_link,
	&link_lease, &link_leases, &link_lessor, &link_news, &link_watch};

static void fuzz_again(const struct msg_desc *d, const void *msg)
{
	struct buf first, second, text;
	struct arena a;
	struct wire w;
	void *again;

	arena_init(&a, 64 * MIB);
	buf_init(&first, 0);
	buf_init(&second, 0);
	buf_init(&text, 0);
	CHECK(msg_encode(&first, d, msg) == ERR_OK);
	msg_print(&text, d, msg);
	again = arena_alloc(&a, d->size);
	CHECK(again != NULL);
	w = wire_of(buf_bytes(&first), WIRE_STRICT);
	CHECK(msg_decode(&w, d, &a, again) == ERR_OK && wire_end(&w) == ERR_OK);
	CHECK(msg_encode(&second, d, again) == ERR_OK);
	CHECK(bytes_eq(buf_bytes(&first), buf_bytes(&second)));
	buf_free(&first);
	buf_free(&second);
	buf_free(&text);
	arena_free(&a);
}

static void fuzz_native(const struct msg_desc *d, struct bytes v, enum wire_mode mode, struct arena *a)
{
	struct wire w = wire_of(v, mode);
	void *msg = arena_alloc(a, d->size);

	CHECK(msg != NULL);
	(void)msg_decode(&w, d, a, msg);
	if (wire_end(&w) == ERR_OK)
		fuzz_again(d, msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg_in in;
	struct arena a;
	struct bytes v;
	size_t which;

	if (size < 2)
		return 0;
	v = bytes_of(data + 2, size - 2);
	arena_init(&a, 1 * MIB);
	which = data[0] % (ARRAY_LEN(fuzz_links) + 2 * native_method_count);
	if (which < ARRAY_LEN(fuzz_links)) {
		if (msg_unframe(fuzz_links[which], v, &a, &in) == ERR_OK)
			fuzz_again(in.row->desc, in.msg);
	} else {
		which -= ARRAY_LEN(fuzz_links);
		fuzz_native(which % 2 ? native_methods[which / 2].result : native_methods[which / 2].params, v,
			    (enum wire_mode)(data[1] % 3), &a);
	}
	arena_free(&a);
	return 0;
}
