/* SPDX-License-Identifier: Apache-2.0 */
/* What a seed chooses when nothing else says it, and how to say it again. */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/tap.h"
#include "tests/sim/sim.h"

void sim_options_fill(struct sim_options *o)
{
	uint64_t r = o->seed * 0x9e3779b97f4a7c15u + 77;
	uint64_t nodes = tap_rand(&r) % 10, ms = 1000 + tap_rand(&r) % 3000, lmdb = tap_rand(&r) % 20;

	if (o->nodes == 0)
		o->nodes = nodes < 6 ? 3 : nodes < 7 ? 4 : nodes < 9 ? 5 : 7;
	if (o->ms == 0)
		o->ms = (uint32_t)ms;
	if (o->lmdb < 0)
		o->lmdb = lmdb == 0;
	if (o->tmp == NULL) {
		o->tmp = getenv("TMPDIR");
		if (o->tmp == NULL)
			o->tmp = "/tmp";
	}
}

static void add(char *out, size_t cap, const char *word)
{
	size_t n = strlen(out);

	(void)snprintf(out + n, cap - n, "%s", word);
}

void sim_command(const struct sim_options *o, char *out, size_t cap)
{
	char word[80];
	bool any = false;

	(void)snprintf(out, cap, "quorate-sim --seed %llu", (unsigned long long)o->seed);
	if (o->nodes) {
		(void)snprintf(word, sizeof word, " --nodes %u --ms %u%s", o->nodes, o->ms,
			       o->lmdb > 0 ? " --lmdb" : o->lmdb == 0 ? " --mem" : "");
		add(out, cap, word);
	}
	if (o->plot >= 0) {
		(void)snprintf(word, sizeof word, " --plot %s", sim_plot_name((enum sim_plot)o->plot));
		add(out, cap, word);
	}
	if (o->outcomes_only)
		add(out, cap, " --outcomes-only");
	if (!o->masked)
		return;
	add(out, cap, " --faults ");
	for (uint32_t i = 0; i < SIM_FAULTS_MAX; i++) {
		if (!o->keep[i])
			continue;
		(void)snprintf(word, sizeof word, any ? ",%u" : "%u", i);
		add(out, cap, word);
		any = true;
	}
	if (!any)
		add(out, cap, "none");
}
