/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/job.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* The terminal is the program's before its first instruction: what is typed then is typed to it. */
int job_start(struct job *j, char **argv, char **envp, const sigset_t *mask)
{
	posix_spawn_file_actions_t first;
	posix_spawnattr_t how;
	int why = posix_spawnattr_init(&how);

	if (why != 0)
		return why;
	why = posix_spawn_file_actions_init(&first);
	if (why != 0) {
		(void)posix_spawnattr_destroy(&how);
		return why;
	}
	(void)posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	(void)posix_spawnattr_setpgroup(&how, 0);
	(void)posix_spawnattr_setsigmask(&how, mask);
	j->waits = false;
	j->tty = job_tty();
	if (job_has_tty(j, getpgrp()))
		why = posix_spawn_file_actions_addtcsetpgrp_np(&first, j->tty);
	if (why == 0)
		why = posix_spawnp(&j->pid, argv[0], &first, &how, argv, envp);
	(void)posix_spawn_file_actions_destroy(&first);
	(void)posix_spawnattr_destroy(&how);
	return why;
}

void job_signal(const struct job *j, int sig)
{
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

bool job_ended(struct job *j, bool whole, int *code)
{
	siginfo_t info = {.si_pid = 0};

	/* Not reaped yet: its id, which is that of its group, is still its own. */
	if (waitid(P_PID, (id_t)j->pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
		return false;
	if (info.si_code == CLD_STOPPED) {
		(void)waitid(P_PID, (id_t)j->pid, &info, WSTOPPED | WNOHANG);
		job_stopped(j, info.si_status);
		return false;
	}
	if (whole)
		job_signal(j, SIGKILL);
	(void)waitid(P_PID, (id_t)j->pid, &info, WEXITED);
	if (job_has_tty(j, j->pid))
		job_give_tty(j, getpgrp());
	*code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	return true;
}

int job_start_code(int why)
{
	return why == ENOENT ? 127 : 126;
}
