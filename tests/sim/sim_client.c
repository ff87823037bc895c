/* SPDX-License-Identifier: Apache-2.0 */
/* Clients: each asks one thing at a time of some gatewayd, waits for the answer, or gives up. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/sim/sim_int.h"

enum { CLIENT_VALUE = 160 };

struct words {                       /* memory of one command until it is encoded */
	char key[4][16], value[2][CLIENT_VALUE + 32];
	struct kv_put put[2];
	struct kv_delete del;
	struct kv_range range;
	struct kv_compare compare;
	struct kv_op yes[2], no[1];
	struct kv_txn txn;
	struct kv_compact compact;
};

static void sleep_until(struct sim_client *c, struct sim *s, mono_t at)
{
	c->deadline = at;
	sim_schedule(s, (struct sim_event){.kind = SIM_EV_CLIENT, .a = c->id, .at = at});
}

void sim_client_finish(struct sim_client *c, bool good)
{
	struct sim *s = c->node->s;

	if (s->calm && good)
		c->calm_done++;
	c->node = NULL;
	c->asked = false;
	sleep_until(c, s, c->holder ? sim_holder_next(c, s) : sim_soon(s, SIM_CH_LOAD, 500, s->load.think_us));
}

/* Whoever rests has rested enough. */
void sim_clients_hurry(struct sim *s)
{
	for (struct sim_client *c = s->clients; c < s->clients + SIM_CLIENTS; c++)
		if (c->node == NULL)
			sleep_until(c, s, sim_soon(s, SIM_CH_LOAD, 500, 60000));
}

static struct bytes some_key(struct sim *s, char out[16])
{
	return bytes_of(out, (size_t)snprintf(out, 16, "k%u", (unsigned)sim_rand(s, SIM_CH_LOAD, s->load.keys)));
}

static struct kv_put some_put(struct sim_client *c, struct sim *s, char key[16], char *value)
{
	struct kv_put p = {.key = some_key(s, key), .prev_kv = sim_chance(s, SIM_CH_LOAD, 500)};
	size_t n = (size_t)snprintf(value, CLIENT_VALUE, "c%u.%llu.", c->id, (unsigned long long)c->number);
	size_t more = sim_rand(s, SIM_CH_LOAD, CLIENT_VALUE);

	memset(value + n, 'v', CLIENT_VALUE + 32 - n);
	p.value = bytes_of(value, n + more <= CLIENT_VALUE ? n + more : n);
	return p;
}

static void some_txn(struct sim_client *c, struct sim *s, struct words *w)
{
	w->compare = (struct kv_compare){.key = some_key(s, w->key[0]), .op = sim_rand(s, SIM_CH_LOAD, 4)};
	if (sim_chance(s, SIM_CH_LOAD, 500)) {
		w->compare.target = KV_TARGET_VERSION;
		w->compare.number = (int64_t)sim_rand(s, SIM_CH_LOAD, 4);
	} else {
		w->compare.target = KV_TARGET_MOD;
		w->compare.number = c->seen_revision - (int64_t)sim_rand(s, SIM_CH_LOAD, 10);
	}
	w->put[0] = some_put(c, s, w->key[1], w->value[0]);
	w->put[0].key = w->compare.key;
	w->put[1] = some_put(c, s, w->key[2], w->value[1]);
	w->range = (struct kv_range){.key = bytes_str("k"), .range_end = bytes_str("l"), .limit = 3};
	w->yes[0].put = &w->put[0];
	w->yes[1].range = &w->range;
	w->no[0].range = sim_chance(s, SIM_CH_LOAD, 500) ? &w->range : NULL;
	w->no[0].put = w->no[0].range ? NULL : &w->put[1];
	w->txn.compares.v = &w->compare;
	w->txn.compares.n = 1;
	w->txn.success.v = w->yes;
	w->txn.success.n = 2;
	w->txn.failure.v = w->no;
	w->txn.failure.n = 1;
}

static void some_write(struct sim_client *c, struct sim *s, uint64_t dice, struct words *w,
		       struct command *cmd)
{
	if (dice < 550) {
		w->put[0] = some_put(c, s, w->key[0], w->value[0]);
		cmd->put = &w->put[0];
	} else if (dice < 650) {
		w->del = (struct kv_delete){.key = some_key(s, w->key[0]), .prev_kv = true};
		if (sim_chance(s, SIM_CH_LOAD, 150))
			w->del.range_end = bytes_str("k3");
		cmd->del = &w->del;
	} else if (dice < 960) {
		some_txn(c, s, w);
		cmd->txn = &w->txn;
	} else {
		w->compact.revision = c->seen_revision - (int64_t)sim_rand(s, SIM_CH_LOAD, 30);
		cmd->compact = &w->compact;
	}
}

void sim_client_propose(struct sim_client *c, struct sim_node *n, struct command *cmd)
{
	int rc;

	memset(&c->proposal, 0, sizeof c->proposal);
	rc = raft_clnt_propose(&n->gateway.clnt, &c->proposal, cmd);
	if (rc != ERR_OK)
		sim_fail(n->s, "client %u: refused at once: %s", c->id, err_name(rc));
	c->gateway_seq = c->proposal.seq;
}

static void begin_write(struct sim_client *c, struct sim_node *n)
{
	struct words *w = arena_alloc(&n->s->arena, sizeof *w);
	struct command cmd = {0};

	some_write(c, n->s, sim_rand(n->s, SIM_CH_LOAD, 1000), w, &cmd);
	sim_client_propose(c, n, &cmd);
}

static void begin_read(struct sim_client *c, struct sim_node *n)
{
	struct sim *s = n->s;
	struct kv_range *r = &c->range;
	size_t len;

	*r = (struct kv_range){.serializable = !c->linear};
	len = some_key(s, (char *)c->range_bytes[0]).len;
	r->key = bytes_of(c->range_bytes[0], len);
	if (sim_chance(s, SIM_CH_LOAD, 400)) {
		r->range_end = bytes_str("l");
		r->limit = (int64_t)sim_rand(s, SIM_CH_LOAD, 5);
	}
	if (sim_chance(s, SIM_CH_LOAD, 250))
		r->revision = c->seen_revision - (int64_t)sim_rand(s, SIM_CH_LOAD, 25);
	c->read.index = 0;
	c->asked = !c->linear;
	if (c->linear)
		raft_clnt_read(&n->gateway.clnt, &c->read);
	else if (n->stored.db != NULL)
		sim_client_read(c);
}

static struct sim_node *some_gateway(struct sim *s, const struct sim_client *c)
{
	uint64_t id = sim_chance(s, SIM_CH_LOAD, s->load.home_permille) ? c->id % s->o.nodes : sim_rand(s, SIM_CH_LOAD, s->o.nodes);

	for (uint32_t i = 0; i < s->o.nodes; i++, id++)
		if (s->nodes[id % s->o.nodes + 1].gateway.up)
			return &s->nodes[id % s->o.nodes + 1];
	return NULL;
}

static void begin(struct sim_client *c, struct sim *s)
{
	uint32_t patience = c->holder ? 4000 : s->load.patience_ms;
	struct sim_node *n = some_gateway(s, c);

	if (n == NULL || s->stop_clients) {
		sleep_until(c, s, mono_add_ms(s->now, 50));
		return;
	}
	arena_reset(&s->arena);
	c->node = n;
	c->number++;
	c->floor = s->floor;
	c->began = s->now;
	sleep_until(c, s, mono_add_ms(s->now, patience / 13 + (int64_t)sim_rand(s, SIM_CH_LOAD, patience)));
	if (c->holder) {
		sim_holder_begin(c, n);
		sim_gateway_flush(n);
		return;
	}
	c->write = sim_chance(s, SIM_CH_LOAD, s->load.write_permille);
	c->linear = !c->write && sim_chance(s, SIM_CH_LOAD, s->load.linear_permille);
	if (c->write)
		begin_write(c, n);
	else
		begin_read(c, n);
	if (sim_ok(s))
		sim_gateway_flush(n);
}

void sim_client_wake(struct sim_client *c)
{
	struct sim *s = container_of(c - c->id, struct sim, clients[0]);

	if (mono_before(s->now, c->deadline))
		return;
	if (c->node != NULL)
		sim_client_give_up(c, "deadline");
	else
		begin(c, s);
}

void sim_client_written(struct sim_client *c, uint64_t index, struct bytes result)
{
	struct wire w = wire_of(result, WIRE_STRICT);
	uint64_t error;

	(void)wire_get_array(&w);
	error = wire_get_u64(&w);
	if (error != ERR_OUTCOME_UNKNOWN) {
		sim_check_write(c, index, result);
		sim_moment(c->node, SIM_MOMENT_ANSWERED, 0);
	}
	if (c->holder)
		sim_holder_written(c, c->node->s, (int)error);
	sim_client_finish(c, error != ERR_OUTCOME_UNKNOWN);
}

void sim_client_read(struct sim_client *c)
{
	struct mvcc_env *env = mvcc_env_over(c->node->stored.db);
	struct kv_range_result r = {0};
	struct mvcc_view *v;
	struct arena arena;
	int64_t at;
	int rc = mvcc_view_begin(env, &v);

	if (rc != ERR_OK) {              /* a store that stored has not yet begun */
		free(env);
		return;
	}
	arena_init(&arena, 1u << 20);
	rc = mvcc_view_revision(v, c->range.revision, &at);
	if (rc == ERR_OK)
		rc = mvcc_range(v, &c->range, at, &arena, &r);
	sim_check_read(c, v, rc, &r);
	arena_free(&arena);
	mvcc_view_end(&v);
	free(env);
	sim_client_finish(c, true);
}

/* Its request is taken out, whatever it is doing; a write may still happen. */
void sim_client_give_up(struct sim_client *c, const char *why)
{
	struct raft_clnt *g = &c->node->gateway.clnt;

	sim_trace(c->node->s, c->node, "client %u gives up its %s: %s", c->id, c->write ? "write" : "read", why);
	if (c->write && c->proposal.place != RAFT_PLACE_NONE)
		(void)raft_clnt_give_up(g, &c->proposal);
	else if (!c->write && list_linked(&c->read.node))
		(void)raft_clnt_read_give_up(g, &c->read);
	if (c->holder)
		sim_holder_give_up(c);
	sim_client_finish(c, false);
}

void sim_client_lost(struct sim *s, const struct sim_node *n)
{
	for (uint32_t i = 0; i < SIM_CLIENTS; i++)
		if (s->clients[i].node == n)
			sim_client_give_up(&s->clients[i], "connection lost");
}
