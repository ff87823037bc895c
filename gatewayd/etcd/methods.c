/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every RPC of etcd's v3 API. A unary one is served by the method of the native protocol that does the
 * same; `result` then says in which form its result is written.
 */
#include <string.h>

#include "gatewayd/etcd/grpc.h"

#define UNARY(path, params, run, result) {path, GRPC_UNARY, &params##_pb, run, &result##_pb, NULL, NULL}
#define MADE(path, params, run, answer) {path, GRPC_UNARY, &params##_pb, run, NULL, answer, NULL}
#define STREAM(path, params, run) {path, GRPC_STREAM, &params##_pb, run, NULL, NULL, NULL}
#define MISSING(path, text) {path, GRPC_MISSING, NULL, NULL, NULL, NULL, "etcdserver: " text " not implemented yet"}

#define MEMBERS "membership changes are"
#define AUTH "authentication is"

const struct grpc_method grpc_methods[] = {
	UNARY("/etcdserverpb.KV/Range", kv_range, read_range, kv_range_result),
	UNARY("/etcdserverpb.KV/Put", kv_put, write_put, kv_put_result),
	UNARY("/etcdserverpb.KV/DeleteRange", kv_delete, write_delete, kv_delete_result),
	{"/etcdserverpb.KV/Txn", GRPC_UNARY, &etcd_txn_pb, grpc_txn, &kv_txn_result_pb, grpc_answer_txn, NULL},
	UNARY("/etcdserverpb.KV/Compact", kv_compact, write_compact, kv_compact_result),
	STREAM("/etcdserverpb.KV/RangeStream", kv_range, grpc_range_stream),

	STREAM("/etcdserverpb.Watch/Watch", etcd_watch_request, grpc_watch),

	UNARY("/etcdserverpb.Lease/LeaseGrant", lease_grant, write_grant, lease_grant_result),
	UNARY("/etcdserverpb.Lease/LeaseRevoke", lease_revoke, write_revoke, lease_revoke_result),
	STREAM("/etcdserverpb.Lease/LeaseKeepAlive", native_lease, grpc_keepalive),
	UNARY("/etcdserverpb.Lease/LeaseTimeToLive", native_time_to_live, lease_time_to_live,
	      native_time_to_live_result),
	UNARY("/etcdserverpb.Lease/LeaseLeases", etcd_empty, grpc_leases, native_lease_list_result),

	UNARY("/etcdserverpb.Cluster/MemberList", etcd_member_list, grpc_members, etcd_member_list_result),
	MISSING("/etcdserverpb.Cluster/MemberAdd", MEMBERS),
	MISSING("/etcdserverpb.Cluster/MemberRemove", MEMBERS),
	MISSING("/etcdserverpb.Cluster/MemberUpdate", MEMBERS),
	MISSING("/etcdserverpb.Cluster/MemberPromote", MEMBERS),

	MADE("/etcdserverpb.Maintenance/Status", etcd_empty, info_status, grpc_answer_status),
	UNARY("/etcdserverpb.Maintenance/Alarm", etcd_alarm, grpc_alarm, etcd_alarm_result),
	MADE("/etcdserverpb.Maintenance/Hash", etcd_empty, grpc_hash, grpc_answer_hash),
	MADE("/etcdserverpb.Maintenance/HashKV", native_hash, info_hash, grpc_answer_hash_kv),
	UNARY("/etcdserverpb.Maintenance/MoveLeader", native_move_leader, info_move_leader, etcd_empty),
	MISSING("/etcdserverpb.Maintenance/Defragment", "defragmentation is"),
	MISSING("/etcdserverpb.Maintenance/Snapshot", "snapshots for clients are"),
	MISSING("/etcdserverpb.Maintenance/Downgrade", "downgrades are"),

	MISSING("/etcdserverpb.Auth/AuthEnable", AUTH),
	MISSING("/etcdserverpb.Auth/AuthDisable", AUTH),
	UNARY("/etcdserverpb.Auth/AuthStatus", etcd_empty, grpc_auth_status, etcd_auth_status),
	UNARY("/etcdserverpb.Auth/Authenticate", etcd_empty, grpc_authenticate, etcd_empty),
	MISSING("/etcdserverpb.Auth/UserAdd", AUTH),
	MISSING("/etcdserverpb.Auth/UserGet", AUTH),
	UNARY("/etcdserverpb.Auth/UserList", etcd_empty, grpc_auth_none, etcd_header_result),
	MISSING("/etcdserverpb.Auth/UserDelete", AUTH),
	MISSING("/etcdserverpb.Auth/UserChangePassword", AUTH),
	MISSING("/etcdserverpb.Auth/UserGrantRole", AUTH),
	MISSING("/etcdserverpb.Auth/UserRevokeRole", AUTH),
	MISSING("/etcdserverpb.Auth/RoleAdd", AUTH),
	MISSING("/etcdserverpb.Auth/RoleGet", AUTH),
	UNARY("/etcdserverpb.Auth/RoleList", etcd_empty, grpc_auth_none, etcd_header_result),
	MISSING("/etcdserverpb.Auth/RoleDelete", AUTH),
	MISSING("/etcdserverpb.Auth/RoleGrantPermission", AUTH),
	MISSING("/etcdserverpb.Auth/RoleRevokePermission", AUTH),

	UNARY("/v3lockpb.Lock/Lock", etcd_lock, grpc_lock, etcd_lock_result),
	MADE("/v3lockpb.Lock/Unlock", etcd_unlock, grpc_unlock, grpc_answer_unlock),
	UNARY("/v3electionpb.Election/Campaign", etcd_campaign, grpc_campaign, etcd_campaign_result),
	UNARY("/v3electionpb.Election/Proclaim", etcd_proclaim, grpc_proclaim, etcd_header_result),
	UNARY("/v3electionpb.Election/Leader", etcd_leader, grpc_leader, etcd_leader_result),
	STREAM("/v3electionpb.Election/Observe", etcd_leader, grpc_observe),
	UNARY("/v3electionpb.Election/Resign", etcd_resign, grpc_resign, etcd_header_result),

	UNARY("/grpc.health.v1.Health/Check", grpc_health, grpc_health_check, grpc_health_result),
	UNARY("/grpc.health.v1.Health/List", etcd_empty, grpc_health_all, grpc_health_list),
	STREAM("/grpc.health.v1.Health/Watch", grpc_health, grpc_health_watch),

	{NULL, GRPC_MISSING, NULL, NULL, NULL, NULL, NULL},
};

/* Up to the last slash. */
static struct bytes method_service(struct bytes path)
{
	size_t n = path.len;

	while (n > 0 && path.data[n - 1] != '/')
		n--;
	return bytes_of(path.data, n);
}

const struct grpc_method *grpc_method_find(struct bytes path, bool *service)
{
	*service = false;
	for (const struct grpc_method *m = grpc_methods; m->path != NULL; m++) {
		struct bytes known = bytes_str(m->path);

		if (bytes_eq(known, path))
			return m;
		if (bytes_eq(method_service(known), method_service(path)))
			*service = true;
	}
	return NULL;
}
