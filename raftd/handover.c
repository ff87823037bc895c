/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leader whose own store stays behind hands over. The cluster's writes do not need that store, but
 * its node's clients do, and every keepalive of the cluster: it is answered here, by leased, when the
 * store has come as far as the question. Whether the successor's store is better is not known
 * here, so it is the next one in the order of the members: who is behind too hands over in turn.
 */
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "raftd/node.h"

enum { HANDOVER_LOOK_MS = 500, HANDOVER_PATIENCE_MS = 5000 };

/* It is there, and has what was committed when we looked last. */
static bool store_follows(const struct raftd *n)
{
	return n->feed.ready && n->feed.applied >= n->handover.commit;
}

static void hand_over(struct raftd *n)
{
	const struct config *c = n->d->config;
	size_t self = 0;

	while (c->members[self].id != c->node_id)
		self++;
	for (size_t i = 1; i < c->n_members; i++) {
		struct raft_event ev = {.type = RAFT_EV_TRANSFER, .peer = c->members[(self + i) % c->n_members].id};

		if (raftd_step(n, &ev) != ERR_OK)
			continue;                /* not connected */
		counter_inc(&n->counters.handovers);
		log_warn("stored of this node stays behind: handing over the lead target=%" PRIu64 " applied=%" PRIu64
			 " commit=%" PRIu64, ev.peer, n->feed.applied, n->commit);
		return;
	}
}

static void handover_look(void *arg)
{
	struct raftd *n = arg;
	mono_t now = loop_now(n->d->loop);

	loop_timer_set(n->d->loop, &n->handover.timer, mono_add_ms(now, HANDOVER_LOOK_MS));
	if (n->role == RAFT_LEADER && !n->handing_over && !store_follows(n)) {
		if (mono_sub_ms(now, n->handover.followed) < HANDOVER_PATIENCE_MS)
			return;
		hand_over(n);
	}
	n->handover.commit = n->commit;
	n->handover.followed = now;
}

void handover_open(struct raftd *n)
{
	if (n->d->config->n_members == 1)
		return;
	loop_timer_init(&n->handover.timer, handover_look, n);
	handover_look(n);
}

void handover_close(struct raftd *n)
{
	if (n->d->config->n_members > 1)
		loop_timer_clear(n->d->loop, &n->handover.timer);
}
