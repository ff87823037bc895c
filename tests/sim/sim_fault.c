/* SPDX-License-Identifier: Apache-2.0 */
/* What each fault does when its time comes, and how it ends. */
#include <errno.h>

#include "base/err.h"
#include "raftd/wal_format.h"
#include "tests/sim/sim_int.h"

enum { WAIT_ALIKE = 3 };

struct sim_node *sim_leader(struct sim *s)
{
	struct sim_node *best = NULL;

	for (uint64_t id = 1; id <= s->o.nodes; id++) {
		struct sim_node *n = &s->nodes[id];

		if (n->raftd.r != NULL && n->raftd.role == RAFT_LEADER &&
		    (best == NULL || n->raftd.term > best->raftd.term))
			best = n;
	}
	return best;
}

/* The fault's end switches it on again. */
static void power(struct sim_node *n, uint64_t write_ops)
{
	if (!n->power_out)
		sim_power_off(n, write_ops);
}

static void kill_one(struct sim_node *n, enum sim_daemon d, uint32_t back_ms)
{
	if (sim_is_up(n, d))
		sim_kill(n, d);
	sim_start_later(n, d, back_ms);
}

static void pause(struct sim_node *n, enum sim_daemon d, uint32_t ms)
{
	mono_t until = mono_add_ms(n->s->now, ms);

	if (sim_is_up(n, d) && mono_before(n->paused[d], until))
		n->paused[d] = until;
}

/* One for each cut that holds: faults overlap. */
static void cut_node(struct sim *s, uint64_t id, int from, int to)
{
	for (uint64_t other = 1; other <= s->o.nodes; other++) {
		if (other == id)
			continue;
		s->cut[id][other] = (uint32_t)((int)s->cut[id][other] + from);
		s->cut[other][id] = (uint32_t)((int)s->cut[other][id] + to);
	}
}

static void cut_sides(struct sim *s, uint64_t sides, int by)
{
	for (uint64_t a = 1; a <= s->o.nodes; a++)
		for (uint64_t b = 1; b <= s->o.nodes; b++)
			if ((sides >> a & 1) != (sides >> b & 1))
				s->cut[a][b] = (uint32_t)((int)s->cut[a][b] + by);
}

/* How much of a page is neither padding nor was never written, and where its nth such byte is. */
static size_t written(const uint8_t *page, size_t nth, size_t *at)
{
	size_t count = 0;

	for (size_t i = 0; i < WAL_PAGE; i++)
		if (page[i] != 0 && page[i] != WAL_PAD && count++ == nth)
			*at = i;
	return count;
}

/* The nth page of all files that has been written; NULL: there are only `count`. */
static uint8_t *written_page(struct wal_disk *d, size_t nth, size_t *count, char name[64], size_t *at)
{
	*count = 0;
	for (size_t file = 0; file < wal_disk_files(d) && wal_disk_name(d, file, name, 64); file++) {
		size_t size = 0, byte;
		uint8_t *bytes = wal_disk_bytes(d, name, &size);

		for (*at = 0; bytes != NULL && *at + WAL_PAGE <= size; *at += WAL_PAGE)
			if (written(bytes + *at, 0, &byte) > 0 && (*count)++ == nth)
				return bytes + *at;
	}
	return NULL;
}

/* A minority may lose its disks: a node whose log is damaged never comes back. */
static void rot(struct sim_node *n, uint64_t x)
{
	struct sim *s = n->s;
	uint32_t lost = 1;
	size_t count, at, byte = 0;
	char name[64];
	uint8_t *page;

	for (uint64_t id = 1; id <= s->o.nodes; id++)
		lost += s->nodes[id].rotten;
	if (n->rotten || lost > (s->o.nodes - 1) / 2)
		return;
	if (n->raftd.r != NULL)
		sim_kill(n, SIM_RAFTD);
	(void)written_page(n->disk, SIZE_MAX, &count, name, &at);
	page = count ? written_page(n->disk, (size_t)(x % count), &count, name, &at) : NULL;
	if (page == NULL)
		return;
	(void)written(page, (size_t)((x >> 24) % written(page, 0, &byte)), &byte);
	page[byte] ^= (uint8_t)(1u << (x >> 60 & 7));
	if (x >> 59 & 1)         /* somebody wrote to the file, or nobody did */
		wal_disk_flush(n->disk, name);
	else
		wal_disk_rot(n->disk, name);
	n->rotten = true;
	sim_trace(s, n, "bit rot in %s at %zu", name, at + byte);
	sim_start_later(n, SIM_RAFTD, 20);
}

static void replay(struct sim *s)
{
	for (size_t i = 0; i < sizeof s->old_frame / sizeof *s->old_frame; i++)
		if (s->old_frame[i].data != NULL && !s->cut[s->old_way[i].from][s->old_way[i].to])
			sim_net_deliver(s, s->old_way[i].from, s->old_way[i].to, s->old_frame[i]);
}

static void break_link(struct sim *s, uint64_t a, uint64_t b, bool back)
{
	for (int way = 0; way < 2 && a != b; way++) {
		uint64_t id = way ? a : b, peer = way ? b : a;

		sim_schedule(s, (struct sim_event){.kind = SIM_EV_PEER_LINK, .node = (uint8_t)id,
			.daemon = SIM_RAFTD, .a = peer, .b = s->nodes[id].raftd.incarnation, .c = back,
			.at = sim_soon(s, SIM_CH_FAULT, 100, 5000)});
	}
}

void sim_transfer(struct sim *s, uint64_t target)
{
	struct sim_node *n = sim_leader(s);

	if (n != NULL && !mono_before(s->now, n->paused[SIM_RAFTD]))
		(void)sim_step(n, (struct raft_event){.type = RAFT_EV_TRANSFER, .peer = target});
}

/* The lead goes to another node, and half of the time later back to this one. */
void sim_fault_lead_round_trip(struct sim_node *n, uint32_t ms)
{
	sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_TRANSFER, .at = mono_add_ms(n->s->now, 1)});
	sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_TRANSFER, .a = n->id,
		.at = mono_add_ms(n->s->now, ms / 2)});
}

static void begin_on_viewer(const struct sim_fault *f, struct sim_node *n)
{
	switch (f->kind) {
	case SIM_FAULT_KILL_WATCHD:
		kill_one(n, SIM_WATCHD, f->for_ms);
		break;
	case SIM_FAULT_PAUSE_WATCHD:
		pause(n, SIM_WATCHD, f->for_ms);
		break;
	case SIM_FAULT_KILL_LEASED:
		kill_one(n, SIM_LEASED, f->for_ms);
		break;
	case SIM_FAULT_PAUSE_LEASED:
		pause(f->x % 4 && sim_leader(n->s) != NULL ? sim_leader(n->s) : n, SIM_LEASED, f->for_ms);
		break;
	case SIM_FAULT_STALL_LESSOR:
		n = sim_leader(n->s) != NULL ? sim_leader(n->s) : n;
		n->leased.stall_ms = 200 + f->for_ms;
		break;
	default:
		break;
	}
}

static void begin_on_node(const struct sim_fault *f, struct sim_node *n)
{
	switch (f->kind) {
	case SIM_FAULT_POWER:
		power(n, 0);
		break;
	case SIM_FAULT_POWER_IN_WRITE:
		power(n, 1 + f->x % 3);
		break;
	case SIM_FAULT_KILL_RAFTD:
		kill_one(n, SIM_RAFTD, f->for_ms);
		break;
	case SIM_FAULT_KILL_IN_WRITE:
		if (n->raftd.r != NULL) {
			sim_raftd_stop(n, 1 + f->x % 3, false);
			sim_kill(n, SIM_RAFTD);
		}
		sim_start_later(n, SIM_RAFTD, f->for_ms);
		break;
	case SIM_FAULT_KILL_STORED:
		kill_one(n, SIM_STORED, f->for_ms);
		break;
	case SIM_FAULT_KILL_IN_TXN:
		n->store_dies = n->stored.up;
		break;
	case SIM_FAULT_KILL_GATEWAY:
		kill_one(n, SIM_GATEWAY, f->for_ms);
		break;
	case SIM_FAULT_BREAK_LOCAL:
		sim_local_drop(n, (enum sim_link)(f->x % SIM_LINKS));
		break;
	case SIM_FAULT_PAUSE_RAFTD:
		pause(n, SIM_RAFTD, f->for_ms);
		break;
	case SIM_FAULT_PAUSE_STORED:
		pause(n, SIM_STORED, f->for_ms);
		break;
	case SIM_FAULT_PAUSE_GATEWAY:
		pause(n, SIM_GATEWAY, f->for_ms);
		break;
	case SIM_FAULT_CLOCK:
		sim_clock_rate(n, (int64_t)(f->x % 400001) - 200000);
		break;
	case SIM_FAULT_SYNC_FAILS:
		wal_disk_fail(n->disk, f->x & 1 ? WAL_DISK_FDATASYNC : WAL_DISK_PWRITE, 1 + (f->x >> 1) % 3, EIO,
			      false);
		break;
	case SIM_FAULT_DISK_FULL:
		n->disk_full++;
		wal_disk_fail(n->disk, WAL_DISK_PWRITE, 1 + f->x % 4, ENOSPC, true);
		break;
	case SIM_FAULT_STORE_FULL:
		n->store_full++;
		break;
	case SIM_FAULT_SLOW_DISK:
		n->slow_disk++;
		break;
	case SIM_FAULT_BIT_ROT:
		rot(n, f->x);
		break;
	case SIM_FAULT_SNAPSHOT:
		sim_snap_make(n, f->x % 20);
		break;
	default:
		begin_on_viewer(f, n);
		break;
	}
}

/* Its time has come; its moment perhaps not. At most a few that would do the same wait together. */
void sim_fault_begin(struct sim *s, uint32_t i)
{
	const struct sim_fault *f = &s->plan[i];
	uint32_t alike = 0;

	if (f->moment == SIM_MOMENT_NONE) {
		sim_fault_do(s, i);
		return;
	}
	for (uint32_t k = 0; k < i; k++)
		alike += s->waits[k] && s->plan[k].moment == f->moment && s->plan[k].kind == f->kind &&
			 s->plan[k].other == f->other;
	if (alike >= WAIT_ALIKE)
		return;
	s->waits[i] = true;
	s->waiting[f->moment]++;
}

void sim_fault_do(struct sim *s, uint32_t i)
{
	struct sim_fault *f = &s->plan[i];
	struct sim_node *n = &s->nodes[f->a], *leader = sim_leader(s);

	sim_trace(s, n, "fault %u: %s (%u ms), %s", i, sim_fault_text(f->kind), f->for_ms,
		  sim_moment_text(f->moment));
	if ((f->kind == SIM_FAULT_KILL_LEADER || f->kind == SIM_FAULT_ISOLATE_LEADER ||
	     f->kind == SIM_FAULT_PAUSE_LEADER) && leader != NULL) {
		n = leader;
		f->a = n->id;            /* its end has to find it */
	}
	switch (f->kind) {
	case SIM_FAULT_BLACKOUT:
		for (uint64_t id = 1; id <= s->o.nodes; id++)
			power(&s->nodes[id], f->x >> id & 1);
		break;
	case SIM_FAULT_KILL_LEADER:
		power(n, f->x % 3);
		break;
	case SIM_FAULT_ISOLATE:
	case SIM_FAULT_ISOLATE_LEADER:
		cut_node(s, n->id, 1, 1);
		sim_net_lose(s, n->id, f->x >> 20 & 1, f->x >> 20 & 1);
		break;
	case SIM_FAULT_MUTE:
		cut_node(s, n->id, 1, 0);
		sim_net_lose(s, n->id, f->x >> 20 & 1, false);
		break;
	case SIM_FAULT_DEAF:
		cut_node(s, n->id, 0, 1);
		sim_net_lose(s, n->id, false, f->x >> 20 & 1);
		break;
	case SIM_FAULT_ONE_WAY:
		s->cut[f->a][f->b]++;
		break;
	case SIM_FAULT_SPLIT:
		cut_sides(s, f->x, 1);
		break;
	case SIM_FAULT_LOSSY:
		s->loss++;
		s->loss_permille = 50 + (uint32_t)(f->x % 300);
		break;
	case SIM_FAULT_SLOW_NET:
		s->slow++;
		break;
	case SIM_FAULT_BREAK_LINK:
		break_link(s, f->a, f->b, f->x & 1);
		break;
	case SIM_FAULT_PAUSE_LEADER:
		pause(n, SIM_RAFTD, f->for_ms);
		break;
	case SIM_FAULT_TRANSFER:
		sim_transfer(s, f->x % 3 ? f->a : 0);
		break;
	case SIM_FAULT_REPLAY:
		replay(s);
		break;
	default:
		begin_on_node(f, n);
		break;
	}
	sim_schedule(s, (struct sim_event){.kind = SIM_EV_FAULT_END, .a = i,
		.at = mono_add_ms(s->now, f->for_ms)});
}

static void power_on(struct sim_node *n)
{
	if (!n->power_out || n->raftd.dead)
		return;
	n->power_out = false;
	for (int d = 0; d < SIM_DAEMONS; d++)
		sim_start_later(n, (enum sim_daemon)d, (uint32_t)sim_rand(n->s, SIM_CH_FAULT, 60));
}

void sim_fault_end(struct sim *s, uint32_t i)
{
	const struct sim_fault *f = &s->plan[i];
	struct sim_node *n = &s->nodes[f->a];

	switch (f->kind) {
	case SIM_FAULT_POWER:
	case SIM_FAULT_POWER_IN_WRITE:
	case SIM_FAULT_KILL_LEADER:
		power_on(n);
		break;
	case SIM_FAULT_BLACKOUT:
		for (uint64_t id = 1; id <= s->o.nodes; id++)
			power_on(&s->nodes[id]);
		break;
	case SIM_FAULT_ISOLATE:
	case SIM_FAULT_ISOLATE_LEADER:
		cut_node(s, f->a, -1, -1);
		break;
	case SIM_FAULT_MUTE:
		cut_node(s, f->a, -1, 0);
		break;
	case SIM_FAULT_DEAF:
		cut_node(s, f->a, 0, -1);
		break;
	case SIM_FAULT_ONE_WAY:
		s->cut[f->a][f->b]--;
		break;
	case SIM_FAULT_SPLIT:
		cut_sides(s, f->x, -1);
		break;
	case SIM_FAULT_LOSSY:
		s->loss--;
		break;
	case SIM_FAULT_SLOW_NET:
		s->slow--;
		break;
	case SIM_FAULT_BREAK_LINK:
		break_link(s, f->a, f->b, true);
		break;
	case SIM_FAULT_CLOCK:
		sim_clock_rate(n, 0);
		break;
	case SIM_FAULT_DISK_FULL:
		if (--n->disk_full == 0)
			wal_disk_fail(n->disk, WAL_DISK_PWRITE, 0, 0, false);
		break;
	case SIM_FAULT_STORE_FULL:
		if (--n->store_full == 0 && n->stored.db != NULL)
			sim_okv_fail_after(n->stored.db, 0, ERR_OK);
		break;
	case SIM_FAULT_SLOW_DISK:
		n->slow_disk--;
		break;
	default:
		break;
	}
}
