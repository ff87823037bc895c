/* SPDX-License-Identifier: Apache-2.0 */
/* The command line shared by all daemons; see daemon.h. */
#ifndef QUORATE_DAEMON_OPTIONS_H
#define QUORATE_DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum daemon_what { DAEMON_WHAT_RUN, DAEMON_WHAT_HELP, DAEMON_WHAT_VERSION };

struct daemon_options {
	enum daemon_what what;
	const char *config;
	unsigned instance;
	int ready_fd;         /* -1: nobody asked */
	bool debug;
	char **flags;         /* the configuration's; malloc'ed, the strings are argv's */
	int n_flags;
};

/* ERR_OK, or ERR_BAD_ARGUMENT with a sentence in why. */
int daemon_options_read(int argc, char **argv, struct daemon_options *o, char *why, size_t size);
void daemon_options_help(const char *daemon, const char *summary);   /* to standard output */

#endif
