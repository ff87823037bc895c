/* SPDX-License-Identifier: Apache-2.0 */
/*
 * put, delete, txn, compact, lease_grant, lease_revoke: checked, proposed, kept until the store's result or the deadline.
 * Which of raftd, stored or the leader died in between only shows as time.
 */
#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "gatewayd/gateway.h"
#include "mvcc/kv_check.h"
#include "proto/native.h"

/* Where a command's result has the part for a method; each begins with its header. */
struct write_method {
	const struct msg_desc *result;
	size_t part;
};

static const struct write_method write_methods[] = {
	{&kv_put_result_desc, offsetof(struct command_result, put)},
	{&kv_delete_result_desc, offsetof(struct command_result, del)},
	{&kv_txn_result_desc, offsetof(struct command_result, txn)},
	{&kv_compact_result_desc, offsetof(struct command_result, compact)},
	{&lease_grant_result_desc, offsetof(struct command_result, lease_grant)},
	{&lease_revoke_result_desc, offsetof(struct command_result, lease_revoke)},
};
enum write_kind { WRITE_PUT, WRITE_DELETE, WRITE_TXN, WRITE_COMPACT, WRITE_GRANT, WRITE_REVOKE };

_Static_assert(offsetof(struct kv_put_result, header) == 0 && offsetof(struct kv_delete_result, header) == 0 &&
	       offsetof(struct kv_txn_result, header) == 0 && offsetof(struct kv_compact_result, header) == 0 &&
	       offsetof(struct lease_grant_result, header) == 0 && offsetof(struct lease_revoke_result, header) == 0,
	       "write_answer sets the header of any of them");

struct write {
	struct request r;
	struct raft_proposal p;
	enum write_kind kind;
	/* compact only */
	bool physical, compacting;
	int64_t revision, header_revision;
	struct store_compact_wait wait;
};

static int write_give_up(struct gateway *g, struct request *r)
{
	struct write *w = container_of(r, struct write, r);

	if (w->compacting) {
		store_clnt_compact_give_up(&g->store, &w->wait);
		return ERR_TIMEOUT;           /* the compaction itself is done */
	}
	return raft_clnt_give_up(&g->raft, &w->p);
}

static const struct request_kind write_kind = {"write", write_give_up, .question = false};

static void write_begin(struct gateway *g, struct caller *k, uint32_t id, enum write_kind kind,
			struct command *cmd, int err)
{
	struct write *w;

	if (err != ERR_OK) {
		caller_error(k, id, err);
		return;
	}
	w = request_new(g, k, id, &write_kind, sizeof *w);
	w->kind = kind;
	if (cmd->compact != NULL) {
		w->physical = cmd->compact->physical;
		w->revision = cmd->compact->revision;
	}
	err = raft_clnt_propose(&g->raft, &w->p, cmd);
	if (err != ERR_OK)
		request_error(g, &w->r, err);
}

void write_put(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	write_begin(g, k, rpc->id, WRITE_PUT, &(struct command){.put = params}, kv_check_put(params));
}

void write_delete(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	write_begin(g, k, rpc->id, WRITE_DELETE, &(struct command){.del = params}, kv_check_delete(params));
}

void write_compact(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	write_begin(g, k, rpc->id, WRITE_COMPACT, &(struct command){.compact = params}, ERR_OK);
}

/* As etcd: long enough for a keepalive to find the next leader. */
static int64_t write_min_ttl(const struct gateway *g)
{
	int64_t ms = (int64_t)g->config->election_max_ms * 3 / 2;

	return (ms + 999) / 1000;
}

void write_grant(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	struct lease_grant *grant = params;
	int64_t min = write_min_ttl(g);

	while (grant->id == 0)
		grant->id = (int64_t)(g->io.incarnation(g->io.arg) & INT64_MAX);
	if (grant->ttl < min)
		grant->ttl = min;
	write_begin(g, k, rpc->id, WRITE_GRANT, &(struct command){.lease_grant = grant}, kv_check_grant(grant));
}

void write_revoke(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	write_begin(g, k, rpc->id, WRITE_REVOKE, &(struct command){.lease_revoke = params}, ERR_OK);
}

void write_txn(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	int err = kv_check_txn(params);

	if (err == ERR_OK && kv_txn_reads_only(params))
		read_txn(g, k, rpc, params);
	else
		write_begin(g, k, rpc->id, WRITE_TXN, &(struct command){.txn = params}, err);
}

/* `part` is what the store answered, whose header names only a revision. */
static void write_answer(struct gateway *g, struct write *w, void *part, int64_t revision)
{
	struct kv_header header = gateway_header(g, revision);

	*(struct kv_header **)part = &header;
	request_result(g, &w->r, write_methods[w->kind].result, part);
}

/* Physical: answered when the space has been given back here. */
static void write_applied(struct gateway *g, struct write *w, const struct command_result *cr, void *part)
{
	if (w->kind != WRITE_COMPACT || !w->physical) {
		write_answer(g, w, part, cr->revision);
		return;
	}
	w->compacting = true;
	w->header_revision = cr->revision;
	store_clnt_wait_compacted(&g->store, &w->wait, w->revision);
}

void write_result(struct gateway *g, const struct store_result *res)
{
	struct wire in = wire_of(res->result, WIRE_STRICT);
	struct command_result cr;
	struct raft_proposal *p;
	struct write *w;
	void *part;
	int err;

	arena_reset(&g->arena);
	g->arena.max = GATEWAY_RESULT_ARENA;
	err = msg_decode(&in, &command_result_desc, &g->arena, &cr);
	if (err == ERR_OK)
		err = wire_end(&in);
	if (err != ERR_OK)
		log_error("a result from stored makes no sense seq=%llu error=\"%s\"",
			  (unsigned long long)res->seq, err_text(err));
	if (err == ERR_OK && cr.error > INT32_MAX)
		cr.error = ERR_INTERNAL;
	if (err != ERR_OK)
		cr = (struct command_result){.error = ERR_INTERNAL};
	p = raft_clnt_result(&g->raft, res->seq, (int)cr.error, loop_now(g->loop));
	if (p == NULL)
		return;
	w = container_of(p, struct write, p);
	part = *(void **)(void *)((char *)&cr + write_methods[w->kind].part);
	if (cr.error == ERR_OK && part == NULL)
		cr.error = ERR_INTERNAL;
	if (cr.error != ERR_OK)
		request_error(g, &w->r, (int)cr.error);
	else
		write_applied(g, w, &cr, part);
}

void write_poll(struct gateway *g)
{
	struct store_compact_wait *wait;
	struct raft_proposal *p;

	while ((p = raft_clnt_pop_failed(&g->raft)) != NULL)
		request_error(g, &container_of(p, struct write, p)->r, p->error);
	while ((wait = store_clnt_pop_compacted(&g->store)) != NULL) {
		struct write *w = container_of(wait, struct write, wait);
		struct kv_compact_result result = {NULL};

		w->compacting = false;
		write_answer(g, w, &result, w->header_revision);
	}
}
