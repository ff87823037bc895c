/* SPDX-License-Identifier: Apache-2.0 */
/* The directories that `quorate init` makes, and what it refuses to do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/plan.h"
#include "tests/lib/ctl_run.h"
#include "tests/lib/tap.h"

static struct ctl_result got;

static void run(const char *fmt, const char *dir)
{
	char line[8192];
	const char *at = strchr(fmt, '@');

	(void)snprintf(line, sizeof line, "%.*s%s%s", at ? (int)(at - fmt) : (int)strlen(fmt), fmt,
		       at ? dir : "",
		       at ? at + 1 : "");
	ctl_run(&got, "127.0.0.1:1", NULL, line);
}

static mode_t mode_of(const char *dir, const char *name)
{
	char path[8192];
	struct stat st;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static struct config config_of(const char *dir, unsigned i)
{
	char path[8192];
	struct config c;
	struct config_error e;

	(void)snprintf(path, sizeof path, "%s/node%u/quorate.conf", dir, i);
	EQ_INT(config_read(path, 0, NULL, &c, &e), ERR_OK);
	return c;
}

TEST(a_cluster_is_made_with_keys_configuration_and_directories)
{
	char dir[4200];
	struct config a, b;
	uint8_t key[KEY_LEN], public_key[KEY_LEN], secret_a[KEY_LEN], secret_b[KEY_LEN];
	const char *why;

	(void)snprintf(dir, sizeof dir, "%s/x/y", tap_dir());
	run("init --dir @ --nodes 3 --base-port 4000", dir);
	EQ_INT(got.code, 0);
	EQ_INT(plan_count(dir), 3);
	EQ_INT(mode_of(dir, "node0/node.key"), 0600);
	EQ_INT(mode_of(dir, "node0/cluster.secret"), 0600);
	EQ_INT(mode_of(dir, "node0/run"), 0700);
	EQ_INT(mode_of(dir, "node0/data"), 0700);
	EQ_INT(mode_of(dir, "node2/log"), 0700);
	a = config_of(dir, 0);
	b = config_of(dir, 2);
	EQ_STR(a.client_listen, "127.0.0.1:4000");
	EQ_STR(a.peer_listen, "127.0.0.1:4001");
	EQ_STR(b.client_listen, "127.0.0.1:4020");
	OK(a.cluster_id != 0 && a.cluster_id == b.cluster_id);
	EQ_INT(a.n_members, 3);
	EQ_STR(a.members[2].client_addr, "127.0.0.1:4020");
	EQ_STR(a.members[2].name, "node2");
	EQ_INT(memcmp(a.members[1].key, b.members[1].key, 32), 0);
	EQ_INT(keyfile_load(b.key_file, key, &why), ERR_OK);
	key_public(key, public_key);
	EQ_INT(memcmp(public_key, a.members[2].key, 32), 0);
	EQ_INT(keyfile_load(a.secret_file, secret_a, &why), ERR_OK);
	EQ_INT(keyfile_load(b.secret_file, secret_b, &why), ERR_OK);
	OK(key_equal(secret_a, secret_b) && !key_equal(secret_a, key));
	config_free(&a);
	config_free(&b);
}

TEST(what_is_there_is_not_touched)
{
	char dir[4200], path[4300];
	uint8_t before[KEY_LEN], after[KEY_LEN];
	const char *why;

	(void)snprintf(dir, sizeof dir, "%s/d", tap_dir());
	(void)snprintf(path, sizeof path, "%s/node0/node.key", dir);
	run("init --dir @", dir);
	EQ_INT(got.code, 0);
	EQ_INT(keyfile_load(path, before, &why), ERR_OK);
	run("init --dir @ --nodes 3", dir);
	EQ_INT(got.code, CTL_ERROR);
	OK(strstr(got.err, "is there already") != NULL);
	EQ_INT(plan_count(dir), 1);
	EQ_INT(keyfile_load(path, after, &why), ERR_OK);
	OK(key_equal(before, after));
}

TEST(nodes_on_other_hosts_share_ports_and_have_names)
{
	char dir[4200];
	struct config c;

	(void)snprintf(dir, sizeof dir, "%s/d", tap_dir());
	run("init --dir @ --nodes 3 --hosts 10.0.0.1,fd00::2,10.0.0.1 --name a,b,c", dir);
	EQ_INT(got.code, 0);
	c = config_of(dir, 1);
	EQ_STR(c.client_listen, "[fd00::2]:2379");
	EQ_STR(c.members[0].peer_addr, "10.0.0.1:2380");
	EQ_STR(c.members[2].peer_addr, "10.0.0.1:2390");
	EQ_STR(c.members[1].name, "b");
	config_free(&c);
}

TEST(bad_plans_leave_nothing_behind)
{
	static const char *const bad[] = {
		"init", "init --dir @ x", "init --dir @ --nodes 0", "init --dir @ --nodes 10",
		"init --dir @ --base-port 65530 --nodes 3", "init --dir @ --base-port 0",
		"init --dir @ --hosts example.org", "init --dir @ --hosts 10.0.0.1 --nodes 2",
		"init --dir @ --name a,a --nodes 2", "init --dir @ --name a --nodes 2",
		"init --dir @ --name 'a b'",
		"init --key /nowhere/key", "init --dir @ --key k",
		/* too long for sockets; its parents stay */
		"init --dir @/0000000000000000000000000000000000000000000000000000000000000000000"};
	char dir[4200];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		(void)snprintf(dir, sizeof dir, "%s/d", tap_dir());
		run(bad[i], dir);
		OK(got.code != 0 && got.err[0] != 0);
		EQ_INT(plan_count(dir), 0);
		OK(rmdir(dir) == 0 || access(dir, F_OK) != 0 ||
		   i + 1 == sizeof bad / sizeof bad[0]);
	}
}

TEST(a_single_key_can_be_made)
{
	char path[4200];
	uint8_t key[KEY_LEN], public_key[KEY_LEN];
	char hex[KEY_HEX_LEN + 2];
	const char *why;

	(void)snprintf(path, sizeof path, "%s/node.key", tap_dir());
	run("init --key @", path);
	EQ_INT(got.code, 0);
	EQ_INT(keyfile_load(path, key, &why), ERR_OK);
	key_public(key, public_key);
	key_to_hex(public_key, hex);
	hex[KEY_HEX_LEN] = '\n';
	hex[KEY_HEX_LEN + 1] = 0;
	EQ_STR(got.out, hex);
	run("init --key @", path);
	EQ_INT(got.code, CTL_ERROR);
}

static pid_t begin(const char *fmt, const char *dir)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	run(fmt, dir);
	_exit(got.code);
}

/* Else their nodes lie side by side, and the next one takes them for one cluster. */
TEST(of_two_that_make_a_cluster_at_the_same_time_one_does)
{
	for (unsigned round = 0; round < 8; round++) {
		int many = -1, one = -1, made;
		pid_t pids[2];
		char dir[4200];

		(void)snprintf(dir, sizeof dir, "%s/race%u", tap_dir(), round);
		pids[0] = begin("init --dir @ --nodes 3", dir);
		pids[1] = begin("init --dir @", dir);
		OK(waitpid(pids[0], &many, 0) == pids[0] && waitpid(pids[1], &one, 0) == pids[1]);
		made = (int)plan_count(dir);
		OK((many == 0) != (one == 0));
		EQ_INT(made, many == 0 ? 3 : 1);
		EQ_INT(mode_of(dir, "node2"), many == 0 ? 0700 : 0);
	}
}

TESTS = {
	T(of_two_that_make_a_cluster_at_the_same_time_one_does),
	T(a_cluster_is_made_with_keys_configuration_and_directories),
	T(what_is_there_is_not_touched),
	T(nodes_on_other_hosts_share_ports_and_have_names),
	T(bad_plans_leave_nothing_behind),
	T(a_single_key_can_be_made),
};
TAP_MAIN
