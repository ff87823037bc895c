/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of a link, private to link.c and link_conn.c. States:
 *
 *   GREETING --good hello, up() agrees--> UP --\
 *       \------- anything wrong, link_drop -----+--> DEAD --end of the turn--> freed
 *
 * Nothing is freed and `down` is not called within callbacks: a connection is marked dead, and its
 * end's turn-end hook buries it.
 */
#ifndef QUORATE_LINK_CONN_H
#define QUORATE_LINK_CONN_H

#include "base/arena.h"
#include "rt/link.h"
#include "rt/stream.h"

enum link_state { LINK_GREETING, LINK_UP, LINK_DEAD };

/* What a server and a dialer have in common. */
struct link_end {
	struct link_setup s;
	char *path;                  /* what s.path points to */
	struct arena arena;          /* one message at a time */
	struct loop_hook hook;
	struct link *links;          /* newest first */
	size_t n_greeting, n_up;
	bool burying, closing;
	mono_t bad_logged;
	void (*buried)(struct link_end *e, bool was_up, int64_t age_ms, const char *reason);
};

struct link {
	struct link_end *end;
	struct link *next;
	struct stream *stream;
	enum link_state state;
	bool told_up;                /* the owner knows it as up: it gets a down */
	bool full;                   /* the owner was told ERR_FULL: it gets a drained */
	void *arg;
	struct link_hello self, peer;
	uint64_t seq_in, seq_out;
	mono_t since;
	/*
	 * Silence is counted in ticks, not in time: if we were the ones who slept (a long turn, a
	 * stopped process), that is one late tick and no reason to blame the peer.
	 */
	struct loop_timer tick;
	unsigned ticks_unheard, ticks_unsaid;
	char reason[160];
};

void link_end_init(struct link_end *e, const struct link_setup *s,
		   void (*buried)(struct link_end *e, bool was_up, int64_t age_ms, const char *reason));
void link_end_free(struct link_end *e);   /* tells down for the links that are up */

/* Takes the stream, says hello. */
void link_begin(struct link_end *e, struct stream *stream);
/* UP or GREETING becomes DEAD. `bad` counts a frame that no peer of ours would send. */
void link_fail(struct link *l, bool bad, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct link_stats *link_stats(void);

#endif
