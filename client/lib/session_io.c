/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "client/lib/io.h"
#include "client/lib/session.h"

#define SESSION_OF(l) container_of((l), struct quorate_session, io_node)

enum { SESSION_PAUSE_MS = 100 };       /* after a keepalive that has failed */

/* ---- keepalives ---- */

static void sio_stop(struct quorate_session *s)
{
	if (s->keepalive != NULL)
		s->keepalive->arg = NULL;
	s->keepalive = NULL;
	list_remove(&s->io_node);
}

static void sio_lost(struct quorate_session *s, int code, const char *text)
{
	session_lose(s, code, text);
	sio_stop(s);
}

static void sio_kept(struct quorate_session *s, const struct call *c)
{
	mono_t good = mono_add_ms((mono_t){c->sent.ns + s->ahead_ns}, s->ttl_ms);
	bool lost;

	s->next = mono_add_ms(c->sent, s->ttl_ms / 3);
	(void)pthread_mutex_lock(&s->core->lock);
	lost = s->lost;
	if (!lost && mono_before(s->good_until, good))
		s->good_until = good;
	(void)pthread_mutex_unlock(&s->core->lock);
	if (lost)
		sio_stop(s);
}

static void sio_answered(struct call *c)
{
	struct quorate_session *s = c->arg;

	if (s != NULL) {
		s->keepalive = NULL;
		s->next = mono_add_ms(mono_now(), SESSION_PAUSE_MS);
		if (c->result != NULL && c->result->ttl > 0)
			sio_kept(s, c);
		else if (c->result != NULL || c->code == ERR_LEASE_NOT_FOUND)
			sio_lost(s, ERR_LEASE_NOT_FOUND, "the lease has run out, or was revoked");
		io_due(s->core->io, s->next);
	}
	call_free(c);
}

/* The time of one is what the lease has left: the call goes from node to node within it. */
static void sio_send(struct io *io, struct quorate_session *s)
{
	struct quorate_op op = quorate_op(QUORATE_LEASE_KEEPALIVE);
	int64_t left = mono_sub_ms(s->good_until, session_clock());
	struct quorate_error e;
	struct call *c;

	op.lease = s->lease;
	c = call_make(s->view, &op, left > 0 ? left : 1, &e);
	s->next = mono_add_ms(io->now, SESSION_PAUSE_MS);
	if (c == NULL)
		return;
	c->ended = sio_answered;
	c->arg = s;
	/* In this order: what is slept in between, or before it is sent, counts against us. */
	s->ahead_ns = session_clock().ns;
	s->ahead_ns -= mono_now().ns;
	if (call_begin(c, false, NULL, &e) == ERR_OK)
		s->keepalive = c;
	else
		call_free(c);
}

void session_io_timers(struct io *io)
{
	struct list *l, *next;

	for (l = io->sessions.next; l != &io->sessions; l = next) {
		struct quorate_session *s = SESSION_OF(l);
		int64_t left_ns = mono_sub_ns(s->good_until, session_clock());   /* only this thread writes it */

		next = l->next;
		if (left_ns <= 0) {
			sio_lost(s, ERR_TIMEOUT, session_silent_text);
			continue;
		}
		if (s->keepalive == NULL && !mono_before(io->now, s->next))
			sio_send(io, s);
		io_due(io, mono_add_ns(io->now, left_ns));
		if (s->keepalive == NULL)
			io_due(io, s->next);
	}
}

/* ---- what other threads want ---- */

void session_io_canceled(struct io *io)
{
	struct list *l, *next;

	for (l = io->sessions.next; l != &io->sessions; l = next) {
		next = l->next;
		if (atomic_load(&SESSION_OF(l)->view->canceled))
			sio_lost(SESSION_OF(l), ERR_CANCELED, err_text(ERR_CANCELED));
	}
}

static void sio_do(struct io *io, struct quorate_session *s, unsigned work)
{
	if (work & SESSION_OPEN) {
		list_push(&io->sessions, &s->io_node);
		io_due(io, io->now);           /* session_io_timers() looks when it is */
		if (atomic_load(&s->view->canceled))
			sio_lost(s, ERR_CANCELED, err_text(ERR_CANCELED));
	}
	if ((work & SESSION_CLOSE) == 0)
		return;
	sio_stop(s);
	(void)pthread_mutex_lock(&io->core->lock);
	view_drop(s->view);
	(void)pthread_mutex_unlock(&io->core->lock);
	session_free(s);
}

void session_io_take(struct io *io, struct list *work)
{
	struct list *l;

	for (;;) {
		struct quorate_session *s;
		unsigned what;

		(void)pthread_mutex_lock(&io->core->lock);
		l = list_pop(work);
		s = l != NULL ? container_of(l, struct quorate_session, work_node) : NULL;
		what = s != NULL ? s->work : 0;
		if (s != NULL)
			s->work = 0;
		(void)pthread_mutex_unlock(&io->core->lock);
		if (s == NULL)
			return;
		sio_do(io, s, what);
	}
}
