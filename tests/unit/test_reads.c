/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever asked for a read index gets exactly one answer, unless it has gone. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/fake_raftd.h"
#include "tests/lib/tap.h"

static struct link one = {.name = "one"}, two = {.name = "two"};
static uint64_t asked[READ_SLOTS * 2];
static size_t n_asked;
static bool at_once;                 /* the core fails a read within its step */

int raftd_step(struct raftd *n, struct raft_event *ev)
{
	CHECK(ev->type == RAFT_EV_READ && n_asked < ARRAY_LEN(asked));
	asked[n_asked++] = ev->ctx;
	if (at_once)
		reads_answer(n, ev->ctx, ERR_NO_LEADER, 0);
	return ERR_OK;
}

void gateways_tell(struct link *l, uint32_t number, const struct msg_desc *d, const void *msg)
{
	(void)link_send(l, number, d, msg);
}

void lessors_confirmed(struct raftd *n, struct link *l, uint64_t ctx, int err, uint64_t term, uint64_t index)
{
	(void)n;
	fake_say("%s confirmed ctx=%d %s term=%d index=%d", l->name, (int)ctx, err_name(err), (int)term, (int)index);
}

static void begin(void)
{
	fake_open();
	n_asked = 0;
	at_once = false;
	one.down = two.down = false;
}

TEST(answers_go_to_who_asked_in_whatever_order)
{
	begin();
	reads_ask(fake.n, &one, 7);
	reads_ask(fake.n, &two, 7);
	reads_ask(fake.n, &one, 8);
	reads_answer(fake.n, asked[2], ERR_OK, 30);
	reads_answer(fake.n, asked[0], ERR_OK, 10);
	reads_answer(fake.n, asked[1], ERR_LEADER_CHANGED, 0);
	EQ_STR(fake_journal(), "one: raftd_read_result{ctx=8 error=0 index=30}\n"
			       "one: raftd_read_result{ctx=7 error=0 index=10}\n"
			       "two: raftd_read_result{ctx=7 error=31 index=0}\n");
	EQ_INT(fake.n->counters.reads.value, 3);
	EQ_INT(fake.n->counters.reads_failed.value, 1);
	fake_close();
}

TEST(an_answer_may_come_within_the_question)
{
	begin();
	at_once = true;
	for (int i = 0; i < 3000; i++) {
		n_asked = 0;
		reads_ask(fake.n, &one, 1);
	}
	EQ_INT(fake.n->counters.reads_failed.value, 3000);
	fake_close();
}

TEST(a_gateway_that_has_gone_is_not_answered)
{
	begin();
	reads_ask(fake.n, &one, 1);
	reads_ask(fake.n, &two, 2);
	reads_forget(fake.n, &one);
	reads_answer(fake.n, asked[0], ERR_OK, 5);
	reads_answer(fake.n, asked[1], ERR_OK, 5);
	EQ_STR(fake_journal(), "two: raftd_read_result{ctx=2 error=0 index=5}\n");
	fake_close();
}

TEST(slots_are_bounded_and_come_back)
{
	begin();
	for (uint64_t i = 0; i < READ_SLOTS + 1; i++)
		reads_ask(fake.n, &one, i);
	EQ_INT(n_asked, READ_SLOTS);
	EQ_STR(fake_journal(), "one: raftd_read_result{ctx=1024 error=82 index=0}\n");
	reads_answer(fake.n, asked[500], ERR_OK, 1);
	(void)fake_journal();
	reads_ask(fake.n, &two, 9);
	OK(asked[READ_SLOTS] != asked[500]);       /* the same slot, another number */
	reads_answer(fake.n, asked[READ_SLOTS], ERR_OK, 2);
	EQ_STR(fake_journal(), "two: raftd_read_result{ctx=9 error=0 index=2}\n");
	fake_close();
}

TEST(slots_of_the_gone_are_not_given_away_before_their_answer)
{
	begin();
	for (uint64_t i = 0; i < READ_SLOTS; i++)
		reads_ask(fake.n, &one, i);
	reads_forget(fake.n, &one);
	(void)fake_journal();
	reads_ask(fake.n, &two, 1);
	EQ_STR(fake_journal(), "two: raftd_read_result{ctx=1 error=82 index=0}\n");
	for (uint64_t i = 0; i < READ_SLOTS; i++)
		reads_answer(fake.n, asked[i], ERR_OK, 1);
	EQ_STR(fake_journal(), "");
	reads_ask(fake.n, &two, 2);
	reads_answer(fake.n, asked[READ_SLOTS], ERR_OK, 3);
	EQ_STR(fake_journal(), "two: raftd_read_result{ctx=2 error=0 index=3}\n");
	fake_close();
}

TEST(a_lessor_is_confirmed_only_for_one_term_that_we_lead_throughout)
{
	begin();
	fake.n->term = 4;
	reads_confirm(fake.n, &one, 1);                  /* a follower is told no at once */
	fake.n->role = RAFT_LEADER;
	for (uint64_t ctx = 2; ctx <= 5; ctx++)
		reads_confirm(fake.n, &one, ctx);
	EQ_INT(n_asked, 4);
	reads_answer(fake.n, asked[0], ERR_OK, 30);
	reads_answer(fake.n, asked[1], ERR_LEADER_CHANGED, 0);
	fake.n->role = RAFT_FOLLOWER;                    /* another leader's answer is not ours */
	reads_answer(fake.n, asked[2], ERR_OK, 31);
	fake.n->role = RAFT_LEADER;
	fake.n->term = 6;
	reads_answer(fake.n, asked[3], ERR_OK, 32);
	EQ_STR(fake_journal(), "one confirmed ctx=1 NOT_LEADER term=4 index=0\n"
			       "one confirmed ctx=2 OK term=4 index=30\n"
			       "one confirmed ctx=3 LEADER_CHANGED term=4 index=0\n"
			       "one confirmed ctx=4 NOT_LEADER term=4 index=31\n"
			       "one confirmed ctx=5 NOT_LEADER term=4 index=32\n");
	reads_ask(fake.n, &two, 9);                      /* the slots are anybody's again */
	reads_answer(fake.n, asked[4], ERR_OK, 33);
	EQ_STR(fake_journal(), "two: raftd_read_result{ctx=9 error=0 index=33}\n");
	fake_close();
}

TESTS = {
	T(a_lessor_is_confirmed_only_for_one_term_that_we_lead_throughout),
	T(answers_go_to_who_asked_in_whatever_order),
	T(an_answer_may_come_within_the_question),
	T(a_gateway_that_has_gone_is_not_answered),
	T(slots_are_bounded_and_come_back),
	T(slots_of_the_gone_are_not_given_away_before_their_answer),
};
TAP_MAIN
