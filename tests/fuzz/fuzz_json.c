/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON to messages of etcd's API and back: the first byte picks the message. What is accepted must be
 * a message that the decoder takes; written as JSON and read again, whole and in two pieces, it must
 * be the same.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "gatewayd/http/pbjson.h"
#include "proto/etcd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_write(const struct pb_desc *d, struct bytes message, size_t cut, struct buf *out)
{
	struct pbjson_out j;
	size_t used, more;

	pbjson_out_begin(&j, d, out);
	CHECK(pbjson_out_fields(&j, bytes_of(message.data, cut), out, &used) == ERR_OK && used <= cut);
	CHECK(pbjson_out_fields(&j, bytes_of(message.data + used, message.len - used), out, &more) == ERR_OK);
	CHECK(used + more == message.len);
	pbjson_out_end(&j, out);
}

/* In the decoder's and encoder's form, which is one for equal messages. */
static bool fuzz_canonical(const struct pb_desc *d, struct bytes message, struct buf *out)
{
	struct arena a;
	void *msg;
	int err;

	arena_init(&a, 64 * MIB);
	msg = arena_alloc(&a, d->size);
	CHECK(msg != NULL);
	err = pb_decode(message, d, &a, msg);
	CHECK(err == ERR_OK || err == ERR_LIMIT);
	if (err == ERR_OK)
		CHECK(pb_encode(out, d, msg) == ERR_OK);
	arena_free(&a);
	return err == ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[PBJSON_WHY_BYTES];
	struct buf message, canonical, again, text, text2;
	const struct pb_desc *d;
	struct buf *const all[] = {&message, &canonical, &again, &text, &text2};

	if (size < 2)
		return 0;
	d = etcd_messages[data[0] % etcd_message_count];
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		buf_init(all[i], 0);
	if (pbjson_in(bytes_of(data + 2, size - 2), d, &message, why) != ERR_OK) {
		CHECK(why[0] != '\0');
	} else if (fuzz_canonical(d, buf_bytes(&message), &canonical)) {
		fuzz_write(d, buf_bytes(&canonical), canonical.len, &text);
		fuzz_write(d, buf_bytes(&canonical), data[1] < canonical.len ? data[1] : canonical.len, &text2);
		CHECK(bytes_eq(buf_bytes(&text), buf_bytes(&text2)));
		/* A string that is no UTF-8 is written as it is, and refused. */
		buf_clear(&message);
		if (pbjson_in(buf_bytes(&text), d, &message, why) == ERR_OK) {
			CHECK(fuzz_canonical(d, buf_bytes(&message), &again));
			CHECK(bytes_eq(buf_bytes(&again), buf_bytes(&canonical)));
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		buf_free(all[i]);
	return 0;
}
