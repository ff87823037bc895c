/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of the native protocol on a free loopback port, in a thread of the test, which answers
 * whatever the test wants: the truth, lies, garbage, half a frame, or nothing.
 */
#ifndef QUORATE_FAKE_SERVER_H
#define QUORATE_FAKE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/native.h"

struct fake_server;
struct fake_conn;

struct fake_request {
	uint32_t id;
	const struct native_method *method;
	const void *params;       /* of method->params */
	unsigned number;          /* of this server, from 0, "version" not counted */
};

struct fake_setup {
	/* In the server's thread. False closes the connection. "version" comes only if asked. */
	bool (*serve)(void *arg, struct fake_conn *c, const struct fake_request *r);
	void *arg;
	bool own_version;         /* serve() answers "version" too */
	bool deaf;                /* accepts, and never reads */
};

struct fake_server *fake_start(const struct fake_setup *s);
void fake_stop(struct fake_server **f);
const char *fake_endpoint(const struct fake_server *f);   /* "127.0.0.1:PORT" */
unsigned fake_requests(const struct fake_server *f);      /* served so far, "version" not counted */
unsigned fake_accepted(const struct fake_server *f);

/* For serve(): */
void fake_result(struct fake_conn *c, const struct fake_request *r, const void *result);
void fake_error(struct fake_conn *c, const struct fake_request *r, int code, const char *text,
		unsigned again);
void fake_bytes(struct fake_conn *c, struct bytes raw);
/* Now, not at the end of the turn; waits for the kernel to take it. */
bool fake_flush(struct fake_conn *c);

/* A loopback port on which nobody listens (any more). */
void fake_dead_endpoint(char *text, size_t len);

#endif
