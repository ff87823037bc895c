/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes down all that a daemon does to the files below QUORATE_RECORD_DIR into the file QUORATE_RECORD, for
 * tests/lib/power_disk.h, which makes of it what a power cut could have left at any moment.
 *
 * A change is written down after it was made and a sync when it began and when it ended, each with
 * one append: so what a sync covers, and what was known to whom, follows from the order of the records.
 */
#include "tests/lib/preload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/power_record.h"

static int trace_fd = -1;
static char record_dir[512];

static void __attribute__((constructor)) record_start(void)
{
	const char *trace = getenv("QUORATE_RECORD"), *dir = getenv("QUORATE_RECORD_DIR");

	if (trace == NULL || dir == NULL)
		return;
	(void)snprintf(record_dir, sizeof record_dir, "%s/", dir);
	trace_fd = open(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* The path below record_dir; NULL: none of ours. */
static const char *record_path(const char *path)
{
	size_t n = strlen(record_dir);

	if (trace_fd < 0 || strncmp(path, record_dir, n - 1) != 0 || (path[n - 1] != '/' && path[n - 1] != 0))
		return NULL;
	return path[n - 1] == 0 ? "" : path + n;
}

static void record_put(enum power_type type, uint64_t ino, uint64_t offset, const void *data, size_t n)
{
	struct power_record r = {.type = (uint32_t)type, .bytes = (uint32_t)n, .ino = ino, .offset = offset};
	struct iovec v[2] = {{&r, sizeof r}, {(void *)(uintptr_t)data, n}};
	ssize_t want = (ssize_t)(sizeof r + n);
	int saved = errno;

	PRELOAD_REAL(writev)
	if (real(trace_fd, v, n > 0 ? 2 : 1) != want)
		abort();
	errno = saved;
}

/* The inode of a descriptor's file, if that is one of ours and named; 0: not. */
static uint64_t record_inode(int fd)
{
	char link[64], path[1024];
	struct stat st;
	ssize_t n;
	int saved = errno;

	if (trace_fd < 0)
		return 0;
	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	errno = saved;
	if (n <= 0)
		return 0;
	path[n] = 0;
	if (record_path(path) == NULL || fstat(fd, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
		return 0;
	return st.st_ino;
}

static void record_two(enum power_type type, uint64_t ino, const char *from, const char *to)
{
	char both[1024];
	size_t a = strlen(from) + 1, b = strlen(to) + 1;

	if (a + b > sizeof both)
		abort();
	memcpy(both, from, a);
	memcpy(both + a, to, b);
	record_put(type, ino, 0, both, a + b);
}

static int record_open(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode)
{
	const char *ours = record_path(path);
	struct stat st;
	bool was = ours != NULL && stat(path, &st) == 0;
	int fd = real(path, flags, mode);

	if (fd < 0 || ours == NULL || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return fd;
	if (!was && (flags & O_CREAT))
		record_two(POWER_CREATE, st.st_ino, ours, "");
	if (was && (flags & O_TRUNC))
		record_put(POWER_SIZE, st.st_ino, 0, NULL, 0);
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & O_CREAT ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	PRELOAD_REAL(open)
	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return record_open(real, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	PRELOAD_REAL(open64)
	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return record_open(real, path, flags, mode);
}

static void record_write(int fd, const void *from, ssize_t n, int64_t at)
{
	uint64_t ino = n > 0 && at >= 0 ? record_inode(fd) : 0;

	if (ino != 0)
		record_put(POWER_WRITE, ino, (uint64_t)at, from, (size_t)n);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
	ssize_t put;

	PRELOAD_REAL(pwrite)
	put = real(fd, from, n, at);
	record_write(fd, from, put, at);
	return put;
}

ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at)
{
	ssize_t put;

	PRELOAD_REAL(pwrite64)
	put = real(fd, from, n, at);
	record_write(fd, from, put, at);
	return put;
}

static int64_t place_of(int fd)
{
	int saved = errno;
	int64_t at = trace_fd < 0 ? -1 : lseek(fd, 0, SEEK_CUR);

	errno = saved;
	return at;
}

ssize_t write(int fd, const void *from, size_t n)
{
	int64_t at = place_of(fd);
	ssize_t put;

	PRELOAD_REAL(write)
	put = real(fd, from, n);
	record_write(fd, from, put, at);
	return put;
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	int64_t at = place_of(fd);
	ssize_t put, left;

	PRELOAD_REAL(writev)
	left = put = real(fd, v, n);
	for (int i = 0; i < n && left > 0 && at >= 0; i++) {
		ssize_t part = left < (ssize_t)v[i].iov_len ? left : (ssize_t)v[i].iov_len;

		record_write(fd, v[i].iov_base, part, at);
		at += part;
		left -= part;
	}
	return put;
}

static int record_sync(int (*real)(int), int fd)
{
	uint64_t ino = record_inode(fd);
	int rc;

	if (ino != 0)
		record_put(POWER_SYNC_BEGIN, ino, (uint64_t)getpid() << 20 | (uint64_t)fd, NULL, 0);
	rc = real(fd);
	if (ino != 0 && rc == 0)
		record_put(POWER_SYNC_END, ino, (uint64_t)getpid() << 20 | (uint64_t)fd, NULL, 0);
	return rc;
}

int fsync(int fd)
{
	PRELOAD_REAL(fsync)
	return record_sync(real, fd);
}

int fdatasync(int fd)
{
	PRELOAD_REAL(fdatasync)
	return record_sync(real, fd);
}

static int record_size(int fd, int rc, int64_t size, enum power_type type)
{
	uint64_t ino = rc == 0 ? record_inode(fd) : 0;

	if (ino != 0)
		record_put(type, ino, (uint64_t)size, NULL, 0);
	return rc;
}

int ftruncate(int fd, off_t size)
{
	PRELOAD_REAL(ftruncate)
	return record_size(fd, real(fd, size), size, POWER_SIZE);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	PRELOAD_REAL(fallocate)
	return record_size(fd, real(fd, mode, at, n), at + n, POWER_GROW);
}

int mkdir(const char *path, mode_t mode)
{
	const char *ours = record_path(path);
	struct stat st;
	int rc;

	PRELOAD_REAL(mkdir)
	rc = real(path, mode);
	if (rc == 0 && ours != NULL && stat(path, &st) == 0)
		record_two(POWER_MKDIR, st.st_ino, ours, "");
	return rc;
}

int rename(const char *from, const char *to)
{
	int rc;

	PRELOAD_REAL(rename)
	rc = real(from, to);
	if (rc == 0 && record_path(from) != NULL && record_path(to) != NULL)
		record_two(POWER_RENAME, 0, record_path(from), record_path(to));
	return rc;
}

static int record_remove(const char *path, int rc)
{
	if (rc == 0 && record_path(path) != NULL)
		record_two(POWER_REMOVE, 0, record_path(path), "");
	return rc;
}

int unlink(const char *path)
{
	PRELOAD_REAL(unlink)
	return record_remove(path, real(path));
}

int rmdir(const char *path)
{
	PRELOAD_REAL(rmdir)
	return record_remove(path, real(path));
}
