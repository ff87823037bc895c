/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the callers' halves of the links share. Each is a state machine without I/O or clock: the
 * owner passes in the link's events and the time, and takes out what has finished. What goes out
 * is handed to `send`, which a test may point at a server's half in the same process, losing,
 * doubling and delaying what it likes.
 */
#ifndef QUORATE_CLNT_H
#define QUORATE_CLNT_H

#include "proto/msg.h"

struct clnt_io {
	/* As link_send: ERR_OK, ERR_CLOSED when down, ERR_FULL (nothing was queued: try later). */
	int (*send)(void *arg, uint32_t number, const struct msg_desc *d, const void *msg);
	void *arg;
};

#endif
