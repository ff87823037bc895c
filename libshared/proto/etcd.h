/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of etcd's v3 gRPC API that this server speaks, as lists (proto/pb.h). Where a struct of
 * ours says the same (proto/kv.h, native.h, lease.h), the list only gives its fields their numbers
 * in etcd's form; what is etcd's own is declared here. Which RPC takes which is in gatewayd/etcd/.
 */
#ifndef QUORATE_ETCD_H
#define QUORATE_ETCD_H

#include "proto/kv.h"
#include "proto/native.h"
#include "proto/pb.h"

/* What Status says: clients choose by it what they may ask for. */
#define ETCD_VERSION "3.6.0"

/* ---- KV: requests and results of proto/kv.h ---- */

#define ETCD_PAIR(F, L, O, B) \
	F(1, BYTES, key) F(2, I64, create_revision) F(3, I64, mod_revision) F(4, I64, version) \
	F(5, BYTES, value) F(6, I64, lease)
#define ETCD_HEADER(F, L, O, B) \
	F(1, U64, cluster_id) F(2, U64, member_id) F(3, I64, revision) F(4, U64, raft_term)
#define ETCD_RANGE(F, L, O, B) \
	F(1, BYTES, key) F(2, BYTES, range_end) F(3, I64, limit) F(4, I64, revision) F(5, ENUM, sort_order) \
	F(6, ENUM, sort_target) F(7, BOOL, serializable) F(8, BOOL, keys_only) F(9, BOOL, count_only) \
	F(10, I64, min_mod_revision) F(11, I64, max_mod_revision) F(12, I64, min_create_revision) \
	F(13, I64, max_create_revision)
#define ETCD_RANGE_RESULT(F, L, O, B) \
	O(1, kv_header, header) L(2, kv_pair, kvs, UINT32_MAX) F(3, BOOL, more) F(4, I64, count)
#define ETCD_PUT(F, L, O, B) \
	F(1, BYTES, key) F(2, BYTES, value) F(3, I64, lease) F(4, BOOL, prev_kv) F(5, BOOL, ignore_value) \
	F(6, BOOL, ignore_lease)
#define ETCD_PUT_RESULT(F, L, O, B) O(1, kv_header, header) O(2, kv_pair, prev_kv)
#define ETCD_DELETE(F, L, O, B) F(1, BYTES, key) F(2, BYTES, range_end) F(3, BOOL, prev_kv)
#define ETCD_DELETE_RESULT(F, L, O, B) \
	O(1, kv_header, header) F(2, I64, deleted) L(3, kv_pair, prev_kvs, UINT32_MAX)
#define ETCD_OP_RESULT(F, L, O, B) \
	O(1, kv_range_result, range) O(2, kv_put_result, put) O(3, kv_delete_result, del) \
	O(4, kv_txn_result, txn)
#define ETCD_TXN_RESULT(F, L, O, B) \
	O(1, kv_header, header) F(2, BOOL, succeeded) L(3, kv_op_result, responses, LIMIT_TXN_OPS)
#define ETCD_COMPACT(F, L, O, B) F(1, I64, revision) F(2, BOOL, physical)
#define ETCD_COMPACT_RESULT(F, L, O, B) O(1, kv_header, header)
PB_ROWS(kv_pair) PB_ROWS(kv_header) PB_ROWS(kv_range) PB_ROWS(kv_range_result) PB_ROWS(kv_put)
PB_ROWS(kv_put_result) PB_ROWS(kv_delete) PB_ROWS(kv_delete_result) PB_ROWS(kv_op_result)
PB_ROWS(kv_txn_result) PB_ROWS(kv_compact) PB_ROWS(kv_compact_result)

/* A number of its own for each target: one that does not belong to the target counts as not given. */
#define ETCD_COMPARE(F, L, O, B) \
	F(1, ENUM, op) F(2, ENUM, target) F(3, BYTES, key) F(4, I64, version) F(5, I64, create_revision) \
	F(6, I64, mod_revision) F(7, BYTES, value) F(8, I64, lease) F(64, BYTES, range_end)
PB_DECLARE(etcd_compare, ETCD_COMPARE)

struct etcd_txn;
PB_ROWS(etcd_txn)
#define ETCD_OP(F, L, O, B) \
	O(1, kv_range, range) O(2, kv_put, put) O(3, kv_delete, del) O(4, etcd_txn, txn)
PB_DECLARE(etcd_op, ETCD_OP)
#define ETCD_TXN(F, L, O, B) \
	L(1, etcd_compare, compares, LIMIT_TXN_OPS) L(2, etcd_op, success, LIMIT_TXN_OPS) \
	L(3, etcd_op, failure, LIMIT_TXN_OPS)
PB_DECLARE(etcd_txn, ETCD_TXN)
/* ERR_OK or ERR_LIMIT. What `from` holds is borrowed. */
int etcd_txn_take(const struct etcd_txn *from, struct arena *arena, struct kv_txn *to);

#define ETCD_RANGE_CHUNK(F, L, O, B) O(1, kv_range_result, range)
PB_DECLARE(etcd_range_chunk, ETCD_RANGE_CHUNK)

/* ---- Lease ---- */

#define ETCD_GRANT(F, L, O, B) F(1, I64, ttl) F(2, I64, id)
#define ETCD_GRANT_RESULT(F, L, O, B) O(1, kv_header, header) F(2, I64, id) F(3, I64, ttl)
#define ETCD_REVOKE(F, L, O, B) F(1, I64, id)
#define ETCD_REVOKE_RESULT(F, L, O, B) O(1, kv_header, header)
#define ETCD_LEASE(F, L, O, B) F(1, I64, id)              /* a keepalive; a row of the list */
#define ETCD_KEEPALIVE_RESULT(F, L, O, B) O(1, kv_header, header) F(2, I64, id) F(3, I64, ttl)
#define ETCD_TIME_TO_LIVE(F, L, O, B) F(1, I64, id) F(2, BOOL, keys)
#define ETCD_TIME_TO_LIVE_RESULT(F, L, O, B) \
	O(1, kv_header, header) F(2, I64, id) F(3, I64, ttl) F(4, I64, granted_ttl) \
	B(5, BYTES, native_lease_key, keys, UINT32_MAX)
#define ETCD_LEASE_LIST_RESULT(F, L, O, B) O(1, kv_header, header) L(2, native_lease, leases, UINT32_MAX)
PB_ROWS(lease_grant) PB_ROWS(lease_grant_result) PB_ROWS(lease_revoke) PB_ROWS(lease_revoke_result)
PB_ROWS(native_lease) PB_ROWS(native_keepalive_result) PB_ROWS(native_time_to_live)
PB_ROWS(native_time_to_live_result) PB_ROWS(native_lease_list_result)

/* ---- Watch ---- */

enum etcd_event_type { ETCD_PUT_EVENT = 0, ETCD_DELETE_EVENT = 1 };
enum etcd_watch_filter { ETCD_NO_PUT = 0, ETCD_NO_DELETE = 1 };
enum { ETCD_FILTERS = 64 };       /* taken of one request */
enum { ETCD_WATCH_EVENTS_NUMBER = 11 };

#define ETCD_EVENT(F, L, O, B) F(1, ENUM, type) O(2, kv_pair, kv) O(3, kv_pair, prev_kv)
PB_DECLARE(etcd_event, ETCD_EVENT)
struct etcd_filter {
	uint64_t filter;
};
#define ETCD_WATCH_CREATE(F, L, O, B) \
	F(1, BYTES, key) F(2, BYTES, range_end) F(3, I64, start_revision) F(4, BOOL, progress_notify) \
	B(5, ENUM, etcd_filter, filters, ETCD_FILTERS) F(6, BOOL, prev_kv) F(7, I64, watch_id) F(8, BOOL, fragment)
PB_DECLARE(etcd_watch_create, ETCD_WATCH_CREATE)
#define ETCD_WATCH_CANCEL(F, L, O, B) F(1, I64, watch_id)
PB_DECLARE(etcd_watch_cancel, ETCD_WATCH_CANCEL)
struct etcd_empty {
	char nothing;
};
PB_ROWS(etcd_empty)
#define ETCD_WATCH_REQUEST(F, L, O, B) \
	O(1, etcd_watch_create, create) O(2, etcd_watch_cancel, cancel) O(3, etcd_empty, progress)
PB_DECLARE(etcd_watch_request, ETCD_WATCH_REQUEST)
#define ETCD_WATCH_RESPONSE(F, L, O, B) \
	O(1, kv_header, header) F(2, I64, watch_id) F(3, BOOL, created) F(4, BOOL, canceled) \
	F(5, I64, compact_revision) F(6, STR, cancel_reason) F(7, BOOL, fragment) \
	L(11, etcd_event, events, UINT32_MAX)
PB_DECLARE(etcd_watch_response, ETCD_WATCH_RESPONSE)

/* ---- Cluster, Maintenance, health ---- */

struct etcd_text {
	struct bytes text;
};
#define ETCD_MEMBER(F, L, O, B) \
	F(1, U64, id) F(2, STR, name) B(3, STR, etcd_text, peer_urls, 16) B(4, STR, etcd_text, client_urls, 16) \
	F(5, BOOL, is_learner)
PB_DECLARE(etcd_member, ETCD_MEMBER)
#define ETCD_MEMBER_LIST(F, L, O, B) F(1, BOOL, linearizable)
PB_DECLARE(etcd_member_list, ETCD_MEMBER_LIST)
#define ETCD_MEMBER_LIST_RESULT(F, L, O, B) O(1, kv_header, header) L(2, etcd_member, members, LIMIT_NODES)
PB_DECLARE(etcd_member_list_result, ETCD_MEMBER_LIST_RESULT)

enum etcd_alarm_action { ETCD_ALARM_GET = 0, ETCD_ALARM_ACTIVATE = 1, ETCD_ALARM_DEACTIVATE = 2 };
#define ETCD_ALARM(F, L, O, B) F(1, ENUM, action) F(2, U64, member_id) F(3, ENUM, alarm)
PB_DECLARE(etcd_alarm, ETCD_ALARM)
#define ETCD_ALARM_MEMBER(F, L, O, B) F(1, U64, member_id) F(2, ENUM, alarm)
PB_DECLARE(etcd_alarm_member, ETCD_ALARM_MEMBER)
#define ETCD_ALARM_RESULT(F, L, O, B) O(1, kv_header, header) L(2, etcd_alarm_member, alarms, LIMIT_NODES)
PB_DECLARE(etcd_alarm_result, ETCD_ALARM_RESULT)

#define ETCD_STATUS_RESULT(F, L, O, B) \
	O(1, kv_header, header) F(2, STR, version) F(3, I64, db_size) F(4, U64, leader) F(5, U64, raft_index) \
	F(6, U64, raft_term) F(7, U64, raft_applied_index) B(8, STR, etcd_text, errors, 16) \
	F(9, I64, db_size_in_use) F(10, BOOL, is_learner) F(11, STR, storage_version) F(12, I64, db_size_quota) \
	O(13, etcd_empty, downgrade_info)
PB_DECLARE(etcd_status_result, ETCD_STATUS_RESULT)
#define ETCD_HASH_RESULT(F, L, O, B) O(1, kv_header, header) F(2, U32, hash)
PB_DECLARE(etcd_hash_result, ETCD_HASH_RESULT)
#define ETCD_HASH_KV(F, L, O, B) F(1, I64, revision)
PB_ROWS(native_hash)
#define ETCD_HASH_KV_RESULT(F, L, O, B) \
	O(1, kv_header, header) F(2, U32, hash) F(3, I64, compact_revision) F(4, I64, hash_revision)
PB_DECLARE(etcd_hash_kv_result, ETCD_HASH_KV_RESULT)
#define ETCD_MOVE_LEADER(F, L, O, B) F(1, U64, target)
PB_ROWS(native_move_leader)

#define GRPC_HEALTH(F, L, O, B) F(1, STR, service)
PB_DECLARE(grpc_health, GRPC_HEALTH)
enum grpc_health_status { GRPC_HEALTH_UNKNOWN = 0, GRPC_SERVING = 1, GRPC_NOT_SERVING = 2, GRPC_SERVICE_UNKNOWN = 3 };
#define GRPC_HEALTH_RESULT(F, L, O, B) F(1, ENUM, status)
PB_DECLARE(grpc_health_result, GRPC_HEALTH_RESULT)
/* A map, by the services' names. */
#define GRPC_HEALTH_ENTRY(F, L, O, B) F(1, STR, key) O(2, grpc_health_result, value)
PB_DECLARE(grpc_health_entry, GRPC_HEALTH_ENTRY)
#define GRPC_HEALTH_LIST(F, L, O, B) L(1, grpc_health_entry, statuses, 16)
PB_DECLARE(grpc_health_list, GRPC_HEALTH_LIST)

#define ETCD_AUTH_STATUS(F, L, O, B) O(1, kv_header, header) F(2, BOOL, enabled) F(3, U64, auth_revision)
PB_DECLARE(etcd_auth_status, ETCD_AUTH_STATUS)

/* ---- Lock, Election ---- */

#define ETCD_LOCK(F, L, O, B) F(1, BYTES, name) F(2, I64, lease)
PB_DECLARE(etcd_lock, ETCD_LOCK)
#define ETCD_LOCK_RESULT(F, L, O, B) O(1, kv_header, header) F(2, BYTES, key)
PB_DECLARE(etcd_lock_result, ETCD_LOCK_RESULT)
#define ETCD_UNLOCK(F, L, O, B) F(1, BYTES, key)
PB_DECLARE(etcd_unlock, ETCD_UNLOCK)
#define ETCD_UNLOCK_RESULT(F, L, O, B) O(1, kv_header, header)
PB_DECLARE(etcd_unlock_result, ETCD_UNLOCK_RESULT)
#define ETCD_LEADER_KEY(F, L, O, B) F(1, BYTES, name) F(2, BYTES, key) F(3, I64, rev) F(4, I64, lease)
PB_DECLARE(etcd_leader_key, ETCD_LEADER_KEY)
#define ETCD_CAMPAIGN(F, L, O, B) F(1, BYTES, name) F(2, I64, lease) F(3, BYTES, value)
PB_DECLARE(etcd_campaign, ETCD_CAMPAIGN)
#define ETCD_CAMPAIGN_RESULT(F, L, O, B) O(1, kv_header, header) O(2, etcd_leader_key, leader)
PB_DECLARE(etcd_campaign_result, ETCD_CAMPAIGN_RESULT)
#define ETCD_LEADER(F, L, O, B) F(1, BYTES, name)         /* and of observe */
PB_DECLARE(etcd_leader, ETCD_LEADER)
#define ETCD_LEADER_RESULT(F, L, O, B) O(1, kv_header, header) O(2, kv_pair, kv)
PB_DECLARE(etcd_leader_result, ETCD_LEADER_RESULT)
#define ETCD_PROCLAIM(F, L, O, B) O(1, etcd_leader_key, leader) F(2, BYTES, value)
PB_DECLARE(etcd_proclaim, ETCD_PROCLAIM)
#define ETCD_RESIGN(F, L, O, B) O(1, etcd_leader_key, leader)
PB_DECLARE(etcd_resign, ETCD_RESIGN)
/* proclaim's and resign's, of which nothing is left but the header */
#define ETCD_HEADER_RESULT(F, L, O, B) O(1, kv_header, header)
PB_DECLARE(etcd_header_result, ETCD_HEADER_RESULT)

/* Every message above, for tests and fuzzers. */
extern const struct pb_desc *const etcd_messages[];
extern const size_t etcd_message_count;

#endif
