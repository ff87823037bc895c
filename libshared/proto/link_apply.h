/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link raftd -> stored (stored listens).
 *
 * Hello resume: stored says its applied index, raftd its commit index. raftd then sends committed
 * entries from applied + 1 on, in order, without a gap; stored answers each batch with the index
 * it has applied. At most LIMIT_APPLY_WINDOW_BYTES are sent and not yet answered. An entry at or
 * below the applied index is skipped by stored; a gap drops the link.
 */
#ifndef QUORATE_LINK_APPLY_H
#define QUORATE_LINK_APPLY_H

#include "base/limits.h"
#include "proto/msg.h"

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

#define LINK_APPLY(M) \
	M(16, apply_batch, "raftd: apply these; answered by apply_done") \
	M(17, apply_done, "stored: applied up to here")

enum { LINK_APPLY(MSG_LINK_ENUM) LINK_APPLY_END_ };
extern const struct msg_link link_apply;

#endif
