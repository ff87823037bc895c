/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Raft core: what one node decides, as in Ongaro's thesis ("Consensus: Bridging Theory and
 * Practice", 2014). Values in, values out: no I/O, no clock, no thread, no global, and no
 * allocation after raft_create() but for the list of term runs and the list of effects.
 *
 *     event + now  ->  raft_step()  ->  ordered list of effects
 *
 * The core does not hold payloads. It knows the term of every index (as runs), the last index, the
 * commit index. The driver owns the payloads, the disk, the links and the time.
 *
 * What the driver must do
 *  1. Carry out effects in the order of the list, all of them, before the next raft_step().
 *  2. Hand HARD_STATE, TRUNCATE, APPEND and RESET to the log writer in the order of their `seq`
 *     (1, 2, 3, ... since raft_create) and report DURABLE once all up to some seq are synced.
 *     A sync that fails is fatal: there is no event for it.
 *  3. Hold a SEND until everything up to its `need_seq` is durable (0: send at once). Held messages
 *     may be overtaken by others; messages may be lost, repeated, reordered, but not altered.
 *  4. Answer each REPLICATE that has entries with one SENT carrying its `grant`. Take entries
 *     [first..k], k <= last, as many as fit, at least one if possible; send one APPEND with prev,
 *     commit, term, round as given. A permission dies with the next ROLE effect and with PEER_DOWN
 *     of that peer: then send nothing. A REPLICATE without entries (last == first - 1) is a
 *     heartbeat or a probe: send the empty APPEND at once, report nothing.
 *  5. After COMMIT{index}, everything up to index may be applied. It is also durable here: a store
 *     is never ahead of its own node's log, so `commit` at the next start is never above `last`.
 *  6. Before TICK, feed what has already arrived: silence is judged by what was fed.
 *  7. raft_step() again (TICK) when raft_deadline() has come. An earlier or extra TICK is harmless.
 *
 * Reads: READ{ctx} is answered by exactly one READ_OK or READ_FAIL of the same ctx, sooner or
 * later. READ_OK{index}: serve once `index` is applied here. READ_FAIL: ask again.
 *
 * Trust: messages come from authenticated members, but their content is not believed: a lying one
 * changes nothing, gives ERR_MALFORMED and is counted by reason. A CHECK that fires is our bug or
 * the driver's. Two things cannot be seen from here: a member that comes back with an emptied disk
 * under its old id (it may vote twice in a term, or lose entries it acknowledged: such a node must
 * get a new id), and a member that lies consistently (Raft is not Byzantine).
 *
 * A leader whose disk stalls (APPEND without DURABLE) while a quorum of others syncs hands over by
 * itself. The set of voters is fixed at creation.
 */
#ifndef QUORATE_RAFT_H
#define QUORATE_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/mono.h"
#include "raftd/core/raft_msg.h"

#define RAFT_ROLES(R) R(FOLLOWER) R(PRECANDIDATE) R(CANDIDATE) R(LEADER)
enum raft_role {
#define R(name) RAFT_##name,
	RAFT_ROLES(R)
#undef R
	RAFT_ROLE_COUNT
};

struct raft_config {
	uint64_t id;                     /* not 0, one of the voters */
	uint64_t voters[LIMIT_NODES];
	uint32_t voter_count;
	uint32_t election_min_ms, election_max_ms;   /* 0: 150, 300 */
	uint32_t heartbeat_ms;           /* 0: 50; at most a third of election_min_ms */
	uint64_t seed;                   /* fresh at every start: numbers are drawn from it */
	uint32_t reads_max;              /* 0: LIMIT_READS_WAITING */
	uint32_t inflight_msgs;          /* 0: LIMIT_PEER_INFLIGHT_MSGS (also the most) */
	uint64_t inflight_bytes;         /* 0: LIMIT_PEER_INFLIGHT_BYTES */
};

struct raft_run {                  /* entries from `first` to the next run have `term` */
	uint64_t first, term;
};

/*
 * What the disk holds at start. The log is (base_index, last_index]; base is 0/0, or where the log
 * was cut. If the store is ahead of `last_index` (a snapshot was installed, its RESET got lost):
 * base and last are the snapshot's index, there are no runs, and if its term is above `term`, that
 * one with vote 0.
 */
struct raft_state {
	uint64_t term, vote;             /* vote 0: none */
	uint64_t base_index, base_term;
	uint64_t last_index;
	const struct raft_run *runs;     /* ascending; runs[0].first == base_index + 1; copied */
	size_t run_count;                /* 0 if the log is empty */
	uint64_t commit;                 /* a floor: what the store has applied, or 0 */
};

/* What each needs of struct raft_event, and what raft_step() may answer to it. */
#define RAFT_EVENTS(E) \
	E(TICK) \
	E(RECV)           /* msg; ERR_MALFORMED: it lies */ \
	E(PROPOSE)        /* n; ERR_NOT_LEADER, ERR_NO_LEADER, ERR_LEADER_CHANGED (transfer) */ \
	E(SENT)           /* answers REPLICATE: peer, grant, last (first - 1: nothing), bytes */ \
	E(DURABLE)        /* seq, and the last index and term of the log as of that seq */ \
	E(READ)           /* ctx */ \
	E(TRANSFER)       /* peer (0: the best); ERR_NOT_LEADER, ERR_NO_LEADER, ERR_BAD_TARGET */ \
	E(PEER_UP)        /* peer: the link is there. All peers start down. */ \
	E(PEER_DOWN)      /* peer */ \
	E(COMPACTED)      /* index, told or installed: cut so far, a durable snapshot has it */ \
	E(SNAPSHOT_DONE)  /* peer: the SNAPSHOT effect was carried out, or given up */ \
	E(INSTALLED)      /* index, index_term: our store is now that snapshot, durably; */ \
			  /* ERR_CORRUPT: that cannot be, stop */
enum raft_event_type {
#define E(name) RAFT_EV_##name,
	RAFT_EVENTS(E)
#undef E
	RAFT_EV_COUNT
};

struct raft_event {
	enum raft_event_type type;
	mono_t now;                      /* never before the last event's */
	const struct raft_msg *msg;
	uint64_t peer;
	uint32_t n;                      /* PROPOSE: 1..LIMIT_APPEND_ENTRIES */
	uint64_t grant, last, bytes;     /* SENT */
	uint64_t seq, last_index, last_term;   /* DURABLE */
	uint64_t ctx;                    /* READ: any number, also repeated */
	uint64_t index, index_term;      /* COMPACTED, INSTALLED */
};

#define RAFT_FX_TYPES(F) \
	F(HARD_STATE) F(TRUNCATE) F(APPEND) F(RESET) F(SEND) F(REPLICATE) F(COMMIT) F(ROLE) \
	F(READ_OK) F(READ_FAIL) F(SNAPSHOT) F(TRANSFER_ABORTED)
enum raft_effect_type {
#define F(name) RAFT_FX_##name,
	RAFT_FX_TYPES(F)
#undef F
	RAFT_FX_COUNT
};

struct raft_effect {
	enum raft_effect_type type;
	uint64_t seq;                    /* of HARD_STATE, TRUNCATE, APPEND, RESET */
	union {
		struct { uint64_t term, vote; } hard_state;
		struct { uint64_t from; } truncate;        /* drop all entries >= from */
		struct {
			uint64_t first, term;   /* term: of the proposals or the no-op */
			uint32_t n, skip;       /* follower: entries [skip, skip+n) of the APPEND */
			                        /* that was just received */
			bool own;               /* leader: the n entries just proposed... */
			bool noop;              /* ...or one empty entry that opens the term */
		} append;
		struct { uint64_t index, term; } reset;    /* the log is empty, after index */
		struct {
			struct raft_msg msg;    /* any type but APPEND */
			uint64_t need_seq;
		} send;
		struct {
			uint64_t peer, grant;
			uint64_t prev_index, prev_term, first, last, commit, term, round;
		} replicate;
		struct { uint64_t index; } commit;
		struct {
			enum raft_role role;
			uint64_t term, leader;  /* leader 0: none known */
			const char *reason;     /* static text */
		} role;
		struct { uint64_t ctx, index; } read;      /* READ_OK, READ_FAIL */
		struct { uint64_t peer; } peer;   /* SNAPSHOT: bring it one, its log ends before */
		                                  /* ours begins; TRANSFER_ABORTED: we lead on */
	};
};

struct raft_effects {              /* zero-initialised by the owner; reused from step to step */
	struct raft_effect *v;
	uint32_t n, cap;
};
void raft_effects_free(struct raft_effects *fx);

struct raft;

/* ERR_OK, or ERR_CORRUPT if no Raft log can look like that: say so and stop. */
int raft_state_check(const struct raft_config *cfg, const struct raft_state *st);
struct raft *raft_create(const struct raft_config *cfg, const struct raft_state *st, mono_t now);
void raft_destroy(struct raft *r);

/* Sets fx->n to 0, then fills it. ERR_OK, or what the event's comment says; RECV: ERR_MALFORMED. */
int raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *fx);
mono_t raft_deadline(const struct raft *r);
uint64_t raft_leader(const struct raft *r);                   /* 0: none known */
uint64_t raft_term_at(const struct raft *r, uint64_t index);  /* base <= index <= last, else 0 */

#define RAFT_PEER_STATES(S) S(PROBE) S(REPLICATE) S(SNAPSHOT)
enum raft_peer_state {
#define S(name) RAFT_PEER_##name,
	RAFT_PEER_STATES(S)
#undef S
	RAFT_PEER_STATE_COUNT
};

/* Why a message was refused. The first three are a network's normal life, the rest are lies. */
#define RAFT_REFUSALS(X) \
	X(OLD_TERM, "from an older term") \
	X(NOT_FOR_ME_NOW, "answers a question no longer asked") \
	X(STICKY, "a vote was asked for while a leader is alive") \
	X(UNKNOWN_SENDER, "sender is no voter") \
	X(WRONG_ADDRESSEE, "meant for another node") \
	X(UNKNOWN_TYPE, "unknown type") \
	X(OUT_OF_RANGE, "a term, index or count that cannot be") \
	X(TERMS_UNORDERED, "entry terms go backwards or beyond the leader's") \
	X(TWO_LEADERS, "a second leader in one term") \
	X(CONTRADICTS_COMMIT, "contradicts a committed entry") \
	X(UNSENT, "acknowledges what was never sent")
enum raft_refusal {
#define X(name, text) RAFT_REFUSED_##name,
	RAFT_REFUSALS(X)
#undef X
	RAFT_REFUSAL_COUNT
};

struct raft_peer_status {
	uint64_t id, match, next;
	enum raft_peer_state state;
	bool up;
	int64_t silent_ms;               /* since it was last heard in our term; -1: never */
	uint32_t inflight_msgs;
	uint64_t inflight_bytes;
};

struct raft_status {
	enum raft_role role;
	uint64_t id, term, vote, leader;
	uint64_t base_index, last_index, last_term, durable_index, commit, told_commit;
	uint64_t seq, durable_seq;       /* the disk is behind if they differ */
	uint64_t transfer_to;            /* 0: no transfer */
	uint32_t reads_waiting;
	size_t term_runs;
	uint64_t elections, leaderships; /* since creation */
	uint64_t refused[RAFT_REFUSAL_COUNT];
	uint32_t peer_count;
	struct raft_peer_status peers[LIMIT_NODES];
};
void raft_status(const struct raft *r, mono_t now, struct raft_status *out);

/* Names for logs, traces and transcripts. Never NULL. */
const char *raft_role_name(enum raft_role role);
const char *raft_peer_state_name(enum raft_peer_state state);
const char *raft_msg_name(enum raft_msg_type type);
const char *raft_event_name(enum raft_event_type type);
const char *raft_effect_name(enum raft_effect_type type);
const char *raft_refusal_name(enum raft_refusal why);
const char *raft_refusal_text(enum raft_refusal why);

#endif
