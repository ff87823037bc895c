/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_lessor.h"

#define MSG_T lessor_role
MSG_DEFINE(LESSOR_ROLE_FIELDS)
#undef MSG_T
#define MSG_T lessor_proposal
MSG_DEFINE(LESSOR_PROPOSAL_FIELDS)
#undef MSG_T
#define MSG_T lessor_propose
MSG_DEFINE(LESSOR_PROPOSE_FIELDS)
#undef MSG_T
#define MSG_T lessor_refuse
MSG_DEFINE(LESSOR_REFUSE_FIELDS)
#undef MSG_T
#define MSG_T lessor_confirm
MSG_DEFINE(LESSOR_CONFIRM_FIELDS)
#undef MSG_T
#define MSG_T lessor_confirmed
MSG_DEFINE(LESSOR_CONFIRMED_FIELDS)
#undef MSG_T
#define MSG_T lessor_forward
MSG_DEFINE(LESSOR_FORWARD_FIELDS)
#undef MSG_T
#define MSG_T lessor_forwarded
MSG_DEFINE(LESSOR_FORWARDED_FIELDS)
#undef MSG_T
#define MSG_T lessor_reply
MSG_DEFINE(LESSOR_REPLY_FIELDS)
#undef MSG_T
#define MSG_T lessor_replied
MSG_DEFINE(LESSOR_REPLIED_FIELDS)
#undef MSG_T

static const struct msg_row link_lessor_rows[] = {LINK_LESSOR(MSG_LINK_ROW)};
const struct msg_link link_lessor = {"leased-raftd", link_lessor_rows, sizeof link_lessor_rows / sizeof link_lessor_rows[0]};
