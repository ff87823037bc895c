/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proto/net.h"

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/tap.h"

void net_init(struct net *n, const struct msg_link *link, uint64_t *seed)
{
	memset(n, 0, sizeof *n);
	n->seed = seed;
	n->link = link;
	arena_init(&n->arena, 1u << 24);
	buf_init(&n->current, 0);
}

void net_free(struct net *n)
{
	net_cut(n);
	arena_free(&n->arena);
	buf_free(&n->current);
}

static void net_add(struct net *n, mono_t now, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct net_item *it = &n->items[n->n++];

	CHECK(n->n <= NET_ITEMS);
	it->due = mono_add_ms(now, n->delay_ms > 0 ? (int64_t)(tap_rand(n->seed) % (unsigned)n->delay_ms) : 0);
	if (n->ordered && mono_before(it->due, n->last_due))
		it->due = n->last_due;
	n->last_due = it->due;
	it->order = ++n->order;
	buf_init(&it->frame, 0);
	EQ_INT(msg_frame(&it->frame, number, it->order, d, msg), ERR_OK);
}

void net_send(struct net *n, mono_t now, uint32_t number, const struct msg_desc *d, const void *msg)
{
	if (tap_rand(n->seed) % 1000 < n->drop)
		return;
	net_add(n, now, number, d, msg);
	if (tap_rand(n->seed) % 1000 < n->twice)
		net_add(n, now, number, d, msg);
}

static size_t net_earliest(const struct net *n)
{
	size_t best = n->head;

	for (size_t i = 1; i < n->n && !n->ordered; i++)
		if (mono_before(n->items[i].due, n->items[best].due) ||
		    (n->items[i].due.ns == n->items[best].due.ns && n->items[i].order < n->items[best].order))
			best = i;
	return best;
}

static void net_take(struct net *n, size_t i)
{
	n->current = n->items[i].frame;
	if (!n->ordered)
		n->items[i] = n->items[--n->n];
	else if (++n->head == n->n)
		n->head = n->n = 0;
}

bool net_next(struct net *n, mono_t now, struct msg_in *in)
{
	size_t i = net_earliest(n);

	if (n->n == n->head || mono_before(now, n->items[i].due))
		return false;
	buf_free(&n->current);
	net_take(n, i);
	arena_reset(&n->arena);
	EQ_INT(msg_unframe(n->link, bytes_of(n->current.data + MSG_FRAME_HEAD, n->current.len - MSG_FRAME_HEAD),
			   &n->arena, in), ERR_OK);
	return true;
}

void net_cut(struct net *n)
{
	while (n->n > n->head)
		buf_free(&n->items[--n->n].frame);
	n->head = n->n = 0;
	n->last_due = (mono_t){0};
}
