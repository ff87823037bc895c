/* SPDX-License-Identifier: Apache-2.0 */
/* What stored says on its admin socket. */
#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "stored/core/dedup.h"
#include "stored/stored.h"

static void report_hash(struct admin_reply *r, const char *name, const uint8_t hash[16])
{
	char hex[33];

	for (size_t i = 0; i < 16; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	admin_str(r, name, hex);
}

static void report_file(const struct stored *s, struct admin_reply *r)
{
	admin_begin(r, "file");
	admin_str(r, "dir", s->store.dir);
	admin_u64(r, "generation", s->store.generation.generation);
	admin_str(r, "begun_anew", s->store.begun ? s->store.begun : "no");
	admin_u64(r, "bytes", s->stat.file_bytes);
	admin_u64(r, "used_bytes", s->stat.file_bytes - s->stat.free_bytes);
	admin_u64(r, "readers", s->stat.readers);
	admin_u64(r, "reader_lag", s->stat.reader_lag);
	for (unsigned i = 0; i < OKV_TABLES; i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "rows_%s", okv_table_name((enum okv_table)i));
		admin_u64(r, name, s->stat.rows[i]);
	}
	admin_end(r);
}

void stored_report(void *arg, struct admin_reply *r)
{
	struct daemon *d = arg;
	const struct stored *s = d->state;
	const struct mvcc_state *c = &s->store.committed;

	if (s->stopping)
		return;          /* the store is closed */
	admin_bool(r, "raftd_up", s->raftd != NULL);
	admin_bool(r, "watchd_up", s->watchd != NULL);
	admin_u64(r, "applied", c->applied);
	admin_u64(r, "applied_term", c->applied_term);
	admin_u64(r, "commit", s->commit);
	admin_i64(r, "revision", c->revision);
	admin_i64(r, "compact_revision", c->compact_revision);
	admin_i64(r, "compacted_revision", c->compacted_revision);
	admin_bool(r, "compacting", apply_compacting(s->store.apply));
	admin_u64(r, "keys", c->keys);
	admin_u64(r, "leases", c->leases);
	admin_bool(r, "leased_up", s->leased.link != NULL);
	admin_u64(r, "lessor_term", c->lessor_term);
	admin_u64(r, "entries_rejected", c->rejected);
	report_hash(r, "apply_hash", c->apply_hash);
	report_file(s, r);
	snapshots_report(s, r);
}

static void report_snapshot(void *arg, const char *args, struct admin_reply *r)
{
	struct daemon *d = arg;
	struct stored *s = d->state;

	(void)args;
	if (s->stopping)
		return;
	if (s->snapshots.any && s->snapshots.newest.index >= s->store.committed.applied) {
		admin_str(r, "snapshot", "up to date");
		return;
	}
	snapshots_want(s, s->store.committed.applied);
	admin_str(r, "snapshot", "begun");
	admin_u64(r, "index", s->store.committed.applied);
}

static void report_check(void *arg, const char *args, struct admin_reply *r)
{
	struct daemon *d = arg;
	struct stored *s = d->state;

	(void)args;
	if (s->stopping)
		return;
	snapshots_check(s);
	admin_str(r, "check", "begun");
}

static void report_gateways(void *arg, const char *args, struct admin_reply *r)
{
	struct daemon *d = arg;
	struct stored *s = d->state;
	char name[40];

	(void)args;
	if (s->stopping)
		return;
	admin_u64(r, "sessions", dedup_sessions(apply_dedup(s->store.apply)));
	for (size_t i = 0; i < LIMIT_STORE_GATEWAYS; i++) {
		const struct gateway *g = &s->gateways[i];

		if (g->link == NULL)
			continue;
		(void)snprintf(name, sizeof name, "gateway_%016" PRIx64, g->incarnation);
		admin_begin(r, name);
		admin_i64(r, "age_ms", link_age_ms(g->link));
		admin_u64(r, "queued_bytes", link_queued(g->link));
		admin_end(r);
	}
}

const struct admin_command stored_commands[] = {
	{"gateways", "", "linked gatewayds", report_gateways},
	{"check", "", "look for damage in the whole store now; ends stored if there is any", report_check},
	{"snapshot", "", "make a snapshot now; status tells of its end", report_snapshot},
	{NULL, NULL, NULL, NULL},
};

void stored_refresh(void *arg)
{
	struct daemon *d = arg;
	struct stored *s = d->state;
	struct stored_counters *c = &s->counters;
	const struct mvcc_state *state = &s->store.committed;
	const struct dedup *dedup;
	int64_t gateways = 0;

	if (s->stopping)
		return;
	dedup = apply_dedup(s->store.apply);
	for (size_t i = 0; i < LIMIT_STORE_GATEWAYS; i++)
		gateways += s->gateways[i].link != NULL;
	counter_set(&c->raftd_up, s->raftd != NULL);
	counter_set(&c->gateways, gateways);
	counter_set(&c->watchd_up, s->watchd != NULL);
	counter_set(&c->applied, (int64_t)state->applied);
	counter_set(&c->commit, (int64_t)s->commit);
	counter_set(&c->revision, state->revision);
	counter_set(&c->compact_revision, state->compact_revision);
	counter_set(&c->compacted_revision, state->compacted_revision);
	counter_set(&c->keys, (int64_t)state->keys);
	counter_set(&c->leases, (int64_t)state->leases);
	counter_set(&c->leased_up, s->leased.link != NULL);
	counter_set(&c->snapshot_index, s->snapshots.any ? (int64_t)s->snapshots.newest.index : 0);
	counter_set(&c->snapshot_bytes, s->snapshots.any ? (int64_t)s->snapshots.newest.data_bytes : 0);
	counter_set(&c->snapshot_working, (int64_t)s->snapshots.work);
	counter_set(&c->file_bytes, (int64_t)s->stat.file_bytes);
	counter_set(&c->used_bytes, (int64_t)(s->stat.file_bytes - s->stat.free_bytes));
	counter_set(&c->readers, (int64_t)s->stat.readers);
	counter_set(&c->reader_lag, (int64_t)s->stat.reader_lag);
	counter_set(&c->dedup_rows, (int64_t)dedup_rows(dedup));
	counter_set(&c->dedup_bytes, (int64_t)dedup_bytes(dedup));
	counter_set(&c->sessions, (int64_t)dedup_sessions(dedup));
}
