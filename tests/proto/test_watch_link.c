/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watchd's core, its half of the link and gatewayd's, joined: each client's stream equals the
 * model's history for its range, whatever dies in between; and the check finds planted faults.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "tests/lib/tap.h"
#include "tests/lib/watch_world.h"

struct chaos {
	unsigned cut, restart, compact, stop;   /* of 1000 turns */
	int plant_next, plant_lose;
	int delay_ms;
};

static unsigned pick(struct watch_world *w, unsigned n)
{
	return (unsigned)(tap_rand(&w->seed) % n);
}

static void random_watch(struct watch_world *w)
{
	int64_t revision = small_store_revision(&w->store), start = revision + 1;
	unsigned from = pick(w, WORLD_KEYS);
	char key[16], end[16] = "";
	struct model_watch *m;

	(void)snprintf(key, sizeof key, "k%02u", from);
	switch (pick(w, 4)) {
	case 0:
		(void)snprintf(end, sizeof end, "k%02u", from + 1 + pick(w, WORLD_KEYS));
		break;
	case 1:
		(void)snprintf(end, sizeof end, "0");
		break;
	default:
		break;
	}
	if (pick(w, 3) == 0)
		start = 1 + pick(w, (unsigned)revision + 20);
	m = watch_world_watch(w, pick(w, WORLD_CLIENTS), key, end, start);
	if (m == NULL)
		return;
	m->sub.prev_kv = pick(w, 2) == 0;
	m->sub.no_put = pick(w, 8) == 0;
	m->sub.no_delete = pick(w, 8) == 0;
	m->sub.progress_notify = pick(w, 4) == 0;
}

static void random_end(struct watch_world *w)
{
	struct model_watch *m = &w->watches[pick(w, WORLD_WATCHES)];

	if (m->used && !m->ended && pick(w, 4) == 0)
		watch_world_cancel(w, m);
	else if (m->used && !m->ended)
		watch_world_ask(w, m);
}

static void random_faults(struct watch_world *w, const struct chaos *c)
{
	if (pick(w, 1000) < c->cut)
		watch_world_down(w, false);
	if (pick(w, 1000) < c->restart)
		watch_world_down(w, true);
	if (!w->up && pick(w, 5) == 0)
		watch_world_up(w);
	if (pick(w, 1000) < c->stop)
		w->stopped[pick(w, WORLD_CLIENTS)] ^= true;
	if (pick(w, 1000) < c->compact)
		watch_world_compact(w, small_store_revision(&w->store) - pick(w, 30));
}

static void calm(struct watch_world *w)
{
	memset(w->stopped, 0, sizeof w->stopped);
	if (!w->up)
		watch_world_up(w);
	watch_world_settle(w);
	watch_world_check(w);
}

static struct watch_world *chaos_run(uint64_t seed, const struct chaos *c, int turns)
{
	struct watch_world *w = watch_world_new(seed);

	w->to_watchd.delay_ms = w->to_gateway.delay_ms = c->delay_ms;
	w->plant_next = c->plant_next;
	w->plant_lose = c->plant_lose;
	watch_world_up(w);
	for (int i = 0; i < turns && w->fault == NULL; i++) {
		if (pick(w, 3) == 0)
			random_watch(w);
		for (unsigned k = pick(w, 4); k > 0; k--)
			watch_world_change(w);
		if (pick(w, 4) == 0)
			random_end(w);
		random_faults(w, c);
		watch_world_turn(w, pick(w, 3));
	}
	calm(w);
	return w;
}

static void chaos(const struct chaos *c, uint64_t seeds)
{
	for (uint64_t i = 0; i < tap_rounds(seeds); i++) {
		uint64_t seed = tap_seed(1) + i;
		struct watch_world *w = chaos_run(seed, c, 600);

		if (w->fault != NULL)
			printf("# seed %llu: %s\n", (unsigned long long)seed, w->fault);
		OK(w->fault == NULL);
		OK(w->n_delivered > 500);
		watch_world_free(w);
	}
}

TEST(in_calm_weather_each_stream_is_the_history)
{
	chaos(&(struct chaos){.delay_ms = 3}, 10);
}

TEST(broken_links_and_restarts_leave_no_gap_and_repeat_nothing)
{
	chaos(&(struct chaos){.delay_ms = 5, .cut = 20, .restart = 20}, 30);
}

TEST(compaction_ends_only_those_who_stand_before_it)
{
	chaos(&(struct chaos){.delay_ms = 5, .cut = 10, .restart = 10, .compact = 20}, 30);
}

TEST(clients_that_stop_lose_nothing)
{
	chaos(&(struct chaos){.delay_ms = 5, .cut = 5, .restart = 5, .stop = 50}, 30);
}

static bool is_found(const struct chaos *c)
{
	bool found = false;

	for (uint64_t i = 0; i < 10; i++) {
		struct watch_world *w = chaos_run(tap_seed(1) + i, c, 600);

		found = found || w->fault != NULL;
		watch_world_free(w);
	}
	return found;
}

TEST(planted_faults_are_found)
{
	/* at the seam between what was sent and what is sent after a restart */
	OK(is_found(&(struct chaos){.delay_ms = 5, .restart = 20, .plant_next = 1}));
	OK(is_found(&(struct chaos){.delay_ms = 5, .restart = 20, .plant_next = -1}));
	OK(is_found(&(struct chaos){.delay_ms = 5, .plant_lose = 500}));
	OK(!is_found(&(struct chaos){.delay_ms = 5, .restart = 20}));
}

TEST(a_client_that_takes_nothing_costs_a_bounded_amount_and_delays_nobody)
{
	struct watch_world *w = watch_world_new(7);
	struct model_watch *slow, *fast;
	char value[WORLD_VALUE];

	watch_world_up(w);
	slow = watch_world_watch(w, 0, "k00", "", 2);
	fast = watch_world_watch(w, 1, "k00", "", 2);
	w->stopped[0] = true;
	for (int i = 0; i < 15000; i++) {
		(void)snprintf(value, sizeof value, "%d", i);
		watch_world_put(w, 0, value);
		watch_world_turn(w, 1);
	}
	watch_world_settle(w);
	EQ_INT(fast->got, 15000);
	OK(slow->got < 15000);
	OK(w->most_untaken <= LIMIT_WATCH_STREAM_BYTES + LIMIT_WATCH_SLICE_BYTES);
	w->stopped[0] = false;
	watch_world_settle(w);
	EQ_INT(slow->got, 15000);
	watch_world_check(w);
	OK(w->fault == NULL);
	watch_world_free(w);
}

TEST(a_client_that_takes_nothing_gets_no_new_credit_by_restarts)
{
	struct watch_world *w = watch_world_new(7);
	struct model_watch *m;
	char value[WORLD_VALUE];

	watch_world_up(w);
	m = watch_world_watch(w, 0, "k00", "", 2);
	w->stopped[0] = true;
	for (int i = 0; i < 15000; i++) {
		(void)snprintf(value, sizeof value, "%d", i);
		watch_world_put(w, 0, value);
		watch_world_turn(w, 1);
		if (i % 1000 == 999) {
			watch_world_down(w, i % 2000 == 1999);
			watch_world_up(w);
		}
	}
	watch_world_settle(w);
	OK(m->got < 15000);
	OK(w->most_untaken <= LIMIT_WATCH_STREAM_BYTES + LIMIT_WATCH_SLICE_BYTES);
	w->stopped[0] = false;
	watch_world_settle(w);
	EQ_INT(m->got, 15000);
	OK(w->fault == NULL);
	watch_world_free(w);
}

TEST(a_quiet_watch_outlives_a_restart_after_a_compaction)
{
	struct watch_world *w = watch_world_new(7);
	struct model_watch *m;

	watch_world_up(w);
	m = watch_world_watch(w, 0, "k00", "", 2);
	watch_world_put(w, 0, "a");
	for (int i = 0; i < 100; i++)
		watch_world_put(w, 1, "b");
	watch_world_settle(w);
	serve_heads(w->serve);
	watch_world_settle(w);
	watch_world_compact(w, small_store_revision(&w->store));
	watch_world_down(w, true);
	watch_world_up(w);
	watch_world_put(w, 0, "c");
	watch_world_settle(w);
	watch_world_check(w);
	OK(w->fault == NULL && !m->ended);
	EQ_INT(m->got, 2);
	watch_world_free(w);
}

TEST(progress_is_told_as_each_watch_catches_up)
{
	struct watch_world *w = watch_world_new(7);
	struct model_watch *late, *future;

	watch_world_up(w);
	for (int i = 0; i < 5000; i++)
		watch_world_put(w, 0, "a");
	late = watch_world_watch(w, 0, "k00", "", 2);
	future = watch_world_watch(w, 1, "k00", "", small_store_revision(&w->store) + 10);
	watch_world_ask(w, late);
	watch_world_ask(w, future);
	watch_world_turn(w, 1);
	watch_world_turn(w, 1);
	EQ_INT(late->progress, 0);
	watch_world_settle(w);
	EQ_INT(late->got, 5000);
	EQ_INT(late->progress, small_store_revision(&w->store));
	EQ_INT(future->progress, 0);
	for (int i = 0; i < 20; i++)
		watch_world_put(w, 1, "b");
	watch_world_settle(w);
	OK(future->progress >= future->start);
	OK(w->fault == NULL);
	watch_world_free(w);
}

/* ---- bytes ---- */

static void golden(uint32_t number, const struct msg_desc *d, const void *msg, const char *want)
{
	struct buf b, hex;

	buf_init(&b, 0);
	buf_init(&hex, 0);
	EQ_INT(msg_frame(&b, number, 1, d, msg), ERR_OK);
	for (size_t i = 0; i < b.len; i++)
		buf_printf(&hex, "%02x", b.data[i]);
	buf_u8(&hex, 0);
	EQ_STR((const char *)hex.data, want);
	buf_free(&b);
	buf_free(&hex);
}

TEST(messages_have_the_bytes_of_version_1)
{
	struct watch_create create = {1, 2, bytes_str("a"), bytes_str("b"), 3, 0, true, false, true, false, 9, 0};
	struct watch_creates creates = {{&create, 1}};
	struct kv_pair kv = {bytes_str("a"), 1, 2, 3, bytes_str("v"), 0};
	struct watch_event event = {WATCH_EVENT_PUT, &kv, NULL};
	struct watch_ref ref = {2};
	struct watch_run run = {0, 1};
	struct watch_delivery delivery = {1, 100, false, 4, 0, {&ref, 1}, {&run, 1}};
	struct watch_events events = {3, 100, {&event, 1}, {&delivery, 1}};
	struct watch_place place = {2, true, 4, 0};
	struct watch_news news = {4, 0, {&place, 1}, {NULL, 0}, {NULL, 0}};
	struct watch_credit credit = {1, 100};
	struct watch_credits credits = {100, {&credit, 1}};

	golden(MSG_NO_watch_creates, &watch_creates_desc, &creates,
	       "0000001693100191919c0102c40161c401620300c3c2c3c20900");
	golden(MSG_NO_watch_events, &watch_events_desc, &events,
	       "0000002393150194036491930196c40161010203c4017600c091970164c2040091910291920001");
	golden(MSG_NO_watch_news, &watch_news_desc, &news,
	       "0000000e931601950400919402c304009090");
	golden(MSG_NO_watch_credits, &watch_credits_desc, &credits,
	       "00000009931401926491920164");
}

static int msg_of(struct watch_world *w, uint32_t number, void *msg)
{
	struct msg_in in = {msg_row(&link_watch, number), 1, msg};

	return watch_clnt_msg(&w->clnt, &in);
}

TEST(a_message_that_makes_no_sense_is_an_error)
{
	struct watch_world *w = watch_world_new(7);
	struct kv_pair kv = {.key = bytes_str("a")};
	struct watch_event event = {WATCH_EVENT_PUT, &kv, NULL};
	struct watch_run run = {1, 1};
	struct watch_delivery delivery = {1, 100, false, 4, 0, {NULL, 0}, {&run, 1}};
	struct watch_events events = {3, 100, {&event, 1}, {&delivery, 1}};
	struct watch_create create = {.watch = 1, .key = bytes_str("a"), .next_rev = 2};
	struct watch_creates creates = {{&create, 1}};
	struct msg_in in = {msg_row(&link_watch, MSG_NO_watch_creates), 1, &creates};

	watch_world_up(w);
	EQ_INT(msg_of(w, MSG_NO_watch_events, &events), ERR_MALFORMED);      /* no such event */
	run = (struct watch_run){0, UINT64_MAX};
	EQ_INT(msg_of(w, MSG_NO_watch_events, &events), ERR_MALFORMED);
	run = (struct watch_run){0, 1};
	EQ_INT(msg_of(w, MSG_NO_watch_events, &events), ERR_OK);
	event.type = 3;
	EQ_INT(msg_of(w, MSG_NO_watch_events, &events), ERR_MALFORMED);
	EQ_INT(msg_of(w, MSG_NO_watch_creates, &creates), ERR_UNKNOWN_METHOD);
	EQ_INT(serve_msg(w->serve, &w->peer, &in, w->now), ERR_OK);
	EQ_INT(serve_msg(w->serve, &w->peer, &in, w->now), ERR_EXISTS);
	create.watch = 2;
	create.next_rev = -1;
	EQ_INT(serve_msg(w->serve, &w->peer, &in, w->now), ERR_MALFORMED);
	in.row = msg_row(&link_watch, MSG_NO_watch_news);
	EQ_INT(serve_msg(w->serve, &w->peer, &in, w->now), ERR_UNKNOWN_METHOD);
	serve_effects(w->serve);
	watch_world_free(w);
}

TESTS = {
	T(in_calm_weather_each_stream_is_the_history),
	T(broken_links_and_restarts_leave_no_gap_and_repeat_nothing),
	T(compaction_ends_only_those_who_stand_before_it),
	T(clients_that_stop_lose_nothing),
	T(planted_faults_are_found),
	T(a_client_that_takes_nothing_costs_a_bounded_amount_and_delays_nobody),
	T(a_client_that_takes_nothing_gets_no_new_credit_by_restarts),
	T(a_quiet_watch_outlives_a_restart_after_a_compaction),
	T(progress_is_told_as_each_watch_catches_up),
	T(messages_have_the_bytes_of_version_1),
	T(a_message_that_makes_no_sense_is_an_error),
};
TAP_MAIN
