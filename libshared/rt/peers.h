/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may talk to whom inside a node: the architecture's diagram as a list. Nothing else connects.
 *
 *   P(listener, dialer, socket file)
 */
#ifndef QUORATE_PEERS_H
#define QUORATE_PEERS_H

#define DAEMON_LIST(D) \
	D(RAFTD,    1, "raftd",    "order of all commands: elections, log, commit, read index") \
	D(STORED,   2, "stored",   "effect of each command: revisions, transactions, compaction") \
	D(LEASED,   3, "leased",   "when a lease has run out") \
	D(WATCHD,   4, "watchd",   "which watcher gets which event") \
	D(GATEWAYD, 5, "gatewayd", "who may ask, and how the answer is written")

enum daemon_kind {
#define DAEMON_ENUM_(name, number, text, help) DAEMON_##name = (number),
	DAEMON_LIST(DAEMON_ENUM_)
#undef DAEMON_ENUM_
};

#define PEER_LIST(P) \
	P(RAFTD,  GATEWAYD, "raftd-gatewayd.sock")   /* propose, read index, status */ \
	P(STORED, RAFTD,    "stored-raftd.sock")     /* committed entries; applied index comes back */ \
	P(STORED, GATEWAYD, "stored-gatewayd.sock")  /* results of proposals, applied index, status */ \
	P(RAFTD,  LEASED,   "raftd-leased.sock")     /* role; revokes and checkpoints; questions */ \
	P(STORED, LEASED,   "stored-leased.sock")    /* granted, revoked, checkpointed */ \
	P(LEASED, GATEWAYD, "leased-gatewayd.sock")  /* keepalive, time to live */ \
	P(STORED, WATCHD,   "stored-watchd.sock")    /* how far the store has come */ \
	P(WATCHD, GATEWAYD, "watchd-gatewayd.sock")  /* watches; events come back */

const char *daemon_name(enum daemon_kind kind);                /* "raftd"; "?" if unknown */
int daemon_by_name(const char *name, enum daemon_kind *kind);  /* ERR_OK or ERR_NOT_FOUND */
/* The socket file's name for this pair, or NULL: they do not talk. */
const char *peer_socket(enum daemon_kind listener, enum daemon_kind dialer);

#endif
