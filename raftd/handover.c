/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leader whose own store stays behind hands over. The cluster's writes do not need that store, but
 * its node's clients do, and every keepalive of the cluster: it is answered here, by leased, when the
 * store has come as far as the question. Whether the successor's store is better is not known
 * here, so it is the next one in the order of the members that can take it: who is behind too hands over in turn.
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

/*
 * While it is handed over nothing is proposed. So only to one that is heard and has in its log what was committed
 * when our store last followed: it has little left to take.
 */
static bool can_take(const struct raftd *n, const struct raft_status *rs, uint64_t member)
{
	for (uint32_t i = 0; i < rs->peer_count; i++) {
		const struct raft_peer_status *p = &rs->peers[i];

		if (p->id == member)
			return p->up && p->state == RAFT_PEER_REPLICATE && p->match >= n->handover.commit &&
			       p->silent_ms >= 0 && p->silent_ms <= (int64_t)n->d->config->election_max_ms;
	}
	return false;
}

/* False: nobody can take it. The next try is with the one behind: this one may not have taken it. */
static bool hand_over(struct raftd *n, mono_t now)
{
	const struct config *c = n->d->config;
	size_t self = 0, others = c->n_members - 1;
	struct raft_status rs;

	raft_status(n->raft, now, &rs);
	while (c->members[self].id != c->node_id)
		self++;
	for (size_t i = 0; i < others; i++) {
		uint64_t to = c->members[(self + 1 + (n->handover.tried + i) % others) % c->n_members].id;
		struct raft_event ev = {.type = RAFT_EV_TRANSFER, .peer = to};

		if (!can_take(n, &rs, to) || raftd_step(n, &ev) != ERR_OK)
			continue;
		n->handover.tried += i + 1;
		counter_inc(&n->counters.handovers);
		log_warn("stored of this node stays behind: handing over the lead target=%" PRIu64 " applied=%" PRIu64
			 " commit=%" PRIu64, to, n->feed.applied, n->commit);
		return true;
	}
	return false;
}

static void handover_look(void *arg)
{
	struct raftd *n = arg;
	mono_t now = loop_now(n->d->loop);

	loop_timer_set(n->d->loop, &n->handover.timer, mono_add_ms(now, HANDOVER_LOOK_MS));
	if (n->role == RAFT_LEADER && !n->handing_over && !store_follows(n)) {
		if (mono_sub_ms(now, n->handover.patient_since) >= HANDOVER_PATIENCE_MS && hand_over(n, now))
			n->handover.patient_since = now;
		return;
	}
	n->handover.tried = 0;
	n->handover.commit = n->commit;
	n->handover.patient_since = now;
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
