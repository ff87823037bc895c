/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a segment's summary, and what is gathered for it. */
#include "raftd/wal_sum.h"

#include "base/err.h"
#include "tests/lib/tap.h"

TEST(a_summary_comes_back)
{
	struct wal_header h = {.segment = 7, .seed = 0x11223344, .segment_bytes = 65536};
	struct wal_segment_head head = {.hard = {5, 2}, .prev_index = 10, .prev_term = 4,
					.prev_end = 8192, .prev_crc = 77};
	uint8_t vote[8] = {3};
	struct wal_record e = {.type = WAL_ENTRY, .index = 11, .term = 5};
	struct wal_sum s = {.rows = NULL}, t;
	struct buf out;

	wal_sum_begin(&s, &h, &head, 40);
	wal_sum_point(&s, 11, 8264, 99, true);
	for (; e.index <= 20; e.index++)
		wal_sum_record(&s, &e);
	wal_sum_point(&s, 20, 9000, 98, false);
	e.index = 21;
	wal_sum_record(&s, &e);
	wal_sum_record(&s, &(struct wal_record){.type = WAL_TRUNCATE, .index = 15, .term = 5});
	wal_sum_record(&s, &(struct wal_record){.type = WAL_ENTRY, .index = 15, .term = 6});
	wal_sum_record(&s, &(struct wal_record){.type = WAL_ENTRY, .index = 16, .term = 7});
	wal_sum_record(&s, &(struct wal_record){.type = WAL_RESET, .index = 30, .term = 8});
	wal_sum_record(&s, &(struct wal_record){.type = WAL_HARD_STATE, .term = 9,
						.payload = {vote, sizeof vote}});
	EQ_INT(s.n, 7);
	EQ_INT(s.rows[1].last, 21);
	s.state = WAL_SUM_SEALED;
	s.end = 12288;
	buf_init(&out, 0);
	wal_sum_encode(&s, &out);
	EQ_INT(wal_sum_decode(buf_bytes(&out), &t), ERR_OK);
	EQ_INT(t.n, 7);
	EQ_MEM(&t.head, &s.head, sizeof s.head);
	EQ_INT(t.hard.term, 9);
	EQ_INT(t.hard.vote, 3);
	EQ_INT(t.first_number, 40);
	EQ_INT(t.end, 12288);
	for (size_t i = 0; i < s.n; i++) {
		EQ_INT(t.rows[i].type, s.rows[i].type);
		EQ_INT(t.rows[i].index, s.rows[i].index);
		EQ_INT(t.rows[i].last, s.rows[i].last);
		EQ_INT(t.rows[i].term, s.rows[i].term);
		EQ_INT(t.rows[i].offset, s.rows[i].offset);
		EQ_INT(t.rows[i].before, s.rows[i].before);
		EQ_INT(t.rows[i].jump, s.rows[i].jump);
	}
	wal_sum_free(&t);
	for (size_t n = 0; n < out.len; n++)
		OK(wal_sum_decode(bytes_of(out.data, n), &t) != ERR_OK);
	buf_free(&out);
	wal_sum_free(&s);
}

TEST(a_segment_of_too_many_truncations_has_no_summary)
{
	struct wal_sum s = {.rows = NULL};

	for (uint64_t i = 0; i < 70000; i++)
		wal_sum_record(&s, &(struct wal_record){.type = WAL_TRUNCATE, .index = 5, .term = i});
	OK(s.overflow && s.n < 70000);
	wal_sum_free(&s);
}

TESTS = {
	T(a_summary_comes_back),
	T(a_segment_of_too_many_truncations_has_no_summary),
};
TAP_MAIN
