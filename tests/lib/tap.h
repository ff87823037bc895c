/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The house's unit test runner: one program per source file, a table of cases named for the claim
 * they check, TAP on standard output (automake's tap driver reads it).
 *
 *   TEST(a_torn_tail_is_cut) { ...; OK(x == 3); EQ_INT(a, b); EQ_MEM(p, q, n); }
 *   TESTS = { T(a_torn_tail_is_cut), ... };   TAP_MAIN
 *
 * `tap_dir()` is a fresh directory of the running case, removed after it.
 * A program argument runs only the cases whose name contains it.
 */
#ifndef QUORATE_TAP_H
#define QUORATE_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tap_case {
	const char *name;
	void (*run)(void);
};

#define TEST(name) static void test_##name(void)
#define T(name) {#name, test_##name}
#define TESTS static const struct tap_case tap_cases[]
#define TAP_MAIN \
	int main(int argc, char **argv) \
	{ \
		return tap_main(argc, argv, tap_cases, sizeof tap_cases / sizeof tap_cases[0]); \
	}

/* What must come true has so long on a busy machine; only what hangs waits for the end of it. */
enum { TAP_PATIENCE_MS = 60000 };

/* A failed check ends the case (longjmp): the ones behind it would only add noise. */
#define OK(cond) tap_ok((cond), #cond, __FILE__, __LINE__)
#define EQ_INT(got, want) tap_eq_int((int64_t)(got), (int64_t)(want), #got " == " #want, __FILE__, __LINE__)
#define EQ_STR(got, want) tap_eq_str((got), (want), #got, __FILE__, __LINE__)
#define EQ_MEM(got, want, n) tap_eq_mem((got), (want), (n), #got, __FILE__, __LINE__)

int tap_main(int argc, char **argv, const struct tap_case *cases, size_t n);
void tap_ok(bool ok, const char *what, const char *file, int line);
void tap_eq_int(int64_t got, int64_t want, const char *what, const char *file, int line);
void tap_eq_str(const char *got, const char *want, const char *what, const char *file, int line);
void tap_eq_mem(const void *got, const void *want, size_t n, const char *what, const char *file, int line);
const char *tap_dir(void);

/* splitmix64: a seeded source for randomised cases; print the seed when one fails. */
uint64_t tap_rand(uint64_t *state);

/* Seeded cases search elsewhere, and longer, if they are told to: QUORATE_SEED instead of the first
 * seed, QUORATE_ROUNDS times as many. */
uint64_t tap_seed(uint64_t first);
uint64_t tap_rounds(uint64_t normal);

#endif
