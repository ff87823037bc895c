/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/job.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/guard.h"

enum { JOB_WHOLE_GROUP = 1 << 2 };    /* PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9, which glibc does not know yet */

/* The terminal that controls us, if one of our own descriptors is it. */
static int job_tty(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (isatty(fd) && tcgetpgrp(fd) > 0)
			return fd;
	return -1;
}

/* From a background group this raises SIGTTOU, which must not stop us here. */
static void job_give_tty(const struct job *j, pid_t group)
{
	sigset_t ttou, old;

	(void)sigemptyset(&ttou);
	(void)sigaddset(&ttou, SIGTTOU);
	(void)pthread_sigmask(SIG_BLOCK, &ttou, &old);
	(void)tcsetpgrp(j->tty, group);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static bool job_has_tty(const struct job *j, pid_t group)
{
	return j->tty >= 0 && tcgetpgrp(j->tty) == group;
}

/* ---- begin and end ---- */

int job_open(struct job *j, char **argv, bool may_kill)
{
	*j = (struct job){.self = -1, .tty = -1, .link = -1};
	j->guard = guard_fork(argv, may_kill, &j->link);
	return j->guard > 0 ? 0 : errno;
}

/* It ends when nobody speaks to it any more; but not while it is stopped. */
static void job_end_guard(struct job *j)
{
	if (j->link < 0)
		return;
	(void)close(j->link);
	j->link = -1;
	(void)kill(j->guard, SIGCONT);
	while (waitpid(j->guard, NULL, 0) < 0 && errno == EINTR)
		;
}

void job_close(struct job *j)
{
	job_end_guard(j);
	if (j->self >= 0)
		(void)close(j->self);
	j->self = -1;
}

static int job_order(const struct job *j, const struct buf *env, mono_t kill_at)
{
	struct guard_order o = {.kill_at = kill_at, .env_size = env->len, .tty = -1};

	if (job_has_tty(j, getpgrp()))
		o.tty = j->tty;
	return send(j->link, &o, sizeof o, MSG_NOSIGNAL) < 0 ||
		send(j->link, env->data, env->len, MSG_NOSIGNAL) < 0 ? errno : 0;
}

int job_start(struct job *j, const struct buf *env, mono_t kill_at)
{
	struct guard_news news;
	int why;

	j->tty = job_tty();
	why = job_order(j, env, kill_at);
	if (why != 0)
		return why;
	if (recv(j->link, &news, sizeof news, 0) != (ssize_t)sizeof news)
		return ECHILD;              /* somebody has killed the guard */
	if (news.what == GUARD_FAILED)
		return news.value;
	j->pid = (pid_t)news.value;
	j->self = pidfd_open(j->pid, 0);
	return j->self >= 0 ? 0 : errno;    /* job_close() has it killed */
}

void job_kill_at(struct job *j, mono_t when)
{
	struct guard_order o = {.kill_at = when, .env_size = 0, .tty = -1};

	/* If there is no room, the guard is stopped: then it has an earlier time, and gets the next one. */
	if (j->link >= 0)
		(void)send(j->link, &o, sizeof o, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- its life ---- */

static bool job_is_over(const struct job *j)
{
	struct pollfd p = {.fd = j->self, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* An older kernel cannot mean just this group; but while there is a guard, or the program lives, its id is its own. */
void job_signal(const struct job *j, int sig)
{
	if (pidfd_send_signal(j->self, sig, NULL, JOB_WHOLE_GROUP) != 0 && errno == EINVAL &&
	    (j->link >= 0 || !job_is_over(j)))
		(void)kill(-j->pid, sig);
}

void job_continue(struct job *j)
{
	j->waits = false;
	if (job_has_tty(j, getpgrp()))
		job_give_tty(j, j->pid);
	job_signal(j, SIGCONT);
}

static void job_stopped(struct job *j, int sig)
{
	if (sig == SIGSTOP || j->tty < 0)
		return;               /* somebody did it by hand, and will undo it */
	/* It may have asked for the terminal before it got it. */
	if (job_has_tty(j, j->pid) && sig == SIGTSTP)
		job_give_tty(j, getpgrp());
	if (!job_has_tty(j, j->pid))
		(void)kill(0, SIGTSTP);   /* the whole job of the shell above; goes on when we do */
	j->waits = true;
}

int job_descriptor(const struct job *j)
{
	return j->link >= 0 ? j->link : j->self;
}

/* If somebody has stopped it: it would neither tell nor guard. */
static void job_wake_guard(const struct job *j)
{
	siginfo_t info = {.si_pid = 0};

	if (waitid(P_PID, (id_t)j->guard, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid != 0)
		(void)kill(j->guard, SIGCONT);
}

/* True: it has ended. Without a guard nobody says how. */
static bool job_hear(struct job *j, int *code)
{
	struct guard_news news;
	ssize_t n = j->link >= 0 ? recv(j->link, &news, sizeof news, MSG_DONTWAIT) : 0;

	if (n < 0 && errno == EAGAIN) {
		job_wake_guard(j);
		return false;
	}
	if (n != (ssize_t)sizeof news) {
		j->unguarded = true;
		job_end_guard(j);
		*code = 128 + SIGKILL;
		return job_is_over(j);
	}
	if (news.what == GUARD_STOPPED) {
		job_stopped(j, news.value);
		return false;
	}
	j->late = news.late;
	*code = news.what == GUARD_EXITED ? news.value : 128 + news.value;
	return true;
}

bool job_ended(struct job *j, bool whole, int *code)
{
	if (!job_hear(j, code))
		return false;
	if (whole)
		job_signal(j, SIGKILL);
	if (job_has_tty(j, j->pid))
		job_give_tty(j, getpgrp());
	return true;
}

int job_start_code(int why)
{
	return why == ENOENT ? 127 : 126;
}
