/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot on disk: the bytes of an LMDB file, then a trailer that says what they are and holds
 * their checksum (docs/snapshot-format.md). Made beside, synced, renamed: a file with a snapshot's
 * name is whole, unless the disk has damaged it since.
 *
 * Copying and checking read and write whole files, and take as long as that takes: they are for
 * the helper process (snap_child.h), and for a start at which there is nothing better to do.
 */
#ifndef QUORATE_SNAP_FILE_H
#define QUORATE_SNAP_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/link_apply.h"

enum { SNAP_FORMAT = 1, SNAP_TRAILER_BYTES = 88 };

struct snap_info {
	uint64_t cluster_id;
	uint64_t index, term;            /* of the last entry applied */
	int64_t revision;
	uint8_t apply_hash[16];
	uint64_t data_bytes;             /* before the trailer */
	uint32_t data_crc;               /* of those */
};

void snap_trailer_encode(uint8_t out[SNAP_TRAILER_BYTES], const struct snap_info *info);
/* ERR_OK, ERR_VERSION, ERR_CORRUPT. */
int snap_trailer_decode(struct bytes in, struct snap_info *info);
/* What the trailer says of a file of that length: the data is not looked at. Also ERR_NOT_FOUND, ERR_IO. */
int snap_info_read(const char *path, struct snap_info *info);
struct snapshot_id snap_id(const struct snap_info *info);

/* The snapshots of data_dir by their trailers, the newest first; what cannot be read is named in the log. */
enum { SNAP_LIST_MAX = 16 };
size_t snap_list(const char *data_dir, uint64_t cluster_id, struct snap_info *out);
/* There is another than `keep` (NULL: not one is known), or something unfinished. */
bool snap_has_others(const char *data_dir, const struct snap_info *keep);
/* Removes these, which takes a disk a while. Failures are logged. */
void snap_remove_others(const char *data_dir, const struct snap_info *keep);
/* A damaged one is kept aside as <name>.bad until the next is made. */
void snap_set_aside(const char *data_dir, const struct snap_info *info);

struct snap_job {
	const char *data_dir;
	uint64_t cluster_id, node_id;
	uint64_t generation;             /* to copy, or to be made */
	uint64_t map_bytes;
	uint64_t bytes_per_s;            /* 0: as fast as it goes */
	bool helper;                     /* in a process of its own: its exit code says what it has met */
};

/* A durable snapshot of that generation, which others go on using. Errors of okv.h, ERR_NO_SPACE, ERR_IO. */
int snap_copy(const struct snap_job *j, struct snap_info *made);
/* Looks at every row of that generation, which others go on using: snap_check.h. */
int snap_verify(const struct snap_job *j);
/*
 * The store's generation from a snapshot, as a store of this node, synced. ERR_CORRUPT, ERR_VERSION
 * and ERR_CONFIG (another cluster's) are the snapshot's fault; the directory is there, its content
 * then is not to be used.
 */
int snap_restore(const struct snap_job *j, const char *path, struct snap_info *info);
/* The same from a file that has come in, which becomes a snapshot of this node if it is good. */
int snap_install(const struct snap_job *j, const struct snapshot_id *id);

#endif
