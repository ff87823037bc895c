/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process between us, the owner of a lock, and the program under it. It kills that program and
 * its process group when we cannot any more: when we are killed, and when the time we have told it
 * is over and we have not told it a later one, as we have been stopped.
 *
 * It is the program's parent, and takes its exit status only when all is over. So the ids of the
 * program and of its group cannot be given to others while it lives, and whoever signals them
 * meets the right ones; and there is no moment in which the program runs without it.
 *
 * It has a process group of its own, and takes no signal but those that cannot be refused: what a
 * terminal or `kill` sends to us or to the program does not reach it. It stays in our session, since
 * the program must be in it to have its terminal.
 */
#ifndef QUORATE_CTL_GUARD_H
#define QUORATE_CTL_GUARD_H

#include <stddef.h>
#include <sys/types.h>

#include "base/mono.h"

/* What its owner sends, a packet each. Behind the first, which starts the program, one more packet: `env`. */
struct guard_order {
	mono_t kill_at;        /* by guard_now() */
	size_t env_size;       /* of strings NAME=VALUE, each with its NUL, for the program's environment; first order only */
	int tty;               /* the descriptor of a terminal that is to be the program's, or -1 */
};

enum guard_what { GUARD_STARTED, GUARD_FAILED, GUARD_STOPPED, GUARD_EXITED, GUARD_SIGNALLED };

/* What it sends. */
struct guard_news {
	enum guard_what what;
	int value;             /* the program's id, an error number, a signal, an exit code, a signal */
	bool late;             /* the guard has killed it, since its time was over */
};

/*
 * To be called while there is one thread. Returns its id and in *link the socket to it; -1 with errno.
 * When the other end of the socket is closed, it kills what still runs (if it may kill) and ends.
 */
pid_t guard_fork(char **argv, bool may_kill, int *link);

/* The clock that sessions go by: it goes on while the machine sleeps. */
mono_t guard_now(void);

#endif
