/* SPDX-License-Identifier: Apache-2.0 */
/* Reading entries that are no longer in memory. */
#include "raftd/wal.h"

#include <string.h>

#include "base/err.h"
#include "raftd/wal_format.h"
#include "tests/lib/tap.h"
#include "tests/lib/wal_disk.h"
#include "tests/lib/wal_fill.h"

/* What comes before the damage is right. */
static int read_to_damage(struct wal *w, uint64_t last, struct wal_list *list)
{
	for (uint64_t next = 1; next <= last;) {
		int rc = wal_read(w, next, last, MIB, 100, list);

		if (rc != ERR_OK)
			return rc;
		OK(list->n > 0);
		for (size_t i = 0; i < list->n; i++, next++) {
			struct bytes want = wal_fill_payload(next, 3, wal_fill_len(next));

			EQ_INT(list->entries[i].index, next);
			OK(bytes_eq(list->entries[i].data, want));
		}
	}
	return ERR_OK;
}

/* Bits that rot while the log is open: found by whoever reads them, whole chain or not at all. */
TEST(a_read_from_disk_never_gives_wrong_bytes)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	struct wal_list list = {0};
	struct wal_header h;
	struct wal_batch b;
	size_t size;
	uint8_t *p;

	wal_fill(w, 1, 60, 3);
	(void)wal_collect(w, &(struct wal_durable){0});
	p = wal_disk_bytes(d, "0000000000000001.seg", &size);
	EQ_INT(wal_header_decode(p, &h), ERR_OK);
	OK(wal_batch_get(p + 8192, h.seed, 8192, &b));   /* of entries 1 to 7 */
	for (size_t at = 8192 + WAL_BATCH_HEAD; at < 8192 + b.bytes; at++) {
		p[at] ^= (uint8_t)(1u << at % 8);
		EQ_INT(read_to_damage(w, 60, &list), ERR_CORRUPT);
		OK(strstr(wal_why(w), "/log/0000000000000001.seg offset ") != NULL);
		p[at] ^= (uint8_t)(1u << at % 8);
	}
	EQ_INT(read_to_damage(w, 60, &list), ERR_OK);
	wal_list_free(&list);
	wal_close(&w);
	wal_disk_free(d);
}

/* A batch that is valid in itself, of this segment and this place, but of another history. */
TEST(a_read_from_disk_follows_the_chain)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	struct wal_list list = {0};
	struct wal_batch b;
	struct wal_header h;
	size_t size;
	uint8_t *p;

	for (uint64_t i = 1; i <= 5; i++)
		wal_fill(w, i, i, 3);
	(void)wal_collect(w, &(struct wal_durable){0});
	p = wal_disk_bytes(d, "0000000000000001.seg", &size);
	EQ_INT(wal_header_decode(p, &h), ERR_OK);
	OK(wal_batch_get(p + 16384, h.seed, 16384, &b));   /* of entry 3 */
	b.before ^= 1;
	(void)wal_batch_seal(p + 16384, &b, h.seed);
	EQ_INT(wal_read(w, 1, 2, 1u << 20, 100, &list), ERR_OK);
	EQ_INT(list.n, 2);
	EQ_INT(wal_read(w, 1, 5, 1u << 20, 100, &list), ERR_CORRUPT);
	wal_list_free(&list);
	wal_close(&w);
	wal_disk_free(d);
}

/* A reader that asks for little gets one entry, however large, and never more than it asked for. */
TEST(limits_of_a_read_are_kept)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal_list list = {0};
	struct wal *w;

	o.segment_bytes = MIB;   /* all in one: a read ends with a segment */
	for (size_t hot = 0; hot < 2; hot++) {
		o.cache_bytes = hot ? MIB : 1;
		w = wal_fill_open("/log", o, &rec);
		if (hot)
			EQ_INT(wal_append_truncate(w, 1), ERR_OK);
		wal_fill(w, 1, 100, 3);
		(void)wal_collect(w, &(struct wal_durable){0});
		for (size_t bytes = 0; bytes < 3000; bytes += 100) {
			size_t total = 0;

			EQ_INT(wal_read(w, 20, 90, bytes, 5, &list), ERR_OK);
			OK(list.n >= 1 && list.n <= 5);
			for (size_t i = 0; i < list.n; i++)
				total += list.entries[i].data.len;
			OK(list.n == 1 || total <= bytes);
		}
		EQ_INT(wal_read(w, 20, 90, SIZE_MAX, SIZE_MAX, &list), ERR_OK);
		EQ_INT(list.n, 71);
		EQ_INT(wal_read(w, 20, 19, 1, 1, &list), ERR_OK);
		EQ_INT(list.n, 0);
		EQ_INT(wal_read(w, 101, 200, 1, 1, &list), ERR_OK);
		EQ_INT(list.n, 0);
		EQ_INT(wal_read(w, 0, 1, 1, 1, &list), ERR_COMPACTED);
		wal_close(&w);
	}
	wal_list_free(&list);
	wal_disk_free(d);
}

/*
 * Many batches without entries lie between two entries: the second has its own place in the
 * index.
 */
TEST(a_read_is_short_however_far_apart_entries_lie)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w;

	o.segment_bytes = MIB;
	w = wal_fill_open("/log", o, &rec);
	wal_fill(w, 1, 1, 1);
	for (uint64_t term = 1; term < 200; term++) {
		EQ_INT(wal_append_hard_state(w, (struct wal_hard_state){term, 1}), ERR_OK);
		EQ_INT(wal_sync_now(w), ERR_OK);
	}
	wal_fill(w, 2, 3, 1);
	(void)wal_collect(w, &(struct wal_durable){0});
	wal_fill_expect(w, 1, 3, 1, 1);
	wal_close(&w);
	w = wal_fill_open("/log", o, &rec);
	wal_fill_expect(w, 1, 3, 1, 1);
	wal_close(&w);
	wal_disk_free(d);
}

TESTS = {
	T(a_read_from_disk_never_gives_wrong_bytes),
	T(a_read_from_disk_follows_the_chain),
	T(limits_of_a_read_are_kept),
	T(a_read_is_short_however_far_apart_entries_lie),
};
TAP_MAIN
