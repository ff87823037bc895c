/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_store.h"

#define MSG_T store_result
MSG_DEFINE(STORE_RESULT_FIELDS)
#undef MSG_T
#define MSG_T store_results
MSG_DEFINE(STORE_RESULTS_FIELDS)
#undef MSG_T
#define MSG_T store_progress
MSG_DEFINE(STORE_PROGRESS_FIELDS)
#undef MSG_T
#define MSG_T store_status_ask
MSG_DEFINE(STORE_STATUS_ASK_FIELDS)
#undef MSG_T
#define MSG_T store_status_result
MSG_DEFINE(STORE_STATUS_RESULT_FIELDS)
#undef MSG_T
#define MSG_T store_hash_ask
MSG_DEFINE(STORE_HASH_ASK_FIELDS)
#undef MSG_T
#define MSG_T store_hash_result
MSG_DEFINE(STORE_HASH_RESULT_FIELDS)
#undef MSG_T

static const struct msg_row link_store_rows[] = {LINK_STORE(MSG_LINK_ROW)};
const struct msg_link link_store = {"gatewayd-stored", link_store_rows,
	sizeof link_store_rows / sizeof link_store_rows[0]};
