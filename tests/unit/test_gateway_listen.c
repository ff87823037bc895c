/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "gatewayd/listen.h"
#include "tests/lib/rpc_peer.h"
#include "tests/lib/tap.h"

struct world {
	struct loop *loop;
	struct conn_set set;
	struct gatewayd_counters counters;
	struct loop_hook hook;
	struct listen_port port;
	struct sockaddr_in addr;
	char address[32];
	unsigned turns;
};

static void on_request(void *arg, struct conn *c, const struct rpc_request *r)
{
	(void)arg;
	conn_answer_error(c, r->id, ERR_UNKNOWN_METHOD);
}

static void on_other(void *arg, struct conn *c)
{
	(void)arg;
	(void)c;
}

static const struct conn_ops ops = {on_request, on_other, on_other, NULL};

static void on_turn_end(void *arg)
{
	struct world *w = arg;

	w->turns++;
	conn_set_input(&w->set);
	conn_set_output(&w->set);
}

static struct world *world_new(size_t max_conns)
{
	struct world *w = mem_alloc(sizeof *w);
	socklen_t len = sizeof w->addr;
	const char *why;
	int fd = listen_socket("127.0.0.1:0", true, &why);

	log_set_level(LOG_ERROR);
	OK(fd >= 0);
	EQ_INT(getsockname(fd, (struct sockaddr *)&w->addr, &len), 0);
	(void)snprintf(w->address, sizeof w->address, "127.0.0.1:%u", ntohs(w->addr.sin_port));
	w->loop = loop_new();
	gatewayd_counters_init(&w->counters);
	conn_set_init(&w->set, w->loop, &ops, w, &w->counters);
	loop_hook_add(w->loop, &w->hook, on_turn_end, w);
	listen_start(&w->port, &w->set, fd, max_conns);
	return w;
}

static void world_free(struct world *w)
{
	listen_stop(&w->port);
	conn_set_free(&w->set);
	loop_free(w->loop);
	mem_free(w);
}

static void join(const struct world *w, struct rpc_peer *p)
{
	memset(p, 0, sizeof *p);
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	OK(p->fd >= 0);
	EQ_INT(connect(p->fd, (const struct sockaddr *)&w->addr, sizeof w->addr), 0);
	EQ_INT(fcntl(p->fd, F_SETFL, O_NONBLOCK), 0);
	buf_init(&p->out, 0);
	buf_init(&p->in, 0);
}

static bool reply(struct world *w, struct rpc_peer *p, struct rpc_reply *r)
{
	mono_t end = mono_add_ms(mono_now(), 30000);

	while (!rpc_peer_next(p, r)) {
		if (p->closed)
			return false;
		OK(mono_before(mono_now(), end));
		rpc_peer_write(p, 1000);
		loop_turn(w->loop, 1);
		rpc_peer_read(p, 1000);
	}
	return true;
}

TEST(clients_are_accepted)
{
	struct world *w = world_new(10);
	struct rpc_reply r;
	struct rpc_peer p[10];

	for (size_t i = 0; i < 10; i++) {
		join(w, &p[i]);
		rpc_peer_request(&p[i], 3, "x", bytes_of("\x90", 1));
		OK(reply(w, &p[i], &r));
		EQ_INT(r.error, ERR_UNKNOWN_METHOD);
	}
	EQ_INT(w->set.n, 10);
	for (size_t i = 0; i < 10; i++)
		rpc_peer_close(&p[i]);
	while (w->set.n > 0)
		loop_turn(w->loop, 10);
	world_free(w);
}

TEST(one_client_too_many_is_told_so)
{
	struct world *w = world_new(2);
	struct rpc_reply r;
	struct rpc_peer p[3];

	for (size_t i = 0; i < 3; i++)
		join(w, &p[i]);
	OK(reply(w, &p[2], &r));
	OK(r.goodbye);
	EQ_INT(r.error, ERR_TOO_MANY_REQUESTS);
	EQ_INT(r.again, ERR_AGAIN_SAFE);
	OK(!reply(w, &p[2], &r));
	EQ_INT(w->set.n, 2);
	EQ_INT(w->counters.clients_refused_total.value, 1);
	rpc_peer_close(&p[0]);
	rpc_peer_close(&p[2]);
	while (w->set.n > 1)
		loop_turn(w->loop, 10);
	join(w, &p[2]);                 /* now there is room */
	rpc_peer_request(&p[2], 3, "x", bytes_of("\x90", 1));
	OK(reply(w, &p[2], &r));
	OK(!r.goodbye);
	rpc_peer_close(&p[1]);
	rpc_peer_close(&p[2]);
	world_free(w);
}

TEST(without_descriptors_accepting_pauses_and_does_not_spin)
{
	struct world *w = world_new(100);
	struct rlimit saved, none;
	struct rpc_reply r;
	struct rpc_peer p;
	mono_t end;
	unsigned before;

	join(w, &p);
	rpc_peer_request(&p, 3, "x", bytes_of("\x90", 1));
	rpc_peer_write(&p, 1000);
	EQ_INT(getrlimit(RLIMIT_NOFILE, &saved), 0);
	none = (struct rlimit){0, saved.rlim_max};
	EQ_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
	before = w->turns;
	end = mono_add_ms(mono_now(), TAP_PATIENCE_MS);
	while (w->counters.accept_pauses_total.value < 3 && mono_before(mono_now(), end))
		loop_turn(w->loop, 50);
	EQ_INT(setrlimit(RLIMIT_NOFILE, &saved), 0);
	EQ_INT(w->set.n, 0);
	EQ_INT(w->counters.accept_pauses_total.value, 3);
	OK(w->turns - before < 30);
	OK(reply(w, &p, &r));           /* it was only late */
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_port_is_shared_only_by_those_who_say_so)
{
	struct world *w = world_new(10);
	const char *why = "";
	int fd = listen_socket(w->address, true, &why);

	OK(fd >= 0);
	(void)close(fd);
	fd = listen_socket(w->address, false, &why);
	EQ_INT(fd, -1);
	EQ_STR(why, "bind");
	EQ_INT(errno, EADDRINUSE);
	EQ_INT(listen_socket("localhost:1", false, &why), -1);
	EQ_STR(why, "address");
	world_free(w);
}

TEST(the_limit_of_open_files_bounds_connections)
{
	struct rlimit saved, few;

	EQ_INT(getrlimit(RLIMIT_NOFILE, &saved), 0);
	OK(listen_max_conns() <= LIMIT_CLIENT_CONNECTIONS);
	EQ_INT(getrlimit(RLIMIT_NOFILE, &saved), 0);
	OK(saved.rlim_cur == saved.rlim_max);
	few = (struct rlimit){1000, 1000};
	if (saved.rlim_max >= 1000 && setrlimit(RLIMIT_NOFILE, &few) == 0)
		EQ_INT(listen_max_conns(), 1000 - 64);
}

TESTS = {
	T(clients_are_accepted),
	T(one_client_too_many_is_told_so),
	T(without_descriptors_accepting_pauses_and_does_not_spin),
	T(a_port_is_shared_only_by_those_who_say_so),
	T(the_limit_of_open_files_bounds_connections),
};
TAP_MAIN
