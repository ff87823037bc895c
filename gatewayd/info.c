/* SPDX-License-Identifier: Apache-2.0 */
/* version, status, members, hash, move_leader. */
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "gatewayd/gateway.h"
#include "proto/native.h"

void info_version(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct native_version_result r = {bytes_str(QUORATE_VERSION), 1};

	(void)g;
	(void)params;
	caller_result(k, rpc->id, &native_version_result_desc, &r, ERR_TOO_MANY_REQUESTS);
}

void info_members(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct native_member members[LIMIT_NODES];
	struct native_members_result r = {&header, {members, g->config->n_members}};

	(void)params;
	for (size_t i = 0; i < g->config->n_members; i++) {
		const struct config_member *m = &g->config->members[i];

		members[i] = (struct native_member){m->id, bytes_str(m->name), bytes_str(m->peer_addr),
						    bytes_str(m->client_addr)};
	}
	caller_result(k, rpc->id, &native_members_result_desc, &r, ERR_TOO_MANY_REQUESTS);
}

/* Something that other daemons are asked; NULL: refused. Nothing else bounds how many of these wait. */
static void *question_new(struct gateway *g, struct caller *k, uint32_t id, const struct request_kind *kind, size_t size)
{
	CHECK(kind->question);
	if (g->n_questions < LIMIT_GATEWAY_QUESTIONS)
		return request_new(g, k, id, kind, size);
	caller_error(k, id, ERR_TOO_MANY_REQUESTS);
	return NULL;
}

/* ---- status: what the other daemons say within half a second ---- */

struct status {
	struct request r;
	struct raft_ask raft;
	struct store_ask store;
	bool raft_asked, store_asked;         /* and not answered */
	bool raft_up, store_up;               /* answered */
};

static int status_give_up(struct gateway *g, struct request *r)
{
	struct status *s = container_of(r, struct status, r);

	if (s->raft_asked)
		raft_clnt_ask_give_up(&g->raft, &s->raft);
	if (s->store_asked)
		(void)store_clnt_ask_give_up(&g->store, &s->store);
	s->raft_asked = s->store_asked = false;
	return ERR_TIMEOUT;
}

static const char *status_role(const struct status *s)
{
	static const char *const names[] = {
		[NODE_FOLLOWER] = "follower", [NODE_PRE_CANDIDATE] = "pre-candidate",
		[NODE_CANDIDATE] = "candidate", [NODE_LEADER] = "leader",
	};
	uint64_t role = s->raft.status.role;

	return s->raft_up && role < ARRAY_LEN(names) ? names[role] : "unknown";
}

static struct native_daemon status_daemon(const char *name, bool up, int64_t age_ms)
{
	return (struct native_daemon){bytes_str(name), bytes_str(up ? "up" : "down"), up ? age_ms : -1};
}

/* What a daemon that is down would have said is 0; s->raft.status and the other are zeroed then. */
static void status_answer(struct gateway *g, struct status *s)
{
	const struct raftd_status_result *raft = &s->raft.status;
	const struct store_status_result *store = &s->store.u.status;
	struct kv_header header = gateway_header(g, s->store_up ? store->revision : g->store.progress.revision);
	char self[32];
	int64_t watchd_age = g->watchd_age_ms + mono_sub_ms(loop_now(g->loop), g->watchd_hailed);
	struct native_daemon daemons[] = {
		status_daemon("raftd", s->raft_up, raft->age_ms),
		status_daemon("stored", s->store_up, store->age_ms),
		status_daemon("leased", g->lease.up, mono_sub_ms(mono_now(), g->lease.began)),
		status_daemon("watchd", g->watch.up, watchd_age),
		status_daemon("gatewayd", true, mono_sub_ms(mono_now(), g->started)),    /* and its number, below */
	};
	struct native_status_result r = {
		.header = &header,
		.name = bytes_str(config_self(g->config)->name),
		.version = bytes_str(QUORATE_VERSION),
		.role = bytes_str(status_role(s)),
		.leader = raft->leader, .commit = raft->commit, .applied = store->applied, .last = raft->last,
		.compact_revision = store->compact_revision, .store_bytes = store->store_bytes,
		.used_bytes = store->used_bytes, .log_bytes = raft->log_bytes, .keys = store->keys,
		.apply_hash = store->apply_hash,
		.daemons = {daemons, ARRAY_LEN(daemons)},
	};

	(void)snprintf(self, sizeof self, "gatewayd.%u", g->instance);
	daemons[ARRAY_LEN(daemons) - 1].name = bytes_str(self);
	request_result(g, &s->r, &native_status_result_desc, &r);
}

static void status_expire(struct gateway *g, struct request *r)
{
	(void)status_give_up(g, r);
	status_answer(g, container_of(r, struct status, r));
}

static const struct request_kind status_kind = {"status", status_give_up, status_expire, .question = true};

void info_status(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct status *s = question_new(g, k, rpc->id, &status_kind, sizeof *s);

	(void)params;
	if (s == NULL)
		return;
	request_short(g, &s->r, GATEWAY_STATUS_MS);
	if (g->raft.up) {
		raft_clnt_status(&g->raft, &s->raft);
		s->raft_asked = true;
	}
	if (g->store.up) {
		store_clnt_status(&g->store, &s->store);
		s->store_asked = true;
	}
	if (!s->raft_asked && !s->store_asked)
		status_answer(g, s);
}

/* ---- hash ---- */

struct hash {
	struct request r;
	struct store_ask ask;
};

static int hash_give_up(struct gateway *g, struct request *r)
{
	return store_clnt_ask_give_up(&g->store, &container_of(r, struct hash, r)->ask);
}

static const struct request_kind hash_kind = {"hash", hash_give_up, .question = true};

void info_hash(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct native_hash *p = params;
	struct hash *h = question_new(g, k, rpc->id, &hash_kind, sizeof *h);

	if (h != NULL)
		store_clnt_hash(&g->store, &h->ask, p->revision);
}

static int daemon_error(uint64_t error)
{
	return error <= INT32_MAX ? (int)error : ERR_INTERNAL;
}

static void hash_answer(struct gateway *g, struct hash *h)
{
	const struct store_hash_result *res = &h->ask.u.hash;
	struct kv_header header = gateway_header(g, g->store.progress.revision);
	struct native_hash_result r = {&header, res->hash, res->revision, res->compact_revision};

	if (res->error != ERR_OK)
		request_error(g, &h->r, daemon_error(res->error));
	else
		request_result(g, &h->r, &native_hash_result_desc, &r);
}

/* ---- move_leader: answered when another node leads ---- */

struct move {
	struct request r;
	struct raft_ask ask;
	struct list node;             /* in g->moves once raftd has begun it */
	bool begun;
	uint64_t target;
};

static int move_give_up(struct gateway *g, struct request *r)
{
	struct move *m = container_of(r, struct move, r);

	if (m->begun)
		list_remove(&m->node);
	else
		raft_clnt_ask_give_up(&g->raft, &m->ask);
	return ERR_TIMEOUT;
}

static const struct request_kind move_kind = {"move_leader", move_give_up, .question = true};

void info_move_leader(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct native_move_leader *p = params;
	struct move *m = question_new(g, k, rpc->id, &move_kind, sizeof *m);
	int err;

	if (m == NULL)
		return;
	m->target = p->target;
	err = raft_clnt_transfer(&g->raft, &m->ask, p->target);
	if (err != ERR_OK)
		request_error(g, &m->r, err);
}

static void move_begun(struct gateway *g, struct move *m)
{
	if (m->ask.error != ERR_OK) {
		request_error(g, &m->r, daemon_error((uint64_t)m->ask.error));
		return;
	}
	m->begun = true;
	list_push(&g->moves, &m->node);
}

static bool move_over(const struct gateway *g, const struct move *m)
{
	uint64_t leader = g->raft.state.leader;

	if (m->target != 0)
		return leader == m->target;
	return leader != 0 && leader != g->config->node_id;
}

static void move_poll(struct gateway *g)
{
	struct list *l, *next;

	for (l = g->moves.next; l != &g->moves; l = next) {
		struct move *m = container_of(l, struct move, node);
		struct kv_header header = gateway_header(g, g->store.progress.revision);
		struct native_move_leader_result r = {&header};

		next = l->next;
		if (!move_over(g, m))
			continue;
		list_remove(l);
		request_result(g, &m->r, &native_move_leader_result_desc, &r);
	}
}

/* ---- what has been answered ---- */

void info_poll(struct gateway *g)
{
	struct store_ask *store;
	struct raft_ask *raft;

	while ((raft = raft_clnt_pop_ask(&g->raft)) != NULL) {
		struct status *s = container_of(raft, struct status, raft);

		if (raft->kind == RAFT_ASK_TRANSFER) {
			move_begun(g, container_of(raft, struct move, ask));
			continue;
		}
		s->raft_asked = false;
		s->raft_up = true;
		if (!s->store_asked)
			status_answer(g, s);
	}
	while ((store = store_clnt_pop_ask(&g->store)) != NULL) {
		struct status *s = container_of(store, struct status, store);

		if (store->kind == STORE_ASK_HASH) {
			hash_answer(g, container_of(store, struct hash, ask));
			continue;
		}
		s->store_asked = false;
		s->store_up = true;
		if (!s->raft_asked)
			status_answer(g, s);
	}
	move_poll(g);
}
