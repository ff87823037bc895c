/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"

static const char *const log_names[] = {"error", "warn", "info", "debug"};

/* Process-wide on purpose: there is one standard error. Atomic, since any thread may log. */
static const char *log_program = "quorate";
static atomic_int log_level_now = LOG_INFO;
static atomic_bool log_trace_on;
static atomic_uint_fast64_t log_drops;

void log_open(const char *program)
{
	log_program = program;
}

void log_set_level(enum log_level level)
{
	atomic_store(&log_level_now, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < ARRAY_LEN(log_names); i++) {
		if (strcmp(name, log_names[i]) == 0) {
			*level = (enum log_level)i;
			return ERR_OK;
		}
	}
	return ERR_BAD_ARGUMENT;
}

const char *log_level_name(enum log_level level)
{
	CHECK((size_t)level < ARRAY_LEN(log_names));
	return log_names[level];
}

void log_set_trace(bool on)
{
	atomic_store(&log_trace_on, on);
}

bool log_tracing(void)
{
	return atomic_load_explicit(&log_trace_on, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
	return atomic_load(&log_drops);
}

static size_t log_head(char *line, size_t cap, enum log_level level)
{
	struct timespec ts;
	struct tm tm;
	int n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = snprintf(line, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s[%ld] ",
		     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		     ts.tv_nsec / 1000000, log_names[level], log_program, (long)getpid());
	CHECK(n > 0 && (size_t)n < cap);
	return (size_t)n;
}

/* What came from outside must not forge lines or move a terminal's cursor. */
static void log_clean(char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			s[i] = '?';
}

/* Never waits: a full pipe loses the line, not the daemon. */
static void log_emit(const char *line, size_t n)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) &&
	    write(STDERR_FILENO, line, n) == (ssize_t)n)
		return;
	atomic_fetch_add(&log_drops, 1);
}

void log_writev(enum log_level level, const char *fmt, va_list ap)
{
	char line[2048];
	int saved = errno, n;
	size_t head, len;

	if (level > log_get_level())
		return;
	head = log_head(line, sizeof line, level);
	n = vsnprintf(line + head, sizeof line - head - 1, fmt, ap);
	CHECK(n >= 0);
	len = head + (size_t)n;
	if (len > sizeof line - 2)
		len = sizeof line - 2;
	log_clean(line, len);
	line[len++] = '\n';
	log_emit(line, len);
	errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_writev(level, fmt, ap);
	va_end(ap);
}
