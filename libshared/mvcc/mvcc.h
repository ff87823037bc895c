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

#include "base/buf.h"
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
void mvcc_close(struct mvcc_env **env);

struct mvcc_info {
	uint64_t applied;            /* raft index */
	uint64_t applied_term;
	int64_t revision;            /* 1 for a fresh store */
	int64_t compact_revision;    /* history before it is gone; -1: never compacted */
	int64_t compacted_revision;  /* physically removed up to here */
	uint64_t keys;               /* live keys */
	uint8_t apply_hash[16];
};

int mvcc_view_begin(struct mvcc_env *env, struct mvcc_view **out);
void mvcc_view_end(struct mvcc_view **v);
const struct mvcc_info *mvcc_view_info(const struct mvcc_view *v);

/*
 * ERR_OK, ERR_COMPACTED or ERR_FUTURE_REV for reading at `revision` (<= 0: latest) in this view.
 * *at is the revision to read at. The compacted revision itself is readable.
 */
int mvcc_view_revision(const struct mvcc_view *v, int64_t revision, int64_t *at);

/* Keys of [key, range_end) as etcd reads them: see kv_range in proto/kv.h. */
struct mvcc_span {
	struct bytes key, range_end;
};
/* A span's first possible key and its end for a scan that has got as far as `last`. */

/* One key at a revision (as given by mvcc_view_revision). ERR_OK, ERR_NOT_FOUND, ERR_CORRUPT. */
int mvcc_get(struct mvcc_view *v, struct bytes key, int64_t at, struct kv_pair *out);

/* Walks live keys of a span in key order, at a revision. */
struct mvcc_scan;
int mvcc_scan_begin(struct mvcc_view *v, const struct mvcc_span *span, int64_t at, struct mvcc_scan **out);
/* Goes on behind `after` (the last key seen in an earlier view). Call before the first next. */
int mvcc_scan_after(struct mvcc_scan *s, struct bytes after);
/* ERR_OK with a row, ERR_NOT_FOUND at the end, ERR_CORRUPT. */
int mvcc_scan_next(struct mvcc_scan *s, struct kv_pair *out);
void mvcc_scan_end(struct mvcc_scan **s);

/* How many live keys; stops at `limit` rows looked at and says so by ERR_LIMIT (go on with after). */
int mvcc_count(struct mvcc_scan *s, uint64_t limit, int64_t *count);

#endif
