/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The skeleton shared by all daemons, so that every main reads the same and fits a screen:
 *
 *   static const struct daemon_setup raftd = {.kind = DAEMON_RAFTD, .open = raftd_open, ...};
 *   int main(int argc, char **argv) { return daemon_main(argc, argv, &raftd); }
 *
 * Order: block signals; options; configuration; log; run directory; become the configured user
 * (if root; of root's rights only low ports remain) and no new privileges; lock (RUN/<daemon>.lock,
 * a second instance is refused and told who holds it); open() (files, TCP listeners); drop the
 * remaining rights (rights.h); start() (links: nng's threads start here, after the rights are
 * gone); the admin socket; say ready; loop; stop() (bounded); _exit.
 *
 * Common options: -c FILE (default SYSCONFDIR/quorate/quorate.conf), --KEY VALUE for each key of
 * the configuration, -i N (instance, gatewayd), -r FD (readiness: one newline is written to FD when
 * the daemon is ready; sd_notify too if NOTIFY_SOCKET is set), -d (log level debug), -V, -h.
 * All signals but those of crashes are blocked: a child started by exec must unblock its own.
 * Exit: 0 asked to stop, 100 usage, 111 the machine's fault.
 * SIGTERM and SIGINT stop in an orderly way, SIGHUP reads the log level again.
 */
#ifndef QUORATE_DAEMON_H
#define QUORATE_DAEMON_H

#include <stdint.h>

#include "rt/admin.h"
#include "rt/config.h"
#include "rt/loop.h"
#include "rt/peers.h"

struct daemon {
	enum daemon_kind kind;
	unsigned instance;            /* gatewayd: 0 .. gateways - 1; others 0 */
	uint64_t incarnation;         /* random, never 0, new at each start */
	mono_t started;
	struct loop *loop;
	const struct config *config;
	void *state;                  /* the daemon's own */
};

struct daemon_setup {
	enum daemon_kind kind;
	const char *summary;                     /* for -h */
	int (*open)(struct daemon *d);           /* with rights, before any nng call */
	int (*start)(struct daemon *d);          /* without rights: links, threads */
	void (*stop)(struct daemon *d);          /* asked to stop: must call daemon_stopped() in the end */
	const struct admin_command *commands;
	void (*status)(void *arg, struct admin_reply *r);       /* arg is the struct daemon */
	void (*refresh)(void *arg);
	/* The daemon's counters; called after start. */
	const struct counter *(*counters)(struct daemon *d, size_t *n);
	unsigned stop_timeout_ms;                /* then it exits anyway; 0: 5000 */
};

int daemon_main(int argc, char **argv, const struct daemon_setup *setup);
void daemon_stopped(struct daemon *d);
char *daemon_socket(const struct daemon *d, enum daemon_kind listener, enum daemon_kind dialer);  /* mem_alloc'ed path */

#endif
