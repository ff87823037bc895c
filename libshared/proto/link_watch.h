/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link gatewayd -> watchd (watchd listens). Hello resume: 0 both ways.
 *
 * Nothing survives a connection: after each new one gatewayd registers every watch again, from the
 * next event that the watch's client is to get. A place in history is (revision, sub): sub counts
 * the events of one revision, so that a revision too large for one message may be cut.
 *
 * Credit: watchd sends a link at most LIMIT_WATCH_LINK_BYTES, and a stream (one client's
 * connection) LIMIT_WATCH_STREAM_BYTES, ahead of what has been given back, and one message more.
 */
#ifndef QUORATE_LINK_WATCH_H
#define QUORATE_LINK_WATCH_H

#include "base/limits.h"
#include "proto/kv.h"

/* The numbers of mvcc/layout.h, as clients see them too. */
enum watch_event_type { WATCH_EVENT_PUT = 1, WATCH_EVENT_DELETE = 2 };

#define WATCH_CREATE_FIELDS(F, L, O) \
	F(U64, stream, "the client's connection: what it is sent is bounded together") \
	F(U64, watch, "the gateway's own number, used once on a link") \
	F(BYTES, key, "") \
	F(BYTES, range_end, "as in range") \
	F(I64, next_rev, "nothing before this place is sent") \
	F(U64, next_sub, "") \
	F(BOOL, prev_kv, "events come with the pair before them") \
	F(BOOL, no_put, "leave puts out") \
	F(BOOL, no_delete, "leave deletes out") \
	F(BOOL, progress_notify, "tell now and then how far it has got, even if nothing happens") \
	F(I64, progress_at, "tell as soon as it has got past this revision; 0: not asked") \
	F(U64, untaken, "what the client has still to take of an earlier link's deliveries")
MSG_DECLARE(watch_create, WATCH_CREATE_FIELDS)

#define WATCH_CREATES_FIELDS(F, L, O) \
	L(watch_create, creates, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(watch_creates, WATCH_CREATES_FIELDS)

#define WATCH_REF_FIELDS(F, L, O) \
	F(U64, watch, "")
MSG_DECLARE(watch_ref, WATCH_REF_FIELDS)

#define WATCH_CANCELS_FIELDS(F, L, O) \
	L(watch_ref, watches, LIMIT_WATCH_REFS, "unknown ones are passed over: watchd may have ended them")
MSG_DECLARE(watch_cancels, WATCH_CANCELS_FIELDS)

#define WATCH_CLOSE_FIELDS(F, L, O) \
	F(U64, stream, "with all its watches")
MSG_DECLARE(watch_close, WATCH_CLOSE_FIELDS)

#define WATCH_ASK_FIELDS(F, L, O) \
	F(U64, watch, "") \
	F(I64, revision, "answered by watch_progress once it has got everything up to here")
MSG_DECLARE(watch_ask, WATCH_ASK_FIELDS)

#define WATCH_ASKS_FIELDS(F, L, O) \
	L(watch_ask, asks, LIMIT_WATCH_REFS, "")
MSG_DECLARE(watch_asks, WATCH_ASKS_FIELDS)

#define WATCH_CREDIT_FIELDS(F, L, O) \
	F(U64, stream, "") \
	F(U64, bytes, "of deliveries that the client has taken")
MSG_DECLARE(watch_credit, WATCH_CREDIT_FIELDS)

#define WATCH_CREDITS_FIELDS(F, L, O) \
	F(U64, taken, "cost of the watch_events that gatewayd has taken since it last said so") \
	L(watch_credit, streams, LIMIT_WATCH_REFS, "")
MSG_DECLARE(watch_credits, WATCH_CREDITS_FIELDS)

#define WATCH_EVENT_FIELDS(F, L, O) \
	F(U64, type, "enum watch_event_type") \
	O(kv_pair, kv, "as the event made it; of a delete only key and mod_revision") \
	O(kv_pair, prev_kv, "before the event, if some watch here wants it and it is still known")
MSG_DECLARE(watch_event, WATCH_EVENT_FIELDS)

#define WATCH_RUN_FIELDS(F, L, O) \
	F(U64, first, "index of an event of this message") \
	F(U64, count, "this one and those behind it")
MSG_DECLARE(watch_run, WATCH_RUN_FIELDS)

#define WATCH_DELIVERY_FIELDS(F, L, O) \
	F(U64, stream, "") \
	F(U64, cost, "to be given back by watch_credits") \
	F(BOOL, prev_kv, "with the pairs before the events") \
	F(I64, next_rev, "where these watches stand then") \
	F(U64, next_sub, "not 0: the revision was cut, the rest follows") \
	L(watch_ref, watches, LIMIT_WATCH_REFS, "who gets the events; all of one stream") \
	L(watch_run, runs, LIMIT_BATCH_ITEMS, "which; none: only the end of a cut revision")
MSG_DECLARE(watch_delivery, WATCH_DELIVERY_FIELDS)

#define WATCH_EVENTS_FIELDS(F, L, O) \
	F(I64, revision, "of the store when they were read") \
	F(U64, cost, "to be given back by watch_credits") \
	L(watch_event, events, LIMIT_BATCH_ITEMS, "each once; their order is that of the runs") \
	L(watch_delivery, deliveries, LIMIT_WATCH_REFS, "")
MSG_DECLARE(watch_events, WATCH_EVENTS_FIELDS)

#define WATCH_CANCELED_FIELDS(F, L, O) \
	F(U64, watch, "") \
	F(U64, error, "COMPACTED, WATCH_RANGE, TOO_MANY_WATCHES") \
	F(I64, compact_revision, "if COMPACTED: history before this is gone")
MSG_DECLARE(watch_canceled, WATCH_CANCELED_FIELDS)

#define WATCH_PROGRESSED_FIELDS(F, L, O) \
	F(U64, watch, "") \
	F(I64, revision, "everything up to here has been sent")
MSG_DECLARE(watch_progressed, WATCH_PROGRESSED_FIELDS)

#define WATCH_PLACE_FIELDS(F, L, O) \
	F(U64, watch, "") \
	F(BOOL, joined, "it has joined those that follow the newest revision; else it has left them") \
	F(I64, next_rev, "where it stands") \
	F(U64, next_sub, "")
MSG_DECLARE(watch_place, WATCH_PLACE_FIELDS)

/* All that is not an event; sent behind the events it speaks of. */
#define WATCH_NEWS_FIELDS(F, L, O) \
	F(I64, head_rev, "where all that have joined stand") \
	F(U64, head_sub, "") \
	L(watch_place, places, LIMIT_WATCH_REFS, "") \
	L(watch_progressed, progress, LIMIT_WATCH_REFS, "") \
	L(watch_canceled, canceled, LIMIT_WATCH_REFS, "")
MSG_DECLARE(watch_news, WATCH_NEWS_FIELDS)

#define WATCH_HAIL_FIELDS(F, L, O) \
	F(I64, age_ms, "of the watchd process")
MSG_DECLARE(watch_hail, WATCH_HAIL_FIELDS)

#define LINK_WATCH(M) \
	M(16, watch_creates, "gatewayd: begin these watches; refused ones come back in watch_news") \
	M(17, watch_cancels, "gatewayd: end these; there is no answer") \
	M(18, watch_close, "gatewayd: a client has gone") \
	M(19, watch_asks, "gatewayd: progress of these watches; answered in watch_news") \
	M(20, watch_credits, "gatewayd: what it and its clients have taken") \
	M(21, watch_events, "watchd: events, and who gets them") \
	M(22, watch_news, "watchd: places, progress, watches it has ended") \
	M(23, watch_hail, "watchd: first of all, for status")

enum { LINK_WATCH(MSG_LINK_ENUM) LINK_WATCH_END_ };
extern const struct msg_link link_watch;

#endif
