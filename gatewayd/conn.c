/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's life and its input; the output is in conn_out.c. */
#include "gatewayd/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "gatewayd/conn_own.h"

enum { CONN_LOG_LINES = 10, CONN_LOG_MS = 1000, CONN_LINGER_BYTES = 8 * 1024 * 1024 };

void conn_complain(struct conn_set *s, const char *fmt, ...)
{
	mono_t now = loop_now(s->loop);
	va_list ap;

	if (mono_sub_ms(now, s->log_since) >= CONN_LOG_MS) {
		if (s->log_count > CONN_LOG_LINES)
			log_info("more complaints about clients were not logged count=%u",
				 s->log_count - CONN_LOG_LINES);
		s->log_since = now;
		s->log_count = 0;
	}
	if (s->log_count++ >= CONN_LOG_LINES)
		return;
	va_start(ap, fmt);
	log_writev(LOG_INFO, fmt, ap);
	va_end(ap);
}

/* ---- what must come in time ---- */

void conn_begun(struct conn *c)
{
	struct conn_set *s = c->set;

	if (list_linked(&c->in_begun))
		return;
	c->begun = loop_now(s->loop);
	list_push(&s->begun, &c->in_begun);
	if (s->late.slot == 0)
		loop_timer_set(s->loop, &s->late, mono_add_ms(c->begun, s->head_ms));
}

void conn_came(struct conn *c)
{
	list_remove(&c->in_begun);
}

static void conn_late(struct conn *c)
{
	conn_came(c);
	if (c->proto != NULL) {
		c->proto->late(c);
		return;
	}
	counter_inc(&c->set->counters->clients_malformed_total);
	conn_complain(c->set, "client dropped: its preface does not come peer=%s", c->peer);
	conn_abort(c, "late");
}

/* One timer and one list for all, since all have the same time. */
static void conn_set_late(void *arg)
{
	struct conn_set *s = arg;
	struct list *l;

	while ((l = list_first(&s->begun)) != NULL) {
		struct conn *c = container_of(l, struct conn, in_begun);

		if (mono_sub_ms(loop_now(s->loop), c->begun) < s->head_ms) {
			loop_timer_set(s->loop, &s->late, mono_add_ms(c->begun, s->head_ms));
			return;
		}
		conn_late(c);
	}
}

void conn_set_init(struct conn_set *s, struct loop *loop, const struct conn_ops *ops, void *arg,
		   struct gatewayd_counters *counters)
{
	*s = (struct conn_set){.loop = loop, .ops = ops, .arg = arg, .counters = counters,
			       .stall_ms = LIMIT_CONN_STALL_MS, .linger_ms = LIMIT_CONN_LINGER_MS,
			       .head_ms = LIMIT_CONN_HEAD_MS,
			       .max_in_bytes = LIMIT_GATEWAY_IN_BYTES,
			       .max_out_bytes = LIMIT_GATEWAY_OUT_BYTES,
			       .max_session_bytes = LIMIT_GATEWAY_SESSION_BYTES};
	s->scratch = mem_alloc(LIMIT_CONN_READ_BYTES);
	s->log_since = loop_now(loop);
	list_init(&s->all);
	list_init(&s->dirty);
	list_init(&s->dead);
	list_init(&s->partial);
	list_init(&s->blocked);
	list_init(&s->begun);
	list_init(&s->idle_sessions);
	loop_timer_init(&s->late, conn_set_late, s);
}

void conn_set_free(struct conn_set *s)
{
	struct list *l;

	while ((l = list_first(&s->all)) != NULL)
		conn_abort(container_of(l, struct conn, node), "gatewayd stops");
	conn_bury(s);
	conn_spares_free(s);
	loop_timer_clear(s->loop, &s->late);
	CHECK(s->in_bytes == 0 && s->out_bytes == 0 && s->n == 0);
	mem_free(s->scratch);
	s->scratch = NULL;
}

void conn_count(struct conn *c)
{
	size_t out = c->out.cap + c->held.cap + c->extra_out, in = c->in.cap + c->extra_in;

	c->set->in_bytes += in - c->counted_in;
	c->set->out_bytes += out - c->counted_out;
	c->counted_in = in;
	c->counted_out = out;
}

void conn_touch(struct conn *c)
{
	if (c->state != CONN_DEAD && !list_linked(&c->dirty)) {
		list_push(&c->set->dirty, &c->dirty);
		if (loop_in_hooks(c->set->loop))
			loop_again(c->set->loop);
	}
}

/* Freed at the end of the turn: callers further up the stack may still look at it. */
void conn_abort(struct conn *c, const char *reason)
{
	struct conn_set *s = c->set;
	int fd = c->io.fd;

	if (c->state == CONN_DEAD)
		return;
	log_debug("client closed peer=%s reason=\"%s\" in_flight=%zu", c->peer, reason, c->in_flight);
	c->state = CONN_DEAD;
	loop_io_del(s->loop, &c->io);
	loop_timer_clear(s->loop, &c->timer);
	(void)close(fd);
	list_remove(&c->node);
	list_remove(&c->dirty);
	list_remove(&c->in_partial);
	list_remove(&c->in_blocked);
	list_remove(&c->in_begun);
	list_push(&s->dead, &c->node);
	s->n--;
	s->ops->gone(s->arg, c);
	if (c->proto != NULL)
		c->proto->gone(c);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->held);
	conn_count(c);
	if (loop_in_hooks(s->loop))
		loop_again(s->loop);
}

void conn_bury(struct conn_set *s)
{
	struct list *l;

	while ((l = list_pop(&s->dead)) != NULL) {
		struct conn *c = container_of(l, struct conn, node);

		if (c->proto != NULL)
			c->proto->free(c);
		mem_free(c);
	}
}

static void conn_drop_input(struct conn *c)
{
	buf_free(&c->in);
	list_remove(&c->in_partial);
	conn_count(c);
}

void conn_end(struct conn *c)
{
	if (c->state != CONN_OPEN)
		return;
	c->state = CONN_ENDING;
	c->more_in = false;
	list_remove(&c->in_begun);
	conn_drop_input(c);
	if (c->proto != NULL)
		c->proto->end(c);
	conn_touch(c);
}

void conn_bad(struct conn *c, int err)
{
	if (c->state != CONN_OPEN)
		return;
	counter_inc(&c->set->counters->clients_malformed_total);
	conn_complain(c->set, "client sent a bad request peer=%s error=\"%s\"", c->peer, err_text(err));
	conn_end(c);
}

/* Bad bytes: told by the request's id if that has come, then the end. Another protocol has no words for it. */
static void conn_bad_bytes(struct conn *c, int err)
{
	if (c->proto != NULL) {
		counter_inc(&c->set->counters->clients_malformed_total);
		conn_complain(c->set, "client dropped peer=%s error=\"%s\"", c->peer, err_text(err));
		conn_abort(c, err_text(err));
		return;
	}
	if (c->scan.id_known) {
		c->in_flight++;
		conn_answer_error(c, c->scan.id, err);
	} else if (!c->streaming) {
		rpc_goodbye(&c->out, err);
	}
	conn_bad(c, err);
}

bool conn_wants_input(const struct conn *c)
{
	if (c->proto != NULL)
		return c->proto->wants_input(c);
	return c->state == CONN_OPEN && !c->eof && c->in_flight < LIMIT_CONN_REQUESTS && conn_room(c);
}

/* Parses complete requests until the connection should not be read further. What was taken. */
static size_t conn_parse(struct conn *c, struct bytes in)
{
	struct rpc_request r;
	size_t taken = 0, size;
	int err = ERR_OK;

	c->more_in = false;
	while (err == ERR_OK && taken < in.len) {
		if (c->state != CONN_OPEN)
			return in.len;
		if (c->in_flight >= LIMIT_CONN_REQUESTS || !conn_room(c)) {
			c->more_in = true;
			break;
		}
		err = rpc_scan(&c->scan, bytes_of(in.data + taken, in.len - taken), &r);
		if (err != ERR_OK)
			break;
		size = c->scan.pos;
		c->in_flight++;
		counter_inc(&c->set->counters->requests_total);
		c->set->ops->request(c->set->arg, c, &r);
		rpc_scan_begin(&c->scan);
		taken += size;
	}
	if (err != ERR_OK && err != ERR_TRUNCATED) {
		conn_bad_bytes(c, err);
		return in.len;
	}
	return taken;
}

/*
 * No message of the native protocol begins with a letter, all of HTTP's do; and only HTTP/2's
 * preface has this for its method. False: more must come.
 */
static bool conn_tell(struct conn *c, struct bytes in)
{
	const struct conn_set *s = c->set;
	static const char preface[] = {'P', 'R', 'I', ' '};
	size_t n = in.len < sizeof preface ? in.len : sizeof preface;

	if (s->http2 != NULL && in.data[0] >= 'A' && in.data[0] <= 'Z') {
		if (memcmp(in.data, preface, n) != 0)
			c->proto = s->http1;
		else if (n < sizeof preface) {
			conn_begun(c);
			return false;
		} else
			c->proto = s->http2;
	}
	c->told = true;
	if (c->proto != NULL && !c->proto->open(c)) {
		c->proto = NULL;
		conn_end(c);          /* what `open` has said is its last word */
	}
	return true;
}

/* How much was used up. */
static size_t conn_use(struct conn *c, struct bytes in)
{
	if (!c->told && !conn_tell(c, in))
		return 0;
	if (c->state == CONN_DEAD)
		return in.len;
	return c->proto != NULL ? c->proto->take(c, in) : conn_parse(c, in);
}

static void conn_parse_kept(struct conn *c)
{
	size_t taken = conn_use(c, buf_bytes(&c->in));

	if (c->state != CONN_OPEN)
		return;                       /* the buffer is gone */
	if (taken == c->in.len)
		conn_drop_input(c);
	else
		buf_consume(&c->in, taken);
}

bool conn_drop_hog(struct conn_set *s, const struct conn *but)
{
	struct conn *most = NULL;

	for (struct list *l = s->all.next; l != &s->all; l = l->next) {
		struct conn *c = container_of(l, struct conn, node);

		if (c != but && c->extra_in > 0 && (most == NULL || c->extra_in > most->extra_in))
			most = c;
	}
	if (most == NULL)
		return false;
	counter_inc(&s->counters->clients_malformed_total);
	conn_complain(s, "client holds too many half-come requests, dropped peer=%s bytes=%zu", most->peer,
		      most->extra_in);
	conn_abort(most, "too many half-come requests");
	return true;
}

/* The memory for half-come requests is full: whose has been coming for the longest time, goes. */
static bool conn_make_room(struct conn *c, size_t n)
{
	struct conn_set *s = c->set;
	struct list *l;

	while (s->in_bytes + n > s->max_in_bytes && (l = list_first(&s->partial)) != NULL &&
	       l != &c->in_partial)
		conn_bad_bytes(container_of(l, struct conn, in_partial), ERR_TOO_MANY_REQUESTS);
	while (s->in_bytes + n > s->max_in_bytes && conn_drop_hog(s, c))
		;
	return s->in_bytes + n <= s->max_in_bytes;
}

static bool conn_keep(struct conn *c, struct bytes got)
{
	if (!conn_make_room(c, got.len)) {
		conn_bad_bytes(c, ERR_TOO_MANY_REQUESTS);
		return false;
	}
	buf_add_bytes(&c->in, got);
	conn_count(c);
	if (!list_linked(&c->in_partial))
		list_push(&c->set->partial, &c->in_partial);
	if (c->in.err != ERR_OK)
		conn_abort(c, "out of memory");
	return c->state == CONN_OPEN;
}

static void conn_take(struct conn *c, struct bytes got)
{
	size_t taken = 0;

	if (c->in.len > 0) {
		if (conn_keep(c, got))
			conn_parse_kept(c);
		return;
	}
	taken = conn_use(c, got);             /* most requests are parsed where they were read to */
	if (c->state == CONN_OPEN && taken < got.len)
		(void)conn_keep(c, bytes_of(got.data + taken, got.len - taken));
}

static void conn_read(struct conn *c)
{
	struct conn_set *s = c->set;
	ssize_t n;

	if (!conn_wants_input(c) || c->more_in)
		return;
	n = recv(c->io.fd, s->scratch, LIMIT_CONN_READ_BYTES, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		conn_abort(c, "connection error");
	} else if (n == 0) {
		c->eof = true;
		conn_end(c);
	} else {
		counter_add(&s->counters->client_bytes_in_total, n);
		conn_take(c, bytes_of(s->scratch, (size_t)n));
	}
	conn_touch(c);
}

static void conn_discard(struct conn *c)
{
	ssize_t n = recv(c->io.fd, c->set->scratch, LIMIT_CONN_READ_BYTES, 0);

	if (n > 0)
		c->lingered += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || c->lingered > CONN_LINGER_BYTES)
		conn_abort(c, "done");
}

static void conn_event(void *arg, uint32_t events)
{
	struct conn *c = arg;

	if (events & (EPOLLERR | EPOLLHUP)) {
		conn_abort(c, "connection lost");
		return;
	}
	if (c->state == CONN_LINGER) {
		conn_discard(c);
		return;
	}
	if (events & EPOLLOUT) {
		c->blocked = false;
		conn_touch(c);
	}
	if (events & EPOLLIN)
		conn_read(c);
}

void conn_drop_stalled(struct conn *c)
{
	counter_inc(&c->set->counters->clients_stalled_total);
	conn_complain(c->set, "client does not read its answers, dropped peer=%s waiting_bytes=%zu", c->peer,
		      c->out.len - c->out_pos + c->extra_out);
	conn_abort(c, "stalled");
}

static void conn_timer(void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_LINGER) {
		conn_abort(c, "done, and the client did not close");
	} else if (c->progressed) {
		c->progressed = false;
		conn_touch(c);                /* sets the timer again if it must */
	} else if (c->blocked) {
		conn_drop_stalled(c);
	}
}

struct conn *conn_new(struct conn_set *s, int fd, const char *peer)
{
	struct conn *c = mem_alloc(sizeof *c);

	c->set = s;
	caller_init(&c->caller, s->ops->caller);
	c->caller.share = &c->watches;
	list_init(&c->dirty);
	list_init(&c->in_partial);
	list_init(&c->in_blocked);
	list_init(&c->in_begun);
	list_push(&s->all, &c->node);
	s->n++;
	buf_init(&c->in, LIMIT_CONN_MESSAGE_BYTES + LIMIT_CONN_READ_BYTES);
	buf_init(&c->out, 0);
	buf_init(&c->held, 0);
	rpc_scan_begin(&c->scan);
	loop_timer_init(&c->timer, conn_timer, c);
	(void)snprintf(c->peer, sizeof c->peer, "%s", peer);
	loop_io_add(s->loop, &c->io, fd, EPOLLIN, conn_event, c);
	counter_inc(&s->counters->clients_accepted_total);
	if (s->stopping)
		conn_end(c);
	return c;
}

/* Takes turns: whoever still has complete requests left goes to the end of the list. */
void conn_set_input(struct conn_set *s)
{
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, &s->dirty);
	while ((l = list_pop(&todo)) != NULL) {
		struct conn *c = container_of(l, struct conn, dirty);

		list_push(&s->dirty, l);
		if (c->more_in && conn_wants_input(c))
			conn_parse_kept(c);
	}
}

void conn_set_stop(struct conn_set *s)
{
	struct list *l, *next;

	s->stopping = true;
	for (l = s->all.next; l != &s->all; l = next) {
		next = l->next;
		conn_end(container_of(l, struct conn, node));
	}
}
