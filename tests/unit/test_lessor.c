/* SPDX-License-Identifier: Apache-2.0 */
/* The lessor by itself: batches and their bounds, places of leases, what waits for what. */
#include <stdlib.h>

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
	struct lessor_ask a = {0, 9, (uint64_t)id, LESSOR_KEEPALIVE, id};

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
	lessor_ask(lessor, &(struct lessor_ask){0, 9, 1, LESSOR_TTL, 1}, now);
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
	keepalive(1);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
	effects(false);
	EQ_INT(answers, 1);                               /* nothing can have changed but by us */
	lessor_store_up(lessor);
	progress(2, 4, number);
	keepalive(1);
	lessor_confirmed(lessor, ctx, ERR_OK, 4, 2, now);
	tick(LESSOR_TICK_MS);
	EQ_INT(answers, 1);
	row(1, 60, 0);
	lessor_listed(lessor, now);
	effects(false);
	tick(LESSOR_TICK_MS);                             /* it has to be woken now that it is in doubt */
	EQ_INT(checkpoints, 1);
	row(1, 60, 0);
	progress(3, 4, number);
	EQ_INT(answers, 2);
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
	T(the_longest_ttl_overflows_nothing),
};
TAP_MAIN
