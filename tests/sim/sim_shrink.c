/* SPDX-License-Identifier: Apache-2.0 */
/* A failing run made smaller: fewer faults, fewer nodes, less time, as long as it fails alike. */
#include <string.h>

#include "tests/sim/sim.h"

struct shrink {
	char kind[40];                   /* how it has to fail: the words before the colon */
	uint32_t tries;
	struct sim_options best;
};

static void kind_of(const char *what, char *out, size_t cap)
{
	const char *words = strstr(what, "us: ");
	size_t n;

	words = words ? words + 4 : what;
	n = strcspn(words, ":0123456789");
	(void)snprintf(out, cap, "%.*s", (int)(n < cap ? n : cap - 1), words);
}

static bool fails_alike(struct shrink *h, const struct sim_options *o)
{
	struct sim_result r;
	char kind[40];

	if (h->tries == 0)
		return false;
	h->tries--;
	sim_run(o, &r);
	if (!r.failed)
		return false;
	kind_of(r.what, kind, sizeof kind);
	return strcmp(kind, h->kind) == 0;
}

static bool attempt(struct shrink *h, const struct sim_options *o)
{
	if (!fails_alike(h, o))
		return false;
	h->best = *o;
	return true;
}

static void shrink_nodes(struct shrink *h)
{
	for (uint32_t nodes = 3; nodes < h->best.nodes; nodes++) {
		struct sim_options o = h->best;

		o.nodes = nodes;
		o.masked = false;        /* another size, another plan */
		if (attempt(h, &o))
			return;
	}
}

static void shrink_time(struct shrink *h)
{
	for (uint32_t step = h->best.ms / 2; step >= 50; step /= 2)
		while (h->best.ms > step + 300) {
			struct sim_options o = h->best;

			o.ms -= step;
			if (!attempt(h, &o))
				break;
		}
}

/* First large pieces of the plan, then smaller ones. */
static void shrink_faults(struct shrink *h)
{
	struct sim_fault plan[SIM_FAULTS_MAX];
	uint32_t n = sim_plan(&h->best, plan);

	if (!h->best.masked) {
		h->best.masked = true;
		memset(h->best.keep, 0, sizeof h->best.keep);
		memset(h->best.keep, 1, n);
	}
	for (uint32_t i = n; i < SIM_FAULTS_MAX; i++)
		h->best.keep[i] = 0;
	for (uint32_t piece = (n + 1) / 2; piece >= 1; piece = piece > 1 ? (piece + 1) / 2 : 0)
		for (uint32_t at = 0; at < n; at += piece) {
			struct sim_options o = h->best;
			bool any = false;

			for (uint32_t i = at; i < at + piece && i < n; i++) {
				any |= o.keep[i];
				o.keep[i] = 0;
			}
			if (any)
				(void)attempt(h, &o);
		}
}

void sim_shrink(const struct sim_options *failing, const char *what, uint32_t tries, struct sim_options *out)
{
	struct shrink h = {.tries = tries, .best = *failing};

	sim_options_fill(&h.best);
	kind_of(what, h.kind, sizeof h.kind);
	shrink_nodes(&h);
	shrink_time(&h);
	shrink_faults(&h);
	shrink_time(&h);
	shrink_faults(&h);
	*out = h.best;
}
