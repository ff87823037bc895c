/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/conn_world.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/wire.h"
#include "tests/lib/tap.h"

static uint8_t filler[BIG_BYTES];

void conn_world_answer(struct conn *c, uint32_t id, struct bytes value)
{
	size_t mark;
	struct buf *b = conn_answer_begin(c, &mark);

	rpc_result_head(b, id);
	buf_add_bytes(b, value);
	conn_answer_end(c, b, mark, id, ERR_RESULT_LOST);
}

void conn_world_answer_big(struct conn *c, uint32_t id)
{
	struct buf b = {0};

	wire_bin(&b, bytes_of(filler, BIG_BYTES));
	conn_world_answer(c, id, buf_bytes(&b));
	buf_free(&b);
}

static void on_request(void *arg, struct conn *c, const struct rpc_request *r)
{
	struct conn_world *w = arg;

	w->n_requests++;
	if (bytes_eq(r->method, bytes_str("echo"))) {
		conn_world_answer(c, r->id, r->params);
	} else if (bytes_eq(r->method, bytes_str("later"))) {
		OK(w->n_later < LATER_MAX);
		w->later[w->n_later++] = (struct conn_later){c, r->id};
		if (w->n_later > w->most_later)
			w->most_later = w->n_later;
	} else if (bytes_eq(r->method, bytes_str("big"))) {
		conn_world_answer_big(c, r->id);
	} else if (bytes_eq(r->method, bytes_str("bad"))) {
		conn_answer_error(c, r->id, ERR_MALFORMED);
		conn_bad(c, ERR_MALFORMED);
	} else if (bytes_eq(r->method, bytes_str("stream"))) {
		OK(conn_stream_begin(c));
		w->streamer = c;
		w->stream_id = r->id;
		w->streamed = 0;
		rpc_result_head(conn_stream(c), r->id);
		wire_bin_head(conn_stream(c), STREAM_BYTES);
	} else {
		conn_answer_error(c, r->id, ERR_UNKNOWN_METHOD);
	}
}

static void on_room(void *arg, struct conn *c)
{
	struct conn_world *w = arg;

	(void)c;
	w->n_room++;
}

static void on_gone(void *arg, struct conn *c)
{
	struct conn_world *w = arg;
	size_t kept = 0;

	w->n_gone++;
	for (size_t i = 0; i < w->n_later; i++)
		if (w->later[i].c != c)
			w->later[kept++] = w->later[i];
	w->n_later = kept;
	if (w->streamer == c)
		w->streamer = NULL;
}

static void stream_step(struct conn_world *w)
{
	struct conn *c = w->streamer;

	if (c == NULL)
		return;
	if (!conn_stream_room(c)) {
		conn_want_room(c);
		return;
	}
	buf_add(conn_stream(c), filler, STREAM_STEP);
	w->streamed += STREAM_STEP;
	conn_touch(c);
	if (w->streamed == STREAM_BYTES) {
		w->streamer = NULL;
		conn_stream_end(c);
	}
}

static void on_turn_end(void *arg)
{
	struct conn_world *w = arg;

	conn_set_input(&w->set);
	stream_step(w);
	conn_set_output(&w->set);
}

static const struct conn_ops ops = {on_request, on_room, on_gone, NULL};

struct conn_world *conn_world_new(void)
{
	struct conn_world *w = mem_alloc(sizeof *w);

	log_set_level(LOG_ERROR);
	w->loop = loop_new();
	gatewayd_counters_init(&w->counters);
	conn_set_init(&w->set, w->loop, &ops, w, &w->counters);
	loop_hook_add(w->loop, &w->hook, on_turn_end, w);
	return w;
}

void conn_world_free(struct conn_world *w)
{
	conn_set_free(&w->set);
	loop_hook_del(w->loop, &w->hook);
	loop_free(w->loop);
	mem_free(w);
}

void conn_world_turns(struct conn_world *w, int n)
{
	while (n-- > 0)
		loop_turn(w->loop, 0);
}

struct conn *conn_world_join(struct conn_world *w, struct rpc_peer *p)
{
	return conn_new(&w->set, rpc_peer_open(p), "test");
}

/* Turns until the peer has a reply or the connection is closed. */
bool conn_world_reply(struct conn_world *w, struct rpc_peer *p, struct rpc_reply *r)
{
	for (int i = 0; i < 100000; i++) {
		if (rpc_peer_next(p, r))
			return true;
		if (p->closed)
			return false;
		rpc_peer_write(p, 1u << 16);
		loop_turn(w->loop, 0);
		rpc_peer_read(p, 1u << 16);
	}
	OK(p == NULL);                  /* nothing came */
	return false;
}

void conn_world_request(struct rpc_peer *p, uint32_t id, const char *method, size_t bytes)
{
	struct buf b = {0};

	wire_array(&b, 1);
	wire_bin(&b, bytes_of(filler, bytes));
	rpc_peer_request(p, id, method, buf_bytes(&b));
	buf_free(&b);
}
