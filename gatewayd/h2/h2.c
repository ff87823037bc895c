/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that speaks HTTP/2: its session, its limits, its end. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/conn_own.h"
#include "gatewayd/h2/h2_own.h"

/* ---- nghttp2's memory, counted ---- */

/*
 * An idle session is some 25 KiB, 16 of them a frame buffer that nghttp2 makes at once and that no option
 * makes smaller. It is not cleared, so most of it is no real memory until it is used.
 */

struct h2_block {
	size_t size;
	_Alignas(16) uint8_t data[];
};

static void h2_mem_count(struct h2_conn *h, size_t before, size_t after)
{
	h->mem_bytes += after - before;
	h->c->set->session_bytes += after - before;
	if (h->gone)
		h->c->set->dying_session_bytes += after - before;
}

static void h2_mem_free(void *p, void *arg)
{
	struct h2_block *b;

	if (p == NULL)
		return;
	b = container_of(p, struct h2_block, data);
	h2_mem_count(arg, b->size, 0);
	mem_free(b);
}

static void *h2_mem_alloc(size_t size, void *arg)
{
	struct h2_block *b = mem_grow(NULL, sizeof *b + size, 1);

	b->size = size;
	h2_mem_count(arg, 0, size);
	return b->data;
}

static void *h2_mem_array(size_t n, size_t size, void *arg)
{
	if (size != 0 && n > SIZE_MAX / 2 / size)
		return NULL;
	return memset(h2_mem_alloc(n * size, arg), 0, n * size);
}

static void *h2_mem_again(void *p, size_t size, void *arg)
{
	struct h2_block *old = p != NULL ? container_of(p, struct h2_block, data) : NULL;
	void *q = h2_mem_alloc(size, arg);

	if (old != NULL)
		memcpy(q, p, old->size < size ? old->size : size);
	h2_mem_free(p, arg);
	return q;
}

/* ---- misbehaviour ---- */

void h2_abuse(struct h2_conn *h, uint32_t error_code, const char *what)
{
	struct conn *c = h->c;

	if (h->refusing || c->state == CONN_DEAD)
		return;
	h->refusing = true;
	conn_complain(c->set, "client misuses HTTP/2, connection closed peer=%s what=\"%s\"", c->peer, what);
	counter_inc(&c->set->counters->clients_malformed_total);
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(h->session), error_code,
				    (const uint8_t *)what, strlen(what));
	conn_touch(c);
}

/*
 * As grpc servers have it: a ping is expected with traffic, or now and then on an idle connection;
 * more of them are a flood. What the server has sent in between wipes out earlier strikes, since
 * clients measure their windows by pings.
 */
static void h2_pinged(struct h2_conn *h)
{
	mono_t now = loop_now(h->c->set->loop);

	if (h->sent)
		h->strikes = 0;
	else if (mono_sub_ms(now, h->pinged) < LIMIT_H2_PING_MS)
		h->strikes++;
	h->sent = false;
	h->pinged = now;
	if (h->strikes > LIMIT_H2_PING_STRIKES)
		h2_abuse(h, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
}

static int h2_frame_seen(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
	struct h2_conn *h = arg;

	(void)session;
	if (h->refusing || h->c->state == CONN_DEAD)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (hd->type == NGHTTP2_PING && !(hd->flags & NGHTTP2_FLAG_ACK))
		h2_pinged(h);
	return h->refusing ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- time ---- */

/* Does something wait that the client's windows do not let through? */
static bool h2_shut(const struct h2_conn *h, const struct h2_stream *s)
{
	return h2_waiting(s) > 0 && (nghttp2_session_get_remote_window_size(h->session) <= 0 ||
				     nghttp2_session_get_stream_remote_window_size(h->session, s->id) <= 0);
}

/* Who takes nothing, although there is something to take, goes. */
static void h2_timer(void *arg)
{
	struct h2_conn *h = arg;
	struct conn *c = h->c;
	mono_t now = loop_now(c->set->loop);

	for (struct list *l = h->streams.next; l != &h->streams; l = l->next) {
		const struct h2_stream *s = container_of(l, struct h2_stream, node);

		if (h2_shut(h, s) && mono_sub_ms(now, s->moved) >= c->set->stall_ms) {
			conn_drop_stalled(c);
			return;
		}
	}
	if (h->stopping && !h->goodbye) {
		h->goodbye = true;
		(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
					    nghttp2_session_get_last_proc_stream_id(h->session),
					    NGHTTP2_NO_ERROR, NULL, 0);
		conn_touch(c);
	}
	if (!list_empty(&h->streams))
		loop_timer_set(c->set->loop, &h->timer, mono_add_ms(now, c->set->stall_ms / 4 + 1));
}

/* ---- sessions without streams ---- */

enum { H2_IDLE_LOOKS = 64 };

void h2_idle(struct h2_conn *h)
{
	if (list_empty(&h->streams) && !h->refusing && !h->stopping && h->c->state == CONN_OPEN)
		list_push(&h->c->set->idle_sessions, &h->in_idle);
}

/* The client loses nothing: it knows that no stream was begun, and connects again when it wants one. */
static void h2_retire(struct h2_conn *h)
{
	struct conn *c = h->c;
	const uint8_t *data;
	ssize_t n;

	counter_inc(&c->set->counters->sessions_retired_total);
	conn_complain(c->set, "idle HTTP/2 connection closed: its memory is needed peer=%s", c->peer);
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
				    nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR, NULL, 0);
	while ((n = nghttp2_session_mem_send(h->session, &data)) > 0)
		buf_add(&c->out, data, (size_t)n);
	conn_dismiss(c, "idle");
}

/* Of those that have been idle for long, one that has taken its last answers; the first, if none of them has. */
static struct h2_conn *h2_longest_idle(const struct conn_set *s)
{
	struct list *l = s->idle_sessions.next;
	struct h2_conn *first = NULL;

	for (int i = 0; i < H2_IDLE_LOOKS && l != &s->idle_sessions; i++, l = l->next) {
		struct h2_conn *h = container_of(l, struct h2_conn, in_idle);

		if (conn_waiting(h->c) == 0)
			return h;
		first = first != NULL ? first : h;
	}
	return first;
}

bool h2_make_room(struct conn_set *s)
{
	while (s->session_bytes - s->dying_session_bytes > s->max_session_bytes) {
		struct h2_conn *h = h2_longest_idle(s);

		if (h == NULL)
			return false;
		h2_retire(h);
	}
	return true;
}

/* In words that HTTP/2 has, and without a session: SETTINGS and GOAWAY (RFC 9113, 6.5 and 6.8). */
static void h2_refuse(struct conn *c)
{
	static const char why[] = "too many connections";
	static const uint8_t settings[] = {0, 0, 0, NGHTTP2_SETTINGS, 0, 0, 0, 0, 0};
	const uint8_t goaway[] = {0, 0, 8 + sizeof why - 1, NGHTTP2_GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0,
				  0, 0, 0, NGHTTP2_ENHANCE_YOUR_CALM};

	buf_add(&c->out, settings, sizeof settings);
	buf_add(&c->out, goaway, sizeof goaway);
	buf_add(&c->out, why, sizeof why - 1);
	counter_inc(&c->set->counters->clients_refused_total);
	conn_complain(c->set, "client refused: HTTP/2 sessions hold too much memory peer=%s", c->peer);
}

/* ---- the session ---- */

static nghttp2_session_callbacks *h2_callbacks(void)
{
	nghttp2_session_callbacks *cb;

	CHECK(nghttp2_session_callbacks_new(&cb) == 0);
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, h2_frame_seen);
	h2_stream_callbacks(cb);
	return cb;
}

static nghttp2_option *h2_options(void)
{
	nghttp2_option *o;

	CHECK(nghttp2_option_new(&o) == 0);
	nghttp2_option_set_no_auto_window_update(o, 1);
	/*
	 * nghttp2 would reset streams whose :authority is "http://host:port", and etcdctl --cluster sends that.
	 * Of a request's fields the owner looks at those it knows, and takes nothing for granted.
	 */
	nghttp2_option_set_no_http_messaging(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_stream_reset_rate_limit(o, LIMIT_H2_RESETS, LIMIT_H2_RESETS_S);
	nghttp2_option_set_max_continuations(o, LIMIT_H2_CONTINUATIONS);
	return o;
}

static void h2_greet(struct h2_conn *h)
{
	const nghttp2_settings_entry s[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LIMIT_H2_STREAMS},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LIMIT_H2_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_H2_HEADER_BYTES},
	};

	CHECK(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, s, ARRAY_LEN(s)) == 0);
	CHECK(nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, LIMIT_H2_WINDOW) == 0);
}

static bool h2_open(struct conn *c)
{
	struct h2_conn *h;
	nghttp2_session_callbacks *cb;
	nghttp2_option *o;

	if (!h2_make_room(c->set)) {
		h2_refuse(c);
		return false;
	}
	h = mem_alloc(sizeof *h);
	h->c = c;
	h->ops = c->set->h2_ops;
	h->mem = (nghttp2_mem){h, h2_mem_alloc, h2_mem_free, h2_mem_array, h2_mem_again};
	list_init(&h->streams);
	list_init(&h->in_idle);
	loop_timer_init(&h->timer, h2_timer, h);
	cb = h2_callbacks();
	o = h2_options();
	CHECK(nghttp2_session_server_new3(&h->session, cb, h, o, &h->mem) == 0);
	nghttp2_option_del(o);
	nghttp2_session_callbacks_del(cb);
	h2_greet(h);
	c->session = h;
	h2_idle(h);
	conn_begun(c);
	counter_inc(&c->set->counters->http2_clients_total);
	return true;
}

static size_t h2_take(struct conn *c, struct bytes in)
{
	struct h2_conn *h = c->session;
	ssize_t n;

	if (h->refusing)
		return in.len;
	n = nghttp2_session_mem_recv(h->session, in.data, in.len);
	if (n < 0 && c->state != CONN_DEAD && !h->refusing) {
		/* nghttp2 has queued a GOAWAY for what it knows how to answer */
		h->refusing = true;
		counter_inc(&c->set->counters->clients_malformed_total);
		conn_complain(c->set, "client misuses HTTP/2, connection closed peer=%s what=\"%s\"", c->peer,
			      nghttp2_strerror((int)n));
	}
	return in.len;
}

static bool h2_wants_input(const struct conn *c)
{
	const struct h2_conn *h = c->session;

	return !c->eof && !h->refusing && (c->state == CONN_OPEN || c->state == CONN_ENDING) && conn_room(c);
}

static void h2_forget(struct h2_conn *h)
{
	struct list *l;

	while ((l = list_first(&h->streams)) != NULL)
		h2_stream_free(container_of(l, struct h2_stream, node));
}

static void h2_wake(struct h2_conn *h)
{
	const struct conn *c = h->c;
	struct list *l, *next;

	for (l = h->streams.next; l != &h->streams; l = next) {
		struct h2_stream *s = container_of(l, struct h2_stream, node);

		next = l->next;
		if ((s->wants_room && h2_waiting(s) <= LIMIT_CONN_OUT_LOW && c->extra_out < LIMIT_CONN_OUT_MAX) ||
		    (s->wants_little && h2_waiting(s) < H2_LITTLE)) {
			s->wants_room = s->wants_little = false;
			h->ops->room(s);
		}
	}
}

/* As much as is to be written next: nghttp2 chooses whose. */
static void h2_fill(struct conn *c)
{
	struct h2_conn *h = c->session;
	const uint8_t *data;
	ssize_t n = 1;
	bool over;

	if (c->eof) {
		conn_abort(c, "client closed");
		return;
	}
	if (h->flushed)
		return;
	if (c->extra_out >= CONN_SPARE_MIN)
		conn_spare_take(c->set, &c->out);
	while (n > 0 && conn_room(c)) {
		n = nghttp2_session_mem_send(h->session, &data);
		if (n > 0)
			buf_add(&c->out, data, (size_t)n);
	}
	c->more_out = n > 0;
	if (n < 0) {
		conn_abort(c, nghttp2_strerror((int)n));
		return;
	}
	/* nghttp2 wants neither once a last goodbye has been said and all is answered */
	over = (!h->stopping || h->goodbye) && !nghttp2_session_want_read(h->session);
	if (n == 0 && (h->refusing || (over && !nghttp2_session_want_write(h->session)))) {
		h->refusing = true;
		h->flushed = true;
		h2_forget(h);
		conn_end(c);
		return;
	}
	h2_wake(h);
	if (h->timer.slot == 0 && !list_empty(&h->streams))
		loop_timer_set(c->set->loop, &h->timer,
			       mono_add_ms(loop_now(c->set->loop), c->set->stall_ms / 4 + 1));
}

/* The client is told to open no more streams; a little later, which one was the last. */
static void h2_end(struct conn *c)
{
	struct h2_conn *h = c->session;
	struct list *l, *next;

	if (h->stopping || h->refusing)
		return;
	h->stopping = true;
	(void)nghttp2_submit_shutdown_notice(h->session);
	for (l = h->streams.next; l != &h->streams; l = next) {
		next = l->next;
		h->ops->stop(container_of(l, struct h2_stream, node));
	}
	loop_timer_set(c->set->loop, &h->timer, mono_add_ms(loop_now(c->set->loop), LIMIT_H2_GOODBYE_MS));
	conn_touch(c);
}

static void h2_late(struct conn *c)
{
	h2_abuse(c->session, NGHTTP2_SETTINGS_TIMEOUT, "the preface has not come in time");
}

static bool h2_quiet(const struct conn *c)
{
	const struct h2_conn *h = c->session;

	if (h->refusing)
		return h->flushed;
	return h->goodbye && list_empty(&h->streams) && !nghttp2_session_want_write(h->session);
}

static void h2_gone(struct conn *c)
{
	struct h2_conn *h = c->session;

	loop_timer_clear(c->set->loop, &h->timer);
	h2_forget(h);
	list_remove(&h->in_idle);
	h->gone = true;
	c->set->dying_session_bytes += h->mem_bytes;
}

static void h2_free(struct conn *c)
{
	struct h2_conn *h = c->session;

	nghttp2_session_del(h->session);
	CHECK(h->mem_bytes == 0 && h->n_streams == 0);
	mem_free(h);
	c->session = NULL;
}

const struct conn_proto h2_proto = {
	.name = "http2",
	.open = h2_open,
	.take = h2_take,
	.wants_input = h2_wants_input,
	.fill = h2_fill,
	.end = h2_end,
	.late = h2_late,
	.quiet = h2_quiet,
	.gone = h2_gone,
	.free = h2_free,
};
