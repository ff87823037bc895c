/* SPDX-License-Identifier: Apache-2.0 */
/* A machine with its daemons, and the links between them. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_int.h"

static const enum sim_daemon link_ends[SIM_LINKS][2] = {
	[SIM_RAFTD_STORED] = {SIM_RAFTD, SIM_STORED},
	[SIM_GATEWAY_RAFTD] = {SIM_GATEWAY, SIM_RAFTD},
	[SIM_GATEWAY_STORED] = {SIM_GATEWAY, SIM_STORED},
	[SIM_STORED_WATCHD] = {SIM_WATCHD, SIM_STORED},
	[SIM_GATEWAY_WATCHD] = {SIM_GATEWAY, SIM_WATCHD},
	[SIM_RAFTD_LEASED] = {SIM_LEASED, SIM_RAFTD},
	[SIM_STORED_LEASED] = {SIM_LEASED, SIM_STORED},
	[SIM_GATEWAY_LEASED] = {SIM_GATEWAY, SIM_LEASED}};

/* What each is told, in the order of the ends. */
static void (*const handlers[SIM_LINKS][2])(struct sim_node *n, const struct msg_in *in) = {
	[SIM_RAFTD_STORED] = {sim_raftd_stored_msg, sim_stored_raftd_msg},
	[SIM_GATEWAY_RAFTD] = {sim_gateway_raftd_msg, sim_raftd_gateway_msg},
	[SIM_GATEWAY_STORED] = {sim_gateway_stored_msg, NULL},
	[SIM_STORED_WATCHD] = {sim_watchd_stored_msg, sim_stored_watchd_msg},
	[SIM_GATEWAY_WATCHD] = {sim_gateway_watchd_msg, sim_watchd_gateway_msg},
	[SIM_RAFTD_LEASED] = {sim_leased_raftd_msg, sim_raftd_leased_msg},
	[SIM_STORED_LEASED] = {sim_leased_stored_msg, sim_stored_leased_msg},
	[SIM_GATEWAY_LEASED] = {sim_gateway_leased_msg, sim_leased_gateway_msg}};

bool sim_is_up(const struct sim_node *n, enum sim_daemon d)
{
	switch (d) {
	case SIM_RAFTD:
		return n->raftd.r != NULL;
	case SIM_STORED:
		return n->stored.up;
	case SIM_GATEWAY:
		return n->gateway.up;
	case SIM_WATCHD:
		return n->watchd.core != NULL;
	case SIM_LEASED:
		return n->leased.lessor != NULL;
	case SIM_DAEMONS:
		break;
	}
	return false;
}

/* ---- links ---- */

void sim_local_connect(struct sim_node *n, enum sim_link l)
{
	if (n->link_up[l] || !sim_is_up(n, link_ends[l][0]) || !sim_is_up(n, link_ends[l][1]))
		return;
	sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_LOCAL_UP, .node = (uint8_t)n->id,
		.daemon = (uint8_t)link_ends[l][1], .a = l, .b = n->link_epoch[l],
		.at = sim_soon(n->s, SIM_CH_NET, 200, 10000)});
}

/* What the ends do that are still there. */
static void link_down(struct sim_node *n, enum sim_link l)
{
	n->link_up[l] = false;
	switch (l) {
	case SIM_GATEWAY_RAFTD:
		if (n->gateway.up)
			raft_clnt_down(&n->gateway.clnt);
		break;
	case SIM_GATEWAY_STORED:
		n->stored.gateway = 0;
		break;
	case SIM_GATEWAY_WATCHD:
		if (n->gateway.up)
			watch_clnt_down(&n->gateway.watch);
		sim_watchd_gateway_down(n);
		break;
	case SIM_RAFTD_LEASED:
		sim_leased_raftd_down(n);
		break;
	case SIM_STORED_LEASED:
		sim_leased_stored_down(n);
		break;
	case SIM_GATEWAY_LEASED:
		if (n->gateway.up)
			lease_clnt_down(&n->gateway.lease);
		break;
	default:
		break;
	}
}

/* What was under way is lost; both ends see it at once, and connect again. */
void sim_local_drop(struct sim_node *n, enum sim_link l)
{
	n->link_epoch[l]++;
	if (n->link_up[l])
		link_down(n, l);
	sim_local_connect(n, l);
}

/* Each end begins with what its hello says. */
void sim_local_up(struct sim_node *n, enum sim_link l)
{
	n->link_up[l] = true;
	n->link_at[l][0] = n->link_at[l][1] = n->s->now;
	switch (l) {
	case SIM_RAFTD_STORED:
		sim_raftd_stored_up(n);
		break;
	case SIM_GATEWAY_RAFTD:
		raft_clnt_up(&n->gateway.clnt, sim_clock(n));
		sim_raftd_state(n);
		break;
	case SIM_GATEWAY_STORED:
		n->stored.gateway = n->gateway.clnt.incarnation;
		sim_gateway_stored_up(n);
		sim_stored_gateway_up(n);
		break;
	case SIM_STORED_WATCHD:
		sim_watchd_stored_up(n);
		sim_stored_watchd_up(n);
		break;
	case SIM_GATEWAY_WATCHD:
		watch_clnt_up(&n->gateway.watch);
		sim_watchd_gateway_up(n);
		break;
	case SIM_RAFTD_LEASED:
		sim_raftd_tell_role(n);
		break;
	case SIM_STORED_LEASED:
		sim_leased_stored_up(n);
		sim_stored_leased_up(n);
		break;
	case SIM_GATEWAY_LEASED:
		lease_clnt_up(&n->gateway.lease);
		sim_leased_gateway_up(n);
		break;
	case SIM_LINKS:
		break;
	}
}

void sim_local_send(struct sim_node *n, enum sim_link l, enum sim_daemon to, uint32_t number,
		    const struct msg_desc *d, const void *msg)
{
	struct sim *s = n->s;
	bool way = link_ends[l][1] == to;
	enum sim_daemon from = link_ends[l][!way];
	mono_t *last = &n->link_at[l][way];
	mono_t at = sim_soon(s, SIM_CH_NET, 10, sim_chance(s, SIM_CH_NET, 20) ? 5000 : 100);

	if (!n->link_up[l])
		return;
	if (mono_before(at, n->paused[from]))
		at = n->paused[from];        /* it was stopped before it could write */
	buf_clear(&s->frame);
	CHECK(msg_frame(&s->frame, number, 0, d, msg) == ERR_OK);
	if (mono_before(at, *last))
		at = *last;
	*last = at;
	sim_schedule(s, (struct sim_event){.kind = SIM_EV_LOCAL_FRAME, .node = (uint8_t)n->id,
		.daemon = (uint8_t)to, .a = l, .b = n->link_epoch[l], .c = to, .at = at,
		.data = bytes_of(mem_dup(s->frame.data + MSG_FRAME_HEAD, s->frame.len - MSG_FRAME_HEAD),
				 s->frame.len - MSG_FRAME_HEAD)});
}

void sim_local_frame(struct sim_node *n, enum sim_link l, enum sim_daemon to, struct bytes frame)
{
	static const struct msg_link *const messages[SIM_LINKS] = {
		[SIM_RAFTD_STORED] = &link_apply, [SIM_GATEWAY_RAFTD] = &link_raft,
		[SIM_GATEWAY_STORED] = &link_store, [SIM_STORED_WATCHD] = &link_news,
		[SIM_GATEWAY_WATCHD] = &link_watch, [SIM_RAFTD_LEASED] = &link_lessor,
		[SIM_STORED_LEASED] = &link_leases, [SIM_GATEWAY_LEASED] = &link_lease};
	struct msg_in in;

	arena_reset(&n->s->arena);
	CHECK(msg_unframe(messages[l], frame, &n->s->arena, &in) == ERR_OK);
	handlers[l][to == link_ends[l][1]](n, &in);
}

/* ---- daemons ---- */

static void links_drop(struct sim_node *n, enum sim_daemon d)
{
	for (int l = 0; l < SIM_LINKS; l++)
		if (link_ends[l][0] == d || link_ends[l][1] == d)
			sim_local_drop(n, (enum sim_link)l);
}

void sim_kill(struct sim_node *n, enum sim_daemon d)
{
	static const char *const names[SIM_DAEMONS] = {"raftd", "stored", "gatewayd", "watchd", "leased"};

	sim_trace(n->s, n, "%s ends", names[d]);
	n->s->out->crashes++;
	n->paused[d] = (mono_t){0};
	switch (d) {
	case SIM_RAFTD:
		sim_raftd_stop(n, 0, false);
		break;
	case SIM_STORED:
		sim_stored_stop(n);
		break;
	case SIM_GATEWAY:
		sim_gateway_stop(n);
		break;
	case SIM_WATCHD:
		sim_watchd_stop(n);
		break;
	case SIM_LEASED:
		sim_leased_stop(n);
		break;
	case SIM_DAEMONS:
		break;
	}
	links_drop(n, d);
}

void sim_start(struct sim_node *n, enum sim_daemon d)
{
	if (sim_is_up(n, d) || n->power_out)
		return;
	switch (d) {
	case SIM_RAFTD:
		sim_raftd_start(n);
		return;
	case SIM_STORED:
		sim_stored_start(n);
		return;
	case SIM_GATEWAY:
		sim_gateway_start(n);
		return;
	case SIM_WATCHD:
		sim_watchd_start(n);
		return;
	case SIM_LEASED:
		sim_leased_start(n);
		return;
	case SIM_DAEMONS:
		return;
	}
}

void sim_start_later(struct sim_node *n, enum sim_daemon d, uint32_t ms)
{
	sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_START, .node = (uint8_t)n->id,
		.daemon = (uint8_t)d, .a = d, .at = mono_add_ms(n->s->now, ms)});
}

/* Everything stops; of what was not synced, each sector may be there or not. */
void sim_power_off(struct sim_node *n, uint64_t write_ops)
{
	sim_trace(n->s, n, "loses power");
	n->s->out->crashes++;
	sim_raftd_stop(n, write_ops, true);
	sim_leased_stop(n);
	if (n->watchd.core != NULL)
		sim_watchd_stop(n);
	if (n->stored.up)
		sim_stored_stop(n);
	sim_stored_lose(n);
	if (n->gateway.up)
		sim_gateway_stop(n);
	for (int d = 0; d < SIM_DAEMONS; d++) {
		n->paused[d] = (mono_t){0};
		links_drop(n, (enum sim_daemon)d);
	}
	n->power_out = true;
}

/* ---- the machine ---- */

void sim_node_open(struct sim *s, uint64_t id)
{
	struct sim_node *n = &s->nodes[id];

	n->id = id;
	n->s = s;
	n->disk = wal_disk_new(s->o.seed * 8 + id);
	n->clock_at = n->clock_base = s->now;
	n->rate_ppm = (int64_t)sim_rand(s, SIM_CH_IDS, 2001) - 1000;
	sim_log_reset(s, &n->raftd.log, 0);
	sim_log_copy(&n->durable, &n->raftd.log);
	for (int d = 0; d < SIM_DAEMONS; d++)
		sim_start_later(n, (enum sim_daemon)d, (uint32_t)sim_rand(s, SIM_CH_IDS, 50));
}

void sim_node_close(struct sim_node *n)
{
	if (n->gateway.up)
		sim_gateway_stop(n);
	sim_leased_stop(n);
	if (n->watchd.core != NULL)
		sim_watchd_stop(n);
	if (n->raftd.r != NULL)
		sim_raftd_stop(n, 0, false);
	if (n->stored.up)
		sim_stored_stop(n);
	sim_stored_lose(n);
	raft_effects_free(&n->raftd.fx);
	wal_list_free(&n->raftd.list);
	wal_disk_free(n->disk);
	free(n->raftd.log.v);
	free(n->durable.v);
	{
		void *p;

		memcpy(&p, &n->snap.rows.data, sizeof p);
		free(p);
	}
}
