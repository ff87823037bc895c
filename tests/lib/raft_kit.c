/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/raft_kit.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

void kit_open_with(struct kit *k, const struct raft_config *cfg, const struct raft_state *st)
{
	*k = (struct kit){.now = {1000000000}};
	CHECK(raft_state_check(cfg, st) == ERR_OK);
	k->r = raft_create(cfg, st, k->now);
	for (uint32_t i = 0; i < cfg->voter_count; i++) {
		if (cfg->voters[i] != cfg->id)
			kit_step(k, (struct raft_event){.type = RAFT_EV_PEER_UP,
							.peer = cfg->voters[i]});
	}
	kit_clear(k);
}

void kit_open(struct kit *k, uint32_t nodes, uint64_t term, uint64_t vote, const uint64_t *terms)
{
	struct raft_config cfg = {.id = 1, .voter_count = nodes, .seed = 42, .reads_max = 8};
	struct raft_state st = {.term = term, .vote = vote};
	struct raft_run runs[64];

	for (uint32_t i = 0; i < nodes; i++)
		cfg.voters[i] = i + 1;
	for (; terms != NULL && terms[st.last_index] != 0; st.last_index++) {
		CHECK(st.run_count < 64);
		if (st.run_count == 0 || runs[st.run_count - 1].term != terms[st.last_index])
			runs[st.run_count++] = (struct raft_run){st.last_index + 1,
								 terms[st.last_index]};
	}
	st.runs = runs;
	kit_open_with(k, &cfg, &st);
}

void kit_close(struct kit *k)
{
	raft_destroy(k->r);
	raft_effects_free(&k->fx);
	free(k->all);
}

int kit_step(struct kit *k, struct raft_event ev)
{
	ev.now = k->now;

	int rc = raft_step(k->r, &ev, &k->fx);

	if (k->count + k->fx.n > k->cap) {
		k->cap = (k->count + k->fx.n) * 2;
		k->all = mem_grow(k->all, k->cap, sizeof *k->all);
	}
	for (uint32_t i = 0; i < k->fx.n; i++) {
		k->all[k->count++] = k->fx.v[i];
		if (k->fx.v[i].seq)
			CHECK(k->fx.v[i].seq == ++k->seq);
	}
	return rc;
}

void kit_wait(struct kit *k, uint32_t ms)
{
	mono_t end = mono_add_ms(k->now, ms);

	while (!mono_before(end, raft_deadline(k->r))) {
		k->now = raft_deadline(k->r);
		kit_step(k, (struct raft_event){.type = RAFT_EV_TICK});
	}
	k->now = end;
}

void kit_durable(struct kit *k)
{
	struct raft_status s = kit_status(k);

	kit_step(k, (struct raft_event){.type = RAFT_EV_DURABLE,
					.seq = k->seq,
					.last_index = s.last_index,
					.last_term = s.last_term});
}

int kit_recv(struct kit *k, struct raft_msg m)
{
	m.to = 1;
	m.from = m.from ? m.from : 2;
	return kit_step(k, (struct raft_event){.type = RAFT_EV_RECV, .msg = &m});
}

int kit_propose(struct kit *k, uint32_t n)
{
	return kit_step(k, (struct raft_event){.type = RAFT_EV_PROPOSE, .n = n});
}

void kit_read(struct kit *k, uint64_t ctx)
{
	kit_step(k, (struct raft_event){.type = RAFT_EV_READ, .ctx = ctx});
}

void kit_sent_all(struct kit *k)
{
	for (uint32_t i = 0; i < k->count; i++) {
		struct raft_effect e = k->all[i];

		if (e.type == RAFT_FX_REPLICATE && e.replicate.grant)
			kit_step(k, (struct raft_event){.type = RAFT_EV_SENT,
							.peer = e.replicate.peer,
							.grant = e.replicate.grant,
							.last = e.replicate.last,
							.bytes = 100 * (e.replicate.last -
									e.replicate.prev_index)});
	}
}

void kit_candidate(struct kit *k)
{
	struct raft_status s;

	while (kit_status(k).role == RAFT_FOLLOWER) {
		k->now = raft_deadline(k->r);
		kit_step(k, (struct raft_event){.type = RAFT_EV_TICK});
	}
	s = kit_status(k);
	for (uint32_t i = 0; i < s.peer_count; i++)
		kit_recv(k, kit_vote_resp(RAFT_MSG_PREVOTE_RESP, s.peers[i].id, s.term + 1, true));
	CHECK(kit_status(k).role == RAFT_CANDIDATE);
}

void kit_lead(struct kit *k)
{
	kit_candidate(k);
	kit_durable(k);

	struct raft_status s = kit_status(k);

	for (uint32_t i = 0; i < s.peer_count; i++)
		kit_recv(k, kit_vote_resp(RAFT_MSG_VOTE_RESP, s.peers[i].id, s.term, true));
	kit_durable(k);
	CHECK(kit_status(k).role == RAFT_LEADER);
	kit_sent_all(k);
	kit_clear(k);
}

void kit_follow(struct kit *k, uint64_t leader, uint64_t term)
{
	kit_recv(k, kit_append(leader, term, 0, 0, 0, NULL));
	kit_durable(k);
	CHECK(kit_status(k).leader == leader);
	kit_clear(k);
}

struct raft_msg kit_vote(enum raft_msg_type type, uint64_t from, uint64_t term, uint64_t last,
			 uint64_t last_term)
{
	return (struct raft_msg){.type = type, .from = from, .term = term,
				 .vote = {.last_index = last, .last_term = last_term}};
}

struct raft_msg kit_vote_resp(enum raft_msg_type type, uint64_t from, uint64_t term, bool granted)
{
	return (struct raft_msg){.type = type, .from = from, .term = term, .vote_resp = {granted}};
}

struct raft_msg kit_append(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
			   uint64_t commit, const uint64_t *terms)
{
	struct raft_msg m = {.type = RAFT_MSG_APPEND,
			     .from = from,
			     .term = term,
			     .append = {.prev_index = prev,
					.prev_term = prev_term,
					.commit = commit,
					.terms = terms}};

	while (terms != NULL && terms[m.append.n] != 0)
		m.append.n++;
	return m;
}

struct raft_msg kit_ack(uint64_t from, uint64_t term, uint64_t index, uint64_t match)
{
	return (struct raft_msg){.type = RAFT_MSG_APPEND_RESP, .from = from, .term = term,
				 .append_resp = {.index = index, .match = match}};
}

struct raft_msg kit_reject(uint64_t from, uint64_t term, uint64_t index, uint64_t hint,
			   uint64_t hint_term)
{
	return (struct raft_msg){.type = RAFT_MSG_APPEND_RESP, .from = from, .term = term,
				 .append_resp = {.reject = true, .index = index, .hint_index = hint,
						 .hint_term = hint_term}};
}

void kit_clear(struct kit *k)
{
	k->count = 0;
}

uint32_t kit_count(const struct kit *k, enum raft_effect_type type)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->count; i++)
		n += k->all[i].type == type;
	return n;
}

const struct raft_effect *kit_nth(const struct kit *k, enum raft_effect_type type, uint32_t nth)
{
	for (uint32_t i = 0; i < k->count; i++) {
		if (k->all[i].type == type && nth-- == 0)
			return &k->all[i];
	}
	return NULL;
}

const struct raft_effect *kit_last(const struct kit *k, enum raft_effect_type type)
{
	uint32_t n = kit_count(k, type);

	return n ? kit_nth(k, type, n - 1) : NULL;
}

const struct raft_effect *kit_sent(const struct kit *k, enum raft_msg_type type, uint64_t to)
{
	for (uint32_t i = k->count; i-- > 0;) {
		const struct raft_effect *e = &k->all[i];

		if (e->type == RAFT_FX_SEND && e->send.msg.type == type && e->send.msg.to == to)
			return e;
	}
	return NULL;
}

const struct raft_effect *kit_replicate(const struct kit *k, uint64_t peer)
{
	for (uint32_t i = k->count; i-- > 0;) {
		if (k->all[i].type == RAFT_FX_REPLICATE && k->all[i].replicate.peer == peer)
			return &k->all[i];
	}
	return NULL;
}

struct raft_status kit_status(const struct kit *k)
{
	struct raft_status s;

	raft_status(k->r, k->now, &s);
	return s;
}

struct raft_peer_status kit_peer(const struct kit *k, uint64_t id)
{
	struct raft_status s = kit_status(k);

	for (uint32_t i = 0; i < s.peer_count; i++) {
		if (s.peers[i].id == id)
			return s.peers[i];
	}
	panic("no such peer");
}
