/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator sees, and the names of things. */
#include <string.h>

#include "raftd/core/raft_core.h"

static const char *const role_names[] = {
#define R(name) #name,
	RAFT_ROLES(R)
#undef R
};
static const char *const peer_state_names[] = {
#define S(name) #name,
	RAFT_PEER_STATES(S)
#undef S
};
static const char *const msg_names[] = {
	"NONE",
#define M(name) #name,
	RAFT_MSG_TYPES(M)
#undef M
};
static const char *const event_names[] = {
#define E(name) #name,
	RAFT_EVENTS(E)
#undef E
};
static const char *const effect_names[] = {
#define F(name) #name,
	RAFT_FX_TYPES(F)
#undef F
};
static const char *const refusal_names[] = {
#define X(name, text) #name,
	RAFT_REFUSALS(X)
#undef X
};
static const char *const refusal_texts[] = {
#define X(name, text) text,
	RAFT_REFUSALS(X)
#undef X
};

const char *raft_role_name(enum raft_role role)
{
	return role < RAFT_ROLE_COUNT ? role_names[role] : "?";
}

const char *raft_peer_state_name(enum raft_peer_state state)
{
	return state < RAFT_PEER_STATE_COUNT ? peer_state_names[state] : "?";
}

const char *raft_msg_name(enum raft_msg_type type)
{
	return type < RAFT_MSG_COUNT ? msg_names[type] : "?";
}

const char *raft_event_name(enum raft_event_type type)
{
	return type < RAFT_EV_COUNT ? event_names[type] : "?";
}

const char *raft_effect_name(enum raft_effect_type type)
{
	return type < RAFT_FX_COUNT ? effect_names[type] : "?";
}

const char *raft_refusal_name(enum raft_refusal why)
{
	return why < RAFT_REFUSAL_COUNT ? refusal_names[why] : "?";
}

const char *raft_refusal_text(enum raft_refusal why)
{
	return why < RAFT_REFUSAL_COUNT ? refusal_texts[why] : "?";
}

static void peer_status(const struct raft_peer *p, mono_t now, struct raft_peer_status *out)
{
	out->id = p->id;
	out->match = p->match;
	out->next = p->next;
	out->state = p->state;
	out->up = p->up;
	out->silent_ms = p->heard_ever ? mono_sub_ms(now, p->heard) : -1;
	out->inflight_msgs = p->inflight_count;
	out->inflight_bytes = p->inflight_bytes;
}

void raft_status(const struct raft *r, mono_t now, struct raft_status *out)
{
	*out = (struct raft_status){
		.role = r->role,
		.id = r->id,
		.term = r->term,
		.vote = r->vote,
		.leader = r->leader,
		.base_index = raft_terms_base(&r->log),
		.last_index = r->log.last,
		.last_term = raft_terms_last(&r->log),
		.durable_index = r->durable,
		.commit = r->commit,
		.told_commit = r->told_commit,
		.seq = r->seq,
		.durable_seq = r->durable_seq,
		.transfer_to = r->transfer_to,
		.reads_waiting = r->reads.count,
		.term_runs = r->log.count,
		.elections = r->elections,
		.leaderships = r->leaderships,
		.peer_count = r->peer_count,
	};
	memcpy(out->refused, r->refused, sizeof out->refused);
	for (uint32_t i = 0; i < r->peer_count; i++)
		peer_status(&r->peers[i], now, &out->peers[i]);
}
