/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native client protocol on TCP: MessagePack-RPC.
 *
 *   request       [0, id, "method", [params...]]       id: an unsigned 32-bit number of the client
 *   response      [1, id, error, result]               error: nil, or [code, "text", again]
 *   notification  [2, "method", [params...]]           server to client: NATIVE_NOTIFICATIONS
 *
 * Requests are pipelined: many may be in flight, answers come in any order. Params are the fields
 * of the method's message in order; trailing ones may be left out, nil stands for a default, and
 * str is taken where bin is meant. Results are the fields of the result message; bytes are bin.
 * `code` is a number of base/err.h, `again` 0 no, 1 safe to repeat, 2 unsure.
 *
 * Specified for people in docs/native-protocol.md.
 */
#ifndef QUORATE_NATIVE_H
#define QUORATE_NATIVE_H

#include "proto/kv.h"
#include "proto/link_watch.h"

enum { NATIVE_REQUEST = 0, NATIVE_RESPONSE = 1, NATIVE_NOTIFICATION = 2 };

#define NATIVE_EMPTY_FIELDS(F, L, O) \
	F(U64, reserved, "0")
MSG_DECLARE(native_empty, NATIVE_EMPTY_FIELDS)

#define NATIVE_VERSION_RESULT_FIELDS(F, L, O) \
	F(STR, server, "version of gatewayd, as 0.1.0") \
	F(U64, protocol, "version of this protocol: 1")
MSG_DECLARE(native_version_result, NATIVE_VERSION_RESULT_FIELDS)

#define NATIVE_DAEMON_FIELDS(F, L, O) \
	F(STR, name, "raftd, stored, leased, gatewayd.0 ...") \
	F(STR, state, "up or down, as this gatewayd sees it") \
	F(I64, age_ms, "of the process; -1 when down")
MSG_DECLARE(native_daemon, NATIVE_DAEMON_FIELDS)

/* What a down daemon would have said is 0. */
#define NATIVE_STATUS_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	F(STR, name, "of the node asked") \
	F(STR, version, "") \
	F(STR, role, "leader, follower, candidate, pre-candidate, unknown") \
	F(U64, leader, "node id, or 0") \
	F(U64, commit, "") \
	F(U64, applied, "") \
	F(U64, last, "last index of its log") \
	F(I64, compact_revision, "") \
	F(U64, store_bytes, "") \
	F(U64, used_bytes, "") \
	F(U64, log_bytes, "") \
	F(U64, keys, "live keys") \
	F(BYTES, apply_hash, "16 bytes; equal on all nodes at equal applied index") \
	L(native_daemon, daemons, 32, "")
MSG_DECLARE(native_status_result, NATIVE_STATUS_RESULT_FIELDS)

#define NATIVE_MEMBER_FIELDS(F, L, O) \
	F(U64, id, "") \
	F(STR, name, "") \
	F(STR, peer_addr, "") \
	F(STR, client_addr, "")
MSG_DECLARE(native_member, NATIVE_MEMBER_FIELDS)

#define NATIVE_MEMBERS_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	L(native_member, members, LIMIT_NODES, "")
MSG_DECLARE(native_members_result, NATIVE_MEMBERS_RESULT_FIELDS)

#define NATIVE_HASH_FIELDS(F, L, O) \
	F(I64, revision, "0: the latest of the node asked")
MSG_DECLARE(native_hash, NATIVE_HASH_FIELDS)

#define NATIVE_HASH_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	F(BYTES, hash, "16 bytes over all rows up to the revision") \
	F(I64, hash_revision, "") \
	F(I64, compact_revision, "comparable only if this is equal too")
MSG_DECLARE(native_hash_result, NATIVE_HASH_RESULT_FIELDS)

#define NATIVE_MOVE_LEADER_FIELDS(F, L, O) \
	F(U64, target, "node id; 0: the most advanced follower")
MSG_DECLARE(native_move_leader, NATIVE_MOVE_LEADER_FIELDS)

#define NATIVE_MOVE_LEADER_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "")
MSG_DECLARE(native_move_leader_result, NATIVE_MOVE_LEADER_RESULT_FIELDS)

#define NATIVE_LEASE_FIELDS(F, L, O) \
	F(I64, id, "")
MSG_DECLARE(native_lease, NATIVE_LEASE_FIELDS)

/* A lease that is not there has ttl 0: no error, as in etcd. */
#define NATIVE_KEEPALIVE_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	F(I64, id, "") \
	F(I64, ttl, "seconds that it has again; 0: there is no such lease")
MSG_DECLARE(native_keepalive_result, NATIVE_KEEPALIVE_RESULT_FIELDS)

#define NATIVE_TIME_TO_LIVE_FIELDS(F, L, O) \
	F(I64, id, "") \
	F(BOOL, keys, "and the keys attached to it") \
	F(BYTES, after, "those behind this key; empty: from the first on")
MSG_DECLARE(native_time_to_live, NATIVE_TIME_TO_LIVE_FIELDS)

#define NATIVE_LEASE_KEY_FIELDS(F, L, O) \
	F(BYTES, key, "")
MSG_DECLARE(native_lease_key, NATIVE_LEASE_KEY_FIELDS)

#define NATIVE_TIME_TO_LIVE_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	F(I64, id, "") \
	F(I64, ttl, "seconds left; -1: there is no such lease") \
	F(I64, granted_ttl, "seconds; 0: there is no such lease") \
	F(BOOL, more, "other keys are attached behind these: ask again with `after`") \
	L(native_lease_key, keys, LIMIT_LEASE_PAGE_ROWS, "")
MSG_DECLARE(native_time_to_live_result, NATIVE_TIME_TO_LIVE_RESULT_FIELDS)

#define NATIVE_LEASE_LIST_FIELDS(F, L, O) \
	F(I64, after, "leases behind this one; 0: from the first on") \
	F(I64, limit, "at most so many; 0: as many as fit an answer")
MSG_DECLARE(native_lease_list, NATIVE_LEASE_LIST_FIELDS)

#define NATIVE_LEASE_LIST_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "") \
	F(BOOL, more, "there are others behind these: ask again with `after`") \
	L(native_lease, leases, LIMIT_LEASE_PAGE_ROWS, "by id, negative ones last")
MSG_DECLARE(native_lease_list_result, NATIVE_LEASE_LIST_RESULT_FIELDS)
#define NATIVE_WATCH_FIELDS(F, L, O) \
	F(BYTES, key, "first key") \
	F(BYTES, range_end, "as in range") \
	F(I64, start_revision, "the first revision of interest, past or future; 0: what comes after now") \
	F(BOOL, prev_kv, "events come with the pair before them") \
	F(BOOL, no_put, "leave puts out") \
	F(BOOL, no_delete, "leave deletes out") \
	F(BOOL, progress_notify, "say now and then how far it has got when nothing happens") \
	F(I64, watch_id, "the client's own number, above 0; 0: the server chooses") \
	F(U64, start_sub, "to go on inside a revision that came in pieces: next_sub; else 0")
MSG_DECLARE(native_watch, NATIVE_WATCH_FIELDS)

#define NATIVE_WATCH_RESULT_FIELDS(F, L, O) \
	O(kv_header, header, "with the revision that the node's store had when the watch began") \
	F(I64, watch_id, "names the watch on this connection")
MSG_DECLARE(native_watch_result, NATIVE_WATCH_RESULT_FIELDS)

#define NATIVE_WATCH_REF_FIELDS(F, L, O) \
	F(I64, watch_id, "")
MSG_DECLARE(native_watch_ref, NATIVE_WATCH_REF_FIELDS)

#define NATIVE_WATCH_HEADER_FIELDS(F, L, O) \
	O(kv_header, header, "")
MSG_DECLARE(native_watch_header, NATIVE_WATCH_HEADER_FIELDS)

/* ---- notifications ---- */

#define NATIVE_WATCH_EVENTS_FIELDS(F, L, O) \
	L(native_watch_ref, watches, LIMIT_WATCH_REFS, "the watches that these events are for") \
	L(watch_event, events, LIMIT_BATCH_ITEMS, "in order") \
	F(I64, revision, "of the node's store when they were read") \
	F(I64, next_revision, "where these watches stand now: the start_revision to go on with") \
	F(U64, next_sub, "and the start_sub; not 0: the rest of a large revision follows")
MSG_DECLARE(native_watch_events, NATIVE_WATCH_EVENTS_FIELDS)

#define NATIVE_WATCH_PROGRESS_FIELDS(F, L, O) \
	L(native_watch_ref, watches, LIMIT_WATCH_REFS, "") \
	F(I64, revision, "these watches have been sent everything up to it")
MSG_DECLARE(native_watch_progress, NATIVE_WATCH_PROGRESS_FIELDS)

#define NATIVE_WATCH_CANCELED_FIELDS(F, L, O) \
	F(I64, watch_id, "has ended") \
	F(U64, code, "why: a number of section 4, such as COMPACTED") \
	F(STR, text, "the same for people") \
	F(I64, compact_revision, "if COMPACTED: the first revision that can still be watched")
MSG_DECLARE(native_watch_canceled, NATIVE_WATCH_CANCELED_FIELDS)

/* N(method, params, "help") */
#define NATIVE_NOTIFICATIONS(N) \
	N("watch_events", native_watch_events, "something has happened") \
	N("watch_progress", native_watch_progress, "how far watches have got") \
	N("watch_canceled", native_watch_canceled, "the server has ended a watch")

struct native_notification {
	const char *name;
	const struct msg_desc *params;
	const char *help;
};
extern const struct native_notification native_notifications[];
extern const size_t native_notification_count;
const struct native_notification *native_notification_find(struct bytes name);   /* or NULL */

/* N(method, params, result, "help") */
#define NATIVE_METHODS(N) \
	N("version", native_empty, native_version_result, "who is there; answered without the cluster") \
	N("range", kv_range, kv_range_result, "read keys") \
	N("put", kv_put, kv_put_result, "write a key") \
	N("delete", kv_delete, kv_delete_result, "delete keys") \
	N("txn", kv_txn, kv_txn_result, "if all compares hold do these, else those; one revision") \
	N("compact", kv_compact, kv_compact_result, "give up history before a revision") \
	N("status", native_empty, native_status_result, "of the node asked; answered without the cluster") \
	N("members", native_empty, native_members_result, "nodes of the cluster and their addresses") \
	N("hash", native_hash, native_hash_result, "hash of the node's data at a revision") \
	N("lease_grant", lease_grant, lease_grant_result, "a new lease") \
	N("lease_revoke", lease_revoke, lease_revoke_result, "end a lease now, and delete its keys") \
	N("lease_keepalive", native_lease, native_keepalive_result, "give a lease its whole TTL again") \
	N("lease_time_to_live", native_time_to_live, native_time_to_live_result, "what a lease has left") \
	N("lease_list", native_lease_list, native_lease_list_result, "the leases there are, as the node asked knows") \
	N("move_leader", native_move_leader, native_move_leader_result, "only the leader's node takes it") \
	N("watch", native_watch, native_watch_result, "be told of changes, by notifications") \
	N("watch_cancel", native_watch_ref, native_watch_header, "end a watch") \
	N("watch_progress", native_watch_ref, native_watch_header, "ask how far watches have got")

struct native_method {
	const char *name;
	const struct msg_desc *params;
	const struct msg_desc *result;
	const char *help;
};

extern const struct native_method native_methods[];
extern const size_t native_method_count;
const struct native_method *native_method_find(struct bytes name);   /* or NULL */

#endif
