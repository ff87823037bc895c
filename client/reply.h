/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what a server sends: a state machine over the bytes of a connection, without sockets.
 * Whatever arrives is checked before it is believed: shape, lengths, the id, the fields; what is
 * kept in memory is bounded, also for a range of any size, which is handed on pair by pair.
 */
#ifndef QUORATE_CLIENT_REPLY_H
#define QUORATE_CLIENT_REPLY_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "client/scan.h"
#include "proto/native.h"

/* Where the pairs of a range go as they arrive. An error of a function breaks the connection. */
struct client_sink {
	/* Once, first: header, count and more; kvs.n pairs will follow, kvs.v is NULL. */
	int (*begin)(void *arg, const struct kv_range_result *head);
	/* Valid until it returns. */
	int (*pair)(void *arg, const struct kv_pair *pair);
	void *arg;
};

struct client_reply {
	int err;                  /* ERR_OK, the server's code (base/err.h), or why there is none */
	enum err_again again;     /* of err: whether the same request may be sent again */
	struct bytes text;        /* the server's words; empty if err is our own finding */
	const void *result;       /* the method's result, or NULL; valid until done() returns */
	struct bytes raw;         /* the same as it came, to keep a copy of; empty if streamed */
};

/* A request that is waiting for its answer. The caller's memory, untouched until done(). */
struct client_flight {
	const struct native_method *method;
	const struct client_sink *sink;   /* of "range" only: stream it; result then has no pairs */
	/* Called exactly once. It may send more on the connection, but not close it. */
	void (*done)(struct client_flight *f, const struct client_reply *reply);
	void *arg;
	uint64_t end;             /* the connection's: where the request ends in what is written */
	uint32_t slot;            /* likewise: its place in the table of requests */
};

enum client_reply_state {
	CLIENT_REPLY_HEAD, CLIENT_REPLY_NOTICE, CLIENT_REPLY_ERROR, CLIENT_REPLY_WHOLE, CLIENT_REPLY_RANGE,
	CLIENT_REPLY_PAIRS, CLIENT_REPLY_RANGE_END
};

struct client_reader {
	/* The request of this id, or NULL: nobody asked. */
	struct client_flight *(*find)(void *arg, uint32_t id);
	/* The answer is complete; forget the request, then call its done(). */
	void (*finish)(void *arg, struct client_flight *f, const struct client_reply *reply);
	/*
	 * A notification, decoded; valid until it returns. NULL: there are none for this client, and
	 * one that comes is an error, but for the server's last word: that ends the connection anyway.
	 */
	void (*notice)(void *arg, const struct native_notification *n, const void *params);
	void *arg;

	enum client_reply_state state;
	struct client_scan scan;
	struct client_flight *flight;      /* whose answer is being read */
	int err;                           /* of that answer */
	enum err_again again;
	char text[LIMIT_CLIENT_ERROR_BYTES];
	size_t text_len;
	bool last_word;                    /* err, again and text are the server's, of the connection */
	struct kv_range_result range;      /* while its pairs arrive */
	uint64_t more_fields;              /* of it, behind the pairs: not known to us */
	struct kv_header header;
	struct arena arena;
};

void client_reader_init(struct client_reader *r);   /* then set find, finish, arg */
void client_reader_free(struct client_reader *r);

/*
 * Reads on. `in` begins where the last call stopped; *used bytes are done with. ERR_OK: the rest
 * must wait for more bytes. An error: the connection can only be closed.
 */
int client_reader_on(struct client_reader *r, struct bytes in, size_t *used);

#endif
