/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key-value requests and results: what clients send (the native protocol's parameters), what the
 * replicated log carries (struct command), and what comes back. Meanings are etcd's.
 *
 * A field of 0 or empty means "not given", except where the help says otherwise.
 */
#ifndef QUORATE_KV_H
#define QUORATE_KV_H

#include "base/limits.h"
#include "proto/lease.h"
#include "proto/msg.h"

enum kv_sort_order { KV_ORDER_NONE, KV_ORDER_ASCEND, KV_ORDER_DESCEND };
enum kv_sort_target { KV_SORT_KEY, KV_SORT_VERSION, KV_SORT_CREATE, KV_SORT_MOD, KV_SORT_VALUE };
enum kv_compare_op { KV_EQUAL, KV_GREATER, KV_LESS, KV_NOT_EQUAL };
enum kv_compare_target { KV_TARGET_VERSION, KV_TARGET_CREATE, KV_TARGET_MOD, KV_TARGET_VALUE, KV_TARGET_LEASE };

#define KV_PAIR_FIELDS(F, L, O) \
	F(BYTES, key, "") \
	F(I64, create_revision, "revision that created the key") \
	F(I64, mod_revision, "revision of the last change") \
	F(I64, version, "changes since it was created; 1 for a new key") \
	F(BYTES, value, "") \
	F(I64, lease, "id of the lease it is attached to, or 0")
MSG_DECLARE(kv_pair, KV_PAIR_FIELDS)

#define KV_HEADER_FIELDS(F, L, O) \
	F(U64, cluster_id, "") \
	F(U64, member_id, "the node that answered") \
	F(I64, revision, "the store's revision when it answered") \
	F(U64, raft_term, "term of the node that answered")
MSG_DECLARE(kv_header, KV_HEADER_FIELDS)

#define KV_RANGE_FIELDS(F, L, O) \
	F(BYTES, key, "first key") \
	F(BYTES, range_end, "empty: only `key`; one zero byte: all keys >= key; else [key, range_end)") \
	F(I64, limit, "at most this many pairs; 0: all") \
	F(I64, revision, "read at this revision; <= 0: the latest") \
	F(U64, sort_order, "enum kv_sort_order") \
	F(U64, sort_target, "enum kv_sort_target") \
	F(BOOL, serializable, "answer from this node's store without asking the quorum") \
	F(BOOL, keys_only, "leave the values out") \
	F(BOOL, count_only, "only count") \
	F(I64, min_mod_revision, "") \
	F(I64, max_mod_revision, "") \
	F(I64, min_create_revision, "") \
	F(I64, max_create_revision, "")
MSG_DECLARE(kv_range, KV_RANGE_FIELDS)

/* count and more come before the pairs, so that a large answer can be streamed. */
#define KV_RANGE_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "inside a transaction only its revision is set") \
	F(I64, count, "live keys in the range, whatever limit and filters say") \
	F(BOOL, more, "the limit cut the answer") \
	L(kv_pair, kvs, UINT32_MAX, "")
MSG_DECLARE(kv_range_result, KV_RANGE_RESULT_FIELDS)

#define KV_PUT_FIELDS(F, L, O) \
	F(BYTES, key, "") \
	F(BYTES, value, "may be empty") \
	F(I64, lease, "attach to this lease; 0: to none") \
	F(BOOL, prev_kv, "answer with the pair before the change") \
	F(BOOL, ignore_value, "keep the value, change only the lease") \
	F(BOOL, ignore_lease, "keep the lease, change only the value")
MSG_DECLARE(kv_put, KV_PUT_FIELDS)

#define KV_PUT_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	O(kv_pair, prev_kv, "if asked for, and the key existed")
MSG_DECLARE(kv_put_result, KV_PUT_RESULT_FIELDS)

#define KV_DELETE_FIELDS(F, L, O) \
	F(BYTES, key, "") \
	F(BYTES, range_end, "as in range") \
	F(BOOL, prev_kv, "answer with the pairs that were deleted")
MSG_DECLARE(kv_delete, KV_DELETE_FIELDS)

#define KV_DELETE_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	F(I64, deleted, "how many keys") \
	L(kv_pair, prev_kvs, UINT32_MAX, "if asked for, in key order")
MSG_DECLARE(kv_delete_result, KV_DELETE_RESULT_FIELDS)

#define KV_COMPARE_FIELDS(F, L, O) \
	F(BYTES, key, "") \
	F(BYTES, range_end, "not empty: must hold for every key of the range") \
	F(U64, target, "enum kv_compare_target") \
	F(U64, op, "enum kv_compare_op: target OP given") \
	F(I64, number, "to compare with, unless the target is the value") \
	F(BYTES, value, "to compare with, if the target is the value")
MSG_DECLARE(kv_compare, KV_COMPARE_FIELDS)

struct kv_txn;
extern const struct msg_desc kv_txn_desc;

/* Exactly one part is given. */
#define KV_OP_FIELDS(F, L, O) \
	O(kv_range, range, "") \
	O(kv_put, put, "") \
	O(kv_delete, del, "") \
	O(kv_txn, txn, "")
MSG_DECLARE(kv_op, KV_OP_FIELDS)

#define KV_TXN_FIELDS(F, L, O) \
	L(kv_compare, compares, LIMIT_TXN_OPS, "if all of these hold") \
	L(kv_op, success, LIMIT_TXN_OPS, "do these") \
	L(kv_op, failure, LIMIT_TXN_OPS, "else these")
MSG_DECLARE(kv_txn, KV_TXN_FIELDS)

struct kv_txn_result;
extern const struct msg_desc kv_txn_result_desc;

#define KV_OP_RESULT_FIELDS(F, L, O) \
	O(kv_range_result, range, "") \
	O(kv_put_result, put, "") \
	O(kv_delete_result, del, "") \
	O(kv_txn_result, txn, "")
MSG_DECLARE(kv_op_result, KV_OP_RESULT_FIELDS)

#define KV_TXN_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	F(BOOL, succeeded, "the compares held") \
	L(kv_op_result, responses, LIMIT_TXN_OPS, "one per operation of the branch taken, in order")
MSG_DECLARE(kv_txn_result, KV_TXN_RESULT_FIELDS)

#define KV_COMPACT_FIELDS(F, L, O) \
	F(I64, revision, "history before this revision is given up; this revision stays readable") \
	F(BOOL, physical, "answer only when the space has been given back on the node asked")
MSG_DECLARE(kv_compact, KV_COMPACT_FIELDS)

#define KV_COMPACT_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "")
MSG_DECLARE(kv_compact_result, KV_COMPACT_RESULT_FIELDS)

/*
 * A command as it stands in the replicated log. (gateway, seq) is its id: the store applies an id
 * at most once. Exactly one part is given; none at all opens the gateway's session, which must be
 * the first command of an incarnation. A lessor's commands have the id (0, 0): applying one twice
 * is harmless, and nobody waits for a result.
 */
#define COMMAND_FIELDS(F, L, O) \
	F(U64, gateway, "incarnation of the gatewayd that proposed it") \
	F(U64, seq, "numbered by that gatewayd from 1; 0 opens the session") \
	O(kv_put, put, "") \
	O(kv_delete, del, "") \
	O(kv_txn, txn, "") \
	O(kv_compact, compact, "") \
	O(lease_grant, lease_grant, "") \
	O(lease_revoke, lease_revoke, "") \
	O(lessor_claim, claim, "of a lessor, as the next two") \
	O(lessor_expire, expire, "") \
	O(lessor_checkpoint, checkpoint, "")
MSG_DECLARE(command, COMMAND_FIELDS)

/* What applying a command gave; headers carry only the revision. */
#define COMMAND_RESULT_FIELDS(F, L, O) \
	F(U64, error, "enum err; if not 0 the parts are nil and nothing was changed") \
	F(I64, revision, "the store's revision right after the command") \
	O(kv_put_result, put, "") \
	O(kv_delete_result, del, "") \
	O(kv_txn_result, txn, "") \
	O(kv_compact_result, compact, "") \
	O(lease_grant_result, lease_grant, "") \
	O(lease_revoke_result, lease_revoke, "")
MSG_DECLARE(command_result, COMMAND_RESULT_FIELDS)

#endif
