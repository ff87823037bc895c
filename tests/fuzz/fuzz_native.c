/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client may send. The input's first byte says where the stream is cut in two; the rest is
 * the stream. The scanner must find the same requests however the bytes come, whatever passes
 * the checks must survive its way through the log, and a whole gateway must take all of it.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "mvcc/kv_check.h"
#include "proto/native.h"
#include "tests/lib/gateway_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_scanner(struct bytes in, size_t cut)
{
	struct rpc_scan whole, parts;
	struct rpc_request a, b;
	int err, piecewise;

	rpc_scan_begin(&whole);
	err = rpc_scan(&whole, in, &a);
	rpc_scan_begin(&parts);
	piecewise = rpc_scan(&parts, bytes_of(in.data, cut), &b);
	if (piecewise == ERR_TRUNCATED)
		piecewise = rpc_scan(&parts, in, &b);
	CHECK(piecewise == err && parts.id_known == whole.id_known);
	CHECK(err != ERR_OK || (a.id == b.id && bytes_eq(a.params, b.params) && whole.pos <= in.len));
}

/* A command as it goes into the log, and out of it. */
static void check_command(struct command *cmd)
{
	struct arena arena;
	struct buf first, second;
	struct command back;
	struct wire w;

	arena_init(&arena, 1u << 27);
	buf_init(&first, 0);
	buf_init(&second, 0);
	cmd->gateway = 1;
	cmd->seq = 1;
	CHECK(msg_encode(&first, &command_desc, cmd) == ERR_OK);
	w = wire_of(buf_bytes(&first), WIRE_STRICT);
	CHECK(msg_decode(&w, &command_desc, &arena, &back) == ERR_OK && wire_end(&w) == ERR_OK);
	CHECK(kv_check_command(&back) == ERR_OK);
	CHECK(msg_encode(&second, &command_desc, &back) == ERR_OK);
	CHECK(bytes_eq(buf_bytes(&first), buf_bytes(&second)));
	buf_free(&first);
	buf_free(&second);
	arena_free(&arena);
}

static void check_params(const struct rpc_request *r)
{
	const struct native_method *m = native_method_find(r->method);
	struct wire w = wire_of(r->params, WIRE_LENIENT);
	struct arena arena;
	void *params;

	if (m == NULL)
		return;
	arena_init(&arena, GATEWAY_REQUEST_ARENA);
	params = arena_alloc(&arena, m->params->size);
	if (msg_decode(&w, m->params, &arena, params) == ERR_OK && wire_end(&w) == ERR_OK) {
		if (m->params == &kv_put_desc && kv_check_put(params) == ERR_OK)
			check_command(&(struct command){.put = params});
		if (m->params == &kv_delete_desc && kv_check_delete(params) == ERR_OK)
			check_command(&(struct command){.del = params});
		if (m->params == &kv_txn_desc && kv_check_txn(params) == ERR_OK)
			check_command(&(struct command){.txn = params});
	}
	arena_free(&arena);
}

static void check_gateway(struct bytes in, size_t cut)
{
	static struct world *w;
	struct rpc_peer p;

	if (w == NULL) {
		w = world_new(7000);
		for (int i = 0; i < 50; i++)
			small_store_put(&w->store, (char[]){(char)('a' + i % 26), (char)('0' + i / 26), 0}, "v");
		w->n_log += 50;
		world_progress(w);
		w->forgets = true;      /* commands go nowhere, ranges are read */
	}
	world_join(w, &p);
	rpc_peer_bytes(&p, in.data, in.len);
	rpc_peer_write(&p, cut);
	world_turn(w);
	rpc_peer_write(&p, in.len);
	for (int i = 0; i < 3; i++)
		world_turn(w);
	rpc_peer_close(&p);
	world_turns(w, 3);
	CHECK(w->g.n_requests == 0 && w->g.conns.n == 0 && (w->g.conns.in_bytes + w->g.conns.out_bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in;
	struct rpc_scan s;
	struct rpc_request r;
	size_t cut;

	if (size < 2)
		return 0;
	in = bytes_of(data + 1, size - 1);
	cut = data[0] % in.len;
	check_scanner(in, cut);
	rpc_scan_begin(&s);
	if (rpc_scan(&s, in, &r) == ERR_OK)
		check_params(&r);
	check_gateway(in, cut);
	return 0;
}
