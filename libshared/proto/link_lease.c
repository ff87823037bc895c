/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_lease.h"

#define MSG_T leased_ask
MSG_DEFINE(LEASED_ASK_FIELDS)
#undef MSG_T
#define MSG_T leased_asks
MSG_DEFINE(LEASED_ASKS_FIELDS)
#undef MSG_T
#define MSG_T leased_answer
MSG_DEFINE(LEASED_ANSWER_FIELDS)
#undef MSG_T
#define MSG_T leased_answers
MSG_DEFINE(LEASED_ANSWERS_FIELDS)
#undef MSG_T

#define MSG_T leased_here
MSG_DEFINE(LEASED_HERE_FIELDS)
#undef MSG_T

static const struct msg_row link_lease_rows[] = {LINK_LEASE(MSG_LINK_ROW)};
const struct msg_link link_lease = {"gatewayd-leased", link_lease_rows, sizeof link_lease_rows / sizeof link_lease_rows[0]};
