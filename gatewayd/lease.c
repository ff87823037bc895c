/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_keepalive, lease_time_to_live, lease_list. (lease_grant and lease_revoke go through the log:
 * write.c.) leased knows what time is left; which leases there are and which keys are attached is
 * read from the mapped store, in turns with other reads (read.c).
 *
 *   time_to_live:  asked --leased's answer--> a linearizable read of the keys --> answered
 *                         '-- no keys wanted, or no such lease -----------------------^
 */
#include "base/check.h"
#include "base/err.h"
#include "gatewayd/read_own.h"
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

static const struct request_kind keepalive_kind = {"lease_keepalive", keepalive_give_up, .question = false};

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

struct ttl {
	struct lease_request q;
	bool keys;
	size_t after_len;             /* counted as a read's parameters, until leased has answered */
	uint8_t after[];
};

static void ttl_uncount(struct gateway *g, struct ttl *t)
{
	g->reads.bytes -= t->after_len;
	t->after_len = 0;
}

static int ttl_give_up(struct gateway *g, struct request *r)
{
	struct ttl *t = container_of(r, struct ttl, q.r);

	ttl_uncount(g, t);
	return lease_clnt_give_up(&g->lease, &t->q.ask);
}

static const struct request_kind ttl_kind = {"lease_time_to_live", ttl_give_up, .question = false};

void lease_time_to_live(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct native_time_to_live *p = params;
	struct ttl *t;
	int err;

	if (g->reads.bytes + p->after.len > LIMIT_GATEWAY_READ_BYTES) {
		caller_error(k, rpc->id, ERR_TOO_MANY_REQUESTS);
		return;
	}
	t = request_new(g, k, rpc->id, &ttl_kind, sizeof *t + p->after.len);
	t->keys = p->keys;
	if (p->after.len != 0)
		memcpy(t->after, p->after.data, p->after.len);
	err = lease_clnt_ask(&g->lease, &t->q.ask, LEASED_TTL, p->id);
	if (err != ERR_OK) {
		request_error(g, &t->q.r, err);
		return;
	}
	t->after_len = p->after.len;
	g->reads.bytes += p->after.len;
}

static struct native_time_to_live_result ttl_result(const struct lease_ask *a)
{
	return (struct native_time_to_live_result){
		.id = a->id, .ttl = a->ttl_s != 0 ? a->remaining_ms / 1000 : -1, .granted_ttl = a->ttl_s,
	};
}

/* The keys lie in the map: the answer is written before the view ends. */
static void ttl_look(struct gateway *g, struct read *rd, struct mvcc_view *v)
{
	struct kv_header header = gateway_header(g, mvcc_view_info(v)->revision);
	struct native_time_to_live_result r = rd->ttl;
	bool all = rd->r.caller->ops->unpaged;
	size_t max = all ? LIMIT_LEASE_KEYS : LIMIT_LEASE_PAGE_ROWS, n = 0;
	struct bytes *keys;
	int rc;

	arena_reset(&g->arena);
	g->arena.max = GATEWAY_RESULT_ARENA;
	keys = arena_array(&g->arena, max, sizeof *keys);
	r.header = &header;
	r.keys.v = arena_array(&g->arena, max, sizeof *r.keys.v);
	CHECK(keys != NULL && r.keys.v != NULL);
	rc = mvcc_view_lease_keys(v, r.id, bytes_of(rd->params, rd->params_len),
				  all ? LIMIT_TXN_RESPONSE_BYTES : LIMIT_LEASE_PAGE_BYTES, keys, max, &n, &r.more);
	if (rc == ERR_OK && all && r.more)
		rc = ERR_RESPONSE_TOO_LARGE;
	if (rc != ERR_OK) {
		read_fail(g, rd, rc);
		return;
	}
	for (size_t i = 0; i < n; i++)
		r.keys.v[i].key = keys[i];
	r.keys.n = n;
	read_end(g, rd);
	request_result(g, &rd->r, &native_time_to_live_result_desc, &r);
}

/* With keys it goes on as a read. */
static void ttl_asked(struct gateway *g, struct ttl *t)
{
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct native_time_to_live_result r = ttl_result(&t->q.ask);
	struct bytes after = bytes_of(t->after, t->after_len);
	struct read *rd;

	ttl_uncount(g, t);
	if (!t->keys || r.granted_ttl == 0) {
		r.header = &header;
		request_result(g, &t->q.r, &native_time_to_live_result_desc, &r);
		return;
	}
	rd = read_instead(g, &t->q.r, after, ttl_look);
	if (rd != NULL)
		rd->ttl = r;
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

static void list_look(struct gateway *g, struct read *rd, struct mvcc_view *v)
{
	struct kv_header header = gateway_header(g, mvcc_view_info(v)->revision);
	struct native_lease_list_result r = {&header, .more = false};
	const struct native_lease_list *p = &rd->leases;
	struct caller *k = rd->r.caller;
	uint32_t id = rd->r.id;
	size_t max = LIMIT_LEASE_PAGE_ROWS;
	int rc;

	if (p->limit > 0 && p->limit < (int64_t)max)
		max = (size_t)p->limit;
	arena_reset(&g->arena);
	g->arena.max = GATEWAY_RESULT_ARENA;
	rc = k->ops->unpaged ? list_all(g, v, &r) : list_page(g, v, p->after, max, &r);
	if (rc != ERR_OK) {
		read_fail(g, rd, rc);
		return;
	}
	read_end(g, rd);
	request_forget(g, &rd->r);
	caller_result(k, id, &native_lease_list_result_desc, &r, ERR_TOO_MANY_REQUESTS);
}

void lease_list(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct native_lease_list *p = params;
	struct read *rd = read_local(g, k, rpc, list_look);

	if (rd != NULL)
		rd->leases = *p;
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
