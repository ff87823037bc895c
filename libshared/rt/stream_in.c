/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/stream_in.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum { STREAM_IN_FIRST_BYTES = 256 * 1024, STREAM_IN_KEEP_BYTES = 1024 * 1024 };

void stream_in_room(struct stream_in *in)
{
	size_t cap = in->cap;

	CHECK(!stream_in_full(in));
	if (in->len == 0 && cap > STREAM_IN_KEEP_BYTES) {
		mem_free(in->data);
		in->data = NULL;
		cap = 0;
	}
	if (cap == 0)
		cap = in->max < STREAM_IN_FIRST_BYTES ? in->max : STREAM_IN_FIRST_BYTES;
	else if (in->len == cap)
		cap = cap > in->max / 2 ? in->max : 2 * cap;
	if (in->data == NULL || cap != in->cap)
		in->data = mem_grow(in->data, cap, 1);
	in->cap = cap;
}

void stream_in_show(struct stream_in *in, const struct stream_ops *ops, void *arg)
{
	size_t used = ops->data(arg, bytes_of(in->data, in->len));

	CHECK(used <= in->len);
	in->len -= used;
	if (used > 0 && in->len > 0)
		memmove(in->data, in->data + used, in->len);
}
