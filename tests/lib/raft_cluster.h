/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole Raft cluster in one process: real cores, and everything else made of a seed: clock,
 * network (loses, repeats, delays, reorders, cuts), disks (slow, lose what was not synced). After
 * every single step an oracle compares all nodes with the promises of Raft (thesis, figure 3.2)
 * and of linearizable reads; the first broken one is in `failure` and nothing runs any more.
 *
 *   struct cluster *c = cluster_create(&(struct cluster_options){.nodes = 3, .seed = 7});
 *   cluster_await_leader(c, 2000); cluster_propose(c, cluster_leader(c), 1); cluster_run(c, 500);
 *   EQ_STR(c->failure, ""); cluster_destroy(c);
 *
 * Node ids are 1..nodes. All times are virtual.
 */
#ifndef QUORATE_RAFT_CLUSTER_H
#define QUORATE_RAFT_CLUSTER_H

#include <stdio.h>

#include "raftd/core/raft.h"

#define CLUSTER_NODES LIMIT_NODES

struct cluster_options {
	uint32_t nodes;                  /* 1..CLUSTER_NODES */
	uint64_t seed;
	uint32_t latency_min_us, latency_max_us;   /* 0: 100, 1000 */
	uint32_t sync_min_us, sync_max_us;         /* of one disk sync; 0: 100, 2000 */
	uint32_t drop_permille, repeat_permille;
	bool fifo;                       /* links keep the order, as TCP does */
	uint32_t append_max;             /* entries the driver takes per message; 0: 16 */
	uint32_t grant_delay_permille;   /* REPLICATEs carried out late, */
	uint32_t grant_empty_permille;   /* or answered with "nothing could be sent" */
	uint32_t nemesis_permille;       /* of an ordeal, every few ms; 0: 100 */
	bool outcomes_only;              /* do not judge what leaves before it is durable */
	uint32_t inflight_msgs;          /* as in raft_config */
	FILE *trace;                     /* every event and effect, or NULL */
};

struct cluster_entry {
	uint64_t term, value;            /* value 0: a no-op */
	uint64_t hash;                   /* of this entry and all before it */
};

struct cluster_log {
	struct cluster_entry *v;         /* v[index]; v[0] is empty */
	size_t cap;
	uint64_t base, last;
};

struct cluster_op {                /* on its way to the disk */
	enum raft_effect_type type;
	uint64_t seq;
	uint64_t a, b;                   /* HARD_STATE: term, vote; else a is where it begins */
	uint32_t n;
	struct cluster_entry *entries;
};

struct cluster_held {
	struct raft_msg msg;
	uint64_t need_seq;
};

struct cluster_grant {
	struct raft_effect effect;
	uint32_t epoch, link_epoch;
};

struct cluster_node {
	uint64_t id;
	struct raft *r;                  /* NULL: crashed */
	struct raft_effects fx;
	uint32_t incarnation;
	uint32_t epoch;                  /* counts ROLE effects, */
	uint32_t link_epoch[CLUSTER_NODES + 1];   /* and broken links: both kill permissions */
	mono_t paused_until;
	struct cluster_log mem, disk;
	uint64_t disk_term, disk_vote;
	uint64_t applied, snapshot;      /* the store, and the newest durable snapshot of it */

	struct cluster_op *ops;
	size_t op_count, op_cap;
	bool syncing;
	uint64_t seq, durable_seq;
	struct cluster_held *held;
	size_t held_count, held_cap;
	struct cluster_grant *grants;
	size_t grant_count, grant_cap;
	bool using_grants;

	enum raft_role role;             /* as of the last step, for the oracle */
	uint64_t seen_commit;
};

enum cluster_read_state {
	CLUSTER_READ_PENDING, CLUSTER_READ_OK, CLUSTER_READ_FAILED, CLUSTER_READ_LOST
};

struct cluster_read {
	uint64_t node;
	uint32_t incarnation;
	uint64_t floor;                  /* committed anywhere when it was asked */
	enum cluster_read_state state;
	uint64_t index;
};

struct cluster_event;
struct cluster_oracle;

struct cluster {
	struct cluster_options o;
	uint64_t rng;
	mono_t now;
	struct cluster_node nodes[CLUSTER_NODES + 1];   /* [1..o.nodes] */
	bool cut[CLUSTER_NODES + 1][CLUSTER_NODES + 1]; /* [from][to] */
	mono_t link_at[CLUSTER_NODES + 1][CLUSTER_NODES + 1];
	struct cluster_event *events;    /* a heap */
	size_t event_count, event_cap;
	uint64_t event_order, next_value;
	struct cluster_read *reads;      /* ctx is the position */
	size_t read_count, read_cap;
	struct cluster_oracle *oracle;
	uint64_t steps, role_changes, aborted_transfers;
	char failure[300];
};

struct cluster *cluster_create(const struct cluster_options *o);
void cluster_destroy(struct cluster *c);
uint64_t cluster_rand(struct cluster *c, uint64_t below);
bool cluster_chance(struct cluster *c, uint32_t permille);

/* False once something failed. */
bool cluster_step(struct cluster *c);                  /* the next event, whenever it is */
bool cluster_run(struct cluster *c, uint32_t ms);
bool cluster_run_until(struct cluster *c, bool (*done)(struct cluster *), uint32_t max_ms);
bool cluster_await_leader(struct cluster *c, uint32_t max_ms);

uint64_t cluster_leader(struct cluster *c);            /* alive, of the highest term; or 0 */
struct raft_status cluster_status(struct cluster *c, uint64_t id);
uint64_t cluster_committed(struct cluster *c);         /* the highest index ever so called */
const struct cluster_entry *cluster_committed_entry(struct cluster *c, uint64_t index);
bool cluster_settled(struct cluster *c);               /* all alive, one leader, one log applied */

int cluster_event(struct cluster *c, uint64_t id, struct raft_event ev);   /* `now` is filled in */
int cluster_propose(struct cluster *c, uint64_t id, uint32_t n);
uint64_t cluster_read(struct cluster *c, uint64_t id); /* the read's ctx: c->reads[ctx] */
void cluster_compact(struct cluster *c, uint64_t id, uint64_t keep);
void cluster_deliver(struct cluster *c, const struct raft_msg *msg);   /* now; forged by the test */

enum cluster_crash { CLUSTER_CRASH_PROCESS, CLUSTER_CRASH_POWER };     /* does the store survive? */
void cluster_crash(struct cluster *c, uint64_t id, enum cluster_crash kind);
void cluster_restart(struct cluster *c, uint64_t id);
void cluster_pause(struct cluster *c, uint64_t id, uint32_t ms);       /* like SIGSTOP */
void cluster_resume(struct cluster *c, uint64_t id);                   /* before its time */
void cluster_cut(struct cluster *c, uint64_t from, uint64_t to, bool cut);   /* one way, silent */
void cluster_isolate(struct cluster *c, uint64_t id);
void cluster_link(struct cluster *c, uint64_t a, uint64_t b, bool up); /* both ends are told */
void cluster_heal(struct cluster *c);                  /* no cuts, all links up */

bool cluster_runs(struct cluster *c, uint64_t id);        /* neither crashed nor paused */
void cluster_nemesis(struct cluster *c);               /* one random misfortune, or its end */
void cluster_load(struct cluster *c);                  /* a random proposal or read */

/* Chaos for `ms`, then all is healed, and the cluster must settle and accept a write. */
bool cluster_ordeal(struct cluster *c, uint32_t ms);

void cluster_fail(struct cluster *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
