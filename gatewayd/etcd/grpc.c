/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a gRPC stream: metadata, messages, the deadline, the end. Answers are in grpc_answer.c. */
#include "gatewayd/etcd/grpc.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "gatewayd/etcd/grpc_own.h"
#include "gatewayd/http/http1.h"

enum { GRPC_HEAD = 5, GRPC_PATH_BYTES = 256 };

/* ---- metadata ---- */

static bool grpc_is(struct bytes a, const char *b)
{
	return bytes_eq(a, bytes_str(b));
}

/* application/grpc, with a subtype (+proto) or parameters behind it. */
static bool grpc_content(struct bytes v)
{
	static const char want[] = "application/grpc";
	const size_t n = sizeof want - 1;

	return v.len >= n && memcmp(v.data, want, n) == 0 &&
	       (v.len == n || v.data[n] == ';' ||
		(v.len == n + 6 && memcmp(v.data + n, "+proto", 6) == 0));
}

/* At most eight digits and a unit, in milliseconds. -1: not given, or not understood. */
static int64_t grpc_timeout(struct bytes v)
{
	const int64_t longest = 365LL * 24 * 3600 * 1000;
	int64_t n = 0;

	if (v.len < 2 || v.len > 9)
		return -1;
	for (size_t i = 0; i + 1 < v.len; i++) {
		if (v.data[i] < '0' || v.data[i] > '9')
			return -1;
		n = n * 10 + (v.data[i] - '0');
	}
	switch (v.data[v.len - 1]) {
	case 'H':
		return n < longest / 3600000 ? n * 3600000 : longest;
	case 'M':
		return n < longest / 60000 ? n * 60000 : longest;
	case 'S':
		return n < longest / 1000 ? n * 1000 : longest;
	case 'm':
		return n;
	case 'u':
		return (n + 999) / 1000;
	case 'n':
		return (n + 999999) / 1000000;
	default:
		return -1;
	}
}

static bool grpc_is_text(struct bytes v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] >= 0x80)
			return false;
	return true;
}

static void grpc_header(struct h2_stream *h, struct bytes name, struct bytes value)
{
	struct grpc_stream *s = container_of(h, struct grpc_stream, h2);

	if (grpc_is(name, ":method"))
		s->post = grpc_is(value, "POST");
	else if (grpc_is(name, ":path") && s->path.len == 0)
		buf_add(&s->path, value.data, value.len < GRPC_PATH_BYTES ? value.len : GRPC_PATH_BYTES);
	else if (grpc_is(name, "content-type"))
		s->grpc = grpc_content(value);
	else if (grpc_is(name, "grpc-timeout"))
		s->timeout_ms = grpc_timeout(value);
	else if (grpc_is(name, "grpc-encoding"))
		s->encoded = !grpc_is(value, "identity");
	else if (grpc_is(name, "hasleader"))
		s->has_leader = grpc_is(value, "true");
	else if (grpc_is(name, "client-api-version"))
		s->bad_version = !grpc_is_text(value);
}

/* ---- the deadline ---- */

/*
 * The caller's own, if it gave one: its work is given up with it. Else only a request that does not
 * come is bounded; once it has come, the services' deadline holds.
 */
static void grpc_timer(void *arg)
{
	struct grpc_stream *s = arg;

	counter_inc(&s->g->counters.timeouts_total);
	grpc_status(s, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

static void grpc_set_timer(struct grpc_stream *s, int64_t ms)
{
	loop_timer_set(s->g->loop, &s->timer, mono_add_ms(loop_now(s->g->loop), ms));
}

/* ---- life ---- */

static void grpc_opened(void *arg, struct h2_stream *h)
{
	struct grpc_stream *s = container_of(h, struct grpc_stream, h2);

	s->g = arg;
	s->timeout_ms = -1;
	caller_init(&s->caller, &grpc_caller_ops);
	s->caller.share = &h2_conn_of(h)->watches;
	buf_init(&s->path, 0);
	buf_init(&s->in, GRPC_HEAD + LIMIT_CONN_MESSAGE_BYTES + LIMIT_H2_STREAM_WINDOW);
	buf_init(&s->range, LIMIT_TXN_RESPONSE_BYTES);
	loop_timer_init(&s->timer, grpc_timer, s);
	list_init(&s->leaders);
}

static void grpc_drop_in(struct grpc_stream *s)
{
	size_t before = s->in.cap;

	buf_free(&s->in);
	(void)h2_count_in(&s->h2, before, 0);
}

void grpc_let_go(struct grpc_stream *s)
{
	const struct grpc_state *ops = s->state_ops;

	loop_timer_clear(s->g->loop, &s->timer);
	list_remove(&s->leaders);
	request_drop(s->g, &s->caller);
	watch_caller_gone(s->g, &s->caller);
	s->state_ops = NULL;
	if (ops != NULL)
		ops->gone(s);
	s->state = NULL;
	grpc_drop_in(s);
}

static void grpc_gone(struct h2_stream *h)
{
	struct grpc_stream *s = container_of(h, struct grpc_stream, h2);

	s->settled = true;
	grpc_let_go(s);
	buf_free(&s->path);
	buf_free(&s->range);
}

static void grpc_request(struct h2_stream *h, bool too_large)
{
	struct grpc_stream *s = container_of(h, struct grpc_stream, h2);
	bool service = false;

	if (!s->post || !s->grpc) {
		grpc_not(s, s->post ? "415" : "405");
		return;
	}
	counter_inc(&s->g->counters.requests_total);
	s->method = grpc_method_find(buf_bytes(&s->path), &service);
	if (too_large)
		grpc_status(s, GRPC_RESOURCE_EXHAUSTED, "request header fields are too large");
	else if (s->method == NULL)
		grpc_unknown(s, service);
	else if (s->method->kind == GRPC_MISSING)
		grpc_status(s, GRPC_UNIMPLEMENTED, s->method->missing);
	else if (s->bad_version)
		grpc_status(s, GRPC_INVALID_ARGUMENT, "etcdserver: invalid client api version");
	else if (s->timeout_ms >= 0)
		grpc_set_timer(s, s->timeout_ms);
	else if (s->method->kind == GRPC_UNARY)
		grpc_set_timer(s, LIMIT_CONN_STALL_MS);
	if (!s->settled && s->has_leader && s->method->kind == GRPC_STREAM)
		list_push(&s->g->leader_streams, &s->leaders);
	buf_free(&s->path);
}

/* ---- messages ---- */

static void grpc_undecoded(struct grpc_stream *s, int err)
{
	if (err == ERR_LIMIT && s->method->params == &etcd_txn_pb)
		grpc_error(s, ERR_TOO_MANY_OPS);      /* a list that is too long */
	else if (err == ERR_LIMIT)
		grpc_status(s, GRPC_RESOURCE_EXHAUSTED, "request unfolds to too much");
	else
		grpc_status(s, GRPC_INTERNAL, "grpc: failed to unmarshal the received message");
}

static void grpc_message(struct grpc_stream *s, struct bytes message)
{
	struct gateway *g = s->g;
	const struct grpc_method *m = s->method;
	struct rpc_request rpc = {++s->n_messages, bytes_str(m->path), message};
	void *params;
	int err;

	if (m->kind == GRPC_UNARY && s->timeout_ms < 0)
		loop_timer_clear(g->loop, &s->timer);
	if (message.len > LIMIT_REQUEST_BYTES) {
		grpc_error(s, ERR_REQUEST_TOO_LARGE);
		return;
	}
	if (s->has_leader && g->raft.state.leader == 0 && m->kind == GRPC_UNARY) {
		grpc_error(s, ERR_NO_LEADER);
		return;
	}
	arena_reset(&g->arena);
	g->arena.max = GATEWAY_REQUEST_ARENA;
	params = arena_alloc(&g->arena, m->params->size);
	CHECK(params != NULL);
	err = pb_decode(message, m->params, &g->arena, params);
	if (err != ERR_OK)
		grpc_undecoded(s, err);
	else
		m->run(g, &s->caller, &rpc, params);
}

/* Who asks on and on, and takes no answer, is not answered on and on. */
static bool grpc_may_answer(struct grpc_stream *s)
{
	if (s->method->kind == GRPC_UNARY || h2_room_for_little(&s->h2))
		return true;
	s->waits = true;
	h2_want_little(&s->h2);
	return false;
}

/* Messages that are complete, until there is none or the stream has enough to do. What was taken. */
static size_t grpc_messages(struct grpc_stream *s, struct bytes in)
{
	size_t taken = 0, len;

	while (!s->settled && !s->busy && in.len - taken >= GRPC_HEAD && grpc_may_answer(s)) {
		const uint8_t *p = in.data + taken;

		len = get_u32be(p + 1);
		if (p[0] != 0) {
			grpc_status(s, GRPC_UNIMPLEMENTED, "grpc: compressed messages are not taken");
			break;
		}
		if (len > LIMIT_CONN_MESSAGE_BYTES) {
			grpc_too_large(s, len);
			break;
		}
		if (in.len - taken - GRPC_HEAD < len)
			break;
		if (s->method->kind == GRPC_UNARY)
			s->busy = true;               /* one is all it has */
		taken += GRPC_HEAD + len;
		s->parsing = true;
		grpc_message(s, bytes_of(p + GRPC_HEAD, len));
		s->parsing = false;
	}
	return taken;
}

/* The client's window is opened as messages are done with; a unary one's as they come. */
static void grpc_took(struct grpc_stream *s, size_t n)
{
	if (!s->settled && s->method->kind == GRPC_STREAM && n > 0)
		h2_took(&s->h2, n);
}

static void grpc_keep(struct grpc_stream *s, struct bytes rest)
{
	size_t before = s->in.cap;
	bool fits;

	buf_add_bytes(&s->in, rest);
	fits = h2_count_in(&s->h2, before, s->in.cap);
	if (!fits || s->in.err != ERR_OK)
		grpc_error(s, ERR_TOO_MANY_REQUESTS);
}

static void grpc_kept(struct grpc_stream *s)
{
	size_t taken = grpc_messages(s, buf_bytes(&s->in));

	if (s->settled)
		return;                               /* the buffer is gone */
	grpc_took(s, taken);
	if (taken == s->in.len)
		grpc_drop_in(s);
	else
		buf_consume(&s->in, taken);
}

static void grpc_data(struct h2_stream *h, struct bytes data)
{
	struct grpc_stream *s = container_of(h, struct grpc_stream, h2);
	size_t taken = 0;

	if (s->settled || (s->method->kind == GRPC_UNARY && s->busy)) {
		h2_took(h, data.len);                 /* thrown away */
		return;
	}
	if (s->method->kind == GRPC_UNARY)
		h2_took(h, data.len);
	if (s->in.len > 0) {
		grpc_keep(s, data);
		if (!s->settled && !s->busy && !s->waits)
			grpc_kept(s);
		return;
	}
	taken = grpc_messages(s, data);               /* most are parsed where they were read to */
	grpc_took(s, taken);
	if (!s->settled && taken < data.len && !(s->method->kind == GRPC_UNARY && s->busy))
		grpc_keep(s, bytes_of(data.data + taken, data.len - taken));
}

static void grpc_end_of_request(struct h2_stream *h)
{
	struct grpc_stream *s = container_of(h, struct grpc_stream, h2);

	if (s->settled || s->busy || s->waits)
		return;
	if (s->in.len > 0 || s->method->kind == GRPC_UNARY)
		grpc_status(s, GRPC_INTERNAL, "grpc: the request ends before its message does");
	else if (s->state_ops != NULL && s->state_ops->end != NULL)
		s->state_ops->end(s);
	else
		grpc_ok(s);
}

static void grpc_what_waited(struct grpc_stream *s)
{
	if (s->in.len > 0)
		grpc_kept(s);
	if (s->h2.ended && !s->busy)
		grpc_end_of_request(&s->h2);
}

void grpc_go_on(struct grpc_stream *s)
{
	CHECK(s->busy);
	s->busy = false;
	if (!s->parsing && !s->waits)         /* parsing goes on by itself */
		grpc_what_waited(s);
}

static void grpc_room(struct h2_stream *h)
{
	struct grpc_stream *s = container_of(h, struct grpc_stream, h2);

	read_room(s->g, &s->caller);
	watch_caller_room(s->g, &s->caller);
	if (!s->waits)
		return;
	s->waits = false;
	if (!s->busy && !s->settled)
		grpc_what_waited(s);
}

static void grpc_stop(struct h2_stream *h)
{
	struct grpc_stream *s = container_of(h, struct grpc_stream, h2);

	if (!s->settled && (s->method == NULL || s->method->kind == GRPC_STREAM || s->state_ops != NULL))
		grpc_error(s, ERR_STOPPED);
}

const struct h2_ops grpc_ops = {
	.size = sizeof(struct grpc_stream),
	.opened = grpc_opened,
	.header = grpc_header,
	.request = grpc_request,
	.data = grpc_data,
	.end = grpc_end_of_request,
	.room = grpc_room,
	.stop = grpc_stop,
	.gone = grpc_gone,
};

/* ---- streams that need a leader ---- */

static void grpc_look_for_leader(void *arg)
{
	struct gateway *g = arg;
	struct list todo, *l;
	int64_t every = (int64_t)g->config->election_max_ms;
	mono_t now = loop_now(g->loop);

	if (g->raft.state.leader != 0)
		g->leader_seen = now;
	loop_timer_set(g->loop, &g->leader_timer, mono_add_ms(now, every));
	if (mono_sub_ms(now, g->leader_seen) < GRPC_LEADERLESS * every)
		return;
	list_init(&todo);
	list_splice(&todo, &g->leader_streams);
	while ((l = list_first(&todo)) != NULL)
		grpc_error(container_of(l, struct grpc_stream, leaders), ERR_NO_LEADER);
}

static void errand_error(struct caller *k, uint32_t id, int err)
{
	(void)k;
	(void)id;
	(void)err;
}

static void errand_result(struct caller *k, uint32_t id, const struct msg_desc *d, const void *result, int lost)
{
	(void)k;
	(void)id;
	(void)d;
	(void)result;
	(void)lost;
}

static const struct caller_ops errand_ops = {.form = &form_etcd, .error = errand_error, .result = errand_result};

void grpc_init(struct gateway *g)
{
	caller_init(&g->errands, &errand_ops);
	list_init(&g->leader_streams);
	loop_timer_init(&g->leader_timer, grpc_look_for_leader, g);
	g->leader_seen = loop_now(g->loop);
	g->conns.http2 = &h2_proto;
	g->conns.http1 = &http1_proto;
	g->conns.h2_ops = &grpc_ops;
	grpc_look_for_leader(g);
}

void grpc_free(struct gateway *g)
{
	loop_timer_clear(g->loop, &g->leader_timer);
	request_drop(g, &g->errands);
	CHECK(list_empty(&g->leader_streams));
}
