/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/http/http1.h"

#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/conn_own.h"
#include "gatewayd/gateway.h"

enum {
	HTTP_TEXT_BYTES = 64 * 1024,          /* gathered before a head without a length goes out */
	HTTP_KEEP_BYTES = 4096,               /* of the buffer, when what was in it has gone out */
};

static const char *http_words(int status)
{
	static const struct {
		int status;
		const char *words;
	} rows[] = {
		{200, "OK"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
		{405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"}, {413, "Content Too Large"},
		{429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
		{499, "Client Closed Request"}, {500, "Internal Server Error"}, {501, "Not Implemented"},
		{503, "Service Unavailable"}, {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			return rows[i].words;
	return "Status";
}

/* ---- memory ---- */

static void http1_recount(struct http1 *h, size_t in)
{
	struct conn *c = h->c;

	c->extra_in += in - h->counted_in;
	c->extra_out += h->text.cap - h->counted_out;
	h->counted_in = in;
	h->counted_out = h->text.cap;
	conn_count(c);
}

bool http1_count(struct http1 *h, size_t in)
{
	bool more = in > h->counted_in;

	http1_recount(h, in);
	while (more && h->c->set->in_bytes > h->c->set->max_in_bytes && conn_drop_hog(h->c->set, h->c))
		;
	return h->c->set->in_bytes <= h->c->set->max_in_bytes;
}

/* ---- the answer ---- */

void http1_answer(struct http1 *h, int status, const char *type)
{
	CHECK(!h->head_sent && !h->done);
	h->status = status;
	h->type = type;
}

void http1_flow(struct http1 *h)
{
	h->flow = true;
	conn_touch(h->c);
}

void http1_done(struct http1 *h)
{
	h->done = true;
	conn_touch(h->c);
}

void http1_say(struct http1 *h, int status, const char *type, const char *text)
{
	http1_answer(h, status, type);
	buf_str(&h->text, text);
	http1_done(h);
}

void http1_break(struct http1 *h, const char *reason)
{
	conn_abort(h->c, reason);
}

static void http1_head(struct http1 *h)
{
	struct buf *out = &h->c->out;

	h->head_sent = true;
	/* Who has not sent all of its request cannot be understood behind it. */
	h->keep_alive = h->req.keep_alive && h->body_done && h->c->state == CONN_OPEN;
	h->chunked = !h->done && h->req.minor == 1;
	if (!h->done && !h->chunked)
		h->keep_alive = false;
	buf_printf(out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n", h->status, http_words(h->status), h->type);
	if (h->chunked)
		buf_str(out, "Transfer-Encoding: chunked\r\n");
	else if (h->done)
		buf_printf(out, "Content-Length: %zu\r\n", h->text.len);
	if (!h->keep_alive)
		buf_str(out, "Connection: close\r\n");
	else if (h->req.minor == 0)
		buf_str(out, "Connection: keep-alive\r\n");
	buf_str(out, "\r\n");
}

static void http1_put_text(struct http1 *h)
{
	struct buf *out = &h->c->out;

	if (h->req.head)
		buf_clear(&h->text);          /* its length has been told */
	if (h->text.len > 0) {
		if (h->chunked)
			buf_printf(out, "%zx\r\n", h->text.len);
		buf_add_bytes(out, buf_bytes(&h->text));
		if (h->chunked)
			buf_str(out, "\r\n");
		buf_clear(&h->text);
		buf_shrink(&h->text, HTTP_KEEP_BYTES);
	}
	if (h->done && h->chunked)
		buf_str(out, "0\r\n\r\n");
}

static void http1_over(struct http1 *h)
{
	struct conn *c = h->c;
	const struct http_handler *handler = h->handler;

	h->handler = NULL;
	if (handler != NULL)
		handler->gone(h);
	h->x = NULL;
	buf_free(&h->text);
	http1_recount(h, 0);
	h->done = h->head_sent = h->flow = h->endless = false;
	if (c->state == CONN_DEAD)
		return;
	if (!h->keep_alive) {
		conn_end(c);
		return;
	}
	c->more_in = c->in.len > 0;           /* the next request may have come */
	conn_touch(c);
}

static void http1_fill(struct conn *c)
{
	struct http1 *h = c->session;

	c->more_out = false;
	if (h->handler == NULL)
		return;
	if (!h->done && h->handler->fill != NULL) {
		if (conn_room(c))
			h->handler->fill(h);
		else
			c->more_out = true;   /* and called again when that has been written */
	}
	if (c->state == CONN_DEAD || h->handler == NULL)
		return;
	if (h->text.err != ERR_OK) {
		conn_abort(c, "out of memory");
		return;
	}
	if (!h->done && !(h->flow && h->text.len > 0) && h->text.len < HTTP_TEXT_BYTES) {
		http1_recount(h, h->counted_in);
		return;
	}
	h->flow = false;
	if (!h->head_sent)
		http1_head(h);
	http1_put_text(h);
	http1_recount(h, h->counted_in);
	if (h->done)
		http1_over(h);
	else
		conn_touch(c);                /* more may be said at once */
}

/* ---- requests ---- */

/* A request that is answered by these words alone, whatever else it wants. */
static void http1_nothing(struct http1 *h, struct bytes piece, bool last)
{
	(void)h;
	(void)piece;
	(void)last;
}

static void http1_no_more(struct http1 *h)
{
	(void)h;
}

static const struct http_handler http1_words = {.body = http1_nothing, .gone = http1_no_more};

/* What cannot be read: the connection ends with the answer. */
static void http1_refuse(struct http1 *h, int status)
{
	struct conn *c = h->c;

	counter_inc(&c->set->counters->clients_malformed_total);
	conn_complain(c->set, "client sent a bad request peer=%s error=\"HTTP %d\"", c->peer, status);
	h->req = (struct http_request){.minor = 1};
	h->handler = &http1_words;
	h->body_done = false;
	http1_say(h, status, "text/plain; charset=utf-8", http_words(status));
}

static void http1_begin(struct http1 *h)
{
	counter_inc(&h->c->set->counters->requests_total);
	http_body_begin(&h->body, &h->req);
	h->body_done = false;
	if (h->req.expects_continue && h->body.state != HTTP_BODY_DONE)
		buf_str(&h->c->out, "HTTP/1.1 100 Continue\r\n\r\n");
	h->handler = &http1_words;
	if (!http_rpc_begin(h) && !http_plain_begin(h))
		http1_say(h, 404, "text/plain; charset=utf-8", "404 page not found\n");
}

/* Of the body, what has come. */
static size_t http1_take_body(struct http1 *h, struct bytes in)
{
	struct bytes data;
	size_t used, taken = 0;

	while (!h->body_done && h->handler != NULL) {
		if (!http_body_take(&h->body, bytes_of(in.data + taken, in.len - taken), &used, &data)) {
			conn_complain(h->c->set, "client sent a bad body peer=%s", h->c->peer);
			conn_abort(h->c, "bad body");
			return in.len;
		}
		taken += used;
		h->body_done = h->body.state == HTTP_BODY_DONE;
		if (!h->done && (data.len > 0 || h->body_done))
			h->handler->body(h, data, h->body_done);
		if (h->c->state == CONN_DEAD)
			return in.len;
		if (used == 0 || taken == in.len)
			break;
	}
	return taken;
}

static size_t http1_take(struct conn *c, struct bytes in)
{
	struct http1 *h = c->session;
	size_t taken = 0, used;
	int status;

	c->more_in = false;
	while (taken < in.len && c->state == CONN_OPEN) {
		struct bytes rest = bytes_of(in.data + taken, in.len - taken);

		if (h->handler != NULL && h->body_done) {
			/* the next one waits; but not any number of them for what has no end */
			if (h->endless && rest.len > LIMIT_CONN_READ_BYTES)
				conn_abort(c, "too much behind a request without end");
			break;
		}
		if (h->handler != NULL) {
			used = http1_take_body(h, rest);
			taken += used;
			if (used == 0)
				break;
			continue;
		}
		status = http_parse(rest, &h->req, &used);
		if (status == HTTP_MORE) {
			conn_begun(c);
			break;
		}
		conn_came(c);
		if (status != 0) {
			http1_refuse(h, status);
			return in.len;
		}
		taken += used;
		http1_begin(h);
		if (h->body.state == HTTP_BODY_DONE)
			(void)http1_take_body(h, bytes_of(NULL, 0));
	}
	return taken;
}

/* While an answer goes on without end, only to see that the client goes. */
static bool http1_wants_input(const struct conn *c)
{
	const struct http1 *h = c->session;

	if (c->state != CONN_OPEN || c->eof)
		return false;
	return h->handler == NULL ? conn_room(c) : !h->body_done || h->endless;
}

/* ---- life ---- */

static bool http1_open(struct conn *c)
{
	struct http1 *h = mem_alloc(sizeof *h);

	h->c = c;
	h->g = c->set->arg;
	buf_init(&h->text, 0);
	c->session = h;
	counter_inc(&c->set->counters->http1_clients_total);
	return true;
}

/* Input has ended, or the server stops. Who waits for an answer still gets it. */
static void http1_end(struct conn *c)
{
	struct http1 *h = c->session;

	if (h->handler == NULL)
		return;
	if (c->eof && (h->endless || !h->body_done))
		conn_abort(c, "client closed");
	else if (h->handler->stop != NULL && !h->done)
		h->handler->stop(h);
}

static void http1_late(struct conn *c)
{
	http1_refuse(c->session, 408);
}

static bool http1_quiet(const struct conn *c)
{
	const struct http1 *h = c->session;

	return h->handler == NULL;
}

static void http1_gone(struct conn *c)
{
	struct http1 *h = c->session;

	if (h->handler != NULL)
		http1_over(h);
}

static void http1_free(struct conn *c)
{
	mem_free(c->session);
	c->session = NULL;
}

const struct conn_proto http1_proto = {
	.name = "http1",
	.open = http1_open,
	.take = http1_take,
	.wants_input = http1_wants_input,
	.fill = http1_fill,
	.end = http1_end,
	.late = http1_late,
	.quiet = http1_quiet,
	.gone = http1_gone,
	.free = http1_free,
};
