/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "gatewayd/conn.h"
#include "proto/wire.h"
#include "tests/lib/rpc_peer.h"
#include "tests/lib/tap.h"

/*
 * The owner of these connections knows: "echo" answers with its parameters, "later" answers when
 * the test says so, "big" answers with 100 KB, "bad" is a request that makes no sense, "stream"
 * writes STREAM_BYTES in pieces.
 */
enum { LATER_MAX = 4096, BIG_BYTES = 100000, STREAM_BYTES = 3000000, STREAM_STEP = 50000 };

struct world {
	struct loop *loop;
	struct conn_set set;
	struct gatewayd_counters counters;
	struct loop_hook hook;
	struct later {
		struct conn *c;
		uint32_t id;
	} later[LATER_MAX];
	size_t n_later, most_later;
	struct conn *streamer;
	uint32_t stream_id;
	size_t streamed;
	size_t n_requests, n_gone, n_room;
};

static uint8_t filler[BIG_BYTES];

static void answer(struct conn *c, uint32_t id, struct bytes value)
{
	size_t mark;
	struct buf *b = conn_answer_begin(c, &mark);

	rpc_result_head(b, id);
	buf_add_bytes(b, value);
	conn_answer_end(c, b, mark, id, ERR_RESULT_LOST);
}

static void answer_big(struct conn *c, uint32_t id)
{
	struct buf b = {0};

	wire_bin(&b, bytes_of(filler, BIG_BYTES));
	answer(c, id, buf_bytes(&b));
	buf_free(&b);
}

static void on_request(void *arg, struct conn *c, const struct rpc_request *r)
{
	struct world *w = arg;

	w->n_requests++;
	if (bytes_eq(r->method, bytes_str("echo"))) {
		answer(c, r->id, r->params);
	} else if (bytes_eq(r->method, bytes_str("later"))) {
		OK(w->n_later < LATER_MAX);
		w->later[w->n_later++] = (struct later){c, r->id};
		if (w->n_later > w->most_later)
			w->most_later = w->n_later;
	} else if (bytes_eq(r->method, bytes_str("big"))) {
		answer_big(c, r->id);
	} else if (bytes_eq(r->method, bytes_str("bad"))) {
		conn_answer_error(c, r->id, ERR_MALFORMED);
		conn_bad(c, ERR_MALFORMED);
	} else if (bytes_eq(r->method, bytes_str("stream"))) {
		OK(conn_stream_begin(c));
		w->streamer = c;
		w->stream_id = r->id;
		w->streamed = 0;
		rpc_result_head(conn_stream(c), r->id);
		wire_bin_head(conn_stream(c), STREAM_BYTES);
	} else {
		conn_answer_error(c, r->id, ERR_UNKNOWN_METHOD);
	}
}

static void on_room(void *arg, struct conn *c)
{
	struct world *w = arg;

	(void)c;
	w->n_room++;
}

static void on_gone(void *arg, struct conn *c)
{
	struct world *w = arg;
	size_t kept = 0;

	w->n_gone++;
	for (size_t i = 0; i < w->n_later; i++)
		if (w->later[i].c != c)
			w->later[kept++] = w->later[i];
	w->n_later = kept;
	if (w->streamer == c)
		w->streamer = NULL;
}

static void stream_step(struct world *w)
{
	struct conn *c = w->streamer;

	if (c == NULL)
		return;
	if (!conn_room(c)) {
		conn_want_room(c);
		return;
	}
	buf_add(conn_stream(c), filler, STREAM_STEP);
	w->streamed += STREAM_STEP;
	conn_touch(c);
	if (w->streamed == STREAM_BYTES) {
		w->streamer = NULL;
		conn_stream_end(c);
	}
}

static void on_turn_end(void *arg)
{
	struct world *w = arg;

	conn_set_input(&w->set);
	stream_step(w);
	conn_set_output(&w->set);
}

static const struct conn_ops ops = {on_request, on_room, on_gone};

static struct world *world_new(void)
{
	struct world *w = mem_alloc(sizeof *w);

	log_set_level(LOG_ERROR);
	w->loop = loop_new();
	gatewayd_counters_init(&w->counters);
	conn_set_init(&w->set, w->loop, &ops, w, &w->counters);
	loop_hook_add(w->loop, &w->hook, on_turn_end, w);
	return w;
}

static void world_free(struct world *w)
{
	conn_set_free(&w->set);
	loop_hook_del(w->loop, &w->hook);
	loop_free(w->loop);
	free(w);
}

static void turns(struct world *w, int n)
{
	while (n-- > 0)
		loop_turn(w->loop, 0);
}

static struct conn *join(struct world *w, struct rpc_peer *p)
{
	return conn_new(&w->set, rpc_peer_open(p), "test");
}

/* Turns until the peer has a reply or the connection is closed. */
static bool reply(struct world *w, struct rpc_peer *p, struct rpc_reply *r)
{
	for (int i = 0; i < 100000; i++) {
		if (rpc_peer_next(p, r))
			return true;
		if (p->closed)
			return false;
		rpc_peer_write(p, 1u << 16);
		loop_turn(w->loop, 0);
		rpc_peer_read(p, 1u << 16);
	}
	OK(p == NULL);                  /* nothing came */
	return false;
}

static void request(struct rpc_peer *p, uint32_t id, const char *method, size_t bytes)
{
	struct buf b = {0};

	wire_array(&b, 1);
	wire_bin(&b, bytes_of(filler, bytes));
	rpc_peer_request(p, id, method, buf_bytes(&b));
	buf_free(&b);
}

static void echo_works(struct world *w, struct rpc_peer *p, uint32_t id)
{
	struct rpc_reply r;

	request(p, id, "echo", 10);
	OK(reply(w, p, &r));
	EQ_INT(r.id, id);
	EQ_INT(r.error, 0);
	EQ_INT(r.result.len, 13);
}

TEST(requests_are_answered)
{
	struct world *w = world_new();
	struct rpc_peer p;

	(void)join(w, &p);
	for (uint32_t id = 0; id < 100; id++)
		echo_works(w, &p, id);
	rpc_peer_close(&p);
	turns(w, 3);
	EQ_INT(w->set.n, 0);
	EQ_INT(w->n_gone, 1);
	world_free(w);
}

TEST(a_request_in_single_bytes_is_answered)
{
	struct world *w = world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)join(w, &p);
	request(&p, 5, "echo", 200);
	while (p.out.len > 0) {
		rpc_peer_write(&p, 1);
		loop_turn(w->loop, 0);
	}
	OK(reply(w, &p, &r));
	EQ_INT(r.id, 5);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(every_truncation_costs_nothing_but_itself)
{
	struct world *w = world_new();
	struct rpc_peer good, p;
	struct buf whole = {0};

	(void)join(w, &good);
	(void)join(w, &p);
	request(&p, 5, "echo", 100);
	buf_add_bytes(&whole, buf_bytes(&p.out));
	rpc_peer_close(&p);
	turns(w, 2);
	for (size_t n = 0; n < whole.len; n++) {
		(void)join(w, &p);
		rpc_peer_bytes(&p, whole.data, n);
		rpc_peer_write(&p, n);
		turns(w, 1);
		EQ_INT(w->set.n, 2);
		rpc_peer_close(&p);
		turns(w, 3);
		EQ_INT(w->set.n, 1);
	}
	EQ_INT(w->n_requests, 0);
	EQ_INT(w->set.bytes, 0);
	echo_works(w, &good, 1);
	rpc_peer_close(&good);
	buf_free(&whole);
	world_free(w);
}

static void bad_stream(const void *bytes, size_t n, int error, bool id_known)
{
	struct world *w = world_new();
	struct rpc_peer good, p;
	struct rpc_reply r;

	(void)join(w, &good);
	(void)join(w, &p);
	rpc_peer_bytes(&p, bytes, n);
	request(&p, 99, "echo", 10);            /* behind the bad byte: never read */
	OK(reply(w, &p, &r));
	EQ_INT(r.goodbye, !id_known);
	EQ_INT(r.error, error);
	OK(!reply(w, &p, &r));                  /* then it is closed */
	EQ_INT(w->n_requests, 0);
	EQ_INT(w->counters.clients_malformed_total.value, 1);
	echo_works(w, &good, 1);
	rpc_peer_close(&p);
	rpc_peer_close(&good);
	world_free(w);
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
	struct world *w = world_new();
	struct rpc_peer good, p;

	(void)join(w, &good);
	for (int i = 0; i < 2000; i++) {
		uint8_t bytes[64];
		size_t n = 1 + tap_rand(&seed) % sizeof bytes;

		for (size_t k = 0; k < n; k++)
			bytes[k] = (uint8_t)tap_rand(&seed);
		if (i % 2)
			memcpy(bytes, "\x94\x00\x01\xa4" "echo", n < 8 ? n : 8);
		(void)join(w, &p);
		rpc_peer_bytes(&p, bytes, n);
		rpc_peer_write(&p, n);
		turns(w, 2);
		rpc_peer_close(&p);
		turns(w, 3);
	}
	EQ_INT(w->set.n, 1);
	EQ_INT(w->set.bytes, 0);
	echo_works(w, &good, 1);
	rpc_peer_close(&good);
	world_free(w);
}

TEST(a_bad_request_ends_the_connection_after_what_came_before_it)
{
	struct world *w = world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)join(w, &p);
	request(&p, 1, "later", 10);
	request(&p, 2, "bad", 10);
	request(&p, 3, "echo", 10);
	OK(reply(w, &p, &r));
	EQ_INT(r.id, 2);
	EQ_INT(r.error, ERR_MALFORMED);
	turns(w, 3);
	EQ_INT(w->n_later, 1);
	EQ_INT(w->n_requests, 2);
	answer(w->later[0].c, w->later[0].id, bytes_of("\xc0", 1));
	w->n_later = 0;
	OK(reply(w, &p, &r));
	EQ_INT(r.id, 1);
	OK(!reply(w, &p, &r));
	rpc_peer_close(&p);
	world_free(w);
}

TEST(no_more_than_the_limit_is_in_flight)
{
	struct world *w = world_new();
	struct rpc_peer p;
	struct rpc_reply r;
	uint32_t sent = 0, got = 0;
	enum { ALL = 5000 };

	(void)join(w, &p);
	while (sent < ALL)
		request(&p, sent++, "later", 10);
	while (got < ALL) {
		rpc_peer_write(&p, 1u << 16);
		turns(w, 3);
		OK(w->n_later <= LIMIT_CONN_REQUESTS);
		for (size_t i = 0; i < w->n_later; i++)
			answer(w->later[i].c, w->later[i].id, bytes_of("\xc0", 1));
		w->n_later = 0;
		turns(w, 1);
		rpc_peer_read(&p, 1u << 16);
		for (; rpc_peer_next(&p, &r); got++)
			EQ_INT(r.id, got);
	}
	EQ_INT(w->most_later, LIMIT_CONN_REQUESTS);
	EQ_INT(w->n_requests, ALL);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(who_does_not_read_is_not_read)
{
	struct world *w = world_new();
	struct rpc_peer p, good;
	struct rpc_reply r;
	uint32_t got = 0;
	enum { ALL = 1000 };

	(void)join(w, &p);
	(void)join(w, &good);
	for (uint32_t id = 0; id < ALL; id++)
		request(&p, id, "big", 10);
	for (int i = 0; i < 200; i++) {
		rpc_peer_write(&p, 1u << 16);
		turns(w, 1);
		OK(w->set.bytes < LIMIT_CONN_OUT_HIGH * 2 + 3 * BIG_BYTES + LIMIT_CONN_READ_BYTES * 2);
	}
	OK(w->n_requests < 50);
	echo_works(w, &good, 1);
	while (got < ALL) {
		OK(reply(w, &p, &r));
		EQ_INT(r.id, got++);
		EQ_INT(r.error, 0);
	}
	rpc_peer_close(&p);
	rpc_peer_close(&good);
	world_free(w);
}

TEST(who_never_reads_is_dropped)
{
	struct world *w = world_new();
	struct rpc_peer p;

	w->set.stall_ms = 30;
	(void)join(w, &p);
	for (uint32_t id = 0; id < 100; id++)
		request(&p, id, "big", 10);
	rpc_peer_write(&p, 1u << 16);
	while (w->set.n > 0)
		loop_turn(w->loop, 10);
	EQ_INT(w->counters.clients_stalled_total.value, 1);
	EQ_INT(w->set.bytes, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(who_reads_slowly_is_not_dropped)
{
	struct world *w = world_new();
	struct rpc_peer p;
	struct rpc_reply r;
	uint32_t got = 0;
	mono_t began = mono_now();

	w->set.stall_ms = 40;
	(void)join(w, &p);
	for (uint32_t id = 0; id < 20; id++)
		request(&p, id, "big", 10);
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
	world_free(w);
}

TEST(results_beyond_the_limit_are_given_up_not_kept)
{
	struct world *w = world_new();
	struct rpc_peer p;
	struct rpc_reply r;
	unsigned lost = 0, kept = 0;
	enum { ALL = 200 };

	(void)join(w, &p);
	for (uint32_t id = 0; id < ALL; id++)
		request(&p, id, "later", 10);
	while (w->n_later < ALL) {
		rpc_peer_write(&p, 1u << 16);
		turns(w, 1);
	}
	for (size_t i = 0; i < ALL; i++)
		answer_big(w->later[i].c, w->later[i].id);
	w->n_later = 0;
	OK(w->set.bytes <= 2 * LIMIT_CONN_OUT_MAX + BIG_BYTES);
	for (int i = 0; i < ALL; i++) {
		OK(reply(w, &p, &r));
		EQ_INT(r.id, i);
		lost += r.error == ERR_RESULT_LOST;
		kept += r.error == 0;
	}
	EQ_INT(lost + kept, ALL);
	OK(kept >= LIMIT_CONN_OUT_MAX / BIG_BYTES);
	OK(lost > 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_client_that_ends_its_input_still_gets_its_answers)
{
	struct world *w = world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)join(w, &p);
	request(&p, 1, "later", 10);
	request(&p, 2, "echo", 10);
	rpc_peer_write(&p, 1u << 16);
	EQ_INT(shutdown(p.fd, SHUT_WR), 0);
	OK(reply(w, &p, &r));
	EQ_INT(r.id, 2);
	turns(w, 5);
	EQ_INT(w->set.n, 1);
	answer(w->later[0].c, w->later[0].id, bytes_of("\xc0", 1));
	OK(reply(w, &p, &r));
	EQ_INT(r.id, 1);
	OK(!reply(w, &p, &r));
	turns(w, 2);
	EQ_INT(w->set.n, 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_client_that_vanishes_takes_its_requests_along)
{
	struct world *w = world_new();
	struct rpc_peer p;

	(void)join(w, &p);
	request(&p, 1, "later", 10);
	request(&p, 2, "stream", 10);
	rpc_peer_write(&p, 1u << 16);
	turns(w, 2);
	EQ_INT(w->n_later, 1);
	rpc_peer_close(&p);
	turns(w, 20);
	EQ_INT(w->n_later, 0);
	OK(w->streamer == NULL);
	EQ_INT(w->set.n, 0);
	world_free(w);
}

TEST(other_answers_wait_for_the_end_of_a_stream)
{
	struct world *w = world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)join(w, &p);
	request(&p, 1, "stream", 10);
	for (uint32_t id = 2; id < 50; id++)
		request(&p, id, "echo", 10);
	OK(reply(w, &p, &r));
	EQ_INT(r.id, 1);
	EQ_INT(r.result.len, STREAM_BYTES + 5);
	for (uint32_t id = 2; id < 50; id++) {
		OK(reply(w, &p, &r));
		EQ_INT(r.id, id);
	}
	OK(w->n_room > 0);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(a_stream_holds_no_more_than_the_water_mark)
{
	struct world *w = world_new();
	struct rpc_peer p;
	struct rpc_reply r;

	(void)join(w, &p);
	request(&p, 1, "stream", 10);
	rpc_peer_write(&p, 1u << 16);
	for (int i = 0; i < 200; i++) {
		turns(w, 1);
		OK(w->set.bytes <= 2 * (LIMIT_CONN_OUT_HIGH + STREAM_STEP));
	}
	OK(w->streamed < STREAM_BYTES);
	OK(reply(w, &p, &r));
	EQ_INT(r.result.len, STREAM_BYTES + 5);
	rpc_peer_close(&p);
	world_free(w);
}

TEST(stopping_answers_what_is_in_flight_and_closes)
{
	struct world *w = world_new();
	struct rpc_peer idle, busy;
	struct rpc_reply r;

	(void)join(w, &idle);
	(void)join(w, &busy);
	request(&busy, 1, "later", 10);
	rpc_peer_write(&busy, 1u << 16);
	turns(w, 2);
	conn_set_stop(&w->set);
	request(&busy, 2, "echo", 10);          /* too late */
	OK(!reply(w, &idle, &r));
	turns(w, 3);
	answer(w->later[0].c, w->later[0].id, bytes_of("\xc0", 1));
	OK(reply(w, &busy, &r));
	EQ_INT(r.id, 1);
	OK(!reply(w, &busy, &r));
	rpc_peer_close(&idle);
	rpc_peer_close(&busy);
	turns(w, 3);
	EQ_INT(w->set.n, 0);
	world_free(w);
}

TEST(an_idle_connection_holds_no_buffers)
{
	struct world *w = world_new();
	struct rpc_peer p[50];

	for (size_t i = 0; i < 50; i++) {
		(void)join(w, &p[i]);
		echo_works(w, &p[i], 1);
	}
	EQ_INT(w->set.bytes, 0);
	for (size_t i = 0; i < 50; i++)
		rpc_peer_close(&p[i]);
	world_free(w);
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
	T(a_stream_holds_no_more_than_the_water_mark),
	T(stopping_answers_what_is_in_flight_and_closes),
	T(an_idle_connection_holds_no_buffers),
};
TAP_MAIN
