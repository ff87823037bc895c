/* SPDX-License-Identifier: Apache-2.0 */
/* LeaseKeepAlive: any number of keepalives on a stream, answered in their order. */
#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/etcd/grpc.h"

enum { KEEPALIVES = 1024 };           /* of one stream on their way; then it is not read */

struct keepalive {
	struct list node;
	uint32_t id;                  /* of the request */
	bool done;
	int64_t lease, ttl;
	int64_t revision;
};

struct keepalives {
	struct list queue;            /* in the order they came */
	size_t n;
	bool ended;                   /* no more come */
};

static void keepalives_send(struct grpc_stream *s, const struct keepalive *a)
{
	struct kv_header header = gateway_header(s->g, a->revision);
	struct native_keepalive_result r = {&header, a->lease, a->ttl};

	grpc_send(s, &native_keepalive_result_pb, &r);
}

static void keepalives_flush(struct grpc_stream *s)
{
	struct keepalives *k = s->state;
	struct list *l;

	while ((l = list_first(&k->queue)) != NULL && container_of(l, struct keepalive, node)->done) {
		struct keepalive *a = container_of(l, struct keepalive, node);

		list_remove(l);
		k->n--;
		keepalives_send(s, a);
		mem_free(a);
	}
	if (k->ended && k->n == 0)
		grpc_ok(s);
	else if (s->busy && k->n <= KEEPALIVES / 2)
		grpc_go_on(s);
}

static void keepalives_result(struct grpc_stream *s, uint32_t id, const struct msg_desc *d, const void *result)
{
	const struct native_keepalive_result *r = result;
	struct keepalives *k = s->state;

	CHECK(d == &native_keepalive_result_desc);
	for (struct list *l = k->queue.next; l != &k->queue; l = l->next) {
		struct keepalive *a = container_of(l, struct keepalive, node);

		if (a->id != id)
			continue;
		a->done = true;
		a->lease = r->id;
		a->ttl = r->ttl;
		a->revision = r->header->revision;
		break;
	}
	keepalives_flush(s);
}

static void keepalives_end(struct grpc_stream *s)
{
	struct keepalives *k = s->state;

	k->ended = true;
	if (k->n == 0)
		grpc_ok(s);
}

static void keepalives_gone(struct grpc_stream *s)
{
	struct keepalives *k = s->state;
	struct list *l;

	while ((l = list_pop(&k->queue)) != NULL)
		mem_free(container_of(l, struct keepalive, node));
	mem_free(k);
}

static const struct grpc_state keepalives_ops = {
	.end = keepalives_end,
	.result = keepalives_result,
	.gone = keepalives_gone,
};

void grpc_keepalive(struct gateway *g, struct caller *caller, const struct rpc_request *rpc, void *params)
{
	struct grpc_stream *s = GRPC_OF(caller);
	struct keepalives *k = s->state;
	struct keepalive *a = mem_alloc(sizeof *a);

	if (k == NULL) {
		k = mem_alloc(sizeof *k);
		list_init(&k->queue);
		s->state = k;
		s->state_ops = &keepalives_ops;
	}
	a->id = rpc->id;
	list_push(&k->queue, &a->node);
	if (++k->n >= KEEPALIVES)
		s->busy = true;
	lease_keepalive(g, caller, rpc, params);
}
