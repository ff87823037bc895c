/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot files: what is good is the store as it was, and what is not is found out. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "mvcc/view.h"
#include "rt/snapname.h"
#include "stored/store.h"
#include "tests/lib/snap_store.h"
#include "tests/lib/tap.h"

/* Instead of the C library's: which directories have been synced. */
static ino_t synced[64];
static size_t n_synced;

int fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && n_synced < ARRAY_LEN(synced))
		synced[n_synced++] = st.st_ino;
	return (int)syscall(SYS_fsync, fd);
}

static bool dir_was_synced(const char *name)
{
	struct stat st;

	OK(stat(snap_store_path(name), &st) == 0);
	for (size_t i = 0; i < n_synced; i++)
		if (synced[i] == st.st_ino)
			return true;
	return false;
}

static uint8_t file[1u << 20];
static size_t file_len;

static void file_read(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, file, sizeof file) : -1;

	OK(n > 0 && (size_t)n < sizeof file);
	file_len = (size_t)n;
	(void)close(fd);
}

static void file_write(const char *path, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	OK(fd >= 0 && write(fd, file, len) == (ssize_t)len);
	(void)close(fd);
}

static char *snap_path(const char *data_dir, const struct snap_info *info)
{
	return snapname_path(data_dir, info->index, info->data_crc);
}

static bool exists(const char *name)
{
	return access(snap_store_path(name), F_OK) == 0;
}

/* A store with one key, and a snapshot of it; the store stays open. */
static void made(struct store *s, struct snap_info *info)
{
	struct snap_job j;

	log_set_level(LOG_ERROR);
	snap_store_up(s, 1, "boot-a\n");
	snap_store_put(s, "a", "1");
	j = snap_store_job(1, 1);
	EQ_INT(snap_copy(&j, info), ERR_OK);
}

static int restore_is(const char *path)
{
	struct snap_job j = snap_store_job(1, 7);
	struct snap_info info;

	return snap_restore(&j, path, &info);
}

TEST(a_snapshot_is_the_store_as_it_was)
{
	struct store s;
	struct snap_info info, found[SNAP_LIST_MAX];

	made(&s, &info);
	EQ_INT(info.index, 2);
	EQ_INT(info.term, 3);
	EQ_INT(info.revision, 2);
	OK(memcmp(info.apply_hash, s.committed.apply_hash, 16) == 0);
	snap_store_put(&s, "a", "2");
	EQ_INT(snap_list(tap_dir(), 5, found), 1);
	OK(memcmp(&found[0].apply_hash, info.apply_hash, 16) == 0 && found[0].index == 2);
	OK(!exists("snap/new/data.mdb"));
	snap_store_drop(&s);
	snap_store_up(&s, 1, "boot-b\n");            /* the system crashed */
	OK(s.restored);
	EQ_INT(s.generation.generation, 2);
	EQ_INT(s.committed.applied, 2);
	EQ_STR(snap_store_value(&s, "a"), "1");
	snap_store_put(&s, "a", "2");
	EQ_INT(s.committed.applied, 3);
	snap_store_drop(&s);
	snap_store_up(&s, 1, "boot-b\n");
	EQ_STR(snap_store_value(&s, "a"), "2");
	snap_store_drop(&s);
}

TEST(a_store_made_from_anothers_snapshot_is_this_nodes)
{
	struct store s;
	struct snap_info info;
	char *path;

	made(&s, &info);
	path = snap_path(tap_dir(), &info);
	file_read(path);
	snap_store_drop(&s);
	(void)mkdir(snap_store_path("two"), 0700);
	(void)mkdir(snap_store_path("two/snap"), 0700);
	mem_free(path);
	path = snap_path(snap_store_path("two"), &info);
	file_write(path, file_len);
	snap_store_up_in(&s, snap_store_path("two"), 2, "boot-a\n");
	OK(s.restored);
	EQ_STR(snap_store_value(&s, "a"), "1");
	EQ_INT(s.generation.node_id, 2);
	snap_store_drop(&s);
	mem_free(path);
}

TEST(every_flipped_bit_and_every_missing_byte_is_found)
{
	struct store s;
	struct snap_info info;
	char *path;
	const char *bad = snap_store_path("bad");

	made(&s, &info);
	snap_store_drop(&s);
	path = snap_path(tap_dir(), &info);
	file_read(path);
	EQ_INT(restore_is(path), ERR_OK);
	for (size_t i = 0; i < file_len; i += i + 200 < file_len ? 37 : 1) {
		file[i] ^= (uint8_t)(1u << (i % 8));
		file_write(bad, file_len);
		OK(restore_is(bad) == ERR_CORRUPT);
		file[i] ^= (uint8_t)(1u << (i % 8));
	}
	for (size_t len = 0; len < file_len; len += len + 200 < file_len ? 101 : 1) {
		file_write(bad, len);
		OK(restore_is(bad) == ERR_CORRUPT);
	}
	file[file_len] = 0;
	file_write(bad, file_len + 1);
	EQ_INT(restore_is(bad), ERR_CORRUPT);
	file_write(bad, file_len);
	EQ_INT(restore_is(bad), ERR_OK);
	EQ_INT(restore_is(snap_store_path("none")), ERR_NOT_FOUND);
	mem_free(path);
}

TEST(a_trailer_is_read_as_it_was_written)
{
	struct snap_info in = {1, UINT64_MAX, 3, INT64_MIN, {4, 5, 6}, 7, 0x89abcdef}, out;
	uint8_t t[SNAP_TRAILER_BYTES];

	snap_trailer_encode(t, &in);
	EQ_INT(snap_trailer_decode(bytes_of(t, sizeof t), &out), ERR_OK);
	OK(in.cluster_id == out.cluster_id && in.index == out.index && in.term == out.term &&
	   in.revision == out.revision && in.data_bytes == out.data_bytes && in.data_crc == out.data_crc &&
	   memcmp(in.apply_hash, out.apply_hash, 16) == 0);
	for (size_t i = 0; i < sizeof t * 8; i++) {
		t[i / 8] ^= (uint8_t)(1u << i % 8);
		EQ_INT(snap_trailer_decode(bytes_of(t, sizeof t), &out), ERR_CORRUPT);
		t[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	EQ_INT(snap_trailer_decode(bytes_of(t, sizeof t - 1), &out), ERR_CORRUPT);
}

TEST(another_clusters_snapshot_is_refused)
{
	struct store s;
	struct snap_info info;
	struct snap_job j = snap_store_job(1, 7);
	char *path;

	made(&s, &info);
	snap_store_drop(&s);
	path = snap_path(tap_dir(), &info);
	j.cluster_id = 6;
	EQ_INT(snap_restore(&j, path, &info), ERR_CONFIG);
	mem_free(path);
}

/* What its trailer says of a file must be what its tables say. */
TEST(a_trailer_that_lies_about_the_tables_is_found_out)
{
	struct store s;
	struct snap_info info, lie;
	char *path;

	made(&s, &info);
	snap_store_drop(&s);
	path = snap_path(tap_dir(), &info);
	file_read(path);
#define LIE(field, value) do { \
		lie = info; \
		lie.field = (value); \
		snap_trailer_encode(file + file_len - SNAP_TRAILER_BYTES, &lie); \
		file_write(path, file_len); \
		EQ_INT(restore_is(path), ERR_CORRUPT); \
	} while (0)
	LIE(index, 3);
	LIE(term, 4);
	LIE(revision, 3);
	LIE(apply_hash[3], (uint8_t)(info.apply_hash[3] + 1));
	LIE(data_crc, info.data_crc + 1);
	LIE(data_bytes, info.data_bytes - 1);
	mem_free(path);
}

TEST(a_bad_snapshot_is_set_aside_and_the_one_before_it_used)
{
	struct store s;
	struct snap_info first, second;
	struct snap_job j = snap_store_job(1, 1);
	char *path;

	made(&s, &first);
	snap_store_put(&s, "a", "2");
	EQ_INT(snap_copy(&j, &second), ERR_OK);
	EQ_INT(second.index, 3);
	snap_store_drop(&s);
	path = snap_path(tap_dir(), &second);
	file_read(path);
	file[file_len / 2] ^= 1;
	file_write(path, file_len);
	snap_store_up(&s, 1, "boot-b\n");
	OK(s.restored);
	EQ_INT(s.committed.applied, 2);
	OK(access(path, F_OK) != 0);
	snap_remove_others(tap_dir(), &first);       /* when the next one has been made, it goes */
	snap_store_drop(&s);
	mem_free(path);
	path = snap_path(tap_dir(), &first);
	file_read(path);
	file[5000] ^= 1;
	file_write(path, file_len);
	snap_store_up(&s, 1, "boot-c\n");            /* none is left: from the log alone */
	OK(!s.restored);
	EQ_INT(s.committed.applied, 0);
	snap_store_drop(&s);
	mem_free(path);
}

TEST(the_newest_is_kept_and_the_unfinished_removed)
{
	struct store s;
	struct snap_info first, second, list[SNAP_LIST_MAX];
	struct snap_job j = snap_store_job(1, 1);

	made(&s, &first);
	snap_store_put(&s, "a", "2");
	EQ_INT(snap_copy(&j, &second), ERR_OK);
	EQ_INT(snap_list(tap_dir(), 5, list), 2);
	EQ_INT(list[0].index, 3);
	(void)mkdir(snap_store_path("snap/new"), 0700);
	file_len = 100;
	file_write(snap_store_path("snap/new/data.mdb"), file_len);
	OK(snap_has_others(tap_dir(), &list[0]) && snap_has_others(tap_dir(), NULL));
	snap_remove_others(tap_dir(), &list[1]);     /* a newer one stays, known or not */
	EQ_INT(snap_list(tap_dir(), 5, list), 2);
	snap_remove_others(tap_dir(), &list[0]);
	OK(!snap_has_others(tap_dir(), &list[0]));
	EQ_INT(snap_list(tap_dir(), 5, list), 1);
	EQ_INT(list[0].index, 3);
	OK(!exists("snap/new"));
	snap_remove_others(tap_dir(), NULL);         /* nothing is known: nothing that is whole goes */
	EQ_INT(snap_list(tap_dir(), 5, list), 1);
	snap_store_drop(&s);
}

/* Else the log would be cut behind it, and the row be lost on this node. */
TEST(a_damaged_row_gets_into_no_snapshot)
{
	struct store s;
	struct snap_info info, list[SNAP_LIST_MAX];
	struct snap_job j = snap_store_job(1, 1);
	const char *data = snap_store_path("store/gen-1/data.mdb");
	uint8_t *at;

	log_set_level(LOG_ERROR);
	snap_store_up(&s, 1, "boot-a\n");
	snap_store_put(&s, "a", "a value that is easy to find");
	snap_store_drop(&s);
	file_read(data);
	at = memmem(file, file_len, "easy to find", 12);
	OK(at != NULL);
	*at ^= 4;
	file_write(data, file_len);
	EQ_INT(snap_copy(&j, &info), ERR_CORRUPT);
	EQ_INT(snap_list(tap_dir(), 5, list), 0);
}

/* In each leaf of LMDB that holds the text: how many rows there are, and where. */
static void leaves_change(size_t at, int16_t by)
{
	enum { PAGE = 4096, FLAGS = 10, LEAF = 2 };
	unsigned changed = 0;

	for (size_t page = 0; page + PAGE <= file_len; page += PAGE) {
		uint16_t v;

		if (file[page + FLAGS] != LEAF || memmem(file + page, PAGE, "easy to find", 12) == NULL)
			continue;
		memcpy(&v, file + page + at, sizeof v);
		v = (uint16_t)(v + by);
		memcpy(file + page + at, &v, sizeof v);
		changed++;
	}
	OK(changed > 0);
}

/* Rows have checksums, the pages that lead to them have none. */
TEST(a_damaged_page_gets_into_no_snapshot)
{
	enum { LOWER = 12, FIRST = 16, SECOND = 18, GOOD = 3 };
	const char *data = snap_store_path("store/gen-1/data.mdb");
	struct snap_job j = snap_store_job(1, 1);
	struct snap_info info, list[SNAP_LIST_MAX];
	struct store s;
	uint16_t first, second;
	uint8_t *leaf;

	log_set_level(LOG_ERROR);
	snap_store_up(&s, 1, "boot-a\n");
	snap_store_put(&s, "a", "easy to find 1");
	snap_store_put(&s, "b", "easy to find 2");
	snap_store_drop(&s);
	file_read(data);
	leaf = memmem(file, file_len, "easy to find 2", 14);
	OK(leaf != NULL);
	leaf = file + (size_t)(leaf - file) / 4096 * 4096;
	memcpy(&first, leaf + FIRST, sizeof first);
	memcpy(&second, leaf + SECOND, sizeof second);
	for (int i = 0; i <= GOOD; i++) {
		if (i == 0)
			leaves_change(LOWER, -2);            /* the last row is not seen any more */
		else if (i == 1)
			leaves_change(SECOND, (int16_t)(first - second));   /* one is seen twice */
		else if (i == 2)
			leaves_change(FIRST, (int16_t)(second - first));
		file_write(data, file_len);
		EQ_INT(snap_copy(&j, &info), i == GOOD ? ERR_OK : ERR_CORRUPT);
		EQ_INT(snap_list(tap_dir(), 5, list), i == GOOD);
		if (i == 0)
			leaves_change(LOWER, 2);
		else if (i == 1)
			leaves_change(SECOND, (int16_t)(second - first));
		else if (i == 2)
			leaves_change(FIRST, (int16_t)(first - second));
	}
}

TEST(a_copy_that_finds_no_room_leaves_no_snapshot)
{
	struct rlimit was, small;
	struct store s;
	struct snap_info info, list[SNAP_LIST_MAX];
	struct snap_job j = snap_store_job(1, 1);
	int rc;

	log_set_level(LOG_ERROR);
	snap_store_up(&s, 1, "boot-a\n");
	snap_store_put(&s, "a", "1");
	OK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && getrlimit(RLIMIT_FSIZE, &was) == 0);
	for (rlim_t most = 0; most < 20000; most += 5000) {
		small = was;
		small.rlim_cur = most;
		OK(setrlimit(RLIMIT_FSIZE, &small) == 0);
		rc = snap_copy(&j, &info);
		OK(setrlimit(RLIMIT_FSIZE, &was) == 0);
		OK(rc == ERR_IO);
		EQ_INT(snap_list(tap_dir(), 5, list), 0);
	}
	EQ_INT(snap_copy(&j, &info), ERR_OK);
	EQ_INT(snap_list(tap_dir(), 5, list), 1);
	snap_store_drop(&s);
}

/* ---- what comes from another node */

/* A snapshot of another node, further on, as raftd leaves it. */
static struct snapshot_id incoming(void)
{
	struct store s;
	struct snap_info info;
	struct snap_job j = snap_store_job(2, 1);
	struct snapshot_id id;
	char *path;

	(void)mkdir(snap_store_path("two"), 0700);
	j.data_dir = snap_store_path("two");
	snap_store_up_in(&s, j.data_dir, 2, "boot-a\n");
	for (int i = 0; i < 5; i++)
		snap_store_put(&s, "a", "other");
	EQ_INT(snap_copy(&j, &info), ERR_OK);
	snap_store_drop(&s);
	path = snap_path(j.data_dir, &info);
	file_read(path);
	mem_free(path);
	id = snap_id(&info);
	path = snapname_incoming(tap_dir(), &id);
	file_write(path, file_len);
	mem_free(path);
	return id;
}

TEST(an_install_that_was_interrupted_is_finished_at_the_next_start)
{
	struct store s;
	struct snap_info info;
	struct snapshot_id id;
	struct snap_job j = snap_store_job(1, 2);

	made(&s, &info);
	id = incoming();
	EQ_INT(snap_install(&j, &id), ERR_OK);
	snap_store_drop(&s);                         /* killed before it could change over */
	snap_store_up(&s, 1, "boot-a\n");
	OK(s.restored);
	EQ_INT(s.committed.applied, 6);
	EQ_STR(snap_store_value(&s, "a"), "other");
	OK(s.generation.generation >= 2);
	snap_store_drop(&s);
	snap_store_up(&s, 1, "boot-a\n");            /* and once is enough */
	OK(!s.restored);
	EQ_INT(s.committed.applied, 6);
	snap_store_drop(&s);
}

/* A helper was killed between its rename and its sync, and the log is cut behind what is told now. */
TEST(what_is_found_at_a_start_is_durable_before_it_counts)
{
	struct store s;
	struct snap_info info;

	made(&s, &info);
	snap_store_drop(&s);
	n_synced = 0;
	snap_store_up(&s, 1, "boot-a\n");
	OK(dir_was_synced("snap"));
	snap_store_drop(&s);
}

TEST(a_store_changes_over_while_it_runs)
{
	struct store s;
	struct snap_info info;
	struct snapshot_id id;
	struct snap_job j = snap_store_job(1, 2);

	made(&s, &info);
	id = incoming();
	EQ_INT(snap_install(&j, &id), ERR_OK);
	EQ_STR(snap_store_value(&s, "a"), "1");
	store_switch(&s, 2);
	EQ_STR(snap_store_value(&s, "a"), "other");
	EQ_INT(s.committed.applied, 6);
	snap_store_put(&s, "a", "more");
	snap_store_drop(&s);
	snap_store_up(&s, 1, "boot-a\n");
	EQ_STR(snap_store_value(&s, "a"), "more");
	EQ_INT(s.generation.generation, 2);
	snap_store_drop(&s);
}

TEST(a_file_that_is_not_what_was_said_becomes_no_snapshot)
{
	struct store s;
	struct snap_info info, list[SNAP_LIST_MAX];
	struct snapshot_id id, other;
	struct snap_job j = snap_store_job(1, 2);
	char *from, *to;

	made(&s, &info);
	id = incoming();
	other = id;
	other.term++;
	from = snapname_incoming(tap_dir(), &id);
	to = snapname_incoming(tap_dir(), &other);
	OK(rename(from, to) == 0);
	EQ_INT(snap_install(&j, &other), ERR_CORRUPT);
	EQ_INT(snap_install(&j, &id), ERR_NOT_FOUND);
	EQ_INT(snap_list(tap_dir(), 5, list), 1);
	EQ_INT(list[0].index, info.index);
	snap_store_drop(&s);
	mem_free(from);
	mem_free(to);
}

TEST(only_one_way_to_write_a_name_is_a_name)
{
	struct snapshot_id id = {12, 3, 4567, 0xab}, back;
	char *path = snapname_incoming("", &id);
	const char *name = strrchr(path, '/') + 1;
	uint64_t index, crc;

	OK(snapname_parse_incoming(name, &back));
	OK(back.index == 12 && back.term == 3 && back.bytes == 4567 && back.crc == 0xab);
	OK(!snapname_parse_incoming("incoming-12-3-4567-000000ab", &back));
	OK(!snapname_parse_incoming("incoming-00000000000000000012-3-4567-000000ab.bad", &back));
	OK(!snapname_parse_incoming("incoming-00000000000000000012-03-4567-000000ab", &back));
	OK(snapname_parse("snap-00000000000000000012-000000ab.snap", &index, &crc));
	OK(index == 12 && crc == 0xab);
	OK(!snapname_parse("snap-00000000000000000012-000000ab.snap.bad", &index, &crc));
	OK(!snapname_parse("snap-00000000000000000012-000000AB.snap", &index, &crc));
	OK(!snapname_parse("snap--0000000000000000012-000000ab.snap", &index, &crc));
	mem_free(path);
}

TESTS = {
	T(a_snapshot_is_the_store_as_it_was),
	T(a_store_made_from_anothers_snapshot_is_this_nodes),
	T(every_flipped_bit_and_every_missing_byte_is_found),
	T(a_trailer_is_read_as_it_was_written),
	T(another_clusters_snapshot_is_refused),
	T(a_trailer_that_lies_about_the_tables_is_found_out),
	T(a_bad_snapshot_is_set_aside_and_the_one_before_it_used),
	T(the_newest_is_kept_and_the_unfinished_removed),
	T(a_damaged_row_gets_into_no_snapshot),
	T(a_damaged_page_gets_into_no_snapshot),
	T(a_copy_that_finds_no_room_leaves_no_snapshot),
	T(an_install_that_was_interrupted_is_finished_at_the_next_start),
	T(what_is_found_at_a_start_is_durable_before_it_counts),
	T(a_store_changes_over_while_it_runs),
	T(a_file_that_is_not_what_was_said_becomes_no_snapshot),
	T(only_one_way_to_write_a_name_is_a_name),
};
TAP_MAIN
