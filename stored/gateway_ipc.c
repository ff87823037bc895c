/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results and progress to the gatewayds of this node, and answers to what they ask. A gatewayd that
 * does not take its results is dropped: it comes back, proposes again what it has no answer to, and
 * the table of recent ids answers. Nothing waits for it.
 */
#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "stored/stored.h"

enum { GATEWAY_KEEP_BYTES = MIB };

static void gateway_hello(void *arg, struct link_hello *out)
{
	struct stored *s = arg;

	out->node_id = s->d->config->node_id;
	out->daemon = DAEMON_STORED;
	out->incarnation = s->d->incarnation;
	out->resume = s->store.generation.generation;
}

static struct gateway *gateway_of(struct stored *s, const struct link *l)
{
	for (size_t i = 0; i < LIMIT_STORE_GATEWAYS; i++)
		if (s->gateways[i].link == l)
			return &s->gateways[i];
	return NULL;
}

static struct gateway *gateway_by_incarnation(struct stored *s, uint64_t incarnation)
{
	for (size_t i = 0; i < LIMIT_STORE_GATEWAYS; i++)
		if (s->gateways[i].link != NULL && s->gateways[i].incarnation == incarnation)
			return &s->gateways[i];
	return NULL;
}

static void gateway_gone(struct gateway *g)
{
	mem_free(g->results);
	buf_free(&g->bytes);
	*g = (struct gateway){.link = NULL};
}

static void gateway_drop(struct stored *s, struct gateway *g, const char *reason)
{
	struct link *l = g->link;

	log_warn("gatewayd dropped incarnation=%016" PRIx64 " reason=\"%s\"", g->incarnation, reason);
	counter_inc(&s->counters.gateways_dropped);
	hashes_forget(s, l);
	gateway_gone(g);
	link_drop(l, reason);
}

static void gateway_send(struct stored *s, struct gateway *g, uint32_t number, const struct msg_desc *d,
			 const void *msg)
{
	if (g->link != NULL && link_send(g->link, number, d, msg) != ERR_OK)
		gateway_drop(s, g, "it does not take what it is sent");
}

/* ---- results ---- */

void stored_keep_result(struct stored *s, uint64_t index, const struct apply_result *r)
{
	struct gateway *g = gateway_by_incarnation(s, r->gateway);

	if (g == NULL) {
		counter_inc(&s->counters.results_homeless);
		return;
	}
	if (g->n == g->cap) {
		g->cap = g->cap ? g->cap * 2 : 64;
		g->results = mem_grow(g->results, g->cap, sizeof *g->results);
	}
	g->results[g->n++] = (struct gateway_result){r->seq, index, g->bytes.len, r->result.len};
	buf_add_bytes(&g->bytes, r->result);
	CHECK(g->bytes.err == ERR_OK);   /* bounded by what one transaction may hold */
}

/* How many of the results from `from` on go into one message. */
static size_t results_fit(const struct gateway *g, size_t from)
{
	size_t bytes = 0, n = 0;

	while (from + n < g->n && n < LIMIT_BATCH_ITEMS) {
		bytes += g->results[from + n].len + 64;
		if (n > 0 && bytes > LIMIT_BATCH_BYTES)
			break;
		n++;
	}
	return n;
}

static void results_send(struct stored *s, struct gateway *g)
{
	static struct store_result items[LIMIT_BATCH_ITEMS];
	struct store_results m;

	for (size_t from = 0, n; from < g->n && g->link != NULL; from += n) {
		n = results_fit(g, from);
		for (size_t i = 0; i < n; i++) {
			const struct gateway_result *r = &g->results[from + i];

			items[i] = (struct store_result){r->seq, r->index, bytes_of(g->bytes.data + r->offset, r->len)};
		}
		m.results.v = items;
		m.results.n = n;
		counter_add(&s->counters.results_sent, (int64_t)n);
		gateway_send(s, g, MSG_NO_store_results, &store_results_desc, &m);
	}
	g->n = 0;
	buf_clear(&g->bytes);
	buf_shrink(&g->bytes, GATEWAY_KEEP_BYTES);
}

static void progress_send(struct stored *s, struct gateway *g)
{
	const struct mvcc_state *c = &s->store.committed;
	struct store_progress m = {s->store.generation.generation, c->applied, c->revision,
				   c->compact_revision, c->compacted_revision};

	gateway_send(s, g, MSG_NO_store_progress, &store_progress_desc, &m);
}

void stored_tell_gateways(struct stored *s)
{
	for (size_t i = 0; i < LIMIT_STORE_GATEWAYS; i++) {
		if (s->gateways[i].link == NULL)
			continue;
		results_send(s, &s->gateways[i]);
		if (s->gateways[i].link != NULL)
			progress_send(s, &s->gateways[i]);
	}
}

void stored_drop_gateways(struct stored *s, const char *reason)
{
	for (size_t i = 0; i < LIMIT_STORE_GATEWAYS; i++)
		if (s->gateways[i].link != NULL)
			gateway_drop(s, &s->gateways[i], reason);
}

/* ---- coming and going ---- */

static int gateway_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct stored *s = arg;
	struct gateway *g;

	if (peer->node_id != s->d->config->node_id) {
		log_error("gatewayd belongs to another node node=%" PRIu64, peer->node_id);
		return ERR_CONFIG;
	}
	g = gateway_by_incarnation(s, peer->incarnation);
	if (g != NULL)
		gateway_drop(s, g, "its new link has come");
	g = gateway_of(s, NULL);
	if (g == NULL)
		return ERR_TOO_MANY_REQUESTS;
	*g = (struct gateway){.link = l, .incarnation = peer->incarnation};
	buf_init(&g->bytes, 0);
	log_info("gatewayd is there incarnation=%016" PRIx64, peer->incarnation);
	progress_send(s, g);
	return ERR_OK;
}

static void gateway_down(void *arg, struct link *l, const char *reason)
{
	struct stored *s = arg;
	struct gateway *g = gateway_of(s, l);

	hashes_forget(s, l);
	if (g == NULL)
		return;
	log_info("gatewayd has gone incarnation=%016" PRIx64 " reason=\"%s\"", g->incarnation, reason);
	gateway_gone(g);
}

/* ---- questions ---- */

static int status_answer(struct stored *s, struct link *l, const struct store_status_ask *ask)
{
	const struct mvcc_state *c = &s->store.committed;
	struct store_status_result m = {
		.ctx = ask->ctx, .applied = c->applied, .revision = c->revision,
		.compact_revision = c->compact_revision, .store_bytes = s->stat.file_bytes,
		.used_bytes = s->stat.file_bytes - s->stat.free_bytes, .keys = c->keys,
		.apply_hash = bytes_of(c->apply_hash, sizeof c->apply_hash),
		.age_ms = mono_sub_ms(loop_now(s->d->loop), s->d->started), .raftd_up = s->raftd != NULL,
	};

	return link_send(l, MSG_NO_store_status_result, &store_status_result_desc, &m);
}

static int gateway_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct stored *s = arg;

	if (gateway_of(s, l) == NULL || s->stopping)
		return ERR_CLOSED;
	switch (in->row->number) {
	case MSG_NO_store_status_ask:
		return status_answer(s, l, in->msg);
	case MSG_NO_store_hash_ask:
		hashes_ask(s, l, in->msg);
		return ERR_OK;
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

int stored_open_gateways(struct stored *s)
{
	static const struct link_ops ops = {gateway_hello, gateway_up, gateway_msg, gateway_down, NULL};
	char *path = daemon_socket(s->d, DAEMON_STORED, DAEMON_GATEWAYD);
	struct link_setup setup = {.loop = s->d->loop, .path = path, .messages = &link_store,
				   .peer = DAEMON_GATEWAYD, .ops = &ops, .arg = s,
				   .max_links = LIMIT_STORE_GATEWAYS};
	int rc = link_server_open(&setup, &s->gateway_server);

	mem_free(path);
	return rc;
}
