/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file operation of the raft log. The real table is wal_io_posix; tests count and fail
 * calls through their own, and the simulator puts a disk that loses power behind it.
 * All results: >= 0, or -errno. `ctx` is the table's own. In threaded mode the loop, the writer
 * and the preparer call into it at the same time.
 */
#ifndef QUORATE_WAL_IO_H
#define QUORATE_WAL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAL_BOOT_BYTES 16u

/* Another one whenever somebody has written to the file, or put another file in its place. */
struct wal_stamp {
	uint64_t inode, size;
	int64_t modified_ns, changed_ns;
};

struct wal_io {
	void *ctx;
	/* Paths are "<dir>/<name>" with the dir given to wal_open. */
	int (*open)(void *ctx, const char *path, bool create);   /* create: it must be new */
	int (*close)(void *ctx, int fd);
	int64_t (*size)(void *ctx, int fd);
	int64_t (*pread)(void *ctx, int fd, void *to, size_t n, uint64_t offset);   /* 0: the end */
	/* Of the disk itself, whatever the cache shows. -EOPNOTSUPP: that cannot be had. `to`, n and offset are
	 * multiples of 4096. */
	int64_t (*pread_disk)(void *ctx, int fd, void *to, size_t n, uint64_t offset);
	int64_t (*pwrite)(void *ctx, int fd, const void *from, size_t n, uint64_t offset);
	int (*allocate)(void *ctx, int fd, uint64_t bytes);   /* -EOPNOTSUPP is no harm */
	int (*fdatasync)(void *ctx, int fd);
	int (*fsync)(void *ctx, int fd);
	/* The next reads of it come from the disk; may do nothing. bytes 0: to the end. Only what is cached in one
	 * piece within the range goes: the first and the last of it may stay. */
	int (*drop_cache)(void *ctx, int fd, uint64_t offset, uint64_t bytes);
	int (*stamp)(void *ctx, int fd, struct wal_stamp *stamp);
	/* The same as long as what was written without a sync is still there. */
	int (*boot)(void *ctx, uint8_t boot[WAL_BOOT_BYTES]);
	int (*rename)(void *ctx, const char *from, const char *to);
	int (*unlink)(void *ctx, const char *path);
	int (*sync_dir)(void *ctx, const char *dir);
	/* Calls each(arg, name) for every name in dir, in any order. */
	int (*list)(void *ctx, const char *dir, void (*each)(void *arg, const char *name),
		    void *arg);
	int (*lock)(void *ctx, const char *path);   /* fd that holds it; -EWOULDBLOCK: taken */
};

extern const struct wal_io wal_io_posix;

#endif
