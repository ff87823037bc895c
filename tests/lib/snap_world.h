/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One raftd with its snapshots (raftd/snap.h), for tests: the real driver, sender and receiver; a
 * core that says nothing but what it was told; and the test as the line to peer 2, and from it.
 */
#ifndef QUORATE_SNAP_WORLD_H
#define QUORATE_SNAP_WORLD_H

#include "tests/lib/fake_raftd.h"

enum { FILE_BYTES = 40 * LIMIT_SNAPSHOT_CHUNK_BYTES + 100, WIRE_MAX = 64 };

struct raft {
	struct raft_effect fx[4];
	uint32_t n;
	uint64_t match;                  /* of peer 2 */
	bool peer_up;
};

extern struct raft core;

/* What is on the line to peer 2, and from it. */
struct wire_piece {
	struct peer_snapshot m;
	uint8_t data[LIMIT_SNAPSHOT_CHUNK_BYTES];
};

struct snap_line {
	struct wire_piece *piece;
	unsigned pieces, most;
	struct peer_snapshot_resp resp[WIRE_MAX];
	unsigned resps, wants;
	uint64_t want_to, want_index;
	unsigned version;
	bool full;
};
extern struct snap_line line;

extern struct config config;
extern struct link stored;
extern uint8_t content[FILE_BYTES];      /* of the snapshot's file */
extern struct snapshot_id the_id;

void begin(void);
void end(void);
/* stored has a snapshot, and its file is there. */
void have_snapshot(void);

/* The file of the transfer under way. */
bool incoming_exists(void);
bool incoming_is(size_t bytes);          /* so many of `content` */
/* A piece of it from peer 2, and what is answered, when it is written; STATUSES: nothing. */
struct peer_snapshot piece_at(uint64_t offset, size_t len);
int say_piece(uint64_t offset, size_t len, enum peer_snapshot_status *status, uint64_t *at);

#define SAYS(offset, len, want, want_at) do { \
		enum peer_snapshot_status status_; \
		uint64_t at_ = 0; \
		EQ_INT(say_piece(offset, len, &status_, &at_), ERR_OK); \
		EQ_INT(status_, want); \
		EQ_INT(at_, want_at); \
	} while (0)

#define UNTIL(cond) do { \
		mono_t until_ = mono_add_ms(mono_now(), TAP_PATIENCE_MS); \
		while (!(cond)) { \
			tap_ok(mono_before(mono_now(), until_), "in time: " #cond, __FILE__, __LINE__); \
			loop_turn(fake.n->d->loop, 2); \
		} \
	} while (0)

#endif
