/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges and reading transactions, up to the point where they may be read:
 *
 *   INDEX --read index--> APPLIED --store has come that far--> QUEUED <--> PARKED --> answered
 *     ^ not if serializable            no store mapped: MAP ---^
 *
 * PARKED waits for the client to take what has been written, or for another answer's end. Reading
 * itself is in read_turn.c.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "gatewayd/read_own.h"
#include "mvcc/kv_check.h"

enum { READ_ARENA_CHUNK = 1024 };      /* thousands of reads may wait, each with an arena */

#define READ_OF_RUN(l) container_of((l), struct read, run)

/* The turn that the timer has begun reads at its end. */
static void read_retry(void *arg)
{
	(void)arg;
}

void read_init(struct gateway *g)
{
	struct reads *rs = &g->reads;

	list_init(&rs->map_waiters);
	list_init(&rs->fast);
	list_init(&rs->slow);
	list_init(&rs->spent);
	buf_init(&rs->spare, 0);
	rs->max_kept = LIMIT_GATEWAY_KEPT_BYTES;
	rs->max_work = LIMIT_GATEWAY_WORK_BYTES;
	loop_timer_init(&rs->retry, read_retry, g);
}

void read_free(struct gateway *g)
{
	read_reap(g, MONO_NEVER);
	CHECK(g->reads.n == 0 && g->reads.work == 0 && g->reads.kept == 0 && g->reads.bytes == 0);
	loop_timer_clear(g->loop, &g->reads.retry);
	buf_free(&g->reads.spare);
}

/* ---- the life of a read ---- */

/* Out of whatever it waits in, its memory given back; the request itself remains. */
void read_end(struct gateway *g, struct read *rd)
{
	list_remove(&rd->run);
	read_job_end(g, rd);
	arena_free(&rd->arena);
	g->reads.n--;
	g->reads.bytes -= rd->bytes;
}

static int read_give_up(struct gateway *g, struct request *r)
{
	struct read *rd = container_of(r, struct read, r);
	int err = ERR_TIMEOUT;

	if (rd->state == READ_INDEX)
		err = raft_clnt_read_give_up(&g->raft, &rd->index);
	else if (rd->state == READ_APPLIED)
		err = store_clnt_give_up(&g->store, &rd->applied);
	else if (rd->state == READ_MAP)
		err = ERR_STORE_DOWN;
	read_end(g, rd);
	return err;
}

/* Once it may be read, only the client's own pace counts. */
static void read_expire(struct gateway *g, struct request *r)
{
	struct read *rd = container_of(r, struct read, r);

	if (rd->state == READ_QUEUED || rd->state == READ_PARKED)
		return;
	counter_inc(&g->counters.timeouts_total);
	request_error(g, r, read_give_up(g, r));
}

static const struct request_kind read_kind = {"read", read_give_up, read_expire, .question = false};

void read_fail(struct gateway *g, struct read *rd, int err)
{
	read_end(g, rd);
	request_error(g, &rd->r, err);
}

static bool read_fits(const struct gateway *g, size_t bytes)
{
	return g->reads.n < LIMIT_GATEWAY_READS && g->reads.bytes + bytes <= LIMIT_GATEWAY_READ_BYTES;
}

/* The parameters are copied: bytes of the decoded request are moved over into the copy. */
static struct read *read_make(struct gateway *g, struct caller *k, uint32_t id, struct bytes params)
{
	struct read *rd = request_new(g, k, id, &read_kind, sizeof *rd + params.len);

	list_init(&rd->run);
	arena_init(&rd->arena, GATEWAY_REQUEST_ARENA);
	rd->arena.chunk = READ_ARENA_CHUNK;
	rd->bytes = rd->params_len = params.len;
	if (params.len > 0)
		memcpy(rd->params, params.data, params.len);
	g->reads.n++;
	g->reads.bytes += rd->bytes;
	counter_inc(&g->counters.reads_total);
	return rd;
}

static struct read *read_new(struct gateway *g, struct caller *k, const struct rpc_request *rpc)
{
	if (read_fits(g, rpc->params.len))
		return read_make(g, k, rpc->id, rpc->params);
	caller_error(k, rpc->id, ERR_TOO_MANY_REQUESTS);
	return NULL;
}

static void read_begin(struct gateway *g, struct read *rd, bool serializable)
{
	if (serializable) {
		/*
		 * However old, but not older than the log, or than what others may have been shown here: such a store was
		 * damaged, or begun anew.
		 */
		rd->need = g->raft.state.log_begins > g->store.furthest ? g->raft.state.log_begins : g->store.furthest;
		read_queue(g, rd);
		return;
	}
	rd->state = READ_INDEX;
	raft_clnt_read(&g->raft, &rd->index);
}

struct bytes read_move(const struct read *rd, const struct rpc_request *rpc, struct bytes b)
{
	return b.len == 0 ? b : bytes_of(rd->params + (b.data - rpc->params.data), b.len);
}

struct read *read_fence(struct gateway *g, struct caller *k, const struct rpc_request *rpc,
			void (*ready)(struct gateway *g, struct read *rd))
{
	struct read *rd = read_new(g, k, rpc);

	if (rd == NULL)
		return NULL;
	rd->ready = ready;
	read_begin(g, rd, false);
	return rd;
}

struct read *read_local(struct gateway *g, struct caller *k, const struct rpc_request *rpc,
			void (*look)(struct gateway *g, struct read *rd, struct mvcc_view *v))
{
	struct read *rd = read_new(g, k, rpc);

	if (rd == NULL)
		return NULL;
	rd->look = look;
	read_begin(g, rd, true);
	return rd;
}

struct read *read_instead(struct gateway *g, struct request *old, struct bytes params,
			  void (*look)(struct gateway *g, struct read *rd, struct mvcc_view *v))
{
	struct read *rd;

	if (!read_fits(g, params.len)) {
		request_error(g, old, ERR_TOO_MANY_REQUESTS);
		return NULL;
	}
	rd = read_make(g, old->caller, old->id, params);
	request_inherit(&rd->r, old);
	request_forget(g, old);
	rd->look = look;
	read_begin(g, rd, false);
	return rd;
}

void read_range(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params)
{
	const struct kv_range *r = params;
	int err = kv_check_range(r);
	struct read *rd;

	if (err != ERR_OK) {
		caller_error(k, rpc->id, err);
		return;
	}
	rd = read_new(g, k, rpc);
	if (rd == NULL)
		return;
	rd->range = *r;
	rd->range.key = read_move(rd, rpc, r->key);
	rd->range.range_end = read_move(rd, rpc, r->range_end);
	read_begin(g, rd, r->serializable);
}

static bool ops_have_range(const struct kv_op *ops, size_t n, unsigned depth)
{
	CHECK(depth <= 2 * LIMIT_TXN_DEPTH);
	for (size_t i = 0; i < n; i++) {
		const struct kv_txn *t = ops[i].txn;

		if (ops[i].range != NULL)
			return true;
		if (t != NULL && (ops_have_range(t->success.v, t->success.n, depth + 1) ||
				  ops_have_range(t->failure.v, t->failure.n, depth + 1)))
			return true;
	}
	return false;
}

/* A transaction of compares alone is not served stale, as etcd serves it: nobody asked for that. */
static bool txn_serializable(const struct kv_txn *t)
{
	return kv_txn_serializable(t) && (ops_have_range(t->success.v, t->success.n, 0) ||
					  ops_have_range(t->failure.v, t->failure.n, 0));
}

void read_txn(struct gateway *g, struct caller *k, const struct rpc_request *rpc, const struct kv_txn *txn)
{
	struct read *rd = read_new(g, k, rpc);

	if (rd == NULL)
		return;
	rd->is_txn = true;
	/* as it was before */
	CHECK(k->ops->take_txn(bytes_of(rd->params, rd->params_len), &rd->arena, &rd->txn) == ERR_OK);
	rd->bytes += arena_bytes(&rd->arena);
	g->reads.bytes += arena_bytes(&rd->arena);
	if (g->reads.bytes > LIMIT_GATEWAY_READ_BYTES)
		read_fail(g, rd, ERR_TOO_MANY_REQUESTS);
	else
		read_begin(g, rd, txn_serializable(txn));
}

/* ---- waiting ---- */

void read_queue(struct gateway *g, struct read *rd)
{
	if (rd->ready != NULL) {
		rd->ready(g, rd);
		return;
	}
	if (g->map.env == NULL) {
		rd->state = READ_MAP;
		list_push(&g->reads.map_waiters, &rd->run);
		return;
	}
	rd->state = READ_QUEUED;
	list_push(rd->begun ? &g->reads.slow : &g->reads.fast, &rd->run);
	if (loop_in_hooks(g->loop))
		loop_again(g->loop);
}

/* The store is, or was found to be, behind what this read must see. */
void read_wait(struct gateway *g, struct read *rd)
{
	if (!mono_before(loop_now(g->loop), rd->r.deadline)) {
		read_fail(g, rd, g->store.up ? ERR_TIMEOUT : ERR_STORE_DOWN);
		return;
	}
	if (g->store.known && g->store.progress.applied >= rd->need) {
		read_queue(g, rd);
		return;
	}
	rd->state = READ_APPLIED;
	store_clnt_wait(&g->store, &rd->applied, rd->need);
}

void read_poll(struct gateway *g)
{
	struct raft_read *index;
	struct store_wait *applied;

	while ((index = raft_clnt_pop_read(&g->raft)) != NULL) {
		struct read *rd = container_of(index, struct read, index);

		rd->need = index->index;
		read_wait(g, rd);
	}
	while ((applied = store_clnt_pop_applied(&g->store)) != NULL)
		read_queue(g, container_of(applied, struct read, applied));
}

void read_park(struct read *rd)
{
	rd->state = READ_PARKED;
	list_push(&rd->r.caller->parked, &rd->run);
}

void read_room(struct gateway *g, struct caller *k)
{
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, &k->parked);
	while ((l = list_pop(&todo)) != NULL)
		read_queue(g, READ_OF_RUN(l));
}

/* Whoever was ready goes on with the other store, or waits for one. */
void read_mapped(struct gateway *g)
{
	struct reads *rs = &g->reads;
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, &rs->slow);
	list_splice(&todo, &rs->fast);
	list_splice(&todo, &rs->map_waiters);
	while ((l = list_pop(&todo)) != NULL)
		read_queue(g, READ_OF_RUN(l));
}
