/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections with a simple owner, in one process with their clients. It knows: "echo" answers with
 * its parameters, "later" answers when the test says so, "big" answers with 100 KB, "bad" is a
 * request that makes no sense, "stream" writes STREAM_BYTES in pieces.
 */
#ifndef QUORATE_TEST_CONN_WORLD_H
#define QUORATE_TEST_CONN_WORLD_H

#include "gatewayd/conn.h"
#include "tests/lib/rpc_peer.h"

enum { LATER_MAX = 4096, BIG_BYTES = 100000, STREAM_BYTES = 3000000, STREAM_STEP = 50000 };

struct conn_world {
	struct loop *loop;
	struct conn_set set;
	struct gatewayd_counters counters;
	struct loop_hook hook;
	struct conn_later {
		struct conn *c;
		uint32_t id;
	} later[LATER_MAX];
	size_t n_later, most_later;
	struct conn *streamer;
	uint32_t stream_id;
	size_t streamed;
	size_t n_requests, n_gone, n_room;
};

struct conn_world *conn_world_new(void);
void conn_world_free(struct conn_world *w);
void conn_world_turns(struct conn_world *w, int n);
struct conn *conn_world_join(struct conn_world *w, struct rpc_peer *p);
/* Turns until the peer has a reply; false: the connection is closed. */
bool conn_world_reply(struct conn_world *w, struct rpc_peer *p, struct rpc_reply *r);
void conn_world_request(struct rpc_peer *p, uint32_t id, const char *method, size_t bytes);
void conn_world_answer(struct conn *c, uint32_t id, struct bytes value);
void conn_world_answer_big(struct conn *c, uint32_t id);

#endif
