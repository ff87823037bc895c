/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on their way into the log: who takes them, how many, and who is told of the rest. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/fake_raftd.h"
#include "tests/lib/tap.h"

static int core_answer;
static bool late;
static struct link gateway = {.name = "gateway", .hello = {.incarnation = 50}};

/* The core and the driver in one: a leader's PROPOSE becomes entries. */
int raftd_step(struct raftd *n, struct raft_event *ev)
{
	CHECK(ev->type == RAFT_EV_PROPOSE && ev->n >= 1 && ev->n <= LIMIT_APPEND_ENTRIES);
	if (core_answer != ERR_OK)
		return core_answer;
	fake_say("step PROPOSE n=%u", ev->n);
	for (uint32_t i = 0; i < ev->n; i++)
		CHECK(wal_append_entry(n->wal, wal_last_index(n->wal) + 1, 1, WAL_COMMAND,
				       n->own[i].command) == ERR_OK);
	n->own = NULL;
	return ERR_OK;
}

bool feed_is_late(const struct raftd *n)
{
	(void)n;
	return late;
}

void gateways_refuse(struct link *l, struct raftd_refused *v, size_t count)
{
	fake_say("%s refused %zu from seq=%d err=%s", l->name, count, (int)v[0].seq,
		 err_name((int)v[0].error));
}

void lessors_refuse(struct raftd *n, size_t count, int err)
{
	(void)n;
	fake_say("lessor refused %zu err=%s", count, err_name(err));
}

static struct proposal batch[LIMIT_BATCH_ITEMS];

static const struct proposal *some(size_t count, size_t bytes)
{
	static uint8_t body[2 * MIB];

	for (size_t i = 0; i < count; i++)
		batch[i] = (struct proposal){50, 100 + i, bytes_of(body, bytes)};
	return batch;
}

static void begin(enum raft_role role, uint64_t leader)
{
	fake_open();
	core_answer = ERR_OK;
	late = false;
	fake.n->role = role;
	fake.n->leader = leader;
}

static void from_gateway(size_t count, size_t bytes)
{
	propose_batch(fake.n, some(count, bytes), count, (struct proposer){.link = &gateway});
}

static void from_peer(size_t count, size_t bytes)
{
	propose_batch(fake.n, some(count, bytes), count, (struct proposer){.peer = 3});
}

TEST(a_leader_appends_a_batch_in_one_step)
{
	begin(RAFT_LEADER, 1);
	from_gateway(2, 0);
	EQ_STR(fake_journal(), "step PROPOSE n=2\nentry 1 term=1 kind=2 \nentry 2 term=1 kind=2 \n");
	EQ_INT(fake.n->counters.proposals.value, 2);
	EQ_INT(fake.n->propose.count, 1);
	propose_committed(fake.n, 1);
	EQ_INT(fake.n->propose.count, 1);
	propose_committed(fake.n, 2);
	EQ_INT(fake.n->propose.count, 0);
	EQ_INT(fake.n->propose.bytes, 0);
	fake_close();
}

TEST(nothing_is_proposed_by_an_empty_batch)
{
	begin(RAFT_LEADER, 1);
	from_gateway(0, 0);
	EQ_STR(fake_journal(), "");
	fake_close();
}

TEST(a_follower_sends_its_gateways_commands_to_the_leader)
{
	begin(RAFT_FOLLOWER, 2);
	from_gateway(1, 0);
	EQ_STR(fake_journal(),
	       "to 2: peer_propose{proposals=[1 peer_proposal{gateway=50 seq=100 command=\"\"}]}\n");
	EQ_INT(fake.n->counters.proposals_forwarded.value, 1);
	fake_close();
}

TEST(without_a_leader_the_gateway_is_told)
{
	begin(RAFT_CANDIDATE, 0);
	from_gateway(3, 0);
	EQ_STR(fake_journal(), "gateway refused 3 from seq=100 err=NO_LEADER\n");
	fake_close();
}

TEST(a_leader_that_cannot_be_reached_is_no_leader)
{
	begin(RAFT_FOLLOWER, 2);
	fake.peer_answer[2] = ERR_CLOSED;
	from_gateway(1, 0);
	EQ_STR(fake_journal(), "gateway refused 1 from seq=100 err=NO_LEADER\n");
	fake.peer_answer[2] = ERR_FULL;
	from_gateway(1, 0);
	EQ_STR(fake_journal(), "gateway refused 1 from seq=100 err=FULL\n");
	fake_close();
}

TEST(forwarded_commands_are_never_forwarded_again)
{
	begin(RAFT_FOLLOWER, 2);
	from_peer(1, 0);
	EQ_STR(fake_journal(), "to 3: peer_refuse{refused=[1 peer_refused{gateway=50 seq=100 error=31}]}\n");
	fake.n->leader = 0;
	from_peer(1, 0);
	EQ_STR(fake_journal(), "to 3: peer_refuse{refused=[1 peer_refused{gateway=50 seq=100 error=30}]}\n");
	fake_close();
}

TEST(a_transfer_refuses_the_whole_batch)
{
	begin(RAFT_LEADER, 1);
	core_answer = ERR_LEADER_CHANGED;
	from_gateway(2, 0);
	EQ_STR(fake_journal(), "gateway refused 2 from seq=100 err=LEADER_CHANGED\n");
	EQ_INT(fake.n->propose.count, 0);
	EQ_INT(fake.n->propose.bytes, 0);
	EQ_INT(fake.n->counters.proposals.value, 0);
	fake_close();
}

TEST(a_full_log_takes_what_fits_and_refuses_the_rest)
{
	char *at;

	begin(RAFT_LEADER, 1);
	from_gateway(20, 100 * KIB);      /* 2,000 KiB into 2 MiB less what is kept free */
	at = strstr(fake_journal(), "gateway refused ");
	OK(at != NULL);
	EQ_STR(at, "gateway refused 1 from seq=119 err=FULL\n");
	EQ_INT(wal_last_index(fake.n->wal), 19);
	OK(fake.room >= SMALL_ROOM);
	from_gateway(1, 100 * KIB);
	EQ_STR(fake_journal(), "gateway refused 1 from seq=100 err=FULL\n");
	from_gateway(1, 10);              /* a smaller one still fits */
	EQ_INT(wal_last_index(fake.n->wal), 20);
	fake_close();
}

TEST(small_records_find_room_behind_any_batch)
{
	begin(RAFT_LEADER, 1);
	for (int i = 0; i < 100; i++)
		from_gateway(LIMIT_BATCH_ITEMS, (size_t)i * 37);
	OK(fake.room >= SMALL_ROOM);
	fake_close();
}

TEST(uncommitted_bytes_are_bounded)
{
	struct wal_durable done;

	begin(RAFT_LEADER, 1);
	for (int i = 0; i < 200; i++) {
		from_gateway(10, 100 * KIB);
		(void)fake_sync(&done);
		OK(fake.n->propose.bytes <= LIMIT_UNCOMMITTED_BYTES);
	}
	OK(fake.n->propose.bytes > LIMIT_UNCOMMITTED_BYTES - MIB);
	(void)fake_journal();
	from_gateway(10, 100 * KIB);
	OK(strstr(fake_journal(), "err=FULL") != NULL);
	propose_committed(fake.n, wal_last_index(fake.n->wal));
	EQ_INT(fake.n->propose.bytes, 0);
	from_gateway(1, 0);
	OK(strstr(fake_journal(), "step PROPOSE n=1") != NULL);
	fake_close();
}

TEST(thousands_of_steps_without_a_commit_stay_bounded)
{
	begin(RAFT_LEADER, 1);
	for (int i = 0; i < PROPOSE_MARKS + 10; i++) {
		fake.room = LIMIT_WAL_ENTRY_BYTES;
		from_gateway(1, 0);
	}
	EQ_INT(fake.n->propose.count, PROPOSE_MARKS);
	EQ_INT(wal_last_index(fake.n->wal), PROPOSE_MARKS);
	EQ_INT(fake.n->counters.proposals_refused.value, 10);
	fake_close();
}

TEST(losing_the_lead_forgets_what_was_uncommitted)
{
	begin(RAFT_LEADER, 1);
	from_gateway(3, 1000);
	propose_reset(fake.n);
	EQ_INT(fake.n->propose.count + fake.n->propose.bytes, 0);
	propose_committed(fake.n, 3);
	from_gateway(1, 0);
	EQ_INT(fake.n->propose.count, 1);
	fake_close();
}

/* What a lessor says counts in the term that its own node leads: elsewhere it is worth nothing. */
TEST(a_lessor_s_commands_are_never_sent_on)
{
	struct proposer lessor = {.link = &gateway, .lessor = true};

	begin(RAFT_FOLLOWER, 2);
	propose_batch(fake.n, some(3, 0), 3, lessor);
	EQ_STR(fake_journal(), "lessor refused 3 err=NOT_LEADER\n");
	fake_close();
	begin(RAFT_LEADER, 1);
	propose_batch(fake.n, some(1, 0), 1, lessor);
	EQ_STR(fake_journal(), "step PROPOSE n=1\nentry 1 term=1 kind=2 \n");
	core_answer = ERR_LEADER_CHANGED;
	propose_batch(fake.n, some(2, 0), 2, lessor);
	EQ_STR(fake_journal(), "lessor refused 2 err=LEADER_CHANGED\n");
	fake_close();
}

TEST(a_late_store_s_gateways_are_refused_and_nobody_else)
{
	static const enum raft_role roles[] = {RAFT_LEADER, RAFT_FOLLOWER};

	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		begin(roles[i], i + 1);
		late = true;
		from_gateway(3, 0);
		EQ_STR(fake_journal(), "gateway refused 3 from seq=100 err=FULL\n");
		EQ_INT(fake.n->counters.proposals_refused.value, 3);
		fake_close();
	}
	begin(RAFT_LEADER, 1);
	late = true;
	from_peer(1, 0);
	propose_batch(fake.n, some(1, 0), 1, (struct proposer){.lessor = true});
	EQ_STR(fake_journal(), "step PROPOSE n=1\nentry 1 term=1 kind=2 \nstep PROPOSE n=1\nentry 2 term=1 kind=2 \n");
	fake_close();
}

TESTS = {
	T(a_late_store_s_gateways_are_refused_and_nobody_else),
	T(a_lessor_s_commands_are_never_sent_on),
	T(a_leader_appends_a_batch_in_one_step),
	T(nothing_is_proposed_by_an_empty_batch),
	T(a_follower_sends_its_gateways_commands_to_the_leader),
	T(without_a_leader_the_gateway_is_told),
	T(a_leader_that_cannot_be_reached_is_no_leader),
	T(forwarded_commands_are_never_forwarded_again),
	T(a_transfer_refuses_the_whole_batch),
	T(a_full_log_takes_what_fits_and_refuses_the_rest),
	T(small_records_find_room_behind_any_batch),
	T(uncommitted_bytes_are_bounded),
	T(thousands_of_steps_without_a_commit_stay_bounded),
	T(losing_the_lead_forgets_what_was_uncommitted),
};
TAP_MAIN
