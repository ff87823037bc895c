/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link gatewayd -> leased (leased listens): keepalives and how long leases have left.
 *
 * Hello resume: 0 both ways. Resync after each connection: gatewayd asks again what has not been
 * answered. Asking twice is harmless, and an answer to nothing that is asked is dropped.
 *
 * The leased of a node that does not lead sends questions on to the leader's, by way of the raftds
 * (proto/link_lessor.h, proto/peer.h); what is lost on the way gatewayd asks again.
 */
#ifndef QUORATE_LINK_LEASE_H
#define QUORATE_LINK_LEASE_H

#include "base/limits.h"
#include "proto/msg.h"

enum leased_ask_kind { LEASED_KEEPALIVE = 1, LEASED_TTL = 2 };

#define LEASED_ASK_FIELDS(F, L, O) \
	F(U64, gateway, "incarnation of the gatewayd that asks") \
	F(U64, ctx, "its own number for the question") \
	F(U64, kind, "enum leased_ask_kind") \
	F(I64, id, "of the lease")
MSG_DECLARE(leased_ask, LEASED_ASK_FIELDS)

#define LEASED_ASKS_FIELDS(F, L, O) \
	L(leased_ask, asks, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(leased_asks, LEASED_ASKS_FIELDS)

#define LEASED_ANSWER_FIELDS(F, L, O) \
	F(U64, gateway, "") \
	F(U64, ctx, "") \
	F(U64, error, "0, or NO_LEADER, LEADER_CHANGED, TOO_MANY_REQUESTS: ask again") \
	F(I64, ttl_s, "as granted; 0: there is no such lease") \
	F(I64, remaining_ms, "")
MSG_DECLARE(leased_answer, LEASED_ANSWER_FIELDS)

#define LEASED_ANSWERS_FIELDS(F, L, O) \
	L(leased_answer, answers, LIMIT_BATCH_ITEMS, "")
MSG_DECLARE(leased_answers, LEASED_ANSWERS_FIELDS)

#define LEASED_HERE_FIELDS(F, L, O) \
	F(I64, age_ms, "of the leased process")
MSG_DECLARE(leased_here, LEASED_HERE_FIELDS)

#define LINK_LEASE(M) \
	M(16, leased_asks, "gatewayd: keep these alive, or how long have they left; leased_answers") \
	M(17, leased_answers, "leased: answers, in any order") \
	M(18, leased_here, "leased: first")

enum { LINK_LEASE(MSG_LINK_ENUM) LINK_LEASE_END_ };
extern const struct msg_link link_lease;

#endif
