/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual stored: the real apply over memory or LMDB, its transactions, its snapshots. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/layout.h"
#include "tests/sim/sim_int.h"

typedef unsigned long long ull;

enum { STORED_RESULTS = 64, STORED_MAP = 64 << 20 };

/* ---- the file ---- */

static void lmdb_dir(const struct sim_node *n, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s/%d-%llu", n->s->o.tmp, (int)getpid(), (ull)n->id);
}

static void lmdb_remove(const struct sim_node *n)
{
	char dir[200], path[220];

	lmdb_dir(n, dir, sizeof dir);
	(void)snprintf(path, sizeof path, "%s/data.mdb", dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof path, "%s/lock.mdb", dir);
	(void)unlink(path);
	(void)rmdir(dir);
}

static void store_make(struct sim_node *n)
{
	struct okv *inner = NULL;
	char dir[200];

	if (n->s->o.lmdb > 0) {
		struct okv_lmdb_setup setup = {.dir = dir, .map_bytes = STORED_MAP, .write = true};

		lmdb_dir(n, dir, sizeof dir);
		CHECK(mkdir(dir, 0700) == 0 || errno == EEXIST);
		CHECK(okv_lmdb_open(&setup, &inner) == ERR_OK);
	} else {
		CHECK(okv_mem_open(&inner) == ERR_OK);
	}
	n->stored.db = sim_okv_over(inner);
	n->stored.generation++;
}

/* The machine has crashed, or a snapshot takes its place: the next start begins a new one. */
void sim_stored_lose(struct sim_node *n)
{
	CHECK(!n->stored.up);
	if (n->stored.db == NULL)
		return;
	sim_watchd_unmap(n);
	okv_close(&n->stored.db);
	n->stored.applied = 0;
	if (n->s->o.lmdb > 0)
		lmdb_remove(n);
}

/* ---- snapshots: all rows but the identity ---- */

static void rows_save(struct okv *db, struct buf *out)
{
	struct okv_txn *txn;

	CHECK(okv_begin(db, false, &txn) == ERR_OK);
	for (int t = 0; t < OKV_TABLES; t++) {
		struct okv_cursor *c;
		struct okv_row row;
		int rc;

		CHECK(okv_cursor(txn, (enum okv_table)t, &c) == ERR_OK);
		for (rc = okv_step(c, OKV_FIRST, &row); rc == ERR_OK; rc = okv_step(c, OKV_NEXT, &row)) {
			if (t == OKV_META && bytes_eq(row.key, bytes_str(LAYOUT_META_IDENTITY)))
				continue;
			buf_u8(out, (uint8_t)t);
			buf_u32(out, (uint32_t)row.key.len);
			buf_add_bytes(out, row.key);
			buf_u32(out, (uint32_t)row.value.len);
			buf_add_bytes(out, row.value);
		}
		CHECK(rc == ERR_NOT_FOUND);
		okv_cursor_end(&c);
	}
	okv_abort(&txn);
}

static void rows_load(struct sim_node *n, struct bytes rows)
{
	struct mvcc_identity id = {STORE_FORMAT, 1, n->id, n->stored.generation};
	struct cur in = cur_of(rows);
	struct okv_txn *txn;
	struct buf row;

	CHECK(okv_begin(n->stored.db, true, &txn) == ERR_OK);
	while (cur_left(&in) > 0) {
		enum okv_table t = (enum okv_table)cur_u8(&in);
		struct bytes key = cur_take(&in, cur_u32(&in)), value = cur_take(&in, cur_u32(&in));

		CHECK(in.err == ERR_OK && t < OKV_TABLES);
		CHECK(okv_put(txn, t, key, value) == ERR_OK);
	}
	buf_init(&row, 0);
	mvcc_identity_encode(&row, &id);
	CHECK(okv_put(txn, OKV_META, bytes_str(LAYOUT_META_IDENTITY), buf_bytes(&row)) == ERR_OK);
	buf_free(&row);
	CHECK(okv_commit(&txn) == ERR_OK);
}

static void snap_keep(struct sim_node *n, uint64_t index, uint64_t term, struct bytes rows)
{
	void *old;

	memcpy(&old, &n->snap.rows.data, sizeof old);
	free(old);
	n->snap = (struct sim_snap){index, term, bytes_of(mem_dup(rows.data, rows.len), rows.len)};
}

/* The log is cut only behind a snapshot that is durable. */
void sim_snap_make(struct sim_node *n, uint64_t keep)
{
	struct sim_raftd *d = &n->raftd;
	const struct mvcc_state *st;
	struct buf rows;
	uint64_t cut;

	if (!n->stored.up || d->r == NULL || n->stored.applied > d->commit || n->stored.applied <= n->snap.index)
		return;
	st = apply_state(n->stored.apply);
	buf_init(&rows, 0);
	rows_save(n->stored.db, &rows);
	snap_keep(n, st->applied, st->applied_term, buf_bytes(&rows));
	buf_free(&rows);
	n->s->out->snapshots++;
	cut = st->applied > keep ? st->applied - keep : 0;
	if (cut <= d->log.base)
		return;
	wal_cut(d->wal, cut + 1);
	if (wal_sync_now(d->wal) != ERR_OK) {     /* in synchronous mode it also removes the files */
		sim_raftd_dies(n, wal_why(d->wal));
		sim_kill(n, SIM_RAFTD);
		return;
	}
	sim_log_copy(&n->durable, &d->log);
	cut = wal_first_index(d->wal) - 1;
	if (cut <= d->log.base)
		return;
	sim_trace(n->s, n, "snapshot at %llu, log cut behind %llu", (ull)st->applied, (ull)cut);
	d->log.base = n->durable.base = cut;
	(void)sim_step(n, (struct raft_event){.type = RAFT_EV_COMPACTED, .index = cut});
}

static void stored_open(struct sim_node *n)
{
	struct mvcc_identity id = {STORE_FORMAT, 1, n->id, n->stored.generation};
	struct sim_stored *st = &n->stored;

	id.generation = st->generation;
	if (apply_open(st->db, &id, &st->apply) != ERR_OK)
		sim_fail(n->s, "node %llu: its store does not open", (ull)n->id);
	else
		st->applied = apply_state(st->apply)->applied;
}

void sim_snap_install(struct sim_node *n, uint64_t index, uint64_t term, struct bytes rows)
{
	struct sim_stored *st = &n->stored;

	if (!st->up || n->raftd.r == NULL || index <= st->applied)
		return;
	sim_trace(n->s, n, "installs a snapshot at %llu", (ull)index);
	snap_keep(n, index, term, rows);
	apply_close(&st->apply);
	free(st->env);
	st->up = false;
	sim_stored_lose(n);
	store_make(n);
	rows_load(n, rows);
	stored_open(n);
	if (!sim_ok(n->s))
		return;
	st->env = mvcc_env_over(st->db);
	st->up = true;
	sim_oracle_applied(n, apply_state(st->apply));
	sim_local_drop(n, SIM_RAFTD_STORED);
	sim_local_drop(n, SIM_STORED_LEASED);
	if (sim_raftd_room(n) &&
	    sim_step(n, (struct raft_event){.type = RAFT_EV_INSTALLED, .index = index, .index_term = term}) != ERR_OK)
		sim_fail(n->s, "node %llu cannot install a snapshot", (ull)n->id);
	if (sim_ok(n->s) && n->raftd.r != NULL)
		sim_oracle_store(n);
	sim_moment(n, SIM_MOMENT_INSTALLED, n->raftd.leader);
	sim_stored_tell(n);
}

/* ---- life ---- */

void sim_stored_start(struct sim_node *n)
{
	struct sim_stored *st = &n->stored;

	if (st->db == NULL) {
		store_make(n);
		if (n->snap.rows.data != NULL)
			rows_load(n, n->snap.rows);
	}
	sim_okv_fail_after(st->db, 0, ERR_OK);
	stored_open(n);
	if (!sim_ok(n->s))
		return;
	sim_oracle_applied(n, apply_state(st->apply));
	st->env = mvcc_env_over(st->db);
	st->up = true;
	sim_trace(n->s, n, "stored starts, applied %llu", (ull)st->applied);
	sim_local_connect(n, SIM_RAFTD_STORED);
	sim_local_connect(n, SIM_GATEWAY_STORED);
	sim_local_connect(n, SIM_STORED_WATCHD);
	sim_local_connect(n, SIM_STORED_LEASED);
}

/* Killed: an open transaction never was. */
void sim_stored_stop(struct sim_node *n)
{
	apply_close(&n->stored.apply);
	free(n->stored.env);
	n->stored.env = NULL;
	n->stored.up = false;
	n->stored.gateway = 0;
	n->stored.compact_due = n->stored.holding = false;
	n->store_dies = false;
}

static void stored_dies(struct sim_node *n, int rc)
{
	sim_trace(n->s, n, "stored ends itself: %s", err_name(rc));
	sim_kill(n, SIM_STORED);
	sim_start_later(n, SIM_STORED, 20 + (uint32_t)sim_rand(n->s, SIM_CH_DISK, 300));
}

/* ---- entries in, results out ---- */

void sim_stored_tell(struct sim_node *n)
{
	const struct mvcc_state *st = apply_state(n->stored.apply);
	struct store_progress m = {n->stored.generation, st->applied, st->revision, st->compact_revision,
				   st->compacted_revision};

	sim_local_send(n, SIM_GATEWAY_STORED, SIM_GATEWAY, MSG_NO_store_progress, &store_progress_desc, &m);
	sim_stored_tell_watchd(n);
}

void sim_stored_gateway_up(struct sim_node *n)
{
	sim_stored_tell(n);
}

static int apply_all(struct sim_node *n, const struct apply_batch *b, struct store_result *out,
		     size_t *n_out)
{
	int rc = apply_begin(n->stored.apply);

	for (size_t i = 0; i < b->entries.n && rc == ERR_OK; i++) {
		const struct log_entry *e = &b->entries.v[i];
		uint64_t applied = apply_state(n->stored.apply)->applied;
		struct apply_result r;

		if (e->index <= applied)
			continue;
		CHECK(e->index == applied + 1);
		rc = apply_entry(n->stored.apply, e, &r);
		if (rc != ERR_OK)
			break;
		sim_oracle_applied(n, apply_state(n->stored.apply));
		if (r.rejected)
			sim_fail(n->s, "node %llu rejects entry %llu", (ull)n->id, (ull)e->index);
		if (r.gateway != 0 && r.gateway == n->stored.gateway)
			out[(*n_out)++] = (struct store_result){r.seq, e->index,
				bytes_of(mem_dup(r.result.data, r.result.len), r.result.len)};
	}
	return rc == ERR_OK ? apply_commit(n->stored.apply) : rc;
}

static void results_drop(struct store_result *v, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		void *p;

		memcpy(&p, &v[i].result.data, sizeof p);
		free(p);
	}
}

static void compact_later(struct sim_node *n)
{
	n->stored.compact_due = true;
	sim_schedule(n->s, (struct sim_event){.kind = SIM_EV_COMPACT, .node = (uint8_t)n->id,
		.daemon = SIM_STORED, .at = sim_soon(n->s, SIM_CH_DISK, 500, 30000)});
}

void sim_stored_raftd_msg(struct sim_node *n, const struct msg_in *in)
{
	struct store_result v[STORED_RESULTS];
	struct store_results m = {.results = {v, 0}};
	struct sim_stored *st = &n->stored;
	struct apply_done done;
	int rc;

	CHECK(in->row->number == MSG_NO_apply_batch);
	if (n->store_dies || n->store_full)
		sim_okv_fail_after(st->db, 1 + sim_rand(n->s, SIM_CH_DISK, 30),
				   n->store_full ? ERR_NO_SPACE : ERR_IO);
	rc = apply_all(n, in->msg, v, &m.results.n);
	if (rc != ERR_OK) {
		results_drop(v, m.results.n);
		stored_dies(n, rc);
		return;
	}
	st->applied = apply_state(st->apply)->applied;
	if (m.results.n > 0)
		sim_local_send(n, SIM_GATEWAY_STORED, SIM_GATEWAY, MSG_NO_store_results, &store_results_desc, &m);
	results_drop(v, m.results.n);
	sim_moment_applied(n);
	sim_stored_tell(n);
	sim_stored_tell_leased(n);
	done = (struct apply_done){st->applied, apply_state(st->apply)->revision};
	sim_local_send(n, SIM_RAFTD_STORED, SIM_RAFTD, MSG_NO_apply_done, &apply_done_desc, &done);
	if (!st->compact_due && apply_compacting(st->apply))
		compact_later(n);
}

/* A step in a transaction of its own, as small as it gets, so that much happens in between. */
void sim_stored_compact(struct sim_node *n)
{
	size_t removed;
	int rc;

	n->stored.compact_due = false;
	if (!n->stored.up || !apply_compacting(n->stored.apply))
		return;
	if (sim_stored_holds(n)) {
		compact_later(n);
		return;
	}
	rc = apply_begin(n->stored.apply);
	if (rc == ERR_OK)
		rc = apply_compact_step(n->stored.apply, 1 + sim_rand(n->s, SIM_CH_DISK, 8), &removed);
	if (rc == ERR_OK)
		rc = apply_commit(n->stored.apply);
	if (rc != ERR_OK) {
		stored_dies(n, rc);
		return;
	}
	if (apply_compacting(n->stored.apply))
		compact_later(n);
}
