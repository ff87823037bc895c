/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/h2_peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

static struct arena peer_arena = {.max = 64 * MIB};

struct h2_peer_stream *h2_peer_of(struct h2_peer *h, int32_t id)
{
	OK(id > 0 && id / 2 < H2_PEER_STREAMS);
	return &h->streams[id / 2];
}

static void copy_text(char *to, size_t size, const uint8_t *from, size_t n)
{
	(void)snprintf(to, size, "%.*s", (int)n, (const char *)from);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct h2_peer_stream *s = h2_peer_of(arg, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (bytes_eq(bytes_of(name, name_len), bytes_str(":status")))
		copy_text(s->http, sizeof s->http, value, len);
	if (bytes_eq(bytes_of(name, name_len), bytes_str("grpc-status")))
		copy_text(s->status, sizeof s->status, value, len);
	if (bytes_eq(bytes_of(name, name_len), bytes_str("grpc-message")))
		copy_text(s->text, sizeof s->text, value, len);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	(void)session;
	(void)flags;
	buf_add(&h2_peer_of(arg, id)->in, data, len);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *arg)
{
	struct h2_peer_stream *s = h2_peer_of(arg, id);

	(void)session;
	s->closed = true;
	s->error_code = error_code;
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_peer *h = arg;

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		h->goaway = true;
		h->goaway_code = frame->goaway.error_code;
		h->goaway_last = frame->goaway.last_stream_id;
		copy_text(h->goaway_text, sizeof h->goaway_text, frame->goaway.opaque_data,
			  frame->goaway.opaque_data_len);
	}
	return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		       nghttp2_data_source *source, void *arg)
{
	struct h2_peer_stream *s = h2_peer_of(arg, id);
	size_t n = s->out.len - s->out_pos;

	(void)session;
	(void)source;
	if (n > len)
		n = len;
	if (n > 0)
		memcpy(buf, s->out.data + s->out_pos, n);
	s->out_pos += n;
	if (s->ends && s->out_pos == s->out.len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	else if (n == 0)
		return NGHTTP2_ERR_DEFERRED;
	return (ssize_t)n;
}

struct h2_peer *h2_peer_new(struct world *w, uint32_t window)
{
	const nghttp2_settings_entry s[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}};
	struct h2_peer *h = mem_alloc(sizeof *h);
	nghttp2_session_callbacks *cb;

	h->w = w;
	world_join(w, &h->p);
	OK(nghttp2_session_callbacks_new(&cb) == 0);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	OK(nghttp2_session_client_new(&h->session, cb, h) == 0);
	nghttp2_session_callbacks_del(cb);
	OK(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, s, 1) == 0);
	return h;
}

void h2_peer_free(struct h2_peer *h)
{
	for (size_t i = 0; i < H2_PEER_STREAMS; i++) {
		buf_free(&h->streams[i].in);
		buf_free(&h->streams[i].out);
	}
	nghttp2_session_del(h->session);
	rpc_peer_close(&h->p);
	arena_free(&peer_arena);
	mem_free(h);
}

void h2_peer_turn(struct h2_peer *h)
{
	const uint8_t *data;
	ssize_t n;

	while (!h->p.closed && (n = nghttp2_session_mem_send(h->session, &data)) > 0)
		rpc_peer_bytes(&h->p, data, (size_t)n);
	rpc_peer_write(&h->p, SIZE_MAX);
	world_turn(h->w);
	if (h->deaf || h->p.closed)
		return;
	rpc_peer_read(&h->p, SIZE_MAX);
	if (h->p.in.len >= H2_PEER_TAIL)
		memcpy(h->tail, h->p.in.data + h->p.in.len - H2_PEER_TAIL, H2_PEER_TAIL);
	if (h->p.in.len > 0)
		OK(nghttp2_session_mem_recv(h->session, h->p.in.data, h->p.in.len) == (ssize_t)h->p.in.len);
	buf_clear(&h->p.in);
}

void h2_peer_wait(struct h2_peer *h, int32_t id)
{
	H2_UNTIL(h, h2_peer_of(h, id)->closed || h->p.closed);
}

static nghttp2_nv field(const char *name, const char *value)
{
	union {
		const char *in;
		uint8_t *out;
	} n = {name}, v = {value};

	return (nghttp2_nv){n.out, v.out, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int32_t request(struct h2_peer *h, const char *path, const char *const *more)
{
	nghttp2_data_provider p = {.read_callback = on_read};
	nghttp2_nv nv[16] = {field(":method", "POST"), field(":scheme", "http"), field(":path", path),
			     field(":authority", "x"), field("te", "trailers"), field("content-type", "application/grpc")};
	size_t n = 6;
	int32_t id;

	for (; more != NULL && *more != NULL; more += 2)
		nv[n++] = field(more[0], more[1]);
	id = nghttp2_submit_request(h->session, NULL, nv, n, &p, NULL);
	OK(id > 0);
	return id;
}

void h2_peer_say(struct h2_peer *h, int32_t id, const struct pb_desc *d, const void *msg)
{
	struct h2_peer_stream *s = h2_peer_of(h, id);

	buf_u8(&s->out, 0);
	buf_u32be(&s->out, (uint32_t)pb_size(d, msg));
	EQ_INT(pb_encode(&s->out, d, msg), ERR_OK);
	(void)nghttp2_session_resume_data(h->session, id);
}

int32_t h2_peer_open(struct h2_peer *h, const char *path)
{
	return request(h, path, NULL);
}

int32_t h2_peer_call(struct h2_peer *h, const char *path, const struct pb_desc *d, const void *msg,
		     const char *const *more)
{
	int32_t id = request(h, path, more);

	h2_peer_say(h, id, d, msg);
	h2_peer_of(h, id)->ends = true;
	return id;
}

static bool whole(const struct h2_peer_stream *s)
{
	size_t n = s->in.len - s->in_pos;

	return n >= 5 && n - 5 >= get_u32be(s->in.data + s->in_pos + 1);
}

void h2_peer_next(struct h2_peer *h, int32_t id, const struct pb_desc *d, void *msg)
{
	struct h2_peer_stream *s = h2_peer_of(h, id);
	mono_t until = mono_add_ms(mono_now(), TAP_PATIENCE_MS);
	size_t n;

	while (mono_before(mono_now(), until) && !whole(s) && !s->closed)
		h2_peer_turn(h);
	OK(whole(s));
	EQ_INT(s->in.data[s->in_pos], 0);
	n = get_u32be(s->in.data + s->in_pos + 1);
	arena_reset(&peer_arena);
	EQ_INT(pb_decode(bytes_of(s->in.data + s->in_pos + 5, n), d, &peer_arena, msg), ERR_OK);
	s->in_pos += 5 + n;
}

void h2_peer_ends(struct h2_peer *h, int32_t id, const char *status, const char *text)
{
	const struct h2_peer_stream *s = h2_peer_of(h, id);

	h2_peer_wait(h, id);
	EQ_STR(s->status, status);
	EQ_STR(s->text, text);
	EQ_INT(s->in_pos, s->in.len);
}

/* ---- what most tests begin with ---- */

void h2_peer_setup(struct world **w, struct h2_peer **h, uint32_t window)
{
	*w = world_new(7000);
	*h = h2_peer_new(*w, window);
}

void h2_peer_teardown(struct world *w, struct h2_peer *h)
{
	h2_peer_free(h);
	world_turns(w, 3);
	EQ_INT(w->g.conns.n, 0);
	EQ_INT(w->g.conns.in_bytes + w->g.conns.out_bytes + w->g.conns.session_bytes, 0);
	world_free(w);
}

int32_t h2_peer_put(struct h2_peer *h, const char *key, struct bytes value)
{
	struct kv_put p = {.key = bytes_str(key), .value = value};

	return h2_peer_call(h, KV "Put", &kv_put_pb, &p, NULL);
}

int32_t h2_peer_get(struct h2_peer *h, const char *key, const char *end, const char *const *more)
{
	struct kv_range r = {.key = bytes_str(key), .range_end = bytes_str(end)};

	return h2_peer_call(h, KV "Range", &kv_range_pb, &r, more);
}

void h2_peer_fill(struct h2_peer *h, int n, size_t bytes)
{
	uint8_t *value = calloc(1, bytes);
	char key[16];

	for (int i = 0; i < n; i++) {
		(void)snprintf(key, sizeof key, "k%05d", i);
		h2_peer_wait(h, h2_peer_put(h, key, bytes_of(value, bytes)));
	}
	free(value);
}
