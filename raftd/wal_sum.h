/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a segment that nobody writes to any more, in a small file beside it, so that a
 * start in the same boot of the system need not read it (docs/log-format.md, "Summaries"). Pure but
 * for memory.
 *
 *   UNUSED   made ahead: header, then zeros. Its summary goes before its first batch is written.
 *   SEALED   full, and the next one has been begun
 */
#ifndef QUORATE_WAL_SUM_H
#define QUORATE_WAL_SUM_H

#include "raftd/wal_format.h"
#include "raftd/wal_io.h"

enum wal_sum_state { WAL_SUM_UNUSED = 1, WAL_SUM_SEALED = 2 };

/* What the records of a segment do to the log's tables, in their order; entries in runs of one term. */
enum wal_sum_type { WAL_SUM_RUN = 1, WAL_SUM_TRUNCATE = 2, WAL_SUM_RESET = 3, WAL_SUM_POINT = 4 };

struct wal_sum_row {
	enum wal_sum_type type;
	uint64_t index;          /* RUN: its first; TRUNCATE, RESET: as in the record; POINT: the entry's */
	uint64_t last;           /* RUN */
	uint64_t term;           /* but of a POINT */
	uint32_t offset, before; /* POINT: raftd/wal_points.h */
	bool jump;               /* POINT */
};

struct wal_sum {
	enum wal_sum_state state;
	uint8_t boot[WAL_BOOT_BYTES];    /* nothing of it is believed in another boot */
	struct wal_stamp stamp;          /* nor if somebody has written to the file since */
	uint64_t segment;
	uint32_t seed;
	/* the rest: SEALED */
	struct wal_segment_head head;    /* of the first batch */
	uint64_t first_number, next_number;   /* of batches: its first, and the one behind its last */
	struct wal_hard_state hard;      /* behind its last record */
	uint32_t end, crc;               /* as the next segment's head has it */
	struct wal_sum_row *rows;
	size_t n, cap;
	bool overflow;                   /* too many rows: there will be no summary */
	size_t run;                      /* of the row that is going on; n: none */
};

/* Forgets what was gathered, and begins that of a segment whose first batch is `head`. */
void wal_sum_begin(struct wal_sum *s, const struct wal_header *h,
		   const struct wal_segment_head *head, uint64_t first_number);
void wal_sum_record(struct wal_sum *s, const struct wal_record *r);
void wal_sum_point(struct wal_sum *s, uint64_t index, uint32_t offset, uint32_t before, bool jump);
void wal_sum_free(struct wal_sum *s);
/* Moves what was gathered; `from` is empty then. */
void wal_sum_move(struct wal_sum *to, struct wal_sum *from);

#define WAL_SUM_BYTES_MAX (4u * MIB)

void wal_sum_encode(const struct wal_sum *s, struct buf *out);
/* ERR_OK, or ERR_CHECKSUM, ERR_VERSION, ERR_MALFORMED with nothing in *s. Free it. */
int wal_sum_decode(struct bytes in, struct wal_sum *s);

#endif
