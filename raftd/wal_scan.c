/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/wal_scan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"

void wal_scan_open(struct wal_scan *s, const uint8_t *image, const struct wal_header *h,
		   uint64_t number)
{
	CHECK(h->segment_bytes <= LIMIT_WAL_SEGMENT_MAX);
	*s = (struct wal_scan){.image = image, .size = (uint32_t)h->segment_bytes, .header = *h,
			       .offset = WAL_PAGE, .chain = h->seed, .number = number};
}

static enum wal_found __attribute__((format(printf, 3, 4)))
corrupt(struct wal_scan *s, uint32_t at, const char *fmt, ...)
{
	va_list ap;

	s->bad = at;
	va_start(ap, fmt);
	(void)vsnprintf(s->why, sizeof s->why, fmt, ap);
	va_end(ap);
	return WAL_FOUND_CORRUPT;
}

/* Offset of the first valid batch head on a page from `from` on; 0 if there is none. */
static uint32_t later_batch(const struct wal_scan *s, uint32_t from, struct wal_batch *b)
{
	for (uint32_t at = from; at < s->size; at += WAL_PAGE)
		if (wal_batch_get(s->image + at, s->header.seed, at, b))
			return at;
	return 0;
}

/* The end, in whole pages, of what is not zero from `from` on. */
static uint32_t written_end(const struct wal_scan *s, uint32_t from)
{
	uint32_t end = s->size;

	while (end > from && wal_is_zero(s->image + end - WAL_PAGE, WAL_PAGE))
		end -= WAL_PAGE;
	return end;
}

/* The batch at s->offset lacks sectors and is `length` long at most. Was it the last written? */
static enum wal_found torn(struct wal_scan *s, uint32_t length)
{
	struct wal_batch later;
	uint32_t end = written_end(s, s->offset), at = later_batch(s, s->offset + WAL_PAGE, &later);

	if (at != 0 && later.durable > s->offset)
		return corrupt(s, s->offset,
			       "a batch is not whole, but the valid batch at offset %" PRIu32
			       " says that it was durable", at);
	if (at != 0)
		return corrupt(s, s->offset,
			       "a batch is not whole, but a valid batch follows at offset %" PRIu32,
			       at);
	if (end - s->offset > length)
		return corrupt(s, end - WAL_PAGE, "there are bytes where nothing was ever written");
	s->torn_end = end;
	return WAL_FOUND_TORN;
}

static bool head_is_sane(struct wal_scan *s, const struct wal_batch *b, const char **why)
{
	if (b->before != s->chain)
		*why = "a valid batch does not continue the one before it";
	else if (s->number != 0 && b->number != s->number)
		*why = "a valid batch has the wrong number";
	else if (wal_padded(b->bytes) > s->header.batch_bytes ||
		 wal_padded(b->bytes) > s->size - s->offset)
		*why = "a valid batch is larger than may be";
	else
		return true;
	return false;
}

/* Checksums, record shapes, padding. The order of indexes is not looked at here. */
static bool body_is_whole(const uint8_t *p, const struct wal_batch *b, uint32_t *last)
{
	uint32_t crc = b->crc, padded = wal_padded(b->bytes), count = 0;
	struct wal_record r;

	for (uint32_t at = WAL_BATCH_HEAD; at < b->bytes; at += (uint32_t)r.bytes, count++) {
		if (wal_record_get(p + at, b->bytes - at, &r) != ERR_OK || r.type == WAL_BATCH)
			return false;
		crc = wal_record_crc(crc, p + at, r.bytes);
		if (crc != r.crc)
			return false;
	}
	*last = crc;
	return count == b->records && wal_is_filled(p + b->bytes, padded - b->bytes, WAL_PAD);
}

static enum wal_found no_head(struct wal_scan *s)
{
	if (!wal_is_zero(s->image + s->offset, WAL_SECTOR))
		return corrupt(s, s->offset, "a batch begins with a damaged sector");
	if (wal_is_zero(s->image + s->offset, s->size - s->offset))
		return WAL_FOUND_END;
	return torn(s, s->header.batch_bytes);
}

enum wal_found wal_scan_next(struct wal_scan *s)
{
	const uint8_t *p = s->image + s->offset;
	struct wal_batch *b = &s->batch;
	const char *why = NULL;
	uint32_t padded, last;

	CHECK(s->offset <= s->size && s->offset % WAL_PAGE == 0);
	if (s->offset == s->size)
		return WAL_FOUND_END;
	if (!wal_batch_get(p, s->header.seed, s->offset, b))
		return no_head(s);
	if (!head_is_sane(s, b, &why))
		return corrupt(s, s->offset, "%s", why);
	padded = wal_padded(b->bytes);
	if (wal_live_sectors(p, padded) < b->live_sectors)
		return torn(s, padded);
	if (!body_is_whole(p, b, &last))
		return corrupt(s, s->offset,
			       "all sectors of a batch are there, but its checksum is wrong");
	s->chain = last;
	s->number = b->number + 1;
	s->offset += padded;
	return WAL_FOUND_BATCH;
}
