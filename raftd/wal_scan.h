/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one segment batch by batch and judges where it ends. Pure: where the bytes come from is the
 * caller's, and they may be anything. Of the segment no more than a batch is in memory.
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
	WAL_FOUND_BATCH,     /* a whole, valid batch: scan->batch, its bytes at scan->data */
	WAL_FOUND_END,       /* only zeros from here on, or the segment is full */
	WAL_FOUND_TORN,      /* one unfinished batch, in [at.offset, torn_end), then zeros */
	WAL_FOUND_CORRUPT,   /* scan->why, at scan->bad */
	WAL_FOUND_FAILED     /* the bytes could not be had: scan->rc */
};

struct wal_source {
	/* All n bytes at `offset` of the segment: 0, or -errno. */
	int (*read)(void *arg, uint8_t *to, size_t n, uint64_t offset);
	void *arg;
};

/* Where a batch begins, or the next one will. */
struct wal_place {
	uint32_t offset;
	uint32_t chain;      /* checksum of the last record before it */
	uint64_t number;     /* of the batch; 0 = not known */
};

struct wal_scan {
	struct wal_source source;
	uint32_t size;       /* header.segment_bytes */
	struct wal_header header;
	struct wal_place at; /* of the next batch */
	struct wal_batch batch;
	const uint8_t *data; /* of the batch, until the next call */
	bool more;           /* behind it stands the head of another one */
	uint32_t torn_end;
	uint32_t bad;        /* offset of the damage */
	int rc;
	char why[160];
	uint32_t chunk;      /* read at once, at least; pages */
	uint8_t *window;     /* bytes [from, from + len) of the segment */
	size_t cap;
	uint32_t from, len;
};

/* A segment whose header has been decoded; the offset starts behind the header page. */
void wal_scan_open(struct wal_scan *s, const struct wal_source *source, const struct wal_header *h,
		   uint64_t number);
enum wal_found wal_scan_next(struct wal_scan *s);
/* Goes back to a place that was scan->at, and reads again: the source has other bytes now. */
void wal_scan_again(struct wal_scan *s, struct wal_place place);
void wal_scan_close(struct wal_scan *s);

#endif
