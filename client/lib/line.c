/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/lib/io.h"
#include "client/lib/watch.h"

static struct client_endpoint *line_endpoint(struct line *l)
{
	struct client_endpoints *e = &l->io->endpoints;

	for (size_t i = 0; i < e->n; i++)
		if (client_endpoint_same(&e->v[i], &l->at))
			return &e->v[i];
	return NULL;                   /* the name has another address by now */
}

static void line_endpoint_failed(struct line *l)
{
	struct client_endpoint *at = line_endpoint(l);

	if (at != NULL)
		client_endpoints_failed(&l->io->endpoints, at, l->io->now);
}

void line_proven(struct line *l)
{
	struct client_endpoint *at = l->proven ? NULL : line_endpoint(l);

	l->proven = true;
	if (at != NULL)
		client_endpoints_good(&l->io->endpoints, at);
}

static void line_say_why(struct io *io, const struct client_endpoint *at, const char *why)
{
	(void)lib_error(&io->why, ERR_CLOSED, ERR_AGAIN_SAFE, "%s", why);
	lib_error_at(&io->why, at->text);
}

static void line_free(struct line *l)
{
	if (l->io->main == l)
		l->io->main = NULL;
	if (l->use == LINE_WATCHES)
		watch_io_lost(l->io, l);
	leader_line_gone(l->io, l);
	list_remove(&l->node);
	l->broken = true;
	client_conn_close(&l->conn);   /* whose flights end here */
	free(l);
}

void line_close(struct line *l, const char *why)
{
	struct io *io = l->io;

	if (why != NULL) {
		line_endpoint_failed(l);
		line_say_why(io, &l->at, why);
		io_due(io, io->now);
	}
	line_free(l);
}

struct line *line_open(struct io *io, const struct client_endpoint *at, enum line_use use)
{
	struct line *l = calloc(1, sizeof *l);
	int rc = l == NULL ? ERR_NO_MEMORY : ERR_OK;
	uint32_t flights = use == LINE_CALLS || use == LINE_CANDIDATE ? IO_FLIGHTS : IO_FLIGHTS_FEW;
	char why[LIMIT_CLIENT_ERROR_BYTES];

	if (rc == ERR_OK) {
		l->io = io;
		l->use = use;
		l->at = *at;
		l->heard = io->now;
		list_init(&l->node);
		rc = client_conn_open((const struct sockaddr *)&at->addr, at->addr_len,
				      flights, &l->conn);
	}
	if (rc == ERR_OK)
		rc = client_hello_send(l->conn, &l->hello);
	if (rc == ERR_OK) {
		l->dial_until = mono_add_ms(io->now, io->core->o.dial_timeout_ms);
		io_due(io, l->dial_until);
		list_push(&io->lines, &l->node);
		return l;
	}
	client_endpoints_failed(&io->endpoints, &io->endpoints.v[at - io->endpoints.v], io->now);
	if (rc == ERR_CLOSED)          /* at once: the system has said why */
		client_hello_why(l->conn, &l->hello, why, sizeof why);
	line_say_why(io, at, rc == ERR_CLOSED ? why : err_text(rc));
	if (l != NULL)
		client_conn_close(&l->conn);
	free(l);
	return NULL;
}

void line_leave(struct line *l, bool failed)
{
	if (failed)
		line_endpoint_failed(l);
	if (l->io->main == l)
		l->io->main = NULL;
	l->state = LINE_DRAINING;
	io_due(l->io, l->io->now);
}

static bool line_dialled(struct line *l)
{
	char why[LIMIT_CLIENT_ERROR_BYTES];

	if (client_hello_good(&l->hello)) {
		l->state = LINE_READY;
		l->heard = l->io->now;
		io_due(l->io, l->io->now);
		return true;
	}
	client_hello_why(l->conn, &l->hello, why, sizeof why);
	line_close(l, why);
	return false;
}

bool line_turn(struct line *l)
{
	uint64_t before = client_conn_heard(l->conn);
	int rc = client_conn_turn(l->conn);
	char why[LIMIT_CLIENT_ERROR_BYTES];
	struct bytes words;

	if (client_conn_heard(l->conn) != before)
		l->heard = l->io->now;
	if (l->state == LINE_DIALING && (l->hello.done || rc != ERR_OK))
		return line_dialled(l);
	if (rc == ERR_OK)
		return true;
	words = client_conn_words(l->conn);
	(void)snprintf(why, sizeof why, "%.*s", (int)words.len, (const char *)words.data);
	line_close(l, words.len > 0 ? why : rc == ERR_CLOSED ? "the connection was closed" : err_text(rc));
	return false;
}

/* ---- is it still there? ---- */

static void line_pong(struct client_flight *f, const struct client_reply *reply)
{
	struct line *l = f->arg;

	(void)reply;
	l->pinging = false;
}

/* It owes an answer, or has watches: silent for a while it is asked, and must say something. */
static bool line_alive(struct line *l)
{
	static const struct native_empty nothing = {0};
	struct io *io = l->io;
	int64_t quiet_ms = l->use == LINE_WATCHES ? IO_QUIET_WATCHES_MS : IO_QUIET_MS;
	bool later = l->pinging && mono_before(l->heard, l->pinged);
	mono_t until = mono_add_ms(later ? l->pinged : l->heard,
				   l->pinging ? io->core->o.dial_timeout_ms : quiet_ms);

	if (mono_before(io->now, until)) {
		io_due(io, until);
		return true;
	}
	if (l->pinging) {
		line_close(l, "the server does not answer any more");
		return false;
	}
	l->ping = (struct client_flight){.method = native_method_find(bytes_str("version")),
					 .done = line_pong, .arg = l};
	CHECK(l->ping.method != NULL);
	l->pinging = client_conn_send(l->conn, &l->ping, &nothing) == ERR_OK;
	l->pinged = io->now;
	if (!l->pinging)
		l->heard = io->now;    /* no room to ask just now */
	io_due(io, mono_add_ms(io->now, l->pinging ? io->core->o.dial_timeout_ms : quiet_ms));
	return true;
}

bool line_timer(struct line *l)
{
	struct io *io = l->io;
	mono_t idle = mono_add_ms(l->heard, IO_IDLE_MS);

	if (l->state == LINE_DIALING && !mono_before(io->now, l->dial_until)) {
		return line_dialled(l);
	} else if (l->state == LINE_DIALING) {
		io_due(io, l->dial_until);
		return true;
	}
	if (client_conn_flights(l->conn) > 0 || l->use == LINE_WATCHES)
		return line_alive(l);
	if (l->state == LINE_DRAINING || (l->use == LINE_PINNED && !mono_before(io->now, idle))) {
		line_close(l, NULL);
		return false;
	}
	if (l->use == LINE_PINNED)
		io_due(io, idle);
	return true;
}
