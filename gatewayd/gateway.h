/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gatewayd does between its clients, raftd, stored and the mapped store: requests in, answers
 * out. Everything of the outside comes in through struct gateway_io, so a test can run a gateway
 * in one process with models of the daemons.
 *
 *   gateway.c   the turn of the loop, deadlines, the links' events
 *   native.c    the native protocol: which method is which handler; how answers are written
 *   request.c   the life of a request
 *   write.c     put, delete, txn, compact: by way of the log
 *   read.c      range and reading txn: from the mapped store
 *   lease.c     keepalive, time to live, list of leases
 *   watch.c     watches: by way of watchd; notifications
 *   info.c      version, status, members, hash, move_leader
 *   map.c       the mapped store and its generations
 *   compact.c   compaction by itself, on the leader's node, as retention.h has it
 *   h2/         HTTP/2: the only includer of nghttp2
 *   etcd/       gRPC, and what of etcd's API is not simply another form of the above
 *   http/       HTTP/1.1: the JSON gateway, probes, metrics
 */
#ifndef QUORATE_GATEWAY_H
#define QUORATE_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "clnt/lease_clnt.h"
#include "clnt/raft_clnt.h"
#include "clnt/store_clnt.h"
#include "clnt/watch_clnt.h"
#include "gatewayd/caller.h"
#include "gatewayd/conn.h"
#include "gatewayd/counters.h"
#include "gatewayd/retention.h"
#include "mvcc/mvcc.h"
#include "rt/config.h"

enum {
	GATEWAY_STATUS_MS = 500,               /* how long status waits for the other daemons */
	GATEWAY_MAP_RETRY_MS = 100,
	GATEWAY_REQUEST_ARENA = 16 << 20,      /* what the parameters of one request may unfold to */
	GATEWAY_RESULT_ARENA = 128 << 20,      /* likewise, a result from the store */
};

struct gateway_io {
	/* As clnt_io.send, per link. */
	int (*send_raft)(void *arg, uint32_t number, const struct msg_desc *d, const void *msg);
	int (*send_store)(void *arg, uint32_t number, const struct msg_desc *d, const void *msg);
	int (*send_lease)(void *arg, uint32_t number, const struct msg_desc *d, const void *msg);
	int (*send_watch)(void *arg, uint32_t number, const struct msg_desc *d, const void *msg);
	/* What raftd was sent is written now. */
	void (*flush_raft)(void *arg);
	/* A new random incarnation, not 0. */
	uint64_t (*incarnation)(void *arg);
	/* The incarnation has changed: both links must say hello again. */
	void (*hello_again)(void *arg, uint64_t incarnation);
	/* As mvcc_open, of a generation's directory. */
	int (*map_open)(void *arg, uint64_t generation, struct mvcc_env **out);
	void (*map_close)(void *arg, struct mvcc_env **env);
	void *arg;
};

struct gateway;
struct request;

struct request_kind {
	const char *name;
	/* Takes it out of whatever it waits in. The error to answer if that is because of its deadline. */
	int (*give_up)(struct gateway *g, struct request *r);
	/* Its deadline has come; NULL: give_up, answer, done. */
	void (*expire)(struct gateway *g, struct request *r);
	bool question;                         /* counted in n_questions */
};

/* The beginning of every request's own struct. */
struct request {
	struct list by_caller, by_deadline;
	struct caller *caller;
	uint32_t id;
	const struct request_kind *kind;
	mono_t deadline;
};

struct map {
	struct mvcc_env *env;                  /* NULL: none */
	uint64_t epoch;                        /* store_clnt's, when it was opened */
	uint64_t generation;
	mono_t retry_at;
	int error;                             /* of the last attempt; logged when it changes */
};

struct reads {
	struct list map_waiters;               /* ready, but no store is mapped */
	struct list fast, slow;                /* not begun; begun and too large for one step */
	struct list spent;                     /* sorters to be freed a little at a time... */
	size_t spent_bytes;                    /* ...and what they hold; part of `work` */
	size_t n, bytes;                       /* all reads, and their parameters as they came and unfolded */
	size_t work, max_work;                 /* memory of those under way */
	size_t kept, max_kept;                 /* of it: parts of answers that are kept between steps */
	struct buf spare;                      /* for what one step keeps */
	mono_t complain_at;
	struct loop_timer retry;               /* armed: the store could not be viewed just now */
};

struct gateway {
	struct loop *loop;
	struct gateway_io io;
	const struct config *config;
	unsigned instance;
	mono_t started;
	int64_t timeout_ms;

	struct conn_set conns;
	struct gatewayd_counters counters;
	struct raft_clnt raft;
	struct store_clnt store;
	struct lease_clnt lease;
	struct watch_clnt watch;
	size_t watch_bytes;                    /* of the keys that are watched */
	mono_t watchd_hailed, watch_retry_at;
	int64_t watchd_age_ms;                 /* when it hailed */
	struct map map;
	struct reads reads;
	struct list deadlines, short_deadlines;   /* each in the order of its deadlines */
	struct list moves;                     /* begun transfers of leadership */
	struct list leader_streams;            /* gRPC streams that end when there is no leader */
	struct loop_timer leader_timer;
	struct caller errands;                 /* whose requests nobody waits for */
	mono_t leader_seen;
	struct retention retention;
	struct loop_timer retention_timer;
	struct caller compacter;               /* who asks for compactions by itself */
	size_t n_requests;
	size_t n_questions;                    /* of them: info.c's */
	struct loop_hook hook;
	struct loop_timer timer;
	struct arena arena;                    /* of the request or result being handled */
};

void gateway_init(struct gateway *g, struct loop *loop, const struct gateway_io *io,
		  const struct config *config, unsigned instance, uint64_t incarnation);
void gateway_free(struct gateway *g);          /* closes all connections */
void gateway_stop(struct gateway *g);          /* no new requests; done when conns.n is 0 */
void gateway_refresh(struct gateway *g);       /* gauges */

/* The links' events. An error from msg drops the link. */
void gateway_raft_up(struct gateway *g);
void gateway_raft_down(struct gateway *g);
int gateway_raft_msg(struct gateway *g, const struct msg_in *in);
void gateway_store_up(struct gateway *g);
void gateway_store_down(struct gateway *g);
int gateway_store_msg(struct gateway *g, const struct msg_in *in);
void gateway_lease_up(struct gateway *g);
void gateway_lease_down(struct gateway *g);
int gateway_lease_msg(struct gateway *g, const struct msg_in *in);
void gateway_watch_up(struct gateway *g);
void gateway_watch_down(struct gateway *g);
int gateway_watch_msg(struct gateway *g, const struct msg_in *in);

/* ---- between the files ---- */

/* request.c. A request lives from request_new to one of the answers (or until its client is gone). */
void *request_new(struct gateway *g, struct caller *k, uint32_t id, const struct request_kind *kind, size_t size);
void request_inherit(struct request *r, struct request *old);           /* the deadline of one that goes on as it */
void request_short(struct gateway *g, struct request *r, int64_t ms);   /* another deadline */
void request_error(struct gateway *g, struct request *r, int err);
void request_result(struct gateway *g, struct request *r, const struct msg_desc *d, const void *result);
void request_forget(struct gateway *g, struct request *r);      /* without an answer */
void request_expire(struct gateway *g, mono_t now);
/* The caller goes: none of its requests is answered. */
void request_drop(struct gateway *g, struct caller *k);
struct kv_header gateway_header(const struct gateway *g, int64_t revision);

/* A method: params is what its row says, decoded from rpc->params and valid for the call only. */
typedef void method_fn(struct gateway *g, struct caller *k, const struct rpc_request *rpc, void *params);
method_fn write_put, write_delete, write_txn, write_compact, write_grant, write_revoke;
method_fn lease_keepalive, lease_time_to_live, lease_list;
method_fn read_range;
method_fn info_version, info_status, info_members, info_hash, info_move_leader;

/* write.c */
void write_result(struct gateway *g, const struct store_result *res);
void write_poll(struct gateway *g);            /* what has failed, what has been compacted */

/* read.c */
void read_txn(struct gateway *g, struct caller *k, const struct rpc_request *rpc, const struct kv_txn *txn);
void read_init(struct gateway *g);
void read_free(struct gateway *g);
void read_poll(struct gateway *g);             /* indexes that have come, applies that have happened */
void read_turn(struct gateway *g);             /* reads, for about a millisecond */
void read_room(struct gateway *g, struct caller *k);         /* it may be answered again */
void read_mapped(struct gateway *g);           /* another store is mapped, or none */

/* lease.c */
void lease_poll(struct gateway *g);            /* what leased has answered */
/* watch.c */
void watch_flush(struct gateway *g, mono_t now);
void watch_caller_room(struct gateway *g, struct caller *k);       /* it has taken what it was sent */
void watch_caller_gone(struct gateway *g, struct caller *k);       /* with all its watches */

/* compact.c */
void compact_init(struct gateway *g);
void compact_free(struct gateway *g);

/* info.c */
void info_poll(struct gateway *g);

/* native.c */
extern const struct conn_ops gateway_conn_ops;

/* map.c */
void map_poll(struct gateway *g, mono_t now);
mono_t map_due(const struct gateway *g);
void map_close(struct gateway *g);

#endif
