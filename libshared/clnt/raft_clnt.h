/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd's half of the link to raftd: commands on their way into the log, shared rounds of
 * read index, status and leadership transfer. A state machine; see clnt.h.
 *
 * A command has an id (incarnation, seq), is encoded once and kept until its result comes from
 * the store (over the other link: the owner tells raft_clnt_result) or the owner gives it up. As
 * the store applies an id at most once, it is simply proposed again whenever it may have been
 * lost: after a new connection, a new leader or term, a refusal, or RAFT_CLNT_RESEND_MS.
 *
 *            propose            flush                 raft_clnt_result
 *   (none) ----------> QUEUED ----------> SENT ------------------------> (none)
 *                        ^  ^               |  refused
 *                        |  | 50 ms, state  v
 *   link up, new leader, |  +----------- DELAYED
 *   resend time          +-- SENT                     refused for good, session lost: FAILED
 *
 * The first command of an incarnation opens the session that the store needs to remember ids;
 * the others wait for its result.
 */
#ifndef QUORATE_RAFT_CLNT_H
#define QUORATE_RAFT_CLNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mono.h"
#include "clnt/clnt.h"
#include "proto/kv.h"
#include "proto/link_raft.h"

enum {
	RAFT_CLNT_RESEND_MS = 1000,     /* doubled with each attempt, up to 4 times this */
	RAFT_CLNT_REFUSED_MS = 50,      /* before a refused command or read is tried again */
	RAFT_CLNT_READ_MS = 500,        /* before an unanswered read round is asked again */
	RAFT_CLNT_POLL_MS = 1000,       /* before the state is asked for while no leader is known */
	RAFT_CLNT_BACKOFFS = 3,
	RAFT_CLNT_FLUSH_BATCHES = 4,    /* frames of proposals per flush */
};

enum raft_place { RAFT_PLACE_NONE, RAFT_PLACE_QUEUED, RAFT_PLACE_SENT, RAFT_PLACE_DELAYED,
		  RAFT_PLACE_FAILED };

/* Embedded in the owner's request; zeroed before raft_clnt_propose. */
struct raft_proposal {
	struct list node;
	struct raft_proposal *hash_next;
	uint64_t seq;
	uint8_t *command;               /* encoded; the clnt's until it is done with it */
	size_t len;
	mono_t moved;                   /* when it was sent or refused */
	uint32_t attempts;
	bool refused;                   /* the only attempt so far was refused: surely not in the log */
	enum raft_place place;
	int error;                      /* of a failed one */
};

/* A read on its way to an index. */
struct raft_read {
	struct list node;
	uint64_t ctx;                   /* the first round it takes part in; 0: not asked yet */
	uint64_t index;                 /* the answer */
	unsigned kind;                  /* the owner's, to tell its reads apart */
};

enum raft_ask_kind { RAFT_ASK_STATUS, RAFT_ASK_TRANSFER };

struct raft_ask {
	struct list node;
	enum raft_ask_kind kind;
	uint64_t ctx, target;
	bool sent;
	int error;                              /* of a transfer */
	struct raftd_status_result status;      /* without the peers */
};

struct raft_clnt {
	struct clnt_io io;
	uint64_t incarnation;
	bool up;
	bool fresh;                             /* no state has come on this connection */
	struct raftd_state state;               /* leader 0 while unknown or down */
	mono_t poll_at;                         /* when to ask for the state */

	/* Proposals. */
	uint64_t next_seq, best_seq;            /* best: the highest whose outcome is known */
	bool session_open;
	bool session_lost;                      /* call raft_clnt_new_session */
	struct raft_proposal open;              /* the session's own command, seq 0 */
	struct raft_proposal **buckets;
	struct list queued, delayed, failed, sent[RAFT_CLNT_BACKOFFS];
	size_t n_proposals, n_bytes, max_proposals, max_bytes;
	size_t n_queued;

	/* Reads. */
	struct list unasked, asked, ready;
	size_t n_reads;                         /* unasked and asked */
	uint64_t read_ctx;
	bool read_outstanding;
	mono_t read_asked_at, read_retry_at;

	/* Asks. */
	struct list asks, asks_done;
	uint64_t ask_ctx;

	/* For counters. */
	uint64_t n_resent, n_refused, n_rounds, n_batches, n_sessions;
};

/* The incarnation is random and not 0; raft_clnt_free only when no request is left inside. */
void raft_clnt_init(struct raft_clnt *c, const struct clnt_io *io, uint64_t incarnation,
		    size_t max_proposals, size_t max_bytes);
void raft_clnt_free(struct raft_clnt *c);

/* The link's events. An error from msg drops the link. */
void raft_clnt_up(struct raft_clnt *c, mono_t now);
void raft_clnt_down(struct raft_clnt *c);
int raft_clnt_msg(struct raft_clnt *c, const struct msg_in *in, mono_t now);

/* Sends what is due, once a turn. True: more is left that could be sent at once. */
bool raft_clnt_flush(struct raft_clnt *c, mono_t now);
/* When to flush again if nothing happens before; MONO_NEVER. */
mono_t raft_clnt_due(const struct raft_clnt *c);

/*
 * Fills cmd's id and takes it in. ERR_OK; ERR_TOO_MANY_REQUESTS; ERR_REQUEST_TOO_LARGE: the
 * encoded command is above LIMIT_REQUEST_BYTES.
 */
int raft_clnt_propose(struct raft_clnt *c, struct raft_proposal *p, struct command *cmd);
/* All that is unanswered goes out again: results may have been lost with the link to the store. */
void raft_clnt_resend(struct raft_clnt *c);
/*
 * The store's result for `seq`: that proposal, taken out; NULL if nobody waits for it (stale).
 * ERR_OUTCOME_UNKNOWN for a command newer than all whose outcome is known sets session_lost; for
 * an older one it only means that the store has forgotten that far back.
 */
struct raft_proposal *raft_clnt_result(struct raft_clnt *c, uint64_t seq, int error, mono_t now);
/* The next proposal that failed for good, taken out; its error says how. Or NULL. */
struct raft_proposal *raft_clnt_pop_failed(struct raft_clnt *c);
/*
 * Takes it out, whatever it is doing. What to tell who asked: if surely nothing was done, why not
 * (ERR_NO_LEADER, ERR_STORE_DOWN, ERR_TOO_MANY_REQUESTS: all safe to repeat), else ERR_TIMEOUT.
 */
int raft_clnt_give_up(struct raft_clnt *c, struct raft_proposal *p);
/*
 * The store does not know this incarnation's session any more. Commands that may have reached the
 * log fail with ERR_OUTCOME_UNKNOWN, the others go on under the new incarnation.
 */
void raft_clnt_new_session(struct raft_clnt *c, uint64_t incarnation);

/* Joins the next round. Then raft_clnt_pop_read hands it back with its index. */
void raft_clnt_read(struct raft_clnt *c, struct raft_read *r);
struct raft_read *raft_clnt_pop_read(struct raft_clnt *c);
/* Takes it out; the error to answer: ERR_NO_LEADER or ERR_TIMEOUT. */
int raft_clnt_read_give_up(struct raft_clnt *c, struct raft_read *r);

/* Asked again after a new connection; the result comes by raft_clnt_pop_ask. */
void raft_clnt_status(struct raft_clnt *c, struct raft_ask *a);
/* ERR_OK or ERR_NO_LEADER (raftd is down). If the link is lost: ERR_OUTCOME_UNKNOWN. */
int raft_clnt_transfer(struct raft_clnt *c, struct raft_ask *a, uint64_t target);
struct raft_ask *raft_clnt_pop_ask(struct raft_clnt *c);
void raft_clnt_ask_give_up(struct raft_clnt *c, struct raft_ask *a);

#endif
