/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines as etcd writes them to standard error, by --logger and --log-format:
 *
 *   {"level":"info","ts":"2026-01-31T12:34:56.789Z","caller":"quorate-etcd","msg":"ready to serve client requests"}
 *   2026-01-31T12:34:56.789Z	INFO	quorate-etcd	ready to serve client requests	{"key": "value"}
 *
 * What the daemons write (base/log.h) is put into the same form, caller being the daemon.
 */
#ifndef QUORATE_CTL_ETCD_LOG_H
#define QUORATE_CTL_ETCD_LOG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/log.h"

struct etcd_log {
	FILE *out;
	bool json;
	enum log_level level;
};

/* Pairs of a name and a text behind `msg`, ended by NULL. */
void etcd_log(const struct etcd_log *l, enum log_level level, const char *msg, ...) __attribute__((sentinel));
/* A daemon's line. */
void etcd_log_daemon(const struct etcd_log *l, const char *daemon, struct bytes line);

#endif
