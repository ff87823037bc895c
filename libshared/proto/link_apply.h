/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link raftd -> stored (stored listens).
 *
 * Hello resume: stored says its applied index, raftd its commit index. stored sends apply_state
 * first. raftd then sends committed entries from applied + 1 on, in order, without a gap; stored
 * answers with the index it has applied: for all batches of APPLY_DONE_MS together, or at once when a
 * quarter of the window is used. The window: at most LIMIT_APPLY_WINDOW_BYTES (of payload, and
 * APPLY_ENTRY_ROOM an entry) in LIMIT_APPLY_WINDOW_BATCHES are sent and not yet answered. An entry at or
 * below the applied index is skipped by stored; a gap drops the link.
 */
#ifndef QUORATE_LINK_APPLY_H
#define QUORATE_LINK_APPLY_H

#include "base/limits.h"
#include "proto/msg.h"

enum { APPLY_DONE_MS = 10, APPLY_ENTRY_ROOM = 64 };

enum log_entry_kind { LOG_ENTRY_COMMAND = 1, LOG_ENTRY_NOOP = 2 };

#define LOG_ENTRY_FIELDS(F, L, O) \
	F(U64, index, "") \
	F(U64, term, "") \
	F(U64, kind, "enum log_entry_kind") \
	F(BYTES, payload, "an encoded struct command; empty for a no-op")
MSG_DECLARE(log_entry, LOG_ENTRY_FIELDS)

#define APPLY_BATCH_FIELDS(F, L, O) \
	F(U64, commit, "raftd's commit index: how far behind stored is") \
	L(log_entry, entries, LIMIT_BATCH_ITEMS, "consecutive")
MSG_DECLARE(apply_batch, APPLY_BATCH_FIELDS)

#define APPLY_DONE_FIELDS(F, L, O) \
	F(U64, index, "applied") \
	F(I64, revision, "the store's revision there")
MSG_DECLARE(apply_done, APPLY_DONE_FIELDS)

/* A snapshot is a file of DATA_DIR/snap (rt/snapname.h); these four name it, on all nodes. */
#define SNAPSHOT_ID_FIELDS(F, L, O) \
	F(U64, index, "of the last entry it holds") \
	F(U64, term, "of that entry") \
	F(U64, bytes, "of the whole file") \
	F(U64, crc, "CRC-32C of all but its trailer")
MSG_DECLARE(snapshot_id, SNAPSHOT_ID_FIELDS)

#define APPLY_STATE_FIELDS(F, L, O) \
	F(U64, applied, "") \
	F(U64, applied_term, "") \
	F(U64, store_bytes, "what a snapshot would hold, about") \
	O(snapshot_id, snapshot, "the newest one that is durable, or nil")
MSG_DECLARE(apply_state, APPLY_STATE_FIELDS)

#define APPLY_SNAPSHOT_FIELDS(F, L, O) \
	F(U64, index, "the oldest that will do")
MSG_DECLARE(apply_snapshot, APPLY_SNAPSHOT_FIELDS)

#define APPLY_INSTALL_FIELDS(F, L, O) \
	O(snapshot_id, snapshot, "never nil: it has come in whole, as its incoming file")
MSG_DECLARE(apply_install, APPLY_INSTALL_FIELDS)

#define APPLY_INSTALLED_FIELDS(F, L, O) \
	F(U64, index, "") \
	F(U64, crc, "") \
	F(U64, error, "never 0: after an install the link begins anew")
MSG_DECLARE(apply_installed, APPLY_INSTALLED_FIELDS)

#define LINK_APPLY(M) \
	M(16, apply_batch, "raftd: apply these; answered by apply_done, many by one") \
	M(17, apply_done, "stored: applied up to here") \
	M(18, apply_state, "stored: at the start, and when there is a new snapshot") \
	M(19, apply_snapshot, "raftd: make a snapshot; apply_state when it is durable") \
	M(20, apply_install, "raftd: your store is to become this; apply_installed if not") \
	M(21, apply_installed, "stored: it has not become that, and the file is gone")

enum { LINK_APPLY(MSG_LINK_ENUM) LINK_APPLY_END_ };
extern const struct msg_link link_apply;

#endif
