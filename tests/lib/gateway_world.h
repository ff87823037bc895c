/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway in one process with models of raftd, stored and leased: messages go through frames as on real
 * links, commands are applied by stored's own code to a store in memory, clients are socket pairs.
 * The test breaks what it likes by the flags.
 */
#ifndef QUORATE_TEST_GATEWAY_WORLD_H
#define QUORATE_TEST_GATEWAY_WORLD_H

#include "gatewayd/gateway.h"
#include "tests/lib/rpc_peer.h"
#include "tests/lib/small_store.h"
#include "tests/proto/net.h"
#include "watchd/history.h"
#include "watchd/serve.h"

enum { WORLD_LOG = 40000 };

struct world {
	uint64_t seed;
	struct loop *loop;
	struct gateway g;
	struct config config;
	struct config_member *self;
	/* raftd and the log */
	struct net to_raftd, to_stored, to_gateway_raft, to_gateway_store;
	uint64_t term, leader;
	struct buf log[WORLD_LOG];    /* committed commands, applied up to store.index */
	size_t n_log;
	uint64_t log_begins;          /* behind this index, as raftd tells */
	bool commits;                 /* false: commands are kept, nothing is applied */
	bool applies;                 /* false: the log grows, the store does not */
	bool forgets;                 /* proposals and reads are swallowed */
	int refuses;                  /* the error of every proposal and read; 0: none */
	bool mute_results;            /* results are lost on their way */
	size_t n_proposals, n_reads, n_status;
	bool raft_unwritten;          /* raftd was sent something since the last flush */
	struct rpc_peer *witness;     /* or NULL: a client that has not been answered yet... */
	size_t n_written_first;       /* ...when so often raftd's link was written */
	/* stored */
	struct small_store store;
	uint64_t generation;
	uint64_t hello;               /* the incarnation stored was told */
	int64_t compacted;            /* as progress says it */
	bool unmappable;
	size_t n_opened, n_closed, n_hellos;
	/* leased */
	struct net to_leased, to_gateway_lease;
	int lease_refuses;            /* the error of every answer; 0: none */
	bool lease_forgets;           /* answers are lost */
	size_t n_lease_asks;
	/* watchd: its core, on the same store */
	struct net to_watchd, to_gateway_watch;
	struct watch_core *core;
	struct serve *serve;
	struct serve_peer watch_peer;
	struct history_counts watch_counts;
	uint64_t transfer_target;
	size_t n_transfers;
};

struct world *world_new(int64_t timeout_ms);         /* with all links up and a leader, mapped */
struct world *world_new_down(int64_t timeout_ms);    /* with none */
void world_free(struct world *w);

void world_raft(struct world *w, bool up);
void world_store(struct world *w, bool up);
void world_lease(struct world *w, bool up);
void world_watchd(struct world *w, bool up);         /* down: dead, and all it knew */
void world_leader(struct world *w, uint64_t leader); /* in a new term */
void world_progress(struct world *w);                /* stored tells how far it is */
/* A new, empty store under the next number, or the old one again under it. */
void world_generation(struct world *w, bool empty);

/* The store was damaged: stored builds it again from the log, and has applied nothing of it yet (`applies`). */
void world_rebuild(struct world *w);

void world_turn(struct world *w);
void world_turns(struct world *w, int n);
void world_ms(struct world *w, int ms);              /* turns until so long has passed */

void world_join(struct world *w, struct rpc_peer *p);
/* Sends and waits for the reply, which is of that id. */
void world_call(struct world *w, struct rpc_peer *p, const char *method, const struct msg_desc *d,
		const void *params, struct rpc_reply *r);
void world_send(struct rpc_peer *p, uint32_t id, const char *method, const struct msg_desc *d,
		const void *params);
bool world_reply(struct world *w, struct rpc_peer *p, struct rpc_reply *r);  /* false: closed */
/* Nothing comes within some turns. */
bool world_silence(struct world *w, struct rpc_peer *p);

/* 0 or the error. */
int world_put(struct world *w, struct rpc_peer *p, const char *key, const char *value);
/* The decoded result lives until the next call. */
int world_range(struct world *w, struct rpc_peer *p, const struct kv_range *r, struct kv_range_result *out);
void *world_decode(const struct rpc_reply *r, const struct msg_desc *d, void *out);

#endif
