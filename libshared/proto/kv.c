/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/kv.h"

#define MSG_T kv_pair
MSG_DEFINE(KV_PAIR_FIELDS)
#undef MSG_T
#define MSG_T kv_header
MSG_DEFINE(KV_HEADER_FIELDS)
#undef MSG_T
#define MSG_T kv_range
MSG_DEFINE(KV_RANGE_FIELDS)
#undef MSG_T
#define MSG_T kv_range_result
MSG_DEFINE(KV_RANGE_RESULT_FIELDS)
#undef MSG_T
#define MSG_T kv_put
MSG_DEFINE(KV_PUT_FIELDS)
#undef MSG_T
#define MSG_T kv_put_result
MSG_DEFINE(KV_PUT_RESULT_FIELDS)
#undef MSG_T
#define MSG_T kv_delete
MSG_DEFINE(KV_DELETE_FIELDS)
#undef MSG_T
#define MSG_T kv_delete_result
MSG_DEFINE(KV_DELETE_RESULT_FIELDS)
#undef MSG_T
#define MSG_T kv_compare
MSG_DEFINE(KV_COMPARE_FIELDS)
#undef MSG_T
#define MSG_T kv_op
MSG_DEFINE(KV_OP_FIELDS)
#undef MSG_T
#define MSG_T kv_txn
MSG_DEFINE(KV_TXN_FIELDS)
#undef MSG_T
#define MSG_T kv_op_result
MSG_DEFINE(KV_OP_RESULT_FIELDS)
#undef MSG_T
#define MSG_T kv_txn_result
MSG_DEFINE(KV_TXN_RESULT_FIELDS)
#undef MSG_T
#define MSG_T kv_compact
MSG_DEFINE(KV_COMPACT_FIELDS)
#undef MSG_T
#define MSG_T kv_compact_result
MSG_DEFINE(KV_COMPACT_RESULT_FIELDS)
#undef MSG_T
#define MSG_T command
MSG_DEFINE(COMMAND_FIELDS)
#undef MSG_T
#define MSG_T command_result
MSG_DEFINE(COMMAND_RESULT_FIELDS)
#undef MSG_T
