/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/lessor_world.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/lease.h"
#include "tests/lib/tap.h"

enum { MS = 1000000 };

static uint64_t below(struct world *w, uint64_t n)
{
	return tap_rand(&w->seed) % n;
}

static bool chance(struct world *w, unsigned of_1000)
{
	return !w->calm && below(w, 1000) < of_1000;
}

int64_t world_ms(const struct world *w)
{
	return w->now_ns / MS;
}

/* ---- entries ---- */

static void entries_add(struct world_entries *e, uint64_t term, const struct command *c, int64_t due_ns)
{
	struct buf b;

	buf_init(&b, 0);
	CHECK(msg_encode(&b, &command_desc, c) == ERR_OK);
	e->v = mem_grow(e->v, e->n + 1, sizeof *e->v);
	e->v[e->n++] = (struct world_entry){term, mem_dup(b.data, b.len), b.len, due_ns};
	buf_free(&b);
}

static void entries_shift(struct world_entries *e, size_t n)
{
	if (n == 0)
		return;
	memmove(e->v, e->v + n, (e->n - n) * sizeof *e->v);
	e->n -= n;
}

static void entries_free(struct world_entries *e)
{
	for (size_t i = 0; i < e->n; i++)
		mem_free(e->v[i].bytes);
	mem_free(e->v);
	*e = (struct world_entries){NULL, 0};
}

static void apply_one(struct apply *a, const struct world_entry *e, struct apply_result *r)
{
	struct log_entry entry = {apply_state(a)->applied + 1, e->term, LOG_ENTRY_COMMAND, bytes_of(e->bytes, e->len)};

	CHECK(apply_begin(a) == ERR_OK && apply_entry(a, &entry, r) == ERR_OK && apply_commit(a) == ERR_OK);
	CHECK(!r->rejected);
}

/* ---- what is true ---- */

static void truth_event(struct world *w, const struct lease_event *e)
{
	struct world_client *c = &w->clients[e->id - 1];

	if (!e->gone) {
		if (c->granted == e->granted)
			return;
		c->granted = e->granted;
		c->ended_ns = 0;
		return;
	}
	c->granted = 0;
	c->ended_ns = w->now_ns;
	w->ended++;
	if (w->now_ns < c->relies_ns)
		w->early++;
}

static void world_commit(struct world *w, struct world_entry e)
{
	const struct lease_event *ev;
	struct apply_result r;
	size_t n;

	w->log.v = mem_grow(w->log.v, w->log.n + 1, sizeof *w->log.v);
	w->log.v[w->log.n++] = e;
	apply_one(w->truth, &e, &r);
	ev = apply_lease_events(w->truth, &n);
	for (size_t i = 0; i < n; i++)
		truth_event(w, &ev[i]);
	apply_lease_told(w->truth);
}

/* The clients' own commands take no detour: how they get into the log is not at stake here. */
static void world_command(struct world *w, struct command c)
{
	struct world_entries one = {NULL, 0};

	c.gateway = 77;
	c.seq = w->seq++;
	entries_add(&one, w->term, &c, 0);
	world_commit(w, one.v[0]);
	mem_free(one.v);
}

void world_grant(struct world *w, int client, int64_t ttl_s)
{
	struct world_client *c = &w->clients[client];
	struct lease_grant g = {c->id, ttl_s};

	c->ttl_s = ttl_s;
	c->relies_ns = w->now_ns + ttl_s * 1000 * MS;
	c->heard_ns = w->now_ns;
	world_command(w, (struct command){.lease_grant = &g});
}

void world_revoke(struct world *w, int client)
{
	struct lease_revoke v = {w->clients[client].id};

	w->clients[client].relies_ns = 0;
	world_command(w, (struct command){.lease_revoke = &v});
}

/* ---- nodes ---- */

static mono_t node_now(const struct world *w, const struct world_node *n)
{
	int64_t t = w->now_ns;

	if (w->bug == WORLD_ENDS_EARLY)
		t += t / 5;
	return (mono_t){t + n->offset_ns};
}

static void node_row(struct world *w, struct world_node *n, const struct lease_event *e)
{
	struct lessor_row row = {e->id, e->ttl_s, e->remaining_ms, e->granted};

	if (w->bug == WORLD_TTL_AGAIN || (w->bug == WORLD_NO_WAKE && n->leads))
		row.remaining_ms = 0;
	if (e->gone)
		lessor_gone(n->lessor, e->id, node_now(w, n));
	else
		lessor_row(n->lessor, &row, node_now(w, n));
}

static void node_progress(struct world *w, struct world_node *n)
{
	const struct mvcc_state *s = apply_state(n->apply);
	struct lessor_progress p = {s->applied, s->lessor_term, s->lessor, s->lessor_seq};

	lessor_progress(n->lessor, &p, node_now(w, n));
}

static void node_link(struct world *w, struct world_node *n)
{
	struct mvcc_lease v[WORLD_CLIENTS];
	struct okv_txn *txn;
	size_t count;

	lessor_store_up(n->lessor);
	node_progress(w, n);
	CHECK(okv_begin(n->db, false, &txn) == ERR_OK);
	CHECK(mvcc_lease_list(txn, 0, v, WORLD_CLIENTS, &count) == ERR_OK);
	for (size_t i = 0; i < count; i++) {
		struct lease_event e = {v[i].id, v[i].ttl_s, v[i].remaining_ms, v[i].granted, false};

		node_row(w, n, &e);
	}
	okv_abort(&txn);
	lessor_listed(n->lessor, node_now(w, n));
	n->linked = true;
}

static void node_apply(struct world *w, struct world_node *n)
{
	const struct lease_event *ev;
	struct apply_result r;
	size_t count;

	apply_one(n->apply, &w->log.v[apply_state(n->apply)->applied], &r);
	ev = apply_lease_events(n->apply, &count);
	for (size_t i = 0; i < count && n->linked; i++)
		node_row(w, n, &ev[i]);
	apply_lease_told(n->apply);
	if (n->linked)
		node_progress(w, n);
}

static void node_open_store(struct world_node *n, struct okv **db, struct apply **apply)
{
	static const struct mvcc_identity id = {STORE_FORMAT, 1, 1, 1};

	(void)n;
	CHECK(okv_mem_open(db) == ERR_OK && apply_open(*db, &id, apply) == ERR_OK);
}

static void node_role(struct world *w, struct world_node *n, bool leads, uint64_t term)
{
	int64_t self = n - w->nodes;

	n->leads = leads;
	n->term = term;
	lessor_role(n->lessor, leads, term, leads ? (uint64_t)self + 1 : (uint64_t)w->leader + 1, node_now(w, n));
}

/* ---- answers ---- */

static void world_answer(struct world *w, const struct lessor_fx *fx)
{
	const struct world_send *s = &w->sends[fx->answer.to.ctx];
	struct world_client *c = &w->clients[s->client];
	int64_t until = s->at_ns + c->ttl_s * 1000 * MS;

	if (fx->answer.error != ERR_OK || fx->answer.to.kind != LESSOR_KEEPALIVE || fx->answer.ttl_s == 0)
		return;
	w->answered++;
	if (c->granted != s->granted) {
		/* Ended, and then told that it is alive: unless it was its client who has revoked it. */
		if (c->granted == 0 && c->ended_ns != 0 && c->ended_ns < until && c->relies_ns != 0)
			w->false_answers++;
		return;
	}
	if (c->heard_ns < s->at_ns)
		c->heard_ns = s->at_ns;
	if (c->relies_ns < until)
		c->relies_ns = until;
}

static void world_propose(struct world *w, struct world_node *n, const struct lessor_fx *fx,
			  const struct lessor_effects *all)
{
	struct lessor_claim claim = {fx->term, fx->lessor};
	struct lessor_expire expire = {fx->term, fx->lessor, fx->expire.id, fx->expire.granted};
	struct lessor_checkpoint cp = {.term = fx->term, .lessor = fx->lessor};
	struct command c = {.put = NULL};

	if (fx->type == LESSOR_FX_CLAIM)
		c.claim = &claim;
	if (fx->type == LESSOR_FX_EXPIRE)
		c.expire = &expire;
	if (fx->type == LESSOR_FX_CHECKPOINT) {
		cp.seq = fx->checkpoint.seq;
		cp.marks.v = all->marks + fx->checkpoint.from;
		cp.marks.n = fx->checkpoint.n;
		c.checkpoint = &cp;
	}
	entries_add(&n->out, fx->term, &c, w->now_ns + (int64_t)below(w, w->calm ? 3 : 40) * MS);
}

static void node_effect(struct world *w, struct world_node *n, const struct lessor_fx *fx,
			const struct lessor_effects *all)
{
	struct lessor_ask ask;

	switch (fx->type) {
	case LESSOR_FX_CLAIM:
	case LESSOR_FX_EXPIRE:
	case LESSOR_FX_CHECKPOINT:
		world_propose(w, n, fx, all);
		break;
	case LESSOR_FX_CONFIRM:
		n->confirm.ctx = fx->ctx;
		n->confirm.term = n->term;
		n->confirm.index = w->log.n;
		n->confirm.due_ns = w->now_ns + (int64_t)below(w, w->calm ? 3 : 60) * MS;
		n->confirm.asked_leading = w->leader == n - w->nodes && w->term == n->term &&
					   w->now_ns >= w->noop_ns && w->noop_ns != 0;
		break;
	case LESSOR_FX_WAIT:
		break;                   /* progress is told with each entry */
	case LESSOR_FX_ANSWER:
		world_answer(w, fx);
		break;
	case LESSOR_FX_FORWARD:
		ask = fx->ask;
		ask.node = (uint64_t)(n - w->nodes) + 1;
		if (!chance(w, 100) && w->nodes[w->leader].paused_ns <= w->now_ns)
			lessor_ask(w->nodes[w->leader].lessor, &ask, node_now(w, &w->nodes[w->leader]));
		break;
	}
}

static void node_effects(struct world *w, struct world_node *n)
{
	struct lessor_effects *fx = lessor_effects(n->lessor);

	/* Forwarding may make others' effects, never our own. */
	for (size_t i = 0; i < fx->n; i++)
		node_effect(w, n, &fx->v[i], fx);
	fx->n = fx->n_marks = 0;
}

/* ---- raftd ---- */

/* A planted bug rewrites what an old leader, or one that remembers an old lease, has proposed. */
static void world_forge(struct world *w, struct world_entry *e, bool stale)
{
	const struct mvcc_state *s = apply_state(w->truth);
	struct wire in = wire_of(bytes_of(e->bytes, e->len), WIRE_STRICT);
	struct world_entries one = {NULL, 0};
	struct arena arena;
	struct command c;

	if (w->bug != WORLD_STALE_ENDS && w->bug != WORLD_OLD_LEASE)
		return;
	arena_init(&arena, 1u << 20);
	CHECK(msg_decode(&in, &command_desc, &arena, &c) == ERR_OK);
	if (c.expire != NULL && w->bug == WORLD_STALE_ENDS && stale) {
		c.expire->term = e->term = w->term;
		c.expire->lessor = s->lessor_term == w->term ? s->lessor : 0;
	}
	if (c.expire != NULL && w->bug == WORLD_OLD_LEASE && w->clients[c.expire->id - 1].granted != 0)
		c.expire->granted = w->clients[c.expire->id - 1].granted;
	entries_add(&one, e->term, &c, e->due_ns);
	mem_free(e->bytes);
	*e = one.v[0];
	mem_free(one.v);
	arena_free(&arena);
}

static void node_out(struct world *w, struct world_node *n)
{
	while (n->out.n > 0 && n->out.v[0].due_ns <= w->now_ns) {
		struct world_entry e = n->out.v[0];
		bool leads = w->leader == n - w->nodes && w->term == e.term && n->term == e.term && n->leads;

		entries_shift(&n->out, 1);
		world_forge(w, &e, !leads);
		if (chance(w, 20) || (!leads && w->bug != WORLD_STALE_ENDS)) {
			mem_free(e.bytes);
			if (!leads)
				lessor_refused(n->lessor, node_now(w, n));
			continue;
		}
		e.due_ns = w->now_ns + (int64_t)below(w, w->calm ? 3 : 80) * MS;
		w->pending.v = mem_grow(w->pending.v, w->pending.n + 1, sizeof *w->pending.v);
		w->pending.v[w->pending.n++] = e;
	}
}

static void node_confirm(struct world *w, struct world_node *n)
{
	bool ok = n->confirm.asked_leading && w->leader == n - w->nodes && w->term == n->confirm.term;

	if (n->confirm.ctx == 0 || n->confirm.due_ns > w->now_ns)
		return;
	if (w->bug == WORLD_NO_ROUND) {          /* and so of no later index than this node's */
		ok = true;
		n->confirm.index = apply_state(n->apply)->applied;
	}
	if (ok || !chance(w, 300))
		lessor_confirmed(n->lessor, n->confirm.ctx, ok ? ERR_OK : ERR_NO_LEADER, n->confirm.term,
				 n->confirm.index, node_now(w, n));
	n->confirm.ctx = 0;
}

void world_elect(struct world *w, int leader)
{
	size_t keep = below(w, w->pending.n + 1);

	w->elections++;
	for (size_t i = 0; i < w->pending.n; i++) {
		if (i < keep)
			world_commit(w, w->pending.v[i]);
		else
			mem_free(w->pending.v[i].bytes);
	}
	w->pending.n = 0;
	w->term++;
	w->leader = leader;
	w->noop_ns = w->now_ns + 5 * MS + (int64_t)below(w, w->calm ? 5 : 200) * MS;
	/* One that is cut off goes on for a while in the belief that it leads. */
	for (int i = 0; i < WORLD_NODES; i++)
		w->nodes[i].hears_ns = w->now_ns +
			(i == leader ? 0 : (int64_t)below(w, w->calm ? 5 : chance(w, 400) ? 4000 : 300) * MS);
}

void world_pause(struct world *w, int node, int64_t ms)
{
	w->nodes[node].paused_ns = w->now_ns + ms * MS;
}

void world_restart(struct world *w, int node)
{
	struct world_node *n = &w->nodes[node];

	lessor_free(&n->lessor);
	n->lessor = lessor_new(tap_rand(&w->seed), tap_rand(&w->seed));
	n->confirm.ctx = 0;
	node_role(w, n, n->leads, n->term);
	node_link(w, n);
}

/* ---- a step ---- */

static void node_step(struct world *w, struct world_node *n)
{
	bool leads = w->leader == n - w->nodes;

	if (n->paused_ns > w->now_ns)
		return;
	node_out(w, n);          /* what it had under way before it hears of anything new */
	node_confirm(w, n);
	if (n->hears_ns <= w->now_ns && (n->term != w->term || n->leads != leads))
		node_role(w, n, leads, w->term);
	while (n->hears_ns <= w->now_ns && apply_state(n->apply)->applied < w->log.n && !chance(w, 300))
		node_apply(w, n);
	if (n->linked && chance(w, 2)) {
		lessor_store_down(n->lessor);
		n->linked = false;
	} else if (!n->linked && below(w, 30) == 0) {
		node_link(w, n);
	}
	lessor_tick(n->lessor, node_now(w, n));
	node_effects(w, n);
}

static void world_faults(struct world *w)
{
	/* Every election gives time to all that are awake: too many of them hide what goes wrong. */
	if (below(w, w->rarely) != 0)
		return;
	if (chance(w, 2))
		world_elect(w, (int)below(w, WORLD_NODES));
	if (chance(w, 2))
		world_pause(w, (int)below(w, WORLD_NODES), (int64_t)below(w, 6000));
	if (chance(w, 2))
		world_restart(w, (int)below(w, WORLD_NODES));
	/* A leader that is stopped loses the lead before long. */
	if (w->nodes[w->leader].paused_ns > w->now_ns + 500 * MS && chance(w, 10))
		world_elect(w, (w->leader + 1 + (int)below(w, 2)) % WORLD_NODES);
}

void world_keepalive(struct world *w, int client)
{
	struct world_client *c = &w->clients[client];
	struct world_node *n = &w->nodes[below(w, 2) ? (uint64_t)w->leader : below(w, WORLD_NODES)];
	struct lessor_ask ask = {.gateway = 1, .ctx = w->n_sends, .kind = LESSOR_KEEPALIVE, .id = c->id};

	w->sends = mem_grow(w->sends, w->n_sends + 1, sizeof *w->sends);
	w->sends[w->n_sends++] = (struct world_send){w->now_ns, client, c->granted};
	if (n->paused_ns <= w->now_ns)
		lessor_ask(n->lessor, &ask, node_now(w, n));
}

static void client_step(struct world *w, int i)
{
	struct world_client *c = &w->clients[i];

	if (c->next_ns > w->now_ns)
		return;
	if (c->granted == 0) {
		world_grant(w, i, 2 + (int64_t)below(w, 8));
		c->dies_ns = w->now_ns + (int64_t)below(w, 30000) * MS;
		c->next_ns = w->now_ns + c->ttl_s * 300 * MS;
		return;
	}
	if (w->now_ns >= c->dies_ns) {
		/* Mostly it is silent now; sometimes it takes leave, and begins anew under its id. */
		if (below(w, 4) == 0)
			world_revoke(w, i);
		c->next_ns = w->now_ns + 200 * MS;
		return;
	}
	world_keepalive(w, i);
	/* Some are late, so that their leases doze. */
	c->next_ns = w->now_ns + c->ttl_s * (below(w, 3) ? 300 : 700) * MS;
}

void world_run(struct world *w, int64_t ms, bool clients)
{
	for (int64_t end = w->now_ns + ms * MS; w->now_ns < end; w->now_ns += WORLD_STEP_MS * MS) {
		size_t n = 0;

		world_faults(w);
		while (n < w->pending.n && w->noop_ns <= w->now_ns && w->pending.v[n].due_ns <= w->now_ns)
			world_commit(w, w->pending.v[n++]);
		entries_shift(&w->pending, n);
		for (int i = 0; i < WORLD_CLIENTS && clients; i++)
			client_step(w, i);
		for (int i = 0; i < WORLD_NODES; i++)
			node_step(w, &w->nodes[i]);
	}
}

void world_open(struct world *w, uint64_t seed, enum world_bug bug)
{
	*w = (struct world){.bug = bug, .seed = seed, .term = 1, .now_ns = 1000 * (int64_t)MS};
	w->rarely = 1u << 2 * (seed % 3);
	node_open_store(NULL, &w->truth_db, &w->truth);
	world_command(w, (struct command){.put = NULL});     /* the clients' session */
	for (int i = 0; i < WORLD_CLIENTS; i++)
		w->clients[i].id = i + 1;
	for (int i = 0; i < WORLD_NODES; i++) {
		struct world_node *n = &w->nodes[i];

		node_open_store(n, &n->db, &n->apply);
		n->offset_ns = (int64_t)below(w, 1u << 30) * 1000;
		n->lessor = lessor_new(tap_rand(&w->seed), tap_rand(&w->seed));
		node_link(w, n);
	}
	world_elect(w, 0);
}

void world_close(struct world *w)
{
	for (int i = 0; i < WORLD_NODES; i++) {
		struct world_node *n = &w->nodes[i];

		lessor_free(&n->lessor);
		apply_close(&n->apply);
		okv_close(&n->db);
		entries_free(&n->out);
	}
	apply_close(&w->truth);
	okv_close(&w->truth_db);
	entries_free(&w->pending);
	entries_free(&w->log);
	mem_free(w->sends);
}
