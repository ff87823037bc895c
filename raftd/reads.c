/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which gateway asked for which read index. The core answers every READ exactly once, so a slot is
 * freed by its answer and by nothing else; a gateway that has gone only loses its place in it.
 */
#include "base/check.h"
#include "base/err.h"
#include "raftd/node.h"

static void reads_tell(struct raftd *n, struct link *link, uint64_t ctx, int err, uint64_t index)
{
	struct raftd_read_result m = {ctx, (uint64_t)err, index};

	if (err != ERR_OK)
		counter_inc(&n->counters.reads_failed);
	gateways_tell(link, MSG_NO_raftd_read_result, &raftd_read_result_desc, &m);
}

/* term 0: a gateway's read; else a lessor's question whether we lead that one. */
static void reads_add(struct raftd *n, struct link *link, uint64_t ctx, uint64_t term)
{
	struct raft_event ev = {.type = RAFT_EV_READ};

	for (uint32_t i = 0; i < READ_SLOTS; i++) {
		struct read_slot *s = &n->reads[i];

		if (s->serial & 1)
			continue;
		s->serial++;
		s->link = link;
		s->ctx = ctx;
		s->term = term;
		ev.ctx = (uint64_t)s->serial << 32 | i;
		(void)raftd_step(n, &ev);
		return;
	}
	if (term != 0)
		lessors_confirmed(n, link, ctx, ERR_FULL, term, 0);
	else
		reads_tell(n, link, ctx, ERR_FULL, 0);
}

void reads_ask(struct raftd *n, struct link *link, uint64_t ctx)
{
	counter_inc(&n->counters.reads);
	reads_add(n, link, ctx, 0);
}

void reads_confirm(struct raftd *n, struct link *link, uint64_t ctx)
{
	counter_inc(&n->counters.confirms);
	if (n->role == RAFT_LEADER)
		reads_add(n, link, ctx, n->term);
	else
		lessors_confirmed(n, link, ctx, ERR_NOT_LEADER, n->term, 0);
}

/* Asked and answered in one term that we lead: else another leader may have answered for us. */
static void reads_answer_lessor(struct raftd *n, const struct read_slot *s, int err, uint64_t index)
{
	if (err == ERR_OK && (n->role != RAFT_LEADER || n->term != s->term))
		err = ERR_NOT_LEADER;
	lessors_confirmed(n, s->link, s->ctx, err, s->term, index);
}

void reads_answer(struct raftd *n, uint64_t core_ctx, int err, uint64_t index)
{
	uint32_t i = (uint32_t)core_ctx;
	struct read_slot *s;

	CHECK(i < READ_SLOTS);
	s = &n->reads[i];
	CHECK((s->serial & 1) && s->serial == (uint32_t)(core_ctx >> 32));
	s->serial++;
	if (s->link != NULL && s->term != 0)
		reads_answer_lessor(n, s, err, index);
	else if (s->link != NULL)
		reads_tell(n, s->link, s->ctx, err, index);
	s->link = NULL;
}

void reads_forget(struct raftd *n, const struct link *link)
{
	for (uint32_t i = 0; i < READ_SLOTS; i++)
		if (n->reads[i].link == link)
			n->reads[i].link = NULL;
}
