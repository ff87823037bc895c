/* SPDX-License-Identifier: Apache-2.0 */
/* Where the programs of the daemons are: beside this command in the build tree, or installed. */
#ifndef QUORATE_CTL_FIND_DAEMON_H
#define QUORATE_CTL_FIND_DAEMON_H

#include <stddef.h>

/*
 * ERR_OK and the path, or ERR_NOT_FOUND. Tried in turn: BIN_DIR (if not NULL, nothing else), the
 * build tree (../<name>/<name> from where this command is), ../sbin, the configured sbindir.
 */
int find_daemon(const char *name, const char *bin_dir, char *path, size_t size);

#endif
