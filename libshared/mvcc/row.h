/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of the store's rows (mvcc/layout.h), packed and checked. Every row is checked by its
 * checksum each time it is read: a flipped bit is ERR_CORRUPT, never an answer.
 */
#ifndef QUORATE_MVCC_ROW_H
#define QUORATE_MVCC_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "mvcc/layout.h"
#include "mvcc/mvcc.h"
#include "mvcc/okv.h"
#include "proto/kv.h"

/* Of any table, by its checksum alone: ERR_OK or ERR_CORRUPT. */
int mvcc_row_check(const struct okv_row *row);

/* A row of `now` or `past`. Decoded bytes point into the row. */
struct mvcc_version {
	int64_t by;              /* the revision that superseded it; 0: it is the latest */
	int64_t mod;
	uint32_t sub;
	int64_t create, version, lease;
	struct bytes key, value;
};

/* row_key: as it stands in the table, with its revision in `past`. Replaces what is in `out`. */
void mvcc_version_encode(struct buf *out, enum okv_table table, struct bytes row_key,
			 const struct mvcc_version *v);
int mvcc_version_decode(enum okv_table table, const struct okv_row *row, struct mvcc_version *v);
void mvcc_version_pair(const struct mvcc_version *v, struct kv_pair *out);

/* A marker of `now` or `past`, see mvcc/layout.h. */
void mvcc_marker_encode(struct buf *out, struct bytes row_key);
int mvcc_marker_check(const struct okv_row *row);

void mvcc_event_encode(struct buf *out, struct bytes row_key, const struct mvcc_event *e);
int mvcc_event_decode(const struct okv_row *row, struct mvcc_event *e);

/* meta, "state": what the store is at; written in the transaction that made it so. */
struct mvcc_state {
	uint64_t applied, applied_term;
	int64_t revision, compact_revision, compacted_revision;
	uint64_t keys;
	uint64_t rejected;       /* entries of the log that made no sense */
	uint8_t apply_hash[16];
};
void mvcc_state_encode(struct buf *out, const struct mvcc_state *s);
int mvcc_state_decode(struct bytes value, struct mvcc_state *s);

/* meta, "identity": whose file this is. */
struct mvcc_identity {
	uint32_t format;
	uint64_t cluster_id, node_id, generation;
};
void mvcc_identity_encode(struct buf *out, const struct mvcc_identity *i);
int mvcc_identity_decode(struct bytes value, struct mvcc_identity *i);

/* meta, "compaction": the pass over `past` that is under way. */
struct mvcc_compaction {
	int64_t target;          /* rows superseded at or before it go; 0: no pass */
	struct bytes position;   /* a row's key: everything before it has been looked at */
};
void mvcc_compaction_encode(struct buf *out, const struct mvcc_compaction *c);
int mvcc_compaction_decode(struct bytes value, struct mvcc_compaction *c);

/* A row of `done`, at its raft index. */
struct mvcc_done {
	uint64_t index;
	uint64_t gateway, seq;
	int64_t revision;
	bool kept;               /* false: the result was too large to keep */
	struct bytes result;     /* an encoded struct command_result */
};
void mvcc_done_encode(struct buf *out, struct bytes row_key, const struct mvcc_done *d);
int mvcc_done_decode(const struct okv_row *row, struct mvcc_done *d);

/* A row of `gateways`. */
struct mvcc_session {
	uint64_t gateway;
	uint64_t opened;         /* raft index */
	uint64_t used;           /* raft index of its last command */
	uint64_t floor;          /* the highest seq whose result is no longer in `done` */
};
void mvcc_session_encode(struct buf *out, struct bytes row_key, const struct mvcc_session *s);
int mvcc_session_decode(const struct okv_row *row, struct mvcc_session *s);

#endif
