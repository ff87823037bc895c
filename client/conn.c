/* SPDX-License-Identifier: Apache-2.0 */
#include "client/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"

enum {
	CONN_READ_BYTES = 256 * 1024,   /* asked of the kernel at a time */
	CONN_READS = 16,                /* of one turn, so that others get theirs */
	CONN_ID_BITS = 16,              /* of an id: the slot; the rest changes with each use */
	CONN_KEEP_BYTES = 1024 * 1024   /* buffers above this size are given back when empty */
};
_Static_assert(LIMIT_CLIENT_INFLIGHT <= 1u << CONN_ID_BITS, "a slot's number fits an id");

struct conn_slot {
	struct client_flight *flight;   /* NULL: free */
	uint16_t uses;                  /* upper half of the id: a late answer finds nobody */
	uint32_t next_free;
};

struct client_conn {
	int fd;
	int err, sys_err;
	bool connecting;
	struct buf in, out;
	size_t out_pos;                 /* of out: written */
	uint64_t queued_total, written_total, read_total;
	struct client_reader reader;
	void (*notice)(void *arg, const struct native_notification *n, const void *params);
	void *notice_arg;
	struct conn_slot *slots;
	uint32_t n_slots, n_fresh, first_free, flights;   /* n_fresh: slots used at least once */
};

enum { CONN_NO_SLOT = UINT32_MAX };

static struct client_flight *conn_find(void *arg, uint32_t id)
{
	struct client_conn *c = arg;
	uint32_t slot = id & ((1u << CONN_ID_BITS) - 1);

	if (slot >= c->n_fresh || c->slots[slot].uses != id >> CONN_ID_BITS)
		return NULL;
	return c->slots[slot].flight;
}

static uint32_t conn_take_slot(struct client_conn *c)
{
	uint32_t i = c->first_free;

	if (i != CONN_NO_SLOT) {
		c->first_free = c->slots[i].next_free;
		return i;
	}
	return c->n_fresh < c->n_slots ? c->n_fresh++ : CONN_NO_SLOT;
}

static void conn_free_slot(struct client_conn *c, uint32_t i)
{
	c->slots[i].flight = NULL;
	c->slots[i].uses++;
	c->slots[i].next_free = c->first_free;
	c->first_free = i;
	c->flights--;
}

static void conn_finish(void *arg, struct client_flight *f, const struct client_reply *reply)
{
	struct client_conn *c = arg;

	CHECK(f->slot < c->n_fresh && c->slots[f->slot].flight == f);
	conn_free_slot(c, f->slot);
	f->done(f, reply);
}

static void conn_notice(void *arg, const struct native_notification *n, const void *params)
{
	struct client_conn *c = arg;

	c->notice(c->notice_arg, n, params);
}

void client_conn_notices(struct client_conn *c,
			 void (*fn)(void *arg, const struct native_notification *n, const void *params),
			 void *arg)
{
	c->notice = fn;
	c->notice_arg = arg;
	c->reader.notice = fn != NULL ? conn_notice : NULL;
}

static int conn_fail(struct client_conn *c, int err, int sys_err)
{
	if (c->err != ERR_OK)
		return c->err;
	c->err = err;
	c->sys_err = sys_err;
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	for (uint32_t i = 0; i < c->n_fresh; i++) {
		struct client_flight *f = c->slots[i].flight;
		struct client_reply reply = {.err = err};

		if (f == NULL)
			continue;
		reply.again = f->end <= c->written_total ? ERR_AGAIN_UNSURE : ERR_AGAIN_SAFE;
		conn_finish(c, f, &reply);
	}
	return err;
}

static int conn_socket(const struct sockaddr *addr, socklen_t len, struct client_conn *c)
{
	int one = 1;

	c->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return conn_fail(c, ERR_IO, errno);
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	if (connect(c->fd, addr, len) == 0)
		return ERR_OK;
	if (errno != EINPROGRESS)
		return conn_fail(c, ERR_CLOSED, errno);
	c->connecting = true;
	return ERR_OK;
}

int client_conn_open(const struct sockaddr *addr, socklen_t len, uint32_t max_flights,
		     struct client_conn **out)
{
	struct client_conn *c = calloc(1, sizeof *c);

	*out = NULL;
	CHECK(max_flights >= 1 && max_flights <= LIMIT_CLIENT_INFLIGHT);
	if (c == NULL)
		return ERR_NO_MEMORY;
	c->slots = calloc(max_flights, sizeof *c->slots);
	if (c->slots == NULL) {
		free(c);
		return ERR_NO_MEMORY;
	}
	c->fd = -1;
	c->n_slots = max_flights;
	c->first_free = CONN_NO_SLOT;
	buf_init(&c->in, LIMIT_CLIENT_RESPONSE_BYTES + 2 * (size_t)CONN_READ_BYTES);
	buf_init(&c->out, LIMIT_CLIENT_QUEUE_BYTES);
	client_reader_init(&c->reader);
	c->reader.find = conn_find;
	c->reader.finish = conn_finish;
	c->reader.arg = c;
	(void)conn_socket(addr, len, c);
	*out = c;
	return ERR_OK;
}

void client_conn_close(struct client_conn **cp)
{
	struct client_conn *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	(void)conn_fail(c, ERR_CLOSED, 0);
	client_reader_free(&c->reader);
	buf_free(&c->in);
	buf_free(&c->out);
	free(c->slots);
	free(c);
}

/* Room at the front is given back before it counts against the limit. */
static void conn_compact(struct client_conn *c)
{
	if (c->out_pos == c->out.len) {
		buf_clear(&c->out);
		buf_shrink(&c->out, CONN_KEEP_BYTES);
		c->out_pos = 0;
	} else if (c->out_pos > c->out.len / 2) {
		buf_consume(&c->out, c->out_pos);
		c->out_pos = 0;
	}
}

/* The params as a struct, or encoded already. */
static int conn_encode(struct client_conn *c, uint32_t id, const struct client_flight *f,
		       const void *params, struct bytes encoded)
{
	size_t start = c->out.len, len;
	int rc = ERR_OK;

	wire_array(&c->out, 4);
	wire_u64(&c->out, NATIVE_REQUEST);
	wire_u64(&c->out, id);
	wire_cstr(&c->out, f->method->name);
	if (params != NULL)
		rc = msg_encode(&c->out, f->method->params, params);
	else
		buf_add_bytes(&c->out, encoded);
	rc = rc == ERR_OK ? c->out.err : rc;
	len = c->out.len - start;
	if (rc == ERR_OK && len <= LIMIT_REQUEST_BYTES)
		return ERR_OK;
	c->out.len = start;
	c->out.err = ERR_OK;
	if (rc == ERR_NO_MEMORY)
		return rc;
	/* The queue was full, unless it was empty or the request alone is over the limit. */
	return rc == ERR_LIMIT && start > 0 ? ERR_FULL : ERR_REQUEST_TOO_LARGE;
}

static int conn_queue(struct client_conn *c, struct client_flight *f, const void *params,
		      struct bytes encoded)
{
	uint32_t slot, id;
	size_t before;
	int rc;

	if (c->err != ERR_OK)
		return ERR_CLOSED;
	if (c->flights == c->n_slots)
		return ERR_FULL;
	conn_compact(c);
	before = c->out.len;
	slot = conn_take_slot(c);
	CHECK(slot != CONN_NO_SLOT);
	id = (uint32_t)c->slots[slot].uses << CONN_ID_BITS | slot;
	c->flights++;
	rc = conn_encode(c, id, f, params, encoded);
	if (rc != ERR_OK) {
		conn_free_slot(c, slot);
		return rc;
	}
	c->queued_total += c->out.len - before;
	c->slots[slot].flight = f;
	f->slot = slot;
	f->end = c->queued_total;
	return ERR_OK;
}

int client_conn_send(struct client_conn *c, struct client_flight *f, const void *params)
{
	return conn_queue(c, f, params, bytes_of(NULL, 0));
}

int client_conn_send_encoded(struct client_conn *c, struct client_flight *f, struct bytes params)
{
	return conn_queue(c, f, NULL, params);
}

static int conn_connected(struct client_conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int err = 0;

	if (poll(&p, 1, 0) != 1)
		return ERR_TRUNCATED;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err != 0)
		return conn_fail(c, ERR_CLOSED, err);
	c->connecting = false;
	return ERR_OK;
}

static int conn_read(struct client_conn *c);

/* A server that refuses may have said why before it closed: its words are read first. */
static int conn_write_failed(struct client_conn *c, int sys_err)
{
	(void)conn_read(c);
	return conn_fail(c, ERR_CLOSED, sys_err);
}

static int conn_write(struct client_conn *c)
{
	while (c->out_pos < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->out_pos, c->out.len - c->out_pos,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return ERR_OK;
		if (n < 0)
			return conn_write_failed(c, errno);
		c->out_pos += (size_t)n;
		c->written_total += (uint64_t)n;
	}
	conn_compact(c);
	return ERR_OK;
}

/* What is left after a read is the beginning of one part of an answer. */
static int conn_parse(struct client_conn *c)
{
	size_t used = 0;
	int rc = client_reader_on(&c->reader, buf_bytes(&c->in), &used);

	if (rc != ERR_OK)
		return conn_fail(c, rc, 0);
	buf_consume(&c->in, used);
	if (c->in.len == 0)
		buf_shrink(&c->in, CONN_KEEP_BYTES);
	return ERR_OK;
}

static int conn_read(struct client_conn *c)
{
	for (int i = 0; i < CONN_READS; i++) {
		void *to = buf_reserve(&c->in, CONN_READ_BYTES);
		ssize_t n;
		int rc;

		if (to == NULL)
			return conn_fail(c, c->in.err, 0);
		n = recv(c->fd, to, CONN_READ_BYTES, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return ERR_OK;
		if (n <= 0)
			return conn_fail(c, ERR_CLOSED, n < 0 ? errno : 0);
		c->in.len += (size_t)n;
		c->read_total += (uint64_t)n;
		rc = conn_parse(c);
		if (rc != ERR_OK || n < CONN_READ_BYTES / 2)
			return rc;
	}
	return ERR_OK;
}

int client_conn_turn(struct client_conn *c)
{
	int rc = c->err;

	if (rc == ERR_OK && c->connecting) {
		rc = conn_connected(c);
		if (rc == ERR_TRUNCATED)
			return ERR_OK;
	}
	if (rc == ERR_OK)
		rc = conn_write(c);
	if (rc == ERR_OK)
		rc = conn_read(c);
	return rc;
}

int client_conn_wait(struct client_conn *c, mono_t deadline)
{
	struct pollfd p = {.fd = c->fd, .events = client_conn_events(c)};
	int64_t ms = (mono_sub_ns(deadline, mono_now()) + 999999) / 1000000;

	if (c->err != ERR_OK)
		return c->err;
	ms = ms < 0 ? 0 : ms > 60000 ? 60000 : ms;
	(void)poll(&p, 1, (int)ms);
	return client_conn_turn(c);
}

int client_conn_fd(const struct client_conn *c)
{
	return c->fd;
}

short client_conn_events(const struct client_conn *c)
{
	if (c->connecting)
		return POLLOUT;
	return c->out_pos < c->out.len ? POLLIN | POLLOUT : POLLIN;
}

int client_conn_err(const struct client_conn *c)
{
	return c->err;
}

struct bytes client_conn_words(const struct client_conn *c)
{
	return bytes_of(c->reader.text, c->reader.last_word ? c->reader.text_len : 0);
}

int client_conn_errno(const struct client_conn *c)
{
	return c->sys_err;
}

bool client_conn_connected(const struct client_conn *c)
{
	return !c->connecting && c->err == ERR_OK;
}

uint32_t client_conn_flights(const struct client_conn *c)
{
	return c->flights;
}

size_t client_conn_queued(const struct client_conn *c)
{
	return c->out.len - c->out_pos;
}

uint64_t client_conn_heard(const struct client_conn *c)
{
	return c->read_total;
}
