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
	UNARY("/etcdserverpb.KV/Txn", etcd_txn, grpc_txn, kv_txn_result),
	UNARY("/etcdserverpb.KV/Compact", kv_compact, write_compact, kv_compact_result),
	MISSING("/etcdserverpb.KV/RangeStream", "range streams are"),

	MISSING("/etcdserverpb.Cluster/MemberAdd", MEMBERS),
	MISSING("/etcdserverpb.Cluster/MemberRemove", MEMBERS),
	MISSING("/etcdserverpb.Cluster/MemberUpdate", MEMBERS),
	MISSING("/etcdserverpb.Cluster/MemberPromote", MEMBERS),

	MISSING("/etcdserverpb.Maintenance/Defragment", "defragmentation is"),
	MISSING("/etcdserverpb.Maintenance/Snapshot", "snapshots for clients are"),
	MISSING("/etcdserverpb.Maintenance/Downgrade", "downgrades are"),

	MISSING("/etcdserverpb.Auth/AuthEnable", AUTH),
	MISSING("/etcdserverpb.Auth/AuthDisable", AUTH),
	MISSING("/etcdserverpb.Auth/AuthStatus", AUTH),
	MISSING("/etcdserverpb.Auth/Authenticate", AUTH),
	MISSING("/etcdserverpb.Auth/UserAdd", AUTH),
	MISSING("/etcdserverpb.Auth/UserGet", AUTH),
	MISSING("/etcdserverpb.Auth/UserList", AUTH),
	MISSING("/etcdserverpb.Auth/UserDelete", AUTH),
	MISSING("/etcdserverpb.Auth/UserChangePassword", AUTH),
	MISSING("/etcdserverpb.Auth/UserGrantRole", AUTH),
	MISSING("/etcdserverpb.Auth/UserRevokeRole", AUTH),
	MISSING("/etcdserverpb.Auth/RoleAdd", AUTH),
	MISSING("/etcdserverpb.Auth/RoleGet", AUTH),
	MISSING("/etcdserverpb.Auth/RoleList", AUTH),
	MISSING("/etcdserverpb.Auth/RoleDelete", AUTH),
	MISSING("/etcdserverpb.Auth/RoleGrantPermission", AUTH),
	MISSING("/etcdserverpb.Auth/RoleRevokePermission", AUTH),

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
