/* SPDX-License-Identifier: Apache-2.0 */
/* v3electionpb.Election. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "gatewayd/etcd/recipe.h"

static const char no_leader_field[] = "\"leader\" field must be provided";

/* ---- Campaign ---- */

static void campaign_won(struct recipe *r, const struct kv_header *h)
{
	struct kv_header header = gateway_header(r->s->g, r->at);   /* as etcd: when it queued, not when it won */
	struct etcd_leader_key leader = {buf_bytes(&r->name), buf_bytes(&r->key), r->rev, r->lease};
	struct etcd_campaign_result result = {&header, &leader};

	(void)h;
	r->queued = false;
	grpc_send(r->s, &etcd_campaign_result_pb, &result);
	grpc_ok(r->s);
}

static void campaign_proclaimed(struct recipe *r, const struct kv_txn_result *t)
{
	recipe_drop_value(r);                 /* it may wait for long */
	if (t->succeeded) {
		recipe_wait(r, campaign_won);
		return;
	}
	r->queued = false;                    /* another's by now */
	grpc_status(r->s, GRPC_UNKNOWN, "election: not leader");
}

/* The key is there already, with another value: that is changed. */
static void campaign_again(struct recipe *r, const struct kv_pair *own)
{
	struct kv_put put = {.key = buf_bytes(&r->key), .value = buf_bytes(&r->value), .lease = r->lease};
	struct kv_op success[] = {{.put = &put}};
	struct kv_compare mine = recipe_if(put.key, own->create_revision);
	struct kv_txn txn = {{&mine, 1}, {success, 1}, {NULL, 0}};

	r->rev = own->create_revision;
	if (bytes_eq(own->value, put.value)) {
		recipe_drop_value(r);
		recipe_wait(r, campaign_won);
		return;
	}
	r->queued = true;                     /* who fails to proclaim resigns, as in etcd */
	recipe_txn(r, &txn, campaign_proclaimed);
}

static void campaign_queued(struct recipe *r, const struct kv_txn_result *t)
{
	const struct kv_range_result *own = t->responses.n > 0 ? t->responses.v[0].range : NULL;

	r->at = t->header->revision;
	if (!t->succeeded && own != NULL && own->kvs.n > 0) {
		campaign_again(r, &own->kvs.v[0]);
		return;
	}
	r->rev = t->header->revision;
	recipe_drop_value(r);
	recipe_wait(r, campaign_won);
}

static void campaign_leased(struct recipe *r)
{
	struct kv_range own = {.key = buf_bytes(&r->key)};
	struct kv_put put = {.key = own.key, .value = buf_bytes(&r->value), .lease = r->lease};
	struct kv_op success[] = {{.put = &put}}, failure[] = {{.range = &own}};
	struct kv_compare free = recipe_if(own.key, 0);
	struct kv_txn txn = {{&free, 1}, {success, 1}, {failure, 1}};

	recipe_txn(r, &txn, campaign_queued);
}

void grpc_campaign(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct etcd_campaign *p = params;
	struct recipe *r;

	(void)g;
	if (p->name.len > RECIPE_NAME_BYTES) {
		caller_error(k, rpc->id, ERR_REQUEST_TOO_LARGE);
		return;
	}
	r = recipe_new(GRPC_OF(k), p->name);
	if (recipe_keep_value(r, p->value))
		recipe_lease(r, p->lease, campaign_leased);
}

/* ---- Proclaim, Resign: guarded by the revision that made the key ---- */

static void guarded(struct caller *k, const struct etcd_leader_key *leader, struct kv_op *op,
		    void (*next)(struct recipe *, const struct kv_txn_result *))
{
	struct kv_compare mine = recipe_if(leader->key, leader->rev);
	struct kv_txn txn = {{&mine, 1}, {op, 1}, {NULL, 0}};

	recipe_txn(recipe_new(GRPC_OF(k), bytes_of(NULL, 0)), &txn, next);
}

static void guarded_answer(struct recipe *r, const struct kv_txn_result *t)
{
	struct kv_header header = gateway_header(r->s->g, t->header->revision);
	struct etcd_header_result result = {&header};

	grpc_send(r->s, &etcd_header_result_pb, &result);
	grpc_ok(r->s);
}

static void proclaim_done(struct recipe *r, const struct kv_txn_result *t)
{
	if (t->succeeded)
		guarded_answer(r, t);
	else
		grpc_status(r->s, GRPC_UNKNOWN, "election: not leader");
}

void grpc_proclaim(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct etcd_proclaim *p = params;
	struct kv_put put = {.value = p->value};
	struct kv_op op = {.put = &put};

	(void)g;
	(void)rpc;
	if (p->leader == NULL) {
		grpc_status(GRPC_OF(k), GRPC_UNKNOWN, no_leader_field);
		return;
	}
	put.key = p->leader->key;
	put.lease = p->leader->lease;
	guarded(k, p->leader, &op, proclaim_done);
}

void grpc_resign(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct etcd_resign *p = params;
	struct kv_delete del = {.prev_kv = false};
	struct kv_op op = {.del = &del};

	(void)g;
	(void)rpc;
	if (p->leader == NULL) {
		grpc_status(GRPC_OF(k), GRPC_UNKNOWN, no_leader_field);
		return;
	}
	del.key = p->leader->key;
	guarded(k, p->leader, &op, guarded_answer);
}

/* ---- Leader, Observe ---- */

static void leader_look(struct recipe *r, void (*next)(struct recipe *, const struct kv_range_result *))
{
	uint8_t end[RECIPE_NAME_BYTES + 1];
	struct kv_range range = recipe_under(r, end);

	range.sort_target = KV_SORT_CREATE;
	range.sort_order = KV_ORDER_ASCEND;
	range.limit = 1;
	recipe_range(r, &range, next);
}

static void leader_say(struct recipe *r, int64_t revision, struct kv_pair *kv)
{
	struct kv_header header = gateway_header(r->s->g, revision);
	struct etcd_leader_result result = {&header, kv};

	grpc_send(r->s, &etcd_leader_result_pb, &result);
}

static void leader_found(struct recipe *r, const struct kv_range_result *t)
{
	if (t->kvs.n == 0) {
		grpc_status(r->s, GRPC_UNKNOWN, "election: no leader");
		return;
	}
	leader_say(r, t->header->revision, &t->kvs.v[0]);
	grpc_ok(r->s);
}

static struct recipe *leader_recipe(struct caller *k, const struct rpc_request *rpc, const struct etcd_leader *p)
{
	if (p->name.len <= RECIPE_NAME_BYTES)
		return recipe_new(GRPC_OF(k), p->name);
	caller_error(k, rpc->id, ERR_REQUEST_TOO_LARGE);
	return NULL;
}

void grpc_leader(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct recipe *r = leader_recipe(k, rpc, params);

	(void)g;
	if (r != NULL)
		leader_look(r, leader_found);
}

static void observe_found(struct recipe *r, const struct kv_range_result *t);

/* What the leader says; when its key has gone, the next leader is looked for. */
static void observe_leader(struct recipe *r, const struct watch_event *e)
{
	if (e == NULL || e->type == WATCH_EVENT_DELETE) {
		recipe_unwatch(r);
		leader_look(r, observe_found);
		return;
	}
	leader_say(r, e->kv->mod_revision, e->kv);
}

static void observe_follow(struct recipe *r, int64_t revision, struct kv_pair *kv)
{
	leader_say(r, revision, kv);
	recipe_watch(r, kv->key, bytes_of(NULL, 0), revision + 1, observe_leader);
}

/* Nobody led: the first key that is put does. */
static void observe_nobody(struct recipe *r, const struct watch_event *e)
{
	if (e == NULL)
		leader_look(r, observe_found);
	else if (e->type == WATCH_EVENT_PUT)
		observe_follow(r, e->kv->mod_revision, e->kv);
}

static void observe_found(struct recipe *r, const struct kv_range_result *t)
{
	uint8_t end[RECIPE_NAME_BYTES + 1];
	struct kv_range under;

	if (t->kvs.n > 0) {
		observe_follow(r, t->header->revision, &t->kvs.v[0]);
		return;
	}
	under = recipe_under(r, end);
	recipe_watch(r, under.key, under.range_end, t->header->revision + 1, observe_nobody);
}

void grpc_observe(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct recipe *r = leader_recipe(k, rpc, params);

	(void)g;
	if (r != NULL)
		leader_look(r, observe_found);
}
