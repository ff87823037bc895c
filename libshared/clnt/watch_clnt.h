/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd's half of the link to watchd: which watches its clients have, and from where each goes
 * on. A state machine; see clnt.h.
 *
 * A watch is the gateway's: watchd knows it for as long as the link lives. When the link comes
 * back every watch is registered again, from the next event that its client has not been handed,
 * so its client sees a pause. Where a quiet watch stands is told by watch_news: without that it
 * would go on from its last event, which may have been compacted long ago.
 */
#ifndef QUORATE_WATCH_CLNT_H
#define QUORATE_WATCH_CLNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "clnt/clnt.h"
#include "proto/link_watch.h"

/* One client's connection; embedded in the owner's. */
struct watch_client {
	struct list subs, owing, asking;   /* owing, asking: of the clnt's lists */
	struct watch_client *hash_next;
	uint64_t id, owed;
	int64_t ask_all;               /* if asking: what each of its watches is asked */
	uint64_t untaken;              /* cost of deliveries handed out and not given back */
	size_t n;
};

/* One watch; embedded in the owner's, zeroed and filled in before watch_clnt_add. */
struct watch_sub {
	/* for the owner to fill in; the bytes last as long as the watch */
	struct bytes key, range_end;
	int64_t next_rev;              /* kept up to date: where the client goes on */
	uint32_t next_sub;
	bool prev_kv, no_put, no_delete, progress_notify;
	/* the clnt's own */
	bool known;                    /* watchd has been told of it on this link */
	bool joined;
	int64_t progress_at;
	uint64_t id;
	struct watch_client *client;
	struct list in_client, queue, ask;   /* queue: to be registered; ask: to be asked how far it has got */
	struct watch_sub *hash_next;
};

struct watch_clnt {
	struct clnt_io io;
	bool up;
	int64_t head_rev;              /* where the joined ones stand */
	uint32_t head_sub;
	uint64_t next_id;
	struct watch_sub **buckets;
	struct watch_client **client_buckets;
	size_t n_buckets, n, n_client_buckets, n_clients;
	struct list queue;             /* subs to be registered */
	struct list owing;             /* clients with credit to give back */
	struct list asks, asking;      /* watches to be asked; clients all of whose watches are */
	struct watch_ref *cancels;
	size_t n_cancels, cap_cancels;
	struct watch_close *closes;
	size_t n_closes, cap_closes;
	uint64_t taken;
	struct watch_create *creates;  /* room for one message */
	struct watch_credit *credits;
	struct watch_ask *ask_rows;
	/* the message that is being handed out */
	const struct watch_events *events;
	const struct watch_news *news;
	size_t at, at_progress, at_canceled;
	struct watch_sub **subs;       /* of one delivery */
	/* for counters */
	uint64_t n_registered, n_events, n_stale;
};

void watch_clnt_init(struct watch_clnt *c, const struct clnt_io *io);
void watch_clnt_free(struct watch_clnt *c);          /* no client is left */

void watch_clnt_up(struct watch_clnt *c);
void watch_clnt_down(struct watch_clnt *c);

void watch_clnt_open(struct watch_clnt *c, struct watch_client *s);
void watch_clnt_close(struct watch_clnt *c, struct watch_client *s);   /* its watches have been removed */

/* From where the sub says. */
void watch_clnt_add(struct watch_clnt *c, struct watch_client *s, struct watch_sub *w);
/* Nothing more comes for it. */
void watch_clnt_remove(struct watch_clnt *c, struct watch_sub *w);
/* A WATCH_GOT_PROGRESS comes once everything up to `revision` has. */
void watch_clnt_ask(struct watch_clnt *c, struct watch_sub *w, int64_t revision);
/* The same for each watch that the client has at the next flush: often asked in between, asked once. */
void watch_clnt_ask_all(struct watch_clnt *c, struct watch_client *s, int64_t revision);
/* The client has taken so much of its `untaken`. */
void watch_clnt_give(struct watch_clnt *c, struct watch_client *s, uint64_t bytes);

/* Sends what is due, once a turn. True: the link is full, try again in a while. */
bool watch_clnt_flush(struct watch_clnt *c);

enum watch_got_kind { WATCH_GOT_EVENTS, WATCH_GOT_PROGRESS, WATCH_GOT_CANCELED };

struct watch_got {
	enum watch_got_kind kind;
	struct watch_client *client;
	struct watch_sub **subs;       /* all of that client */
	size_t n;
	/* EVENTS */
	const struct watch_events *events;
	const struct watch_delivery *delivery;
	/* PROGRESS: all up to it has come; CANCELED: the compact revision, if that is why */
	int64_t revision;
	int error;                     /* CANCELED: the sub has been removed */
};

/*
 * A message: then take all that is in it by watch_clnt_next, before the message goes. An error
 * drops the link.
 */
int watch_clnt_msg(struct watch_clnt *c, const struct msg_in *in);
bool watch_clnt_next(struct watch_clnt *c, struct watch_got *out);

#endif
