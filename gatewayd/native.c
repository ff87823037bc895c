/* SPDX-License-Identifier: Apache-2.0 */
/* The native protocol: which method is which handler, and how a connection of it is answered. */
#include "gatewayd/native.h"

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "proto/native.h"

/* ---- answers ---- */

static struct conn *native_conn(struct caller *k)
{
	return container_of(k, struct conn, caller);
}

static void native_error(struct caller *k, uint32_t id, int err)
{
	conn_answer_error(native_conn(k), id, err);
}

static struct buf *native_begin(struct caller *k, uint32_t id, size_t *mark)
{
	struct buf *b = conn_answer_begin(native_conn(k), mark);

	rpc_result_head(b, id);
	return b;
}

static void native_end(struct caller *k, uint32_t id, struct buf *b, size_t mark, int lost)
{
	conn_answer_end(native_conn(k), b, mark, id, lost);
}

static void native_result(struct caller *k, uint32_t id, const struct msg_desc *d, const void *result, int lost)
{
	size_t mark;
	struct buf *b = native_begin(k, id, &mark);

	(void)msg_encode(b, d, result);
	native_end(k, id, b, mark, lost);
}

static bool native_room(struct caller *k)
{
	return conn_room(native_conn(k));
}

static void native_want_room(struct caller *k)
{
	conn_want_room(native_conn(k));
}

static bool native_stream_begin(struct caller *k, uint32_t id, size_t total)
{
	struct conn *c = native_conn(k);

	(void)total;
	if (!conn_stream_begin(c))
		return false;
	rpc_result_head(conn_stream(c), id);
	return true;
}

static bool native_stream_room(struct caller *k)
{
	return conn_stream_room(native_conn(k));
}

static struct buf *native_stream(struct caller *k)
{
	return conn_stream(native_conn(k));
}

static void native_touch(struct caller *k)
{
	conn_touch(native_conn(k));
}

static void native_stream_end(struct caller *k)
{
	conn_stream_end(native_conn(k));
}

static void native_broken(struct caller *k, int err, int64_t revision)
{
	struct conn *c = native_conn(k);

	conn_complain(c->set, "answer broken off, client closed peer=%s revision=%lld error=\"%s\"", c->peer,
		      (long long)revision, err_text(err));
	conn_abort(c, "answer broken off");
}

static int native_take_txn(struct bytes params, struct arena *arena, struct kv_txn *out)
{
	struct wire w = wire_of(params, WIRE_LENIENT);

	return msg_decode(&w, &kv_txn_desc, arena, out);
}

static size_t native_waiting(struct caller *k)
{
	return conn_waiting(native_conn(k));
}

static const struct caller_ops native_caller_ops = {
	.form = &form_native,
	.error = native_error,
	.result = native_result,
	.begin = native_begin,
	.end = native_end,
	.room = native_room,
	.want_room = native_want_room,
	.stream_begin = native_stream_begin,
	.stream_room = native_stream_room,
	.stream = native_stream,
	.touch = native_touch,
	.stream_end = native_stream_end,
	.broken = native_broken,
	.take_txn = native_take_txn,
	.watch = native_watch_got,
	.waiting = native_waiting,
};

/* ---- methods ---- */

static void method_unknown(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	(void)g;
	(void)params;
	caller_error(k, rpc->id, ERR_UNKNOWN_METHOD);
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

static void native_request(void *arg, struct conn *c, const struct rpc_request *rpc)
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
	m->run(g, &c->caller, rpc, params);
}

static void native_has_room(void *arg, struct conn *c)
{
	read_room(arg, &c->caller);
	watch_caller_room(arg, &c->caller);
}

static void native_gone(void *arg, struct conn *c)
{
	request_drop(arg, &c->caller);
	watch_caller_gone(arg, &c->caller);
}

const struct conn_ops gateway_conn_ops = {native_request, native_has_room, native_gone, &native_caller_ops};
