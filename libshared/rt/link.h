/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links between the daemons of a node: nng byte streams over ipc sockets, framed as proto/msg.h
 * says (the streams themselves: stream.h).
 *
 * Each direction opens with a hello (protocol version, node, daemon, incarnation, where to
 * resume), numbers its frames from 1 without a gap, and sends a heartbeat when it has been silent
 * for LINK_HEARTBEAT_MS; a peer silent for LINK_DEAD_MS is dropped. An unknown, malformed,
 * oversized or out-of-sequence frame drops the link, is counted and logged. After each new
 * connection both ends resynchronise by what the hellos say: nothing survives a connection.
 *
 * link_send gathers; all that a turn has gathered is written once at its end. Callbacks run on the
 * loop thread only; nng's own threads merely enqueue and wake it, and do not read again until the
 * loop has taken what they read: that is the back-pressure.
 */
#ifndef QUORATE_LINK_H
#define QUORATE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/msg.h"
#include "rt/loop.h"
#include "rt/peers.h"

enum { LINK_HEARTBEAT_MS = 500, LINK_DEAD_MS = 3000, LINK_RETRY_MIN_MS = 5, LINK_RETRY_MAX_MS = 40 };

/* The same, for tests: a zero stands for the constant. */
struct link_times {
	unsigned heartbeat_ms, dead_ms, retry_min_ms, retry_max_ms;
};

struct link;        /* one connection, up or down; belongs to its server or dialer */
struct link_server; /* the listening end: many links */
struct link_dialer; /* the calling end: one link, dialled again for ever with jittered back-off */

struct link_hello {
	uint64_t node_id;
	enum daemon_kind daemon;
	uint64_t incarnation;     /* random, new at each start of the process */
	uint64_t resume;          /* the link's own meaning: an index, a revision, a generation; or 0 */
};

/*
 * Callbacks come from the top of the loop's turn only, never from within a call of this header,
 * so they may call anything of it except the closing of their own server or dialer.
 */
struct link_ops {
	/* What this end says first. Called once per connection, when it begins. */
	void (*hello)(void *arg, struct link_hello *out);
	/* The peer's hello was good: the link is up. An error refuses the peer. */
	int (*up)(void *arg, struct link *l, const struct link_hello *peer);
	/* One message; valid until the call returns. An error drops the link. */
	int (*msg)(void *arg, struct link *l, const struct msg_in *in);
	/* The link was up and is down. What was sent and not answered may or may not have arrived. */
	void (*down)(void *arg, struct link *l, const char *reason);
	/* The queue fell below half after link_send said ERR_FULL. May be NULL. */
	void (*drained)(void *arg, struct link *l);
};

struct link_setup {
	struct loop *loop;
	const char *path;                 /* socket file, in a directory of mode 0700 */
	const struct msg_link *messages;  /* which messages may come in, both directions */
	enum daemon_kind peer;            /* who must be at the other end */
	const struct link_ops *ops;
	void *arg;
	size_t max_links;                 /* servers: more links are refused */
	struct link_times times;
};

/*
 * ERR_OK, ERR_CONFIG (path), ERR_EXISTS (somebody listens there) or ERR_IO; logged. The socket is
 * taken over from a dead process only under the run directory's lock (daemon.h). Closing tells
 * `down` for each link that is up.
 */
int link_server_open(const struct link_setup *s, struct link_server **out);
void link_server_close(struct link_server **s);
int link_dialer_open(const struct link_setup *s, struct link_dialer **out);
void link_dialer_close(struct link_dialer **d);

/*
 * ERR_OK; ERR_CLOSED when down; ERR_FULL when LIMIT_LINK_QUEUE_BYTES wait; ERR_LIMIT when the
 * message is larger than a frame. Nothing was queued unless ERR_OK.
 */
int link_send(struct link *l, uint32_t number, const struct msg_desc *d, const void *msg);
/* Writes what has gathered now, and not at the end of the turn: if somebody waits for just that. */
void link_flush(struct link *l);
/* Bytes queued and not yet handed to the kernel. */
size_t link_queued(const struct link *l);
/* No callback but `down` follows; that one, and the end of `l`, come at the end of the turn. */
void link_drop(struct link *l, const char *reason);
bool link_is_up(const struct link *l);
const struct link_hello *link_peer(const struct link *l);
void link_set_arg(struct link *l, void *arg);     /* per-connection context, kept by the owner */
void *link_get_arg(const struct link *l);
int64_t link_age_ms(const struct link *l);        /* since it came up; -1 when down */

/* Totals of the calling thread's links, for the admin socket. drops: links that were up. */
struct link_stats {
	uint64_t frames_in, frames_out, bytes_in, bytes_out, connects, drops, bad_frames;
	uint64_t up;              /* links up now */
};
struct link_stats link_stats_total(void);

#endif
