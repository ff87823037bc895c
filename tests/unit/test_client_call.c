/* SPDX-License-Identifier: Apache-2.0 */
/* A client against servers that answer, lie, stall and close: what is repeated, and what is not. */
#include "client/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fake_server.h"
#include "tests/lib/tap.h"

enum act { ACT_OK, ACT_ERROR, ACT_CLOSE, ACT_SILENT, ACT_GARBAGE, ACT_HALF, ACT_BIG };

/* What a server does with its Nth request; the last one goes on for ever. */
struct play {
	enum act acts[8];
	size_t n;
	int code;
	unsigned again;
	int64_t revision;
	size_t pairs, value_len;
};

static bool play_range(const struct play *p, struct fake_conn *c, const struct fake_request *r,
		       bool half)
{
	struct buf head;
	char *value = calloc(1, p->value_len + 1);
	struct kv_pair kv = {bytes_str("k"), 2, 3, 1, bytes_of(value, p->value_len), 0};
	bool good = true;

	buf_init(&head, 0);
	wire_array(&head, 4);
	wire_u64(&head, 1);
	wire_u64(&head, r->id);
	wire_nil(&head);
	wire_array(&head, 4);
	wire_nil(&head);
	wire_i64(&head, (int64_t)p->pairs);
	wire_bool(&head, false);
	wire_array(&head, p->pairs);
	fake_bytes(c, buf_bytes(&head));
	for (size_t i = 0; good && i < (half ? p->pairs / 2 : p->pairs); i++) {
		buf_clear(&head);
		(void)msg_encode(&head, &kv_pair_desc, &kv);
		fake_bytes(c, buf_bytes(&head));
		if (i % 64 == 0)
			good = fake_flush(c);
	}
	buf_free(&head);
	free(value);
	return good;
}

static bool play_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	const struct play *p = arg;
	struct kv_header h = {1, 2, p->revision, 4};
	struct kv_put_result put = {.header = &h};
	struct kv_range_result range = {.header = &h, .count = 1};

	switch (p->acts[r->number < p->n ? r->number : p->n - 1]) {
	case ACT_OK:
		fake_result(c, r, r->method->result == &kv_put_result_desc ? (void *)&put :
			    (void *)&range);
		return true;
	case ACT_ERROR:
		fake_error(c, r, p->code, "as the server says", p->again);
		return true;
	case ACT_CLOSE:
		return false;
	case ACT_SILENT:
		return true;
	case ACT_GARBAGE:
		fake_bytes(c, bytes_str("\x91garbage"));
		return true;
	case ACT_HALF:
		(void)play_range(p, c, r, true);
		return false;
	case ACT_BIG:
		return play_range(p, c, r, false);
	}
	return false;
}

static struct fake_server *play_start(struct play *p)
{
	struct fake_setup s = {.serve = play_serve, .arg = p};

	if (p->n == 0)
		p->n = 1;
	return fake_start(&s);
}

static struct client *open_two(const char *a, const char *b)
{
	char list[160];
	struct client_options o = {.endpoints = list, .dial_timeout_ms = 600};
	struct client_error e;
	struct client *c;

	(void)snprintf(list, sizeof list, "%s%s%s", a, b ? "," : "", b ? b : "");
	EQ_INT(client_open(&o, &c, &e), ERR_OK);
	return c;
}

static mono_t in_ms(int ms)
{
	return mono_add_ms(mono_now(), ms);
}

static int do_put(struct client *c, mono_t deadline, struct client_error *e, int64_t *revision)
{
	struct kv_put p = {.key = bytes_str("a"), .value = bytes_str("b")};
	struct kv_put_result result = {0};
	struct arena arena;
	struct client_request r = {.method = "put", .params = &p, .arena = &arena,
				   .result = &result};
	int rc;

	arena_init(&arena, MIB);
	rc = client_call(c, &r, deadline, e);
	*revision = result.header != NULL ? result.header->revision : 0;
	arena_free(&arena);
	return rc;
}

static int do_get(struct client *c, mono_t deadline, struct client_error *e, int64_t *revision)
{
	struct kv_range p = {.key = bytes_str("a")};
	struct kv_range_result result = {0};
	struct arena arena;
	struct client_request r = {.method = "range", .params = &p, .arena = &arena,
				   .result = &result};
	int rc;

	arena_init(&arena, MIB);
	rc = client_call(c, &r, deadline, e);
	*revision = result.header != NULL ? result.header->revision : 0;
	arena_free(&arena);
	return rc;
}

TEST(a_dead_endpoint_is_passed_over)
{
	struct play p = {.acts = {ACT_OK}, .revision = 5};
	struct fake_server *f = play_start(&p);
	char dead[64];
	struct client_error e;
	struct client *c;
	int64_t rev;

	fake_dead_endpoint(dead, sizeof dead);
	c = open_two(dead, fake_endpoint(f));
	EQ_INT(do_put(c, in_ms(5000), &e, &rev), ERR_OK);
	EQ_INT(rev, 5);
	EQ_STR(client_endpoint_text(c), fake_endpoint(f));
	client_close(&c);
	fake_stop(&f);
}

TEST(a_listener_that_never_answers_gets_no_write)
{
	struct fake_setup deaf = {.deaf = true};
	struct play p = {.acts = {ACT_OK}, .revision = 6};
	struct fake_server *d = fake_start(&deaf), *f = play_start(&p);
	struct client *c = open_two(fake_endpoint(d), fake_endpoint(f));
	struct client_error e;
	int64_t rev;

	EQ_INT(do_put(c, in_ms(5000), &e, &rev), ERR_OK);
	EQ_INT(rev, 6);
	client_close(&c);
	fake_stop(&d);
	fake_stop(&f);
}

TEST(nobody_there_is_said_with_the_systems_reason)
{
	char dead[64];
	struct client_error e;
	struct client *c;
	int64_t rev;

	fake_dead_endpoint(dead, sizeof dead);
	c = open_two(dead, NULL);
	EQ_INT(do_put(c, in_ms(300), &e, &rev), ERR_CLOSED);
	OK(e.dial);
	EQ_INT(e.again, ERR_AGAIN_SAFE);
	OK(strstr(e.text, "refused") != NULL);
	EQ_STR(e.endpoint, dead);
	client_close(&c);
}

TEST(a_write_is_repeated_when_the_server_says_safe)
{
	struct play p = {.acts = {ACT_ERROR, ACT_ERROR, ACT_OK}, .n = 3, .code = ERR_NO_LEADER,
			 .again = ERR_AGAIN_SAFE, .revision = 9};
	struct fake_server *f = play_start(&p);
	struct client *c = open_two(fake_endpoint(f), NULL);
	struct client_error e;
	int64_t rev;

	EQ_INT(do_put(c, in_ms(5000), &e, &rev), ERR_OK);
	EQ_INT(rev, 9);
	EQ_INT(fake_requests(f), 3);
	client_close(&c);
	fake_stop(&f);
}

TEST(a_write_is_not_repeated_when_unsure)
{
	struct play a = {.acts = {ACT_ERROR}, .code = ERR_TIMEOUT, .again = ERR_AGAIN_UNSURE};
	struct play b = {.acts = {ACT_OK}};
	struct fake_server *fa = play_start(&a), *fb = play_start(&b);
	struct client *c = open_two(fake_endpoint(fa), fake_endpoint(fb));
	struct client_error e;
	int64_t rev;

	EQ_INT(do_put(c, in_ms(5000), &e, &rev), ERR_TIMEOUT);
	EQ_INT(e.again, ERR_AGAIN_UNSURE);
	EQ_STR(e.text, "as the server says");
	EQ_INT(fake_requests(fa), 1);
	EQ_INT(fake_requests(fb), 0);
	client_close(&c);
	fake_stop(&fa);
	fake_stop(&fb);
}

TEST(a_write_on_a_connection_that_closes_is_not_repeated)
{
	struct play a = {.acts = {ACT_CLOSE}}, b = {.acts = {ACT_OK}};
	struct fake_server *fa = play_start(&a), *fb = play_start(&b);
	struct client *c = open_two(fake_endpoint(fa), fake_endpoint(fb));
	struct client_error e;
	int64_t rev;

	EQ_INT(do_put(c, in_ms(5000), &e, &rev), ERR_CLOSED);
	EQ_INT(e.again, ERR_AGAIN_UNSURE);
	OK(!e.dial);
	EQ_INT(fake_requests(fb), 0);
	/* but the next call goes where the connection still works */
	EQ_INT(do_put(c, in_ms(5000), &e, &rev), ERR_OK);
	EQ_INT(fake_requests(fb), 1);
	client_close(&c);
	fake_stop(&fa);
	fake_stop(&fb);
}

TEST(a_write_that_is_refused_for_good_is_not_repeated)
{
	struct play a = {.acts = {ACT_ERROR}, .code = ERR_KEY_EMPTY, .again = ERR_AGAIN_NO};
	struct fake_server *fa = play_start(&a);
	struct client *c = open_two(fake_endpoint(fa), NULL);
	struct client_error e;
	int64_t rev;

	EQ_INT(do_put(c, in_ms(5000), &e, &rev), ERR_KEY_EMPTY);
	EQ_INT(do_get(c, in_ms(5000), &e, &rev), ERR_KEY_EMPTY);
	EQ_INT(fake_requests(fa), 2);
	client_close(&c);
	fake_stop(&fa);
}

TEST(a_read_is_repeated_elsewhere_after_anything)
{
	static const enum act bad[] = {ACT_CLOSE, ACT_GARBAGE, ACT_ERROR, ACT_SILENT};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct play a = {.acts = {bad[i]}, .code = ERR_INTERNAL, .again = ERR_AGAIN_UNSURE};
		struct play b = {.acts = {ACT_OK}, .revision = 77};
		struct fake_server *fa = play_start(&a), *fb = play_start(&b);
		struct client *c = open_two(fake_endpoint(fa), fake_endpoint(fb));
		struct client_error e;
		int64_t rev;

		EQ_INT(do_get(c, in_ms(4000), &e, &rev), ERR_OK);
		EQ_INT(rev, 77);
		EQ_INT(fake_requests(fa), 1);
		client_close(&c);
		fake_stop(&fa);
		fake_stop(&fb);
	}
}

TEST(a_silent_server_costs_a_write_its_deadline_and_no_more)
{
	struct play a = {.acts = {ACT_SILENT}}, b = {.acts = {ACT_OK}};
	struct fake_server *fa = play_start(&a), *fb = play_start(&b);
	struct client *c = open_two(fake_endpoint(fa), fake_endpoint(fb));
	mono_t start = mono_now();
	struct client_error e;
	int64_t rev;

	EQ_INT(do_put(c, in_ms(300), &e, &rev), ERR_TIMEOUT);
	EQ_INT(e.again, ERR_AGAIN_UNSURE);
	OK(mono_sub_ms(mono_now(), start) >= 300);
	EQ_INT(fake_requests(fb), 0);
	client_close(&c);
	fake_stop(&fa);
	fake_stop(&fb);
}

TEST(a_server_of_another_kind_or_version_gets_no_request)
{
	struct play b = {.acts = {ACT_OK}, .revision = 3};
	struct play garbage = {.acts = {ACT_GARBAGE}};
	struct fake_setup s = {.serve = play_serve, .arg = &garbage, .own_version = true};
	struct fake_server *fa, *fb;
	struct client_error e;
	struct client *c;
	int64_t rev;

	garbage.n = 1;
	fa = fake_start(&s);
	fb = play_start(&b);
	c = open_two(fake_endpoint(fa), fake_endpoint(fb));
	EQ_INT(do_put(c, in_ms(4000), &e, &rev), ERR_OK);
	EQ_INT(fake_requests(fa), 1);   /* the version alone */
	client_close(&c);
	c = open_two(fake_endpoint(fa), NULL);
	EQ_INT(do_put(c, in_ms(300), &e, &rev), ERR_CLOSED);
	OK(e.dial && strstr(e.text, "protocol") != NULL);
	client_close(&c);
	fake_stop(&fa);
	fake_stop(&fb);
}

TEST(a_request_over_the_limit_is_not_sent)
{
	struct play a = {.acts = {ACT_OK}};
	struct fake_server *fa = play_start(&a);
	struct client *c = open_two(fake_endpoint(fa), NULL);
	size_t len = LIMIT_REQUEST_BYTES;
	char *big = calloc(1, len);
	struct kv_put p = {.key = bytes_str("a"), .value = bytes_of(big, len)};
	struct client_request r = {.method = "put", .params = &p};
	struct client_error e;

	EQ_INT(client_call(c, &r, in_ms(2000), &e), ERR_REQUEST_TOO_LARGE);
	EQ_INT(e.again, ERR_AGAIN_NO);
	p.value.len = 20 * (size_t)MIB;
	p.value.data = (uint8_t *)(big = realloc(big, p.value.len));
	EQ_INT(client_call(c, &r, in_ms(2000), &e), ERR_REQUEST_TOO_LARGE);
	p.value.len = len - 100;
	EQ_INT(client_call(c, &r, in_ms(2000), &e), ERR_OK);
	EQ_INT(fake_requests(fa), 1);
	free(big);
	client_close(&c);
	fake_stop(&fa);
}

struct tally {
	size_t pairs, bytes;
	unsigned begun;
};

static int tally_begin(void *arg, const struct kv_range_result *head)
{
	struct tally *t = arg;

	(void)head;
	t->begun++;
	return ERR_OK;
}

static int tally_pair(void *arg, const struct kv_pair *p)
{
	struct tally *t = arg;

	t->pairs++;
	t->bytes += p->value.len;
	return ERR_OK;
}

TEST(a_large_range_is_streamed)
{
	struct play a = {.acts = {ACT_BIG}, .pairs = 3000, .value_len = 20000};
	struct fake_server *fa = play_start(&a);
	struct client *c = open_two(fake_endpoint(fa), NULL);
	struct tally t = {0};
	struct client_sink sink = {tally_begin, tally_pair, &t};
	struct kv_range p = {.key = bytes_str("a")};
	struct client_request r = {.method = "range", .params = &p, .sink = &sink};
	struct client_error e;

	EQ_INT(client_call(c, &r, in_ms(20000), &e), ERR_OK);
	EQ_INT(t.pairs, 3000);
	EQ_INT(t.bytes, 60000000);
	client_close(&c);
	fake_stop(&fa);
}

TEST(a_stream_that_breaks_is_an_error_and_not_begun_again)
{
	struct play a = {.acts = {ACT_HALF}, .pairs = 100, .value_len = 2000};
	struct play b = {.acts = {ACT_BIG}, .pairs = 100, .value_len = 2000};
	struct fake_server *fa = play_start(&a), *fb = play_start(&b);
	struct client *c = open_two(fake_endpoint(fa), fake_endpoint(fb));
	struct tally t = {0};
	struct client_sink sink = {tally_begin, tally_pair, &t};
	struct kv_range p = {.key = bytes_str("a")};
	struct client_request r = {.method = "range", .params = &p, .sink = &sink};
	struct client_error e;

	EQ_INT(client_call(c, &r, in_ms(5000), &e), ERR_CLOSED);
	EQ_INT(t.begun, 1);
	EQ_INT(t.pairs, 50);
	EQ_INT(fake_requests(fb), 0);
	client_close(&c);
	fake_stop(&fa);
	fake_stop(&fb);
}

/* Many requests in flight. */
struct many {
	struct client_flight flights[400];
	unsigned ok, failed, safe, unsure;
};

static void many_done(struct client_flight *f, const struct client_reply *reply)
{
	struct many *m = f->arg;

	m->ok += reply->err == ERR_OK;
	m->failed += reply->err != ERR_OK;
	m->safe += reply->err != ERR_OK && reply->again == ERR_AGAIN_SAFE;
	m->unsure += reply->err != ERR_OK && reply->again == ERR_AGAIN_UNSURE;
}

static unsigned many_send(struct many *m, struct client_conn *conn, struct bytes value)
{
	struct kv_put p = {.key = bytes_str("a"), .value = value};
	unsigned n = 0;

	for (; n < 400; n++) {
		struct client_flight *f = &m->flights[n];

		*f = (struct client_flight){.method = native_method_find(bytes_str("put")),
					    .done = many_done, .arg = m};
		if (client_conn_send(conn, f, &p) != ERR_OK)
			break;
	}
	return n;
}

TEST(requests_are_pipelined_up_to_the_limit)
{
	struct play a = {.acts = {ACT_OK}};
	struct fake_server *fa = play_start(&a);
	struct client_options o = {.endpoints = fake_endpoint(fa), .max_flights = 300};
	struct many m = {0};
	struct client_conn *conn;
	struct client_error e;
	struct client *c;

	EQ_INT(client_open(&o, &c, &e), ERR_OK);
	EQ_INT(client_connect(c, in_ms(2000), &conn, &e), ERR_OK);
	EQ_INT(many_send(&m, conn, bytes_str("v")), 300);
	EQ_INT(client_conn_flights(conn), 300);
	while (client_conn_flights(conn) > 0)
		EQ_INT(client_conn_wait(conn, in_ms(5000)), ERR_OK);
	EQ_INT(m.ok, 300);
	EQ_INT(fake_requests(fa), 300);
	EQ_INT(fake_accepted(fa), 1);
	client_close(&c);
	fake_stop(&fa);
}

TEST(a_broken_connection_says_which_requests_surely_did_not_arrive)
{
	struct play a = {.acts = {ACT_SILENT, ACT_SILENT, ACT_CLOSE}, .n = 3};
	struct fake_server *fa = play_start(&a);
	struct client_options o = {.endpoints = fake_endpoint(fa), .max_flights = 300};
	struct many m = {0};
	struct client_conn *conn;
	struct client_error e;
	struct client *c;
	char *value = calloc(1, 50000);
	unsigned sent;

	EQ_INT(client_open(&o, &c, &e), ERR_OK);
	EQ_INT(client_connect(c, in_ms(2000), &conn, &e), ERR_OK);
	sent = many_send(&m, conn, bytes_of(value, 50000));
	OK(sent >= 200);   /* 10 MB: more than sockets hold */
	while (client_conn_err(conn) == ERR_OK)
		(void)client_conn_wait(conn, in_ms(5000));
	EQ_INT(m.failed, sent);
	EQ_INT(m.safe + m.unsure, sent);
	OK(m.unsure >= 3 && m.safe >= 1);
	EQ_INT(client_conn_flights(conn), 0);
	client_close(&c);
	free(value);
	fake_stop(&fa);
}

TEST(endpoints_are_read_as_people_write_them)
{
	static const char *const good[] = {"127.0.0.1:1", "127.0.0.1", "[::1]:99", "[::1]",
					   "http://127.0.0.1:2379/", " 127.0.0.1:1 , 127.0.0.2:2"};
	static const char *const bad[] = {"", ":1", "127.0.0.1:", "127.0.0.1:x", "[::1", "[::1]x",
					  "https://127.0.0.1:1", "127.0.0.1:99999", "::1:2"};
	struct client_endpoints e;
	char why[256];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		EQ_INT(client_endpoints_parse(&e, good[i], CLIENT_LOOKUP, 1, why, sizeof why), ERR_OK);
	EQ_INT(e.n, 2);
	EQ_STR(e.v[1].text, "127.0.0.2:2");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		EQ_INT(client_endpoints_parse(&e, bad[i], CLIENT_LOOKUP, 1, why, sizeof why), ERR_BAD_ARGUMENT);
}

TEST(a_failing_endpoint_rests_longer_each_time_and_never_too_long)
{
	struct client_endpoints e;
	struct client_endpoint *p;
	mono_t now = {1000000000}, until;
	char why[256];
	int64_t before = 0;

	EQ_INT(client_endpoints_parse(&e, "127.0.0.1:1", CLIENT_LOOKUP, 42, why, sizeof why), ERR_OK);
	for (int i = 0; i < 20; i++) {
		p = client_endpoints_next(&e, now, &until);
		OK(p != NULL);
		client_endpoints_failed(&e, p, now);
		OK(client_endpoints_next(&e, now, &until) == NULL);
		OK(mono_sub_ms(until, now) <= CLIENT_BACKOFF_MAX_MS);
		OK(i > 6 || mono_sub_ms(until, now) > before / 2);
		before = mono_sub_ms(until, now);
		now = until;
	}
	OK(before >= CLIENT_BACKOFF_MAX_MS / 2);
	client_endpoints_good(&e, &e.v[0]);
	OK(client_endpoints_next(&e, now, &until) != NULL);
}

TESTS = {
	T(a_dead_endpoint_is_passed_over),
	T(a_listener_that_never_answers_gets_no_write),
	T(nobody_there_is_said_with_the_systems_reason),
	T(a_write_is_repeated_when_the_server_says_safe),
	T(a_write_is_not_repeated_when_unsure),
	T(a_write_on_a_connection_that_closes_is_not_repeated),
	T(a_write_that_is_refused_for_good_is_not_repeated),
	T(a_read_is_repeated_elsewhere_after_anything),
	T(a_silent_server_costs_a_write_its_deadline_and_no_more),
	T(a_server_of_another_kind_or_version_gets_no_request),
	T(a_request_over_the_limit_is_not_sent),
	T(a_large_range_is_streamed),
	T(a_stream_that_breaks_is_an_error_and_not_begun_again),
	T(requests_are_pipelined_up_to_the_limit),
	T(a_broken_connection_says_which_requests_surely_did_not_arrive),
	T(endpoints_are_read_as_people_write_them),
	T(a_failing_endpoint_rests_longer_each_time_and_never_too_long),
};
TAP_MAIN
