/* SPDX-License-Identifier: Apache-2.0 */
/* What probes and scrapers ask for, with etcd's paths and answers: /version, /health, /livez, /readyz, /metrics. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/etcd/grpc.h"
#include "gatewayd/http/http1.h"
#include "gatewayd/http/metrics.h"
#include "gatewayd/read_own.h"

static const char plain_text[] = "text/plain; charset=utf-8", plain_json[] = "application/json";

/* What is checked, by etcd's names. There are no learners yet, and a damaged store is not served at all. */
enum { PLAIN_STORE = 1, PLAIN_QUORUM = 2, PLAIN_DAMAGE = 4, PLAIN_MEMBER = 8, PLAIN_ALL = 15 };

static const struct {
	const char *name;
	uint32_t check;
} plain_check_names[] = {
	{"serializable_read", PLAIN_STORE}, {"linearizable_read", PLAIN_QUORUM}, {"data_corruption", PLAIN_DAMAGE},
	{"non_learner", PLAIN_MEMBER},
};

/* A question to the services, whose answer is words. */
struct http_plain {
	struct caller caller;
	struct http1 *h;
	uint32_t checks;              /* PLAIN_STORE... */
	bool health;                  /* as /health says it; else as /livez does */
	bool verbose;
	bool metrics;
	int err;                      /* of the question */
};

#define PLAIN_OF(k) container_of((k), struct http_plain, caller)

/* ---- /health, /livez, /readyz ---- */

static void plain_health(struct http_plain *p)
{
	char text[512];
	const char *why = p->h->g->raft.state.leader == 0 && (p->checks & PLAIN_QUORUM) != 0 ? "RAFT NO LEADER" : err_text(p->err);

	if (p->err == ERR_OK)
		(void)snprintf(text, sizeof text, "{\"health\":\"true\",\"reason\":\"\"}");
	else
		(void)snprintf(text, sizeof text, "{\"health\":\"false\",\"reason\":\"%s\"}", why);
	http1_say(p->h, p->err == ERR_OK ? 200 : 503, plain_json, text);
}

static int plain_check(const struct http_plain *p, uint32_t check)
{
	if (check == PLAIN_STORE)
		return p->h->g->map.env != NULL ? ERR_OK : ERR_STORE_DOWN;
	return check == PLAIN_QUORUM ? p->err : ERR_OK;
}

/* As etcd: a line for each check if one has failed, or if they are asked for. */
static void plain_checks(struct http_plain *p)
{
	struct http1 *h = p->h;
	bool passed = true;

	for (size_t i = 0; i < ARRAY_LEN(plain_check_names); i++)
		if ((p->checks & plain_check_names[i].check) != 0 && plain_check(p, plain_check_names[i].check) != ERR_OK)
			passed = false;
	http1_answer(h, passed ? 200 : 503, plain_text);
	for (size_t i = 0; i < ARRAY_LEN(plain_check_names); i++) {
		int err = plain_check(p, plain_check_names[i].check);

		if ((p->checks & plain_check_names[i].check) == 0 || (passed && !p->verbose))
			continue;
		if (err == ERR_OK)
			buf_printf(&h->text, "[+]%s ok\n", plain_check_names[i].name);
		else
			buf_printf(&h->text, "[-]%s failed: %s\n", plain_check_names[i].name, err_text(err));
	}
	if (passed)
		buf_str(&h->text, "ok\n");
	http1_done(h);
}

static void plain_known(struct http_plain *p, int err)
{
	p->err = err;
	if (p->health)
		plain_health(p);
	else
		plain_checks(p);
}

static void plain_fenced(struct gateway *g, struct read *rd)
{
	struct http_plain *p = PLAIN_OF(rd->r.caller);

	read_end(g, rd);
	request_forget(g, &rd->r);
	plain_known(p, ERR_OK);
}

/* ---- as a caller of the services ---- */

static void plain_error(struct caller *k, uint32_t id, int err)
{
	struct http_plain *p = PLAIN_OF(k);

	(void)id;
	if (p->metrics)
		http1_say(p->h, 503, plain_text, err_text(err));
	else
		plain_known(p, err);
}

static void plain_result(struct caller *k, uint32_t id, const struct msg_desc *d, const void *result, int lost)
{
	struct http1 *h = PLAIN_OF(k)->h;

	(void)id;
	(void)d;
	(void)lost;
	http1_answer(h, 200, "text/plain; version=0.0.4; charset=utf-8");
	http_metrics(h->g, result, &h->text);
	http1_done(h);
}

static bool plain_room(struct caller *k)
{
	(void)k;
	return true;
}

static size_t plain_waiting(struct caller *k)
{
	(void)k;
	return 0;
}

/* No question of ours is answered in pieces. */
static const struct caller_ops plain_ops = {
	.form = &form_native,
	.error = plain_error,
	.result = plain_result,
	.room = plain_room,
	.waiting = plain_waiting,
};

/* ---- life ---- */

static void plain_body(struct http1 *h, struct bytes piece, bool last)
{
	(void)h;
	(void)piece;
	(void)last;
}

static void plain_gone(struct http1 *h)
{
	struct http_plain *p = h->x;

	if (p == NULL)
		return;
	request_drop(h->g, &p->caller);
	mem_free(p);
}

static const struct http_handler plain_handler = {.body = plain_body, .gone = plain_gone};

static struct http_plain *plain_new(struct http1 *h)
{
	struct http_plain *p = mem_alloc(sizeof *p);

	caller_init(&p->caller, &plain_ops);
	p->h = h;
	h->x = p;
	return p;
}

static bool plain_asked(const struct http1 *h, const char *name, const char *value)
{
	struct bytes n, v;

	for (size_t at = 0; http_query_next(h->req.query, &at, &n, &v);)
		if (bytes_eq(n, bytes_str(name)) && (value == NULL || bytes_eq(v, bytes_str(value))))
			return true;
	return false;
}

static void plain_probe(struct http1 *h, bool health, uint32_t checks)
{
	struct http_plain *p = plain_new(h);
	struct rpc_request rpc = {1, bytes_str("health"), bytes_of(NULL, 0)};

	p->health = health;
	p->checks = checks;
	p->verbose = plain_asked(h, "verbose", NULL);
	for (size_t i = 0; i < ARRAY_LEN(plain_check_names) && !health; i++)
		if (plain_asked(h, "exclude", plain_check_names[i].name))
			p->checks &= ~plain_check_names[i].check;
	if ((p->checks & PLAIN_QUORUM) != 0)
		(void)read_fence(h->g, &p->caller, &rpc, plain_fenced);
	else
		plain_known(p, h->g->map.env != NULL ? ERR_OK : ERR_STORE_DOWN);
}

static void plain_version(struct http1 *h)
{
	http1_say(h, 200, plain_json, "{\"etcdserver\":\"" ETCD_VERSION "\",\"etcdcluster\":\"" ETCD_VERSION
		  "\",\"storage\":\"" ETCD_VERSION "\"}");
}

static void plain_metrics(struct http1 *h)
{
	struct rpc_request rpc = {1, bytes_str("status"), bytes_of(NULL, 0)};
	struct http_plain *p = plain_new(h);

	p->metrics = true;
	info_status(h->g, &p->caller, &rpc, NULL);
}

enum plain_what { PLAIN_VERSION, PLAIN_HEALTH, PLAIN_CHECKS, PLAIN_METRICS };

struct plain_path {
	const char *path;
	enum plain_what is;
	uint32_t checks;
};

static const struct plain_path *plain_path(struct bytes path)
{
	static const struct plain_path rows[] = {
		{"/version", PLAIN_VERSION, 0}, {"/health", PLAIN_HEALTH, 0}, {"/metrics", PLAIN_METRICS, 0},
		{"/livez", PLAIN_CHECKS, PLAIN_STORE}, {"/livez/serializable_read", PLAIN_CHECKS, PLAIN_STORE},
		{"/readyz", PLAIN_CHECKS, PLAIN_ALL}, {"/readyz/serializable_read", PLAIN_CHECKS, PLAIN_STORE},
		{"/readyz/linearizable_read", PLAIN_CHECKS, PLAIN_QUORUM},
		{"/readyz/data_corruption", PLAIN_CHECKS, PLAIN_DAMAGE}, {"/readyz/non_learner", PLAIN_CHECKS, PLAIN_MEMBER},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (bytes_eq(path, bytes_str(rows[i].path)))
			return &rows[i];
	return NULL;
}

bool http_plain_begin(struct http1 *h)
{
	const struct plain_path *path = plain_path(h->req.path);

	if (path == NULL)
		return false;
	h->handler = &plain_handler;
	if (!bytes_eq(h->req.method, bytes_str("GET")))
		http1_say(h, 405, plain_text, "Method Not Allowed\n");
	else if (path->is == PLAIN_VERSION)
		plain_version(h);
	else if (path->is == PLAIN_HEALTH)
		plain_probe(h, true, plain_asked(h, "serializable", "true") ? PLAIN_STORE : PLAIN_QUORUM);
	else if (path->is == PLAIN_METRICS)
		plain_metrics(h);
	else
		plain_probe(h, false, path->checks);
	return true;
}
