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

TESTS = {
	T(who_only_looks_at_an_election_does_not_wait_for_the_answer),
	T(an_observer_of_a_view_that_is_cancelled_ends),
};
TAP_MAIN
