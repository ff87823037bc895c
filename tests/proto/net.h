/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of a link in a test: messages are framed, wait for a while and are unframed again,
 * as the seed says in another order, twice or not at all. Time is virtual.
 */
#ifndef QUORATE_TEST_NET_H
#define QUORATE_TEST_NET_H

#include "base/arena.h"
#include "base/mono.h"
#include "proto/msg.h"

enum { NET_ITEMS = 16384 };

struct net {
	uint64_t *seed;
	const struct msg_link *link;
	unsigned drop, twice;       /* of 1000 messages */
	int delay_ms;               /* at most */
	bool ordered;
	struct net_item {
		mono_t due;
		uint64_t order;
		struct buf frame;
	} items[NET_ITEMS];
	size_t head, n;             /* of items; head is 0 unless ordered */
	uint64_t order;
	mono_t last_due;
	struct buf current;         /* the message net_next gave last */
	struct arena arena;
};

void net_init(struct net *n, const struct msg_link *link, uint64_t *seed);
void net_free(struct net *n);
void net_send(struct net *n, mono_t now, uint32_t number, const struct msg_desc *d, const void *msg);
/* The next message that has arrived; valid until the next call. */
bool net_next(struct net *n, mono_t now, struct msg_in *in);
void net_cut(struct net *n);        /* all that is under way is lost */

#endif
