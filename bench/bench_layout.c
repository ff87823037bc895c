/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the candidate layouts of the store's tables on LMDB, before one is chosen: puts, reads,
 * a watcher's walk, compaction, file size. bench_layout.h describes the layouts, README.md has the
 * figures.
 */
#include "bench_layout.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const layout_names[] = { "a", "a-inline", "b" };
static const char *const method_names[] = { "link", "walk", "scan" };

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static uint64_t rand_below(struct bench *b, uint64_t n)
{
	b->rand++;
	return mix64(b->rand) % n;
}

static int compare_double(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

static void report(const struct bench *b, const char *measure, uint64_t n, double s, double *each,
    size_t count)
{
	printf("| %-8s | %-24s | %9" PRIu64 " | %10.0f |", layout_names[b->layout], measure, n,
	    (double)n / s);
	if (count > 0) {
		qsort(each, count, sizeof *each, compare_double);
		printf(" %8.0f | %8.0f |\n", each[count / 2] * 1e6, each[count * 99 / 100] * 1e6);
	} else {
		printf(" %8s | %8s |\n", "", "");
	}
	fflush(stdout);
}

static void report_size(const struct bench *b, const char *when)
{
	MDB_envinfo info;
	MDB_stat st;

	must(mdb_env_info(b->env, &info), "info");
	must(mdb_env_stat(b->env, &st), "stat");
	printf("| %-8s | %-24s | %6.0f MiB |            |          |          |\n",
	    layout_names[b->layout], when,
	    (double)(info.me_last_pgno + 1) * st.ms_psize / 1048576.0);
	fflush(stdout);
}

static void measure_puts(struct bench *b, const char *name, uint64_t n, bool fresh)
{
	size_t commits = (size_t)((n + BATCH - 1) / BATCH);
	double *each = calloc(commits, sizeof *each), begun = now_s();
	uint64_t done = 0;

	CHECK(each != NULL);
	for (size_t i = 0; i < commits; i++) {
		double t = now_s();
		MDB_txn *txn;

		must(mdb_txn_begin(b->env, NULL, 0, &txn), "begin");
		for (unsigned j = 0; j < BATCH && done < n; j++, done++)
			put_one(b, txn, fresh ? done : rand_below(b, b->keys));
		must(mdb_txn_commit(txn), "commit");
		each[i] = now_s() - t;
	}
	report(b, name, n, now_s() - begun, each, commits);
	free(each);
}

static void measure_reads(struct bench *b, const char *name, uint64_t n, bool range, bool old)
{
	double begun = now_s();

	for (uint64_t i = 0; i < n; i++) {
		uint64_t number = rand_below(b, b->keys);
		uint64_t at = old ? b->keys + rand_below(b, b->rev - b->keys) : REV_NEWEST;

		if (range)
			read_range(b, number, at);
		else
			read_point(b, number, at);
	}
	report(b, name, n, now_s() - begun, NULL, 0);
}

static void measure_walk(struct bench *b)
{
	uint64_t n = b->overwrites < 1000000 ? b->overwrites : 1000000, from = b->keys + 1, done = 0;
	double begun = now_s();

	/* From the first overwrite on: a watcher that was away for long. */
	while (done < n) {
		uint64_t next = walk_revisions(b, from, WALK_ROWS);

		CHECK(next > from);
		done += next - from;
		from = next;
	}
	report(b, "watcher's walk", done, now_s() - begun, NULL, 0);
}

static void measure_compaction(struct bench *b, enum method method)
{
	double begun = now_s(), s;
	struct compacted done = compact(b, method, b->rev);
	char name[64];

	s = now_s() - begun;
	snprintf(name, sizeof name, "compact %s, versions", method_names[method]);
	report(b, name, done.versions, s, NULL, 0);
	snprintf(name, sizeof name, "compact %s, rows", method_names[method]);
	report(b, name, done.rows, s, NULL, 0);
}

/* After everything superseded is gone, one row per key is all there may be. */
static void check_compacted(struct bench *b)
{
	MDB_txn *txn;
	MDB_stat st;

	must(mdb_txn_begin(b->env, NULL, MDB_RDONLY, &txn), "begin");
	must(mdb_stat(txn, b->past, &st), "stat");
	CHECK(st.ms_entries == 0);
	must(mdb_stat(txn, b->by_rev, &st), "stat");
	CHECK(st.ms_entries == (b->layout == LAYOUT_B ? 0 : b->keys));
	must(mdb_stat(txn, b->now, &st), "stat");
	CHECK(st.ms_entries == b->keys);
	mdb_txn_abort(txn);
}

static void run(struct bench *b)
{
	uint64_t points = b->keys < 1000000 ? b->keys : 1000000, ranges = 2000;

	printf("| layout   | measure                  |         n |        1/s |  p50, us |"
	    "  p99, us |\n|---|---|---|---|---|---|\n");
	measure_puts(b, "put, new key", b->keys, true);
	report_size(b, "size after puts");
	measure_puts(b, "put, overwrite", b->overwrites, false);
	report_size(b, "size after overwrites");
	measure_reads(b, "get, latest", points, false, false);
	measure_reads(b, "range of 1000, latest", ranges, true, false);
	measure_reads(b, "get, old revision", points, false, true);
	measure_reads(b, "range of 1000, old", ranges, true, true);
	measure_walk(b);
	/* More than one cycle shows whether the file's size settles. */
	for (uint64_t i = 0; i < b->cycles; i++) {
		measure_compaction(b, (enum method)b->method);
		check_compacted(b);
		report_size(b, "size after compaction");
		measure_reads(b, "get, after compaction", points, false, false);
		measure_puts(b, "overwrite, after it", b->overwrites, false);
		report_size(b, "size after overwrites");
	}
}

static void usage(void)
{
	fputs("usage: bench_layout --layout a|a-inline|b --dir DIR [--keys N] [--value BYTES]\n"
	    "    [--overwrites N] [--compact scan|link|walk] [--cycles N]\n"
	    "DIR must exist and be empty; walk is not for layout b.\n", stderr);
	exit(100);
}

static uint64_t parse_number(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || v < min || v > max)
		usage();
	return v;
}

static int parse_name(const char *text, const char *const *names, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(text, names[i]) == 0)
			return (int)i;
	usage();
	return -1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "keys", required_argument, NULL, 'k' }, { "value", required_argument, NULL, 'v' },
		{ "layout", required_argument, NULL, 'l' }, { "dir", required_argument, NULL, 'd' },
		{ "overwrites", required_argument, NULL, 'o' },
		{ "compact", required_argument, NULL, 'c' },
		{ "cycles", required_argument, NULL, 'y' }, { NULL, 0, NULL, 0 },
	};
	static struct bench b;		/* too big for the stack */
	int c, layout = -1;

	b.keys = 1000000;
	b.value_len = 256;
	b.method = METHOD_SCAN;
	b.cycles = 1;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'k')
			b.keys = parse_number(optarg, 1000, 1000000000);
		else if (c == 'v')
			b.value_len = (size_t)parse_number(optarg, 8, VALUE_MAX);
		else if (c == 'l')
			layout = parse_name(optarg, layout_names, 3);
		else if (c == 'o')
			b.overwrites = parse_number(optarg, 1000, 1000000000);
		else if (c == 'c')
			b.method = parse_name(optarg, method_names, 3);
		else if (c == 'y')
			b.cycles = parse_number(optarg, 1, 1000);
		else if (c == 'd')
			b.dir = optarg;
		else
			usage();
	}
	b.layout = (enum layout)layout;
	if (layout < 0 || b.dir == NULL || optind != argc ||
	    (b.layout == LAYOUT_B && b.method == METHOD_WALK))
		usage();
	if (b.overwrites == 0)
		b.overwrites = b.keys;
	b.latest = calloc(b.keys, sizeof *b.latest);
	CHECK(b.latest != NULL);
	memset(b.value, 'v', sizeof b.value);
	store_open(&b);
	run(&b);
	store_close(&b);
	free(b.latest);
	return 0;
}
