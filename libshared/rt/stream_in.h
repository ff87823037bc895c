/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream has read and its owner has not used yet: one buffer, the same for both kinds of streams. */
#ifndef QUORATE_STREAM_IN_H
#define QUORATE_STREAM_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rt/stream.h"

struct stream_in {
	uint8_t *data;
	size_t len, cap, max;
};

static inline bool stream_in_full(const struct stream_in *in)
{
	return in->len == in->max;
}

/* Makes room behind what is there, which must not be full: from data + len up to cap. */
void stream_in_room(struct stream_in *in);
/* Shows what is there to ops->data and drops what it has used. */
void stream_in_show(struct stream_in *in, const struct stream_ops *ops, void *arg);

#endif
