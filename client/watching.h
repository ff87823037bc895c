/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waiting form of client/watches.h, for a program of one thread: a set of watches on the
 * connection of a client, made again, on another endpoint where there is one, whenever it fails.
 */
#ifndef QUORATE_CLIENT_WATCHING_H
#define QUORATE_CLIENT_WATCHING_H

#include "client/client.h"
#include "client/watches.h"

struct client_watching {
	struct client *client;
	struct client_watches *watches;
	/* The connection was lost, or none can be made yet; said once. May be NULL. */
	void (*lost)(void *arg, const char *why);
	void *arg;
	struct client_conn *conn;
	bool told_lost, pinging;
	uint64_t bytes;
	mono_t heard;
	struct client_flight ping;
};

/* Connects, registers, waits for something to come until the deadline, hands out what has come.
 * more_fd: it returns early when this can be read; -1: none. */
void client_watching_turn(struct client_watching *g, int more_fd, mono_t deadline);
void client_watching_end(struct client_watching *g);

#endif
