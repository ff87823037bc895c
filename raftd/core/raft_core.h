/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the Raft core: the state of one node and what its files offer each other.
 *
 *   raft.c          creation, the step, deadlines, what holds after every step
 *   raft_terms.c    the term of every index
 *   raft_role.c     the four roles and the allowed moves between them
 *   raft_emit.c     the list of effects
 *   raft_recv.c     the gate every message passes: shape, sender, term
 *   raft_election.c pre-vote, vote, stickiness
 *   raft_follow.c   a follower's answer to APPEND
 *   raft_lead.c     the leader: proposals, heartbeats, what each peer may be sent, commit
 *   raft_progress.c how far each peer is, learnt from its answers
 *   raft_read.c     linearizable reads
 *   raft_transfer.c handing the leadership over
 *   raft_snapshot.c cutting the log, and a follower whose log is gone
 *   raft_status.c   status and names
 */
#ifndef QUORATE_RAFT_CORE_H
#define QUORATE_RAFT_CORE_H

#include "raftd/core/raft.h"
#include "raftd/core/raft_terms.h"

/* A disk that owes and does not get on for so many of the longest election timeouts is stalled. */
enum { RAFT_DISK_PATIENCE = 4 };

enum raft_vote { RAFT_VOTE_OPEN, RAFT_VOTE_YES, RAFT_VOTE_NO };
enum raft_read_slot { RAFT_READ_NONE, RAFT_READ_WAITING, RAFT_READ_IN_ROUND };

struct raft_inflight {
	uint64_t last, bytes;
};

struct raft_peer {
	uint64_t id;
	bool up;
	bool heard_ever;
	mono_t heard;                    /* the last message of our term */
	enum raft_vote vote;             /* (pre-)candidate: its answer */

	/* The rest only means something while we lead. */
	enum raft_peer_state state;
	uint64_t match, next;            /* match < next <= last + 1 */
	uint64_t round_acked;
	uint64_t commit_sent;
	uint64_t grant, grant_first, grant_last;   /* REPLICATE without its SENT; 0: none */
	bool probe_out;                  /* PROBE: a probe is under way */
	bool stalled;                    /* the driver could send nothing: until a heartbeat */
	bool beat_due;                   /* an empty append is owed: heartbeat or read round */
	struct raft_inflight inflight[LIMIT_PEER_INFLIGHT_MSGS];   /* a ring */
	uint32_t inflight_head, inflight_count;
	uint64_t inflight_bytes;
	enum raft_read_slot read_slot;   /* its one READ_REQ: it asks one at a time */
	uint64_t read_id;
};

/* Reads asked for at this node, oldest first. The first `asked` belong to the round (leader) or
 * request (follower) that is under way, the rest wait for the next. */
struct raft_reads {
	uint64_t *ctx;                   /* a ring of `cap` */
	uint32_t cap, head, count, asked;
	bool open;                       /* a round or request is under way */
	uint64_t index;                  /* leader: the commit index when the round began */
	uint64_t id;                     /* follower: number of the request */
	mono_t give_up_at;               /* follower */
};

struct raft {
	uint64_t id;
	struct raft_config cfg;          /* defaults filled in */
	uint64_t rng;
	uint32_t quorum;
	uint32_t peer_count;             /* all voters but this one */
	struct raft_peer peers[LIMIT_NODES];

	enum raft_role role;
	uint64_t term, vote, leader;
	bool hard_dirty;                 /* term or vote changed, HARD_STATE not emitted yet */
	struct raft_terms log;
	uint64_t durable;                /* the log up to here survives a crash */
	uint64_t commit, told_commit;    /* told: COMMIT was emitted, <= durable */

	uint64_t seq, durable_seq;
	uint64_t hard_seq;               /* the last HARD_STATE */
	uint64_t cut_seq;                /* the last TRUNCATE or RESET: DURABLE before it is old */
	mono_t disk_moved;               /* the disk got on, or its first debt was made */

	mono_t now;
	mono_t election_at;              /* not leader */
	mono_t leader_heard;             /* follower with a leader */
	mono_t heartbeat_at, leader_since;   /* leader */
	uint64_t term_first;             /* leader: the entry that opened its term */
	uint64_t round;                  /* leader: the last read round begun in this term */
	uint64_t grants;                 /* numbers REPLICATE permissions, never reused */
	struct raft_reads reads;
	uint64_t transfer_to;
	bool transfer_told;              /* TIMEOUT_NOW is out */
	mono_t transfer_end;

	uint64_t elections, leaderships;
	uint64_t refused[RAFT_REFUSAL_COUNT];
	struct raft_effects *fx;         /* of the step under way */
};

/* raft.c */
struct raft_peer *raft_peer_find(struct raft *r, uint64_t id);   /* NULL: no other voter */
uint64_t raft_rand(struct raft *r);
int raft_refuse(struct raft *r, enum raft_refusal why);   /* counts; ERR_OK or ERR_MALFORMED */

/* raft_role.c */
void raft_become(struct raft *r, enum raft_role role, uint64_t term, uint64_t leader,
		 const char *reason);

/* raft_emit.c */
struct raft_effect *raft_emit(struct raft *r, enum raft_effect_type type);
uint64_t raft_emit_log(struct raft *r, enum raft_effect_type type, struct raft_effect **out);
void raft_emit_hard_state(struct raft *r);                       /* if it changed */
/* From this node, in its term unless msg.term is set. need_seq 0: only what guards the term. */
void raft_emit_send(struct raft *r, struct raft_msg msg, uint64_t need_seq);
void raft_emit_commit(struct raft *r);                           /* if there is more to tell */

/* raft_recv.c */
int raft_recv(struct raft *r, const struct raft_msg *m);

/* raft_election.c */
void raft_election_reset_timer(struct raft *r);
void raft_election_timeout(struct raft *r);
void raft_election_campaign(struct raft *r, bool transfer);
void raft_election_tally(struct raft *r);
void raft_election_ask(struct raft *r, const struct raft_peer *p);
bool raft_election_sticky(const struct raft *r);
int raft_recv_prevote(struct raft *r, const struct raft_msg *m);
int raft_recv_vote(struct raft *r, const struct raft_msg *m);
int raft_recv_vote_resp(struct raft *r, struct raft_peer *p, const struct raft_msg *m);

/* raft_follow.c */
int raft_recv_append(struct raft *r, const struct raft_msg *m);

/* raft_lead.c */
void raft_lead_begin(struct raft *r);
int raft_lead_propose(struct raft *r, uint32_t n);
void raft_lead_tick(struct raft *r);
void raft_lead_commit(struct raft *r);
void raft_lead_flush(struct raft *r);                            /* the end of a leader's step */
bool raft_lead_hears(const struct raft *r, const struct raft_peer *p);

/* raft_progress.c */
void raft_progress_probe(struct raft_peer *p, uint64_t next);
void raft_progress_sent(struct raft *r, struct raft_peer *p, uint64_t last, uint64_t bytes);
bool raft_progress_window_full(const struct raft *r, const struct raft_peer *p);
int raft_recv_append_resp(struct raft *r, struct raft_peer *p, const struct raft_msg *m);

/* raft_read.c */
void raft_read_init(struct raft *r);
void raft_read_free(struct raft *r);
void raft_read_add(struct raft *r, uint64_t ctx);
void raft_read_fail_all(struct raft *r);
void raft_read_tick(struct raft *r);
void raft_read_advance(struct raft *r);                          /* the end of every step */
int raft_recv_read_req(struct raft *r, struct raft_peer *p, const struct raft_msg *m);
int raft_recv_read_resp(struct raft *r, const struct raft_msg *m);

/* raft_transfer.c */
int raft_transfer_start(struct raft *r, uint64_t target);
void raft_transfer_advance(struct raft *r);
void raft_transfer_abort(struct raft *r);
bool raft_transfer_stalled(struct raft *r);   /* own disk stalled: handed over, no leader any more */
int raft_recv_timeout_now(struct raft *r, const struct raft_msg *m);

/* raft_snapshot.c */
void raft_snapshot_compacted(struct raft *r, uint64_t index);
void raft_snapshot_done(struct raft *r, struct raft_peer *p);
int raft_snapshot_installed(struct raft *r, uint64_t index, uint64_t term);

#endif
