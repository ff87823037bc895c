/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON gateway: a request is a gRPC stream of this process, whose messages come and go as JSON. What
 * an RPC means, its limits and its errors are those of etcd/grpc.h; here only the form changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/etcd/grpc.h"
#include "gatewayd/http/http1.h"
#include "gatewayd/http/pbjson.h"
#include "gatewayd/http/paths.h"

enum { GRPC_HEAD = 5, RPC_MESSAGE_BYTES = 512 };

static const char json_type[] = "application/json";

/* Begins with the stream that etcd/grpc.c knows; lives until the answer has been written. */
struct http_rpc {
	struct grpc_stream grpc;      /* first: h2_ops.size */
	struct http1 *h;
	const struct grpc_method *method;
	bool open;                    /* the stream is there */
	bool streams;                 /* answers are lines of {"result":...} */
	/* the request's JSON, as far as it has not been taken */
	struct buf body;
	struct pbjson_split split;
	/* the message that is being written */
	struct pbjson_out out;
	size_t left;
	bool in_message, any;
	/* how it ended */
	bool ended;
	int code;
	char message[RPC_MESSAGE_BYTES];
};

static struct http_rpc *rpc_of(struct h2_stream *s)
{
	return container_of(s, struct http_rpc, grpc.h2);
}

/* As grpc-gateway has it. */
static int rpc_http_status(int code)
{
	switch (code) {
	case GRPC_OK:
		return 200;
	case GRPC_CANCELED:
		return 499;
	case GRPC_INVALID_ARGUMENT:
	case GRPC_FAILED_PRECONDITION:
	case GRPC_OUT_OF_RANGE:
		return 400;
	case GRPC_DEADLINE_EXCEEDED:
		return 504;
	case GRPC_NOT_FOUND:
		return 404;
	case GRPC_ALREADY_EXISTS:
		return 409;
	case GRPC_PERMISSION_DENIED:
		return 403;
	case GRPC_UNAUTHENTICATED:
		return 401;
	case GRPC_RESOURCE_EXHAUSTED:
		return 429;
	case GRPC_UNIMPLEMENTED:
		return 501;
	case GRPC_UNAVAILABLE:
		return 503;
	default:
		return 500;
	}
}

/* ---- the wire: what the stream says ---- */

static unsigned rpc_nibble(uint8_t c)
{
	return c >= 'A' ? c - 'A' + 10u : c - (unsigned)'0';
}

/* %XX, as grpc_escape has written it, back to what it stood for. */
static void rpc_unescape(struct bytes v, char *to, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < v.len && n + 1 < size; i++) {
		if (v.data[i] == '%' && i + 2 < v.len) {
			to[n++] = (char)(rpc_nibble(v.data[i + 1]) << 4 | rpc_nibble(v.data[i + 2]));
			i += 2;
		} else {
			to[n++] = (char)v.data[i];
		}
	}
	to[n] = '\0';
}

static void rpc_ended(struct http_rpc *r, const struct h2_field *f, size_t n)
{
	char number[8] = "";

	r->ended = true;
	r->code = GRPC_UNKNOWN;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(f[i].name, "grpc-status") == 0) {
			(void)snprintf(number, sizeof number, "%.*s", (int)f[i].value.len,
				       (const char *)f[i].value.data);
			r->code = (int)strtol(number, NULL, 10);
		} else if (strcmp(f[i].name, "grpc-message") == 0) {
			rpc_unescape(f[i].value, r->message, sizeof r->message);
		}
	}
	conn_touch(r->h->c);
}

static void rpc_respond(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	(void)f;
	(void)n;
	CHECK(!s->responded);
	s->responded = true;
}

static void rpc_respond_only(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	CHECK(!s->responded);
	s->responded = true;
	rpc_ended(rpc_of(s), f, n);
}

static void rpc_send(struct h2_stream *s)
{
	h2_count_out(s);
	conn_touch(s->c);
}

static void rpc_finish(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	h2_count_out(s);
	rpc_ended(rpc_of(s), f, n);
}

static void rpc_reset(struct h2_stream *s)
{
	http1_break(rpc_of(s)->h, "an answer was broken off");
}

/* The body is taken as it comes, and bounded here. */
static void rpc_took(struct h2_stream *s, size_t n)
{
	(void)s;
	(void)n;
}

static const struct h2_wire rpc_wire = {
	.respond = rpc_respond,
	.respond_only = rpc_respond_only,
	.send = rpc_send,
	.finish = rpc_finish,
	.reset = rpc_reset,
	.took = rpc_took,
};

/* ---- out ---- */

static void rpc_put_error(struct http_rpc *r, struct buf *out)
{
	struct bytes text = bytes_str(r->message);

	buf_str(out, r->streams ? "{\"error\":{" : "{\"error\":");
	if (!r->streams) {                    /* as before 3.6, where it was said twice */
		pbjson_string(out, text);
		buf_u8(out, ',');
	}
	buf_printf(out, "\"code\":%d,\"message\":", r->code);
	pbjson_string(out, text);
	buf_str(out, r->streams ? ",\"details\":[]}}\n" : ",\"details\":[]}");
}

/* A message's beginning, a part of it, or its end. False: nothing can be done now. */
static bool rpc_put(struct http_rpc *r, int *err)
{
	struct h2_stream *s = &r->grpc.h2;
	struct buf *text = &r->h->text;
	struct bytes in = bytes_of(s->out.data + s->out_pos, h2_waiting(s));
	size_t used;

	if (!r->in_message) {
		if (in.len < GRPC_HEAD)
			return false;
		r->left = get_u32be(in.data + 1);
		r->in_message = r->any = true;
		s->out_pos += GRPC_HEAD;
		if (r->streams)
			buf_str(text, "{\"result\":");
		pbjson_out_begin(&r->out, r->out.desc, text);
		return true;
	}
	in.len = in.len < r->left ? in.len : r->left;
	*err = pbjson_out_fields(&r->out, in, text, &used);
	s->out_pos += used;
	r->left -= used;
	if (r->left > 0)
		return used > 0;
	pbjson_out_end(&r->out, text);
	if (r->streams)
		buf_str(text, "}\n");
	r->in_message = false;
	return true;
}

static void rpc_drop_written(struct h2_stream *s)
{
	if (s->out_pos == s->out.len) {
		buf_free(&s->out);
		s->out_pos = 0;
	} else if (s->out_pos >= s->out.len / 2) {
		buf_consume(&s->out, s->out_pos);
		s->out_pos = 0;
	}
	h2_count_out(s);
}

static void rpc_fill(struct http1 *h)
{
	struct http_rpc *r = h->x;
	struct h2_stream *s = &r->grpc.h2;
	int err = ERR_OK;

	s->hungry = false;
	while (err == ERR_OK && h->text.len < LIMIT_CONN_OUT_HIGH && !s->hungry)
		s->hungry = !rpc_put(r, &err);
	if (err != ERR_OK) {
		http1_break(h, "an answer could not be written as JSON");
		return;
	}
	s->hungry = s->hungry && r->in_message && h2_waiting(s) > 0;  /* half a field: it is written whole */
	rpc_drop_written(s);
	if (r->streams && !r->in_message && h->text.len > 0)
		http1_flow(h);
	if (s->wants_room && (s->hungry || h2_waiting(s) <= LIMIT_CONN_OUT_LOW) && r->open) {
		s->wants_room = s->wants_little = false;
		grpc_ops.room(s);
	}
	if (!r->ended || h2_waiting(s) > 0 || r->in_message)
		return;
	if (r->code != GRPC_OK) {
		if (r->any && !r->streams) {
			http1_break(h, "an answer was broken off");
			return;
		}
		if (!h->head_sent)
			h->status = rpc_http_status(r->code);
		rpc_put_error(r, &h->text);
	}
	http1_done(h);
}

/* ---- in ---- */

static void rpc_refuse(struct http_rpc *r, enum err_grpc code, const char *why)
{
	grpc_status(&r->grpc, code, why);
}

/* One JSON value as one message of the stream. */
static void rpc_message(struct http_rpc *r, struct bytes text)
{
	char why[PBJSON_WHY_BYTES];
	struct buf m;
	int err;

	buf_init(&m, GRPC_HEAD + LIMIT_CONN_MESSAGE_BYTES);
	buf_u8(&m, 0);
	buf_u32be(&m, 0);
	err = pbjson_in(text, r->method->params, &m, why);
	if (err == ERR_LIMIT) {
		grpc_error(&r->grpc, ERR_REQUEST_TOO_LARGE);
	} else if (err != ERR_OK) {
		rpc_refuse(r, GRPC_INVALID_ARGUMENT, why);
	} else {
		put_u32be(m.data + 1, (uint32_t)(m.len - GRPC_HEAD));
		grpc_ops.data(&r->grpc.h2, buf_bytes(&m));
	}
	buf_free(&m);
}

static bool rpc_blank(struct bytes v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] != ' ' && v.data[i] != '\t' && v.data[i] != '\r' && v.data[i] != '\n')
			return false;
	return true;
}

/* Objects that are complete; a unary RPC has one, which is the whole body. */
static void rpc_messages(struct http_rpc *r)
{
	struct bytes rest = buf_bytes(&r->body);

	while (!r->ended && pbjson_split(&r->split, rest)) {
		rpc_message(r, bytes_of(rest.data, r->split.pos));
		rest = bytes_of(rest.data + r->split.pos, rest.len - r->split.pos);
		r->split = (struct pbjson_split){.pos = 0};
	}
	buf_consume(&r->body, r->body.len - rest.len);
	if (r->body.len == 0)
		buf_free(&r->body);
	(void)http1_count(r->h, r->body.cap);
}

static void rpc_end_of_body(struct http_rpc *r)
{
	bool unary = r->method->kind == GRPC_UNARY;

	if (unary && rpc_blank(buf_bytes(&r->body)))
		rpc_message(r, bytes_str("{}"));      /* as etcd: nothing is an empty request */
	else if (unary)
		rpc_message(r, buf_bytes(&r->body));
	else if (!rpc_blank(buf_bytes(&r->body)))
		rpc_refuse(r, GRPC_INVALID_ARGUMENT, "unexpected EOF");
	buf_free(&r->body);
	(void)http1_count(r->h, 0);
	if (!r->ended && (!r->h->endless || r->grpc.n_messages == 0)) {
		r->grpc.h2.ended = true;
		grpc_ops.end(&r->grpc.h2);
	}
}

static void rpc_body(struct http1 *h, struct bytes piece, bool last)
{
	struct http_rpc *r = h->x;

	if (r->ended)
		return;
	buf_add_bytes(&r->body, piece);
	if (!http1_count(h, r->body.cap))
		grpc_error(&r->grpc, ERR_TOO_MANY_REQUESTS);
	else if (r->body.err != ERR_OK)
		grpc_error(&r->grpc, ERR_REQUEST_TOO_LARGE);
	if (!r->ended && r->method->kind == GRPC_STREAM)
		rpc_messages(r);
	if (!r->ended && last)
		rpc_end_of_body(r);
}

/* ---- life ---- */

static void rpc_stop(struct http1 *h)
{
	struct http_rpc *r = h->x;

	if (!r->ended)
		grpc_ops.stop(&r->grpc.h2);
	if (!r->ended && !h->body_done)       /* which is not read any more */
		grpc_error(&r->grpc, ERR_STOPPED);
}

static void rpc_gone(struct http1 *h)
{
	struct http_rpc *r = h->x;
	struct h2_stream *s = &r->grpc.h2;

	r->open = false;
	grpc_ops.gone(s);
	buf_free(&s->out);
	h2_count_out(s);
	buf_free(&r->body);
	mem_free(r);
}

static const struct http_handler rpc_handler = {
	.body = rpc_body,
	.fill = rpc_fill,
	.stop = rpc_stop,
	.gone = rpc_gone,
};

static void rpc_open(struct http1 *h, const struct http_path *path, const struct grpc_method *method)
{
	struct http_rpc *r = mem_alloc(sizeof *r);
	struct h2_stream *s = &r->grpc.h2;

	r->h = h;
	r->method = method;
	r->streams = path->streams;
	r->open = true;
	r->out.desc = path->result;
	buf_init(&r->body, LIMIT_HTTP_BODY_BYTES);
	h->x = r;
	h->handler = &rpc_handler;
	h->endless = path->endless;
	http1_answer(h, 200, json_type);
	s->c = h->c;
	s->wire = &rpc_wire;
	buf_init(&s->out, 0);
	grpc_ops.opened(h->g, s);
	grpc_ops.header(s, bytes_str(":method"), bytes_str("POST"));
	grpc_ops.header(s, bytes_str(":path"), bytes_str(method->path));
	grpc_ops.header(s, bytes_str("content-type"), bytes_str("application/grpc"));
	if (h->req.has_leader)
		grpc_ops.header(s, bytes_str("hasleader"), bytes_str("true"));
	if (h->req.timeout.len > 0)
		grpc_ops.header(s, bytes_str("grpc-timeout"), h->req.timeout);
	grpc_ops.request(s, false);
}

bool http_rpc_begin(struct http1 *h)
{
	const struct http_path *path = http_path_find(h->req.path);
	const struct grpc_method *method;
	bool service;

	if (path == NULL)
		return false;
	if (!bytes_eq(h->req.method, bytes_str("POST"))) {
		http1_say(h, 405, "text/plain; charset=utf-8", "Method Not Allowed\n");
		return true;
	}
	method = grpc_method_find(bytes_str(path->rpc), &service);
	CHECK(method != NULL);
	rpc_open(h, path, method);
	return true;
}
