/* SPDX-License-Identifier: Apache-2.0 */
/* Between h2.c (the session) and h2_stream.c. */
#ifndef QUORATE_H2_OWN_H
#define QUORATE_H2_OWN_H

#include <nghttp2/nghttp2.h>

#include "gatewayd/h2/h2.h"

enum { H2_FIELDS = 8 };               /* of a response's header block */
enum { H2_LITTLE = 4096 };            /* waiting on a stream: as on 1,024 streams half of LIMIT_CONN_OUT_MAX */

struct h2_fields {
	size_t n;
	nghttp2_nv nv[H2_FIELDS];
	uint8_t bytes[];              /* of the values */
};

struct h2_conn {
	struct conn *c;
	const struct h2_ops *ops;
	nghttp2_session *session;
	nghttp2_mem mem;
	struct list streams;
	struct list in_idle;          /* of the set's list, while there are none */
	size_t n_streams;
	size_t mem_bytes;             /* nghttp2's */
	struct loop_timer timer;      /* stalls; and the second step of a graceful end */
	mono_t pinged;                /* when the last ping came */
	unsigned strikes;             /* pings that came too early, since something was last sent */
	bool gone;                    /* closed: what it still holds counts as dying */
	bool sent;                    /* headers or data, since the last ping */
	bool stopping, goodbye;       /* the client has been told; it has been told the last stream */
	bool refusing;                /* it has misbehaved: the rest is not looked at */
	bool flushed;                 /* refusing, and nothing more is to be sent */
};

/* nghttp2's callbacks about streams. */
void h2_stream_callbacks(nghttp2_session_callbacks *cb);
void h2_stream_free(struct h2_stream *s);
/* Is there memory for one more session or stream? Sessions without streams are closed for it. */
bool h2_make_room(struct conn_set *s);
void h2_idle(struct h2_conn *h);      /* its last stream has gone */
void h2_abuse(struct h2_conn *h, uint32_t error_code, const char *what);

#endif
