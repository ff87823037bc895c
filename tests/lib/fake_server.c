/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fake_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "client/scan.h"

enum { FAKE_CONNS = 64, FAKE_READ = 65536 };

struct fake_conn {
	int fd;
	struct buf in, out;
	struct client_scan scan;
};

struct fake_server {
	struct fake_setup setup;
	int listen_fd, stop[2];
	char endpoint[64];
	struct fake_conn conns[FAKE_CONNS];
	struct arena arena;
	pthread_t thread;
	atomic_uint requests, accepted;
};

static int fake_listen(char *text, size_t len)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t alen = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
	CHECK(listen(fd, 64) == 0 && getsockname(fd, (struct sockaddr *)&a, &alen) == 0);
	(void)snprintf(text, len, "127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
	return fd;
}

void fake_dead_endpoint(char *text, size_t len)
{
	(void)close(fake_listen(text, len));
}

void fake_bytes(struct fake_conn *c, struct bytes raw)
{
	buf_add_bytes(&c->out, raw);
}

static void fake_head(struct fake_conn *c, const struct fake_request *r)
{
	wire_array(&c->out, 4);
	wire_u64(&c->out, NATIVE_RESPONSE);
	wire_u64(&c->out, r->id);
}

void fake_result(struct fake_conn *c, const struct fake_request *r, const void *result)
{
	fake_head(c, r);
	wire_nil(&c->out);
	(void)msg_encode(&c->out, r->method->result, result);
}

void fake_error(struct fake_conn *c, const struct fake_request *r, int code, const char *text,
		unsigned again)
{
	fake_head(c, r);
	wire_array(&c->out, 3);
	wire_u64(&c->out, (uint64_t)code);
	wire_cstr(&c->out, text);
	wire_u64(&c->out, again);
	wire_nil(&c->out);
}

bool fake_flush(struct fake_conn *c)
{
	size_t done = 0;

	while (done < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + done, c->out.len - done, MSG_NOSIGNAL);

		if (n <= 0 && errno != EINTR)
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	buf_clear(&c->out);
	return true;
}

static void fake_drop(struct fake_conn *c)
{
	(void)close(c->fd);
	c->fd = -1;
	buf_free(&c->in);
	buf_free(&c->out);
}

static bool fake_serve(struct fake_server *f, struct fake_conn *c, struct bytes message)
{
	struct native_version_result version = {bytes_str("fake"), 1};
	struct fake_request r = {0};
	struct wire w = wire_of(message, WIRE_LENIENT);
	void *params;

	arena_reset(&f->arena);
	(void)wire_get_array(&w);
	(void)wire_get_u64(&w);
	r.id = (uint32_t)wire_get_u64(&w);
	r.method = native_method_find(wire_get_str(&w));
	if (w.c.err != ERR_OK || r.method == NULL)
		return false;
	params = arena_alloc(&f->arena, r.method->params->size);
	if (msg_decode(&w, r.method->params, &f->arena, params) != ERR_OK || wire_end(&w) != ERR_OK)
		return false;
	r.params = params;
	if (strcmp(r.method->name, "version") == 0 && !f->setup.own_version) {
		fake_result(c, &r, &version);
		return true;
	}
	r.number = atomic_fetch_add(&f->requests, 1);
	return f->setup.serve(f->setup.arg, c, &r);
}

static bool fake_read(struct fake_server *f, struct fake_conn *c)
{
	void *to = buf_reserve(&c->in, FAKE_READ);
	ssize_t n = recv(c->fd, to, FAKE_READ, 0);
	bool go_on = n > 0;
	size_t len;

	c->in.len += n > 0 ? (size_t)n : 0;
	while (go_on && client_scan_on(&c->scan, buf_bytes(&c->in), SIZE_MAX / 4, &len) == ERR_OK) {
		go_on = fake_serve(f, c, bytes_of(c->in.data, len));
		buf_consume(&c->in, len);
		client_scan_start(&c->scan, 1);
	}
	return fake_flush(c) && go_on;
}

static void fake_accept(struct fake_server *f)
{
	int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	atomic_fetch_add(&f->accepted, 1);
	for (size_t i = 0; i < FAKE_CONNS; i++) {
		struct fake_conn *c = &f->conns[i];

		if (c->fd >= 0)
			continue;
		c->fd = fd;
		buf_init(&c->in, 0);
		buf_init(&c->out, 0);
		client_scan_start(&c->scan, 1);
		return;
	}
	(void)close(fd);
}

static bool fake_turn(struct fake_server *f)
{
	struct pollfd p[FAKE_CONNS + 2];

	for (size_t i = 0; i < FAKE_CONNS; i++)
		p[i] = (struct pollfd){.fd = f->setup.deaf ? -1 : f->conns[i].fd, .events = POLLIN};
	p[FAKE_CONNS] = (struct pollfd){.fd = f->listen_fd, .events = POLLIN};
	p[FAKE_CONNS + 1] = (struct pollfd){.fd = f->stop[0], .events = POLLIN};
	(void)poll(p, FAKE_CONNS + 2, -1);
	if (p[FAKE_CONNS + 1].revents)
		return false;
	for (size_t i = 0; i < FAKE_CONNS; i++)
		if (p[i].revents && !fake_read(f, &f->conns[i]))
			fake_drop(&f->conns[i]);
	if (p[FAKE_CONNS].revents)
		fake_accept(f);
	return true;
}

static void *fake_run(void *arg)
{
	struct fake_server *f = arg;

	while (fake_turn(f))
		continue;
	return NULL;
}

struct fake_server *fake_start(const struct fake_setup *s)
{
	struct fake_server *f = calloc(1, sizeof *f);

	CHECK(f != NULL && pipe(f->stop) == 0);
	f->setup = *s;
	f->listen_fd = fake_listen(f->endpoint, sizeof f->endpoint);
	for (size_t i = 0; i < FAKE_CONNS; i++)
		f->conns[i].fd = -1;
	arena_init(&f->arena, 64 * MIB);
	CHECK(pthread_create(&f->thread, NULL, fake_run, f) == 0);
	return f;
}

void fake_stop(struct fake_server **fp)
{
	struct fake_server *f = *fp;

	if (f == NULL)
		return;
	*fp = NULL;
	CHECK(write(f->stop[1], "x", 1) == 1);
	pthread_join(f->thread, NULL);
	for (size_t i = 0; i < FAKE_CONNS; i++)
		if (f->conns[i].fd >= 0)
			fake_drop(&f->conns[i]);
	(void)close(f->listen_fd);
	(void)close(f->stop[0]);
	(void)close(f->stop[1]);
	arena_free(&f->arena);
	free(f);
}

const char *fake_endpoint(const struct fake_server *f)
{
	return f->endpoint;
}

unsigned fake_requests(const struct fake_server *f)
{
	return atomic_load(&f->requests);
}

unsigned fake_accepted(const struct fake_server *f)
{
	return atomic_load(&f->accepted);
}
