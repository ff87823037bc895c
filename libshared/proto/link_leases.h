/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link leased -> stored (stored listens): the leases there are, and what becomes of them.
 *
 * Hello resume: 0 both ways. After each connection stored sends its progress, then all leases in
 * pieces, the last of which says `listed`; changes come in between as they happen. A row replaces
 * what was known of its lease, so what comes later counts. Rows before the progress of the same
 * message. Which keys are attached is not said: whoever wants to know reads it from the mapped store.
 */
#ifndef QUORATE_LINK_LEASES_H
#define QUORATE_LINK_LEASES_H

#include "base/limits.h"
#include "proto/msg.h"

#define STORE_LEASE_FIELDS(F, L, O) \
	F(I64, id, "") \
	F(BOOL, gone, "it has ended") \
	F(I64, ttl_s, "as granted") \
	F(I64, remaining_ms, "it dozes with this much left; 0: it is awake") \
	F(U64, granted, "raft index of the entry that granted it")
MSG_DECLARE(store_lease, STORE_LEASE_FIELDS)

#define STORE_LEASES_FIELDS(F, L, O) \
	L(store_lease, leases, LIMIT_BATCH_ITEMS, "of the list, or changed, in order") \
	F(BOOL, more, "the changes of one commit go on in the next message: what follows does not hold yet") \
	F(BOOL, listed, "this was the last piece of the list") \
	F(U64, applied, "raft index") \
	F(U64, term, "of the last lessor's claim; 0: nobody has claimed") \
	F(U64, lessor, "its number") \
	F(U64, seq, "of its last checkpoint")
MSG_DECLARE(store_leases, STORE_LEASES_FIELDS)

#define STORE_LEASES_WAIT_FIELDS(F, L, O) \
	F(U64, index, "")
MSG_DECLARE(store_leases_wait, STORE_LEASES_WAIT_FIELDS)

#define LINK_LEASES(M) \
	M(16, store_leases, "stored: leases and progress; after each commit that has changed either") \
	M(17, store_leases_wait, "leased: tell the progress too when this index has been applied")

enum { LINK_LEASES(MSG_LINK_ENUM) LINK_LEASES_END_ };
extern const struct msg_link link_leases;

#endif
