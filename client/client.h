/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of a cluster: it knows the endpoints, keeps one connection, and makes another when that
 * one fails. From this libquorate grows. One thread at a time; errors are values.
 *
 * A call is repeated, on another endpoint where there is one, as long as its deadline allows and
 * only when that is safe: reads always; writes if the server said so ("again" safe) or
 * if the request surely did not reach it. Every other error is returned with its "again".
 */
#ifndef QUORATE_CLIENT_H
#define QUORATE_CLIENT_H

#include "base/mono.h"
#include "client/again.h"
#include "client/conn.h"
#include "client/endpoints.h"

struct client;

struct client_options {
	const char *endpoints;         /* NULL: 127.0.0.1:2379 */
	unsigned dial_timeout_ms;      /* to find an endpoint that answers; 0: 2000 */
	unsigned first;                /* which endpoint is tried first, modulo their number */
	uint32_t max_flights;          /* of client_connect()'s connection; 0: 16 */
};

struct client_error {
	int code;                      /* ERR_OK, one of base/err.h, or a newer server's number */
	enum err_again again;
	bool dial;                     /* no endpoint could be reached, nothing was asked */
	char text[LIMIT_CLIENT_ERROR_BYTES];   /* a sentence, never empty if code is not ERR_OK */
	char endpoint[CLIENT_ENDPOINT_TEXT];   /* who said so; may be empty */
};

/* ERR_OK, ERR_BAD_ARGUMENT (endpoints), ERR_NO_MEMORY; *e says it in words. */
int client_open(const struct client_options *o, struct client **out, struct client_error *e);
void client_close(struct client **c);

struct client_request {
	const char *method;            /* of NATIVE_METHODS */
	const void *params;            /* the method's params struct */
	struct arena *arena;           /* the result's bytes and lists live here; NULL: no result */
	void *result;                  /* the method's result struct */
	/* "range" only: the pairs go here as they arrive, and there is no result; such a call is
	 * not repeated once the sink has begun. May be NULL. */
	const struct client_sink *sink;
};

/*
 * Waits for the answer, no longer than until `deadline`; a stream that has begun may go on for as
 * long as it is never silent for that long. Returns e->code.
 */
int client_call(struct client *c, const struct client_request *r, mono_t deadline,
		struct client_error *e);

/*
 * A connection that has said it is a gatewayd's and speaks our protocol: the one there is, or a
 * new one, tried until `deadline`. The client keeps owning it. For pipelined requests.
 */
int client_connect(struct client *c, mono_t deadline, struct client_conn **conn,
		   struct client_error *e);
/* Ends the connection; `failed` leaves its endpoint alone for a while. */
void client_disconnect(struct client *c, bool failed);
/* Of the connection there is, else "". */
const char *client_endpoint_text(const struct client *c);

#endif
