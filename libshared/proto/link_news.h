/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link watchd -> stored (stored listens): how far the store has come. The events themselves
 * are read from the mapped store, so a message that is lost with a connection costs nothing.
 * Hello resume: stored says the generation of its store, watchd 0. stored sends store_news first, and
 * then whenever generation or compact_revision change; after each batch only while watchd follows,
 * which at first it does not: a store that nobody watches wakes nobody.
 */
#ifndef QUORATE_LINK_NEWS_H
#define QUORATE_LINK_NEWS_H

#include "proto/msg.h"

#define STORE_NEWS_FIELDS(F, L, O) \
	F(U64, generation, "of the store's file") \
	F(I64, revision, "already visible in the mapped store") \
	F(I64, compact_revision, "history before it is given up; -1: none")
MSG_DECLARE(store_news, STORE_NEWS_FIELDS)

#define STORE_NEWS_READ_FIELDS(F, L, O) \
	F(I64, revision, "those that follow the newest revision have been sent everything up to here")
MSG_DECLARE(store_news_read, STORE_NEWS_READ_FIELDS)

#define STORE_NEWS_FOLLOW_FIELDS(F, L, O) \
	F(BOOL, each, "somebody watches: say each batch")
MSG_DECLARE(store_news_follow, STORE_NEWS_FOLLOW_FIELDS)

#define LINK_NEWS(M) \
	M(16, store_news, "stored: where the store is") \
	M(17, store_news_read, "watchd: history up to here may be removed once it is compacted") \
	M(18, store_news_follow, "watchd: whether it follows; answered by store_news if it does")

enum { LINK_NEWS(MSG_LINK_ENUM) LINK_NEWS_END_ };
extern const struct msg_link link_news;

#endif
