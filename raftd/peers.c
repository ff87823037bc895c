/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/peers.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/peer_conn.h"
#include "rt/keyfile.h"

enum { PEERS_STRANGERS = 32, PEERS_RETRY_MIN_MS = 20, PEERS_RETRY_MAX_MS = 500, PEERS_WATCH_MS = 50,
       PEERS_COMPLAIN_MS = 10000 };

struct peer {
	const struct config_member *member;
	struct peer_conn *conn;           /* the one that is up, or NULL */
	struct peer_conn *dialling;       /* ours on its way, or NULL */
	struct sockaddr_storage addr;
	socklen_t addr_len;
	mono_t retry_at, complain_at;
	uint32_t back_off_ms;
};

struct peers {
	struct peer_identity me;
	struct peer v[LIMIT_NODES];
	size_t n;
	struct peer_conn *all;
	size_t strangers;
	struct loop_io listener;
	int listen_fd;
	struct loop_timer watch;
	uint64_t dice;                    /* for jitter */
	bool accept_paused;               /* no descriptors left: tried again by the watch timer */
};

const struct peer_identity *peers_identity(const struct raftd *n)
{
	return &n->peers->me;
}

static struct peer *peer_find(const struct raftd *n, uint64_t id)
{
	for (size_t i = 0; i < n->peers->n; i++)
		if (n->peers->v[i].member->id == id)
			return &n->peers->v[i];
	return NULL;
}

static uint64_t peers_roll(struct peers *ps)
{
	ps->dice ^= ps->dice << 13;
	ps->dice ^= ps->dice >> 7;
	ps->dice ^= ps->dice << 17;
	return ps->dice;
}

static void conn_track(struct raftd *n, struct peer_conn *c)
{
	int on = 1;

	(void)setsockopt(c->io.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	c->next = n->peers->all;
	n->peers->all = c;
}

static void peer_back_off(struct raftd *n, struct peer *p)
{
	uint32_t ms = p->back_off_ms;

	p->retry_at = mono_add_ms(mono_now(), ms / 2 + (int64_t)(peers_roll(n->peers) % ms));
	p->back_off_ms = ms * 2 > PEERS_RETRY_MAX_MS ? PEERS_RETRY_MAX_MS : ms * 2;
}

static void peer_dial(struct raftd *n, struct peer *p)
{
	int fd = socket(p->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	peer_back_off(n, p);
	if (fd < 0) {
		log_warn("no socket for a peer peer=%s error=\"%s\"", p->member->name, strerror(errno));
		return;
	}
	if (connect(fd, (const struct sockaddr *)&p->addr, p->addr_len) != 0 && errno != EINPROGRESS) {
		close(fd);
		return;
	}
	p->dialling = peer_conn_dialled(n, fd, p->member->id);
	conn_track(n, p->dialling);
}

static void peers_accept(void *arg, uint32_t events)
{
	struct raftd *n = arg;

	(void)events;
	for (int i = 0; i < 16; i++) {
		int fd = accept4(n->peers->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
				loop_io_set(n->d->loop, &n->peers->listener, 0);
				n->peers->accept_paused = true;
			}
			return;
		}
		if (n->peers->strangers >= PEERS_STRANGERS) {
			counter_inc(&n->counters.peer_refused);
			close(fd);
			continue;
		}
		n->peers->strangers++;
		conn_track(n, peer_conn_accepted(n, fd));
	}
}

static void stranger_done(struct raftd *n, struct peer_conn *c)
{
	if (!c->stranger)
		return;
	CHECK(n->peers->strangers > 0);
	n->peers->strangers--;
	c->stranger = false;
}

int peers_identified(struct raftd *n, struct peer_conn *c, uint64_t id)
{
	/* Only the smaller id dials: anything else is a mix-up or a lie. */
	if (peer_find(n, id) == NULL || id >= n->d->config->node_id)
		return ERR_AUTHENTICATION;
	c->id = id;
	return ERR_OK;
}

void peers_up(struct raftd *n, struct peer_conn *c)
{
	/* A new connection has lost the old one's messages: the core must see both edges. */
	struct raft_event down = {.type = RAFT_EV_PEER_DOWN, .peer = c->id};
	struct raft_event up = {.type = RAFT_EV_PEER_UP, .peer = c->id};
	struct peer *p = peer_find(n, c->id);

	CHECK(p != NULL);
	/* The other end proved its key, so it is the member, and it has given the old one up. */
	if (p->conn != NULL)
		peer_conn_close(p->conn, "replaced by a new connection");
	log_info("peer connected peer=%s incarnation=%016" PRIx64, p->member->name, c->incarnation);
	p->back_off_ms = PEERS_RETRY_MIN_MS;
	p->conn = c;
	if (p->dialling == c)
		p->dialling = NULL;
	stranger_done(n, c);
	(void)raftd_step(n, &down);
	(void)raftd_step(n, &up);
}

/* At the end of a turn, outside any step. */
static void peers_bury(struct raftd *n)
{
	struct peer_conn **at = &n->peers->all, *c;

	while ((c = *at) != NULL) {
		struct peer *p = c->id ? peer_find(n, c->id) : NULL;

		if (c->state != PEER_CLOSED) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		if (p != NULL && p->conn == c) {
			struct raft_event down = {.type = RAFT_EV_PEER_DOWN, .peer = c->id};

			p->conn = NULL;
			log_warn("peer lost peer=%s reason=\"%s\"", p->member->name, c->reason);
			(void)raftd_step(n, &down);
		} else if (p != NULL && p->dialling == c) {
			p->dialling = NULL;
		}
		stranger_done(n, c);
		peer_conn_free(&c);
	}
}

void peers_flush(struct raftd *n)
{
	for (struct peer_conn *c = n->peers->all; c != NULL; c = c->next)
		if (c->out.len > c->out_at)
			peer_conn_flush(c);
	peers_bury(n);
}

static void conn_watch(struct raftd *n, struct peer_conn *c, mono_t now)
{
	struct peer_ping ping = {n->d->incarnation};

	if (c->state == PEER_CLOSED)
		return;
	if (c->state != PEER_UP) {
		if (mono_sub_ms(now, c->began) > PEER_HANDSHAKE_MS)
			peer_conn_close(c, "handshake took too long");
		return;
	}
	/* While we do not read, silence is ours and not the peer's. */
	if (!c->paused && mono_sub_ms(now, c->heard) > PEER_DEAD_MS)
		peer_conn_close(c, "silent");
	else if (mono_sub_ms(now, c->sent) >= PEER_PING_MS)
		(void)peer_conn_send(c, MSG_NO_peer_ping, &peer_ping_desc, &ping);
}

static void peers_watch(void *arg)
{
	struct raftd *n = arg;
	struct peers *ps = n->peers;
	mono_t now = mono_now();

	for (struct peer_conn *c = ps->all; c != NULL; c = c->next)
		conn_watch(n, c, now);
	for (size_t i = 0; i < ps->n; i++) {
		struct peer *p = &ps->v[i];

		if (p->conn == NULL && mono_before(p->complain_at, now)) {
			log_warn("waiting for peer=%s address=%s", p->member->name, p->member->peer_addr);
			p->complain_at = mono_add_ms(now, PEERS_COMPLAIN_MS);
		}
		if (p->member->id > n->d->config->node_id && p->conn == NULL && p->dialling == NULL &&
		    !mono_before(now, p->retry_at))
			peer_dial(n, p);
	}
	if (ps->accept_paused) {
		ps->accept_paused = false;
		loop_io_set(n->d->loop, &ps->listener, EPOLLIN);
	}
	loop_timer_set(n->d->loop, &ps->watch, mono_add_ms(now, PEERS_WATCH_MS));
}

int peers_send(struct raftd *n, uint64_t id, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct peer *p = peer_find(n, id);

	if (p == NULL || p->conn == NULL)
		return ERR_CLOSED;
	if (loop_in_hooks(n->d->loop))
		loop_again(n->d->loop);   /* our flush may have run already */
	return peer_conn_send(p->conn, number, d, msg);
}

bool peers_room(const struct raftd *n, uint64_t id)
{
	const struct peer *p = peer_find(n, id);

	return p != NULL && p->conn != NULL && p->conn->out.len - p->conn->out_at <= LIMIT_PEER_INFLIGHT_BYTES;
}

bool peers_connected(const struct raftd *n, uint64_t id)
{
	const struct peer *p = peer_find(n, id);

	return p != NULL && p->conn != NULL;
}

void peers_resume(struct raftd *n)
{
	for (struct peer_conn *c = n->peers->all; c != NULL; c = c->next)
		peer_conn_resume(c);
}

static int peers_listen(const struct config *config)
{
	struct sockaddr_storage ss;
	int fd, on = 1;
	socklen_t len;

	if (config_address(config->peer_listen, &ss, &len) != ERR_OK)
		fatal("give an address and port as 10.0.0.1:2380", "bad peer_listen \"%s\"", config->peer_listen);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    bind(fd, (const struct sockaddr *)&ss, len) == 0 && listen(fd, 64) == 0)
		return fd;
	fatal("is another program using it?", "cannot listen for peers on %s: %s", config->peer_listen,
	      strerror(errno));
}

static void peers_key(const char *configured, const char *data_dir, const char *name, uint8_t key[32])
{
	char *path = configured[0] ? mem_strdup(configured) : config_path(data_dir, name);
	const char *why;

	if (keyfile_load(path, key, &why) != ERR_OK)
		fatal("make the node's keys with `quorate init`", "cannot use %s: %s", path, why);
	mem_free(path);
}

int peers_open(struct raftd *n)
{
	const struct config *config = n->d->config;
	struct peers *ps = mem_alloc(sizeof *ps);
	uint8_t public[32];

	n->peers = ps;
	ps->me.cluster_id = config->cluster_id;
	ps->me.node_id = config->node_id;
	if (noise_start() != 0)
		fatal(NULL, "libsodium does not start");
	peers_key(config->key_file, config->data_dir, "node.key", ps->me.secret_key);
	peers_key(config->secret_file, config->data_dir, "cluster.secret", ps->me.cluster_secret);
	key_public(ps->me.secret_key, public);
	if (!key_equal(public, config_self(config)->key))
		fatal("the member line of this node must carry the public key of its node.key",
		      "node.key does not fit the configuration");
	for (size_t i = 0; i < config->n_members; i++) {
		struct peer *p = &ps->v[ps->n];

		if (config->members[i].id == config->node_id)
			continue;
		p->member = &config->members[i];
		p->back_off_ms = PEERS_RETRY_MIN_MS;
		if (config_address(p->member->peer_addr, &p->addr, &p->addr_len) != ERR_OK)
			fatal("peer addresses are numeric: 10.0.0.1:2380", "bad peer address \"%s\"", p->member->peer_addr);
		ps->n++;
	}
	ps->listen_fd = config->n_members > 1 ? peers_listen(config) : -1;
	if (getrandom(&ps->dice, sizeof ps->dice, 0) != sizeof ps->dice || ps->dice == 0)
		ps->dice = 1;
	return ERR_OK;
}

void peers_start(struct raftd *n)
{
	struct peers *ps = n->peers;
	mono_t now = mono_now();

	for (size_t i = 0; i < ps->n; i++)
		ps->v[i].complain_at = mono_add_ms(now, 1000);
	if (ps->listen_fd >= 0)
		loop_io_add(n->d->loop, &ps->listener, ps->listen_fd, EPOLLIN, peers_accept, n);
	loop_timer_init(&ps->watch, peers_watch, n);
	if (ps->n > 0)
		loop_timer_set(n->d->loop, &ps->watch, now);
}

void peers_report(struct raftd *n, struct admin_reply *r)
{
	for (size_t i = 0; i < n->peers->n; i++) {
		const struct peer *p = &n->peers->v[i];

		admin_begin(r, p->member->name);
		admin_u64(r, "id", p->member->id);
		admin_str(r, "address", p->member->peer_addr);
		admin_bool(r, "connected", p->conn != NULL);
		if (p->conn != NULL) {
			admin_i64(r, "silent_ms", mono_sub_ms(mono_now(), p->conn->heard));
			admin_u64(r, "queued_bytes", p->conn->out.len - p->conn->out_at);
		}
		admin_end(r);
	}
}
