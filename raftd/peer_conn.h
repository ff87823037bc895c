/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection to another node's raftd.
 *
 *   initiator                                                responder
 *     preamble (36 bytes, clear): magic, version, cluster, from, to
 *     frame: Noise message 1                      ->           wrong secret: closed here
 *     frame: Noise message 2 [peer_hello]         <-
 *     frame: Noise message 3 [peer_hello]         ->           wrong key for `from`: closed
 *     frames: encrypted messages of proto/peer.h  <->
 *
 * A frame is a 4-byte big-endian length and as many bytes; the length is authenticated with the
 * cipher text. The preamble is the Noise prologue, so neither id can be altered. Before the
 * handshake is done a frame longer than a handshake message closes the connection, as do a
 * handshake longer than PEER_HANDSHAKE_MS and an initiator that names an unknown pair.
 */
#ifndef QUORATE_PEER_CONN_H
#define QUORATE_PEER_CONN_H

#include "raftd/noise.h"
#include "raftd/node.h"

enum {
	PEER_PREAMBLE_BYTES = 36,
	PEER_HANDSHAKE_MS = 3000,
	PEER_PING_MS = 200,
	PEER_DEAD_MS = 2000,
	PEER_READ_BYTES = 256 * 1024      /* per readiness: fair to the others */
};

enum peer_state { PEER_CONNECTING, PEER_HANDSHAKE, PEER_UP, PEER_CLOSED };

struct peer_conn {
	struct raftd *n;
	struct peer_conn *next;           /* in the manager's list of all */
	enum peer_state state;
	enum noise_role role;
	uint64_t id;                      /* the other node; 0: a stranger that has not said */
	struct loop_io io;
	struct buf in, out;
	size_t in_at, out_at;             /* consumed from the front, moved together now and then */
	bool stranger;                    /* accepted and not yet proved: they are few */
	bool paused;                      /* the log is full: nothing is parsed */
	uint8_t preamble[PEER_PREAMBLE_BYTES];
	struct noise_hs hs;
	struct noise_session session;
	uint64_t seq_in, seq_out;
	uint64_t incarnation;             /* the other raftd's */
	mono_t began, heard, sent;
	const char *reason;               /* why it was closed */
};

/* What both ends need to prove who they are. */
struct peer_identity {
	uint64_t cluster_id, node_id;
	uint8_t secret_key[32];
	uint8_t cluster_secret[32];
};

/* Both take a non-blocking socket. A dialled one is still connecting. */
struct peer_conn *peer_conn_dialled(struct raftd *n, int fd, uint64_t id);
struct peer_conn *peer_conn_accepted(struct raftd *n, int fd);
void peer_conn_free(struct peer_conn **c);

/* Marks it closed and closes the socket; the manager buries it at the end of the turn. */
void peer_conn_close(struct peer_conn *c, const char *reason);
int peer_conn_send(struct peer_conn *c, uint32_t number, const struct msg_desc *d, const void *msg);
void peer_conn_flush(struct peer_conn *c);
void peer_conn_resume(struct peer_conn *c);

/* peer_handshake.c: one step. ERR_OK, or why the connection must be closed. */
int peer_handshake_begin(struct peer_conn *c);                       /* initiator, once connected */
int peer_handshake_preamble(struct peer_conn *c, const uint8_t *p);  /* responder */
int peer_handshake_frame(struct peer_conn *c, struct bytes frame);

const struct peer_identity *peers_identity(const struct raftd *n);

#endif
