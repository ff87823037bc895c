/* SPDX-License-Identifier: Apache-2.0 */
#include "clnt/lease_clnt.h"

#include "base/check.h"
#include "base/err.h"

#define ASK_OF(l) container_of((l), struct lease_ask, node)

void lease_clnt_init(struct lease_clnt *c, const struct clnt_io *io)
{
	*c = (struct lease_clnt){.io = *io};
	list_init(&c->queued);
	list_init(&c->sent);
	list_init(&c->delayed);
	list_init(&c->done);
}

void lease_clnt_free(struct lease_clnt *c)
{
	CHECK(c->n == 0 && list_empty(&c->queued) && list_empty(&c->sent) && list_empty(&c->delayed) &&
	      list_empty(&c->done));
}

void lease_clnt_up(struct lease_clnt *c)
{
	CHECK(!c->up);
	c->up = true;
	list_splice(&c->queued, &c->sent);
	list_splice(&c->queued, &c->delayed);
}

void lease_clnt_down(struct lease_clnt *c)
{
	c->up = false;
}

/* ---- by their numbers ---- */

static struct lease_ask **ask_place(struct lease_clnt *c, uint64_t ctx)
{
	return &c->buckets[ctx % LEASE_CLNT_BUCKETS];
}

static void ask_unhash(struct lease_clnt *c, struct lease_ask *a)
{
	struct lease_ask **at = ask_place(c, a->ctx);

	while (*at != a)
		at = &(*at)->hash_next;
	*at = a->hash_next;
	c->n--;
}

int lease_clnt_ask(struct lease_clnt *c, struct lease_ask *a, enum leased_ask_kind kind, int64_t id)
{
	struct lease_ask **at;

	if (c->n >= LIMIT_LEASE_ASKS)
		return ERR_TOO_MANY_REQUESTS;
	*a = (struct lease_ask){.ctx = ++c->ctx, .kind = kind, .id = id};
	at = ask_place(c, a->ctx);
	a->hash_next = *at;
	*at = a;
	c->n++;
	list_push(&c->queued, &a->node);
	return ERR_OK;
}

struct lease_ask *lease_clnt_pop(struct lease_clnt *c)
{
	struct list *l = list_pop(&c->done);

	return l != NULL ? ASK_OF(l) : NULL;
}

static bool ask_pending(struct lease_clnt *c, const struct lease_ask *a)
{
	const struct lease_ask *x = *ask_place(c, a->ctx);

	while (x != NULL && x != a)
		x = x->hash_next;
	return x != NULL;
}

int lease_clnt_give_up(struct lease_clnt *c, struct lease_ask *a)
{
	CHECK(list_linked(&a->node));
	list_remove(&a->node);
	if (ask_pending(c, a))
		ask_unhash(c, a);
	return a->refused != 0 ? a->refused : ERR_TIMEOUT;
}

/* ---- answers ---- */

static void ask_answered(struct lease_clnt *c, const struct leased_answer *m, mono_t now)
{
	struct lease_ask *a = *ask_place(c, m->ctx);

	while (a != NULL && a->ctx != m->ctx)
		a = a->hash_next;
	if (a == NULL)
		return;                  /* given up, or answered before */
	list_remove(&a->node);
	if (m->error != ERR_OK) {
		a->refused = m->error <= INT32_MAX ? (int)m->error : ERR_INTERNAL;
		a->moved = now;
		list_push(&c->delayed, &a->node);
		return;
	}
	a->ttl_s = m->ttl_s;
	a->remaining_ms = m->remaining_ms;
	ask_unhash(c, a);
	list_push(&c->done, &a->node);
}

int lease_clnt_msg(struct lease_clnt *c, const struct msg_in *in, mono_t now)
{
	const struct leased_answers *m = in->msg;
	const struct leased_here *here = in->msg;

	switch (in->row->number) {
	case MSG_NO_leased_here:
		c->began = (mono_t){now.ns - here->age_ms * 1000000};
		return here->age_ms >= 0 && here->age_ms < INT64_MAX / 1000000 ? ERR_OK : ERR_MALFORMED;
	case MSG_NO_leased_answers:
		for (size_t i = 0; i < m->answers.n; i++)
			ask_answered(c, &m->answers.v[i], now);
		return ERR_OK;
	default:
		return ERR_UNKNOWN_METHOD;   /* a message that only gatewayd sends */
	}
}

/* ---- out ---- */

static size_t flush_again(struct lease_clnt *c, struct list *from, int64_t ms, mono_t now)
{
	struct list *l;
	size_t n = 0;

	while ((l = list_first(from)) != NULL && !mono_before(now, mono_add_ms(ASK_OF(l)->moved, ms))) {
		list_remove(l);
		list_push(&c->queued, l);
		n++;
	}
	return n;
}

static bool flush_batch(struct lease_clnt *c, mono_t now)
{
	static struct leased_ask items[LIMIT_BATCH_ITEMS];
	struct leased_asks m = {{items, 0}};
	struct list *l;

	for (l = c->queued.next; l != &c->queued && m.asks.n < LIMIT_BATCH_ITEMS; l = l->next)
		items[m.asks.n++] = (struct leased_ask){0, ASK_OF(l)->ctx, (uint64_t)ASK_OF(l)->kind, ASK_OF(l)->id};
	if (m.asks.n == 0 || c->io.send(c->io.arg, MSG_NO_leased_asks, &leased_asks_desc, &m) != ERR_OK)
		return false;
	for (size_t i = 0; i < m.asks.n; i++) {
		l = list_pop(&c->queued);
		ASK_OF(l)->moved = now;
		list_push(&c->sent, l);
	}
	return true;
}

bool lease_clnt_flush(struct lease_clnt *c, mono_t now)
{
	if (!c->up)
		return false;
	c->n_resent += flush_again(c, &c->sent, LEASE_CLNT_RESEND_MS, now);
	(void)flush_again(c, &c->delayed, LEASE_CLNT_REFUSED_MS, now);
	for (int i = 0; i < LEASE_CLNT_FLUSH_BATCHES; i++)
		if (!flush_batch(c, now))
			return false;
	return !list_empty(&c->queued);
}

/* What a full link has not taken goes out when something else happens, or is asked again. */
mono_t lease_clnt_due(const struct lease_clnt *c)
{
	mono_t due = MONO_NEVER;
	struct list *l;

	if (!c->up)
		return due;
	l = list_first(&c->sent);
	if (l != NULL)
		due = mono_add_ms(ASK_OF(l)->moved, LEASE_CLNT_RESEND_MS);
	l = list_first(&c->delayed);
	if (l != NULL)
		due = mono_min(due, mono_add_ms(ASK_OF(l)->moved, LEASE_CLNT_REFUSED_MS));
	return due;
}
