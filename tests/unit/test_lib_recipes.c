/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes of libquorate against servers that stall, close and say no: what needs no cluster to be seen. */
#include "base/err.h"
#include "base/mono.h"
#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

TEST(who_only_looks_at_an_election_does_not_wait_for_the_answer)
{
	struct play p = {.acts = {ACT_SILENT}, .revision = 5};
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	const struct quorate_kv *leader;
	struct quorate_observer *ob;
	struct quorate_error e;
	struct quorate *q;
	mono_t begun;

	o.flags = QUORATE_ANY_NODE;
	o.timeout_ms = 2000;
	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, &o);
	EQ_INT(quorate_observer_open(q, quorate_str("key"), &ob, &e), QUORATE_OK);
	begun = mono_now();
	EQ_INT(quorate_observer_next(ob, 0, &leader, &e), QUORATE_ERR_TIMEOUT);
	EQ_INT(e.again, QUORATE_AGAIN_SAFE);
	EQ_INT(quorate_observer_next(ob, 1, &leader, &e), QUORATE_ERR_TIMEOUT);
	OK(mono_sub_ms(mono_now(), begun) < 1900);
	WORLD_UNTIL(fake_requests(p.server) == 1);   /* it was asked once, and has not been forgotten */
	EQ_INT(quorate_observer_next(ob, 0, &leader, &e), QUORATE_ERR_TIMEOUT);
	EQ_INT(fake_requests(p.server), 1);
	play_calm(&p);
	/* That one will never be answered, and who has time asks again. */
	EQ_INT(quorate_observer_next(ob, 60000, &leader, &e), QUORATE_OK);
	WORLD_UNTIL(fake_requests(p.server) == 3);   /* and a watch */
	OK(leader != NULL);
	EQ_MEM(leader->value.data, "value", 5);
	quorate_observer_close(ob);
	quorate_close(q);
	play_stop(&p);
}

TEST(an_observer_of_a_view_that_is_cancelled_ends)
{
	struct play p = {.acts = {ACT_SILENT}};
	const struct quorate_kv *leader;
	struct quorate_observer *ob;
	struct quorate_error e;
	struct quorate *q, *view;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(quorate_namespace(q, quorate_str(""), &view, &e), QUORATE_OK);
	EQ_INT(quorate_observer_open(view, quorate_str("key"), &ob, &e), QUORATE_OK);
	EQ_INT(quorate_observer_next(ob, 0, &leader, &e), QUORATE_ERR_TIMEOUT);
	quorate_cancel_all(view);
	EQ_INT(quorate_observer_next(ob, QUORATE_FOREVER, &leader, &e), QUORATE_ERR_CANCELED);
	EQ_INT(quorate_observer_next(ob, 0, &leader, &e), QUORATE_ERR_CANCELED);
	quorate_observer_close(ob);
	quorate_close(view);
	quorate_close(q);
	play_stop(&p);
}

/* Its place in the line is with a node that is silent, and may still be taken there. */
TEST(a_lock_whose_place_may_yet_be_taken_is_not_said_to_be_given_up)
{
	struct play a = {.acts = {ACT_OK, ACT_SILENT}, .n = 2, .revision = 3, .ttl = 60, .kept_ttl = 60};
	struct play b = {.acts = {ACT_SILENT}, .revision = 3, .kept_ttl = 60};
	struct quorate_session *s;
	struct quorate_lock *l;
	struct quorate_error e;
	struct quorate *q;

	play_start(&a);
	play_start(&b);
	q = world_open(play_endpoint(&a), play_endpoint(&b), NULL);
	EQ_INT(quorate_session_open(q, NULL, 0, &s, NULL), QUORATE_OK);
	EQ_INT(quorate_lock_open(q, s, quorate_str("lock"), QUORATE_MUTEX, &l, NULL), QUORATE_OK);
	EQ_INT(quorate_lock_acquire(l, 100, &e), QUORATE_ERR_TIMEOUT);
	EQ_INT(e.again, QUORATE_AGAIN_UNSURE);       /* nor does the other node answer */
	EQ_INT(quorate_lock_token(l), 0);
	play_calm(&b);
	EQ_INT(quorate_lock_acquire(l, 0, &e), QUORATE_OK);
	quorate_lock_close(l);
	quorate_session_leave(s);
	quorate_close(q);
	play_stop(&a);
	play_stop(&b);
}

TEST(a_lock_whose_place_is_fenced_off_is_said_to_be_given_up)
{
	struct play a = {.acts = {ACT_OK, ACT_SILENT}, .n = 2, .revision = 3, .ttl = 60, .kept_ttl = 60};
	struct play b = {.acts = {ACT_OK}, .revision = 3, .kept_ttl = 60};
	struct quorate_session *s;
	struct quorate_lock *l;
	struct quorate_error e;
	struct quorate *q;

	play_start(&a);
	play_start(&b);
	q = world_open(play_endpoint(&a), play_endpoint(&b), NULL);
	EQ_INT(quorate_session_open(q, NULL, 0, &s, NULL), QUORATE_OK);
	EQ_INT(quorate_lock_open(q, s, quorate_str("lock"), QUORATE_MUTEX, &l, NULL), QUORATE_OK);
	EQ_INT(quorate_lock_acquire(l, 100, &e), QUORATE_ERR_TIMEOUT);
	EQ_INT(e.again, QUORATE_AGAIN_SAFE);
	OK(fake_requests(b.server) >= 2);            /* the fence, and whether the place was taken before */
	quorate_lock_close(l);
	quorate_session_leave(s);
	quorate_close(q);
	play_stop(&a);
	play_stop(&b);
}

TESTS = {
	T(who_only_looks_at_an_election_does_not_wait_for_the_answer),
	T(an_observer_of_a_view_that_is_cancelled_ends),
	T(a_lock_whose_place_may_yet_be_taken_is_not_said_to_be_given_up),
	T(a_lock_whose_place_is_fenced_off_is_said_to_be_given_up),
};
TAP_MAIN
