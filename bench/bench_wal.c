/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raft log against a bare loop of synced overwrites of a zero-filled file, in turns in the
 * same run, so that both see the same disk and the same neighbours.
 *
 *   bench_wal --dir DIR [--rounds N] [--threads 0|1] [--segment-mib N]
 *
 * For batches of 1, 4, 16 and 64 entries of 256 bytes: "bare" is pwrite + fdatasync of as many
 * bytes as the batch takes on disk; "log" is from the first append until wal_collect reports the
 * mark; "sync" is the part of that inside the writer. Microseconds. Then, with threads, the
 * entries per second when the loop never waits but for room.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/mono.h"
#include "raftd/wal.h"
#include "raftd/wal_format.h"

#define ENTRY 256u
#define PER_ROUND 50u
#define BARE_BYTES (64u * MIB)
#define STREAM_ENTRIES 400000u

struct samples {
	int64_t *ns;
	size_t n, cap;
};

struct bench {
	const char *dir;
	unsigned rounds;
	size_t segment_bytes;   /* 0 = the default */
	bool threads;
	int bare_fd;
	uint64_t bare_at;
	uint8_t *bytes;
	struct wal *w;
	uint64_t next, seq;
};

static void sample(struct samples *s, mono_t begin)
{
	CHECK(s->n < s->cap);
	s->ns[s->n++] = mono_sub_ns(mono_now(), begin);
}

static int by_ns(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double quantile(struct samples *s, double q)
{
	qsort(s->ns, s->n, sizeof *s->ns, by_ns);
	return (double)s->ns[(size_t)((double)(s->n - 1) * q)] / 1000.0;
}

static void bare_open(struct bench *b)
{
	char path[4096];

	CHECK(snprintf(path, sizeof path, "%s/bare", b->dir) < (int)sizeof path);
	b->bare_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (b->bare_fd < 0)
		fatal("give --dir a directory that can be written", "cannot make %s", path);
	(void)unlink(path);
	for (uint64_t at = 0; at < BARE_BYTES; at += MIB)
		CHECK(pwrite(b->bare_fd, b->bytes, MIB, (off_t)at) == (ssize_t)MIB);
	CHECK(fsync(b->bare_fd) == 0);
	memset(b->bytes, 'x', MIB);
}

static void bare_once(struct bench *b, size_t n, struct samples *s)
{
	mono_t begin = mono_now();

	if (b->bare_at + n > BARE_BYTES)
		b->bare_at = 0;
	CHECK(pwrite(b->bare_fd, b->bytes, n, (off_t)b->bare_at) == (ssize_t)n);
	CHECK(fdatasync(b->bare_fd) == 0);
	b->bare_at += n;
	sample(s, begin);
}

static void wait_event(struct wal *w)
{
	struct pollfd p = {.fd = wal_event_fd(w), .events = POLLIN};

	CHECK(poll(&p, 1, 60000) == 1);
}

static void log_once(struct bench *b, unsigned entries, struct samples *s)
{
	mono_t begin = mono_now();
	struct wal_durable got = {0};

	for (unsigned i = 0; i < entries; i++)
		CHECK(wal_append_entry(b->w, b->next++, 1, WAL_COMMAND, bytes_of(b->bytes,
			ENTRY)) == ERR_OK);
	wal_mark(b->w, ++b->seq);
	wal_kick(b->w);
	if (!b->threads)
		CHECK(wal_sync_now(b->w) == ERR_OK);
	while (!wal_collect(b->w, &got) || got.seq < b->seq)
		wait_event(b->w);
	sample(s, begin);
}

static void log_open_empty(struct bench *b)
{
	struct wal_options o = {.cluster_id = 1, .node_id = 1, .create = true,
				.synchronous = !b->threads,
				.segment_bytes = b->segment_bytes};
	struct wal_recovered rec;
	struct wal_status st = {.spare = WAL_SPARE_NONE};

	if (wal_open(b->dir, &o, &b->w, &rec) != ERR_OK)
		fatal("give --dir an empty directory", "%s", rec.why);
	b->next = rec.last_index + 1;
	while (b->threads && st.spare != WAL_SPARE_READY)
		wal_status(b->w, &st);
}

static void print_row(const char *name, struct samples *s)
{
	printf("%-6s p50 %8.1f  p99 %8.1f  max %9.1f\n", name, quantile(s, 0.50), quantile(s, 0.99),
	       quantile(s, 1.0));
}

static void run_size(struct bench *b, unsigned entries)
{
	size_t cap = (size_t)b->rounds * PER_ROUND,
		disk = (72 + entries * (32 + ENTRY) + 4095) / 4096 * 4096;
	struct samples bare4 = {.cap = cap}, bare = {.cap = cap}, log = {.cap = cap};
	struct wal_status st;

	bare4.ns = mem_array(cap, sizeof *bare4.ns);
	bare.ns = mem_array(cap, sizeof *bare.ns);
	log.ns = mem_array(cap, sizeof *log.ns);
	log_open_empty(b);
	for (unsigned r = 0; r < b->rounds; r++) {
		for (unsigned i = 0; i < PER_ROUND; i++)
			bare_once(b, 4096, &bare4);
		for (unsigned i = 0; i < PER_ROUND; i++)
			bare_once(b, disk, &bare);
		for (unsigned i = 0; i < PER_ROUND; i++)
			log_once(b, entries, &log);
	}
	wal_status(b->w, &st);
	printf("batches of %u entries of %u bytes, %zu on disk, %zu of each\n", entries, ENTRY,
	       disk, cap);
	print_row("bare4k", &bare4);
	print_row("bare", &bare);
	print_row("log", &log);
	printf("sync   p50 %8.1f  p99 %8.1f  max %9.1f  segments %" PRIu64 "\n",
	       (double)st.sync_p50_us,
	       (double)st.sync_p99_us, (double)st.sync_max_us, st.segments);
	wal_close(&b->w);
	free(bare4.ns);
	free(bare.ns);
	free(log.ns);
}

/* A busy leader: appends as long as there is room, kicks every 16 entries. */
static void run_stream(struct bench *b)
{
	struct wal_durable got = {0};
	struct wal_status st;
	uint64_t end;
	double seconds;
	mono_t begin;

	log_open_empty(b);
	begin = mono_now();
	for (end = b->next + STREAM_ENTRIES; b->next < end;) {
		if (wal_append_entry(b->w, b->next, 1, WAL_COMMAND, bytes_of(b->bytes,
			ENTRY)) == ERR_OK) {
			wal_mark(b->w, ++b->seq);
			if (b->next++ % 16 == 0)
				wal_kick(b->w);
		} else {
			wal_kick(b->w);
			wait_event(b->w);
			(void)wal_collect(b->w, &got);
		}
	}
	CHECK(wal_sync_now(b->w) == ERR_OK);
	seconds = (double)mono_sub_ns(mono_now(), begin) / 1e9;
	wal_status(b->w, &st);
	printf("stream %u entries: %.0f entries/s, %.1f MB/s on disk, %" PRIu64 " batches, "
	       "sync p50 %" PRIu64 " p99 %" PRIu64 " max %" PRIu64 "\n", STREAM_ENTRIES,
	       STREAM_ENTRIES / seconds,
	       (double)st.batch_bytes / seconds / 1e6, st.batches, st.sync_p50_us, st.sync_p99_us,
	       st.sync_max_us);
	wal_close(&b->w);
}

/* Single entries over several segments, apart: while the next one is being made, and while not. */
static void run_making(struct bench *b)
{
	size_t cap = (size_t)b->rounds * 1000;
	struct samples apart[2] = {{.cap = cap}, {.cap = cap}};
	struct wal_status st;

	apart[0].ns = mem_array(cap, sizeof *apart[0].ns);
	apart[1].ns = mem_array(cap, sizeof *apart[1].ns);
	log_open_empty(b);
	for (size_t i = 0; i < cap; i++) {
		wal_status(b->w, &st);
		log_once(b, 1, &apart[st.spare != WAL_SPARE_READY]);
	}
	wal_status(b->w, &st);
	printf("%zu single entries over %" PRIu64 " segments\n", cap, st.segments);
	print_row("quiet", &apart[0]);
	printf("while the next segment is made, %zu\n", apart[1].n);
	if (apart[1].n > 0)
		print_row("making", &apart[1]);
	wal_close(&b->w);
	free(apart[0].ns);
	free(apart[1].ns);
}

static void open_again(struct bench *b, const char *what)
{
	struct timespec from, to;
	struct wal_status st;
	mono_t begin = mono_now();

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	log_open_empty(b);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	wal_status(b->w, &st);
	printf("recovery of %" PRIu64 " entries in %" PRIu64 " segments, %" PRIu64 " index points, %s: %.1f ms, "
	       "%.1f of them CPU\n", st.last_index, st.segments, st.index_points, what,
	       (double)mono_sub_us(mono_now(), begin) / 1000.0,
	       (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	wal_abandon(&b->w);
}

/* As a process of another boot would find it: all is read. Then as one of this boot. */
static void run_recovery(struct bench *b)
{
	char path[4096], name[WAL_NAME_MAX];
	struct wal_status st;

	b->threads = false;
	log_open_empty(b);
	wal_status(b->w, &st);
	wal_close(&b->w);
	for (uint64_t i = 1; i <= st.segment_number + 1; i++) {
		wal_name(name, i, WAL_NAME_SUMMARY);
		(void)snprintf(path, sizeof path, "%s/%s", b->dir, name);
		(void)unlink(path);
	}
	open_again(b, "all of them read");
	open_again(b, "by summaries");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
						{"rounds", required_argument, NULL, 'r'},
						{"threads", required_argument, NULL, 't'},
						{"segment-mib", required_argument, NULL, 's'},
						{NULL, 0, NULL, 0}};
	static const unsigned sizes[] = {1, 4, 16, 64};
	struct bench b = {.rounds = 40, .threads = true, .bytes = mem_alloc(MIB)};
	int c;

	while ((c = getopt_long(argc, argv, "d:r:t:s:", options, NULL)) != -1) {
		if (c == 'd')
			b.dir = optarg;
		else if (c == 'r')
			b.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 't')
			b.threads = strtoul(optarg, NULL, 10) != 0;
		else if (c == 's')
			b.segment_bytes = strtoul(optarg, NULL, 10) * MIB;
		else
			return EXIT_USAGE;
	}
	if (b.dir == NULL || b.rounds == 0 || optind != argc) {
		(void)fprintf(stderr, "usage: bench_wal --dir DIR [--rounds N] [--threads 0|1]"
				      " [--segment-mib N]\n");
		return EXIT_USAGE;
	}
	bare_open(&b);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		run_size(&b, sizes[i]);
	if (b.threads) {
		run_making(&b);
		run_stream(&b);
	}
	run_recovery(&b);
	(void)close(b.bare_fd);
	free(b.bytes);
	return 0;
}
