/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope of the native protocol (docs/native-protocol.md): finding where a request ends in a
 * stream that may come byte by byte, and writing responses.
 *
 * The scanner keeps its place, so each byte is looked at once however small the pieces are. It
 * allocates nothing, and a length that a client declares is compared with LIMIT_CONN_MESSAGE_BYTES
 * before anything is awaited. Parameters are only measured here: proto/msg.h decodes them.
 */
#ifndef QUORATE_RPC_H
#define QUORATE_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { RPC_METHOD_BYTES = 32 };       /* longest name of a method */

enum rpc_stage { RPC_ENVELOPE, RPC_TYPE, RPC_ID, RPC_METHOD, RPC_PARAMS, RPC_VALUES };

struct rpc_scan {
	enum rpc_stage stage;
	size_t pos;                   /* where the next head begins; may be beyond what has come */
	uint64_t todo;                /* values still to come */
	uint32_t id;
	bool id_known;
	size_t method_at, method_len, params_at;
};

struct rpc_request {
	uint32_t id;
	struct bytes method;
	struct bytes params;          /* the whole array, well-formed */
};

void rpc_scan_begin(struct rpc_scan *s);

/*
 * `in` is all that has come of one message, from its first byte, and what may follow it.
 * ERR_OK: *r is filled, s->pos is the message's length. ERR_TRUNCATED: more must come.
 * ERR_MALFORMED, ERR_REQUEST_TOO_LARGE: bad from here on; s->id_known says whom to tell.
 */
int rpc_scan(struct rpc_scan *s, struct bytes in, struct rpc_request *r);

/* The beginning of a response that succeeded: the result must follow. */
void rpc_result_head(struct buf *out, uint32_t id);
void rpc_error(struct buf *out, uint32_t id, int err);
/* The beginning of a notification: its params must follow. */
void rpc_notify_head(struct buf *out, const char *method);
/* [2, "error", [code, text, again]]: the last word on a connection, about no request. */
void rpc_goodbye(struct buf *out, int err);

#endif
