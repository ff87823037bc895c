/* SPDX-License-Identifier: Apache-2.0 */
/* The faults of a seed, all decided before the run: so some of them can be left out. */
#include "tests/lib/tap.h"
#include "tests/sim/sim.h"

/* Out of a thousand. A seed likes some kinds more than others: see sim_plan. */
static const uint16_t weights[SIM_FAULT_KINDS] = {
	[SIM_FAULT_POWER] = 50, [SIM_FAULT_POWER_IN_WRITE] = 60, [SIM_FAULT_BLACKOUT] = 12,
	[SIM_FAULT_KILL_RAFTD] = 40, [SIM_FAULT_KILL_IN_WRITE] = 40, [SIM_FAULT_KILL_STORED] = 40,
	[SIM_FAULT_KILL_IN_TXN] = 40, [SIM_FAULT_KILL_GATEWAY] = 30, [SIM_FAULT_KILL_LEADER] = 50,
	[SIM_FAULT_ISOLATE] = 50, [SIM_FAULT_ISOLATE_LEADER] = 60, [SIM_FAULT_ONE_WAY] = 50,
	[SIM_FAULT_SPLIT] = 40, [SIM_FAULT_LOSSY] = 50, [SIM_FAULT_SLOW_NET] = 50,
	[SIM_FAULT_BREAK_LINK] = 30, [SIM_FAULT_BREAK_LOCAL] = 50, [SIM_FAULT_PAUSE_RAFTD] = 40,
	[SIM_FAULT_PAUSE_STORED] = 30, [SIM_FAULT_PAUSE_GATEWAY] = 20, [SIM_FAULT_PAUSE_LEADER] = 50,
	[SIM_FAULT_CLOCK] = 25, [SIM_FAULT_SYNC_FAILS] = 25, [SIM_FAULT_DISK_FULL] = 20,
	[SIM_FAULT_STORE_FULL] = 15, [SIM_FAULT_SLOW_DISK] = 40, [SIM_FAULT_BIT_ROT] = 10,
	[SIM_FAULT_SNAPSHOT] = 70, [SIM_FAULT_TRANSFER] = 30, [SIM_FAULT_REPLAY] = 30,
	[SIM_FAULT_KILL_WATCHD] = 40, [SIM_FAULT_PAUSE_WATCHD] = 25,
	[SIM_FAULT_KILL_LEASED] = 30, [SIM_FAULT_PAUSE_LEASED] = 40, [SIM_FAULT_STALL_LESSOR] = 30};

const char *sim_fault_name(enum sim_fault_kind kind)
{
	static const char *const names[SIM_FAULT_KINDS] = {
#define F(name, text) #name,
		SIM_FAULT_LIST(F)
#undef F
	};
	return names[kind];
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

static enum sim_fault_kind choose(uint64_t *r, const uint64_t favour[SIM_FAULT_KINDS])
{
	uint64_t sum = 0, at;

	for (int i = 0; i < SIM_FAULT_KINDS; i++)
		sum += favour[i];
	at = tap_rand(r) % sum;
	for (int i = 0; i < SIM_FAULT_KINDS; i++) {
		if (at < favour[i])
			return (enum sim_fault_kind)i;
		at -= favour[i];
	}
	return SIM_FAULT_SNAPSHOT;
}

/* Leaders fall one after the other, before they have brought their entries to a quorum (figure 8). */
static void hunt_leaders(uint64_t favour[SIM_FAULT_KINDS])
{
	for (int i = 0; i < SIM_FAULT_KINDS; i++)
		favour[i] = 0;
	favour[SIM_FAULT_KILL_LEADER] = 40;
	favour[SIM_FAULT_ISOLATE_LEADER] = 80;
	favour[SIM_FAULT_SPLIT] = 20;
	favour[SIM_FAULT_SLOW_NET] = 10;
	favour[SIM_FAULT_TRANSFER] = 10;
	favour[SIM_FAULT_PAUSE_LEADER] = 20;
}

uint32_t sim_plan(const struct sim_options *given, struct sim_fault *out)
{
	static const uint32_t gaps[] = {30, 60, 100, 200, 400};
	struct sim_options o = *given;
	uint64_t r = o.seed * 0xd1342543de82ef95u + 5, favour[SIM_FAULT_KINDS];
	uint32_t n = 0, gap, at;

	sim_options_fill(&o);
	for (int i = 0; i < SIM_FAULT_KINDS; i++) {
		uint64_t dice = tap_rand(&r) % 10;

		favour[i] = dice < 3 ? 0 : dice < 8 ? weights[i] : weights[i] * 4ull;
	}
	favour[SIM_FAULT_SNAPSHOT] += 10;
	gap = gaps[tap_rand(&r) % (sizeof gaps / sizeof *gaps)];
	if (tap_rand(&r) % 5 == 0) {
		hunt_leaders(favour);
		gap = 150;
	}
	/* The times do not depend on how long or how large the run is: a shorter run is its beginning. */
	for (at = 300; n < SIM_FAULTS_MAX; at += 1 + (uint32_t)(tap_rand(&r) % (2 * gap))) {
		struct sim_fault f = {.at_ms = at};

		f.kind = choose(&r, favour);
		f.for_ms = 5 + (uint32_t)(tap_rand(&r) % (tap_rand(&r) % 3 ? 300 : 1200));
		f.a = tap_rand(&r) % o.nodes + 1;
		f.b = tap_rand(&r) % o.nodes + 1;
		f.x = tap_rand(&r);
		if (at >= o.ms)
			break;
		out[n++] = f;
	}
	return n;
}
