/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the lessor, for the files of this folder. */
#ifndef QUORATE_LESSOR_OWN_H
#define QUORATE_LESSOR_OWN_H

#include "base/list.h"
#include "leased/core/lessor.h"

/* Where a lease is while LEADING: in the heap, or in one list. */
enum lease_place {
	LEASE_RESTS,                     /* nobody's clock: not LEADING */
	LEASE_TIMED,
	LEASE_OVER,                      /* run out, its turn has not come */
	LEASE_ENDING,                    /* its end is proposed; in the order of `sent` */
	LEASE_MARKING,                   /* to be checkpointed */
	LEASE_WAKE,                      /* to be woken */
	LEASE_WAKING                     /* that is proposed; in the order of mark_seq */
};

enum { LESSOR_ASK_BUCKETS = 4096 };

/* A question that waits for something. */
struct lessor_wait {
	struct lessor_wait *next, *hash_next;
	struct lessor_ask ask;
	uint64_t index;                  /* of the round that confirmed it */
	uint64_t granted;                /* while held: of the lease that does not end by it; 0: none */
	mono_t until;                    /* it is held */
};

struct wait_queue {
	struct lessor_wait *first, *last;
	size_t n;
};

struct lease {
	int64_t id, ttl_s, remaining_ms;
	uint64_t granted;
	struct lease *hash_next;
	struct list node;                /* of its place, unless that is the heap */
	mono_t deadline, next_mark;
	mono_t sent;                     /* ENDING, WAKING */
	uint64_t mark_seq;               /* of the last checkpoint it was in */
	uint32_t slot;                   /* in the heap, from 1 */
	uint32_t listed;                 /* the last list it was in */
	enum lease_place place;
	uint32_t held;                   /* keepalives of it that are held */
	struct wait_queue waits;
};

struct lease_heap_item {
	mono_t due;
	struct lease *lease;
};

struct lessor {
	uint64_t number, seed;
	enum lessor_state state;
	bool leads;                      /* as raftd says */
	uint64_t term, leader;
	bool linked, synced;             /* stored is there; its list is complete */
	bool trusted;                    /* our rows are of one state of the store, behind our claim */
	uint32_t list_no;
	struct lessor_progress view;

	struct lease **buckets;
	size_t n_buckets, n;
	struct lease_heap_item *heap;
	size_t n_heap, cap_heap;
	struct list over, ending, marking, wake, waking;
	size_t n_over, n_ending, n_marking, n_waking;

	struct wait_queue fresh;         /* not in a round */
	struct wait_queue asked;         /* in the round under way */
	struct wait_queue held;          /* confirmed; the store has not come so far */
	struct lessor_wait *asks[LESSOR_ASK_BUCKETS];    /* all of them, by their ctx; those at a lease too */
	size_t n_asks;
	uint64_t ctx;                    /* of the last round */
	mono_t again_at;                 /* when the round under way is asked again */
	uint64_t waited_index;           /* told by the last WAIT */

	uint64_t seq;                    /* of the last checkpoint */
	mono_t seq_at, claim_at, quiet_until, tick_at;
	struct lessor_effects fx;
	struct lessor_stats stats;
};

/* lease_table.c */
struct lease *lease_find(const struct lessor *l, int64_t id);
struct lease *lease_insert(struct lessor *l, int64_t id);
void lease_unlink(struct lessor *l, struct lease *e);     /* out of the table and its place; not freed */
/* Calls fn for each; fn may remove the one it was given. */
void lease_each(struct lessor *l, void (*fn)(struct lessor *l, struct lease *e, void *arg), void *arg);

/* Moves it to another place. TIMED puts it into the heap by its deadline and next_mark. */
void lease_move(struct lessor *l, struct lease *e, enum lease_place place);
/* The first of the heap if it is due, still in it: move it, or its times. Or NULL. */
struct lease *lease_pop_due(struct lessor *l, mono_t now);
/* Nobody's clock any more, for all of them at once. */
void lease_rest_all(struct lessor *l);
mono_t lease_due(const struct lease *e);

/* lessor_clock.c */
void lessor_start_clock(struct lessor *l, struct lease *e, bool whole, mono_t now);
/* Its TTL from now on, as far as our clock goes: nothing is said to anybody. */
void lessor_touch(struct lessor *l, struct lease *e, mono_t now);
void lessor_renew(struct lessor *l, struct lease *e, mono_t now);
bool lessor_awake(const struct lessor *l, const struct lease *e);
void lessor_woken(struct lessor *l, mono_t now);      /* the store has seen more checkpoints */
void lessor_clock_tick(struct lessor *l, mono_t now);
mono_t lessor_clock_due(const struct lessor *l);

/* lessor_ask.c */
struct lessor_fx *lessor_emit(struct lessor *l, enum lessor_fx_type type);
void wait_push(struct wait_queue *q, struct lessor_wait *w);
struct lessor_wait *wait_pop(struct wait_queue *q);
void lessor_answer_all(struct lessor *l, struct wait_queue *q, int error);
void lessor_answer_lease(struct lessor *l, struct lease *e, mono_t now);   /* renewed, or there */
void lessor_held(struct lessor *l, mono_t now);       /* the store has come further */
void lessor_wait_over(struct lessor *l, struct lessor_wait *w, mono_t now);    /* the one at its lease */
struct lessor_fx *lessor_propose(struct lessor *l, enum lessor_fx_type type);
void lessor_ask_tick(struct lessor *l, mono_t now);
mono_t lessor_ask_due(const struct lessor *l);

#endif
