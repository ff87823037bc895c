/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the image of one segment batch by batch and judges where it ends. Pure; the image may be
 * anything.
 *
 * Torn or corrupt? The writer has one batch in flight, into pages that are zeros on the disk, and
 * a disk writes a sector of 512 bytes wholly or not at all. So a batch that a crash kept from
 * becoming durable misses at least one of its sectors (each batch says how many of its sectors
 * are not all zeros), and nothing was ever written behind it. That, and nothing else, is a torn
 * tail. Everything else that is not right is damage to what may have been acknowledged.
 */
#ifndef QUORATE_WAL_SCAN_H
#define QUORATE_WAL_SCAN_H

#include "raftd/wal_format.h"

enum wal_found {
	WAL_FOUND_BATCH,     /* a whole, valid batch: scan->batch */
	WAL_FOUND_END,       /* only zeros from here on, or the segment is full */
	WAL_FOUND_TORN,      /* one unfinished batch, in [offset, torn_end), then zeros */
	WAL_FOUND_CORRUPT    /* scan->why, at scan->bad */
};

struct wal_scan {
	const uint8_t *image;
	uint32_t size;       /* of the image: header.segment_bytes */
	struct wal_header header;
	uint32_t offset;     /* of the next batch */
	uint32_t chain;      /* checksum of the last record before it */
	uint64_t number;     /* of the next batch; 0 = not known */
	struct wal_batch batch;
	uint32_t torn_end;
	uint32_t bad;        /* offset of the damage */
	char why[160];
};

/* image[0..size) with a header that has been decoded; the offset starts behind the header page. */
void wal_scan_open(struct wal_scan *s, const uint8_t *image, const struct wal_header *h,
		   uint64_t number);
enum wal_found wal_scan_next(struct wal_scan *s);

#endif
