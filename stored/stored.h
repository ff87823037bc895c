/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of stored share. */
#ifndef QUORATE_STORED_H
#define QUORATE_STORED_H

#include "base/counter.h"
#include "proto/link_apply.h"
#include "proto/link_leases.h"
#include "proto/link_news.h"
#include "proto/link_store.h"
#include "rt/daemon.h"
#include "rt/link.h"
#include "stored/apply_queue.h"
#include "stored/core/hash.h"
#include "stored/snapshots.h"
#include "stored/store.h"

#define STORED_COUNTERS(C) \
	C(COUNTER, entries_applied, "entries of the log applied") \
	C(COUNTER, commands_failed, "of them commands whose answer is an error") \
	C(COUNTER, commands_repeated, "of them commands that had been applied before") \
	C(COUNTER, entries_rejected, "of them entries that made no sense") \
	C(COUNTER, entries_skipped, "entries sent again by raftd that had been applied") \
	C(COUNTER, commits, "transactions of the store") \
	C(GAUGE,   commit_us_max, "the longest one, from its first entry to its end") \
	C(COUNTER, results_sent, "results sent to gatewayds") \
	C(COUNTER, results_homeless, "results of gatewayds that are not linked") \
	C(COUNTER, gateways_dropped, "gatewayds dropped because they did not take their results") \
	C(COUNTER, compact_steps, "steps of compaction") \
	C(COUNTER, compact_rows, "rows removed by compaction") \
	C(COUNTER, hashes, "store hashes computed") \
	C(COUNTER, readers_dead, "reader slots of dead processes freed") \
	C(COUNTER, snapshots_made, "snapshots made") \
	C(COUNTER, snapshots_failed, "attempts to make or install one that failed") \
	C(COUNTER, snapshots_installed, "snapshots of other nodes that became the store") \
	C(GAUGE,   snapshot_index, "index of the newest snapshot") \
	C(GAUGE,   snapshot_bytes, "and its size") \
	C(GAUGE,   snapshot_ms, "time that making the last one took") \
	C(GAUGE,   snapshot_working, "1: one is being made, 2: installed, 3: the store is looked at for damage") \
	C(COUNTER, checks, "times that the whole store was looked at, and found whole") \
	C(GAUGE,   check_ms, "time that the last one took") \
	C(GAUGE,   raftd_up, "raftd is linked") \
	C(GAUGE,   leased_up, "leased is linked") \
	C(GAUGE,   gateways, "gatewayds linked") \
	C(GAUGE,   watchd_up, "watchd is linked") \
	C(GAUGE,   applied, "index of the last entry applied") \
	C(GAUGE,   commit, "raftd's commit index, as last heard") \
	C(GAUGE,   revision, "the store's revision") \
	C(GAUGE,   compact_revision, "history before it is given up; -1: none") \
	C(GAUGE,   compacted_revision, "history before it is really gone") \
	C(GAUGE,   keys, "live keys") \
	C(GAUGE,   leases, "leases there are") \
	C(GAUGE,   file_bytes, "size of the store's file") \
	C(GAUGE,   used_bytes, "of it in use") \
	C(GAUGE,   readers, "reader slots in use, of all processes") \
	C(GAUGE,   reader_lag, "transactions the oldest reader is behind") \
	C(GAUGE,   dedup_rows, "results kept for repeated commands") \
	C(GAUGE,   dedup_bytes, "and their bytes") \
	C(GAUGE,   sessions, "gateway sessions remembered")
COUNTER_SET(stored_counters, STORED_COUNTERS);

/* A result that waits for the commit of its transaction; its bytes are in the gateway's buffer. */
struct gateway_result {
	uint64_t seq, index;
	size_t offset, len;
};

/* A gatewayd that is linked. */
struct gateway {
	struct link *link;               /* NULL: free */
	uint64_t incarnation;
	struct gateway_result *results;
	size_t n, cap;
	struct buf bytes;
};

/* A hash that a gatewayd has asked for. */
struct hash_job {
	struct link *link;               /* NULL: free */
	uint64_t ctx;
	struct store_hash hash;
};

/* leased of this node, and how far it has been told. */
struct leased_link {
	struct link_server *server;
	struct link *link;               /* NULL: down */
	bool listing;                    /* the list goes on behind the lease `after` */
	int64_t after;
	uint64_t want;                   /* tell when this index has been applied; 0: nothing */
	uint64_t term, lessor, seq;
};

struct stored {
	struct daemon *d;
	struct store store;
	struct stored_counters counters;
	struct loop_hook turn_end;

	/* raftd */
	struct link_server *raftd_server;
	struct link *raftd;
	uint64_t told;                   /* the applied index that raftd has been told */
	size_t untold_bytes, untold_batches;   /* of its window, since then */
	struct loop_timer tell;          /* it is told at the latest */
	uint64_t commit;
	uint64_t greeted;                /* the generation that its hello spoke of */
	struct apply_queue rest;
	mono_t turn_began;               /* when the first entry of the turn was applied */
	bool turn_applies, turn_over;    /* one was; the rest has to wait for the next turn */
	struct snapshots snapshots;

	/* the transaction under way */
	mono_t txn_began;
	size_t txn_bytes, txn_entries;

	/* gatewayds */
	struct link_server *gateway_server;
	struct gateway gateways[LIMIT_STORE_GATEWAYS];
	struct hash_job hashes[LIMIT_STORE_HASHES];
	size_t next_hash;

	/* leased */
	struct leased_link leased;
	struct loop_timer leased_pause;  /* of the list, while it has not taken what it was sent */
	/* watchd */
	struct link_server *watch_server;
	struct link *watchd;
	bool watch_follows;              /* it is told after each commit */
	int64_t watch_compact;           /* the compact revision it was told */
	int64_t watch_read;              /* history up to here has been read by it; -1: not told */
	bool holding;                    /* compaction waits for it */
	mono_t held_since;

	/* chores */
	struct loop_timer chores;        /* dead readers, sizes */
	struct loop_timer compact;       /* the next step, when others have been let through */
	struct okv_stat stat;
	bool stopping;
};

/* driver.c: the life of the daemon */
int stored_open(struct daemon *d);
int stored_start(struct daemon *d);
void stored_stop(struct daemon *d);

/* raftd_ipc.c: entries in, the applied index out */
int stored_open_raftd(struct stored *s);
/* Commits the transaction under way, if there is one, and tells everybody. */
void stored_commit(struct stored *s);
void stored_apply_rest(struct stored *s);   /* at the end of a turn: what it has time for; commits */
void stored_tell_raftd(struct stored *s);      /* at once, what it may not have been told yet */

/* gateway_ipc.c: results, progress, status */
int stored_open_gateways(struct stored *s);
void stored_keep_result(struct stored *s, uint64_t index, const struct apply_result *r);
void stored_tell_gateways(struct stored *s);
void stored_drop_gateways(struct stored *s, const char *reason);

/* leased_ipc.c: leases and what becomes of them */
int stored_open_leased(struct stored *s);
void stored_tell_leased(struct stored *s);     /* after a commit */
void stored_drop_leased(struct stored *s, const char *reason);
bool stored_list_leases(struct stored *s);     /* the next page; true: another can follow at once */
/* watch_ipc.c: how far the store has come */
int stored_open_watchd(struct stored *s);
void stored_tell_watchd(struct stored *s);
void stored_commit_watchd(struct stored *s);   /* after a commit, if it must know */
/* Compacted history must stay a moment longer: watchd has still to read it. */
bool stored_watch_holds(struct stored *s, mono_t now);

/* hashes.c */
void hashes_ask(struct stored *s, struct link *l, const struct store_hash_ask *ask);
void hashes_forget(struct stored *s, const struct link *l);
/* One step of one hash; true if there is more to do. */
bool hashes_step(struct stored *s);

/* report.c: the admin socket */
extern const struct admin_command stored_commands[];
void stored_report(void *arg, struct admin_reply *r);
void stored_refresh(void *arg);

#endif
