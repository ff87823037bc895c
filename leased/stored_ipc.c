/* SPDX-License-Identifier: Apache-2.0 */
/* stored of this node: which leases there are, and what becomes of them. */
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "leased/leased.h"

static void store_hello(void *arg, struct link_hello *out)
{
	struct leased *x = arg;

	*out = (struct link_hello){x->d->config->node_id, DAEMON_LEASED, x->d->incarnation, 0};
}

static int store_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct leased *x = arg;

	if (peer->node_id != x->d->config->node_id)
		return ERR_CONFIG;
	x->store = l;
	lessor_store_up(x->lessor);
	return ERR_OK;
}

static void store_down(void *arg, struct link *l, const char *reason)
{
	struct leased *x = arg;

	(void)l;
	x->store = NULL;
	log_warn("stored has gone: no lease expires until it is back reason=\"%s\"", reason);
	lessor_store_down(x->lessor);
}

static void on_lease(struct leased *x, const struct store_lease *e, mono_t now)
{
	struct lessor_row row = {e->id, e->ttl_s, e->remaining_ms, e->granted};

	if (e->gone)
		lessor_gone(x->lessor, e->id, now);
	else
		lessor_row(x->lessor, &row, now);
}

static int on_leases(struct leased *x, const struct store_leases *m)
{
	struct lessor_progress p = {m->applied, m->term, m->lessor, m->seq};
	mono_t now = mono_now();

	for (size_t i = 0; i < m->leases.n; i++) {
		const struct store_lease *e = &m->leases.v[i];

		if (e->id == 0 || e->ttl_s <= 0 || e->ttl_s > LIMIT_LEASE_TTL_S || e->remaining_ms < 0 ||
		    e->remaining_ms / 1000 > e->ttl_s)
			return ERR_MALFORMED;
		on_lease(x, e, now);
	}
	if (m->more)
		return ERR_OK;
	lessor_progress(x->lessor, &p, now);
	if (m->listed)
		lessor_listed(x->lessor, now);
	return ERR_OK;
}

static int store_msg(void *arg, struct link *l, const struct msg_in *in)
{
	(void)l;
	switch (in->row->number) {
	case MSG_NO_store_leases:
		return on_leases(arg, in->msg);
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

int leased_dial_stored(struct leased *x)
{
	static const struct link_ops ops = {store_hello, store_up, store_msg, store_down, NULL};
	char *path = daemon_socket(x->d, DAEMON_STORED, DAEMON_LEASED);
	struct link_setup s = {.loop = x->d->loop, .path = path, .messages = &link_leases,
			       .peer = DAEMON_STORED, .ops = &ops, .arg = x};
	int rc = link_dialer_open(&s, &x->store_dialer);

	mem_free(path);
	return rc;
}
