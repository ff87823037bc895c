/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of clients: bytes in, requests out; answers in, bytes out. What requests mean is the
 * owner's business (struct conn_ops). One port for all: the first bytes tell the native protocol
 * (which conn.c speaks itself) from HTTP (struct conn_proto).
 *
 *   OPEN ----bad bytes, end of input, stop----> ENDING --all answered and written--> LINGER --> DEAD
 *     \__________________ error, stalled, aborted _______________________________________________/
 *
 * ENDING reads no more requests but answers those in flight. LINGER has shut down its own side and
 * throws away what still comes, so that the last words are not lost in a reset. After bytes that
 * are no request nothing more is parsed.
 *
 * Memory: an idle connection has no buffers. Input is at most LIMIT_CONN_MESSAGE_BYTES plus one
 * read. A connection is not read while LIMIT_CONN_REQUESTS are in flight or LIMIT_CONN_OUT_HIGH
 * wait to be written; results of writes can still pile up, up to LIMIT_CONN_OUT_MAX (what a
 * client loses then is said in conn_answer_end). All connections together are held to
 * LIMIT_GATEWAY_IN_BYTES and LIMIT_GATEWAY_OUT_BYTES: beyond them the one goes whose request has
 * been coming for the longest time, or who has taken nothing for the longest time. Besides, a set has
 * up to CONN_SPARES large buffers that were used in the last second.
 *
 * Time: HTTP's heads and HTTP/2's preface must come whole within LIMIT_CONN_HEAD_MS from their first
 * byte. A native request may take longer: it is large before it is slow, and the memory's limit ends it.
 */
#ifndef QUORATE_CONN_H
#define QUORATE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "gatewayd/caller.h"
#include "gatewayd/counters.h"
#include "gatewayd/rpc.h"
#include "rt/loop.h"

struct conn;

struct conn_ops {
	/*
	 * A request; its bytes are valid until the call returns or conn_bad, conn_abort. It must be
	 * answered exactly once.
	 */
	void (*request)(void *arg, struct conn *c, const struct rpc_request *r);
	/* After conn_want_room, or after a stream has ended: there is room. */
	void (*room)(void *arg, struct conn *c);
	/* It is closed: the owner forgets its requests, and answers none of them. */
	void (*gone)(void *arg, struct conn *c);
	const struct caller_ops *caller;      /* of every connection's `caller` */
};

/*
 * Another protocol than the native one. It may append to c->out only in `fill`, and counts other
 * memory in extra_in, extra_out (conn_count).
 */
struct conn_proto {
	const char *name;
	bool (*open)(struct conn *c);                 /* false: close it */
	size_t (*take)(struct conn *c, struct bytes in);      /* how much was used up */
	bool (*wants_input)(const struct conn *c);
	void (*fill)(struct conn *c);                 /* what may be written now, into c->out */
	void (*end)(struct conn *c);                  /* no more requests */
	void (*late)(struct conn *c);                 /* what conn_begun told of has not come */
	bool (*quiet)(const struct conn *c);          /* all is answered */
	void (*gone)(struct conn *c);                 /* closed */
	void (*free)(struct conn *c);                 /* nobody looks at it any more */
};

struct h2_ops;

/*
 * Large buffers that were in use a moment ago, for the next answers: a new one of half a megabyte costs as much
 * in page faults as what is written into it. They go back to the system after a second without use.
 */
enum { CONN_SPARES = 8, CONN_SPARE_MIN = 65536, CONN_SPARE_MAX = 2 << 20, CONN_SPARE_MS = 1000 };

struct conn_set {
	struct loop *loop;
	const struct conn_ops *ops;
	void *arg;
	const struct conn_proto *http1, *http2;   /* NULL: only the native protocol is spoken */
	const struct h2_ops *h2_ops;  /* whose streams are; their `arg` is the set's */
	struct gatewayd_counters *counters;
	struct list all, dirty, dead;
	struct list partial;          /* have input that is kept, the oldest first */
	struct list blocked;          /* do not take what is written, the longest first */
	struct list begun;            /* have a head that is to come whole, the oldest first */
	struct loop_timer late;       /* of the oldest */
	struct list idle_sessions;    /* HTTP/2 without a stream, the longest first */
	size_t n;
	size_t in_bytes, out_bytes;   /* capacity of all buffers */
	size_t max_in_bytes, max_out_bytes;
	size_t session_bytes, max_session_bytes;   /* what HTTP/2's sessions hold of their own */
	size_t dying_session_bytes;   /* part of it: closed, and freed at the end of the turn */
	bool stopping;
	uint8_t *scratch;             /* LIMIT_CONN_READ_BYTES, for reading */
	struct buf spares[CONN_SPARES];
	size_t n_spares;
	mono_t spare_used;
	int64_t stall_ms, linger_ms, head_ms;
	mono_t log_since;             /* complaints about clients are rationed */
	unsigned log_count;
};

enum conn_state { CONN_OPEN, CONN_ENDING, CONN_LINGER, CONN_DEAD };

struct conn {
	/* for the owner */
	struct caller caller;         /* of the native protocol */
	struct watch_share watches;
	size_t in_flight;
	/* conn.c's own */
	struct list node, dirty;
	struct list in_partial, in_blocked, in_begun;   /* of the set's lists */
	mono_t begun;                 /* since when it is in that list */
	struct conn_set *set;
	struct loop_io io;
	struct loop_timer timer;
	enum conn_state state;
	const struct conn_proto *proto;   /* NULL while not told, or native */
	void *session;                /* proto's */
	bool told;                    /* which protocol */
	bool more_out;                /* `fill` has stopped for want of room */
	bool eof;                     /* the client has shut down its side */
	bool wants_room;
	bool streaming;
	bool blocked;                 /* the socket took less than there was */
	bool progressed;              /* bytes were written since the timer was set */
	struct rpc_scan scan;
	struct buf in;                /* of a message that is not complete, and what follows it */
	bool more_in;                 /* `in` may hold a complete message */
	struct buf out, held;         /* held: answers that wait for a stream's end */
	size_t out_pos;               /* written of out */
	size_t extra_in, extra_out;   /* proto's memory */
	size_t counted_in, counted_out;       /* of set->in_bytes, out_bytes */
	size_t lingered;
	char peer[64];
};

void conn_set_init(struct conn_set *s, struct loop *loop, const struct conn_ops *ops, void *arg,
		   struct gatewayd_counters *counters);
void conn_set_free(struct conn_set *s);       /* closes what is left */

/* Takes the descriptor: non-blocking, connected. `peer` is for log lines. */
struct conn *conn_new(struct conn_set *s, int fd, const char *peer);

/* An empty buffer becomes one of the spares, or is freed; one without memory gets a spare's, if there is one. */
void conn_spare_give(struct conn_set *s, struct buf *b);
void conn_spare_take(struct conn_set *s, struct buf *b);

/* At the end of a turn: parses what was left over; then, after the owner's work, writes. */
void conn_set_input(struct conn_set *s);
void conn_set_output(struct conn_set *s);
/* No more requests: every connection ends when it is answered. */
void conn_set_stop(struct conn_set *s);

/* May an answer be made for this connection now? If not, conn_want_room, and `room` will be called. */
bool conn_room(const struct conn *c);
void conn_want_room(struct conn *c);

/*
 * An answer: append it whole to the buffer between begin and end, which settles one request.
 * `id` and `lost` (an error code) are what is answered instead if the client has let so much pile
 * up that there is no room.
 */
struct buf *conn_answer_begin(struct conn *c, size_t *mark);
void conn_answer_end(struct conn *c, struct buf *b, size_t mark, uint32_t id, int lost);
void conn_answer_error(struct conn *c, uint32_t id, int err);

/*
 * What belongs to no request: append it whole; the owner bounds how much of it waits. NULL: the
 * connection ends, and nothing more is to be said.
 */
struct buf *conn_notify_begin(struct conn *c);
void conn_notify_end(struct conn *c);
/* Bytes that wait to be taken by the client. */
size_t conn_waiting(const struct conn *c);

/*
 * An answer in pieces: one at a time per connection; false: another is being written, and `room`
 * is called when it has ended. Others' answers are held until then. Write only while
 * conn_stream_room: that looks at what is on its way to the client, not at what is held.
 */
bool conn_stream_begin(struct conn *c);
bool conn_stream_room(const struct conn *c);
struct buf *conn_stream(struct conn *c);      /* append; then conn_touch */
void conn_stream_end(struct conn *c);         /* settles one request */
void conn_touch(struct conn *c);

/* The last request was bad: its error (the id is known) and the end of the connection. */
void conn_bad(struct conn *c, int err);
/* Closes now, whatever is under way. */
void conn_abort(struct conn *c, const char *reason);

/* Log about a client: at most a few lines a second. */
void conn_complain(struct conn_set *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
