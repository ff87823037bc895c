/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases: what the replicated log carries of them (parts of struct command, proto/kv.h), and what
 * clients ask and are told.
 *
 * A lease's clock runs in one place only: in the leased of the leader's node, the lessor. The log
 * knows the lessor by (term, number): a claim is the first that a lessor writes there, and what an
 * earlier one has written, or still writes, is void from then on. `granted` is the index of the
 * entry that granted the lease, so that a new lease under an old id is not taken for the old one.
 */
#ifndef QUORATE_LEASE_H
#define QUORATE_LEASE_H

#include "base/limits.h"
#include "proto/msg.h"

#define LEASE_GRANT_FIELDS(F, L, O) \
	F(I64, id, "0: one is chosen") \
	F(I64, ttl, "seconds; less than the cluster's minimum is raised to it")
MSG_DECLARE(lease_grant, LEASE_GRANT_FIELDS)

#define LEASE_GRANT_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	F(I64, id, "") \
	F(I64, ttl, "as granted, seconds")
MSG_DECLARE(lease_grant_result, LEASE_GRANT_RESULT_FIELDS)

#define LEASE_REVOKE_FIELDS(F, L, O) \
	F(I64, id, "its keys are deleted, all in one revision")
MSG_DECLARE(lease_revoke, LEASE_REVOKE_FIELDS)

#define LEASE_REVOKE_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "")
MSG_DECLARE(lease_revoke_result, LEASE_REVOKE_RESULT_FIELDS)

#define LESSOR_CLAIM_FIELDS(F, L, O) \
	F(U64, term, "void in an entry of another term") \
	F(U64, lessor, "incarnation of the leased that claims")
MSG_DECLARE(lessor_claim, LESSOR_CLAIM_FIELDS)

#define LESSOR_EXPIRE_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(U64, lessor, "void unless this one's claim is the last") \
	F(I64, id, "of the lease that has run out") \
	F(U64, granted, "void for a newer lease of that id")
MSG_DECLARE(lessor_expire, LESSOR_EXPIRE_FIELDS)

#define LESSOR_MARK_FIELDS(F, L, O) \
	F(I64, id, "") \
	F(U64, granted, "") \
	F(I64, remaining_ms, "the lease dozes with this much left; 0: it is awake, with its whole TTL")
MSG_DECLARE(lessor_mark, LESSOR_MARK_FIELDS)

#define LESSOR_CHECKPOINT_FIELDS(F, L, O) \
	F(U64, term, "") \
	F(U64, lessor, "") \
	F(U64, seq, "counted by the lessor from 1; void at or below the last one applied") \
	L(lessor_mark, marks, LIMIT_LEASE_MARKS, "")
MSG_DECLARE(lessor_checkpoint, LESSOR_CHECKPOINT_FIELDS)

#endif
