/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `lock` and `elect` share: libquorate, a session, signals, and waits of the library that run
 * in a thread of their own, so that this one can wait for signals and programs too.
 */
#ifndef QUORATE_CTL_HOLD_H
#define QUORATE_CTL_HOLD_H

#include <pthread.h>
#include <signal.h>

#include "client/quorate.h"
#include "ctl/ctl.h"

struct hold {
	struct ctl *ctl;
	struct quorate *q;             /* what was begun is cleaned up through this */
	struct quorate *view;          /* what is waited for goes through this, and is cancelled with it */
	struct quorate_session *session;
	sigset_t old;                  /* the signals that were blocked before */
	int signals;                   /* a descriptor that they come from */
	int also;                      /* hold_wait() ends when this descriptor is readable; -1: none */
};

/* ttl 0: no session. CTL_OK, or the exit code with the error printed and nothing left behind. */
int hold_open(struct hold *h, struct ctl *ctl, int64_t ttl);
/* Revokes the lease. */
void hold_close(struct hold *h);

/* A wait under way. */
struct hold_task {
	int (*run)(void *arg, struct quorate_error *e);
	void *arg;
	int rc;
	struct quorate_error e;
	pthread_t thread;
	int done;                      /* readable when it has ended */
};

int hold_task_start(struct hold *h, struct hold_task *t);   /* an exit code */
/* Cancels it if it has not ended: then h->view is of no more use. Returns its rc. */
int hold_task_end(struct hold *h, struct hold_task *t, bool cancel);

struct hold_news {
	bool done;                     /* the task has ended */
	int sig;                       /* a signal, or 0 */
};

/* Waits for a signal or the end of the task, which may be NULL; -1: for ever. */
struct hold_news hold_wait(const struct hold *h, const struct hold_task *t, int timeout_ms);
/* It asks us to end. */
bool hold_is_end(int sig);

int hold_fail(struct hold *h, const struct quorate_error *e);
/* Reads the key (flags: QUORATE_KEYS_ONLY) and prints it as `get` does: CTL_OK, or an exit code with the error printed. */
int hold_print_key(struct hold *h, struct quorate_bytes key, unsigned flags);
int hold_print(struct hold *h, const struct quorate_header *header, const struct quorate_kv *kv);

#endif
