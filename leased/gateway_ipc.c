/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gatewayds of this node. One that does not take its answers is dropped: it comes back and asks
 * again what it still wants to know.
 */
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "leased/leased.h"

_Static_assert((int)LEASED_KEEPALIVE == (int)LESSOR_KEEPALIVE && (int)LEASED_TTL == (int)LESSOR_TTL,
	       "kinds have one numbering");

static void gateway_hello(void *arg, struct link_hello *out)
{
	struct leased *x = arg;

	*out = (struct link_hello){x->d->config->node_id, DAEMON_LEASED, x->d->incarnation, 0};
}

static int gateway_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct leased *x = arg;
	struct leased_here here = {mono_sub_ms(mono_now(), x->d->started)};

	if (peer->node_id != x->d->config->node_id)
		return ERR_CONFIG;
	if (x->n_gateways == LEASED_GATEWAYS)
		return ERR_LIMIT;
	x->gateways[x->n_gateways++] = l;
	(void)link_send(l, MSG_NO_leased_here, &leased_here_desc, &here);
	return ERR_OK;
}

static void gateway_down(void *arg, struct link *l, const char *reason)
{
	struct leased *x = arg;

	(void)reason;
	for (size_t i = 0; i < x->n_gateways; i++)
		if (x->gateways[i] == l)
			x->gateways[i] = x->gateways[--x->n_gateways];
}

void leased_answer_gateway(struct leased *x, uint64_t gateway, struct leased_answer *v, size_t n)
{
	struct leased_answers m;
	struct link *l = NULL;
	int rc;

	for (size_t i = 0; i < x->n_gateways; i++)
		if (link_is_up(x->gateways[i]) && link_peer(x->gateways[i])->incarnation == gateway)
			l = x->gateways[i];
	if (l == NULL) {
		counter_add(&x->counters.answers_homeless, (int64_t)n);
		return;
	}
	m.answers.v = v;
	m.answers.n = n;
	rc = link_send(l, MSG_NO_leased_answers, &leased_answers_desc, &m);
	if (rc != ERR_OK && rc != ERR_CLOSED)
		link_drop(l, "it does not take its answers");
}

static int on_asks(struct leased *x, struct link *l, const struct leased_asks *m)
{
	uint64_t gateway = link_peer(l)->incarnation;
	mono_t now = mono_now();

	for (size_t i = 0; i < m->asks.n; i++)
		if (m->asks.v[i].kind != LEASED_KEEPALIVE && m->asks.v[i].kind != LEASED_TTL)
			return ERR_MALFORMED;
	counter_add(&x->counters.asks, (int64_t)m->asks.n);
	for (size_t i = 0; i < m->asks.n; i++) {
		const struct leased_ask *a = &m->asks.v[i];
		struct lessor_ask ask = {0, gateway, a->ctx, (enum lessor_ask_kind)a->kind, a->id};

		lessor_ask(x->lessor, &ask, now);
	}
	return ERR_OK;
}

static int gateway_msg(void *arg, struct link *l, const struct msg_in *in)
{
	switch (in->row->number) {
	case MSG_NO_leased_asks:
		return on_asks(arg, l, in->msg);
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

int leased_open_gateways(struct leased *x)
{
	static const struct link_ops ops = {gateway_hello, gateway_up, gateway_msg, gateway_down, NULL};
	char *path = daemon_socket(x->d, DAEMON_LEASED, DAEMON_GATEWAYD);
	struct link_setup s = {.loop = x->d->loop, .path = path, .messages = &link_lease,
			       .peer = DAEMON_GATEWAYD, .ops = &ops, .arg = x,
			       .max_links = LEASED_GATEWAYS};
	int rc = link_server_open(&s, &x->gateway_server);

	mem_free(path);
	return rc;
}
