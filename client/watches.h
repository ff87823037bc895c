/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches that outlive their connection: a set of them, which is told of the connection there is
 * and never waits. Each keeps the place that the last notification taken named, and goes on
 * from there wherever it is registered next: no event is missing, none comes twice.
 *
 * A watch whose owner cannot take more just now is held: it is cancelled at the server, which costs
 * nobody anything, and registered again from its place when it is let go.
 */
#ifndef QUORATE_CLIENT_WATCHES_H
#define QUORATE_CLIENT_WATCHES_H

#include "client/conn.h"

struct client_watches;

/* `owner` is what client_watches_add() was given. Callbacks may add, remove, hold and let go. */
struct client_watches_ops {
	/* It has begun, or gone on elsewhere (again): the header of the server's answer. */
	void (*begun)(void *arg, int64_t id, void *owner, const struct kv_header *h, bool again);
	/* For one watch; valid until it returns. False: it was not taken, the watch is held now. */
	bool (*events)(void *arg, int64_t id, void *owner, const struct native_watch_events *m);
	void (*progress)(void *arg, int64_t id, void *owner, int64_t revision);
	/* It has ended for good: refused or ended by the server. compact_revision: or 0. */
	void (*ended)(void *arg, int64_t id, void *owner, int code, struct bytes text,
		      int64_t compact_revision);
};

int client_watches_open(const struct client_watches_ops *ops, void *arg, struct client_watches **out);
void client_watches_close(struct client_watches **w);    /* not while a connection is attached */

/* The params are copied, watch_id is chosen: it comes back in *id. ERR_NO_MEMORY. */
int client_watches_add(struct client_watches *w, const struct native_watch *params, void *owner,
		       int64_t *id);
void client_watches_remove(struct client_watches *w, int64_t id);   /* nothing is said of it any more */
void client_watches_let_go(struct client_watches *w, int64_t id);   /* of one that is held */
/* How far have all got? Answered by progress. */
void client_watches_ask(struct client_watches *w);
size_t client_watches_count(const struct client_watches *w);

/* A connection to register them on; its notifications come here. */
void client_watches_attach(struct client_watches *w, struct client_conn *c);
/* Before it is closed. Flights in the air still end here. */
void client_watches_detach(struct client_watches *w);
/* Sends what can be sent; to be called before the connection's turn. */
void client_watches_work(struct client_watches *w);
/* Something has happened since that calls for it again. */
bool client_watches_dirty(const struct client_watches *w);
/* The time at which there is work that has to wait until then. */
mono_t client_watches_due(const struct client_watches *w, mono_t now);
/* Since attach: a watch was refused for now, and another endpoint may take it. */
bool client_watches_refused(const struct client_watches *w);

#endif
