/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are not quite those of the native protocol. */
#include "base/err.h"
#include "gatewayd/etcd/grpc.h"

/* etcd's compares have a number for each target. */
void grpc_txn(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct kv_txn txn;

	if (etcd_txn_take(params, &g->arena, &txn) != ERR_OK)
		caller_error(k, rpc->id, ERR_TOO_MANY_OPS);
	else
		write_txn(g, k, rpc, &txn);
}

void grpc_leases(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct native_lease_list all = {0, 0};

	(void)params;
	lease_list(g, k, rpc, &all);
}
