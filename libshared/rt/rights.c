/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"

/* Each right that is kept, with its reason. */
static const struct rights_row {
	enum daemon_kind kind;
	bool dumpable;                /* core dumps: nothing secret in memory */
} rights_rows[] = {
	{DAEMON_RAFTD, false},        /* the node's secret key, the cluster secret */
	{DAEMON_STORED, true},
	{DAEMON_LEASED, true},
	{DAEMON_WATCHD, true},
	{DAEMON_GATEWAYD, false},     /* clients' passwords and tokens */
};

static void rights_block_signals(void)
{
	static const int ours[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		sigdelset(&all, ours[i]);
	CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
	CHECK(sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == 0);
}

static void rights_raise_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

void rights_begin(void)
{
	int fd;

	(void)umask(077);
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	if (fd > STDERR_FILENO)
		(void)close(fd);
	(void)syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);   /* best effort: Linux 5.11 */
	rights_raise_files();
	rights_block_signals();
}

int rights_find_user(const char *name, struct rights_user *u)
{
	const struct passwd *pw;

	*u = (struct rights_user){.uid = geteuid(), .gid = getegid()};
	if (name[0] == 0)
		return ERR_OK;
	pw = getpwnam(name);
	if (pw == NULL || strlen(name) >= sizeof u->name)
		return ERR_NOT_FOUND;
	if (geteuid() == 0) {
		u->change = pw->pw_uid != 0;
		u->uid = pw->pw_uid;
		u->gid = pw->pw_gid;
		(void)snprintf(u->name, sizeof u->name, "%s", name);
	} else if (pw->pw_uid != geteuid()) {
		log_warn("not started as root: cannot become the configured user user=%s", name);
	}
	return ERR_OK;
}

static void rights_set_caps(unsigned keep)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2] = {{keep, keep, 0}, {0, 0, 0}};

	if (syscall(SYS_capset, &head, caps) != 0)
		fatal("start it as the configured user instead of root", "capset: %s", strerror(errno));
}

void rights_become(const struct rights_user *u)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fatal(NULL, "no_new_privs: %s", strerror(errno));
	if (!u->change)
		return;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || initgroups(u->name, u->gid) != 0 ||
	    setresgid(u->gid, u->gid, u->gid) != 0 || setresuid(u->uid, u->uid, u->uid) != 0)
		fatal("start it as the configured user instead of root", "cannot become %s: %s", u->name,
		      strerror(errno));
	(void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	rights_set_caps(1u << CAP_NET_BIND_SERVICE);
	CHECK(setuid(0) != 0 && geteuid() == u->uid);
}

void rights_drop(enum daemon_kind kind)
{
	bool dumpable = false;

	if (geteuid() != 0)
		rights_set_caps(0);
	for (size_t i = 0; i < ARRAY_LEN(rights_rows); i++)
		if (rights_rows[i].kind == kind)
			dumpable = rights_rows[i].dumpable;
	/* Becoming another user took it away from all; give it back where it helps. */
	if (prctl(PR_SET_DUMPABLE, dumpable ? 1 : 0, 0, 0, 0) != 0)
		fatal(NULL, "dumpable: %s", strerror(errno));
}
