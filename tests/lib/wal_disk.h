/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory behind the raft log's table of file operations (raftd/wal_io.h). It keeps what
 * the page cache shows and what the medium holds apart, in sectors of 512 bytes: a crash lets
 * each unsynced sector be the old one or the new one, and unsynced changes of the directory happen
 * up to some point, in order. Not for threads: the log runs on it in synchronous mode.
 */
#ifndef QUORATE_WAL_DISK_H
#define QUORATE_WAL_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raftd/wal_io.h"

struct wal_disk;

enum wal_disk_op {
	WAL_DISK_OPEN, WAL_DISK_PWRITE, WAL_DISK_PREAD, WAL_DISK_ALLOCATE, WAL_DISK_FDATASYNC,
		WAL_DISK_FSYNC,
	WAL_DISK_RENAME, WAL_DISK_UNLINK, WAL_DISK_SYNC_DIR, WAL_DISK_OPS
};

struct wal_disk *wal_disk_new(uint64_t seed);
void wal_disk_free(struct wal_disk *d);
/* of the medium, as after a clean power-off: another boot */
struct wal_disk *wal_disk_clone(const struct wal_disk *d);
const struct wal_io *wal_disk_io(struct wal_disk *d);

/* The power goes now. All descriptors and locks are gone. */
void wal_disk_crash(struct wal_disk *d);
/* A killed process: descriptors and locks are gone, the page cache stays. */
void wal_disk_kill(struct wal_disk *d);
/*
 * After `ops` more operations that change something every operation fails with -EIO, until
 * wal_disk_crash or wal_disk_kill. The one in which it happens is done in part.
 */
void wal_disk_die_after(struct wal_disk *d, uint64_t ops);
/* The nth call (1 = the next) of `op` fails with -error; `forever`: all later ones too. 0 = off. */
void wal_disk_fail(struct wal_disk *d, enum wal_disk_op op, uint64_t nth, int error, bool forever);
uint64_t wal_disk_count(const struct wal_disk *d, enum wal_disk_op op);

/* A file's bytes for a test to damage, on the medium and in the cache; NULL if there is none. */
uint8_t *wal_disk_bytes(struct wal_disk *d, const char *name, size_t *size);
/* After changing bytes: as if somebody had written to the file; as if the medium had changed them. */
void wal_disk_flush(struct wal_disk *d, const char *name);
void wal_disk_rot(struct wal_disk *d, const char *name);
void wal_disk_resize(struct wal_disk *d, const char *name, size_t size);
size_t wal_disk_files(const struct wal_disk *d);
bool wal_disk_name(const struct wal_disk *d, size_t i, char *name, size_t cap);
bool wal_disk_dead(const struct wal_disk *d);
int wal_disk_open_fds(const struct wal_disk *d);

#endif
