/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one fuzz target without a fuzzer, for `make check`: first every file of its corpus, then a
 * fixed number of seeded mutations of them. Prints TAP. The input that kills the target is left in
 * fuzz-TARGET.crash; put it into the corpus once the bug is mended.
 *
 *   replay_TARGET [FILE...]     only these files
 *   QUORATE_ROUNDS=N            N times as many mutations
 *   QUORATE_SEED=N              others than usual
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

enum { INPUT_MAX = 1 << 16, FILES_MAX = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Most targets take thousands a second; these build a store, a log or a cluster for each. */
static const struct {
	const char *target;
	unsigned long mutations;
} slow[] = {{"apply", 100}, {"noise", 400}, {"peer", 400}, {"wal", 100}};

struct input {
	uint8_t *data;
	size_t len;
};

static struct input corpus[FILES_MAX];
static size_t n_corpus;
static struct input running;
static char crash_path[256];

static uint64_t draw(uint64_t *state, uint64_t below)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

static void on_death(int signo)
{
	int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0 && write(fd, running.data, running.len) < 0)
		_exit(1);
	(void)signal(signo, SIG_DFL);
	(void)raise(signo);
}

/* A copy of exactly its size, so that a sanitizer sees the first byte behind it. */
static void run(const uint8_t *data, size_t len)
{
	running.data = malloc(len ? len : 1);
	running.len = len;
	CHECK(running.data != NULL);
	memcpy(running.data, data, len);
	(void)LLVMFuzzerTestOneInput(running.data, len);
	free(running.data);
	running.data = NULL;
}

static void load(const char *path)
{
	static uint8_t bytes[INPUT_MAX];
	FILE *f = fopen(path, "re");
	size_t n;

	CHECK(f != NULL && n_corpus < FILES_MAX);
	n = fread(bytes, 1, sizeof bytes, f);
	(void)fclose(f);
	corpus[n_corpus].data = malloc(n ? n : 1);
	CHECK(corpus[n_corpus].data != NULL);
	memcpy(corpus[n_corpus].data, bytes, n);
	corpus[n_corpus++].len = n;
}

/* One small change: what a fuzzer does first. */
static size_t change(uint8_t *bytes, size_t len, uint64_t *rng)
{
	const struct input *other = &corpus[draw(rng, n_corpus)];
	size_t at = draw(rng, len + 1), n;

	switch (draw(rng, 6)) {
	case 0:
		return at;                                        /* cut off */
	case 1:
		n = draw(rng, 16);                                /* something put in */
		if (len + n > INPUT_MAX)
			return len;
		memmove(bytes + at + n, bytes + at, len - at);
		for (size_t i = 0; i < n; i++)
			bytes[at + i] = (uint8_t)draw(rng, 256);
		return len + n;
	case 2:
		n = draw(rng, len - at + 1);                      /* something taken out */
		memmove(bytes + at, bytes + at + n, len - at - n);
		return len - n;
	case 3:
		n = other->len < INPUT_MAX - at ? other->len : INPUT_MAX - at;
		memcpy(bytes + at, other->data, n);               /* another's behind it */
		return at + n > len ? at + n : len;
	default:
		for (n = draw(rng, 4) + 1; n > 0 && len > 0; n--)
			bytes[draw(rng, len)] = draw(rng, 2) ? (uint8_t)draw(rng, 256) : (uint8_t)(draw(rng, 2) * 255);
		return len;
	}
}

static void mutate(uint64_t first, uint64_t count)
{
	static uint8_t bytes[INPUT_MAX];

	for (uint64_t i = 0; i < count; i++) {
		uint64_t rng = first + i;
		const struct input *from = &corpus[draw(&rng, n_corpus)];
		size_t len = from->len;

		memcpy(bytes, from->data, len);
		for (uint64_t n = draw(&rng, 3) + 1; n > 0; n--)
			len = change(bytes, len, &rng);
		run(bytes, len);
	}
}

/* "replay_wal" -> "wal" */
static const char *target_of(const char *program)
{
	const char *name = strstr(program, "replay_"), *next;

	while (name != NULL && (next = strstr(name + 1, "replay_")) != NULL)
		name = next;
	return name ? name + strlen("replay_") : "unknown";
}

static unsigned long mutations_of(const char *target)
{
	for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
		if (strcmp(slow[i].target, target) == 0)
			return slow[i].mutations;
	}
	return 2000;
}

int main(int argc, char **argv)
{
	const char *top = getenv("srcdir"), *rounds = getenv("QUORATE_ROUNDS");
	const char *seed = getenv("QUORATE_SEED");
	const char *target = target_of(argv[0]);
	char pattern[4096];
	glob_t g = {0};
	unsigned long count = mutations_of(target) * (rounds ? strtoul(rounds, NULL, 10) : 1);

	(void)snprintf(crash_path, sizeof crash_path, "fuzz-%s.crash", target);
	(void)snprintf(pattern, sizeof pattern, "%s/tests/fuzz/corpus/%s/*", top ? top : ".", target);
	for (int i = 1; i < argc; i++)
		load(argv[i]);
	if (argc == 1 && glob(pattern, 0, NULL, &g) == 0) {
		for (size_t i = 0; i < g.gl_pathc; i++)
			load(g.gl_pathv[i]);
	}
	globfree(&g);
	if (n_corpus == 0) {
		printf("Bail out! no corpus at %s\n", pattern);
		return EXIT_FATAL;
	}
	(void)signal(SIGABRT, on_death);
	(void)signal(SIGSEGV, on_death);
	log_set_level(LOG_ERROR);
	printf("1..%d\n", argc == 1 ? 2 : 1);
	for (size_t i = 0; i < n_corpus; i++)
		run(corpus[i].data, corpus[i].len);
	printf("ok 1 - %s takes the %zu inputs of its corpus\n", target, n_corpus);
	(void)fflush(stdout);
	if (argc == 1) {
		mutate(seed ? strtoull(seed, NULL, 10) : 0, count);
		printf("ok 2 - %s takes %lu mutations of them\n", target, count);
	}
	for (size_t i = 0; i < n_corpus; i++)
		free(corpus[i].data);
	return 0;
}
