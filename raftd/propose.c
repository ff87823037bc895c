/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on their way into the log: appended if this node leads, sent on to the leader if another
 * does, refused otherwise. A refusal is only a courtesy that saves the gateway its timer; what gets
 * lost on the way is proposed again, and the store applies an id at most once.
 *
 * Commands of this node's gatewayds are refused while its store is late, since they would only wait for
 * it, in a log that grows without end: they wait in gatewayd instead, where they are counted, and are
 * tried again. Those of other nodes are for their raftds to refuse, and a store that is away is waited for.
 */
#include "base/check.h"
#include "base/err.h"
#include "raftd/node.h"

static void propose_refuse(struct raftd *n, const struct proposal *v, size_t count,
			   struct proposer from, int err)
{
	counter_add(&n->counters.proposals_refused, (int64_t)count);
	if (from.lessor) {
		lessors_refuse(n, count, err);
	} else if (from.link != NULL) {
		static struct raftd_refused out[LIMIT_BATCH_ITEMS];

		for (size_t i = 0; i < count; i++)
			out[i] = (struct raftd_refused){v[i].seq, (uint64_t)err};
		gateways_refuse(from.link, out, count);
	} else {
		static struct peer_refused out[LIMIT_BATCH_ITEMS];
		struct peer_refuse m;

		for (size_t i = 0; i < count; i++)
			out[i] = (struct peer_refused){v[i].gateway, v[i].seq, (uint64_t)err};
		m.refused.v = out;
		m.refused.n = count;
		(void)peers_send(n->peers, from.peer, MSG_NO_peer_refuse, &peer_refuse_desc, &m);
	}
}

static void propose_forward(struct raftd *n, const struct proposal *v, size_t count,
			    struct proposer from)
{
	static struct peer_proposal out[LIMIT_BATCH_ITEMS];
	struct peer_propose m;
	int rc;

	for (size_t i = 0; i < count; i++)
		out[i] = (struct peer_proposal){v[i].gateway, v[i].seq, v[i].command};
	m.proposals.v = out;
	m.proposals.n = count;
	rc = peers_send(n->peers, n->leader, MSG_NO_peer_propose, &peer_propose_desc, &m);
	if (rc == ERR_OK)
		counter_add(&n->counters.proposals_forwarded, (int64_t)count);
	else
		propose_refuse(n, v, count, from, rc == ERR_CLOSED ? ERR_NO_LEADER : ERR_FULL);
}

/* How many of the commands the log and the limits have room for. */
static size_t propose_fit(const struct raftd *n, const struct proposal *v, size_t count,
			  uint64_t *bytes)
{
	size_t room = wal_room(n->wal), k = 0;

	*bytes = 0;
	if (room < SMALL_ROOM || n->propose.count == PROPOSE_MARKS)
		return 0;
	room -= SMALL_ROOM;
	for (; k < count; k++) {
		uint64_t more = *bytes + v[k].command.len + ENTRY_HEAD_ROOM;

		if (more > room || n->propose.bytes + more > LIMIT_UNCOMMITTED_BYTES)
			break;
		*bytes = more;
	}
	return k;
}

static int propose_append(struct raftd *n, const struct proposal *v, size_t count, uint64_t bytes)
{
	struct raft_event ev = {.type = RAFT_EV_PROPOSE, .n = (uint32_t)count};
	struct propose *p = &n->propose;
	uint32_t slot = (p->head + p->count) % PROPOSE_MARKS;
	int rc;

	/* The mark comes first: a single node may commit within the step. */
	p->marks[slot].last_index = wal_last_index(n->wal) + count;
	p->marks[slot].bytes = bytes;
	p->count++;
	p->bytes += bytes;
	n->own = v;
	rc = raftd_step(n, &ev);
	if (rc != ERR_OK) {
		p->count--;
		p->bytes -= bytes;
		return rc;
	}
	counter_add(&n->counters.proposals, (int64_t)count);
	return ERR_OK;
}

/* In as many steps as it takes: what the log says it has room for is less than a late batch. */
static void propose_lead(struct raftd *n, const struct proposal *v, size_t count,
			 struct proposer from)
{
	uint64_t bytes;
	size_t k;
	int rc;

	while (count > 0) {
		k = propose_fit(n, v, count, &bytes);
		rc = k > 0 ? propose_append(n, v, k, bytes) : ERR_FULL;
		if (rc != ERR_OK) {
			propose_refuse(n, v, count, from, rc);
			return;
		}
		v += k;
		count -= k;
	}
}

void propose_batch(struct raftd *n, const struct proposal *v, size_t count, struct proposer from)
{
	CHECK(count <= LIMIT_BATCH_ITEMS);
	if (count == 0)
		return;
	if (from.link != NULL && feed_is_late(n))
		propose_refuse(n, v, count, from, ERR_FULL);
	else if (n->role == RAFT_LEADER)
		propose_lead(n, v, count, from);
	else if (from.lessor)
		propose_refuse(n, v, count, from, ERR_NOT_LEADER);
	else if (n->leader != 0 && from.link != NULL)
		propose_forward(n, v, count, from);
	else
		propose_refuse(n, v, count, from, n->leader ? ERR_LEADER_CHANGED : ERR_NO_LEADER);
}

void propose_committed(struct raftd *n, uint64_t index)
{
	struct propose *p = &n->propose;

	while (p->count > 0 && p->marks[p->head].last_index <= index) {
		CHECK(p->bytes >= p->marks[p->head].bytes);
		p->bytes -= p->marks[p->head].bytes;
		p->head = (p->head + 1) % PROPOSE_MARKS;
		p->count--;
	}
}

void propose_reset(struct raftd *n)
{
	n->propose.head = n->propose.count = 0;
	n->propose.bytes = 0;
}
