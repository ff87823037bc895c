/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/lease.h"

#include "proto/kv.h"

#define MSG_T lease_grant
MSG_DEFINE(LEASE_GRANT_FIELDS)
#undef MSG_T
#define MSG_T lease_grant_result
MSG_DEFINE(LEASE_GRANT_RESULT_FIELDS)
#undef MSG_T
#define MSG_T lease_revoke
MSG_DEFINE(LEASE_REVOKE_FIELDS)
#undef MSG_T
#define MSG_T lease_revoke_result
MSG_DEFINE(LEASE_REVOKE_RESULT_FIELDS)
#undef MSG_T
#define MSG_T lessor_claim
MSG_DEFINE(LESSOR_CLAIM_FIELDS)
#undef MSG_T
#define MSG_T lessor_expire
MSG_DEFINE(LESSOR_EXPIRE_FIELDS)
#undef MSG_T
#define MSG_T lessor_mark
MSG_DEFINE(LESSOR_MARK_FIELDS)
#undef MSG_T
#define MSG_T lessor_checkpoint
MSG_DEFINE(LESSOR_CHECKPOINT_FIELDS)
#undef MSG_T
