/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_keepalive, lease_time_to_live, lease_list. (lease_grant and lease_revoke go through the log:
 * write.c.) leased knows what time is left; which leases there are and which keys are attached is
 * read from the mapped store.
 *
 *   time_to_live:  ASK --leased's answer--> INDEX --read index--> APPLIED --store is there--> answered
 *                         '-- no keys wanted, or no such lease --------------------------------^
 */
#include "base/check.h"
#include "base/err.h"
#include "gatewayd/gateway.h"
#include "mvcc/lease.h"
#include "proto/native.h"

/* The first member after the request in both, so that an answer finds its request. */
struct lease_request {
	struct request r;
	struct lease_ask ask;
};

/* ---- keepalive ---- */

static int keepalive_give_up(struct gateway *g, struct request *r)
{
	return lease_clnt_give_up(&g->lease, &container_of(r, struct lease_request, r)->ask);
}

static const struct request_kind keepalive_kind = {"lease_keepalive", keepalive_give_up, NULL};

void lease_keepalive(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct native_lease *p = params;
	struct lease_request *q = request_new(g, k, rpc->id, &keepalive_kind, sizeof *q);
	int err = lease_clnt_ask(&g->lease, &q->ask, LEASED_KEEPALIVE, p->id);

	counter_inc(&g->counters.keepalives_total);
	if (err != ERR_OK)
		request_error(g, &q->r, err);
}

static void keepalive_answer(struct gateway *g, struct lease_request *k)
{
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct native_keepalive_result result = {&header, k->ask.id, k->ask.ttl_s};

	request_result(g, &k->r, &native_keepalive_result_desc, &result);
}

/* ---- time to live ---- */

enum ttl_state { TTL_ASK, TTL_INDEX, TTL_APPLIED };

struct ttl {
	struct lease_request q;
	enum ttl_state state;
	struct raft_read index;
	struct store_wait applied;
	bool keys;
	struct bytes after;
	uint8_t after_bytes[];
};

static int ttl_give_up(struct gateway *g, struct request *r)
{
	struct ttl *t = container_of(r, struct ttl, q.r);

	if (t->state == TTL_ASK)
		return lease_clnt_give_up(&g->lease, &t->q.ask);
	if (t->state == TTL_INDEX)
		return raft_clnt_read_give_up(&g->raft, &t->index);
	return store_clnt_give_up(&g->store, &t->applied);
}

static const struct request_kind ttl_kind = {"lease_time_to_live", ttl_give_up, NULL};

void lease_time_to_live(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct native_time_to_live *p = params;
	struct ttl *t = request_new(g, k, rpc->id, &ttl_kind, sizeof *t + p->after.len);
	int err;

	t->keys = p->keys;
	if (p->after.len != 0)
		memcpy(t->after_bytes, p->after.data, p->after.len);
	t->after = bytes_of(t->after_bytes, p->after.len);
	err = lease_clnt_ask(&g->lease, &t->q.ask, LEASED_TTL, p->id);
	if (err != ERR_OK)
		request_error(g, &t->q.r, err);
}

static void ttl_answer(struct gateway *g, struct ttl *t, struct native_time_to_live_result *r)
{
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	const struct lease_ask *a = &t->q.ask;

	r->header = &header;
	r->id = a->id;
	r->ttl = a->ttl_s != 0 ? a->remaining_ms / 1000 : -1;
	r->granted_ttl = a->ttl_s;
	request_result(g, &t->q.r, &native_time_to_live_result_desc, r);
}

static void ttl_asked(struct gateway *g, struct ttl *t)
{
	struct native_time_to_live_result none = {.more = false};

	if (!t->keys || t->q.ask.ttl_s == 0) {
		ttl_answer(g, t, &none);
		return;
	}
	t->state = TTL_INDEX;
	t->index.kind = GATEWAY_LEASE;
	raft_clnt_read(&g->raft, &t->index);
}

/* The keys lie in the map: the answer is written before the view ends. */
static void ttl_read(struct gateway *g, struct ttl *t)
{
	struct native_time_to_live_result r = {.more = false};
	bool all = t->q.r.caller->ops->unpaged;
	size_t max = all ? LIMIT_LEASE_KEYS : LIMIT_LEASE_PAGE_ROWS;
	struct bytes *keys;
	struct mvcc_view *v;
	size_t n = 0;
	int rc = g->map.env != NULL ? mvcc_view_begin(g->map.env, &v) : ERR_STORE_DOWN;

	if (rc != ERR_OK) {
		request_error(g, &t->q.r, rc);
		return;
	}
	arena_reset(&g->arena);
	g->arena.max = GATEWAY_RESULT_ARENA;
	keys = arena_array(&g->arena, max, sizeof *keys);
	r.keys.v = arena_array(&g->arena, max, sizeof *r.keys.v);
	CHECK(keys != NULL && r.keys.v != NULL);
	rc = mvcc_view_lease_keys(v, t->q.ask.id, t->after,
				  all ? LIMIT_TXN_RESPONSE_BYTES : LIMIT_LEASE_PAGE_BYTES, keys, max, &n, &r.more);
	if (rc == ERR_OK && all && r.more)
		rc = ERR_RESPONSE_TOO_LARGE;
	for (size_t i = 0; i < n; i++)
		r.keys.v[i].key = keys[i];
	r.keys.n = n;
	if (rc != ERR_OK)
		request_error(g, &t->q.r, rc);
	else
		ttl_answer(g, t, &r);
	mvcc_view_end(&v);
}

void lease_indexed(struct gateway *g, struct raft_read *index)
{
	struct ttl *t = container_of(index, struct ttl, index);

	t->state = TTL_APPLIED;
	t->applied.kind = GATEWAY_LEASE;
	store_clnt_wait(&g->store, &t->applied, index->index);
}

void lease_applied(struct gateway *g, struct store_wait *applied)
{
	ttl_read(g, container_of(applied, struct ttl, applied));
}

/* ---- list ---- */

static int list_page(struct gateway *g, struct mvcc_view *v, int64_t after, size_t max,
		     struct native_lease_list_result *r)
{
	struct mvcc_lease *rows = arena_array(&g->arena, max + 1, sizeof *rows);
	size_t n = 0;
	int rc;

	r->leases.v = arena_array(&g->arena, max, sizeof *r->leases.v);
	CHECK(rows != NULL && r->leases.v != NULL);
	rc = mvcc_view_leases(v, after, rows, max + 1, &n);
	r->more = n > max;
	r->leases.n = n > max ? max : n;
	for (size_t i = 0; i < r->leases.n; i++)
		r->leases.v[i].id = rows[i].id;
	return rc;
}

/* Page by page, then all in one list. */
static int list_all(struct gateway *g, struct mvcc_view *v, struct native_lease_list_result *r)
{
	struct native_lease_list_result pages[LIMIT_LEASES / LIMIT_LEASE_PAGE_ROWS + 1] = {{.more = true}};
	size_t n = 0, total = 0;
	int64_t after = 0;
	int rc = ERR_OK;

	do {
		rc = list_page(g, v, after, LIMIT_LEASE_PAGE_ROWS, &pages[n]);
		if (rc != ERR_OK)
			return rc;
		total += pages[n].leases.n;
		if (pages[n].leases.n > 0)
			after = pages[n].leases.v[pages[n].leases.n - 1].id;
	} while (pages[n++].more && n < ARRAY_LEN(pages));
	r->leases.v = arena_array(&g->arena, total, sizeof *r->leases.v);
	CHECK(r->leases.v != NULL);
	for (size_t i = 0; i < n; i++) {
		if (pages[i].leases.n > 0)
			memcpy(r->leases.v + r->leases.n, pages[i].leases.v,
			       pages[i].leases.n * sizeof *r->leases.v);
		r->leases.n += pages[i].leases.n;
	}
	return ERR_OK;
}

void lease_list(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	const struct native_lease_list *p = params;
	struct native_lease_list_result r = {&header, .more = false};
	size_t max = LIMIT_LEASE_PAGE_ROWS;
	struct mvcc_view *v;
	int rc = g->map.env != NULL ? mvcc_view_begin(g->map.env, &v) : ERR_STORE_DOWN;

	if (p->limit > 0 && p->limit < (int64_t)max)
		max = (size_t)p->limit;
	arena_reset(&g->arena);
	g->arena.max = GATEWAY_RESULT_ARENA;
	if (rc == ERR_OK) {
		rc = k->ops->unpaged ? list_all(g, v, &r) : list_page(g, v, p->after, max, &r);
		mvcc_view_end(&v);
	}
	if (rc != ERR_OK) {
		caller_error(k, rpc->id, rc);
		return;
	}
	caller_result(k, rpc->id, &native_lease_list_result_desc, &r, ERR_TOO_MANY_REQUESTS);
}

/* ---- the turn ---- */

void lease_poll(struct gateway *g)
{
	struct lease_ask *a;

	while ((a = lease_clnt_pop(&g->lease)) != NULL) {
		struct lease_request *q = container_of(a, struct lease_request, ask);

		if (a->kind == LEASED_KEEPALIVE)
			keepalive_answer(g, q);
		else
			ttl_asked(g, container_of(q, struct ttl, q));
	}
}
