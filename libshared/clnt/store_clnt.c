/* SPDX-License-Identifier: Apache-2.0 */
#include "clnt/store_clnt.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"

#define WAIT_OF(l) container_of((l), struct store_wait, node)
#define COMPACT_OF(l) container_of((l), struct store_compact_wait, node)
#define ASK_OF(l) container_of((l), struct store_ask, node)

void store_clnt_init(struct store_clnt *c, const struct clnt_io *io)
{
	*c = (struct store_clnt){.io = *io};
	list_init(&c->waits);
	list_init(&c->applied);
	list_init(&c->compact_waits);
	list_init(&c->compacted);
	list_init(&c->asks);
	list_init(&c->asks_done);
}

void store_clnt_free(struct store_clnt *c)
{
	CHECK(list_empty(&c->waits) && list_empty(&c->applied));
	CHECK(list_empty(&c->compact_waits) && list_empty(&c->compacted));
	CHECK(list_empty(&c->asks) && list_empty(&c->asks_done));
}

static void store_send_ask(struct store_clnt *c, struct store_ask *a)
{
	struct store_status_ask status = {a->ctx};
	struct store_hash_ask hash = {a->ctx, a->revision};

	if (!c->up || a->sent)
		return;
	if (a->kind == STORE_ASK_STATUS)
		a->sent = c->io.send(c->io.arg, MSG_NO_store_status_ask, &store_status_ask_desc,
				     &status) == ERR_OK;
	else
		a->sent = c->io.send(c->io.arg, MSG_NO_store_hash_ask, &store_hash_ask_desc,
				     &hash) == ERR_OK;
}

void store_clnt_flush(struct store_clnt *c)
{
	for (struct list *l = c->asks.next; l != &c->asks; l = l->next)
		store_send_ask(c, ASK_OF(l));
}

void store_clnt_up(struct store_clnt *c)
{
	CHECK(!c->up);
	c->up = true;
	c->fresh = true;
	for (struct list *l = c->asks.next; l != &c->asks; l = l->next)
		ASK_OF(l)->sent = false;
	store_clnt_flush(c);
}

void store_clnt_down(struct store_clnt *c)
{
	c->up = false;
}

static void store_release(struct store_clnt *c)
{
	struct list *l;

	while ((l = list_first(&c->waits)) != NULL && WAIT_OF(l)->index <= c->progress.applied) {
		list_remove(l);
		list_push(&c->applied, l);
		c->n_waits--;
	}
}

static void store_moved(struct store_clnt *c)
{
	if (c->furthest < c->progress.applied)
		c->furthest = c->progress.applied;
	if (c->furthest_revision < c->progress.revision)
		c->furthest_revision = c->progress.revision;
	store_release(c);
}

static void store_release_compacted(struct store_clnt *c)
{
	struct list *l, *next;

	for (l = c->compact_waits.next; l != &c->compact_waits; l = next) {
		next = l->next;
		if (COMPACT_OF(l)->revision > c->progress.compacted_revision)
			continue;
		list_remove(l);
		list_push(&c->compacted, l);
	}
}

static bool store_progress_older(const struct store_progress *a, const struct store_progress *b)
{
	return a->generation != b->generation ? a->generation < b->generation : a->applied < b->applied;
}

/*
 * Within a connection nothing goes back, so an older progress is a stale one. The first one of a
 * connection is taken as it is: a newer generation may start behind the old one.
 */
static void store_progress_news(struct store_clnt *c, const struct store_progress *p)
{
	bool older = c->known && store_progress_older(p, &c->progress);

	if (older && !c->fresh)
		return;
	if (!c->known || older || p->generation != c->progress.generation)
		c->epoch++;
	c->known = true;
	c->fresh = false;
	c->progress = *p;
	store_moved(c);
	store_release_compacted(c);
}

void store_clnt_saw(struct store_clnt *c, uint64_t epoch, uint64_t applied, int64_t revision)
{
	if (!c->known || epoch != c->epoch || applied <= c->progress.applied)
		return;
	c->progress.applied = applied;
	c->progress.revision = revision;      /* who is let go by the one goes on from the other */
	store_moved(c);
}

static struct store_ask *store_ask_find(struct store_clnt *c, enum store_ask_kind kind, uint64_t ctx)
{
	for (struct list *l = c->asks.next; l != &c->asks; l = l->next)
		if (ASK_OF(l)->kind == kind && ASK_OF(l)->ctx == ctx)
			return ASK_OF(l);
	return NULL;
}

static void store_ask_end(struct store_clnt *c, struct store_ask *a, struct bytes *digest)
{
	if (digest->len == sizeof a->digest)
		memcpy(a->digest, digest->data, sizeof a->digest);
	*digest = bytes_of(a->digest, digest->len == sizeof a->digest ? digest->len : 0);
	list_remove(&a->node);
	list_push(&c->asks_done, &a->node);
}

static void store_status_news(struct store_clnt *c, const struct store_status_result *r)
{
	struct store_ask *a = store_ask_find(c, STORE_ASK_STATUS, r->ctx);

	if (a == NULL)
		return;
	a->u.status = *r;
	store_ask_end(c, a, &a->u.status.apply_hash);
}

static void store_hash_news(struct store_clnt *c, const struct store_hash_result *r)
{
	struct store_ask *a = store_ask_find(c, STORE_ASK_HASH, r->ctx);

	if (a == NULL)
		return;
	a->u.hash = *r;
	store_ask_end(c, a, &a->u.hash.hash);
}

int store_clnt_msg(struct store_clnt *c, const struct msg_in *in)
{
	switch (in->row->number) {
	case MSG_NO_store_progress:
		store_progress_news(c, in->msg);
		return ERR_OK;
	case MSG_NO_store_status_result:
		store_status_news(c, in->msg);
		return ERR_OK;
	case MSG_NO_store_hash_result:
		store_hash_news(c, in->msg);
		return ERR_OK;
	default:
		return ERR_UNKNOWN_METHOD;   /* a message that only gatewayd sends, or not for us */
	}
}

/* Indexes nearly always grow, so the place is found at the end. */
void store_clnt_wait(struct store_clnt *c, struct store_wait *w, uint64_t index)
{
	struct list *at = c->waits.prev;

	w->index = index;
	while (at != &c->waits && WAIT_OF(at)->index > index)
		at = at->prev;
	list_insert_before(at->next, &w->node);
	c->n_waits++;
	if (c->known)
		store_release(c);
}

struct store_wait *store_clnt_pop_applied(struct store_clnt *c)
{
	struct list *l = list_pop(&c->applied);

	return l != NULL ? WAIT_OF(l) : NULL;
}

static int store_why(const struct store_clnt *c)
{
	return c->up ? ERR_TIMEOUT : ERR_STORE_DOWN;
}

int store_clnt_give_up(struct store_clnt *c, struct store_wait *w)
{
	CHECK(list_linked(&w->node));
	list_remove(&w->node);
	if (!c->known || w->index > c->progress.applied)
		c->n_waits--;
	return store_why(c);
}

void store_clnt_wait_compacted(struct store_clnt *c, struct store_compact_wait *w, int64_t revision)
{
	w->revision = revision;
	list_push(&c->compact_waits, &w->node);
	if (c->known)
		store_release_compacted(c);
}

struct store_compact_wait *store_clnt_pop_compacted(struct store_clnt *c)
{
	struct list *l = list_pop(&c->compacted);

	return l != NULL ? COMPACT_OF(l) : NULL;
}

void store_clnt_compact_give_up(struct store_clnt *c, struct store_compact_wait *w)
{
	(void)c;
	list_remove(&w->node);
}

static void store_ask_begin(struct store_clnt *c, struct store_ask *a, enum store_ask_kind kind, int64_t revision)
{
	*a = (struct store_ask){.kind = kind, .ctx = ++c->ask_ctx, .revision = revision};
	list_push(&c->asks, &a->node);
	store_send_ask(c, a);
}

void store_clnt_status(struct store_clnt *c, struct store_ask *a)
{
	store_ask_begin(c, a, STORE_ASK_STATUS, 0);
}

void store_clnt_hash(struct store_clnt *c, struct store_ask *a, int64_t revision)
{
	store_ask_begin(c, a, STORE_ASK_HASH, revision);
}

struct store_ask *store_clnt_pop_ask(struct store_clnt *c)
{
	struct list *l = list_pop(&c->asks_done);

	return l != NULL ? ASK_OF(l) : NULL;
}

int store_clnt_ask_give_up(struct store_clnt *c, struct store_ask *a)
{
	list_remove(&a->node);
	return store_why(c);
}
