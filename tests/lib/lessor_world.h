/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three nodes, each with a lessor and a store of its own, a log that commits what a leader proposes,
 * clients that keep leases alive and die, and a clock that only the world turns. Elections, pauses,
 * restarts, lost messages and links by chance from a seed. The log is Raft's as seen from above: of
 * what a leader had not committed when it lost the lead, any first part is in its successor's log.
 */
#ifndef QUORATE_LESSOR_WORLD_H
#define QUORATE_LESSOR_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "leased/core/lessor.h"
#include "stored/core/apply.h"

enum { WORLD_NODES = 3, WORLD_CLIENTS = 12, WORLD_STEP_MS = 5 };

/* Planted: the world must find each of them. */
enum world_bug {
	WORLD_SOUND,
	WORLD_STALE_ENDS,        /* an old leader's expiry counts */
	WORLD_NO_ROUND,          /* keepalives are answered without asking the quorum */
	WORLD_ENDS_EARLY,        /* clocks run a fifth too fast */
	WORLD_OLD_LEASE,         /* an expiry of a lease that has gone ends its successor of the same id */
	WORLD_NO_WAKE,           /* a checkpoint is kept though the lease was kept alive since */
	WORLD_TTL_AGAIN          /* checkpoints are not looked at: each leader gives the whole TTL */
};

struct world_entry {
	uint64_t term;
	uint8_t *bytes;
	size_t len;
	int64_t due_ns;          /* of one not committed yet */
};

struct world_entries {
	struct world_entry *v;
	size_t n;
};

struct world_node {
	struct lessor *lessor;
	struct okv *db;
	struct apply *apply;
	struct world_entries out;        /* on their way to raftd */
	bool leads;
	uint64_t term;                   /* as its raftd believes */
	int64_t hears_ns;                /* of the next change of role */
	int64_t paused_ns;
	int64_t offset_ns;               /* of its clock */
	bool linked;                     /* leased to stored */
	struct { uint64_t ctx, term, index; int64_t due_ns; bool asked_leading; } confirm;
};

struct world_client {
	int64_t id, ttl_s;
	uint64_t granted;                /* 0: none now */
	int64_t next_ns, dies_ns;
	int64_t relies_ns;               /* not to end before */
	int64_t heard_ns;                /* of its last answer */
	int64_t ended_ns;
};

struct world_send {
	int64_t at_ns;
	int client;
	uint64_t granted;
};

struct world {
	enum world_bug bug;
	bool calm;                       /* no faults by themselves */
	uint64_t seed, rarely;           /* faults are tried in one of so many steps */
	int64_t now_ns;
	struct world_node nodes[WORLD_NODES];
	int leader;
	uint64_t term;
	int64_t noop_ns;                 /* the leader's own entry is committed from then on */
	size_t noop_index;
	struct world_entries pending;    /* the leader's, not committed */
	struct world_entries log;
	struct okv *truth_db;            /* applies at the moment of the commit */
	struct apply *truth;
	uint64_t seq;                    /* of the clients' own commands */
	struct world_client clients[WORLD_CLIENTS];
	struct world_send *sends;
	size_t n_sends;
	/* what was seen */
	unsigned early, false_answers, ended, answered, elections;
};

void world_open(struct world *w, uint64_t seed, enum world_bug bug);
void world_close(struct world *w);
/* Runs so long; everybody's clients, if clients is true. */
void world_run(struct world *w, int64_t ms, bool clients);
void world_elect(struct world *w, int leader);
void world_pause(struct world *w, int node, int64_t ms);
void world_restart(struct world *w, int node);
void world_grant(struct world *w, int client, int64_t ttl_s);
void world_revoke(struct world *w, int client);
void world_keepalive(struct world *w, int client);
int64_t world_ms(const struct world *w);

#endif
