/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/socket.h>

#include "base/err.h"
#include "base/limits.h"
#include "tests/lib/conn_world.h"
#include "tests/lib/tap.h"

static void echo_works(struct conn_world *w, struct rpc_peer *p, uint32_t id)
{
	struct rpc_reply r;

	conn_world_request(p, id, "echo", 10);
	OK(conn_world_reply(w, p, &r));
	EQ_INT(r.id, id);
	EQ_INT(r.error, 0);
	EQ_INT(r.result.len, 13);
}

TEST(requests_are_answered)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;

	(void)conn_world_join(w, &p);
	for (uint32_t id = 0; id < 100; id++)
		echo_works(w, &p, id);
	rpc_peer_close(&p);
	conn_world_turns(w, 3);
	EQ_INT(w->set.n, 0);
	EQ_INT(w->n_gone, 1);
	conn_world_free(w);
}

TEST(a_request_in_single_bytes_is_answered)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)conn_world_join(w, &p);
	conn_world_request(&p, 5, "echo", 200);
	while (p.out.len > 0) {
		rpc_peer_write(&p, 1);
		loop_turn(w->loop, 0);
	}
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.id, 5);
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(every_truncation_costs_nothing_but_itself)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer good, p;
	struct buf whole = {0};

	(void)conn_world_join(w, &good);
	(void)conn_world_join(w, &p);
	conn_world_request(&p, 5, "echo", 100);
	buf_add_bytes(&whole, buf_bytes(&p.out));
	rpc_peer_close(&p);
	conn_world_turns(w, 2);
	for (size_t n = 0; n < whole.len; n++) {
		(void)conn_world_join(w, &p);
		rpc_peer_bytes(&p, whole.data, n);
		rpc_peer_write(&p, n);
		conn_world_turns(w, 1);
		EQ_INT(w->set.n, 2);
		rpc_peer_close(&p);
		conn_world_turns(w, 3);
		EQ_INT(w->set.n, 1);
	}
	EQ_INT(w->n_requests, 0);
	EQ_INT((w->set.in_bytes + w->set.out_bytes), 0);
	echo_works(w, &good, 1);
	rpc_peer_close(&good);
	buf_free(&whole);
	conn_world_free(w);
}

static void bad_stream(const void *bytes, size_t n, int error, bool id_known)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer good, p;
	struct rpc_reply r;

	(void)conn_world_join(w, &good);
	(void)conn_world_join(w, &p);
	rpc_peer_bytes(&p, bytes, n);
	conn_world_request(&p, 99, "echo", 10);            /* behind the bad byte: never read */
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.goodbye, !id_known);
	EQ_INT(r.error, error);
	OK(!conn_world_reply(w, &p, &r));                  /* then it is closed */
	EQ_INT(w->n_requests, 0);
	EQ_INT(w->counters.clients_malformed_total.value, 1);
	echo_works(w, &good, 1);
	rpc_peer_close(&p);
	rpc_peer_close(&good);
	conn_world_free(w);
}

TEST(garbage_gets_a_word_and_is_closed_and_nobody_else_notices)
{
	bad_stream("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, ERR_MALFORMED, false);
	bad_stream("\xc1", 1, ERR_MALFORMED, false);
	bad_stream("\x94\x00\x07\xa3" "put\x91\xc1", 9, ERR_MALFORMED, true);
	bad_stream("\x94\x00\x07\xa3" "put\x91\xc6\xff\xff\xff\xff", 13, ERR_REQUEST_TOO_LARGE, true);
}

TEST(random_garbage_never_harms)
{
	uint64_t seed = 7;
	struct conn_world *w = conn_world_new();
	struct rpc_peer good, p;

	(void)conn_world_join(w, &good);
	for (int i = 0; i < 2000; i++) {
		uint8_t bytes[64];
		size_t n = 1 + tap_rand(&seed) % sizeof bytes;

		for (size_t k = 0; k < n; k++)
			bytes[k] = (uint8_t)tap_rand(&seed);
		if (i % 2)
			memcpy(bytes, "\x94\x00\x01\xa4" "echo", n < 8 ? n : 8);
		(void)conn_world_join(w, &p);
		rpc_peer_bytes(&p, bytes, n);
		rpc_peer_write(&p, n);
		conn_world_turns(w, 2);
		rpc_peer_close(&p);
		conn_world_turns(w, 3);
	}
	EQ_INT(w->set.n, 1);
	EQ_INT((w->set.in_bytes + w->set.out_bytes), 0);
	echo_works(w, &good, 1);
	rpc_peer_close(&good);
	conn_world_free(w);
}

TEST(a_bad_request_ends_the_connection_after_what_came_before_it)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)conn_world_join(w, &p);
	conn_world_request(&p, 1, "later", 10);
	conn_world_request(&p, 2, "bad", 10);
	conn_world_request(&p, 3, "echo", 10);
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.id, 2);
	EQ_INT(r.error, ERR_MALFORMED);
	conn_world_turns(w, 3);
	EQ_INT(w->n_later, 1);
	EQ_INT(w->n_requests, 2);
	conn_world_answer(w->later[0].c, w->later[0].id, bytes_of("\xc0", 1));
	w->n_later = 0;
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.id, 1);
	OK(!conn_world_reply(w, &p, &r));
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(no_more_than_the_limit_is_in_flight)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;
	uint32_t sent = 0, got = 0;
	enum { ALL = 5000 };

	(void)conn_world_join(w, &p);
	while (sent < ALL)
		conn_world_request(&p, sent++, "later", 10);
	while (got < ALL) {
		rpc_peer_write(&p, 1u << 16);
		conn_world_turns(w, 3);
		OK(w->n_later <= LIMIT_CONN_REQUESTS);
		for (size_t i = 0; i < w->n_later; i++)
			conn_world_answer(w->later[i].c, w->later[i].id, bytes_of("\xc0", 1));
		w->n_later = 0;
		conn_world_turns(w, 1);
		rpc_peer_read(&p, 1u << 16);
		for (; rpc_peer_next(&p, &r); got++)
			EQ_INT(r.id, got);
	}
	EQ_INT(w->most_later, LIMIT_CONN_REQUESTS);
	EQ_INT(w->n_requests, ALL);
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(who_does_not_read_is_not_read)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p, good;
	struct rpc_reply r;
	uint32_t got = 0;
	enum { ALL = 1000 };

	(void)conn_world_join(w, &p);
	(void)conn_world_join(w, &good);
	for (uint32_t id = 0; id < ALL; id++)
		conn_world_request(&p, id, "big", 10);
	for (int i = 0; i < 200; i++) {
		rpc_peer_write(&p, 1u << 16);
		conn_world_turns(w, 1);
		OK((w->set.in_bytes + w->set.out_bytes) < LIMIT_CONN_OUT_HIGH * 2 + 3 * BIG_BYTES + LIMIT_CONN_READ_BYTES * 2);
	}
	OK(w->n_requests < 50);
	echo_works(w, &good, 1);
	while (got < ALL) {
		OK(conn_world_reply(w, &p, &r));
		EQ_INT(r.id, got++);
		EQ_INT(r.error, 0);
	}
	rpc_peer_close(&p);
	rpc_peer_close(&good);
	conn_world_free(w);
}

TEST(who_never_reads_is_dropped)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;

	w->set.stall_ms = 30;
	(void)conn_world_join(w, &p);
	for (uint32_t id = 0; id < 100; id++)
		conn_world_request(&p, id, "big", 10);
	rpc_peer_write(&p, 1u << 16);
	while (w->set.n > 0)
		loop_turn(w->loop, 10);
	EQ_INT(w->counters.clients_stalled_total.value, 1);
	EQ_INT((w->set.in_bytes + w->set.out_bytes), 0);
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(who_reads_slowly_is_not_dropped)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;
	uint32_t got = 0;
	mono_t began = mono_now();

	w->set.stall_ms = 40;
	(void)conn_world_join(w, &p);
	for (uint32_t id = 0; id < 20; id++)
		conn_world_request(&p, id, "big", 10);
	while (got < 20) {
		rpc_peer_write(&p, 1u << 16);
		loop_turn(w->loop, 1);
		rpc_peer_read(&p, 20000);
		while (rpc_peer_next(&p, &r))
			got++;
		OK(!p.closed);
	}
	OK(mono_sub_ms(mono_now(), began) < 60000);
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(results_beyond_the_limit_are_given_up_not_kept)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;
	unsigned lost = 0, kept = 0;
	enum { ALL = 200 };

	(void)conn_world_join(w, &p);
	for (uint32_t id = 0; id < ALL; id++)
		conn_world_request(&p, id, "later", 10);
	while (w->n_later < ALL) {
		rpc_peer_write(&p, 1u << 16);
		conn_world_turns(w, 1);
	}
	for (size_t i = 0; i < ALL; i++)
		conn_world_answer_big(w->later[i].c, w->later[i].id);
	w->n_later = 0;
	OK((w->set.in_bytes + w->set.out_bytes) <= 2 * LIMIT_CONN_OUT_MAX + BIG_BYTES);
	for (int i = 0; i < ALL; i++) {
		OK(conn_world_reply(w, &p, &r));
		EQ_INT(r.id, i);
		lost += r.error == ERR_RESULT_LOST;
		kept += r.error == 0;
	}
	EQ_INT(lost + kept, ALL);
	OK(kept >= LIMIT_CONN_OUT_MAX / BIG_BYTES);
	OK(lost > 0);
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(a_client_that_ends_its_input_still_gets_its_answers)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)conn_world_join(w, &p);
	conn_world_request(&p, 1, "later", 10);
	conn_world_request(&p, 2, "echo", 10);
	rpc_peer_write(&p, 1u << 16);
	EQ_INT(shutdown(p.fd, SHUT_WR), 0);
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.id, 2);
	conn_world_turns(w, 5);
	EQ_INT(w->set.n, 1);
	conn_world_answer(w->later[0].c, w->later[0].id, bytes_of("\xc0", 1));
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.id, 1);
	OK(!conn_world_reply(w, &p, &r));
	conn_world_turns(w, 2);
	EQ_INT(w->set.n, 0);
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(a_client_that_vanishes_takes_its_requests_along)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;

	(void)conn_world_join(w, &p);
	conn_world_request(&p, 1, "later", 10);
	conn_world_request(&p, 2, "stream", 10);
	rpc_peer_write(&p, 1u << 16);
	conn_world_turns(w, 2);
	EQ_INT(w->n_later, 1);
	rpc_peer_close(&p);
	conn_world_turns(w, 20);
	EQ_INT(w->n_later, 0);
	OK(w->streamer == NULL);
	EQ_INT(w->set.n, 0);
	conn_world_free(w);
}

TEST(other_answers_wait_for_the_end_of_a_stream)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)conn_world_join(w, &p);
	conn_world_request(&p, 1, "stream", 10);
	for (uint32_t id = 2; id < 50; id++)
		conn_world_request(&p, id, "echo", 10);
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.id, 1);
	EQ_INT(r.result.len, STREAM_BYTES + 5);
	for (uint32_t id = 2; id < 50; id++) {
		OK(conn_world_reply(w, &p, &r));
		EQ_INT(r.id, id);
	}
	OK(w->n_room > 0);
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(a_stream_does_not_wait_for_what_waits_for_it)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;
	enum { ALL = 30 };                      /* held: far more than the water mark */

	(void)conn_world_join(w, &p);
	for (uint32_t id = 0; id < ALL; id++)
		conn_world_request(&p, id, "later", 10);
	conn_world_request(&p, ALL, "stream", 10);
	while (w->streamer == NULL) {
		rpc_peer_write(&p, 1u << 16);
		conn_world_turns(w, 1);
	}
	for (size_t i = 0; i < ALL; i++)
		conn_world_answer_big(w->later[i].c, w->later[i].id);
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.id, ALL);
	for (uint32_t id = 0; id < ALL; id++) {
		OK(conn_world_reply(w, &p, &r));
		EQ_INT(r.id, id);
	}
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(a_stream_holds_no_more_than_the_water_mark)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)conn_world_join(w, &p);
	conn_world_request(&p, 1, "stream", 10);
	rpc_peer_write(&p, 1u << 16);
	for (int i = 0; i < 200; i++) {
		conn_world_turns(w, 1);
		OK((w->set.in_bytes + w->set.out_bytes) <= 2 * (LIMIT_CONN_OUT_HIGH + STREAM_STEP));
	}
	OK(w->streamed < STREAM_BYTES);
	OK(conn_world_reply(w, &p, &r));
	EQ_INT(r.result.len, STREAM_BYTES + 5);
	rpc_peer_close(&p);
	conn_world_free(w);
}

TEST(stopping_answers_what_is_in_flight_and_closes)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer idle, busy;
	struct rpc_reply r;

	(void)conn_world_join(w, &idle);
	(void)conn_world_join(w, &busy);
	conn_world_request(&busy, 1, "later", 10);
	rpc_peer_write(&busy, 1u << 16);
	conn_world_turns(w, 2);
	conn_set_stop(&w->set);
	conn_world_request(&busy, 2, "echo", 10);          /* too late */
	OK(!conn_world_reply(w, &idle, &r));
	conn_world_turns(w, 3);
	conn_world_answer(w->later[0].c, w->later[0].id, bytes_of("\xc0", 1));
	OK(conn_world_reply(w, &busy, &r));
	EQ_INT(r.id, 1);
	OK(!conn_world_reply(w, &busy, &r));
	rpc_peer_close(&idle);
	rpc_peer_close(&busy);
	conn_world_turns(w, 3);
	EQ_INT(w->set.n, 0);
	conn_world_free(w);
}

TEST(when_memory_is_short_the_slowest_senders_go)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer slow[20], good;
	struct rpc_reply r;

	w->set.max_in_bytes = 1u << 20;
	for (size_t i = 0; i < 20; i++) {
		(void)conn_world_join(w, &slow[i]);
		conn_world_request(&slow[i], 7, "echo", BIG_BYTES);
		slow[i].out.len--;              /* all but the last byte */
		while (slow[i].out.len > 0) {
			rpc_peer_write(&slow[i], 1u << 16);
			conn_world_turns(w, 1);
		}
		OK(w->set.in_bytes <= 1u << 20);
	}
	(void)conn_world_join(w, &good);
	conn_world_request(&good, 1, "echo", BIG_BYTES);
	OK(conn_world_reply(w, &good, &r));
	EQ_INT(r.error, 0);
	OK(conn_world_reply(w, &slow[0], &r));  /* the first to come is the first to go */
	EQ_INT(r.id, 7);
	EQ_INT(r.error, ERR_TOO_MANY_REQUESTS);
	OK(!conn_world_reply(w, &slow[0], &r));
	conn_world_turns(w, 3);
	OK(w->set.n > 2);
	for (size_t i = 0; i < 20; i++)
		rpc_peer_close(&slow[i]);
	rpc_peer_close(&good);
	conn_world_free(w);
}

TEST(an_idle_connection_holds_no_buffers)
{
	struct conn_world *w = conn_world_new();
	struct rpc_peer p[50];

	for (size_t i = 0; i < 50; i++) {
		(void)conn_world_join(w, &p[i]);
		echo_works(w, &p[i], 1);
	}
	EQ_INT((w->set.in_bytes + w->set.out_bytes), 0);
	for (size_t i = 0; i < 50; i++)
		rpc_peer_close(&p[i]);
	conn_world_free(w);
}

TESTS = {
	T(requests_are_answered),
	T(a_request_in_single_bytes_is_answered),
	T(every_truncation_costs_nothing_but_itself),
	T(garbage_gets_a_word_and_is_closed_and_nobody_else_notices),
	T(random_garbage_never_harms),
	T(a_bad_request_ends_the_connection_after_what_came_before_it),
	T(no_more_than_the_limit_is_in_flight),
	T(who_does_not_read_is_not_read),
	T(who_never_reads_is_dropped),
	T(who_reads_slowly_is_not_dropped),
	T(results_beyond_the_limit_are_given_up_not_kept),
	T(a_client_that_ends_its_input_still_gets_its_answers),
	T(a_client_that_vanishes_takes_its_requests_along),
	T(other_answers_wait_for_the_end_of_a_stream),
	T(a_stream_does_not_wait_for_what_waits_for_it),
	T(a_stream_holds_no_more_than_the_water_mark),
	T(stopping_answers_what_is_in_flight_and_closes),
	T(when_memory_is_short_the_slowest_senders_go),
	T(an_idle_connection_holds_no_buffers),
};
TAP_MAIN
