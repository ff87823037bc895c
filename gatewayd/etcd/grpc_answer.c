/* SPDX-License-Identifier: Apache-2.0 */
/* How a gRPC stream is answered: messages in frames, statuses in trailers. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "gatewayd/etcd/grpc_own.h"

enum { GRPC_HEAD = 5, GRPC_TEXT_BYTES = 512, GRPC_SMALL_ANSWER = 4096 };

const char *grpc_text(int err)
{
	static char text[GRPC_TEXT_BYTES];

	(void)snprintf(text, sizeof text, "etcdserver: %s", err_text(err));
	return text;
}

/* ---- the end ---- */

static void grpc_open(struct grpc_stream *s)
{
	const struct h2_field f[] = {{":status", bytes_str("200")}, {"content-type", bytes_str("application/grpc")}};

	if (!s->h2.responded)
		h2_respond(&s->h2, f, ARRAY_LEN(f));
}

/* What is no printable ASCII goes as %XX. */
static struct bytes grpc_escape(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (const char *p = text; *p != '\0' && n + 4 < size; p++) {
		if (*p >= ' ' && *p <= '~' && *p != '%')
			out[n++] = *p;
		else
			n += (size_t)snprintf(out + n, size - n, "%%%02X", (unsigned)(unsigned char)*p);
	}
	return bytes_of(out, n);
}

/* A status without a message before it goes as the only header block: "trailers-only". */
static void grpc_end(struct grpc_stream *s, enum err_grpc code, const char *text)
{
	char number[8], message[GRPC_TEXT_BYTES];
	struct h2_field f[4] = {{":status", bytes_str("200")}, {"content-type", bytes_str("application/grpc")}};
	size_t n = 2;

	CHECK(!s->settled);
	s->settled = true;
	(void)snprintf(number, sizeof number, "%d", (int)code);
	f[n++] = (struct h2_field){"grpc-status", bytes_str(number)};
	if (text[0] != '\0')
		f[n++] = (struct h2_field){"grpc-message", grpc_escape(text, message, sizeof message)};
	if (s->h2.responded)
		h2_finish(&s->h2, f + 2, n - 2);
	else
		h2_respond_only(&s->h2, f, n);
}

void grpc_ok(struct grpc_stream *s)
{
	grpc_open(s);
	grpc_end(s, GRPC_OK, "");
	grpc_let_go(s);
}

void grpc_status(struct grpc_stream *s, enum err_grpc code, const char *text)
{
	if (s->settled)
		return;
	counter_inc(&s->g->counters.errors_total);
	grpc_end(s, code, text);
	grpc_let_go(s);
}

void grpc_error(struct grpc_stream *s, int err)
{
	grpc_status(s, err_grpc(err), grpc_text(err));
}

void grpc_not(struct grpc_stream *s, const char *http_status)
{
	const struct h2_field f[] = {{":status", bytes_str(http_status)}};

	s->settled = true;
	h2_respond_only(&s->h2, f, ARRAY_LEN(f));
	grpc_let_go(s);
}

void grpc_unknown(struct grpc_stream *s, bool service)
{
	char text[GRPC_TEXT_BYTES];

	(void)snprintf(text, sizeof text, "unknown %s %.*s", service ? "method" : "service", (int)s->path.len,
		       s->path.data != NULL ? (const char *)s->path.data : "");
	grpc_status(s, GRPC_UNIMPLEMENTED, text);
}

void grpc_too_large(struct grpc_stream *s, size_t len)
{
	char text[GRPC_TEXT_BYTES];

	(void)snprintf(text, sizeof text, "grpc: received message larger than max (%zu vs. %u)", len,
		       LIMIT_CONN_MESSAGE_BYTES);
	grpc_status(s, GRPC_RESOURCE_EXHAUSTED, text);
}

/* ---- messages ---- */

size_t grpc_message_begin(struct grpc_stream *s)
{
	size_t mark = s->h2.out.len;

	buf_u8(&s->h2.out, 0);
	buf_u32be(&s->h2.out, 0);
	return mark;
}

void grpc_message_end(struct grpc_stream *s, size_t mark)
{
	struct buf *b = &s->h2.out;

	CHECK(b->err == ERR_OK && b->len - mark >= GRPC_HEAD);
	put_u32be(b->data + mark + 1, (uint32_t)(b->len - mark - GRPC_HEAD));
	grpc_open(s);
	h2_send(&s->h2);
}

void grpc_send(struct grpc_stream *s, const struct pb_desc *d, const void *msg)
{
	size_t mark = grpc_message_begin(s);

	(void)pb_encode(&s->h2.out, d, msg);
	grpc_message_end(s, mark);
}

/* ---- as a caller of the services ---- */

static void grpc_caller_error(struct caller *k, uint32_t id, int err)
{
	struct grpc_stream *s = GRPC_OF(k);

	if (s->state_ops != NULL && s->state_ops->error != NULL)
		s->state_ops->error(s, id, err);
	else
		grpc_error(s, err);
}

/* Small answers are let through, they are bounded. */
static bool grpc_overflows(const struct grpc_stream *s, size_t mark)
{
	const struct conn *c = h2_conn_of(&s->h2);

	if (s->h2.out.err != ERR_OK)
		return true;
	if (s->h2.out.len - mark <= GRPC_SMALL_ANSWER)
		return false;
	return c->extra_out > LIMIT_CONN_OUT_MAX || c->set->out_bytes > c->set->max_out_bytes;
}

static bool grpc_reads(const struct grpc_stream *s)
{
	return s->state_ops != NULL && s->state_ops->read != NULL;
}

/* A range of a composed RPC is there whole. */
static void grpc_read(struct grpc_stream *s, uint32_t id)
{
	struct buf range = s->range;

	buf_init(&s->range, LIMIT_TXN_RESPONSE_BYTES);
	if (range.err != ERR_OK)
		s->state_ops->error(s, id, ERR_RESPONSE_TOO_LARGE);
	else
		s->state_ops->read(s, id, buf_bytes(&range));
	buf_free(&range);
}

static void grpc_caller_end(struct caller *k, uint32_t id, struct buf *b, size_t mark, int lost)
{
	struct grpc_stream *s = GRPC_OF(k);

	if (b == &s->range) {
		grpc_read(s, id);
		return;
	}
	CHECK(b == &s->h2.out);
	if (grpc_overflows(s, mark)) {
		b->len = mark;
		b->err = ERR_OK;
		counter_inc(&s->g->counters.results_dropped_total);
		grpc_error(s, lost);
		return;
	}
	grpc_message_end(s, mark);
	grpc_ok(s);
}

static bool grpc_caller_can_take(struct caller *k)
{
	const struct grpc_stream *s = GRPC_OF(k);

	return !grpc_reads(s) && s->h2.h != NULL && s->h2.out.len == 0;
}

static void grpc_caller_take(struct caller *k, uint32_t id, struct buf *b, size_t at, int lost)
{
	struct grpc_stream *s = GRPC_OF(k);
	uint8_t *head = b->data + at - GRPC_HEAD;

	(void)id;
	CHECK(at >= GRPC_HEAD && s->h2.out.len == 0);
	head[0] = 0;
	put_u32be(head + 1, (uint32_t)(b->len - at));
	buf_free(&s->h2.out);
	s->h2.out = *b;
	s->h2.out_pos = at - GRPC_HEAD;
	if (grpc_overflows(s, s->h2.out_pos)) {
		buf_free(&s->h2.out);
		s->h2.out_pos = 0;
		counter_inc(&s->g->counters.results_dropped_total);
		grpc_error(s, lost);
		return;
	}
	grpc_open(s);
	h2_send(&s->h2);
	grpc_ok(s);
}

static struct buf *grpc_caller_begin(struct caller *k, uint32_t id, size_t *mark)
{
	struct grpc_stream *s = GRPC_OF(k);

	(void)id;
	*mark = 0;
	if (grpc_reads(s))
		return &s->range;
	*mark = grpc_message_begin(s);
	return &s->h2.out;
}

static void grpc_caller_result(struct caller *k, uint32_t id, const struct msg_desc *d, const void *result, int lost)
{
	struct grpc_stream *s = GRPC_OF(k);
	size_t mark;

	if (s->state_ops != NULL && s->state_ops->result != NULL) {
		s->state_ops->result(s, id, d, result);
		return;
	}
	if (s->method->answer != NULL)
		s->method->answer(s, result);
	if (s->method->result == NULL) {
		grpc_ok(s);
	} else {
		struct buf *b = grpc_caller_begin(k, id, &mark);

		(void)pb_encode(b, s->method->result, result);
		grpc_caller_end(k, id, b, mark, lost);
	}
}

static bool grpc_caller_room(struct caller *k)
{
	const struct grpc_stream *s = GRPC_OF(k);

	return h2_room(&s->h2);
}

static void grpc_caller_want_room(struct caller *k)
{
	h2_want_room(&GRPC_OF(k)->h2);
}

static bool grpc_caller_stream_begin(struct caller *k, uint32_t id, size_t total)
{
	struct grpc_stream *s = GRPC_OF(k);

	CHECK(!s->streaming && total <= INT32_MAX);
	s->streaming = true;
	s->range_id = id;
	if (grpc_reads(s))
		return true;
	buf_u8(&s->h2.out, 0);
	buf_u32be(&s->h2.out, (uint32_t)total);
	grpc_open(s);
	return true;
}

static struct buf *grpc_caller_stream(struct caller *k)
{
	struct grpc_stream *s = GRPC_OF(k);

	return grpc_reads(s) ? &s->range : &s->h2.out;
}

static void grpc_caller_touch(struct caller *k)
{
	if (!grpc_reads(GRPC_OF(k)))
		h2_send(&GRPC_OF(k)->h2);
}

static void grpc_caller_stream_end(struct caller *k)
{
	struct grpc_stream *s = GRPC_OF(k);

	CHECK(s->streaming);
	s->streaming = false;
	if (grpc_reads(s))
		grpc_read(s, s->range_id);
	else
		grpc_ok(s);
}

/* Only this stream ends: nobody else's answer is in between. */
static void grpc_caller_broken(struct caller *k, int err, int64_t revision)
{
	struct grpc_stream *s = GRPC_OF(k);
	struct conn *c = h2_conn_of(&s->h2);

	conn_complain(c->set, "answer broken off, stream reset peer=%s revision=%lld error=\"%s\"", c->peer,
		      (long long)revision, err_text(err));
	s->settled = true;
	grpc_let_go(s);
	h2_reset(&s->h2);
}

static int grpc_caller_take_txn(struct bytes params, struct arena *arena, struct kv_txn *out)
{
	struct etcd_txn txn;
	int err = pb_decode(params, &etcd_txn_pb, arena, &txn);

	return err != ERR_OK ? err : etcd_txn_take(&txn, arena, out);
}

static void grpc_caller_watch(struct gateway *g, struct caller *k, const struct watch_got *got)
{
	struct grpc_stream *s = GRPC_OF(k);

	(void)g;
	s->state_ops->watch(s, got);
}

static size_t grpc_caller_waiting(struct caller *k)
{
	const struct grpc_stream *s = GRPC_OF(k);

	return h2_waiting(&s->h2);
}

const struct caller_ops grpc_caller_ops = {
	.form = &form_etcd,
	.unpaged = true,
	.error = grpc_caller_error,
	.result = grpc_caller_result,
	.begin = grpc_caller_begin,
	.end = grpc_caller_end,
	.can_take = grpc_caller_can_take,
	.take = grpc_caller_take,
	.room = grpc_caller_room,
	.want_room = grpc_caller_want_room,
	.stream_begin = grpc_caller_stream_begin,
	.stream_room = grpc_caller_room,
	.stream = grpc_caller_stream,
	.touch = grpc_caller_touch,
	.stream_end = grpc_caller_stream_end,
	.broken = grpc_caller_broken,
	.take_txn = grpc_caller_take_txn,
	.watch = grpc_caller_watch,
	.waiting = grpc_caller_waiting,
};

const struct caller_ops grpc_chunks_ops = {
	.form = &form_etcd_chunks,
	.unpaged = true,
	.error = grpc_caller_error,
	.result = grpc_caller_result,
	.begin = grpc_chunks_begin,
	.end = grpc_chunks_end,
	.room = grpc_caller_room,
	.want_room = grpc_caller_want_room,
	.stream_begin = grpc_chunks_stream_begin,
	.stream_room = grpc_caller_room,
	.stream = grpc_chunks_stream,
	.touch = grpc_chunks_touch,
	.stream_end = grpc_chunks_stream_end,
	.broken = grpc_caller_broken,
	.take_txn = grpc_caller_take_txn,
	.watch = grpc_caller_watch,
	.waiting = grpc_caller_waiting,
};
