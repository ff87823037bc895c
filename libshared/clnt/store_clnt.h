/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd's half of the link to stored: how far the store has come, who waits for that, and
 * questions about it. A state machine; see clnt.h. The results of commands (store_results) are for
 * raft_clnt and go past this one.
 */
#ifndef QUORATE_STORE_CLNT_H
#define QUORATE_STORE_CLNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/mono.h"
#include "clnt/clnt.h"
#include "proto/link_store.h"

/* Waits until the store has applied `index`. */
struct store_wait {
	struct list node;
	uint64_t index;
};

/* Waits until the space behind `revision` has been given back. */
struct store_compact_wait {
	struct list node;
	int64_t revision;
};

enum store_ask_kind { STORE_ASK_STATUS, STORE_ASK_HASH };

/* Embedded in the owner's request. Asked again after a new connection: both only read. */
struct store_ask {
	struct list node;
	enum store_ask_kind kind;
	uint64_t ctx;
	int64_t revision;
	bool sent;
	union {
		struct store_status_result status;
		struct store_hash_result hash;
	} u;
	uint8_t digest[16];             /* what apply_hash or hash pointed at, if it was 16 bytes */
};

struct store_clnt {
	struct clnt_io io;
	bool up;
	bool known;                     /* a progress has come, on this connection or before */
	bool fresh;                     /* none has come on this connection */
	struct store_progress progress;
	uint64_t furthest;              /* the most that was ever known to be applied: a rebuilt store begins behind it... */
	int64_t furthest_revision;      /* ...and behind this */
	uint64_t epoch;                 /* grows when the store has to be mapped anew; 0: never known */
	struct list waits;              /* by index, lowest first */
	struct list applied;            /* waited for, and here */
	struct list compact_waits, compacted;
	struct list asks, asks_done;
	uint64_t ask_ctx;
	size_t n_waits;
};

void store_clnt_init(struct store_clnt *c, const struct clnt_io *io);
void store_clnt_free(struct store_clnt *c);

void store_clnt_up(struct store_clnt *c);
void store_clnt_down(struct store_clnt *c);
int store_clnt_msg(struct store_clnt *c, const struct msg_in *in);
void store_clnt_flush(struct store_clnt *c);

/*
 * The owner looked into the store as it was mapped in this epoch and saw this much applied, and
 * this revision there: right too while stored is down.
 */
void store_clnt_saw(struct store_clnt *c, uint64_t epoch, uint64_t applied, int64_t revision);

void store_clnt_wait(struct store_clnt *c, struct store_wait *w, uint64_t index);
struct store_wait *store_clnt_pop_applied(struct store_clnt *c);
/* Takes it out; the error to answer: ERR_STORE_DOWN or ERR_TIMEOUT. */
int store_clnt_give_up(struct store_clnt *c, struct store_wait *w);

void store_clnt_wait_compacted(struct store_clnt *c, struct store_compact_wait *w, int64_t revision);
struct store_compact_wait *store_clnt_pop_compacted(struct store_clnt *c);
void store_clnt_compact_give_up(struct store_clnt *c, struct store_compact_wait *w);

void store_clnt_status(struct store_clnt *c, struct store_ask *a);
void store_clnt_hash(struct store_clnt *c, struct store_ask *a, int64_t revision);
struct store_ask *store_clnt_pop_ask(struct store_clnt *c);
int store_clnt_ask_give_up(struct store_clnt *c, struct store_ask *a);   /* as store_clnt_give_up */

#endif
