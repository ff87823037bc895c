/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/mesh.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/keyfile.h"

static struct sockaddr_in loopback(int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return in;
}

/* A socket with that port, or with one that is free (0): *port says which. */
static int bound_to(int *port)
{
	struct sockaddr_in in = loopback(*port);
	socklen_t len = sizeof in;
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
	CHECK(bind(fd, (struct sockaddr *)&in, sizeof in) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&in, &len) == 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static int listen_on(int *port)
{
	int fd = bound_to(port);

	CHECK(listen(fd, 256) == 0);
	return fd;
}

static int connect_to(int port)
{
	struct sockaddr_in in = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	CHECK(connect(fd, (struct sockaddr *)&in, sizeof in) == 0 || errno == EINPROGRESS);
	return fd;
}

/* ---- nodes */

static void node_up(void *arg, uint64_t id)
{
	struct mesh_node *n = arg;

	n->of[id].ups++;
	n->of[id].up = true;
	n->of[id].last = 0;
}

static void node_down(void *arg, uint64_t id)
{
	struct mesh_node *n = arg;

	CHECK(n->of[id].up);
	n->of[id].downs++;
	n->of[id].up = false;
}

static bool node_can_take(void *arg, const struct msg_in *in)
{
	const struct mesh_node *n = arg;
	const struct peer_propose *p = in->msg;

	return !n->full || in->row->number != MSG_NO_peer_propose ||
	       p->proposals.v[0].command.len <= 1;
}

static void node_waiting(void *arg, uint64_t from)
{
	struct mesh_node *n = arg;

	n->of[from].waits++;
}

static int node_message(void *arg, uint64_t from, const struct msg_in *in)
{
	struct mesh_node *n = arg;
	const struct peer_propose *p = in->msg;

	if (in->row->number == MSG_NO_peer_ping)
		n->of[from].pings++;
	if (in->row->number != MSG_NO_peer_propose || p->proposals.n == 0)
		return ERR_OK;
	if (p->proposals.v[0].seq <= n->of[from].last)
		n->of[from].disorder = true;
	n->of[from].last = p->proposals.v[0].seq;
	n->of[from].bytes += p->proposals.v[0].command.len;
	n->of[from].got++;
	return n->answer;
}

static void mesh_turn_end(void *arg)
{
	struct mesh *t = arg;

	t->turns++;
	for (uint64_t id = 1; id <= MESH_NODES; id++)
		if (t->node[id].ps != NULL)
			peers_flush(t->node[id].ps);
}

static void node_config(struct mesh *t, uint64_t id, uint8_t keys[][KEY_LEN])
{
	static char names[MESH_NODES + 1][8] = {"", "one", "two", "three"};
	struct mesh_node *n = &t->node[id];

	n->config.cluster_id = MESH_CLUSTER;
	n->config.node_id = id;
	for (uint64_t m = 1; m <= MESH_NODES; m++) {
		struct config_member *cm = &n->config.members[n->config.n_members++];

		(void)snprintf(n->addr[m], sizeof n->addr[m], "127.0.0.1:%d", t->node[m].port);
		*cm = (struct config_member){.id = m, .name = names[m], .peer_addr = n->addr[m]};
		key_public(keys[m], cm->key);
	}
}

void mesh_open(struct mesh *t, const struct peer_times *times)
{
	static const struct peer_times fast = {.handshake_ms = 300, .ping_ms = 20, .dead_ms = 200,
					       .retry_min_ms = 1, .retry_max_ms = 20,
					       .complain_ms = 1000};
	static uint8_t keys[MESH_NODES + 1][KEY_LEN], secret[KEY_LEN];

	log_set_level(LOG_ERROR);
	*t = (struct mesh){.times = times ? *times : fast};
	CHECK(noise_start() == 0);
	t->loop = loop_new();
	key_generate(secret);
	for (uint64_t id = 1; id <= MESH_NODES; id++) {
		struct mesh_node *n = &t->node[id];

		n->net = t;
		n->incarnation = id * 1000;
		key_generate(keys[id]);
		memcpy(n->keys.secret, keys[id], KEY_LEN);
		memcpy(n->keys.cluster_secret, secret, KEY_LEN);
		n->held_fd = bound_to(&n->port);
	}
	for (uint64_t id = 1; id <= MESH_NODES; id++)
		node_config(t, id, keys);
	loop_hook_add(t->loop, &t->hook, mesh_turn_end, t);
}

void mesh_start(struct mesh *t, uint64_t id)
{
	static const struct peers_ops ops = {node_up, node_down, node_can_take, node_waiting,
					     node_message};
	struct mesh_node *n = &t->node[id];
	struct peers_setup s = {.loop = t->loop, .config = &n->config, .keys = n->keys,
				.incarnation = ++n->incarnation, .listen_fd = listen_on(&n->port),
				.ops = &ops, .arg = n, .times = t->times};

	CHECK(peers_open(&s, &n->ps) == ERR_OK);
}

void mesh_stop(struct mesh *t, uint64_t id)
{
	peers_close(&t->node[id].ps);
	for (uint64_t m = 1; m <= MESH_NODES; m++)
		t->node[id].of[m].up = false;
}

bool mesh_all_up(const struct mesh *t)
{
	for (uint64_t a = 1; a <= MESH_NODES; a++)
		for (uint64_t b = 1; b <= MESH_NODES; b++)
			if (a != b && t->node[a].ps && t->node[b].ps && !t->node[a].of[b].up)
				return false;
	return true;
}

void mesh_start_all(struct mesh *t)
{
	for (uint64_t id = 1; id <= MESH_NODES; id++)
		mesh_start(t, id);
	MESH_UNTIL(t, mesh_all_up(t));
}

void mesh_close(struct mesh *t)
{
	for (uint64_t id = 1; id <= MESH_NODES; id++)
		mesh_stop(t, id);
	for (uint64_t id = 1; id <= MESH_NODES; id++)
		(void)close(t->node[id].held_fd);
	loop_hook_del(t->loop, &t->hook);
	loop_free(t->loop);
}

int mesh_send(struct mesh *t, uint64_t from, uint64_t to, uint64_t number, size_t bytes)
{
	static uint8_t body[2 * MIB];
	struct peer_proposal p = {.gateway = from, .seq = number, .command = bytes_of(body, bytes)};
	struct peer_propose m;

	CHECK(bytes <= sizeof body);
	m.proposals.v = &p;
	m.proposals.n = 1;
	return peers_send(t->node[from].ps, to, MSG_NO_peer_propose, &peer_propose_desc, &m);
}

void mesh_turns(struct mesh *t, int ms)
{
	mono_t end = mono_add_ms(mono_now(), ms);

	while (mono_before(mono_now(), end))
		loop_turn(t->loop, 5);
}

void mesh_exchange(struct mesh *t, uint64_t a, uint64_t b, uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i <= last; i++)
		EQ_INT(mesh_send(t, a, b, i, 100), ERR_OK);
	MESH_UNTIL(t, t->node[b].of[a].last == last);
	OK(!t->node[b].of[a].disorder);
}

uint64_t mesh_refused(const struct mesh *t, uint64_t id)
{
	return peers_stats(t->node[id].ps)->refused;
}

uint64_t mesh_bad_frames(const struct mesh *t, uint64_t id)
{
	return peers_stats(t->node[id].ps)->bad_frames;
}

/* ---- meddler */

static size_t meddler_whole(struct meddler *m, int side)
{
	const struct buf *in = &m->in[side];

	if (side == 0 && !m->preamble_seen)
		return in->len >= 36 ? 36 : 0;
	if (in->len < 4 || in->len < 4 + get_u32be(in->data))
		return 0;
	return 4 + get_u32be(in->data);
}

static void meddler_write(struct meddler *m, int side)
{
	struct buf *out = &m->out[side];
	ssize_t n;

	if (!m->open || out->len == 0)
		return;
	n = send(m->side[side].fd, out->data, out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		buf_consume(out, (size_t)n);
	loop_io_set(m->net->loop, &m->side[side],
		    (m->stuck[side] ? 0u : EPOLLIN) | (out->len ? EPOLLOUT : 0u));
}

static void meddler_pass(struct meddler *m, int side)
{
	size_t len;

	while ((len = meddler_whole(m, side)) > 0) {
		struct bytes frame = bytes_of(m->in[side].data, len);

		m->preamble_seen |= side == 0;
		if (m->meddle != NULL)
			m->meddle(m, side, m->frames[side], frame, &m->out[!side]);
		else
			buf_add_bytes(&m->out[!side], frame);
		m->frames[side]++;
		buf_consume(&m->in[side], len);
	}
	meddler_write(m, !side);
}

static void meddler_ready(struct meddler *m, int side, uint32_t events)
{
	void *to = buf_reserve(&m->in[side], 65536);
	ssize_t n;

	if (events & EPOLLOUT)
		meddler_write(m, side);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || m->stuck[side])
		return;
	n = recv(m->side[side].fd, to, 65536, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		meddler_cut(m);
		return;
	}
	m->in[side].len += (size_t)n;
	meddler_pass(m, side);
}

static void meddler_ready_0(void *m, uint32_t events)
{
	meddler_ready(m, 0, events);
}

static void meddler_ready_1(void *m, uint32_t events)
{
	meddler_ready(m, 1, events);
}

static void meddler_accept(void *arg, uint32_t events)
{
	struct meddler *m = arg;
	int fd = accept4(m->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	meddler_cut(m);
	m->open = true;
	m->stuck[0] = m->stuck[1] = false;
	m->preamble_seen = false;
	m->connections++;
	m->frames[0] = m->frames[1] = 0;
	loop_io_add(m->net->loop, &m->side[0], fd, EPOLLIN, meddler_ready_0, m);
	loop_io_add(m->net->loop, &m->side[1], connect_to(m->net->node[m->to].port),
		    EPOLLIN | EPOLLOUT,
		    meddler_ready_1, m);
}

void meddler_open(struct meddler *m, struct mesh *t, uint64_t from, uint64_t to)
{
	int port = 0, fd = listen_on(&port);

	*m = (struct meddler){.net = t, .from = from, .to = to};
	(void)snprintf(m->told, sizeof m->told, "127.0.0.1:%d", port);
	t->node[from].config.members[to - 1].peer_addr = m->told;
	loop_io_add(t->loop, &m->listener, fd, EPOLLIN, meddler_accept, m);
}

void meddler_cut(struct meddler *m)
{
	for (int side = 0; side < 2 && m->open; side++) {
		int fd = m->side[side].fd;

		loop_io_del(m->net->loop, &m->side[side]);
		(void)close(fd);
		buf_free(&m->in[side]);
		buf_free(&m->out[side]);
	}
	m->open = false;
}

void meddler_close(struct meddler *m)
{
	int fd = m->listener.fd;

	meddler_cut(m);
	loop_io_del(m->net->loop, &m->listener);
	(void)close(fd);
	buf_free(&m->kept);
}

/* ---- caller */

void caller_connect(struct caller *c, struct mesh *t, uint64_t to)
{
	*c = (struct caller){.net = t, .fd = connect_to(t->node[to].port)};
}

void caller_put(struct caller *c, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			return;               /* closed: the test sees it when it reads */
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
		loop_turn(c->net->loop, 0);
	}
}

void caller_preamble(struct caller *c, uint64_t from, uint64_t to, const struct caller_face *face)
{
	const struct mesh_node *n = &c->net->node[from];
	struct noise_hs_config config = {
		.role = NOISE_INITIATOR,
		.static_secret = face && face->key ? face->key : n->keys.secret,
		.psk = face && face->cluster_secret ? face->cluster_secret : n->keys.cluster_secret,
		.prologue = bytes_of(c->preamble, sizeof c->preamble),
	};

	memcpy(c->preamble, "QUORPEER", 8);
	put_u32be(c->preamble + 8, PEER_VERSION);
	put_u64be(c->preamble + 12, face && face->cluster ? face->cluster : MESH_CLUSTER);
	put_u64be(c->preamble + 20, face && face->claim ? face->claim : from);
	put_u64be(c->preamble + 28, face && face->to ? face->to : to);
	noise_hs_init_random(&c->hs, &config);
}

void caller_write(struct caller *c, bool hello, const struct caller_face *face)
{
	struct peer_hello m = {face && face->version ? face->version : PEER_VERSION,
			       face && face->version_min ? face->version_min : PEER_VERSION_MIN,
			       99};
	uint8_t noise[NOISE_HS_MSG_MAX];
	struct buf payload, frame;
	size_t len;

	buf_init(&payload, 0);
	buf_init(&frame, 0);
	if (hello)
		CHECK(msg_encode(&payload, &peer_hello_desc, &m) == ERR_OK);
	CHECK(noise_hs_write(&c->hs, buf_bytes(&payload), noise, sizeof noise, &len) == ERR_OK);
	buf_u32be(&frame, (uint32_t)len);
	buf_add(&frame, noise, len);
	caller_put(c, frame.data, frame.len);
	buf_free(&payload);
	buf_free(&frame);
}

static bool caller_fill(struct caller *c, size_t want)
{
	mono_t until = mono_add_ms(mono_now(), 20000);

	while (c->in.len < want) {
		void *to = buf_reserve(&c->in, want - c->in.len);
		ssize_t n = recv(c->fd, to, want - c->in.len, MSG_DONTWAIT);

		CHECK(mono_before(mono_now(), until));
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != ENOTCONN))
			return false;
		if (n > 0)
			c->in.len += (size_t)n;
		else
			loop_turn(c->net->loop, 5);
	}
	return true;
}

bool caller_read(struct caller *c)
{
	uint8_t payload[NOISE_HS_MSG_MAX];
	size_t len;

	if (!caller_fill(c, 4) || !caller_fill(c, 4 + get_u32be(c->in.data)))
		return false;
	CHECK(noise_hs_read(&c->hs, bytes_of(c->in.data + 4, c->in.len - 4), payload,
			    sizeof payload, &len) == ERR_OK);
	buf_clear(&c->in);
	return true;
}

bool caller_shake(struct caller *c, struct mesh *t, uint64_t from, uint64_t to,
		  const struct caller_face *face)
{
	caller_connect(c, t, to);
	caller_preamble(c, from, to, face);
	caller_put(c, c->preamble, sizeof c->preamble);
	caller_write(c, false, face);
	if (!caller_read(c))
		return false;
	caller_write(c, true, face);
	CHECK(noise_hs_split(&c->hs, &c->session) == ERR_OK);
	return caller_fill(c, 4);     /* the responder's first ping: we are in */
}

void caller_seal(struct caller *c, struct bytes plain, struct buf *frame)
{
	uint8_t head[4], *to;
	size_t len;

	put_u32be(head, (uint32_t)(plain.len + NOISE_TAG_LEN));
	buf_add(frame, head, sizeof head);
	to = buf_reserve(frame, plain.len + NOISE_TAG_LEN);
	CHECK(noise_cipher_encrypt(&c->session.send, bytes_of(head, sizeof head), plain, to,
				   plain.len + NOISE_TAG_LEN, &len) == ERR_OK);
	frame->len += len;
}

void caller_message(struct caller *c, uint64_t seq, uint32_t number, const struct msg_desc *d,
		    const void *msg,
		    struct buf *frame)
{
	struct buf plain;

	buf_init(&plain, 0);
	CHECK(msg_frame(&plain, number, seq, d, msg) == ERR_OK);
	caller_seal(c, bytes_of(plain.data + 4, plain.len - 4), frame);
	buf_free(&plain);
}

bool caller_closed(struct caller *c)
{
	uint8_t sink[4096];
	ssize_t n;

	while ((n = recv(c->fd, sink, sizeof sink, MSG_DONTWAIT)) > 0)
		;
	return n == 0 || (errno != EAGAIN && errno != EINTR);
}

void caller_hang_up(struct caller *c)
{
	(void)close(c->fd);
	buf_free(&c->in);
	noise_hs_wipe(&c->hs);
	noise_session_wipe(&c->session);
}

void caller_expect_out(struct caller *c)
{
	MESH_UNTIL(c->net, caller_closed(c));
	caller_hang_up(c);
}
