/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails or is slow, for a daemon that is not told: preloaded, it stands in front of
 * fsync, fdatasync and the writes to files. QUORATE_FAULT_DISK names a file of rules, read again at
 * every call, so that a test breaks and mends disks while the daemons run. A rule a line:
 *
 *   sync|write PATTERN NTH TIMES fail ERRNO
 *   sync|write PATTERN NTH TIMES short 0
 *   sync|write PATTERN NTH TIMES slow MILLISECONDS
 *
 * PATTERN is a shell pattern of the file's path. The NTH call of a process that matches, counted from when it
 * first sees this line, and TIMES - 1 more after it (0: all), fail with ERRNO, write the first half
 * only, or take so much longer (until the rules change, if that is sooner).
 */
#include "tests/lib/preload.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RULES = 8, LINE = 256, RULES_BYTES = 2048 };

struct fault {
	int error;               /* 0: none */
	bool half;
	long slow_ms;
	char rules[RULES_BYTES]; /* all of them, as they were when it was found */
};

static struct {
	char line[LINE];
	unsigned long seen;
} rules[RULES];
static pthread_mutex_t rules_lock = PTHREAD_MUTEX_INITIALIZER;

/* With the lock held: does this call, of those that match the line, have the fault? */
static bool rule_counts(const char *line, unsigned long nth, unsigned long times)
{
	size_t i = 0;
	unsigned long n;

	while (i < RULES - 1 && rules[i].line[0] != 0 && strcmp(rules[i].line, line) != 0)
		i++;
	if (strcmp(rules[i].line, line) != 0) {
		(void)snprintf(rules[i].line, sizeof rules[i].line, "%s", line);
		rules[i].seen = 0;
	}
	n = ++rules[i].seen;
	return n >= nth && (times == 0 || n < nth + times);
}

static void rule_apply(const char *line, const char *op, const char *path, struct fault *f)
{
	char rule_op[16], pattern[128], what[16];
	unsigned long nth, times;
	long arg;

	if (sscanf(line, "%15s %127s %lu %lu %15s %ld", rule_op, pattern, &nth, &times, what, &arg) != 6 ||
	    strcmp(rule_op, op) != 0 || fnmatch(pattern, path, 0) != 0 || !rule_counts(line, nth, times))
		return;
	if (strcmp(what, "fail") == 0)
		f->error = (int)arg;
	else if (strcmp(what, "short") == 0)
		f->half = true;
	else if (strcmp(what, "slow") == 0)
		f->slow_ms = arg;
}

/* False if there are none. */
static bool rules_read(char text[RULES_BYTES])
{
	const char *name = getenv("QUORATE_FAULT_DISK");
	int fd = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC) : -1;
	long n;

	if (fd < 0)
		return false;
	n = syscall(SYS_read, fd, text, RULES_BYTES - 1);
	(void)syscall(SYS_close, fd);
	text[n > 0 ? n : 0] = 0;
	return n > 0;
}

static struct fault fault_of(const char *op, int fd)
{
	char text[RULES_BYTES], link[64], path[1024], *rest = text, *line;
	struct fault f = {.error = 0};
	long n;

	if (!rules_read(text))
		return f;
	(void)snprintf(f.rules, sizeof f.rules, "%s", text);
	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n <= 0)
		return f;
	path[n] = 0;
	(void)pthread_mutex_lock(&rules_lock);
	while ((line = strsep(&rest, "\n")) != NULL)
		rule_apply(line, op, path, &f);
	(void)pthread_mutex_unlock(&rules_lock);
	return f;
}

static void be_slow(const struct fault *f)
{
	struct timespec piece = {0, 10 * 1000000};
	char now[RULES_BYTES];

	for (long ms = f->slow_ms; ms > 0 && rules_read(now) && strcmp(now, f->rules) == 0; ms -= 10)
		(void)nanosleep(&piece, NULL);
}

/* Takes its time; false: fails, errno is set. */
static bool passes(const struct fault *f)
{
	be_slow(f);
	if (f->error == 0)
		return true;
	errno = f->error;
	return false;
}

int fsync(int fd)
{
	struct fault f = fault_of("sync", fd);

	PRELOAD_REAL(fsync)
	return passes(&f) ? real(fd) : -1;
}

int fdatasync(int fd)
{
	struct fault f = fault_of("sync", fd);

	PRELOAD_REAL(fdatasync)
	return passes(&f) ? real(fd) : -1;
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
	struct fault f = fault_of("write", fd);

	PRELOAD_REAL(pwrite)
	return passes(&f) ? real(fd, from, f.half ? n / 2 : n, at) : -1;
}

ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at)
{
	struct fault f = fault_of("write", fd);

	PRELOAD_REAL(pwrite64)
	return passes(&f) ? real(fd, from, f.half ? n / 2 : n, at) : -1;
}

ssize_t write(int fd, const void *from, size_t n)
{
	struct fault f = fault_of("write", fd);

	PRELOAD_REAL(write)
	return passes(&f) ? real(fd, from, f.half ? n / 2 : n) : -1;
}

/* LMDB writes a run of dirty pages with this one. */
ssize_t writev(int fd, const struct iovec *v, int n)
{
	struct fault f = fault_of("write", fd);

	PRELOAD_REAL(writev)
	return passes(&f) ? real(fd, v, f.half && n > 1 ? n / 2 : n) : -1;
}
