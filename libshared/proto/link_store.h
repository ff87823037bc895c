/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link gatewayd -> stored (stored listens).
 *
 * Hello resume: stored says the generation of its store (the mapped file's name: see mvcc/mvcc.h),
 * gatewayd 0. stored sends store_progress first, and the results of commands whose `gateway` is the
 * incarnation in this gatewayd's hello. Results of commands applied while the link was down are
 * not sent again by themselves: gatewayd proposes what is unanswered again, and the store's table
 * of recent ids answers.
 */
#ifndef QUORATE_LINK_STORE_H
#define QUORATE_LINK_STORE_H

#include "base/limits.h"
#include "proto/msg.h"

#define STORE_RESULT_FIELDS(F, L, O) \
	F(U64, seq, "of the command") \
	F(U64, index, "where the log has it") \
	F(BYTES, result, "an encoded struct command_result (proto/kv.h)")
MSG_DECLARE(store_result, STORE_RESULT_FIELDS)

#define STORE_RESULTS_FIELDS(F, L, O) \
	L(store_result, results, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(store_results, STORE_RESULTS_FIELDS)

#define STORE_PROGRESS_FIELDS(F, L, O) \
	F(U64, generation, "of the store's file") \
	F(U64, applied, "raft index; already visible in the mapped store") \
	F(I64, revision, "") \
	F(I64, compact_revision, "") \
	F(I64, compacted_revision, "up to here the space has really been given back")
MSG_DECLARE(store_progress, STORE_PROGRESS_FIELDS)

#define STORE_STATUS_ASK_FIELDS(F, L, O) \
	F(U64, ctx, "")
MSG_DECLARE(store_status_ask, STORE_STATUS_ASK_FIELDS)

#define STORE_STATUS_RESULT_FIELDS(F, L, O) \
	F(U64, ctx, "") \
	F(U64, applied, "") \
	F(I64, revision, "") \
	F(I64, compact_revision, "") \
	F(U64, store_bytes, "size of the file") \
	F(U64, used_bytes, "of it in use") \
	F(U64, keys, "live keys") \
	F(BYTES, apply_hash, "16 bytes over all that was applied: equal at equal applied index") \
	F(I64, age_ms, "of the stored process") \
	F(BOOL, raftd_up, "stored sees raftd")
MSG_DECLARE(store_status_result, STORE_STATUS_RESULT_FIELDS)

/* A hash over every live and historic row at a revision; computed in small steps. */
#define STORE_HASH_ASK_FIELDS(F, L, O) \
	F(U64, ctx, "") \
	F(I64, revision, "0: the latest")
MSG_DECLARE(store_hash_ask, STORE_HASH_ASK_FIELDS)

#define STORE_HASH_RESULT_FIELDS(F, L, O) \
	F(U64, ctx, "") \
	F(U64, error, "COMPACTED, FUTURE_REV, FULL (too many are being computed)") \
	F(BYTES, hash, "16 bytes") \
	F(I64, revision, "") \
	F(I64, compact_revision, "")
MSG_DECLARE(store_hash_result, STORE_HASH_RESULT_FIELDS)

#define LINK_STORE(M) \
	M(16, store_results, "stored: outcomes of this gateway's commands") \
	M(17, store_progress, "stored: after each batch, and at the start") \
	M(18, store_status_ask, "gatewayd: store_status_result") \
	M(19, store_status_result, "stored: answer to store_status_ask") \
	M(20, store_hash_ask, "gatewayd: store_hash_result") \
	M(21, store_hash_result, "stored: answer to store_hash_ask")

enum { LINK_STORE(MSG_LINK_ENUM) LINK_STORE_END_ };
extern const struct msg_link link_store;

#endif
