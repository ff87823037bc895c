/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of one peer connection: reading, parsing, encrypting, writing. Decides nothing. */
#include "raftd/peer_conn.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/peers.h"

/* Several full batches and their heartbeats; beyond it messages are dropped, which Raft bears. */
enum { PEER_OUT_BYTES = 32 * 1024 * 1024, PEER_KEEP_BYTES = 256 * 1024 };

static void conn_ready(void *arg, uint32_t events);

static struct peer_conn *conn_new(struct raftd *n, int fd, enum noise_role role, uint32_t events)
{
	struct peer_conn *c = mem_alloc(sizeof *c);

	c->n = n;
	c->role = role;
	c->began = c->heard = c->sent = mono_now();
	buf_init(&c->in, MSG_FRAME_HEAD + LIMIT_FRAME_BYTES + NOISE_TAG_LEN + PEER_READ_BYTES);
	buf_init(&c->out, PEER_OUT_BYTES + 2 * (LIMIT_FRAME_BYTES + 64));
	loop_io_add(n->d->loop, &c->io, fd, events, conn_ready, c);
	return c;
}

struct peer_conn *peer_conn_dialled(struct raftd *n, int fd, uint64_t id)
{
	struct peer_conn *c = conn_new(n, fd, NOISE_INITIATOR, EPOLLOUT);

	c->state = PEER_CONNECTING;
	c->id = id;
	return c;
}

struct peer_conn *peer_conn_accepted(struct raftd *n, int fd)
{
	struct peer_conn *c = conn_new(n, fd, NOISE_RESPONDER, EPOLLIN);

	c->state = PEER_HANDSHAKE;
	c->stranger = true;
	return c;
}

void peer_conn_free(struct peer_conn **cp)
{
	struct peer_conn *c = *cp;

	CHECK(c->state == PEER_CLOSED);
	noise_hs_wipe(&c->hs);
	noise_session_wipe(&c->session);
	buf_free(&c->in);
	buf_free(&c->out);
	mem_free(c);
	*cp = NULL;
}

void peer_conn_close(struct peer_conn *c, const char *reason)
{
	int fd = c->io.fd;

	if (c->state == PEER_CLOSED)
		return;
	loop_io_del(c->n->d->loop, &c->io);
	close(fd);
	c->state = PEER_CLOSED;
	c->reason = reason;
}

static void conn_events(struct peer_conn *c)
{
	uint32_t events = (c->paused ? 0 : EPOLLIN) | (c->out.len > c->out_at ? EPOLLOUT : 0);

	if (c->state != PEER_CLOSED && c->io.events != events)
		loop_io_set(c->n->d->loop, &c->io, events);
}

int peer_conn_send(struct peer_conn *c, uint32_t number, const struct msg_desc *d, const void *msg)
{
	static struct buf plain;      /* one loop thread; keeps its memory from message to message */
	struct noise_cipher *cipher = &c->session.send;
	uint8_t head[MSG_FRAME_HEAD], *to;
	size_t len, sealed;
	int rc;

	if (c->state != PEER_UP)
		return ERR_CLOSED;
	if (c->out.len - c->out_at > PEER_OUT_BYTES)
		return ERR_FULL;
	buf_clear(&plain);
	rc = msg_frame(&plain, number, c->seq_out + 1, d, msg);
	if (rc != ERR_OK)
		return rc;
	len = plain.len - MSG_FRAME_HEAD;
	put_u32be(head, (uint32_t)(len + NOISE_TAG_LEN));
	buf_add(&c->out, head, sizeof head);
	to = buf_reserve(&c->out, len + NOISE_TAG_LEN);
	CHECK(to != NULL);            /* the limit leaves room for what the check above lets in */
	rc = noise_cipher_encrypt(cipher, bytes_of(head, sizeof head),
				  bytes_of(plain.data + MSG_FRAME_HEAD, len), to, len + NOISE_TAG_LEN, &sealed);
	CHECK(rc == ERR_OK && sealed == len + NOISE_TAG_LEN);
	c->out.len += sealed;
	c->seq_out++;
	c->sent = mono_now();
	counter_inc(&c->n->counters.peer_frames_out);
	if (log_tracing()) {
		struct buf text;

		buf_init(&text, 4096);
		msg_print(&text, d, msg);
		log_write(LOG_INFO, "trace peer=%lu > %.*s", (unsigned long)c->id, (int)text.len, (const char *)text.data);
		buf_free(&text);
	}
	return ERR_OK;
}

void peer_conn_flush(struct peer_conn *c)
{
	while (c->state != PEER_CLOSED && c->state != PEER_CONNECTING && c->out.len > c->out_at) {
		ssize_t sent = send(c->io.fd, c->out.data + c->out_at, c->out.len - c->out_at,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (sent <= 0) {
			peer_conn_close(c, "write failed");
			return;
		}
		c->out_at += (size_t)sent;
	}
	if (c->out_at == c->out.len) {
		buf_clear(&c->out);
		buf_shrink(&c->out, PEER_KEEP_BYTES);
		c->out_at = 0;
	} else if (c->out_at > c->out.len / 2) {
		buf_consume(&c->out, c->out_at);
		c->out_at = 0;
	}
	if (c->state != PEER_CONNECTING)
		conn_events(c);
}

static int conn_message(struct peer_conn *c, uint8_t *frame, size_t len)
{
	static struct arena arena = {.max = 2 * LIMIT_FRAME_BYTES};
	uint8_t head[MSG_FRAME_HEAD];
	struct msg_in in;
	size_t plain;
	int rc;

	put_u32be(head, (uint32_t)len);
	rc = noise_cipher_decrypt(&c->session.recv, bytes_of(head, sizeof head), bytes_of(frame, len),
				  frame, len, &plain);
	if (rc != ERR_OK)
		return rc;
	arena_reset(&arena);
	rc = msg_unframe(&peer_link, bytes_of(frame, plain), &arena, &in);
	if (rc == ERR_OK && in.seq != ++c->seq_in)
		rc = ERR_MALFORMED;
	if (rc == ERR_OK && log_tracing()) {
		struct buf text;

		buf_init(&text, 4096);
		msg_print(&text, in.row->desc, in.msg);
		log_write(LOG_INFO, "trace peer=%lu < %.*s", (unsigned long)c->id, (int)text.len, (const char *)text.data);
		buf_free(&text);
	}
	counter_inc(&c->n->counters.peer_frames_in);
	return rc == ERR_OK ? peer_msg_in(c->n, c->id, &in) : rc;
}

static size_t conn_frame_max(const struct peer_conn *c)
{
	return c->state == PEER_UP ? LIMIT_FRAME_BYTES + NOISE_TAG_LEN : NOISE_HS_MSG_MAX;
}

/* One preamble or frame; false if it is not all there yet. */
static bool conn_parse_one(struct peer_conn *c, int *rc)
{
	uint8_t *p = c->in.data + c->in_at;
	size_t left = c->in.len - c->in_at, len;

	if (c->role == NOISE_RESPONDER && c->id == 0) {
		if (left < PEER_PREAMBLE_BYTES)
			return false;
		*rc = peer_handshake_preamble(c, p);
		c->in_at += PEER_PREAMBLE_BYTES;
		return true;
	}
	if (left < MSG_FRAME_HEAD)
		return false;
	len = get_u32be(p);
	if (len > conn_frame_max(c)) {
		*rc = ERR_LIMIT;
		return true;
	}
	if (left < MSG_FRAME_HEAD + len)
		return false;
	c->in_at += MSG_FRAME_HEAD + len;
	*rc = c->state == PEER_UP ? conn_message(c, p + MSG_FRAME_HEAD, len)
				  : peer_handshake_frame(c, bytes_of(p + MSG_FRAME_HEAD, len));
	return true;
}

static void conn_parse(struct peer_conn *c)
{
	int rc = ERR_OK;

	while (c->state != PEER_CLOSED && rc == ERR_OK) {
		c->paused = c->state == PEER_UP && !raftd_can_append(c->n);
		if (c->paused || !conn_parse_one(c, &rc))
			break;
		c->heard = mono_now();
	}
	if (rc != ERR_OK) {
		counter_inc(c->id && c->state == PEER_UP ? &c->n->counters.peer_bad_frames : &c->n->counters.peer_refused);
		log_warn("peer connection dropped peer=%lu state=%s error=\"%s\"", (unsigned long)c->id,
			 c->state == PEER_UP ? "up" : "handshake", err_text(rc));
		peer_conn_close(c, err_text(rc));
		return;
	}
	if (c->state == PEER_CLOSED)
		return;
	if (c->in_at == c->in.len) {
		buf_clear(&c->in);
		buf_shrink(&c->in, PEER_KEEP_BYTES * 2);
	} else if (c->in_at > 0) {
		buf_consume(&c->in, c->in_at);
	}
	c->in_at = 0;
	conn_events(c);
}

static void conn_read(struct peer_conn *c)
{
	/* A stranger gets no more memory than a handshake needs. */
	size_t want = c->state == PEER_UP ? PEER_READ_BYTES : PEER_PREAMBLE_BYTES + 2 * NOISE_HS_MSG_MAX;
	void *to = buf_reserve(&c->in, want);
	ssize_t got;

	if (to == NULL) {             /* cannot be: whole frames are taken out before */
		peer_conn_close(c, "input buffer");
		return;
	}
	got = recv(c->io.fd, to, want, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (got <= 0) {
		peer_conn_close(c, got == 0 ? "closed by the peer" : "read failed");
		return;
	}
	c->in.len += (size_t)got;
	conn_parse(c);
}

static void conn_connected(struct peer_conn *c)
{
	int err = 0;
	socklen_t len = sizeof err;

	if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
		peer_conn_close(c, "connect failed");
		return;
	}
	c->state = PEER_HANDSHAKE;
	c->began = c->heard = mono_now();
	if (peer_handshake_begin(c) != ERR_OK)
		peer_conn_close(c, "handshake failed");
	else
		peer_conn_flush(c);
}

static void conn_ready(void *arg, uint32_t events)
{
	struct peer_conn *c = arg;

	if (c->state == PEER_CONNECTING) {
		conn_connected(c);
		return;
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
		if (c->paused && (events & (EPOLLERR | EPOLLHUP)))
			peer_conn_close(c, "closed by the peer");
		else if (!c->paused)
			conn_read(c);
	}
	if (c->state != PEER_CLOSED && (events & EPOLLOUT))
		peer_conn_flush(c);
}

void peer_conn_resume(struct peer_conn *c)
{
	if (c->state == PEER_UP && c->paused)
		conn_parse(c);
}
