/* SPDX-License-Identifier: Apache-2.0 */
/* The claims of the thesis about the log: 3.5, 3.6.2, 10.2.1. */
#include "base/err.h"
#include "tests/lib/raft_kit.h"
#include "tests/lib/tap.h"

static const uint64_t TERMS_1[] = {1, 0};
static const uint64_t TERMS_1_1[] = {1, 1, 0};
static const uint64_t TERMS_1_1_2[] = {1, 1, 2, 0};

TEST(a_new_leader_opens_its_term_with_a_no_op)
{
	struct kit k;

	kit_open(&k, 3, 5, 0, TERMS_1_1_2);
	kit_candidate(&k);
	kit_durable(&k);
	kit_recv(&k, kit_vote_resp(RAFT_MSG_VOTE_RESP, 2, 6, true));

	const struct raft_effect *e = kit_last(&k, RAFT_FX_APPEND);

	OK(e->append.noop && !e->append.own);
	EQ_INT(e->append.first, 4);
	EQ_INT(e->append.n, 1);
	EQ_INT(e->append.term, 6);
	kit_close(&k);
}

TEST(a_leader_sends_before_its_own_sync)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_clear(&k);
	EQ_INT(kit_propose(&k, 3), ERR_OK);
	EQ_INT(kit_replicate(&k, 2)->replicate.first, 2);
	EQ_INT(kit_replicate(&k, 2)->replicate.last, 4);
	EQ_INT(kit_replicate(&k, 2)->replicate.prev_index, 1);
	EQ_INT(kit_replicate(&k, 2)->replicate.prev_term, 1);
	kit_close(&k);
}

TEST(a_leader_counts_itself_after_its_sync_only)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	EQ_INT(kit_status(&k).commit, 1);
	kit_propose(&k, 1);
	kit_sent_all(&k);
	kit_recv(&k, kit_ack(2, 1, 2, 2));
	EQ_INT(kit_status(&k).commit, 1);
	kit_durable(&k);
	EQ_INT(kit_status(&k).commit, 2);
	EQ_INT(kit_last(&k, RAFT_FX_COMMIT)->commit.index, 2);
	kit_close(&k);
}

TEST(followers_alone_can_commit_but_a_node_applies_only_what_its_disk_has)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_recv(&k, kit_ack(3, 1, 1, 1));
	kit_clear(&k);
	kit_propose(&k, 1);
	kit_sent_all(&k);
	kit_recv(&k, kit_ack(2, 1, 2, 2));
	kit_recv(&k, kit_ack(3, 1, 2, 2));
	EQ_INT(kit_status(&k).commit, 2);
	EQ_INT(kit_replicate(&k, 2)->replicate.commit, 2);   /* the others learn it at once */
	EQ_INT(kit_count(&k, RAFT_FX_COMMIT), 0);
	kit_durable(&k);
	EQ_INT(kit_last(&k, RAFT_FX_COMMIT)->commit.index, 2);
	kit_close(&k);
}

TEST(entries_of_older_terms_are_not_committed_by_counting)   /* thesis, figure 3.7 */
{
	struct kit k;

	kit_open(&k, 5, 3, 0, TERMS_1_1_2);
	kit_lead(&k);                      /* of term 4; its no-op is entry 4 */
	for (uint64_t id = 2; id <= 5; id++)
		kit_recv(&k, kit_ack(id, 4, 3, 3));
	EQ_INT(kit_status(&k).commit, 0);
	kit_recv(&k, kit_ack(2, 4, 4, 4));
	EQ_INT(kit_status(&k).commit, 0);
	kit_recv(&k, kit_ack(3, 4, 4, 4));
	EQ_INT(kit_status(&k).commit, 4);  /* and with it all before */
	kit_close(&k);
}

TEST(commit_follows_the_median)
{
	struct kit k;

	kit_open(&k, 5, 0, 0, NULL);
	kit_lead(&k);
	kit_propose(&k, 9);
	kit_durable(&k);
	kit_recv(&k, kit_ack(2, 1, 7, 7));
	EQ_INT(kit_status(&k).commit, 0);
	kit_recv(&k, kit_ack(3, 1, 3, 3));
	EQ_INT(kit_status(&k).commit, 3);
	kit_recv(&k, kit_ack(4, 1, 10, 10));
	EQ_INT(kit_status(&k).commit, 7);
	kit_recv(&k, kit_ack(4, 1, 2, 2));   /* late: nothing goes back */
	EQ_INT(kit_status(&k).commit, 7);
	EQ_INT(kit_peer(&k, 4).match, 10);
	kit_close(&k);
}

TEST(a_follower_appends_what_is_new)
{
	static const uint64_t more[] = {1, 2, 2, 2, 0};
	struct kit k;

	kit_open(&k, 3, 2, 0, TERMS_1_1_2);
	kit_recv(&k, kit_append(2, 2, 1, 1, 0, more));   /* entries 2..5: 2 and 3 are there */

	const struct raft_effect *e = kit_last(&k, RAFT_FX_APPEND);

	EQ_INT(kit_count(&k, RAFT_FX_TRUNCATE), 0);
	EQ_INT(e->append.first, 4);
	EQ_INT(e->append.n, 2);
	EQ_INT(e->append.skip, 2);
	OK(!e->append.own && !e->append.noop);
	EQ_INT(raft_term_at(k.r, 5), 2);
	kit_close(&k);
}

TEST(only_what_contradicts_the_leader_is_cut)
{
	static const uint64_t others[] = {1, 3, 3, 0};
	struct kit k;

	kit_open(&k, 3, 3, 0, TERMS_1_1_2);
	kit_recv(&k, kit_append(2, 3, 1, 1, 0, others));
	EQ_INT(kit_last(&k, RAFT_FX_TRUNCATE)->truncate.from, 3);
	EQ_INT(kit_last(&k, RAFT_FX_APPEND)->append.first, 3);
	EQ_INT(kit_last(&k, RAFT_FX_APPEND)->append.skip, 1);
	OK(kit_last(&k, RAFT_FX_TRUNCATE)->seq < kit_last(&k, RAFT_FX_APPEND)->seq);
	EQ_INT(kit_status(&k).last_index, 4);
	kit_close(&k);
}

TEST(an_old_or_short_append_cuts_nothing)
{
	struct kit k;

	kit_open(&k, 3, 2, 0, TERMS_1_1_2);
	kit_recv(&k, kit_append(2, 2, 0, 0, 0, TERMS_1));
	kit_recv(&k, kit_append(2, 2, 1, 1, 0, NULL));
	EQ_INT(kit_status(&k).last_index, 3);
	EQ_INT(kit_count(&k, RAFT_FX_TRUNCATE) + kit_count(&k, RAFT_FX_APPEND), 0);
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp.match, 1);
	kit_close(&k);
}

TEST(new_entries_are_acknowledged_once_durable)
{
	struct kit k;

	kit_open(&k, 3, 1, 0, NULL);
	kit_follow(&k, 2, 1);
	kit_recv(&k, kit_append(2, 1, 0, 0, 0, TERMS_1_1));

	const struct raft_effect *ack = kit_sent(&k, RAFT_MSG_APPEND_RESP, 2);

	EQ_INT(ack->send.msg.append_resp.match, 2);
	EQ_INT(ack->send.need_seq, kit_last(&k, RAFT_FX_APPEND)->seq);
	kit_close(&k);
}

TEST(a_heartbeat_is_answered_at_once_and_claims_only_what_is_durable)
{
	struct kit k;

	kit_open(&k, 3, 1, 0, NULL);
	kit_follow(&k, 2, 1);
	kit_recv(&k, kit_append(2, 1, 0, 0, 0, TERMS_1_1));
	kit_clear(&k);
	kit_recv(&k, kit_append(2, 1, 2, 1, 0, NULL));
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.need_seq, 0);
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp.index, 2);
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp.match, 0);
	kit_durable(&k);
	kit_recv(&k, kit_append(2, 1, 2, 1, 0, NULL));
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp.match, 2);
	kit_close(&k);
}

TEST(durability_reported_for_what_was_cut_since_counts_for_nothing)
{
	static const uint64_t twos[] = {2, 2, 0};
	struct kit k;
	uint64_t old_seq;

	kit_open(&k, 3, 1, 0, NULL);
	kit_follow(&k, 2, 1);
	kit_recv(&k, kit_append(2, 1, 0, 0, 0, TERMS_1_1));
	old_seq = k.seq;
	kit_recv(&k, kit_append(3, 2, 0, 0, 0, twos));
	kit_step(&k,
		 (struct raft_event){
			 .type = RAFT_EV_DURABLE, .seq = old_seq, .last_index = 2, .last_term = 1});
	EQ_INT(kit_status(&k).durable_index, 0);
	kit_durable(&k);
	EQ_INT(kit_status(&k).durable_index, 2);
	kit_close(&k);
}

TEST(commit_reaches_no_further_than_the_append_proves)
{
	struct kit k;

	kit_open(&k, 3, 2, 0, TERMS_1_1_2);
	kit_recv(&k, kit_append(2, 4, 1, 1, 9, TERMS_1));   /* entry 3 may yet be cut */
	EQ_INT(kit_status(&k).commit, 2);
	EQ_INT(kit_last(&k, RAFT_FX_COMMIT)->commit.index, 2);
	kit_close(&k);
}

TEST(a_missing_entry_is_rejected_with_the_end_of_the_log)
{
	struct kit k;

	kit_open(&k, 3, 2, 0, TERMS_1_1_2);
	kit_recv(&k, kit_append(2, 2, 9, 2, 0, NULL));

	const struct raft_msg_append_resp *a =
		&kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp;

	OK(a->reject);
	EQ_INT(a->index, 9);
	EQ_INT(a->hint_index, 3);
	EQ_INT(a->hint_term, 2);
	kit_close(&k);
}

/* The follower's log has a long tail of a term the leader never saw: one hint skips it all. */
TEST(a_follower_skips_its_terms_that_the_leader_cannot_have)
{
	static const uint64_t log[] = {1, 1, 2, 2, 2, 2, 2, 0};
	struct kit k;

	kit_open(&k, 3, 3, 0, log);
	kit_recv(&k, kit_append(2, 4, 6, 1, 0, NULL));
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp.hint_index, 2);
	EQ_INT(kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp.hint_term, 1);
	kit_close(&k);
}

/* The leader has a long run of a term newer than the follower's: it skips that by itself. */
TEST(a_leader_skips_its_terms_that_the_follower_cannot_have)
{
	static const uint64_t log[] = {1, 1, 3, 3, 3, 3, 3, 0};
	struct kit k;

	kit_open(&k, 3, 3, 0, log);
	kit_lead(&k);
	kit_recv(&k, kit_reject(2, 4, 7, 5, 2));
	EQ_INT(kit_replicate(&k, 2)->replicate.prev_index, 2);
	EQ_INT(kit_peer(&k, 2).state, RAFT_PEER_PROBE);
	kit_close(&k);
}

TEST(a_probe_carries_one_entry_at_most_then_appends_flow)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_propose(&k, 20);
	EQ_INT(kit_peer(&k, 2).state, RAFT_PEER_PROBE);
	EQ_INT(kit_count(&k, RAFT_FX_REPLICATE), 0);   /* one probe at a time */
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	EQ_INT(kit_peer(&k, 2).state, RAFT_PEER_REPLICATE);
	EQ_INT(kit_replicate(&k, 2)->replicate.first, 2);
	EQ_INT(kit_replicate(&k, 2)->replicate.last, 21);
	kit_close(&k);
}

TEST(appends_are_pipelined_up_to_the_window)
{
	struct raft_config cfg = {
		.id = 1, .voters = {1, 2, 3}, .voter_count = 3, .inflight_msgs = 4};
	struct kit k;

	kit_open_with(&k, &cfg, &(struct raft_state){0});
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	for (int i = 0; i < 10; i++) {
		kit_propose(&k, 1);
		kit_sent_all(&k);
	}
	EQ_INT(kit_peer(&k, 2).inflight_msgs, 4);
	EQ_INT(kit_peer(&k, 2).next, 6);
	kit_clear(&k);
	kit_recv(&k, kit_ack(2, 1, 3, 3));   /* frees two places: the rest goes as one message */
	EQ_INT(kit_peer(&k, 2).inflight_msgs, 2);
	EQ_INT(kit_replicate(&k, 2)->replicate.first, 6);
	EQ_INT(kit_replicate(&k, 2)->replicate.last, 11);
	kit_close(&k);
}

TEST(the_window_also_counts_bytes)
{
	struct raft_config cfg = {
		.id = 1, .voters = {1, 2, 3}, .voter_count = 3, .inflight_bytes = 250};
	struct kit k;

	kit_open_with(&k, &cfg, &(struct raft_state){0});
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	for (int i = 0; i < 10; i++) {
		kit_propose(&k, 1);
		kit_sent_all(&k);          /* 100 bytes each */
	}
	EQ_INT(kit_peer(&k, 2).inflight_msgs, 3);
	EQ_INT(kit_peer(&k, 2).inflight_bytes, 300);
	kit_recv(&k, kit_ack(2, 1, 4, 4));
	EQ_INT(kit_peer(&k, 2).inflight_bytes, 0);
	kit_close(&k);
}

TEST(next_moves_with_what_the_driver_could_send)
{
	struct kit k;
	struct raft_effect e;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_propose(&k, 10);
	e = *kit_replicate(&k, 2);
	kit_clear(&k);
	kit_step(&k,
		 (struct raft_event){
			 .type = RAFT_EV_SENT, .peer = 2, .grant = e.replicate.grant, .last = 5});
	EQ_INT(kit_replicate(&k, 2)->replicate.first, 6);   /* and asks for the rest at once */
	EQ_INT(kit_replicate(&k, 2)->replicate.last, 11);
	kit_close(&k);
}

TEST(a_driver_that_can_send_nothing_is_not_asked_before_the_next_heartbeat)
{
	struct kit k;
	struct raft_effect e;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_propose(&k, 10);
	e = *kit_replicate(&k, 2);
	kit_clear(&k);
	kit_step(&k,
		 (struct raft_event){
			 .type = RAFT_EV_SENT, .peer = 2, .grant = e.replicate.grant, .last = 1});
	kit_propose(&k, 1);
	EQ_INT(kit_count(&k, RAFT_FX_REPLICATE), 0);
	kit_wait(&k, 50);
	OK(kit_nth(&k, RAFT_FX_REPLICATE, 0)->replicate.grant != 0);
	EQ_INT(kit_nth(&k, RAFT_FX_REPLICATE, 0)->replicate.last, 12);
	kit_close(&k);
}

TEST(a_lost_append_shows_at_the_next_heartbeat)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_propose(&k, 3);
	kit_sent_all(&k);                  /* and lost */
	kit_wait(&k, 50);
	EQ_INT(kit_replicate(&k, 2)->replicate.prev_index, 4);
	EQ_INT(kit_replicate(&k, 2)->replicate.last, 4);
	kit_recv(&k, kit_reject(2, 1, 4, 1, 1));
	EQ_INT(kit_replicate(&k, 2)->replicate.prev_index, 1);
	EQ_INT(kit_peer(&k, 2).inflight_msgs, 0);
	kit_close(&k);
}

TEST(a_rejection_overtaken_by_an_acknowledgement_is_ignored)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_propose(&k, 3);
	kit_sent_all(&k);
	kit_recv(&k, kit_ack(2, 1, 4, 4));
	kit_recv(&k, kit_reject(2, 1, 3, 1, 1));
	EQ_INT(kit_peer(&k, 2).state, RAFT_PEER_REPLICATE);
	EQ_INT(kit_peer(&k, 2).next, 5);
	kit_close(&k);
}

TEST(a_broken_link_voids_permissions_and_is_probed_again)
{
	struct kit k;
	struct raft_effect e;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_propose(&k, 3);
	e = *kit_replicate(&k, 2);
	kit_step(&k, (struct raft_event){.type = RAFT_EV_PEER_DOWN, .peer = 2});
	kit_clear(&k);
	kit_step(&k,
		 (struct raft_event){
			 .type = RAFT_EV_SENT, .peer = 2, .grant = e.replicate.grant, .last = 4});
	kit_wait(&k, 50);
	OK(kit_replicate(&k, 2) == NULL);
	EQ_INT(kit_peer(&k, 2).next, 2);
	kit_step(&k, (struct raft_event){.type = RAFT_EV_PEER_UP, .peer = 2});
	OK(kit_replicate(&k, 2) != NULL);
	EQ_INT(kit_peer(&k, 2).state, RAFT_PEER_PROBE);
	kit_close(&k);
}

TEST(heartbeats_go_out_in_time_even_when_entries_flow)
{
	struct kit k;
	uint32_t empty = 0;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_propose(&k, 3);
	kit_sent_all(&k);
	kit_clear(&k);
	kit_wait(&k, 100);
	for (uint32_t i = 0; i < kit_count(&k, RAFT_FX_REPLICATE); i++)
		empty += kit_nth(&k, RAFT_FX_REPLICATE, i)->replicate.peer == 2;
	EQ_INT(empty, 2);
	kit_close(&k);
}

TEST(proposals_elsewhere_are_refused_with_the_reason)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	EQ_INT(kit_propose(&k, 1), ERR_NO_LEADER);
	kit_follow(&k, 3, 1);
	EQ_INT(kit_propose(&k, 1), ERR_NOT_LEADER);
	EQ_INT(raft_leader(k.r), 3);
	EQ_INT(k.count, 0);
	kit_close(&k);
}

TEST(an_answer_to_an_append_of_an_older_term_is_no_news_of_the_log)
{
	struct kit k;
	struct raft_msg m = {.type = RAFT_MSG_APPEND_RESP,
			     .from = 2,
			     .term = 1,
			     .append_resp = {.reject = true}};

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	EQ_INT(kit_recv(&k, m), ERR_OK);
	EQ_INT(kit_peer(&k, 2).state, RAFT_PEER_REPLICATE);
	kit_close(&k);
}

TESTS = {
	T(a_new_leader_opens_its_term_with_a_no_op),
	T(a_leader_sends_before_its_own_sync),
	T(a_leader_counts_itself_after_its_sync_only),
	T(followers_alone_can_commit_but_a_node_applies_only_what_its_disk_has),
	T(entries_of_older_terms_are_not_committed_by_counting),
	T(commit_follows_the_median),
	T(a_follower_appends_what_is_new),
	T(only_what_contradicts_the_leader_is_cut),
	T(an_old_or_short_append_cuts_nothing),
	T(new_entries_are_acknowledged_once_durable),
	T(a_heartbeat_is_answered_at_once_and_claims_only_what_is_durable),
	T(durability_reported_for_what_was_cut_since_counts_for_nothing),
	T(commit_reaches_no_further_than_the_append_proves),
	T(a_missing_entry_is_rejected_with_the_end_of_the_log),
	T(a_follower_skips_its_terms_that_the_leader_cannot_have),
	T(a_leader_skips_its_terms_that_the_follower_cannot_have),
	T(a_probe_carries_one_entry_at_most_then_appends_flow),
	T(appends_are_pipelined_up_to_the_window),
	T(the_window_also_counts_bytes),
	T(next_moves_with_what_the_driver_could_send),
	T(a_driver_that_can_send_nothing_is_not_asked_before_the_next_heartbeat),
	T(a_lost_append_shows_at_the_next_heartbeat),
	T(a_rejection_overtaken_by_an_acknowledgement_is_ignored),
	T(a_broken_link_voids_permissions_and_is_probed_again),
	T(heartbeats_go_out_in_time_even_when_entries_flow),
	T(proposals_elsewhere_are_refused_with_the_reason),
	T(an_answer_to_an_append_of_an_older_term_is_no_news_of_the_log),
};
TAP_MAIN
