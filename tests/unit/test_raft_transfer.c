/* SPDX-License-Identifier: Apache-2.0 */
/* Handing the leadership over (thesis 3.10), and logs that were cut behind snapshots (5.1, 5.3). */
#include "base/err.h"
#include "tests/lib/raft_cluster.h"
#include "tests/lib/raft_kit.h"
#include "tests/lib/tap.h"

static int transfer(struct kit *k, uint64_t to)
{
	return kit_step(k, (struct raft_event){.type = RAFT_EV_TRANSFER, .peer = to});
}

static void open_leader(struct kit *k)
{
	kit_open(k, 3, 0, 0, NULL);
	kit_lead(k);
	kit_recv(k, kit_ack(2, 1, 1, 1));
	kit_recv(k, kit_ack(3, 1, 1, 1));
	kit_clear(k);
}

TEST(a_successor_that_is_up_to_date_is_told_at_once)
{
	struct kit k;

	open_leader(&k);
	EQ_INT(transfer(&k, 3), ERR_OK);
	OK(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 3) != NULL);
	EQ_INT(kit_status(&k).transfer_to, 3);
	EQ_INT(kit_propose(&k, 1), ERR_LEADER_CHANGED);
	kit_close(&k);
}

TEST(a_successor_that_is_behind_is_told_when_it_has_caught_up)
{
	struct kit k;

	open_leader(&k);
	kit_propose(&k, 2);
	kit_sent_all(&k);
	EQ_INT(transfer(&k, 3), ERR_OK);
	OK(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 3) == NULL);
	kit_recv(&k, kit_ack(3, 1, 2, 2));
	OK(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 3) == NULL);
	kit_recv(&k, kit_ack(3, 1, 3, 3));
	OK(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 3) != NULL);
	kit_close(&k);
}

TEST(a_transfer_that_fails_ends_after_an_election_timeout)
{
	struct kit k;

	open_leader(&k);
	transfer(&k, 3);
	kit_wait(&k, 250);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	kit_recv(&k, kit_ack(3, 1, 1, 1));
	EQ_INT(kit_count(&k, RAFT_FX_TRANSFER_ABORTED), 0);
	kit_wait(&k, 50);
	EQ_INT(kit_last(&k, RAFT_FX_TRANSFER_ABORTED)->peer.peer, 3);
	EQ_INT(kit_propose(&k, 1), ERR_OK);
	kit_close(&k);
}

TEST(a_transfer_ends_when_the_link_to_the_successor_breaks)
{
	struct kit k;

	open_leader(&k);
	transfer(&k, 3);
	kit_step(&k, (struct raft_event){.type = RAFT_EV_PEER_DOWN, .peer = 3});
	EQ_INT(kit_last(&k, RAFT_FX_TRANSFER_ABORTED)->peer.peer, 3);
	EQ_INT(transfer(&k, 3), ERR_BAD_TARGET);
	kit_close(&k);
}

TEST(the_best_successor_is_the_one_with_the_longest_log_that_is_heard)
{
	struct kit k;

	open_leader(&k);
	kit_propose(&k, 1);
	kit_sent_all(&k);
	kit_recv(&k, kit_ack(3, 1, 2, 2));
	EQ_INT(transfer(&k, 0), ERR_OK);
	EQ_INT(kit_status(&k).transfer_to, 3);
	kit_close(&k);
}

/* Both followers have synced an entry that this leader's own disk owes. */
static void open_stalled(struct kit *k)
{
	open_leader(k);
	kit_propose(k, 1);
	kit_sent_all(k);
	kit_recv(k, kit_ack(2, 1, 2, 2));
	kit_recv(k, kit_ack(3, 1, 2, 2));
	kit_clear(k);
}

/* Time passes in which the followers are heard and the disk is not. */
static void hear_both(struct kit *k, uint32_t ms, uint64_t match)
{
	for (uint32_t t = 0; t < ms; t += 50) {
		kit_wait(k, 50);
		kit_recv(k, kit_ack(2, 1, match, match));
		kit_recv(k, kit_ack(3, 1, match, match));
		kit_sent_all(k);
	}
}

TEST(a_leader_whose_disk_hangs_hands_over_to_a_follower_whose_disk_works)
{
	struct kit k;

	open_stalled(&k);
	kit_propose(&k, 1);
	kit_sent_all(&k);
	kit_recv(&k, kit_ack(3, 1, 3, 3));
	hear_both(&k, 1150, 2);
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	hear_both(&k, 100, 2);
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	EQ_INT(kit_status(&k).term, 1);
	OK(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 3) != NULL);
	EQ_INT(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 3)->send.need_seq, 0);
	OK(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 2) == NULL);
	EQ_INT(kit_propose(&k, 1), ERR_NO_LEADER);
	kit_close(&k);
}

TEST(a_leader_with_a_slow_disk_that_comes_on_keeps_its_office)
{
	struct kit k;

	open_stalled(&k);
	for (int i = 0; i < 5; i++) {
		hear_both(&k, 1000, 2 + (uint64_t)i);
		kit_durable(&k);
		kit_propose(&k, 1);
		kit_sent_all(&k);
		kit_recv(&k, kit_ack(2, 1, 3 + (uint64_t)i, 3 + (uint64_t)i));
	}
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	kit_close(&k);
}

TEST(a_leader_that_owes_its_disk_nothing_waits_for_ever)
{
	struct kit k;

	open_stalled(&k);
	kit_durable(&k);
	hear_both(&k, 10000, 2);
	kit_propose(&k, 1);              /* the wait begins here */
	kit_sent_all(&k);
	hear_both(&k, 1000, 3);
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	kit_close(&k);
}

TEST(a_stalled_leader_whom_the_quorum_needs_stays)
{
	struct kit k;

	open_leader(&k);
	kit_propose(&k, 1);
	kit_sent_all(&k);
	for (int i = 0; i < 100; i++) {          /* node 2 has synced, node 3 is away */
		kit_wait(&k, 50);
		kit_recv(&k, kit_ack(2, 1, 2, 2));
	}
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	OK(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 2) == NULL);
	kit_close(&k);
}

/* Once both others had it; now one is gone, and without this node's vote nobody is elected. */
TEST(a_stalled_leader_whose_quorum_has_gone_meanwhile_stays)
{
	struct kit k;

	open_stalled(&k);
	for (int i = 0; i < 100; i++) {
		kit_wait(&k, 50);
		kit_recv(&k, kit_ack(2, 1, 2, 2));
		kit_sent_all(&k);
	}
	EQ_INT(kit_status(&k).role, RAFT_LEADER);
	OK(kit_sent(&k, RAFT_MSG_TIMEOUT_NOW, 2) == NULL);
	hear_both(&k, 100, 2);                       /* it comes back */
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	kit_close(&k);
}

TEST(bad_targets_are_refused)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	EQ_INT(transfer(&k, 2), ERR_NO_LEADER);
	kit_follow(&k, 2, 1);
	EQ_INT(transfer(&k, 3), ERR_NOT_LEADER);
	kit_close(&k);
	open_leader(&k);
	EQ_INT(transfer(&k, 9), ERR_BAD_TARGET);
	EQ_INT(transfer(&k, 1), ERR_OK);   /* it leads already */
	EQ_INT(kit_status(&k).transfer_to, 0);
	kit_close(&k);
	kit_open(&k, 1, 0, 0, NULL);
	kit_lead(&k);
	EQ_INT(transfer(&k, 0), ERR_BAD_TARGET);
	kit_close(&k);
}

TEST(the_chosen_one_campaigns_at_once_and_without_a_pre_vote)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_follow(&k, 2, 1);
	kit_recv(&k, (struct raft_msg){
			     .type = RAFT_MSG_TIMEOUT_NOW, .from = 3, .term = 1}); /* no leader */
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	kit_recv(&k, (struct raft_msg){.type = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 1});
	EQ_INT(kit_status(&k).role, RAFT_CANDIDATE);
	OK(kit_sent(&k, RAFT_MSG_VOTE, 2)->send.msg.vote.transfer);
	EQ_INT(kit_sent(&k, RAFT_MSG_VOTE, 2)->send.msg.term, 2);
	kit_close(&k);
}

static bool led_by_another(struct cluster *c)
{
	return cluster_leader(c) != 0 && cluster_leader(c) != c->reads[0].node &&
	       cluster_settled(c);
}

TEST(a_transfer_takes_a_few_round_trips_not_an_election_timeout)
{
	for (uint64_t i = 0; i < tap_rounds(20); i++) {
		struct cluster *c = cluster_create(
			&(struct cluster_options){.nodes = 5, .seed = tap_seed(1) + i});
		uint64_t old;

		cluster_await_leader(c, 5000);
		old = cluster_leader(c);
		cluster_run(c, 200);
		cluster_read(c, old);
		EQ_INT(cluster_event(c, old, (struct raft_event){.type = RAFT_EV_TRANSFER}),
		       ERR_OK);
		cluster_run_until(c, led_by_another, 60);
		EQ_STR(c->failure, "");
		cluster_destroy(c);
	}
}

/* ---- snapshots ---- */

static void compact(struct kit *k, uint64_t index)
{
	kit_step(k, (struct raft_event){.type = RAFT_EV_COMPACTED, .index = index});
}

static int install(struct kit *k, uint64_t index, uint64_t term)
{
	return kit_step(k, (struct raft_event){
				   .type = RAFT_EV_INSTALLED, .index = index, .index_term = term});
}

TEST(a_peer_behind_the_cut_gets_a_snapshot_and_heartbeats_meanwhile)
{
	struct kit k;

	open_leader(&k);
	kit_propose(&k, 9);
	kit_sent_all(&k);
	kit_durable(&k);
	kit_recv(&k, kit_ack(2, 1, 10, 10));
	compact(&k, 8);
	EQ_INT(kit_status(&k).base_index, 8);
	EQ_INT(raft_term_at(k.r, 7), 0);
	kit_clear(&k);
	kit_recv(&k, kit_reject(3, 1, 10, 1, 1));   /* it lost entries 2..10 */
	EQ_INT(kit_replicate(&k, 3)->replicate.prev_index, 8);
	kit_recv(&k, kit_reject(3, 1, 8, 1, 1));
	EQ_INT(kit_last(&k, RAFT_FX_SNAPSHOT)->peer.peer, 3);
	EQ_INT(kit_peer(&k, 3).state, RAFT_PEER_SNAPSHOT);
	kit_wait(&k, 50);
	EQ_INT(kit_replicate(&k, 3)->replicate.prev_index, 0);
	kit_recv(&k, kit_ack(3, 1, 0, 0));
	EQ_INT(kit_peer(&k, 3).state, RAFT_PEER_SNAPSHOT);
	kit_clear(&k);
	kit_step(&k, (struct raft_event){.type = RAFT_EV_SNAPSHOT_DONE, .peer = 3});
	EQ_INT(kit_replicate(&k, 3)->replicate.prev_index, 10);
	kit_recv(&k,
		 kit_ack(3, 1, 0, 0)); /* of the last heartbeat: no reason for another snapshot */
	EQ_INT(kit_count(&k, RAFT_FX_SNAPSHOT), 0);
	kit_recv(&k, kit_reject(3, 1, 10, 9, 1));
	EQ_INT(kit_replicate(&k, 3)->replicate.prev_index, 9);
	kit_close(&k);
}

TEST(a_snapshot_beyond_the_log_replaces_it)
{
	static const uint64_t log[] = {1, 1, 2, 0};
	struct kit k;

	kit_open(&k, 3, 2, 0, log);
	EQ_INT(install(&k, 50, 2), ERR_OK);
	EQ_INT(kit_last(&k, RAFT_FX_RESET)->reset.index, 50);
	EQ_INT(kit_status(&k).last_index, 50);
	EQ_INT(kit_status(&k).told_commit, 50);
	EQ_INT(kit_count(&k, RAFT_FX_COMMIT), 0);   /* the store is there already */
	kit_recv(&k, kit_append(2, 2, 50, 2, 50, (const uint64_t[]){2, 0}));
	EQ_INT(kit_last(&k, RAFT_FX_APPEND)->append.first, 51);
	kit_close(&k);
}

TEST(a_snapshot_within_the_log_keeps_what_follows)
{
	static const uint64_t log[] = {1, 1, 2, 0};
	struct kit k;

	kit_open(&k, 3, 2, 0, log);
	EQ_INT(install(&k, 2, 1), ERR_OK);
	EQ_INT(kit_count(&k, RAFT_FX_RESET), 0);
	EQ_INT(kit_status(&k).last_index, 3);
	EQ_INT(kit_status(&k).told_commit, 2);
	EQ_INT(install(&k, 1, 1), ERR_OK);   /* older: nothing */
	EQ_INT(kit_status(&k).told_commit, 2);
	kit_close(&k);
}

TEST(a_snapshot_that_contradicts_the_log_replaces_it)
{
	static const uint64_t log[] = {1, 1, 2, 0};
	struct kit k;

	kit_open(&k, 3, 2, 0, log);
	EQ_INT(install(&k, 2, 3), ERR_OK);   /* of a term not heard of yet */
	EQ_INT(kit_last(&k, RAFT_FX_RESET)->reset.index, 2);
	EQ_INT(kit_status(&k).last_index, 2);
	EQ_INT(kit_status(&k).term, 3);
	OK(kit_last(&k, RAFT_FX_HARD_STATE)->seq < kit_last(&k, RAFT_FX_RESET)->seq);
	kit_close(&k);
}

TEST(a_snapshot_that_cannot_be_is_refused)
{
	struct kit k;

	open_leader(&k);
	EQ_INT(install(&k, 5, 0), ERR_CORRUPT);
	EQ_INT(install(&k, RAFT_INDEX_MAX + 1, 1), ERR_CORRUPT);
	EQ_INT(install(&k, 5, RAFT_TERM_MAX + 1), ERR_CORRUPT);
	EQ_INT(install(&k, 5, 1), ERR_CORRUPT);   /* a leader has every committed entry */
	EQ_INT(kit_status(&k).last_index, 1);
	kit_close(&k);
}

TEST(an_append_that_begins_before_the_cut_is_understood)
{
	static const uint64_t terms[] = {1, 2, 2, 2, 0};
	static const struct raft_run runs[] = {{4, 2}};
	struct raft_config cfg = {.id = 1, .voters = {1, 2, 3}, .voter_count = 3};
	struct raft_state st = {.term = 2,
				.base_index = 3,
				.base_term = 2,
				.last_index = 4,
				.runs = runs,
				.run_count = 1,
				.commit = 3};
	struct kit k;

	kit_open_with(&k, &cfg, &st);
	kit_recv(&k, kit_append(2, 2, 1, 1, 0, terms));   /* entries 2..5 */
	EQ_INT(kit_last(&k, RAFT_FX_APPEND)->append.first, 5);
	EQ_INT(kit_last(&k, RAFT_FX_APPEND)->append.skip, 3);
	kit_recv(&k, kit_append(2, 2, 0, 0, 0, (const uint64_t[]){1, 0}));
	OK(!kit_sent(&k, RAFT_MSG_APPEND_RESP, 2)->send.msg.append_resp.reject);
	kit_close(&k);
}

TESTS = {
	T(a_successor_that_is_up_to_date_is_told_at_once),
	T(a_successor_that_is_behind_is_told_when_it_has_caught_up),
	T(a_transfer_that_fails_ends_after_an_election_timeout),
	T(a_transfer_ends_when_the_link_to_the_successor_breaks),
	T(the_best_successor_is_the_one_with_the_longest_log_that_is_heard),
	T(a_leader_whose_disk_hangs_hands_over_to_a_follower_whose_disk_works),
	T(a_leader_with_a_slow_disk_that_comes_on_keeps_its_office),
	T(a_leader_that_owes_its_disk_nothing_waits_for_ever),
	T(a_stalled_leader_whom_the_quorum_needs_stays),
	T(a_stalled_leader_whose_quorum_has_gone_meanwhile_stays),
	T(bad_targets_are_refused),
	T(the_chosen_one_campaigns_at_once_and_without_a_pre_vote),
	T(a_transfer_takes_a_few_round_trips_not_an_election_timeout),
	T(a_peer_behind_the_cut_gets_a_snapshot_and_heartbeats_meanwhile),
	T(a_snapshot_beyond_the_log_replaces_it),
	T(a_snapshot_within_the_log_keeps_what_follows),
	T(a_snapshot_that_contradicts_the_log_replaces_it),
	T(a_snapshot_that_cannot_be_is_refused),
	T(an_append_that_begins_before_the_cut_is_understood),
};
TAP_MAIN
