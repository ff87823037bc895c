/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_raft.h"

#define MSG_T raftd_proposal
MSG_DEFINE(RAFTD_PROPOSAL_FIELDS)
#undef MSG_T
#define MSG_T raftd_propose
MSG_DEFINE(RAFTD_PROPOSE_FIELDS)
#undef MSG_T
#define MSG_T raftd_refused
MSG_DEFINE(RAFTD_REFUSED_FIELDS)
#undef MSG_T
#define MSG_T raftd_refuse
MSG_DEFINE(RAFTD_REFUSE_FIELDS)
#undef MSG_T
#define MSG_T raftd_read
MSG_DEFINE(RAFTD_READ_FIELDS)
#undef MSG_T
#define MSG_T raftd_read_result
MSG_DEFINE(RAFTD_READ_RESULT_FIELDS)
#undef MSG_T
#define MSG_T raftd_state
MSG_DEFINE(RAFTD_STATE_FIELDS)
#undef MSG_T
#define MSG_T raftd_status_ask
MSG_DEFINE(RAFTD_STATUS_FIELDS)
#undef MSG_T
#define MSG_T raftd_peer_status
MSG_DEFINE(RAFTD_PEER_STATUS_FIELDS)
#undef MSG_T
#define MSG_T raftd_status_result
MSG_DEFINE(RAFTD_STATUS_RESULT_FIELDS)
#undef MSG_T
#define MSG_T raftd_transfer
MSG_DEFINE(RAFTD_TRANSFER_FIELDS)
#undef MSG_T
#define MSG_T raftd_transfer_result
MSG_DEFINE(RAFTD_TRANSFER_RESULT_FIELDS)
#undef MSG_T

static const struct msg_row link_raft_rows[] = {LINK_RAFT(MSG_LINK_ROW)};
const struct msg_link link_raft = {"gatewayd-raftd", link_raft_rows,
	sizeof link_raft_rows / sizeof link_raft_rows[0]};
