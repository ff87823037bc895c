/* SPDX-License-Identifier: Apache-2.0 */
/* What raftd carries for lessors: who leads, proposals, and questions from node to node. */
#include "base/check.h"
#include "base/err.h"
#include "tests/lib/fake_raftd.h"
#include "tests/lib/tap.h"

static struct link leased = {.name = "leased"}, other = {.name = "other"};
static struct leased_ask asks[2] = {{9, 1, LEASED_KEEPALIVE, 7}, {9, 2, LEASED_TTL, 8}};

void gateways_tell(struct link *l, uint32_t number, const struct msg_desc *d, const void *msg)
{
	(void)link_send(l, number, d, msg);
}

void propose_batch(struct raftd *n, const struct proposal *v, size_t count, struct proposer from)
{
	(void)n;
	fake_say("propose %zu gateway=%d lessor=%d", count, (int)v[0].gateway, from.lessor);
}

void reads_confirm(struct raftd *n, struct link *link, uint64_t ctx)
{
	(void)n;
	fake_say("%s confirms %d", link->name, (int)ctx);
}

void reads_forget(struct raftd *n, const struct link *link)
{
	(void)n;
	fake_say("%s forgotten", link->name);
}

static int say(struct link *l, uint32_t number, void *msg)
{
	struct msg_row row = {.number = number};
	struct msg_in in = {.row = &row, .msg = msg};

	return fake.server_ops->msg(fake.n, l, &in);
}

static void begin(enum raft_role role, uint64_t leader)
{
	struct link_hello hello = {.node_id = 1, .daemon = DAEMON_LEASED};

	fake_open();
	leased.down = other.down = false;
	leased.answer = ERR_OK;
	EQ_INT(lessors_open(fake.n), ERR_OK);
	fake.n->role = role;
	fake.n->term = 5;
	fake.n->leader = leader;
	EQ_INT(fake.server_ops->up(fake.n, &leased, &hello), ERR_OK);
}

TEST(the_role_is_told_first_and_whenever_it_changes)
{
	begin(RAFT_FOLLOWER, 2);
	EQ_STR(fake_journal(), "leased: lessor_role{leads=false term=5 leader=2}\n");
	lessors_state(fake.n);
	EQ_STR(fake_journal(), "");
	fake.n->lessor.role_dirty = true;
	fake.n->role = RAFT_LEADER;
	fake.n->leader = 1;
	lessors_state(fake.n);
	EQ_STR(fake_journal(), "leased: lessor_role{leads=true term=5 leader=1}\n");
	lessors_state(fake.n);
	EQ_STR(fake_journal(), "");
	fake_close();
}

TEST(a_leased_of_another_node_or_an_old_one_is_not_listened_to)
{
	struct link_hello hello = {.node_id = 2, .daemon = DAEMON_LEASED};
	struct lessor_confirm m = {1};

	begin(RAFT_LEADER, 1);
	EQ_INT(fake.server_ops->up(fake.n, &other, &hello), ERR_CONFIG);
	hello.node_id = 1;
	(void)fake_journal();
	EQ_INT(fake.server_ops->up(fake.n, &other, &hello), ERR_OK);
	EQ_STR(fake_journal(), "leased forgotten\nleased dropped: a new leased has come\n"
			       "other: lessor_role{leads=true term=5 leader=1}\n");
	EQ_INT(say(&leased, MSG_NO_lessor_confirm, &m), ERR_CLOSED);
	EQ_INT(say(&other, MSG_NO_lessor_confirm, &m), ERR_OK);
	EQ_STR(fake_journal(), "other confirms 1\n");
	EQ_INT(say(&other, MSG_NO_lessor_role, &m), ERR_UNKNOWN_METHOD);
	fake_close();
}

TEST(proposals_go_into_our_own_log)
{
	struct lessor_proposal p = {bytes_str("x")};
	struct lessor_propose m = {{&p, 1}};
	static uint8_t huge[LIMIT_REQUEST_BYTES + 128 * KIB];

	begin(RAFT_LEADER, 1);
	(void)fake_journal();
	EQ_INT(say(&leased, MSG_NO_lessor_propose, &m), ERR_OK);
	EQ_STR(fake_journal(), "propose 1 gateway=0 lessor=1\n");
	p.command = bytes_of(huge, sizeof huge);
	EQ_INT(say(&leased, MSG_NO_lessor_propose, &m), ERR_REQUEST_TOO_LARGE);
	lessors_refuse(fake.n, 3, ERR_FULL);
	EQ_STR(fake_journal(), "leased: lessor_refuse{refused=3 error=82}\n");
	fake_close();
}

TEST(questions_go_to_the_leader_s_node_and_answers_come_back)
{
	struct lessor_forward m = {{asks, 2}};
	struct leased_answer a = {9, 1, 0, 60, 60000};
	struct peer_lease_answers back = {{&a, 1}};

	begin(RAFT_FOLLOWER, 2);
	(void)fake_journal();
	EQ_INT(say(&leased, MSG_NO_lessor_forward, &m), ERR_OK);
	EQ_STR(fake_journal(), "to 2: peer_lease_asks{asks=[2 leased_ask{gateway=9 ctx=1 kind=1 id=7} "
			       "leased_ask{gateway=9 ctx=2 kind=2 id=8}]}\n");
	EQ_INT(lessors_answered(fake.n, &back), ERR_OK);
	EQ_STR(fake_journal(), "leased: lessor_replied{answers=[1 leased_answer{gateway=9 ctx=1 error=0 ttl_s=60 "
			       "remaining_ms=60000}]}\n");
	fake_close();
}

TEST(a_question_that_reaches_nobody_is_answered_at_once)
{
	struct lessor_forward m = {{asks, 1}};
	struct peer_lease_asks far = {{asks, 1}};

	begin(RAFT_FOLLOWER, 0);
	(void)fake_journal();
	EQ_INT(say(&leased, MSG_NO_lessor_forward, &m), ERR_OK);
	EQ_STR(fake_journal(), "leased: lessor_replied{answers=[1 leased_answer{gateway=9 ctx=1 error=30 ttl_s=0 "
			       "remaining_ms=0}]}\n");
	fake.n->leader = 2;
	fake.peer_answer[2] = ERR_FULL;
	EQ_INT(say(&leased, MSG_NO_lessor_forward, &m), ERR_OK);
	EQ_STR(fake_journal(), "leased: lessor_replied{answers=[1 leased_answer{gateway=9 ctx=1 error=31 ttl_s=0 "
			       "remaining_ms=0}]}\n");
	fake.server_ops->down(fake.n, &leased, "test");
	EQ_STR(fake_journal(), "leased forgotten\n");
	EQ_INT(lessors_asked(fake.n, 3, &far), ERR_OK);
	EQ_STR(fake_journal(), "to 3: peer_lease_answers{answers=[1 leased_answer{gateway=9 ctx=1 error=31 ttl_s=0 "
			       "remaining_ms=0}]}\n");
	fake_close();
}

TEST(another_node_s_questions_carry_its_name_and_answers_find_it)
{
	struct peer_lease_asks far = {{asks, 1}};
	struct leased_answer a = {9, 1, 0, 60, 60000};
	struct lessor_reply m = {3, {&a, 1}};

	begin(RAFT_LEADER, 1);
	(void)fake_journal();
	EQ_INT(lessors_asked(fake.n, 3, &far), ERR_OK);
	EQ_STR(fake_journal(), "leased: lessor_forwarded{node=3 asks=[1 leased_ask{gateway=9 ctx=1 kind=1 id=7}]}\n");
	EQ_INT(say(&leased, MSG_NO_lessor_reply, &m), ERR_OK);
	EQ_STR(fake_journal(), "to 3: peer_lease_answers{answers=[1 leased_answer{gateway=9 ctx=1 error=0 ttl_s=60 "
			       "remaining_ms=60000}]}\n");
	fake_close();
}

TESTS = {
	T(the_role_is_told_first_and_whenever_it_changes),
	T(a_leased_of_another_node_or_an_old_one_is_not_listened_to),
	T(proposals_go_into_our_own_log),
	T(questions_go_to_the_leader_s_node_and_answers_come_back),
	T(a_question_that_reaches_nobody_is_answered_at_once),
	T(another_node_s_questions_carry_its_name_and_answers_find_it),
};
TAP_MAIN
