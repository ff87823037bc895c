/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table of all errors: name, number on the wire, gRPC status, whether the very same request
 * may safely be sent again, text. Numbers are part of the native protocol and are never reused.
 * Where etcd has an error of the same meaning the text is etcd's, since clients match on it.
 *
 * "again": SAFE    nothing was done, sending it again is safe
 *          UNSURE  it may have been done: only the caller knows whether again is safe
 *          NO      sending the same bytes again gives the same error
 */
#ifndef QUORATE_ERR_H
#define QUORATE_ERR_H

/* gRPC status codes, by their published numbers. */
enum err_grpc {
	GRPC_OK = 0, GRPC_CANCELED = 1, GRPC_UNKNOWN = 2, GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4, GRPC_NOT_FOUND = 5, GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7, GRPC_RESOURCE_EXHAUSTED = 8, GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10, GRPC_OUT_OF_RANGE = 11, GRPC_UNIMPLEMENTED = 12, GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14, GRPC_DATA_LOSS = 15, GRPC_UNAUTHENTICATED = 16
};

enum err_again { ERR_AGAIN_NO, ERR_AGAIN_SAFE, ERR_AGAIN_UNSURE };

#define ERR_LIST(E) \
	E(OK,               0, OK,                  NO,     "ok") \
	/* what a client asked for cannot be done */ \
	E(KEY_EMPTY,        1, INVALID_ARGUMENT,    NO,     "key is not provided") \
	E(KEY_NOT_FOUND,    2, INVALID_ARGUMENT,    NO,     "key not found") \
	E(VALUE_PROVIDED,   3, INVALID_ARGUMENT,    NO,     "value is provided") \
	E(LEASE_PROVIDED,   4, INVALID_ARGUMENT,    NO,     "lease is provided") \
	E(TOO_MANY_OPS,     5, INVALID_ARGUMENT,    NO,     "too many operations in txn request") \
	E(DUPLICATE_KEY,    6, INVALID_ARGUMENT,    NO,     "duplicate key given in txn request") \
	E(SORT_OPTION,      7, INVALID_ARGUMENT,    NO,     "invalid sort option") \
	E(REQUEST_TOO_LARGE, 8, INVALID_ARGUMENT,   NO,     "request is too large") \
	E(COMPACTED,        9, OUT_OF_RANGE,        NO,     "mvcc: required revision has been compacted") \
	E(FUTURE_REV,      10, OUT_OF_RANGE,        NO,     "mvcc: required revision is a future revision") \
	E(LEASE_NOT_FOUND, 11, NOT_FOUND,           NO,     "requested lease not found") \
	E(LEASE_EXISTS,    12, FAILED_PRECONDITION, NO,     "lease already exists") \
	E(LEASE_TTL,       13, OUT_OF_RANGE,        NO,     "too large lease TTL") \
	E(BAD_ARGUMENT,    14, INVALID_ARGUMENT,    NO,     "invalid argument") \
	E(SORT_TOO_LARGE,  15, RESOURCE_EXHAUSTED,  NO,     "range is too large to be sorted or filtered") \
	E(TXN_TOO_DEEP,    16, INVALID_ARGUMENT,    NO,     "transaction is nested too deeply") \
	E(RESPONSE_TOO_LARGE, 17, RESOURCE_EXHAUSTED, NO,   "transaction response is too large") \
	E(TXN_TOO_LARGE,   18, RESOURCE_EXHAUSTED,  NO,     "transaction reads too many keys") \
	E(LEASE_KEYS,      19, RESOURCE_EXHAUSTED,  NO,     "too many keys are attached to the lease") \
	E(TOO_MANY_LEASES, 20, RESOURCE_EXHAUSTED,  SAFE,   "too many leases") \
	E(WATCH_RANGE,     24, INVALID_ARGUMENT,    NO,     "mvcc: watcher range is empty") \
	E(WATCH_EXISTS,    25, INVALID_ARGUMENT,    NO,     "mvcc: duplicate watch ID provided on the WatchStream") \
	E(WATCH_NOT_FOUND, 26, NOT_FOUND,           NO,     "watch not found") \
	E(TOO_MANY_WATCHES, 27, RESOURCE_EXHAUSTED, NO,     "too many watches") \
	/* the cluster cannot do it now */ \
	E(NO_LEADER,       30, UNAVAILABLE,         SAFE,   "no leader") \
	E(LEADER_CHANGED,  31, UNAVAILABLE,         SAFE,   "leader changed") \
	E(TIMEOUT,         32, UNAVAILABLE,         UNSURE, "request timed out") \
	E(STOPPED,         33, UNAVAILABLE,         SAFE,   "server stopped") \
	E(TOO_MANY_REQUESTS, 34, RESOURCE_EXHAUSTED, SAFE,  "too many requests") \
	E(NO_SPACE,        35, RESOURCE_EXHAUSTED,  SAFE,   "mvcc: database space exceeded") \
	E(CORRUPT,         36, DATA_LOSS,           NO,     "corrupt cluster") \
	E(RESULT_LOST,     37, UNAVAILABLE,         NO,     "request was applied, but its response is no longer kept") \
	E(OUTCOME_UNKNOWN, 38, UNAVAILABLE,         UNSURE, "request outcome is unknown") \
	E(STORE_DOWN,      39, UNAVAILABLE,         SAFE,   "store is not available") \
	E(BAD_TARGET,      40, FAILED_PRECONDITION, NO,     "bad leader transferee") \
	E(NOT_LEADER,      41, FAILED_PRECONDITION, SAFE,   "not leader") \
	/* what came over a wire or a disk is wrong */ \
	E(MALFORMED,       60, INVALID_ARGUMENT,    NO,     "malformed message") \
	E(TRUNCATED,       61, INVALID_ARGUMENT,    NO,     "message ends too early") \
	E(TRAILING,        62, INVALID_ARGUMENT,    NO,     "message has trailing bytes") \
	E(LIMIT,           63, RESOURCE_EXHAUSTED,  NO,     "limit exceeded") \
	E(UNKNOWN_METHOD,  64, UNIMPLEMENTED,       NO,     "unknown method") \
	E(UNIMPLEMENTED,   65, UNIMPLEMENTED,       NO,     "not implemented yet") \
	E(VERSION,         66, FAILED_PRECONDITION, NO,     "protocol version is not supported") \
	E(AUTHENTICATION,  67, UNAUTHENTICATED,     NO,     "authentication failed") \
	E(CHECKSUM,        68, DATA_LOSS,           NO,     "checksum mismatch") \
	/* this machine */ \
	E(IO,              80, INTERNAL,            UNSURE, "input/output error") \
	E(NO_MEMORY,       81, RESOURCE_EXHAUSTED,  SAFE,   "out of memory") \
	E(FULL,            82, RESOURCE_EXHAUSTED,  SAFE,   "queue is full") \
	E(CLOSED,          83, UNAVAILABLE,         UNSURE, "connection closed") \
	E(CONFIG,          84, FAILED_PRECONDITION, NO,     "configuration error") \
	E(NOT_FOUND,       85, NOT_FOUND,           NO,     "not found") \
	E(EXISTS,          86, ALREADY_EXISTS,      NO,     "already exists") \
	E(INTERNAL,        87, INTERNAL,            UNSURE, "internal error") \
	/* the client library's own */ \
	E(CANCELED,        88, CANCELED,            UNSURE, "canceled") \
	E(LOST,            89, FAILED_PRECONDITION, NO,     "the session, or what it held, is lost") \
	E(HELD,            90, FAILED_PRECONDITION, SAFE,   "held by somebody else") \
	E(CONFLICT,        92, ABORTED,             SAFE,   "others have changed what was read")

enum err {
#define E(name, code, grpc, again, text) ERR_##name = (code),
	ERR_LIST(E)
#undef E
};

/* Never NULL; an unknown number (from a newer peer) gives "unknown error". */
const char *err_text(int err);
const char *err_name(int err);
enum err_again err_again(int err);
enum err_grpc err_grpc(int err);

#endif
