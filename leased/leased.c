/* SPDX-License-Identifier: Apache-2.0 */
/* leased: when a lease has run out. How it lives is driver.c; what it decides is in core/. */
#include "leased/leased.h"

enum { LEASED_STOP_MS = 1000 };

static const struct counter *leased_counters_of(struct daemon *d, size_t *count)
{
	struct leased *x = d->state;

	*count = COUNTER_COUNT(&x->counters);
	return &x->counters.asks;
}

int main(int argc, char **argv)
{
	static const struct daemon_setup setup = {
		.kind = DAEMON_LEASED,
		.summary = "decides when a lease has run out",
		.open = leased_open,
		.start = leased_start,
		.stop = leased_stop,
		.status = leased_report,
		.refresh = leased_refresh,
		.counters = leased_counters_of,
		.stop_timeout_ms = LEASED_STOP_MS,
	};

	return daemon_main(argc, argv, &setup);
}
