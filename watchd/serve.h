/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the core and the messages of the link from gatewayd: requests in, what the core gives
 * out. No I/O: messages go to `send`, so that a test can join it with gatewayd's half.
 */
#ifndef QUORATE_WATCHD_SERVE_H
#define QUORATE_WATCHD_SERVE_H

#include "base/list.h"
#include "clnt/clnt.h"
#include "watchd/core/watch.h"

/* A gatewayd. It is the owner of its link in the core. */
struct serve_peer {
	struct list in_serve;
	struct watch_link *link;
	struct clnt_io io;
	bool failed;                   /* it did not take a message: to be dropped */
	struct watch_pos head;         /* as it was told last */
	uint64_t n_delivered;
};

struct serve;

struct serve *serve_new(struct watch_core *c);
void serve_free(struct serve **s);

void serve_open(struct serve *s, struct serve_peer *p, const struct clnt_io *io);
void serve_close(struct serve *s, struct serve_peer *p);

/* A request. An error drops the link. */
int serve_msg(struct serve *s, struct serve_peer *p, const struct msg_in *in, mono_t now);
/* Sends the deliveries of a slice; before its events go. */
void serve_slice(struct serve *s);
/* Sends what else the core has to tell. */
void serve_effects(struct serve *s);
/* Totals: events per watcher, messages, watchers ended. */
uint64_t serve_delivered(const struct serve *s);
uint64_t serve_messages(const struct serve *s);
uint64_t serve_canceled(const struct serve *s);
/* Tells everybody where the head is, who does not know yet. */
void serve_heads(struct serve *s);

#endif
