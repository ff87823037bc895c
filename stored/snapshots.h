/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of this node's store: when one is asked for it is made, tried again if that fails, and
 * told to raftd; the last one is kept. And the other way: a store that is to become a snapshot.
 * One helper process at a time does the work (snap_child.h); the loop never waits for it.
 *
 *   IDLE -- one is wanted ---------> COPY ------ good: tell raftd, remove the older ---> IDLE
 *   IDLE -- raftd: install this ---> INSTALL --- good: switch the store, all links anew -> IDLE
 *   IDLE -- nothing else to do, ---> CHECK ----- good: again after store_check_s ---------> IDLE
 *           it is time                damage: stored ends, the next start begins a new store
 *           failed, killed or too slow: IDLE, and after a back-off again (a copy), or raftd is told
 *   IDLE -- files no longer used --> CLEAN ---> IDLE: before all else, since a full disk needs the room
 */
#ifndef QUORATE_SNAPSHOTS_H
#define QUORATE_SNAPSHOTS_H

#include "rt/loop.h"
#include "stored/snap_child.h"

struct stored;
struct admin_reply;

struct snapshots {
	const char *program;             /* the helper's; "/proc/self/exe" but in tests */
	struct snap_info newest;
	bool any;                        /* there is a newest one */
	bool wanted;                     /* until newest.index >= wanted_index */
	uint64_t wanted_index;
	bool installing;                 /* asked for, under way or not */
	struct snapshot_id incoming;
	enum snap_work work;
	pid_t pid;
	int end;
	bool begun;                      /* it has begun its work */
	uint64_t generation;             /* of the store that INSTALL makes */
	struct loop_io io;
	struct loop_timer deadline, retry;
	struct loop_timer check;         /* runs: the store need not be looked at yet */
	bool check_wanted;
	bool clean_wanted;               /* there are stores or snapshots that are no longer used */
	mono_t began;
	unsigned back_off_ms;
};

void snapshots_open(struct stored *s);
void snapshots_close(struct stored *s);
/* Makes one unless one at or above `index` is there. */
void snapshots_want(struct stored *s, uint64_t index);
/* ERR_MALFORMED: nothing of this store's future. */
int snapshots_install(struct stored *s, const struct snapshot_id *id);
/* Looks for damage in the store as soon as nothing else is to be done. */
void snapshots_check(struct stored *s);
void snapshots_tell(struct stored *s);
void snapshots_report(const struct stored *s, struct admin_reply *r);

#endif
