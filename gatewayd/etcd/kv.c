/* SPDX-License-Identifier: Apache-2.0 */
/* Txn: etcd's compares have a number for each target. */
#include "base/err.h"
#include "gatewayd/etcd/grpc.h"

void grpc_txn(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct kv_txn txn;

	if (etcd_txn_take(params, &g->arena, &txn) != ERR_OK)
		caller_error(k, rpc->id, ERR_TOO_MANY_OPS);
	else
		write_txn(g, k, rpc, &txn);
}
