/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the simulator. */
#ifndef QUORATE_SIM_INT_H
#define QUORATE_SIM_INT_H

#include <setjmp.h>

#include "base/arena.h"
#include "base/buf.h"
#include "clnt/raft_clnt.h"
#include "mvcc/view.h"
#include "proto/link_apply.h"
#include "proto/link_news.h"
#include "proto/link_raft.h"
#include "proto/link_store.h"
#include "proto/peer.h"
#include "raftd/core/raft.h"
#include "raftd/wal.h"
#include "stored/core/apply.h"
#include "tests/lib/store_model.h"
#include "tests/lib/wal_disk.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_lease.h"
#include "tests/sim/sim_watch.h"

enum sim_daemon { SIM_RAFTD, SIM_STORED, SIM_GATEWAY, SIM_WATCHD, SIM_LEASED, SIM_DAEMONS };
/* Links inside a node, named for their two ends. */
enum sim_link {
	SIM_RAFTD_STORED, SIM_GATEWAY_RAFTD, SIM_GATEWAY_STORED, SIM_STORED_WATCHD, SIM_GATEWAY_WATCHD,
	SIM_RAFTD_LEASED, SIM_STORED_LEASED, SIM_GATEWAY_LEASED, SIM_LINKS
};
/* Streams of chance: what a fault does must not change what clients do. */
enum sim_chance {
	SIM_CH_NET, SIM_CH_DISK, SIM_CH_LOAD, SIM_CH_IDS, SIM_CH_FAULT, SIM_CH_WATCH, SIM_CH_LEASE, SIM_CH_STREAMS
};

enum sim_event_kind {
	SIM_EV_PEER_FRAME, SIM_EV_PEER_LINK, SIM_EV_LOCAL_FRAME, SIM_EV_LOCAL_UP, SIM_EV_SYNC,
	SIM_EV_DURABLE, SIM_EV_START, SIM_EV_FAULT, SIM_EV_FAULT_END, SIM_EV_CLIENT, SIM_EV_WATCHER,
	SIM_EV_TRANSFER, SIM_EV_LEASE_LIST, SIM_EV_COMPACT,
	SIM_EV_SNAP_MAKE, SIM_EV_SNAP_SEND, SIM_EV_SNAP_DATA, SIM_EV_SNAP_DONE, SIM_EV_NOTHING
};

struct sim_event {
	mono_t at;
	uint32_t rank;                   /* among equals: see sim.c, hold_up */
	uint64_t order;
	enum sim_event_kind kind;
	uint8_t node;                    /* 0: the world */
	uint8_t daemon;                  /* whose pause holds it up */
	uint64_t a, b, c;
	struct bytes data;               /* owned */
};

struct sim_entry {
	uint64_t term, hash;             /* of the log up to here */
};
struct sim_log {                     /* shadow of a log: v[base..last] */
	struct sim_entry *v;
	size_t cap;
	uint64_t base, last;
	struct wal_hard_state hard;
};

struct sim_snap {
	uint64_t index, term;
	struct bytes rows;               /* owned; NULL: none */
};

struct sim_sent { struct raft_msg msg; uint64_t need_seq; };
enum { SIM_HELD = 512, SIM_GRANTS = 64, SIM_ROUNDS = 256 };

struct sim_raftd {
	bool dead;                       /* for good: its disk is damaged */
	struct raft *r;                  /* NULL: down */
	struct raft_effects fx;
	struct wal *wal;
	struct wal_list list;
	uint64_t incarnation;
	mono_t due;                      /* its next tick, in the world's time */
	uint64_t durable_seq, commit, term, leader;
	enum raft_role role;
	bool sync_due, died;             /* died: in the middle of a step */
	struct sim_sent held[SIM_HELD];
	uint32_t held_count;
	struct raft_event sent[SIM_GRANTS];
	uint32_t sent_count;
	struct { uint64_t ctx, epoch, term, committed; enum sim_link link; } reads[SIM_ROUNDS];
	uint64_t read_next;
	struct { uint64_t next, applied; uint32_t batches; } feed;
	bool state_dirty;
	/* the step's input */
	const struct raftd_proposal *own;
	const struct peer_append *received;
	struct sim_log log;              /* as appended */
	uint64_t seen_commit;
	uint64_t round;                  /* the last read round seen, as leader */
};

struct sim_stored {
	bool up;
	struct okv *db;                  /* outlives the process: the page cache */
	struct mvcc_env *env;
	struct apply *apply;
	uint64_t generation, applied;    /* applied: committed */
	uint64_t gateway;                /* linked incarnation */
	bool compact_due;
	int64_t watch_read;              /* as watchd says; compaction holds for it, since then */
	bool holding;
	mono_t held_since;
	struct sim_leased_link leased;
};

struct sim_gateway {
	bool up;
	struct raft_clnt clnt;
	struct { uint64_t applied; int64_t revision; } store;
	struct watch_clnt watch;
	struct lease_clnt lease;
	mono_t due;                      /* the world's time */
};

struct sim_node {
	uint64_t id;
	struct sim *s;
	struct sim_raftd raftd;
	struct sim_stored stored;
	struct sim_gateway gateway;
	struct sim_watchd watchd;
	struct sim_leased leased;
	struct wal_disk *disk;
	bool log_made, rotten, power_out;
	uint64_t disk_full, store_full, slow_disk;   /* faults under way */
	bool store_dies;                 /* in its next transaction */
	struct sim_log durable;          /* what the log's medium surely holds */
	struct sim_snap snap;
	uint64_t link_epoch[SIM_LINKS];
	bool link_up[SIM_LINKS];
	mono_t link_at[SIM_LINKS][2];    /* the last message that way */
	mono_t paused[SIM_DAEMONS];
	int64_t rate_ppm;                /* of its clock */
	mono_t clock_base, clock_at;     /* its clock said base at clock_at */
	int64_t read_floor;              /* applied index last seen by a reader */
};

struct sim_record {                  /* an entry as somebody's log had it */
	uint64_t term, hash;
	uint8_t kind;
	struct bytes payload;            /* owned */
};
struct sim_records { struct sim_record *v; size_t n; };
struct sim_committed { size_t record; uint64_t in_term; int64_t fastest_ns; };

struct sim_applied {                 /* by index, what the model says */
	int64_t revision, compact_revision;
	uint64_t leases, lessor_term, lessor, lessor_seq;
	uint64_t gateway, seq;           /* 0: not a command that was new */
	struct bytes result;             /* owned, encoded; NULL: none */
};

struct sim_done { uint64_t gateway, seq, index; };

enum sim_op { SIM_OP_PUT, SIM_OP_DELETE, SIM_OP_TXN, SIM_OP_COMPACT, SIM_OP_RANGE };
struct sim_client {
	uint32_t id;
	struct sim_node *node;           /* whose gateway has its request; NULL: none */
	bool write, linear, asked;       /* asked: the read has its index */
	struct raft_proposal proposal;
	struct raft_read read;
	struct kv_range range;
	uint8_t range_bytes[2][16];
	uint64_t floor;                  /* log position that its answer must be at or behind */
	mono_t began, deadline;
	uint64_t number, calm_done;
	int64_t seen_revision;           /* of its newest answer */
	uint64_t gateway_seq;
	uint64_t at;                     /* log position of its last acknowledged write */
	bool holder;                     /* it holds leases, and does nothing else */
	struct sim_holder h;
};
enum { SIM_CLIENTS = 10 + SIM_HOLDERS };

struct sim_struck { enum sim_moment moment; uint64_t actor, other; };
struct sim_load {                    /* what the clients of a seed are like */
	uint32_t keys, think_us, patience_ms, write_permille, linear_permille, home_permille;
};

struct sim {
	struct sim_options o;
	struct sim_result *out;
	uint64_t rng[SIM_CH_STREAMS];
	mono_t now;
	struct sim_event *events;
	size_t n_events, cap_events;
	uint64_t order, hash;
	struct sim_node nodes[SIM_NODES + 1];
	struct sim_fault plan[SIM_FAULTS_MAX];
	uint32_t n_plan;
	bool waits[SIM_FAULTS_MAX];      /* faults that lie in wait for their moment */
	uint32_t waiting[SIM_MOMENTS];   /* how many of them, by moment */
	struct sim_struck struck[4];     /* moments that came in the step under way */
	uint32_t n_struck;
	bool calm, stop_clients;
	uint32_t cut[SIM_NODES + 1][SIM_NODES + 1];   /* how many faults cut it */
	uint32_t loss, slow;             /* faults under way */
	uint32_t loss_permille;
	uint32_t append_max;             /* entries of one message between raftds */
	uint32_t segment_bytes;          /* of the log: it is cut by whole segments */
	struct bytes old_frame[32];
	struct { uint8_t from, to; } old_way[32];
	uint32_t old_next;
	struct sim_client clients[SIM_CLIENTS];
	struct sim_load load;
	struct sim_watcher watchers[SIM_WATCHERS];
	size_t watch_rows, watch_bytes;  /* of a slice; credit of a client's connection */
	struct arena arena, model_arena;
	struct buf frame, text;
	/* oracle */
	struct sim_records *logs;
	size_t logs_cap;
	struct sim_committed *committed;
	size_t committed_cap;
	uint64_t committed_last;
	struct { uint64_t term, leader; } *leaders;
	size_t n_leaders;
	uint8_t (*apply_hash)[16];
	uint64_t hash_cap, hash_last;
	/* check */
	struct model model;
	struct sim_applied *applied;
	size_t applied_cap;
	uint64_t applied_last;
	struct sim_done *done;
	size_t n_done;
	uint64_t floor;                  /* the furthest log position that a finished client saw */
	struct sim_happening *history;   /* of the model */
	size_t n_history, cap_history;
	struct { int64_t base_ns, ppm; mono_t at; } fastest;   /* a clock as fast as the fastest node's */
	struct sim_life *lives;
	size_t n_lives;
	mono_t let_go_at;                /* nobody keeps a lease alive since then */
	jmp_buf panicked;
};

/* sim.c */
uint64_t sim_rand(struct sim *s, enum sim_chance stream, uint64_t below);
bool sim_chance(struct sim *s, enum sim_chance stream, uint32_t permille);
mono_t sim_soon(struct sim *s, enum sim_chance stream, uint32_t min_us, uint32_t max_us);
void sim_schedule(struct sim *s, struct sim_event ev);
void sim_mix(struct sim *s, uint64_t v);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *s, const struct sim_node *n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool sim_run_until(struct sim *s, bool (*done)(struct sim *), mono_t end);
mono_t sim_clock(const struct sim_node *n);                   /* what its clock says now */
mono_t sim_when(const struct sim_node *n, mono_t local);      /* when it will say that */
void sim_clock_rate(struct sim_node *n, int64_t ppm);
static inline bool sim_ok(const struct sim *s)
{
	return !s->out->failed;
}

/* sim_node.c */
void sim_node_open(struct sim *s, uint64_t id);
void sim_node_close(struct sim_node *n);
void sim_kill(struct sim_node *n, enum sim_daemon d);
void sim_start(struct sim_node *n, enum sim_daemon d);
void sim_start_later(struct sim_node *n, enum sim_daemon d, uint32_t ms);
void sim_power_off(struct sim_node *n, uint64_t write_ops);
void sim_local_send(struct sim_node *n, enum sim_link l, enum sim_daemon to, uint32_t number,
		    const struct msg_desc *d, const void *msg);
void sim_local_connect(struct sim_node *n, enum sim_link l);
void sim_local_drop(struct sim_node *n, enum sim_link l);
void sim_local_up(struct sim_node *n, enum sim_link l);
void sim_local_frame(struct sim_node *n, enum sim_link l, enum sim_daemon to, struct bytes frame);
bool sim_is_up(const struct sim_node *n, enum sim_daemon d);

/* sim_raftd.c */
void sim_raftd_start(struct sim_node *n);
void sim_raftd_stop(struct sim_node *n, uint64_t write_ops, bool power);
void sim_raftd_tick(struct sim_node *n);
void sim_raftd_sync(struct sim_node *n);
void sim_raftd_durable(struct sim_node *n, uint64_t seq, uint64_t last, uint64_t term);
void sim_raftd_stored_up(struct sim_node *n);
void sim_raftd_stored_msg(struct sim_node *n, const struct msg_in *in);
void sim_raftd_gateway_msg(struct sim_node *n, const struct msg_in *in);
void sim_raftd_state(struct sim_node *n);
void sim_raftd_feed(struct sim_node *n);
void sim_raftd_propose(struct sim_node *n, const struct raftd_proposal *v, size_t count,
		       uint64_t gateway, uint64_t from);
void sim_raftd_dies(struct sim_node *n, const char *why);   /* by itself; a supervisor restarts it */
bool sim_raftd_room(struct sim_node *n);
void sim_raftd_read(struct sim_node *n, enum sim_link l, uint64_t ctx, uint64_t term);

/* sim_driver.c */
int sim_step(struct sim_node *n, struct raft_event ev);

/* sim_peer.c */
void sim_peer_send(struct sim_node *n, uint64_t to, uint32_t number, const struct msg_desc *d,
		   const void *msg);
void sim_peer_raft(struct sim_node *n, const struct raft_msg *m);
void sim_peer_frame(struct sim_node *n, uint64_t from, struct bytes frame);
void sim_peer_edges(struct sim_node *n, bool up);
void sim_net_deliver(struct sim *s, uint64_t from, uint64_t to, struct bytes frame);
void sim_net_lose(struct sim *s, uint64_t id, bool from, bool to);

/* sim_stored.c */
void sim_stored_start(struct sim_node *n);
void sim_stored_stop(struct sim_node *n);
void sim_stored_lose(struct sim_node *n);       /* the machine crashed: the file is worthless */
void sim_stored_raftd_msg(struct sim_node *n, const struct msg_in *in);
void sim_stored_gateway_up(struct sim_node *n);
void sim_stored_compact(struct sim_node *n);
void sim_stored_tell(struct sim_node *n);
void sim_snap_make(struct sim_node *n, uint64_t keep);
void sim_snap_install(struct sim_node *n, uint64_t index, uint64_t term, struct bytes rows);

/* sim_okv.c: a backend around a backend, whose transactions can be undone and can fail */
struct okv *sim_okv_over(struct okv *inner);
void sim_okv_fail_after(struct okv *db, uint64_t writes, int error);   /* 0 writes: never */

/* sim_gateway.c */
void sim_gateway_start(struct sim_node *n);
void sim_gateway_stop(struct sim_node *n);
void sim_gateway_raftd_msg(struct sim_node *n, const struct msg_in *in);
void sim_gateway_stored_msg(struct sim_node *n, const struct msg_in *in);
void sim_gateway_stored_up(struct sim_node *n);
void sim_gateway_flush(struct sim_node *n);
void sim_gateway_reads(struct sim_node *n);

/* sim_watchd.c: a watchd, and stored's side of its link */
void sim_watchd_start(struct sim_node *n);
void sim_watchd_stop(struct sim_node *n);
void sim_watchd_unmap(struct sim_node *n);      /* the file that is mapped is given up */
void sim_watchd_turn(struct sim_node *n);
void sim_watchd_gateway_up(struct sim_node *n);
void sim_watchd_gateway_down(struct sim_node *n);
void sim_watchd_stored_up(struct sim_node *n);
void sim_watchd_stored_msg(struct sim_node *n, const struct msg_in *in);
void sim_watchd_gateway_msg(struct sim_node *n, const struct msg_in *in);
void sim_stored_watchd_up(struct sim_node *n);
void sim_stored_watchd_msg(struct sim_node *n, const struct msg_in *in);
void sim_stored_tell_watchd(struct sim_node *n);
bool sim_stored_holds(struct sim_node *n);

/* sim_watch.c: clients that watch, and their gatewayd */
void sim_watchers_open(struct sim *s);
void sim_watchers_free(struct sim *s);
void sim_watcher_wake(struct sim_watcher *c);
void sim_watchers_lost(struct sim_node *n);     /* its gatewayd ends */
bool sim_watchers_done(struct sim *s);
void sim_gateway_watchd_msg(struct sim_node *n, const struct msg_in *in);
void sim_watch_indexed(struct raft_read *r);
void sim_gateway_fences(struct sim_node *n);

/* sim_stream.c: what they must read */
void sim_history_note(struct sim *s);
void sim_stream_begin(struct sim *s, struct sim_watch *w, int64_t start);
const struct sim_happening *sim_stream_next(struct sim *s, struct sim_watch *w);
void sim_stream_events(struct sim *s, const struct sim_watcher *c, struct sim_watch *w,
		       const struct native_watch_events *m);
void sim_stream_progress(struct sim *s, const struct sim_watcher *c, struct sim_watch *w, int64_t revision);
void sim_stream_canceled(struct sim *s, const struct sim_watcher *c, const struct sim_watch *w,
			 struct watch_pos place, int64_t compact_revision, int error);

/* sim_client.c */
void sim_client_wake(struct sim_client *c);
void sim_client_written(struct sim_client *c, uint64_t index, struct bytes result);
void sim_client_give_up(struct sim_client *c, const char *why);
void sim_client_lost(struct sim *s, const struct sim_node *n);   /* its gateway has gone */
void sim_client_read(struct sim_client *c);
void sim_client_propose(struct sim_client *c, struct sim_node *n, struct command *cmd);
void sim_client_finish(struct sim_client *c, bool good);
void sim_clients_hurry(struct sim *s);

/* sim_leased.c */
void sim_leased_start(struct sim_node *n);
void sim_leased_stop(struct sim_node *n);
void sim_leased_turn(struct sim_node *n);
bool sim_leased_leads(const struct sim_node *n);
void sim_leased_raftd_down(struct sim_node *n);
void sim_leased_raftd_msg(struct sim_node *n, const struct msg_in *in);
void sim_leased_stored_up(struct sim_node *n);
void sim_leased_stored_down(struct sim_node *n);
void sim_leased_stored_msg(struct sim_node *n, const struct msg_in *in);
void sim_leased_gateway_up(struct sim_node *n);
void sim_leased_gateway_msg(struct sim_node *n, const struct msg_in *in);

/* sim_lessor.c: raftd's and stored's side of leased's links */
void sim_raftd_tell_role(struct sim_node *n);
void sim_raftd_confirmed(struct sim_node *n, uint64_t ctx, int err, uint64_t term, uint64_t index);
void sim_raftd_lease_asks(struct sim_node *n, uint64_t from, const struct peer_lease_asks *in);
void sim_raftd_lease_answers(struct sim_node *n, const struct peer_lease_answers *in);
void sim_raftd_leased_msg(struct sim_node *n, const struct msg_in *in);
void sim_stored_leased_up(struct sim_node *n);
void sim_stored_list(struct sim_node *n, uint64_t epoch);
void sim_stored_tell_leased(struct sim_node *n);
void sim_stored_leased_msg(struct sim_node *n, const struct msg_in *in);

/* sim_lease.c: clients that hold leases, and their gatewayd */
void sim_holder_begin(struct sim_client *c, struct sim_node *n);
mono_t sim_holder_next(struct sim_client *c, struct sim *s);
void sim_holder_written(struct sim_client *c, struct sim *s, int error);
void sim_holder_give_up(struct sim_client *c);
void sim_gateway_leased_msg(struct sim_node *n, const struct msg_in *in);
void sim_gateway_leases(struct sim_node *n);

/* sim_life.c: what they are promised */
int64_t sim_fastest(const struct sim *s);
void sim_rates_changed(struct sim *s);
void sim_life_note(struct sim *s, uint64_t index, const struct command *c);
void sim_life_relied(struct sim *s, const struct sim_client *c);
void sim_life_affirmed(struct sim *s, const struct sim_client *c);
void sim_life_denied(struct sim *s, const struct sim_client *c);
void sim_life_check(struct sim_node *n, struct mvcc_view *v);
void sim_lives_free(struct sim *s);
void sim_calm_leases(struct sim *s);

/* sim_oracle.c */
void sim_log_push(struct sim_node *n, uint64_t term, uint8_t kind, struct bytes payload);
void sim_log_copy(struct sim_log *to, const struct sim_log *from);
void sim_log_reset(struct sim *s, struct sim_log *log, uint64_t index);
const struct sim_record *sim_committed_at(const struct sim *s, uint64_t index);
void sim_oracle_sending(struct sim_node *n, const struct raft_msg *m);
void sim_oracle_told(struct sim_node *n, uint64_t index);
void sim_oracle_read(struct sim_node *n, const struct raft_effect *e, uint64_t committed);
void sim_oracle_stepped(struct sim_node *n);
void sim_oracle_recovered(struct sim_node *n, const struct sim_log *was);
void sim_oracle_store(struct sim_node *n);
void sim_oracle_applied(struct sim_node *n, const struct mvcc_state *st);
void sim_oracle_free(struct sim *s);

/* sim_check.c */
void sim_check_open(struct sim *s);
void sim_check_free(struct sim *s);
bool sim_check_advance(struct sim *s, uint64_t index);
void sim_check_write(struct sim_client *c, uint64_t index, struct bytes result);
void sim_check_read(struct sim_client *c, struct mvcc_view *v, int rc, const struct kv_range_result *r);
void sim_check_applied(struct sim_node *n, const struct mvcc_state *st);   /* one entry more */
void sim_check_store(struct sim_node *n);       /* the whole store against the model */

/* sim_whatif.c */
void sim_whatif_elected(struct sim_node *n, uint64_t term);
void sim_whatif_committed(struct sim *s, uint64_t index);
void sim_whatif_counted(struct sim_node *n, const struct raft_status *st);

/* sim_moment.c */
void sim_moment(struct sim_node *actor, enum sim_moment m, uint64_t other);   /* 0: any other node */
void sim_moment_leads(struct sim_node *n);
void sim_moment_counted(struct sim_node *n, const struct raft_status *st);
void sim_moment_applied(struct sim_node *n);
void sim_moments_strike(struct sim *s);

/* sim_fault.c, sim_calm.c */
void sim_fault_begin(struct sim *s, uint32_t i);
void sim_fault_do(struct sim *s, uint32_t i);
void sim_fault_end(struct sim *s, uint32_t i);
struct sim_node *sim_leader(struct sim *s);
void sim_transfer(struct sim *s, uint64_t target);      /* 0: to whom the leader likes */
void sim_fault_lead_round_trip(struct sim_node *n, uint32_t ms);
void sim_calm(struct sim *s);

#endif
