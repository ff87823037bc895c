/* SPDX-License-Identifier: Apache-2.0 */
/* The output of connections: answers, streams, water marks, the orderly end. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "gatewayd/conn_own.h"

enum { CONN_KEEP_BYTES = 4096, CONN_SMALL_ANSWER = 4096 };

/* ---- spares ---- */

void conn_spare_give(struct conn_set *s, struct buf *b)
{
	CHECK(b->len == 0);
	if (s->n_spares < CONN_SPARES && b->cap >= CONN_SPARE_MIN && b->cap <= CONN_SPARE_MAX) {
		s->spares[s->n_spares++] = *b;
		s->spare_used = loop_now(s->loop);
		buf_init(b, 0);
	}
	buf_free(b);
}

void conn_spare_take(struct conn_set *s, struct buf *b)
{
	if (b->data != NULL || s->n_spares == 0)
		return;
	*b = s->spares[--s->n_spares];
	s->spare_used = loop_now(s->loop);
}

void conn_spares_free(struct conn_set *s)
{
	while (s->n_spares > 0)
		buf_free(&s->spares[--s->n_spares]);
}

/* ---- water marks ---- */

static size_t conn_pending(const struct conn *c)
{
	return c->out.len - c->out_pos + c->held.len;
}

bool conn_room(const struct conn *c)
{
	return conn_pending(c) < LIMIT_CONN_OUT_HIGH;
}

/* What is held waits for the stream's end, so it must not hold the stream up. */
static size_t conn_unwritten(const struct conn *c)
{
	return c->streaming ? c->out.len - c->out_pos : conn_pending(c);
}

bool conn_stream_room(const struct conn *c)
{
	CHECK(c->streaming);
	return conn_unwritten(c) < LIMIT_CONN_OUT_HIGH;
}

void conn_want_room(struct conn *c)
{
	c->wants_room = true;
	conn_touch(c);
}

static struct buf *conn_target(struct conn *c)
{
	return c->streaming ? &c->held : &c->out;
}

static void conn_settled(struct conn *c)
{
	CHECK(c->in_flight > 0);
	c->in_flight--;
	conn_count(c);
	conn_touch(c);
}

struct buf *conn_answer_begin(struct conn *c, size_t *mark)
{
	struct buf *b = conn_target(c);

	CHECK(c->state != CONN_DEAD);
	*mark = b->len;
	return b;
}

/* Too much for this client or for all of them; small answers are let through, they are bounded. */
static bool conn_overflows(const struct conn *c, const struct buf *b, size_t mark)
{
	if (b->err != ERR_OK)
		return true;
	if (b->len - mark <= CONN_SMALL_ANSWER)
		return false;
	return conn_pending(c) > LIMIT_CONN_OUT_MAX || c->set->out_bytes > c->set->max_out_bytes;
}

void conn_answer_end(struct conn *c, struct buf *b, size_t mark, uint32_t id, int lost)
{
	CHECK(b == conn_target(c));
	conn_count(c);
	if (conn_overflows(c, b, mark)) {
		b->len = mark;
		b->err = ERR_OK;
		counter_inc(&c->set->counters->results_dropped_total);
		counter_inc(&c->set->counters->errors_total);
		rpc_error(b, id, lost);
	}
	conn_settled(c);
}

void conn_answer_error(struct conn *c, uint32_t id, int err)
{
	size_t mark;
	struct buf *b = conn_answer_begin(c, &mark);

	CHECK(err != ERR_OK);
	counter_inc(&c->set->counters->errors_total);
	rpc_error(b, id, err);
	conn_answer_end(c, b, mark, id, err);
}

struct buf *conn_notify_begin(struct conn *c)
{
	return c->state == CONN_OPEN ? conn_target(c) : NULL;
}

void conn_notify_end(struct conn *c)
{
	conn_count(c);
	conn_touch(c);
}

size_t conn_waiting(const struct conn *c)
{
	return conn_pending(c);
}

bool conn_stream_begin(struct conn *c)
{
	if (c->streaming)
		return false;
	CHECK(c->held.len == 0);
	c->streaming = true;
	return true;
}

struct buf *conn_stream(struct conn *c)
{
	CHECK(c->streaming);
	return &c->out;
}

void conn_stream_end(struct conn *c)
{
	CHECK(c->streaming);
	c->streaming = false;
	buf_add_bytes(&c->out, buf_bytes(&c->held));
	buf_free(&c->held);
	c->wants_room = true;                 /* whoever waits for the stream's end is called */
	conn_settled(c);
}

static void conn_drop_written(struct conn *c)
{
	if (c->out_pos == c->out.len) {
		buf_clear(&c->out);
		if (c->out.cap >= CONN_SPARE_MIN)
			conn_spare_give(c->set, &c->out);
		buf_shrink(&c->out, CONN_KEEP_BYTES);
		c->out_pos = 0;
	} else if (c->out_pos >= c->out.len / 2) {
		buf_consume(&c->out, c->out_pos);
		c->out_pos = 0;
	}
	if (c->in_flight == 0 && c->out.len == 0)
		buf_free(&c->out);
	conn_count(c);
}

static void conn_write(struct conn *c)
{
	size_t n = c->out.len - c->out_pos;
	ssize_t done;

	if (n == 0 && c->out.cap > CONN_KEEP_BYTES)
		conn_drop_written(c);         /* lent, and nothing came that may be written */
	if (n == 0 || c->blocked)
		return;
	if (n > LIMIT_CONN_WRITE_BYTES)
		n = LIMIT_CONN_WRITE_BYTES;
	done = send(c->io.fd, c->out.data + c->out_pos, n, MSG_NOSIGNAL);
	if (done < 0 && errno != EAGAIN && errno != EINTR) {
		conn_abort(c, "connection error");
		return;
	}
	if (done > 0) {
		counter_add(&c->set->counters->client_bytes_out_total, done);
		c->out_pos += (size_t)done;
		c->progressed = true;
	}
	c->blocked = done < 0 || (size_t)done < n;
	if (!c->blocked || done > 0)
		list_remove(&c->in_blocked);
	if (c->blocked && !list_linked(&c->in_blocked))
		list_push(&c->set->blocked, &c->in_blocked);
	if (!c->blocked && c->out_pos < c->out.len)
		conn_touch(c);                /* the rest in the next turn */
	conn_drop_written(c);
}

void conn_dismiss(struct conn *c, const char *reason)
{
	conn_write(c);
	conn_abort(c, reason);
}

/* The last word has been written: shut down, then wait a moment for the client to close. */
static void conn_linger(struct conn *c)
{
	struct conn_set *s = c->set;

	if (c->eof) {
		conn_abort(c, "client closed");
		return;
	}
	c->state = CONN_LINGER;
	(void)shutdown(c->io.fd, SHUT_WR);
	loop_timer_set(s->loop, &c->timer, mono_add_ms(loop_now(s->loop), s->linger_ms));
	loop_io_set(s->loop, &c->io, EPOLLIN);
}

static void conn_watch(struct conn *c)
{
	struct conn_set *s = c->set;
	uint32_t events = 0;

	if (conn_wants_input(c) && !c->more_in)
		events |= EPOLLIN;
	if (c->blocked)
		events |= EPOLLOUT;
	loop_io_set(s->loop, &c->io, events);
	if (c->blocked && c->timer.slot == 0) {
		c->progressed = false;
		loop_timer_set(s->loop, &c->timer, mono_add_ms(loop_now(s->loop), s->stall_ms));
	}
	if (c->more_in && conn_wants_input(c))
		conn_touch(c);
}

static bool conn_answered(const struct conn *c)
{
	if (conn_pending(c) > 0)
		return false;
	return c->proto != NULL ? c->proto->quiet(c) : c->in_flight == 0;
}

static void conn_output(struct conn *c)
{
	if (c->out.err != ERR_OK || c->held.err != ERR_OK) {
		conn_abort(c, "out of memory");
		return;
	}
	if (c->proto != NULL && (c->state == CONN_OPEN || c->state == CONN_ENDING))
		c->proto->fill(c);
	if (c->state == CONN_DEAD)
		return;
	conn_count(c);                        /* a stream has appended */
	conn_write(c);
	if (c->more_out && !c->blocked)
		conn_touch(c);
	if (c->state == CONN_DEAD || c->state == CONN_LINGER)
		return;
	if (c->state == CONN_ENDING && conn_answered(c)) {
		conn_linger(c);
		return;
	}
	conn_watch(c);
	if (c->wants_room && conn_unwritten(c) <= LIMIT_CONN_OUT_LOW) {
		c->wants_room = false;
		c->set->ops->room(c->set->arg, c);
	}
}

/* Sockets are not all that can be blocked: of those whose windows are shut, the one with the most. */
static bool conn_drop_deaf(struct conn_set *s)
{
	struct conn *most = NULL;

	for (struct list *l = s->all.next; l != &s->all; l = l->next) {
		struct conn *c = container_of(l, struct conn, node);

		if (c->extra_out > 0 && (most == NULL || c->extra_out > most->extra_out))
			most = c;
	}
	if (most == NULL)
		return false;
	conn_drop_stalled(most);
	return true;
}

/* Too much waits to be taken: whoever has taken nothing for the longest time has to go. */
static void conn_relieve(struct conn_set *s)
{
	struct list *l;

	while (s->out_bytes > s->max_out_bytes && (l = list_first(&s->blocked)) != NULL)
		conn_drop_stalled(container_of(l, struct conn, in_blocked));
	while (s->out_bytes > s->max_out_bytes && conn_drop_deaf(s))
		;
}

void conn_set_output(struct conn_set *s)
{
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, &s->dirty);
	while ((l = list_pop(&todo)) != NULL)
		conn_output(container_of(l, struct conn, dirty));
	conn_relieve(s);
	conn_bury(s);
	if (s->n_spares > 0 && mono_sub_ms(loop_now(s->loop), s->spare_used) >= CONN_SPARE_MS)
		conn_spares_free(s);
	counter_set(&s->counters->clients, (int64_t)s->n);
	counter_set(&s->counters->session_bytes, (int64_t)s->session_bytes);
	counter_set(&s->counters->client_buffer_bytes, (int64_t)(s->in_bytes + s->out_bytes));
}
