/* SPDX-License-Identifier: Apache-2.0 */
/* The gatewayds of this node: they come, ask, and go. What is said is serve.c's. */
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "watchd/watchd.h"

static void gateway_hello(void *arg, struct link_hello *out)
{
	struct watchd *w = arg;

	*out = (struct link_hello){w->d->config->node_id, DAEMON_WATCHD, w->d->incarnation, 0};
}

static struct watchd_gateway *gateway_of(struct watchd *w, const struct link *l)
{
	for (size_t i = 0; i < LIMIT_WATCH_GATEWAYS; i++)
		if (w->gateways[i].link == l)
			return &w->gateways[i];
	return NULL;
}

static struct watchd_gateway *gateway_by_incarnation(struct watchd *w, uint64_t incarnation)
{
	for (size_t i = 0; i < LIMIT_WATCH_GATEWAYS; i++)
		if (w->gateways[i].link != NULL && w->gateways[i].incarnation == incarnation)
			return &w->gateways[i];
	return NULL;
}

static int gateway_send(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct watchd_gateway *g = arg;

	return link_send(g->link, number, d, msg);
}

static void gateway_gone(struct watchd *w, struct watchd_gateway *g)
{
	serve_close(w->serve, &g->peer);
	g->link = NULL;
}

static void gateway_drop(struct watchd *w, struct watchd_gateway *g, const char *reason)
{
	struct link *l = g->link;

	log_warn("gatewayd dropped incarnation=%016" PRIx64 " reason=\"%s\"", g->incarnation, reason);
	gateway_gone(w, g);
	link_drop(l, reason);
}

/* It comes back and registers its watches again. */
void watchd_drop_failed(struct watchd *w)
{
	for (size_t i = 0; i < LIMIT_WATCH_GATEWAYS; i++) {
		if (w->gateways[i].link == NULL || !w->gateways[i].peer.failed)
			continue;
		counter_inc(&w->counters.gateways_dropped_total);
		gateway_drop(w, &w->gateways[i], "it does not take what it is sent");
	}
}

static int gateway_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct watchd *w = arg;
	struct watchd_gateway *g;
	struct clnt_io io = {.send = gateway_send};
	struct watch_hail hail = {mono_sub_ms(loop_now(w->d->loop), w->d->started)};

	if (peer->node_id != w->d->config->node_id) {
		log_error("gatewayd belongs to another node node=%" PRIu64, peer->node_id);
		return ERR_CONFIG;
	}
	g = gateway_by_incarnation(w, peer->incarnation);
	if (g != NULL)
		gateway_drop(w, g, "its new link has come");
	g = gateway_of(w, NULL);
	if (g == NULL)
		return ERR_TOO_MANY_REQUESTS;
	g->w = w;
	g->link = l;
	g->incarnation = peer->incarnation;
	io.arg = g;
	serve_open(w->serve, &g->peer, &io);
	(void)link_send(l, MSG_NO_watch_hail, &watch_hail_desc, &hail);
	log_info("gatewayd is there incarnation=%016" PRIx64, peer->incarnation);
	return ERR_OK;
}

static void gateway_down(void *arg, struct link *l, const char *reason)
{
	struct watchd *w = arg;
	struct watchd_gateway *g = gateway_of(w, l);

	if (g == NULL)
		return;
	log_info("gatewayd has gone incarnation=%016" PRIx64 " reason=\"%s\"", g->incarnation, reason);
	gateway_gone(w, g);
}

static int gateway_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct watchd *w = arg;
	struct watchd_gateway *g = gateway_of(w, l);
	int rc;

	if (g == NULL)
		return ERR_CLOSED;
	rc = serve_msg(w->serve, &g->peer, in, loop_now(w->d->loop));
	serve_effects(w->serve);
	return rc;
}

int watchd_open_gateways(struct watchd *w)
{
	static const struct link_ops ops = {gateway_hello, gateway_up, gateway_msg, gateway_down, NULL};
	char *path = daemon_socket(w->d, DAEMON_WATCHD, DAEMON_GATEWAYD);
	struct link_setup setup = {.loop = w->d->loop, .path = path, .messages = &link_watch,
				   .peer = DAEMON_GATEWAYD, .ops = &ops, .arg = w,
				   .max_links = LIMIT_WATCH_GATEWAYS};
	int rc = link_server_open(&setup, &w->server);

	mem_free(path);
	return rc;
}
