/* SPDX-License-Identifier: Apache-2.0 */
/* The list of effects: only written here, so the order of persisting and sending is kept here. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "raftd/core/raft_core.h"

/* A step answers each waiting read at most once, and says a few things to each peer. */
enum { EFFECTS_MAX = LIMIT_READS_WAITING + 1 + 8 * LIMIT_NODES + 16 };

void raft_effects_free(struct raft_effects *fx)
{
	free(fx->v);
	*fx = (struct raft_effects){0};
}

struct raft_effect *raft_emit(struct raft *r, enum raft_effect_type type)
{
	struct raft_effects *fx = r->fx;

	CHECK(fx != NULL && fx->n < EFFECTS_MAX);
	if (fx->n == fx->cap) {
		fx->cap = fx->cap ? fx->cap * 2 : 32;
		fx->v = mem_grow(fx->v, fx->cap, sizeof *fx->v);
	}
	struct raft_effect *e = &fx->v[fx->n++];

	*e = (struct raft_effect){.type = type};
	return e;
}

/* What goes to the log writer; a changed term or vote goes first. */
uint64_t raft_emit_log(struct raft *r, enum raft_effect_type type, struct raft_effect **out)
{
	raft_emit_hard_state(r);
	if (r->durable_seq == r->seq)
		r->disk_moved = r->now;
	*out = raft_emit(r, type);
	(*out)->seq = ++r->seq;
	return r->seq;
}

void raft_emit_hard_state(struct raft *r)
{
	struct raft_effect *e;

	if (!r->hard_dirty)
		return;
	r->hard_dirty = false;
	r->hard_seq = raft_emit_log(r, RAFT_FX_HARD_STATE, &e);
	e->hard_state.term = r->term;
	e->hard_state.vote = r->vote;
}

/* Term and vote are durable before any message that reveals them (thesis 3.8). */
void raft_emit_send(struct raft *r, struct raft_msg msg, uint64_t need_seq)
{
	raft_emit_hard_state(r);
	if (need_seq < r->hard_seq)
		need_seq = r->hard_seq;

	struct raft_effect *e = raft_emit(r, RAFT_FX_SEND);

	msg.from = r->id;
	if (msg.term == 0)
		msg.term = r->term;
	e->send.msg = msg;
	e->send.need_seq = need_seq > r->durable_seq ? need_seq : 0;
}

/*
 * A committed entry may be applied before it is durable here (a quorum has it), but then a crash
 * would leave a store ahead of its log. So what is told waits for our own disk too.
 */
void raft_emit_commit(struct raft *r)
{
	uint64_t index = r->commit < r->durable ? r->commit : r->durable;

	if (index <= r->told_commit)
		return;
	r->told_commit = index;
	raft_emit(r, RAFT_FX_COMMIT)->commit.index = index;
}
