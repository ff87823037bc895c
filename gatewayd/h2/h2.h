/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 on a client's connection: streams of header fields and bytes. What they mean is the owner's
 * business (struct h2_ops; etcd/grpc.h). This folder alone includes nghttp2.
 *
 * A stream lives from the first header field of its request until both sides have ended it, or one
 * has reset it, or the connection is gone: then `gone` is called, and that is the end of the struct.
 *
 *   response:  (none) --h2_respond--> OPEN: what is appended to `out` goes --h2_finish--> trailers
 *                  \--h2_respond_only: a header block, and nothing else
 *
 * Memory: what nghttp2 itself holds is counted (LIMIT_GATEWAY_SESSION_BYTES for all connections);
 * unfinished requests of a connection may hold LIMIT_H2_IN_BYTES, a request LIMIT_H2_MESSAGE_BYTES.
 * What waits to be sent is bounded as on any connection (conn.h); a stream whose window the client
 * leaves shut for LIMIT_CONN_STALL_MS ends the connection, as a socket does of which nothing is taken.
 */
#ifndef QUORATE_H2_H
#define QUORATE_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mono.h"
#include "gatewayd/conn.h"

struct h2_conn;
struct h2_field;
struct h2_stream;

/*
 * How what the owner says reaches the client: in HTTP/2's frames (h2_stream.c), or in another form
 * (http/rpc.c: as JSON over HTTP/1.1). The functions below are calls of these.
 */
struct h2_wire {
	void (*respond)(struct h2_stream *s, const struct h2_field *f, size_t n);
	void (*respond_only)(struct h2_stream *s, const struct h2_field *f, size_t n);
	void (*send)(struct h2_stream *s);
	void (*finish)(struct h2_stream *s, const struct h2_field *f, size_t n);
	void (*reset)(struct h2_stream *s);
	void (*took)(struct h2_stream *s, size_t n);
};

struct h2_stream {
	struct conn *c;
	const struct h2_wire *wire;
	struct list node;             /* of the connection's */
	struct h2_conn *h;            /* NULL: another wire's */
	int32_t id;
	/* the response */
	struct buf out;               /* append, then h2_send */
	size_t out_pos;               /* taken of it */
	size_t counted;               /* of out, in the connection's sum */
	mono_t moved;                 /* when some of it was taken, or began to wait */
	struct h2_fields *trailers;   /* h2_finish has been called */
	bool responded, deferred, wants_room;
	bool wants_little;            /* room is also when nearly all of its own has been taken */
	bool told;                    /* the trailers have been handed over */
	bool hungry;                  /* the wire can take none of `out` before more of the message is there */
	/* the request */
	size_t header_bytes;
	bool ended;                   /* whole */
};

struct h2_field {
	const char *name;
	struct bytes value;
};

struct h2_ops {
	size_t size;                  /* of the owner's struct, which begins with a struct h2_stream */
	void (*opened)(void *arg, struct h2_stream *s);
	void (*header)(struct h2_stream *s, struct bytes name, struct bytes value);
	/* All header fields have come; too_large: some were thrown away. */
	void (*request)(struct h2_stream *s, bool too_large);
	/* Bytes of the body. The client may send so many again when h2_took is called. */
	void (*data)(struct h2_stream *s, struct bytes data);
	void (*end)(struct h2_stream *s);
	/* After h2_want_room. */
	void (*room)(struct h2_stream *s);
	/* The server stops: what goes on for ever should end now. */
	void (*stop)(struct h2_stream *s);
	void (*gone)(struct h2_stream *s);
};

extern const struct conn_proto h2_proto;

struct conn *h2_conn_of(const struct h2_stream *s);

/* The owner's buffers for requests are counted here; false: too much, and the caller refuses. */
bool h2_count_in(struct h2_stream *s, size_t before, size_t after);
void h2_count_out(struct h2_stream *s);              /* for a wire: `out` has changed */

static inline void h2_took(struct h2_stream *s, size_t n)
{
	s->wire->took(s, n);
}
static inline void h2_respond(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	s->wire->respond(s, f, n);
}
static inline void h2_send(struct h2_stream *s)      /* `out` has grown */
{
	s->wire->send(s);
}
static inline void h2_finish(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	s->wire->finish(s, f, n);
}
static inline void h2_respond_only(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	s->wire->respond_only(s, f, n);
}
static inline void h2_reset(struct h2_stream *s)     /* ends it in the middle */
{
	s->wire->reset(s);
}

bool h2_room(const struct h2_stream *s);
void h2_want_room(struct h2_stream *s);
/* For a few bytes: also beside other streams of the connection whose answers are not taken. */
bool h2_room_for_little(const struct h2_stream *s);
void h2_want_little(struct h2_stream *s);
static inline size_t h2_waiting(const struct h2_stream *s)
{
	return s->out.len - s->out_pos;
}

#endif
