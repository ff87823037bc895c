/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC calls over HTTP/2 without TLS, many at a time, for load generators: connections that a caller
 * turns whenever poll says so, and streams on them with callbacks. The only includer of nghttp2 here.
 */
#ifndef QUORATE_BENCH_H2_H
#define QUORATE_BENCH_H2_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { H2_STATUS_NONE = -1, H2_MESSAGE_MAX = 64 << 20 };

struct h2_conn;

/* One call. Zeroed, then opened; after closed() it may be opened again. */
struct h2_stream {
	/* of the caller; either callback may be NULL */
	void (*message)(struct h2_stream *s, struct bytes message);
	void (*closed)(struct h2_stream *s);   /* grpc_status says how; opening again in it is fine */
	void *arg;
	/* what came of it */
	int grpc_status;                       /* 0: good; H2_STATUS_NONE: the connection or server failed */
	/* inside */
	struct h2_conn *conn;
	int32_t id;
	struct buf out, in;
	size_t out_at;
	bool last, waits;
};

/* "host:port", numeric. NULL with errno. The connecting itself goes on in h2_conn_turn(). */
struct h2_conn *h2_conn_open(const char *address);
/* No callback is called any more. */
void h2_conn_free(struct h2_conn *c);
/* False: it has failed and does nothing any more; free it. */
bool h2_conn_turn(struct h2_conn *c);
void h2_conn_poll(const struct h2_conn *c, struct pollfd *p);

/* Opens a call ("/etcdserverpb.KV/Put") with its first message; `last`: there will be no other. */
void h2_stream_open(struct h2_conn *c, struct h2_stream *s, const char *path, struct bytes message, bool last);
/* One more message. */
void h2_stream_send(struct h2_stream *s, struct bytes message);

/* Protocol Buffers: fields for a request, and the field of an answer. */
void pb_put_num(struct buf *b, unsigned field, uint64_t value);
void pb_put_bytes(struct buf *b, unsigned field, struct bytes value);
/*
 * Takes the next field off a message: its number, and its number or bytes as the value. False at the
 * end, or at something that is none.
 */
bool pb_next(struct bytes *message, unsigned *field, uint64_t *number, struct bytes *bytes);

#endif
