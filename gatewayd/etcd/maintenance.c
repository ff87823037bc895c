/* SPDX-License-Identifier: Apache-2.0 */
/* Cluster, Maintenance, what there is of Auth, and grpc.health.v1: what this server knows of it, in etcd's form. */
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "gatewayd/etcd/grpc.h"
#include "gatewayd/read_own.h"

/* ---- Cluster ---- */

enum { URL_BYTES = 512 };

/* As etcd: the header of a Cluster RPC has no revision. */
static void members_answer(struct gateway *g, struct caller *k, uint32_t id)
{
	char urls[LIMIT_NODES][2][URL_BYTES];
	struct etcd_text texts[LIMIT_NODES][2];
	struct etcd_member members[LIMIT_NODES];
	struct kv_header header = gateway_header(g, 0);
	struct etcd_member_list_result r = {&header, {members, g->config->n_members}};

	for (size_t i = 0; i < g->config->n_members; i++) {
		const struct config_member *m = &g->config->members[i];

		(void)snprintf(urls[i][0], URL_BYTES, "http://%s", m->peer_addr);
		(void)snprintf(urls[i][1], URL_BYTES, "http://%s", m->client_addr);
		texts[i][0].text = bytes_str(urls[i][0]);
		texts[i][1].text = bytes_str(urls[i][1]);
		members[i] = (struct etcd_member){m->id, bytes_str(m->name), {&texts[i][0], 1}, {&texts[i][1], m->client_addr[0] != 0}, false};
	}
	caller_result(k, id, NULL, &r, ERR_TOO_MANY_REQUESTS);
}

static void members_fenced(struct gateway *g, struct read *rd)
{
	struct caller *k = rd->r.caller;
	uint32_t id = rd->r.id;

	read_end(g, rd);
	request_forget(g, &rd->r);
	members_answer(g, k, id);
}

/* Members do not change yet; a linearizable list still proves that there is a quorum. */
void grpc_members(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct etcd_member_list *p = params;

	if (p->linearizable)
		(void)read_fence(g, k, rpc, members_fenced);
	else
		members_answer(g, k, rpc->id);
}

/* ---- Maintenance ---- */

void grpc_answer_status(struct grpc_stream *s, const void *result)
{
	const struct native_status_result *from = result;
	struct etcd_text no_leader = {bytes_str("etcdserver: no leader")};
	struct etcd_empty none = {0};
	struct etcd_status_result to = {
		.header = from->header,
		.version = bytes_str(ETCD_VERSION),
		.db_size = (int64_t)from->store_bytes,
		.leader = from->leader,
		.raft_index = from->commit,
		.raft_term = from->header->raft_term,
		.raft_applied_index = from->applied,
		.errors = {&no_leader, from->leader == 0 ? 1 : 0},
		.db_size_in_use = (int64_t)from->used_bytes,
		.storage_version = bytes_str(ETCD_VERSION),
		.db_size_quota = (int64_t)(s->g->config->store_map_gb << 30),
		.downgrade_info = &none,
	};

	grpc_send(s, &etcd_status_result_pb, &to);
}

/* Ours has 16 bytes; etcd's has 4, and is compared only with those of the same cluster. */
static uint32_t hash_short(struct bytes hash)
{
	return hash.len >= 4 ? get_u32be(hash.data) : 0;
}

void grpc_answer_hash(struct grpc_stream *s, const void *result)
{
	const struct native_hash_result *from = result;
	struct etcd_hash_result to = {from->header, hash_short(from->hash)};

	grpc_send(s, &etcd_hash_result_pb, &to);
}

void grpc_answer_hash_kv(struct grpc_stream *s, const void *result)
{
	const struct native_hash_result *from = result;
	struct etcd_hash_kv_result to = {from->header, hash_short(from->hash), from->compact_revision,
					 from->hash_revision};

	grpc_send(s, &etcd_hash_kv_result_pb, &to);
}

void grpc_hash(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct native_hash latest = {0};

	(void)params;
	info_hash(g, k, rpc, &latest);
}

/* There is no alarm that outlives its cause, so there is none to list. */
void grpc_alarm(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct etcd_alarm *p = params;
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct etcd_alarm_result r = {.header = &header};

	if (p->action == ETCD_ALARM_GET)
		caller_result(k, rpc->id, NULL, &r, ERR_TOO_MANY_REQUESTS);
	else
		grpc_status(GRPC_OF(k), GRPC_UNIMPLEMENTED, "etcdserver: alarms are not implemented yet");
}

/* ---- Auth: it is not there yet, so it is off, and there are no users ---- */

void grpc_auth_status(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct etcd_auth_status r = {&header, false, 1};

	(void)params;
	caller_result(k, rpc->id, NULL, &r, ERR_TOO_MANY_REQUESTS);
}

/* By these words clients that have a password know that they need none. */
void grpc_authenticate(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	(void)g;
	(void)rpc;
	(void)params;
	grpc_status(GRPC_OF(k), GRPC_FAILED_PRECONDITION, "etcdserver: authentication is not enabled");
}

/* A list of users, or of roles. */
void grpc_auth_none(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct etcd_header_result r = {&header};

	(void)params;
	caller_result(k, rpc->id, NULL, &r, ERR_TOO_MANY_REQUESTS);
}

/* ---- health ---- */

void grpc_health_check(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct grpc_health *p = params;
	struct grpc_health_result r = {GRPC_SERVING};

	(void)g;
	if (p->service.len == 0)
		caller_result(k, rpc->id, NULL, &r, ERR_TOO_MANY_REQUESTS);
	else
		grpc_status(GRPC_OF(k), GRPC_NOT_FOUND, "unknown service");
}

void grpc_health_all(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct grpc_health_result serving = {GRPC_SERVING};
	struct grpc_health_entry server = {bytes_of(NULL, 0), &serving};
	struct grpc_health_list r = {{&server, 1}};

	(void)g;
	(void)params;
	caller_result(k, rpc->id, NULL, &r, ERR_TOO_MANY_REQUESTS);
}

/* It never changes while the server lives. */
void grpc_health_watch(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct grpc_health *p = params;
	struct grpc_health_result r = {p->service.len == 0 ? GRPC_SERVING : GRPC_SERVICE_UNKNOWN};

	(void)g;
	(void)rpc;
	GRPC_OF(k)->busy = true;              /* one request is all it has */
	grpc_send(GRPC_OF(k), &grpc_health_result_pb, &r);
}
