/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first question on a connection: who is there? Neither a listener that never answers nor some
 * other server must get a write.
 */
#ifndef QUORATE_CLIENT_HELLO_H
#define QUORATE_CLIENT_HELLO_H

#include "client/conn.h"

enum { CLIENT_PROTOCOL = 1 };          /* a later server understands it too */

struct client_hello {
	struct client_flight flight;
	bool done, good;
	int code;                      /* of the server's error, or the connection's */
	char text[LIMIT_CLIENT_ERROR_BYTES];
};

/* Asks. ERR_OK, or why it cannot be sent. `h` must outlive the flight. */
int client_hello_send(struct client_conn *c, struct client_hello *h);
/* It is a gatewayd that speaks our protocol. Else, once the time is up: why it is not. */
bool client_hello_good(const struct client_hello *h);
void client_hello_why(const struct client_conn *c, const struct client_hello *h, char *why, size_t len);

#endif
