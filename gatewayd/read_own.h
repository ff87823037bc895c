/* SPDX-License-Identifier: Apache-2.0 */
/* Between read.c and read_turn.c. */
#ifndef QUORATE_READ_OWN_H
#define QUORATE_READ_OWN_H

#include "gatewayd/gateway.h"
#include "gatewayd/txn_job.h"
#include "proto/native.h"

enum read_state { READ_INDEX, READ_APPLIED, READ_MAP, READ_QUEUED, READ_PARKED };

enum { READ_RESTARTS = 3 };           /* when a compaction overtakes a read of the latest revision */

struct read {
	struct request r;
	enum read_state state;
	struct list run;              /* in a list of struct reads, or parked at its connection */
	struct raft_read index;
	struct store_wait applied;
	uint64_t need;                /* the raft index it must see; 0: any */
	/* Not a read: called, once, when the store has come that far (read.c). Its parameters: watch. */
	void (*ready)(struct gateway *g, struct read *rd);
	struct native_watch watch;
	/* No range either: called, once, when its turn has come, in a view that is far enough. Its parameters: leases. */
	void (*look)(struct gateway *g, struct read *rd, struct mvcc_view *v);
	struct native_lease_list leases;
	struct native_time_to_live_result ttl;        /* without the keys; behind `params` */
	bool is_txn;
	bool begun;                   /* there is a job */
	bool streaming;               /* it has the connection's output */
	unsigned restarts;
	struct kv_header header;
	struct kv_range range;
	struct kv_txn txn;
	struct arena arena;           /* of txn */
	struct range_job range_job;
	struct txn_job *txn_job;
	size_t drained;               /* of txn_job's answer */
	size_t work, kept;            /* counted in reads.work and reads.kept */
	size_t bytes;                 /* counted in reads.bytes: the parameters, and the arena */
	size_t params_len;
	uint8_t params[];
};

/*
 * A request that only wants to know that the store has come as far as every write that had been
 * answered when it came. NULL: refused, and answered.
 */
struct read *read_fence(struct gateway *g, struct caller *k, const struct rpc_request *rpc,
			void (*ready)(struct gateway *g, struct read *rd));
/* A request that looks into the store of this node, as a serializable read does. NULL: refused, and answered. */
struct read *read_local(struct gateway *g, struct caller *k, const struct rpc_request *rpc,
			void (*look)(struct gateway *g, struct read *rd, struct mvcc_view *v));
/* The same after a read index, in the place of another request, with its deadline. */
struct read *read_instead(struct gateway *g, struct request *old, struct bytes params,
			  void (*look)(struct gateway *g, struct read *rd, struct mvcc_view *v));
struct bytes read_move(const struct read *rd, const struct rpc_request *rpc, struct bytes b);
void read_end(struct gateway *g, struct read *rd);
void read_fail(struct gateway *g, struct read *rd, int err);
void read_queue(struct gateway *g, struct read *rd);
void read_wait(struct gateway *g, struct read *rd);
void read_park(struct read *rd);
void read_job_end(struct gateway *g, struct read *rd);
void read_reap(struct gateway *g, mono_t until);

#endif
