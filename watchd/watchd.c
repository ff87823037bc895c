/* SPDX-License-Identifier: Apache-2.0 */
/* watchd: which watcher gets which event. How it lives is driver.c; what it decides is in core/. */
#include "watchd/watchd.h"

static const struct counter *watchd_counters_of(struct daemon *d, size_t *count)
{
	struct watchd *w = d->state;

	*count = COUNTER_COUNT(&w->counters);
	return &w->counters.slices_total;
}

int main(int argc, char **argv)
{
	static const struct daemon_setup setup = {
		.kind = DAEMON_WATCHD,
		.summary = "hands events to the watches of clients",
		.open = watchd_open,
		.start = watchd_start,
		.stop = watchd_stop,
		.commands = watchd_commands,
		.status = watchd_report,
		.refresh = watchd_refresh,
		.counters = watchd_counters_of,
	};

	return daemon_main(argc, argv, &setup);
}
