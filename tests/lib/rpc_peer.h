/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the native protocol for tests in one process: it writes what it is told, reads what
 * comes, and takes responses apart. The test turns the loop of the other side in between.
 */
#ifndef QUORATE_TEST_RPC_PEER_H
#define QUORATE_TEST_RPC_PEER_H

#include "base/buf.h"

struct rpc_peer {
	int fd;
	struct buf out;              /* not yet written */
	struct buf in;               /* not yet taken apart */
	bool closed;                 /* the other side has closed */
};

struct rpc_reply {
	bool goodbye;                /* the notification "error", about no request */
	char notice[32];             /* the name of another notification; its params are the result */
	uint32_t id;
	int error;                   /* 0: result is set */
	struct bytes text;
	uint64_t again;
	struct bytes result;         /* the value, encoded */
};

/* A connected pair; the other end, non-blocking, is returned. */
int rpc_peer_open(struct rpc_peer *p);
void rpc_peer_close(struct rpc_peer *p);
/* params: an encoded array. */
void rpc_peer_request(struct rpc_peer *p, uint32_t id, const char *method, struct bytes params);
void rpc_peer_bytes(struct rpc_peer *p, const void *data, size_t n);
void rpc_peer_write(struct rpc_peer *p, size_t at_most);     /* what the socket takes */
void rpc_peer_read(struct rpc_peer *p, size_t at_most);
/* The next whole response; its bytes are valid until the next call of rpc_peer_read. */
bool rpc_peer_next(struct rpc_peer *p, struct rpc_reply *r);

#endif
