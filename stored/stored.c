/* SPDX-License-Identifier: Apache-2.0 */
/* stored: the effect of each command. How it lives is driver.c; what it decides is in core/. */
#include "stored/stored.h"

/* A clean stop syncs the whole store, which may take a slow disk a while. */
enum { STORED_STOP_MS = 12000 };

static const struct counter *stored_counters_of(struct daemon *d, size_t *count)
{
	struct stored *s = d->state;

	*count = COUNTER_COUNT(&s->counters);
	return &s->counters.entries_applied;
}

int main(int argc, char **argv)
{
	static const struct daemon_setup setup = {
		.kind = DAEMON_STORED,
		.summary = "applies committed commands to the store",
		.open = stored_open,
		.start = stored_start,
		.stop = stored_stop,
		.commands = stored_commands,
		.status = stored_report,
		.refresh = stored_refresh,
		.counters = stored_counters_of,
		.stop_timeout_ms = STORED_STOP_MS,
	};

	int code;

	if (snap_child_main(argc, argv, &code))
		return code;
	return daemon_main(argc, argv, &setup);
}
