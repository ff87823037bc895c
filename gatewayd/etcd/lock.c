/* SPDX-License-Identifier: Apache-2.0 */
/* v3lockpb.Lock. */
#include "base/err.h"
#include "gatewayd/etcd/recipe.h"

static void lock_have(struct recipe *r, const struct kv_header *h)
{
	struct kv_header header = gateway_header(r->s->g, h->revision);
	struct etcd_lock_result result = {&header, buf_bytes(&r->key)};

	r->queued = false;
	grpc_send(r->s, &etcd_lock_result_pb, &result);
	grpc_ok(r->s);
}

/* The lease may have run out while it waited. */
static void lock_still(struct recipe *r, const struct kv_range_result *t)
{
	if (t->kvs.n > 0) {
		lock_have(r, t->header);
		return;
	}
	r->queued = false;
	grpc_status(r->s, GRPC_UNKNOWN, "mutex: session is expired");
}

static void lock_turn(struct recipe *r, const struct kv_header *h)
{
	struct kv_range own = {.key = buf_bytes(&r->key)};

	(void)h;
	recipe_range(r, &own, lock_still);
}

static const struct kv_range_result *lock_part(const struct kv_txn_result *t, size_t i)
{
	return i < t->responses.n ? t->responses.v[i].range : NULL;
}

/* Put or found again: the same lease may ask twice. */
static void lock_queued(struct recipe *r, const struct kv_txn_result *t)
{
	const struct kv_range_result *own = lock_part(t, 0), *first = lock_part(t, 1);

	r->rev = t->header->revision;
	if (!t->succeeded && own != NULL && own->kvs.n > 0)
		r->rev = own->kvs.v[0].create_revision;
	if (first == NULL || first->kvs.n == 0 || first->kvs.v[0].create_revision == r->rev)
		lock_have(r, t->header);
	else
		recipe_wait(r, lock_turn);
}

static void lock_leased(struct recipe *r)
{
	uint8_t end[RECIPE_NAME_BYTES + 1];
	struct kv_range first, own = {.key = buf_bytes(&r->key)};
	struct kv_put put = {.key = own.key, .lease = r->lease};
	struct kv_op success[] = {{.put = &put}, {.range = &first}}, failure[] = {{.range = &own}, {.range = &first}};
	struct kv_compare free = recipe_if(own.key, 0);
	struct kv_txn txn = {{&free, 1}, {success, 2}, {failure, 2}};

	first = recipe_under(r, end);
	first.sort_target = KV_SORT_CREATE;
	first.sort_order = KV_ORDER_ASCEND;
	first.limit = 1;
	recipe_txn(r, &txn, lock_queued);
}

void grpc_lock(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct etcd_lock *p = params;

	(void)g;
	if (p->name.len > RECIPE_NAME_BYTES)
		caller_error(k, rpc->id, ERR_REQUEST_TOO_LARGE);
	else
		recipe_lease(recipe_new(GRPC_OF(k), p->name), p->lease, lock_leased);
}

/* No look at who holds it: as etcd. */
void grpc_unlock(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct etcd_unlock *p = params;
	struct kv_delete del = {.key = p->key};

	write_delete(g, k, rpc, &del);
}

void grpc_answer_unlock(struct grpc_stream *s, const void *result)
{
	const struct kv_delete_result *from = result;
	struct etcd_unlock_result to = {from->header};

	grpc_send(s, &etcd_unlock_result_pb, &to);
}
