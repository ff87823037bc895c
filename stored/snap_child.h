/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper process of stored: this very program again, started with --child, that copies or
 * installs a snapshot, looks for damage in the store, or removes stores and snapshots that are no longer used,
 * and exits. It has its own view of the store, the lowest priority, and dies with its parent. (A bare
 * fork is impossible: neither nng nor LMDB survives one.)
 */
#ifndef QUORATE_SNAP_CHILD_H
#define QUORATE_SNAP_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "stored/snap_file.h"

enum snap_work { SNAP_WORK_NONE, SNAP_WORK_COPY, SNAP_WORK_INSTALL, SNAP_WORK_CHECK, SNAP_WORK_CLEAN };

/*
 * Starts it. *end becomes readable when it begins its work, which snap_child_begun takes note of, and when
 * it has ended, however it ended; then snap_child_end tells the outcome, an enum err: ERR_CLOSED if it was
 * killed or had no memory, ERR_CORRUPT also if it fell over what it read (LMDB follows pages that have no
 * checksums), but not before it had begun. `id` for SNAP_WORK_INSTALL, and for SNAP_WORK_CLEAN
 * the snapshot that stays beside the job's generation (index 0: none is known). ERR_IO.
 */
int snap_child_begin(const char *program, enum snap_work work, const struct snap_job *j,
		     const struct snapshot_id *id, pid_t *pid, int *end);
bool snap_child_begun(int end, bool *begun);     /* false: it has ended */
int snap_child_end(pid_t pid, int end, bool begun);

/* For main: true if these are a helper's arguments; then its exit code is in *code. */
bool snap_child_main(int argc, char **argv, int *code);

#endif
