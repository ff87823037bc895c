/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three kinds of trouble, never mixed:
 *   CHECK / panic  our own bug: say where, dump core (abort).
 *   fatal          the machine's fault (disk, memory, configuration): say what to do, exit 111.
 *   enum err       anything a client or a peer sends: an error value (base/err.h).
 */
#ifndef QUORATE_CHECK_H
#define QUORATE_CHECK_H

enum { EXIT_USAGE = 100, EXIT_FATAL = 111 };

/* Always on, also in release builds. */
#define CHECK(cond) ((cond) ? (void)0 : panic_at(__FILE__, __LINE__, #cond))
#define panic(what) panic_at(__FILE__, __LINE__, what)

_Noreturn void panic_at(const char *file, int line, const char *what);

/* `hint` tells the operator what to do about it; it ends the log line. May be NULL. */
_Noreturn void fatal(const char *hint, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
