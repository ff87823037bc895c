/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored and its helper process: snapshots asked for, killed, told of; a store that becomes one.
 * raftd and a gatewayd are played by the test; the helper is this very program.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/snapname.h"
#include "stored/stored.h"
#include "tests/lib/snap_store.h"
#include "tests/lib/tap.h"

struct end {
	struct link_dialer *dialer;
	struct link_hello self, peer;
	struct link *link;
	unsigned ups, states, refusals;
	struct apply_state state;
	struct snapshot_id snapshot;     /* index 0: none */
	struct apply_installed refusal;
	uint64_t applied;
};

struct world {
	struct config config;
	struct daemon d;
	struct loop *loop;
	struct end raftd, gateway;
	uint64_t index;
};

static void end_hello(void *arg, struct link_hello *out)
{
	const struct end *e = arg;

	*out = e->self;
}

static int end_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct end *e = arg;

	e->link = l;
	e->peer = *peer;
	e->ups++;
	return ERR_OK;
}

static void end_down(void *arg, struct link *l, const char *reason)
{
	struct end *e = arg;

	(void)l;
	(void)reason;
	e->link = NULL;
}

static int end_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct end *e = arg;

	(void)l;
	if (in->row->desc == &apply_state_desc) {
		e->state = *(const struct apply_state *)in->msg;
		e->snapshot = e->state.snapshot ? *e->state.snapshot : (struct snapshot_id){0};
		e->states++;
	} else if (in->row->desc == &apply_installed_desc) {
		e->refusal = *(const struct apply_installed *)in->msg;
		e->refusals++;
	} else if (in->row->desc == &apply_done_desc) {
		e->applied = ((const struct apply_done *)in->msg)->index;
	}
	return ERR_OK;
}

static void end_dial(struct world *w, struct end *e, enum daemon_kind kind)
{
	static const struct link_ops ops = {end_hello, end_up, end_msg, end_down, NULL};
	char *path = daemon_socket(&w->d, DAEMON_STORED, kind);
	struct link_setup s = {.loop = w->loop, .path = path,
			       .messages = kind == DAEMON_RAFTD ? &link_apply : &link_store,
			       .peer = DAEMON_STORED, .ops = &ops, .arg = e};

	e->self = (struct link_hello){1, kind, 7, 0};
	EQ_INT(link_dialer_open(&s, &e->dialer), ERR_OK);
	mem_free(path);
}

#define UNTIL(w, cond) do { \
		mono_t until_ = mono_add_ms(mono_now(), TAP_PATIENCE_MS); \
		while (!(cond)) { \
			tap_ok(mono_before(mono_now(), until_), "in time: " #cond, __FILE__, __LINE__); \
			loop_turn((w)->loop, 5); \
		} \
	} while (0)

static struct stored *stored_of(struct world *w)
{
	return w->d.state;
}

static struct world *world_open(uint64_t rate_mb)
{
	struct world *w = mem_alloc(sizeof *w);

	log_set_level(LOG_ERROR);
	w->config.data_dir = mem_strdup(tap_dir());
	w->config.run_dir = mem_strdup(tap_dir());
	w->config.cluster_id = 5;
	w->config.node_id = 1;
	w->config.store_map_gb = 1;
	w->config.snapshot_rate_mb = rate_mb;
	w->loop = loop_new();
	w->d = (struct daemon){.kind = DAEMON_STORED, .incarnation = 99, .loop = w->loop, .config = &w->config};
	EQ_INT(stored_open(&w->d), ERR_OK);
	EQ_INT(stored_start(&w->d), ERR_OK);
	end_dial(w, &w->raftd, DAEMON_RAFTD);
	end_dial(w, &w->gateway, DAEMON_GATEWAYD);
	UNTIL(w, w->raftd.states > 0 && w->gateway.link != NULL);
	return w;
}

static void world_close(struct world *w)
{
	struct stored *s = stored_of(w);

	link_dialer_close(&w->raftd.dialer);
	link_dialer_close(&w->gateway.dialer);
	stored_stop(&w->d);
	link_server_close(&s->raftd_server);
	link_server_close(&s->gateway_server);
	link_server_close(&s->leased.server);
	link_server_close(&s->watch_server);
	loop_free(w->loop);
	mem_free(w->config.data_dir);
	mem_free(w->config.run_dir);
	mem_free(s);
	mem_free(w);
}

static void feed(struct world *w, const struct command *c)
{
	struct log_entry e = {.index = ++w->index, .term = 2, .kind = LOG_ENTRY_COMMAND};
	struct apply_batch m = {.commit = 1000};
	struct buf b;

	buf_init(&b, 0);
	OK(msg_encode(&b, &command_desc, c) == ERR_OK);
	e.payload = buf_bytes(&b);
	m.entries.v = &e;
	m.entries.n = 1;
	EQ_INT(link_send(w->raftd.link, MSG_NO_apply_batch, &apply_batch_desc, &m), ERR_OK);
	buf_free(&b);
	UNTIL(w, w->raftd.applied == w->index);
}

/* A session, and then so many values of a megabyte. */
static void fill(struct world *w, unsigned megabytes)
{
	static uint8_t value[1024 * 1024];
	char key[16];

	if (w->index == 0)
		feed(w, &(struct command){.gateway = 100});
	for (unsigned i = 0; i < megabytes; i++) {
		struct kv_put p = {.key = bytes_str(key), .value = bytes_of(value, sizeof value)};

		(void)snprintf(key, sizeof key, "key %u", i);
		p.key = bytes_str(key);
		feed(w, &(struct command){.gateway = 100, .seq = w->index, .put = &p});
	}
}

static void ask(struct world *w, uint64_t index)
{
	struct apply_snapshot m = {index};

	EQ_INT(link_send(w->raftd.link, MSG_NO_apply_snapshot, &apply_snapshot_desc, &m), ERR_OK);
}

TEST(raftd_is_told_of_a_durable_snapshot)
{
	struct world *w = world_open(1024);

	EQ_INT(w->raftd.snapshot.index, 0);
	fill(w, 1);
	ask(w, 2);
	UNTIL(w, w->raftd.snapshot.index == 2);
	EQ_INT(w->raftd.snapshot.term, 2);
	OK(w->raftd.snapshot.bytes > 1024 * 1024);
	ask(w, 1);                                   /* there is one that will do: told again, not made */
	UNTIL(w, w->raftd.states >= 3);
	EQ_INT(stored_of(w)->counters.snapshots_made.value, 1);
	link_drop(w->raftd.link, "the test says so");
	UNTIL(w, w->raftd.ups == 2 && w->raftd.link != NULL && w->raftd.states >= 4);
	EQ_INT(w->raftd.snapshot.index, 2);          /* whoever missed it hears of it on the next link */
	fill(w, 1);
	ask(w, 3);
	UNTIL(w, w->raftd.snapshot.index == 3);
	OK(access(snap_store_path("snap/new"), F_OK) != 0);
	world_close(w);
}

TEST(entries_are_applied_while_a_copy_is_made)
{
	struct world *w = world_open(1);

	fill(w, 2);
	ask(w, 3);
	UNTIL(w, stored_of(w)->snapshots.work == SNAP_WORK_COPY);
	fill(w, 2);
	EQ_INT(w->raftd.applied, 5);
	EQ_INT(stored_of(w)->snapshots.work, SNAP_WORK_COPY);
	UNTIL(w, w->raftd.snapshot.index >= 3);
	world_close(w);
}

TEST(a_killed_copy_leaves_nothing_and_is_made_again)
{
	struct world *w = world_open(1);
	struct snap_info list[SNAP_LIST_MAX];

	fill(w, 2);
	ask(w, 3);
	UNTIL(w, access(snap_store_path("snap/new/data.mdb"), F_OK) == 0);
	OK(kill(stored_of(w)->snapshots.pid, SIGKILL) == 0);
	UNTIL(w, stored_of(w)->counters.snapshots_failed.value == 1);
	UNTIL(w, access(snap_store_path("snap/new"), F_OK) != 0);
	EQ_INT(snap_list(tap_dir(), 5, list), 0);
	EQ_INT(w->raftd.snapshot.index, 0);
	UNTIL(w, w->raftd.snapshot.index == 3);
	world_close(w);
}

TEST(a_copy_ends_with_its_parent)
{
	struct world *w = world_open(1);
	pid_t pid;

	fill(w, 3);
	ask(w, 4);
	UNTIL(w, stored_of(w)->snapshots.work == SNAP_WORK_COPY);
	pid = stored_of(w)->snapshots.pid;
	world_close(w);                              /* waits for it */
	OK(kill(pid, 0) != 0);
}

static void use_helper(struct world *w, char *script, const char *does)
{
	FILE *f = fopen(script, "w");

	OK(f != NULL && fprintf(f, "#!/bin/sh\n%s\n", does) > 0 && fclose(f) == 0 && chmod(script, 0700) == 0);
	stored_of(w)->snapshots.program = script;
}

/* The helper had no memory, or could not be started: that tells nothing of the store. */
TEST(a_check_that_could_not_be_made_damages_nothing)
{
	struct world *w = world_open(1024);
	char *script = mem_strdup(snap_store_path("helper"));

	use_helper(w, script, "exit 111");
	snapshots_check(stored_of(w));
	UNTIL(w, !stored_of(w)->snapshots.check_wanted);
	use_helper(w, script, "kill -SEGV $$");      /* so ends who has no memory to be started in */
	snapshots_check(stored_of(w));
	UNTIL(w, !stored_of(w)->snapshots.check_wanted);
	EQ_INT(stored_of(w)->counters.checks.value, 0);
	fill(w, 1);
	world_close(w);
	mem_free(script);
}

/* ---- installing */

static struct snapshot_id incoming(void)
{
	struct snap_job j = snap_store_job(2, 1);
	struct snap_info info;
	struct snapshot_id id;
	struct store s;
	char *from, *to;

	(void)mkdir(snap_store_path("two"), 0700);
	j.data_dir = snap_store_path("two");
	snap_store_up_in(&s, j.data_dir, 2, "boot-a\n");
	for (int i = 0; i < 30; i++)
		snap_store_put(&s, "a", "other");
	EQ_INT(snap_copy(&j, &info), ERR_OK);
	snap_store_drop(&s);
	id = snap_id(&info);
	from = snapname_path(j.data_dir, id.index, id.crc);
	to = snapname_incoming(tap_dir(), &id);
	OK(rename(from, to) == 0);
	mem_free(from);
	mem_free(to);
	return id;
}

static void install(struct world *w, struct snapshot_id *id)
{
	struct apply_install m = {id};

	EQ_INT(link_send(w->raftd.link, MSG_NO_apply_install, &apply_install_desc, &m), ERR_OK);
}

TEST(a_store_becomes_a_snapshot_and_everybody_begins_anew)
{
	struct world *w = world_open(1024);
	struct snapshot_id id;
	struct snap_info list[SNAP_LIST_MAX];
	uint64_t generation = w->gateway.peer.resume;

	fill(w, 1);
	id = incoming();
	install(w, &id);
	UNTIL(w, w->raftd.ups == 2 && w->gateway.ups == 2 && w->raftd.states >= 2);
	EQ_INT(w->raftd.peer.resume, 31);
	EQ_INT(w->raftd.state.applied, 31);
	EQ_INT(w->raftd.state.applied_term, 3);
	EQ_INT(w->raftd.snapshot.index, 31);
	EQ_INT(w->raftd.snapshot.crc, id.crc);
	OK(w->gateway.peer.resume > generation);
	EQ_STR(snap_store_value(&stored_of(w)->store, "a"), "other");
	EQ_INT(snap_list(tap_dir(), 5, list), 1);
	UNTIL(w, access(snap_store_path("store/gen-1"), F_OK) != 0);
	w->index = 31;
	w->raftd.applied = 31;
	feed(w, &(struct command){.gateway = 200});          /* and it goes on from there */
	world_close(w);
}

TEST(a_damaged_file_is_refused_and_the_store_stays)
{
	struct world *w = world_open(1024);
	struct snapshot_id id;
	char *path;
	int fd;

	fill(w, 1);
	id = incoming();
	path = snapname_incoming(tap_dir(), &id);
	fd = open(path, O_RDWR);
	OK(fd >= 0 && pwrite(fd, "?", 1, 9000) == 1 && close(fd) == 0);
	install(w, &id);
	UNTIL(w, w->raftd.refusals == 1);
	EQ_INT(w->raftd.refusal.error, ERR_CORRUPT);
	EQ_INT(w->raftd.refusal.index, id.index);
	EQ_INT(w->raftd.ups, 1);
	EQ_INT(stored_of(w)->store.committed.applied, 2);
	UNTIL(w, access(snap_store_path("store/gen-2"), F_OK) != 0);
	fill(w, 1);
	world_close(w);
	mem_free(path);
}

TEST(what_is_no_news_is_refused)
{
	struct world *w = world_open(1024);
	struct snapshot_id id = {2, 2, 1000, 5};

	fill(w, 1);
	install(w, &id);
	UNTIL(w, w->raftd.refusals == 1);
	EQ_INT(w->raftd.refusal.error, ERR_EXISTS);
	install(w, NULL);
	UNTIL(w, w->raftd.ups == 2);                 /* nonsense costs the link */
	world_close(w);
}

/* In one frame with what follows it: the helper cannot be done before that is applied. */
TEST(raftd_is_told_of_an_install_that_the_log_has_overtaken)
{
	struct world *w = world_open(1024);
	struct snapshot_id id = incoming();
	struct log_entry e[40];
	struct apply_batch m = {.commit = 1000, .entries = {.v = e, .n = ARRAY_LEN(e)}};

	for (size_t i = 0; i < ARRAY_LEN(e); i++)
		e[i] = (struct log_entry){.index = i + 1, .term = 2, .kind = LOG_ENTRY_NOOP};
	install(w, &id);
	EQ_INT(link_send(w->raftd.link, MSG_NO_apply_batch, &apply_batch_desc, &m), ERR_OK);
	UNTIL(w, w->raftd.refusals == 1);
	EQ_INT(w->raftd.refusal.error, ERR_EXISTS);
	EQ_INT(w->raftd.refusal.index, id.index);
	EQ_INT(w->raftd.ups, 1);
	EQ_INT(w->raftd.applied, 40);
	EQ_INT(stored_of(w)->counters.snapshots_installed.value, 0);
	world_close(w);
}

TEST(an_install_goes_before_a_copy)
{
	struct world *w = world_open(1);
	struct snapshot_id id;

	fill(w, 3);
	id = incoming();
	ask(w, 4);
	UNTIL(w, stored_of(w)->snapshots.work == SNAP_WORK_COPY);
	install(w, &id);
	UNTIL(w, w->raftd.ups == 2 && w->raftd.states >= 2);
	EQ_INT(w->raftd.state.applied, 31);
	OK(!stored_of(w)->snapshots.wanted);         /* what was installed will do: no copy of it is made */
	world_close(w);
}

/* A disk that takes its time to give back gigabytes must not stop the applies. */
TEST(what_is_no_longer_used_is_removed_by_the_helper_and_never_waited_for)
{
	char *script = mem_strdup(snap_store_path("helper"));
	struct snapshot_id id;
	struct world *w;
	FILE *f;

	(void)mkdir(snap_store_path("store"), 0700);
	OK(mkdir(snap_store_path("store/gen-7"), 0700) == 0);
	f = fopen(snap_store_path("store/gen-7/data.mdb"), "w");
	OK(f != NULL && fclose(f) == 0);
	w = world_open(1024);                        /* at the start */
	EQ_INT(stored_of(w)->store.generation.generation, 8);
	UNTIL(w, access(snap_store_path("store/gen-7"), F_OK) != 0);
	UNTIL(w, stored_of(w)->snapshots.work == SNAP_WORK_NONE);
	fill(w, 1);
	id = incoming();
	use_helper(w, script, "[ $2 = clean ] && exec sleep 1000; exec /proc/$PPID/exe \"$@\"");
	install(w, &id);
	UNTIL(w, w->raftd.ups == 2 && w->raftd.states >= 2);
	UNTIL(w, stored_of(w)->snapshots.work == SNAP_WORK_CLEAN);
	OK(access(snap_store_path("store/gen-8/data.mdb"), F_OK) == 0);
	w->index = w->raftd.applied = 31;
	feed(w, &(struct command){.gateway = 200});
	OK(kill(stored_of(w)->snapshots.pid, SIGKILL) == 0);
	UNTIL(w, stored_of(w)->snapshots.work == SNAP_WORK_NONE);
	world_close(w);
	w = world_open(1024);                        /* at the next start, if not before */
	UNTIL(w, access(snap_store_path("store/gen-8"), F_OK) != 0);
	EQ_STR(snap_store_value(&stored_of(w)->store, "a"), "other");
	world_close(w);
	mem_free(script);
}

/* raftd was started anew in the middle, and has got another one meanwhile: it waits for an answer for that. */
TEST(a_second_install_is_answered_while_the_first_is_under_way)
{
	struct world *w = world_open(1024);
	char *script = mem_strdup(snap_store_path("helper"));
	struct snapshot_id first = {31, 3, 1000, 5}, second = {40, 3, 1000, 6};

	use_helper(w, script, "exec sleep 1000");
	install(w, &first);
	UNTIL(w, stored_of(w)->snapshots.work == SNAP_WORK_INSTALL);
	install(w, &first);                          /* the same again: it is waited for */
	install(w, &second);
	UNTIL(w, w->raftd.refusals == 1);
	EQ_INT(w->raftd.refusal.index, 40);
	EQ_INT(w->raftd.refusal.error, ERR_CLOSED);  /* to be asked for again */
	OK(kill(stored_of(w)->snapshots.pid, SIGKILL) == 0);
	UNTIL(w, w->raftd.refusals == 2);
	EQ_INT(w->raftd.refusal.index, 31);
	install(w, &second);
	UNTIL(w, stored_of(w)->snapshots.work == SNAP_WORK_INSTALL);
	EQ_INT(stored_of(w)->snapshots.incoming.index, 40);
	world_close(w);
	mem_free(script);
}

TESTS = {
	T(raftd_is_told_of_a_durable_snapshot),
	T(entries_are_applied_while_a_copy_is_made),
	T(a_killed_copy_leaves_nothing_and_is_made_again),
	T(a_copy_ends_with_its_parent),
	T(a_check_that_could_not_be_made_damages_nothing),
	T(a_store_becomes_a_snapshot_and_everybody_begins_anew),
	T(a_damaged_file_is_refused_and_the_store_stays),
	T(what_is_no_news_is_refused),
	T(raftd_is_told_of_an_install_that_the_log_has_overtaken),
	T(an_install_goes_before_a_copy),
	T(what_is_no_longer_used_is_removed_by_the_helper_and_never_waited_for),
	T(a_second_install_is_answered_while_the_first_is_under_way),
};

int main(int argc, char **argv)
{
	int code;

	if (snap_child_main(argc, argv, &code))
		return code;
	return tap_main(argc, argv, tap_cases, sizeof tap_cases / sizeof tap_cases[0]);
}
