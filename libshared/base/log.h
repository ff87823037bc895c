/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line an event on standard error:
 *   2026-01-31T12:34:56.789Z info raftd[1234] became leader term=7 index=42
 * First the words, then key=value pairs. A line is written
 * with one write(2). If the reader of our standard error has stopped, lines are dropped and
 * counted, and the daemon goes on: a blocked log must never stop consensus.
 */
#ifndef QUORATE_LOG_H
#define QUORATE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* `program` must live as long as the process. */
void log_open(const char *program);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
int log_level_parse(const char *name, enum log_level *level);   /* ERR_OK or ERR_BAD_ARGUMENT */
const char *log_level_name(enum log_level level);

/* The switch that prints every message by name (admin command `trace`). */
void log_set_trace(bool on);
bool log_tracing(void);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_writev(enum log_level level, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
uint64_t log_dropped(void);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) \
	do { if (log_get_level() >= LOG_DEBUG) log_write(LOG_DEBUG, __VA_ARGS__); } while (0)

#endif
