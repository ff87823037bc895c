/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

enum { LOCKFILE_TRIES = 100 };

int lockfile_dir(const char *dir, uid_t uid, gid_t gid, char *why, size_t size)
{
	struct stat st;
	bool made = mkdir(dir, 0700) == 0;

	if (!made && errno != EEXIST) {
		(void)snprintf(why, size, "cannot make it: %s", strerror(errno));
		return ERR_CONFIG;
	}
	if (made && uid != geteuid() && chown(dir, uid, gid) != 0) {
		(void)snprintf(why, size, "cannot give it to user %u: %s", uid, strerror(errno));
		return ERR_CONFIG;
	}
	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
		(void)snprintf(why, size, "not a directory");
		return ERR_CONFIG;
	}
	if (st.st_uid != uid) {
		(void)snprintf(why, size, "it belongs to user %u, not to user %u", st.st_uid, uid);
		return ERR_CONFIG;
	}
	if ((st.st_mode & 077) != 0) {
		(void)snprintf(why, size, "others may enter it: its mode is %04o, not 0700", st.st_mode & 07777u);
		return ERR_CONFIG;
	}
	return ERR_OK;
}

static pid_t lockfile_holder(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	long pid;

	if (n <= 0)
		return 0;
	text[n] = 0;
	pid = strtol(text, NULL, 10);
	return pid > 0 ? (pid_t)pid : 0;
}

/* Somebody may have removed the file between our open and our lock: then we locked nothing. */
static bool lockfile_is(int fd, const char *path)
{
	struct stat here, there;

	return fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_dev == there.st_dev &&
	       here.st_ino == there.st_ino;
}

static int lockfile_write(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return ERR_IO;
	return ERR_OK;
}

int lockfile_take(const char *path, int *out, pid_t *holder)
{
	int fd, err;

	for (int i = 0; i < LOCKFILE_TRIES; i++) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return ERR_IO;
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			err = errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;
			*holder = lockfile_holder(fd);
			(void)close(fd);
			return err;
		}
		if (lockfile_is(fd, path)) {
			*out = fd;
			return lockfile_write(fd);
		}
		(void)close(fd);
	}
	return ERR_IO;
}
