/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the threads do when the disk fails: a failed write or sync ends the process (exit 111), in
 * a forked child here; a next segment that cannot be made is an alarm and nothing more.
 */
#include "raftd/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/wal_format.h"
#include "raftd/wal_io.h"
#include "tests/lib/tap.h"

#define SMALL 65536u

enum fault {
	FAULT_NONE, FAULT_PWRITE, FAULT_SHORT, FAULT_FDATASYNC, FAULT_ALLOCATE, FAULT_RENAME,
	FAULT_SYNC_DIR, FAULT_FSYNC
};

/* The real files, with the nth call of one kind failing, and all later ones if `forever`. */
struct faulty {
	struct wal_io io;
	enum fault fault;
	bool forever;
	bool only_log;       /* count calls on the log, not those that make segments */
	atomic_int left;     /* calls until it fails */
	atomic_int calls;    /* that would have failed otherwise */
	int error;
};

static bool fails(struct faulty *f, enum fault fault)
{
	int left;

	if (f->fault != fault)
		return false;
	atomic_fetch_add(&f->calls, 1);
	left = atomic_fetch_sub(&f->left, 1);
	return left == 1 || (left < 1 && f->forever);
}

/* Segments are made by writing 64 KiB of zeros and a page at 0. */
static bool making(size_t n, uint64_t offset)
{
	return offset == 0 || n == SMALL;
}

static int64_t faulty_pwrite(void *ctx, int fd, const void *from, size_t n, uint64_t offset)
{
	struct faulty *f = ctx;

	if (!f->only_log || !making(n, offset)) {
		if (fails(f, FAULT_PWRITE))
			return -f->error;
		if (fails(f, FAULT_SHORT))
			n /= 2;
	}
	return wal_io_posix.pwrite(NULL, fd, from, n, offset);
}

static int faulty_fdatasync(void *ctx, int fd)
{
	struct faulty *f = ctx;

	return fails(f, FAULT_FDATASYNC) ? -f->error : wal_io_posix.fdatasync(NULL, fd);
}

static int faulty_allocate(void *ctx, int fd, uint64_t bytes)
{
	struct faulty *f = ctx;

	return fails(f, FAULT_ALLOCATE) ? -f->error : wal_io_posix.allocate(NULL, fd, bytes);
}

static int faulty_fsync(void *ctx, int fd)
{
	struct faulty *f = ctx;

	return fails(f, FAULT_FSYNC) ? -f->error : wal_io_posix.fsync(NULL, fd);
}

static int faulty_rename(void *ctx, const char *from, const char *to)
{
	struct faulty *f = ctx;

	return fails(f, FAULT_RENAME) ? -f->error : wal_io_posix.rename(NULL, from, to);
}

static int faulty_sync_dir(void *ctx, const char *dir)
{
	struct faulty *f = ctx;

	return fails(f, FAULT_SYNC_DIR) ? -f->error : wal_io_posix.sync_dir(NULL, dir);
}

static void faulty_init(struct faulty *f, enum fault fault, int nth, int error, bool forever)
{
	*f = (struct faulty){.io = wal_io_posix, .fault = fault, .error = error, .forever = forever,
			     .only_log = fault == FAULT_PWRITE || fault == FAULT_SHORT};
	atomic_init(&f->left, nth);
	atomic_init(&f->calls, 0);
	f->io.ctx = f;
	f->io.pwrite = faulty_pwrite;
	f->io.fdatasync = faulty_fdatasync;
	f->io.allocate = faulty_allocate;
	f->io.fsync = faulty_fsync;
	f->io.rename = faulty_rename;
	f->io.sync_dir = faulty_sync_dir;
}

static struct wal_options small_log(struct faulty *f)
{
	return (struct wal_options){.cluster_id = 1, .node_id = 2, .create = true,
				    .segment_bytes = SMALL, .cache_bytes = 1,
				    .io = f ? &f->io : NULL};
}

/* One batch an entry, waiting for each; tells `acked` by writing to the pipe. */
static void write_entries(struct wal *w, uint64_t from, uint64_t to, int pipe_fd)
{
	uint8_t data[500] = {1};

	for (uint64_t i = from; i <= to; i++) {
		struct wal_durable got = {0};

		CHECK(wal_append_entry(w, i, 1, WAL_COMMAND, bytes_of(data, sizeof data)) ==
		      ERR_OK);
		wal_mark(w, i);
		wal_kick(w);
		while (got.seq < i) {
			struct pollfd p = {.fd = wal_event_fd(w), .events = POLLIN};

			CHECK(poll(&p, 1, TAP_PATIENCE_MS) == 1);
			(void)wal_collect(w, &got);
		}
		if (pipe_fd >= 0)
			CHECK(write(pipe_fd, &i, sizeof i) == (ssize_t)sizeof i);
	}
}

static _Noreturn void be_child(const char *dir, struct faulty *f, uint64_t to, int pipe_fd)
{
	struct wal_options o = small_log(f);
	struct wal_recovered rec;
	struct wal *w;

	if (wal_open(dir, &o, &w, &rec) != ERR_OK)
		fatal(NULL, "%s", rec.why);
	write_entries(w, rec.last_index + 1, to, pipe_fd);
	wal_close(&w);
	_exit(0);
}

/*
 * Runs it in a child; gives its wait status and the last entry that it reported. After `kill_at`
 * reports it is killed (0: never).
 */
static int child_status(const char *dir, struct faulty *f, uint64_t to, uint64_t kill_at,
			uint64_t *acked)
{
	int fds[2], status;
	pid_t pid;
	uint64_t i, n = 0;

	OK(pipe(fds) == 0);
	fflush(stdout);
	pid = fork();
	OK(pid >= 0);
	if (pid == 0) {
		(void)close(fds[0]);
		be_child(dir, f, to, fds[1]);
	}
	(void)close(fds[1]);
	*acked = 0;
	while (read(fds[0], &i, sizeof i) == (ssize_t)sizeof i) {
		*acked = i;
		if (++n == kill_at)
			OK(kill(pid, SIGKILL) == 0);
	}
	(void)close(fds[0]);
	OK(waitpid(pid, &status, 0) == pid);
	return status;
}

static int child(const char *dir, struct faulty *f, uint64_t to, uint64_t *acked)
{
	int status = child_status(dir, f, to, 0, acked);

	OK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect_all(const char *dir, uint64_t acked)
{
	struct wal_options o = small_log(NULL);
	struct wal_recovered rec;
	struct wal *w;
	int rc = wal_open(dir, &o, &w, &rec);

	EQ_STR(rec.why, "");
	EQ_INT(rc, ERR_OK);
	OK(rec.last_index >= acked);
	wal_close(&w);
}

static void clear(const char *dir)
{
	char cmd[600];

	(void)snprintf(cmd, sizeof cmd, "rm -f '%s'/*", dir);
	OK(system(cmd) == 0);
}

static void dies_of(enum fault fault, int error)
{
	uint64_t acked;
	struct faulty f;

	for (int nth = 1; nth < 60; nth += 1 + nth / 3) {
		faulty_init(&f, fault, nth, error, false);
		EQ_INT(child(tap_dir(), &f, 60, &acked), EXIT_FATAL);
		OK(acked < 60);
		expect_all(tap_dir(), acked);
		clear(tap_dir());
	}
}

TEST(a_failed_write_of_the_log_is_the_end)
{
	dies_of(FAULT_PWRITE, EIO);
}

TEST(a_short_write_of_the_log_is_the_end)
{
	dies_of(FAULT_SHORT, 0);
}

/* Segments of this size are made without an fdatasync: all of them are the log's. */
TEST(a_failed_sync_of_the_log_is_the_end)
{
	dies_of(FAULT_FDATASYNC, EIO);
}

TEST(a_failed_sync_of_the_directory_is_the_end)
{
	uint64_t acked;
	struct faulty f;

	for (int nth = 1; nth < 6; nth++) {
		faulty_init(&f, FAULT_SYNC_DIR, nth, EIO, false);
		EQ_INT(child(tap_dir(), &f, 80, &acked), EXIT_FATAL);
		expect_all(tap_dir(), acked);
		clear(tap_dir());
	}
}

TEST(a_killed_process_loses_nothing_acknowledged)
{
	uint64_t acked, random = 11, last = 0;

	for (int round = 0; round < 25; round++) {
		uint64_t kill_at = 1 + tap_rand(&random) % 40;
		int status = child_status(tap_dir(), NULL, UINT64_MAX, kill_at, &acked);

		OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		OK(acked > last);
		expect_all(tap_dir(), acked);
		last = acked;
	}
}

/* What fails once while a segment is made is made again, from a new file. */
static void survives(enum fault fault, int first, int error)
{
	uint64_t acked;
	struct faulty f;

	for (int nth = first; nth < 6; nth++) {
		faulty_init(&f, fault, nth, error, false);
		EQ_INT(child(tap_dir(), &f, 80, &acked), 0);
		EQ_INT(acked, 80);
		expect_all(tap_dir(), acked);
		clear(tap_dir());
	}
}

TEST(a_failed_preparation_is_repeated)
{
	survives(FAULT_ALLOCATE, 2, ENOSPC);
	survives(FAULT_RENAME, 2, EIO);
}

/* The directory was not even opened, so no sync has failed. (The first two are those of the start.) */
TEST(a_lack_of_descriptors_at_the_directory_is_no_failed_sync)
{
	survives(FAULT_SYNC_DIR, 3, EMFILE);
	survives(FAULT_SYNC_DIR, 3, ENFILE);
}

TEST(a_full_disk_is_the_end_only_when_the_segment_is_full)
{
	const enum fault faults[] = {FAULT_ALLOCATE, FAULT_RENAME};
	uint64_t acked;
	struct faulty f;

	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		faulty_init(&f, faults[i], 2, ENOSPC, true);
		EQ_INT(child(tap_dir(), &f, 80, &acked), EXIT_FATAL);
		EQ_INT(acked, 14);   /* what fits behind the header and the head */
		expect_all(tap_dir(), acked);
		clear(tap_dir());
	}
}

static bool wait_spare(struct wal *w, enum wal_spare want, struct wal_status *st)
{
	const struct timespec pause = {.tv_nsec = 2000000};

	for (int i = 0; i < 5000; i++) {
		wal_status(w, st);
		if (st->spare == want)
			return true;
		(void)nanosleep(&pause, NULL);
	}
	return false;
}

TEST(a_full_disk_is_an_alarm_that_goes_when_there_is_space)
{
	struct faulty f;
	struct wal_options o = small_log(&f);
	struct wal_recovered rec;
	struct wal_status st;
	struct wal *w;

	faulty_init(&f, FAULT_ALLOCATE, 2, ENOSPC, true);
	EQ_INT(wal_open(tap_dir(), &o, &w, &rec), ERR_OK);
	OK(wait_spare(w, WAL_SPARE_FAILED, &st));
	OK(strstr(st.spare_error, "No space left") != NULL);
	write_entries(w, 1, 10, -1);   /* the log goes on */
	atomic_store(&f.left, 1 << 20);
	OK(wait_spare(w, WAL_SPARE_READY, &st));
	EQ_STR(st.spare_error, "");
	write_entries(w, 11, 40, -1);
	wal_close(&w);
}

static atomic_int making_now, made_early;

static int watched_open(void *ctx, const char *path, bool create)
{
	(void)ctx;
	if (create)
		atomic_fetch_add(&making_now, 1);
	return wal_io_posix.open(NULL, path, create);
}

/* A new segment's first batch takes its time: does the one after that get made meanwhile? */
static int64_t watched_pwrite(void *ctx, int fd, const void *from, size_t n, uint64_t offset)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	int before = atomic_load(&making_now);

	(void)ctx;
	if (offset == 4096 && n == 4096) {
		(void)nanosleep(&pause, NULL);
		atomic_fetch_add(&made_early, atomic_load(&making_now) != before);
	}
	return wal_io_posix.pwrite(NULL, fd, from, n, offset);
}

/* Else a crash could leave two segments without a first batch: as if one had been lost. */
TEST(a_segment_is_used_before_the_next_is_made)
{
	struct wal_io io = wal_io_posix;
	struct wal_options o = small_log(NULL);
	struct wal_recovered rec;
	struct wal *w;

	io.open = watched_open;
	io.pwrite = watched_pwrite;
	o.io = &io;
	EQ_INT(wal_open(tap_dir(), &o, &w, &rec), ERR_OK);
	write_entries(w, 1, 80, -1);
	wal_close(&w);
	OK(atomic_load(&making_now) >= 6);
	EQ_INT(atomic_load(&made_early), 0);
}

static atomic_bool gate_shut, gate_reached;

static int gated_fdatasync(void *ctx, int fd)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	(void)ctx;
	while (atomic_load(&gate_shut)) {
		atomic_store(&gate_reached, true);
		(void)nanosleep(&pause, NULL);
	}
	return wal_io_posix.fdatasync(NULL, fd);
}

/* The first batch is durable, the second, which takes part of it back, is still being written. */
TEST(a_truncation_in_flight_is_seen_by_readers)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct wal_io io = wal_io_posix;
	struct wal_options o = small_log(NULL);
	struct wal_recovered rec;
	struct wal_durable got;
	struct wal_list list = {0};
	struct wal *w;

	io.fdatasync = gated_fdatasync;
	o.io = &io;
	EQ_INT(wal_open(tap_dir(), &o, &w, &rec), ERR_OK);
	for (uint64_t i = 1; i <= 5; i++)
		EQ_INT(wal_append_entry(w, i, 1, WAL_COMMAND, bytes_str("old")), ERR_OK);
	wal_mark(w, 1);
	EQ_INT(wal_sync_now(w), ERR_OK);
	atomic_store(&gate_shut, true);
	EQ_INT(wal_append_truncate(w, 3), ERR_OK);
	EQ_INT(wal_append_entry(w, 3, 2, WAL_COMMAND, bytes_str("new")), ERR_OK);
	wal_mark(w, 2);
	wal_kick(w);
	while (!atomic_load(&gate_reached))
		(void)nanosleep(&pause, NULL);
	OK(wal_collect(w, &got) && got.seq == 1 && got.last_index == 5);
	EQ_INT(wal_read(w, 3, 3, 100, 10, &list), ERR_OK);
	OK(list.n == 1 && list.entries[0].term == 2);
	OK(bytes_eq(list.entries[0].data, bytes_str("new")));
	atomic_store(&gate_shut, false);
	EQ_INT(wal_sync_now(w), ERR_OK);
	OK(wal_collect(w, &got) && got.seq == 2 && got.last_index == 3 && got.last_term == 2);
	EQ_INT(wal_read(w, 3, 3, 100, 10, &list), ERR_OK);
	OK(list.n == 1 && bytes_eq(list.entries[0].data, bytes_str("new")));
	wal_list_free(&list);
	wal_close(&w);
}

/* A disk that changes bytes by itself changes no time. */
static int still_stamp(void *ctx, int fd, struct wal_stamp *stamp)
{
	int rc = wal_io_posix.stamp(ctx, fd, stamp);

	stamp->modified_ns = stamp->changed_ns = 0;
	return rc;
}

/* Whoever waits here for the end of its process gets it, or SIGALRM. */
static _Noreturn void open_and_wait(const struct wal_options *o)
{
	struct wal_recovered rec;
	struct wal *w;

	(void)alarm(TAP_PATIENCE_MS / 1000);
	if (wal_open(tap_dir(), o, &w, &rec) != ERR_OK)
		_exit(1);
	for (;;)
		(void)pause();
}

static void flip_byte(const char *name, off_t at)
{
	char path[600];
	uint8_t b = 0;
	int fd;

	(void)snprintf(path, sizeof path, "%s/%s", tap_dir(), name);
	fd = open(path, O_RDWR);
	OK(fd >= 0 && pread(fd, &b, 1, at) == 1);
	b ^= 1;
	OK(pwrite(fd, &b, 1, at) == 1 && close(fd) == 0);
}

static void is_the_end_of_a_running_log(const struct wal_options *o, const char *name, off_t at)
{
	struct wal_recovered rec;
	struct wal *w;
	int status;
	pid_t pid;

	flip_byte(name, at);
	fflush(stdout);
	pid = fork();
	OK(pid >= 0);
	if (pid == 0)
		open_and_wait(o);
	OK(waitpid(pid, &status, 0) == pid);
	OK(WIFEXITED(status));
	EQ_INT(WEXITSTATUS(status), EXIT_FATAL);
	EQ_INT(wal_open(tap_dir(), o, &w, &rec), ERR_CORRUPT);
	OK(strstr(rec.why, name) != NULL && strstr(rec.why, "offset") != NULL);
	flip_byte(name, at);
	EQ_INT(wal_open(tap_dir(), o, &w, &rec), ERR_OK);
	wal_close(&w);
}

TEST(damage_in_what_a_start_believed_is_the_end)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct wal_io io = wal_io_posix;
	struct wal_options o = small_log(NULL);
	struct wal_recovered rec;
	struct wal_status st;
	char spare[WAL_NAME_MAX];
	struct wal *w;

	io.stamp = still_stamp;
	o.io = &io;
	EQ_INT(wal_open(tap_dir(), &o, &w, &rec), ERR_OK);
	write_entries(w, 1, 80, -1);
	wal_close(&w);
	EQ_INT(wal_open(tap_dir(), &o, &w, &rec), ERR_OK);
	OK(rec.unread > 3);
	for (wal_status(w, &st); st.unread > 0 || st.spare != WAL_SPARE_READY; wal_status(w, &st))
		(void)nanosleep(&pause, NULL);
	wal_name(spare, st.segment_number + 1, WAL_NAME_SEGMENT);
	wal_close(&w);
	is_the_end_of_a_running_log(&o, "0000000000000002.seg", 9000);
	is_the_end_of_a_running_log(&o, "0000000000000001.seg", SMALL - 5);
	is_the_end_of_a_running_log(&o, spare, SMALL - 5);
}

/* Before the first entry is acknowledged nothing is lost: wal_open says what failed. */
TEST(a_log_that_cannot_be_begun_says_why)
{
	const enum fault faults[] = {FAULT_PWRITE, FAULT_FDATASYNC, FAULT_ALLOCATE, FAULT_RENAME,
				     FAULT_SYNC_DIR, FAULT_FSYNC};

	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		struct faulty f;
		struct wal_options o = small_log(&f);
		struct wal_recovered rec;
		struct wal *w;

		faulty_init(&f, faults[i], 1, EIO, true);
		EQ_INT(wal_open(tap_dir(), &o, &w, &rec), ERR_IO);
		OK(w == NULL && strstr(rec.why, "Input/output error") != NULL);
		f.fault = FAULT_NONE;
		EQ_INT(wal_open(tap_dir(), &o, &w, &rec), ERR_OK);
		EQ_INT(rec.last_index, 0);
		wal_close(&w);
		clear(tap_dir());
	}
}

TESTS = {
	T(a_failed_write_of_the_log_is_the_end),
	T(a_short_write_of_the_log_is_the_end),
	T(a_failed_sync_of_the_log_is_the_end),
	T(a_failed_sync_of_the_directory_is_the_end),
	T(a_killed_process_loses_nothing_acknowledged),
	T(a_failed_preparation_is_repeated),
	T(a_lack_of_descriptors_at_the_directory_is_no_failed_sync),
	T(a_full_disk_is_the_end_only_when_the_segment_is_full),
	T(a_full_disk_is_an_alarm_that_goes_when_there_is_space),
	T(a_segment_is_used_before_the_next_is_made),
	T(a_truncation_in_flight_is_seen_by_readers),
	T(damage_in_what_a_start_believed_is_the_end),
	T(a_log_that_cannot_be_begun_says_why),
};
TAP_MAIN
