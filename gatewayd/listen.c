/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "rt/config.h"

enum {
	LISTEN_BACKLOG = 4096,
	LISTEN_ACCEPTS = 64,          /* per turn */
	LISTEN_PAUSE_MS = 100,        /* when descriptors or memory have run out */
	LISTEN_RESERVE = 64,          /* descriptors for all that is not a client */
};

static int listen_failed(int fd, const char **why, const char *what)
{
	int saved = errno;

	*why = what;
	if (fd >= 0)
		(void)close(fd);
	errno = saved;
	return -1;
}

int listen_socket(const char *address, bool shared, const char **why)
{
	struct sockaddr_storage ss;
	unsigned len = 0;
	int fd, one = 1, zero = 0, share = shared;

	errno = EINVAL;
	if (config_address(address, &ss, &len) != ERR_OK)
		return listen_failed(-1, why, "address");
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return listen_failed(fd, why, "socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &share, sizeof share) != 0)
		return listen_failed(fd, why, "setsockopt");
	if (ss.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) != 0)
		return listen_failed(fd, why, "setsockopt IPV6_V6ONLY");
	if (bind(fd, (struct sockaddr *)&ss, len) != 0)
		return listen_failed(fd, why, "bind");
	if (listen(fd, LISTEN_BACKLOG) != 0)
		return listen_failed(fd, why, "listen");
	return fd;
}

size_t listen_max_conns(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return LIMIT_CLIENT_CONNECTIONS;
	if (r.rlim_cur < r.rlim_max) {
		struct rlimit more = {r.rlim_max, r.rlim_max};

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			r = more;
	}
	if (r.rlim_cur == RLIM_INFINITY || r.rlim_cur >= LIMIT_CLIENT_CONNECTIONS + LISTEN_RESERVE)
		return LIMIT_CLIENT_CONNECTIONS;
	return r.rlim_cur > 2 * LISTEN_RESERVE ? (size_t)r.rlim_cur - LISTEN_RESERVE : LISTEN_RESERVE;
}

static void listen_peer(const struct sockaddr_storage *ss, char *out, size_t size)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)ss;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)ss;
	char host[INET6_ADDRSTRLEN] = "?";

	if (ss->ss_family == AF_INET) {
		(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		(void)snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
	} else if (ss->ss_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		(void)snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		(void)snprintf(out, size, "local");
	}
}

/*
 * One client too many is told so. What it has sent already is read away first: closing on unread
 * bytes would send a reset, which may overtake the words.
 */
static void listen_refuse(struct listen_port *p, int fd, const char *peer)
{
	struct buf words;

	buf_init(&words, 256);
	rpc_goodbye(&words, ERR_TOO_MANY_REQUESTS);
	(void)recv(fd, p->conns->scratch, LIMIT_CONN_READ_BYTES, MSG_DONTWAIT);
	(void)send(fd, words.data, words.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)shutdown(fd, SHUT_WR);
	(void)close(fd);
	buf_free(&words);
	counter_inc(&p->conns->counters->clients_refused_total);
	conn_complain(p->conns, "client refused: too many connections peer=%s max=%zu", peer, p->max_conns);
}

static void listen_take(struct listen_port *p, int fd, const struct sockaddr_storage *ss)
{
	int one = 1;
	char peer[64];

	listen_peer(ss, peer, sizeof peer);
	if (p->conns->n >= p->max_conns) {
		listen_refuse(p, fd, peer);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	(void)conn_new(p->conns, fd, peer);
}

static void listen_pause(struct listen_port *p, int error)
{
	counter_inc(&p->conns->counters->accept_pauses_total);
	conn_complain(p->conns, "cannot accept clients for now error=\"%s\" clients=%zu", strerror(error),
		      p->conns->n);
	loop_io_set(p->conns->loop, &p->io, 0);
	loop_timer_set(p->conns->loop, &p->retry,
		       mono_add_ms(loop_now(p->conns->loop), LISTEN_PAUSE_MS));
}

static bool listen_try_next(int error)
{
	switch (error) {
	case EINTR: case ECONNABORTED: case EPROTO: case ENETDOWN: case ENOPROTOOPT: case EHOSTDOWN:
	case ENONET: case EHOSTUNREACH: case ENETUNREACH: case EOPNOTSUPP: case EPERM:
		return true;          /* that one client's trouble (accept(2), "Error handling") */
	default:
		return false;
	}
}

static void listen_event(void *arg, uint32_t events)
{
	struct listen_port *p = arg;
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	(void)events;
	for (int i = 0; i < LISTEN_ACCEPTS; i++) {
		len = sizeof ss;
		memset(&ss, 0, sizeof ss);
		fd = accept4(p->fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			listen_take(p, fd, &ss);
		} else if (!listen_try_next(errno)) {
			if (errno != EAGAIN)
				listen_pause(p, errno);
			return;
		}
	}
}

static void listen_retry(void *arg)
{
	struct listen_port *p = arg;

	loop_io_set(p->conns->loop, &p->io, EPOLLIN);
}

void listen_start(struct listen_port *p, struct conn_set *conns, int fd, size_t max_conns)
{
	*p = (struct listen_port){.conns = conns, .fd = fd, .max_conns = max_conns};
	loop_timer_init(&p->retry, listen_retry, p);
	loop_io_add(conns->loop, &p->io, fd, EPOLLIN, listen_event, p);
	log_info("ready for clients max_connections=%zu", max_conns);
}

void listen_stop(struct listen_port *p)
{
	if (p->fd < 0)
		return;
	loop_timer_clear(p->conns->loop, &p->retry);
	loop_io_del(p->conns->loop, &p->io);
	(void)close(p->fd);
	p->fd = -1;
}
