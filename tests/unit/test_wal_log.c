/* SPDX-License-Identifier: Apache-2.0 */
/* The log as its user sees it: in memory without threads, and on real files with them. */
#include "raftd/wal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/tap.h"
#include "tests/lib/wal_disk.h"
#include "tests/lib/wal_fill.h"

TEST(a_new_log_is_empty_and_made_only_when_asked)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = NULL;

	o.create = false;
	EQ_INT(wal_open("/log", &o, &w, &rec), ERR_NOT_FOUND);
	OK(strstr(rec.why, "what to do") != NULL);
	o.create = true;
	w = wal_fill_open("/log", o, &rec);
	OK(rec.created);
	EQ_INT(rec.first_index, 1);
	EQ_INT(rec.last_index, 0);
	EQ_INT(rec.hard.term, 0);
	wal_close(&w);
	o.create = false;
	w = wal_fill_open("/log", o, &rec);
	OK(!rec.created);
	EQ_INT(rec.last_index, 0);
	wal_close(&w);
	EQ_INT(wal_disk_open_fds(d), 0);
	wal_disk_free(d);
}

TEST(what_was_written_comes_back_over_many_segments)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	struct wal_status st;

	EQ_INT(wal_append_hard_state(w, (struct wal_hard_state){3, 2}), ERR_OK);
	wal_fill(w, 1, 1000, 3);
	wal_fill_expect(w, 1, 1000, 3, 5000);
	wal_status(w, &st);
	EQ_INT(st.durable_index, 0);
	(void)wal_collect(w, &(struct wal_durable){0});
	wal_status(w, &st);
	EQ_INT(st.durable_index, 1000);
	OK(st.segments > 5 && st.bytes == st.segments * WAL_FILL_SEGMENT);
	OK(st.cached_entries == 0 && st.index_points >= st.segments);
	EQ_INT(st.spare, WAL_SPARE_READY);
	OK(st.batches >= 143 && st.sync_max_us >= st.sync_p99_us &&
	   st.sync_p99_us >= st.sync_p50_us);
	wal_fill_expect(w, 1, 1000, 3, 5000);
	wal_abandon(&w);
	wal_disk_crash(d);
	w = wal_fill_open("/log", o, &rec);
	EQ_INT(rec.hard.term, 3);
	EQ_INT(rec.hard.vote, 2);
	EQ_INT(rec.first_index, 1);
	EQ_INT(rec.last_index, 1000);
	EQ_INT(rec.last_term, 3);
	EQ_INT(rec.nruns, 1);
	EQ_INT(rec.cut_bytes, 0);
	wal_fill_expect(w, 1, 1000, 3, 1);
	wal_fill_expect(w, 500, 1000, 3, 1u << 20);
	wal_fill(w, 1001, 1100, 3);
	wal_fill_expect(w, 1, 1100, 3, 50000);
	wal_close(&w);
	wal_disk_free(d);
}

TEST(truncated_entries_never_come_back)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);

	wal_fill(w, 1, 500, 1);
	(void)wal_collect(w, &(struct wal_durable){0});
	EQ_INT(wal_append_truncate(w, 301), ERR_OK);
	EQ_INT(wal_last_index(w), 300);
	wal_fill_expect(w, 1, 300, 1, 9000);
	wal_fill(w, 301, 310, 2);
	wal_fill_expect(w, 1, 300, 1, 9000);
	wal_fill_expect(w, 301, 310, 2, 9000);
	(void)wal_collect(w, &(struct wal_durable){0});
	wal_fill_expect(w, 1, 300, 1, 9000);
	wal_fill_expect(w, 301, 310, 2, 9000);
	EQ_INT(wal_append_truncate(w, 306), ERR_OK);
	EQ_INT(wal_append_truncate(w, 290), ERR_OK);
	EQ_INT(wal_append_truncate(w, 290), ERR_OK);   /* nothing to do */
	wal_fill(w, 290, 800, 3);
	(void)wal_collect(w, &(struct wal_durable){0});
	wal_fill_expect(w, 1, 289, 1, 9000);
	wal_fill_expect(w, 290, 800, 3, 9000);
	wal_close(&w);
	w = wal_fill_open("/log", o, &rec);
	EQ_INT(rec.last_index, 800);
	EQ_INT(rec.nruns, 2);
	EQ_INT(rec.runs[1].first_index, 290);
	EQ_INT(rec.runs[1].term, 3);
	wal_fill_expect(w, 1, 289, 1, 9000);
	wal_fill_expect(w, 290, 800, 3, 9000);
	wal_close(&w);
	wal_disk_free(d);
}

/* Same index, first durable with the old term, then gathered with the new: the new one is read. */
TEST(a_pending_truncation_is_seen_by_readers)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	struct wal_durable got;

	wal_fill(w, 1, 50, 1);
	EQ_INT(wal_append_truncate(w, 41), ERR_OK);
	EQ_INT(wal_append_entry(w, 41, 2, WAL_COMMAND, wal_fill_payload(41, 2, wal_fill_len(41))),
	       ERR_OK);
	OK(!wal_collect(w, &got));   /* of the batches up to 50 */
	wal_fill_expect(w, 1, 40, 1, 9000);
	wal_fill_expect(w, 41, 41, 2, 9000);
	EQ_INT(wal_sync_now(w), ERR_OK);
	wal_fill_expect(w, 41, 41, 2, 9000);
	(void)wal_collect(w, &got);
	wal_fill_expect(w, 1, 40, 1, 9000);
	wal_fill_expect(w, 41, 41, 2, 9000);
	wal_close(&w);
	wal_disk_free(d);
}

TEST(a_mark_says_what_the_log_was_when_it_was_made)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", wal_fill_options(wal_disk_io(d)), &rec);
	struct wal_durable got = {0};

	OK(!wal_collect(w, &got));
	wal_mark(w, 1);   /* nothing to write */
	OK(wal_collect(w, &got));
	EQ_INT(got.seq, 1);
	EQ_INT(wal_append_entry(w, 1, 4, WAL_NOOP, bytes_of(NULL, 0)), ERR_OK);
	EQ_INT(wal_append_entry(w, 2, 4, WAL_NOOP, bytes_of(NULL, 0)), ERR_OK);
	wal_mark(w, 2);
	EQ_INT(wal_append_truncate(w, 2), ERR_OK);   /* of a later persist, not marked yet */
	OK(!wal_collect(w, &got));
	EQ_INT(wal_sync_now(w), ERR_OK);
	OK(wal_collect(w, &got));
	EQ_INT(got.seq, 2);
	EQ_INT(got.last_index, 2);
	EQ_INT(got.last_term, 4);
	OK(!wal_collect(w, &got));
	wal_mark(w, 3);
	OK(wal_collect(w, &got));
	EQ_INT(got.seq, 3);
	EQ_INT(got.last_index, 1);
	wal_close(&w);
	wal_disk_free(d);
}

TEST(a_full_batch_pushes_back)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", wal_fill_options(wal_disk_io(d)), &rec);
	uint64_t i = 1;
	size_t room;

	EQ_INT(wal_append_entry(w, 1, 1, WAL_COMMAND, wal_fill_payload(1, 1, WAL_FILL_SEGMENT)),
	       ERR_LIMIT);
	EQ_INT(wal_append_entry(w, 1, 1, WAL_COMMAND, wal_fill_payload(1, 1, wal_room(w) + 1)),
	       ERR_LIMIT);
	for (; wal_room(w) >= 1000; i++)
		EQ_INT(wal_append_entry(w, i, 1, WAL_COMMAND, wal_fill_payload(i, 1, 1000)),
		       ERR_OK);
	room = wal_room(w);
	EQ_INT(wal_append_entry(w, i, 1, WAL_COMMAND, wal_fill_payload(i, 1, room + 1)), ERR_FULL);
	EQ_INT(wal_last_index(w), i - 1);
	EQ_INT(wal_append_entry(w, i, 1, WAL_COMMAND, wal_fill_payload(i, 1, room)), ERR_OK);
	EQ_INT(wal_append_hard_state(w, (struct wal_hard_state){1, 1}), ERR_FULL);
	EQ_INT(wal_append_reset(w, 500, 1), ERR_FULL);
	EQ_INT(wal_room(w), 0);
	EQ_INT(wal_sync_now(w), ERR_OK);
	room = wal_room(w);   /* an entry that fills a whole batch */
	EQ_INT(wal_append_entry(w, i + 1, 1, WAL_COMMAND, wal_fill_payload(i + 1, 1, room)),
	       ERR_OK);
	wal_close(&w);
	w = wal_fill_open("/log", wal_fill_options(wal_disk_io(d)), &rec);
	EQ_INT(rec.last_index, i + 1);
	wal_close(&w);
	wal_disk_free(d);
}

TEST(large_entries_fill_segments_and_come_back)
{
	const size_t sizes[] = {4096 - 32 - 72, 4096, 5000, 65536, LIMIT_REQUEST_BYTES,
				LIMIT_WAL_ENTRY_BYTES};
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w;
	struct wal_list list = {0};

	o.segment_bytes = 4u * MIB;
	w = wal_fill_open("/log", o, &rec);
	for (uint64_t i = 1; i <= 24; i++) {
		EQ_INT(wal_append_entry(w, i, 1, WAL_COMMAND, wal_fill_payload(i, 1, sizes[i % 6])),
		       ERR_OK);
		EQ_INT(wal_sync_now(w), ERR_OK);
	}
	EQ_INT(wal_append_entry(w, 25, 1, WAL_COMMAND, wal_fill_payload(25, 1,
		LIMIT_WAL_ENTRY_BYTES)), ERR_OK);
	wal_close(&w);
	w = wal_fill_open("/log", o, &rec);
	EQ_INT(rec.last_index, 25);
	for (uint64_t i = 1; i <= 24; i++) {
		struct bytes want = wal_fill_payload(i, 1, sizes[i % 6]);

		EQ_INT(wal_read(w, i, i, 1, 1, &list), ERR_OK);
		EQ_INT(list.n, 1);
		EQ_INT(list.entries[0].data.len, want.len);
		EQ_MEM(list.entries[0].data.data, want.data, want.len);
	}
	wal_list_free(&list);
	wal_close(&w);
	wal_disk_free(d);
}

TEST(a_cut_removes_whole_segments_and_survives_a_restart)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	struct wal_status st;
	struct wal_list list = {0};
	uint64_t first;
	size_t files;

	EQ_INT(wal_append_hard_state(w, (struct wal_hard_state){9, 1}), ERR_OK);
	wal_fill(w, 1, 1000, 3);
	(void)wal_collect(w, &(struct wal_durable){0});
	files = wal_disk_files(d);
	wal_cut(w, 1);
	EQ_INT(wal_first_index(w), 1);
	wal_cut(w, 600);
	first = wal_first_index(w);
	OK(first > 400 && first <= 600);
	EQ_INT(wal_read(w, first - 1, 600, 1000, 10, &list), ERR_COMPACTED);
	wal_fill_expect(w, first, 1000, 3, 9000);
	EQ_INT(wal_sync_now(w), ERR_OK);   /* removes the files */
	OK(wal_disk_files(d) < files - 3);
	wal_abandon(&w);
	wal_disk_crash(d);
	w = wal_fill_open("/log", o, &rec);
	EQ_INT(rec.first_index, first);
	EQ_INT(rec.prev_term, 3);
	EQ_INT(rec.last_index, 1000);
	EQ_INT(rec.hard.term, 9);
	wal_fill_expect(w, first, 1000, 3, 9000);
	wal_cut(w, 5000);   /* more than there is: the newest segment stays */
	(void)wal_sync_now(w);
	wal_status(w, &st);
	EQ_INT(st.segments, 1);
	wal_list_free(&list);
	wal_close(&w);
	wal_disk_free(d);
}

/* What decides about snapshots; about, since places are known every 64 KiB or at a segment's start. */
TEST(the_log_knows_how_many_bytes_are_behind_an_entry)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	uint64_t all, before = UINT64_MAX, at;

	EQ_INT(wal_bytes_from(w, 1), 0);
	EQ_INT(wal_index_behind(w, 1000), 1);
	wal_fill(w, 1, 1000, 3);
	(void)wal_collect(w, &(struct wal_durable){0});
	all = wal_bytes_from(w, 1);
	OK(all > 8u * WAL_FILL_SEGMENT);
	EQ_INT(wal_bytes_from(w, 1001), 0);
	for (uint64_t i = 1; i <= 1000; i++) {
		OK(wal_bytes_from(w, i) <= before);
		before = wal_bytes_from(w, i);
	}
	OK(before <= 2u * WAL_FILL_SEGMENT);
	EQ_INT(wal_index_behind(w, all + 1000000), 1);
	OK(wal_index_behind(w, 0) <= 1001);
	for (uint64_t bytes = WAL_FILL_SEGMENT; bytes < all; bytes += 10000) {
		at = wal_index_behind(w, bytes);
		OK(at >= 1 && at <= 1000);
		OK(wal_bytes_from(w, at) >= bytes && wal_bytes_from(w, at) <= bytes + 2u * WAL_FILL_SEGMENT);
	}
	wal_cut(w, 600);
	OK(wal_bytes_from(w, 1) < all);
	EQ_INT(wal_index_behind(w, all), wal_first_index(w));
	wal_close(&w);
	wal_disk_free(d);
}

TEST(a_reset_begins_the_log_anew)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	struct wal_list list = {0};

	wal_fill(w, 1, 300, 1);
	EQ_INT(wal_append_reset(w, 5000, 7), ERR_OK);
	EQ_INT(wal_first_index(w), 5001);
	EQ_INT(wal_last_index(w), 5000);
	EQ_INT(wal_read(w, 300, 300, 10, 1, &list), ERR_COMPACTED);
	wal_fill(w, 5001, 5100, 8);
	(void)wal_collect(w, &(struct wal_durable){0});
	wal_fill_expect(w, 5001, 5100, 8, 9000);
	wal_cut(w, 5001);
	(void)wal_sync_now(w);
	wal_close(&w);
	w = wal_fill_open("/log", o, &rec);
	EQ_INT(rec.first_index, 5001);
	EQ_INT(rec.prev_term, 7);
	EQ_INT(rec.last_index, 5100);
	wal_fill_expect(w, 5001, 5100, 8, 9000);
	wal_list_free(&list);
	wal_close(&w);
	wal_disk_free(d);
}

TEST(a_log_of_another_node_or_cluster_is_refused)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);

	wal_close(&w);
	o.node_id = 3;
	EQ_INT(wal_open("/log", &o, &w, &rec), ERR_CONFIG);
	o.node_id = 2;
	o.cluster_id = 2;
	EQ_INT(wal_open("/log", &o, &w, &rec), ERR_CONFIG);
	OK(strstr(rec.why, "belongs to node") != NULL);
	o.cluster_id = 1;
	o.segment_bytes = 12288;
	EQ_INT(wal_open("/log", &o, &w, &rec), ERR_CONFIG);
	OK(w == NULL);
	EQ_INT(wal_disk_open_fds(d), 0);
	wal_disk_free(d);
}

TEST(sizes_may_change_from_start_to_start)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w;
	uint64_t next = 1;

	for (uint32_t round = 0; round < 6; round++) {
		o.segment_bytes = round % 2 ? 32768 : 131072;
		w = wal_fill_open("/log", o, &rec);
		EQ_INT(rec.last_index, next - 1);
		EQ_INT(wal_append_entry(w, next, 1, WAL_COMMAND, wal_fill_payload(next, 1,
			wal_room(w))), ERR_OK);
		next++;
		EQ_INT(wal_sync_now(w), ERR_OK);
		wal_close(&w);
	}
	w = wal_fill_open("/log", o, &rec);
	EQ_INT(rec.last_index, 6);
	wal_close(&w);
	wal_disk_free(d);
}

TEST(what_a_killed_process_was_making_is_swept_away)
{
	struct wal_disk *d = wal_disk_new(1);
	struct wal_options o = wal_fill_options(wal_disk_io(d));
	struct wal_recovered rec;
	struct wal *w = wal_fill_open("/log", o, &rec);
	size_t files = wal_disk_files(d);
	int fd;

	wal_close(&w);
	fd = o.io->open(o.io->ctx, "/log/0000000000000002.tmp", true);
	OK(fd >= 0);
	EQ_INT(o.io->close(o.io->ctx, fd), 0);
	w = wal_fill_open("/log", o, &rec);
	EQ_INT(wal_disk_files(d), files + 2);   /* wal_close has made the spare meanwhile, and its summary */
	OK(wal_disk_bytes(d, "0000000000000002.tmp", &files) == NULL);
	wal_close(&w);
	wal_disk_free(d);
}

TEST(a_second_opener_is_refused)
{
	struct wal_options o = wal_fill_options(NULL);
	struct wal_recovered rec, rec2;
	struct wal *w = wal_fill_open(tap_dir(), o, &rec), *w2 = NULL;

	EQ_INT(wal_open(tap_dir(), &o, &w2, &rec2), ERR_EXISTS);
	OK(strstr(rec2.why, "in use") != NULL && w2 == NULL);
	wal_close(&w);
	w = wal_fill_open(tap_dir(), o, &rec);
	wal_close(&w);
}

static void wait_for(struct wal *w, uint64_t seq)
{
	struct wal_durable got = {0};

	while (got.seq < seq) {
		struct pollfd p = {.fd = wal_event_fd(w), .events = POLLIN};

		EQ_INT(poll(&p, 1, 10000), 1);
		(void)wal_collect(w, &got);
	}
	EQ_INT(got.seq, seq);
}

/* The loop's life: append, mark, kick, look at the event descriptor; full means wait. */
TEST(the_writer_thread_makes_all_durable_in_order)
{
	struct wal_options o = wal_fill_options(NULL);
	struct wal_recovered rec;
	struct wal *w;
	struct wal_durable got = {0};
	uint64_t seen = 0, random = 1;
	struct wal_status st;

	o.cache_bytes = 30000;
	w = wal_fill_open(tap_dir(), o, &rec);
	for (uint64_t i = 1; i <= 4000;) {
		int rc = wal_append_entry(w, i, 1, WAL_COMMAND, wal_fill_payload(i, 1,
			wal_fill_len(i)));

		if (rc == ERR_FULL) {
			struct pollfd p = {.fd = wal_event_fd(w), .events = POLLIN};

			wal_kick(w);
			EQ_INT(poll(&p, 1, 10000), 1);
		} else {
			EQ_INT(rc, ERR_OK);
			wal_mark(w, i++);
		}
		if (tap_rand(&random) % 8 == 0)
			wal_kick(w);
		if (wal_collect(w, &got)) {
			OK(got.seq > seen && got.last_index == got.seq);
			seen = got.seq;
			wal_fill_expect(w, seen > 20 ? seen - 20 : 1, i - 1, 1, 100000);
		}
	}
	wal_kick(w);
	if (seen < 4000)
		wait_for(w, 4000);
	wal_fill_expect(w, 1, 4000, 1, 20000);
	wal_status(w, &st);
	OK(st.cached_bytes <= 30000 && st.durable_index == 4000);
	wal_cut(w, 2000);
	wal_close(&w);
	w = wal_fill_open(tap_dir(), o, &rec);
	EQ_INT(rec.last_index, 4000);
	wal_fill_expect(w, rec.first_index, 4000, 1, 20000);
	wal_close(&w);
}

TEST(closing_writes_what_is_gathered)
{
	struct wal_options o = wal_fill_options(NULL);
	struct wal_recovered rec;
	struct wal *w = wal_fill_open(tap_dir(), o, &rec);

	EQ_INT(wal_append_entry(w, 1, 1, WAL_COMMAND, bytes_str("x")), ERR_OK);
	wal_close(&w);
	w = wal_fill_open(tap_dir(), o, &rec);
	EQ_INT(rec.last_index, 1);
	EQ_INT(wal_append_entry(w, 2, 1, WAL_COMMAND, bytes_str("x")), ERR_OK);
	wal_abandon(&w);
	w = wal_fill_open(tap_dir(), o, &rec);
	EQ_INT(rec.last_index, 1);
	wal_close(&w);
}

TEST(a_default_log_is_64_mib_segments_without_holes)
{
	struct wal_options o = {.cluster_id = 1, .node_id = 1, .create = true};
	char path[512];
	struct wal_recovered rec;
	struct stat st;
	struct wal *w = wal_fill_open(tap_dir(), o, &rec);

	(void)snprintf(path, sizeof path, "%s/0000000000000001.seg", tap_dir());
	EQ_INT(stat(path, &st), 0);
	EQ_INT(st.st_size, LIMIT_WAL_SEGMENT_BYTES);
	OK((uint64_t)st.st_blocks * 512 >= LIMIT_WAL_SEGMENT_BYTES);
	EQ_INT(st.st_mode & 077, 0);
	wal_close(&w);
}

TESTS = {
	T(a_new_log_is_empty_and_made_only_when_asked),
	T(what_was_written_comes_back_over_many_segments),
	T(truncated_entries_never_come_back),
	T(a_pending_truncation_is_seen_by_readers),
	T(a_mark_says_what_the_log_was_when_it_was_made),
	T(a_full_batch_pushes_back),
	T(large_entries_fill_segments_and_come_back),
	T(a_cut_removes_whole_segments_and_survives_a_restart),
	T(the_log_knows_how_many_bytes_are_behind_an_entry),
	T(a_reset_begins_the_log_anew),
	T(a_log_of_another_node_or_cluster_is_refused),
	T(sizes_may_change_from_start_to_start),
	T(what_a_killed_process_was_making_is_swept_away),
	T(a_second_opener_is_refused),
	T(the_writer_thread_makes_all_durable_in_order),
	T(closing_writes_what_is_gathered),
	T(a_default_log_is_64_mib_segments_without_holes),
};
TAP_MAIN
