/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file operation of a log's session fails once: the Nth of each kind, for every N until the
 * session needs no more. Whatever fails, what was synced before is there at the next start.
 */
#include "raftd/wal.h"

#include <errno.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "tests/lib/tap.h"
#include "tests/lib/wal_disk.h"

enum { ENTRIES = 40, SEGMENT = 32768 };

static struct wal_options options_of(struct wal_disk *d)
{
	return (struct wal_options){.cluster_id = 1, .node_id = 2, .create = true, .synchronous = true,
				    .segment_bytes = SEGMENT, .cache_bytes = 1, .salt = 3,
				    .io = wal_disk_io(d)};
}

/* Opens, appends over several segments, reads. The first error ends it. The last synced index. */
static uint64_t session(struct wal_disk *d, int *rc)
{
	static const uint8_t payload[3000] = {7};
	struct wal_options o = options_of(d);
	struct wal_recovered rec;
	struct wal_list list = {0};
	struct wal_durable durable;
	struct wal *w = NULL;
	uint64_t synced = 0;

	*rc = wal_open("/log", &o, &w, &rec);
	OK((*rc == ERR_OK) == (w != NULL));
	for (uint64_t i = 1; *rc == ERR_OK && i <= ENTRIES; i++) {
		*rc = wal_append_entry(w, i, 1, 2, bytes_of(payload, sizeof payload));
		if (*rc == ERR_OK)
			wal_mark(w, i);
		if (*rc == ERR_OK)
			*rc = wal_sync_now(w);
		if (*rc == ERR_OK)
			synced = i;
		if (*rc == ERR_OK)
			OK(wal_collect(w, &durable) && durable.last_index == i);
	}
	if (*rc == ERR_OK)
		*rc = wal_read(w, 1, synced, 1000000, 50, &list);
	wal_list_free(&list);
	wal_abandon(&w);
	return synced;
}

static uint64_t found(struct wal_disk *d)
{
	struct wal_options o = options_of(d);
	struct wal_recovered rec;
	struct wal *w = NULL;

	EQ_INT(wal_open("/log", &o, &w, &rec), ERR_OK);
	wal_abandon(&w);
	return rec.last_index;
}

/* How often a session in which nothing fails does it. */
static uint64_t calls_of(enum wal_disk_op op)
{
	struct wal_disk *d = wal_disk_new(1);
	uint64_t calls;
	int rc;

	EQ_INT(session(d, &rc), ENTRIES);
	EQ_INT(rc, ERR_OK);
	calls = wal_disk_count(d, op);
	wal_disk_free(d);
	return calls;
}

static void nth_fails(enum wal_disk_op op, int error)
{
	uint64_t calls = calls_of(op);

	OK(calls > 0);
	for (uint64_t nth = 1; nth <= calls; nth++) {
		struct wal_disk *d = wal_disk_new(nth);
		uint64_t synced;
		int rc;

		wal_disk_fail(d, op, nth, error, false);
		synced = session(d, &rc);
		OK(rc == ERR_OK ? synced == ENTRIES : rc == ERR_IO);
		wal_disk_fail(d, op, 0, 0, false);
		wal_disk_kill(d);
		OK(found(d) >= synced);
		wal_disk_free(d);
	}
}

/*
 * A failed sync leaves in the cache what the disk may not have, and so does a failed cut of it at the next start.
 * Whatever a start says is there outlives a power cut right after it.
 */
TEST(what_a_failed_sync_left_in_the_cache_is_not_believed)
{
	uint64_t calls = calls_of(WAL_DISK_FDATASYNC), cut = 0;

	for (uint64_t round = 0; round < 4 * calls; round++) {
		struct wal_disk *d = wal_disk_new(1000 + round);
		struct wal_options o = options_of(d);
		struct wal_recovered rec;
		struct wal *w = NULL;
		uint64_t synced, told;
		int rc;

		wal_disk_fail(d, WAL_DISK_FDATASYNC, 1 + round % calls, EIO, false);
		synced = session(d, &rc);
		wal_disk_kill(d);
		if (round >= 2 * calls) {
			wal_disk_fail(d, WAL_DISK_FDATASYNC, 1, EIO, false);
			if (wal_open("/log", &o, &w, &rec) == ERR_OK)
				wal_abandon(&w);
			wal_disk_kill(d);
		}
		wal_disk_fail(d, WAL_DISK_FDATASYNC, 0, 0, false);
		EQ_INT(wal_open("/log", &o, &w, &rec), ERR_OK);
		wal_abandon(&w);
		told = rec.last_index;
		cut += rec.cut_bytes > 0;
		OK(told >= synced);
		wal_disk_crash(d);
		EQ_INT(found(d), told);
		wal_disk_free(d);
	}
	OK(cut > calls / 2);
}

TEST(a_failed_open_loses_nothing_synced) { nth_fails(WAL_DISK_OPEN, EMFILE); }
TEST(a_failed_write_loses_nothing_synced) { nth_fails(WAL_DISK_PWRITE, EIO); }
TEST(a_full_disk_loses_nothing_synced) { nth_fails(WAL_DISK_PWRITE, ENOSPC); }
TEST(a_failed_read_loses_nothing_synced) { nth_fails(WAL_DISK_PREAD, EIO); }
TEST(a_failed_sync_loses_nothing_synced) { nth_fails(WAL_DISK_FDATASYNC, EIO); }
TEST(a_failed_sync_of_a_new_segment_loses_nothing_synced) { nth_fails(WAL_DISK_FSYNC, EIO); }
TEST(a_failed_allocation_loses_nothing_synced) { nth_fails(WAL_DISK_ALLOCATE, ENOSPC); }
TEST(a_failed_rename_loses_nothing_synced) { nth_fails(WAL_DISK_RENAME, EIO); }
TEST(a_failed_removal_loses_nothing_synced) { nth_fails(WAL_DISK_UNLINK, EIO); }
TEST(a_failed_sync_of_the_directory_loses_nothing_synced) { nth_fails(WAL_DISK_SYNC_DIR, EIO); }

TESTS = {
	T(what_a_failed_sync_left_in_the_cache_is_not_believed),
	T(a_failed_open_loses_nothing_synced),
	T(a_failed_write_loses_nothing_synced),
	T(a_full_disk_loses_nothing_synced),
	T(a_failed_read_loses_nothing_synced),
	T(a_failed_sync_loses_nothing_synced),
	T(a_failed_sync_of_a_new_segment_loses_nothing_synced),
	T(a_failed_allocation_loses_nothing_synced),
	T(a_failed_rename_loses_nothing_synced),
	T(a_failed_removal_loses_nothing_synced),
	T(a_failed_sync_of_the_directory_loses_nothing_synced),
};
TAP_MAIN
