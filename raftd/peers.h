/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other nodes: one TCP connection per pair, dialled by the node with the smaller id, dialled
 * again for ever with jittered back-off. A connection counts as up only after the handshake has
 * proved the member's key (peer_conn.h).
 */
#ifndef QUORATE_RAFTD_PEERS_H
#define QUORATE_RAFTD_PEERS_H

#include "raftd/node.h"

struct peer_conn;

/* Opens the listener and reads the keys: with rights. */
int peers_open(struct raftd *n);
void peers_start(struct raftd *n);

/*
 * ERR_OK: encrypted and queued, in order. ERR_CLOSED: not connected. ERR_FULL: its queue is full.
 * Never closes or calls back: safe inside a step.
 */
int peers_send(struct raftd *n, uint64_t id, uint32_t number, const struct msg_desc *d, const void *msg);
void peers_send_raft(struct raftd *n, const struct raft_msg *m);
bool peers_room(const struct raftd *n, uint64_t id);   /* the queue takes another batch */
bool peers_connected(const struct raftd *n, uint64_t id);
void peers_resume(struct raftd *n);    /* the log has room again: goes on reading */
void peers_flush(struct raftd *n);     /* end of a turn: writes what was gathered, buries the dead */
void peers_report(struct raftd *n, struct admin_reply *r);

/* peer_msg.c: one decoded message from a member into an event of the core or a call. */
int peer_msg_in(struct raftd *n, uint64_t from, const struct msg_in *in);

/* For peer_conn.c only: what happens to a connection. */
int peers_identified(struct raftd *n, struct peer_conn *c, uint64_t id);   /* a stranger said who it is */
void peers_up(struct raftd *n, struct peer_conn *c);

#endif
