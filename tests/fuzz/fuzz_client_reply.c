/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server may send to a client. The first byte chooses the method and the size of the
 * pieces; the rest is the stream of bytes.
 */
#include <stdlib.h>

#include "base/check.h"
#include "client/reply.h"

struct fuzz_state {
	struct client_flight flight;
	struct client_sink sink;
	bool open;
	uint32_t left;
};

static struct client_flight *fuzz_find(void *arg, uint32_t id)
{
	struct fuzz_state *s = arg;

	return s->open && id < 128 ? &s->flight : NULL;
}

static void fuzz_finish(void *arg, struct client_flight *f, const struct client_reply *reply)
{
	struct fuzz_state *s = arg;

	CHECK(f == &s->flight && s->open);
	CHECK((reply->err == ERR_OK) == (reply->result != NULL));
	if (reply->result != NULL && s->flight.sink == NULL) {
		struct buf out;

		buf_init(&out, 0);
		CHECK(msg_encode(&out, f->method->result, reply->result) == ERR_OK);
		buf_free(&out);
	}
}

static int fuzz_begin(void *arg, const struct kv_range_result *head)
{
	struct fuzz_state *s = arg;

	s->left = (uint32_t)head->kvs.n;
	return ERR_OK;
}

static int fuzz_pair(void *arg, const struct kv_pair *pair)
{
	struct fuzz_state *s = arg;

	CHECK(s->left-- > 0);
	CHECK(pair->key.len + pair->value.len <= LIMIT_CLIENT_PAIR_BYTES);
	return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_state s = {.open = true};
	struct client_reader r;
	size_t at = 0, end = 0, step, used;
	int rc = ERR_OK;

	if (size == 0)
		return 0;
	s.sink = (struct client_sink){fuzz_begin, fuzz_pair, &s};
	s.flight.method = &native_methods[data[0] % native_method_count];
	if (s.flight.method->result == &kv_range_result_desc && (data[0] & 0x40) != 0)
		s.flight.sink = &s.sink;
	step = (data[0] & 0x80) != 0 ? 1 : 4096;
	client_reader_init(&r);
	r.find = fuzz_find;
	r.finish = fuzz_finish;
	r.arg = &s;
	data++;
	size--;
	while (rc == ERR_OK && end < size) {
		end = size - end < step ? size : end + step;
		rc = client_reader_on(&r, bytes_of(data + at, end - at), &used);
		at += rc == ERR_OK ? used : 0;
		CHECK(at <= end);
	}
	client_reader_free(&r);
	return 0;
}
