/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_news.h"

#define MSG_T store_news
MSG_DEFINE(STORE_NEWS_FIELDS)
#undef MSG_T
#define MSG_T store_news_read
MSG_DEFINE(STORE_NEWS_READ_FIELDS)
#undef MSG_T
#define MSG_T store_news_follow
MSG_DEFINE(STORE_NEWS_FOLLOW_FIELDS)
#undef MSG_T

static const struct msg_row link_news_rows[] = {LINK_NEWS(MSG_LINK_ROW)};
const struct msg_link link_news = {"watchd-stored", link_news_rows,
	sizeof link_news_rows / sizeof link_news_rows[0]};
