/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of one peer connection: reading, parsing, encrypting, writing. Decides nothing. */
#include "raftd/peer_conn.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/peer.h"

enum {
	CONN_SEALED_MAX = LIMIT_FRAME_BYTES + NOISE_TAG_LEN,
	CONN_IN_MAX = MSG_FRAME_HEAD + CONN_SEALED_MAX + PEER_READ_BYTES,
	/* What was written stays in front until it is half of all (conn_compact): hence twice. */
	CONN_OUT_MAX = 2 * (LIMIT_PEER_QUEUE_BYTES + MSG_FRAME_HEAD + CONN_SEALED_MAX),
	CONN_TRACE_BYTES = 4096
};

static void conn_ready(void *arg, uint32_t events);

static struct peer_conn *conn_new(struct peers *ps, int fd, enum noise_role role, uint32_t events)
{
	struct peer_conn *c = mem_alloc(sizeof *c);

	c->ps = ps;
	c->role = role;
	c->began = c->heard = c->sent = loop_now(ps->s.loop);
	buf_init(&c->in, CONN_IN_MAX);
	buf_init(&c->out, CONN_OUT_MAX);
	loop_io_add(ps->s.loop, &c->io, fd, events, conn_ready, c);
	c->next = ps->all;
	ps->all = c;
	return c;
}

struct peer_conn *peer_conn_dialled(struct peers *ps, int fd, uint64_t id)
{
	struct peer_conn *c = conn_new(ps, fd, NOISE_INITIATOR, EPOLLOUT);

	c->state = PEER_CONNECTING;
	c->id = id;
	return c;
}

struct peer_conn *peer_conn_accepted(struct peers *ps, int fd)
{
	struct peer_conn *c = conn_new(ps, fd, NOISE_RESPONDER, EPOLLIN);

	c->state = PEER_HANDSHAKE;
	c->stranger = true;
	ps->strangers++;
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
	if (c->stranger) {
		CHECK(c->ps->strangers > 0);
		c->ps->strangers--;
		c->stranger = false;
		c->ps->stats.refused++;
	}
	loop_io_del(c->ps->s.loop, &c->io);
	(void)close(fd);
	c->state = PEER_CLOSED;
	c->reason = reason;
	loop_again(c->ps->s.loop);   /* the flush that buries it may be over for this turn */
}

static void conn_events(struct peer_conn *c)
{
	uint32_t events = (c->paused ? 0 : EPOLLIN) | (c->out.len > c->out_at ? EPOLLOUT : 0);

	if (c->state != PEER_CLOSED && c->state != PEER_CONNECTING)
		loop_io_set(c->ps->s.loop, &c->io, events);
}

static void conn_trace(const struct peer_conn *c, char arrow, const struct msg_desc *d,
		       const void *msg)
{
	struct buf text;

	if (!log_tracing())
		return;
	buf_init(&text, CONN_TRACE_BYTES);
	msg_print(&text, d, msg);
	log_info("trace peer=%" PRIu64 " %c %.*s", c->id, arrow, (int)text.len,
		 text.data ? (const char *)text.data : "");
	buf_free(&text);
}

/* ---- out */

/* Encrypts in place the frame that begins at `start`; its tag makes it longer. */
static void conn_seal(struct peer_conn *c, size_t start)
{
	size_t len = c->out.len - start - MSG_FRAME_HEAD, sealed;
	uint8_t *head, *body;

	/* The buffer's limit leaves room for what the queue's limit lets in. */
	CHECK(buf_reserve(&c->out, NOISE_TAG_LEN) != NULL);
	head = c->out.data + start;
	body = head + MSG_FRAME_HEAD;
	put_u32be(head, (uint32_t)(len + NOISE_TAG_LEN));
	CHECK(noise_cipher_encrypt(&c->session.send, bytes_of(head, MSG_FRAME_HEAD),
				   bytes_of(body, len),
				   body, len + NOISE_TAG_LEN, &sealed) == ERR_OK);
	CHECK(sealed == len + NOISE_TAG_LEN);
	c->out.len += NOISE_TAG_LEN;
}

int peer_conn_send(struct peer_conn *c, uint32_t number, const struct msg_desc *d, const void *msg)
{
	size_t start = c->out.len;
	int rc;

	if (c->state != PEER_UP)
		return ERR_CLOSED;
	if (c->out.len - c->out_at > LIMIT_PEER_QUEUE_BYTES)
		return ERR_FULL;
	rc = msg_frame(&c->out, number, c->seq_out + 1, d, msg);
	if (rc == ERR_NO_MEMORY)
		fatal("give the machine more memory or lower the limits",
		      "no memory for a message");
	if (rc != ERR_OK) {
		c->out.len = start;
		c->out.err = ERR_OK;
		return rc;
	}
	conn_seal(c, start);
	c->seq_out++;
	c->sent = loop_now(c->ps->s.loop);
	c->ps->stats.frames_out++;
	conn_trace(c, '>', d, msg);
	return ERR_OK;
}

static void conn_compact(struct peer_conn *c)
{
	if (c->out_at == c->out.len) {
		buf_clear(&c->out);
		buf_shrink(&c->out, PEER_KEEP_BYTES);
		c->out_at = 0;
	} else if (c->out_at > c->out.len / 2) {
		buf_consume(&c->out, c->out_at);
		c->out_at = 0;
	}
}

void peer_conn_flush(struct peer_conn *c)
{
	size_t left = c->out.len - c->out_at;
	ssize_t sent;

	if (c->state == PEER_CLOSED || c->state == PEER_CONNECTING || left == 0)
		return;
	sent = send(c->io.fd, c->out.data + c->out_at, left, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		peer_conn_close(c, strerror(errno));
		return;
	}
	if (sent > 0)
		c->out_at += (size_t)sent;
	conn_compact(c);
	conn_events(c);
}

/* ---- in */

static int conn_unseal(struct peer_conn *c, uint8_t *frame, size_t len)
{
	uint8_t head[MSG_FRAME_HEAD];
	int rc;

	put_u32be(head, (uint32_t)len);
	rc = noise_cipher_decrypt(&c->session.recv, bytes_of(head, sizeof head),
				  bytes_of(frame, len),
				  frame, len, &c->plain);
	c->opened = rc == ERR_OK;
	return rc;
}

/* A message that the owner cannot take yet stays where it is, opened. */
static int conn_message(struct peer_conn *c, uint8_t *frame, size_t len)
{
	struct peers *ps = c->ps;
	struct msg_in in;
	int rc = c->opened ? ERR_OK : conn_unseal(c, frame, len);

	if (rc != ERR_OK)
		return rc;
	arena_reset(&ps->arena);
	rc = msg_unframe(&peer_link, bytes_of(frame, c->plain), &ps->arena, &in);
	if (rc == ERR_OK && in.seq != c->seq_in + 1)
		rc = ERR_MALFORMED;
	if (rc != ERR_OK)
		return rc;
	if (c->state == PEER_CONFIRM)
		peers_conn_up(c);
	c->paused = !ps->s.ops->can_take(ps->s.arg, &in);
	if (c->paused)
		return ERR_OK;
	c->opened = false;
	c->in_at += MSG_FRAME_HEAD + len;
	c->seq_in++;
	ps->stats.frames_in++;
	conn_trace(c, '<', in.row->desc, in.msg);
	return ps->s.ops->message(ps->s.arg, c->id, &in);
}

static bool conn_sealed(const struct peer_conn *c)
{
	return c->state == PEER_UP || c->state == PEER_CONFIRM;
}

/* One preamble or frame; false if it is not all there yet. */
static bool conn_parse_one(struct peer_conn *c, int *rc)
{
	uint8_t *p = c->in.data + c->in_at;
	size_t left = c->in.len - c->in_at, len;

	if (c->role == NOISE_RESPONDER && c->id == 0) {
		if (left < PEER_PREAMBLE_BYTES)
			return false;
		c->in_at += PEER_PREAMBLE_BYTES;
		*rc = peer_handshake_preamble(c, p);
		return true;
	}
	if (left < MSG_FRAME_HEAD)
		return false;
	len = c->opened ? c->plain + NOISE_TAG_LEN : get_u32be(p);
	if (len > (conn_sealed(c) ? CONN_SEALED_MAX : NOISE_HS_MSG_MAX)) {
		*rc = ERR_LIMIT;
		return true;
	}
	if (left < MSG_FRAME_HEAD + len)
		return false;
	if (conn_sealed(c)) {
		*rc = conn_message(c, p + MSG_FRAME_HEAD, len);
		return true;
	}
	c->in_at += MSG_FRAME_HEAD + len;
	*rc = peer_handshake_frame(c, bytes_of(p + MSG_FRAME_HEAD, len));
	return true;
}

static void conn_fail(struct peer_conn *c, int rc)
{
	const char *reason = c->reason != NULL ? c->reason : err_text(rc);

	if (c->state == PEER_UP)
		c->ps->stats.bad_frames++;
	c->reason = reason;
	if (c->stranger)
		peers_refused(c);
	peer_conn_close(c, reason);
}

/* `had`: bytes that were there before. */
static void conn_parse(struct peer_conn *c, size_t had)
{
	int rc = ERR_OK;

	while (c->state != PEER_CLOSED && !c->paused && rc == ERR_OK && conn_parse_one(c, &rc))
		;
	if (rc != ERR_OK)
		conn_fail(c, rc);
	if (c->state == PEER_CLOSED)
		return;
	if (c->in_at > 0 || had == 0)
		c->frame_began = loop_now(c->ps->s.loop);
	buf_consume(&c->in, c->in_at);
	c->in_at = 0;
	if (c->in.len == 0)
		buf_shrink(&c->in, PEER_KEEP_BYTES);
	conn_events(c);
}

bool peer_conn_read(struct peer_conn *c)
{
	/* A stranger gets no more memory than a handshake needs. */
	size_t want = conn_sealed(c) ? PEER_READ_BYTES : PEER_PREAMBLE_BYTES + 2 * NOISE_HS_MSG_MAX;
	void *to;
	ssize_t got;

	if (c->state == PEER_CLOSED || c->state == PEER_CONNECTING || c->paused)
		return false;
	to = buf_reserve(&c->in, want);
	if (to == NULL)               /* whole frames were taken out before, so there is room */
		fatal("give the machine more memory or lower the limits",
		      "no memory for a message");
	got = recv(c->io.fd, to, want, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return false;
	if (got <= 0) {
		peer_conn_close(c, got == 0 ? "closed by the peer" : strerror(errno));
		return false;
	}
	c->in.len += (size_t)got;
	c->heard = loop_now(c->ps->s.loop);
	conn_parse(c, c->in.len - (size_t)got);
	return c->state != PEER_CLOSED;
}

void peer_conn_resume(struct peer_conn *c)
{
	if (c->state != PEER_UP || !c->paused)
		return;
	c->paused = false;
	conn_parse(c, 0);
}

/* ---- readiness */

static void conn_connected(struct peer_conn *c)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err != 0) {
		peer_conn_close(c, strerror(err));
		return;
	}
	c->state = PEER_HANDSHAKE;
	c->began = c->heard = loop_now(c->ps->s.loop);
	if (peer_handshake_begin(c) != ERR_OK)
		peer_conn_close(c, "handshake failed");
	conn_events(c);               /* it is written at the end of the turn */
}

static void conn_ready(void *arg, uint32_t events)
{
	struct peer_conn *c = arg;

	if (c->state == PEER_CONNECTING) {
		conn_connected(c);
		return;
	}
	/* While it is paused nobody asks for input, but a hang-up is told for ever. */
	if (c->paused && (events & (EPOLLERR | EPOLLHUP)))
		peer_conn_close(c, "closed by the peer");
	else if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		(void)peer_conn_read(c);
	if (events & EPOLLOUT)
		peer_conn_flush(c);
}
