/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection to a gatewayd, without waiting: requests are queued and numbered, answers
 * come in any order. Its owner polls the descriptor and calls client_conn_turn().
 *
 * A connection fails as a whole: then each request in flight is answered with the error, and with
 * "again" SAFE if it was surely not received (some of it never left this process), else UNSURE.
 */
#ifndef QUORATE_CLIENT_CONN_H
#define QUORATE_CLIENT_CONN_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/mono.h"
#include "client/reply.h"

struct client_conn;

/* Begins to connect. At most `max_flights` (<= LIMIT_CLIENT_INFLIGHT) requests at a time. */
int client_conn_open(const struct sockaddr *addr, socklen_t len, uint32_t max_flights,
		     struct client_conn **out);
void client_conn_close(struct client_conn **c);   /* not inside a done() or a sink */

/*
 * ERR_OK: the request is queued and f->done() will be called, though never before this returns.
 * Else nothing was queued: ERR_FULL (too many in flight or waiting: again after a turn),
 * ERR_REQUEST_TOO_LARGE, ERR_CLOSED, ERR_NO_MEMORY. The params are copied.
 */
int client_conn_send(struct client_conn *c, struct client_flight *f, const void *params);
/* The same with params that are encoded already. */
int client_conn_send_encoded(struct client_conn *c, struct client_flight *f, struct bytes params);

/* Where notifications go; it must not close the connection. Before that one that comes is an error. */
void client_conn_notices(struct client_conn *c,
			 void (*fn)(void *arg, const struct native_notification *n, const void *params),
			 void *arg);

/* To wait for: */
int client_conn_fd(const struct client_conn *c);      /* -1 when failed */
short client_conn_events(const struct client_conn *c);   /* for poll(2) */

/* Writes and reads what can be without waiting. ERR_OK, or why the connection has failed. */
int client_conn_turn(struct client_conn *c);
/* Waits for something to do until the deadline, then takes a turn. */
int client_conn_wait(struct client_conn *c, mono_t deadline);

int client_conn_err(const struct client_conn *c);     /* ERR_OK while it is usable */
struct bytes client_conn_words(const struct client_conn *c);   /* the server's about its end, or empty */
int client_conn_errno(const struct client_conn *c);   /* the system's reason, or 0 */
bool client_conn_connected(const struct client_conn *c);
uint32_t client_conn_flights(const struct client_conn *c);
size_t client_conn_queued(const struct client_conn *c);   /* bytes not yet written */
uint64_t client_conn_heard(const struct client_conn *c);  /* bytes that have come */

#endif
