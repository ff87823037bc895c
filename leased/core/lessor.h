/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lessor: when a lease has run out. Values in, effects out: no I/O, no clock of its own, no
 * thread, no global.
 *
 *     what raftd says (role)          \
 *     what stored says (leases)        >  lessor_...()  ->  ordered list of effects
 *     what gatewayds ask, the time    /
 *
 *              leader of T                  the store says: last claim is (T, ours)
 *   FOLLOWING -------------> CLAIMING ----------------------------------------> LEADING
 *       ^----- another role or term ------'-------------------------------------'
 *
 * Every leased holds all leases, as its stored tells them. Only a LEADING one has clocks.
 *
 * No lease ends before the time that a client could rely on. What a client may rely on is: from
 * the moment it sent a keepalive (or the grant) that was answered, one whole TTL. Why that holds:
 *
 *  1. A keepalive is answered after a round of the quorum, begun after it came in, has confirmed
 *     that our raftd still leads T. So any later leader is elected after it came in, and whatever
 *     such a leader's lessor starts from its own claim starts later too.
 *  2. A lessor's clocks start when it sees its claim applied. A lease that is `awake` in the store
 *     gets its whole TTL then: by 1 that is enough for every keepalive answered before. One that
 *     dozes gets the remaining time it was checkpointed with.
 *  3. Before a dozing lease's keepalive is answered, the lease is woken by way of the log; so what
 *     a later lessor finds dozing has not been kept alive since, and its remaining time was
 *     measured before it was written. A lease that a checkpoint on its way may still send to doze
 *     counts as dozing: checkpoints are numbered, and the store says which number it has seen.
 *     A picture of the store that is being made anew is not trusted before it is whole.
 *  4. Once the end of a lease has been proposed, no keepalive of it is answered until the store
 *     says what has become of it. What an earlier lessor had proposed is void behind our claim,
 *     and done before we see our claim; each taking of the lead has a number of its own. A lease
 *     granted anew under an old id has another `granted`.
 *  5. Nothing is answered before the store has come as far as the round's index: so who asks for a
 *     lease is told of the one that there was when it asked, and of its TTL, not of one that has
 *     been revoked or granted anew since our stored is away or behind.
 *
 * What waits for that is held. A keepalive counts from when its round was confirmed: its lease has
 * its TTL from then on, and its end is not proposed while it is held. So the wait ends nothing
 * early, however long it is. What has waited for LESSOR_HOLD_MS is refused: its gatewayd asks again
 * if it still wants to know, and what is held has a bound in time as it has one in number
 * (LIMIT_LEASE_ASKS). Passed over: to answer from what is known after a while, as etcd 3.7 does at
 * once. It keeps clients content while a store is away, by telling them what may not be so.
 *
 * A lease is sent to doze when nothing was heard of it for half its TTL: whoever keeps a lease
 * alive at a third of it, as clients do, never has it written anywhere. So a change of the leader
 * costs a lease whose client is gone at most what passed since its last checkpoint, or half of its
 * TTL if there was none yet, and the time without a leader.
 */
#ifndef QUORATE_LESSOR_H
#define QUORATE_LESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/mono.h"
#include "proto/lease.h"

enum {
	LESSOR_TICK_MS = 10,             /* expiry goes in steps of this... */
	LESSOR_TICK_ENDS = 200,          /* ...of so many leases at most... */
	LESSOR_ENDS_INFLIGHT = 400,      /* ...of which so many are not yet applied */
	LESSOR_MARKS_INFLIGHT = 4,       /* checkpoints not yet applied */
	LESSOR_RETRY_MS = 1000,          /* what the store has not shown by then is proposed again */
	LESSOR_REFUSED_MS = 50,          /* nothing is proposed for so long after a refusal */
	LESSOR_CONFIRM_MS = 500,         /* before an unanswered round is asked again */
	LESSOR_HOLD_MS = 5000,           /* a question waits so long for the store, and is refused then */
	LESSOR_IDLE_MAX_MS = 300000,     /* nothing heard for half the TTL, or so long: it dozes */
	LESSOR_MARK_MIN_MS = 500,        /* a dozing lease is checkpointed again after a quarter of its */
	LESSOR_MARK_MAX_MS = 60000       /* TTL, within these */
};

#define LESSOR_STATES(S) S(FOLLOWING) S(CLAIMING) S(LEADING)
enum lessor_state {
#define S(name) LESSOR_##name,
	LESSOR_STATES(S)
#undef S
};

enum lessor_ask_kind { LESSOR_KEEPALIVE = 1, LESSOR_TTL = 2 };

/* A question; the first three say whom to answer. */
struct lessor_ask {
	uint64_t node;                   /* 0: a gatewayd of this node */
	uint64_t gateway, ctx;
	enum lessor_ask_kind kind;
	int64_t id;
};

enum lessor_fx_type {
	LESSOR_FX_CLAIM, LESSOR_FX_EXPIRE, LESSOR_FX_CHECKPOINT,     /* to be proposed */
	LESSOR_FX_CONFIRM,               /* ask raftd whether it still leads */
	LESSOR_FX_WAIT,                  /* ask stored to tell when it has come to `index` */
	LESSOR_FX_ANSWER,
	LESSOR_FX_FORWARD                /* to the leader's lessor */
};

struct lessor_fx {
	enum lessor_fx_type type;
	uint64_t term, lessor;                                  /* CLAIM, EXPIRE, CHECKPOINT: whose */
	union {
		struct { int64_t id; uint64_t granted; } expire;
		struct { uint64_t seq; size_t from, n; } checkpoint;   /* of lessor_effects.marks */
		uint64_t ctx;                                   /* CONFIRM */
		uint64_t index;                                 /* WAIT */
		struct lessor_ask ask;                          /* FORWARD */
		struct {
			struct lessor_ask to;
			int error;       /* NO_LEADER, LEADER_CHANGED, TOO_MANY_REQUESTS, STORE_DOWN */
			int64_t ttl_s;   /* as granted; 0: there is no such lease */
			int64_t remaining_ms;
		} answer;
	};
};

/* Gathers until the owner has carried them out and sets n and n_marks to 0. */
struct lessor_effects {
	struct lessor_fx *v;
	size_t n, cap;
	struct lessor_mark *marks;
	size_t n_marks, cap_marks;
};

/* A lease as the store has it. */
struct lessor_row {
	int64_t id, ttl_s, remaining_ms;
	uint64_t granted;
};

/* How far the store has come, and whose claim it has. */
struct lessor_progress {
	uint64_t applied, term, lessor, seq;
};

struct lessor_stats {
	enum lessor_state state;
	uint64_t term, leader;
	bool synced;
	size_t leases, asks, held, over, ending, marking, waking;
	uint64_t expired, checkpoints, marks, wakes, renewed, rounds, resent, takeovers;
};

struct lessor;

/* number: random; each taking of the lead has the next one. seed: of the table of ids. */
struct lessor *lessor_new(uint64_t number, uint64_t seed);
void lessor_free(struct lessor **l);
struct lessor_effects *lessor_effects(struct lessor *l);

/* raftd: it leads `term` or not; leader 0: none is known, or raftd is not there. */
void lessor_role(struct lessor *l, bool leads, uint64_t term, uint64_t leader, mono_t now);
/* The answer to CONFIRM: error, or it led `term` all the while, and had committed `index`. */
void lessor_confirmed(struct lessor *l, uint64_t ctx, int error, uint64_t term, uint64_t index, mono_t now);
/* Something proposed was not taken. */
void lessor_refused(struct lessor *l, mono_t now);

/* stored: a list of all leases begins; rows; it is complete. Then changes, rows before progress. */
void lessor_store_up(struct lessor *l);
void lessor_store_down(struct lessor *l);
void lessor_row(struct lessor *l, const struct lessor_row *row, mono_t now);
void lessor_gone(struct lessor *l, int64_t id, mono_t now);
void lessor_listed(struct lessor *l, mono_t now);
void lessor_progress(struct lessor *l, const struct lessor_progress *p, mono_t now);

void lessor_ask(struct lessor *l, const struct lessor_ask *ask, mono_t now);

/* Once a turn: what is due. Then again at lessor_due. */
void lessor_tick(struct lessor *l, mono_t now);
mono_t lessor_due(const struct lessor *l);

void lessor_stats(const struct lessor *l, struct lessor_stats *out);
const char *lessor_state_name(enum lessor_state s);

#endif
