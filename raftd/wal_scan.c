/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/wal_scan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define SCAN_CHUNK (256u * KIB)   /* it stays in the processor's cache */

void wal_scan_open(struct wal_scan *s, const struct wal_source *source, const struct wal_header *h,
		   uint64_t number)
{
	CHECK(h->segment_bytes <= LIMIT_WAL_SEGMENT_MAX);
	*s = (struct wal_scan){.source = *source, .size = (uint32_t)h->segment_bytes, .header = *h, .chunk = SCAN_CHUNK,
			       .at = {.offset = WAL_PAGE, .chain = h->seed, .number = number}};
}

void wal_scan_close(struct wal_scan *s)
{
	mem_free(s->window);
	s->window = NULL;
	s->cap = s->len = 0;
}

/* Bytes [at, at + n) until the next call; NULL if they cannot be had: s->rc. */
static const uint8_t *view(struct wal_scan *s, uint32_t at, uint32_t n)
{
	uint32_t skip = at - s->from, left = s->size - at, have = 0;
	uint32_t want = n > s->chunk ? n : left < s->chunk ? left : s->chunk;

	CHECK(at <= s->size && n <= left);
	if (at >= s->from && skip < s->len) {
		have = s->len - skip;
		if (n <= have)
			return s->window + skip;
		memmove(s->window, s->window + skip, have);
	}
	s->from = at;
	s->len = 0;
	if (s->cap < want) {
		s->window = mem_grow(s->window, want, 1);
		s->cap = want;
	}
	s->rc = s->source.read(s->source.arg, s->window + have, want - have, at + have);
	if (s->rc < 0)
		return NULL;
	s->len = want;
	return s->window;
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

/* What stands at s->at.offset and behind it, to the end of the segment. */
struct behind {
	uint32_t end;            /* in whole pages, of what is not zero; s->at.offset: all is */
	uint32_t later;          /* offset of the first valid batch head on a later page; 0: none */
	struct wal_batch batch;
};

static void see_pages(const struct wal_scan *s, const uint8_t *p, uint32_t at, uint32_t n,
		      struct behind *b)
{
	for (uint32_t end = at + n; at < end; at += WAL_PAGE, p += WAL_PAGE) {
		if (wal_is_zero(p, WAL_PAGE))
			continue;
		b->end = at + WAL_PAGE;
		if (b->later == 0 && at > s->at.offset &&
		    wal_batch_get(p, s->header.seed, at, &b->batch))
			b->later = at;
	}
}

/* False if it cannot be read. */
static bool look_behind(struct wal_scan *s, struct behind *b)
{
	uint32_t n;

	*b = (struct behind){.end = s->at.offset};
	for (uint32_t at = s->at.offset; at < s->size; at += n) {
		const uint8_t *p;

		n = s->size - at < s->chunk ? s->size - at : s->chunk;
		p = view(s, at, n);
		if (p == NULL)
			return false;
		if (!wal_is_zero(p, n))
			see_pages(s, p, at, n, b);
	}
	return true;
}

/* The batch at s->at.offset lacks sectors and is `length` long at most. Was it the last written? */
static enum wal_found torn(struct wal_scan *s, const struct behind *b, uint32_t length)
{
	if (b->later != 0 && b->batch.durable > s->at.offset)
		return corrupt(s, s->at.offset,
			       "a batch is not whole, but the valid batch at offset %" PRIu32
			       " says that it was durable", b->later);
	if (b->later != 0)
		return corrupt(s, s->at.offset,
			       "a batch is not whole, but a valid batch follows at offset %" PRIu32,
			       b->later);
	if (b->end - s->at.offset > length)
		return corrupt(s, b->end - WAL_PAGE,
			       "there are bytes where nothing was ever written");
	s->torn_end = b->end;
	return WAL_FOUND_TORN;
}

static bool head_is_sane(struct wal_scan *s, const struct wal_batch *b, const char **why)
{
	if (b->before != s->at.chain)
		*why = "a valid batch does not continue the one before it";
	else if (s->at.number != 0 && b->number != s->at.number)
		*why = "a valid batch has the wrong number";
	else if (wal_padded(b->bytes) > s->header.batch_bytes ||
		 wal_padded(b->bytes) > s->size - s->at.offset)
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

static enum wal_found no_head(struct wal_scan *s, const uint8_t *p)
{
	struct behind b;

	if (!wal_is_zero(p, WAL_SECTOR))
		return corrupt(s, s->at.offset, "a batch begins with a damaged sector");
	if (!look_behind(s, &b))
		return WAL_FOUND_FAILED;
	return b.end == s->at.offset ? WAL_FOUND_END : torn(s, &b, s->header.batch_bytes);
}

/* A batch with a sane head, and the page behind it: is it whole? */
static enum wal_found take_batch(struct wal_scan *s, uint32_t padded)
{
	uint32_t page = s->size - s->at.offset > padded ? WAL_PAGE : 0, last;
	const uint8_t *p = view(s, s->at.offset, padded + page);
	struct wal_batch next;
	struct behind b;

	if (p == NULL)
		return WAL_FOUND_FAILED;
	if (wal_live_sectors(p, padded) < s->batch.live_sectors)
		return look_behind(s, &b) ? torn(s, &b, padded) : WAL_FOUND_FAILED;
	if (!body_is_whole(p, &s->batch, &last))
		return corrupt(s, s->at.offset,
			       "all sectors of a batch are there, but its checksum is wrong");
	s->data = p;
	s->at.chain = last;
	s->at.number = s->batch.number + 1;
	s->at.offset += padded;
	s->more = page > 0 && wal_batch_get(p + padded, s->header.seed, s->at.offset, &next);
	return WAL_FOUND_BATCH;
}

enum wal_found wal_scan_next(struct wal_scan *s)
{
	const char *why = NULL;
	const uint8_t *p;

	CHECK(s->at.offset <= s->size && s->at.offset % WAL_PAGE == 0);
	if (s->at.offset == s->size)
		return WAL_FOUND_END;
	p = view(s, s->at.offset, WAL_PAGE);
	if (p == NULL)
		return WAL_FOUND_FAILED;
	if (!wal_batch_get(p, s->header.seed, s->at.offset, &s->batch))
		return no_head(s, p);
	if (!head_is_sane(s, &s->batch, &why))
		return corrupt(s, s->at.offset, "%s", why);
	return take_batch(s, wal_padded(s->batch.bytes));
}

void wal_scan_again(struct wal_scan *s, struct wal_place place)
{
	s->at = place;
	s->len = 0;
}
