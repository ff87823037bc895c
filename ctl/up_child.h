/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One daemon under `quorate up`: started, heard, waited for, started again.
 *
 *   resting --start--> running --ready line--> ready
 *      ^                  |                      |
 *      +------ died ------+---------- died ------+
 */
#ifndef QUORATE_CTL_UP_CHILD_H
#define QUORATE_CTL_UP_CHILD_H

#include <sys/types.h>

#include "base/mono.h"
#include "ctl/up_log.h"
#include "rt/peers.h"

enum { UP_REST_MIN_MS = 50, UP_REST_MAX_MS = 5000, UP_LIVED_MS = 10000 };

struct up_child {
	size_t node;
	enum daemon_kind kind;
	unsigned instance;
	char name[32];            /* raftd, gatewayd.1 */
	char label[48];           /* for people: node0 raftd */
	char prefix[64];          /* "node0 raftd  | " */
	const char *program, *config;
	const char *more[2];      /* a flag and its value that win over the configuration, or NULL */
	pid_t *group;             /* the process group they share, 0 if there is none yet; NULL: one of its own */

	pid_t pid;                /* 0: resting */
	int err_fd, ready_fd;     /* reading ends of pipes, or -1 */
	bool ready;
	mono_t started;
	mono_t again_at;          /* when resting: to be started then */
	unsigned failures;        /* deaths in a row without having lived for UP_LIVED_MS */
	struct up_log log;
};

/* ERR_OK, or ERR_IO with errno: it could not be started at all. */
int up_child_start(struct up_child *c);
/* The descriptors have something. */
void up_child_hear(struct up_child *c);
void up_child_hear_ready(struct up_child *c);
/* It is dead and reaped: reads the rest of its words, and sets when to start it again: at once the first time. */
void up_child_died(struct up_child *c, uint64_t *random);

/* "exit code 111", "signal 9 (Killed)" */
void up_child_cause(char *to, size_t size, int status);

#endif
