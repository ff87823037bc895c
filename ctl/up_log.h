/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon writes to standard error: every line goes to a file, which is turned over when it
 * is large, and the lines that matter go to the terminal too.
 */
#ifndef QUORATE_CTL_UP_LOG_H
#define QUORATE_CTL_UP_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"

enum { UP_LOG_LINE = 4096, UP_LOG_FILE_BYTES = 64 * 1024 * 1024 };

/* Which lines go to the terminal; what is in no known format always does. */
enum up_log_show { UP_LOG_WARNINGS, UP_LOG_ALL, UP_LOG_ERRORS };

struct up_log {
	char path[4096];       /* PATH and, when turned over, PATH.1 */
	int fd;
	uint64_t size;
	struct buf text;       /* the beginning of one that is not complete */
	const char *prefix;    /* on the terminal */
	FILE *terminal;
	enum up_log_show show;
	void (*line)(void *arg, struct bytes line);   /* gets what is shown instead of the terminal, or NULL */
	void *line_arg;
};

int up_log_open(struct up_log *l);        /* path is set, or empty: no file; ERR_OK or ERR_IO */
void up_log_close(struct up_log *l);
void up_log_add(struct up_log *l, struct bytes data);
void up_log_end(struct up_log *l);        /* what is left is a line too */

/* Whether a line in the format of base/log.h is shown. */
bool up_log_shows(enum up_log_show show, struct bytes line);

#endif
