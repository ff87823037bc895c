/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer sends is never believed blindly, and what a disk holds is looked at before use. */
#include <string.h>

#include "base/err.h"
#include "tests/lib/raft_kit.h"
#include "tests/lib/tap.h"

static const uint64_t LOG[] = {1, 1, 2, 0};

/* A follower of 2 in term 3 whose entries 1 and 2 are committed. */
static void open_follower(struct kit *k)
{
	kit_open(k, 3, 3, 0, LOG);
	kit_recv(k, kit_append(2, 3, 2, 1, 2, NULL));
	kit_clear(k);
}

static void expect_lie(struct kit *k, struct raft_msg m, enum raft_refusal why)
{
	struct raft_status before = kit_status(k), after;

	kit_clear(k);
	EQ_INT(kit_recv(k, m), ERR_MALFORMED);
	EQ_INT(k->count, 0);
	after = kit_status(k);
	EQ_INT(after.refused[why], before.refused[why] + 1);
	before.refused[why]++;
	EQ_MEM(&after, &before, sizeof after);
}

TEST(lying_appends_change_nothing)
{
	static const uint64_t backwards[] = {3, 2, 0}, future[] = {4, 0}, zero_term[1] = {0};
	struct raft_msg m;
	struct kit k;

	open_follower(&k);
	expect_lie(&k, kit_append(2, 3, UINT64_MAX, 3, 0, backwards), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_append(2, 3, RAFT_INDEX_MAX, 3, 0, NULL), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_append(2, 3, 3, 0, 0, NULL), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_append(2, 3, 0, 2, 0, NULL), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_append(2, 3, 3, 2, UINT64_MAX, NULL), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_append(2, UINT64_MAX, 3, 2, 0, NULL), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_append(2, 3, 3, 2, 0, backwards), RAFT_REFUSED_TERMS_UNORDERED);
	expect_lie(&k, kit_append(2, 3, 3, 2, 0, future), RAFT_REFUSED_TERMS_UNORDERED);
	expect_lie(&k, kit_append(2, 3, 9, 7, 0, NULL), RAFT_REFUSED_TERMS_UNORDERED);
	expect_lie(&k, kit_append(2, 3, 1, 2, 0, NULL), RAFT_REFUSED_CONTRADICTS_COMMIT);
	expect_lie(&k, kit_append(2, 3, 1, 1, 0, (const uint64_t[]){3, 0}),
		   RAFT_REFUSED_CONTRADICTS_COMMIT);
	expect_lie(&k, kit_append(2, 9, 1, 1, 0, (const uint64_t[]){3, 0}),
		   RAFT_REFUSED_CONTRADICTS_COMMIT);
	expect_lie(&k, kit_append(3, 3, 3, 2, 0, NULL), RAFT_REFUSED_TWO_LEADERS);
	m = kit_append(2, 3, 3, 2, 0, NULL);
	m.append.n = LIMIT_APPEND_ENTRIES + 1;
	m.append.terms = backwards;
	expect_lie(&k, m, RAFT_REFUSED_OUT_OF_RANGE);
	m.append.n = 1;
	m.append.terms = NULL;
	expect_lie(&k, m, RAFT_REFUSED_OUT_OF_RANGE);
	m.append.terms = zero_term;
	expect_lie(&k, m, RAFT_REFUSED_TERMS_UNORDERED);
	kit_close(&k);
}

TEST(strangers_and_strays_are_refused)
{
	struct raft_msg m = kit_append(9, 3, 3, 2, 0, NULL);
	struct kit k;

	open_follower(&k);
	expect_lie(&k, m, RAFT_REFUSED_UNKNOWN_SENDER);
	m.from = 1;                        /* ourselves */
	expect_lie(&k, m, RAFT_REFUSED_UNKNOWN_SENDER);
	m.from = 2;
	m.type = RAFT_MSG_NONE;
	expect_lie(&k, m, RAFT_REFUSED_UNKNOWN_TYPE);
	m.type = (enum raft_msg_type)99;
	expect_lie(&k, m, RAFT_REFUSED_UNKNOWN_TYPE);
	m = kit_append(2, 3, 3, 2, 0, NULL);
	m.to = 3;
	EQ_INT(kit_step(&k, (struct raft_event){.type = RAFT_EV_RECV, .msg = &m}), ERR_MALFORMED);
	EQ_INT(kit_status(&k).refused[RAFT_REFUSED_WRONG_ADDRESSEE], 1);
	kit_close(&k);
}

TEST(impossible_candidates_are_refused)
{
	struct kit k;

	open_follower(&k);
	expect_lie(&k, kit_vote(RAFT_MSG_VOTE, 3, 4, 9, 4), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_vote(RAFT_MSG_PREVOTE, 3, 4, 9, 9), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_vote(RAFT_MSG_VOTE, 3, 4, 0, 1), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_vote(RAFT_MSG_VOTE, 3, 4, UINT64_MAX, 1), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_vote(RAFT_MSG_PREVOTE, 3, UINT64_MAX, 9, 1), RAFT_REFUSED_OUT_OF_RANGE);
	kit_close(&k);
}

TEST(acknowledgements_of_what_was_never_sent_are_refused)
{
	struct raft_msg m;
	struct kit k;

	kit_open(&k, 3, 3, 0, LOG);
	kit_lead(&k);
	expect_lie(&k, kit_ack(2, 4, 5, 5), RAFT_REFUSED_UNSENT);
	expect_lie(&k, kit_ack(2, 4, 3, 4), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_ack(2, 4, UINT64_MAX, 0), RAFT_REFUSED_OUT_OF_RANGE);
	expect_lie(&k, kit_reject(2, 4, 9, 3, 2), RAFT_REFUSED_UNSENT);
	expect_lie(&k, kit_reject(2, 4, 3, UINT64_MAX, 2), RAFT_REFUSED_OUT_OF_RANGE);
	m = kit_ack(2, 4, 3, 3);
	m.append_resp.round = 1;
	expect_lie(&k, m, RAFT_REFUSED_UNSENT);
	expect_lie(&k, kit_append(2, 4, 3, 2, 0, NULL), RAFT_REFUSED_TWO_LEADERS);
	EQ_INT(kit_status(&k).commit, 0);
	kit_close(&k);
}

TEST(a_lying_hint_cannot_move_next_anywhere_impossible)
{
	struct kit k;

	kit_open(&k, 3, 3, 0, LOG);
	kit_lead(&k);
	kit_recv(&k, kit_reject(2, 4, 3, RAFT_INDEX_MAX, RAFT_TERM_MAX));
	EQ_INT(kit_peer(&k, 2).next, 3);
	kit_recv(&k, kit_reject(2, 4, 2, 0, 0));
	EQ_INT(kit_peer(&k, 2).next, 1);
	kit_close(&k);
}

TEST(a_term_at_the_end_of_numbers_stops_campaigns_not_the_process)
{
	struct kit k;

	kit_open(&k, 3, 3, 0, LOG);
	kit_recv(&k, kit_append(2, RAFT_TERM_MAX, 3, 2, 0, NULL));
	kit_wait(&k, 2000);
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	kit_recv(&k,
		 (struct raft_msg){.type = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = RAFT_TERM_MAX});
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	kit_close(&k);
}

/* Numbers near what is, near the ends, or anything. */
static uint64_t some(uint64_t *rng, uint64_t near)
{
	switch (tap_rand(rng) % 12) {
	case 0:
		return tap_rand(rng);
	case 1:
		return RAFT_INDEX_MAX - tap_rand(rng) % 3 + 1;
	case 2:
		return 0;
	default:
		return near + 2 - (near < 2 ? tap_rand(rng) % (near + 3) : tap_rand(rng) % 5);
	}
}

static struct raft_msg some_msg(uint64_t *rng, const struct raft_status *s, uint64_t *terms)
{
	struct raft_msg m;

	memset(&m, 0, sizeof m);
	m.type = (enum raft_msg_type)(tap_rand(rng) % (RAFT_MSG_COUNT + 1));
	m.from = 2 + tap_rand(rng) % 2;
	m.term = tap_rand(rng) % 8 ? s->term + tap_rand(rng) % 20 / 18 : some(rng, s->term);
	switch (m.type) {
	case RAFT_MSG_APPEND:
		m.append.prev_index = some(rng, tap_rand(rng) % 2 ? s->last_index : s->commit);
		m.append.prev_term = some(rng, s->last_term);
		m.append.commit = some(rng, s->last_index);
		m.append.round = some(rng, 1);
		m.append.n = (uint32_t)(tap_rand(rng) % 5);
		m.append.terms = terms;
		for (uint32_t i = 0; i < 5; i++)
			terms[i] = tap_rand(rng) % 4 ? m.term : some(rng, s->last_term);
		break;
	case RAFT_MSG_APPEND_RESP:
		m.append_resp.reject = tap_rand(rng) % 2;
		m.append_resp.index = some(rng, s->last_index);
		m.append_resp.match = some(rng, s->last_index);
		m.append_resp.hint_index = some(rng, s->last_index);
		m.append_resp.hint_term = some(rng, s->last_term);
		m.append_resp.round = tap_rand(rng) % 4;
		break;
	case RAFT_MSG_VOTE:
	case RAFT_MSG_PREVOTE:
		m.vote = (struct raft_msg_vote){some(rng, s->last_index), some(rng, s->last_term),
						tap_rand(rng) % 2};
		break;
	default:
		m.vote_resp.granted = tap_rand(rng) % 4 != 0;
		break;
	}
	return m;
}

/* Half of the time peers are kind enough to let it lead. */
static void some_turn(struct kit *k, uint64_t *rng)
{
	uint64_t terms[5];
	struct raft_status s = kit_status(k);

	switch (tap_rand(rng) % 16) {
	case 0:
		kit_wait(k, (uint32_t)(tap_rand(rng) % 100));
		break;
	case 1:
	case 2:
		kit_durable(k);
		break;
	case 3:
		kit_propose(k, 1 + (uint32_t)(tap_rand(rng) % 3));
		kit_sent_all(k);
		break;
	case 4:
		kit_read(k, tap_rand(rng));
		break;
	case 5:
		if (s.told_commit > s.base_index)
			kit_step(k, (struct raft_event){.type = RAFT_EV_COMPACTED,
							.index = s.told_commit - 1});
		break;
	case 6:
		kit_step(k, (struct raft_event){.type = RAFT_EV_TRANSFER});
		break;
	case 7:
		kit_recv(k, kit_vote_resp(RAFT_MSG_PREVOTE_RESP, 2, s.term + 1, true));
		kit_recv(k, kit_vote_resp(RAFT_MSG_VOTE_RESP, 2, s.term, true));
		break;
	default:
		kit_recv(k, some_msg(rng, &s, terms));
		break;
	}
	kit_clear(k);
}

TEST(no_message_can_bring_the_core_down)
{
	uint64_t rng = 5, led = 0;

	for (int round = 0; round < 200; round++) {
		struct kit k;

		kit_open(&k, 3, 3, 0, LOG);
		for (int i = 0; i < 2000; i++)
			some_turn(&k, &rng);
		led += kit_status(&k).leaderships;
		OK(kit_status(&k).term_runs < 2000 * 5);
		kit_close(&k);
	}
	OK(led > 200);                     /* it was not only a follower that was attacked */
}

struct state_case {
	const char *what;
	struct raft_state st;
	int want;
};

TEST(a_log_that_cannot_be_is_called_corrupt)
{
	static const struct raft_run good[] = {{1, 1}, {3, 2}}, gap[] = {{2, 1}},
				     order[] = {{1, 2}, {3, 1}}, same[] = {{1, 1}, {1, 2}},
				     zero[] = {{1, 0}}, after[] = {{6, 2}};
	const struct state_case cases[] = {
		{"empty", {0}, ERR_OK},
		{"good",
		 {.term = 2, .last_index = 4, .runs = good, .run_count = 2, .commit = 4},
		 ERR_OK},
		{"cut",
		 {.term = 2,
		  .base_index = 5,
		  .base_term = 2,
		  .last_index = 9,
		  .runs = after,
		  .run_count = 1},
		 ERR_OK},
		{"applied beyond the log",
		 {.term = 2, .last_index = 4, .runs = good, .run_count = 2, .commit = 5},
		 ERR_CORRUPT},
		{"an entry of a term never entered",
		 {.term = 1, .last_index = 4, .runs = good, .run_count = 2},
		 ERR_CORRUPT},
		{"a gap", {.term = 2, .last_index = 4, .runs = gap, .run_count = 1}, ERR_CORRUPT},
		{"terms backwards",
		 {.term = 2, .last_index = 4, .runs = order, .run_count = 2},
		 ERR_CORRUPT},
		{"two runs at one place",
		 {.term = 2, .last_index = 4, .runs = same, .run_count = 2},
		 ERR_CORRUPT},
		{"term 0", {.term = 2, .last_index = 4, .runs = zero, .run_count = 1}, ERR_CORRUPT},
		{"a run behind the end",
		 {.term = 2, .last_index = 2, .runs = good, .run_count = 2},
		 ERR_CORRUPT},
		{"entries without runs", {.term = 2, .last_index = 2}, ERR_CORRUPT},
		{"older than its base",
		 {.term = 3,
		  .base_index = 5,
		  .base_term = 3,
		  .last_index = 9,
		  .runs = after,
		  .run_count = 1},
		 ERR_CORRUPT},
		{"a base without a term",
		 {.term = 3, .base_index = 5, .last_index = 5},
		 ERR_CORRUPT},
		{"a vote before all terms", {.vote = 2}, ERR_CORRUPT},
		{"no such term", {.term = UINT64_MAX}, ERR_CORRUPT},
	};
	struct raft_config cfg = {.id = 1, .voters = {1, 2, 3}, .voter_count = 3};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int got = raft_state_check(&cfg, &cases[i].st);

		if (got != cases[i].want)
			EQ_STR(cases[i].what, "");
	}
}

TEST(a_configuration_that_cannot_work_is_refused)
{
	static const struct raft_config bad[] = {
		{.id = 1},
		{.id = 0, .voters = {1}, .voter_count = 1},
		{.id = 4, .voters = {1, 2, 3}, .voter_count = 3},
		{.id = 1, .voters = {1, 2, 2}, .voter_count = 3},
		{.id = 1, .voters = {1, 0}, .voter_count = 2},
		{.id = 1, .voters = {1}, .voter_count = LIMIT_NODES + 1},
		{.id = 1, .voters = {1}, .voter_count = 1, .election_min_ms = 400},
		{.id = 1, .voters = {1}, .voter_count = 1, .heartbeat_ms = 60},
		{.id = 1,
		 .voters = {1},
		 .voter_count = 1,
		 .inflight_msgs = LIMIT_PEER_INFLIGHT_MSGS + 1},
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		EQ_INT(raft_state_check(&bad[i], &(struct raft_state){0}), ERR_CONFIG);
}

TEST(everything_has_a_name)
{
	for (int i = 0; i < RAFT_REFUSAL_COUNT; i++)
		OK(strlen(raft_refusal_text((enum raft_refusal)i)) > 5);
	EQ_STR(raft_role_name(RAFT_LEADER), "LEADER");
	EQ_STR(raft_msg_name(RAFT_MSG_TIMEOUT_NOW), "TIMEOUT_NOW");
	EQ_STR(raft_effect_name(RAFT_FX_TRANSFER_ABORTED), "TRANSFER_ABORTED");
	EQ_STR(raft_peer_state_name(RAFT_PEER_SNAPSHOT), "SNAPSHOT");
	EQ_STR(raft_refusal_name(RAFT_REFUSED_UNSENT), "UNSENT");
	EQ_STR(raft_msg_name((enum raft_msg_type)77), "?");
}

TESTS = {
	T(lying_appends_change_nothing),
	T(strangers_and_strays_are_refused),
	T(impossible_candidates_are_refused),
	T(acknowledgements_of_what_was_never_sent_are_refused),
	T(a_lying_hint_cannot_move_next_anywhere_impossible),
	T(a_term_at_the_end_of_numbers_stops_campaigns_not_the_process),
	T(no_message_can_bring_the_core_down),
	T(a_log_that_cannot_be_is_called_corrupt),
	T(a_configuration_that_cannot_work_is_refused),
	T(everything_has_a_name),
};
TAP_MAIN
