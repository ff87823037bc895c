/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 on a client's connection: one request at a time, answered before the next is looked at. What
 * it asks for is the business of a handler: the JSON gateway (rpc.c) or what is plain (plain.c).
 *
 *   IDLE --head--> its handler begins --body...--> answers --http1_done--> IDLE, or the end
 *
 * Memory: the head is at most LIMIT_HTTP_HEAD_BYTES; what a handler keeps of a body, and what it has not
 * yet said, it counts as the connection's (http1_count).
 */
#ifndef QUORATE_HTTP1_H
#define QUORATE_HTTP1_H

#include "gatewayd/conn.h"
#include "gatewayd/http/parse.h"

struct http1;
struct gateway;

struct http_handler {
	/* A piece of the body; `last` once, then no more comes. Not called after http1_done. */
	void (*body)(struct http1 *h, struct bytes piece, bool last);
	/* There is room: append to h->text what can be said now. May be NULL. */
	void (*fill)(struct http1 *h);
	/* The server stops: what goes on for ever ends now. May be NULL. */
	void (*stop)(struct http1 *h);
	/* The request is over, one way or the other: h->x is freed. */
	void (*gone)(struct http1 *h);
};

struct http1 {
	struct conn *c;
	struct gateway *g;
	/* the request; nothing that it points to outlives the handler's beginning */
	struct http_request req;
	struct http_body body;
	const struct http_handler *handler;   /* NULL: idle */
	void *x;                      /* the handler's */
	bool body_done;
	/* the answer */
	int status;
	const char *type;
	struct buf text;              /* of the body, not yet in the connection's output */
	bool head_sent, done, chunked, keep_alive, flow;
	bool endless;                 /* it goes on until the client goes */
	size_t counted_in, counted_out;       /* in the connection's sums */
};

extern const struct conn_proto http1_proto;

/* For handlers. The head goes out with the first of the text, or when it is done. */
void http1_answer(struct http1 *h, int status, const char *type);
/* What has been said goes out even if it is little: somebody waits for it. */
void http1_flow(struct http1 *h);
/* All is said. The handler is gone when this has been written. */
void http1_done(struct http1 *h);
/* A whole answer of a few words. */
void http1_say(struct http1 *h, int status, const char *type, const char *text);
/* What the handler holds of the request's body now. False: too much, refuse it. */
bool http1_count(struct http1 *h, size_t in);
/* It cannot be answered rightly any more: the connection ends in the middle. */
void http1_break(struct http1 *h, const char *reason);

/* rpc.c: a path of the JSON gateway. False: it is none. */
bool http_rpc_begin(struct http1 *h);
/* plain.c: /version, /health, /livez, /readyz, /metrics. False: none of them. */
bool http_plain_begin(struct http1 *h);

#endif
