/* SPDX-License-Identifier: Apache-2.0 */
/* The store on disk: killed at any moment, restarted systems, files that are gone or damaged. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "mvcc/view.h"
#include "stored/store.h"
#include "tests/lib/tap.h"

#define K(s) bytes_str(s)

static const char *path(const char *name)
{
	static char p[4][600];
	static unsigned next;

	next = (next + 1) % 4;
	(void)snprintf(p[next], sizeof p[next], "%s/%s", tap_dir(), name);
	return p[next];
}

static void write_file(const char *p, const char *text)
{
	FILE *f = fopen(p, "w");

	OK(f != NULL);
	OK(fputs(text, f) >= 0);
	OK(fclose(f) == 0);
}

/* `boot` stands for the system's boot id. */
static void store_up(struct store *s, const char *boot)
{
	struct store_setup setup = {.data_dir = tap_dir(), .cluster_id = 5, .node_id = 1, .map_bytes = 1u << 28,
				    .boot_id_file = path("boot")};

	write_file(path("boot"), boot);
	store_open(s, &setup);
}

/* As if it had been killed: no sync, no mark. */
static void store_drop(struct store *s)
{
	if (s->open)
		store_commit(s);
	apply_close(&s->apply);
	mvcc_close(&s->env);
	free(s->dir);
}

static void apply_put(struct store *s, const char *key, const char *value)
{
	uint64_t index = apply_state(s->apply)->applied + 1;
	struct kv_put p = {.key = K(key), .value = K(value)};
	struct command c = {.gateway = 1, .seq = index - 1};
	struct log_entry e = {.index = index, .term = 3, .kind = LOG_ENTRY_COMMAND};
	struct apply_result r;
	struct buf b;

	buf_init(&b, 0);
	if (index > 1)
		c.put = &p;
	CHECK(msg_encode(&b, &command_desc, &c) == ERR_OK);
	e.payload = buf_bytes(&b);
	store_apply(s, &e, &r);
	CHECK(!r.rejected && r.error == ERR_OK);
	buf_free(&b);
}

static void put_commit(struct store *s, const char *key, const char *value)
{
	if (s->committed.applied == 0)
		apply_put(s, "", "");           /* the session */
	apply_put(s, key, value);
	store_commit(s);
}

static const char *value_of(struct store *s, const char *key)
{
	static char text[64];
	struct kv_pair pair;
	struct mvcc_view *v = NULL;
	int rc;

	EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
	rc = mvcc_get(v, K(key), mvcc_view_info(v)->revision, &pair);
	(void)snprintf(text, sizeof text, "%.*s", rc == ERR_OK ? (int)pair.value.len : 6,
		       rc == ERR_OK ? (const char *)pair.value.data : "(none)");
	mvcc_view_end(&v);
	return text;
}

static uint64_t generation(const struct store *s)
{
	return s->generation.generation;
}

TEST(a_killed_store_goes_on_in_the_same_system)
{
	struct store s;

	store_up(&s, "boot-a\n");
	OK(s.begun != NULL);
	put_commit(&s, "a", "1");
	store_drop(&s);
	store_up(&s, "boot-a\n");
	OK(s.begun == NULL);
	EQ_INT(generation(&s), 1);
	EQ_INT(s.committed.applied, 2);
	EQ_STR(value_of(&s, "a"), "1");
	store_drop(&s);
}

TEST(a_store_open_when_the_system_crashed_is_begun_anew)
{
	struct store s;

	store_up(&s, "boot-a\n");
	put_commit(&s, "a", "1");
	store_drop(&s);
	store_up(&s, "boot-b\n");
	OK(s.begun != NULL);
	EQ_INT(generation(&s), 2);
	EQ_INT(s.committed.applied, 0);
	EQ_STR(value_of(&s, "a"), "(none)");
	put_commit(&s, "a", "2");
	store_drop(&s);
	store_up(&s, "boot-b\n");
	EQ_INT(generation(&s), 2);
	EQ_STR(value_of(&s, "a"), "2");
	store_drop(&s);
}

TEST(a_closed_store_goes_on_in_a_new_system)
{
	struct store s;

	store_up(&s, "boot-a\n");
	put_commit(&s, "a", "1");
	store_close(&s);
	store_up(&s, "boot-b\n");
	OK(s.begun == NULL);
	EQ_STR(value_of(&s, "a"), "1");
	store_drop(&s);                 /* and is no longer closed */
	store_up(&s, "boot-c\n");
	OK(s.begun != NULL);
	EQ_INT(generation(&s), 2);
	store_close(&s);
}

static void flip(const char *p, off_t at)
{
	int fd = open(p, O_RDWR);
	unsigned char c;

	OK(fd >= 0);
	OK(pread(fd, &c, 1, at) == 1);
	c ^= 1;
	OK(pwrite(fd, &c, 1, at) == 1);
	OK(close(fd) == 0);
}

TEST(damage_to_state_or_file_begins_anew)
{
	struct stat st;
	struct store s;

	store_up(&s, "boot-a\n");
	put_commit(&s, "a", "1");
	store_close(&s);
	OK(stat(path("store/STATE"), &st) == 0);
	for (off_t i = 0; i < st.st_size; i += 11) {
		flip(path("store/STATE"), i);
		store_up(&s, "boot-a\n");
		OK(s.begun != NULL);
		put_commit(&s, "a", "1");
		store_close(&s);
	}
	OK(truncate(path("store/STATE"), 20) == 0);
	store_up(&s, "boot-a\n");
	OK(s.begun != NULL);
	put_commit(&s, "a", "1");
	store_close(&s);
	{
		char data[64];

		(void)snprintf(data, sizeof data, "store/gen-%u/data.mdb", (unsigned)generation(&s));
		OK(unlink(path(data)) == 0);
		store_up(&s, "boot-a\n");
		OK(s.begun != NULL);
		put_commit(&s, "a", "1");
		store_close(&s);
		(void)snprintf(data, sizeof data, "store/gen-%u/data.mdb", (unsigned)generation(&s));
		write_file(path(data), "this is no database at all, and never was one");
		store_up(&s, "boot-a\n");
		OK(s.begun != NULL);
		EQ_INT(s.committed.applied, 0);
		store_close(&s);
	}
}

/* Not here: snapshots.h. */
TEST(left_over_generations_are_no_longer_used)
{
	struct store s;

	store_up(&s, "boot-a\n");
	store_drop(&s);
	OK(mkdir(path("store/gen-7"), 0700) == 0);
	write_file(path("store/gen-7/data.mdb"), "half made");
	OK(mkdir(path("store/keep"), 0700) == 0);
	store_up(&s, "boot-b\n");
	EQ_INT(generation(&s), 8);
	OK(generation_has_others(path("store"), 8));
	generation_remove_others(path("store"), 8);
	OK(access(path("store/gen-7"), F_OK) != 0 && access(path("store/gen-1"), F_OK) != 0);
	OK(!generation_has_others(path("store"), 8) && generation_has_others(path("store"), 7));
	OK(access(path("store/keep"), F_OK) == 0);
	store_drop(&s);
}

TEST(state_is_text_and_every_bit_of_it_counts)
{
	struct generation_state g = {STORE_FORMAT, 5, 1, 3, "boot", true}, got;
	struct buf b;

	buf_init(&b, 0);
	generation_encode(&b, &g);
	EQ_INT(generation_decode(buf_bytes(&b), &got), ERR_OK);
	OK(got.cluster_id == 5 && got.node_id == 1 && got.generation == 3 && got.clean);
	EQ_STR(got.boot_id, "boot");
	for (size_t i = 0; i < b.len * 8; i++) {
		b.data[i / 8] ^= (uint8_t)(1u << i % 8);
		EQ_INT(generation_decode(buf_bytes(&b), &got), ERR_CORRUPT);
		b.data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t n = 0; n < b.len; n++)
		EQ_INT(generation_decode(bytes_of(b.data, n), &got), ERR_CORRUPT);
	g.format = STORE_FORMAT + 1;
	generation_encode(&b, &g);
	EQ_INT(generation_decode(buf_bytes(&b), &got), ERR_VERSION);
	buf_free(&b);
}

/* ---- killed at any moment ---- */

/* Writes for ever: even keys and their successors change together; progress is told after commits. */
static _Noreturn void child_writes(int fd, unsigned batch)
{
	struct store s;
	char key[16], value[32];

	store_up(&s, "boot-a\n");
	for (;;) {
		uint64_t applied;

		for (unsigned i = 0; i < batch; i++) {
			uint64_t n = apply_state(s.apply)->applied;

			(void)snprintf(key, sizeof key, "k%u", (unsigned)(n % 500));
			(void)snprintf(value, sizeof value, "%llu", (unsigned long long)n + 1);
			apply_put(&s, n ? key : "", n ? value : "");
		}
		store_commit(&s);
		applied = s.committed.applied;
		if (write(fd, &applied, sizeof applied) != sizeof applied)
			_exit(1);
	}
}

/* Everything that was told is there, nothing is half there. */
static void check_survivor(uint64_t told)
{
	struct mvcc_view *v = NULL;
	struct mvcc_events *events;
	struct mvcc_event e;
	struct kv_pair pair;
	struct store s;
	int64_t rev = 1;
	char want[32];

	store_up(&s, "boot-a\n");
	EQ_INT(generation(&s), 1);
	OK(s.committed.applied >= told);
	if (s.committed.applied > 0)
		EQ_INT(s.committed.revision, (int64_t)s.committed.applied);
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	EQ_INT(mvcc_events_begin(v, 0, &events), ERR_OK);
	while (mvcc_events_next(events, &e) == ERR_OK) {
		EQ_INT(e.rev, ++rev);
		EQ_INT(mvcc_event_pair(v, &e, &pair), ERR_OK);
		(void)snprintf(want, sizeof want, "%lld", (long long)rev);
		OK(bytes_eq(pair.value, K(want)));
	}
	EQ_INT(rev, s.committed.revision);
	mvcc_events_end(&events);
	mvcc_view_end(&v);
	store_drop(&s);
}

/* The parent opens the store only while no child lives, and closes it before the next fork. */
TEST(a_kill_at_any_moment_loses_nothing_that_was_told)
{
	uint64_t seed = tap_seed(3), told = 0, n;

	(void)tap_dir();
	for (uint64_t round = 0; round < tap_rounds(15); round++) {
		unsigned batch = 1 + (unsigned)(tap_rand(&seed) % 40);
		uint64_t until = told + 200 + tap_rand(&seed) % 2000;
		int fds[2], status;
		pid_t pid;

		OK(pipe(fds) == 0);
		pid = fork();
		OK(pid >= 0);
		if (pid == 0) {
			(void)close(fds[0]);
			child_writes(fds[1], batch);
		}
		(void)close(fds[1]);
		while (told < until && read(fds[0], &n, sizeof n) == sizeof n)
			told = n;
		OK(told >= until);
		OK(kill(pid, SIGKILL) == 0);
		OK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		while (read(fds[0], &n, sizeof n) == sizeof n)
			told = n;
		(void)close(fds[0]);
		check_survivor(told);
	}
}

/* ---- readers beside the writer ---- */

/* One commit: `a` and `b` get the same value. */
static void put_both(struct store *s, const char *value)
{
	uint64_t index = apply_state(s->apply)->applied + 1;
	struct kv_put a = {.key = K("a"), .value = K(value)}, b = {.key = K("b"), .value = K(value)};
	struct kv_op ops[] = {{.put = &a}, {.put = &b}};
	struct kv_txn t = {.success = {ops, 2}};
	struct command c = {.gateway = 1, .seq = index, .txn = &t};
	struct log_entry e = {.index = index, .term = 3, .kind = LOG_ENTRY_COMMAND};
	struct apply_result r;
	struct buf buf;

	buf_init(&buf, 0);
	CHECK(msg_encode(&buf, &command_desc, &c) == ERR_OK);
	e.payload = buf_bytes(&buf);
	store_apply(s, &e, &r);
	CHECK(r.error == ERR_OK);
	store_commit(s);
	buf_free(&buf);
}

/* Looks until it sees the last value; exits with the number of what was wrong. */
static _Noreturn void child_looks(void)
{
	struct mvcc_env *env = NULL;
	struct kv_pair a, b;
	int64_t last = 0;
	uint64_t views = 0;
	bool end = false;

	while (mvcc_open(path("store/gen-1"), 1u << 28, &env) != ERR_OK)
		;
	while (!end) {
		struct mvcc_view *v;
		const struct mvcc_info *info;

		if (mvcc_view_begin(env, &v) != ERR_OK)
			_exit(2);
		info = mvcc_view_info(v);
		if (info->revision < last)
			_exit(3);
		last = info->revision;
		if (info->revision > 1) {
			if (mvcc_get(v, K("a"), info->revision, &a) != ERR_OK ||
			    mvcc_get(v, K("b"), info->revision, &b) != ERR_OK)
				_exit(4);
			if (!bytes_eq(a.value, b.value) || a.mod_revision != info->revision)
				_exit(5);
			end = bytes_eq(a.value, K("end"));
		}
		mvcc_view_end(&v);
		views++;
	}
	_exit(views < 10 ? 6 : 0);
}

/* The children are there before the writer opens anything: LMDB does not live through a fork. */
TEST(readers_see_whole_commits_and_nothing_else)
{
	enum { CHILDREN = 2, COMMITS = 5000 };
	pid_t pids[CHILDREN];
	struct store s;
	char value[32];
	int status;

	(void)tap_dir();
	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		OK(pids[i] >= 0);
		if (pids[i] == 0)
			child_looks();
	}
	store_up(&s, "boot-a\n");
	apply_put(&s, "", "");
	store_commit(&s);
	for (int i = 0; i < COMMITS; i++) {
		(void)snprintf(value, sizeof value, "value %d", i);
		put_both(&s, value);
	}
	put_both(&s, "end");
	for (int i = 0; i < CHILDREN; i++) {
		OK(waitpid(pids[i], &status, 0) == pids[i]);
		EQ_INT(status, 0);
	}
	store_drop(&s);
}

TESTS = {
	T(a_killed_store_goes_on_in_the_same_system),
	T(a_store_open_when_the_system_crashed_is_begun_anew),
	T(a_closed_store_goes_on_in_a_new_system),
	T(damage_to_state_or_file_begins_anew),
	T(left_over_generations_are_no_longer_used),
	T(state_is_text_and_every_bit_of_it_counts),
	T(a_kill_at_any_moment_loses_nothing_that_was_told),
	T(readers_see_whole_commits_and_nothing_else),
};
TAP_MAIN
