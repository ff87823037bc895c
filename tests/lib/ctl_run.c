/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/ctl_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "ctl/ctl.h"

enum { RUN_WORDS = 64 };

/* Splits in place. */
static int run_split(char *line, char **argv)
{
	int n = 0;

	while (*(line += strspn(line, " ")) != 0) {
		char end = *line == '\'' ? '\'' : ' ';

		CHECK(n < RUN_WORDS);
		line += end == '\'';
		argv[n++] = line;
		line += strcspn(line, end == '\'' ? "'" : " ");
		if (*line != 0)
			*line++ = 0;
	}
	argv[n] = NULL;
	return n;
}

/* The input as a file that is gone already. */
static int run_input(const char *input)
{
	char path[4096];
	const char *tmp = getenv("TMPDIR");
	int fd;

	(void)snprintf(path, sizeof path, "%s/quorate-input-XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	CHECK(fd >= 0 && unlink(path) == 0);
	if (input != NULL)
		CHECK(write(fd, input, strlen(input)) == (ssize_t)strlen(input));
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static void run_keep(char *to, size_t cap, const char *from)
{
	(void)snprintf(to, cap, "%s", from);
}

void ctl_run(struct ctl_result *r, const char *endpoints, const char *input, const char *line)
{
	char *argv[RUN_WORDS + 4] = {(char[]){"quorate"}, (char[]){"--endpoints"}, NULL};
	char *copy = strdup(line), *list = strdup(endpoints), *out = NULL, *err = NULL;
	size_t out_len, err_len;
	struct ctl ctl = {.program = "quorate", .in_fd = run_input(input)};

	CHECK(copy != NULL && list != NULL);
	argv[2] = list;
	ctl.out = open_memstream(&out, &out_len);
	ctl.err = open_memstream(&err, &err_len);
	CHECK(ctl.out != NULL && ctl.err != NULL);
	r->code = ctl_main(&ctl, 3 + run_split(copy, argv + 3), argv);
	(void)fclose(ctl.out);
	(void)fclose(ctl.err);
	(void)close(ctl.in_fd);
	run_keep(r->out, sizeof r->out, out);
	run_keep(r->err, sizeof r->err, err);
	free(out);
	free(err);
	free(copy);
	free(list);
}
