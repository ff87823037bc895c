/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What locks cost, beside puts of the same client, against a running cluster.
 *
 *	bench_lock ENDPOINTS [SECONDS [CONTENDERS]]
 *
 * Each line: what is done, by how many threads at a time, how often a second, p50 and p99 of one.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/quorate.h"

enum { BENCH_SAMPLES = 200000, BENCH_TIMEOUT_MS = 60000 };

static struct quorate *bench_q;
static pthread_barrier_t bench_begin;
static atomic_bool bench_over;
static atomic_size_t bench_n;
static int64_t bench_took[BENCH_SAMPLES];

static int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void must(int rc, const struct quorate_error *e, const char *what)
{
	if (rc == QUORATE_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, e->text);
	exit(1);
}

struct worker {
	pthread_t thread;
	unsigned number;
	const char *lock;              /* NULL: it puts */
	bool shared;                   /* all on the same lock or key */
	struct quorate_session *session;
	struct quorate_lock *l;
};

static void worker_once(struct worker *w, const char *key)
{
	struct quorate_error e;

	if (w->lock == NULL) {
		must(quorate_put(bench_q, key, "x", &e), &e, "put");
		return;
	}
	must(quorate_lock_acquire(w->l, BENCH_TIMEOUT_MS, &e), &e, "acquire");
	must(quorate_lock_release(w->l, BENCH_TIMEOUT_MS, &e), &e, "release");
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct quorate_error e;
	char name[64];

	(void)snprintf(name, sizeof name, "/bench/%s/%u", w->lock ? w->lock : "put", w->shared ? 0 : w->number);
	if (w->lock != NULL) {
		must(quorate_session_open(bench_q, NULL, BENCH_TIMEOUT_MS, &w->session, &e), &e, "session");
		must(quorate_lock_open(bench_q, w->session, quorate_str(name), QUORATE_MUTEX, &w->l, &e), &e, "lock");
	}
	(void)pthread_barrier_wait(&bench_begin);
	while (!atomic_load(&bench_over)) {
		int64_t began = now_ns();
		size_t i;

		worker_once(w, name);
		i = atomic_fetch_add(&bench_n, 1);
		bench_took[i % BENCH_SAMPLES] = now_ns() - began;
	}
	if (w->lock != NULL) {
		quorate_lock_close(w->l);
		(void)quorate_session_close(w->session, BENCH_TIMEOUT_MS, NULL);
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Per second. */
static double measure(const char *what, const char *lock, bool shared, unsigned threads, unsigned seconds)
{
	struct worker *w = calloc(threads, sizeof *w);
	struct timespec nap = {.tv_sec = seconds};
	int64_t began;
	double rate;
	size_t n;

	if (w == NULL)
		exit(1);
	atomic_store(&bench_over, false);
	atomic_store(&bench_n, 0);
	(void)pthread_barrier_init(&bench_begin, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) {
		w[i] = (struct worker){.number = i, .lock = lock, .shared = shared};
		if (pthread_create(&w[i].thread, NULL, worker_run, &w[i]) != 0)
			exit(1);
	}
	(void)pthread_barrier_wait(&bench_begin);
	began = now_ns();
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	atomic_store(&bench_over, true);
	n = atomic_load(&bench_n);
	rate = (double)n / ((double)(now_ns() - began) / 1e9);
	for (unsigned i = 0; i < threads; i++)
		(void)pthread_join(w[i].thread, NULL);
	n = n < BENCH_SAMPLES ? n : BENCH_SAMPLES;
	qsort(bench_took, n, sizeof bench_took[0], by_size);
	printf("%-36s %4u at a time %9.0f/s  p50 %8.3f ms  p99 %8.3f ms\n", what, threads, rate,
	       n ? (double)bench_took[n / 2] / 1e6 : 0, n ? (double)bench_took[n * 99 / 100] / 1e6 : 0);
	(void)pthread_barrier_destroy(&bench_begin);
	free(w);
	return rate;
}

int main(int argc, char **argv)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	unsigned seconds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 5;
	unsigned many = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 100;
	struct quorate_error e;
	double put, lock, puts, locks, line;

	if (argc < 2 || seconds == 0 || many == 0) {
		fprintf(stderr, "usage: bench_lock ENDPOINTS [SECONDS [CONTENDERS]]\n");
		return 100;
	}
	o.endpoints = argv[1];
	must(quorate_open(&o, &bench_q, &e), &e, "open");
	put = measure("put", NULL, false, 1, seconds);
	lock = measure("lock and unlock, nobody else", "alone", false, 1, seconds);
	puts = measure("put", NULL, false, many, seconds);
	locks = measure("lock and unlock, a lock each", "own", false, many, seconds);
	line = measure("lock and unlock, all the same lock", "same", true, many, seconds);
	printf("lock and unlock take %.2f puts alone; with a lock each their rate is %.2f of that of puts\n",
	       put / lock, locks / puts);
	printf("one lock is handed on %.2f times in the time of one put alone, %.2f of the rate of %u puts at a time\n",
	       line / put, line / puts, many);
	quorate_close(bench_q);
	return 0;
}
