/* SPDX-License-Identifier: Apache-2.0 */
/* Between grpc.c and grpc_answer.c. */
#ifndef QUORATE_GRPC_OWN_H
#define QUORATE_GRPC_OWN_H

#include "gatewayd/etcd/grpc.h"

/* Election timeouts without a leader before streams that asked for one end: as etcd has it. */
enum { GRPC_LEADERLESS = 3 };

extern const struct caller_ops grpc_caller_ops, grpc_chunks_ops;
extern const struct form form_etcd_chunks;      /* etcd's, without measuring */

/* range_stream.c: where grpc_chunks_ops differs from grpc_caller_ops. */
bool grpc_chunks_stream_begin(struct caller *k, uint32_t id, size_t total);
struct buf *grpc_chunks_stream(struct caller *k);
void grpc_chunks_stream_end(struct caller *k);
struct buf *grpc_chunks_begin(struct caller *k, uint32_t id, size_t *mark);
void grpc_chunks_end(struct caller *k, uint32_t id, struct buf *b, size_t mark, int lost);
void grpc_chunks_touch(struct caller *k);

/* All that goes on for it is given up; what was sent is still being written. */
void grpc_let_go(struct grpc_stream *s);
/* The request is none of gRPC: this HTTP status. */
void grpc_not(struct grpc_stream *s, const char *http_status);
void grpc_unknown(struct grpc_stream *s, bool service);
void grpc_too_large(struct grpc_stream *s, size_t len);

#endif
