/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's tables and their read-only reader, shared by stored (which alone writes) and
 * gatewayd, watchd (which map the same file). On disk: docs/store-format.md and mvcc/layout.h.
 *
 * A view is one short read transaction: the state after some applied index, whole. Keep it for a
 * few milliseconds and at most LIMIT_VIEW_ROWS rows, then close it and go on in a new view at the
 * same revision: a long view stops the reuse of pages, and the file grows.
 *
 * Rows lie in the map: they are valid until the view ends.
 */
#ifndef QUORATE_MVCC_H
#define QUORATE_MVCC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "mvcc/layout.h"
#include "proto/kv.h"

struct mvcc_env;    /* one mapped store of this process; never two of the same file */
struct mvcc_view;

/*
 * The directory of generation G inside DATA_DIR/store. A store that cannot be trusted after a
 * crash of the operating system is not repaired: a new generation is built from the log.
 */
void mvcc_generation_dir(struct buf *out, const char *store_dir, uint64_t generation);

/* For readers. ERR_OK, ERR_NOT_FOUND (not made yet), ERR_VERSION, ERR_IO, ERR_CORRUPT. */
int mvcc_open(const char *dir, uint64_t map_bytes, struct mvcc_env **out);
void mvcc_close(struct mvcc_env **env);      /* every view has ended */

struct mvcc_info {
	uint64_t applied;            /* raft index */
	uint64_t applied_term;
	int64_t revision;            /* 1 for a fresh store */
	int64_t compact_revision;    /* history before it is gone; -1: never compacted */
	int64_t compacted_revision;  /* physically removed up to here */
	uint64_t keys;               /* live keys */
	uint8_t apply_hash[16];
};

/*
 * ERR_TOO_MANY_REQUESTS: LIMIT_STORE_READERS views are open on this node. ERR_STORE_DOWN: stored
 * died or was stopped in the middle of a commit; try again a little later. ERR_IO, ERR_CORRUPT.
 */
int mvcc_view_begin(struct mvcc_env *env, struct mvcc_view **out);
void mvcc_view_end(struct mvcc_view **v);
const struct mvcc_info *mvcc_view_info(const struct mvcc_view *v);

/*
 * Bounds what mvcc_range and mvcc_read_txn of this view may answer with: *bytes goes down by the
 * keys and values answered and MVCC_PAIR_COST each, and ERR_RESPONSE_TOO_LARGE comes before it
 * would fall below 0. NULL: no bound (as at first).
 */
enum { MVCC_PAIR_COST = 64 };
void mvcc_view_limit(struct mvcc_view *v, size_t *bytes);

/*
 * ERR_OK, ERR_COMPACTED or ERR_FUTURE_REV for reading at `revision` (<= 0: latest) in this view.
 * *at is the revision to read at. The compacted revision itself is readable.
 */
int mvcc_view_revision(const struct mvcc_view *v, int64_t revision, int64_t *at);

/*
 * One key at a revision (as given by mvcc_view_revision). ERR_OK, ERR_NOT_FOUND, ERR_CORRUPT.
 * out->key is the caller's `key`.
 */
int mvcc_get(struct mvcc_view *v, struct bytes key, int64_t at, struct kv_pair *out);

/* Keys of [key, range_end) as etcd reads them: see kv_range in proto/kv.h. */
struct mvcc_span {
	struct bytes key, range_end;
};

/* Walks live keys of a span in key order, at a revision. The span's bytes are borrowed. */
struct mvcc_scan;
int mvcc_scan_begin(struct mvcc_view *v, const struct mvcc_span *span, int64_t at, struct mvcc_scan **out);
/* Goes on behind `after` (borrowed; a key from an earlier view). Call before the first next. */
int mvcc_scan_after(struct mvcc_scan *s, struct bytes after);
/*
 * From now on look at about `rows` rows, live at that revision or not, then say ERR_LIMIT; 0: no
 * limit (as at first). On the way to a long key (mvcc/layout.h) it does not stop.
 */
void mvcc_scan_limit(struct mvcc_scan *s, uint64_t rows);
/* ERR_OK with a row, ERR_NOT_FOUND at the end, ERR_LIMIT, ERR_CORRUPT. */
int mvcc_scan_next(struct mvcc_scan *s, struct kv_pair *out);
/*
 * After ERR_LIMIT: how far it got, to be copied and given to mvcc_scan_after in a later view.
 * Empty if it has not got anywhere.
 */
struct bytes mvcc_scan_last(const struct mvcc_scan *s);
void mvcc_scan_end(struct mvcc_scan **s);

/*
 * How many live keys are left in the scan: *count is set. ERR_LIMIT after about `limit` rows
 * looked at (0: no limit): go on with mvcc_scan_last and mvcc_scan_after in a new view.
 */
int mvcc_count(struct mvcc_scan *s, uint64_t limit, int64_t *count);

/*
 * A whole range at a revision (as given by mvcc_view_revision), with sort, filters, limit, count
 * and more as etcd has them. `out`, its lists and its header (revision only) are in the arena, the
 * bytes in the map. Everything is done at once: for small and for sorted ranges.
 * ERR_OK, ERR_SORT_TOO_LARGE (more than LIMIT_SORT_ROWS rows to hold), ERR_RESPONSE_TOO_LARGE,
 * ERR_LIMIT (the arena is full), ERR_CORRUPT.
 */
int mvcc_range(struct mvcc_view *v, const struct kv_range *r, int64_t at, struct arena *arena,
	       struct kv_range_result *out);

/*
 * A transaction that only reads (kv_txn_reads_only), at the view's revision. It must have passed
 * kv_check_txn (mvcc/kv_check.h). As mvcc_range, and ERR_COMPACTED, ERR_FUTURE_REV,
 * ERR_BAD_ARGUMENT (it writes), ERR_TXN_TOO_LARGE (LIMIT_TXN_ROWS).
 */
int mvcc_read_txn(struct mvcc_view *v, const struct kv_txn *txn, struct arena *arena,
		  struct kv_txn_result *out);

/*
 * What happened, from a revision on, in order: for watchers. From the compacted revision on (that
 * revision included) it is complete.
 */
struct mvcc_event {
	int64_t rev;
	uint32_t sub;
	enum mvcc_event_type type;
	struct bytes key;
};
struct mvcc_events;
/* ERR_COMPACTED if `from` is before the compacted revision. */
int mvcc_events_begin(struct mvcc_view *v, int64_t from, struct mvcc_events **out);
/*
 * Goes on from (from, sub), before the compacted revision too, as long as nothing from there on
 * has really been removed. ERR_COMPACTED: it has.
 */
int mvcc_events_resume(struct mvcc_view *v, int64_t from, uint32_t sub, struct mvcc_events **out);
int mvcc_events_next(struct mvcc_events *e, struct mvcc_event *out);   /* ERR_NOT_FOUND at the end */
/* The pair an event of type PUT made. */
int mvcc_event_pair(struct mvcc_view *v, const struct mvcc_event *e, struct kv_pair *out);
void mvcc_events_end(struct mvcc_events **e);

#endif
