/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: requests in, responses out. Nothing here calls into nghttp2 to send or to receive. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/conn_own.h"
#include "gatewayd/h2/h2_own.h"

struct conn *h2_conn_of(const struct h2_stream *s)
{
	return s->c;
}

/* ---- memory ---- */

void h2_count_out(struct h2_stream *s)
{
	struct conn *c = s->c;

	c->extra_out += s->out.cap - s->counted;
	s->counted = s->out.cap;
	conn_count(c);
}

bool h2_count_in(struct h2_stream *s, size_t before, size_t after)
{
	struct conn *c = s->c;

	c->extra_in += after - before;
	conn_count(c);
	if (after <= before)
		return true;
	while (c->set->in_bytes > c->set->max_in_bytes && conn_drop_hog(c->set, c))
		;
	return c->extra_in <= LIMIT_H2_IN_BYTES && c->set->in_bytes <= c->set->max_in_bytes;
}

/* ---- life ---- */

static struct h2_stream *h2_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

void h2_stream_free(struct h2_stream *s)
{
	struct h2_conn *h = s->h;

	h->ops->gone(s);
	list_remove(&s->node);
	h->n_streams--;
	buf_free(&s->out);
	h2_count_out(s);
	mem_free(s->trailers);
	(void)nghttp2_session_set_stream_user_data(h->session, s->id, NULL);
	mem_free(s);
	h2_idle(h);
}

static const struct h2_wire h2_wire;

static int h2_begin(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	list_remove(&h->in_idle);
	if (h->stopping || !h2_make_room(h->c->set)) {
		h2_idle(h);
		counter_inc(&h->c->set->counters->streams_refused_total);
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
						NGHTTP2_REFUSED_STREAM);
		return 0;
	}
	s = mem_alloc(h->ops->size);
	s->c = h->c;
	s->wire = &h2_wire;
	s->h = h;
	s->id = frame->hd.stream_id;
	buf_init(&s->out, 0);
	list_push(&h->streams, &s->node);
	h->n_streams++;
	(void)nghttp2_session_set_stream_user_data(session, s->id, s);
	counter_inc(&h->c->set->counters->streams_total);
	h->ops->opened(h->c->set->arg, s);
	return 0;
}

static int h2_closed(nghttp2_session *session, int32_t id, uint32_t error_code, void *arg)
{
	struct h2_stream *s = h2_of(session, id);

	(void)arg;
	(void)error_code;
	if (s != NULL)
		h2_stream_free(s);
	return 0;
}

/* ---- requests ---- */

static int h2_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = h2_of(session, frame->hd.stream_id);

	(void)flags;
	if (s == NULL || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s->header_bytes += name_len + value_len + LIMIT_H2_HEADER_EXTRA;
	if (s->header_bytes <= LIMIT_H2_HEADER_BYTES)
		h->ops->header(s, bytes_of(name, name_len), bytes_of(value, value_len));
	return 0;
}

static int h2_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = NULL;
	bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (frame->hd.type == NGHTTP2_SETTINGS)
		conn_came(h->c);              /* with them the preface is whole */
	if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)
		s = h2_of(session, frame->hd.stream_id);
	if (s == NULL)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		h->ops->request(s, s->header_bytes > LIMIT_H2_HEADER_BYTES);
	if (ends && !s->ended) {
		s->ended = true;
		h->ops->end(s);
	}
	return h->c->state == CONN_DEAD ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* The connection's window is opened again at once: what is kept is bounded by h2_count_in. */
static int h2_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s = h2_of(session, id);

	(void)flags;
	(void)nghttp2_session_consume_connection(session, len);
	if (s != NULL)
		h->ops->data(s, bytes_of(data, len));
	return h->c->state == CONN_DEAD ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void h2_wire_took(struct h2_stream *s, size_t n)
{
	(void)nghttp2_session_consume_stream(s->h->session, s->id, n);
	conn_touch(s->c);
}

/* ---- responses ---- */

static size_t h2_put_fields(nghttp2_nv *nv, const struct h2_field *f, size_t n)
{
	union {
		const void *in;
		uint8_t *out;
	} p;

	CHECK(n <= H2_FIELDS);
	for (size_t i = 0; i < n; i++) {
		p.in = f[i].name;
		nv[i].name = p.out;
		nv[i].namelen = strlen(f[i].name);
		p.in = f[i].value.len > 0 ? f[i].value.data : (const uint8_t *)"";
		nv[i].value = p.out;
		nv[i].valuelen = f[i].value.len;
		nv[i].flags = NGHTTP2_NV_FLAG_NONE;
	}
	return n;
}

static void h2_took_out(struct h2_stream *s, size_t n)
{
	struct conn *c = s->c;

	s->out_pos += n;
	s->moved = loop_now(c->set->loop);
	s->h->sent = true;
	if (s->out_pos == s->out.len) {
		buf_clear(&s->out);
		conn_spare_give(c->set, &s->out);
		s->out_pos = 0;
	} else if (s->trailers == NULL && s->out_pos >= s->out.len / 2) {      /* more may come behind it */
		buf_consume(&s->out, s->out_pos);
		s->out_pos = 0;
	}
	h2_count_out(s);
}

/* nghttp2 asks how much there is for the next DATA frame; h2_copy then hands it over. */
static ssize_t h2_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		       nghttp2_data_source *source, void *arg)
{
	struct h2_stream *s = source->ptr;
	size_t n = h2_waiting(s);

	(void)buf;
	(void)arg;
	if (n == 0 && (s->trailers == NULL || s->told)) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n <= len && s->trailers != NULL) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		s->told = true;
		if (nghttp2_submit_trailer(session, id, s->trailers->nv, s->trailers->n) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	if (n > 0)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	return (ssize_t)(n < len ? n : len);
}

enum { H2_FRAME_HEAD = 9 };

static int h2_copy(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
		   nghttp2_data_source *source, void *arg)
{
	struct h2_stream *s = source->ptr;
	struct buf *out = &s->c->out;

	(void)session;
	(void)arg;
	CHECK(len <= h2_waiting(s) && frame->data.padlen == 0);
	buf_add(out, head, H2_FRAME_HEAD);
	buf_add(out, s->out.data + s->out_pos, len);
	h2_took_out(s, len);
	return out->err == ERR_OK ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void h2_wire_respond(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	nghttp2_data_provider p = {.source.ptr = s, .read_callback = h2_read};
	nghttp2_nv nv[H2_FIELDS];

	CHECK(!s->responded);
	s->responded = true;
	s->moved = loop_now(s->c->set->loop);
	(void)nghttp2_submit_response(s->h->session, s->id, nv, h2_put_fields(nv, f, n), &p);
	conn_touch(s->c);
}

static void h2_wire_send(struct h2_stream *s)
{
	CHECK(s->responded);
	h2_count_out(s);
	if (s->deferred) {
		s->deferred = false;
		s->moved = loop_now(s->c->set->loop);
		(void)nghttp2_session_resume_data(s->h->session, s->id);
	}
	conn_touch(s->c);
}

static void h2_wire_finish(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	size_t bytes = 0, at = 0;

	CHECK(s->responded && s->trailers == NULL && n <= H2_FIELDS);
	for (size_t i = 0; i < n; i++)
		bytes += f[i].value.len;
	s->trailers = mem_alloc(sizeof *s->trailers + bytes);
	s->trailers->n = h2_put_fields(s->trailers->nv, f, n);
	for (size_t i = 0; i < n; i++) {
		if (f[i].value.len > 0)
			memcpy(s->trailers->bytes + at, f[i].value.data, f[i].value.len);
		s->trailers->nv[i].value = s->trailers->bytes + at;
		at += f[i].value.len;
	}
	if (h2_waiting(s) > 0) {
		h2_wire_send(s);
		return;
	}
	/* No data is left, so no window may keep these back: nghttp2 would ask for data only when there is one. */
	s->told = true;
	(void)nghttp2_submit_trailer(s->h->session, s->id, s->trailers->nv, s->trailers->n);
	conn_touch(s->c);
}

static void h2_wire_respond_only(struct h2_stream *s, const struct h2_field *f, size_t n)
{
	nghttp2_nv nv[H2_FIELDS];

	CHECK(!s->responded);
	s->responded = true;
	(void)nghttp2_submit_response(s->h->session, s->id, nv, h2_put_fields(nv, f, n), NULL);
	conn_touch(s->c);
}

static void h2_wire_reset(struct h2_stream *s)
{
	(void)nghttp2_submit_rst_stream(s->h->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
	conn_touch(s->c);
}

static const struct h2_wire h2_wire = {
	.respond = h2_wire_respond,
	.respond_only = h2_wire_respond_only,
	.send = h2_wire_send,
	.finish = h2_wire_finish,
	.reset = h2_wire_reset,
	.took = h2_wire_took,
};

/* All has been said: the rest of a request that goes on is of no interest. */
static int h2_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *h = arg;
	struct h2_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	h->sent = true;
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	s = h2_of(session, frame->hd.stream_id);
	if (s != NULL && !s->ended)
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	return 0;
}

bool h2_room(const struct h2_stream *s)
{
	return s->hungry || (h2_waiting(s) < LIMIT_CONN_OUT_HIGH && s->c->extra_out < LIMIT_CONN_OUT_MAX);
}

bool h2_room_for_little(const struct h2_stream *s)
{
	return h2_room(s) || h2_waiting(s) < H2_LITTLE;
}

void h2_want_little(struct h2_stream *s)
{
	s->wants_little = true;
	h2_want_room(s);
}

void h2_want_room(struct h2_stream *s)
{
	s->wants_room = true;
	conn_touch(s->c);
}

void h2_stream_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, h2_begin);
	nghttp2_session_callbacks_set_on_header_callback(cb, h2_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, h2_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_closed);
	nghttp2_session_callbacks_set_send_data_callback(cb, h2_copy);
}
