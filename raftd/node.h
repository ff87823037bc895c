/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raftd from the inside: one struct, and the calls between its parts, all of them on the loop's thread.
 *
 *   lessor_ipc.c: the same for leased, and questions between lessors of two nodes
 *   gateway_ipc.c --proposals, reads--> propose.c, reads.c --events--> driver.c --> core/
 *   peers.h (TCP, Noise) --frames--> peer_msg.c --messages---------------^  |
 *   wal.h (writer thread) --durable----------------------------------------^  | effects
 *   feed.c (to stored) <--commit-- driver.c --messages--> peer_msg.c, peers.h <'
 *   handover.c: gives the lead away when stored stays behind
 */
#ifndef QUORATE_NODE_H
#define QUORATE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/limits.h"
#include "proto/link_apply.h"
#include "proto/link_lessor.h"
#include "proto/link_raft.h"
#include "proto/peer.h"
#include "raftd/core/raft.h"
#include "raftd/handover.h"
#include "raftd/lag.h"
#include "raftd/peers.h"
#include "raftd/snap.h"
#include "raftd/wal.h"
#include "rt/daemon.h"
#include "rt/link.h"

#define RAFTD_COUNTERS(C) \
	C(COUNTER, proposals, "commands appended to the log as leader") \
	C(COUNTER, proposals_forwarded, "commands sent on to the leader's node") \
	C(COUNTER, proposals_refused, "commands not taken: no leader, or too much waiting") \
	C(COUNTER, reads, "read-index rounds asked for by gateways") \
	C(COUNTER, reads_failed, "of those, told to ask again") \
	C(COUNTER, elections, "elections begun by this node") \
	C(COUNTER, leader_changes, "times the known leader changed") \
	C(COUNTER, sends_held, "messages that waited for a sync") \
	C(COUNTER, sends_dropped, "messages to peers dropped: link down or its queue full") \
	C(COUNTER, peer_frames_in, "frames from peers") \
	C(COUNTER, peer_frames_out, "frames to peers") \
	C(COUNTER, peer_refused, "connections to the peer port that were no member's") \
	C(COUNTER, peer_bad_frames, "altered, malformed or impossible frames from peers") \
	C(COUNTER, peer_connects, "peer connections that came up") \
	C(COUNTER, confirms, "rounds asked for by the lessor") \
	C(COUNTER, lease_asks_forwarded, "keepalives and questions about leases sent on to the leader's node") \
	C(COUNTER, handovers, "times the lead was given away because stored of this node stayed behind") \
	C(COUNTER, fed_entries, "committed entries sent to stored") \
	C(COUNTER, log_cuts, "times the log was cut behind a snapshot") \
	C(COUNTER, snapshots_asked, "snapshots asked of stored") \
	C(COUNTER, snapshots_received, "snapshots that came in whole from another node") \
	C(COUNTER, snapshot_bytes_sent, "bytes of snapshots sent to other nodes") \
	C(COUNTER, snapshot_bytes_received, "bytes of snapshots taken in from other nodes") \
	C(GAUGE, snapshot_index, "index of the newest snapshot of this node") \
	C(GAUGE, store_gap, "1: the store ends before the log begins, a snapshot is awaited") \
	C(GAUGE, role, "0 follower, 1 pre-candidate, 2 candidate, 3 leader") \
	C(GAUGE, term, "current term") \
	C(GAUGE, leader, "node id of the leader, 0 if unknown") \
	C(GAUGE, commit, "commit index") \
	C(GAUGE, last, "last index of the log") \
	C(GAUGE, durable, "last index synced on this node") \
	C(GAUGE, applied, "index that stored has applied") \
	C(GAUGE, log_bytes, "disk space of the log") \
	C(GAUGE, wal_batches, "batches synced") \
	C(GAUGE, wal_sync_p50_us, "write and sync of a batch, median of the newest") \
	C(GAUGE, wal_sync_p99_us, "write and sync of a batch, 99th percentile of the newest") \
	C(GAUGE, wal_spare_failed, "1: no room to prepare the next log segment") \
	C(GAUGE, uncommitted_bytes, "proposals appended as leader and not yet committed")
COUNTER_SET(raftd_counters, RAFTD_COUNTERS);

/*
 * What one message or one proposal may append, as the log counts it: payloads, and for each entry
 * a head. A sender puts LIMIT_BATCH_BYTES of payload into an append, or one larger entry. Small
 * records (term and vote, a no-op, a truncation) need no more than SMALL_ROOM between two syncs:
 * half of it for those that messages cause, half for our own.
 */
#define ENTRY_BYTES_MAX (LIMIT_REQUEST_BYTES + 64u * KIB)
#define ENTRY_HEAD_ROOM 64u
#define APPEND_ROOM (LIMIT_REQUEST_BYTES + 128u * KIB)
#define SMALL_ROOM (64u * KIB)
_Static_assert(LIMIT_BATCH_BYTES + LIMIT_APPEND_ENTRIES * ENTRY_HEAD_ROOM <= APPEND_ROOM &&
	       ENTRY_BYTES_MAX + ENTRY_HEAD_ROOM <= APPEND_ROOM, "an append fits its room");
_Static_assert(APPEND_ROOM + SMALL_ROOM <= LIMIT_WAL_ENTRY_BYTES,
	       "wal_room never says more than that");
/* The smallest segment whose batches hold it. */
enum { SEGMENT_MIN_MB = 2 };

/* A command on its way into the log, from a gateway of this node or of another. */
struct proposal {
	uint64_t gateway, seq;
	struct bytes command;
};

/* Who is told of a refusal: a local gateway's link, or the peer that forwarded. */
struct proposer {
	struct link *link;        /* NULL if it came from a peer */
	uint64_t peer;
	bool lessor;              /* leased's link: never sent on */
};

/* Bytes appended as leader and not committed: one mark per step, so a bounded ring is enough. */
enum { PROPOSE_MARKS = 8192 };
struct propose {
	struct { uint64_t last_index, bytes; } marks[PROPOSE_MARKS];
	uint32_t head, count;
	uint64_t bytes;
};

enum { READ_SLOTS = 1024 };
struct read_slot {
	struct link *link;        /* NULL: the gateway has gone; the slot waits for its answer */
	uint64_t ctx;             /* the gateway's */
	uint64_t term;            /* a lessor asks whether we lead it; 0: it is a gateway's read */
	uint32_t serial;          /* odd while in use */
};

/* Messages that wait for a sync, first in, first out: at worst for the need of the one before. */
enum { HELD_MAX = 4096 };
struct held {
	struct { struct raft_msg msg; uint64_t need_seq; } v[HELD_MAX];
	uint32_t head, count;
};

/* The stream of committed entries to stored. */
struct feed {
	struct link_dialer *dialer;
	struct link *link;        /* NULL while down */
	bool ready;               /* it has said its state on this link */
	bool behind;              /* it ends before our log begins: nothing can be sent */
	uint64_t next;            /* index to send */
	uint64_t applied;         /* told by stored */
	uint64_t ahead;           /* an applied index that our log has not, as last complained of */
	size_t window;            /* bytes sent and not answered */
	struct { uint64_t last_index; size_t bytes; } sent[LIMIT_APPLY_WINDOW_BATCHES];
	uint32_t head, count;
	bool due;                 /* there may be more to send: at the end of the turn */
	struct lag lag;
	struct wal_list list;
};

enum { GATEWAYS_MAX = 32 };
struct gateways {
	struct link_server *server;
	struct link *links[GATEWAYS_MAX];
	size_t n;
	bool state_dirty;         /* raftd_state is due at the end of the turn */
};

/* leased of this node. */
struct lessors {
	struct link_server *server;
	struct link *link;        /* NULL while down */
	bool role_dirty;          /* lessor_role is due at the end of the turn */
};

struct raftd {
	struct daemon *d;
	struct raft *raft;
	struct raft_effects fx;
	bool stepping;
	struct wal *wal;
	struct loop_io wal_ready;
	uint64_t durable_seq, durable_index;
	uint64_t hard_seq;            /* of the newest term and vote */
	uint64_t commit, term, leader;
	enum raft_role role;
	struct loop_timer tick;
	mono_t tick_after;            /* a tick was put off: not before this */
	struct loop_hook turn_end;

	/* What the step under way may append: the proposals, or the entries just received. */
	const struct proposal *own;
	const struct peer_append *received;
	/* SENT answers, given after the step's effects have all been carried out. */
	struct raft_event sent[LIMIT_NODES * 4];
	uint32_t sent_count;
	struct wal_list list;

	struct propose propose;
	struct read_slot reads[READ_SLOTS];
	struct held held;
	struct feed feed;
	struct handover handover;
	struct gateways gateways;
	struct lessors lessor;
	struct snap snap;
	struct peers *peers;
	struct peer_keys keys;        /* until the peers are opened */
	int peer_fd;
	struct raftd_counters counters;
	struct loop_timer stop_timer;
	mono_t stop_began;
	bool handing_over;            /* stopping: a successor is chosen */
};

/* driver.c: one event in, its effects carried out in order. Returns what the core said. */
int raftd_step(struct raftd *n, struct raft_event *ev);
void raftd_tick(void *raftd);           /* the tick timer's function */
void raftd_tick_arm(struct raftd *n);
/* Room in the log's gathering batch for whatever one message may append; or for small records. */
bool raftd_can_append(const struct raftd *n);
bool raftd_can_append_small(const struct raftd *n);

/* propose.c */
void propose_batch(struct raftd *n, const struct proposal *v, size_t count, struct proposer from);
void propose_committed(struct raftd *n, uint64_t index);
void propose_reset(struct raftd *n);    /* no longer leader */

/* reads.c */
void reads_ask(struct raftd *n, struct link *link, uint64_t ctx);
/* Do we lead, and still did when this was asked? Answered by lessors_confirmed. */
void reads_confirm(struct raftd *n, struct link *link, uint64_t ctx);
void reads_answer(struct raftd *n, uint64_t core_ctx, int err, uint64_t index);
void reads_forget(struct raftd *n, const struct link *link);

/* feed.c */
int feed_open(struct raftd *n);
void feed_more(struct raftd *n);        /* at the end of a turn in which feed.due was set */
void feed_now(struct raftd *n);         /* and writes it at once */
bool feed_is_late(const struct raftd *n);       /* stored is there, and cannot keep up */

/* peer_msg.c */
extern const struct peers_ops raftd_peers_ops;          /* arg: the struct raftd */
void raftd_send(struct raftd *n, const struct raft_msg *m);

/* gateway_ipc.c */
int gateways_open(struct raftd *n);
void gateways_state(struct raftd *n);   /* tells all, if dirty */
struct link *gateways_find(struct raftd *n, uint64_t incarnation);
void gateways_refuse(struct link *l, struct raftd_refused *v, size_t count);
/* A gateway that does not read what it asked for is dropped: both resynchronise then. */
void gateways_tell(struct link *l, uint32_t number, const struct msg_desc *d, const void *msg);

/* lessor_ipc.c */
int lessors_open(struct raftd *n);
void lessors_state(struct raftd *n);    /* tells the role, if dirty */
void lessors_refuse(struct raftd *n, size_t count, int err);
void lessors_confirmed(struct raftd *n, struct link *l, uint64_t ctx, int err, uint64_t term, uint64_t index);
int lessors_asked(struct raftd *n, uint64_t from, const struct peer_lease_asks *in);
int lessors_answered(struct raftd *n, const struct peer_lease_answers *in);

/* report.c */
void raftd_report(void *daemon, struct admin_reply *r);
void raftd_refresh(void *daemon);
extern const struct admin_command raftd_commands[];

#endif
