/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/wal_format.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

static struct wal_header header_of(uint64_t segment)
{
	return (struct wal_header){.segment = segment, .cluster_id = 0xc1, .node_id = 3,
				   .salt = 0x5a17,
				   .segment_bytes = 65536, .batch_bytes = 16384};
}

TEST(a_header_comes_back)
{
	struct wal_header h = header_of(7), got;
	uint8_t page[WAL_PAGE];

	wal_header_encode(page, &h);
	EQ_INT(wal_header_decode(page, &got), ERR_OK);
	EQ_INT(got.segment, 7);
	EQ_INT(got.cluster_id, 0xc1);
	EQ_INT(got.node_id, 3);
	EQ_INT(got.salt, 0x5a17);
	EQ_INT(got.segment_bytes, 65536);
	EQ_INT(got.batch_bytes, 16384);
	EQ_INT(got.seed, h.seed);
}

TEST(every_flipped_bit_of_a_header_shows)
{
	struct wal_header h = header_of(7), got;
	uint8_t page[WAL_PAGE];

	wal_header_encode(page, &h);
	for (size_t bit = 0; bit < WAL_PAGE * 8; bit++) {
		page[bit / 8] ^= (uint8_t)(1u << bit % 8);
		OK(wal_header_decode(page, &got) != ERR_OK);
		page[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

TEST(a_header_with_impossible_sizes_is_refused)
{
	const uint64_t sizes[] = {0, 4096, 12288, 16385, 65536 + 512,
				  (uint64_t)LIMIT_WAL_SEGMENT_MAX + 4096};
	uint8_t page[WAL_PAGE];
	struct wal_header h, got;

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		h = header_of(1);
		h.segment_bytes = sizes[i];
		wal_header_encode(page, &h);
		EQ_INT(wal_header_decode(page, &got), ERR_MALFORMED);
	}
	h = header_of(1);
	h.batch_bytes = 65536;
	wal_header_encode(page, &h);
	EQ_INT(wal_header_decode(page, &got), ERR_MALFORMED);
	h = header_of(0);
	wal_header_encode(page, &h);
	EQ_INT(wal_header_decode(page, &got), ERR_MALFORMED);
}

/* A newer program's header is told apart from a damaged one. */
TEST(a_newer_format_is_named_so)
{
	struct wal_header h = header_of(1), got;
	uint8_t page[WAL_PAGE];
	uint32_t crc;

	wal_header_encode(page, &h);
	put_u32(page + 8, WAL_FORMAT_VERSION + 1);
	put_u32(page + 12, 0);
	crc = crc32c(0, page, WAL_PAGE);
	put_u32(page + 12, crc);
	EQ_INT(wal_header_decode(page, &got), ERR_VERSION);
}

static uint32_t put(uint8_t *data, uint32_t at, struct wal_record r)
{
	wal_record_put(data + at, &r);
	return at + (uint32_t)wal_record_bytes(r.payload.len);
}

/* Four records of all shapes; returns the length. */
static uint32_t sample(uint8_t *data, uint8_t vote[8])
{
	uint32_t at = WAL_BATCH_HEAD;

	put_u64(vote, 2);
	at = put(data, at, (struct wal_record){.type = WAL_HARD_STATE, .term = 9, .payload = {vote,
		8}});
	at = put(data, at, (struct wal_record){.type = WAL_TRUNCATE, .index = 41, .term = 8});
	at = put(data, at, (struct wal_record){.type = WAL_ENTRY, .kind = WAL_COMMAND, .index = 41,
					       .term = 9,
					       .payload = bytes_str("hello")});
	return put(data, at, (struct wal_record){.type = WAL_ENTRY, .kind = WAL_NOOP, .index = 42,
						 .term = 9});
}

TEST(a_batch_comes_back)
{
	uint8_t data[WAL_PAGE] = {0}, vote[8];
	struct wal_batch b = {.number = 12, .durable = 8192, .offset = 8192, .records = 4,
			      .before = 77}, got;
	struct wal_walk walk;
	struct wal_record r;
	uint32_t at, before, last, n = 0;

	b.bytes = sample(data, vote);
	last = wal_batch_seal(data, &b, 0x1234);
	OK(wal_batch_get(data, 0x1234, 8192, &got));
	EQ_INT(got.number, 12);
	EQ_INT(got.durable, 8192);
	EQ_INT(got.bytes, b.bytes);
	EQ_INT(got.records, 4);
	EQ_INT(got.before, 77);
	EQ_INT(got.live_sectors, 8);
	walk = wal_walk_of(data, &got);
	while (wal_walk_next(&walk, &r, &at, &before)) {
		EQ_INT(r.crc, wal_record_crc(before, data + at, r.bytes));
		n++;
	}
	EQ_INT(n, 4);
	EQ_INT(r.crc, last);
	EQ_INT(r.index, 42);
}

TEST(a_batch_head_is_believed_only_in_its_own_place)
{
	uint8_t data[WAL_PAGE] = {0}, vote[8];
	struct wal_batch b = {.number = 12, .durable = 8192, .offset = 8192, .records = 4,
			      .before = 77}, got;

	b.bytes = sample(data, vote);
	(void)wal_batch_seal(data, &b, 0x1234);
	OK(!wal_batch_get(data, 0x1235, 8192, &got));
	OK(!wal_batch_get(data, 0x1234, 4096, &got));
	for (size_t bit = 0; bit < WAL_BATCH_HEAD * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		OK(!wal_batch_get(data, 0x1234, 8192, &got));
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/*
 * The bytes are a promise: logs of older programs must stay readable. Computed apart from this
 * code.
 */
TEST(golden_bytes)
{
	static const uint8_t want[] = {
		0xd1, 0x22, 0x9d, 0x4c, 0x01, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00, 0x00, 0x00,
			0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00,
		0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00,
		0x00, 0x10, 0x00, 0x00, 0x70, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x01, 0x00,
		0x00, 0x00,
		0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf1, 0xec, 0x04, 0xc1, 0x04, 0x02,
		0x00, 0x00,
		0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x29, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00,
		0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
		0x00, 0x00,
		0xa5};
	uint8_t data[WAL_PAGE] = {0};
	struct wal_batch b = {.number = 1, .durable = 4096, .offset = 4096, .records = 1,
			      .before = 5};

	b.bytes = put(data, WAL_BATCH_HEAD,
		      (struct wal_record){.type = WAL_ENTRY, .kind = WAL_COMMAND, .index = 41,
					  .term = 9,
					  .payload = bytes_str("hello")});
	EQ_INT(wal_batch_seal(data, &b, 0x1234), 0xc104ecf1u);
	EQ_MEM(data, want, sizeof want);
}

TEST(a_record_of_wrong_shape_is_refused)
{
	uint8_t data[128] = {0}, vote[8] = {0};
	struct wal_record r;

	EQ_INT(wal_record_get(data, sizeof data, &r), ERR_MALFORMED);   /* type 0 */
	wal_record_put(data, &(struct wal_record){.type = WAL_ENTRY, .index = 0});
	EQ_INT(wal_record_get(data, sizeof data, &r), ERR_MALFORMED);
	wal_record_put(data, &(struct wal_record){.type = WAL_HARD_STATE, .kind = 1,
						  .payload = {vote, 8}});
	EQ_INT(wal_record_get(data, sizeof data, &r), ERR_MALFORMED);
	wal_record_put(data, &(struct wal_record){.type = WAL_HARD_STATE, .payload = {vote, 7}});
	EQ_INT(wal_record_get(data, sizeof data, &r), ERR_MALFORMED);
	wal_record_put(data, &(struct wal_record){.type = WAL_ENTRY, .index = 1, .payload = {vote,
		8}});
	EQ_INT(wal_record_get(data, 39, &r), ERR_TRUNCATED);
	EQ_INT(wal_record_get(data, 31, &r), ERR_TRUNCATED);
	EQ_INT(wal_record_get(data, 40, &r), ERR_OK);
	put_u32(data + 8, 0xffffffffu);
	EQ_INT(wal_record_get(data, sizeof data, &r), ERR_MALFORMED);
	put_u32(data + 8, LIMIT_WAL_ENTRY_BYTES);
	EQ_INT(wal_record_get(data, sizeof data, &r), ERR_TRUNCATED);
}

/* Sectors of zeros inside a payload are no sign of a torn write: they are counted as such. */
TEST(zeros_in_a_payload_are_not_counted_as_live)
{
	uint8_t *data = mem_alloc(2 * WAL_PAGE), zeros[4096] = {0};
	struct wal_batch b = {.number = 1, .offset = 4096, .records = 1};

	b.bytes = put(data, WAL_BATCH_HEAD,
		      (struct wal_record){.type = WAL_ENTRY, .index = 1, .payload = {zeros,
			      sizeof zeros}});
	(void)wal_batch_seal(data, &b, 1);
	/* the head's, and the second page from its end of payload on */
	EQ_INT(b.live_sectors, 1 + 8);
	EQ_INT(wal_live_sectors(data, 2 * WAL_PAGE), b.live_sectors);
	free(data);
}

TEST(names_are_read_strictly)
{
	char name[WAL_NAME_MAX];
	uint64_t n;
	enum wal_name_type type;

	wal_name(name, 0xab, WAL_NAME_SEGMENT);
	EQ_STR(name, "00000000000000ab.seg");
	OK(wal_name_parse(name, &n, &type) && n == 0xab && type == WAL_NAME_SEGMENT);
	wal_name(name, UINT64_MAX, WAL_NAME_TMP);
	OK(wal_name_parse(name, &n, &type) && n == UINT64_MAX && type == WAL_NAME_TMP);
	wal_name(name, 1, WAL_NAME_SUMMARY);
	EQ_STR(name, "0000000000000001.sum");
	OK(wal_name_parse(name, &n, &type) && n == 1 && type == WAL_NAME_SUMMARY);
	OK(!wal_name_parse("00000000000000AB.seg", &n, &type));
	OK(!wal_name_parse("0000000000000000.seg", &n, &type));
	OK(!wal_name_parse("00000000000000ab.sex", &n, &type));
	OK(!wal_name_parse("0000000000000ab.seg", &n, &type));
	OK(!wal_name_parse("lock", &n, &type));
	OK(!wal_name_parse("", &n, &type));
}

TESTS = {
	T(a_header_comes_back),
	T(every_flipped_bit_of_a_header_shows),
	T(a_header_with_impossible_sizes_is_refused),
	T(a_newer_format_is_named_so),
	T(a_batch_comes_back),
	T(a_batch_head_is_believed_only_in_its_own_place),
	T(golden_bytes),
	T(a_record_of_wrong_shape_is_refused),
	T(zeros_in_a_payload_are_not_counted_as_live),
	T(names_are_read_strictly),
};
TAP_MAIN
