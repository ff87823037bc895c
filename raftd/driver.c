/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of the core: hands it one event at a time and carries out the effects in the order of
 * the contract in core/raft.h: persist, send, apply, answer.
 */
#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "raftd/node.h"

_Static_assert((int)RAFT_FOLLOWER == (int)NODE_FOLLOWER && (int)RAFT_LEADER == (int)NODE_LEADER &&
	       (int)RAFT_PRECANDIDATE == (int)NODE_PRE_CANDIDATE &&
	       (int)RAFT_CANDIDATE == (int)NODE_CANDIDATE, "roles have one numbering");

enum { TICK_PUT_OFF_MS = 10 };

bool raftd_can_append(const struct raftd *n)
{
	return wal_room(n->wal) >= APPEND_ROOM + SMALL_ROOM;
}

bool raftd_can_append_small(const struct raftd *n)
{
	return wal_room(n->wal) >= SMALL_ROOM / 2;
}

static void fx_hard_state(struct raftd *n, const struct raft_effect *e)
{
	struct wal_hard_state hard = {e->hard_state.term, e->hard_state.vote};

	CHECK(wal_append_hard_state(n->wal, hard) == ERR_OK);
	n->hard_seq = e->seq;
	wal_mark(n->wal, e->seq);
}

static void fx_truncate(struct raftd *n, const struct raft_effect *e)
{
	log_info("log truncated from=%" PRIu64 " last=%" PRIu64, e->truncate.from,
		 wal_last_index(n->wal));
	CHECK(wal_append_truncate(n->wal, e->truncate.from) == ERR_OK);
	wal_mark(n->wal, e->seq);
}

/* The store has become a snapshot that our log does not lead to. */
static void fx_reset(struct raftd *n, const struct raft_effect *e)
{
	log_info("log begun anew behind a snapshot index=%" PRIu64 " term=%" PRIu64 " last=%" PRIu64,
		 e->reset.index, e->reset.term, wal_last_index(n->wal));
	CHECK(wal_append_reset(n->wal, e->reset.index, e->reset.term) == ERR_OK);
	n->gateways.state_dirty = true;
	wal_mark(n->wal, e->seq);
}

static void append_entry(struct raftd *n, uint64_t index, uint64_t term, uint8_t kind,
			 struct bytes payload)
{
	int rc = wal_append_entry(n->wal, index, term, kind, payload);

	if (rc == ERR_LIMIT)     /* the size was checked where it came in */
		fatal("find out why elections never end; the log must be cut by a snapshot",
		      "the log holds %u terms and takes no more", LIMIT_WAL_TERM_RUNS);
	CHECK(rc == ERR_OK);
}

static void fx_append(struct raftd *n, const struct raft_effect *e)
{
	for (uint32_t i = 0; i < e->append.n; i++) {
		uint64_t index = e->append.first + i, term = e->append.term;
		uint8_t kind = WAL_NOOP;
		struct bytes payload = {0};

		if (e->append.own) {
			kind = WAL_COMMAND;
			payload = n->own[i].command;
		} else if (!e->append.noop) {
			const struct peer_entry *in = &n->received->entries.v[e->append.skip + i];

			kind = (uint8_t)in->kind;
			term = in->term;
			payload = in->payload;
		}
		append_entry(n, index, term, kind, payload);
	}
	wal_mark(n->wal, e->seq);
}

static void fx_send(struct raftd *n, const struct raft_effect *e)
{
	struct held *h = &n->held;

	if (e->send.need_seq <= n->durable_seq) {
		raftd_send(n, &e->send.msg);
		return;
	}
	if (h->count == HELD_MAX) {      /* Raft lives with lost messages */
		counter_inc(&n->counters.sends_dropped);
		return;
	}
	h->v[(h->head + h->count) % HELD_MAX].msg = e->send.msg;
	h->v[(h->head + h->count) % HELD_MAX].need_seq = e->send.need_seq;
	h->count++;
	counter_inc(&n->counters.sends_held);
}

static void held_release(struct raftd *n)
{
	struct held *h = &n->held;

	while (h->count > 0 && h->v[h->head].need_seq <= n->durable_seq) {
		raftd_send(n, &h->v[h->head].msg);
		h->head = (h->head + 1) % HELD_MAX;
		h->count--;
	}
}

/* As many of the permitted entries as one message carries, at least one; returns their bytes. */
static uint64_t replicate_entries(struct raftd *n, const struct raft_effect *e,
				  struct peer_entry *out, size_t *count)
{
	uint64_t bytes = 0;
	int rc = wal_read(n->wal, e->replicate.first, e->replicate.last, LIMIT_BATCH_BYTES,
			  LIMIT_APPEND_ENTRIES, &n->list);

	if (rc != ERR_OK)
		fatal("replace this disk; an empty data directory needs a new node id",
		      "cannot read the log at index %" PRIu64 ": %s", e->replicate.first,
		      wal_why(n->wal));
	for (size_t i = 0; i < n->list.n; i++) {
		const struct wal_entry *w = &n->list.entries[i];

		out[i] = (struct peer_entry){w->term, w->kind, w->data};
		bytes += w->data.len;
	}
	*count = n->list.n;
	return bytes;
}

static void fx_replicate(struct raftd *n, const struct raft_effect *e)
{
	static struct peer_entry entries[LIMIT_APPEND_ENTRIES];   /* used within this call */
	struct peer_append m = {.term = e->replicate.term, .prev_index = e->replicate.prev_index,
				.prev_term = e->replicate.prev_term, .commit = e->replicate.commit,
				.round = e->replicate.round};
	bool wants = e->replicate.last >= e->replicate.first, sent = false;
	uint64_t bytes = 0;
	size_t count = 0;

	if (wants && peers_room(n->peers, e->replicate.peer))
		bytes = replicate_entries(n, e, entries, &count);
	m.entries.v = entries;
	m.entries.n = count;
	if (!wants || count > 0)
		sent = peers_send(n->peers, e->replicate.peer, MSG_NO_peer_append,
				  &peer_append_desc, &m) == ERR_OK;
	if (!sent && (!wants || count > 0))
		counter_inc(&n->counters.sends_dropped);
	if (!wants)
		return;
	CHECK(n->sent_count < ARRAY_LEN(n->sent));
	n->sent[n->sent_count++] = (struct raft_event){
		.type = RAFT_EV_SENT, .peer = e->replicate.peer, .grant = e->replicate.grant,
		.last = e->replicate.first - 1 + (sent ? count : 0), .bytes = sent ? bytes : 0};
}

static void fx_commit(struct raftd *n, const struct raft_effect *e)
{
	CHECK(e->commit.index > n->commit);
	n->commit = e->commit.index;
	propose_committed(n, n->commit);
	lag_moved(&n->feed.lag, n->commit, n->feed.applied, mono_now());
	n->feed.due = true;
}

static void fx_role(struct raftd *n, const struct raft_effect *e)
{
	if (e->role.role != n->role || e->role.leader != n->leader)
		log_info("%s -> %s, %s term=%" PRIu64 " leader=%" PRIu64, raft_role_name(n->role),
			 raft_role_name(e->role.role), e->role.reason, e->role.term,
			 e->role.leader);
	if (e->role.leader != n->leader)
		counter_inc(&n->counters.leader_changes);
	if (n->role == RAFT_LEADER && e->role.role != RAFT_LEADER)
		propose_reset(n);
	if (e->role.role != n->role && (e->role.role == RAFT_PRECANDIDATE))
		counter_inc(&n->counters.elections);
	n->role = e->role.role;
	n->term = e->role.term;
	n->leader = e->role.leader;
	n->gateways.state_dirty = true;
	n->lessor.role_dirty = true;
	/* A permission to replicate dies with the role: its answer must not be given any more. */
	n->sent_count = 0;
}

static void fx_carry_out(struct raftd *n, const struct raft_effect *e)
{
	switch (e->type) {
	case RAFT_FX_HARD_STATE:
		fx_hard_state(n, e);
		break;
	case RAFT_FX_TRUNCATE:
		fx_truncate(n, e);
		break;
	case RAFT_FX_APPEND:
		fx_append(n, e);
		break;
	case RAFT_FX_SEND:
		fx_send(n, e);
		break;
	case RAFT_FX_REPLICATE:
		fx_replicate(n, e);
		break;
	case RAFT_FX_COMMIT:
		fx_commit(n, e);
		break;
	case RAFT_FX_ROLE:
		fx_role(n, e);
		break;
	case RAFT_FX_READ_OK:
		reads_answer(n, e->read.ctx, ERR_OK, e->read.index);
		break;
	case RAFT_FX_READ_FAIL:
		reads_answer(n, e->read.ctx, n->leader ? ERR_LEADER_CHANGED : ERR_NO_LEADER, 0);
		break;
	case RAFT_FX_TRANSFER_ABORTED:
		n->handing_over = false;
		log_warn("leadership transfer given up: no takeover target=%" PRIu64, e->peer.peer);
		break;
	case RAFT_FX_RESET:
		fx_reset(n, e);
		break;
	case RAFT_FX_SNAPSHOT:
		snap_send_begin(n, e->peer.peer, wal_first_index(n->wal) - 1, true);
		break;
	case RAFT_FX_COUNT:
		panic("an effect that this driver never asks for");
	}
}

static int step_once(struct raftd *n, struct raft_event *ev)
{
	int rc;

	ev->now = mono_now();
	rc = raft_step(n->raft, ev, &n->fx);
	for (uint32_t i = 0; i < n->fx.n; i++)
		fx_carry_out(n, &n->fx.v[i]);
	return rc;
}

int raftd_step(struct raftd *n, struct raft_event *ev)
{
	int rc;

	CHECK(!n->stepping);
	n->stepping = true;
	rc = step_once(n, ev);
	/* Each SENT answers one permission; windows and queues are finite, so this ends. */
	while (n->sent_count > 0) {
		struct raft_event sent = n->sent[0];

		n->sent_count--;
		for (uint32_t i = 0; i < n->sent_count; i++)
			n->sent[i] = n->sent[i + 1];
		(void)step_once(n, &sent);
	}
	if (ev->type == RAFT_EV_DURABLE)
		held_release(n);
	n->own = NULL;
	n->received = NULL;
	n->stepping = false;
	return rc;
}

/*
 * Silence is judged by what was fed to the core (its contract, point 6). So what has arrived is fed
 * first, and if some of it cannot be taken yet (the disk is behind, a long frame is still coming
 * in), a node that might lose patience waits a little.
 */
void raftd_tick(void *arg)
{
	struct raft_event ev = {.type = RAFT_EV_TICK};
	struct raftd *n = arg;

	peers_poll(n->peers);
	if (n->role != RAFT_LEADER &&
	    (!raftd_can_append_small(n) || peers_withheld(n->peers, n->leader))) {
		n->tick_after = mono_add_ms(loop_now(n->d->loop), TICK_PUT_OFF_MS);
		return;
	}
	(void)raftd_step(n, &ev);
}

void raftd_tick_arm(struct raftd *n)
{
	mono_t due = raft_deadline(n->raft);

	loop_timer_set(n->d->loop, &n->tick, mono_before(due, n->tick_after) ? n->tick_after : due);
}
