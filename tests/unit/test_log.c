/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/tap.h"

/* Standard error is a pipe of ours while a case runs. */
struct capture {
	int old, fd[2];
	char said[65536];
};

static void capture_start(struct capture *c)
{
	c->old = dup(STDERR_FILENO);
	OK(c->old >= 0 && pipe2(c->fd, O_NONBLOCK) == 0 && dup2(c->fd[1], STDERR_FILENO) >= 0);
	log_open("test");
	log_set_level(LOG_INFO);
}

static const char *capture_read(struct capture *c)
{
	ssize_t n = read(c->fd[0], c->said, sizeof c->said - 1);

	c->said[n > 0 ? n : 0] = 0;
	return c->said;
}

static void capture_end(struct capture *c)
{
	(void)dup2(c->old, STDERR_FILENO);
	close(c->old);
	close(c->fd[0]);
	close(c->fd[1]);
}

TEST(a_line_has_time_level_program_and_text)
{
	struct capture c;
	const char *line;

	capture_start(&c);
	log_info("became leader term=%d", 7);
	line = capture_read(&c);
	capture_end(&c);
	EQ_INT(strlen(line) > 40, 1);
	OK(line[4] == '-' && line[10] == 'T' && line[23] == 'Z' && line[24] == ' ');
	OK(strncmp(line + 25, "info test[", 10) == 0);
	OK(strstr(line, "] became leader term=7\n") != NULL);
}

TEST(levels_above_the_set_one_are_silent)
{
	struct capture c;
	enum log_level level;

	capture_start(&c);
	log_debug("one");
	EQ_STR(capture_read(&c), "");
	log_set_level(LOG_WARN);
	log_info("two");
	EQ_STR(capture_read(&c), "");
	log_set_level(LOG_DEBUG);
	log_debug("three");
	OK(strstr(capture_read(&c), "three\n") != NULL);
	capture_end(&c);
	log_set_level(LOG_INFO);
	EQ_INT(log_level_parse("warn", &level), ERR_OK);
	EQ_INT(level, LOG_WARN);
	EQ_INT(log_level_parse("Warn", &level), ERR_BAD_ARGUMENT);
	EQ_STR(log_level_name(LOG_ERROR), "error");
}

TEST(what_comes_from_outside_cannot_forge_lines)
{
	struct capture c;
	const char *line;

	capture_start(&c);
	log_warn("key=%s", "a\nerror x\x1b[2J\x7f");
	line = capture_read(&c);
	capture_end(&c);
	OK(strstr(line, "key=a?error x?[2J?\n") != NULL);
	OK(strchr(line, '\n') == line + strlen(line) - 1);
}

TEST(a_long_line_is_cut_and_stays_one_line)
{
	static char text[5000];
	struct capture c;
	const char *line;

	memset(text, 'x', sizeof text - 1);
	capture_start(&c);
	log_info("%s", text);
	line = capture_read(&c);
	capture_end(&c);
	OK(strlen(line) <= 2048 && strlen(line) > 1900);
	OK(line[strlen(line) - 1] == '\n');
}

TEST(a_full_pipe_loses_lines_and_counts_them_but_does_not_wait)
{
	uint64_t before = log_dropped(), lost;
	struct capture c;

	capture_start(&c);
	for (int i = 0; i < 5000; i++)
		log_info("a line that nobody reads, of some length to fill the pipe %d", i);
	lost = log_dropped() - before;
	while (capture_read(&c)[0] != 0)
		;
	log_info("again");
	OK(strstr(capture_read(&c), "again\n") != NULL);
	capture_end(&c);
	OK(lost > 1000 && lost < 5000);
	EQ_INT(log_dropped() - before, lost);
}

TEST(errno_survives_a_log_line)
{
	struct capture c;

	capture_start(&c);
	errno = EBADF;
	log_info("x");
	EQ_INT(errno, EBADF);
	capture_end(&c);
}

TESTS = {
	T(a_line_has_time_level_program_and_text),
	T(levels_above_the_set_one_are_silent),
	T(what_comes_from_outside_cannot_forge_lines),
	T(a_long_line_is_cut_and_stays_one_line),
	T(a_full_pipe_loses_lines_and_counts_them_but_does_not_wait),
	T(errno_survives_a_log_line),
};
TAP_MAIN
