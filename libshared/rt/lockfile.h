/* SPDX-License-Identifier: Apache-2.0 */
/* One daemon of a kind per node: a lock on RUN/<name>.lock, which holds the pid of its holder. */
#ifndef QUORATE_LOCKFILE_H
#define QUORATE_LOCKFILE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Makes the run directory if it is missing, for `uid`. It must be a directory of that user with
 * mode 0700, for whoever reaches a socket in it is trusted. ERR_OK or ERR_CONFIG; `why` gets a
 * sentence of at most `size` bytes.
 */
int lockfile_dir(const char *dir, uid_t uid, gid_t gid, char *why, size_t size);

/*
 * ERR_OK: *fd holds the lock until it is closed or the process ends. ERR_EXISTS: *holder has it
 * (0: it did not say). ERR_IO: see errno.
 */
int lockfile_take(const char *path, int *fd, pid_t *holder);

#endif
