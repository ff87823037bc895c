/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches that resume by themselves: on one connection of a client, made again, on another
 * endpoint where there is one, whenever it fails. Each watch goes on from the place that the last
 * notification named, so its owner sees a pause: no event is missing, none comes twice.
 */
#ifndef QUORATE_CLIENT_WATCHES_H
#define QUORATE_CLIENT_WATCHES_H

#include "client/client.h"

struct client_watches;

struct client_watches_ops {
	/* It has begun, or gone on elsewhere (again): the header of the server's answer. */
	void (*begun)(void *arg, int64_t id, const struct kv_header *h, bool again);
	/* For one watch; valid until it returns. */
	void (*events)(void *arg, int64_t id, const struct native_watch_events *m);
	void (*progress)(void *arg, int64_t id, int64_t revision);
	/* It has ended for good: refused or ended by the server. compact_revision: or 0. */
	void (*ended)(void *arg, int64_t id, int code, struct bytes text, int64_t compact_revision);
	/* The connection was lost, or none can be made yet; said once. May be NULL. */
	void (*lost)(void *arg, const char *why);
};

/* Callbacks come from client_watches_turn only; they may add and ask. ERR_NO_MEMORY. */
int client_watches_open(struct client *c, const struct client_watches_ops *ops, void *arg,
			struct client_watches **out);
void client_watches_close(struct client_watches **w);

/* The params are copied, watch_id is chosen: it comes back in *id. ERR_NO_MEMORY. */
int client_watches_add(struct client_watches *w, const struct native_watch *params, int64_t *id);
/* How far has each got? Answered by progress. */
void client_watches_ask(struct client_watches *w);
size_t client_watches_count(const struct client_watches *w);

/*
 * Connects, registers, waits for something to come until the deadline, hands out what has come.
 * more_fd: it returns early when this can be read; -1: none.
 */
void client_watches_turn(struct client_watches *w, int more_fd, mono_t deadline);

#endif
