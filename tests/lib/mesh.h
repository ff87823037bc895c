/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes' peer managers on one loop and loopback sockets, for tests; a meddler that sits between
 * two of them; and a caller made by hand, which speaks the protocol as well or badly as it is told.
 */
#ifndef QUORATE_MESH_H
#define QUORATE_MESH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/peer.h"
#include "raftd/noise.h"
#include "raftd/peers.h"
#include "rt/config.h"
#include "rt/loop.h"
#include "tests/lib/tap.h"

enum { MESH_NODES = 3, MESH_CLUSTER = 7777 };

/* A node's owner: counts, and checks that the numbers of what comes from one peer go up. */
struct mesh_node {
	struct mesh *net;
	struct config config;
	char addr[MESH_NODES + 1][32];         /* of each member, as this node dials it */
	struct peer_keys keys;
	struct peers *ps;                     /* NULL: stopped */
	int port, held_fd;                    /* bound, not listening: nobody else gets the port */
	uint64_t incarnation;
	bool full;                            /* cannot take messages of more than one byte */
	int answer;                           /* what `message` says */
	struct {
		unsigned ups, downs, got, pings, waits;
		uint64_t last;                /* number of the newest */
		bool up, disorder;
		uint64_t bytes;
	} of[MESH_NODES + 1];
};

struct mesh {
	struct loop *loop;
	struct loop_hook hook;
	struct peer_times times;
	uint64_t turns;
	struct mesh_node node[MESH_NODES + 1];  /* by id, from 1 */
};

void mesh_open(struct mesh *t, const struct peer_times *times);   /* keys, ports; nothing runs */
void mesh_start(struct mesh *t, uint64_t id);
void mesh_stop(struct mesh *t, uint64_t id);
void mesh_start_all(struct mesh *t);       /* and waits until all are connected */
void mesh_close(struct mesh *t);
bool mesh_all_up(const struct mesh *t);
/* A forwarded proposal with that number and so many bytes; what peers_send says. */
int mesh_send(struct mesh *t, uint64_t from, uint64_t to, uint64_t number, size_t bytes);
/* Messages `first` to `last` from a to b arrive, in order and whole. */
void mesh_exchange(struct mesh *t, uint64_t a, uint64_t b, uint64_t first, uint64_t last);
void mesh_turns(struct mesh *t, int ms);   /* for so long */
uint64_t mesh_refused(const struct mesh *t, uint64_t id);
uint64_t mesh_bad_frames(const struct mesh *t, uint64_t id);

#define MESH_UNTIL(t, cond) do { \
		mono_t until_ = mono_add_ms(mono_now(), TAP_PATIENCE_MS); \
		while (!(cond)) { \
			tap_ok(mono_before(mono_now(), until_), "in time: " #cond, __FILE__, __LINE__); \
			loop_turn((t)->loop, 5); \
		} \
	} while (0)

/*
 * Somebody between two nodes: `from` dials it instead of `to`. Whole frames pass by `meddle`,
 * which adds to `out` what shall go on (frame with its head; number 0 is the preamble or first
 * frame of its direction).
 */
struct meddler {
	struct mesh *net;
	struct loop_io listener, side[2];     /* 0: the initiator's */
	uint64_t from, to;
	char told[32];
	struct buf in[2], out[2];
	uint64_t frames[2];
	bool preamble_seen, open, stuck[2];   /* stuck: nothing is read from there */
	void (*meddle)(struct meddler *m, int side, uint64_t frame, struct bytes data,
		       struct buf *out);
	uint64_t a, b;                        /* meddle's own */
	struct buf kept;
	unsigned connections;
};
void meddler_open(struct meddler *m, struct mesh *t, uint64_t from, uint64_t to);
void meddler_cut(struct meddler *m);
void meddler_close(struct meddler *m);

/* A caller by hand. The socket is non-blocking; everything it waits for turns the loop. */
struct caller {
	struct mesh *net;
	int fd;
	struct noise_hs hs;
	struct noise_session session;
	uint8_t preamble[36];
	uint64_t seq;
	struct buf in;
};
struct caller_face {                          /* zeros: the truth about `from` */
	uint64_t cluster, claim, to;
	const uint8_t *key, *cluster_secret;
	uint64_t version, version_min;
};
void caller_connect(struct caller *c, struct mesh *t, uint64_t to);
void caller_preamble(struct caller *c, uint64_t from, uint64_t to, const struct caller_face *face);
void caller_put(struct caller *c, const void *data, size_t len);
/* One handshake message of ours as a frame; `hello` for the third. */
void caller_write(struct caller *c, bool hello, const struct caller_face *face);
bool caller_read(struct caller *c);           /* their handshake message; false: closed instead */
bool caller_shake(struct caller *c, struct mesh *t, uint64_t from, uint64_t to,
		  const struct caller_face *face);
void caller_seal(struct caller *c, struct bytes plain, struct buf *frame);
void caller_message(struct caller *c, uint64_t seq, uint32_t number, const struct msg_desc *d,
		    const void *msg,
		    struct buf *frame);
bool caller_closed(struct caller *c);         /* reads and forgets what is there */
void caller_expect_out(struct caller *c);     /* waits until it is closed */
void caller_hang_up(struct caller *c);

#endif
