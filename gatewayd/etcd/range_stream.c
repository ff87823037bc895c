/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KV.RangeStream (3.7): a range in messages that, put together, are Range's answer. The pairs go as they are read;
 * the header, `more` and the count stand in the last message, so one piece is always held back.
 */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "gatewayd/etcd/grpc_own.h"

struct chunks {
	struct buf header;            /* the encoded field, for the last message */
	struct buf pairs;             /* not sent yet */
	size_t ready;                 /* of them: something has come behind them */
	bool begun;
};

static void chunks_send(struct grpc_stream *s, struct bytes header, struct bytes rest)
{
	size_t mark = grpc_message_begin(s);

	pb_head(&s->h2.out, 1, header.len + rest.len);
	buf_add_bytes(&s->h2.out, header);
	buf_add_bytes(&s->h2.out, rest);
	grpc_message_end(s, mark);
}

/* The range begins with its header, whose field has a length of one byte. */
static void chunks_cut_header(struct chunks *c)
{
	size_t n;

	CHECK(c->pairs.len >= 2 && c->pairs.data[1] < 0x80);
	n = 2 + (size_t)c->pairs.data[1];
	buf_add(&c->header, c->pairs.data, n);
	buf_consume(&c->pairs, n);
	c->begun = true;
}

void grpc_chunks_touch(struct caller *k)
{
	struct grpc_stream *s = GRPC_OF(k);
	struct chunks *c = s->state;

	if (!c->begun)
		chunks_cut_header(c);
	if (c->ready > 0) {
		chunks_send(s, bytes_of(NULL, 0), bytes_of(c->pairs.data, c->ready));
		buf_consume(&c->pairs, c->ready);
	}
	c->ready = c->pairs.len;
}

bool grpc_chunks_stream_begin(struct caller *k, uint32_t id, size_t total)
{
	(void)id;
	CHECK(total == 0);
	GRPC_OF(k)->streaming = true;
	return true;
}

struct buf *grpc_chunks_stream(struct caller *k)
{
	return &((struct chunks *)GRPC_OF(k)->state)->pairs;
}

void grpc_chunks_stream_end(struct caller *k)
{
	struct grpc_stream *s = GRPC_OF(k);
	struct chunks *c = s->state;

	s->streaming = false;
	chunks_send(s, buf_bytes(&c->header), buf_bytes(&c->pairs));
	grpc_ok(s);
}

struct buf *grpc_chunks_begin(struct caller *k, uint32_t id, size_t *mark)
{
	(void)id;
	*mark = 0;
	return grpc_chunks_stream(k);
}

/* It fits one message. */
void grpc_chunks_end(struct caller *k, uint32_t id, struct buf *b, size_t mark, int lost)
{
	(void)id;
	(void)mark;
	if (b->err != ERR_OK) {
		grpc_error(GRPC_OF(k), lost);
		return;
	}
	chunks_send(GRPC_OF(k), bytes_of(NULL, 0), buf_bytes(b));
	grpc_ok(GRPC_OF(k));
}

static void chunks_gone(struct grpc_stream *s)
{
	struct chunks *c = s->state;

	buf_free(&c->header);
	buf_free(&c->pairs);
	mem_free(c);
}

static const struct grpc_state chunks_state = {.gone = chunks_gone};

void grpc_range_stream(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct kv_range *p = params;
	struct grpc_stream *s = GRPC_OF(k);
	struct chunks *c;

	s->busy = true;                       /* one request is all it has */
	if (p->sort_order == KV_ORDER_NONE && p->sort_target <= KV_SORT_VALUE)
		p->sort_target = KV_SORT_KEY;
	if (p->sort_target == KV_SORT_KEY && p->sort_order == KV_ORDER_ASCEND)
		p->sort_order = KV_ORDER_NONE;
	if (p->sort_order != KV_ORDER_NONE || p->sort_target != KV_SORT_KEY) {
		grpc_status(s, GRPC_UNIMPLEMENTED, "RangeStream does not support custom sort orders");
		return;
	}
	if (p->min_mod_revision != 0 || p->max_mod_revision != 0 || p->min_create_revision != 0 ||
	    p->max_create_revision != 0) {
		grpc_status(s, GRPC_UNIMPLEMENTED, "RangeStream does not support revision filters");
		return;
	}
	c = mem_alloc(sizeof *c);
	buf_init(&c->header, 0);
	buf_init(&c->pairs, 0);
	s->state = c;
	s->state_ops = &chunks_state;
	s->caller.ops = &grpc_chunks_ops;
	read_range(g, k, rpc, params);
}
