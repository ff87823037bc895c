/* SPDX-License-Identifier: Apache-2.0 */
/* The faults of a seed, all decided before the run: so some of them can be left out. */
#include "tests/lib/tap.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_style.h"

const char *sim_fault_name(enum sim_fault_kind kind)
{
	static const char *const names[SIM_FAULT_KINDS] = {
#define F(name, text) #name,
		SIM_FAULT_LIST(F)
#undef F
	};
	return names[kind];
}

const char *sim_plot_name(enum sim_plot plot)
{
	static const char *const names[SIM_PLOTS] = {
#define P(name) #name,
		SIM_PLOT_LIST(P)
#undef P
	};
	return names[plot];
}

const char *sim_moment_text(enum sim_moment moment)
{
	static const char *const texts[SIM_MOMENTS] = {
#define M(name, text) text,
		SIM_MOMENT_LIST(M)
#undef M
	};
	return texts[moment];
}

const char *sim_fault_text(enum sim_fault_kind kind)
{
	static const char *const texts[SIM_FAULT_KINDS] = {
#define F(name, text) text,
		SIM_FAULT_LIST(F)
#undef F
	};
	return texts[kind];
}

uint32_t sim_plan(const struct sim_options *given, struct sim_fault *out)
{
	struct sim_options o = *given;
	struct sim_style style;
	uint64_t r = o.seed * 0xd1342543de82ef95u + 5, chance;
	uint32_t n = 0;

	sim_options_fill(&o);
	sim_style_choose(&style, &r, o.plot);
	/* The times do not depend on how long or how large the run is: a shorter run is its beginning. */
	for (uint32_t at = 300; at < o.ms && n + SIM_VOLLEY <= SIM_FAULTS_MAX;
	     at += 1 + (uint32_t)(tap_rand(&r) % (2 * style.gap_ms))) {
		uint32_t volley = sim_style_volley(&style, &r, out + n);

		for (; volley > 0; volley--, n++) {
			out[n].at_ms = at;
			out[n].a = tap_rand(&r) % o.nodes + 1;
			out[n].b = tap_rand(&r) % o.nodes + 1;
			chance = tap_rand(&r);
			out[n].x = out[n].x ? out[n].x : chance;
		}
	}
	return n;
}
