/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that hold leases: they are granted one, attach keys, keep it alive in time, or late, ask
 * how long it has left, end it, or fall silent. And gatewayd's part of it (gatewayd/lease.c).
 */
#include "base/check.h"
#include "base/err.h"
#include "tests/sim/sim_int.h"

enum { LEASE_KEYS = 4, LEASE_TTL_MAX_S = 3 };

static int64_t ttl_ms(const struct sim_holder *h)
{
	return h->ttl_s * 1000;
}

/* Under a new id, or under its last one, whether that lease has ended or not. */
static void begin_grant(struct sim_client *c, struct sim_node *n)
{
	struct sim *s = n->s;
	struct sim_holder *h = &c->h;
	struct lease_grant g;

	h->doubts = h->counter > 0 && sim_chance(s, SIM_CH_LEASE, 400);
	if (!h->doubts)
		h->counter++;
	h->id = (int64_t)c->id * 1000 + (int64_t)h->counter;
	h->ttl_s = 1 + (int64_t)sim_rand(s, SIM_CH_LEASE, LEASE_TTL_MAX_S);
	h->granted = 0;
	h->granting = true;
	h->sent_ns = sim_fastest(s);
	g = (struct lease_grant){h->id, h->ttl_s};
	sim_client_propose(c, n, &(struct command){.lease_grant = &g});
}

static void begin_attach(struct sim_client *c, struct sim_node *n)
{
	char key[8];
	struct kv_put p = {.value = bytes_str("held"), .lease = c->h.id};

	p.key = bytes_of(key, (size_t)snprintf(key, sizeof key, "m%u",
					       (unsigned)sim_rand(n->s, SIM_CH_LEASE, LEASE_KEYS)));
	sim_client_propose(c, n, &(struct command){.put = &p});
}

/* Half of them go on as if it had not been, as somebody else might who does not know of it. */
static void begin_revoke(struct sim_client *c, struct sim_node *n)
{
	struct lease_revoke r = {c->h.id};

	c->h.doubts = sim_chance(n->s, SIM_CH_LEASE, 500);
	if (!c->h.doubts)
		c->h.id = 0;
	sim_client_propose(c, n, &(struct command){.lease_revoke = &r});
}

static void begin_ask(struct sim_client *c, struct sim_node *n, enum leased_ask_kind kind)
{
	c->write = c->h.doubts = false;
	c->h.asking = true;
	c->h.sent_ns = sim_fastest(n->s);
	CHECK(lease_clnt_ask(&n->gateway.lease, &c->h.ask, kind, c->h.id) == ERR_OK);
}

void sim_holder_begin(struct sim_client *c, struct sim_node *n)
{
	uint64_t dice = sim_rand(n->s, SIM_CH_LEASE, 1000);

	c->write = true;
	c->linear = false;
	if (c->h.id != 0 && dice < 60)
		c->h.id = 0;             /* it has died, and somebody else begins in its place */
	if (c->h.id == 0)
		begin_grant(c, n);
	else if (c->h.doubts)
		begin_ask(c, n, dice < 430 ? LEASED_TTL : LEASED_KEEPALIVE);
	else if (dice < 110)
		begin_revoke(c, n);
	else if (dice < 350)
		begin_attach(c, n);
	else
		begin_ask(c, n, dice < 430 ? LEASED_TTL : LEASED_KEEPALIVE);
}

/* Until it does something again: at a third of its TTL, as it should, or too late. */
mono_t sim_holder_next(struct sim_client *c, struct sim *s)
{
	uint64_t dice = sim_rand(s, SIM_CH_LEASE, 1000);
	int64_t ttl = c->h.id != 0 ? ttl_ms(&c->h) : 300;

	if (c->h.id != 0 && c->h.doubts)
		return sim_soon(s, SIM_CH_LEASE, 10, 5000);
	if (s->calm || dice < 300)
		return sim_soon(s, SIM_CH_LEASE, 1000, 60000);
	if (dice < 750)
		return mono_add_ms(s->now, ttl / 3);
	return mono_add_ms(s->now, ttl / 2 + (int64_t)sim_rand(s, SIM_CH_LEASE, (uint64_t)ttl));
}

void sim_holder_written(struct sim_client *c, struct sim *s, int error)
{
	struct sim_holder *h = &c->h;

	if (error != ERR_OK && error != ERR_OUTCOME_UNKNOWN)
		h->id = 0;
	if (!h->granting)
		return;
	h->granting = false;
	if (error == ERR_OUTCOME_UNKNOWN)
		h->id = 0;
	if (h->id == 0)
		return;
	h->granted = c->at;
	sim_life_relied(s, c);
}

void sim_holder_give_up(struct sim_client *c)
{
	if (c->h.asking)
		(void)lease_clnt_give_up(&c->node->gateway.lease, &c->h.ask);
	if (c->h.granting)
		c->h.id = 0;             /* it may have been granted: nobody will keep it alive */
	c->h.asking = c->h.granting = false;
}

static void answered(struct sim_client *c)
{
	struct sim *s = c->node->s;
	struct sim_holder *h = &c->h;
	const struct lease_ask *a = &h->ask;

	h->asking = false;
	if (a->ttl_s == 0) {
		sim_life_denied(s, c);
		h->id = 0;
	} else if (a->ttl_s != h->ttl_s || a->remaining_ms < 0 || a->remaining_ms > ttl_ms(h)) {
		sim_fail(s, "lease: client %u was granted %lld s and is told of %lld s, %lld ms left", c->id,
			 (long long)h->ttl_s, (long long)a->ttl_s, (long long)a->remaining_ms);
	} else {
		s->out->kept += a->kind == LEASED_KEEPALIVE;
		sim_life_affirmed(s, c);
	}
	sim_client_finish(c, true);
}

/* ---- gatewayd ---- */

void sim_gateway_leased_msg(struct sim_node *n, const struct msg_in *in)
{
	if (lease_clnt_msg(&n->gateway.lease, in, sim_clock(n)) != ERR_OK)
		sim_fail(n->s, "node %llu: gatewayd calls a message of leased malformed", (unsigned long long)n->id);
}

void sim_gateway_leases(struct sim_node *n)
{
	struct lease_ask *a;

	while ((a = lease_clnt_pop(&n->gateway.lease)) != NULL)
		answered(container_of(a, struct sim_client, h.ask));
	while (lease_clnt_flush(&n->gateway.lease, sim_clock(n)))
		continue;
}
