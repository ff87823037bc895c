/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight threads use one client in every way at once, through three servers that draw by lot what they
 * do with each request. Each call must end in its time, exactly once; and when the servers are
 * honest again so must the client be. QUORATE_ROUNDS=100 makes it longer; the seed is printed when it fails.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

enum { CHAOS_SERVERS = 3, CHAOS_THREADS = 8, CHAOS_ROUNDS = 10 };

struct chaos {
	struct play plays[CHAOS_SERVERS];
	struct quorate *q;
	atomic_uint begun, ended, odd;
	unsigned rounds;
};

static struct chaos chaos;

static void chaos_note(int code)
{
	atomic_fetch_add(&chaos.ended, 1);
	/* What these servers can bring about, and nothing else. */
	if (code != QUORATE_OK && code != QUORATE_ERR_TIMEOUT && code != QUORATE_ERR_CLOSED &&
	    code != QUORATE_ERR_CANCELED && code != QUORATE_ERR_MALFORMED && code != QUORATE_ERR_NO_LEADER &&
	    code != QUORATE_ERR_OUTCOME_UNKNOWN && code != QUORATE_ERR_LIMIT)
		atomic_fetch_add(&chaos.odd, 1);
}

static void chaos_done(void *arg, struct quorate_result *r, const struct quorate_error *e)
{
	unsigned *left = arg;

	(*left)--;
	chaos_note(e->code);
	quorate_result_free(r);
}

static void chaos_async(uint64_t *seed)
{
	struct quorate_op op = quorate_op_put(quorate_str("key"), quorate_str("value"), 0);
	struct quorate_queue *queue;
	unsigned left = 0;
	uint64_t id;

	if (quorate_queue_open(chaos.q, &queue, NULL) != QUORATE_OK)
		return;
	for (int i = 0; i < 20; i++) {
		if (quorate_submit(chaos.q, queue, &op, 1 + (int64_t)(tap_rand(seed) % 50), chaos_done, &left, &id,
				   NULL) != QUORATE_OK)
			continue;
		left++;
		atomic_fetch_add(&chaos.begun, 1);
		if (tap_rand(seed) % 4 == 0)
			quorate_cancel(chaos.q, id);
		if (tap_rand(seed) % 4 == 0)
			(void)quorate_dispatch(queue, 0, 0);
	}
	while (left > 0 && quorate_dispatch(queue, 10000, 0) > 0)
		continue;
	if (left > 0)
		atomic_fetch_add(&chaos.odd, 1);
	quorate_queue_close(queue);
}

static void chaos_watch(uint64_t *seed)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_news *news;
	struct quorate_watch *w;

	o.key = quorate_str("key");
	if (quorate_watch_open(chaos.q, &o, &w, NULL) != QUORATE_OK)
		return;
	(void)quorate_watch_next(w, (int64_t)(tap_rand(seed) % 10), &news, NULL);
	quorate_news_free(news);
	quorate_watch_close(w);
}

static void chaos_session(uint64_t *seed)
{
	struct quorate_session *s;

	if (quorate_session_open(chaos.q, NULL, 30, &s, NULL) != QUORATE_OK)
		return;
	if (tap_rand(seed) % 2)
		(void)quorate_session_close(s, 20, NULL);
	else
		quorate_session_leave(s);
}

static void chaos_calls(uint64_t *seed)
{
	struct quorate *view;
	struct quorate_error e;

	atomic_fetch_add(&chaos.begun, 2);
	chaos_note(world_get(chaos.q, 1 + (int64_t)(tap_rand(seed) % 60), NULL, &e));
	chaos_note(world_put(chaos.q, 1 + (int64_t)(tap_rand(seed) % 60), 0, &e));
	if (quorate_namespace(chaos.q, quorate_str(""), &view, NULL) != QUORATE_OK)
		return;
	if (tap_rand(seed) % 2)
		quorate_cancel_all(view);
	atomic_fetch_add(&chaos.begun, 1);
	chaos_note(world_put(view, 5, 0, &e));
	quorate_close(view);
}

static void *chaos_run(void *arg)
{
	uint64_t seed = tap_seed(0) + (uint64_t)(uintptr_t)arg;

	for (unsigned i = 0; i < chaos.rounds; i++) {
		switch (tap_rand(&seed) % 4) {
		case 0:
			chaos_async(&seed);
			break;
		case 1:
			chaos_watch(&seed);
			break;
		case 2:
			chaos_session(&seed);
			break;
		default:
			chaos_calls(&seed);
			break;
		}
	}
	return NULL;
}

TEST(each_call_ends_whatever_servers_do_and_the_client_works_when_they_do)
{
	static const enum act acts[] = {ACT_OK, ACT_OK, ACT_OK, ACT_ERROR, ACT_CLOSE, ACT_SILENT, ACT_GARBAGE, ACT_HALF};
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	pthread_t threads[CHAOS_THREADS];
	uint64_t seed = tap_seed(20261126);
	struct quorate_error e;
	char list[256] = "";

	chaos.rounds = (unsigned)tap_rounds(CHAOS_ROUNDS);
	for (int i = 0; i < CHAOS_SERVERS; i++) {
		struct play *p = &chaos.plays[i];

		*p = (struct play){.revision = 3, .ttl = 30, .kept_ttl = 30, .by_lot = seed + (uint64_t)i,
				   .code = i ? ERR_NO_LEADER : ERR_OUTCOME_UNKNOWN, .again = i ? 1 : 2};
		memcpy(p->acts, acts, sizeof acts);
		p->n = sizeof acts / sizeof acts[0];
		play_start(p);
		(void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? "," : "",
			       play_endpoint(p));
	}
	o.max_calls = 64;
	chaos.q = world_open(list, NULL, &o);
	for (uintptr_t i = 0; i < CHAOS_THREADS; i++)
		EQ_INT(pthread_create(&threads[i], NULL, chaos_run, (void *)(i + 1)), 0);
	for (int i = 0; i < CHAOS_THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	EQ_INT(atomic_load(&chaos.ended), atomic_load(&chaos.begun));
	EQ_INT(atomic_load(&chaos.odd), 0);
	for (int i = 0; i < CHAOS_SERVERS; i++)
		play_calm(&chaos.plays[i]);
	EQ_INT(world_get(chaos.q, 60000, NULL, &e), QUORATE_OK);
	EQ_INT(world_put(chaos.q, 60000, 0, &e), QUORATE_OK);
	quorate_close(chaos.q);
	for (int i = 0; i < CHAOS_SERVERS; i++)
		play_stop(&chaos.plays[i]);
}

TESTS = {
	T(each_call_ends_whatever_servers_do_and_the_client_works_when_they_do),
};
TAP_MAIN
