/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte streams over ipc sockets, on the loop: the thin layer over nng's streams that links and
 * admin sockets share. stream_nng.c, the only includer of nng, and
 * stream_unix.c are two ways to do it; `configure --with-links` chooses.
 *
 * nng's threads only post a task to the loop; all callbacks below run on the loop thread. A buffer
 * has one owner at any time: nng while an operation on it is under way, else the loop.
 * What a stream gathers is handed to the kernel by stream_flush; what comes is read into one
 * buffer, and the next read starts only after the owner has looked at the last one: that is the
 * back-pressure.
 */
#ifndef QUORATE_STREAM_H
#define QUORATE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "rt/loop.h"

struct stream;
struct stream_listener;
struct stream_dialer;

/* None of these may close the stream: note it and close it from a turn-end hook or a timer. */
struct stream_ops {
	/*
	 * All unread bytes, never none. Returns how many are used; the rest is shown again with
	 * more behind it. If it fills the whole buffer unused, reading pauses (stream_resume).
	 */
	size_t (*data)(void *arg, struct bytes in);
	/* The queue has shrunk since stream_tell. May be NULL. */
	void (*sent)(void *arg);
	/* Nothing more will come: the peer is done, or the connection broke. Said once. */
	void (*gone)(void *arg, const char *reason);
};

/* Reading starts here, and must: see stream_listen. max_in bounds the bytes kept unread. */
void stream_start(struct stream *s, const struct stream_ops *ops, void *arg, size_t max_in);
/* At once; unsent bytes are lost. */
void stream_close(struct stream **s);

/* Append to it, then stream_flush. Bounded by the owner: its max is set to max_out. */
struct buf *stream_out(struct stream *s);
void stream_limit_out(struct stream *s, size_t max_out);
void stream_flush(struct stream *s);
size_t stream_queued(struct stream *s);   /* bytes not yet handed to the kernel */
void stream_tell(struct stream *s);       /* ops->sent once, when the queue has shrunk */

void stream_pause(struct stream *s);      /* no data calls and no reads until... */
void stream_resume(struct stream *s);     /* ...here; what is unread is shown again by a task */

/*
 * A listening socket file, mode 0600. A dead one's file is replaced, a living one's is not
 * (ERR_EXISTS). `accepted` gets each new stream whose peer runs as our user or as root, owns it,
 * and must start or close it before it returns.
 */
int stream_listen(struct loop *loop, const char *path, void (*accepted)(void *arg, struct stream *s),
		  void *arg, struct stream_listener **out);
void stream_listener_close(struct stream_listener **l);

/* One attempt at a time: `dialled` gets the stream, or NULL and the reason. */
int stream_dialer_open(struct loop *loop, const char *path,
		       void (*dialled)(void *arg, struct stream *s, const char *reason), void *arg,
		       struct stream_dialer **out);
void stream_dial(struct stream_dialer *d);
void stream_dialer_close(struct stream_dialer **d);

#endif
