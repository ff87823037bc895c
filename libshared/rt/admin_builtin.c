/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that every daemon has. */
#include "rt/admin_conn.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "rt/link.h"

#define ADMIN_COUNTERS(C) \
	C(GAUGE, uptime_ms, "since the daemon started") \
	C(GAUGE, loop_turn_us_max, "longest turn of the event loop so far") \
	C(GAUGE, links_up, "links to other daemons of this node that are up") \
	C(COUNTER, link_connects, "links that came up") \
	C(COUNTER, link_drops, "links that were up and went down") \
	C(COUNTER, link_bad_frames, "frames or hellos that were refused") \
	C(COUNTER, link_frames_in, "messages taken from links") \
	C(COUNTER, link_frames_out, "messages given to links") \
	C(COUNTER, link_bytes_in, "bytes taken from links") \
	C(COUNTER, link_bytes_out, "bytes given to links") \
	C(COUNTER, log_lines_dropped, "log lines lost because standard error was full")
COUNTER_SET(admin_counters, ADMIN_COUNTERS);

static void admin_count(const struct admin *a, struct admin_counters *c)
{
	struct link_stats s = link_stats_total();

	admin_counters_init(c);
	counter_set(&c->uptime_ms, mono_sub_ms(loop_now(a->s.loop), a->started));
	counter_set(&c->loop_turn_us_max, loop_turn_us_max(a->s.loop));
	counter_set(&c->links_up, (int64_t)s.up);
	counter_set(&c->link_connects, (int64_t)s.connects);
	counter_set(&c->link_drops, (int64_t)s.drops);
	counter_set(&c->link_bad_frames, (int64_t)s.bad_frames);
	counter_set(&c->link_frames_in, (int64_t)s.frames_in);
	counter_set(&c->link_frames_out, (int64_t)s.frames_out);
	counter_set(&c->link_bytes_in, (int64_t)s.bytes_in);
	counter_set(&c->link_bytes_out, (int64_t)s.bytes_out);
	counter_set(&c->log_lines_dropped, (int64_t)log_dropped());
}

static void admin_run_status(void *arg, const char *args, struct admin_reply *r)
{
	const struct admin *a = arg;
	struct admin_counters c;

	(void)args;
	admin_count(a, &c);
	admin_str(r, "version", QUORATE_VERSION);
	admin_str(r, "daemon", a->s.daemon);
	admin_u64(r, "pid", (uint64_t)getpid());
	for (size_t i = 0; i < COUNTER_COUNT(&c); i++)
		admin_i64(r, (&c.uptime_ms)[i].name, (&c.uptime_ms)[i].value);
	admin_str(r, "log_level", log_level_name(log_get_level()));
	admin_bool(r, "trace", log_tracing());
	if (a->s.status != NULL)
		a->s.status(a->s.arg, r);
}

static void admin_run_metrics(void *arg, const char *args, struct admin_reply *r)
{
	const struct admin *a = arg;
	struct admin_counters c;

	(void)args;
	if (a->s.refresh != NULL)
		a->s.refresh(a->s.arg);
	admin_count(a, &c);
	counter_print(admin_raw(r), a->s.daemon, &c.uptime_ms, COUNTER_COUNT(&c));
	counter_print(admin_raw(r), a->s.daemon, a->s.counters, a->s.n_counters);
}

static void admin_run_loglevel(void *arg, const char *args, struct admin_reply *r)
{
	enum log_level level;

	(void)arg;
	if (args[0] != 0) {
		if (log_level_parse(args, &level) != ERR_OK) {
			admin_error(r, "no such level: %s (error, warn, info or debug)", args);
			return;
		}
		log_set_level(level);
	}
	admin_str(r, "log_level", log_level_name(log_get_level()));
}

static void admin_run_trace(void *arg, const char *args, struct admin_reply *r)
{
	(void)arg;
	if (strcmp(args, "on") == 0 || strcmp(args, "off") == 0) {
		log_set_trace(args[1] == 'n');
	} else if (args[0] != 0) {
		admin_error(r, "on or off, not %s", args);
		return;
	}
	admin_bool(r, "trace", log_tracing());
}

static void admin_help_rows(const struct admin_command *c, struct admin_reply *r)
{
	char name[128];

	for (; c != NULL && c->name != NULL; c++) {
		(void)snprintf(name, sizeof name, "%s%s%s", c->name, c->usage[0] ? " " : "", c->usage);
		admin_str(r, name, c->help);
	}
}

static void admin_run_help(void *arg, const char *args, struct admin_reply *r)
{
	const struct admin *a = arg;

	(void)args;
	admin_help_rows(admin_builtin, r);
	admin_help_rows(a->s.commands, r);
}

const struct admin_command admin_builtin[] = {
	{"help", "", "this list; `json COMMAND` answers in JSON", admin_run_help},
	{"status", "", "what this daemon is and how it is", admin_run_status},
	{"metrics", "", "counters and gauges in Prometheus' text format", admin_run_metrics},
	{"loglevel", "[LEVEL]", "shows or sets the log level: error, warn, info, debug", admin_run_loglevel},
	{"trace", "[on|off]", "shows or sets whether every message is logged", admin_run_trace},
	{NULL, NULL, NULL, NULL},
};
