/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that writes what comes in of a snapshot. A kernel that has too many dirty pages makes
 * whoever writes wait, for seconds on a slow disk, and to remove gigabytes may take as long: raftd's
 * loop must not be who waits. One file at a time; the file is the thread's until it has closed it.
 *
 *   begin --> put, put, ... --> end        in this order; `written` is called on the loop's thread
 *
 * At most LIMIT_SNAPSHOT_CHUNKS pieces wait. After end nothing of the file is reported any more.
 */
#ifndef QUORATE_RAFTD_SNAP_WRITE_H
#define QUORATE_RAFTD_SNAP_WRITE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "proto/link_apply.h"
#include "rt/loop.h"

struct snap_writer;

typedef ssize_t snap_write_fn(int fd, const void *data, size_t len, off_t offset);
/* So many pieces are written, the oldest first; error: errno of the one behind them, or 0. */
typedef void snap_written_fn(void *arg, unsigned pieces, int error);

struct snap_writer_setup {
	struct loop *loop;
	const char *data_dir;            /* borrowed */
	snap_written_fn *written;
	void *arg;
	snap_write_fn *write;            /* NULL: pwrite; for tests */
};

/* Ends the process if there is no thread to be had. Closing waits for the piece under way, at most. */
struct snap_writer *snap_writer_open(const struct snap_writer_setup *s);
void snap_writer_close(struct snap_writer **w);

/* It has no file, and nothing is to be removed. */
bool snap_writer_idle(struct snap_writer *w);
void snap_writer_begin(struct snap_writer *w, int fd);   /* has no file; takes fd */
bool snap_writer_put(struct snap_writer *w, uint64_t offset, struct bytes data);   /* false: full */
void snap_writer_end(struct snap_writer *w);             /* what waits is dropped */
/* Removes what has come in of all snapshots but `keep` (NULL: of all), once the file is closed. */
void snap_writer_clean(struct snap_writer *w, const struct snapshot_id *keep);

#endif
