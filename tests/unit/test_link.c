/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links between a server and a dialer on one loop: what must hold when both ends are ours. What
 * strangers do to a server is test_link_attack.c.
 */
#include "rt/link.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "tests/lib/link_pair.h"
#include "tests/lib/tap.h"

TEST(hellos_are_exchanged_and_both_ends_come_up)
{
	struct link_pair p;

	link_pair_open(&p, NULL);
	p.server.hello.resume = 7;
	p.client.hello.resume = 9;
	link_pair_up(&p);
	EQ_INT(p.server.peer.resume, 9);
	EQ_INT(p.client.peer.resume, 7);
	EQ_INT(p.server.peer.daemon, DAEMON_GATEWAYD);
	EQ_INT(p.client.peer.daemon, DAEMON_RAFTD);
	OK(p.server.peer.incarnation == p.client.hello.incarnation);
	OK(link_is_up(p.server.link) && link_is_up(p.client.link));
	OK(link_age_ms(p.client.link) >= 0);
	EQ_INT(link_peer(p.client.link)->node_id, 1);
	link_pair_close(&p);
	EQ_INT(p.server.downs, 1);
	EQ_INT(p.client.downs, 1);
}

TEST(messages_arrive_whole_and_in_order_both_ways)
{
	struct link_pair p;

	link_pair_open(&p, NULL);
	link_pair_up(&p);
	for (uint64_t i = 0; i < 1000; i++) {
		EQ_INT(link_pair_send(&p.client, i, (size_t)i * 7), ERR_OK);
		EQ_INT(link_pair_send(&p.server, i, (size_t)i), ERR_OK);
	}
	UNTIL(&p, p.server.got == 1000 && p.client.got == 1000);
	OK(!p.server.disorder && !p.client.disorder);
	link_pair_close(&p);
}

TEST(a_frame_of_the_largest_size_passes_and_a_larger_one_is_refused_to_the_sender)
{
	struct link_pair p;

	link_pair_open(&p, NULL);
	link_pair_up(&p);
	EQ_INT(link_pair_send(&p.client, 0, LIMIT_FRAME_BYTES + 1), ERR_LIMIT);
	EQ_INT(link_pair_send(&p.client, 0, 40 * (size_t)MIB), ERR_LIMIT);
	EQ_INT(link_pair_send(&p.client, 0, LIMIT_FRAME_BYTES - 16), ERR_OK);
	EQ_INT(link_pair_send(&p.client, 1, 0), ERR_OK);
	UNTIL(&p, p.server.got == 2);
	OK(!p.server.disorder);
	link_pair_close(&p);
}

TEST(messages_gather_until_the_end_of_the_turn)
{
	struct link_pair p;
	struct link_stats before, after;

	link_pair_open(&p, NULL);
	link_pair_up(&p);
	before = link_stats_total();
	for (uint64_t i = 0; i < 100; i++)
		EQ_INT(link_pair_send(&p.client, i, 100), ERR_OK);
	OK(link_queued(p.client.link) > 10000);
	UNTIL(&p, p.server.got == 100);
	EQ_INT(link_queued(p.client.link), 0);
	after = link_stats_total();
	OK(after.frames_out - before.frames_out >= 100);
	OK(after.frames_in - before.frames_in >= 100);
	OK(after.bytes_in - before.bytes_in > 10000);
	EQ_INT(after.up, 2);
	link_pair_close(&p);
	EQ_INT(link_stats_total().up, 0);
}

/* The reader does not read because its loop does not turn. */
TEST(a_peer_that_never_reads_fills_a_bounded_queue_and_drained_tells_when_it_goes_on)
{
	struct link_pair p;
	size_t sent = 0;
	int err;

	link_pair_open_two(&p, NULL);
	link_pair_up(&p);
	while ((err = link_pair_send(&p.client, sent, 256 * KIB)) == ERR_OK) {
		sent++;
		loop_turn(p.loop, 0);
		OK(link_queued(p.client.link) < LIMIT_LINK_QUEUE_BYTES + LIMIT_FRAME_BYTES);
	}
	EQ_INT(err, ERR_FULL);
	EQ_INT(p.client.drains, 0);
	OK(link_is_up(p.client.link));
	OK(sent * 256 >= 16 * 1024);
	UNTIL(&p, p.client.drains == 1);
	OK(link_queued(p.client.link) < LIMIT_LINK_QUEUE_BYTES / 2);
	UNTIL(&p, p.server.got == sent);
	OK(!p.server.disorder);
	EQ_INT(link_pair_send(&p.client, sent, 10), ERR_OK);
	UNTIL(&p, p.server.got == sent + 1);
	EQ_INT(p.client.drains, 1);
	link_pair_close(&p);
}

TEST(idle_links_stay_up_by_heartbeats)
{
	const struct link_times times = {.heartbeat_ms = 10, .dead_ms = 2000};
	struct link_pair p;
	struct link_stats before;

	link_pair_open(&p, &times);
	link_pair_up(&p);
	before = link_stats_total();
	UNTIL(&p, link_stats_total().frames_in >= before.frames_in + 60);
	EQ_INT(p.server.downs + p.client.downs, 0);
	EQ_INT(p.server.got + p.client.got, 0);
	link_pair_close(&p);
}

TEST(a_silent_peer_is_dropped)
{
	const struct link_times times = {.heartbeat_ms = 20, .dead_ms = 100};
	struct link_pair p;

	link_pair_open_two(&p, &times);
	link_pair_up(&p);
	/* The server's loop stands still: no heartbeat, while its socket stays open. */
	UNTIL_ONE(p.loop, p.client.downs == 1);
	EQ_STR(p.client.reason, "silent for 100 ms");
	link_pair_close(&p);
}

/* Both ends live on this loop: when it sleeps, neither may blame the other. */
TEST(a_loop_that_slept_does_not_drop_its_peers)
{
	const struct link_times times = {.heartbeat_ms = 10, .dead_ms = 300};
	struct link_pair p;
	mono_t until;
	struct link_stats before;

	link_pair_open(&p, &times);
	link_pair_up(&p);
	for (int i = 0; i < 2; i++) {
		until = mono_add_ms(mono_now(), 700);
		while (mono_before(mono_now(), until))
			;
		before = link_stats_total();
		UNTIL(&p, link_stats_total().frames_in >= before.frames_in + 4);
	}
	EQ_INT(p.server.downs + p.client.downs, 0);
	link_pair_close(&p);
}

TEST(link_drop_in_a_callback_is_safe_and_the_dialer_comes_back)
{
	const struct link_times times = {.retry_min_ms = 1, .retry_max_ms = 4};
	struct link_pair p;

	link_pair_open(&p, &times);
	p.server.drop_at = 3;
	link_pair_up(&p);
	for (uint64_t i = 0; i < 10; i++)
		EQ_INT(link_pair_send(&p.client, i, 10), ERR_OK);
	UNTIL(&p, p.server.downs == 1 && p.client.downs == 1);
	EQ_STR(p.server.reason, "dropped by the test");
	EQ_INT(p.server.got, 3);
	EQ_INT(p.server.sent_when_down, ERR_CLOSED);
	UNTIL(&p, p.server.ups == 2 && p.client.ups == 2);
	link_pair_close(&p);
}

TEST(an_error_from_msg_drops_the_link)
{
	struct link_pair p;

	link_pair_open(&p, NULL);
	p.server.fail_at = 2;
	link_pair_up(&p);
	for (uint64_t i = 0; i < 10; i++)
		EQ_INT(link_pair_send(&p.client, i, 10), ERR_OK);
	UNTIL(&p, p.server.downs == 1 && p.client.downs == 1);
	EQ_STR(p.server.reason, "pair_note: malformed message");
	EQ_INT(p.server.got, 2);
	link_pair_close(&p);
}

TEST(an_error_from_up_refuses_the_peer_with_growing_delays)
{
	const struct link_times times = {.retry_min_ms = 1, .retry_max_ms = 50};
	struct link_pair p;
	mono_t start;

	link_pair_open(&p, &times);
	p.server.refuse = 20;
	start = mono_now();
	UNTIL(&p, p.server.ups == 1);
	OK(mono_sub_ms(mono_now(), start) >= 200);      /* half of 1, 2, 3, 4, 5 ... 41, and of 4 times 50 */
	EQ_INT(p.server.downs, 0);
	link_pair_close(&p);
}

TEST(a_dialer_waits_for_its_server_and_survives_its_restarts)
{
	const struct link_times times = {.retry_min_ms = 1, .retry_max_ms = 5};
	struct link_pair p;

	link_pair_init(&p, &times);
	link_pair_dial(&p);
	for (int i = 0; i < 20; i++)
		loop_turn(p.loop, 2);
	EQ_INT(p.client.ups, 0);
	for (unsigned i = 1; i <= 5; i++) {
		link_pair_serve(&p);
		UNTIL(&p, p.client.ups == i && p.server.ups == i);
		EQ_INT(link_pair_send(&p.client, 0, 10), ERR_OK);
		p.server.got = 0;
		UNTIL(&p, p.server.got == 1);
		link_server_close(&p.s);
		UNTIL(&p, p.client.downs == i);
	}
	OK(!p.server.disorder);
	link_pair_close(&p);
}

TEST(a_second_server_on_a_living_socket_is_refused_and_disturbs_nothing)
{
	struct link_pair p;
	struct link_server *second = NULL;

	link_pair_open(&p, NULL);
	link_pair_up(&p);
	for (int i = 0; i < 20; i++)
		EQ_INT(link_server_open(&p.server_setup, &second), ERR_EXISTS);
	EQ_INT(link_pair_send(&p.client, 0, 10), ERR_OK);
	UNTIL(&p, p.server.got == 1);
	EQ_INT(p.server.downs + p.client.downs, 0);
	link_pair_close(&p);
}

/* Whether the first one lives is asked with a descriptor; who has none to ask with must not take its place. */
TEST(a_second_server_out_of_descriptors_takes_no_living_socket_away)
{
	struct link_pair p;
	struct link_server *second = NULL;
	struct rlimit was, low;

	link_pair_open(&p, NULL);
	link_pair_up(&p);
	OK(getrlimit(RLIMIT_NOFILE, &was) == 0);
	for (int left = 0; left < 3; left++) {
		int lowest = fcntl(0, F_DUPFD_CLOEXEC, 0);

		OK(lowest >= 0);
		close(lowest);
		low = (struct rlimit){(rlim_t)(lowest + left), was.rlim_max};
		OK(setrlimit(RLIMIT_NOFILE, &low) == 0);
		OK(link_server_open(&p.server_setup, &second) != ERR_OK);
		OK(setrlimit(RLIMIT_NOFILE, &was) == 0);
	}
	link_drop(p.client.link, "to dial anew");
	UNTIL(&p, p.client.ups == 2 && p.server.ups == 2);
	link_pair_close(&p);
}

TEST(a_path_too_long_for_a_socket_is_a_configuration_error)
{
	struct link_pair p;
	struct link_server *s = NULL;
	struct link_dialer *d = NULL;
	char path[200];

	link_pair_init(&p, NULL);
	(void)snprintf(path, sizeof path, "%s/%0150d", tap_dir(), 1);
	p.server_setup.path = path;
	EQ_INT(link_server_open(&p.server_setup, &s), ERR_CONFIG);
	EQ_INT(link_dialer_open(&p.server_setup, &d), ERR_CONFIG);
	link_pair_close(&p);
}

TEST(sends_from_turn_end_hooks_are_not_left_lying)
{
	struct link_pair p;

	link_pair_open(&p, NULL);
	link_pair_up(&p);
	link_pair_send_in_hook(&p, 5);
	UNTIL(&p, p.server.got == 5);
	link_pair_close(&p);
}

static void *serve_thread(void *arg)
{
	struct link_pair *p = arg;

	while (p->server.got < p->to_send)
		loop_turn(p->server_loop, 5);
	return NULL;
}

TEST(two_threads_with_a_loop_each_lose_nothing)
{
	struct link_pair p;
	pthread_t thread;
	uint64_t sent = 0;
	int err;

	link_pair_open_two(&p, NULL);
	link_pair_up(&p);
	p.to_send = 100000;
	OK(pthread_create(&thread, NULL, serve_thread, &p) == 0);
	while (sent < p.to_send) {
		err = link_pair_send(&p.client, sent, (size_t)(sent % 1000));
		OK(err == ERR_OK || err == ERR_FULL);
		sent += err == ERR_OK;
		if (err == ERR_FULL || sent % 100 == 0)
			loop_turn(p.loop, err == ERR_FULL ? 5 : 0);
	}
	UNTIL_ONE(p.loop, link_queued(p.client.link) == 0);
	OK(pthread_join(thread, NULL) == 0);
	EQ_INT(p.server.got, p.to_send);
	OK(!p.server.disorder);
	link_pair_close(&p);
}

TEST(tracing_prints_each_message_by_name)
{
	struct link_pair p;

	link_pair_open(&p, NULL);
	link_pair_up(&p);
	log_set_trace(true);
	EQ_INT(link_pair_send(&p.client, 0, 5000), ERR_OK);
	UNTIL(&p, p.server.got == 1);
	log_set_trace(false);
	link_pair_close(&p);
}

TESTS = {
	T(hellos_are_exchanged_and_both_ends_come_up),
	T(messages_arrive_whole_and_in_order_both_ways),
	T(a_frame_of_the_largest_size_passes_and_a_larger_one_is_refused_to_the_sender),
	T(messages_gather_until_the_end_of_the_turn),
	T(a_peer_that_never_reads_fills_a_bounded_queue_and_drained_tells_when_it_goes_on),
	T(idle_links_stay_up_by_heartbeats),
	T(a_silent_peer_is_dropped),
	T(a_loop_that_slept_does_not_drop_its_peers),
	T(link_drop_in_a_callback_is_safe_and_the_dialer_comes_back),
	T(an_error_from_msg_drops_the_link),
	T(an_error_from_up_refuses_the_peer_with_growing_delays),
	T(a_dialer_waits_for_its_server_and_survives_its_restarts),
	T(a_second_server_on_a_living_socket_is_refused_and_disturbs_nothing),
	T(a_second_server_out_of_descriptors_takes_no_living_socket_away),
	T(a_path_too_long_for_a_socket_is_a_configuration_error),
	T(sends_from_turn_end_hooks_are_not_left_lying),
	T(two_threads_with_a_loop_each_lose_nothing),
	T(tracing_prints_each_message_by_name),
};
TAP_MAIN
