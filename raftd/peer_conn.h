/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside raftd/peers.h: the manager's state, and one TCP connection to another node's raftd.
 *
 *   initiator                                                responder
 *     preamble (36 bytes, clear): magic, version, cluster, from, to
 *     frame: Noise message 1                      ->           wrong secret: closed here
 *     frame: Noise message 2 [peer_hello]         <-
 *     frame: Noise message 3 [peer_hello]         ->           wrong key for `from`: closed
 *     frame: encrypted peer_ping                  <-           up
 *     up: frames, encrypted messages of proto/peer.h           <->
 *
 * A frame is a 4-byte big-endian length and as many bytes; the length is authenticated with the
 * cipher text. The preamble is the Noise prologue, so neither id can be altered. Before the
 * handshake is done a frame longer than a handshake message closes the connection, as do a
 * handshake that takes too long and an initiator that names an unknown pair.
 *
 *   CONNECTING -> HANDSHAKE -> CONFIRM -> UP -> CLOSED      initiator: CONFIRM waits for the ping,
 *                 HANDSHAKE ------------> UP -> CLOSED      since its key may still be refused
 */
#ifndef QUORATE_PEER_CONN_H
#define QUORATE_PEER_CONN_H

#include <sys/socket.h>

#include "base/arena.h"
#include "raftd/noise.h"
#include "raftd/peers.h"

enum {
	PEER_PREAMBLE_BYTES = 36,
	PEER_READ_BYTES = 256 * 1024,     /* per readiness: fair to the others */
	PEER_KEEP_BYTES = 1024 * 1024,    /* of an empty buffer's memory */
	PEER_TRICKLE_MS = 100,            /* a frame that still arrives has had bytes since */
	PEER_BYTES_PER_MS = 128           /* a long frame must come in at such a pace */
};

enum peer_state { PEER_CONNECTING, PEER_HANDSHAKE, PEER_CONFIRM, PEER_UP, PEER_CLOSED };

struct peer_conn {
	struct peers *ps;
	struct peer_conn *next;           /* in the manager's list of all, newest first */
	enum peer_state state;
	enum noise_role role;
	uint64_t id;                      /* the other node, proved or not; 0: it has not said */
	struct loop_io io;
	struct buf in, out;
	size_t in_at, out_at;             /* consumed from the front, moved together now and then */
	size_t plain;                     /* length of the opened frame at in_at */
	bool opened;                      /* it was decrypted, and waits */
	bool paused;                      /* the owner cannot take it yet: nothing is read */
	bool stranger;                    /* accepted and not yet proved: they are few */
	uint8_t preamble[PEER_PREAMBLE_BYTES];
	struct noise_hs hs;
	struct noise_session session;
	uint64_t seq_in, seq_out;
	uint64_t incarnation;             /* the other raftd's */
	unsigned version;                 /* the newest that both speak */
	mono_t began, heard, sent;        /* heard: bytes came; sent: a message was queued */
	mono_t frame_began;               /* when the frame that is in `in` in part began to arrive */
	const char *reason;               /* why it was closed; static text */
};

struct peer {
	const struct config_member *member;
	struct peer_conn *conn;           /* the one that is up, until it is buried; or NULL */
	struct peer_conn *dialling;       /* ours on its way, or NULL */
	struct sockaddr_storage addr;
	socklen_t addr_len;
	mono_t retry_at, complain_at;
	unsigned back_off_ms;
	const char *reason;               /* why the last attempt failed; static text, or NULL */
};

struct peers {
	struct peers_setup s;
	struct peer *v;                   /* n of them: all members but this one */
	size_t n;
	struct peer_conn *all;
	unsigned strangers;
	struct loop_io listener;
	struct loop_timer watch;
	struct arena arena;               /* of the message being read */
	uint64_t dice;                    /* for jitter */
	bool accept_paused;               /* no descriptors left: tried again by the watch timer */
	mono_t refusal_logged;
	uint64_t refusals_unsaid;
	struct peers_stats stats;
};

/* ---- peer_conn.c */

/* Both take a non-blocking socket, and join the manager's list. A dialled one is connecting. */
struct peer_conn *peer_conn_dialled(struct peers *ps, int fd, uint64_t id);
struct peer_conn *peer_conn_accepted(struct peers *ps, int fd);
void peer_conn_free(struct peer_conn **c);        /* a closed one that is in no list */

/* Closes the socket; the manager buries it at the end of the turn. */
void peer_conn_close(struct peer_conn *c, const char *reason);
int peer_conn_send(struct peer_conn *c, uint32_t number, const struct msg_desc *d, const void *msg);
void peer_conn_flush(struct peer_conn *c);
void peer_conn_resume(struct peer_conn *c);
bool peer_conn_read(struct peer_conn *c);         /* one read; false: nothing there, or closed */

/* ---- peer_handshake.c: one step. ERR_OK, or an error and c->reason: it must be closed. */

int peer_handshake_begin(struct peer_conn *c);                       /* initiator, once connected */
int peer_handshake_preamble(struct peer_conn *c, const uint8_t *p);  /* responder */
int peer_handshake_frame(struct peer_conn *c, struct bytes frame);

/* ---- peers.c: what becomes of a connection */

bool peers_may_call(const struct peers *ps, uint64_t id);   /* id is a member that dials us */
void peers_conn_up(struct peer_conn *c);
void peers_refused(struct peer_conn *c);                    /* logs it; before it is closed */

#endif
