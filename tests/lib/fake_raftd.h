/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands around raftd's driver files, faked and linked in the place of the real: the log
 * (wal.h, in memory, durable when the test says so), the links (link.h), and in a file of their
 * own, fake_peers.c, the connections (peers.h). All that is done to them is told to one journal, in
 * order, a line each.
 */
#ifndef QUORATE_FAKE_RAFTD_H
#define QUORATE_FAKE_RAFTD_H

#include "raftd/node.h"

struct link {
	const char *name;
	struct link_hello hello;
	bool down;
	int answer;                 /* what link_send says */
};

struct fake_world {
	struct raftd *n;            /* with a daemon, a loop, a log; no core */
	size_t room;                /* of the log; appends use it up */
	size_t read_max;            /* entries one wal_read gives; 0: as asked */
	struct wal_durable mark;    /* the newest */
	int peer_answer[16];        /* what peers_send says, by id */
	bool peer_full[16];         /* what peers_room denies */
	bool peer_old[16];          /* it speaks version 1 only */
	bool withheld;
	size_t bytes_sent[16];      /* in messages that were taken */
	const struct link_ops *server_ops, *dialer_ops;
	bool quiet;                 /* no journal: fuzzing */
};
extern struct fake_world fake;

void fake_open(void);
void fake_close(void);
void fake_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fake_say_message(const char *to, uint64_t id, const struct msg_desc *d, const void *msg);
/* The journal since the last call. */
const char *fake_journal(void);
/* An entry is there and durable, without a word in the journal. */
void fake_have(uint64_t term, uint8_t kind, size_t bytes);
/* The newest mark becomes durable: true with what wal_collect would say. There is room again. */
bool fake_sync(struct wal_durable *done);

#endif
