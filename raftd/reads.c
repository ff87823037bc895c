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

void reads_ask(struct raftd *n, struct link *link, uint64_t ctx)
{
	struct raft_event ev = {.type = RAFT_EV_READ};

	counter_inc(&n->counters.reads);
	for (uint32_t i = 0; i < READ_SLOTS; i++) {
		struct read_slot *s = &n->reads[i];

		if (s->serial & 1)
			continue;
		s->serial++;
		s->link = link;
		s->ctx = ctx;
		ev.ctx = (uint64_t)s->serial << 32 | i;
		(void)raftd_step(n, &ev);
		return;
	}
	reads_tell(n, link, ctx, ERR_FULL, 0);
}

void reads_answer(struct raftd *n, uint64_t core_ctx, int err, uint64_t index)
{
	uint32_t i = (uint32_t)core_ctx;
	struct read_slot *s;

	CHECK(i < READ_SLOTS);
	s = &n->reads[i];
	CHECK((s->serial & 1) && s->serial == (uint32_t)(core_ctx >> 32));
	s->serial++;
	if (s->link != NULL)
		reads_tell(n, s->link, s->ctx, err, index);
	s->link = NULL;
}

void reads_forget(struct raftd *n, const struct link *link)
{
	for (uint32_t i = 0; i < READ_SLOTS; i++)
		if (n->reads[i].link == link)
			n->reads[i].link = NULL;
}
