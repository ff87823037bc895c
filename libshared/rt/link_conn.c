/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: its hello, frames in and out, heartbeats, and its end. */
#include "rt/link_conn.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/link_hello.h"

enum { LINK_TRACE_BYTES = 1500, LINK_BAD_LOG_MS = 1000 };

/* A thread has one loop, and the loop thread alone counts. */
static _Thread_local struct link_stats link_totals;

struct link_stats *link_stats(void)
{
	return &link_totals;
}

static void link_leave_state(struct link *l)
{
	if (l->state == LINK_GREETING)
		l->end->n_greeting--;
	if (l->state == LINK_UP) {
		l->end->n_up--;
		link_totals.up--;
	}
}

/* A stranger, or a peer of another version, may come back hundreds of times a second. */
static void link_count_bad(struct link *l)
{
	struct link_end *e = l->end;
	mono_t now = loop_now(e->s.loop);

	link_totals.bad_frames++;
	if (e->bad_logged.ns != 0 && mono_sub_ms(now, e->bad_logged) < LINK_BAD_LOG_MS)
		return;
	e->bad_logged = now;
	log_warn("bad frame link=%s reason=%s", e->s.messages->name, l->reason);
}

void link_fail(struct link *l, bool bad, const char *fmt, ...)
{
	va_list ap;

	if (l->state == LINK_DEAD)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(l->reason, sizeof l->reason, fmt, ap);
	va_end(ap);
	if (bad)
		link_count_bad(l);
	link_leave_state(l);
	l->state = LINK_DEAD;
	loop_timer_clear(l->end->s.loop, &l->tick);
	loop_again(l->end->s.loop);   /* the hook that buries it may be over for this turn */
}

static void link_trace(const struct link *l, const char *arrow, uint64_t seq,
		       const struct msg_desc *d, const void *msg)
{
	struct buf text;
	int n;

	if (!log_tracing())
		return;
	buf_init(&text, 64 * KIB);
	msg_print(&text, d, msg);
	n = (int)(text.len < LINK_TRACE_BYTES ? text.len : LINK_TRACE_BYTES);
	log_info("trace %s %s %s seq=%" PRIu64 " %.*s", daemon_name(l->self.daemon), arrow,
		 daemon_name(l->end->s.peer), seq, n, text.data ? (const char *)text.data : "");
	buf_free(&text);
}

/* ---- out */

static int link_put(struct link *l, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct buf *out = stream_out(l->stream);
	size_t start = out->len;
	int err = msg_frame(out, number, l->seq_out + 1, d, msg);

	if (err == ERR_NO_MEMORY)
		fatal("give the machine more memory or lower the limits", "no memory for a message");
	if (err) {
		out->len = start;
		out->err = ERR_OK;
		return err;
	}
	l->seq_out++;
	l->ticks_unsaid = 0;
	link_totals.frames_out++;
	link_totals.bytes_out += out->len - start;
	link_trace(l, "->", l->seq_out, d, msg);
	if (loop_hook_over(l->end->s.loop, &l->end->hook))
		loop_again(l->end->s.loop);
	return ERR_OK;
}

int link_send(struct link *l, uint32_t number, const struct msg_desc *d, const void *msg)
{
	CHECK(number >= LINK_FIRST_MESSAGE);
	if (l->state != LINK_UP)
		return ERR_CLOSED;
	if (stream_queued(l->stream) >= LIMIT_LINK_QUEUE_BYTES) {
		l->full = true;
		stream_tell(l->stream);
		return ERR_FULL;
	}
	return link_put(l, number, d, msg);
}

static void link_on_sent(void *arg)
{
	struct link *l = arg;

	if (l->state != LINK_UP || !l->full)
		return;
	if (stream_queued(l->stream) >= LIMIT_LINK_QUEUE_BYTES / 2) {
		stream_tell(l->stream);
		return;
	}
	l->full = false;
	if (l->end->s.ops->drained != NULL)
		l->end->s.ops->drained(l->end->s.arg, l);
}

static void link_say_hello(struct link *l)
{
	struct hello_frame h = {.magic = LINK_MAGIC, .version = LINK_VERSION};

	l->end->s.ops->hello(l->end->s.arg, &l->self);
	CHECK(l->self.incarnation != 0);
	h.link = bytes_str(l->end->s.messages->name);
	h.node_id = l->self.node_id;
	h.daemon = l->self.daemon;
	h.incarnation = l->self.incarnation;
	h.resume = l->self.resume;
	CHECK(link_put(l, MSG_NO_hello_frame, &hello_frame_desc, &h) == ERR_OK);
}

/* ---- in */

static bool link_fits(struct link *l, const struct hello_frame *h)
{
	const struct link_end *e = l->end;

	if (h->magic != LINK_MAGIC || h->version != LINK_VERSION)
		link_fail(l, true, "hello of protocol version %" PRIu64 ", ours is %d: restart the "
			  "daemons of this node with one version", h->version, LINK_VERSION);
	else if (!bytes_eq(h->link, bytes_str(e->s.messages->name)))
		link_fail(l, true, "hello for another link");
	else if (h->daemon != (uint64_t)e->s.peer)
		link_fail(l, true, "hello of daemon %" PRIu64 ", only %s may be here", h->daemon,
			  daemon_name(e->s.peer));
	else if (h->node_id != l->self.node_id)
		link_fail(l, true, "hello of node %" PRIu64 ", this is node %" PRIu64, h->node_id,
			  l->self.node_id);
	else if (h->incarnation == 0)
		link_fail(l, true, "hello without an incarnation");
	else if (e->n_up >= e->s.max_links)
		link_fail(l, false, "refused: %zu links are up", e->n_up);
	return l->state != LINK_DEAD;
}

static void link_on_hello(struct link *l, const struct hello_frame *h)
{
	struct link_end *e = l->end;
	int err;

	if (!link_fits(l, h))
		return;
	l->peer = (struct link_hello){h->node_id, e->s.peer, h->incarnation, h->resume};
	link_leave_state(l);
	l->state = LINK_UP;
	l->since = loop_now(e->s.loop);
	e->n_up++;
	link_totals.up++;
	link_totals.connects++;
	err = e->s.ops->up(e->s.arg, l, &l->peer);
	if (err) {
		link_fail(l, false, "refused: %s", err_text(err));
		return;
	}
	l->told_up = true;
	log_info("link up peer=%s incarnation=%016" PRIx64 " resume=%" PRIu64, daemon_name(e->s.peer),
		 l->peer.incarnation, l->peer.resume);
}

/* The number decides which list reads the frame; everything else is checked by msg_unframe. */
static uint64_t link_number(struct bytes frame)
{
	struct wire w = wire_of(frame, WIRE_STRICT);

	(void)wire_get_array(&w);
	return wire_get_u64(&w);
}

static void link_take(struct link *l, const struct msg_in *in)
{
	int err;

	l->seq_in++;
	link_totals.frames_in++;
	link_trace(l, "<-", in->seq, in->row->desc, in->msg);
	if (in->row->number == MSG_NO_beat_frame)
		return;
	if (in->row->number == MSG_NO_hello_frame) {
		link_on_hello(l, in->msg);
		return;
	}
	err = l->end->s.ops->msg(l->end->s.arg, l, in);
	if (err)
		link_fail(l, true, "%s: %s", in->row->desc->name, err_text(err));
}

static void link_frame(struct link *l, struct bytes frame)
{
	struct link_end *e = l->end;
	bool own = link_number(frame) < LINK_FIRST_MESSAGE;
	struct msg_in in = {0};
	int err = msg_unframe(own ? &link_hello_link : e->s.messages, frame, &e->arena, &in);

	if (err)
		link_fail(l, true, "%s%s%s", in.row ? in.row->desc->name : "frame", ": ", err_text(err));
	else if (in.seq != l->seq_in + 1)
		link_fail(l, true, "%s: sequence %" PRIu64 " after %" PRIu64, in.row->desc->name, in.seq,
			  l->seq_in);
	else if ((in.row->number == MSG_NO_hello_frame) != (l->state == LINK_GREETING))
		link_fail(l, true, "%s: out of turn", in.row->desc->name);
	else
		link_take(l, &in);
	arena_reset(&e->arena);
}

/* The length of the frame at the start of `in`, or 0: not whole yet, or refused. */
static size_t link_whole(struct link *l, struct bytes in)
{
	size_t max = l->state == LINK_GREETING ? LIMIT_LINK_HELLO_BYTES : LIMIT_FRAME_BYTES;
	uint32_t len;

	if (in.len < MSG_FRAME_HEAD)
		return 0;
	len = get_u32be(in.data);
	if (len == 0 || len > max) {
		link_fail(l, true, "frame of %" PRIu32 " bytes", len);
		return 0;
	}
	return in.len - MSG_FRAME_HEAD < len ? 0 : len;
}

static size_t link_on_data(void *arg, struct bytes in)
{
	struct link *l = arg;
	size_t used = 0, len;

	l->ticks_unheard = 0;
	while (l->state != LINK_DEAD) {
		struct bytes rest = bytes_of(in.data + used, in.len - used);

		len = link_whole(l, rest);
		if (len == 0)
			break;
		link_frame(l, bytes_of(rest.data + MSG_FRAME_HEAD, len));
		used += MSG_FRAME_HEAD + len;
	}
	if (l->state == LINK_DEAD) {
		stream_pause(l->stream);
		used = in.len;
	}
	link_totals.bytes_in += used;
	return used;
}

static void link_on_gone(void *arg, const char *reason)
{
	link_fail(arg, false, "%s", reason);
}

static const struct stream_ops link_stream_ops = {link_on_data, link_on_sent, link_on_gone};

/* ---- life */

static int64_t link_tick_ms(const struct link *l)
{
	return l->end->s.times.heartbeat_ms / 2 ? l->end->s.times.heartbeat_ms / 2 : 1;
}

static void link_on_tick(void *arg)
{
	struct link *l = arg;
	const struct link_times *t = &l->end->s.times;
	int64_t ms = link_tick_ms(l);
	struct beat_frame beat = {.taken = l->seq_in};

	if (++l->ticks_unheard * ms >= t->dead_ms) {
		link_fail(l, false, l->state == LINK_UP ? "silent for %u ms" : "no hello for %u ms",
			  t->dead_ms);
		return;
	}
	/* What waits to be written says as much as a heartbeat would. */
	if (++l->ticks_unsaid * ms >= t->heartbeat_ms && stream_queued(l->stream) == 0)
		(void)link_put(l, MSG_NO_beat_frame, &beat_frame_desc, &beat);
	loop_timer_set(l->end->s.loop, &l->tick, mono_add_ms(loop_now(l->end->s.loop), ms));
}

void link_begin(struct link_end *e, struct stream *stream)
{
	struct link *l = mem_alloc(sizeof *l);

	l->end = e;
	l->stream = stream;
	l->state = LINK_GREETING;
	l->next = e->links;
	e->links = l;
	e->n_greeting++;
	/* The queue's limit is checked before a frame is added; the frame itself still fits. */
	stream_limit_out(stream, LIMIT_LINK_QUEUE_BYTES + LIMIT_FRAME_BYTES + KIB);
	link_say_hello(l);
	loop_timer_init(&l->tick, link_on_tick, l);
	loop_timer_set(e->s.loop, &l->tick, mono_add_ms(loop_now(e->s.loop), link_tick_ms(l)));
	stream_start(stream, &link_stream_ops, l, MSG_FRAME_HEAD + LIMIT_FRAME_BYTES);
}

static void link_bury(struct link *l)
{
	struct link_end *e = l->end;
	struct link **at = &e->links;
	bool was_up = l->told_up;
	int64_t age_ms = was_up ? mono_sub_ms(loop_now(e->s.loop), l->since) : -1;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (was_up) {
		link_totals.drops++;
		log_write(e->closing ? LOG_INFO : LOG_WARN, "link down peer=%s reason=%s",
			  daemon_name(e->s.peer), l->reason);
		e->s.ops->down(e->s.arg, l, l->reason);
	} else {
		log_debug("connection ended before it was a link peer=%s reason=%s",
			  daemon_name(e->s.peer), l->reason);
	}
	stream_close(&l->stream);
	if (e->buried != NULL)
		e->buried(e, was_up, age_ms, l->reason);
	mem_free(l);
}

/* The turn-end hook: write what has gathered, bury the dead. */
static void link_end_turn(void *arg)
{
	struct link_end *e = arg;
	struct link *next;

	e->burying = true;
	for (struct link *l = e->links; l != NULL; l = next) {
		next = l->next;
		if (l->state == LINK_DEAD)
			link_bury(l);
		else
			stream_flush(l->stream);
	}
	e->burying = false;
}

static void link_check_setup(const struct link_setup *s)
{
	CHECK(s->loop != NULL && s->path != NULL && s->messages != NULL && s->max_links > 0);
	CHECK(s->ops != NULL && s->ops->hello != NULL && s->ops->up != NULL);
	CHECK(s->ops->msg != NULL && s->ops->down != NULL);
	for (size_t i = 0; i < s->messages->n_rows; i++)
		CHECK(s->messages->rows[i].number >= LINK_FIRST_MESSAGE);
}

void link_end_init(struct link_end *e, const struct link_setup *s,
		   void (*buried)(struct link_end *e, bool was_up, int64_t age_ms, const char *reason))
{
	struct link_times *t = &e->s.times;

	link_check_setup(s);
	e->s = *s;
	e->path = mem_strdup(s->path);
	e->s.path = e->path;
	e->buried = buried;
	t->heartbeat_ms = t->heartbeat_ms ? t->heartbeat_ms : LINK_HEARTBEAT_MS;
	t->dead_ms = t->dead_ms ? t->dead_ms : LINK_DEAD_MS;
	t->retry_min_ms = t->retry_min_ms ? t->retry_min_ms : LINK_RETRY_MIN_MS;
	t->retry_max_ms = t->retry_max_ms ? t->retry_max_ms : LINK_RETRY_MAX_MS;
	CHECK(t->dead_ms >= 2 * t->heartbeat_ms && t->retry_max_ms >= t->retry_min_ms);
	arena_init(&e->arena, LIMIT_LINK_ARENA_BYTES);
	loop_hook_add(s->loop, &e->hook, link_end_turn, e);
}

void link_end_free(struct link_end *e)
{
	CHECK(!e->burying);
	e->closing = true;
	e->buried = NULL;
	for (struct link *l = e->links; l != NULL; l = l->next)
		link_fail(l, false, "closed by us");
	while (e->links != NULL)
		link_bury(e->links);
	loop_hook_del(e->s.loop, &e->hook);
	arena_free(&e->arena);
	mem_free(e->path);
}
