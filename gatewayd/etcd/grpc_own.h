/* SPDX-License-Identifier: Apache-2.0 */
/* Between grpc.c and grpc_answer.c. */
#ifndef QUORATE_GRPC_OWN_H
#define QUORATE_GRPC_OWN_H

#include "gatewayd/etcd/grpc.h"

/* Election timeouts without a leader before streams that asked for one end: as etcd has it. */
enum { GRPC_LEADERLESS = 3 };

extern const struct caller_ops grpc_caller_ops;

/* All that goes on for it is given up; what was sent is still being written. */
void grpc_let_go(struct grpc_stream *s);
/* The request is none of gRPC: this HTTP status. */
void grpc_not(struct grpc_stream *s, const char *http_status);
void grpc_unknown(struct grpc_stream *s, bool service);
void grpc_too_large(struct grpc_stream *s, size_t len);

#endif
