/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 requests (RFC 9112), strictly: what two readers could understand differently is refused.
 * Pure: bytes in, structs out; nothing is allocated.
 */
#ifndef QUORATE_HTTP_PARSE_H
#define QUORATE_HTTP_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct http_request {
	struct bytes method, path, query;     /* path up to the '?', as it came */
	unsigned minor;                       /* of HTTP/1.x: 0 or 1 */
	bool head;                            /* no body is wanted: HEAD */
	bool keep_alive, closes, expects_continue, chunked;
	uint64_t length;                      /* of the body; 0 if chunked */
	bool has_leader;                      /* Grpc-Metadata-hasleader: true */
	struct bytes timeout;                 /* Grpc-Timeout */
};

/*
 * The head of a request, up to its empty line. 0: *used bytes were the head, and *r points into them;
 * HTTP_MORE; or the status to refuse it with, after which nothing more can be read.
 */
enum { HTTP_MORE = 1 };
int http_parse(struct bytes in, struct http_request *r, size_t *used);

/* The value of a parameter of the query that has not been looked at, or false. All zero: the first. */
bool http_query_next(struct bytes query, size_t *at, struct bytes *name, struct bytes *value);

/* A body on its way, chunked or not. */
enum http_body_state {
	HTTP_BODY_DATA, HTTP_BODY_SIZE, HTTP_BODY_SIZE_END, HTTP_BODY_DATA_END, HTTP_BODY_TRAILER, HTTP_BODY_DONE
};
struct http_body {
	enum http_body_state state;
	bool chunked;
	uint64_t left;                        /* of the chunk, or of all */
	unsigned line;                        /* bytes of the line being read */
	uint8_t before;                       /* the byte before the next, around chunks */
};
void http_body_begin(struct http_body *b, const struct http_request *r);
/*
 * Takes from `in` up to the next piece of data (*data, which may be empty), or the end (b->state).
 * False: it is malformed.
 */
bool http_body_take(struct http_body *b, struct bytes in, size_t *used, struct bytes *data);

#endif
