/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/lib/io.h"

/* One try of a call on one line. It lives until it is answered, also if nobody waits any more. */
struct shot {
	struct client_flight flight;
	struct client_sink sink;
	struct call *call;             /* NULL: forgotten */
	struct shot *next;             /* of those that are spare */
	struct line *line;
	struct result_box *box;        /* of a range whose pairs are coming */
	int err;                       /* why there will be no result although the answer is good */
};

/* They come and go by the hundred in one turn, which malloc()'s own cache of a thread is too small for. */
static struct shot *shot_make(struct io *io)
{
	struct shot *s = io->spare;

	if (s == NULL)
		return malloc(sizeof *s);
	io->spare = s->next;
	io->n_spare--;
	return s;
}

static void shot_free(struct io *io, struct shot *s)
{
	if (io->n_spare == IO_FLIGHTS) {
		free(s);
		return;
	}
	s->next = io->spare;
	io->spare = s;
	io->n_spare++;
}

void flight_free_spare(struct io *io)
{
	struct shot *s;

	while ((s = io->spare) != NULL) {
		io->spare = s->next;
		free(s);
	}
}

/* ---- a range, pair by pair ---- */

static void shot_fails(struct shot *s, int err)
{
	result_drop(s->box);
	s->box = NULL;
	s->err = err;
}

/* The room that was made for the result, if it is enough and has not been used; else other room. NULL: no memory. */
static struct result_box *shot_box(struct call *c, size_t more)
{
	struct result_box *b = c->box;

	if (b == NULL || more > CALL_RESULT_BYTES)
		return result_make(c->kind, bytes_of(c->view->prefix.data, c->view->prefix.size), more,
				   c->view->core->o.max_result_bytes);
	c->box = NULL;
	return b;
}

static int shot_begin(void *arg, const struct kv_range_result *head)
{
	struct shot *s = arg;
	struct call *c = s->call;
	size_t pairs = head->kvs.n < 64 ? head->kvs.n : 64;
	int rc;

	if (c == NULL)
		return ERR_OK;
	s->box = shot_box(c, pairs > 1 ? pairs * 2 * sizeof(struct quorate_kv) : 0);
	rc = s->box == NULL ? ERR_NO_MEMORY : result_fill(s->box, head);
	if (rc != ERR_OK)
		shot_fails(s, rc);
	return ERR_OK;
}

/* What is too much is passed over, so that others' answers on this line are not lost with it. */
static int shot_pair(void *arg, const struct kv_pair *pair)
{
	struct shot *s = arg;
	int rc;

	if (s->call == NULL || s->box == NULL)
		return ERR_OK;
	rc = result_add_pair(s->box, pair);
	if (rc != ERR_OK)
		shot_fails(s, rc);
	return ERR_OK;
}

/* ---- ends ---- */

void flight_end(struct io *io, struct call *c, int code, enum err_again again, const char *text,
		const char *endpoint)
{
	if (code != ERR_OK && c->handed && !c->request.read)
		again = ERR_AGAIN_UNSURE;
	if (c->request.read && again == ERR_AGAIN_UNSURE)
		again = ERR_AGAIN_SAFE;
	call_say(c, code, again, text, endpoint);
	list_remove(&c->item.node);
	list_push(&io->ended, &c->item.node);
}

void flight_forget(struct call *c)
{
	struct shot *s = c->shot;

	if (s == NULL)
		return;
	s->call = NULL;
	result_drop(s->box);
	s->box = NULL;
	c->shot = NULL;
	c->handed = true;
}

/* It will be asked elsewhere: this node is silent about it. */
void flight_move(struct io *io, struct call *c)
{
	struct line *l = c->shot->line;

	call_say(c, ERR_TIMEOUT, ERR_AGAIN_UNSURE, "no answer in time", l->at.text);
	flight_forget(c);
	if (l == io->main)
		line_leave(l, true);
}

void flight_cancel(struct io *io, struct call *c)
{
	flight_forget(c);
	flight_end(io, c, ERR_CANCELED, ERR_AGAIN_SAFE, NULL, "");
}

void flight_expire(struct io *io, struct call *c)
{
	struct quorate_error last;

	call_error(c, &last);
	if (c->shot != NULL) {
		struct line *l = c->shot->line;
		char at[CLIENT_ENDPOINT_TEXT];

		(void)snprintf(at, sizeof at, "%s", l->at.text);
		flight_forget(c);
		flight_end(io, c, ERR_TIMEOUT, ERR_AGAIN_UNSURE, "no answer in time", at);
	} else if (last.code != ERR_OK) {          /* what a server said tells more */
		flight_end(io, c, last.code, (enum err_again)last.again, last.text, last.endpoint);
	} else if (io->main == NULL || io->main->state != LINE_READY || c->endpoint != NULL) {
		flight_end(io, c, ERR_CLOSED, ERR_AGAIN_SAFE,
			   io->why.code != ERR_OK ? io->why.text : "no endpoint was reached in time",
			   io->why.endpoint);
	} else {
		flight_end(io, c, ERR_TIMEOUT, ERR_AGAIN_SAFE, "it could not be sent in time", "");
	}
}

/* ---- answers ---- */

static void flight_rest(struct io *io, struct call *c)
{
	uint64_t ms = IO_PAUSE_MIN_MS;

	for (unsigned i = 1; i < c->tries && ms < IO_PAUSE_MAX_MS; i++)
		ms *= 2;
	ms = ms > IO_PAUSE_MAX_MS ? IO_PAUSE_MAX_MS : ms;
	c->not_before = mono_add_ms(io->now, (int64_t)(ms / 2 + client_random(&io->endpoints.random, ms / 2 + 1)));
	io_due(io, c->not_before);
	list_remove(&c->item.node);
	list_push(&io->resting, &c->item.node);
}

static void flight_failed(struct shot *s, struct call *c, const struct client_reply *reply)
{
	struct line *l = s->line;
	struct io *io = l->io;
	bool broke = l->broken || client_conn_err(l->conn) != ERR_OK;
	char text[LIMIT_CLIENT_ERROR_BYTES];

	(void)snprintf(text, sizeof text, "%.*s", (int)reply->text.len, (const char *)reply->text.data);
	if (!broke && client_other_node(reply->err) && l->state == LINE_READY && l->use == LINE_CALLS &&
	    io->endpoints.n > 1)
		line_leave(l, true);
	if (reply->again == ERR_AGAIN_UNSURE)
		c->handed = true;
	if (!client_may_repeat(reply->err, reply->again, c->repeatable) || !mono_before(io->now, c->deadline)) {
		flight_end(io, c, reply->err, reply->again, text[0] != 0 ? text : NULL, l->at.text);
		return;
	}
	call_say(c, reply->err, reply->again, text[0] != 0 ? text : NULL, l->at.text);
	if (broke) {                   /* the endpoint rests, which is pause enough */
		list_remove(&c->item.node);
		list_push(&io->waiting, &c->item.node);
	} else {
		flight_rest(io, c);
	}
}

static int flight_result(struct shot *s, struct call *c, const struct client_reply *reply)
{
	int rc = s->err;

	if (rc != ERR_OK)
		return rc;
	if (s->box == NULL) {
		s->box = shot_box(c, reply->raw.len);
		rc = s->box == NULL ? ERR_NO_MEMORY : result_fill(s->box, reply->result);
	}
	if (rc == ERR_OK && !request_is_answered(&c->request, &s->box->r))
		rc = ERR_MALFORMED;
	if (rc != ERR_OK)
		return rc;
	c->result = &s->box->r;
	s->box = NULL;
	return ERR_OK;
}

/*
 * A page of a lease's keys without one of this view, and there are others behind it. The caller could not
 * ask for those, since he has seen no key to ask behind: it is done for him. False: that is not so.
 */
static bool flight_next_page(struct io *io, struct call *c, const struct native_time_to_live_result *page, int *rc)
{
	if (c->kind != QUORATE_LEASE_TIME_TO_LIVE || !page->more || page->keys.n == 0 || c->result->n_kvs > 0)
		return false;
	quorate_result_free(c->result);
	c->result = NULL;
	*rc = request_lease_on(&c->request, page->id, page->keys.v[page->keys.n - 1].key);
	if (*rc != ERR_OK)
		return false;
	list_remove(&c->item.node);
	list_push(&io->waiting, &c->item.node);
	io_due(io, io->now);
	return true;
}

static void flight_done(struct client_flight *f, const struct client_reply *reply)
{
	struct shot *s = f->arg;
	struct call *c = s->call;
	struct io *io = s->line->io;
	int rc;

	if (reply->err == ERR_OK)
		line_proven(s->line);
	if (c != NULL) {
		c->shot = NULL;
		if (reply->err != ERR_OK) {
			flight_failed(s, c, reply);
		} else {
			rc = flight_result(s, c, reply);
			/* It was done; only the answer could not be kept. */
			if (rc != ERR_OK)
				c->handed = true;
			if (rc != ERR_OK || !flight_next_page(io, c, reply->result, &rc))
				flight_end(io, c, rc, err_again(rc), NULL, s->line->at.text);
		}
	}
	result_drop(s->box);
	shot_free(io, s);
}

mono_t flight_patience(const struct io *io, const struct call *c)
{
	int64_t ms;

	if (!c->repeatable || c->endpoint != NULL || io->endpoints.n < 2)
		return MONO_NEVER;
	ms = mono_sub_ms(c->deadline, c->sent) / 2;
	return mono_add_ms(c->sent, ms > IO_READ_MS ? ms : IO_READ_MS);
}

bool flight_send(struct line *l, struct call *c)
{
	struct shot *s = shot_make(l->io);
	int rc;

	if (s == NULL) {
		flight_end(l->io, c, ERR_NO_MEMORY, ERR_AGAIN_SAFE, NULL, "");
		return true;
	}
	*s = (struct shot){.call = c, .line = l};
	s->sink = (struct client_sink){shot_begin, shot_pair, s};
	s->flight = (struct client_flight){.method = c->request.method, .done = flight_done, .arg = s,
					   .sink = c->kind == QUORATE_GET ? &s->sink : NULL};
	rc = client_conn_send_encoded(l->conn, &s->flight, buf_bytes(&c->request.params));
	if (rc != ERR_OK) {
		shot_free(l->io, s);
		if (rc == ERR_FULL || rc == ERR_CLOSED)
			return false;
		flight_end(l->io, c, rc, ERR_AGAIN_SAFE, NULL, "");
		return true;
	}
	if (client_conn_flights(l->conn) == 1) {
		l->heard = l->io->now;
		io_due(l->io, mono_add_ms(l->io->now, IO_QUIET_MS));
	}
	c->shot = s;
	c->tries++;
	c->sent = l->io->now;
	io_due(l->io, flight_patience(l->io, c));
	list_remove(&c->item.node);
	list_push(&l->io->flying, &c->item.node);
	return true;
}
