/* SPDX-License-Identifier: Apache-2.0 */
/* Torn or corrupt: what recovery makes of every way in which the end of the log can be hurt. */
#include "raftd/wal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/wal_scan.h"
#include "tests/lib/tap.h"
#include "tests/lib/wal_disk.h"

#define SMALL 65536u
#define FIRST "0000000000000001.seg"
#define SECOND "0000000000000002.seg"

static struct wal_options small_log(struct wal_disk *d)
{
	return (struct wal_options){.cluster_id = 1, .node_id = 2, .create = true,
				    .synchronous = true,
				    .segment_bytes = SMALL, .cache_bytes = 1, .salt = 99,
				    .io = wal_disk_io(d)};
}

static struct wal *open_ok(struct wal_disk *d, struct wal_recovered *rec)
{
	struct wal_options o = small_log(d);
	struct wal *w = NULL;
	int rc = wal_open("/log", &o, &w, rec);

	EQ_STR(rec->why, "");
	EQ_INT(rc, ERR_OK);
	return w;
}

static int open_rc(struct wal_disk *d, struct wal_recovered *rec)
{
	struct wal_options o = small_log(d);
	struct wal *w = NULL;
	int rc = wal_open("/log", &o, &w, rec);

	wal_abandon(&w);
	return rc;
}

static void add(struct wal *w, uint64_t index, size_t len)
{
	static uint8_t data[SMALL];
	uint64_t z = index;

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(tap_rand(&z) | 1);
	EQ_INT(wal_append_entry(w, index, 1, WAL_COMMAND, bytes_of(data, len)), ERR_OK);
}

/* Entries 1 to 3, a batch each; then 4 and 5 in one batch of more than two pages at *at. */
static struct wal_disk *log_of_five(uint32_t *at, uint32_t *end)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_recovered rec;
	struct wal *w = open_ok(d, &rec);
	struct wal_status st;

	for (uint64_t i = 1; i <= 3; i++) {
		add(w, i, 100);
		EQ_INT(wal_sync_now(w), ERR_OK);
	}
	(void)wal_collect(w, &(struct wal_durable){0});
	wal_status(w, &st);
	*at = (uint32_t)st.segment_offset;
	add(w, 4, 5000);
	add(w, 5, 4000);
	EQ_INT(wal_sync_now(w), ERR_OK);
	(void)wal_collect(w, &(struct wal_durable){0});
	wal_status(w, &st);
	*end = (uint32_t)st.segment_offset;
	EQ_INT(*end - *at, 3 * WAL_PAGE);
	wal_abandon(&w);
	return d;
}

/* Opens it, expects the last entry, appends to it and opens it again. */
static void expect_last(struct wal_disk *d, uint64_t last, bool was_cut)
{
	struct wal_recovered rec;
	struct wal *w = open_ok(d, &rec);

	EQ_INT(rec.last_index, last);
	EQ_INT(rec.cut_bytes > 0, was_cut);
	add(w, last + 1, 50);
	EQ_INT(wal_sync_now(w), ERR_OK);
	wal_abandon(&w);
	wal_disk_crash(d);
	w = open_ok(d, &rec);
	EQ_INT(rec.last_index, last + 1);
	EQ_INT(rec.cut_bytes, 0);
	wal_abandon(&w);
}

static void zero_sector(struct wal_disk *d, uint32_t offset)
{
	size_t size;
	uint8_t *p = wal_disk_bytes(d, FIRST, &size);

	memset(p + offset, 0, WAL_SECTOR);
	wal_disk_flush(d, FIRST);
}

TEST(a_batch_cut_off_at_any_sector_is_cut)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end), *c;

	c = wal_disk_clone(d);
	expect_last(c, 5, false);
	wal_disk_free(c);
	for (uint32_t from = at; from < end; from += WAL_SECTOR) {
		c = wal_disk_clone(d);
		for (uint32_t s = from; s < end; s += WAL_SECTOR)
			zero_sector(c, s);
		/* with nothing left of it there is nothing to cut */
		expect_last(c, 3, from > at);
		wal_disk_free(c);
	}
	wal_disk_free(d);
}

TEST(a_batch_that_misses_any_one_sector_is_cut)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end), *c;

	for (uint32_t s = at; s < end; s += WAL_SECTOR) {
		c = wal_disk_clone(d);
		zero_sector(c, s);
		expect_last(c, 3, true);
		wal_disk_free(c);
	}
	wal_disk_free(d);
}

TEST(a_batch_that_misses_any_sectors_is_cut)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end), *c;
	uint64_t random = 7;

	for (int round = 0; round < 300; round++) {
		uint64_t keep = tap_rand(&random) % (1u << 24);

		c = wal_disk_clone(d);
		for (uint32_t i = 0; i < 24; i++)
			if (!(keep >> i & 1))
				zero_sector(c, at + i * WAL_SECTOR);
		expect_last(c, keep + 1 == 1u << 24 ? 5 : 3, keep + 1 != 1u << 24 && keep != 0);
		wal_disk_free(c);
	}
	wal_disk_free(d);
}

/* A crash cannot shorten a file that was synced at its full size: somebody else did. */
TEST(a_shortened_file_is_refused)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end), *c;
	struct wal_recovered rec;

	for (uint32_t size = 0; size < SMALL; size += WAL_SECTOR) {
		c = wal_disk_clone(d);
		wal_disk_resize(c, FIRST, size);
		EQ_INT(open_rc(c, &rec), ERR_CORRUPT);
		OK(strstr(rec.why, FIRST) != NULL && strstr(rec.why, "what to do") != NULL);
		wal_disk_free(c);
	}
	wal_disk_free(d);
}

static void flip(struct wal_disk *d, const char *name, uint32_t offset, unsigned bit)
{
	size_t size;
	uint8_t *p = wal_disk_bytes(d, name, &size);

	p[offset] ^= (uint8_t)(1u << bit);
	wal_disk_flush(d, name);
}

/* Also in the newest batch: all its sectors are there, so it is not torn. */
TEST(a_flipped_bit_anywhere_in_the_log_is_corruption)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end);
	struct wal_recovered rec;
	uint64_t random = 3;

	for (uint32_t offset = 0; offset < end; offset++) {
		unsigned bit = (unsigned)(tap_rand(&random) % 8);

		flip(d, FIRST, offset, bit);
		EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
		OK(strstr(rec.why, "/log/" FIRST " offset ") != NULL &&
		   strstr(rec.why, "what to do") != NULL);
		flip(d, FIRST, offset, bit);
	}
	EQ_INT(open_rc(d, &rec), ERR_OK);
	EQ_INT(rec.last_index, 5);
	wal_disk_free(d);
}

TEST(a_missing_sector_before_the_last_batch_is_corruption)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end), *c;
	struct wal_recovered rec;

	for (uint32_t s = 0; s < at; s += WAL_SECTOR) {
		c = wal_disk_clone(d);
		zero_sector(c, s);
		if (s == 0 || s >= WAL_PAGE) {   /* the rest of the header page is zeros */
			EQ_INT(open_rc(c, &rec), ERR_CORRUPT);
			if (s >= WAL_PAGE)
				OK(strstr(rec.why, "says that it was durable") != NULL);
		} else {
			EQ_INT(open_rc(c, &rec), ERR_OK);
		}
		wal_disk_free(c);
	}
	wal_disk_free(d);
}

/*
 * A batch that misses a sector was never acknowledged: what else is wrong with it is all the
 * same...
 */
TEST(a_flipped_bit_in_a_torn_batch_is_cut_with_it)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end), *c;
	uint64_t random = 3;

	for (uint32_t offset = at + WAL_SECTOR; offset < end; offset += 61) {
		uint32_t gone = at + WAL_SECTOR + (uint32_t)(tap_rand(&random) % 23) * WAL_SECTOR;

		if (offset / WAL_SECTOR == gone / WAL_SECTOR)
			continue;   /* it would look as if it were there */
		c = wal_disk_clone(d);
		zero_sector(c, gone);
		flip(c, FIRST, offset, (unsigned)(tap_rand(&random) % 8));
		expect_last(c, 3, true);
		wal_disk_free(c);
	}
	wal_disk_free(d);
}

/* ...but with its first sector damaged nobody can say what is missing: then nothing is cut. */
TEST(a_damaged_first_sector_is_never_taken_for_torn)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end);
	struct wal_recovered rec;

	zero_sector(d, at + WAL_SECTOR);
	for (uint32_t offset = at; offset < at + WAL_BATCH_HEAD; offset++) {
		flip(d, FIRST, offset, offset % 8);
		EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
		flip(d, FIRST, offset, offset % 8);
	}
	expect_last(d, 3, true);
	wal_disk_free(d);
}

TEST(bytes_far_behind_the_end_are_corruption)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end), *c;
	struct wal_recovered rec;

	/* near: it could be a batch that lost its first sector */
	c = wal_disk_clone(d);
	flip(c, FIRST, end + 3 * WAL_PAGE, 0);
	expect_last(c, 5, true);
	wal_disk_free(c);
	/* behind a torn batch, which says how long it is */
	c = wal_disk_clone(d);
	zero_sector(c, end - WAL_SECTOR);
	flip(c, FIRST, end + 10, 0);
	EQ_INT(open_rc(c, &rec), ERR_CORRUPT);
	wal_disk_free(c);
	wal_disk_free(d);
}

/* Copies the pages [from, from + n) of one file over `to` of another. */
static void copy_pages(struct wal_disk *to, uint32_t at, struct wal_disk *from, uint32_t begin,
		       uint32_t n)
{
	size_t size;
	uint8_t *p = wal_disk_bytes(to, FIRST, &size), *q = wal_disk_bytes(from, FIRST, &size);

	memcpy(p + at, q + begin, n);
	wal_disk_flush(to, FIRST);
}

/* Old bytes from the same place of another segment, or from another place of this one. */
TEST(stale_bytes_behind_the_end_never_validate)
{
	uint32_t at, end;
	struct wal_disk *d = log_of_five(&at, &end), *other = wal_disk_new(2), *c;
	struct wal_options o = small_log(other);
	struct wal_recovered rec;
	struct wal *w = NULL;

	o.salt = 100;   /* all else is the same */
	EQ_INT(wal_open("/log", &o, &w, &rec), ERR_OK);
	for (uint64_t i = 1; i <= 10; i++) {
		add(w, i, 100);
		EQ_INT(wal_sync_now(w), ERR_OK);
	}
	wal_abandon(&w);
	for (uint32_t gap = 0; gap < 2; gap++) {
		c = wal_disk_clone(d);
		copy_pages(c, end + gap * WAL_PAGE, other, end + gap * WAL_PAGE, WAL_PAGE);
		EQ_INT(open_rc(c, &rec), gap ? ERR_OK : ERR_CORRUPT);
		OK(gap == 0 || rec.last_index == 5);
		wal_disk_free(c);
	}
	c = wal_disk_clone(d);
	copy_pages(c, end, c, at - WAL_PAGE, WAL_PAGE);
	EQ_INT(open_rc(c, &rec), ERR_CORRUPT);
	wal_disk_free(c);
	wal_disk_free(other);
	wal_disk_free(d);
}

/* Fills segment 1 and begins segment 2; *at2: where segment 2's third batch begins. */
static struct wal_disk *log_of_two(uint64_t *last)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_recovered rec;
	struct wal *w = open_ok(d, &rec);
	struct wal_status st = {0};

	for (*last = 0; st.segments < 2; (*last)++) {
		add(w, *last + 1, 3000);
		EQ_INT(wal_sync_now(w), ERR_OK);
		(void)wal_collect(w, &(struct wal_durable){0});
		wal_status(w, &st);
	}
	EQ_INT(st.segment_offset, 3 * WAL_PAGE);
	wal_abandon(&w);
	return d;
}

TEST(a_torn_first_batch_of_a_new_segment_is_undone)
{
	uint64_t last;
	struct wal_disk *d = log_of_two(&last), *c;
	const struct wal_io *io = wal_disk_io(d);
	size_t size;

	/* made only after that batch */
	EQ_INT(io->unlink(io->ctx, "/log/0000000000000003.seg"), 0);
	EQ_INT(io->sync_dir(io->ctx, "/log"), 0);
	for (unsigned keep = 0; keep < 255; keep++) {
		uint8_t *p;

		c = wal_disk_clone(d);
		p = wal_disk_bytes(c, SECOND, &size);
		memset(p + 2 * WAL_PAGE, 0, WAL_PAGE);
		for (unsigned s = 0; s < 8; s++)
			if (!(keep >> s & 1))
				memset(p + WAL_PAGE + s * WAL_SECTOR, 0, WAL_SECTOR);
		wal_disk_flush(c, SECOND);
		expect_last(c, last - 1, keep != 0);
		wal_disk_free(c);
	}
	wal_disk_free(d);
}

TEST(a_flipped_bit_in_an_older_segment_is_corruption)
{
	uint64_t last, random = 5;
	struct wal_disk *d = log_of_two(&last);
	struct wal_recovered rec;

	for (uint32_t offset = 0; offset < SMALL;
	     offset += 1 + (uint32_t)(tap_rand(&random) % 40)) {
		flip(d, FIRST, offset, offset % 8);
		EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
		flip(d, FIRST, offset, offset % 8);
	}
	EQ_INT(open_rc(d, &rec), ERR_OK);
	wal_disk_free(d);
}

TEST(a_torn_end_of_an_older_segment_is_corruption)
{
	uint64_t last;
	struct wal_disk *d = log_of_two(&last);
	struct wal_recovered rec;

	zero_sector(d, SMALL - WAL_SECTOR);
	EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
	OK(strstr(rec.why, "a newer segment is in use") != NULL);
	wal_disk_free(d);
}

/* Whole batches at the end of a segment are gone: only the next segment's head knows. */
TEST(a_lost_end_of_an_older_segment_is_corruption)
{
	uint64_t last;
	struct wal_disk *d = log_of_two(&last);
	struct wal_recovered rec;
	size_t size;
	uint8_t *p = wal_disk_bytes(d, FIRST, &size);

	memset(p + SMALL - WAL_PAGE, 0, WAL_PAGE);
	wal_disk_flush(d, FIRST);
	EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
	OK(strstr(rec.why, "does not end where it did") != NULL);
	wal_disk_free(d);
}

TEST(a_missing_or_swapped_segment_is_corruption)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_recovered rec;
	struct wal *w = open_ok(d, &rec);
	const struct wal_io *io = wal_disk_io(d);

	for (uint64_t i = 1; i <= 60; i++) {
		add(w, i, 3000);
		EQ_INT(wal_sync_now(w), ERR_OK);
	}
	wal_abandon(&w);
	EQ_INT(io->rename(io->ctx, "/log/" SECOND, "/log/x"), 0);
	EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
	OK(strstr(rec.why, SECOND) != NULL && strstr(rec.why, "missing") != NULL);
	EQ_INT(io->rename(io->ctx, "/log/" FIRST, "/log/" SECOND), 0);
	EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
	OK(strstr(rec.why, "header is damaged") != NULL);
	wal_disk_free(d);
}

/* Only the spare is left: the log was there, so this is no new one. */
TEST(a_log_whose_segments_are_gone_is_not_begun_anew)
{
	uint64_t last;
	struct wal_disk *d = log_of_two(&last);
	const struct wal_io *io = wal_disk_io(d);
	struct wal_recovered rec;

	EQ_INT(io->unlink(io->ctx, "/log/" FIRST), 0);
	EQ_INT(io->unlink(io->ctx, "/log/" SECOND), 0);
	EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
	wal_disk_free(d);
}

TESTS = {
	T(a_batch_cut_off_at_any_sector_is_cut),
	T(a_batch_that_misses_any_one_sector_is_cut),
	T(a_batch_that_misses_any_sectors_is_cut),
	T(a_shortened_file_is_refused),
	T(a_flipped_bit_anywhere_in_the_log_is_corruption),
	T(a_missing_sector_before_the_last_batch_is_corruption),
	T(a_flipped_bit_in_a_torn_batch_is_cut_with_it),
	T(a_damaged_first_sector_is_never_taken_for_torn),
	T(bytes_far_behind_the_end_are_corruption),
	T(stale_bytes_behind_the_end_never_validate),
	T(a_torn_first_batch_of_a_new_segment_is_undone),
	T(a_flipped_bit_in_an_older_segment_is_corruption),
	T(a_torn_end_of_an_older_segment_is_corruption),
	T(a_lost_end_of_an_older_segment_is_corruption),
	T(a_missing_or_swapped_segment_is_corruption),
	T(a_log_whose_segments_are_gone_is_not_begun_anew),
};
TAP_MAIN
