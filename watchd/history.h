/* SPDX-License-Identifier: Apache-2.0 */
/* From the mapped store to the core: one slice of history in one short read transaction. */
#ifndef QUORATE_WATCHD_HISTORY_H
#define QUORATE_WATCHD_HISTORY_H

#include "mvcc/mvcc.h"
#include "watchd/core/watch.h"

struct history_counts {
	uint64_t slices, rows, events;
};

/*
 * Tells the core what the store is at, and reads one slice if the core wants one. ERR_OK: it did,
 * and *view must be given to history_close when the core's deliveries have been taken.
 * ERR_NOT_FOUND: there is nothing to read. Else as mvcc_view_begin, or ERR_CORRUPT.
 */
int history_read(struct watch_core *c, struct mvcc_env *env, mono_t now, struct history_counts *counts,
		 struct mvcc_view **view);
void history_close(struct watch_core *c, struct mvcc_view **view);

#endif
