/* SPDX-License-Identifier: Apache-2.0 */
/* The link's events, reads and asks; the proposals are in raft_clnt_propose.c. */
#include "clnt/raft_clnt.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "clnt/raft_clnt_propose.h"

#define READ_OF(l) container_of((l), struct raft_read, node)
#define ASK_OF(l) container_of((l), struct raft_ask, node)

void raft_clnt_init(struct raft_clnt *c, const struct clnt_io *io, uint64_t incarnation,
		    size_t max_proposals, size_t max_bytes)
{
	CHECK(incarnation != 0);
	*c = (struct raft_clnt){.io = *io, .incarnation = incarnation, .next_seq = 1,
				.max_proposals = max_proposals, .max_bytes = max_bytes};
	list_init(&c->unasked);
	list_init(&c->asked);
	list_init(&c->ready);
	list_init(&c->asks);
	list_init(&c->asks_done);
	raft_propose_init(c);
}

void raft_clnt_free(struct raft_clnt *c)
{
	CHECK(list_empty(&c->unasked) && list_empty(&c->asked) && list_empty(&c->ready));
	CHECK(list_empty(&c->asks) && list_empty(&c->asks_done));
	raft_propose_free(c);
}

void raft_clnt_up(struct raft_clnt *c, mono_t now)
{
	CHECK(!c->up);
	c->up = true;
	c->fresh = true;     /* a raftd killed before its newest term was durable is back with an older one */
	c->read_outstanding = false;
	c->read_retry_at = now;
	c->poll_at = mono_add_ms(now, RAFT_CLNT_POLL_MS);
	raft_clnt_resend(c);
}

void raft_clnt_down(struct raft_clnt *c)
{
	struct list *l, *next;

	c->up = false;
	c->state.leader = 0;
	c->state.role = NODE_FOLLOWER;
	c->read_outstanding = false;
	for (l = c->asks.next; l != &c->asks; l = next) {
		struct raft_ask *a = ASK_OF(l);

		next = l->next;
		a->sent = false;
		if (a->kind == RAFT_ASK_STATUS)
			continue;
		a->error = ERR_OUTCOME_UNKNOWN;   /* a transfer asked twice would be two transfers */
		list_remove(l);
		list_push(&c->asks_done, l);
	}
}

/* On one connection terms only grow: an older state is a stale one. */
static void raft_clnt_state(struct raft_clnt *c, const struct raftd_state *s, mono_t now)
{
	bool news = c->fresh || s->leader != c->state.leader || s->term != c->state.term;

	if (!c->fresh && s->term < c->state.term)
		return;
	c->fresh = false;
	c->state = *s;
	c->poll_at = mono_add_ms(now, RAFT_CLNT_POLL_MS);
	c->read_retry_at = now;
	if (news)
		raft_clnt_resend(c);
	else
		raft_propose_undelay(c);
}

/* Answers every read that was waiting when this round was asked. */
static int raft_clnt_read_result(struct raft_clnt *c, const struct raftd_read_result *r, mono_t now)
{
	struct list *l;

	if (r->ctx == 0 || r->ctx > c->read_ctx || (r->error == ERR_OK && r->index == 0))
		return ERR_MALFORMED;
	if (r->ctx == c->read_ctx)
		c->read_outstanding = false;
	if (r->error != ERR_OK) {
		if (r->ctx == c->read_ctx)
			c->read_retry_at = mono_add_ms(now, RAFT_CLNT_REFUSED_MS);
		return ERR_OK;
	}
	while ((l = list_first(&c->asked)) != NULL && READ_OF(l)->ctx <= r->ctx) {
		READ_OF(l)->index = r->index;
		list_remove(l);
		list_push(&c->ready, l);
		c->n_reads--;
	}
	return ERR_OK;
}

static struct raft_ask *raft_clnt_ask_find(struct raft_clnt *c, enum raft_ask_kind kind, uint64_t ctx)
{
	for (struct list *l = c->asks.next; l != &c->asks; l = l->next)
		if (ASK_OF(l)->kind == kind && ASK_OF(l)->ctx == ctx)
			return ASK_OF(l);
	return NULL;
}

static void raft_clnt_status_result(struct raft_clnt *c, const struct raftd_status_result *r, mono_t now)
{
	struct raft_ask *a = raft_clnt_ask_find(c, RAFT_ASK_STATUS, r->ctx);

	raft_clnt_state(c, &(struct raftd_state){r->role, r->term, r->leader, r->commit, c->state.log_begins},
			now);
	if (a == NULL)
		return;
	a->status = *r;
	a->status.peers.v = NULL;   /* they live in the message's arena */
	a->status.peers.n = 0;
	list_remove(&a->node);
	list_push(&c->asks_done, &a->node);
}

static void raft_clnt_transfer_result(struct raft_clnt *c, const struct raftd_transfer_result *r)
{
	struct raft_ask *a = raft_clnt_ask_find(c, RAFT_ASK_TRANSFER, r->ctx);

	if (a == NULL)
		return;
	a->error = r->error <= INT32_MAX ? (int)r->error : ERR_INTERNAL;
	list_remove(&a->node);
	list_push(&c->asks_done, &a->node);
}

int raft_clnt_msg(struct raft_clnt *c, const struct msg_in *in, mono_t now)
{
	switch (in->row->number) {
	case MSG_NO_raftd_refuse:
		raft_propose_refuse(c, in->msg, now);
		return ERR_OK;
	case MSG_NO_raftd_read_result:
		return raft_clnt_read_result(c, in->msg, now);
	case MSG_NO_raftd_state:
		raft_clnt_state(c, in->msg, now);
		return ERR_OK;
	case MSG_NO_raftd_status_result:
		raft_clnt_status_result(c, in->msg, now);
		return ERR_OK;
	case MSG_NO_raftd_transfer_result:
		raft_clnt_transfer_result(c, in->msg);
		return ERR_OK;
	default:
		return ERR_UNKNOWN_METHOD;   /* a message that only gatewayd sends */
	}
}

static bool raft_clnt_round_due(const struct raft_clnt *c, mono_t now)
{
	mono_t again = mono_add_ms(c->read_asked_at, RAFT_CLNT_READ_MS);

	if (c->n_reads == 0 || c->state.leader == 0 || mono_before(now, c->read_retry_at))
		return false;
	return !c->read_outstanding || !mono_before(now, again);
}

/* Whoever waits takes part: the round is asked after all of them have arrived. */
static void raft_clnt_round(struct raft_clnt *c, mono_t now)
{
	struct raftd_read ask = {c->read_ctx + 1};

	if (c->io.send(c->io.arg, MSG_NO_raftd_read, &raftd_read_desc, &ask) != ERR_OK)
		return;
	c->read_ctx++;
	c->n_rounds++;
	c->read_outstanding = true;
	c->read_asked_at = now;
	for (struct list *l = c->unasked.next; l != &c->unasked; l = l->next)
		READ_OF(l)->ctx = c->read_ctx;
	list_splice(&c->asked, &c->unasked);
}

static void raft_clnt_send_ask(struct raft_clnt *c, struct raft_ask *a)
{
	struct raftd_status_ask status = {a->ctx};
	struct raftd_transfer transfer = {a->ctx, a->target};

	if (!c->up || a->sent)
		return;
	if (a->kind == RAFT_ASK_STATUS)
		a->sent = c->io.send(c->io.arg, MSG_NO_raftd_status_ask, &raftd_status_ask_desc,
				     &status) == ERR_OK;
	else
		a->sent = c->io.send(c->io.arg, MSG_NO_raftd_transfer, &raftd_transfer_desc,
				     &transfer) == ERR_OK;
}

static bool raft_clnt_polls(const struct raft_clnt *c)
{
	return c->up && c->state.leader == 0 && (c->n_reads > 0 || c->n_proposals > 0);
}

/* raftd tells each change by itself; asking as well costs nothing and needs no trust. */
static void raft_clnt_poll(struct raft_clnt *c, mono_t now)
{
	struct raftd_status_ask ask = {0};

	if (!raft_clnt_polls(c) || mono_before(now, c->poll_at))
		return;
	c->poll_at = mono_add_ms(now, RAFT_CLNT_POLL_MS);
	(void)c->io.send(c->io.arg, MSG_NO_raftd_status_ask, &raftd_status_ask_desc, &ask);
}

bool raft_clnt_flush(struct raft_clnt *c, mono_t now)
{
	if (!c->up)
		return false;
	for (struct list *l = c->asks.next; l != &c->asks; l = l->next)
		raft_clnt_send_ask(c, ASK_OF(l));
	raft_clnt_poll(c, now);
	if (raft_clnt_round_due(c, now))
		raft_clnt_round(c, now);
	return raft_propose_flush(c, now);
}

mono_t raft_clnt_due(const struct raft_clnt *c)
{
	mono_t due = MONO_NEVER, read;

	if (!c->up)
		return due;
	if (raft_clnt_polls(c))
		due = c->poll_at;
	if (c->state.leader == 0)
		return due;
	if (c->n_reads > 0) {
		read = c->read_outstanding ? mono_add_ms(c->read_asked_at, RAFT_CLNT_READ_MS)
					   : c->read_retry_at;
		due = mono_min(due, read);
	}
	return mono_min(due, raft_propose_due(c));
}

void raft_clnt_read(struct raft_clnt *c, struct raft_read *r)
{
	r->ctx = 0;
	r->index = 0;
	list_push(&c->unasked, &r->node);
	c->n_reads++;
}

struct raft_read *raft_clnt_pop_read(struct raft_clnt *c)
{
	struct list *l = list_pop(&c->ready);

	return l != NULL ? READ_OF(l) : NULL;
}

int raft_clnt_read_give_up(struct raft_clnt *c, struct raft_read *r)
{
	CHECK(list_linked(&r->node));
	list_remove(&r->node);
	if (r->index == 0)
		c->n_reads--;
	return c->state.leader == 0 ? ERR_NO_LEADER : ERR_TIMEOUT;
}

static void raft_clnt_ask(struct raft_clnt *c, struct raft_ask *a, enum raft_ask_kind kind, uint64_t target)
{
	*a = (struct raft_ask){.kind = kind, .ctx = ++c->ask_ctx, .target = target};
	list_push(&c->asks, &a->node);
	raft_clnt_send_ask(c, a);
}

void raft_clnt_status(struct raft_clnt *c, struct raft_ask *a)
{
	raft_clnt_ask(c, a, RAFT_ASK_STATUS, 0);
}

int raft_clnt_transfer(struct raft_clnt *c, struct raft_ask *a, uint64_t target)
{
	if (!c->up)
		return ERR_NO_LEADER;
	raft_clnt_ask(c, a, RAFT_ASK_TRANSFER, target);
	return ERR_OK;
}

struct raft_ask *raft_clnt_pop_ask(struct raft_clnt *c)
{
	struct list *l = list_pop(&c->asks_done);

	return l != NULL ? ASK_OF(l) : NULL;
}

void raft_clnt_ask_give_up(struct raft_clnt *c, struct raft_ask *a)
{
	(void)c;
	list_remove(&a->node);
}
