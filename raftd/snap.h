/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots as raftd sees them: it decides when stored makes one, cuts the log behind it, and
 * carries the file to a node whose log, or store, ends before the log begins. The bytes never pass
 * through stored: both daemons of a node have DATA_DIR/snap (rt/snapname.h).
 *
 *   stored --apply_state--> feed.c --> snap_cut.c --apply_snapshot--> stored
 *   core, or peer_snapshot_want --> snap_send.c --peer_snapshot--> snap_recv.c of the other node
 *                                     snap_recv.c --pieces--> snap_write.c, a thread --> the file
 *                                     snap_recv.c --apply_install--> its stored
 *
 * The store is never ahead of what its node can prove: stored becomes a snapshot that is durable
 * here, says so, and the core is told (INSTALLED); the log then begins behind it. A crash in between
 * leaves a store that is exactly its newest snapshot, and that is proof enough (feed.c).
 */
#ifndef QUORATE_RAFTD_SNAP_H
#define QUORATE_RAFTD_SNAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "proto/link_apply.h"
#include "proto/peer.h"
#include "raftd/snap_write.h"
#include "rt/loop.h"

struct raftd;
struct admin_reply;

/* A file on its way to one peer. At most LIMIT_SNAPSHOT_CHUNKS pieces are sent and not answered. */
enum snap_send_state { SNAP_SEND_IDLE, SNAP_SEND_SEEK, SNAP_SEND_OFFERED, SNAP_SEND_SENDING };

struct snap_send {
	struct raftd *n;
	uint64_t peer;
	enum snap_send_state state;
	uint64_t need;                   /* the oldest snapshot that will do */
	bool core;                       /* the core waits for SNAPSHOT_DONE */
	int fd;
	struct snapshot_id id;
	uint64_t sent, acked, best;
	uint32_t window;                 /* pieces; by the delay that they meet */
	struct { uint64_t end; mono_t at; } flight[LIMIT_SNAPSHOT_CHUNKS];
	uint32_t flight_n;
	int64_t rtt_min_us;
	mono_t progress;                 /* when it last got on */
	mono_t waiting;                  /* it says "wait" since; ns 0: it does not */
	mono_t free_at;                  /* when the rate has made up for what was sent */
	struct loop_timer timer;
};

struct snap_recv {
	struct snapshot_id id;
	uint64_t from;
	bool coming;                     /* a file is being received: the writer has it */
	uint64_t have, taken;            /* bytes that are written, and with those that wait for it */
	uint32_t lens[LIMIT_SNAPSHOT_CHUNKS], first, pending;   /* of these */
	struct snap_writer *writer;      /* NULL until it is needed */
	snap_write_fn *write;            /* NULL but in tests */
	bool complete;                   /* all is there: stored is to become it */
	bool asked;                      /* stored has been told so on this link */
	uint64_t left;                   /* newest index of files that a raftd before us has left; 0: none */
	mono_t heard, not_before, asked_at;
	uint32_t tries;                  /* to install it, that an error of the disk has ended */
	uint32_t turn;                   /* whom to ask next */
	mono_t complained;
};

struct snap {
	struct snapshot_id newest;       /* of this node; index 0: none is known */
	uint64_t store_bytes;
	uint64_t asked;                  /* index asked for on this link, 0: none */
	struct loop_timer timer;
	struct snap_send send[LIMIT_NODES];
	size_t n_send;
	struct snap_recv recv;
};

/* snap_cut.c */
void snap_open(struct raftd *n);
void snap_close(struct raftd *n);
void snap_state(struct raftd *n, const struct apply_state *m);   /* stored has said so */
void snap_ask(struct raftd *n, uint64_t index);  /* stored is to make one that new, if it is there */
void snap_link_down(struct raftd *n);            /* stored has gone */
void snap_report(const struct raftd *n, struct admin_reply *r);

/* snap_send.c. Nothing of it steps the core from within a step. */
void snap_send_open(struct raftd *n);
void snap_send_begin(struct raftd *n, uint64_t peer, uint64_t need, bool core);
void snap_send_stop(struct raftd *n, uint64_t peer);             /* its connection has ended */
int snap_send_resp(struct raftd *n, uint64_t peer, const struct peer_snapshot_resp *m);
uint64_t snap_send_hold(const struct raftd *n);  /* the log behind it is needed; UINT64_MAX: no such */

/* snap_recv.c */
void snap_recv_open(struct raftd *n);
void snap_recv_close(struct raftd *n);
void snap_recv_stop(struct raftd *n, uint64_t peer);             /* its connection has ended */
int snap_recv_piece(struct raftd *n, uint64_t from, const struct peer_snapshot *m);
void snap_recv_state(struct raftd *n, uint64_t applied);         /* stored is there, at this index */
int snap_recv_installed(struct raftd *n, const struct apply_installed *m);
void snap_recv_tick(struct raftd *n);            /* now and then: asks for what is missing */

#endif
