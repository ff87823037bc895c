/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linearizable reads without the log (thesis 6.4). A leader remembers its commit index, then has a
 * quorum confirm, by answering an append sent after that, that it still leads. One such round is
 * under way at a time; every read that arrives meanwhile waits for the next one, so it is only ever
 * confirmed by appends sent after it arrived. Rounds are numbered within a term and answers carry
 * both numbers: an answer that was held up (a pause, a slow link) confirms nothing newer.
 *
 * A follower does the same with requests to the leader in the place of rounds. Request numbers
 * start at a random place, so that an answer to the process before us confirms nothing either.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/core/raft_core.h"

void raft_read_init(struct raft *r)
{
	r->reads.cap = r->cfg.reads_max;
	r->reads.ctx = mem_array(r->reads.cap, sizeof *r->reads.ctx);
	r->reads.id = raft_rand(r);
}

void raft_read_free(struct raft *r)
{
	free(r->reads.ctx);
}

static void emit_read(struct raft *r, enum raft_effect_type type, uint64_t ctx, uint64_t index)
{
	struct raft_effect *e = raft_emit(r, type);

	e->read.ctx = ctx;
	e->read.index = index;
}

void raft_read_add(struct raft *r, uint64_t ctx)
{
	struct raft_reads *q = &r->reads;

	if (r->leader == 0 || q->count == q->cap) {
		emit_read(r, RAFT_FX_READ_FAIL, ctx, 0);
		return;
	}
	q->ctx[(q->head + q->count++) % q->cap] = ctx;
}

static void take_oldest(struct raft *r, uint32_t n, enum raft_effect_type type, uint64_t index)
{
	struct raft_reads *q = &r->reads;

	CHECK(n <= q->count);
	for (; n > 0; n--) {
		emit_read(r, type, q->ctx[q->head], index);
		q->head = (q->head + 1) % q->cap;
		q->count--;
	}
}

static void close_asked(struct raft *r, enum raft_effect_type type, uint64_t index)
{
	struct raft_reads *q = &r->reads;

	take_oldest(r, q->asked, type, index);
	q->asked = 0;
	q->open = false;
}

void raft_read_fail_all(struct raft *r)
{
	close_asked(r, RAFT_FX_READ_FAIL, 0);
	take_oldest(r, r->reads.count, RAFT_FX_READ_FAIL, 0);
}

/* ---- at the leader ---- */

static bool round_wanted(const struct raft *r)
{
	bool wanted = r->reads.count > 0;

	for (uint32_t i = 0; i < r->peer_count; i++)
		wanted |= r->peers[i].read_slot == RAFT_READ_WAITING;
	/* Before an entry of its own term is committed it does not know what is committed. */
	return wanted && r->commit >= r->term_first;
}

static void round_begin(struct raft *r)
{
	struct raft_reads *q = &r->reads;

	CHECK(!q->open && q->asked == 0);
	q->open = true;
	q->asked = q->count;
	q->index = r->commit;
	r->round++;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct raft_peer *p = &r->peers[i];

		p->beat_due = true;
		if (p->read_slot == RAFT_READ_WAITING)
			p->read_slot = RAFT_READ_IN_ROUND;
	}
}

static bool round_confirmed(const struct raft *r)
{
	uint32_t n = 1;

	for (uint32_t i = 0; i < r->peer_count; i++)
		n += r->peers[i].round_acked == r->round;
	return n >= r->quorum;
}

static void read_answer(struct raft *r, struct raft_peer *p, uint64_t id, bool ok)
{
	struct raft_msg m = {.type = RAFT_MSG_READ_RESP, .to = p->id};

	m.read.id = id;
	m.read.ok = ok;
	m.read.index = ok ? r->reads.index : 0;
	raft_emit_send(r, m, 0);
}

static void round_end(struct raft *r)
{
	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct raft_peer *p = &r->peers[i];

		if (p->read_slot == RAFT_READ_IN_ROUND) {
			p->read_slot = RAFT_READ_NONE;
			read_answer(r, p, p->read_id, true);
		}
	}
	close_asked(r, RAFT_FX_READ_OK, r->reads.index);
}

static void leader_advance(struct raft *r)
{
	if (r->reads.open && round_confirmed(r))
		round_end(r);
	if (!r->reads.open && round_wanted(r)) {
		round_begin(r);
		if (round_confirmed(r))    /* alone */
			round_end(r);
	}
}

/* A peer has one request open at a time: a second one means that it gave up the first. */
int raft_recv_read_req(struct raft *r, struct raft_peer *p, const struct raft_msg *m)
{
	if (r->role != RAFT_LEADER) {
		read_answer(r, p, m->read.id, false);
		return raft_refuse(r, RAFT_REFUSED_NOT_FOR_ME_NOW);
	}
	if (p->read_slot == RAFT_READ_NONE || p->read_id != m->read.id) {
		p->read_slot = RAFT_READ_WAITING;
		p->read_id = m->read.id;
	}
	return ERR_OK;
}

/* ---- at a follower ---- */

static void request_begin(struct raft *r)
{
	struct raft_reads *q = &r->reads;
	struct raft_msg m = {.type = RAFT_MSG_READ_REQ, .to = r->leader};

	q->open = true;
	q->asked = q->count;
	q->give_up_at = mono_add_ms(r->now, r->cfg.election_max_ms);
	m.read.id = ++q->id;
	raft_emit_send(r, m, 0);
}

int raft_recv_read_resp(struct raft *r, const struct raft_msg *m)
{
	struct raft_reads *q = &r->reads;

	if (r->role != RAFT_FOLLOWER || r->leader != m->from || !q->open || q->id != m->read.id)
		return raft_refuse(r, RAFT_REFUSED_NOT_FOR_ME_NOW);
	close_asked(r, m->read.ok ? RAFT_FX_READ_OK : RAFT_FX_READ_FAIL, m->read.index);
	return ERR_OK;
}

void raft_read_tick(struct raft *r)
{
	if (r->role != RAFT_LEADER && r->reads.open && !mono_before(r->now, r->reads.give_up_at))
		close_asked(r, RAFT_FX_READ_FAIL, 0);
}

void raft_read_advance(struct raft *r)
{
	if (r->role == RAFT_LEADER)
		leader_advance(r);
	else if (r->role == RAFT_FOLLOWER && r->leader != 0 && !r->reads.open && r->reads.count > 0)
		request_begin(r);
}
