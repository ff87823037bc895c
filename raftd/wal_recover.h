/* SPDX-License-Identifier: Apache-2.0 */
/* The start of the log, in two files: the directory (wal_recover.c) and one segment (wal_load.c). */
#ifndef QUORATE_WAL_RECOVER_H
#define QUORATE_WAL_RECOVER_H

#include "raftd/wal_int.h"

/* Numbers of files in the directory. */
struct wal_numbers {
	uint64_t *v;
	size_t n, cap;
};

struct recovery {
	struct wal *w;
	struct wal_why *why;
	struct wal_numbers segments;   /* ascending; without the unused one once it was found */
	struct wal_numbers tmps, sums;
	struct wal_ops ops;
	bool any;                /* a segment has been read */
	uint32_t prev_end, prev_crc;   /* of the one before */
	struct wal_file unused;  /* the newest file, if it has no batch yet */
	bool unused_known;       /* by its summary, and not read yet */
	struct wal_stamp unused_stamp;   /* else: before it was read */
	uint32_t unused_torn_end;
	uint64_t cut_bytes;
	struct wal_check believed;
	struct wal_sum sealed;   /* of the segment just read, until the next one's head says that it is full */
};

/* Sets r->why. `what` failed with -errno. */
int wal_recover_failed(struct recovery *r, const char *what, int rc);
/* The newest file, if it was made ahead and is not used yet, becomes r->unused. */
int wal_load_newest(struct recovery *r);
/* Segment i, by reading it or its summary; w->tail is its end then, and its file stays open there. */
int wal_load_segment(struct recovery *r, size_t i);

#endif
