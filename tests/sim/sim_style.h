/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seed is after. One that has a little of everything rarely gets far in any one story, so
 * most seeds leave out most kinds of faults (swarm testing: Groce et al., ISSTA 2012), and some
 * follow a plot, in which each fault makes the next one worse.
 */
#ifndef QUORATE_SIM_STYLE_H
#define QUORATE_SIM_STYLE_H

#include "tests/sim/sim.h"

struct sim_style {
	uint32_t gap_ms;                 /* up to twice that from one volley to the next */
	uint64_t favour[SIM_FAULT_KINDS];
	enum sim_plot plot;
	uint32_t wait_permille;          /* of drawn faults: lie in wait for a moment */
	enum sim_moment moment[2];       /* for one of these */
};

enum { SIM_VOLLEY = 4 };

/* plot -1: by chance */
void sim_style_choose(struct sim_style *st, uint64_t *r, int plot);
/* Faults that go together, at most SIM_VOLLEY; their times and nodes are still to be filled. */
uint32_t sim_style_volley(const struct sim_style *st, uint64_t *r, struct sim_fault *out);

#endif
