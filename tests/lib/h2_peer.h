/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC client in one process with a gateway (tests/lib/gateway_world.h): nghttp2's other side, and
 * etcd's messages by the codec under test.
 */
#ifndef QUORATE_TEST_H2_PEER_H
#define QUORATE_TEST_H2_PEER_H

#include <nghttp2/nghttp2.h>

#include "proto/etcd.h"
#include "tests/lib/gateway_world.h"

enum { H2_PEER_STREAMS = 4096, H2_PEER_TAIL = 17, H2_PEER_WINDOW = 1 << 20 };
#define KV "/etcdserverpb.KV/"

struct h2_peer_stream {
	struct buf in, out;           /* what came; what is to go */
	size_t out_pos, in_pos;       /* in_pos: messages taken */
	bool ends;                    /* nothing more goes behind `out` */
	char http[8], status[8], text[256];
	bool closed;
	uint32_t error_code;          /* of a reset, if closed */
};

struct h2_peer {
	struct world *w;
	struct rpc_peer p;
	nghttp2_session *session;
	struct h2_peer_stream streams[H2_PEER_STREAMS];      /* by stream id / 2 */
	bool goaway;
	uint32_t goaway_code;
	int32_t goaway_last;
	char goaway_text[64];
	uint8_t tail[H2_PEER_TAIL];   /* the last bytes that came: nghttp2 ignores what follows a GOAWAY */
	bool deaf;                    /* reads nothing */
};

/* `window` is what the server may send ahead on a stream. */
struct h2_peer *h2_peer_new(struct world *w, uint32_t window);
void h2_peer_free(struct h2_peer *h);

/* A turn: what is to be sent goes, the world turns, what has come is read. */
void h2_peer_turn(struct h2_peer *h);
/* Turns until the stream has ended, or the connection. */
void h2_peer_wait(struct h2_peer *h, int32_t id);

/* A request with one message; `more`: name, value, ..., NULL. Its stream. */
int32_t h2_peer_call(struct h2_peer *h, const char *path, const struct pb_desc *d, const void *msg,
		     const char *const *more);
/* A stream whose messages come by h2_peer_say. */
int32_t h2_peer_open(struct h2_peer *h, const char *path);
void h2_peer_say(struct h2_peer *h, int32_t id, const struct pb_desc *d, const void *msg);
struct h2_peer_stream *h2_peer_of(struct h2_peer *h, int32_t id);
/* The next message, turning for it; its bytes live until the next call of the kind. */
void h2_peer_next(struct h2_peer *h, int32_t id, const struct pb_desc *d, void *msg);
/* It ends with this status, and these words. */
void h2_peer_ends(struct h2_peer *h, int32_t id, const char *status, const char *text);


/* A world with one client; at its end nothing of it is left in the gateway. */
void h2_peer_setup(struct world **w, struct h2_peer **h, uint32_t window);
void h2_peer_teardown(struct world *w, struct h2_peer *h);
int32_t h2_peer_put(struct h2_peer *h, const char *key, struct bytes value);
int32_t h2_peer_get(struct h2_peer *h, const char *key, const char *end, const char *const *more);
/* n keys, k00000 and so on, of so many zeros. */
void h2_peer_fill(struct h2_peer *h, int n, size_t bytes);

/* Turns until it holds. */
#define H2_UNTIL(h, cond) \
	do { \
		mono_t until_ = mono_add_ms(mono_now(), TAP_PATIENCE_MS); \
		while (mono_before(mono_now(), until_) && !(cond)) \
			h2_peer_turn(h); \
		OK(cond); \
	} while (0)

#endif
