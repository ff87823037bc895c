/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_style.h"

#include "tests/lib/tap.h"

/* Out of a thousand, for a seed with a little of everything. */
static const uint16_t weights[SIM_FAULT_KINDS] = {
	[SIM_FAULT_POWER] = 50, [SIM_FAULT_POWER_IN_WRITE] = 60, [SIM_FAULT_BLACKOUT] = 12,
	[SIM_FAULT_KILL_RAFTD] = 40, [SIM_FAULT_KILL_IN_WRITE] = 40, [SIM_FAULT_KILL_STORED] = 40,
	[SIM_FAULT_KILL_IN_TXN] = 40, [SIM_FAULT_KILL_GATEWAY] = 30, [SIM_FAULT_KILL_LEADER] = 50,
	[SIM_FAULT_ISOLATE] = 50, [SIM_FAULT_ISOLATE_LEADER] = 60, [SIM_FAULT_ONE_WAY] = 50,
	[SIM_FAULT_SPLIT] = 40, [SIM_FAULT_LOSSY] = 50, [SIM_FAULT_SLOW_NET] = 50,
	[SIM_FAULT_BREAK_LINK] = 30, [SIM_FAULT_BREAK_LOCAL] = 50, [SIM_FAULT_PAUSE_RAFTD] = 40,
	[SIM_FAULT_PAUSE_STORED] = 30, [SIM_FAULT_PAUSE_GATEWAY] = 20, [SIM_FAULT_PAUSE_LEADER] = 50,
	[SIM_FAULT_CLOCK] = 25, [SIM_FAULT_SYNC_FAILS] = 25, [SIM_FAULT_DISK_FULL] = 20,
	[SIM_FAULT_STORE_FULL] = 15, [SIM_FAULT_SLOW_DISK] = 40, [SIM_FAULT_BIT_ROT] = 15,
	[SIM_FAULT_SNAPSHOT] = 70, [SIM_FAULT_TRANSFER] = 30, [SIM_FAULT_REPLAY] = 30,
	[SIM_FAULT_MUTE] = 20, [SIM_FAULT_DEAF] = 20,
	[SIM_FAULT_KILL_WATCHD] = 40, [SIM_FAULT_PAUSE_WATCHD] = 25,
	[SIM_FAULT_KILL_LEASED] = 30, [SIM_FAULT_PAUSE_LEASED] = 40, [SIM_FAULT_STALL_LESSOR] = 30};

static uint64_t dice(uint64_t *r, uint64_t sides)
{
	return tap_rand(r) % sides;
}

/* ---- plots ---- */

enum { SNAPSHOT_KEEPS_NOTHING = 20, CUT_LOSES_NOTHING = 1, CUT_LOSES_ALL = 1 << 20 };   /* x: sim_fault.c */

static struct sim_fault ambush(enum sim_moment moment, enum sim_fault_kind kind, uint32_t for_ms)
{
	return (struct sim_fault){.moment = moment, .kind = kind, .for_ms = for_ms};
}

/*
 * Figure 8 of the paper: leaders are cut off as soon as they are elected, so that their logs end in
 * different terms; then one is lost when its old entry has just got to a quorum.
 */
static uint32_t plot_figure8(uint64_t *r, struct sim_fault *out)
{
	static const enum sim_fault_kind ends[] = {SIM_FAULT_ISOLATE, SIM_FAULT_ISOLATE, SIM_FAULT_POWER,
						   SIM_FAULT_MUTE, SIM_FAULT_PAUSE_RAFTD};
	enum sim_fault_kind end = ends[dice(r, sizeof ends / sizeof *ends)];
	uint32_t ms = 150 + (uint32_t)dice(r, 500);

	if (dice(r, 3) == 0)
		out[0] = ambush(SIM_MOMENT_OLD_ON_QUORUM, end, ms + 300);
	else if (dice(r, 6) == 0)
		out[0] = ambush(SIM_MOMENT_COMMITS, end, ms);
	else
		out[0] = ambush(SIM_MOMENT_LEADS, end, ms);
	out[0].x = dice(r, 4) ? CUT_LOSES_ALL : CUT_LOSES_NOTHING;
	return 1;
}

/* Who has just promised something loses power, and who it was promised to is cut off with it. */
static uint32_t plot_broken_word(uint64_t *r, struct sim_fault *out)
{
	static const enum sim_fault_kind before[] = {SIM_FAULT_ISOLATE_LEADER, SIM_FAULT_KILL_LEADER,
						     SIM_FAULT_ISOLATE, SIM_FAULT_ISOLATE};
	enum sim_moment m = dice(r, 3) ? SIM_MOMENT_VOTED : SIM_MOMENT_ACKED;

	if (dice(r, 4)) {
		out[0] = ambush(SIM_MOMENT_NONE, before[dice(r, 4)], 150 + (uint32_t)dice(r, 400));
		return 1;
	}
	out[0] = ambush(m, SIM_FAULT_POWER, 1 + (uint32_t)dice(r, 60));
	/* What the other has said to a third node is lost with it; the promise itself is not. */
	out[1] = ambush(m, dice(r, 3) ? SIM_FAULT_MUTE : SIM_FAULT_ISOLATE, 300 + (uint32_t)dice(r, 700));
	out[1].along = out[1].other = true;
	out[1].x = out[1].kind == SIM_FAULT_MUTE ? CUT_LOSES_ALL : CUT_LOSES_NOTHING;
	return 2;
}

/*
 * A leader goes on writing what nobody gets. The others commit something else in its place, take a
 * snapshot before they have got further than it had, and cut their logs: it comes back and gets the
 * snapshot, into a log that is longer and contradicts it. Then it dies before that is on disk.
 */
static uint32_t plot_stray(uint64_t *r, struct sim_fault *out)
{
	switch (dice(r, 8)) {
	case 0:
		out[0] = ambush(SIM_MOMENT_COMMITS, SIM_FAULT_MUTE, 250 + (uint32_t)dice(r, 400));
		return 1;
	case 1:
	case 2:
		out[0] = ambush(SIM_MOMENT_LEADS, SIM_FAULT_DEAF, 20 + (uint32_t)dice(r, 400));
		out[0].other = true;
		return 1;
	case 3:
	case 4:
		out[0] = ambush(SIM_MOMENT_INSTALLED, dice(r, 4) ? SIM_FAULT_POWER : SIM_FAULT_KILL_IN_WRITE,
				5 + (uint32_t)dice(r, 100));
		return 1;
	default:
		out[0] = ambush(SIM_MOMENT_STRAY, SIM_FAULT_SNAPSHOT, 5);
		out[0].x = dice(r, 4) ? SNAPSHOT_KEEPS_NOTHING : 0;
		return 1;
	}
}

/* Somebody who was asked just now stops, and goes on in a world that has changed. */
static uint32_t plot_stale(uint64_t *r, struct sim_fault *out)
{
	static const enum sim_moment moments[] = {SIM_MOMENT_ROUND, SIM_MOMENT_ROUND, SIM_MOMENT_ANSWERED,
						  SIM_MOMENT_COMMITS};
	static const enum sim_fault_kind kinds[] = {SIM_FAULT_PAUSE_RAFTD, SIM_FAULT_PAUSE_STORED, SIM_FAULT_DEAF,
						    SIM_FAULT_MUTE, SIM_FAULT_SLOW_NET};

	if (dice(r, 2) == 0)
		out[0] = ambush(SIM_MOMENT_ROUND, SIM_FAULT_PAUSE_RAFTD, 350 + (uint32_t)dice(r, 400));
	else
		out[0] = ambush(moments[dice(r, 4)], kinds[dice(r, 5)], 20 + (uint32_t)dice(r, 600));
	return 1;
}

static uint32_t plot_rot(uint64_t *r, struct sim_fault *out)
{
	static const enum sim_fault_kind kinds[] = {SIM_FAULT_KILL_RAFTD, SIM_FAULT_KILL_LEADER, SIM_FAULT_BIT_ROT};

	out[0] = ambush(SIM_MOMENT_NONE, kinds[dice(r, 3)], 5 + (uint32_t)dice(r, 300));
	return 1;
}

/* ---- no plot ---- */

static enum sim_fault_kind drawn(uint64_t *r, const uint64_t favour[SIM_FAULT_KINDS])
{
	uint64_t sum = 0, at;

	for (int i = 0; i < SIM_FAULT_KINDS; i++)
		sum += favour[i];
	at = dice(r, sum);
	for (int i = 0; i < SIM_FAULT_KINDS; i++) {
		if (at < favour[i])
			return (enum sim_fault_kind)i;
		at -= favour[i];
	}
	return SIM_FAULT_SNAPSHOT;
}

uint32_t sim_style_volley(const struct sim_style *st, uint64_t *r, struct sim_fault *out)
{
	switch (st->plot) {
	case SIM_PLOT_figure8:
		return plot_figure8(r, out);
	case SIM_PLOT_broken_word:
		return plot_broken_word(r, out);
	case SIM_PLOT_stray:
		return plot_stray(r, out);
	case SIM_PLOT_stale:
		return plot_stale(r, out);
	case SIM_PLOT_rot:
		return plot_rot(r, out);
	default:
		break;
	}
	out[0] = ambush(SIM_MOMENT_NONE, drawn(r, st->favour), 5 + (uint32_t)dice(r, dice(r, 3) ? 300 : 1200));
	if (dice(r, 1000) < st->wait_permille) {
		out[0].moment = st->moment[dice(r, 2)];
		out[0].other = dice(r, 3) == 0;
	}
	return 1;
}

/* A little of everything, some kinds more than others. */
static void style_storm(struct sim_style *st, uint64_t *r)
{
	for (int i = 0; i < SIM_FAULT_KINDS; i++) {
		uint64_t likes = dice(r, 10);

		st->favour[i] = likes < 3 ? 0 : likes < 8 ? weights[i] : weights[i] * 4ull;
	}
	st->favour[SIM_FAULT_SNAPSHOT] += 10;
}

/* A few kinds, and half of them at moments. */
static void style_swarm(struct sim_style *st, uint64_t *r)
{
	for (uint64_t kinds = 2 + dice(r, 5); kinds > 0; kinds--)
		st->favour[dice(r, SIM_FAULT_KINDS)] += 1;
	st->wait_permille = 500;
	st->moment[0] = (enum sim_moment)(1 + dice(r, SIM_MOMENTS - 1));
	st->moment[1] = (enum sim_moment)(1 + dice(r, SIM_MOMENTS - 1));
}

/* Leaders fall one after the other. */
static void style_hunt(struct sim_style *st)
{
	st->favour[SIM_FAULT_KILL_LEADER] = 40;
	st->favour[SIM_FAULT_ISOLATE_LEADER] = 80;
	st->favour[SIM_FAULT_SPLIT] = 20;
	st->favour[SIM_FAULT_SLOW_NET] = 10;
	st->favour[SIM_FAULT_TRANSFER] = 10;
	st->favour[SIM_FAULT_PAUSE_LEADER] = 20;
	st->gap_ms = 150;
}

void sim_style_choose(struct sim_style *st, uint64_t *r, int plot)
{
	static const uint32_t gaps[] = {30, 60, 100, 200, 400};
	static const uint8_t shares[SIM_PLOTS] = {
		[SIM_PLOT_storm] = 30, [SIM_PLOT_swarm] = 15, [SIM_PLOT_hunt] = 5, [SIM_PLOT_figure8] = 10,
		[SIM_PLOT_broken_word] = 12, [SIM_PLOT_stray] = 12, [SIM_PLOT_stale] = 8, [SIM_PLOT_rot] = 8};
	uint64_t choice = dice(r, 100);

	*st = (struct sim_style){.plot = SIM_PLOT_storm, .gap_ms = gaps[dice(r, sizeof gaps / sizeof *gaps)]};
	for (; choice >= shares[st->plot]; st->plot++)
		choice -= shares[st->plot];
	if (plot >= 0)
		st->plot = (enum sim_plot)plot;
	switch (st->plot) {
	case SIM_PLOT_storm:
		style_storm(st, r);
		break;
	case SIM_PLOT_swarm:
		style_swarm(st, r);
		break;
	case SIM_PLOT_hunt:
		style_hunt(st);
		break;
	case SIM_PLOT_stale:
		st->gap_ms = 100 + (uint32_t)dice(r, 300);
		break;
	default:
		st->gap_ms = 20 + (uint32_t)dice(r, 100);
		break;
	}
}
