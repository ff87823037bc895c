/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: a whole cluster in one process, on virtual time, from one seed. Real are the raft
 * core, the raft log (over a disk that loses power), the store's apply (over memory or LMDB), the
 * gateway's half of its links and every message as bytes. Ours are the clock, the network, the
 * disks, and the drivers between them. docs/testing.md tells what is attacked and what is not.
 *
 *   sim_options.c   what a seed chooses         sim_node.c     machines, daemons, links of a node
 *   sim.c           clock, events, the run      sim_raftd.c    a raftd: start, stop, sync, feed
 *   sim_plan.c      the faults of a seed        sim_driver.c   the core's effects, in order
 *   sim_style.c     in which of several styles  sim_peer.c     messages between raftds
 *   sim_fault.c     what each fault does        sim_whatif.c   what a crash now would do
 *   sim_moment.c    faults that wait for theirs
 *   sim_calm.c      progress, or who waits      sim_stored.c   a stored; sim_okv.c its backend
 *   sim_oracle.c    what Raft promises          sim_gateway.c  a gatewayd
 *   sim_check.c     what clients are promised   sim_client.c   clients
 *   sim_watchd.c    a watchd            sim_watch.c    clients that watch
 *   sim_leased.c    a leased            sim_lease.c    clients that hold leases
 *   sim_lessor.c    what raftd and stored do for leased
 *   sim_stream.c    what watchers are promised;   sim_life.c   and holders of leases
 *   quorate_sim.c, sim_runner.c, sim_shrink.c   the program
 */
#ifndef QUORATE_SIM_H
#define QUORATE_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/mono.h"

enum { SIM_NODES = 7, SIM_FAULTS_MAX = 160, SIM_WORDS = 512 };

/* Each is one kind of misfortune; the text is what `--show` prints. */
#define SIM_FAULT_LIST(F) \
	F(POWER, "machine loses power") \
	F(POWER_IN_WRITE, "machine loses power in the middle of a write") \
	F(BLACKOUT, "all machines lose power") \
	F(KILL_RAFTD, "raftd is killed") \
	F(KILL_IN_WRITE, "raftd is killed in the middle of a write") \
	F(KILL_STORED, "stored is killed") \
	F(KILL_IN_TXN, "stored is killed in the middle of a transaction") \
	F(KILL_GATEWAY, "gatewayd is killed") \
	F(KILL_LEADER, "the leader's machine loses power") \
	F(ISOLATE, "node is cut off") \
	F(ISOLATE_LEADER, "the leader is cut off") \
	F(ONE_WAY, "one direction between two nodes is cut") \
	F(SPLIT, "the network falls apart in two") \
	F(LOSSY, "messages are lost and repeated") \
	F(SLOW_NET, "the network is slow and reorders") \
	F(BREAK_LINK, "a connection between two raftds breaks") \
	F(BREAK_LOCAL, "a connection inside a node breaks") \
	F(PAUSE_RAFTD, "raftd is stopped for a while") \
	F(PAUSE_STORED, "stored is stopped for a while") \
	F(PAUSE_GATEWAY, "gatewayd is stopped for a while") \
	F(PAUSE_LEADER, "the leader's raftd is stopped for a while") \
	F(CLOCK, "a clock runs fast or slow") \
	F(SYNC_FAILS, "a sync of the log fails") \
	F(DISK_FULL, "the log's disk is full") \
	F(STORE_FULL, "the store's disk is full") \
	F(SLOW_DISK, "a disk is slow") \
	F(BIT_ROT, "a bit of the log flips on disk") \
	F(SNAPSHOT, "a snapshot is taken and the log cut") \
	F(TRANSFER, "the leadership is handed over") \
	F(REPLAY, "old messages between raftds come again") \
	F(MUTE, "what a raftd says to others is lost") \
	F(DEAF, "what others say to a raftd is lost") \
	F(KILL_WATCHD, "watchd is killed") \
	F(PAUSE_WATCHD, "watchd is stopped for a while") \
	F(KILL_LEASED, "leased is killed") \
	F(PAUSE_LEASED, "leased is stopped for a while, mostly the leader's") \
	F(STALL_LESSOR, "a lessor stops with an end in its hands, and the lead goes away and comes back")
enum sim_fault_kind {
#define F(name, text) SIM_FAULT_##name,
	SIM_FAULT_LIST(F)
#undef F
	SIM_FAULT_KINDS
};

/*
 * A fault may lie in wait: from its time on for a moment of this kind, which has an actor and, most
 * of them, another node that it concerns. The state of the cores is looked at, never touched.
 */
#define SIM_MOMENT_LIST(M) \
	M(NONE, "at its time") \
	M(VOTED, "when a node has given its vote, to the other") \
	M(LEADS, "when a node has been elected; the other: who led before") \
	M(ACKED, "when a node has acknowledged entries, to the other") \
	M(COMMITS, "when a leader has committed something") \
	M(OLD_ON_QUORUM, "when a leader knows that an older term's entry, uncommitted, is on a quorum's disks") \
	M(CUTS, "when a node cuts off the end of its log, for the leader") \
	M(ROUND, "when a leader has asked its quorum for the sake of a read") \
	M(STRAY, "when a leader has applied what contradicts the other's log") \
	M(INSTALLED, "when a node has just installed a snapshot") \
	M(ANSWERED, "when a client has been told that its write is done")
enum sim_moment {
#define M(name, text) SIM_MOMENT_##name,
	SIM_MOMENT_LIST(M)
#undef M
	SIM_MOMENTS
};

/* What a seed is after: sim_style.c. */
#define SIM_PLOT_LIST(P) P(storm) P(swarm) P(hunt) P(figure8) P(broken_word) P(stray) P(stale) P(rot)
enum sim_plot {
#define P(name) SIM_PLOT_##name,
	SIM_PLOT_LIST(P)
#undef P
	SIM_PLOTS
};

struct sim_fault {
	enum sim_fault_kind kind;
	enum sim_moment moment;
	bool along;                      /* strikes together with the fault before it */
	bool other;                      /* strikes the moment's other node, not its actor */
	uint32_t at_ms, for_ms;          /* for_ms: until it ends, or until what died is back */
	uint64_t a, b;                   /* nodes, 1..; a moment puts its own there */
	uint64_t x;                      /* its own */
};

struct sim_options {
	uint64_t seed;
	uint32_t nodes;                  /* 0: the seed chooses, 3 to 7 */
	uint32_t ms;                     /* of faults, before the calm; 0: the seed chooses */
	int lmdb;                        /* -1: the seed chooses */
	int plot;                        /* enum sim_plot; -1: the seed chooses */
	bool outcomes_only;              /* not the rules for drivers, only what comes of breaking them */
	bool masked;                     /* only the faults in `keep` */
	uint8_t keep[SIM_FAULTS_MAX];
	FILE *trace;
	const char *tmp;                 /* where LMDB files may go */
};

struct sim_result {
	bool failed;
	char what[SIM_WORDS];
	char waits[4096];                /* no progress: who waits for whom */
	uint64_t trace_hash;
	uint32_t nodes, ms, faults;      /* as run; faults: of the plan, kept or not */
	bool lmdb;
	uint64_t events, commits, acked, reads, watched, kept, expired, elections, snapshots, crashes;
};

void sim_run(const struct sim_options *o, struct sim_result *out);

/* The plan of a seed, without running it. Returns how many. */
uint32_t sim_plan(const struct sim_options *o, struct sim_fault *out);
const char *sim_fault_name(enum sim_fault_kind kind);
const char *sim_fault_text(enum sim_fault_kind kind);
const char *sim_moment_text(enum sim_moment moment);
const char *sim_plot_name(enum sim_plot plot);
/* Fills what the seed chooses. */
void sim_options_fill(struct sim_options *o);

/* sim_shrink.c: the smallest it finds within `tries` runs that fails in the same way. */
void sim_shrink(const struct sim_options *failing, const char *what, uint32_t tries,
		struct sim_options *out);
/* The arguments that run it again. */
void sim_command(const struct sim_options *o, char *out, size_t cap);

/* sim_runner.c */
struct sim_campaign {
	struct sim_options base;
	uint64_t first, seeds;
	uint32_t jobs;
	bool stop_at_first, shrink, quiet;
	const char *keep_in;             /* a file that failing seeds are added to; may be NULL */
};
int sim_campaign_run(const struct sim_campaign *c);   /* 0, or 1: some failed */

#endif
