/* SPDX-License-Identifier: Apache-2.0 */
#include "clnt/raft_clnt_propose.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

/* Seqs in flight lie close together, so the low bits spread them perfectly. */
enum { RAFT_BUCKETS = 8192, RAFT_OPEN_ARENA = 1u << 26 };

#define PROPOSAL_OF(l) container_of((l), struct raft_proposal, node)

static struct raft_proposal **raft_slot(struct raft_clnt *c, uint64_t seq)
{
	struct raft_proposal **at = &c->buckets[seq % RAFT_BUCKETS];

	while (*at != NULL && (*at)->seq != seq)
		at = &(*at)->hash_next;
	return at;
}

static void raft_move(struct raft_clnt *c, struct raft_proposal *p, enum raft_place place, mono_t now)
{
	if (p->place == RAFT_PLACE_QUEUED)
		c->n_queued--;
	list_remove(&p->node);
	p->place = place;
	p->moved = now;
	switch (place) {
	case RAFT_PLACE_NONE:
		return;
	case RAFT_PLACE_QUEUED:
		c->n_queued++;
		list_push(&c->queued, &p->node);
		return;
	case RAFT_PLACE_SENT:
		CHECK(p->attempts > 0);
		list_push(&c->sent[(p->attempts < RAFT_CLNT_BACKOFFS ? p->attempts
								     : RAFT_CLNT_BACKOFFS) - 1], &p->node);
		return;
	case RAFT_PLACE_DELAYED:
		list_push(&c->delayed, &p->node);
		return;
	case RAFT_PLACE_FAILED:
		list_push(&c->failed, &p->node);
		return;
	}
}

/* The exact bytes, since up to LIMIT_GATEWAY_PROPOSALS of them are kept. */
static int raft_encode(struct raft_proposal *p, const struct command *cmd)
{
	struct buf b;
	int err;

	buf_init(&b, LIMIT_REQUEST_BYTES);
	err = msg_encode(&b, &command_desc, cmd);
	if (err == ERR_OK) {
		mem_free(p->command);
		p->command = mem_dup(b.data, b.len);
		p->len = b.len;
	}
	buf_free(&b);
	return err == ERR_LIMIT ? ERR_REQUEST_TOO_LARGE : err;
}

static void raft_enter(struct raft_clnt *c, struct raft_proposal *p)
{
	struct raft_proposal **at = raft_slot(c, p->seq);

	CHECK(*at == NULL);
	*at = p;
	p->hash_next = NULL;
	list_init(&p->node);
	p->place = RAFT_PLACE_NONE;
	p->attempts = 0;
	p->refused = false;
	p->error = ERR_OK;
	c->n_proposals++;
	c->n_bytes += p->len;
	raft_move(c, p, RAFT_PLACE_QUEUED, (mono_t){0});
}

static void raft_leave(struct raft_clnt *c, struct raft_proposal *p)
{
	struct raft_proposal **at = raft_slot(c, p->seq);

	CHECK(*at == p);
	*at = p->hash_next;
	raft_move(c, p, RAFT_PLACE_NONE, (mono_t){0});
	c->n_proposals--;
	c->n_bytes -= p->len;
	mem_free(p->command);
	p->command = NULL;
}

static void raft_open_session(struct raft_clnt *c)
{
	struct command cmd = {.gateway = c->incarnation, .seq = 0};

	c->session_open = false;
	c->n_sessions++;
	c->open = (struct raft_proposal){.seq = 0};
	CHECK(raft_encode(&c->open, &cmd) == ERR_OK);
	raft_enter(c, &c->open);
}

void raft_propose_init(struct raft_clnt *c)
{
	c->buckets = mem_array(RAFT_BUCKETS, sizeof(c->buckets[0]));
	list_init(&c->queued);
	list_init(&c->delayed);
	list_init(&c->failed);
	for (size_t i = 0; i < RAFT_CLNT_BACKOFFS; i++)
		list_init(&c->sent[i]);
	raft_open_session(c);
}

void raft_propose_free(struct raft_clnt *c)
{
	if (!c->session_open)
		raft_leave(c, &c->open);
	CHECK(c->n_proposals == 0 && c->n_bytes == 0);
	mem_free(c->buckets);
	c->buckets = NULL;
}

int raft_clnt_propose(struct raft_clnt *c, struct raft_proposal *p, struct command *cmd)
{
	int err;

	if (c->n_proposals >= c->max_proposals)
		return ERR_TOO_MANY_REQUESTS;
	cmd->gateway = c->incarnation;
	cmd->seq = c->next_seq;
	err = raft_encode(p, cmd);
	if (err == ERR_OK && c->n_bytes + p->len > c->max_bytes) {
		mem_free(p->command);
		p->command = NULL;
		err = ERR_TOO_MANY_REQUESTS;
	}
	if (err != ERR_OK)
		return err;
	p->seq = c->next_seq++;
	raft_enter(c, p);
	return ERR_OK;
}

static void raft_requeue(struct raft_clnt *c, struct list *from)
{
	struct list *l;

	while ((l = list_first(from)) != NULL)
		raft_move(c, PROPOSAL_OF(l), RAFT_PLACE_QUEUED, (mono_t){0});
}

/* The oldest first, before what has not been sent at all. */
void raft_clnt_resend(struct raft_clnt *c)
{
	struct list waiting;

	list_init(&waiting);
	list_splice(&waiting, &c->queued);
	for (size_t i = RAFT_CLNT_BACKOFFS; i-- > 0;)
		raft_requeue(c, &c->sent[i]);
	raft_requeue(c, &c->delayed);
	list_splice(&c->queued, &waiting);
}

void raft_propose_undelay(struct raft_clnt *c)
{
	raft_requeue(c, &c->delayed);
}

void raft_propose_refuse(struct raft_clnt *c, const struct raftd_refuse *r, mono_t now)
{
	for (size_t i = 0; i < r->refused.n; i++) {
		const struct raftd_refused *no = &r->refused.v[i];
		struct raft_proposal *p = *raft_slot(c, no->seq);

		if (p == NULL || p->place != RAFT_PLACE_SENT)
			continue;                     /* answered, or on its way again */
		c->n_refused++;
		if (p->attempts == 1)
			p->refused = true;
		if (no->error == ERR_REQUEST_TOO_LARGE && p != &c->open) {
			p->error = ERR_REQUEST_TOO_LARGE;
			raft_move(c, p, RAFT_PLACE_FAILED, now);
		} else {
			raft_move(c, p, RAFT_PLACE_DELAYED, now);
		}
	}
}

static void raft_session_result(struct raft_clnt *c, int error, mono_t now)
{
	if (error == ERR_OK) {
		raft_leave(c, &c->open);
		c->session_open = true;
	} else if (c->open.place == RAFT_PLACE_SENT) {
		raft_move(c, &c->open, RAFT_PLACE_DELAYED, now);
	}
}

struct raft_proposal *raft_clnt_result(struct raft_clnt *c, uint64_t seq, int error, mono_t now)
{
	struct raft_proposal *p = *raft_slot(c, seq);

	if (p == NULL || p->place == RAFT_PLACE_FAILED)
		return NULL;
	if (p == &c->open) {
		raft_session_result(c, error, now);
		return NULL;
	}
	if (error == ERR_OUTCOME_UNKNOWN && seq > c->best_seq)
		c->session_lost = true;
	else if (error != ERR_OUTCOME_UNKNOWN && seq > c->best_seq)
		c->best_seq = seq;
	raft_leave(c, p);
	return p;
}

struct raft_proposal *raft_clnt_pop_failed(struct raft_clnt *c)
{
	struct list *l = list_first(&c->failed);

	if (l == NULL)
		return NULL;
	raft_leave(c, PROPOSAL_OF(l));
	return PROPOSAL_OF(l);
}

static bool raft_surely_undone(const struct raft_proposal *p)
{
	return p->attempts == 0 || p->refused;
}

/* Why a command has never got into the log. */
static int raft_obstacle(const struct raft_clnt *c)
{
	if (c->state.leader == 0)
		return ERR_NO_LEADER;
	return c->session_open ? ERR_TOO_MANY_REQUESTS : ERR_STORE_DOWN;
}

int raft_clnt_give_up(struct raft_clnt *c, struct raft_proposal *p)
{
	int err = raft_surely_undone(p) ? raft_obstacle(c) : ERR_TIMEOUT;

	if (p->place == RAFT_PLACE_FAILED)
		err = p->error;
	raft_leave(c, p);
	return err;
}

/* Our own encoding, taken apart again to change its first field. */
static void raft_readdress(struct raft_clnt *c, struct raft_proposal *p)
{
	struct wire w = wire_of(bytes_of(p->command, p->len), WIRE_STRICT);
	struct command cmd;
	struct arena arena;
	size_t before = p->len;
	int err;

	arena_init(&arena, RAFT_OPEN_ARENA);
	CHECK(msg_decode(&w, &command_desc, &arena, &cmd) == ERR_OK && wire_end(&w) == ERR_OK);
	cmd.gateway = c->incarnation;
	err = raft_encode(p, &cmd);
	arena_free(&arena);
	c->n_bytes += p->len - before;
	p->attempts = 0;
	p->refused = false;
	if (err != ERR_OK) {                          /* the new number is longer: over the limit */
		p->error = err;
		raft_move(c, p, RAFT_PLACE_FAILED, (mono_t){0});
	}
}

static void raft_rescue(struct raft_clnt *c, struct list *from)
{
	struct list *l;

	while ((l = list_pop(from)) != NULL) {
		struct raft_proposal *p = PROPOSAL_OF(l);

		list_push(&c->queued, l);             /* keeps its place: all are queued here */
		if (raft_surely_undone(p)) {
			raft_readdress(c, p);
			continue;
		}
		p->error = ERR_OUTCOME_UNKNOWN;
		raft_move(c, p, RAFT_PLACE_FAILED, (mono_t){0});
	}
}

void raft_clnt_new_session(struct raft_clnt *c, uint64_t incarnation)
{
	struct list all;

	CHECK(incarnation != 0 && incarnation != c->incarnation);
	c->incarnation = incarnation;
	c->session_lost = false;
	if (!c->session_open)
		raft_leave(c, &c->open);
	raft_clnt_resend(c);                          /* now all but the failed are queued */
	list_init(&all);
	list_splice(&all, &c->queued);
	raft_rescue(c, &all);
	raft_open_session(c);
}

static void raft_expire(struct raft_clnt *c, mono_t now)
{
	struct list *l;

	for (size_t i = 0; i < RAFT_CLNT_BACKOFFS; i++) {
		int64_t ms = (int64_t)RAFT_CLNT_RESEND_MS << i;

		while ((l = list_first(&c->sent[i])) != NULL &&
		       !mono_before(now, mono_add_ms(PROPOSAL_OF(l)->moved, ms)))
			raft_move(c, PROPOSAL_OF(l), RAFT_PLACE_QUEUED, now);
	}
	while ((l = list_first(&c->delayed)) != NULL &&
	       !mono_before(now, mono_add_ms(PROPOSAL_OF(l)->moved, RAFT_CLNT_REFUSED_MS)))
		raft_move(c, PROPOSAL_OF(l), RAFT_PLACE_QUEUED, now);
}

/* The next one to send: until the session is open, only its own command. */
static struct raft_proposal *raft_next(struct raft_clnt *c)
{
	struct list *l = list_first(&c->queued);

	if (!c->session_open)
		return c->open.place == RAFT_PLACE_QUEUED ? &c->open : NULL;
	return l != NULL ? PROPOSAL_OF(l) : NULL;
}

static void raft_batch_sent(struct raft_clnt *c, struct list *batch, mono_t now)
{
	struct list *l;

	c->n_batches++;
	while ((l = list_first(batch)) != NULL) {
		struct raft_proposal *p = PROPOSAL_OF(l);

		if (p->attempts++ > 0)
			c->n_resent++;
		p->refused = false;
		raft_move(c, p, RAFT_PLACE_SENT, now);
	}
}

/* One frame. The size is checked before an item is added, so the last one may exceed it. */
static bool raft_send_batch(struct raft_clnt *c, mono_t now)
{
	static const size_t overhead = 24;            /* of an item in the frame */
	struct raftd_proposal items[LIMIT_BATCH_ITEMS];
	struct raftd_propose msg = {{items, 0}};
	struct raft_proposal *p;
	struct list batch;
	size_t bytes = 0;

	list_init(&batch);
	while (msg.proposals.n < LIMIT_BATCH_ITEMS && bytes < LIMIT_BATCH_BYTES &&
	       (p = raft_next(c)) != NULL && (p != &c->open || msg.proposals.n == 0)) {
		items[msg.proposals.n++] = (struct raftd_proposal){p->seq, bytes_of(p->command, p->len)};
		bytes += p->len + overhead;
		list_remove(&p->node);                /* still counted as queued */
		list_push(&batch, &p->node);
		if (p == &c->open)
			break;
	}
	if (msg.proposals.n == 0)
		return false;
	if (c->io.send(c->io.arg, MSG_NO_raftd_propose, &raftd_propose_desc, &msg) == ERR_OK) {
		raft_batch_sent(c, &batch, now);
		return true;
	}
	list_splice(&batch, &c->queued);
	list_splice(&c->queued, &batch);
	return false;
}

bool raft_propose_flush(struct raft_clnt *c, mono_t now)
{
	raft_expire(c, now);
	if (c->state.leader == 0)
		return false;                         /* it would only be refused */
	for (int i = 0; i < RAFT_CLNT_FLUSH_BATCHES; i++)
		if (!raft_send_batch(c, now))
			return false;
	return raft_next(c) != NULL;
}

mono_t raft_propose_due(const struct raft_clnt *c)
{
	mono_t due = MONO_NEVER;
	struct list *l;

	for (size_t i = 0; i < RAFT_CLNT_BACKOFFS; i++)
		if ((l = list_first(&c->sent[i])) != NULL)
			due = mono_min(due, mono_add_ms(PROPOSAL_OF(l)->moved,
							(int64_t)RAFT_CLNT_RESEND_MS << i));
	if ((l = list_first(&c->delayed)) != NULL)
		due = mono_min(due, mono_add_ms(PROPOSAL_OF(l)->moved, RAFT_CLNT_REFUSED_MS));
	return due;
}
