/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/tap.h"

#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static jmp_buf tap_failed;
static char tap_path[4096];

static int tap_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

const char *tap_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	if (tap_path[0] == 0) {
		(void)snprintf(tap_path, sizeof tap_path, "%s/quorate-test-XXXXXX", tmp ? tmp : "/tmp");
		if (mkdtemp(tap_path) == NULL) {
			printf("Bail out! no temporary directory\n");
			exit(1);
		}
	}
	return tap_path;
}

static void tap_clean(void)
{
	if (tap_path[0])
		nftw(tap_path, tap_remove, 16, FTW_DEPTH | FTW_PHYS);
	tap_path[0] = 0;
}

static bool tap_run(const struct tap_case *c, size_t number)
{
	volatile bool good = true;

	if (setjmp(tap_failed) == 0)
		c->run();
	else
		good = false;
	tap_clean();
	printf("%s %zu - %s\n", good ? "ok" : "not ok", number, c->name);
	fflush(stdout);
	return good;
}

int tap_main(int argc, char **argv, const struct tap_case *cases, size_t n)
{
	size_t number = 0, bad = 0;

	if (argc < 2)
		printf("1..%zu\n", n);
	for (size_t i = 0; i < n; i++)
		if (argc < 2 || strstr(cases[i].name, argv[1]) != NULL)
			bad += !tap_run(&cases[i], ++number);
	if (argc >= 2)
		printf("1..%zu\n", number);
	return bad != 0;
}

static void tap_fail(void)
{
	fflush(stdout);
	longjmp(tap_failed, 1);
}

void tap_ok(bool ok, const char *what, const char *file, int line)
{
	if (ok)
		return;
	printf("# %s:%d: not so: %s\n", file, line, what);
	tap_fail();
}

void tap_eq_int(int64_t got, int64_t want, const char *what, const char *file, int line)
{
	if (got == want)
		return;
	printf("# %s:%d: %s: got %" PRId64 ", want %" PRId64 "\n", file, line, what, got, want);
	tap_fail();
}

void tap_eq_str(const char *got, const char *want, const char *what, const char *file, int line)
{
	if (strcmp(got, want) == 0)
		return;
	printf("# %s:%d: %s: got \"%s\", want \"%s\"\n", file, line, what, got, want);
	tap_fail();
}

void tap_eq_mem(const void *got, const void *want, size_t n, const char *what, const char *file, int line)
{
	const uint8_t *g = got, *w = want;
	size_t i = 0;

	if (n == 0 || memcmp(got, want, n) == 0)
		return;
	while (g[i] == w[i])
		i++;
	printf("# %s:%d: %s: byte %zu of %zu is %02x, want %02x\n", file, line, what, i, n, g[i], w[i]);
	tap_fail();
}

uint64_t tap_rand(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t tap_seed(uint64_t first)
{
	const char *s = getenv("QUORATE_SEED");

	return s ? strtoull(s, NULL, 10) : first;
}

uint64_t tap_rounds(uint64_t normal)
{
	const char *s = getenv("QUORATE_ROUNDS");

	return s ? normal * strtoull(s, NULL, 10) : normal;
}
