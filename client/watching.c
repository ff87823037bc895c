/* SPDX-License-Identifier: Apache-2.0 */
#include "client/watching.h"

#include <poll.h>

#include "base/check.h"

enum {
	WATCHING_QUIET_MS = 5000,      /* silent for so long: is the server still there? */
	WATCHING_ANSWER_MS = 5000,     /* and so long it has to say so */
	WATCHING_DIAL_MS = 1000,       /* of one turn: others of the owner's business go on */
	WATCHING_PAUSE_MS = 100        /* after a refusal that may pass */
};

static void watching_lost(struct client_watching *g, const char *why)
{
	if (g->lost != NULL && !g->told_lost)
		g->lost(g->arg, why);
	g->told_lost = true;
}

/* Flights in the air end now, and what was registered is to be registered again. */
static void watching_drop(struct client_watching *g, const char *why)
{
	client_watches_detach(g->watches);
	g->conn = NULL;
	client_disconnect(g->client, true);
	g->pinging = false;
	watching_lost(g, why);
}

static void watching_sleep(int ms)
{
	(void)poll(NULL, 0, ms);
}

static bool watching_connect(struct client_watching *g, mono_t deadline)
{
	struct client_error e;

	if (g->conn != NULL)
		return true;
	deadline = mono_min(deadline, mono_add_ms(mono_now(), WATCHING_DIAL_MS));
	if (client_connect(g->client, deadline, &g->conn, &e) != ERR_OK) {
		g->conn = NULL;
		watching_lost(g, e.text);
		watching_sleep(WATCHING_PAUSE_MS);
		return false;
	}
	client_watches_attach(g->watches, g->conn);
	g->heard = mono_now();
	return true;
}

static void watching_pong(struct client_flight *f, const struct client_reply *reply)
{
	struct client_watching *g = f->arg;

	(void)reply;
	g->pinging = false;
}

/* A server that has gone without a word is found out by a question. */
static bool watching_alive(struct client_watching *g)
{
	static const struct native_empty hello = {0};
	mono_t now = mono_now();
	int64_t silent;

	if (g->bytes != client_conn_heard(g->conn))
		g->heard = now;
	g->bytes = client_conn_heard(g->conn);
	silent = mono_sub_ms(now, g->heard);
	if (silent >= WATCHING_QUIET_MS && !g->pinging) {
		g->ping = (struct client_flight){.method = native_method_find(bytes_str("version")),
						 .done = watching_pong, .arg = g};
		CHECK(g->ping.method != NULL);
		g->pinging = client_conn_send(g->conn, &g->ping, &hello) == ERR_OK;
	}
	return silent < WATCHING_QUIET_MS + WATCHING_ANSWER_MS;
}

static void watching_wait(struct client_watching *g, int more_fd, mono_t deadline)
{
	mono_t until = mono_min(deadline, mono_add_ms(mono_now(), WATCHING_QUIET_MS / 5));
	int64_t ms = (mono_sub_ns(until, mono_now()) + 999999) / 1000000;
	struct pollfd p[2] = {{.fd = client_conn_fd(g->conn), .events = client_conn_events(g->conn)},
			      {.fd = more_fd, .events = POLLIN}};

	(void)poll(p, 2, ms < 0 ? 0 : (int)ms);
}

void client_watching_turn(struct client_watching *g, int more_fd, mono_t deadline)
{
	if (!watching_connect(g, deadline))
		return;
	client_watches_work(g->watches);
	if (client_conn_turn(g->conn) == ERR_OK)
		watching_wait(g, more_fd, deadline);
	if (client_conn_turn(g->conn) != ERR_OK) {
		watching_drop(g, "the connection was lost");
	} else if (client_watches_refused(g->watches)) {
		watching_sleep(WATCHING_PAUSE_MS);
		watching_drop(g, "the server cannot begin a watch just now");
	} else if (!watching_alive(g)) {
		watching_drop(g, "the server does not answer");
	} else {
		g->told_lost = false;
	}
	client_watches_work(g->watches);   /* those that have ended are forgotten */
}

void client_watching_end(struct client_watching *g)
{
	if (g->conn != NULL) {
		client_watches_detach(g->watches);
		client_disconnect(g->client, false);
	}
	client_watches_close(&g->watches);
}
