/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/load_window.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "ctl/codec.h"

enum { LOAD_PAUSE_MIN_MS = 10, LOAD_PAUSE_MAX_MS = 1000 };

static void load_done(struct client_flight *f, const struct client_reply *reply);

int load_window_init(struct load_window *w, struct client *c, uint32_t n)
{
	*w = (struct load_window){.client = c, .n_slots = n, .heard = mono_now()};
	w->progressed = w->heard;
	w->redo_end = &w->redo;
	for (w->n_chains = 1; w->n_chains < 2 * n; w->n_chains *= 2)
		continue;
	w->slots = calloc(n, sizeof *w->slots);
	w->chains = calloc(w->n_chains, sizeof(struct load_slot *));
	if (w->slots == NULL || w->chains == NULL) {
		load_window_free(w);
		return ERR_NO_MEMORY;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct load_slot *s = &w->slots[i];

		s->window = w;
		s->flight = (struct client_flight){.method = native_method_find(bytes_str("put")),
						   .done = load_done, .arg = s};
		buf_init(&s->key, LIMIT_REQUEST_BYTES);
		buf_init(&s->value, LIMIT_REQUEST_BYTES);
		s->next = w->free;
		w->free = s;
	}
	return ERR_OK;
}

void load_window_free(struct load_window *w)
{
	for (uint32_t i = 0; w->slots != NULL && i < w->n_slots; i++) {
		buf_free(&w->slots[i].key);
		buf_free(&w->slots[i].value);
	}
	free(w->slots);
	free(w->chains);
	w->slots = NULL;
	w->chains = NULL;
}

struct load_slot *load_window_slot(struct load_window *w)
{
	struct load_slot *s = w->free;

	if (s == NULL || w->held != NULL || w->failed.code != ERR_OK)
		return NULL;
	return s;   /* it stays first in the list until it is added */
}

static void redo_add(struct load_window *w, struct load_slot *s)
{
	s->next = NULL;
	*w->redo_end = s;
	w->redo_end = &s->next;
}

static struct load_slot *redo_take(struct load_window *w)
{
	struct load_slot *s = w->redo;

	if (s != NULL)
		w->redo = s->next;
	if (w->redo == NULL)
		w->redo_end = &w->redo;
	return s;
}

static void redo_add_first(struct load_window *w, struct load_slot *s)
{
	s->next = w->redo;
	if (w->redo == NULL)
		w->redo_end = &s->next;
	w->redo = s;
}

static struct load_slot **chain_of(struct load_window *w, uint32_t hash)
{
	return &w->chains[hash & (w->n_chains - 1)];
}

static bool key_is_busy(struct load_window *w, const struct load_slot *slot)
{
	for (struct load_slot *s = *chain_of(w, slot->hash); s != NULL; s = s->chain)
		if (s->hash == slot->hash && bytes_eq(buf_bytes(&s->key), buf_bytes(&slot->key)))
			return true;
	return false;
}

/* Becomes busy and waits to be sent. */
static void slot_begin(struct load_window *w, struct load_slot *s)
{
	struct load_slot **chain = chain_of(w, s->hash);

	s->chain = *chain;
	*chain = s;
	w->busy++;
	redo_add(w, s);
}

static void slot_end(struct load_window *w, struct load_slot *s)
{
	struct load_slot **at = chain_of(w, s->hash);

	while (*at != s)
		at = &(*at)->chain;
	*at = s->chain;
	w->busy--;
	s->next = w->free;
	w->free = s;
	if (w->held != NULL && !key_is_busy(w, w->held)) {
		s = w->held;
		w->held = NULL;
		slot_begin(w, s);
	}
}

void load_window_add(struct load_window *w, struct load_slot *s)
{
	CHECK(w->free == s && w->held == NULL);
	w->free = s->next;
	s->hash = crc32c(0, s->key.data, s->key.len);
	if (key_is_busy(w, s))
		w->held = s;
	else
		slot_begin(w, s);
}

static void load_good(struct load_window *w, struct load_slot *s, const struct kv_put_result *r)
{
	w->count++;
	w->bytes += s->key.len + s->value.len;
	if (r->header != NULL && r->header->revision > w->revision)
		w->revision = r->header->revision;
	w->progressed = mono_now();
	w->pause_ms = 0;
	if (w->acked != NULL) {
		codec_escape(w->acked, buf_bytes(&s->key));
		fputc('\n', w->acked);
	}
	slot_end(w, s);
}

/* The cluster is busy or has no leader: a little later, later each time, until something works. */
static void load_pause(struct load_window *w)
{
	mono_t now = mono_now();

	if (mono_before(now, w->pause))
		return;
	w->pause_ms = w->pause_ms == 0 ? LOAD_PAUSE_MIN_MS : w->pause_ms * 2;
	if (w->pause_ms > LOAD_PAUSE_MAX_MS)
		w->pause_ms = LOAD_PAUSE_MAX_MS;
	w->pause = mono_add_ms(now, w->pause_ms);
}

static bool load_may_repeat(const struct load_window *w, const struct client_reply *reply)
{
	if (reply->err == ERR_NO_SPACE || w->failed.code != ERR_OK)
		return false;
	return reply->again == ERR_AGAIN_SAFE || (w->retry_unsure &&
						  reply->again == ERR_AGAIN_UNSURE);
}

static void load_bad(struct load_window *w, const struct client_reply *reply)
{
	struct client_error *e = &w->failed;

	w->unsure += reply->again == ERR_AGAIN_UNSURE;
	if (e->code != ERR_OK)
		return;
	e->code = reply->err;
	e->again = reply->again;
	(void)snprintf(e->endpoint, sizeof e->endpoint, "%s", client_endpoint_text(w->client));
	if (reply->text.len > 0)
		(void)snprintf(e->text, sizeof e->text, "%.*s", (int)reply->text.len,
			       (const char *)reply->text.data);
	else
		(void)snprintf(e->text, sizeof e->text, "%s", err_text(reply->err));
}

static void load_done(struct client_flight *f, const struct client_reply *reply)
{
	struct load_slot *s = f->arg;
	struct load_window *w = s->window;

	w->heard = mono_now();
	if (reply->err == ERR_OK) {
		load_good(w, s, reply->result);
	} else if (load_may_repeat(w, reply)) {
		w->repeats++;
		load_pause(w);
		redo_add(w, s);
	} else {
		load_bad(w, reply);
		slot_end(w, s);
	}
}

/* After the end has been decided what waits to be sent is given up. */
static void load_drop_redo(struct load_window *w)
{
	for (struct load_slot *s = redo_take(w); s != NULL; s = redo_take(w))
		slot_end(w, s);
}

void load_window_pump(struct load_window *w, mono_t deadline, struct client_conn **conn)
{
	struct load_slot *s;
	struct client_error e;

	*conn = NULL;
	if (w->failed.code != ERR_OK)
		load_drop_redo(w);
	if (w->busy == 0 && w->redo == NULL && w->failed.code != ERR_OK)
		return;
	if (client_connect(w->client, deadline, conn, &e) != ERR_OK) {
		*conn = NULL;
		if (!mono_before(mono_now(), deadline))
			w->failed = e;
		return;
	}
	while (!mono_before(mono_now(), w->pause) && (s = redo_take(w)) != NULL) {
		struct kv_put put = {.key = buf_bytes(&s->key), .value = buf_bytes(&s->value)};
		int rc;

		if (client_conn_flights(*conn) == 0)
			/* the time of silence begins with the first request */
			w->heard = mono_now();
		rc = client_conn_send(*conn, &s->flight, &put);
		if (rc == ERR_REQUEST_TOO_LARGE || rc == ERR_NO_MEMORY) {
			struct client_reply reply = {.err = rc};

			load_bad(w, &reply);
			slot_end(w, s);
		} else if (rc != ERR_OK) {
			redo_add_first(w, s);
			return;
		}
	}
}

void load_window_turn(struct load_window *w, struct client_conn *conn)
{
	if (client_conn_turn(conn) != ERR_OK) {
		client_disconnect(w->client, true);
		return;
	}
	if (client_conn_flights(conn) > 0 &&
	    mono_sub_ms(mono_now(), w->heard) > w->answer_timeout_ms)
		client_disconnect(w->client, true);
}
