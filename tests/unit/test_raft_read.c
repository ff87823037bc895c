/* SPDX-License-Identifier: Apache-2.0 */
/* Linearizable reads, thesis 6.4. */
#include "tests/lib/raft_cluster.h"
#include "tests/lib/raft_kit.h"
#include "tests/lib/tap.h"

/* Leader of term 1 whose no-op is committed; round is still 0. */
static void open_leader(struct kit *k, uint32_t nodes)
{
	kit_open(k, nodes, 0, 0, NULL);
	kit_lead(k);
	for (uint64_t id = 2; id <= nodes; id++)
		kit_recv(k, kit_ack(id, 1, 1, 1));
	kit_clear(k);
}

static void ack_round(struct kit *k, uint64_t from, uint64_t round)
{
	struct raft_msg m = kit_ack(from, 1, 1, 1);

	m.append_resp.round = round;
	kit_recv(k, m);
}

TEST(a_read_is_confirmed_by_a_quorum_that_was_asked_after_it)
{
	struct kit k;

	open_leader(&k, 5);
	kit_read(&k, 7);
	for (uint64_t id = 2; id <= 5; id++) {
		EQ_INT(kit_replicate(&k, id)->replicate.round, 1);
		EQ_INT(kit_replicate(&k, id)->replicate.last,
		       1); /* without entries: no disk in the way */
	}
	ack_round(&k, 2, 1);
	ack_round(&k, 2, 1);
	ack_round(&k, 3, 0);               /* was asked before the read */
	EQ_INT(kit_count(&k, RAFT_FX_READ_OK), 0);
	ack_round(&k, 3, 1);
	EQ_INT(kit_last(&k, RAFT_FX_READ_OK)->read.ctx, 7);
	EQ_INT(kit_last(&k, RAFT_FX_READ_OK)->read.index, 1);
	kit_close(&k);
}

TEST(reads_during_a_round_share_the_next_one)
{
	struct kit k;

	open_leader(&k, 3);
	kit_read(&k, 1);
	kit_read(&k, 2);
	kit_read(&k, 3);
	EQ_INT(kit_replicate(&k, 2)->replicate.round, 1);
	ack_round(&k, 2, 1);
	EQ_INT(kit_count(&k, RAFT_FX_READ_OK), 1);
	EQ_INT(kit_replicate(&k, 2)->replicate.round, 2);
	ack_round(&k, 2, 1);
	EQ_INT(kit_count(&k, RAFT_FX_READ_OK), 1);
	ack_round(&k, 3, 2);
	EQ_INT(kit_count(&k, RAFT_FX_READ_OK), 3);
	EQ_INT(kit_status(&k).reads_waiting, 0);
	kit_close(&k);
}

TEST(a_new_leader_answers_no_read_before_its_own_term_commits)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_lead(&k);
	kit_read(&k, 7);
	EQ_INT(kit_count(&k, RAFT_FX_REPLICATE), 0);
	EQ_INT(kit_status(&k).reads_waiting, 1);
	kit_recv(&k, kit_ack(2, 1, 1, 1));
	EQ_INT(kit_replicate(&k, 2)->replicate.round, 1);
	ack_round(&k, 2, 1);
	EQ_INT(kit_last(&k, RAFT_FX_READ_OK)->read.index, 1);
	kit_close(&k);
}

TEST(a_rejection_confirms_the_term_as_well)
{
	struct kit k;
	struct raft_msg m = kit_reject(2, 1, 1, 0, 0);

	open_leader(&k, 3);
	kit_read(&k, 7);
	m.append_resp.round = 1;
	kit_recv(&k, m);
	EQ_INT(kit_count(&k, RAFT_FX_READ_OK), 1);
	kit_close(&k);
}

TEST(reads_fail_when_leadership_is_lost)
{
	struct kit k;

	open_leader(&k, 3);
	kit_read(&k, 1);
	kit_read(&k, 2);
	kit_recv(&k, kit_append(2, 2, 0, 0, 0, NULL));
	EQ_INT(kit_count(&k, RAFT_FX_READ_FAIL), 2);
	kit_close(&k);
}

TEST(waiting_reads_are_bounded)
{
	struct kit k;

	open_leader(&k, 3);
	for (uint64_t i = 0; i < 10; i++)
		kit_read(&k, i);           /* the kit allows 8 */
	EQ_INT(kit_count(&k, RAFT_FX_READ_FAIL), 2);
	EQ_INT(kit_nth(&k, RAFT_FX_READ_FAIL, 0)->read.ctx, 8);
	kit_close(&k);
}

TEST(without_a_leader_reads_fail_at_once)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_read(&k, 1);
	EQ_INT(kit_count(&k, RAFT_FX_READ_FAIL), 1);
	kit_close(&k);
}

static struct raft_msg read_resp(uint64_t from, uint64_t term, uint64_t id, bool ok, uint64_t index)
{
	return (struct raft_msg){.type = RAFT_MSG_READ_RESP, .from = from, .term = term,
				 .read = {.id = id, .ok = ok, .index = index}};
}

TEST(a_follower_asks_its_leader_one_request_at_a_time)
{
	struct kit k;
	uint64_t id;

	kit_open(&k, 3, 0, 0, NULL);
	kit_follow(&k, 2, 1);
	kit_read(&k, 1);
	kit_read(&k, 2);
	EQ_INT(kit_count(&k, RAFT_FX_SEND), 1);
	id = kit_sent(&k, RAFT_MSG_READ_REQ, 2)->send.msg.read.id;
	kit_recv(&k, read_resp(2, 1, id, true, 9));
	EQ_INT(kit_count(&k, RAFT_FX_READ_OK), 1);
	EQ_INT(kit_last(&k, RAFT_FX_READ_OK)->read.ctx, 1);
	EQ_INT(kit_last(&k, RAFT_FX_READ_OK)->read.index, 9);
	EQ_INT(kit_sent(&k, RAFT_MSG_READ_REQ, 2)->send.msg.read.id, id + 1);
	kit_recv(&k, read_resp(2, 1, id, true, 9));   /* repeated: answers nothing newer */
	EQ_INT(kit_count(&k, RAFT_FX_READ_OK), 1);
	kit_recv(&k, read_resp(2, 1, id + 1, false, 0));
	EQ_INT(kit_last(&k, RAFT_FX_READ_FAIL)->read.ctx, 2);
	kit_close(&k);
}

TEST(a_followers_reads_fail_when_the_answer_cannot_come)
{
	struct kit k;

	kit_open(&k, 3, 0, 0, NULL);
	kit_follow(&k, 2, 1);
	kit_read(&k, 1);
	kit_step(&k, (struct raft_event){.type = RAFT_EV_PEER_DOWN, .peer = 2});
	EQ_INT(kit_last(&k, RAFT_FX_READ_FAIL)->read.ctx, 1);
	kit_read(&k, 2);
	kit_recv(&k, kit_append(3, 2, 0, 0, 0, NULL));
	EQ_INT(kit_last(&k, RAFT_FX_READ_FAIL)->read.ctx, 2);
	kit_read(&k, 3);
	for (int i = 0; i < 30; i++) {     /* the leader lives, but the request was lost */
		kit_recv(&k, kit_append(3, 2, 0, 0, 0, NULL));
		kit_wait(&k, 10);
	}
	EQ_INT(kit_last(&k, RAFT_FX_READ_FAIL)->read.ctx, 3);
	EQ_INT(kit_status(&k).role, RAFT_FOLLOWER);
	kit_close(&k);
}

TEST(request_numbers_do_not_repeat_after_a_restart)
{
	struct raft_config cfg = {.id = 1, .voters = {1, 2, 3}, .voter_count = 3};
	uint64_t ids[2];

	for (uint64_t i = 0; i < 2; i++) {
		struct kit k;

		cfg.seed = i;
		kit_open_with(&k, &cfg, &(struct raft_state){.term = 1});
		kit_follow(&k, 2, 1);
		kit_read(&k, 1);
		ids[i] = kit_sent(&k, RAFT_MSG_READ_REQ, 2)->send.msg.read.id;
		kit_close(&k);
	}
	OK(ids[0] - ids[1] > 1000000 && ids[1] - ids[0] > 1000000);
}

TEST(a_leader_answers_its_followers_reads_after_a_round)
{
	struct kit k;
	struct raft_msg m = {.type = RAFT_MSG_READ_REQ, .from = 3, .term = 1, .read = {.id = 99}};

	open_leader(&k, 3);
	kit_recv(&k, m);
	OK(kit_sent(&k, RAFT_MSG_READ_RESP, 3) == NULL);
	ack_round(&k, 2, 1);
	OK(kit_sent(&k, RAFT_MSG_READ_RESP, 3)->send.msg.read.ok);
	EQ_INT(kit_sent(&k, RAFT_MSG_READ_RESP, 3)->send.msg.read.id, 99);
	EQ_INT(kit_sent(&k, RAFT_MSG_READ_RESP, 3)->send.msg.read.index, 1);
	kit_close(&k);
}

TEST(who_does_not_lead_says_so_to_a_reader)
{
	struct kit k;
	struct raft_msg m = {.type = RAFT_MSG_READ_REQ, .from = 3, .term = 1, .read = {.id = 99}};

	kit_open(&k, 3, 1, 0, NULL);
	kit_recv(&k, m);
	OK(!kit_sent(&k, RAFT_MSG_READ_RESP, 3)->send.msg.read.ok);
	kit_close(&k);
}

static bool led_by_another(struct cluster *c)
{
	return cluster_leader(c) != c->reads[0].node;
}

/*
 * The shape of etcd-io/etcd#20418: a leader is stopped with answers to its heartbeats under way;
 * meanwhile another takes over and commits. Awake again, with a read just asked for, it gets those
 * old answers: they must not confirm the read.
 */
TEST(answers_that_waited_out_a_pause_confirm_nothing)
{
	for (uint64_t i = 0; i < tap_rounds(50); i++) {
		struct cluster_options o = {
			.nodes = 3, .seed = tap_seed(1) + i, .latency_min_us = 2000, .latency_max_us = 9000};
		struct cluster *c = cluster_create(&o);
		uint64_t old;

		cluster_await_leader(c, 5000);
		old = cluster_leader(c);
		cluster_propose(c, old, 1);
		cluster_run(c, 200);
		cluster_read(c, old);      /* heartbeats of a round are under way */
		cluster_run(c, 3);
		cluster_pause(c, old, 60000);
		cluster_run_until(c, led_by_another, 30000);
		cluster_propose(c, cluster_leader(c), 3);
		cluster_run(c, 500);
		cluster_resume(c, old);
		cluster_read(c, old);      /* before it hears anything */
		cluster_run(c, 1000);
		EQ_STR(c->failure, "");
		cluster_destroy(c);
	}
}

TESTS = {
	T(a_read_is_confirmed_by_a_quorum_that_was_asked_after_it),
	T(reads_during_a_round_share_the_next_one),
	T(a_new_leader_answers_no_read_before_its_own_term_commits),
	T(a_rejection_confirms_the_term_as_well),
	T(reads_fail_when_leadership_is_lost),
	T(waiting_reads_are_bounded),
	T(without_a_leader_reads_fail_at_once),
	T(a_follower_asks_its_leader_one_request_at_a_time),
	T(a_followers_reads_fail_when_the_answer_cannot_come),
	T(request_numbers_do_not_repeat_after_a_restart),
	T(a_leader_answers_its_followers_reads_after_a_round),
	T(who_does_not_lead_says_so_to_a_reader),
	T(answers_that_waited_out_a_pause_confirm_nothing),
};
TAP_MAIN
