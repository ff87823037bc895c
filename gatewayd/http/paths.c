/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/http/paths.h"

#include <string.h>

#include "proto/etcd.h"

#define UNARY(path, rpc, result) {path, rpc, &result##_pb, false, false}
#define WAITS(path, rpc, result) {path, rpc, &result##_pb, false, true}
#define LINES(path, rpc, result, endless) {path, rpc, &result##_pb, true, endless}
#define MISSING(path, rpc) {path, rpc, NULL, false, false}

static const struct http_path http_paths[] = {
	UNARY("kv/range", "/etcdserverpb.KV/Range", kv_range_result),
	UNARY("kv/put", "/etcdserverpb.KV/Put", kv_put_result),
	UNARY("kv/deleterange", "/etcdserverpb.KV/DeleteRange", kv_delete_result),
	UNARY("kv/txn", "/etcdserverpb.KV/Txn", kv_txn_result),
	UNARY("kv/compaction", "/etcdserverpb.KV/Compact", kv_compact_result),
	LINES("watch", "/etcdserverpb.Watch/Watch", etcd_watch_response, true),
	UNARY("lease/grant", "/etcdserverpb.Lease/LeaseGrant", lease_grant_result),
	UNARY("lease/revoke", "/etcdserverpb.Lease/LeaseRevoke", lease_revoke_result),
	UNARY("kv/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke", lease_revoke_result),
	LINES("lease/keepalive", "/etcdserverpb.Lease/LeaseKeepAlive", native_keepalive_result, false),
	UNARY("lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive", native_time_to_live_result),
	UNARY("kv/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive", native_time_to_live_result),
	UNARY("lease/leases", "/etcdserverpb.Lease/LeaseLeases", native_lease_list_result),
	UNARY("kv/lease/leases", "/etcdserverpb.Lease/LeaseLeases", native_lease_list_result),
	UNARY("cluster/member/list", "/etcdserverpb.Cluster/MemberList", etcd_member_list_result),
	MISSING("cluster/member/add", "/etcdserverpb.Cluster/MemberAdd"),
	MISSING("cluster/member/remove", "/etcdserverpb.Cluster/MemberRemove"),
	MISSING("cluster/member/update", "/etcdserverpb.Cluster/MemberUpdate"),
	MISSING("cluster/member/promote", "/etcdserverpb.Cluster/MemberPromote"),
	UNARY("maintenance/alarm", "/etcdserverpb.Maintenance/Alarm", etcd_alarm_result),
	UNARY("maintenance/status", "/etcdserverpb.Maintenance/Status", etcd_status_result),
	UNARY("maintenance/hash", "/etcdserverpb.Maintenance/Hash", etcd_hash_result),
	UNARY("maintenance/hashkv", "/etcdserverpb.Maintenance/HashKV", etcd_hash_kv_result),
	UNARY("maintenance/transfer-leadership", "/etcdserverpb.Maintenance/MoveLeader", etcd_empty),
	MISSING("maintenance/defragment", "/etcdserverpb.Maintenance/Defragment"),
	MISSING("maintenance/snapshot", "/etcdserverpb.Maintenance/Snapshot"),
	MISSING("maintenance/downgrade", "/etcdserverpb.Maintenance/Downgrade"),
	WAITS("lock/lock", "/v3lockpb.Lock/Lock", etcd_lock_result),
	UNARY("lock/unlock", "/v3lockpb.Lock/Unlock", etcd_unlock_result),
	WAITS("election/campaign", "/v3electionpb.Election/Campaign", etcd_campaign_result),
	UNARY("election/proclaim", "/v3electionpb.Election/Proclaim", etcd_header_result),
	UNARY("election/leader", "/v3electionpb.Election/Leader", etcd_leader_result),
	LINES("election/observe", "/v3electionpb.Election/Observe", etcd_leader_result, true),
	UNARY("election/resign", "/v3electionpb.Election/Resign", etcd_header_result),
	MISSING("auth/enable", "/etcdserverpb.Auth/AuthEnable"),
	MISSING("auth/disable", "/etcdserverpb.Auth/AuthDisable"),
	UNARY("auth/status", "/etcdserverpb.Auth/AuthStatus", etcd_auth_status),
	UNARY("auth/authenticate", "/etcdserverpb.Auth/Authenticate", etcd_empty),
	MISSING("auth/user/add", "/etcdserverpb.Auth/UserAdd"),
	MISSING("auth/user/get", "/etcdserverpb.Auth/UserGet"),
	UNARY("auth/user/list", "/etcdserverpb.Auth/UserList", etcd_header_result),
	MISSING("auth/user/delete", "/etcdserverpb.Auth/UserDelete"),
	MISSING("auth/user/changepw", "/etcdserverpb.Auth/UserChangePassword"),
	MISSING("auth/user/grant", "/etcdserverpb.Auth/UserGrantRole"),
	MISSING("auth/user/revoke", "/etcdserverpb.Auth/UserRevokeRole"),
	MISSING("auth/role/add", "/etcdserverpb.Auth/RoleAdd"),
	MISSING("auth/role/get", "/etcdserverpb.Auth/RoleGet"),
	UNARY("auth/role/list", "/etcdserverpb.Auth/RoleList", etcd_header_result),
	MISSING("auth/role/delete", "/etcdserverpb.Auth/RoleDelete"),
	MISSING("auth/role/grant", "/etcdserverpb.Auth/RoleGrantPermission"),
	MISSING("auth/role/revoke", "/etcdserverpb.Auth/RoleRevokePermission"),
};

static bool http_strip(struct bytes *path, const char *prefix)
{
	size_t n = strlen(prefix);

	if (path->len < n || memcmp(path->data, prefix, n) != 0)
		return false;
	*path = bytes_of(path->data + n, path->len - n);
	return true;
}

const struct http_path *http_path_find(struct bytes path)
{
	if (!http_strip(&path, "/v3/") && !http_strip(&path, "/v3beta/"))
		return NULL;
	for (size_t i = 0; i < sizeof http_paths / sizeof http_paths[0]; i++)
		if (bytes_eq(path, bytes_str(http_paths[i].path)))
			return &http_paths[i];
	return NULL;
}
