/* SPDX-License-Identifier: Apache-2.0 */
/* Where a segment ends, judged by its image alone. */
#include "raftd/wal_scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/tap.h"
#include "tests/lib/wal_image.h"

#define SMALL 65536u

/* One page: an entry that has the batch's number for its index. */
static uint32_t page_of(uint8_t *image, const struct wal_header *h, struct wal_batch b)
{
	uint8_t *at = image + b.offset;

	b.bytes = WAL_BATCH_HEAD + WAL_RECORD_HEAD;
	b.records = 1;
	wal_record_put(at + WAL_BATCH_HEAD, &(struct wal_record){.type = WAL_ENTRY,
		.index = b.number, .term = 1});
	return wal_batch_seal(at, &b, h->seed);
}

/* As a writer with two batches in flight would leave it: neither says that the other is durable. */
TEST(a_batch_behind_a_broken_one_is_never_dropped)
{
	uint8_t *image = mem_alloc(SMALL);
	struct wal_header h = {.segment = 1, .salt = 1, .segment_bytes = SMALL,
			       .batch_bytes = 16384};
	struct wal_scan s;
	uint32_t before;

	wal_header_encode(image, &h);
	before = page_of(image, &h, (struct wal_batch){.number = 1, .offset = 4096,
						       .before = h.seed});
	(void)page_of(image, &h, (struct wal_batch){.number = 2, .offset = 8192, .before = before});
	wal_image_scan(&s, image, &h, 0);
	EQ_INT(wal_scan_next(&s), WAL_FOUND_BATCH);
	EQ_INT(wal_scan_next(&s), WAL_FOUND_BATCH);
	EQ_INT(wal_scan_next(&s), WAL_FOUND_END);
	wal_scan_close(&s);
	memset(image + 2 * WAL_PAGE - WAL_SECTOR, 0, WAL_SECTOR);
	wal_image_scan(&s, image, &h, 0);
	EQ_INT(wal_scan_next(&s), WAL_FOUND_CORRUPT);
	EQ_INT(s.bad, WAL_PAGE);
	wal_scan_close(&s);
	free(image);
}

/* Valid in themselves, of this segment and this place, but not the ones that belong there. */
TEST(a_batch_of_another_history_is_corruption)
{
	uint8_t *image = mem_alloc(SMALL);
	struct wal_header h = {.segment = 1, .salt = 1, .segment_bytes = SMALL,
			       .batch_bytes = 16384};
	struct wal_scan s;
	uint32_t before;

	wal_header_encode(image, &h);
	before = page_of(image, &h, (struct wal_batch){.number = 1, .offset = 4096,
						       .before = h.seed});
	for (uint32_t wrong = 0; wrong < 3; wrong++) {
		(void)page_of(image, &h, (struct wal_batch){.number = 2 + (wrong == 1),
							    .offset = 8192,
							    .before = before ^ (wrong == 2)});
		wal_image_scan(&s, image, &h, 1);
		EQ_INT(wal_scan_next(&s), WAL_FOUND_BATCH);
		EQ_INT(wal_scan_next(&s), wrong ? WAL_FOUND_CORRUPT : WAL_FOUND_BATCH);
		wal_scan_close(&s);
	}
	free(image);
}

struct verdict {
	enum wal_found found;
	uint32_t batches, end, torn_end, bad;
	char why[160];
};

static struct verdict judged(uint8_t *image, const struct wal_header *h, uint32_t chunk)
{
	struct verdict v = {.batches = 0};
	struct wal_scan s;

	wal_image_scan(&s, image, h, 0);
	s.chunk = chunk;
	while ((v.found = wal_scan_next(&s)) == WAL_FOUND_BATCH) {
		EQ_MEM(s.data, image + s.batch.offset, wal_padded(s.batch.bytes));
		v.batches++;
	}
	v.end = s.at.offset;
	v.torn_end = v.found == WAL_FOUND_TORN ? s.torn_end : 0;
	v.bad = v.found == WAL_FOUND_CORRUPT ? s.bad : 0;
	memcpy(v.why, s.why, sizeof v.why);
	wal_scan_close(&s);
	return v;
}

/* Seven batches of one to three pages. Their end. */
static uint32_t image_of_batches(uint8_t *image, struct wal_header *h)
{
	uint32_t end = WAL_PAGE, before;

	wal_header_encode(image, h);
	before = h->seed;
	for (uint32_t n = 1; n <= 7; n++) {
		uint8_t *at = image + end;
		uint8_t payload[10000];
		struct wal_record r = {.type = WAL_ENTRY, .index = n, .term = 1,
				       .payload = bytes_of(payload, n * 3000 % 10000)};
		struct wal_batch b = {.number = n, .offset = end, .durable = end, .records = 1, .before = before,
				      .bytes = WAL_BATCH_HEAD + (uint32_t)wal_record_bytes(r.payload.len)};

		memset(payload, (int)n, sizeof payload);
		wal_record_put(at + WAL_BATCH_HEAD, &r);
		before = wal_batch_seal(at, &b, h->seed);
		end += wal_padded(b.bytes);
	}
	CHECK(end < SMALL - 2 * WAL_PAGE);
	return end;
}

/* A segment is read in pieces: where one ends says nothing. */
TEST(the_pieces_in_which_a_segment_is_read_change_nothing)
{
	const uint32_t chunks[] = {WAL_PAGE, 3 * WAL_PAGE, SMALL / 2};
	uint64_t random = tap_seed(8);
	uint32_t seen[4] = {0};
	uint8_t *image = mem_alloc(SMALL), *hurt = mem_alloc(SMALL);
	struct wal_header h = {.segment = 1, .salt = 1, .segment_bytes = SMALL, .batch_bytes = 32768};
	uint32_t end = image_of_batches(image, &h);

	for (uint64_t i = 0; i < tap_rounds(3000); i++) {
		struct verdict want;

		memcpy(hurt, image, SMALL);
		for (uint64_t n = tap_rand(&random) % 4; n > 0; n--) {
			size_t where = WAL_PAGE + (size_t)(tap_rand(&random) % (end + 2 * WAL_PAGE - WAL_PAGE));

			if (tap_rand(&random) % 2)
				memset(hurt + where / WAL_SECTOR * WAL_SECTOR, 0, WAL_SECTOR);
			else
				hurt[where] ^= (uint8_t)(1u << tap_rand(&random) % 8);
		}
		want = judged(hurt, &h, SMALL);
		seen[want.found]++;
		for (size_t k = 0; k < ARRAY_LEN(chunks); k++) {
			struct verdict got = judged(hurt, &h, chunks[k]);

			EQ_INT(got.found, want.found);
			EQ_INT(got.batches, want.batches);
			EQ_INT(got.end, want.end);
			EQ_INT(got.torn_end, want.torn_end);
			EQ_INT(got.bad, want.bad);
			EQ_STR(got.why, want.why);
		}
	}
	OK(seen[WAL_FOUND_END] > 0 && seen[WAL_FOUND_TORN] > 0 && seen[WAL_FOUND_CORRUPT] > 0);
	mem_free(image);
	mem_free(hurt);
}

TESTS = {
	T(a_batch_behind_a_broken_one_is_never_dropped),
	T(a_batch_of_another_history_is_corruption),
	T(the_pieces_in_which_a_segment_is_read_change_nothing),
};
TAP_MAIN
