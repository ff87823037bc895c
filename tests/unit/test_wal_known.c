/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Summaries of segments: a start in the same boot believes them, and what it makes of them is what
 * reading would have made. Nothing else is believed, and damage that a start did not look for is
 * found, named and never given out.
 */
#include "raftd/wal_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "tests/lib/tap.h"
#include "tests/lib/wal_disk.h"
#include "tests/lib/wal_fill.h"

static const char *seg(uint64_t number)
{
	static char name[WAL_NAME_MAX];

	wal_name(name, number, WAL_NAME_SEGMENT);
	return name;
}

static const char *sum(uint64_t number)
{
	static char name[WAL_NAME_MAX];

	wal_name(name, number, WAL_NAME_SUMMARY);
	return name;
}

static struct wal_options options_of(struct wal_disk *d)
{
	return wal_fill_options(wal_disk_io(d));
}

static int open_rc(struct wal_disk *d, struct wal_recovered *rec)
{
	struct wal_options o = options_of(d);
	struct wal *w = NULL;
	int rc = wal_open("/log", &o, &w, rec);

	wal_abandon(&w);
	return rc;
}

/* Entries 1 to `last` of term 1; then its process is killed. */
static struct wal_disk *killed_log(uint64_t last)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = options_of(d);
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);

	wal_fill(w, 1, last, 1);
	wal_abandon(&w);
	wal_disk_kill(d);
	return d;
}

/* Opened without believing anything. */
static uint64_t segments_of(struct wal_disk *d)
{
	uint64_t n = 0;
	size_t size;

	while (wal_disk_bytes(d, seg(n + 1), &size) != NULL)
		n++;
	return n - 1;            /* one is made ahead */
}

TEST(a_start_in_the_same_boot_reads_the_newest_segment_only)
{
	struct wal_disk *d = killed_log(1000);
	struct wal_recovered rec;
	struct wal_options o = options_of(d);
	struct wal_status st;
	uint64_t preads = wal_disk_count(d, WAL_DISK_PREAD), segments = segments_of(d);
	struct wal *w = wal_fill_open("/log", o, &rec);

	OK(segments > 5);
	EQ_INT(rec.unread, segments - 1);
	/* header and summary of each, and one segment of 64 KiB with its end once more */
	OK(wal_disk_count(d, WAL_DISK_PREAD) - preads < 2 * segments + 10);
	EQ_INT(rec.last_index, 1000);
	wal_status(w, &st);
	EQ_INT(st.unread, segments - 1);
	EQ_INT(st.spare, WAL_SPARE_NONE);
	wal_fill_expect(w, 1, 1000, 1, 9000);
	EQ_INT(wal_sync_now(w), ERR_OK);   /* without threads the rest is looked at here */
	wal_status(w, &st);
	EQ_INT(st.unread, 0);
	EQ_INT(st.spare, WAL_SPARE_READY);
	wal_fill(w, 1001, 1300, 1);
	wal_fill_expect(w, 1, 1300, 1, 9000);
	wal_close(&w);
	EQ_INT(wal_disk_open_fds(d), 0);
	wal_disk_free(d);
}

TEST(after_a_power_cut_everything_is_read)
{
	struct wal_disk *d = killed_log(1000);
	struct wal_recovered rec;

	wal_disk_crash(d);
	EQ_INT(open_rc(d, &rec), ERR_OK);
	EQ_INT(rec.unread, 0);
	EQ_INT(rec.last_index, 1000);
	/* and what was read has a summary again */
	EQ_INT(open_rc(d, &rec), ERR_OK);
	EQ_INT(rec.unread, segments_of(d) - 1);
	EQ_INT(rec.last_index, 1000);
	wal_disk_free(d);
}

/* ---- the same as reading */

static void same_tables(const struct wal *a, const struct wal *b)
{
	EQ_INT(a->state.first, b->state.first);
	EQ_INT(a->state.last, b->state.last);
	EQ_INT(a->state.prev_term, b->state.prev_term);
	EQ_INT(a->state.hard.term, b->state.hard.term);
	EQ_INT(a->state.hard.vote, b->state.hard.vote);
	EQ_INT(a->state.nruns, b->state.nruns);
	for (size_t i = 0; i < a->state.nruns; i++) {
		EQ_INT(a->state.runs[i].first_index, b->state.runs[i].first_index);
		EQ_INT(a->state.runs[i].term, b->state.runs[i].term);
	}
	EQ_INT(a->nsegments, b->nsegments);
	for (size_t i = 0; i < a->nsegments; i++) {
		EQ_INT(a->segments[i].number, b->segments[i].number);
		EQ_INT(a->segments[i].size, b->segments[i].size);
		EQ_INT(a->segments[i].used, b->segments[i].used);
		EQ_INT(a->segments[i].seed, b->segments[i].seed);
	}
	EQ_INT(a->points.n, b->points.n);
	for (size_t i = 0; i < a->points.n; i++) {
		EQ_INT(a->points.v[i].index, b->points.v[i].index);
		EQ_INT(a->points.v[i].segment, b->points.v[i].segment);
		EQ_INT(a->points.v[i].offset, b->points.v[i].offset);
		EQ_INT(a->points.v[i].before, b->points.v[i].before);
		EQ_INT(a->points.v[i].jump, b->points.v[i].jump);
	}
	EQ_INT(a->tail.number, b->tail.number);
	EQ_INT(a->tail.offset, b->tail.offset);
	EQ_INT(a->tail.chain, b->tail.chain);
	EQ_INT(a->tail.jump, b->tail.jump);
	if (!a->tail.jump)
		EQ_INT(a->tail.point_offset, b->tail.point_offset);
}

/* All kinds of records, in any order that the log takes. */
static void random_records(struct wal *w, uint64_t *random, unsigned n)
{
	while (n-- > 0) {
		uint64_t last = wal_last_index(w), first = wal_first_index(w), dice = tap_rand(random) % 100;
		uint64_t term = w->state.hard.term;
		int rc = ERR_OK;

		if (dice < 4)
			rc = wal_append_hard_state(w, (struct wal_hard_state){term + dice % 2, dice});
		else if (dice < 8 && last >= first)
			rc = wal_append_truncate(w, last - tap_rand(random) % (last - first + 1) % 40);
		else if (dice == 8 && tap_rand(random) % 4 == 0)
			rc = wal_append_reset(w, last + tap_rand(random) % 30, term);
		else if (dice == 9)
			wal_cut(w, first + tap_rand(random) % (last - first + 2));
		else
			rc = wal_append_entry(w, last + 1, term, WAL_COMMAND,
					      wal_fill_payload(last, term, tap_rand(random) % 3000));
		if (rc == ERR_FULL || dice % 4 == 0)
			rc = wal_sync_now(w);
		if (dice % 8 == 0)
			(void)wal_collect(w, &(struct wal_durable){0});
		EQ_INT(rc, ERR_OK);
	}
}

TEST(what_summaries_say_is_what_reading_says)
{
	size_t believed = 0;

	for (uint64_t round = 0; round < tap_rounds(40); round++) {
		uint64_t seed = tap_seed(1) + round, random = seed;
		struct wal_disk *d = wal_disk_new(seed), *c;
		struct wal_options o = options_of(d), oc;
		struct wal_recovered rec;
		struct wal *w = wal_fill_open("/log", o, &rec), *r;

		for (unsigned life = 0; life < 4; life++) {
			random_records(w, &random, 300);
			wal_abandon(&w);
			wal_disk_kill(d);
			c = wal_disk_clone(d);       /* another boot: it is read */
			oc = options_of(c);
			r = wal_fill_open("/log", oc, &rec);
			EQ_INT(rec.unread, 0);
			w = wal_fill_open("/log", o, &rec);
			believed += rec.unread;
			same_tables(w, r);
			wal_abandon(&r);
			wal_disk_free(c);
		}
		wal_abandon(&w);
		wal_disk_free(d);
	}
	OK(believed > 100);
}

/* ---- what is not believed */

/* The log opens as it was, and segment `number` was read. */
static void read_instead(struct wal_disk *d, uint64_t number, uint64_t last)
{
	struct wal_options o = options_of(d);
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);

	EQ_INT(rec.last_index, last);
	for (size_t i = 0; i < w->check.n; i++)
		OK(w->check.v[i].number != number);
	wal_fill_expect(w, 1, last, 1, 9000);
	wal_abandon(&w);
}

TEST(a_damaged_summary_is_not_believed)
{
	struct wal_disk *d = killed_log(300);
	size_t size;
	uint8_t *p = wal_disk_bytes(d, sum(2), &size);

	OK(p != NULL);
	for (size_t at = 0; at < size; at++) {
		p[at] ^= (uint8_t)(1u << at % 8);
		wal_disk_rot(d, sum(2));
		read_instead(d, 2, 300);     /* which writes a new one */
		p = wal_disk_bytes(d, sum(2), &size);
	}
	for (size_t n = 0; n < 300; n += 7) {
		wal_disk_resize(d, sum(2), n);
		read_instead(d, 2, 300);
	}
	wal_disk_free(d);
}

static void remove_file(struct wal_disk *d, const char *name)
{
	const struct wal_io *io = wal_disk_io(d);
	char path[64];

	(void)snprintf(path, sizeof path, "/log/%s", name);
	EQ_INT(io->unlink(io->ctx, path), 0);
}

static void put_file(struct wal_disk *d, const char *name, const uint8_t *p, size_t n)
{
	const struct wal_io *io = wal_disk_io(d);
	char path[64];
	int fd;

	(void)snprintf(path, sizeof path, "/log/%s", name);
	fd = io->open(io->ctx, path, true);
	OK(fd >= 0);
	EQ_INT(io->pwrite(io->ctx, fd, p, n, 0), n);
	EQ_INT(io->close(io->ctx, fd), 0);
}

TEST(a_missing_summary_is_no_harm)
{
	struct wal_disk *d = killed_log(300);

	remove_file(d, sum(1));
	read_instead(d, 1, 300);
	remove_file(d, sum(segments_of(d) + 1));   /* of the one made ahead */
	read_instead(d, 0, 300);
	wal_disk_free(d);
}

TEST(a_summary_of_another_segment_or_log_is_not_believed)
{
	struct wal_disk *d = killed_log(300), *other = wal_disk_new(2);
	struct wal_options o = options_of(other);
	struct wal_recovered rec;
	struct wal *w;
	uint8_t *p;
	size_t size;

	p = wal_disk_bytes(d, sum(1), &size);
	remove_file(d, sum(2));
	put_file(d, sum(2), p, size);
	read_instead(d, 2, 300);
	o.salt = 5;                      /* same numbers and sizes, other segments */
	w = wal_fill_open("/log", o, &rec);
	wal_fill(w, 1, 300, 1);
	wal_abandon(&w);
	p = wal_disk_bytes(other, sum(2), &size);
	remove_file(d, sum(2));
	put_file(d, sum(2), p, size);
	read_instead(d, 2, 300);
	wal_disk_free(other);
	wal_disk_free(d);
}

TEST(a_summary_without_its_segment_is_removed)
{
	struct wal_disk *d = killed_log(300);
	size_t size;

	put_file(d, sum(900), (const uint8_t *)"x", 1);
	read_instead(d, 0, 300);
	OK(wal_disk_bytes(d, sum(900), &size) == NULL);
	wal_disk_free(d);
}

TEST(segments_that_are_cut_take_their_summaries_along)
{
	struct wal_disk *d = killed_log(1000);
	struct wal_options o = options_of(d);
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	size_t size;

	wal_cut(w, 900);
	OK(wal_first_index(w) > 500);
	EQ_INT(wal_sync_now(w), ERR_OK);
	OK(wal_disk_bytes(d, seg(1), &size) == NULL && wal_disk_bytes(d, sum(1), &size) == NULL);
	wal_abandon(&w);
	wal_disk_kill(d);
	EQ_INT(open_rc(d, &rec), ERR_OK);
	OK(rec.first_index > 500 && rec.last_index == 1000 && rec.unread > 0);
	wal_disk_free(d);
}

/*
 * As if the file system had been mounted anew within a boot, after its cache was lost: the bytes that were
 * synced are there, but neither is the removal of the summary nor the new time of change.
 */
TEST(a_summary_that_outlived_the_first_write_hides_nothing)
{
	struct wal_disk *d = killed_log(300), *c;
	uint64_t spare = segments_of(d) + 1, last = 301;
	struct wal_recovered rec;
	struct wal_options o = options_of(d);
	const struct wal_io *io = wal_disk_io(d);
	struct wal *w = wal_fill_open("/log", o, &rec);
	struct wal_sum unused;
	struct buf out;
	size_t size;
	uint8_t *p = wal_disk_bytes(d, sum(spare), &size);
	char path[64];
	int fd;

	EQ_INT(wal_sum_decode(bytes_of(p, size), &unused), ERR_OK);
	for (; w->nsegments < spare; last++) {
		wal_fill(w, last, last, 1);
		(void)wal_collect(w, &(struct wal_durable){0});
	}
	wal_abandon(&w);
	wal_disk_kill(d);
	OK(wal_disk_bytes(d, sum(spare), &size) == NULL);
	(void)snprintf(path, sizeof path, "/log/%s", seg(spare));
	fd = io->open(io->ctx, path, false);
	EQ_INT(io->stamp(io->ctx, fd, &unused.stamp), 0);
	EQ_INT(io->close(io->ctx, fd), 0);
	buf_init(&out, 0);
	wal_sum_encode(&unused, &out);
	put_file(d, sum(spare), out.data, out.len);
	wal_sum_free(&unused);
	read_instead(d, 0, last - 1);
	buf_free(&out);
	c = wal_disk_clone(d);
	read_instead(c, 0, last - 1);
	wal_disk_free(c);
	wal_disk_free(d);
}

/* ---- damage */

/* A bit flips on the medium: nobody has written, no time has changed. */
static void rot(struct wal_disk *d, const char *name, size_t at, unsigned bit)
{
	size_t size;
	uint8_t *p = wal_disk_bytes(d, name, &size);

	OK(p != NULL && at < size);
	p[at] ^= (uint8_t)(1u << bit);
	wal_disk_rot(d, name);
}

/* Whatever is given out is what was written; whoever cannot says where the damage is. */
static void read_all(struct wal *w, uint64_t last, uint64_t number)
{
	struct wal_list list = {0};
	uint64_t next = 1;
	int rc = ERR_OK;

	while (rc == ERR_OK && next <= last) {
		rc = wal_read(w, next, last, 3000, 100, &list);
		for (size_t i = 0; rc == ERR_OK && i < list.n; i++, next++) {
			struct bytes want = wal_fill_payload(next, 1, wal_fill_len(next));

			EQ_INT(list.entries[i].index, next);
			OK(bytes_eq(list.entries[i].data, want));
		}
	}
	wal_list_free(&list);
	if (rc != ERR_OK) {
		EQ_INT(rc, ERR_CORRUPT);
		OK(strstr(wal_why(w), seg(number)) != NULL && strstr(wal_why(w), "offset") != NULL);
	}
}

TEST(a_bit_that_flips_in_an_old_segment_is_found_and_never_given_out)
{
	uint64_t random = tap_seed(3), opened = 0;
	struct wal_disk *d = killed_log(600);
	struct wal_options o = options_of(d);
	struct wal_recovered rec;

	log_set_level(LOG_ERROR);
	for (uint64_t i = 0; i < tap_rounds(400); i++) {
		size_t at = (size_t)(tap_rand(&random) % WAL_FILL_SEGMENT);
		unsigned bit = (unsigned)(tap_rand(&random) % 8);
		struct wal *w = NULL;
		int rc;

		rot(d, seg(2), at, bit);
		rc = wal_open("/log", &o, &w, &rec);
		if (rc == ERR_OK && i % 2 == 0)
			read_all(w, 600, 2);
		if (rc == ERR_OK) {
			opened++;
			EQ_INT(wal_sync_now(w), ERR_IO);
			OK(strstr(wal_why(w), seg(2)) != NULL && strstr(wal_why(w), "what to do") != NULL);
			EQ_INT(wal_append_entry(w, 601, 1, WAL_COMMAND, bytes_str("x")), ERR_IO);
			wal_abandon(&w);
			rc = wal_open("/log", &o, &w, &rec);   /* does not believe it again */
		}
		EQ_INT(rc, ERR_CORRUPT);
		OK(strstr(rec.why, seg(2)) != NULL && strstr(rec.why, "what to do") != NULL);
		rot(d, seg(2), at, bit);
		EQ_INT(open_rc(d, &rec), ERR_OK);
		EQ_INT(rec.last_index, 600);
	}
	OK(opened > 300 * tap_rounds(1));
	wal_disk_free(d);
}

TEST(a_segment_that_somebody_wrote_to_is_read_at_the_start)
{
	struct wal_disk *d = killed_log(600);
	struct wal_recovered rec;
	size_t size;
	uint8_t *p = wal_disk_bytes(d, seg(2), &size);

	p[20000] ^= 1;
	wal_disk_flush(d, seg(2));
	EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
	OK(strstr(rec.why, seg(2)) != NULL);
	p[20000] ^= 1;
	wal_disk_flush(d, seg(2));
	read_instead(d, 2, 600);
	wal_disk_free(d);
}

TEST(bytes_in_the_segment_made_ahead_are_found_before_it_is_used)
{
	uint64_t random = 4;
	struct wal_disk *d = killed_log(300);
	uint64_t spare = segments_of(d) + 1;
	struct wal_options o = options_of(d);
	struct wal_recovered rec;

	log_set_level(LOG_ERROR);
	for (unsigned i = 0; i < 100; i++) {
		size_t at = (size_t)(tap_rand(&random) % WAL_FILL_SEGMENT);
		size_t size;
		uint8_t was = wal_disk_bytes(d, seg(spare), &size)[at];
		struct wal *w = NULL;
		int rc;

		rot(d, seg(spare), at, i % 8);
		rc = wal_open("/log", &o, &w, &rec);
		if (rc == ERR_OK && rec.cut_bytes == 0 && w->sh.spare != WAL_SPARE_READY) {
			EQ_INT(wal_sync_now(w), ERR_IO);
			OK(strstr(wal_why(w), seg(spare)) != NULL);
		}
		wal_abandon(&w);
		wal_disk_bytes(d, seg(spare), &size)[at] = was;   /* a start may have cut it */
		wal_disk_flush(d, seg(spare));
		EQ_INT(open_rc(d, &rec), ERR_OK);
		EQ_INT(rec.last_index, 300);
	}
	wal_disk_free(d);
}

/* The newest segments and the one made ahead are gone: the one before says that there were more. */
TEST(a_sealed_segment_is_never_taken_for_the_newest)
{
	struct wal_disk *d = killed_log(600);
	uint64_t last = segments_of(d);
	struct wal_recovered rec;

	remove_file(d, seg(last + 1));
	remove_file(d, seg(last));
	EQ_INT(open_rc(d, &rec), ERR_CORRUPT);
	OK(strstr(rec.why, seg(last)) != NULL && strstr(rec.why, "had been begun") != NULL);
	EQ_INT(open_rc(d, &rec), ERR_CORRUPT);   /* and again */
	wal_disk_free(d);
}

TEST(who_cannot_remove_the_summary_does_not_write)
{
	struct wal_disk *d = killed_log(300);
	struct wal_options o = options_of(d);
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	uint64_t next = 301;
	int rc = ERR_OK;

	EQ_INT(wal_sync_now(w), ERR_OK);
	wal_disk_fail(d, WAL_DISK_UNLINK, 1, EIO, true);
	for (; rc == ERR_OK && next < 900; next++) {
		EQ_INT(wal_append_entry(w, next, 1, WAL_COMMAND,
					wal_fill_payload(next, 1, wal_fill_len(next))), ERR_OK);
		rc = wal_sync_now(w);
	}
	EQ_INT(rc, ERR_IO);
	OK(strstr(wal_why(w), "summary") != NULL);
	wal_abandon(&w);
	wal_disk_kill(d);
	EQ_INT(open_rc(d, &rec), ERR_OK);
	EQ_INT(rec.last_index, next - 2);
	wal_disk_free(d);
}

TESTS = {
	T(a_start_in_the_same_boot_reads_the_newest_segment_only),
	T(after_a_power_cut_everything_is_read),
	T(what_summaries_say_is_what_reading_says),
	T(a_damaged_summary_is_not_believed),
	T(a_missing_summary_is_no_harm),
	T(a_summary_of_another_segment_or_log_is_not_believed),
	T(a_summary_without_its_segment_is_removed),
	T(segments_that_are_cut_take_their_summaries_along),
	T(a_summary_that_outlived_the_first_write_hides_nothing),
	T(a_bit_that_flips_in_an_old_segment_is_found_and_never_given_out),
	T(a_segment_that_somebody_wrote_to_is_read_at_the_start),
	T(bytes_in_the_segment_made_ahead_are_found_before_it_is_used),
	T(a_sealed_segment_is_never_taken_for_the_newest),
	T(who_cannot_remove_the_summary_does_not_write),
};
TAP_MAIN
