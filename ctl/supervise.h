/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemons in the foreground: started, started again when they die, stopped in order at a signal. What
 * `quorate up` and quorate-etcd share.
 *
 *   starting --all are ready, and is_up()--> running --signal--> stopping --> over
 *       +--------------- signal, or a daemon that cannot start ------^
 */
#ifndef QUORATE_CTL_SUPERVISE_H
#define QUORATE_CTL_SUPERVISE_H

#include "ctl/up_child.h"

struct supervisor {
	struct up_child *children;
	size_t n_children;
	void (*say)(void *arg, const char *text);   /* for people: one line */
	bool (*is_up)(void *arg);     /* asked now and then while all daemons are ready; takes 250 ms at most */
	void (*up)(void *arg);        /* it is, once */
	void *arg;
	bool hangup;                  /* SIGHUP is the daemons', not a wish to stop */

	/* inside */
	enum supervisor_state { SUPERVISE_STARTING, SUPERVISE_RUNNING, SUPERVISE_STOPPING, SUPERVISE_OVER } state;
	int code;
	int signals;
	int signo;                    /* that ended it, or 0 */
	uint64_t random;
	mono_t look_at, note_at;
	unsigned stage;               /* of stopping: which kind is being stopped */
	mono_t stage_until;
	bool stage_killed;
};

/* Until everything has stopped. An exit code of enum ctl_exit; s->signo says what the wish to stop was. */
int supervise(struct supervisor *s);

#endif
