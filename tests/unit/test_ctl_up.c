/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor, with shell scripts in the place of the daemons and a server of the test in the
 * place of a node's gateway.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mono.h"
#include "ctl/ctl.h"
#include "ctl/up_child.h"
#include "tests/lib/fake_server.h"
#include "tests/lib/tap.h"

static uint64_t leader;

static bool status_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct native_status_result s = {.leader = leader};

	(void)arg;
	fake_result(c, r, &s);
	return true;
}

/* A script that says it is ready and writes its pid to DIR/NAME.pid, adding a line to DIR/order
 * when it is stopped. */
static void write_script(const char *name, const char *body)
{
	char path[4300];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/bin", tap_dir());
	(void)mkdir(path, 0700);
	(void)snprintf(path, sizeof path, "%s/bin/%s", tap_dir(), name);
	f = fopen(path, "w");
	OK(f != NULL);
	fprintf(f, "#!/bin/sh\nD=%s\nN=%s\n%s\n", tap_dir(), name, body);
	(void)fclose(f);
	OK(chmod(path, 0700) == 0);
}

#define GOOD_SCRIPT \
	"trap 'echo $N >>$D/order; exit 0' TERM\n" \
	"echo $$ >$D/$N.tmp; mv $D/$N.tmp $D/$N.pid\n" \
	"echo 'hello from '$N\" $*\" >&2\n" \
	"echo >&3\n" \
	"while :; do sleep 0.05; done\n"

static void write_scripts(void)
{
	write_script("raftd", GOOD_SCRIPT);
	write_script("stored", GOOD_SCRIPT);
	write_script("leased", GOOD_SCRIPT);
	write_script("watchd", GOOD_SCRIPT);
	write_script("gatewayd", GOOD_SCRIPT);
}

static char up_out[4300], up_err[4300];

/* `quorate up` in a child of the test; its pid. */
static pid_t up_start(struct fake_server *f, const char *more)
{
	char dir[4200], bin[4200], port[16];
	pid_t pid;

	(void)snprintf(up_out, sizeof up_out, "%s/up.out", tap_dir());
	(void)snprintf(up_err, sizeof up_err, "%s/up.err", tap_dir());
	(void)snprintf(dir, sizeof dir, "%s/data", tap_dir());
	(void)snprintf(bin, sizeof bin, "%s/bin", tap_dir());
	(void)snprintf(port, sizeof port, "%s", strrchr(fake_endpoint(f), ':') + 1);
	(void)unlink(up_out);
	(void)unlink(up_err);
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		char words[][12] = {"quorate", "up", "--dir", "--bin-dir", "--base-port"},
		extra[64];
		char *argv[] = {words[0], words[1], words[2], dir, words[3], bin, words[4], port,
				more ? extra : NULL, NULL};
		struct ctl ctl = {.program = "quorate", .in_fd = 0, .out = fopen(up_out, "w"),
				  .err = fopen(up_err, "w")};

		int code;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);   /* a case that fails leaves nothing */
		(void)snprintf(extra, sizeof extra, "%s", more ? more : "");
		code = ctl_main(&ctl, more ? 9 : 8, argv);
		(void)fflush(NULL);
		_exit(code);
	}
	OK(pid > 0);
	return pid;
}

static int up_wait(pid_t pid)
{
	int status = -1;

	OK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static bool file_has(const char *path, const char *text)
{
	static char data[65536];
	FILE *f = fopen(path, "r");
	size_t n = f != NULL ? fread(data, 1, sizeof data - 1, f) : 0;

	if (f != NULL)
		(void)fclose(f);
	data[n] = 0;
	return f != NULL && strstr(data, text) != NULL;
}

static void wait_for(const char *path, const char *text)
{
	mono_t until = mono_add_ms(mono_now(), TAP_PATIENCE_MS);

	while (!file_has(path, text)) {
		if (!mono_before(mono_now(), until))
			printf("# no \"%s\" in %s\n", text, path);
		OK(mono_before(mono_now(), until));
		(void)poll(NULL, 0, 10);
	}
}

static pid_t pid_of(const char *name, pid_t other_than)
{
	mono_t until = mono_add_ms(mono_now(), TAP_PATIENCE_MS);
	char path[4300];
	int pid = 0;

	(void)snprintf(path, sizeof path, "%s/%s.pid", tap_dir(), name);
	while (pid == 0 || pid == other_than) {
		FILE *f = fopen(path, "r");

		OK(mono_before(mono_now(), until));
		if (f != NULL && fscanf(f, "%d", &pid) != 1)
			pid = 0;
		if (f != NULL)
			(void)fclose(f);
		(void)poll(NULL, 0, 10);
	}
	return (pid_t)pid;
}

static void gone(pid_t pid)
{
	mono_t until = mono_add_ms(mono_now(), TAP_PATIENCE_MS);

	while (kill(pid, 0) == 0) {
		(void)waitpid(pid, NULL, WNOHANG);   /* it may have become ours */
		OK(mono_before(mono_now(), until));
		(void)poll(NULL, 0, 10);
	}
	EQ_INT(errno, ESRCH);
}

static struct fake_server *server_start(void)
{
	struct fake_setup s = {.serve = status_serve};

	leader = 1;
	return fake_start(&s);
}

TEST(it_starts_says_so_and_stops_in_order)
{
	struct fake_server *f = server_start();
	char order[4300], log[4300];
	pid_t up;

	write_scripts();
	up = up_start(f, NULL);
	wait_for(up_out, "quorate put greeting hello");
	OK(file_has(up_out, fake_endpoint(f)));
	(void)snprintf(log, sizeof log, "%s/data/node0/log/raftd.log", tap_dir());
	wait_for(log, "hello from raftd -c ");
	OK(file_has(log, "/data/node0/quorate.conf -r 3 -i 0\n"));
	wait_for(up_err, "node0 raftd    | hello from raftd");
	OK(kill(up, SIGINT) == 0);
	EQ_INT(up_wait(up), 0);
	(void)snprintf(order, sizeof order, "%s/order", tap_dir());
	OK(file_has(order, "gatewayd\nwatchd\nleased\nstored\nraftd\n"));
	/* and again, with what is there */
	up = up_start(f, NULL);
	wait_for(up_out, "quorate put greeting hello");
	OK(kill(up, SIGTERM) == 0);
	EQ_INT(up_wait(up), 0);
	up = up_start(f, "--nodes=2");
	EQ_INT(up_wait(up), CTL_BAD_ARGS);
	OK(file_has(up_err, "has 1 node, not 2"));
	fake_stop(&f);
}

TEST(a_daemon_that_dies_is_started_again)
{
	struct fake_server *f = server_start();
	pid_t up, first, second;

	write_scripts();
	up = up_start(f, NULL);
	wait_for(up_out, "quorate put greeting hello");
	first = pid_of("stored", 0);
	OK(kill(first, SIGKILL) == 0);
	second = pid_of("stored", first);
	wait_for(up_err, "node0 stored died: signal 9");
	OK(kill(second, 0) == 0);
	OK(kill(up, SIGINT) == 0);
	EQ_INT(up_wait(up), 0);
	gone(second);
	fake_stop(&f);
}

TEST(nothing_stays_when_the_supervisor_is_killed)
{
	struct fake_server *f = server_start();
	pid_t up, raftd, stored, gatewayd;

	OK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);   /* there may be no init that reaps */
	write_scripts();
	up = up_start(f, NULL);
	wait_for(up_out, "quorate put greeting hello");
	raftd = pid_of("raftd", 0);
	stored = pid_of("stored", 0);
	gatewayd = pid_of("gatewayd", 0);
	OK(kill(up, SIGKILL) == 0);
	EQ_INT(up_wait(up), 1000 + SIGKILL);
	gone(raftd);
	gone(stored);
	gone(gatewayd);
	fake_stop(&f);
}

TEST(a_daemon_that_cannot_run_ends_it_all)
{
	struct fake_server *f = server_start();
	pid_t up, raftd;

	write_scripts();
	write_script("stored", "echo 'bad configuration' >&2; exit 100");
	up = up_start(f, NULL);
	EQ_INT(up_wait(up), CTL_ERROR);
	OK(file_has(up_err, "node0 stored   | bad configuration"));
	OK(file_has(up_err, "node0 stored cannot run: exit code 100"));
	write_script("stored", "exit 111");
	up = up_start(f, NULL);
	EQ_INT(up_wait(up), CTL_ERROR);
	OK(file_has(up_err, "stored died: exit code 111; it starts again"));
	raftd = pid_of("raftd", 0);
	gone(raftd);
	fake_stop(&f);
}

TEST(who_dies_is_started_again_at_once_and_then_ever_later)
{
	struct up_child c = {.err_fd = -1, .ready_fd = -1, .log = {.fd = -1}};
	uint64_t random = 7;
	int64_t most = UP_REST_MIN_MS, rest;

	for (int life = 0; life < 2; life++) {
		c.started = (mono_t){mono_now().ns - UP_LIVED_MS * INT64_C(1000000)};    /* it had lived */
		for (unsigned i = 0; i < 12; i++) {
			up_child_died(&c, &random);
			rest = mono_sub_ms(c.again_at, mono_now());
			c.started = mono_now();
			if (i == 0) {
				OK(rest <= 0);
				most = UP_REST_MIN_MS;
				continue;
			}
			OK(rest <= most && rest >= most / 2 - 20);
			most = 2 * most < UP_REST_MAX_MS ? 2 * most : UP_REST_MAX_MS;
		}
	}
}

TEST(a_daemon_that_ignores_the_signal_is_killed_when_asked_twice)
{
	struct fake_server *f = server_start();
	pid_t up, stored;

	write_scripts();
	write_script("stored", "trap '' TERM\necho $$ >$D/t; mv $D/t $D/stored.pid; echo >&3\n"
			       "while :; do sleep 0.05; done");
	up = up_start(f, NULL);
	wait_for(up_out, "quorate put greeting hello");
	stored = pid_of("stored", 0);
	OK(kill(up, SIGINT) == 0);
	wait_for(up_err, "stopping");
	OK(kill(up, SIGINT) == 0);
	EQ_INT(up_wait(up), 0);
	gone(stored);
	fake_stop(&f);
}

TEST(only_one_supervisor_runs_a_cluster)
{
	struct fake_server *f = server_start();
	pid_t up, second;

	write_scripts();
	up = up_start(f, NULL);
	wait_for(up_out, "quorate put greeting hello");
	second = up_start(f, NULL);
	EQ_INT(up_wait(second), CTL_ERROR);
	OK(file_has(up_err, "is running already, process"));
	OK(kill(up, SIGINT) == 0);
	EQ_INT(up_wait(up), 0);
	fake_stop(&f);
}

TEST(it_is_not_up_without_a_leader)
{
	struct fake_server *f = server_start();
	pid_t up;

	leader = 0;
	write_scripts();
	up = up_start(f, NULL);
	(void)pid_of("gatewayd", 0);
	while (fake_requests(f) < 5)
		(void)poll(NULL, 0, 10);
	OK(!file_has(up_out, "quorate put greeting hello"));
	OK(kill(up, SIGINT) == 0);
	EQ_INT(up_wait(up), 0);
	OK(!file_has(up_out, "quorate put greeting hello"));
	fake_stop(&f);
}

TEST(missing_programs_are_named)
{
	struct fake_server *f = server_start();
	char path[4300];
	pid_t up;

	write_scripts();
	(void)snprintf(path, sizeof path, "%s/bin/gatewayd", tap_dir());
	OK(unlink(path) == 0);
	up = up_start(f, NULL);
	EQ_INT(up_wait(up), CTL_ERROR);
	OK(file_has(up_err, "the program gatewayd was not found"));
	(void)snprintf(path, sizeof path, "%s/data", tap_dir());
	OK(access(path, F_OK) != 0);
	fake_stop(&f);
}

TESTS = {
	T(it_starts_says_so_and_stops_in_order),
	T(a_daemon_that_dies_is_started_again),
	T(nothing_stays_when_the_supervisor_is_killed),
	T(a_daemon_that_cannot_run_ends_it_all),
	T(who_dies_is_started_again_at_once_and_then_ever_later),
	T(a_daemon_that_ignores_the_signal_is_killed_when_asked_twice),
	T(only_one_supervisor_runs_a_cluster),
	T(it_is_not_up_without_a_leader),
	T(missing_programs_are_named),
};
TAP_MAIN
