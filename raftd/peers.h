/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other nodes: one TCP connection per pair, dialled by the node with the smaller id, dialled
 * again for ever with jittered back-off. A connection is up at either end once that end has seen
 * proof that the other one holds the member's key and has accepted ours (peer_conn.h).
 *
 * Knows nothing of Raft: what comes in goes to the owner through peers_ops.
 */
#ifndef QUORATE_RAFTD_PEERS_H
#define QUORATE_RAFTD_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/msg.h"
#include "rt/config.h"
#include "rt/loop.h"

enum {
	PEER_HANDSHAKE_MS = 3000,
	PEER_PING_MS = 200,
	PEER_DEAD_MS = 2000,
	PEER_RETRY_MIN_MS = 20,
	PEER_RETRY_MAX_MS = 250,
	PEER_COMPLAIN_MS = 10000
};

/* The same, for tests: a zero stands for the constant. */
struct peer_times {
	unsigned handshake_ms, ping_ms, dead_ms, retry_min_ms, retry_max_ms, complain_ms;
};

/*
 * Called on the loop thread, never from within peers_send, peers_room or another query. All may
 * call peers_send.
 */
struct peers_ops {
	/* A new connection; what was sent on an older one may be lost (no `down` was told then). */
	void (*up)(void *arg, uint64_t id);
	void (*down)(void *arg, uint64_t id);
	/* False: this message must wait, and all behind it there, until peers_resume. */
	bool (*can_take)(void *arg, const struct msg_in *in);
	/* Now and then while something of `from` is withheld (see below): it is there, we are slow. */
	void (*waiting)(void *arg, uint64_t from);
	/* One message, valid until the call returns. An error closes the connection. */
	int (*message)(void *arg, uint64_t from, const struct msg_in *in);
};

struct peer_keys {
	uint8_t secret[32];             /* this node's; its member line has the public key */
	uint8_t cluster_secret[32];
};

struct peers_setup {
	struct loop *loop;
	const struct config *config;    /* borrowed: ids and members */
	struct peer_keys keys;
	uint64_t incarnation;
	int listen_fd;                  /* listening, non-blocking, ours from now on; -1: none */
	const struct peers_ops *ops;
	void *arg;
	struct peer_times times;
};

struct peers_stats {
	uint64_t frames_in, frames_out;
	uint64_t refused;               /* connections that ended before they had proved who */
	uint64_t bad_frames;            /* of members: altered, malformed or impossible */
	uint64_t connects;
};

struct peers;
struct admin_reply;

/* ERR_OK, or ERR_CONFIG: a member's address is not numeric (logged). After noise_start(). */
int peers_open(const struct peers_setup *s, struct peers **out);
void peers_close(struct peers **ps);

/*
 * ERR_OK: encrypted and queued, in order. ERR_CLOSED: not up. ERR_FULL: its queue is full.
 * ERR_LIMIT: no frame holds it.
 */
int peers_send(struct peers *ps, uint64_t id, uint32_t number, const struct msg_desc *d,
	       const void *msg);
bool peers_room(const struct peers *ps, uint64_t id);   /* up, and the queue takes another batch */

unsigned peers_version(const struct peers *ps, uint64_t id);   /* that both ends speak; 0: not up */

/* For the owner's turn-end hook: writes what was gathered, once a peer, and tells of the lost. */
void peers_flush(struct peers *ps);
/* The owner can take more: goes on with the messages that had to wait. */
void peers_resume(struct peers *ps);
/* Takes in what has arrived, now and not at the next turn: before silence is judged. */
void peers_poll(struct peers *ps);
/*
 * Something has arrived and was not taken yet: a message of anybody's that was told to wait, or a
 * frame of id's that is still coming in.
 */
bool peers_withheld(const struct peers *ps, uint64_t id);

const struct peers_stats *peers_stats(const struct peers *ps);
void peers_report(const struct peers *ps, struct admin_reply *r);   /* a group for each peer */

#endif
