/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/up_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "client/endpoints.h"

enum { UP_READY_FD = 3 };

/*
 * In the child. Its process group is not ours, so that ^C reaches only the supervisor, which
 * stops the daemons in order; and it dies when the supervisor does, however that happens.
 */
static _Noreturn void child_run(const struct up_child *c, pid_t parent, int null, int err,
				int ready)
{
	char instance[16];
	const char *argv[] = {c->program, "-c", c->config, "-r", "3", "-i", instance, c->more[0],
			      c->more[1], NULL};
	sigset_t none;

	(void)snprintf(instance, sizeof instance, "%u", c->instance);
	/* A shared group is gone when all in it have died: then one of its own. */
	if (setpgid(0, c->group != NULL ? *c->group : 0) != 0)
		(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	(void)unsetenv("NOTIFY_SOCKET");   /* systemd hears the supervisor */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
	if (dup2(null, STDIN_FILENO) < 0 || dup2(err, STDOUT_FILENO) < 0 ||
	    dup2(err, STDERR_FILENO) < 0)
		_exit(126);
	if (ready == UP_READY_FD ? fcntl(ready, F_SETFD, 0) < 0 : dup2(ready, UP_READY_FD) < 0)
		_exit(126);
	(void)execv(c->program, (char *const *)(uintptr_t)argv);
	(void)dprintf(STDERR_FILENO, "%s: %s\n", c->program, strerror(errno));
	_exit(127);
}

static void close_two(int p[2])
{
	(void)close(p[0]);
	(void)close(p[1]);
}

/* Above UP_READY_FD all of them, so that no dup2 in the child destroys another. */
static int child_pipe(int p[2])
{
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) != 0)
		return ERR_IO;
	for (int i = 0; i < 2; i++) {
		int high = p[i] > UP_READY_FD ? p[i] : fcntl(p[i], F_DUPFD_CLOEXEC,
							     UP_READY_FD + 1);

		if (high < 0) {
			close_two(p);
			return ERR_IO;
		}
		if (high != p[i])
			(void)close(p[i]);
		p[i] = high;
	}
	/* The daemon's end is the daemon's: it decides whether it wants to wait. */
	(void)fcntl(p[1], F_SETFL, 0);
	return ERR_OK;
}

static int child_fork(struct up_child *c, int null, int err[2], int ready[2])
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		child_run(c, parent, null, err[1], ready[1]);
	if (pid < 0)
		return ERR_IO;
	if (c->group != NULL && (*c->group == 0 || setpgid(pid, *c->group) != 0)) {
		(void)setpgid(pid, pid);   /* the child does the same: whoever is first */
		*c->group = getpgid(pid) == pid ? pid : *c->group;
	}
	c->pid = pid;
	c->err_fd = err[0];
	c->ready_fd = ready[0];
	c->ready = false;
	c->started = mono_now();
	(void)close(err[1]);
	(void)close(ready[1]);
	return ERR_OK;
}

int up_child_start(struct up_child *c)
{
	int err[2], ready[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC), rc;

	if (null < 0)
		return ERR_IO;
	rc = child_pipe(err);
	if (rc == ERR_OK) {
		rc = child_pipe(ready);
		if (rc == ERR_OK) {
			rc = child_fork(c, null, err, ready);
			if (rc != ERR_OK)
				close_two(ready);
		}
		if (rc != ERR_OK)
			close_two(err);
	}
	(void)close(null);
	return rc;
}

void up_child_hear(struct up_child *c)
{
	char data[8192];

	while (c->err_fd >= 0) {
		ssize_t n = read(c->err_fd, data, sizeof data);

		if (n > 0) {
			up_log_add(&c->log, bytes_of(data, (size_t)n));
		} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
			(void)close(c->err_fd);
			c->err_fd = -1;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

void up_child_hear_ready(struct up_child *c)
{
	char data[16];
	ssize_t n = c->ready_fd >= 0 ? read(c->ready_fd, data, sizeof data) : -1;

	if (n > 0)
		c->ready = true;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (c->ready_fd >= 0)
		(void)close(c->ready_fd);
	c->ready_fd = -1;
}

/* The first death costs nobody any time; who goes on dying rests longer and longer, and never in step. */
static int64_t child_rest_ms(unsigned failures, uint64_t *random)
{
	int64_t ms = UP_REST_MIN_MS;

	if (failures == 0)
		return 0;
	for (unsigned i = 1; i < failures && ms < UP_REST_MAX_MS; i++)
		ms *= 2;
	if (ms > UP_REST_MAX_MS)
		ms = UP_REST_MAX_MS;
	return ms / 2 + (int64_t)client_random(random, (uint64_t)ms / 2 + 1);
}

void up_child_died(struct up_child *c, uint64_t *random)
{
	mono_t now = mono_now();

	up_child_hear(c);
	up_log_end(&c->log);
	if (c->err_fd >= 0)
		(void)close(c->err_fd);
	if (c->ready_fd >= 0)
		(void)close(c->ready_fd);
	c->err_fd = c->ready_fd = -1;
	c->pid = 0;
	c->ready = false;
	if (mono_sub_ms(now, c->started) >= UP_LIVED_MS)
		c->failures = 0;
	c->again_at = mono_add_ms(now, child_rest_ms(c->failures, random));
	c->failures++;
}

void up_child_cause(char *to, size_t size, int status)
{
	if (WIFSIGNALED(status))
		(void)snprintf(to, size, "signal %d (%s)", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
	else
		(void)snprintf(to, size, "exit code %d", WEXITSTATUS(status));
}
