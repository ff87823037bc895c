/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: leases that the I/O thread keeps alive. When one is relied on is decided by the clock of
 * this process and nothing else: a lease is good for its TTL from the moment that the last
 * keepalive that was answered was sent (docs/native-protocol.md, lease_grant). That clock goes on
 * while the system is suspended, as the cluster's does; all others here stand still then.
 */
#ifndef QUORATE_LIB_SESSION_H
#define QUORATE_LIB_SESSION_H

#include "client/lib/core.h"

enum session_work { SESSION_OPEN = 1 << 0, SESSION_CLOSE = 1 << 1 };

struct quorate_session {
	struct core *core;
	struct quorate *view;
	int64_t lease;
	bool granted;                  /* for this session: its id is nobody else's, ever */
	/* under the core's lock: */
	struct list work_node;
	unsigned work;                 /* enum session_work: for the I/O thread */
	struct list ties;              /* watches that end with it, by session_node */
	mono_t good_until;             /* on session_clock() */
	bool lost;
	struct quorate_error why;
	pthread_cond_t gone;
	struct quorate_queue *queue;
	struct queue_item item;
	void (*tell)(void *arg, struct quorate_session *s, const struct quorate_error *why);
	void *arg;
	/* the I/O thread's: */
	struct list io_node;
	int64_t ttl_ms;
	mono_t next;                   /* when the next keepalive is due */
	int64_t ahead_ns;              /* session_clock() before mono_now(), when it was begun */
	struct call *keepalive;        /* under way; NULL: none */
};

mono_t session_clock(void);
extern const char session_silent_text[];
/* With the lock held: false: it is lost already. */
bool session_tie(struct quorate_session *s, struct list *watch_node);
/* Any thread, no lock held. */
void session_lose(struct quorate_session *s, int code, const char *text);
void session_free(struct quorate_session *s);

/* ---- session_io.c: in the I/O thread ---- */

struct io;

void session_io_take(struct io *io, struct list *work);   /* of core->session_work, no lock held */
void session_io_canceled(struct io *io);                  /* those of views that are cancelled end */
void session_io_timers(struct io *io);

#endif
