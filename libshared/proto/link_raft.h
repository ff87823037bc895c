/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link gatewayd -> raftd (raftd listens). Numbers 0 to 15 belong to the link itself.
 *
 * Resync after each connection: gatewayd proposes all its unanswered commands again (the store
 * applies an id at most once) and asks its pending reads again; raftd sends raftd_state first.
 * Hello resume: 0 both ways.
 */
#ifndef QUORATE_LINK_RAFT_H
#define QUORATE_LINK_RAFT_H

#include "base/limits.h"
#include "proto/msg.h"

/* The same numbers as raftd/core/raft.h (raftd asserts it). */
enum node_role { NODE_FOLLOWER, NODE_PRE_CANDIDATE, NODE_CANDIDATE, NODE_LEADER };

#define RAFTD_PROPOSAL_FIELDS(F, L, O) \
	F(U64, seq, "the command's seq, to name it in a refusal") \
	F(BYTES, command, "an encoded struct command (proto/kv.h)")
MSG_DECLARE(raftd_proposal, RAFTD_PROPOSAL_FIELDS)

#define RAFTD_PROPOSE_FIELDS(F, L, O) \
	L(raftd_proposal, proposals, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(raftd_propose, RAFTD_PROPOSE_FIELDS)

#define RAFTD_REFUSED_FIELDS(F, L, O) \
	F(U64, seq, "") \
	F(U64, error, "NO_LEADER, FULL, LEADER_CHANGED (a transfer is under way), REQUEST_TOO_LARGE")
MSG_DECLARE(raftd_refused, RAFTD_REFUSED_FIELDS)

#define RAFTD_REFUSE_FIELDS(F, L, O) \
	L(raftd_refused, refused, LIMIT_BATCH_ITEMS, "these were not handed to the log by this attempt")
MSG_DECLARE(raftd_refuse, RAFTD_REFUSE_FIELDS)

#define RAFTD_READ_FIELDS(F, L, O) \
	F(U64, ctx, "the gateway's own number for this round of reads")
MSG_DECLARE(raftd_read, RAFTD_READ_FIELDS)

#define RAFTD_READ_RESULT_FIELDS(F, L, O) \
	F(U64, ctx, "") \
	F(U64, error, "0, or NO_LEADER, LEADER_CHANGED, FULL: ask again") \
	F(U64, index, "reads are linearizable once the store has applied this index")
MSG_DECLARE(raftd_read_result, RAFTD_READ_RESULT_FIELDS)

#define RAFTD_STATE_FIELDS(F, L, O) \
	F(U64, role, "enum node_role of this node") \
	F(U64, term, "") \
	F(U64, leader, "node id, or 0: none known") \
	F(U64, commit, "") \
	F(U64, log_begins, "behind this index: a store that ends before it has a gap, and serves nobody")
MSG_DECLARE(raftd_state, RAFTD_STATE_FIELDS)

#define RAFTD_STATUS_FIELDS(F, L, O) \
	F(U64, ctx, "")
MSG_DECLARE(raftd_status_ask, RAFTD_STATUS_FIELDS)

#define RAFTD_PEER_STATUS_FIELDS(F, L, O) \
	F(U64, node_id, "") \
	F(BOOL, connected, "") \
	F(U64, match, "known only to a leader; else 0") \
	F(I64, heard_ms, "since its last message; -1: never")
MSG_DECLARE(raftd_peer_status, RAFTD_PEER_STATUS_FIELDS)

#define RAFTD_STATUS_RESULT_FIELDS(F, L, O) \
	F(U64, ctx, "") \
	F(U64, role, "") \
	F(U64, term, "") \
	F(U64, leader, "") \
	F(U64, commit, "") \
	F(U64, last, "last index in the log") \
	F(U64, durable, "last index synced here") \
	F(U64, log_bytes, "") \
	F(I64, age_ms, "of the raftd process") \
	F(BOOL, stored_up, "raftd sees stored") \
	L(raftd_peer_status, peers, LIMIT_NODES, "")
MSG_DECLARE(raftd_status_result, RAFTD_STATUS_RESULT_FIELDS)

#define RAFTD_TRANSFER_FIELDS(F, L, O) \
	F(U64, ctx, "") \
	F(U64, target, "node id; 0: the most advanced follower")
MSG_DECLARE(raftd_transfer, RAFTD_TRANSFER_FIELDS)

#define RAFTD_TRANSFER_RESULT_FIELDS(F, L, O) \
	F(U64, ctx, "") \
	F(U64, error, "0 begun (raftd_state tells the outcome), NOT_LEADER, BAD_TARGET")
MSG_DECLARE(raftd_transfer_result, RAFTD_TRANSFER_RESULT_FIELDS)

#define LINK_RAFT(M) \
	M(16, raftd_propose, "gatewayd: order these; answered by the store's results, or by raftd_refuse") \
	M(17, raftd_refuse, "raftd: these were not taken") \
	M(18, raftd_read, "gatewayd: from which index on is a read linearizable? raftd_read_result") \
	M(19, raftd_read_result, "raftd: answer to raftd_read") \
	M(20, raftd_state, "raftd: at the start and at each change of role, term or leader") \
	M(21, raftd_status_ask, "gatewayd: raftd_status_result") \
	M(22, raftd_status_result, "raftd: answer to raftd_status_ask") \
	M(23, raftd_transfer, "gatewayd: hand the leadership over; raftd_transfer_result") \
	M(24, raftd_transfer_result, "raftd: answer to raftd_transfer")

enum { LINK_RAFT(MSG_LINK_ENUM) LINK_RAFT_END_ };
extern const struct msg_link link_raft;

#endif
