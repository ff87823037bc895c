/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks: a connection of the native protocol, a gRPC stream, or a service of gatewayd's own that
 * is made of other requests. The services (write.c, read.c, lease.c, watch.c, info.c) know a caller
 * only by this; how an answer is written is its own business.
 *
 * `id` is the caller's number of a request; each request is answered exactly once, unless the
 * caller goes, which forgets them all.
 */
#ifndef QUORATE_CALLER_H
#define QUORATE_CALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "gatewayd/form.h"
#include "proto/kv.h"

struct caller;
struct gateway;
struct watch_got;

struct caller_ops {
	const struct form *form;      /* of what is appended to the buffers below */
	bool unpaged;                 /* lists of leases and keys come whole: it cannot ask for the rest */

	void (*error)(struct caller *k, uint32_t id, int err);
	/* A whole result; `lost` is answered instead if there is no room for it. */
	void (*result)(struct caller *k, uint32_t id, const struct msg_desc *d, const void *result, int lost);
	/* The same, appended between the two. */
	struct buf *(*begin)(struct caller *k, uint32_t id, size_t *mark);
	void (*end)(struct caller *k, uint32_t id, struct buf *b, size_t mark, int lost);
	/*
	 * The same for bytes that are there already, from b->data + at on, with eight to spare before them: the caller
	 * becomes their owner. Only if it says that it can; NULL: it never can.
	 */
	bool (*can_take)(struct caller *k);
	void (*take)(struct caller *k, uint32_t id, struct buf *b, size_t at, int lost);

	/* May an answer be made now? If not, want_room, and the parked reads are woken later. */
	bool (*room)(struct caller *k);
	void (*want_room)(struct caller *k);
	/*
	 * An answer of `total` bytes (if the form knows sizes) in pieces. False: another one is being
	 * written, and the parked reads are woken when it has ended. Then while stream_room: append to
	 * `stream`, and touch. broken: it ends in the middle, and no other way than by ending the caller.
	 */
	bool (*stream_begin)(struct caller *k, uint32_t id, size_t total);
	bool (*stream_room)(struct caller *k);
	struct buf *(*stream)(struct caller *k);
	void (*touch)(struct caller *k);
	void (*stream_end)(struct caller *k);
	void (*broken)(struct caller *k, int err, int64_t revision);

	/* The parameters of a transaction, once more, from a copy of the request's bytes. */
	int (*take_txn)(struct bytes params, struct arena *arena, struct kv_txn *out);
	/* Something for watches of this caller. */
	void (*watch)(struct gateway *g, struct caller *k, const struct watch_got *got);
	/* Bytes of notifications that the other side has not taken yet. */
	size_t (*waiting)(struct caller *k);
};

/* What all callers of a connection watch. */
struct watch_share {
	size_t n, bytes;              /* bytes: keys and range ends */
};

/* Embedded in the caller's own. */
struct caller {
	const struct caller_ops *ops;
	struct list requests;         /* request.c's */
	struct list parked;           /* reads that wait for room or for a stream's end */
	struct gate_watches *watches; /* watch.c's; NULL: none */
	struct watch_share *share;    /* of its whole connection; NULL: it watches nothing */
};

static inline void caller_init(struct caller *k, const struct caller_ops *ops)
{
	*k = (struct caller){.ops = ops};
	list_init(&k->requests);
	list_init(&k->parked);
}

static inline void caller_error(struct caller *k, uint32_t id, int err)
{
	k->ops->error(k, id, err);
}

static inline void caller_result(struct caller *k, uint32_t id, const struct msg_desc *d, const void *result,
				 int lost)
{
	k->ops->result(k, id, d, result, lost);
}

#endif
