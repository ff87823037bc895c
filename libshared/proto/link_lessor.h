/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link leased -> raftd (raftd listens): who leads, what the lessor proposes, and questions on
 * their way to and from the leader's node.
 *
 * Hello resume: 0 both ways. raftd sends lessor_role first. Nothing is sent again after a new
 * connection: leased begins as if it had just heard of the role, and gatewayds ask again.
 */
#ifndef QUORATE_LINK_LESSOR_H
#define QUORATE_LINK_LESSOR_H

#include "proto/link_lease.h"

#define LESSOR_ROLE_FIELDS(F, L, O) \
	F(BOOL, leads, "this node leads the term") \
	F(U64, term, "") \
	F(U64, leader, "node id, or 0: none known")
MSG_DECLARE(lessor_role, LESSOR_ROLE_FIELDS)

#define LESSOR_PROPOSAL_FIELDS(F, L, O) \
	F(BYTES, command, "an encoded struct command (proto/kv.h), a lessor's")
MSG_DECLARE(lessor_proposal, LESSOR_PROPOSAL_FIELDS)

#define LESSOR_PROPOSE_FIELDS(F, L, O) \
	L(lessor_proposal, proposals, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(lessor_propose, LESSOR_PROPOSE_FIELDS)

#define LESSOR_REFUSE_FIELDS(F, L, O) \
	F(U64, refused, "so many of the newest proposals were not taken") \
	F(U64, error, "NOT_LEADER, FULL, LEADER_CHANGED (a transfer is under way)")
MSG_DECLARE(lessor_refuse, LESSOR_REFUSE_FIELDS)

#define LESSOR_CONFIRM_FIELDS(F, L, O) \
	F(U64, ctx, "")
MSG_DECLARE(lessor_confirm, LESSOR_CONFIRM_FIELDS)

#define LESSOR_CONFIRMED_FIELDS(F, L, O) \
	F(U64, ctx, "") \
	F(U64, error, "0: a quorum has confirmed it, by a round begun after the question") \
	F(U64, term, "that this node leads") \
	F(U64, index, "committed")
MSG_DECLARE(lessor_confirmed, LESSOR_CONFIRMED_FIELDS)

#define LESSOR_FORWARD_FIELDS(F, L, O) \
	L(leased_ask, asks, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(lessor_forward, LESSOR_FORWARD_FIELDS)

#define LESSOR_FORWARDED_FIELDS(F, L, O) \
	F(U64, node, "whose gatewayds ask") \
	L(leased_ask, asks, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(lessor_forwarded, LESSOR_FORWARDED_FIELDS)

#define LESSOR_REPLY_FIELDS(F, L, O) \
	F(U64, node, "whose gatewayds have asked") \
	L(leased_answer, answers, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(lessor_reply, LESSOR_REPLY_FIELDS)

#define LESSOR_REPLIED_FIELDS(F, L, O) \
	L(leased_answer, answers, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(lessor_replied, LESSOR_REPLIED_FIELDS)

#define LINK_LESSOR(M) \
	M(16, lessor_role, "raftd: at the start and at each change of role, term or leader") \
	M(17, lessor_propose, "leased: order these, if this node leads; lessor_refuse if not") \
	M(18, lessor_refuse, "raftd: not taken") \
	M(19, lessor_confirm, "leased: does this node still lead? lessor_confirmed") \
	M(20, lessor_confirmed, "raftd: answer to lessor_confirm") \
	M(21, lessor_forward, "leased: ask the leader's lessor; lessor_replied") \
	M(22, lessor_forwarded, "raftd: asked by another node's leased; lessor_reply") \
	M(23, lessor_reply, "leased: answers for another node") \
	M(24, lessor_replied, "raftd: answers of the leader's lessor")

enum { LINK_LESSOR(MSG_LINK_ENUM) LINK_LESSOR_END_ };
extern const struct msg_link link_lessor;

#endif
