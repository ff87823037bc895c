/* SPDX-License-Identifier: Apache-2.0 */
/* The real file operations of the raft log. */
#include "raftd/wal_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int io_open(void *ctx, const char *path, bool create)
{
	int fd;

	(void)ctx;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT | O_EXCL : 0), 0600);
	return fd < 0 ? -errno : fd;
}

/* Linux closes the descriptor whatever close() returns; written data was synced before. */
static int io_close(void *ctx, int fd)
{
	(void)ctx;
	return close(fd) < 0 ? -errno : 0;
}

static int64_t io_size(void *ctx, int fd)
{
	struct stat st;

	(void)ctx;
	return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int64_t io_pread(void *ctx, int fd, void *to, size_t n, uint64_t offset)
{
	ssize_t got;

	(void)ctx;
	do
		got = pread(fd, to, n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* As long as it takes, this descriptor is one that goes past the cache: at the start nobody else uses it. */
static int64_t io_pread_disk(void *ctx, int fd, void *to, size_t n, uint64_t offset)
{
	int flags = fcntl(fd, F_GETFL);
	int64_t got;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
		return -EOPNOTSUPP;
	got = io_pread(ctx, fd, to, n, offset);
	if (fcntl(fd, F_SETFL, flags) < 0)
		return -errno;
	return got == -EINVAL ? -EOPNOTSUPP : got;
}

static int64_t io_pwrite(void *ctx, int fd, const void *from, size_t n, uint64_t offset)
{
	ssize_t put;

	(void)ctx;
	do
		put = pwrite(fd, from, n, (off_t)offset);
	while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put;
}

static int io_allocate(void *ctx, int fd, uint64_t bytes)
{
	int rc;

	(void)ctx;
	do
		rc = fallocate(fd, 0, 0, (off_t)bytes);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

static int io_fdatasync(void *ctx, int fd)
{
	(void)ctx;
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int io_fsync(void *ctx, int fd)
{
	(void)ctx;
	return fsync(fd) < 0 ? -errno : 0;
}

static int io_drop_cache(void *ctx, int fd, uint64_t offset, uint64_t bytes)
{
	(void)ctx;
	return -posix_fadvise(fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static int64_t nanoseconds(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int io_stamp(void *ctx, int fd, struct wal_stamp *stamp)
{
	struct stat st;

	(void)ctx;
	if (fstat(fd, &st) < 0)
		return -errno;
	*stamp = (struct wal_stamp){.inode = st.st_ino, .size = (uint64_t)st.st_size,
				    .modified_ns = nanoseconds(st.st_mtim),
				    .changed_ns = nanoseconds(st.st_ctim)};
	return 0;
}

/* 32 hex digits with hyphens between them. */
static int io_boot(void *ctx, uint8_t boot[WAL_BOOT_BYTES])
{
	const char *digits = "0123456789abcdef", *d;
	char text[64];
	size_t n = 0;
	ssize_t got;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	(void)ctx;
	if (fd < 0)
		return -errno;
	got = read(fd, text, sizeof text);
	(void)close(fd);
	for (ssize_t i = 0; i < got && n < 2 * WAL_BOOT_BYTES; i++) {
		d = memchr(digits, text[i], 16);
		if (d == NULL)
			continue;
		boot[n / 2] = (uint8_t)(boot[n / 2] << 4 | (d - digits));
		n++;
	}
	return n == 2 * WAL_BOOT_BYTES ? 0 : -ENODATA;
}

static int io_rename(void *ctx, const char *from, const char *to)
{
	(void)ctx;
	return rename(from, to) < 0 ? -errno : 0;
}

static int io_unlink(void *ctx, const char *path)
{
	(void)ctx;
	return unlink(path) < 0 ? -errno : 0;
}

static int io_sync_dir(void *ctx, const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	(void)ctx;
	if (fd < 0)
		return -errno;
	rc = fsync(fd) < 0 ? -errno : 0;
	(void)close(fd);
	return rc;
}

static int io_list(void *ctx, const char *dir, void (*each)(void *arg, const char *name), void *arg)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int rc;

	(void)ctx;
	if (d == NULL)
		return -errno;
	for (errno = 0; (e = readdir(d)) != NULL; errno = 0)
		each(arg, e->d_name);
	rc = -errno;
	(void)closedir(d);
	return rc;
}

static int io_lock(void *ctx, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), rc;

	(void)ctx;
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	rc = -errno;
	(void)close(fd);
	return rc;
}

const struct wal_io wal_io_posix = {
	.open = io_open, .close = io_close, .size = io_size, .pread = io_pread, .pwrite = io_pwrite,
	.allocate = io_allocate, .fdatasync = io_fdatasync, .fsync = io_fsync,
	.pread_disk = io_pread_disk, .drop_cache = io_drop_cache, .stamp = io_stamp, .boot = io_boot,
	.rename = io_rename, .unlink = io_unlink, .sync_dir = io_sync_dir,
	.list = io_list, .lock = io_lock};
