/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/rpc_peer.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/wire.h"
#include "tests/lib/tap.h"

int rpc_peer_open(struct rpc_peer *p)
{
	int fds[2];

	memset(p, 0, sizeof *p);
	EQ_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	p->fd = fds[0];
	buf_init(&p->out, 0);
	buf_init(&p->in, 0);
	return fds[1];
}

void rpc_peer_close(struct rpc_peer *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
	buf_free(&p->out);
	buf_free(&p->in);
}

void rpc_peer_request(struct rpc_peer *p, uint32_t id, const char *method, struct bytes params)
{
	wire_array(&p->out, 4);
	wire_u64(&p->out, 0);
	wire_u64(&p->out, id);
	wire_cstr(&p->out, method);
	buf_add_bytes(&p->out, params);
}

void rpc_peer_bytes(struct rpc_peer *p, const void *data, size_t n)
{
	buf_add(&p->out, data, n);
}

void rpc_peer_write(struct rpc_peer *p, size_t at_most)
{
	size_t n = p->out.len < at_most ? p->out.len : at_most;
	ssize_t done;

	if (n == 0 || p->closed)
		return;
	done = send(p->fd, p->out.data, n, MSG_NOSIGNAL);
	if (done > 0)
		buf_consume(&p->out, (size_t)done);
	else if (done < 0 && errno != EAGAIN)
		p->closed = true;
}

void rpc_peer_read(struct rpc_peer *p, size_t at_most)
{
	static uint8_t bytes[1u << 18];
	ssize_t n;

	if (at_most > sizeof bytes)
		at_most = sizeof bytes;
	n = recv(p->fd, bytes, at_most, 0);
	if (n > 0)
		buf_add(&p->in, bytes, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		p->closed = true;
}

static void rpc_peer_error(struct wire *w, struct rpc_reply *r)
{
	EQ_INT(wire_get_array(w), 3);
	r->error = (int)wire_get_u64(w);
	r->text = wire_get_str(w);
	r->again = wire_get_u64(w);
}

bool rpc_peer_next(struct rpc_peer *p, struct rpc_reply *r)
{
	struct wire whole = wire_of(buf_bytes(&p->in), WIRE_STRICT), w = whole;
	struct bytes rest;
	static struct buf kept;      /* the reply's bytes outlive the consumption */

	wire_skip(&whole);
	if (p->in.len == 0 || whole.c.err)
		return false;
	buf_clear(&kept);
	buf_add(&kept, p->in.data, p->in.len - cur_left(&whole.c));
	buf_consume(&p->in, kept.len);
	memset(r, 0, sizeof *r);
	w = wire_of(buf_bytes(&kept), WIRE_STRICT);
	r->goodbye = wire_get_array(&w) == 3;
	EQ_INT(wire_get_u64(&w), r->goodbye ? 2 : 1);
	if (r->goodbye) {
		rest = wire_get_str(&w);
		if (bytes_eq(rest, bytes_str("error"))) {
			rpc_peer_error(&w, r);
			return true;
		}
		r->goodbye = false;
		OK(rest.len < sizeof r->notice);
		memcpy(r->notice, rest.data, rest.len);
		r->result = bytes_of(w.c.pos, cur_left(&w.c));
		return true;
	}
	r->id = (uint32_t)wire_get_u64(&w);
	if (wire_get_nil(&w)) {
		r->result = bytes_of(w.c.pos, cur_left(&w.c));
		wire_skip(&w);
	} else {
		rpc_peer_error(&w, r);
		OK(wire_get_nil(&w));
	}
	EQ_INT(wire_end(&w), ERR_OK);
	return true;
}
