/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Barriers and queues of work, by several sessions and threads of one program. Run by
 * tests/system/test_work.py, with QUORATE_ENDPOINTS of a cluster.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/quorate.h"
#include "tests/lib/tap.h"

#define LONG_MS 60000

static struct quorate *client;
static struct quorate_bytes name;

static void begin(const char *what)
{
	static char text[64];
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_error e;

	o.endpoints = getenv("QUORATE_ENDPOINTS");
	o.timeout_ms = LONG_MS;
	EQ_INT(quorate_open(&o, &client, &e), QUORATE_OK);
	(void)snprintf(text, sizeof text, "/%d/%s", (int)getpid(), what);
	name = quorate_str(text);
}

static struct quorate_session *session(void)
{
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_session *s;

	EQ_INT(quorate_session_open(client, &o, LONG_MS, &s, NULL), QUORATE_OK);
	return s;
}

static void end(struct quorate_session *s)
{
	EQ_INT(quorate_session_close(s, LONG_MS, NULL), QUORATE_OK);
}

/* As if it had not been able to keep its lease alive. */
static void lose(struct quorate_session *s)
{
	struct quorate_op op = quorate_op(QUORATE_LEASE_REVOKE);

	op.lease = quorate_session_lease(s);
	EQ_INT(quorate_call(client, &op, LONG_MS, NULL, NULL), QUORATE_OK);
}

static void put(unsigned priority, const char *value)
{
	EQ_INT(quorate_work_put(client, name, priority, quorate_str(value), LONG_MS, NULL), QUORATE_OK);
}

static struct quorate_work *take(struct quorate_session *s, const char *value)
{
	struct quorate_work *w;

	EQ_INT(quorate_work_take(client, s, name, LONG_MS, &w, NULL), QUORATE_OK);
	EQ_INT(quorate_work_value(w).size, strlen(value));
	EQ_MEM(quorate_work_value(w).data, value, strlen(value));
	OK(quorate_work_token(w) > 0);
	return w;
}

static void done(struct quorate_work *w)
{
	EQ_INT(quorate_work_done(w, LONG_MS, NULL), QUORATE_OK);
	quorate_work_close(w);
}

/* ---- queues of work ---- */

TEST(lower_priorities_come_first_then_what_was_put_first)
{
	static const char *const want[] = {"urgent 1", "urgent 2", "a", "b", "c"};
	struct quorate_session *s;
	struct quorate_work *w;

	begin("order");
	s = session();
	put(5, "a");
	put(5, "b");
	put(1, "urgent 1");
	put(5, "c");
	put(1, "urgent 2");
	for (size_t i = 0; i < 5; i++)
		done(take(s, want[i]));
	EQ_INT(quorate_work_take(client, s, name, 100, &w, NULL), QUORATE_ERR_TIMEOUT);
	OK(w == NULL);
	end(s);
	quorate_close(client);
}

TEST(who_loses_his_session_loses_his_piece_to_the_next)
{
	struct quorate_session *first, *second;
	struct quorate_work *lost, *w;
	struct quorate_compare held;
	struct quorate_op write = quorate_op_put(quorate_str("fenced"), quorate_str("x"), 0);
	struct quorate_txn txn = {.compares = &held, .n_compares = 1, .then = &write, .n_then = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r;

	begin("lost");
	first = session();
	second = session();
	put(0, "one");
	lost = take(first, "one");
	EQ_INT(quorate_work_take(client, second, name, 100, &w, NULL), QUORATE_ERR_TIMEOUT);
	lose(first);
	w = take(second, "one");
	OK(quorate_work_token(w) > quorate_work_token(lost));
	held = quorate_work_held(lost);
	EQ_INT(quorate_call(client, &op, LONG_MS, &r, NULL), QUORATE_OK);
	OK(!r->succeeded);
	quorate_result_free(r);
	EQ_INT(quorate_work_done(lost, LONG_MS, NULL), QUORATE_ERR_LOST);
	EQ_INT(quorate_work_token(lost), 0);
	quorate_work_close(lost);
	done(w);
	(void)quorate_session_close(first, LONG_MS, NULL);
	end(second);
	quorate_close(client);
}

TEST(what_is_given_back_is_there_again)
{
	struct quorate_session *s;

	begin("back");
	s = session();
	put(0, "one");
	quorate_work_close(take(s, "one"));
	done(take(s, "one"));
	end(s);
	quorate_close(client);
}

#define MANY 150                       /* more than are looked at in one read */

TEST(a_taker_looks_past_what_others_have)
{
	struct quorate_session *s;
	struct quorate_work *taken[MANY];
	char value[16];

	begin("past");
	s = session();
	for (int i = 0; i <= MANY; i++) {
		(void)snprintf(value, sizeof value, "%d", i);
		put(0, value);
	}
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(value, sizeof value, "%d", i);
		taken[i] = take(s, value);
	}
	(void)snprintf(value, sizeof value, "%d", MANY);
	done(take(s, value));
	for (int i = 0; i < MANY; i++)
		done(taken[i]);
	end(s);
	quorate_close(client);
}

#define PIECES 120
#define TAKERS 6

static atomic_int times[PIECES];
static atomic_int n_done;

static void *taker(void *arg)
{
	struct quorate_session *s = arg;
	struct quorate_work *w;

	while (n_done < PIECES) {
		char text[16] = "";
		int rc = quorate_work_take(client, s, name, 200, &w, NULL);

		if (rc == QUORATE_ERR_TIMEOUT)
			continue;
		OK(rc == QUORATE_OK && quorate_work_value(w).size < sizeof text);
		memcpy(text, quorate_work_value(w).data, quorate_work_value(w).size);
		times[atoi(text)]++;
		OK(quorate_work_done(w, LONG_MS, NULL) == QUORATE_OK);
		quorate_work_close(w);
		n_done++;
	}
	return NULL;
}

TEST(many_takers_do_each_piece_once)
{
	pthread_t threads[TAKERS];
	struct quorate_session *s[TAKERS];
	char value[16];

	begin("many");
	for (int i = 0; i < TAKERS; i++) {
		s[i] = session();
		EQ_INT(pthread_create(&threads[i], NULL, taker, s[i]), 0);
	}
	for (int i = 0; i < PIECES; i++) {
		(void)snprintf(value, sizeof value, "%d", i);
		put((unsigned)i % 3, value);
	}
	for (int i = 0; i < TAKERS; i++) {
		pthread_join(threads[i], NULL);
		end(s[i]);
	}
	for (int i = 0; i < PIECES; i++)
		EQ_INT(times[i], 1);
	quorate_close(client);
}

/* A call in a thread, through a view of its own or not; what it returned. */
struct waiter {
	struct quorate *q;
	struct quorate_session *session;
	pthread_t thread;
	int rc;
};

static void *wait_for_work(void *arg)
{
	struct waiter *w = arg;
	struct quorate_work *work;

	w->rc = quorate_work_take(w->q, w->session, name, LONG_MS, &work, NULL);
	return NULL;
}

static int64_t count_of(const char *part)
{
	char key[96];
	struct quorate_op op;
	struct quorate_result *r;
	int64_t n;

	(void)snprintf(key, sizeof key, "%s%s", (const char *)name.data, part);
	op = quorate_op_get(quorate_str(key));
	op.flags = QUORATE_PREFIX | QUORATE_COUNT_ONLY;
	EQ_INT(quorate_call(client, &op, LONG_MS, &r, NULL), QUORATE_OK);
	n = r->count;
	quorate_result_free(r);
	return n;
}

TEST(a_piece_taken_through_a_cancelled_view_is_given_back)
{
	struct quorate_session *s;
	struct quorate *view;
	struct quorate_work *w;

	begin("cancelled");
	s = session();
	EQ_INT(quorate_namespace(client, quorate_str(NULL), &view, NULL), QUORATE_OK);
	put(0, "one");
	EQ_INT(quorate_work_take(view, s, name, LONG_MS, &w, NULL), QUORATE_OK);
	EQ_INT(count_of("/claims/"), 1);
	quorate_cancel_all(view);
	quorate_work_close(w);
	EQ_INT(count_of("/claims/"), 0);
	quorate_close(view);
	end(s);
	quorate_close(client);
}

TEST(who_waits_for_work_is_told_that_his_session_is_lost)
{
	struct waiter w;

	begin("told");
	w = (struct waiter){.q = client, .session = session()};
	EQ_INT(pthread_create(&w.thread, NULL, wait_for_work, &w), 0);
	usleep(50000);                 /* it mostly waits by now; if not it is told as well */
	lose(w.session);
	pthread_join(w.thread, NULL);
	EQ_INT(w.rc, QUORATE_ERR_LOST);
	quorate_session_leave(w.session);
	quorate_close(client);
}

/* ---- barriers ---- */

static void *wait_for_group(void *arg)
{
	struct waiter *w = arg;
	struct quorate_double_barrier *b;

	w->rc = quorate_double_barrier_enter(w->q, w->session, name, 2, LONG_MS, &b, NULL);
	return NULL;
}

static void waits_for_group(struct waiter *w)
{
	EQ_INT(pthread_create(&w->thread, NULL, wait_for_group, w), 0);
	while (count_of("/waiters/") == 0)
		usleep(1000);
}

TEST(who_waits_for_a_group_is_told_and_leaves_no_key)
{
	struct waiter w;

	begin("group");
	w = (struct waiter){.session = session()};
	EQ_INT(quorate_namespace(client, quorate_str(NULL), &w.q, NULL), QUORATE_OK);
	waits_for_group(&w);
	quorate_cancel_all(w.q);
	pthread_join(w.thread, NULL);
	EQ_INT(w.rc, QUORATE_ERR_CANCELED);
	EQ_INT(count_of("/waiters/"), 0);
	quorate_close(w.q);
	w.q = client;
	waits_for_group(&w);
	lose(w.session);
	pthread_join(w.thread, NULL);
	EQ_INT(w.rc, QUORATE_ERR_LOST);
	quorate_session_leave(w.session);
	quorate_close(client);
}

static atomic_int through;

static void *wait_at(void *arg)
{
	(void)arg;
	if (quorate_barrier_wait(client, name, LONG_MS, NULL) == QUORATE_OK)
		through++;
	return NULL;
}

TEST(who_meets_a_barrier_waits_until_it_is_gone)
{
	pthread_t threads[4];
	struct quorate_session *s;
	struct quorate_error e;

	begin("barrier");
	s = session();
	EQ_INT(quorate_barrier_wait(client, name, LONG_MS, NULL), QUORATE_OK);   /* there is none */
	EQ_INT(quorate_barrier_hold(client, name, 0, LONG_MS, NULL), QUORATE_OK);
	EQ_INT(quorate_barrier_hold(client, name, 0, LONG_MS, &e), QUORATE_ERR_HELD);
	EQ_INT(quorate_barrier_wait(client, name, 100, NULL), QUORATE_ERR_TIMEOUT);
	for (int i = 0; i < 4; i++)
		EQ_INT(pthread_create(&threads[i], NULL, wait_at, NULL), 0);
	EQ_INT(through, 0);
	EQ_INT(quorate_barrier_release(client, name, LONG_MS, NULL), QUORATE_OK);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	EQ_INT(through, 4);
	EQ_INT(quorate_barrier_hold(client, name, quorate_session_lease(s), LONG_MS, NULL), QUORATE_OK);
	EQ_INT(quorate_barrier_wait(client, name, 100, NULL), QUORATE_ERR_TIMEOUT);
	end(s);
	EQ_INT(quorate_barrier_wait(client, name, LONG_MS, NULL), QUORATE_OK);
	quorate_close(client);
}

#define MEMBERS 5
#define ROUNDS 3

static atomic_int inside[ROUNDS], entered[ROUNDS], left[ROUNDS], wrong;

static void *member(void *arg)
{
	struct quorate_session *s = arg;
	struct quorate_double_barrier *b;

	for (int round = 0; round < ROUNDS; round++) {
		inside[round]++;
		if (quorate_double_barrier_enter(client, s, name, MEMBERS, LONG_MS, &b, NULL) != QUORATE_OK) {
			wrong++;
			break;
		}
		wrong += inside[round] != MEMBERS;   /* nobody is in before all have come */
		entered[round]++;
		usleep((useconds_t)(rand() % 2000));
		left[round]++;
		wrong += quorate_double_barrier_leave(b, LONG_MS, NULL) != QUORATE_OK;
		wrong += left[round] != MEMBERS;     /* nor out before all go */
		quorate_double_barrier_close(b);
	}
	return NULL;
}

TEST(a_group_goes_in_together_and_out_together)
{
	pthread_t threads[MEMBERS];
	struct quorate_session *s[MEMBERS];

	begin("double");
	for (int i = 0; i < MEMBERS; i++) {
		s[i] = session();
		EQ_INT(pthread_create(&threads[i], NULL, member, s[i]), 0);
	}
	for (int i = 0; i < MEMBERS; i++) {
		pthread_join(threads[i], NULL);
		end(s[i]);
	}
	EQ_INT(wrong, 0);
	for (int round = 0; round < ROUNDS; round++)
		EQ_INT(entered[round], MEMBERS);
	quorate_close(client);
}

TEST(a_member_that_dies_inside_does_not_hold_up_the_others)
{
	struct quorate_session *dies, *lives;
	struct quorate_double_barrier *b, *second, *third;

	begin("dies");
	dies = session();
	lives = session();
	EQ_INT(quorate_double_barrier_enter(client, dies, name, 1, LONG_MS, &b, NULL), QUORATE_OK);
	EQ_INT(quorate_double_barrier_enter(client, lives, name, 1, LONG_MS, &third, NULL), QUORATE_ERR_FULL);
	lose(dies);
	quorate_double_barrier_close(b);
	(void)quorate_session_close(dies, LONG_MS, NULL);
	/* What the dead group has left does not open the next one's barrier. */
	EQ_INT(quorate_double_barrier_enter(client, lives, name, 2, 200, &second, NULL), QUORATE_ERR_TIMEOUT);
	EQ_INT(quorate_double_barrier_enter(client, lives, name, 1, LONG_MS, &second, NULL), QUORATE_OK);
	EQ_INT(quorate_double_barrier_leave(second, LONG_MS, NULL), QUORATE_OK);
	quorate_double_barrier_close(second);
	end(lives);
	quorate_close(client);
}

TESTS = {
	T(lower_priorities_come_first_then_what_was_put_first),
	T(who_loses_his_session_loses_his_piece_to_the_next),
	T(what_is_given_back_is_there_again),
	T(a_taker_looks_past_what_others_have),
	T(many_takers_do_each_piece_once),
	T(a_piece_taken_through_a_cancelled_view_is_given_back),
	T(who_waits_for_work_is_told_that_his_session_is_lost),
	T(who_waits_for_a_group_is_told_and_leaves_no_key),
	T(who_meets_a_barrier_waits_until_it_is_gone),
	T(a_group_goes_in_together_and_out_together),
	T(a_member_that_dies_inside_does_not_hold_up_the_others),
};
TAP_MAIN
