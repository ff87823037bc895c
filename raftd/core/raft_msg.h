/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one Raft core says to another, as plain values. The driver encodes them for the wire; it
 * also builds every APPEND itself, from a REPLICATE effect and the payloads it owns (raft.h).
 *
 * Every message carries `from`, `to` and the sender's `term`, with one exception: a PREVOTE
 * carries the term its sender would campaign in (one above its own), and a granted PREVOTE_RESP
 * echoes that. Unused fields are 0.
 */
#ifndef QUORATE_RAFT_MSG_H
#define QUORATE_RAFT_MSG_H

#include <stdbool.h>
#include <stdint.h>

/* Above these a term or an index is a lie: no cluster gets there, and no sum can overflow. */
#define RAFT_TERM_MAX (UINT64_MAX >> 2)
#define RAFT_INDEX_MAX (UINT64_MAX >> 2)

#define RAFT_MSG_TYPES(M) \
	M(PREVOTE)        /* would you vote for me in `term`?              thesis 9.6 */ \
	M(PREVOTE_RESP) \
	M(VOTE)           /* vote for me in `term`                         thesis 3.4 */ \
	M(VOTE_RESP) \
	M(APPEND)         /* entries, or none: a heartbeat or a probe      thesis 3.5 */ \
	M(APPEND_RESP) \
	M(READ_REQ)       /* follower to leader: confirm a read index      thesis 6.4 */ \
	M(READ_RESP) \
	M(TIMEOUT_NOW)    /* leader to its chosen successor: campaign now  thesis 3.10 */

enum raft_msg_type {
	RAFT_MSG_NONE,
#define M(name) RAFT_MSG_##name,
	RAFT_MSG_TYPES(M)
#undef M
	RAFT_MSG_COUNT
};

struct raft_msg_vote {             /* PREVOTE, VOTE */
	uint64_t last_index, last_term;  /* of the candidate's log */
	bool transfer;                   /* VOTE: asked for by TIMEOUT_NOW, so stickiness is off */
};

struct raft_msg_vote_resp {        /* PREVOTE_RESP, VOTE_RESP */
	bool granted;
};

struct raft_msg_append {
	uint64_t prev_index, prev_term;
	uint64_t commit;
	uint64_t round;                  /* the leader's read round, to be echoed */
	uint32_t n;                      /* entries, at most LIMIT_APPEND_ENTRIES */
	const uint64_t *terms;           /* n, borrowed for the step; entry i is prev_index+1+i */
};

struct raft_msg_append_resp {
	uint64_t round;                  /* of the append this answers */
	bool reject;                     /* the log has no (prev_index, prev_term) */
	uint64_t index;                  /* accepted: prev_index + n; rejected: prev_index, or 0: */
	                                 /* your term is over */
	uint64_t match;                  /* accepted: <= index, agrees and is durable */
	uint64_t hint_index, hint_term;  /* rejected: at or before this the logs may agree */
};

struct raft_msg_read {             /* READ_REQ, READ_RESP */
	uint64_t id;                     /* the asker's number of this request */
	bool ok;                         /* READ_RESP */
	uint64_t index;                  /* READ_RESP: serve once this index is applied */
};

struct raft_msg {
	enum raft_msg_type type;
	uint64_t from, to;
	uint64_t term;
	union {
		struct raft_msg_vote vote;
		struct raft_msg_vote_resp vote_resp;
		struct raft_msg_append append;
		struct raft_msg_append_resp append_resp;
		struct raft_msg_read read;
	};
};

#endif
