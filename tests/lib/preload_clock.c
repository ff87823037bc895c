/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wall clock that a test sets, for a daemon that is not told: preloaded, it stands in front of
 * everything that reads or waits on CLOCK_REALTIME; CLOCK_MONOTONIC is left alone. The file
 * QUORATE_FAULT_CLOCK/<node> holds by how many milliseconds the clock of that node is wrong (8 bytes, mapped);
 * the node is the first /node<N>/ in the command line.
 *
 * A wait until a time of the wall clock (nng waits like that) must notice when the clock jumps, as
 * the kernel's would. So it is done in short pieces.
 */
#include "tests/lib/preload.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_MS 1000000ll
#define NS_S 1000000000ll

enum { PIECE_MS = 20 };

static const volatile int64_t *wrong_by_ms;    /* NULL: the clock is right */

static void __attribute__((constructor)) clock_find(void)
{
	const char *dir = getenv("QUORATE_FAULT_CLOCK");
	char args[4096], path[4200], *node = NULL;
	ssize_t n = 0;
	void *map;
	int fd;

	fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, args, sizeof args - 1);
		(void)close(fd);
	}
	for (ssize_t i = 0; i + 6 < n && node == NULL; i++)
		if (memcmp(args + i, "/node", 5) == 0 && args[i + 6] == '/')
			node = args + i + 1;
	if (dir == NULL || node == NULL)
		return;
	(void)snprintf(path, sizeof path, "%s/%.5s", dir, node);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	map = mmap(NULL, sizeof *wrong_by_ms, PROT_READ, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (map != MAP_FAILED)
		wrong_by_ms = map;
}

static int64_t wrong_by_ns(void)
{
	return wrong_by_ms ? *wrong_by_ms * NS_MS : 0;
}

static int64_t ns_of(const struct timespec *ts)
{
	return ts->tv_sec * NS_S + ts->tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){ns / NS_S, ns % NS_S};
}

static int64_t true_now(void)
{
	struct timespec ts;

	(void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts);
	return ns_of(&ts);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc;

	PRELOAD_REAL(clock_gettime)
	rc = real(id, ts);
	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		*ts = timespec_of(ns_of(ts) + wrong_by_ns());
	return rc;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	int64_t us = (true_now() + wrong_by_ns()) / 1000;

	(void)tz;
	*tv = (struct timeval){us / 1000000, us % 1000000};
	return 0;
}

time_t time(time_t *out)
{
	time_t now = (true_now() + wrong_by_ns()) / NS_S;

	if (out != NULL)
		*out = now;
	return now;
}

/* The old version of this function, which dlsym might find, has another struct. */
typedef int (*timedwait_fn)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static timedwait_fn timedwait_find(void)
{
	static timedwait_fn real;
	void *p;

	if (real == NULL) {
		p = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
		if (p == NULL)
			p = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
		if (p == NULL)
			abort();
		memcpy(&real, &p, sizeof real);
	}
	return real;
}

/* glibc keeps in this bit whether pthread_condattr_setclock said CLOCK_MONOTONIC. */
static bool is_monotonic(const pthread_cond_t *cond)
{
	return (cond->__data.__wrefs & 2u) != 0;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
			   const struct timespec *restrict until)
{
	timedwait_fn real = timedwait_find();

	if (wrong_by_ms == NULL || is_monotonic(cond))
		return real(cond, mutex, until);
	for (;;) {
		int64_t now = true_now(), end = ns_of(until) - wrong_by_ns();
		struct timespec piece = timespec_of(end < now + PIECE_MS * NS_MS ? end : now + PIECE_MS * NS_MS);
		int rc;

		if (piece.tv_sec < 0 || piece.tv_nsec < 0)
			piece = (struct timespec){0, 0};
		rc = real(cond, mutex, &piece);
		if (rc != ETIMEDOUT || true_now() + wrong_by_ns() >= ns_of(until))
			return rc;
	}
}
