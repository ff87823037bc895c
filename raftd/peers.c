/* SPDX-License-Identifier: Apache-2.0 */
/* The manager of all connections to other nodes: dialling, accepting, timing, burying. */
#include "raftd/peers.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/peer.h"
#include "raftd/peer_conn.h"
#include "rt/admin.h"
#include "rt/keyfile.h"

enum {
	PEERS_ACCEPTS = 16,           /* in one turn */
	PEERS_POLL_READS = 8,         /* of one connection in one poll */
	PEERS_REFUSAL_LOG_MS = 1000,  /* strangers must not write our log */
	PEERS_FIRST_COMPLAINT_MS = 1000
};

static struct peer *peer_find(const struct peers *ps, uint64_t id)
{
	for (size_t i = 0; i < ps->n; i++)
		if (ps->v[i].member->id == id)
			return &ps->v[i];
	return NULL;
}

static mono_t peers_now(const struct peers *ps)
{
	return loop_now(ps->s.loop);
}

static void peers_no_delay(int fd)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* ---- dialling */

static uint64_t peers_roll(struct peers *ps)
{
	ps->dice ^= ps->dice << 13;
	ps->dice ^= ps->dice >> 7;
	ps->dice ^= ps->dice << 17;
	return ps->dice;
}

static void peer_back_off(struct peers *ps, struct peer *p)
{
	unsigned ms = p->back_off_ms;

	p->retry_at = mono_add_ms(peers_now(ps), ms / 2 + (int64_t)(peers_roll(ps) % ms));
	p->back_off_ms = ms * 2 > ps->s.times.retry_max_ms ? ps->s.times.retry_max_ms : ms * 2;
}

static void peer_dial(struct peers *ps, struct peer *p)
{
	int fd = socket(p->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	peer_back_off(ps, p);
	if (fd < 0) {
		p->reason = strerror(errno);
		return;
	}
	peers_no_delay(fd);
	if (connect(fd, (const struct sockaddr *)&p->addr, p->addr_len) != 0 &&
	    errno != EINPROGRESS) {
		p->reason = strerror(errno);
		(void)close(fd);
		return;
	}
	p->dialling = peer_conn_dialled(ps, fd, p->member->id);
}

static bool peer_is_ours_to_dial(const struct peers *ps, const struct peer *p)
{
	return p->member->id > ps->s.config->node_id;
}

/* ---- accepting */

/* Those who have shown that they know the cluster's secret stay longest. */
static void stranger_evict(struct peers *ps)
{
	struct peer_conn *oldest = NULL, *oldest_unknown = NULL;

	for (struct peer_conn *c = ps->all; c != NULL; c = c->next) {
		if (!c->stranger)
			continue;
		oldest = c;
		if (c->hs.step == 0)
			oldest_unknown = c;
	}
	CHECK(oldest != NULL);
	peer_conn_close(oldest_unknown ? oldest_unknown : oldest, "too many strangers");
}

static void peers_accept(void *arg, uint32_t events)
{
	struct peers *ps = arg;

	(void)events;
	for (int i = 0; i < PEERS_ACCEPTS; i++) {
		int fd = accept4(ps->s.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM) {
				loop_io_set(ps->s.loop, &ps->listener, 0);
				ps->accept_paused = true;
			}
			return;
		}
		if (ps->strangers >= LIMIT_PEER_STRANGERS)
			stranger_evict(ps);
		peers_no_delay(fd);
		(void)peer_conn_accepted(ps, fd);
	}
}

static void peers_accept_again(struct peers *ps)
{
	if (!ps->accept_paused)
		return;
	ps->accept_paused = false;
	loop_io_set(ps->s.loop, &ps->listener, EPOLLIN);
}

bool peers_may_call(const struct peers *ps, uint64_t id)
{
	return id < ps->s.config->node_id && peer_find(ps, id) != NULL;
}

void peers_refused(struct peer_conn *c)
{
	struct peers *ps = c->ps;
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	char host[64] = "?", port[16] = "?";
	mono_t now = peers_now(ps);

	if (ps->refusal_logged.ns != 0 && mono_sub_ms(now,
						      ps->refusal_logged) < PEERS_REFUSAL_LOG_MS) {
		ps->refusals_unsaid++;
		return;
	}
	if (getpeername(c->io.fd, (struct sockaddr *)&from, &len) == 0)
		(void)getnameinfo((struct sockaddr *)&from, len, host, sizeof host, port,
				  sizeof port,
				  NI_NUMERICHOST | NI_NUMERICSERV);
	log_warn("connection to the peer port refused from=%s port=%s claims=%" PRIu64
		 " reason=\"%s\" unsaid=%" PRIu64, host, port, c->id, c->reason,
		 ps->refusals_unsaid);
	ps->refusal_logged = now;
	ps->refusals_unsaid = 0;
}

/* ---- up and down */

void peers_conn_up(struct peer_conn *c)
{
	struct peers *ps = c->ps;
	struct peer *p = peer_find(ps, c->id);

	CHECK(p != NULL && p->conn != c);
	if (c->stranger) {
		CHECK(ps->strangers > 0);
		ps->strangers--;
		c->stranger = false;
	}
	/* The other end proved its key, so it is the member, and it has given the old one up. */
	if (p->conn != NULL)
		peer_conn_close(p->conn, "replaced by a new connection");
	c->state = PEER_UP;
	c->began = peers_now(ps);
	p->conn = c;
	p->reason = NULL;
	if (p->dialling == c)
		p->dialling = NULL;
	ps->stats.connects++;
	log_info("peer connected peer=%s incarnation=%016" PRIx64, p->member->name, c->incarnation);
	ps->s.ops->up(ps->s.arg, c->id);
}

static void peer_lost(struct peers *ps, struct peer *p, const struct peer_conn *c)
{
	mono_t now = peers_now(ps);

	p->conn = NULL;
	p->reason = c->reason;
	p->complain_at = mono_add_ms(now, PEERS_FIRST_COMPLAINT_MS);
	/* Only a connection that has lasted makes the next attempt quick. */
	if (mono_sub_ms(now, c->began) >= ps->s.times.retry_max_ms) {
		p->back_off_ms = ps->s.times.retry_min_ms;
		p->retry_at = now;
	}
	log_warn("peer lost peer=%s reason=\"%s\"", p->member->name, c->reason);
	ps->s.ops->down(ps->s.arg, p->member->id);
}

/* At the end of a turn, when no message is being looked at. */
static void peers_bury(struct peers *ps)
{
	struct peer_conn **at = &ps->all, *c;

	while ((c = *at) != NULL) {
		struct peer *p = c->id ? peer_find(ps, c->id) : NULL;

		if (c->state != PEER_CLOSED) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		if (p != NULL && p->dialling == c) {
			p->dialling = NULL;
			p->reason = c->reason;
		}
		if (p != NULL && p->conn == c)
			peer_lost(ps, p, c);
		peer_conn_free(&c);
	}
}

void peers_flush(struct peers *ps)
{
	for (struct peer_conn *c = ps->all; c != NULL; c = c->next)
		peer_conn_flush(c);
	peers_bury(ps);
}

/* ---- time */

/* For a while only: whether it really is a frame shows when it is whole. */
static bool conn_trickles(const struct peer_conn *c)
{
	mono_t now = peers_now(c->ps);

	return c->in.len > 0 && mono_sub_ms(now, c->heard) < PEER_TRICKLE_MS &&
	       mono_sub_ms(now, c->frame_began) < c->ps->s.times.dead_ms;
}

/*
 * Bytes are life, since a long frame may take its time on a slow line. But a length may have been
 * altered on the way, and then what comes in is never the end of its frame.
 */
static bool conn_is_dead(const struct peer_conn *c, mono_t now)
{
	int64_t dead_ms = c->ps->s.times.dead_ms, late_ms = mono_sub_ms(now,
									c->frame_began) - dead_ms;

	/* While we do not read, silence is ours and not the peer's. */
	if (c->paused)
		return false;
	if (c->in.len > 0 && late_ms > 0 && c->in.len < (uint64_t)late_ms * PEER_BYTES_PER_MS)
		return true;
	return mono_sub_ms(now, c->heard) >= dead_ms;
}

static bool conn_withheld(const struct peer_conn *c)
{
	return c->state == PEER_UP && (c->paused || conn_trickles(c));
}

static void conn_watch(struct peer_conn *c, mono_t now)
{
	const struct peer_times *t = &c->ps->s.times;
	struct peer_ping ping = {c->ps->s.incarnation};

	if (c->state == PEER_CLOSED)
		return;
	if (c->state != PEER_UP) {
		if (mono_sub_ms(now, c->began) < t->handshake_ms)
			return;
		c->reason = c->state == PEER_CONNECTING ? "no answer" : "handshake took too long";
		if (c->stranger)
			peers_refused(c);
		peer_conn_close(c, c->reason);
		return;
	}
	if (conn_withheld(c))
		c->ps->s.ops->waiting(c->ps->s.arg, c->id);
	if (conn_is_dead(c, now))
		peer_conn_close(c, "silent");
	else if (mono_sub_ms(now, c->sent) >= t->ping_ms)
		(void)peer_conn_send(c, MSG_NO_peer_ping, &peer_ping_desc, &ping);
}

static void peer_complain(struct peers *ps, struct peer *p, mono_t now)
{
	const char *reason = peer_is_ours_to_dial(ps, p) ? "no answer" : "it has not called";

	if (!mono_before(p->complain_at, now))
		return;
	if (p->reason != NULL)
		reason = p->reason;
	log_warn("waiting for peer=%s address=%s reason=\"%s\"", p->member->name,
		 p->member->peer_addr, reason);
	p->complain_at = mono_add_ms(now, ps->s.times.complain_ms);
}

static void peer_watch(struct peers *ps, struct peer *p, mono_t now)
{
	if (p->conn != NULL)
		return;
	peer_complain(ps, p, now);
	if (peer_is_ours_to_dial(ps, p) && p->dialling == NULL && !mono_before(now, p->retry_at))
		peer_dial(ps, p);
}

static void peers_watch(void *arg)
{
	struct peers *ps = arg;
	mono_t now = peers_now(ps);

	for (struct peer_conn *c = ps->all; c != NULL; c = c->next)
		conn_watch(c, now);
	for (size_t i = 0; i < ps->n; i++)
		peer_watch(ps, &ps->v[i], now);
	peers_accept_again(ps);
	loop_timer_set(ps->s.loop, &ps->watch, mono_add_ms(now, ps->s.times.ping_ms / 4 + 1));
}

void peers_resume(struct peers *ps)
{
	for (struct peer_conn *c = ps->all; c != NULL; c = c->next)
		peer_conn_resume(c);
}

void peers_poll(struct peers *ps)
{
	for (struct peer_conn *c = ps->all; c != NULL; c = c->next)
		for (int i = 0; i < PEERS_POLL_READS && c->state == PEER_UP; i++)
			if (!peer_conn_read(c))
				break;
}

bool peers_withheld(const struct peers *ps, uint64_t id)
{
	for (const struct peer_conn *c = ps->all; c != NULL; c = c->next)
		if (conn_withheld(c) && (c->paused || c->id == id))
			return true;
	return false;
}

/* ---- sending */

int peers_send(struct peers *ps, uint64_t id, uint32_t number, const struct msg_desc *d,
	       const void *msg)
{
	struct peer *p = peer_find(ps, id);

	if (p == NULL || p->conn == NULL)
		return ERR_CLOSED;
	if (loop_in_hooks(ps->s.loop))
		loop_again(ps->s.loop);   /* our flush may have run already */
	return peer_conn_send(p->conn, number, d, msg);
}

bool peers_room(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peer_find(ps, id);

	return p != NULL && p->conn != NULL && p->conn->state == PEER_UP &&
	       p->conn->out.len - p->conn->out_at <= LIMIT_PEER_ROOM_BYTES;
}

unsigned peers_version(const struct peers *ps, uint64_t id)
{
	const struct peer *p = peer_find(ps, id);

	return p != NULL && p->conn != NULL && p->conn->state == PEER_UP ? p->conn->version : 0;
}

/* ---- life */

static void peers_default(unsigned *value, unsigned standard)
{
	if (*value == 0)
		*value = standard;
}

static void peers_times(struct peer_times *t)
{
	peers_default(&t->handshake_ms, PEER_HANDSHAKE_MS);
	peers_default(&t->ping_ms, PEER_PING_MS);
	peers_default(&t->dead_ms, PEER_DEAD_MS);
	peers_default(&t->retry_min_ms, PEER_RETRY_MIN_MS);
	peers_default(&t->retry_max_ms, PEER_RETRY_MAX_MS);
	peers_default(&t->complain_ms, PEER_COMPLAIN_MS);
	CHECK(t->retry_min_ms <= t->retry_max_ms && t->ping_ms * 2 <= t->dead_ms);
}

static int peers_members(struct peers *ps)
{
	const struct config *config = ps->s.config;

	for (size_t i = 0; i < config->n_members; i++) {
		struct peer *p = &ps->v[ps->n];

		if (config->members[i].id == config->node_id)
			continue;
		p->member = &config->members[i];
		p->back_off_ms = ps->s.times.retry_min_ms;
		p->complain_at = mono_add_ms(peers_now(ps), PEERS_FIRST_COMPLAINT_MS);
		if (config_address(p->member->peer_addr, &p->addr, &p->addr_len) != ERR_OK) {
			log_error("peer addresses are numeric (10.0.0.1:2380): peer=%s address=%s",
				  p->member->name, p->member->peer_addr);
			return ERR_CONFIG;
		}
		ps->n++;
	}
	return ERR_OK;
}

int peers_open(const struct peers_setup *setup, struct peers **out)
{
	struct peers *ps = mem_alloc(sizeof *ps);
	int rc;

	ps->s = *setup;
	peers_times(&ps->s.times);
	arena_init(&ps->arena, 2 * LIMIT_FRAME_BYTES);
	ps->v = mem_array(setup->config->n_members, sizeof *ps->v);
	loop_timer_init(&ps->watch, peers_watch, ps);
	ps->listener.fd = -1;
	if (getrandom(&ps->dice, sizeof ps->dice, 0) != sizeof ps->dice || ps->dice == 0)
		ps->dice = 1;
	rc = peers_members(ps);
	if (rc != ERR_OK) {
		peers_close(&ps);
		return rc;
	}
	if (ps->s.listen_fd >= 0)
		loop_io_add(ps->s.loop, &ps->listener, ps->s.listen_fd, EPOLLIN, peers_accept, ps);
	if (ps->n > 0)
		loop_timer_set(ps->s.loop, &ps->watch, peers_now(ps));
	*out = ps;
	return ERR_OK;
}

/* Without a word to the owner: it knows. */
void peers_close(struct peers **psp)
{
	struct peers *ps = *psp;
	struct peer_conn *c;

	if (ps == NULL)
		return;
	*psp = NULL;
	loop_timer_clear(ps->s.loop, &ps->watch);
	loop_io_del(ps->s.loop, &ps->listener);
	if (ps->s.listen_fd >= 0)
		(void)close(ps->s.listen_fd);
	while ((c = ps->all) != NULL) {
		ps->all = c->next;
		peer_conn_close(c, "closed by us");
		peer_conn_free(&c);
	}
	arena_free(&ps->arena);
	mem_free(ps->v);
	key_wipe(ps->s.keys.secret);
	key_wipe(ps->s.keys.cluster_secret);
	mem_free(ps);
}

const struct peers_stats *peers_stats(const struct peers *ps)
{
	return &ps->stats;
}

void peers_report(const struct peers *ps, struct admin_reply *r)
{
	for (size_t i = 0; i < ps->n; i++) {
		const struct peer *p = &ps->v[i];

		admin_begin(r, p->member->name);
		admin_u64(r, "id", p->member->id);
		admin_str(r, "address", p->member->peer_addr);
		admin_bool(r, "connected", p->conn != NULL);
		if (p->conn != NULL) {
			admin_i64(r, "silent_ms", mono_sub_ms(peers_now(ps), p->conn->heard));
			admin_u64(r, "queued_bytes", p->conn->out.len - p->conn->out_at);
			admin_bool(r, "paused", p->conn->paused);
		} else if (p->reason != NULL) {
			admin_str(r, "reason", p->reason);
		}
		admin_end(r);
	}
}
