/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link server and a dialer in one process, for tests: both on one loop, or (open_two) the server
 * on a loop of its own that turns only inside UNTIL. Messages are notes with a number that must
 * count up from 0, and a body.
 */
#ifndef QUORATE_LINK_PAIR_H
#define QUORATE_LINK_PAIR_H

#include <stdbool.h>

#include "proto/msg.h"
#include "rt/link.h"
#include "rt/loop.h"
#include "tests/lib/tap.h"

#define PAIR_NOTE_FIELDS(F, L, O) \
	F(U64, number, "") \
	F(BYTES, body, "")
MSG_DECLARE(pair_note, PAIR_NOTE_FIELDS)
#define PAIR_LINK(M) M(16, pair_note, "both")
enum { PAIR_LINK(MSG_LINK_ENUM) };
extern const struct msg_link pair_link;

struct link_pair_end {
	struct link_hello hello, peer;
	struct link *link;
	unsigned ups, downs, drains;
	uint64_t got;               /* notes, since it came up last */
	bool disorder;
	uint64_t drop_at, fail_at;  /* link_drop, or an error, at so many notes; 0 never */
	unsigned refuse;            /* so many peers in up */
	int sent_when_down;         /* what link_send said inside down */
	char reason[160];
};

struct link_pair {
	struct loop *loop, *server_loop;
	char path[108];
	struct link_setup server_setup, client_setup;
	struct link_server *s;
	struct link_dialer *d;
	struct link_pair_end server, client;
	struct loop_hook hook;
	bool hooked;
	unsigned to_send;
};

void link_pair_init(struct link_pair *p, const struct link_times *times);   /* NULL: defaults */
void link_pair_serve(struct link_pair *p);
void link_pair_dial(struct link_pair *p);
void link_pair_open(struct link_pair *p, const struct link_times *times);
void link_pair_open_two(struct link_pair *p, const struct link_times *times);
void link_pair_up(struct link_pair *p);
void link_pair_close(struct link_pair *p);
int link_pair_send(struct link_pair_end *e, uint64_t number, size_t size);
/* The client sends n notes, each in a turn-end hook behind the link's. */
void link_pair_send_in_hook(struct link_pair *p, unsigned n);

/* Turns the loops until the condition holds; a test that waits longer has failed. */
#define UNTIL_(cond, turn) do { \
		mono_t until_ = mono_add_ms(mono_now(), TAP_PATIENCE_MS); \
		while (!(cond)) { \
			tap_ok(mono_before(mono_now(), until_), "in time: " #cond, __FILE__, __LINE__); \
			turn; \
		} \
	} while (0)
#define UNTIL_ONE(loop, cond) UNTIL_(cond, loop_turn((loop), 5))
#define UNTIL(p, cond) UNTIL_(cond, link_pair_turn(p))
void link_pair_turn(struct link_pair *p);

#endif
