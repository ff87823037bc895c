/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin socket of a daemon: RUN/<daemon>.admin (gatewayd instance i > 0: <daemon>.<i>.admin).
 * A text command a line; the answer is lines of text and ends in an empty line; `json COMMAND`
 * answers with one line of JSON and an empty line. Works with socat, nc -U and `quorate admin`.
 * Specified in docs/admin-sockets.md.
 *
 * Every daemon has: help, status, metrics, loglevel [LEVEL], trace [on|off]. A daemon adds its own
 * commands, and its lines to status, as rows of a table. Answers come from the loop thread, from
 * memory, in bounded time and bytes.
 */
#ifndef QUORATE_ADMIN_H
#define QUORATE_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/counter.h"
#include "rt/loop.h"

/* An answer: a flat list of named values, printed as "name: value" lines or as one JSON object. */
struct admin_reply;
void admin_str(struct admin_reply *r, const char *name, const char *value);
void admin_u64(struct admin_reply *r, const char *name, uint64_t value);
void admin_i64(struct admin_reply *r, const char *name, int64_t value);
void admin_bool(struct admin_reply *r, const char *name, bool value);
void admin_f64(struct admin_reply *r, const char *name, double value);
/* A nested group: in text "group.name: value", in JSON an object. At most 4 deep. */
void admin_begin(struct admin_reply *r, const char *group);
void admin_end(struct admin_reply *r);
/* A text answer as it is (metrics); in JSON it becomes {"text": "..."}. */
struct buf *admin_raw(struct admin_reply *r);
/* The answer is "error: ..." ({"error": "..."}). */
void admin_error(struct admin_reply *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct admin_command {
	const char *name;
	const char *usage;        /* arguments, "" if none */
	const char *help;
	/* args is the rest of the line, NUL-terminated, trimmed; never NULL. */
	void (*run)(void *arg, const char *args, struct admin_reply *r);
};

struct admin_setup {
	struct loop *loop;
	const char *path;
	const char *daemon;                      /* prefix of metrics */
	const struct admin_command *commands;    /* ends with a row whose name is NULL; may be NULL */
	void (*status)(void *arg, struct admin_reply *r);   /* the daemon's own lines of `status` */
	const struct counter *counters;          /* for metrics */
	size_t n_counters;
	void (*refresh)(void *arg);              /* sets gauges before metrics are printed; may be NULL */
	void *arg;
	unsigned idle_ms;                        /* an idle connection is closed; 0: 60 s */
};

struct admin;
/* ERR_OK or what stream_listen says. */
int admin_open(const struct admin_setup *s, struct admin **out);
void admin_close(struct admin **a);

#endif
