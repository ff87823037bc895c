/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_watch.h"

#define MSG_T watch_create
MSG_DEFINE(WATCH_CREATE_FIELDS)
#undef MSG_T
#define MSG_T watch_creates
MSG_DEFINE(WATCH_CREATES_FIELDS)
#undef MSG_T
#define MSG_T watch_ref
MSG_DEFINE(WATCH_REF_FIELDS)
#undef MSG_T
#define MSG_T watch_cancels
MSG_DEFINE(WATCH_CANCELS_FIELDS)
#undef MSG_T
#define MSG_T watch_close
MSG_DEFINE(WATCH_CLOSE_FIELDS)
#undef MSG_T
#define MSG_T watch_ask
MSG_DEFINE(WATCH_ASK_FIELDS)
#undef MSG_T
#define MSG_T watch_asks
MSG_DEFINE(WATCH_ASKS_FIELDS)
#undef MSG_T
#define MSG_T watch_credit
MSG_DEFINE(WATCH_CREDIT_FIELDS)
#undef MSG_T
#define MSG_T watch_credits
MSG_DEFINE(WATCH_CREDITS_FIELDS)
#undef MSG_T
#define MSG_T watch_event
MSG_DEFINE(WATCH_EVENT_FIELDS)
#undef MSG_T
#define MSG_T watch_run
MSG_DEFINE(WATCH_RUN_FIELDS)
#undef MSG_T
#define MSG_T watch_delivery
MSG_DEFINE(WATCH_DELIVERY_FIELDS)
#undef MSG_T
#define MSG_T watch_events
MSG_DEFINE(WATCH_EVENTS_FIELDS)
#undef MSG_T
#define MSG_T watch_canceled
MSG_DEFINE(WATCH_CANCELED_FIELDS)
#undef MSG_T
#define MSG_T watch_progressed
MSG_DEFINE(WATCH_PROGRESSED_FIELDS)
#undef MSG_T
#define MSG_T watch_place
MSG_DEFINE(WATCH_PLACE_FIELDS)
#undef MSG_T
#define MSG_T watch_news
MSG_DEFINE(WATCH_NEWS_FIELDS)
#undef MSG_T
#define MSG_T watch_hail
MSG_DEFINE(WATCH_HAIL_FIELDS)
#undef MSG_T

static const struct msg_row link_watch_rows[] = {LINK_WATCH(MSG_LINK_ROW)};
const struct msg_link link_watch = {"gatewayd-watchd", link_watch_rows,
	sizeof link_watch_rows / sizeof link_watch_rows[0]};
