/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

struct guard {
	int link;              /* to its owner */
	int children;          /* says that the program has stopped or ended */
	int timer;             /* says that its time is over */
	char **argv;
	sigset_t mask;         /* the program's */
	bool may_kill;
	pid_t program;         /* and its process group; 0: not started yet */
	bool ended;
	struct guard_news news;
	bool unsent;           /* `news` are: the owner stands still, and much has happened */
};

mono_t guard_now(void)
{
	struct timespec ts;

	CHECK(clock_gettime(CLOCK_BOOTTIME, &ts) == 0);
	return (mono_t){(int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec};
}

/* ---- the program ---- */

static int guard_attributes(const struct guard *g, posix_spawnattr_t *how)
{
	int why = posix_spawnattr_init(how);

	if (why != 0)
		return why;
	(void)posix_spawnattr_setflags(how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	(void)posix_spawnattr_setpgroup(how, 0);
	(void)posix_spawnattr_setsigmask(how, &g->mask);
	return 0;
}

/* The terminal is the program's before its first instruction: what is typed then is typed to it. */
static int guard_spawn(struct guard *g, int tty)
{
	posix_spawn_file_actions_t first;
	posix_spawnattr_t how;
	int why = guard_attributes(g, &how);

	if (why != 0)
		return why;
	why = posix_spawn_file_actions_init(&first);
	if (why == 0) {
		if (tty >= 0)
			why = posix_spawn_file_actions_addtcsetpgrp_np(&first, tty);
		if (why == 0)
			why = posix_spawnp(&g->program, g->argv[0], &first, &how, g->argv, environ);
		(void)posix_spawn_file_actions_destroy(&first);
	}
	(void)posix_spawnattr_destroy(&how);
	return why;
}

static void guard_kill(const struct guard *g)
{
	if (g->may_kill && g->program > 0)
		(void)kill(-g->program, SIGKILL);
}

/* ---- its owner ---- */

/* What has ended may leave others of its group behind, as it may without us. */
static _Noreturn void guard_end(const struct guard *g)
{
	if (!g->ended)
		guard_kill(g);
	if (g->program > 0 && (g->ended || g->may_kill))
		(void)waitid(P_PID, (id_t)g->program, &(siginfo_t){.si_pid = 0}, WEXITED);
	_exit(0);
}

static void guard_send(struct guard *g)
{
	g->unsent = send(g->link, &g->news, sizeof g->news, MSG_DONTWAIT | MSG_NOSIGNAL) < 0;
}

static void guard_say(struct guard *g, enum guard_what what, int value)
{
	g->news.what = what;
	g->news.value = value;
	guard_send(g);
}

/* The strings stay where they are: they are in the environment now. */
static int guard_environment(struct guard *g, size_t size)
{
	char *text = malloc(size), *at = text;

	if (text == NULL)
		return ENOMEM;
	if (recv(g->link, text, size, 0) != (ssize_t)size || text[size - 1] != 0)
		guard_end(g);
	for (; at < text + size; at += strlen(at) + 1)
		if (putenv(at) != 0)
			return ENOMEM;
	return 0;
}

static void guard_start(struct guard *g, const struct guard_order *o)
{
	int why = guard_environment(g, o->env_size);

	if (why == 0)
		why = guard_spawn(g, o->tty);
	if (why == 0)
		guard_say(g, GUARD_STARTED, (int)g->program);
	else
		guard_say(g, GUARD_FAILED, why);
}

/* All there are: an older one that is over must not count when a later one has come. */
static void guard_obey(struct guard *g)
{
	struct itimerspec at = {{0, 0}, {0, 0}};
	struct guard_order o;
	ssize_t n;

	while ((n = recv(g->link, &o, sizeof o, MSG_DONTWAIT)) == (ssize_t)sizeof o) {
		at.it_value.tv_sec = o.kill_at.ns / 1000000000;
		at.it_value.tv_nsec = o.kill_at.ns % 1000000000;
		(void)timerfd_settime(g->timer, TFD_TIMER_ABSTIME, &at, NULL);
		if (o.env_size > 0 && g->program == 0)
			guard_start(g, &o);
	}
	if (n >= 0 || errno != EAGAIN)
		guard_end(g);
}

/* ---- what happens ---- */

/* What has ended is left unreaped: its id stays its own. */
static void guard_look(struct guard *g)
{
	struct signalfd_siginfo ignored;
	siginfo_t info = {.si_pid = 0};

	while (read(g->children, &ignored, sizeof ignored) > 0)
		;
	if (g->program == 0 || g->ended ||
	    waitid(P_PID, (id_t)g->program, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
		return;
	if (info.si_code == CLD_STOPPED) {
		(void)waitid(P_PID, (id_t)g->program, &info, WSTOPPED | WNOHANG);
		guard_say(g, GUARD_STOPPED, info.si_status);
		return;
	}
	g->ended = true;
	guard_say(g, info.si_code == CLD_EXITED ? GUARD_EXITED : GUARD_SIGNALLED, info.si_status);
}

static void guard_time_over(struct guard *g)
{
	uint64_t times;

	/* A later time may have come in just now: then there is nothing to be read. */
	if (read(g->timer, &times, sizeof times) != (ssize_t)sizeof times)
		return;
	guard_kill(g);
	g->news.late = true;
}

static _Noreturn void guard_run(struct guard *g)
{
	for (;;) {
		struct pollfd p[] = {{.fd = g->link, .events = (short)(POLLIN | (g->unsent ? POLLOUT : 0))},
				     {.fd = g->children, .events = POLLIN}, {.fd = g->timer, .events = POLLIN}};

		(void)poll(p, sizeof p / sizeof p[0], -1);
		if (p[0].revents & ~POLLOUT)
			guard_obey(g);
		if (p[0].revents & POLLOUT)
			guard_send(g);
		if (p[2].revents != 0)
			guard_time_over(g);
		if (p[1].revents != 0)
			guard_look(g);
	}
}

/* ---- its beginning ---- */

static char **guard_words(char **argv)
{
	size_t n = 0;
	char **copy;

	while (argv[n] != NULL)
		n++;
	copy = calloc(n + 1, sizeof *copy);
	for (size_t i = 0; copy != NULL && i < n; i++) {
		copy[i] = strdup(argv[i]);
		if (copy[i] == NULL)
			return NULL;
	}
	return copy;
}

/*
 * Neither `killall quorate` nor `pkill -f "quorate lock"` shall mean it. The words of a command line stand one
 * behind the other, as the kernel has put them there, and ps reads them there; if argv's do not, it keeps them.
 */
static void guard_rename(struct guard *g)
{
	static const char name[] = "lock-guard";
	char *first = program_invocation_name, *end = first, **word = g->argv, **copy = guard_words(g->argv);
	size_t size;

	(void)prctl(PR_SET_NAME, name);
	while ((uintptr_t)end < (uintptr_t)*word)
		end += strlen(end) + 1;
	for (; *word != NULL && *word == end; word++)
		end += strlen(end) + 1;
	size = (size_t)(end - first);
	if (*word != NULL || copy == NULL || size < sizeof name)
		return;
	memset(first, 0, size);
	memcpy(first, name, sizeof name);
	g->argv = copy;
}

/* With all signals blocked. */
static _Noreturn void guard_main(struct guard *g)
{
	struct sigaction usual = {.sa_handler = SIG_DFL};
	sigset_t child;

	(void)setpgid(0, 0);
	guard_rename(g);
	/* Where it is ignored, children leave no exit status behind. */
	(void)sigaction(SIGCHLD, &usual, NULL);
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	g->children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	g->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (g->children < 0 || g->timer < 0)
		_exit(1);
	guard_run(g);
}

pid_t guard_fork(char **argv, bool may_kill, int *link)
{
	struct guard g = {.argv = argv, .may_kill = may_kill};
	sigset_t all;
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &g.mask);
	pid = fork();
	if (pid == 0) {
		(void)close(ends[0]);
		g.link = ends[1];
		guard_main(&g);
	}
	(void)sigprocmask(SIG_SETMASK, &g.mask, NULL);
	(void)close(ends[1]);
	if (pid < 0)
		(void)close(ends[0]);
	*link = ends[0];
	return pid;
}
