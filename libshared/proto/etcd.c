/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/etcd.h"

#include "base/err.h"

#define PB_T kv_pair
PB_DEFINE(ETCD_PAIR)
#undef PB_T
#define PB_T kv_header
PB_DEFINE(ETCD_HEADER)
#undef PB_T
#define PB_T kv_range
PB_DEFINE(ETCD_RANGE)
#undef PB_T
#define PB_T kv_range_result
PB_DEFINE(ETCD_RANGE_RESULT)
#undef PB_T
#define PB_T kv_put
PB_DEFINE(ETCD_PUT)
#undef PB_T
#define PB_T kv_put_result
PB_DEFINE(ETCD_PUT_RESULT)
#undef PB_T
#define PB_T kv_delete
PB_DEFINE(ETCD_DELETE)
#undef PB_T
#define PB_T kv_delete_result
PB_DEFINE(ETCD_DELETE_RESULT)
#undef PB_T
#define PB_T kv_op_result
PB_DEFINE_ONE(ETCD_OP_RESULT)
#undef PB_T
#define PB_T kv_txn_result
PB_DEFINE(ETCD_TXN_RESULT)
#undef PB_T
#define PB_T kv_compact
PB_DEFINE(ETCD_COMPACT)
#undef PB_T
#define PB_T kv_compact_result
PB_DEFINE(ETCD_COMPACT_RESULT)
#undef PB_T
#define PB_T etcd_compare
PB_DEFINE(ETCD_COMPARE)
#undef PB_T
#define PB_T etcd_op
PB_DEFINE_ONE(ETCD_OP)
#undef PB_T
#define PB_T etcd_txn
PB_DEFINE(ETCD_TXN)
#undef PB_T
#define PB_T etcd_range_chunk
PB_DEFINE(ETCD_RANGE_CHUNK)
#undef PB_T
#define PB_T lease_grant
PB_DEFINE(ETCD_GRANT)
#undef PB_T
#define PB_T lease_grant_result
PB_DEFINE(ETCD_GRANT_RESULT)
#undef PB_T
#define PB_T lease_revoke
PB_DEFINE(ETCD_REVOKE)
#undef PB_T
#define PB_T lease_revoke_result
PB_DEFINE(ETCD_REVOKE_RESULT)
#undef PB_T
#define PB_T native_lease
PB_DEFINE(ETCD_LEASE)
#undef PB_T
#define PB_T native_keepalive_result
PB_DEFINE(ETCD_KEEPALIVE_RESULT)
#undef PB_T
#define PB_T native_time_to_live
PB_DEFINE(ETCD_TIME_TO_LIVE)
#undef PB_T
#define PB_T native_time_to_live_result
PB_DEFINE(ETCD_TIME_TO_LIVE_RESULT)
#undef PB_T
#define PB_T native_lease_list_result
PB_DEFINE(ETCD_LEASE_LIST_RESULT)
#undef PB_T
#define PB_T etcd_event
PB_DEFINE(ETCD_EVENT)
#undef PB_T
#define PB_T etcd_watch_create
PB_DEFINE(ETCD_WATCH_CREATE)
#undef PB_T
#define PB_T etcd_watch_cancel
PB_DEFINE(ETCD_WATCH_CANCEL)
#undef PB_T
#define PB_T etcd_watch_request
PB_DEFINE_ONE(ETCD_WATCH_REQUEST)
#undef PB_T
#define PB_T etcd_watch_response
PB_DEFINE(ETCD_WATCH_RESPONSE)
#undef PB_T
#define PB_T etcd_member
PB_DEFINE(ETCD_MEMBER)
#undef PB_T
#define PB_T etcd_member_list
PB_DEFINE(ETCD_MEMBER_LIST)
#undef PB_T
#define PB_T etcd_member_list_result
PB_DEFINE(ETCD_MEMBER_LIST_RESULT)
#undef PB_T
#define PB_T etcd_alarm
PB_DEFINE(ETCD_ALARM)
#undef PB_T
#define PB_T etcd_alarm_member
PB_DEFINE(ETCD_ALARM_MEMBER)
#undef PB_T
#define PB_T etcd_alarm_result
PB_DEFINE(ETCD_ALARM_RESULT)
#undef PB_T
#define PB_T etcd_status_result
PB_DEFINE(ETCD_STATUS_RESULT)
#undef PB_T
#define PB_T etcd_hash_result
PB_DEFINE(ETCD_HASH_RESULT)
#undef PB_T
#define PB_T native_hash
PB_DEFINE(ETCD_HASH_KV)
#undef PB_T
#define PB_T etcd_hash_kv_result
PB_DEFINE(ETCD_HASH_KV_RESULT)
#undef PB_T
#define PB_T native_move_leader
PB_DEFINE(ETCD_MOVE_LEADER)
#undef PB_T
#define PB_T grpc_health
PB_DEFINE(GRPC_HEALTH)
#undef PB_T
#define PB_T grpc_health_result
PB_DEFINE(GRPC_HEALTH_RESULT)
#undef PB_T
#define PB_T grpc_health_entry
PB_DEFINE(GRPC_HEALTH_ENTRY)
#undef PB_T
#define PB_T grpc_health_list
PB_DEFINE(GRPC_HEALTH_LIST)
#undef PB_T
#define PB_T etcd_auth_status
PB_DEFINE(ETCD_AUTH_STATUS)
#undef PB_T
#define PB_T etcd_lock
PB_DEFINE(ETCD_LOCK)
#undef PB_T
#define PB_T etcd_lock_result
PB_DEFINE(ETCD_LOCK_RESULT)
#undef PB_T
#define PB_T etcd_unlock
PB_DEFINE(ETCD_UNLOCK)
#undef PB_T
#define PB_T etcd_unlock_result
PB_DEFINE(ETCD_UNLOCK_RESULT)
#undef PB_T
#define PB_T etcd_leader_key
PB_DEFINE(ETCD_LEADER_KEY)
#undef PB_T
#define PB_T etcd_campaign
PB_DEFINE(ETCD_CAMPAIGN)
#undef PB_T
#define PB_T etcd_campaign_result
PB_DEFINE(ETCD_CAMPAIGN_RESULT)
#undef PB_T
#define PB_T etcd_leader
PB_DEFINE(ETCD_LEADER)
#undef PB_T
#define PB_T etcd_leader_result
PB_DEFINE(ETCD_LEADER_RESULT)
#undef PB_T
#define PB_T etcd_proclaim
PB_DEFINE(ETCD_PROCLAIM)
#undef PB_T
#define PB_T etcd_resign
PB_DEFINE(ETCD_RESIGN)
#undef PB_T
#define PB_T etcd_header_result
PB_DEFINE(ETCD_HEADER_RESULT)
#undef PB_T
#define PB_T etcd_empty
PB_DEFINE_EMPTY
#undef PB_T

const struct pb_desc *const etcd_messages[] = {
	&kv_pair_pb, &kv_header_pb, &kv_range_pb, &kv_range_result_pb, &kv_put_pb, &kv_put_result_pb,
	&kv_delete_pb, &kv_delete_result_pb, &kv_op_result_pb, &kv_txn_result_pb, &kv_compact_pb,
	&kv_compact_result_pb, &etcd_compare_pb, &etcd_op_pb, &etcd_txn_pb, &etcd_range_chunk_pb,
	&lease_grant_pb, &lease_grant_result_pb, &lease_revoke_pb, &lease_revoke_result_pb,
	&native_lease_pb, &native_keepalive_result_pb, &native_time_to_live_pb,
	&native_time_to_live_result_pb, &native_lease_list_result_pb, &etcd_event_pb,
	&etcd_watch_create_pb, &etcd_watch_cancel_pb, &etcd_watch_request_pb,
	&etcd_watch_response_pb, &etcd_member_pb, &etcd_member_list_pb, &etcd_member_list_result_pb,
	&etcd_alarm_pb, &etcd_alarm_member_pb, &etcd_alarm_result_pb, &etcd_status_result_pb,
	&etcd_hash_result_pb, &native_hash_pb, &etcd_hash_kv_result_pb, &native_move_leader_pb,
	&grpc_health_pb, &grpc_health_result_pb, &etcd_lock_pb, &etcd_lock_result_pb,
	&etcd_unlock_pb, &etcd_unlock_result_pb, &etcd_leader_key_pb, &etcd_campaign_pb,
	&etcd_campaign_result_pb, &etcd_leader_pb, &etcd_leader_result_pb, &etcd_proclaim_pb,
	&etcd_resign_pb, &etcd_header_result_pb, &etcd_empty_pb, &grpc_health_entry_pb, &grpc_health_list_pb,
	&etcd_auth_status_pb,
};
const size_t etcd_message_count = sizeof etcd_messages / sizeof etcd_messages[0];

static int64_t compare_number(const struct etcd_compare *c)
{
	switch (c->target) {
	case KV_TARGET_VERSION:
		return c->version;
	case KV_TARGET_CREATE:
		return c->create_revision;
	case KV_TARGET_MOD:
		return c->mod_revision;
	case KV_TARGET_LEASE:
		return c->lease;
	default:
		return 0;
	}
}

static int txn_take_ops(const struct etcd_op *from, size_t n, struct arena *arena, struct kv_op **to)
{
	int err;

	*to = n > 0 ? arena_array(arena, n, sizeof **to) : NULL;
	if (n > 0 && *to == NULL)
		return ERR_LIMIT;
	for (size_t i = 0; i < n; i++) {
		(*to)[i] = (struct kv_op){from[i].range, from[i].put, from[i].del, NULL};
		if (from[i].txn == NULL)
			continue;
		(*to)[i].txn = arena_alloc(arena, sizeof(struct kv_txn));
		if ((*to)[i].txn == NULL)
			return ERR_LIMIT;
		err = etcd_txn_take(from[i].txn, arena, (*to)[i].txn);
		if (err != ERR_OK)
			return err;
	}
	return ERR_OK;
}

/* The depth is the decoder's: LIMIT_DECODE_DEPTH. */
int etcd_txn_take(const struct etcd_txn *from, struct arena *arena, struct kv_txn *to)
{
	size_t n = from->compares.n;
	int err;

	*to = (struct kv_txn){.compares.n = n, .success.n = from->success.n, .failure.n = from->failure.n};
	to->compares.v = n > 0 ? arena_array(arena, n, sizeof *to->compares.v) : NULL;
	if (n > 0 && to->compares.v == NULL)
		return ERR_LIMIT;
	for (size_t i = 0; i < n; i++) {
		const struct etcd_compare *c = &from->compares.v[i];

		to->compares.v[i] = (struct kv_compare){c->key, c->range_end, c->target, c->op, compare_number(c),
							c->target == KV_TARGET_VALUE ? c->value : bytes_of(NULL, 0)};
	}
	err = txn_take_ops(from->success.v, from->success.n, arena, &to->success.v);
	if (err == ERR_OK)
		err = txn_take_ops(from->failure.v, from->failure.n, arena, &to->failure.v);
	return err;
}
