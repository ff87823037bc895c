/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/etcd/recipe.h"

#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

enum { RECIPE_TTL_S = 60, RECIPE_KEEPALIVE_MS = 20000 };
enum recipe_ask { ASK_TXN = 1, ASK_RANGE, ASK_GRANT, ASK_KEEPALIVE };

static struct bytes recipe_key(const struct recipe *r)
{
	return buf_bytes(&r->key);
}

/* ---- answers ---- */

static void recipe_result(struct grpc_stream *s, uint32_t id, const struct msg_desc *d, const void *result)
{
	struct recipe *r = s->state;

	(void)d;
	if (id == ASK_GRANT) {
		loop_timer_set(s->g->loop, &r->timer, mono_add_ms(loop_now(s->g->loop), RECIPE_KEEPALIVE_MS));
		recipe_lease(r, ((const struct lease_grant_result *)result)->id, r->leased);   /* may end it */
	} else if (id == ASK_TXN) {
		r->txn(r, result);
	}
}

void recipe_error(struct grpc_stream *s, int err)
{
	grpc_status(s, GRPC_UNKNOWN, grpc_text(err));
}

static void recipe_resigned(struct recipe *r, const struct kv_txn_result *t)
{
	(void)t;
	r->queued = false;
	recipe_error(r->s, r->failed);
}

/* As in etcd a key that stood in the queue has gone when the error is told. */
static void recipe_resign(struct recipe *r, int err)
{
	struct kv_delete del = {.key = recipe_key(r)};
	struct kv_op success[] = {{.del = &del}};
	struct kv_compare mine = recipe_if(del.key, r->rev);
	struct kv_txn txn = {{&mine, 1}, {success, 1}, {NULL, 0}};

	r->failed = err;
	recipe_txn(r, &txn, recipe_resigned);
}

static void recipe_failed(struct grpc_stream *s, uint32_t id, int err)
{
	struct recipe *r = s->state;

	if (id == ASK_KEEPALIVE)
		return;
	if (id == ASK_TXN && r->queued && r->failed == ERR_OK)
		recipe_resign(r, err);
	else
		recipe_error(s, r->failed != ERR_OK ? r->failed : err);
}

static void recipe_read(struct grpc_stream *s, uint32_t id, struct bytes answer)
{
	struct recipe *r = s->state;
	struct kv_range_result result;
	int err;

	CHECK(id == ASK_RANGE);
	arena_reset(&s->g->arena);
	s->g->arena.max = GATEWAY_RESULT_ARENA;
	err = pb_decode(answer, &kv_range_result_pb, &s->g->arena, &result);
	CHECK(err == ERR_OK && result.header != NULL);
	r->range(r, &result);
}

static bool recipe_watches(const struct grpc_stream *s, const struct recipe *r, uint64_t nth)
{
	return s->state == r && r->watch != NULL && r->n_watches == nth;
}

static void recipe_got(struct grpc_stream *s, const struct watch_got *got)
{
	struct recipe *r = s->state;
	const struct watch_delivery *d = got->delivery;
	uint64_t nth = r->n_watches;

	if (got->kind == WATCH_GOT_CANCELED) {
		r->watch = NULL;              /* watch.c forgets it */
		if (got->error == ERR_COMPACTED)
			r->event(r, NULL);
		else
			recipe_failed(s, ASK_TXN, got->error);        /* it would be so again, and again */
	} else if (got->kind == WATCH_GOT_EVENTS) {
		for (size_t i = 0; i < d->runs.n; i++)
			for (uint64_t n = 0; n < d->runs.v[i].count && recipe_watches(s, r, nth); n++)
				r->event(r, &got->events->events.v[d->runs.v[i].first + n]);
		if (s->state == r)
			h2_want_room(&s->h2);         /* gives the credit back */
	}
}

bool recipe_keep_value(struct recipe *r, struct bytes value)
{
	buf_add_bytes(&r->value, value);
	if (h2_count_in(&r->s->h2, 0, r->value.cap))
		return true;
	grpc_error(r->s, ERR_TOO_MANY_REQUESTS);
	return false;
}

void recipe_drop_value(struct recipe *r)
{
	(void)h2_count_in(&r->s->h2, r->value.cap, 0);
	buf_free(&r->value);
}

/* Who waited in the queue leaves it, though nobody hears of it. */
static void recipe_gone(struct grpc_stream *s)
{
	struct recipe *r = s->state;
	struct kv_delete del = {.key = recipe_key(r)};
	struct rpc_request rpc = {0, bytes_str(""), bytes_str("")};

	loop_timer_clear(s->g->loop, &r->timer);
	if (r->queued)
		write_delete(s->g, &s->g->errands, &rpc, &del);
	buf_free(&r->name);
	buf_free(&r->prefix);
	buf_free(&r->key);
	recipe_drop_value(r);
	buf_free(&r->ask);
	mem_free(r);
}

static const struct grpc_state recipe_ops = {
	.error = recipe_failed,
	.result = recipe_result,
	.read = recipe_read,
	.watch = recipe_got,
	.gone = recipe_gone,
};

/* ---- the lease ---- */

static void recipe_keepalive(void *arg)
{
	struct recipe *r = arg;
	struct gateway *g = r->s->g;
	struct native_lease lease = {r->lease};
	struct rpc_request rpc = {ASK_KEEPALIVE, bytes_str(""), bytes_str("")};

	loop_timer_set(g->loop, &r->timer, mono_add_ms(loop_now(g->loop), RECIPE_KEEPALIVE_MS));
	lease_keepalive(g, &r->s->caller, &rpc, &lease);
}

struct recipe *recipe_new(struct grpc_stream *s, struct bytes name)
{
	struct recipe *r = mem_alloc(sizeof *r);

	CHECK(s->state == NULL);
	s->state = r;
	s->state_ops = &recipe_ops;
	s->busy = true;                       /* one request is all it has */
	r->s = s;
	buf_init(&r->name, 0);
	buf_init(&r->prefix, 0);
	buf_init(&r->key, 0);
	buf_init(&r->value, 0);
	buf_init(&r->ask, 0);
	buf_add_bytes(&r->name, name);
	buf_add_bytes(&r->prefix, name);
	buf_u8(&r->prefix, '/');
	loop_timer_init(&r->timer, recipe_keepalive, r);
	return r;
}

/* As etcd: a caller without a lease gets one, which nobody keeps alive when the RPC has ended. */
void recipe_lease(struct recipe *r, int64_t lease, void (*leased)(struct recipe *r))
{
	struct lease_grant grant = {.ttl = RECIPE_TTL_S};
	struct rpc_request rpc = {ASK_GRANT, bytes_str(""), bytes_str("")};

	r->leased = leased;
	if (lease == 0) {
		write_grant(r->s->g, &r->s->caller, &rpc, &grant);
		return;
	}
	r->lease = lease;
	buf_add_bytes(&r->key, buf_bytes(&r->prefix));
	if (lease < 0)                        /* etcd writes it with its sign */
		buf_u8(&r->key, '-');
	buf_printf(&r->key, "%" PRIx64, lease < 0 ? -(uint64_t)lease : (uint64_t)lease);
	leased(r);
}

/* ---- asking ---- */

void recipe_txn(struct recipe *r, struct kv_txn *txn, void (*next)(struct recipe *, const struct kv_txn_result *))
{
	struct rpc_request rpc = {ASK_TXN, bytes_str(""), bytes_str("")};

	r->txn = next;
	write_txn(r->s->g, &r->s->caller, &rpc, txn);
}

void recipe_range(struct recipe *r, const struct kv_range *range,
		  void (*next)(struct recipe *, const struct kv_range_result *))
{
	struct rpc_request rpc = {.id = ASK_RANGE};
	struct kv_range copy = *range;
	struct buf bytes;

	r->range = next;
	buf_init(&bytes, 0);
	buf_add_bytes(&bytes, range->key);
	buf_add_bytes(&bytes, range->range_end);
	buf_free(&r->ask);
	r->ask = bytes;
	copy.key = bytes_of(r->ask.data, range->key.len);
	copy.range_end = bytes_of(r->ask.data + range->key.len, range->range_end.len);
	rpc.params = buf_bytes(&r->ask);
	read_range(r->s->g, &r->s->caller, &rpc, &copy);
}

void recipe_watch(struct recipe *r, struct bytes key, struct bytes range_end, int64_t from,
		  void (*event)(struct recipe *, const struct watch_event *))
{
	struct native_watch w = {.key = key, .range_end = range_end, .start_revision = from};
	int err = watch_admit(r->s->g, &r->s->caller, &w);

	recipe_unwatch(r);
	r->event = event;
	if (err != ERR_OK) {
		recipe_error(r->s, err);
		return;
	}
	r->n_watches++;
	r->watch = watch_begin(r->s->g, watch_table(r->s->g, &r->s->caller, 1), &w);
}

void recipe_unwatch(struct recipe *r)
{
	if (r->watch != NULL)
		watch_end(r->s->g, r->watch, &r->s->caller);
	r->watch = NULL;
}

/* '/' and the byte behind it: the prefix always ends in a slash. */
struct kv_range recipe_under(const struct recipe *r, uint8_t *end)
{
	size_t n = r->prefix.len;

	memcpy(end, r->prefix.data, n);
	end[n - 1]++;
	return (struct kv_range){.key = buf_bytes(&r->prefix), .range_end = bytes_of(end, n)};
}

struct kv_compare recipe_if(struct bytes key, int64_t rev)
{
	return (struct kv_compare){.key = key, .target = KV_TARGET_CREATE, .op = KV_EQUAL, .number = rev};
}

/* ---- waiting in the queue ---- */

static void recipe_look(struct recipe *r);

static void recipe_moved(struct recipe *r, const struct watch_event *e)
{
	if (e != NULL && e->type != WATCH_EVENT_DELETE)
		return;
	recipe_unwatch(r);
	recipe_look(r);
}

static void recipe_before(struct recipe *r, const struct kv_range_result *t)
{
	if (t->kvs.n == 0)
		r->done(r, t->header);
	else
		recipe_watch(r, t->kvs.v[0].key, bytes_of(NULL, 0), t->header->revision, recipe_moved);
}

/* The youngest of those that are older. */
static void recipe_look(struct recipe *r)
{
	uint8_t end[RECIPE_NAME_BYTES + 1];
	struct kv_range range = recipe_under(r, end);

	range.sort_target = KV_SORT_CREATE;
	range.sort_order = KV_ORDER_DESCEND;
	range.limit = 1;
	range.max_create_revision = r->rev - 1;
	recipe_range(r, &range, recipe_before);
}

void recipe_wait(struct recipe *r, void (*done)(struct recipe *r, const struct kv_header *h))
{
	r->done = done;
	r->queued = true;
	recipe_look(r);
}
