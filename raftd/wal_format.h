/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the raft log (docs/log-format.md): segment header, batches, records. Pure.
 *
 *   segment = header page, then batches, each on its own whole pages, then zeros
 *   batch   = BATCH record, records, padding to a page
 *   record  = 32 bytes of head, payload, zeros to a multiple of 8
 *
 * A page that was synced is never written again, so a torn write can only hurt its own batch.
 */
#ifndef QUORATE_WAL_FORMAT_H
#define QUORATE_WAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "raftd/wal.h"

#define WAL_PAGE 4096u
#define WAL_SECTOR 512u          /* the most that a disk may write or not write as a whole */
#define WAL_FORMAT_VERSION 1u
#define WAL_RECORD_HEAD 32u
#define WAL_BATCH_HEAD 72u       /* the BATCH record that opens each batch, within one sector */
#define WAL_PAD 0xa5u            /* not zero: a sector of padding that is missing must show */
#define WAL_SEGMENT_MIN (4u * WAL_PAGE)

enum wal_type {
	WAL_BATCH = 1,
	WAL_SEGMENT_HEAD = 2,
	WAL_HARD_STATE = 3,
	WAL_ENTRY = 4,
	WAL_TRUNCATE = 5,
	WAL_RESET = 6
};

struct wal_header {
	uint64_t segment;         /* number, from 1 */
	uint64_t cluster_id, node_id;
	uint64_t salt;            /* no two segments have the same: old bytes never check out */
	uint64_t segment_bytes;
	uint32_t batch_bytes;     /* no batch of this segment is larger, padding included */
	uint32_t seed;            /* the page's checksum; all of the segment start from it */
};

void wal_header_encode(uint8_t page[WAL_PAGE], struct wal_header *h);   /* sets h->seed */
/* ERR_OK, ERR_CHECKSUM, ERR_VERSION, ERR_MALFORMED */
int wal_header_decode(const uint8_t page[WAL_PAGE], struct wal_header *h);

struct wal_record {
	enum wal_type type;
	uint8_t kind;             /* ENTRY: enum wal_kind or the caller's own; else 0 */
	uint64_t index, term;
	struct bytes payload;     /* borrowed */
	uint32_t crc;
	size_t bytes;             /* on disk, padding included */
};

size_t wal_record_bytes(size_t payload);
/* crc left 0, bytes not looked at */
void wal_record_put(uint8_t *to, const struct wal_record *r);
/* Looks at the shape only, within `left` bytes. ERR_OK, ERR_TRUNCATED, ERR_MALFORMED. */
int wal_record_get(const uint8_t *from, size_t left, struct wal_record *r);
/* The checksum of the record of `bytes` bytes at `at`, chained to `before`. */
uint32_t wal_record_crc(uint32_t before, const uint8_t *at, size_t bytes);

/* What a BATCH record says. */
struct wal_batch {
	uint64_t number;          /* counts batches over all segments */
	uint64_t durable;         /* the segment was synced up to here when it was written */
	uint32_t offset;          /* where it lies in its segment */
	uint32_t bytes;           /* without the padding */
	uint32_t live_sectors;    /* its sectors that are not all zeros: fewer on disk = torn */
	uint32_t records;         /* behind this one */
	uint32_t before;          /* checksum of the record before; in the first: the seed */
	uint32_t crc;
};

uint32_t wal_padded(uint32_t bytes);
uint32_t wal_live_sectors(const uint8_t *p, size_t n);
bool wal_is_filled(const uint8_t *p, size_t n, uint8_t with);
bool wal_is_zero(const uint8_t *p, size_t n);

/*
 * Completes a batch whose records begin at data + WAL_BATCH_HEAD and end at data + b->bytes:
 * pads it, writes its head, chains all checksums. Fills live_sectors and crc, and returns the
 * checksum of its last record. `data` has room for wal_padded(b->bytes).
 */
uint32_t wal_batch_seal(uint8_t *data, struct wal_batch *b, uint32_t seed);
/* A whole BATCH record that belongs to this segment and this offset? Looks at one sector. */
bool wal_batch_get(const uint8_t *at, uint32_t seed, uint32_t offset, struct wal_batch *b);

struct wal_segment_head {
	struct wal_hard_state hard;
	uint64_t prev_index, prev_term;   /* last entry before this segment */
	uint32_t prev_end;                /* end of the segment before; 0: there is none */
	uint32_t prev_crc;                /* checksum of its last record */
};

#define WAL_SEGMENT_HEAD_PAYLOAD 24u
void wal_segment_head_put(uint8_t *to, const struct wal_segment_head *h);   /* a whole record */
int wal_segment_head_get(const struct wal_record *r, struct wal_segment_head *h);

/* Walks the records of a batch that is known to be whole. */
struct wal_walk {
	const uint8_t *base;      /* offset 0 of the batch */
	uint32_t at, end;         /* within it */
	uint32_t before;          /* checksum of the record before `at` */
};

struct wal_walk wal_walk_of(const uint8_t *data, const struct wal_batch *b);
bool wal_walk_next(struct wal_walk *w, struct wal_record *r, uint32_t *at, uint32_t *before);

/* File names: 16 hex digits and .seg, .tmp while it is being made, .sum for its summary. */
enum wal_name_type { WAL_NAME_SEGMENT, WAL_NAME_TMP, WAL_NAME_SUMMARY };

#define WAL_NAME_MAX 32u
void wal_name(char name[WAL_NAME_MAX], uint64_t segment, enum wal_name_type type);
bool wal_name_parse(const char *name, uint64_t *segment, enum wal_name_type *type);

#endif
