/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link between the raftds of two nodes: TCP, Noise, then these messages, each in one encrypted
 * frame (raftd/peer_conn.h). The Raft messages mirror raftd/core/raft_msg.h; from and to are the
 * two ends, which the handshake has proved.
 *
 * Version history, so that nodes of neighbouring versions work together:
 *   1  the first
 *   2  snapshots (26 to 28), sent only to those who speak it
 */
#ifndef QUORATE_PEER_H
#define QUORATE_PEER_H

#include "base/limits.h"
#include "proto/msg.h"

enum { PEER_VERSION = 2, PEER_VERSION_SNAPSHOTS = 2, PEER_VERSION_MIN = 1 };

/* Payload of the handshake's second and third message. */
#define PEER_HELLO_FIELDS(F, L, O) \
	F(U64, version, "newest version the sender speaks") \
	F(U64, version_min, "oldest") \
	F(U64, incarnation, "of the sender's raftd")
MSG_DECLARE(peer_hello, PEER_HELLO_FIELDS)

#define PEER_PING_FIELDS(F, L, O) \
	F(U64, incarnation, "")
MSG_DECLARE(peer_ping, PEER_PING_FIELDS)

#define PEER_VOTE_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(BOOL, pre, "a pre-vote: nobody's term changes") \
	F(BOOL, transfer, "asked for by the leader") \
	F(U64, last_index, "of the candidate's log") \
	F(U64, last_term, "")
MSG_DECLARE(peer_vote, PEER_VOTE_FIELDS)

#define PEER_VOTE_RESP_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(BOOL, pre, "") \
	F(BOOL, granted, "")
MSG_DECLARE(peer_vote_resp, PEER_VOTE_RESP_FIELDS)

#define PEER_ENTRY_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(U64, kind, "enum wal_kind") \
	F(BYTES, payload, "")
MSG_DECLARE(peer_entry, PEER_ENTRY_FIELDS)

#define PEER_APPEND_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(U64, prev_index, "") \
	F(U64, prev_term, "") \
	F(U64, commit, "") \
	F(U64, round, "of reads, to be echoed") \
	L(peer_entry, entries, LIMIT_APPEND_ENTRIES, "")
MSG_DECLARE(peer_append, PEER_APPEND_FIELDS)

#define PEER_APPEND_RESP_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(U64, round, "") \
	F(BOOL, reject, "") \
	F(U64, index, "") \
	F(U64, match, "") \
	F(U64, hint_index, "") \
	F(U64, hint_term, "")
MSG_DECLARE(peer_append_resp, PEER_APPEND_RESP_FIELDS)

#define PEER_READ_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(U64, id, "the asker's number")
MSG_DECLARE(peer_read, PEER_READ_FIELDS)

#define PEER_READ_RESP_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(U64, id, "") \
	F(BOOL, ok, "") \
	F(U64, index, "")
MSG_DECLARE(peer_read_resp, PEER_READ_RESP_FIELDS)

#define PEER_TIMEOUT_NOW_FIELDS(F, L, O) \
	F(U64, term, "")
MSG_DECLARE(peer_timeout_now, PEER_TIMEOUT_NOW_FIELDS)

/* A follower's gateways' commands on their way to the leader. */
#define PEER_PROPOSAL_FIELDS(F, L, O) \
	F(U64, gateway, "incarnation, to route a refusal") \
	F(U64, seq, "") \
	F(BYTES, command, "")
MSG_DECLARE(peer_proposal, PEER_PROPOSAL_FIELDS)

#define PEER_PROPOSE_FIELDS(F, L, O) \
	L(peer_proposal, proposals, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(peer_propose, PEER_PROPOSE_FIELDS)

#define PEER_REFUSED_FIELDS(F, L, O) \
	F(U64, gateway, "") \
	F(U64, seq, "") \
	F(U64, error, "")
MSG_DECLARE(peer_refused, PEER_REFUSED_FIELDS)

#define PEER_REFUSE_FIELDS(F, L, O) \
	L(peer_refused, refused, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(peer_refuse, PEER_REFUSE_FIELDS)

/*
 * A snapshot file in pieces. The first is an offer: empty, at offset 0. Each is answered by where
 * to go on; what is not asked for is not taken.
 */
#define PEER_SNAPSHOT_FIELDS(F, L, O) \
	F(U64, index, "these four: struct snapshot_id of proto/link_apply.h") \
	F(U64, index_term, "") \
	F(U64, bytes, "") \
	F(U64, crc, "") \
	F(U64, offset, "of the piece in the file") \
	F(BYTES, data, "at most LIMIT_SNAPSHOT_CHUNK_BYTES")
MSG_DECLARE(peer_snapshot, PEER_SNAPSHOT_FIELDS)

enum peer_snapshot_status {
	PEER_SNAPSHOT_NEXT,      /* taken up to `offset` */
	PEER_SNAPSHOT_AGAIN,     /* go on from `offset`, whatever was sent */
	PEER_SNAPSHOT_WAIT,      /* not now: offer it again a little later */
	PEER_SNAPSHOT_DONE,      /* not needed any more */
	PEER_SNAPSHOT_FAILED,    /* it could not be kept: offer it again much later */
	PEER_SNAPSHOT_STATUSES
};

#define PEER_SNAPSHOT_RESP_FIELDS(F, L, O) \
	F(U64, index, "") \
	F(U64, crc, "") \
	F(U64, status, "enum peer_snapshot_status") \
	F(U64, offset, "")
MSG_DECLARE(peer_snapshot_resp, PEER_SNAPSHOT_RESP_FIELDS)

#define PEER_SNAPSHOT_WANT_FIELDS(F, L, O) \
	F(U64, index, "the oldest that will do")
MSG_DECLARE(peer_snapshot_want, PEER_SNAPSHOT_WANT_FIELDS)

#define PEER_LINK(M) \
	M(16, peer_ping, "when nothing else was sent for a while") \
	M(17, peer_vote, "candidate: vote for me? peer_vote_resp") \
	M(18, peer_vote_resp, "answer to peer_vote") \
	M(19, peer_append, "leader: entries, or a heartbeat; peer_append_resp") \
	M(20, peer_append_resp, "answer to peer_append") \
	M(21, peer_read, "follower: confirm a read index; peer_read_resp") \
	M(22, peer_read_resp, "answer to peer_read") \
	M(23, peer_timeout_now, "leader: campaign at once, I hand over") \
	M(24, peer_propose, "follower: order these; peer_refuse for those not taken") \
	M(25, peer_refuse, "leader, or who is none any more: not taken") \
	M(26, peer_snapshot, "who has one: a piece of it; peer_snapshot_resp") \
	M(27, peer_snapshot_resp, "answer to peer_snapshot") \
	M(28, peer_snapshot_want, "whose store has a gap to its log: bring me a snapshot; peer_snapshot")

enum { PEER_LINK(MSG_LINK_ENUM) PEER_LINK_END_ };
extern const struct msg_link peer_link;

#endif
