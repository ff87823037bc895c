/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/wal_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"

static const char wal_magic[8] = {'Q', 'R', 'A', 'F', 'T', 'L', 'O', 'G'};

/* Offsets in a record's head. crc and type share a word: whatever the crc, it is not zero. */
enum {
	REC_CRC = 0, REC_TYPE = 4, REC_KIND = 5, REC_ZERO = 6, REC_LEN = 8, REC_ZERO2 = 12,
	REC_INDEX = 16, REC_TERM = 24
};

/* Offsets in a BATCH record's payload. */
enum {
	BAT_NUMBER = 0, BAT_DURABLE = 8, BAT_OFFSET = 16, BAT_BYTES = 20, BAT_LIVE = 24,
	BAT_RECORDS = 28, BAT_BEFORE = 32, BAT_ZERO = 36, BAT_PAYLOAD = 40
};

/* Offsets in the header page. */
enum {
	HDR_MAGIC = 0, HDR_VERSION = 8, HDR_CRC = 12, HDR_SEGMENT = 16, HDR_CLUSTER = 24,
	HDR_NODE = 32, HDR_SALT = 40, HDR_BYTES = 48, HDR_BATCH = 56, HDR_END = 64
};

_Static_assert(WAL_BATCH_HEAD == WAL_RECORD_HEAD + BAT_PAYLOAD, "the head of a batch");
_Static_assert(WAL_BATCH_HEAD <= WAL_SECTOR, "a batch head is torn as a whole");
_Static_assert(WAL_BATCH_HEAD % 8 == 0 && WAL_PAGE % WAL_SECTOR == 0, "alignment");
_Static_assert(LIMIT_WAL_SEGMENT_MAX <= UINT32_MAX / 2, "offsets fit 32 bits");

static uint32_t header_crc(const uint8_t page[WAL_PAGE])
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, page, HDR_CRC);

	crc = crc32c(crc, zero, sizeof zero);
	return crc32c(crc, page + HDR_SEGMENT, WAL_PAGE - HDR_SEGMENT);
}

void wal_header_encode(uint8_t page[WAL_PAGE], struct wal_header *h)
{
	memset(page, 0, WAL_PAGE);
	memcpy(page + HDR_MAGIC, wal_magic, sizeof wal_magic);
	put_u32(page + HDR_VERSION, WAL_FORMAT_VERSION);
	put_u64(page + HDR_SEGMENT, h->segment);
	put_u64(page + HDR_CLUSTER, h->cluster_id);
	put_u64(page + HDR_NODE, h->node_id);
	put_u64(page + HDR_SALT, h->salt);
	put_u64(page + HDR_BYTES, h->segment_bytes);
	put_u32(page + HDR_BATCH, h->batch_bytes);
	h->seed = header_crc(page);
	put_u32(page + HDR_CRC, h->seed);
}

int wal_header_decode(const uint8_t page[WAL_PAGE], struct wal_header *h)
{
	if (memcmp(page + HDR_MAGIC, wal_magic, sizeof wal_magic) != 0 ||
	    get_u32(page + HDR_CRC) != header_crc(page))
		return ERR_CHECKSUM;
	if (get_u32(page + HDR_VERSION) != WAL_FORMAT_VERSION)
		return ERR_VERSION;
	h->segment = get_u64(page + HDR_SEGMENT);
	h->cluster_id = get_u64(page + HDR_CLUSTER);
	h->node_id = get_u64(page + HDR_NODE);
	h->salt = get_u64(page + HDR_SALT);
	h->segment_bytes = get_u64(page + HDR_BYTES);
	h->batch_bytes = get_u32(page + HDR_BATCH);
	h->seed = get_u32(page + HDR_CRC);
	if (h->segment == 0 || h->segment_bytes < WAL_SEGMENT_MIN ||
	    h->segment_bytes > LIMIT_WAL_SEGMENT_MAX || h->segment_bytes % WAL_PAGE != 0 ||
	    h->batch_bytes < WAL_PAGE || h->batch_bytes % WAL_PAGE != 0 ||
	    h->batch_bytes > h->segment_bytes - WAL_PAGE ||
	    !wal_is_zero(page + HDR_BATCH + 4, WAL_PAGE - HDR_BATCH - 4))
		return ERR_MALFORMED;
	return ERR_OK;
}

size_t wal_record_bytes(size_t payload)
{
	return WAL_RECORD_HEAD + (payload + 7) / 8 * 8;
}

void wal_record_put(uint8_t *to, const struct wal_record *r)
{
	size_t bytes = wal_record_bytes(r->payload.len);

	CHECK(r->payload.len <= LIMIT_WAL_ENTRY_BYTES);
	memset(to, 0, WAL_RECORD_HEAD);
	to[REC_TYPE] = (uint8_t)r->type;
	to[REC_KIND] = r->kind;
	put_u32(to + REC_LEN, (uint32_t)r->payload.len);
	put_u64(to + REC_INDEX, r->index);
	put_u64(to + REC_TERM, r->term);
	if (r->payload.len > 0)
		memcpy(to + WAL_RECORD_HEAD, r->payload.data, r->payload.len);
	memset(to + WAL_RECORD_HEAD + r->payload.len, 0, bytes - WAL_RECORD_HEAD - r->payload.len);
}

/* What each type may carry; an ENTRY's payload is free. */
static bool record_shape(const struct wal_record *r)
{
	switch (r->type) {
	case WAL_BATCH:
		return r->payload.len == BAT_PAYLOAD;
	case WAL_SEGMENT_HEAD:
		return r->payload.len == WAL_SEGMENT_HEAD_PAYLOAD;
	case WAL_HARD_STATE:
		return r->payload.len == 8 && r->index == 0;
	case WAL_ENTRY:
		return r->payload.len <= LIMIT_WAL_ENTRY_BYTES && r->index > 0;
	case WAL_TRUNCATE:
		return r->payload.len == 0 && r->index > 0;
	case WAL_RESET:
		return r->payload.len == 0;
	}
	return false;
}

int wal_record_get(const uint8_t *from, size_t left, struct wal_record *r)
{
	size_t len;

	if (left < WAL_RECORD_HEAD)
		return ERR_TRUNCATED;
	len = get_u32(from + REC_LEN);
	*r = (struct wal_record){
		.type = (enum wal_type)from[REC_TYPE], .kind = from[REC_KIND],
		.index = get_u64(from + REC_INDEX), .term = get_u64(from + REC_TERM),
		.payload = {from + WAL_RECORD_HEAD, len}, .crc = get_u32(from + REC_CRC),
		.bytes = wal_record_bytes(len)};
	if (!wal_is_zero(from + REC_ZERO, 2) || !wal_is_zero(from + REC_ZERO2, 4) ||
	    !record_shape(r) || (r->kind != 0 && r->type != WAL_ENTRY))
		return ERR_MALFORMED;
	return r->bytes > left ? ERR_TRUNCATED : ERR_OK;
}

uint32_t wal_record_crc(uint32_t before, const uint8_t *at, size_t bytes)
{
	return crc32c(before, at + REC_TYPE, bytes - REC_TYPE);
}

uint32_t wal_padded(uint32_t bytes)
{
	return (bytes + WAL_PAGE - 1) / WAL_PAGE * WAL_PAGE;
}

bool wal_is_filled(const uint8_t *p, size_t n, uint8_t with)
{
	return n == 0 || (p[0] == with && memcmp(p, p + 1, n - 1) == 0);
}

bool wal_is_zero(const uint8_t *p, size_t n)
{
	return wal_is_filled(p, n, 0);
}

uint32_t wal_live_sectors(const uint8_t *p, size_t n)
{
	uint32_t live = 0;

	CHECK(n % WAL_SECTOR == 0);
	for (size_t at = 0; at < n; at += WAL_SECTOR)
		live += !wal_is_zero(p + at, WAL_SECTOR);
	return live;
}

static void batch_head_put(uint8_t *to, const struct wal_batch *b)
{
	uint8_t p[BAT_PAYLOAD] = {0};
	struct wal_record r = {.type = WAL_BATCH, .payload = {p, sizeof p}};

	put_u64(p + BAT_NUMBER, b->number);
	put_u64(p + BAT_DURABLE, b->durable);
	put_u32(p + BAT_OFFSET, b->offset);
	put_u32(p + BAT_BYTES, b->bytes);
	put_u32(p + BAT_LIVE, b->live_sectors);
	put_u32(p + BAT_RECORDS, b->records);
	put_u32(p + BAT_BEFORE, b->before);
	wal_record_put(to, &r);
}

/* A BATCH record's checksum starts from the seed: it is believed without what is before it. */
uint32_t wal_batch_seal(uint8_t *data, struct wal_batch *b, uint32_t seed)
{
	uint32_t padded = wal_padded(b->bytes), crc, count = 0;
	struct wal_record r;

	CHECK(b->bytes > WAL_BATCH_HEAD && b->offset % WAL_PAGE == 0);
	memset(data + b->bytes, WAL_PAD, padded - b->bytes);
	data[REC_TYPE] = WAL_BATCH;
	b->live_sectors = wal_live_sectors(data, padded);
	batch_head_put(data, b);
	b->crc = wal_record_crc(seed, data, WAL_BATCH_HEAD);
	put_u32(data + REC_CRC, b->crc);
	crc = b->crc;
	for (uint32_t at = WAL_BATCH_HEAD; at < b->bytes; at += (uint32_t)r.bytes, count++) {
		CHECK(wal_record_get(data + at, b->bytes - at, &r) == ERR_OK);
		crc = wal_record_crc(crc, data + at, r.bytes);
		put_u32(data + at + REC_CRC, crc);
	}
	CHECK(count == b->records);
	return crc;
}

bool wal_batch_get(const uint8_t *at, uint32_t seed, uint32_t offset, struct wal_batch *b)
{
	struct wal_record r;
	const uint8_t *p;

	if (wal_record_get(at, WAL_BATCH_HEAD, &r) != ERR_OK || r.type != WAL_BATCH ||
	    r.crc != wal_record_crc(seed, at, WAL_BATCH_HEAD))
		return false;
	p = r.payload.data;
	*b = (struct wal_batch){
		.number = get_u64(p + BAT_NUMBER), .durable = get_u64(p + BAT_DURABLE),
		.offset = get_u32(p + BAT_OFFSET), .bytes = get_u32(p + BAT_BYTES),
		.live_sectors = get_u32(p + BAT_LIVE), .records = get_u32(p + BAT_RECORDS),
		.before = get_u32(p + BAT_BEFORE), .crc = r.crc};
	return b->offset == offset && b->bytes > WAL_BATCH_HEAD &&
	       b->bytes <= LIMIT_WAL_SEGMENT_MAX &&
	       b->durable <= offset && wal_is_zero(p + BAT_ZERO, 4) && r.index == 0 && r.term == 0;
}

void wal_segment_head_put(uint8_t *to, const struct wal_segment_head *h)
{
	uint8_t p[WAL_SEGMENT_HEAD_PAYLOAD];
	struct wal_record r = {.type = WAL_SEGMENT_HEAD, .index = h->prev_index,
			       .term = h->prev_term,
			       .payload = {p, sizeof p}};

	put_u64(p, h->hard.term);
	put_u64(p + 8, h->hard.vote);
	put_u32(p + 16, h->prev_end);
	put_u32(p + 20, h->prev_crc);
	wal_record_put(to, &r);
}

int wal_segment_head_get(const struct wal_record *r, struct wal_segment_head *h)
{
	const uint8_t *p = r->payload.data;

	if (r->type != WAL_SEGMENT_HEAD || r->payload.len != WAL_SEGMENT_HEAD_PAYLOAD)
		return ERR_MALFORMED;
	*h = (struct wal_segment_head){
		.hard = {get_u64(p), get_u64(p + 8)}, .prev_index = r->index, .prev_term = r->term,
		.prev_end = get_u32(p + 16), .prev_crc = get_u32(p + 20)};
	return ERR_OK;
}

struct wal_walk wal_walk_of(const uint8_t *data, const struct wal_batch *b)
{
	return (struct wal_walk){data, WAL_BATCH_HEAD, b->bytes, b->crc};
}

bool wal_walk_next(struct wal_walk *w, struct wal_record *r, uint32_t *at, uint32_t *before)
{
	if (w->at >= w->end)
		return false;
	CHECK(wal_record_get(w->base + w->at, w->end - w->at, r) == ERR_OK);
	*at = w->at;
	*before = w->before;
	w->at += (uint32_t)r->bytes;
	w->before = r->crc;
	return true;
}

static const char *const name_ends[] = {[WAL_NAME_SEGMENT] = ".seg", [WAL_NAME_TMP] = ".tmp",
					[WAL_NAME_SUMMARY] = ".sum"};

void wal_name(char name[WAL_NAME_MAX], uint64_t segment, enum wal_name_type type)
{
	(void)snprintf(name, WAL_NAME_MAX, "%016" PRIx64 "%s", segment, name_ends[type]);
}

bool wal_name_parse(const char *name, uint64_t *segment, enum wal_name_type *type)
{
	uint64_t n = 0;

	if (strlen(name) != 20)
		return false;
	for (size_t i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef", *d = strchr(digits, name[i]);

		if (d == NULL || *d == 0)
			return false;
		n = n << 4 | (uint64_t)(d - digits);
	}
	*segment = n;
	for (size_t i = 0; n > 0 && i < ARRAY_LEN(name_ends); i++) {
		*type = (enum wal_name_type)i;
		if (strcmp(name + 16, name_ends[i]) == 0)
			return true;
	}
	return false;
}
