/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on their way, and the time. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/script/world.h"

enum { DELIVERIES_MAX = 100000 };   /* of one command: more is a storm */

static void mail_put(struct world *w, const struct world_mail *mail)
{
	if (w->cut[mail->m.from][mail->m.to] || w->node[mail->m.to].r == NULL)
		return;
	if (w->n_mail == w->mail_cap) {
		w->mail_cap = w->mail_cap * 2 + 16;
		w->mail = mem_grow(w->mail, w->mail_cap, sizeof *w->mail);
	}
	w->mail[w->n_mail++] = *mail;
}

void world_send(struct world *w, const struct raft_msg *m)
{
	struct world_mail mail = {.m = *m};

	mail_put(w, &mail);
}

/* The APPEND that a REPLICATE permits, with all its entries. */
void world_append(struct world *w, const struct world_node *n, const struct raft_effect *e)
{
	struct world_mail mail = {.m = {.type = RAFT_MSG_APPEND,
					.from = (uint64_t)(n - w->node),
					.to = e->replicate.peer,
					.term = e->replicate.term}};
	struct raft_msg_append *a = &mail.m.append;

	a->prev_index = e->replicate.prev_index;
	a->prev_term = e->replicate.prev_term;
	a->commit = e->replicate.commit;
	a->round = e->replicate.round;
	for (uint64_t i = e->replicate.first; i <= e->replicate.last; i++)
		mail.terms[a->n++] = n->mem.terms[i];
	mail_put(w, &mail);
}

/* A snapshot is of what the sender has applied. */
void world_snapshot(struct world *w, uint64_t from, uint64_t to)
{
	struct world_mail mail = {.m = {.from = from, .to = to},
				  .snapshot = w->node[from].applied};

	mail.snapshot_term = w->node[from].mem.terms[mail.snapshot];
	mail_put(w, &mail);
}

void world_lose(struct world *w, uint64_t id)
{
	size_t keep = 0;

	for (size_t i = 0; i < w->n_mail; i++) {
		if (w->mail[i].m.from != id && w->mail[i].m.to != id)
			w->mail[keep++] = w->mail[i];
	}
	w->n_mail = keep;
}

struct world_mail world_take(struct world *w, size_t at)
{
	struct world_mail mail = w->mail[at];

	w->n_mail--;
	memmove(w->mail + at, w->mail + at + 1, (w->n_mail - at) * sizeof *w->mail);
	return mail;
}

static void snapshot_deliver(struct world *w, const struct world_mail *mail)
{
	struct world_node *to = &w->node[mail->m.to];

	if (to->applied < mail->snapshot)
		to->applied = mail->snapshot;
	world_step(w, mail->m.to, (struct raft_event){.type = RAFT_EV_INSTALLED,
						      .index = mail->snapshot,
						      .index_term = mail->snapshot_term});
	world_step(w, mail->m.from, (struct raft_event){.type = RAFT_EV_SNAPSHOT_DONE,
							.peer = mail->m.to});
}

void world_deliver(struct world *w, const struct world_mail *mail)
{
	struct raft_msg m = mail->m;

	if (!w->terse || mail->snapshot)
		say_mail(w, "", mail);
	if (mail->snapshot) {
		snapshot_deliver(w, mail);
		return;
	}
	if (m.type == RAFT_MSG_APPEND)
		m.append.terms = mail->terms;
	world_step(w, m.to, (struct raft_event){.type = RAFT_EV_RECV, .msg = &m});
}

void world_settle(struct world *w)
{
	for (int n = 0; w->n_mail > 0 && !w->failure[0]; n++) {
		struct world_mail mail = world_take(w, 0);

		if (n == DELIVERIES_MAX)
			world_fail(w, "messages without end");
		world_deliver(w, &mail);
	}
}

/* The node whose timer is the next, or 0. */
static uint64_t next_timer(struct world *w, mono_t end)
{
	uint64_t next = 0;
	mono_t first = end;

	for (uint64_t id = 1; id <= w->n; id++) {
		mono_t at = w->node[id].r ? raft_deadline(w->node[id].r) : MONO_NEVER;

		if (mono_before(at, first) || (next == 0 && at.ns == first.ns)) {
			first = at;
			next = id;
		}
	}
	return next;
}

void world_wait(struct world *w, uint32_t ms, bool deliver)
{
	mono_t end = mono_add_ms(w->now, ms);
	uint64_t id;

	while (!w->failure[0] && (id = next_timer(w, end)) != 0) {
		mono_t at = raft_deadline(w->node[id].r);

		if (mono_before(w->now, at))
			w->now = at;
		world_step(w, id, (struct raft_event){.type = RAFT_EV_TICK});
		if (deliver)
			world_settle(w);
	}
	w->now = end;
}
