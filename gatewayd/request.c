/* SPDX-License-Identifier: Apache-2.0 */
/* Which method is which handler, the life of a request, answers. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/gateway.h"
#include "proto/native.h"

/* ---- the life of a request ---- */

void *request_new(struct gateway *g, struct conn *c, uint32_t id, const struct request_kind *kind, size_t size)
{
	struct request *r = mem_alloc(size);

	r->conn = c;
	r->id = id;
	r->kind = kind;
	r->deadline = mono_add_ms(loop_now(g->loop), g->timeout_ms);
	list_push(&c->requests, &r->by_conn);
	list_push(&g->deadlines, &r->by_deadline);
	g->n_requests++;
	return r;
}

void request_short(struct gateway *g, struct request *r, int64_t ms)
{
	r->deadline = mono_add_ms(loop_now(g->loop), ms);
	list_remove(&r->by_deadline);
	list_push(&g->short_deadlines, &r->by_deadline);
}

void request_forget(struct gateway *g, struct request *r)
{
	list_remove(&r->by_conn);
	list_remove(&r->by_deadline);
	g->n_requests--;
	mem_free(r);
}

void request_error(struct gateway *g, struct request *r, int err)
{
	struct conn *c = r->conn;
	uint32_t id = r->id;

	request_forget(g, r);
	conn_answer_error(c, id, err);
}

/* The result may lie in the request. */
void request_result(struct gateway *g, struct request *r, const struct msg_desc *d, const void *result)
{
	struct conn *c = r->conn;
	uint32_t id = r->id;
	size_t mark;
	struct buf *b = conn_answer_begin(c, &mark);

	rpc_result_head(b, id);
	(void)msg_encode(b, d, result);
	request_forget(g, r);
	conn_answer_end(c, b, mark, id, ERR_RESULT_LOST);
}

struct kv_header gateway_header(const struct gateway *g, int64_t revision)
{
	return (struct kv_header){g->config->cluster_id, g->config->node_id, revision, g->raft.state.term};
}

static void request_expire_one(struct gateway *g, struct request *r)
{
	list_remove(&r->by_deadline);
	if (r->kind->expire != NULL) {
		r->kind->expire(g, r);
		return;
	}
	counter_inc(&g->counters.timeouts_total);
	request_error(g, r, r->kind->give_up(g, r));
}

void request_expire(struct gateway *g, mono_t now)
{
	struct list *lists[] = {&g->deadlines, &g->short_deadlines}, *l;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		while ((l = list_first(lists[i])) != NULL) {
			struct request *r = container_of(l, struct request, by_deadline);

			if (mono_before(now, r->deadline))
				break;
			request_expire_one(g, r);
		}
	}
}

/* ---- methods ---- */

static void method_unknown(struct gateway *g, struct conn *c, const struct rpc_request *rpc, void *params)
{
	(void)g;
	(void)params;
	conn_answer_error(c, rpc->id, ERR_UNKNOWN_METHOD);
}

static const struct method {
	const char *name;
	const struct msg_desc *params;
	method_fn *run;
} methods[] = {
	{"range", &kv_range_desc, read_range},
	{"put", &kv_put_desc, write_put},
	{"txn", &kv_txn_desc, write_txn},
	{"delete", &kv_delete_desc, write_delete},
	{"version", &native_empty_desc, info_version},
	{"status", &native_empty_desc, info_status},
	{"members", &native_empty_desc, info_members},
	{"compact", &kv_compact_desc, write_compact},
	{"lease_keepalive", &native_lease_desc, lease_keepalive},
	{"lease_grant", &lease_grant_desc, write_grant},
	{"lease_revoke", &lease_revoke_desc, write_revoke},
	{"lease_time_to_live", &native_time_to_live_desc, lease_time_to_live},
	{"lease_list", &native_lease_list_desc, lease_list},
	{"hash", &native_hash_desc, info_hash},
	{"move_leader", &native_move_leader_desc, info_move_leader},
	{"watch", &native_watch_desc, watch_create_method},
	{"watch_cancel", &native_watch_ref_desc, watch_cancel_method},
	{"watch_progress", &native_watch_ref_desc, watch_progress_method},
	{NULL, NULL, method_unknown},
};

static const struct method *method_find(struct bytes name)
{
	const struct method *m = methods;

	while (m->name != NULL && !bytes_eq(name, bytes_str(m->name)))
		m++;
	return m;
}

/* Parameters that are not what the method's message says end the connection: see docs/. */
static void method_misused(struct conn *c, const struct rpc_request *rpc, const struct method *m, int err)
{
	if (err == ERR_LIMIT && m->params == &kv_txn_desc) {
		conn_answer_error(c, rpc->id, ERR_TOO_MANY_OPS);   /* a list that is too long */
		return;
	}
	conn_answer_error(c, rpc->id, err);
	conn_bad(c, err);
}

static void gateway_request(void *arg, struct conn *c, const struct rpc_request *rpc)
{
	struct gateway *g = arg;
	const struct method *m = method_find(rpc->method);
	struct wire w = wire_of(rpc->params, WIRE_LENIENT);
	void *params = NULL;
	int err;

	if (rpc->params.len > LIMIT_REQUEST_BYTES) {
		conn_answer_error(c, rpc->id, ERR_REQUEST_TOO_LARGE);
		return;
	}
	if (m->params != NULL) {
		arena_reset(&g->arena);
		g->arena.max = GATEWAY_REQUEST_ARENA;
		params = arena_alloc(&g->arena, m->params->size);
		CHECK(params != NULL);
		(void)msg_decode(&w, m->params, &g->arena, params);
		err = wire_end(&w);
		if (err != ERR_OK) {
			method_misused(c, rpc, m, err);
			return;
		}
	}
	m->run(g, c, rpc, params);
}

static void gateway_room(void *arg, struct conn *c)
{
	read_room(arg, c);
	watch_conn_room(arg, c);
}

static void gateway_gone(void *arg, struct conn *c)
{
	struct gateway *g = arg;
	struct list *l;

	while ((l = list_first(&c->requests)) != NULL) {
		struct request *r = container_of(l, struct request, by_conn);

		(void)r->kind->give_up(g, r);
		request_forget(g, r);
	}
	CHECK(list_empty(&c->parked));
	watch_conn_gone(g, c);
}

const struct conn_ops gateway_conn_ops = {gateway_request, gateway_room, gateway_gone};
