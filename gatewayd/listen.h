/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP port for clients. Several gatewayds may listen on it at once (SO_REUSEPORT): the kernel
 * spreads new connections over them. An address of [::] takes IPv4 clients too.
 */
#ifndef QUORATE_LISTEN_H
#define QUORATE_LISTEN_H

#include "gatewayd/conn.h"

struct listen_port {
	struct conn_set *conns;
	struct loop_io io;
	struct loop_timer retry;
	size_t max_conns;
	int fd;               /* -1: closed */
};

/*
 * "host:port", numeric. A socket, bound and listening; or -1, errno, and *why says what failed.
 * Not shared: a port that somebody else has is an error.
 */
int listen_socket(const char *address, bool shared, const char **why);

/*
 * Raises the soft limit of open files to the hard one. How many connections that allows, at most
 * LIMIT_CLIENT_CONNECTIONS.
 */
size_t listen_max_conns(void);

void listen_start(struct listen_port *p, struct conn_set *conns, int fd, size_t max_conns);
void listen_stop(struct listen_port *p);

#endif
