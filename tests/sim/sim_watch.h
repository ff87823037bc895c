/* SPDX-License-Identifier: Apache-2.0 */
/* Watches in the simulator: part of sim_int.h, which includes this. */
#ifndef QUORATE_SIM_WATCH_H
#define QUORATE_SIM_WATCH_H

#include "clnt/watch_clnt.h"
#include "proto/native.h"
#include "watchd/history.h"
#include "watchd/serve.h"

struct sim_node;

/* An event of the model's history, in its order. */
struct sim_happening {
	int64_t rev;
	uint32_t sub;
	bool deleted, has_prev;
	struct kv_pair kv, prev;         /* bytes are the model's */
};

struct sim_watchd {
	struct watch_core *core;         /* NULL: down */
	struct serve *serve;
	struct serve_peer peer;
	struct history_counts counts;
	struct mvcc_env *env;            /* NULL: not mapped */
	uint64_t generation, mapped;     /* as stored says; of env */
	int64_t compact_told, read_told;
	mono_t heads_at;                 /* on its node's clock */
	mono_t due;                      /* the world's time */
};

/*
 * What a client watches. `next` is the place that it has read itself; the sub, which belongs to
 * its gatewayd, is ahead of it by what the client has not read.
 */
struct sim_watch {
	struct watch_sub sub;
	char key[8], end[8];
	int64_t id;                      /* as the client names it; 0: not in use */
	bool begun;                      /* its start is known */
	bool fencing, indexed;           /* it asks for "now"; it knows the index to wait for */
	bool here;                       /* registered at its gatewayd */
	struct raft_read fence;
	uint64_t floor;                  /* log position that "now" must not be before */
	int64_t start;
	struct watch_pos next;
	size_t at;                       /* in the history: all before it has been looked at */
	bool cut;                        /* it has read a part of a revision */
	int64_t progress, asked;
};
enum { SIM_WATCHERS = 5, SIM_CONN_WATCHES = 2 };

enum { SIM_READ_CLIENT, SIM_READ_FENCE };    /* raft_read.kind */

struct sim_note { enum watch_got_kind kind; struct bytes data; };   /* encoded as for a client */
struct sim_watcher {
	uint32_t id;
	struct sim_node *node;           /* where it is connected; NULL: nowhere */
	struct watch_client client;
	struct sim_watch w[SIM_CONN_WATCHES];
	struct sim_note *notes;          /* sent to it and not read */
	size_t n_notes, cap_notes;
	int64_t last_id;
	mono_t wake_at, slow_until;
};

#endif
