/* SPDX-License-Identifier: Apache-2.0 */
/* The claims of the thesis about elections: 3.4, 3.6.1, 3.8, 4.2.3, 6.2, 9.6. */
#include "base/err.h"
#include "tests/lib/raft_kit.h"
#include "tests/lib/tap.h"

static const uint64_t LOG_1_1_2[] = {1, 1, 2, 0};

TEST(silence_makes_a_follower_ask_within_the_bounds)
{
	struct kit k;
	mono_t start;

	kit_open(&k, 3, 0, 0, NULL);
	start = k.now;
	for (int i = 0; i < 100; i++) {
		int64_t ms = mono_sub_ms(raft_deadline(k.r), start);

		OK(ms >= 150 && ms <= 300);
		kit_recv(&k, kit_append(2, 1, 0, 0, 0, NULL));
		k.now = start = mono_add_ms(k.now, 10);
		kit_recv(&k, kit_append(2, 1, 0, 0, 0, NULL));
	}
	kit_close(&k);
}

TEST(election_timeouts_are_drawn_anew_each_time)
{
	struct kit k;
	uint32_t different = 0;
	int64_t last = 0;

	kit_open(&k, 3, 0, 0, NULL);
	for (int i = 0; i < 20; i++) {
		kit_recv(&k, kit_append(2, 1, 0, 0, 0, NULL));
		different += mono_sub_ns(raft_deadline(k.r), k.now) != last;
		last = mono_sub_ns(raft_deadline(k.r), k.now);
	}
	EQ_INT(different, 20);
	kit_close(&k);
}

TEST(a_pre_candidate_leaves_its_term_alone)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_wait(&k, 3000);
	EQ_INT(kit_status(&k).role, RAFT_PRECANDIDATE);
	EQ_INT(kit_status(&k).term, 5);
	EQ_INT(kit_count(&k, RAFT_FX_HARD_STATE), 0);
	EQ_INT(kit_sent(&k, RAFT_MSG_PREVOTE, 2)->send.msg.term, 6);
	OK(kit_sent(&k, RAFT_MSG_VOTE, 2) == NULL);
	kit_close(&k);
}

TEST(a_pre_vote_quorum_starts_a_campaign)
{
	struct kit k;

	kit_open(&k, 5, 5, 0, NULL);
	kit_wait(&k, 300);
	kit_recv(&k, kit_vote_resp(RAFT_MSG_PREVOTE_RESP, 2, 6, true));
	kit_recv(&k, kit_vote_resp(RAFT_MSG_PREVOTE_RESP, 2, 6, true)); /* repeated: counts once */
	EQ_INT(kit_status(&k).role, RAFT_PRECANDIDATE);
	kit_recv(&k, kit_vote_resp(RAFT_MSG_PREVOTE_RESP, 3, 6, true));
	EQ_INT(kit_status(&k).role, RAFT_CANDIDATE);
	EQ_INT(kit_status(&k).term, 6);
	EQ_INT(kit_status(&k).vote, 1);
	for (uint64_t id = 2; id <= 5; id++)
		EQ_INT(kit_sent(&k, RAFT_MSG_VOTE, id)->send.need_seq, k.seq);
	kit_close(&k);
}

TEST(a_refused_pre_candidate_goes_back_to_waiting)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_wait(&k, 300);
	kit_recv(&k, kit_vote_resp(RAFT_MSG_PREVOTE_RESP, 2, 5, false));
	kit_recv(&k, kit_vote_resp(RAFT_MSG_PREVOTE_RESP, 3, 5, false));
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	EQ_INT(kit_status(&k).term, 5);
	kit_close(&k);
}

TEST(pre_votes_are_refused_while_a_leader_is_alive)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_follow(&k, 2, 5);
	k.now = mono_add_ms(k.now, 149);
	kit_recv(&k, kit_vote(RAFT_MSG_PREVOTE, 3, 6, 0, 0));
	OK(!kit_sent(&k, RAFT_MSG_PREVOTE_RESP, 3)->send.msg.vote_resp.granted);
	k.now = mono_add_ms(k.now, 1);
	kit_recv(&k, kit_vote(RAFT_MSG_PREVOTE, 3, 6, 0, 0));
	OK(kit_sent(&k, RAFT_MSG_PREVOTE_RESP, 3)->send.msg.vote_resp.granted);
	EQ_INT(kit_sent(&k, RAFT_MSG_PREVOTE_RESP, 3)->send.msg.term, 6);
	EQ_INT(kit_status(&k).term, 5);
	kit_close(&k);
}

TEST(a_leader_refuses_pre_votes)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_vote(RAFT_MSG_PREVOTE, 3, 9, 8, 8));
	OK(!kit_sent(&k, RAFT_MSG_PREVOTE_RESP, 3)->send.msg.vote_resp.granted);
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	kit_close(&k);
}

TEST(a_disturbing_candidate_is_ignored_while_a_leader_is_alive)
{
	struct kit k;
	struct raft_msg m = kit_vote(RAFT_MSG_VOTE, 3, 9, 0, 0);

	kit_open(&k, 3, 5, 0, NULL);
	kit_follow(&k, 2, 5);
	EQ_INT(kit_recv(&k, m), ERR_OK);
	EQ_INT(k.count, 0);
	EQ_INT(kit_status(&k).term, 5);
	EQ_INT(kit_status(&k).refused[RAFT_REFUSED_STICKY], 1);
	m.vote.transfer = true;            /* unless the leader itself asked for it */
	kit_recv(&k, m);
	OK(kit_sent(&k, RAFT_MSG_VOTE_RESP, 3)->send.msg.vote_resp.granted);
	kit_close(&k);
}

TEST(one_vote_a_term_to_the_first_who_asks)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 3, 6, 0, 0));
	OK(kit_sent(&k, RAFT_MSG_VOTE_RESP, 3)->send.msg.vote_resp.granted);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 2, 6, 9, 5));
	OK(!kit_sent(&k, RAFT_MSG_VOTE_RESP, 2)->send.msg.vote_resp.granted);
	kit_clear(&k);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 3, 6, 0, 0));   /* the same one again: same answer */
	OK(kit_sent(&k, RAFT_MSG_VOTE_RESP, 3)->send.msg.vote_resp.granted);
	EQ_INT(kit_count(&k, RAFT_FX_HARD_STATE), 0);
	kit_close(&k);
}

TEST(a_vote_survives_a_restart)
{
	struct kit k;

	kit_open(&k, 3, 6, 3, NULL);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 2, 6, 9, 5));
	OK(!kit_sent(&k, RAFT_MSG_VOTE_RESP, 2)->send.msg.vote_resp.granted);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 3, 6, 9, 5));
	OK(kit_sent(&k, RAFT_MSG_VOTE_RESP, 3)->send.msg.vote_resp.granted);
	kit_close(&k);
}

TEST(votes_go_to_logs_at_least_as_up_to_date)
{
	static const struct {
		uint64_t last, last_term;
		bool granted;
	} cases[] = {
		{3, 2, true},  {4, 2, true},  {2, 2, false}, {1, 3, true},
		{9, 1, false}, {0, 0, false}, {3, 3, true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct kit k;

		kit_open(&k, 3, 5, 0, LOG_1_1_2);
		kit_recv(&k, kit_vote(RAFT_MSG_PREVOTE, 2, 6, cases[i].last, cases[i].last_term));
		kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 2, 6, cases[i].last, cases[i].last_term));
		EQ_INT(kit_sent(&k, RAFT_MSG_PREVOTE_RESP, 2)->send.msg.vote_resp.granted,
		       cases[i].granted);
		EQ_INT(kit_sent(&k, RAFT_MSG_VOTE_RESP, 2)->send.msg.vote_resp.granted,
		       cases[i].granted);
		EQ_INT(kit_status(&k).term, 6);   /* the newer term counts either way */
		kit_close(&k);
	}
}

TEST(a_vote_leaves_only_after_it_is_durable)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 3, 6, 0, 0));

	const struct raft_effect *hard = kit_last(&k, RAFT_FX_HARD_STATE);

	EQ_INT(kit_count(&k, RAFT_FX_HARD_STATE), 1);   /* term and vote in one */
	EQ_INT(hard->hard_state.term, 6);
	EQ_INT(hard->hard_state.vote, 3);
	EQ_INT(kit_sent(&k, RAFT_MSG_VOTE_RESP, 3)->send.need_seq, hard->seq);
	OK(hard < kit_sent(&k, RAFT_MSG_VOTE_RESP, 3));
	kit_close(&k);
}

TEST(a_new_term_is_durable_before_any_message_shows_it)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_recv(&k, kit_append(2, 7, 0, 0, 0, NULL));
	EQ_INT(kit_last(&k, RAFT_FX_HARD_STATE)->hard_state.term, 7);
	EQ_INT(kit_last(&k, RAFT_FX_HARD_STATE)->hard_state.vote, 0);
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.need_seq, k.seq);
	kit_durable(&k);
	kit_recv(&k, kit_append(2, 7, 0, 0, 0, NULL));
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.need_seq, 0);
	kit_close(&k);
}

TEST(the_own_vote_counts_once_it_is_durable)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_candidate(&k);
	kit_recv(&k, kit_vote_resp(RAFT_MSG_VOTE_RESP, 2, 6, true));
	EQ_INT(kit_status(&k).role, RAFT_CANDIDATE);
	kit_durable(&k);
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	EQ_INT(kit_last(&k, RAFT_FX_ROLE)->role.leader, 1);
	kit_close(&k);
}

TEST(a_lone_node_leads_and_commits_by_its_disk_alone)
{
	struct kit k;

	kit_open(&k, 1, 5, 0, NULL);
	kit_wait(&k, 0);
	EQ_INT(kit_status(&k).role, RAFT_CANDIDATE);
	kit_wait(&k, 0);
	kit_durable(&k);
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	EQ_INT(kit_propose(&k, 3), ERR_OK);
	EQ_INT(kit_count(&k, RAFT_FX_COMMIT), 0);
	kit_durable(&k);
	EQ_INT(kit_last(&k, RAFT_FX_COMMIT)->commit.index, 4);
	kit_read(&k, 77);
	EQ_INT(kit_last(&k, RAFT_FX_READ_OK)->read.index, 4);
	EQ_INT(raft_deadline(k.r).ns, MONO_NEVER.ns);
	kit_close(&k);
}

TEST(a_slow_disk_does_not_raise_terms)
{
	struct kit k;

	kit_open(&k, 1, 5, 0, NULL);
	kit_wait(&k, 5000);
	EQ_INT(kit_status(&k).term, 6);
	EQ_INT(kit_count(&k, RAFT_FX_HARD_STATE), 1);
	kit_durable(&k);
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	kit_close(&k);
}

TEST(a_candidate_yields_to_the_leader_of_its_term)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_candidate(&k);
	kit_recv(&k, kit_append(3, 6, 0, 0, 0, NULL));
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	EQ_INT(kit_status(&k).leader, 3);
	EQ_INT(kit_status(&k).vote, 1);    /* given is given */
	kit_close(&k);
}

TEST(a_candidate_without_success_asks_again_with_a_pre_vote)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_candidate(&k);
	kit_durable(&k);
	kit_clear(&k);
	kit_wait(&k, 300);
	EQ_INT(kit_status(&k).role, RAFT_PRECANDIDATE);
	EQ_INT(kit_sent(&k, RAFT_MSG_PREVOTE, 2)->send.msg.term, 7);
	EQ_INT(kit_status(&k).term, 6);
	kit_close(&k);
}

TEST(a_newer_term_makes_a_follower_of_anyone)
{
	static const enum raft_msg_type types[] = {RAFT_MSG_APPEND_RESP,  RAFT_MSG_VOTE_RESP,
						   RAFT_MSG_PREVOTE_RESP, RAFT_MSG_READ_REQ,
						   RAFT_MSG_READ_RESP,	  RAFT_MSG_TIMEOUT_NOW};

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct kit k;

		kit_open(&k, 3, 5, 0, NULL);
		kit_lead(&k);
		kit_recv(&k, (struct raft_msg){.type = types[i], .from = 2, .term = 9});
		EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
		EQ_INT(kit_status(&k).term, 9);
		EQ_INT(kit_status(&k).leader, 0);
		EQ_INT(kit_count(&k, RAFT_FX_HARD_STATE), 1);
		kit_close(&k);
	}
}

TEST(a_granted_pre_vote_does_not_change_the_term)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_follow(&k, 2, 5);
	kit_recv(&k, kit_vote_resp(RAFT_MSG_PREVOTE_RESP, 3, 6, true));
	EQ_INT(kit_status(&k).term, 5);
	EQ_INT(kit_status(&k).leader, 2);
	kit_close(&k);
}

TEST(a_leader_of_the_past_is_told_the_present_term)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_recv(&k, kit_append(2, 4, 0, 0, 0, NULL));
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.term, 5);
	OK(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp.reject);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 3, 4, 0, 0));
	OK(!kit_sent(&k, RAFT_MSG_VOTE_RESP, 3)->send.msg.vote_resp.granted);
	EQ_INT(kit_status(&k).leader, 0);
	kit_close(&k);
}

TEST(a_leader_that_hears_no_quorum_steps_down)
{
	struct kit k;

	kit_open(&k, 5, 5, 0, NULL);
	kit_lead(&k);
	for (int i = 0; i < 20; i++) {     /* itself and two others are a quorum */
		kit_wait(&k, 100);
		kit_recv(&k, kit_ack(2, 6, 0, 0));
		kit_recv(&k, kit_ack(4, 6, 0, 0));
	}
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	for (int i = 0; i < 4; i++) {
		kit_wait(&k, 100);
		kit_recv(&k, kit_ack(2, 6, 0, 0));
	}
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	EQ_INT(kit_status(&k).term, 6);
	EQ_STR(kit_nth(&k, RAFT_FX_ROLE, 0)->role.reason, "no longer hears a quorum");
	kit_close(&k);
}

TEST(a_vote_given_earns_the_candidate_patience_a_vote_refused_does_not)
{
	struct kit k;
	mono_t before;

	kit_open(&k, 3, 5, 0, LOG_1_1_2);
	before = raft_deadline(k.r);
	k.now = mono_add_ms(k.now, 140);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 2, 6, 1, 1));
	EQ_INT(raft_deadline(k.r).ns, before.ns);
	kit_recv(&k, kit_vote(RAFT_MSG_VOTE, 3, 6, 3, 2));
	OK(mono_sub_ms(raft_deadline(k.r), k.now) >= 150);
	kit_close(&k);
}

TEST(a_link_that_comes_up_during_a_campaign_is_used)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, NULL);
	kit_candidate(&k);
	kit_clear(&k);
	kit_step(&k, (struct raft_event){.type = RAFT_EV_PEER_UP, .peer = 3});
	EQ_INT(kit_sent(&k, RAFT_MSG_VOTE, 3)->send.msg.term, 6);
	kit_close(&k);
}

TESTS = {
	T(silence_makes_a_follower_ask_within_the_bounds),
	T(election_timeouts_are_drawn_anew_each_time),
	T(a_pre_candidate_leaves_its_term_alone),
	T(a_pre_vote_quorum_starts_a_campaign),
	T(a_refused_pre_candidate_goes_back_to_waiting),
	T(pre_votes_are_refused_while_a_leader_is_alive),
	T(a_leader_refuses_pre_votes),
	T(a_disturbing_candidate_is_ignored_while_a_leader_is_alive),
	T(one_vote_a_term_to_the_first_who_asks),
	T(a_vote_survives_a_restart),
	T(votes_go_to_logs_at_least_as_up_to_date),
	T(a_vote_leaves_only_after_it_is_durable),
	T(a_new_term_is_durable_before_any_message_shows_it),
	T(the_own_vote_counts_once_it_is_durable),
	T(a_lone_node_leads_and_commits_by_its_disk_alone),
	T(a_slow_disk_does_not_raise_terms),
	T(a_candidate_yields_to_the_leader_of_its_term),
	T(a_candidate_without_success_asks_again_with_a_pre_vote),
	T(a_newer_term_makes_a_follower_of_anyone),
	T(a_granted_pre_vote_does_not_change_the_term),
	T(a_leader_of_the_past_is_told_the_present_term),
	T(a_leader_that_hears_no_quorum_steps_down),
	T(a_vote_given_earns_the_candidate_patience_a_vote_refused_does_not),
	T(a_link_that_comes_up_during_a_campaign_is_used),
};
TAP_MAIN
