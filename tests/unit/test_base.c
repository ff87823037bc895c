/* SPDX-License-Identifier: Apache-2.0 */
/* The small parts of libshared/base: errors, memory, checks, counters, text, time. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/mono.h"
#include "base/text.h"
#include "rt/peers.h"
#include "tests/lib/tap.h"

/* Without it AddressSanitizer would end the process itself at a hopeless allocation. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

TEST(every_error_has_its_own_number_a_name_and_a_text)
{
	static const int codes[] = {
#define E(name, code, grpc, again, text) code,
		ERR_LIST(E)
#undef E
	};

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		OK(codes[i] >= 0);
		OK(strcmp(err_name(codes[i]), "UNKNOWN") != 0 && err_text(codes[i])[0] != 0);
		for (size_t j = 0; j < i; j++)
			OK(codes[i] != codes[j]);
	}
}

TEST(the_numbers_of_the_wire_stay)
{
	EQ_INT(ERR_COMPACTED, 9);
	EQ_STR(err_text(ERR_COMPACTED), "mvcc: required revision has been compacted");
	EQ_INT(err_grpc(ERR_COMPACTED), GRPC_OUT_OF_RANGE);
	EQ_INT(err_again(ERR_NO_LEADER), ERR_AGAIN_SAFE);
	EQ_INT(err_again(ERR_TIMEOUT), ERR_AGAIN_UNSURE);
	EQ_STR(err_name(ERR_FULL), "FULL");
}

TEST(an_unknown_error_is_unsure)
{
	EQ_STR(err_text(12345), "unknown error");
	EQ_STR(err_name(-1), "UNKNOWN");
	EQ_INT(err_again(12345), ERR_AGAIN_UNSURE);
	EQ_INT(err_grpc(12345), GRPC_UNKNOWN);
}

/* Runs it in a child whose standard error is a pipe; the wait status. */
static int in_child(void (*fn)(void), char *said, size_t size)
{
	int fd[2], status = 0;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	OK(pipe(fd) == 0);
	pid = fork();
	OK(pid >= 0);
	if (pid == 0) {
		if (dup2(fd[1], STDERR_FILENO) < 0)
			_exit(99);
		fn();
		_exit(0);
	}
	close(fd[1]);
	while ((n = read(fd[0], said + len, size - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = 0;
	close(fd[0]);
	OK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void fails_check(void)
{
	CHECK(1 + 1 == 3);
}

static void fails_fatal(void)
{
	fatal("buy a new one", "disk %d is gone", 7);
}

static void fails_memory(void)
{
	void *volatile p = mem_array(1, SIZE_MAX / 4);

	mem_free(p);
}

TEST(a_failed_check_says_where_and_aborts)
{
	char said[4096];
	int status = in_child(fails_check, said, sizeof said);

	OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	OK(strstr(said, "panic at ") != NULL && strstr(said, "test_base.c:") != NULL);
	OK(strstr(said, "1 + 1 == 3") != NULL);
}

TEST(fatal_says_what_to_do_and_exits_111)
{
	char said[4096];
	int status = in_child(fails_fatal, said, sizeof said);

	OK(WIFEXITED(status) && WEXITSTATUS(status) == 111);
	OK(strstr(said, "fatal: disk 7 is gone; what to do: buy a new one\n") != NULL);
}

TEST(no_memory_is_fatal)
{
	char said[16384];
	int status = in_child(fails_memory, said, sizeof said);

	OK(WIFEXITED(status) && WEXITSTATUS(status) == 111);
	OK(strstr(said, "no memory for ") != NULL);
}

TEST(memory_is_zeroed_and_copies_are_whole)
{
	unsigned char *p = mem_array(100, 3);
	char *s = mem_strdup("text");
	int *grown = mem_grow(NULL, 4, sizeof *grown);
	void *empty = mem_dup("", 0);

	for (size_t i = 0; i < 300; i++)
		EQ_INT(p[i], 0);
	EQ_STR(s, "text");
	OK(grown != NULL && empty != NULL);
	grown[3] = 1;
	grown = mem_grow(grown, 8, sizeof *grown);
	EQ_INT(grown[3], 1);
	mem_free(p);
	mem_free(s);
	mem_free(grown);
	mem_free(empty);
	mem_free(NULL);
}

#define TEST_COUNTERS(C) \
	C(COUNTER, proposals, "commands handed to the leader") \
	C(GAUGE, term, "current term")
COUNTER_SET(test_counters, TEST_COUNTERS);

TEST(counters_print_as_prometheus_text)
{
	struct test_counters c;
	struct buf b;

	test_counters_init(&c);
	counter_inc(&c.proposals);
	counter_add(&c.proposals, 41);
	counter_set(&c.term, -7);
	EQ_INT(COUNTER_COUNT(&c), 2);
	buf_init(&b, 0);
	counter_print(&b, "raftd", &c.proposals, COUNTER_COUNT(&c));
	buf_u8(&b, 0);
	EQ_STR((char *)b.data, "# HELP quorate_raftd_proposals commands handed to the leader\n"
			       "# TYPE quorate_raftd_proposals counter\nquorate_raftd_proposals 42\n"
			       "# HELP quorate_raftd_term current term\n# TYPE quorate_raftd_term gauge\n"
			       "quorate_raftd_term -7\n");
	buf_free(&b);
}

TEST(text_is_trimmed_and_control_characters_are_seen)
{
	char a[] = " \t x  y \t\r", b[] = "  ", c[] = "";

	EQ_STR(text_trim(a), "x  y");
	EQ_STR(text_trim(b), "");
	EQ_STR(text_trim(c), "");
	OK(text_is_plain("abc \xc3\xa9"));
	OK(!text_is_plain("a\tb") && !text_is_plain("a\x7f") && !text_is_plain("\x1b[0m"));
}

TEST(monotonic_time_saturates_and_goes_on)
{
	mono_t a = mono_now(), b = mono_now();

	OK(!mono_before(b, a));
	EQ_INT(mono_sub_ms(mono_add_ms(a, 1500), a), 1500);
	EQ_INT(mono_sub_us(mono_add_us(a, 7), a), 7);
	EQ_INT(mono_add_ns(MONO_NEVER, 1).ns, INT64_MAX);
	EQ_INT(mono_min(a, MONO_NEVER).ns, a.ns);
}

TEST(only_the_listed_daemons_talk)
{
	enum daemon_kind kind;

	EQ_STR(peer_socket(DAEMON_STORED, DAEMON_RAFTD), "stored-raftd.sock");
	OK(peer_socket(DAEMON_RAFTD, DAEMON_STORED) == NULL);
	OK(peer_socket(DAEMON_GATEWAYD, DAEMON_GATEWAYD) == NULL);
	EQ_STR(daemon_name(DAEMON_WATCHD), "watchd");
	EQ_STR(daemon_name((enum daemon_kind)99), "?");
	EQ_INT(daemon_by_name("leased", &kind), ERR_OK);
	EQ_INT(kind, DAEMON_LEASED);
	EQ_INT(daemon_by_name("systemd", &kind), ERR_NOT_FOUND);
}

TESTS = {
	T(every_error_has_its_own_number_a_name_and_a_text),
	T(the_numbers_of_the_wire_stay),
	T(an_unknown_error_is_unsure),
	T(a_failed_check_says_where_and_aborts),
	T(fatal_says_what_to_do_and_exits_111),
	T(no_memory_is_fatal),
	T(memory_is_zeroed_and_copies_are_whole),
	T(counters_print_as_prometheus_text),
	T(text_is_trimmed_and_control_characters_are_seen),
	T(monotonic_time_saturates_and_goes_on),
	T(only_the_listed_daemons_talk),
};
TAP_MAIN
