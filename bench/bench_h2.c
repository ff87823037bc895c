/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench_h2.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "client/endpoints.h"

enum { H2_WINDOW = 16 << 20, H2_READ = 256 << 10, GRPC_PREFIX = 5 };

struct h2_conn {
	int fd;
	bool failed, connecting;
	char authority[64];
	nghttp2_session *session;
	struct buf out;          /* made by nghttp2, not yet written */
};

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
		       nghttp2_data_source *source, void *arg)
{
	struct h2_stream *s = source->ptr;
	size_t left = s->out.len - s->out_at, n = left < room ? left : room;

	(void)session;
	(void)id;
	(void)arg;
	if (n > 0)
		memcpy(to, s->out.data + s->out_at, n);
	s->out_at += n;
	if (s->out_at == s->out.len) {
		buf_clear(&s->out);
		s->out_at = 0;
		if (s->last) {
			*flags |= NGHTTP2_DATA_FLAG_EOF;
		} else if (n == 0) {
			s->waits = true;
			return NGHTTP2_ERR_DEFERRED;
		}
	}
	return (ssize_t)n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags;
	(void)arg;
	if (s != NULL && bytes_eq(bytes_of(name, name_len), bytes_str("grpc-status"))) {
		s->grpc_status = 0;
		for (size_t i = 0; i < value_len && i < 4; i++)
			s->grpc_status = s->grpc_status * 10 + (value[i] - '0');
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
	size_t at = 0;

	(void)flags;
	(void)arg;
	if (s == NULL || s->message == NULL)
		return 0;
	buf_add(&s->in, data, len);
	CHECK(s->in.err == ERR_OK);
	while (s->in.len - at >= GRPC_PREFIX) {
		const uint8_t *p = s->in.data + at;
		size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];

		if (s->in.len - at - GRPC_PREFIX < n)
			break;
		s->message(s, bytes_of(p + GRPC_PREFIX, n));
		at += GRPC_PREFIX + n;
	}
	buf_consume(&s->in, at);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);

	(void)error;
	(void)arg;
	if (s == NULL)
		return 0;
	s->id = 0;
	if (s->closed != NULL)
		s->closed(s);
	return 0;
}

static nghttp2_session *session_make(struct h2_conn *c)
{
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
					     {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW}};
	nghttp2_session_callbacks *cb;
	nghttp2_session *session;

	CHECK(nghttp2_session_callbacks_new(&cb) == 0);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	CHECK(nghttp2_session_client_new(&session, cb, c) == 0);
	nghttp2_session_callbacks_del(cb);
	CHECK(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) == 0);
	CHECK(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, H2_WINDOW) == 0);
	return session;
}

struct h2_conn *h2_conn_open(const char *address)
{
	struct client_endpoints e;
	struct h2_conn *c;
	char why[256];
	int fd, one = 1;

	if (client_endpoints_parse(&e, address, CLIENT_LOOKUP, 1, why, sizeof why) != ERR_OK || e.n == 0) {
		errno = EINVAL;
		return NULL;
	}
	fd = socket(e.v[0].addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return NULL;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (const struct sockaddr *)&e.v[0].addr, e.v[0].addr_len) != 0 && errno != EINPROGRESS) {
		(void)close(fd);
		return NULL;
	}
	c = calloc(1, sizeof *c);
	CHECK(c != NULL);
	c->fd = fd;
	c->connecting = true;
	(void)snprintf(c->authority, sizeof c->authority, "%.63s", address);
	buf_init(&c->out, 0);
	c->session = session_make(c);
	return c;
}

void h2_conn_free(struct h2_conn *c)
{
	if (c == NULL)
		return;
	c->failed = true;
	nghttp2_session_del(c->session);
	(void)close(c->fd);
	buf_free(&c->out);
	free(c);
}

static bool conn_write(struct h2_conn *c)
{
	for (;;) {
		const uint8_t *data;
		ssize_t n;

		while (c->out.len < H2_READ && (n = nghttp2_session_mem_send(c->session, &data)) > 0)
			buf_add(&c->out, data, (size_t)n);
		if (c->out.len == 0)
			return true;
		n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		buf_consume(&c->out, (size_t)n);
	}
}

static bool conn_read(struct h2_conn *c)
{
	static uint8_t data[H2_READ];

	for (;;) {
		ssize_t n = recv(c->fd, data, sizeof data, 0);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (n < 0)
			return true;
		if (nghttp2_session_mem_recv(c->session, data, (size_t)n) < 0)
			return false;
		if ((size_t)n < sizeof data)
			return true;
	}
}

bool h2_conn_turn(struct h2_conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};

	if (c->failed)
		return false;
	if (c->connecting) {
		if (poll(&p, 1, 0) < 1)
			return true;
		c->connecting = false;
	}
	c->failed = !conn_read(c) || !conn_write(c) ||
		    (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session));
	return !c->failed;
}

void h2_conn_poll(const struct h2_conn *c, struct pollfd *p)
{
	p->fd = c->fd;
	p->events = (short)(POLLIN | (c->connecting || c->out.len > 0 ? POLLOUT : 0));
	p->revents = 0;
}

static void stream_add(struct h2_stream *s, struct bytes message)
{
	buf_u8(&s->out, 0);
	buf_u32be(&s->out, (uint32_t)message.len);
	buf_add_bytes(&s->out, message);
	CHECK(s->out.err == ERR_OK);
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
			    NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

void h2_stream_open(struct h2_conn *c, struct h2_stream *s, const char *path, struct bytes message, bool last)
{
	nghttp2_nv headers[] = {header(":method", "POST"), header(":scheme", "http"), header(":path", path),
				header(":authority", c->authority), header("content-type", "application/grpc"),
				header("te", "trailers")};
	nghttp2_data_provider provider = {.source.ptr = s, .read_callback = on_read};

	if (s->in.max == 0) {
		buf_init(&s->in, H2_MESSAGE_MAX);
		buf_init(&s->out, H2_MESSAGE_MAX);
	}
	buf_clear(&s->in);
	buf_clear(&s->out);
	s->conn = c;
	s->grpc_status = H2_STATUS_NONE;
	s->out_at = 0;
	s->waits = false;
	s->last = last;
	stream_add(s, message);
	s->id = nghttp2_submit_request(c->session, NULL, headers, ARRAY_LEN(headers), &provider, s);
	CHECK(s->id > 0);
}

void h2_stream_send(struct h2_stream *s, struct bytes message)
{
	stream_add(s, message);
	if (s->waits) {
		s->waits = false;
		(void)nghttp2_session_resume_data(s->conn->session, s->id);
	}
}

void pb_put_num(struct buf *b, unsigned field, uint64_t value)
{
	buf_varint(b, field << 3);
	buf_varint(b, value);
}

void pb_put_bytes(struct buf *b, unsigned field, struct bytes value)
{
	buf_varint(b, field << 3 | 2);
	buf_varint(b, value.len);
	buf_add_bytes(b, value);
}

static bool pb_varint(struct bytes *m, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 64 && m->len > 0; shift += 7) {
		uint8_t byte = *m->data;

		m->data++;
		m->len--;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

bool pb_next(struct bytes *message, unsigned *field, uint64_t *number, struct bytes *bytes)
{
	uint64_t tag;

	*bytes = (struct bytes){0};
	if (message->len == 0 || !pb_varint(message, &tag) || !pb_varint(message, number))
		return false;
	*field = (unsigned)(tag >> 3);
	if ((tag & 7) == 0)
		return true;
	if ((tag & 7) != 2 || *number > message->len)
		return false;
	*bytes = bytes_of(message->data, (size_t)*number);
	message->data += *number;
	message->len -= (size_t)*number;
	return true;
}
