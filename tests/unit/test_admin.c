/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/admin.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "rt/admin_reply.h"
#include "tests/lib/link_pair.h"
#include "tests/lib/raw_sock.h"
#include "tests/lib/tap.h"

struct admin_test {
	struct loop *loop;
	struct admin *admin;
	char path[108];
	int fd;
	struct buf got;
	unsigned runs;
};

static void run_values(void *arg, const char *args, struct admin_reply *r)
{
	struct admin_test *t = arg;

	t->runs++;
	admin_str(r, "args", args);
	admin_u64(r, "big", UINT64_MAX);
	admin_i64(r, "small", INT64_MIN);
	admin_begin(r, "one");
	admin_bool(r, "yes", true);
	admin_begin(r, "two");
	admin_f64(r, "half", 0.5);
	admin_f64(r, "none", NAN);
	admin_end(r);
	admin_begin(r, "empty");
	admin_end(r);
	admin_bool(r, "no", false);
	admin_end(r);
	admin_str(r, "odd", "a\"b\\c\nd\x01\xff\xc3\xa9\xe2\x82");
}

static void run_fails(void *arg, const char *args, struct admin_reply *r)
{
	(void)arg;
	admin_str(r, "half", "an answer");
	admin_begin(r, "open");
	admin_error(r, "it is %s\n", args[0] ? args : "so");
}

static void run_raw(void *arg, const char *args, struct admin_reply *r)
{
	(void)arg;
	(void)args;
	buf_str(admin_raw(r), "\nfirst\n\n\nsecond \"x\"\n\nthird");
}

static void run_large(void *arg, const char *args, struct admin_reply *r)
{
	size_t n = (size_t)strtoul(args, NULL, 10);

	(void)arg;
	for (size_t i = 0; i < n; i++)
		buf_str(admin_raw(r), "0123456789abcde\n");
}

static const struct admin_command commands[] = {
	{"values", "[ARGS]", "all kinds of values", run_values},
	{"fails", "", "an error", run_fails},
	{"raw", "", "text", run_raw},
	{"large", "N", "N lines of 16 bytes", run_large},
	{NULL, NULL, NULL, NULL},
};

static void test_status(void *arg, struct admin_reply *r)
{
	(void)arg;
	admin_u64(r, "term", 7);
}

static const struct counter test_counter = {42, "proposals", "handed to the leader", COUNTER_KIND_COUNTER};

static void admin_start(struct admin_test *t, unsigned idle_ms)
{
	struct admin_setup s = {
		.daemon = "raftd",
		.commands = commands,
		.status = test_status,
		.counters = &test_counter,
		.n_counters = 1,
		.arg = t,
		.idle_ms = idle_ms,
	};

	*t = (struct admin_test){.loop = loop_new()};
	buf_init(&t->got, 0);
	(void)snprintf(t->path, sizeof t->path, "%s/raftd.admin", tap_dir());
	s.path = t->path;
	s.loop = t->loop;
	EQ_INT(admin_open(&s, &t->admin), ERR_OK);
	t->fd = raw_connect(t->path);
	OK(t->fd >= 0);
}

static void admin_stop(struct admin_test *t)
{
	close(t->fd);
	admin_close(&t->admin);
	loop_free(t->loop);
	buf_free(&t->got);
}

static size_t count_answers(const struct buf *b)
{
	size_t n = 0;

	for (size_t i = 1; i < b->len; i++)
		n += b->data[i] == '\n' && b->data[i - 1] == '\n';
	return n;
}

static const char *ask(struct admin_test *t, const char *line)
{
	buf_clear(&t->got);
	raw_send(t->fd, line, strlen(line));
	UNTIL_ONE(t->loop, raw_read(t->fd, &t->got) && count_answers(&t->got) == 1);
	buf_u8(&t->got, 0);
	return (const char *)t->got.data;
}

TEST(answers_end_in_an_empty_line_and_values_are_named)
{
	struct admin_test t;

	admin_start(&t, 0);
	EQ_STR(ask(&t, "values  a b  \r\n"),
	       "args: a b\nbig: 18446744073709551615\nsmall: -9223372036854775808\none.yes: true\n"
	       "one.two.half: 0.5\none.two.none: unknown\none.no: false\n"
	       "odd: a\"b\\c\\x0ad\\x01\xff\xc3\xa9\xe2\x82\n\n");
	EQ_STR(ask(&t, "json values\n"),
	       "{\"args\":\"\",\"big\":18446744073709551615,\"small\":-9223372036854775808,"
	       "\"one\":{\"yes\":true,\"two\":{\"half\":0.5,\"none\":null},\"empty\":{},\"no\":false},"
	       "\"odd\":\"a\\\"b\\\\c\\nd\\u0001\\ufffd\xc3\xa9\\ufffd\\ufffd\"}\n\n");
	EQ_INT(t.runs, 2);
	admin_stop(&t);
}

TEST(raw_text_has_no_empty_line_inside)
{
	struct admin_test t;

	admin_start(&t, 0);
	EQ_STR(ask(&t, "raw\n"), "first\nsecond \"x\"\nthird\n\n");
	EQ_STR(ask(&t, "json raw\n"),
	       "{\"text\":\"\\nfirst\\n\\n\\nsecond \\\"x\\\"\\n\\nthird\"}\n\n");
	admin_stop(&t);
}

TEST(errors_replace_the_answer)
{
	struct admin_test t;

	admin_start(&t, 0);
	EQ_STR(ask(&t, "fails\n"), "error: it is so\\x0a\n\n");
	EQ_STR(ask(&t, "json fails too\n"), "{\"error\":\"it is too\\n\"}\n\n");
	EQ_STR(ask(&t, "nothing of the kind\n"), "error: no such command: nothing (try help)\n\n");
	EQ_STR(ask(&t, "large 70000\n"), "error: the answer is larger than 1048576 bytes\n\n");
	admin_stop(&t);
}

TEST(every_daemon_has_the_common_commands)
{
	struct admin_test t;
	enum log_level level = log_get_level();

	admin_start(&t, 0);
	OK(strstr(ask(&t, "help\n"), "values [ARGS]: all kinds of values\n") != NULL);
	OK(strstr(ask(&t, "status\n"), "daemon: raftd\n") != NULL);
	OK(strstr((char *)t.got.data, "\nterm: 7\n") != NULL);
	OK(strstr((char *)t.got.data, "version: " QUORATE_VERSION "\n") != NULL);
	OK(strstr(ask(&t, "json status\n"), "\"links_up\":0,") != NULL);
	OK(strstr(ask(&t, "metrics\n"), "\nquorate_raftd_proposals 42\n") != NULL);
	OK(strstr((char *)t.got.data, "# TYPE quorate_raftd_loop_turn_us_max gauge\n") != NULL);
	EQ_STR(ask(&t, "loglevel debug\n"), "log_level: debug\n\n");
	EQ_INT(log_get_level(), LOG_DEBUG);
	EQ_STR(ask(&t, "loglevel loud\n"), "error: no such level: loud (error, warn, info or debug)\n\n");
	log_set_level(level);
	EQ_STR(ask(&t, "trace on\n"), "trace: true\n\n");
	OK(log_tracing());
	EQ_STR(ask(&t, "trace off\n"), "trace: false\n\n");
	EQ_STR(ask(&t, "trace maybe\n"), "error: on or off, not maybe\n\n");
	OK(!log_tracing());
	admin_stop(&t);
}

TEST(pipelined_commands_are_answered_in_order_also_after_the_client_said_all)
{
	const char *said = "\n  \ntrace\nvalues\r\n\nfails\ntrace\n";
	struct admin_test t;

	admin_start(&t, 0);
	raw_send(t.fd, said, strlen(said));
	EQ_INT(shutdown(t.fd, SHUT_WR), 0);
	UNTIL_ONE(t.loop, !raw_read(t.fd, &t.got));
	EQ_INT(count_answers(&t.got), 4);
	EQ_INT(t.runs, 1);
	admin_stop(&t);
}

TEST(a_line_may_come_in_pieces)
{
	struct admin_test t;
	const char *line = "values x\n";

	admin_start(&t, 0);
	for (size_t i = 0; line[i]; i++) {
		raw_send(t.fd, line + i, 1);
		loop_turn(t.loop, 1);
	}
	UNTIL_ONE(t.loop, raw_read(t.fd, &t.got) && count_answers(&t.got) == 1);
	admin_stop(&t);
}

TEST(a_line_too_long_or_with_a_nul_ends_the_connection_with_a_word)
{
	struct admin_test t;
	char line[3 * LIMIT_ADMIN_LINE_BYTES];

	for (int nul = 0; nul < 2; nul++) {
		admin_start(&t, 0);
		memset(line, 'x', sizeof line);
		if (nul)
			memcpy(line, "sta\0tus\n", 8);
		raw_send(t.fd, line, sizeof line);
		UNTIL_ONE(t.loop, !raw_read(t.fd, &t.got));
		buf_u8(&t.got, 0);
		EQ_STR((char *)t.got.data, nul ? "error: this is a text protocol\n\n" : "error: line too long\n\n");
		admin_stop(&t);
	}
}

TEST(the_longest_line_is_a_command)
{
	struct admin_test t;
	char line[LIMIT_ADMIN_LINE_BYTES + 1];

	admin_start(&t, 0);
	memset(line, ' ', sizeof line);
	memcpy(line, "trace", 5);
	line[LIMIT_ADMIN_LINE_BYTES - 1] = '\n';
	line[LIMIT_ADMIN_LINE_BYTES] = 0;
	EQ_STR(ask(&t, line), "trace: false\n\n");
	admin_stop(&t);
}

/* Answers the client does not read are not gathered: the commands wait in the socket. */
TEST(a_client_that_never_reads_costs_one_answer)
{
	struct admin_test t;
	size_t got = 0;
	struct buf said;

	admin_start(&t, 0);
	buf_init(&said, 0);
	for (int i = 0; i < 20; i++)
		buf_str(&said, "large 65000\nvalues\n");
	raw_send(t.fd, said.data, said.len);
	buf_free(&said);
	for (int i = 0; i < 50; i++)
		loop_turn(t.loop, 1);
	OK(t.runs <= 1);
	for (mono_t until = mono_add_ms(mono_now(), TAP_PATIENCE_MS); got < 40 && mono_before(mono_now(), until);) {
		loop_turn(t.loop, 1);
		OK(raw_read(t.fd, &t.got));
		while (t.got.len > 1) {
			const uint8_t *end = memmem(t.got.data, t.got.len, "\n\n", 2);

			if (end == NULL)
				break;
			got++;
			buf_consume(&t.got, (size_t)(end - t.got.data) + 2);
		}
	}
	EQ_INT(got, 40);
	EQ_INT(t.runs, 20);
	admin_stop(&t);
}

TEST(idle_connections_are_closed)
{
	struct admin_test t;

	admin_start(&t, 50);
	EQ_STR(ask(&t, "trace\n"), "trace: false\n\n");
	UNTIL_ONE(t.loop, raw_closed(t.fd));
	admin_stop(&t);
}

TEST(a_crowd_of_idle_connections_makes_room_for_the_newest)
{
	struct admin_test t;
	int crowd[LIMIT_ADMIN_CONNECTIONS + 10], first;

	admin_start(&t, 0);
	first = t.fd;
	for (size_t i = 0; i < LIMIT_ADMIN_CONNECTIONS + 10; i++) {
		UNTIL_ONE(t.loop, (crowd[i] = raw_connect(t.path)) >= 0);
		t.fd = crowd[i];
		EQ_STR(ask(&t, "trace\n"), "trace: false\n\n");
	}
	UNTIL_ONE(t.loop, raw_closed(first) && raw_closed(crowd[5]));
	OK(!raw_closed(crowd[LIMIT_ADMIN_CONNECTIONS]));
	for (size_t i = 0; i < LIMIT_ADMIN_CONNECTIONS + 10; i++)
		close(crowd[i]);
	t.fd = first;
	admin_stop(&t);
}

TEST(a_storm_of_connects_and_garbage_is_survived)
{
	struct admin_test t;
	uint64_t seed = 3;

	admin_start(&t, 0);
	for (int i = 0; i < 300; i++) {
		uint8_t junk[100];
		int fd = -1;

		UNTIL_ONE(t.loop, (fd = raw_connect(t.path)) >= 0);
		for (size_t j = 0; j < sizeof junk; j++)
			junk[j] = (uint8_t)tap_rand(&seed);
		if (i % 2)
			raw_send(fd, junk, sizeof junk);
		if (i % 20 == 0)
			EQ_STR(ask(&t, "trace\n"), "trace: false\n\n");
		close(fd);
	}
	EQ_STR(ask(&t, "trace\n"), "trace: false\n\n");
	admin_stop(&t);
}

TEST(the_socket_file_is_ours_alone)
{
	struct admin_test t;
	struct stat st;

	admin_start(&t, 0);
	EQ_INT(stat(t.path, &st), 0);
	EQ_INT(st.st_mode & 07777, 0600);
	admin_stop(&t);
}

TEST(json_strings_are_well_formed_whatever_the_bytes)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", "\"\""},
		{"\x7f", "\"\\u007f\""},
		{"\xc0\x80", "\"\\ufffd\\ufffd\""},                  /* overlong */
		{"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},       /* a surrogate */
		{"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
		{"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
		{"\xe2\x82\xac", "\"\xe2\x82\xac\""},
		{"\xe2\x82", "\"\\ufffd\\ufffd\""},
		{"\xe2" "a", "\"\\ufffda\""},
	};
	struct buf b;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		buf_init(&b, 0);
		admin_json_string(&b, bytes_str(cases[i].in));
		buf_u8(&b, 0);
		EQ_STR((char *)b.data, cases[i].out);
		buf_free(&b);
	}
}

TESTS = {
	T(answers_end_in_an_empty_line_and_values_are_named),
	T(raw_text_has_no_empty_line_inside),
	T(errors_replace_the_answer),
	T(every_daemon_has_the_common_commands),
	T(pipelined_commands_are_answered_in_order_also_after_the_client_said_all),
	T(a_line_may_come_in_pieces),
	T(a_line_too_long_or_with_a_nul_ends_the_connection_with_a_word),
	T(the_longest_line_is_a_command),
	T(a_client_that_never_reads_costs_one_answer),
	T(idle_connections_are_closed),
	T(a_crowd_of_idle_connections_makes_room_for_the_newest),
	T(a_storm_of_connects_and_garbage_is_survived),
	T(the_socket_file_is_ours_alone),
	T(json_strings_are_well_formed_whatever_the_bytes),
};
TAP_MAIN
