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

/* As etcd: only the outermost transaction's header says anything. The result is ours to change. */
static void txn_clear_nested(const struct kv_txn_result *t)
{
	static struct kv_header empty;

	for (size_t i = 0; i < t->responses.n; i++) {
		struct kv_txn_result *nested = t->responses.v[i].txn;

		if (nested == NULL)
			continue;
		nested->header = &empty;
		txn_clear_nested(nested);
	}
}

void grpc_answer_txn(struct grpc_stream *s, const void *result)
{
	(void)s;
	txn_clear_nested(result);
}

void grpc_leases(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct native_lease_list all = {0, 0};

	(void)params;
	lease_list(g, k, rpc, &all);
}
