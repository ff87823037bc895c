/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/check.h"
#include "client/hello.h"

enum {
	CLIENT_DIAL_MS = 2000,
	CLIENT_DIAL_MIN_MS = 250,      /* a share of the time to dial is not below this */
	CLIENT_READ_MIN_MS = 1000,     /* a read waits this long before another endpoint is tried */
	CLIENT_FLIGHTS = 16
};

struct client {
	struct client_endpoints endpoints;
	struct client_endpoint *at;    /* of conn */
	struct client_conn *conn;
	unsigned dial_timeout_ms;
	uint32_t max_flights;
};

static void error_clear(struct client_error *e)
{
	*e = (struct client_error){.code = ERR_OK};
}

static int error_set(struct client_error *e, int code, enum err_again again, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int error_set(struct client_error *e, int code, enum err_again again, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	e->again = again;
	e->dial = false;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	return code;
}

static void error_at(struct client_error *e, const struct client_endpoint *at)
{
	(void)snprintf(e->endpoint, sizeof e->endpoint, "%s", at != NULL ? at->text : "");
}

int client_open(const struct client_options *o, struct client **out, struct client_error *e)
{
	struct client *c = calloc(1, sizeof *c);
	uint64_t seed = 0;
	char why[512];
	int rc;

	*out = NULL;
	error_clear(e);
	if (c == NULL)
		return error_set(e, ERR_NO_MEMORY, ERR_AGAIN_SAFE, "%s", err_text(ERR_NO_MEMORY));
	if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
		seed = (uint64_t)mono_now().ns;
	rc = client_endpoints_parse(&c->endpoints, o->endpoints ? o->endpoints : "127.0.0.1:2379",
				    CLIENT_LOOKUP, seed, why, sizeof why);
	if (rc != ERR_OK) {
		free(c);
		return error_set(e, rc, ERR_AGAIN_NO, "%s", why);
	}
	c->endpoints.next = o->first % c->endpoints.n;
	c->dial_timeout_ms = o->dial_timeout_ms ? o->dial_timeout_ms : CLIENT_DIAL_MS;
	c->max_flights = o->max_flights ? o->max_flights : CLIENT_FLIGHTS;
	*out = c;
	return ERR_OK;
}

void client_close(struct client **c)
{
	if (*c == NULL)
		return;
	client_conn_close(&(*c)->conn);
	free(*c);
	*c = NULL;
}

void client_disconnect(struct client *c, bool failed)
{
	client_conn_close(&c->conn);
	if (c->at != NULL && failed)
		client_endpoints_failed(&c->endpoints, c->at, mono_now());
	c->at = NULL;
}

const char *client_endpoint_text(const struct client *c)
{
	return c->at != NULL ? c->at->text : "";
}

/* One answer, waited for. */
struct client_wait {
	struct client_flight flight;
	bool done;
	struct client_error *e;
	const struct client_request *request;
	bool began;                             /* the caller's sink has seen something... */
	mono_t heard;                           /* ...last at this time */
	struct client_sink sink;                /* stands before the caller's */
};

static int wait_begin(void *arg, const struct kv_range_result *head)
{
	struct client_wait *w = arg;

	w->began = true;
	w->heard = mono_now();
	return w->request->sink->begin(w->request->sink->arg, head);
}

static int wait_pair(void *arg, const struct kv_pair *pair)
{
	struct client_wait *w = arg;

	w->heard = mono_now();
	return w->request->sink->pair(w->request->sink->arg, pair);
}

/* The result is decoded once more, into memory that stays. */
static void wait_keep(struct client_wait *w, const struct client_reply *reply)
{
	const struct client_request *r = w->request;
	uint8_t *copy;
	struct wire in;
	int rc;

	if (r->arena == NULL || r->sink != NULL)
		return;
	copy = arena_alloc(r->arena, reply->raw.len);
	if (copy == NULL) {
		(void)error_set(w->e, ERR_LIMIT, ERR_AGAIN_NO,
				"the result is too large for its arena");
		return;
	}
	memcpy(copy, reply->raw.data, reply->raw.len);
	in = wire_of(bytes_of(copy, reply->raw.len), WIRE_TOLERANT);
	rc = msg_decode(&in, w->flight.method->result, r->arena, r->result);
	if (rc != ERR_OK)
		(void)error_set(w->e, rc, ERR_AGAIN_NO, "the result: %s", err_text(rc));
}

static void wait_done(struct client_flight *f, const struct client_reply *reply)
{
	struct client_wait *w = f->arg;

	w->done = true;
	if (reply->err != ERR_OK && reply->text.len > 0) {
		(void)error_set(w->e, reply->err, reply->again, "%.*s", (int)reply->text.len,
				(const char *)reply->text.data);
	} else if (reply->err != ERR_OK) {
		(void)error_set(w->e, reply->err, reply->again, "%s", err_text(reply->err));
	} else {
		wait_keep(w, reply);
	}
}

/*
 * Sends one request on a connection and waits. If the deadline passes the connection must be
 * closed, which ends the flight, before `w` goes away.
 */
static void wait_on(struct client_conn *conn, struct client_wait *w, const char *method,
		   const void *params, mono_t deadline)
{
	int64_t span = mono_sub_ns(deadline, mono_now());
	int rc;

	w->flight.method = native_method_find(bytes_str(method));
	w->flight.done = wait_done;
	w->flight.arg = w;
	CHECK(w->flight.method != NULL);
	rc = client_conn_send(conn, &w->flight, params);
	if (rc != ERR_OK) {
		w->done = true;
		(void)error_set(w->e, rc,
				rc == ERR_REQUEST_TOO_LARGE ? ERR_AGAIN_NO : ERR_AGAIN_SAFE,
				"%s", err_text(rc));
		return;
	}
	(void)client_conn_turn(conn);
	while (!w->done && mono_before(mono_now(), deadline)) {
		(void)client_conn_wait(conn, deadline);
		if (w->began)
			deadline = mono_add_ns(w->heard, span);
	}
}

static int client_dial(struct client *c, struct client_endpoint *at, mono_t deadline,
		       struct client_error *e)
{
	struct client_hello hello;
	struct client_conn *conn;
	char why[LIMIT_CLIENT_ERROR_BYTES];
	int rc = client_conn_open((const struct sockaddr *)&at->addr, at->addr_len,
				  c->max_flights, &conn);

	if (rc != ERR_OK)
		return error_set(e, rc, ERR_AGAIN_SAFE, "%s", err_text(rc));
	rc = client_hello_send(conn, &hello);
	(void)client_conn_turn(conn);
	while (rc == ERR_OK && !hello.done && mono_before(mono_now(), deadline))
		(void)client_conn_wait(conn, deadline);
	if (rc == ERR_OK && client_hello_good(&hello)) {
		c->conn = conn;
		c->at = at;
		return ERR_OK;
	}
	client_hello_why(conn, &hello, why, sizeof why);
	client_conn_close(&conn);
	(void)error_set(e, ERR_CLOSED, ERR_AGAIN_SAFE, "%s", why);
	e->dial = true;
	return e->code;
}

static void client_sleep_until(mono_t t)
{
	int64_t ms = mono_sub_ms(t, mono_now()) + 1;

	if (ms > 0)
		(void)poll(NULL, 0, (int)(ms < CLIENT_BACKOFF_MAX_MS ? ms : CLIENT_BACKOFF_MAX_MS));
}

/* One endpoint's share of the time there is for all. */
static mono_t client_dial_deadline(const struct client *c, mono_t deadline)
{
	unsigned ms = c->dial_timeout_ms / (unsigned)c->endpoints.n;

	if (ms < CLIENT_DIAL_MIN_MS)
		ms = CLIENT_DIAL_MIN_MS;
	return mono_min(deadline, mono_add_ms(mono_now(), ms));
}

int client_connect(struct client *c, mono_t deadline, struct client_conn **conn,
		   struct client_error *e)
{
	mono_t give_up = mono_min(deadline, mono_add_ms(mono_now(), c->dial_timeout_ms)), until;
	size_t tried = 0;

	if (c->conn != NULL && client_conn_err(c->conn) != ERR_OK)
		client_disconnect(c, true);
	/* Each endpoint gets its turn, and until the time is up another one. */
	while (c->conn == NULL) {
		struct client_endpoint *at = client_endpoints_next(&c->endpoints, mono_now(),
								   &until);

		if (tried > 0 && !mono_before(mono_now(),
					      tried < c->endpoints.n ? deadline : give_up))
			return e->code;
		if (at == NULL) {
			client_sleep_until(mono_min(until, deadline));
			if (tried == 0) {   /* even if all are resting there is an end */
				(void)error_set(e, ERR_CLOSED, ERR_AGAIN_SAFE,
						"no endpoint can be reached");
				e->dial = true;
				tried = 1;
			}
			continue;
		}
		tried++;
		error_clear(e);
		error_at(e, at);
		if (client_dial(c, at, client_dial_deadline(c, deadline), e) == ERR_OK)
			client_endpoints_good(&c->endpoints, at);
		else
			client_endpoints_failed(&c->endpoints, at, mono_now());
	}
	error_clear(e);
	*conn = c->conn;
	return ERR_OK;
}

/* A read need not wait for one silent server while there are others to ask. */
static mono_t client_try_deadline(const struct client *c, bool read, mono_t deadline)
{
	int64_t left = mono_sub_ms(deadline, mono_now());

	if (!read || c->endpoints.n == 1)
		return deadline;
	left = left / 2 > CLIENT_READ_MIN_MS ? left / 2 : CLIENT_READ_MIN_MS;
	return mono_min(deadline, mono_add_ms(mono_now(), left));
}

/* One try on the connection there is. */
static void client_try(struct client *c, const struct client_request *r, mono_t deadline,
		       struct client_wait *w)
{
	wait_on(c->conn, w, r->method, r->params, deadline);
	if (w->done)
		return;
	client_disconnect(c, true);   /* an answer that comes now finds nobody: said by wait_done */
	w->e->code = ERR_TIMEOUT;
	(void)snprintf(w->e->text, sizeof w->e->text, "no answer in time");
}

int client_call(struct client *c, const struct client_request *r, mono_t deadline,
		struct client_error *e)
{
	bool read = client_is_read(r->method, r->params);
	struct client_error last;

	error_clear(e);
	for (;;) {
		struct client_wait w = {.e = e, .request = r};
		struct client_conn *conn;

		last = *e;
		if (client_connect(c, deadline, &conn, e) != ERR_OK) {
			if (last.code != ERR_OK)   /* what a server said tells more */
				*e = last;
			return e->code;
		}
		error_at(e, c->at);
		w.sink = (struct client_sink){wait_begin, wait_pair, &w};
		w.flight.sink = r->sink != NULL ? &w.sink : NULL;
		client_try(c, r, client_try_deadline(c, read, deadline), &w);
		if (e->code == ERR_OK)
			return ERR_OK;
		if (w.began || !client_may_repeat(e->code, e->again, read) || !mono_before(mono_now(), deadline))
			return e->code;
		client_disconnect(c, true);
	}
}
