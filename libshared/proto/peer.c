/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/peer.h"

#define MSG_T peer_hello
MSG_DEFINE(PEER_HELLO_FIELDS)
#undef MSG_T
#define MSG_T peer_ping
MSG_DEFINE(PEER_PING_FIELDS)
#undef MSG_T
#define MSG_T peer_vote
MSG_DEFINE(PEER_VOTE_FIELDS)
#undef MSG_T
#define MSG_T peer_vote_resp
MSG_DEFINE(PEER_VOTE_RESP_FIELDS)
#undef MSG_T
#define MSG_T peer_entry
MSG_DEFINE(PEER_ENTRY_FIELDS)
#undef MSG_T
#define MSG_T peer_append
MSG_DEFINE(PEER_APPEND_FIELDS)
#undef MSG_T
#define MSG_T peer_append_resp
MSG_DEFINE(PEER_APPEND_RESP_FIELDS)
#undef MSG_T
#define MSG_T peer_read
MSG_DEFINE(PEER_READ_FIELDS)
#undef MSG_T
#define MSG_T peer_read_resp
MSG_DEFINE(PEER_READ_RESP_FIELDS)
#undef MSG_T
#define MSG_T peer_timeout_now
MSG_DEFINE(PEER_TIMEOUT_NOW_FIELDS)
#undef MSG_T
#define MSG_T peer_proposal
MSG_DEFINE(PEER_PROPOSAL_FIELDS)
#undef MSG_T
#define MSG_T peer_propose
MSG_DEFINE(PEER_PROPOSE_FIELDS)
#undef MSG_T
#define MSG_T peer_refused
MSG_DEFINE(PEER_REFUSED_FIELDS)
#undef MSG_T
#define MSG_T peer_refuse
MSG_DEFINE(PEER_REFUSE_FIELDS)
#undef MSG_T
#define MSG_T peer_snapshot
MSG_DEFINE(PEER_SNAPSHOT_FIELDS)
#undef MSG_T
#define MSG_T peer_snapshot_resp
MSG_DEFINE(PEER_SNAPSHOT_RESP_FIELDS)
#undef MSG_T
#define MSG_T peer_snapshot_want
MSG_DEFINE(PEER_SNAPSHOT_WANT_FIELDS)
#undef MSG_T

static const struct msg_row peer_rows[] = {PEER_LINK(MSG_LINK_ROW)};
const struct msg_link peer_link = {"raftd-raftd", peer_rows,
	sizeof peer_rows / sizeof peer_rows[0]};
