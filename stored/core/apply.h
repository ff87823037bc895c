/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replicated state machine: entries of the log in, effects on the store's tables and results
 * out. No clock, no chance, no configuration: two replicas that apply the same entries hold the
 * same rows and the same rolling hash, however the entries came in batches and restarts.
 *
 * Entries come as they stand in the committed log. What cannot be decoded there is counted and
 * skipped, by every replica alike; it is never a reason to stop.
 */
#ifndef QUORATE_APPLY_H
#define QUORATE_APPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "mvcc/okv.h"
#include "mvcc/row.h"
#include "proto/link_apply.h"
#include "stored/core/leases.h"

struct apply;
struct dedup;

/*
 * Takes up a store, or begins one in an empty database. ERR_OK; ERR_VERSION or ERR_CONFIG: it is
 * of another format, cluster, node or generation; ERR_CORRUPT and the backend's errors.
 */
int apply_open(struct okv *db, const struct mvcc_identity *id, struct apply **out);
void apply_close(struct apply **a);

/*
 * apply_begin, any number of entries, apply_commit: one transaction. Any error (the backend's) is
 * the end of this apply: what it holds in memory is ahead of what is in the tables.
 */
int apply_begin(struct apply *a);
int apply_commit(struct apply *a);

struct apply_result {
	uint64_t gateway;        /* 0: there is nobody to tell */
	uint64_t seq;
	struct bytes result;     /* an encoded struct command_result, until the next entry */
	uint32_t error;          /* its error */
	bool repeated;           /* the store had it already */
	bool rejected;           /* the entry made no sense */
};
/* entry->index is the applied index + 1. */
int apply_entry(struct apply *a, const struct log_entry *entry, struct apply_result *out);

/* As of the last apply_entry; committed only if no transaction is open. */
const struct mvcc_state *apply_state(const struct apply *a);
const struct dedup *apply_dedup(const struct apply *a);

/* What has become of leases since the last apply_lease_told, in order: tell it after the commit. */
const struct lease_event *apply_lease_events(const struct apply *a, size_t *n);
void apply_lease_told(struct apply *a);

/*
 * Compaction gives back in small steps what a compact command has given up. Inside a transaction:
 * at most `rows` rows are removed and LIMIT_COMPACT_STEP_VISITS looked at. *removed tells how many.
 */
bool apply_compacting(const struct apply *a);
int apply_compact_step(struct apply *a, size_t rows, size_t *removed);

#endif
