/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Raft core on the bench: the test plays clock, disk and all peers by hand. Effects pile up
 * until kit_clear(). The core under test is node 1 of 1..n; its links are up unless said otherwise.
 */
#ifndef QUORATE_RAFT_KIT_H
#define QUORATE_RAFT_KIT_H

#include "raftd/core/raft.h"

struct kit {
	struct raft *r;
	mono_t now;
	struct raft_effects fx;          /* of the last step */
	struct raft_effect *all;         /* since kit_clear() */
	uint32_t count, cap;
	uint64_t seq;                    /* the last one handed out */
};

/* `terms`: the term of each entry the log holds at start, ended by 0; NULL: an empty log. */
void kit_open(struct kit *k, uint32_t nodes, uint64_t term, uint64_t vote, const uint64_t *terms);
void kit_open_with(struct kit *k, const struct raft_config *cfg, const struct raft_state *st);
void kit_close(struct kit *k);

int kit_step(struct kit *k, struct raft_event ev);   /* `now` is filled in */
void kit_wait(struct kit *k, uint32_t ms);     /* time passes, with a TICK at every deadline */
void kit_durable(struct kit *k);               /* all that was emitted reached the disk */
int kit_recv(struct kit *k, struct raft_msg m);   /* `to` is filled in; `from` if 0: 2 */
int kit_propose(struct kit *k, uint32_t n);
void kit_read(struct kit *k, uint64_t ctx);
void kit_sent_all(struct kit *k);              /* answers every open REPLICATE: all was sent */

/* Ready-made positions. */
void kit_candidate(struct kit *k);             /* wins the pre-vote; its own vote is not durable */
void kit_lead(struct kit *k);                  /* and all grant, all is durable; effects cleared */
void kit_follow(struct kit *k, uint64_t leader, uint64_t term);   /* heard an empty append */

/* Messages. */
struct raft_msg kit_vote(enum raft_msg_type type, uint64_t from, uint64_t term, uint64_t last,
			 uint64_t last_term);
struct raft_msg kit_vote_resp(enum raft_msg_type type, uint64_t from, uint64_t term, bool granted);
struct raft_msg kit_append(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
			   uint64_t commit, const uint64_t *terms);
struct raft_msg kit_ack(uint64_t from, uint64_t term, uint64_t index, uint64_t match);
struct raft_msg kit_reject(uint64_t from, uint64_t term, uint64_t index, uint64_t hint,
			   uint64_t hint_term);

/* What came out since kit_clear(). NULL if there was no such; without `nth` the newest. */
void kit_clear(struct kit *k);
uint32_t kit_count(const struct kit *k, enum raft_effect_type type);
const struct raft_effect *kit_nth(const struct kit *k, enum raft_effect_type type, uint32_t nth);
const struct raft_effect *kit_last(const struct kit *k, enum raft_effect_type type);
const struct raft_effect *kit_sent(const struct kit *k, enum raft_msg_type type, uint64_t to);
const struct raft_effect *kit_replicate(const struct kit *k, uint64_t peer);
struct raft_status kit_status(const struct kit *k);
struct raft_peer_status kit_peer(const struct kit *k, uint64_t id);

#endif
