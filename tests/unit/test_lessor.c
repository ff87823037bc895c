/* SPDX-License-Identifier: Apache-2.0 */
/* The lessor by itself: batches and their bounds, places of leases, what waits for what. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "leased/core/lessor.h"
#include "tests/lib/tap.h"

static struct lessor *lessor;
static mono_t now;
static uint64_t number;                  /* of the last claim */
static unsigned expires, checkpoints, confirms, waits, forwards, answers, claims;
static size_t marks;
static uint64_t ctx, seq, waited;
static struct lessor_fx last;            /* the last answer */

/* Takes in what has come out, and what stored would say of ends. */
static void effects(bool apply_ends)
{
	struct lessor_effects *fx = lessor_effects(lessor);
	size_t n = fx->n;

	for (size_t i = 0; i < n; i++) {
		struct lessor_fx e = fx->v[i];

		claims += e.type == LESSOR_FX_CLAIM;
		expires += e.type == LESSOR_FX_EXPIRE;
		checkpoints += e.type == LESSOR_FX_CHECKPOINT;
		confirms += e.type == LESSOR_FX_CONFIRM;
		waits += e.type == LESSOR_FX_WAIT;
		forwards += e.type == LESSOR_FX_FORWARD;
		answers += e.type == LESSOR_FX_ANSWER;
		if (e.type == LESSOR_FX_CLAIM)
			number = e.lessor;
		if (e.type == LESSOR_FX_CHECKPOINT) {
			seq = e.checkpoint.seq;
			marks += e.checkpoint.n;
			OK(e.checkpoint.n >= 1 && e.checkpoint.n <= LIMIT_LEASE_MARKS);
		}
		if (e.type == LESSOR_FX_CONFIRM)
			ctx = e.ctx;
		if (e.type == LESSOR_FX_WAIT)
			waited = e.index;
		if (e.type == LESSOR_FX_ANSWER)
			last = e;
		if (e.type == LESSOR_FX_EXPIRE && apply_ends)
			lessor_gone(lessor, e.expire.id, now);
	}
	OK(fx->n == n);
	fx->n = fx->n_marks = 0;
}

static void tick(int64_t ms)
{
	now = mono_add_ms(now, ms);
	lessor_tick(lessor, now);
	effects(false);
}

static void progress(uint64_t applied, uint64_t term, uint64_t who)
{
	struct lessor_progress p = {applied, term, who, seq};

	lessor_progress(lessor, &p, now);
	effects(false);
}

static void row(int64_t id, int64_t ttl_s, int64_t remaining_ms)
{
	struct lessor_row r = {id, ttl_s, remaining_ms, (uint64_t)id + 1000};

	lessor_row(lessor, &r, now);
}

static void begin(void)
{
	now = (mono_t){5000000000};
	expires = checkpoints = confirms = waits = forwards = answers = claims = 0;
	marks = 0;
	seq = 0;
	lessor = lessor_new(17, 42);
	lessor_store_up(lessor);
	progress(1, 0, 0);
	lessor_listed(lessor, now);
}

static void lead(uint64_t term)
{
	lessor_role(lessor, true, term, 1, now);
	tick(0);
	seq = 0;
	progress(2, term, number);
}

static enum lessor_state state(void)
{
	struct lessor_stats st;

	lessor_stats(lessor, &st);
	return st.state;
}

static void keepalive(int64_t id)
{
	static uint64_t question = 1000;
	struct lessor_ask a = {0, 9, ++question, LESSOR_KEEPALIVE, id};

	lessor_ask(lessor, &a, now);
	tick(0);
}

TEST(a_claim_is_repeated_until_the_store_shows_it)
{
	begin();
	lessor_role(lessor, true, 4, 1, now);
	tick(0);
	EQ_INT(claims, 1);
	tick(LESSOR_RETRY_MS - 1);
	EQ_INT(claims, 1);
	tick(1);
	EQ_INT(claims, 2);
	progress(5, 4, number + 1);
	EQ_INT(state(), LESSOR_CLAIMING);
	progress(6, 3, number);
	EQ_INT(state(), LESSOR_CLAIMING);
	progress(7, 4, number);
	EQ_INT(state(), LESSOR_LEADING);
	lessor_free(&lessor);
}

/* raftd's link breaks and comes back in the same term: what was under way must not count any more. */
TEST(each_taking_of_the_lead_has_a_number_of_its_own)
{
	uint64_t first;

	begin();
	lead(4);
	EQ_INT(state(), LESSOR_LEADING);
	first = number;
	lessor_role(lessor, false, 4, 0, now);
	EQ_INT(state(), LESSOR_FOLLOWING);
	lessor_role(lessor, true, 4, 1, now);
	tick(0);
	EQ_INT(state(), LESSOR_CLAIMING);
	OK(number != first);
	progress(8, 4, first);
	EQ_INT(state(), LESSOR_CLAIMING);
	lessor_free(&lessor);
}

TEST(ends_come_in_batches_with_a_bound_on_the_way)
{
	begin();
	for (int64_t id = 1; id <= 100000; id++)
		row(id, 10, 0);
	lead(4);
	tick(10000);
	EQ_INT(expires, LESSOR_TICK_ENDS);
	tick(LESSOR_TICK_MS - 1);
	EQ_INT(expires, LESSOR_TICK_ENDS);
	tick(1);
	tick(LESSOR_TICK_MS);
	tick(LESSOR_TICK_MS);
	EQ_INT(expires, LESSOR_ENDS_INFLIGHT);           /* until the store shows the first of them */
	/* With a store that keeps up all are gone within 10 s, the time that is asked for. */
	for (int i = 0; i < 1000; i++) {
		now = mono_add_ms(now, LESSOR_TICK_MS);
		lessor_tick(lessor, now);
		effects(true);
	}
	OK(expires >= 99600);
	lessor_free(&lessor);
}

TEST(a_lease_that_nobody_keeps_alive_is_checkpointed_and_one_that_is_kept_is_not)
{
	begin();
	lead(4);
	row(1, 60, 0);
	row(2, 60, 0);
	for (int i = 0; i < 6; i++) {                     /* a third of the TTL */
		keepalive(1);
		lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
		effects(false);
		EQ_INT(last.answer.ttl_s, 60);
		tick(20000 / 3);
	}
	EQ_INT(checkpoints, 1);                           /* of the other, at 30 s */
	EQ_INT(marks, 1);
	lessor_free(&lessor);
}

TEST(a_dozing_lease_is_woken_before_it_is_answered)
{
	begin();
	row(1, 60, 0);
	lead(4);
	tick(30000);
	EQ_INT(checkpoints, 1);
	keepalive(1);                                     /* the checkpoint is still on its way */
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
	tick(LESSOR_TICK_MS);
	EQ_INT(checkpoints, 2);
	EQ_INT(answers, 0);
	row(1, 60, 30000);                                /* the first one is applied */
	seq = 1;
	progress(3, 4, number);
	EQ_INT(answers, 0);
	row(1, 60, 0);                                    /* and the second */
	seq = 2;
	progress(4, 4, number);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.remaining_ms, 60000);
	lessor_free(&lessor);
}

TEST(a_wake_that_was_lost_is_sent_again)
{
	begin();
	row(1, 60, 20000);
	lead(4);
	keepalive(1);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
	tick(LESSOR_TICK_MS);
	EQ_INT(checkpoints, 1);
	seq = 0;
	tick(LESSOR_RETRY_MS);
	tick(LESSOR_TICK_MS);
	EQ_INT(checkpoints, 2);
	row(1, 60, 0);
	progress(4, 4, number);
	EQ_INT(answers, 1);
	lessor_free(&lessor);
}

TEST(a_lease_whose_end_is_proposed_is_kept_alive_no_more)
{
	begin();
	row(1, 1, 0);
	lead(4);
	tick(1000);
	EQ_INT(expires, 1);
	keepalive(1);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
	tick(LESSOR_TICK_MS);
	EQ_INT(answers, 0);
	lessor_gone(lessor, 1, now);
	progress(9, 4, number);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.ttl_s, 0);
	lessor_free(&lessor);
}

TEST(an_unknown_lease_is_denied_only_when_the_store_has_come_that_far)
{
	begin();
	lead(4);
	keepalive(5);
	EQ_INT(confirms, 1);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 8, now);
	effects(false);
	EQ_INT(waits, 1);
	EQ_INT(waited, 8);
	EQ_INT(answers, 0);
	progress(7, 4, number);
	EQ_INT(answers, 0);
	row(5, 30, 0);                                    /* granted at 8 */
	progress(8, 4, number);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.ttl_s, 30);
	keepalive(6);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 8, now);
	effects(false);
	EQ_INT(answers, 2);
	EQ_INT(last.answer.ttl_s, 0);
	lessor_free(&lessor);
}

TEST(a_round_that_failed_or_is_not_answered_is_asked_again)
{
	begin();
	row(1, 60, 0);
	lead(4);
	keepalive(1);
	lessor_confirmed(lessor, ctx, ERR_NOT_LEADER, 4, 0, now);
	tick(LESSOR_REFUSED_MS - 1);
	EQ_INT(confirms, 1);
	tick(1);
	EQ_INT(confirms, 2);
	tick(LESSOR_CONFIRM_MS);
	EQ_INT(confirms, 3);
	lessor_confirmed(lessor, ctx - 1, ERR_OK, 4, 2, now);       /* of an older round: not for all that ask */
	effects(false);
	EQ_INT(answers, 0);
	lessor_confirmed(lessor, ctx, ERR_OK, 3, 2, now);           /* of another term */
	effects(false);
	EQ_INT(answers, 0);
	tick(LESSOR_CONFIRM_MS);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
	effects(false);
	EQ_INT(answers, 1);
	lessor_free(&lessor);
}

TEST(so_many_questions_wait_and_no_more)
{
	begin();
	lessor_role(lessor, true, 4, 1, now);
	for (unsigned i = 0; i < LIMIT_LEASE_ASKS; i++)
		lessor_ask(lessor, &(struct lessor_ask){0, 9, i, LESSOR_TTL, 1}, now);
	effects(false);
	EQ_INT(answers, 0);
	lessor_ask(lessor, &(struct lessor_ask){0, 9, LIMIT_LEASE_ASKS, LESSOR_TTL, 1}, now);
	effects(false);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.error, ERR_TOO_MANY_REQUESTS);
	lessor_role(lessor, false, 5, 2, now);
	effects(false);
	EQ_INT(answers, LIMIT_LEASE_ASKS + 1);
	lessor_ask(lessor, &(struct lessor_ask){0, 9, 1, LESSOR_TTL, 1}, now);
	lessor_ask(lessor, &(struct lessor_ask){3, 9, 1, LESSOR_TTL, 1}, now);
	effects(false);
	EQ_INT(forwards, 1);                              /* another node's is not sent round again */
	EQ_INT(answers, LIMIT_LEASE_ASKS + 2);
	lessor_free(&lessor);
}

/* Its rows may be old ones: a keepalive must not trust that a lease is awake. */
TEST(a_store_that_is_listed_anew_is_not_trusted_before_it_is_whole)
{
	begin();
	row(1, 60, 0);
	lead(4);
	lessor_store_down(lessor);
	lessor_store_up(lessor);
	progress(2, 4, number);
	keepalive(1);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
	tick(LESSOR_TICK_MS);
	EQ_INT(answers, 0);
	row(1, 60, 20000);                                /* it dozes, and did not before */
	lessor_listed(lessor, now);
	effects(false);
	EQ_INT(answers, 0);
	tick(LESSOR_TICK_MS);
	EQ_INT(checkpoints, 1);
	row(1, 60, 0);
	progress(3, 4, number);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.ttl_s, 60);
	lessor_free(&lessor);
}

/* ---- the store is behind, or away ---- */

static void confirm(uint64_t index)
{
	lessor_confirmed(lessor, ctx, ERR_OK, 4, index, now);
	effects(false);
}

static size_t held(void)
{
	struct lessor_stats st;

	lessor_stats(lessor, &st);
	return st.held;
}

TEST(what_was_ended_before_it_was_asked_for_is_not_kept_alive)
{
	begin();
	row(1, 60, 0);
	row(2, 60, 0);
	lead(4);
	keepalive(1);
	confirm(8);                                       /* revoked at 8, which the store has not shown */
	EQ_INT(answers, 0);
	EQ_INT(held(), 1);
	EQ_INT(waited, 8);
	progress(7, 4, number);
	EQ_INT(answers, 0);
	lessor_gone(lessor, 1, now);
	progress(8, 4, number);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.ttl_s, 0);
	keepalive(2);                                     /* nothing has been written since */
	confirm(8);
	EQ_INT(answers, 2);
	EQ_INT(last.answer.ttl_s, 60);
	EQ_INT(waits, 1);
	lessor_free(&lessor);
}

TEST(what_was_granted_anew_before_it_was_asked_for_is_answered_with_its_new_ttl)
{
	struct lessor_row again = {1, 5, 0, 9};
	struct lessor_ask left = {0, 9, 77, LESSOR_TTL, 1};

	begin();
	row(1, 60, 0);
	lead(4);
	lessor_store_down(lessor);
	lessor_ask(lessor, &left, now);
	keepalive(1);
	confirm(9);
	EQ_INT(answers, 0);
	EQ_INT(waits, 0);                                 /* nobody is there to be asked */
	lessor_store_up(lessor);
	progress(2, 4, number);                           /* as far as it had come before */
	row(1, 60, 0);
	lessor_listed(lessor, now);
	effects(false);
	EQ_INT(waits, 1);
	EQ_INT(waited, 9);
	EQ_INT(answers, 0);
	lessor_row(lessor, &again, now);
	progress(9, 4, number);
	EQ_INT(answers, 2);
	EQ_INT(last.answer.ttl_s, 5);
	EQ_INT(last.answer.remaining_ms, 5000);
	lessor_free(&lessor);
}

/* Its client has asked in time, however long the answer takes. */
TEST(a_lease_that_is_asked_for_does_not_end_while_the_answer_is_held)
{
	begin();
	row(1, 1, 0);
	row(2, 1, 0);
	lead(4);
	tick(400);
	keepalive(1);
	confirm(8);
	tick(600);
	EQ_INT(expires, 1);                               /* the other */
	lessor_gone(lessor, 2, now);
	for (int i = 0; i < 40; i++)
		tick(100);
	EQ_INT(expires, 1);
	EQ_INT(answers, 0);
	progress(8, 4, number);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.ttl_s, 1);
	tick(999);
	EQ_INT(expires, 1);
	for (int i = 0; i < 100 && expires == 1; i++)
		tick(LESSOR_TICK_MS);
	EQ_INT(expires, 2);
	lessor_free(&lessor);
}

/* Nor at the moment when stored is back, before it has come as far as the question. */
TEST(a_lease_that_was_asked_for_while_stored_was_away_does_not_end_as_it_comes_back)
{
	begin();
	row(1, 2, 0);
	lead(4);
	tick(500);
	lessor_store_down(lessor);
	keepalive(1);
	confirm(8);
	tick(4000);
	lessor_store_up(lessor);
	progress(2, 4, number);
	row(1, 2, 0);
	lessor_listed(lessor, now);
	tick(LESSOR_TICK_MS);
	tick(LESSOR_TICK_MS);
	EQ_INT(expires, 0);
	EQ_INT(answers, 0);
	progress(8, 4, number);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.remaining_ms, 2000);
	lessor_free(&lessor);
}

/* One WAIT is on its way at a time: each would put off the answer to the one before. */
TEST(a_store_that_is_always_behind_answers_all_the_same)
{
	begin();
	row(1, 60, 0);
	lead(4);
	for (uint64_t i = 10; i < 20; i++) {
		keepalive(1);
		confirm(i);
	}
	EQ_INT(held(), 10);
	EQ_INT(waits, 1);
	EQ_INT(waited, 10);
	progress(12, 4, number);
	EQ_INT(answers, 3);
	EQ_INT(waits, 2);
	EQ_INT(waited, 13);
	progress(19, 4, number);
	EQ_INT(answers, 10);
	EQ_INT(held(), 0);
	lessor_free(&lessor);
}

/* As gatewayd does every second: all of them have room, however long the store is away. */
TEST(a_question_that_is_made_again_while_it_is_held_is_the_same)
{
	struct lessor_ask a = {0, 9, 7, LESSOR_KEEPALIVE, 1}, others[] = {
		{2, 9, 7, LESSOR_KEEPALIVE, 1}, {0, 8, 7, LESSOR_KEEPALIVE, 1}, {0, 9, 8, LESSOR_KEEPALIVE, 1}};

	begin();
	row(1, 60, 0);
	lead(4);
	for (uint64_t i = 10; i < 14; i++) {
		lessor_ask(lessor, &a, now);
		tick(1000);
		confirm(i);
	}
	EQ_INT(held(), 1);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		lessor_ask(lessor, &others[i], now);
	tick(0);
	confirm(14);
	EQ_INT(held(), 4);
	progress(14, 4, number);
	EQ_INT(answers, 4);
	lessor_ask(lessor, &a, now);                      /* its answer was lost */
	tick(0);
	confirm(14);
	EQ_INT(answers, 5);
	lessor_free(&lessor);
}

TEST(a_question_is_held_for_so_long_and_refused_then)
{
	begin();
	row(1, 1, 0);
	lead(4);
	lessor_store_down(lessor);
	keepalive(1);
	confirm(8);
	OK(lessor_due(lessor).ns == mono_add_ms(now, LESSOR_HOLD_MS).ns);
	tick(LESSOR_HOLD_MS - 1);
	EQ_INT(answers, 0);
	tick(1);
	EQ_INT(answers, 1);
	EQ_INT(last.answer.error, ERR_STORE_DOWN);
	EQ_INT(held(), 0);
	/* Asked again at once, as gatewayd does: so its lease has not ended meanwhile. */
	keepalive(1);
	confirm(8);
	lessor_store_up(lessor);
	progress(2, 4, number);
	row(1, 1, 0);
	lessor_listed(lessor, now);
	tick(LESSOR_TICK_MS);
	EQ_INT(expires, 0);
	lessor_role(lessor, false, 5, 2, now);
	effects(false);
	EQ_INT(answers, 2);
	EQ_INT(last.answer.error, ERR_LEADER_CHANGED);
	lessor_free(&lessor);
}

TEST(the_longest_ttl_overflows_nothing)
{
	begin();
	row(1, LIMIT_LEASE_TTL_S, 0);
	row(2, LIMIT_LEASE_TTL_S, (LIMIT_LEASE_TTL_S - 1) * 1000);
	lead(4);
	keepalive(1);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
	effects(false);
	EQ_INT(last.answer.ttl_s, LIMIT_LEASE_TTL_S);
	OK(last.answer.remaining_ms > 0);
	tick(1000000);
	EQ_INT(expires, 0);
	lessor_free(&lessor);
}

TESTS = {
	T(a_claim_is_repeated_until_the_store_shows_it),
	T(each_taking_of_the_lead_has_a_number_of_its_own),
	T(ends_come_in_batches_with_a_bound_on_the_way),
	T(a_lease_that_nobody_keeps_alive_is_checkpointed_and_one_that_is_kept_is_not),
	T(a_dozing_lease_is_woken_before_it_is_answered),
	T(a_wake_that_was_lost_is_sent_again),
	T(a_lease_whose_end_is_proposed_is_kept_alive_no_more),
	T(an_unknown_lease_is_denied_only_when_the_store_has_come_that_far),
	T(a_round_that_failed_or_is_not_answered_is_asked_again),
	T(so_many_questions_wait_and_no_more),
	T(a_store_that_is_listed_anew_is_not_trusted_before_it_is_whole),
	T(what_was_ended_before_it_was_asked_for_is_not_kept_alive),
	T(what_was_granted_anew_before_it_was_asked_for_is_answered_with_its_new_ttl),
	T(a_lease_that_is_asked_for_does_not_end_while_the_answer_is_held),
	T(a_lease_that_was_asked_for_while_stored_was_away_does_not_end_as_it_comes_back),
	T(a_store_that_is_always_behind_answers_all_the_same),
	T(a_question_that_is_made_again_while_it_is_held_is_the_same),
	T(a_question_is_held_for_so_long_and_refused_then),
	T(the_longest_ttl_overflows_nothing),
};
TAP_MAIN
