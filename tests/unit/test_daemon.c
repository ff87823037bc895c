/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The skeleton of all daemons, from outside: this program runs itself again as a little daemon
 * (by exec: nng does not survive a bare fork).
 */
#include "rt/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "rt/daemon_options.h"
#include "rt/lockfile.h"
#include "tests/lib/raw_sock.h"
#include "tests/lib/tap.h"

#define ROLE "QUORATE_TEST_DAEMON"

/* ---- the little daemon */

static int little_open(struct daemon *d)
{
	d->state = d;
	return strcmp(getenv(ROLE), "cannot-open") == 0 ? ERR_IO : ERR_OK;
}

static void little_stop(struct daemon *d)
{
	if (strcmp(getenv(ROLE), "never-stops") != 0)
		daemon_stopped(d);
}

static uint64_t capabilities(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2] = {{0}};

	CHECK(syscall(SYS_capget, &head, caps) == 0);
	return (uint64_t)caps[1].permitted << 32 | caps[0].permitted;
}

static void little_status(void *arg, struct admin_reply *r)
{
	struct daemon *d = arg;
	char *path = daemon_socket(d, DAEMON_STORED, DAEMON_RAFTD);

	admin_bool(r, "opened", d->state == d);
	admin_i64(r, "no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	admin_i64(r, "dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	admin_u64(r, "uid", geteuid());
	admin_u64(r, "capabilities", capabilities());
	admin_str(r, "socket", strrchr(path, '/') + 1);
	free(path);
}

static int little_main(int argc, char **argv)
{
	static const struct daemon_setup setup = {
		.kind = DAEMON_RAFTD,
		.summary = "a little daemon",
		.open = little_open,
		.stop = little_stop,
		.status = little_status,
		.stop_timeout_ms = 50,
	};

	return daemon_main(argc, argv, &setup);
}

/* ---- the test's side of it */

struct child {
	pid_t pid;
	int err, ready;       /* its standard error, its readiness */
	char said[16384];
	size_t len;
};

static void write_config(void)
{
	char path[300];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/conf", tap_dir());
	f = fopen(path, "w");
	OK(f != NULL);
	OK(fprintf(f, "cluster_id = 1\nnode_id = 3\nrun_dir = %s/run\nlog_level = warn\n"
		   "member = 3 c 127.0.0.1:1 127.0.0.1:2 %064x\n", tap_dir(), 7) > 0);
	OK(fclose(f) == 0);
}

static void child_exec(const char *role, int err, int ready, char *const *extra)
{
	char *argv[12] = {(char[]){"little"}, (char[]){"-c"}, NULL, (char[]){"-r"}, (char[]){"9"}};
	char conf[300], self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);   /* run, it would be valgrind */
	int n = 5;

	(void)snprintf(conf, sizeof conf, "%s/conf", tap_dir());
	argv[2] = conf;
	for (; *extra != NULL && n < 11; extra++)
		argv[n++] = *extra;
	if (len < 0 || dup2(err, STDERR_FILENO) < 0 || dup2(err, STDOUT_FILENO) < 0 || dup2(ready, 9) < 0 ||
	    setenv(ROLE, role, 1) != 0)
		_exit(99);
	self[len] = 0;
	execv(self, argv);
	_exit(98);
}

static void child_start(struct child *c, const char *role, char *const *extra)
{
	int err[2], ready[2];

	*c = (struct child){0};
	OK(pipe2(err, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC) == 0);
	c->pid = fork();
	OK(c->pid >= 0);
	if (c->pid == 0)
		child_exec(role, err[1], ready[1], extra);
	close(err[1]);
	close(ready[1]);
	c->err = err[0];
	c->ready = ready[0];
}

static bool child_ready(struct child *c)
{
	struct pollfd p = {.fd = c->ready, .events = POLLIN};
	char byte = 0;

	return poll(&p, 1, TAP_PATIENCE_MS) == 1 && read(c->ready, &byte, 1) == 1 && byte == '\n';
}

/* Reads all it says until it ends; its exit status, or -1 by a signal. */
static int child_end(struct child *c)
{
	int status = 0;
	ssize_t n;

	while ((n = read(c->err, c->said + c->len, sizeof c->said - 1 - c->len)) > 0)
		c->len += (size_t)n;
	OK(waitpid(c->pid, &status, 0) == c->pid);
	close(c->err);
	close(c->ready);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *const nothing[] = {NULL};

static void ask(const char *line, struct buf *got)
{
	char path[300];
	struct pollfd p = {.events = POLLIN};

	(void)snprintf(path, sizeof path, "%s/run/raftd.admin", tap_dir());
	p.fd = raw_connect(path);
	OK(p.fd >= 0);
	raw_send(p.fd, line, strlen(line));
	buf_init(got, 0);
	while (got->len < 2 || memcmp(got->data + got->len - 2, "\n\n", 2) != 0) {
		EQ_INT(poll(&p, 1, TAP_PATIENCE_MS), 1);
		OK(raw_read(p.fd, got));
	}
	close(p.fd);
	buf_u8(got, 0);
}

static bool says(const char *line, const char *want)
{
	struct buf got;
	bool found;

	ask(line, &got);
	found = strstr((char *)got.data, want) != NULL;
	if (!found)
		printf("# got: %s", got.data);
	buf_free(&got);
	return found;
}

TEST(a_daemon_says_ready_answers_and_stops_with_zero)
{
	struct child c;

	write_config();
	child_start(&c, "good", nothing);
	OK(child_ready(&c));
	OK(says("status\n", "\nnode_id: 3\n"));
	OK(says("status\n", "\nopened: true\n"));
	OK(says("status\n", "\nno_new_privs: 1\n"));
	OK(says("status\n", "\ndumpable: 0\n"));
	OK(says("status\n", "\nsocket: stored-raftd.sock\n"));
	OK(says("json status\n", "\"daemon\":\"raftd\","));
	EQ_INT(kill(c.pid, SIGTERM), 0);
	EQ_INT(child_end(&c), 0);
}

TEST(a_second_instance_is_refused_and_told_the_holder)
{
	char want[64];
	struct child c, second;

	write_config();
	child_start(&c, "good", nothing);
	OK(child_ready(&c));
	for (int i = 0; i < 3; i++) {
		child_start(&second, "good", nothing);
		EQ_INT(child_end(&second), EXIT_FATAL);
		(void)snprintf(want, sizeof want, "another raftd is running pid=%ld ", (long)c.pid);
		OK(strstr(second.said, want) != NULL);
	}
	OK(says("status\n", "node_id: 3\n"));
	EQ_INT(kill(c.pid, SIGINT), 0);
	EQ_INT(child_end(&c), 0);
}

TEST(a_killed_daemon_leaves_nothing_in_the_way)
{
	struct child c;

	write_config();
	for (int i = 0; i < 5; i++) {
		child_start(&c, "good", nothing);
		OK(child_ready(&c));
		OK(says("status\n", "node_id: 3\n"));
		EQ_INT(kill(c.pid, SIGKILL), 0);
		EQ_INT(child_end(&c), -1);
	}
}

TEST(sighup_reads_the_log_level_again_and_survives_a_bad_file)
{
	char *const extra[] = {(char[]){"-d"}, NULL};
	char path[300];
	struct child c;
	struct buf got;
	FILE *f;
	bool bad;

	write_config();
	child_start(&c, "good", extra);
	OK(child_ready(&c));
	OK(says("loglevel\n", "log_level: debug\n"));
	EQ_INT(kill(c.pid, SIGHUP), 0);
	for (bool again = true; again; buf_free(&got)) {
		ask("loglevel\n", &got);
		again = strstr((char *)got.data, "log_level: warn\n") == NULL;
	}
	(void)snprintf(path, sizeof path, "%s/conf", tap_dir());
	f = fopen(path, "a");
	bad = f != NULL && fputs("nonsense\n", f) > 0 && fclose(f) == 0;
	OK(bad);
	EQ_INT(kill(c.pid, SIGHUP), 0);
	OK(says("status\n", "log_level: warn\n"));
	EQ_INT(kill(c.pid, SIGTERM), 0);
	EQ_INT(child_end(&c), 0);
	OK(strstr(c.said, "configuration not read again error=") != NULL);
}

TEST(a_stop_that_never_ends_is_ended)
{
	struct child c;

	write_config();
	child_start(&c, "never-stops", nothing);
	OK(child_ready(&c));
	EQ_INT(kill(c.pid, SIGTERM), 0);
	EQ_INT(child_end(&c), 0);
	OK(strstr(c.said, "not stopped in time") != NULL);
}

static void expect_exit(const char *role, char *const *extra, int status, const char *said)
{
	struct child c;
	int got;

	child_start(&c, role, extra);
	got = child_end(&c);
	if (got != status || strstr(c.said, said) == NULL)
		printf("# status %d, said: %s\n", got, c.said);
	EQ_INT(got, status);
	OK(strstr(c.said, said) != NULL);
}

TEST(mistakes_end_with_the_right_status_and_words)
{
	char *const bad[] = {(char[]){"--gatewayss=2"}, NULL};
	char *const number[] = {(char[]){"-i"}, (char[]){"x"}, NULL};
	char *const instance[] = {(char[]){"-i"}, (char[]){"1"}, NULL};
	char *const value[] = {(char[]){"--gateways"}, (char[]){"99"}, NULL};
	char *const user[] = {(char[]){"--user=no-such-user-here"}, NULL};
	char *const file[] = {(char[]){"-c"}, (char[]){"/nowhere/conf"}, NULL};
	char *const help[] = {(char[]){"-h"}, NULL};
	char *const version[] = {(char[]){"-V"}, NULL};

	write_config();
	expect_exit("good", bad, EXIT_USAGE, "bad option or value: --gatewayss=2");
	expect_exit("good", number, EXIT_USAGE, "bad option or value: -i");
	expect_exit("good", instance, EXIT_USAGE, "only gatewayd has instances");
	expect_exit("good", value, EXIT_FATAL, "gateways: 99 is not within 1 to 16");
	expect_exit("good", user, EXIT_FATAL, "no such user: no-such-user-here");
	expect_exit("good", file, EXIT_FATAL, "/nowhere/conf: No such file or directory");
	expect_exit("cannot-open", nothing, EXIT_FATAL, "cannot open: input/output error");
	expect_exit("good", help, 0, "--election_min_ms");
	expect_exit("good", version, 0, "raftd " QUORATE_VERSION "\n");
}

TEST(a_run_directory_open_to_others_is_refused)
{
	char path[300];

	write_config();
	(void)snprintf(path, sizeof path, "%s/run", tap_dir());
	EQ_INT(mkdir(path, 0700), 0);
	EQ_INT(chmod(path, 0750), 0);
	expect_exit("good", nothing, EXIT_FATAL, "others may enter it: its mode is 0750, not 0700");
	EQ_INT(rmdir(path), 0);
	EQ_INT(symlink("/dev/null", path), 0);
	expect_exit("good", nothing, EXIT_FATAL, "not a directory");
}

/* Only root can show it; others have nothing to drop. */
TEST(root_becomes_the_configured_user_and_keeps_nothing)
{
	char *const extra[] = {(char[]){"--user=nobody"}, NULL};
	const struct passwd *pw = geteuid() == 0 ? getpwnam("nobody") : NULL;
	char want[64];
	struct child c;

	if (pw == NULL)
		return;
	(void)snprintf(want, sizeof want, "\nuid: %u\ncapabilities: 0\n", pw->pw_uid);
	write_config();
	EQ_INT(chmod(tap_dir(), 0711), 0);
	child_start(&c, "good", extra);
	OK(child_ready(&c));
	OK(says("status\n", want));
	OK(says("status\n", "\nno_new_privs: 1\n"));
	EQ_INT(kill(c.pid, SIGTERM), 0);
	EQ_INT(child_end(&c), 0);
}

TEST(the_service_manager_is_told)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char got[64] = "";
	struct pollfd p = {.events = POLLIN};
	struct child c;

	write_config();
	(void)snprintf(un.sun_path, sizeof un.sun_path, "%s/notify", tap_dir());
	p.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	EQ_INT(bind(p.fd, (struct sockaddr *)&un, sizeof un), 0);
	OK(setenv("NOTIFY_SOCKET", un.sun_path, 1) == 0);
	child_start(&c, "good", nothing);
	OK(unsetenv("NOTIFY_SOCKET") == 0);
	EQ_INT(poll(&p, 1, TAP_PATIENCE_MS), 1);
	EQ_INT(recv(p.fd, got, sizeof got - 1, 0), 7);
	EQ_STR(got, "READY=1");
	EQ_INT(kill(c.pid, SIGTERM), 0);
	EQ_INT(poll(&p, 1, TAP_PATIENCE_MS), 1);
	EQ_INT(recv(p.fd, got, sizeof got - 1, 0), 10);
	OK(strncmp(got, "STOPPING=1", 10) == 0);
	EQ_INT(child_end(&c), 0);
	close(p.fd);
}

TEST(a_lock_names_its_holder_and_frees_itself)
{
	char path[300];
	pid_t holder = 0;
	int fd = -1, other = -1;

	(void)snprintf(path, sizeof path, "%s/x.lock", tap_dir());
	EQ_INT(lockfile_take(path, &fd, &holder), ERR_OK);
	EQ_INT(lockfile_take(path, &other, &holder), ERR_EXISTS);
	EQ_INT(holder, getpid());
	close(fd);
	EQ_INT(lockfile_take(path, &other, &holder), ERR_OK);
	close(other);
	EQ_INT(lockfile_take("/nowhere/x.lock", &fd, &holder), ERR_IO);
}

TEST(options_and_configuration_flags_are_told_apart)
{
	char *argv[] = {(char[]){"x"}, (char[]){"--user"}, (char[]){"-d"}, (char[]){"-d"},
		(char[]){"--gateways=2"}, (char[]){"-i"}, (char[]){"3"}, NULL};
	struct daemon_options o;
	char why[100];

	EQ_INT(daemon_options_read(7, argv, &o, why, sizeof why), ERR_OK);
	EQ_INT(o.n_flags, 3);
	EQ_STR(o.flags[1], "-d");
	EQ_STR(o.flags[2], "--gateways=2");
	OK(o.debug);
	EQ_INT(o.instance, 3);
	EQ_INT(o.ready_fd, -1);
	free(o.flags);
	EQ_INT(daemon_options_read(6, argv, &o, why, sizeof why), ERR_BAD_ARGUMENT);
	EQ_STR(why, "bad option or value: -i (try -h)");
}

TESTS = {
	T(a_daemon_says_ready_answers_and_stops_with_zero),
	T(a_second_instance_is_refused_and_told_the_holder),
	T(a_killed_daemon_leaves_nothing_in_the_way),
	T(sighup_reads_the_log_level_again_and_survives_a_bad_file),
	T(a_stop_that_never_ends_is_ended),
	T(mistakes_end_with_the_right_status_and_words),
	T(a_run_directory_open_to_others_is_refused),
	T(root_becomes_the_configured_user_and_keeps_nothing),
	T(the_service_manager_is_told),
	T(a_lock_names_its_holder_and_frees_itself),
	T(options_and_configuration_flags_are_told_apart),
};

int main(int argc, char **argv)
{
	if (getenv(ROLE) != NULL)
		return little_main(argc, argv);
	return tap_main(argc, argv, tap_cases, sizeof tap_cases / sizeof tap_cases[0]);
}
