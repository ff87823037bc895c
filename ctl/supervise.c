/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "ctl/ctl.h"

enum {
	UP_TURN_MS = 1000,
	UP_LOOK_MS = 100,             /* between looks for a leader */
	UP_WAIT_NOTE_MS = 10000,
	UP_STAGE_MS = 8000,           /* for the daemons of one kind to stop by themselves */
	UP_START_FAILURES = 5
};

static const enum daemon_kind up_stop_order[] = {DAEMON_GATEWAYD, DAEMON_WATCHD, DAEMON_LEASED,
						 DAEMON_STORED, DAEMON_RAFTD};

static void up_say(const struct supervisor *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void up_say(const struct supervisor *s, const char *fmt, ...)
{
	char text[4608];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	s->say(s->arg, text);
}

static void up_stage(struct supervisor *s, unsigned stage);

static void up_stop(struct supervisor *s, int code)
{
	if (s->state == SUPERVISE_STOPPING)
		return;
	s->state = SUPERVISE_STOPPING;
	s->code = code;
	/* That links go down is no news now. */
	for (size_t i = 0; i < s->n_children; i++)
		if (s->children[i].log.show == UP_LOG_WARNINGS)
			s->children[i].log.show = UP_LOG_ERRORS;
	up_stage(s, 0);
}

static size_t up_signal_kind(const struct supervisor *s, enum daemon_kind kind, int signo)
{
	size_t alive = 0;

	for (size_t i = 0; i < s->n_children; i++) {
		const struct up_child *c = &s->children[i];

		if (c->kind != kind || c->pid == 0)
			continue;
		alive++;
		if (signo != 0)
			(void)kill(c->pid, signo);
	}
	return alive;
}

/* Begins to stop the daemons of one kind; with none left goes on to the next. */
static void up_stage(struct supervisor *s, unsigned stage)
{
	while (stage < ARRAY_LEN(up_stop_order) && up_signal_kind(s, up_stop_order[stage],
								  SIGTERM) == 0)
		stage++;
	s->stage = stage;
	s->stage_killed = false;
	s->stage_until = mono_add_ms(mono_now(), UP_STAGE_MS);
	if (stage == ARRAY_LEN(up_stop_order))
		s->state = SUPERVISE_OVER;
}

static void up_stage_timeout(struct supervisor *s, mono_t now)
{
	if (s->stage_killed || mono_before(now, s->stage_until))
		return;
	up_say(s, "%s does not stop; killing it", daemon_name(up_stop_order[s->stage]));
	(void)up_signal_kind(s, up_stop_order[s->stage], SIGKILL);
	s->stage_killed = true;
}

static void up_start_due(struct supervisor *s, mono_t now)
{
	for (size_t i = 0; i < s->n_children; i++) {
		struct up_child *c = &s->children[i];

		if (c->pid != 0 || mono_before(now, c->again_at))
			continue;
		if (up_child_start(c) != ERR_OK) {
			up_say(s, "%s cannot be started: %s", c->label, strerror(errno));
			c->again_at = mono_add_ms(now, UP_REST_MAX_MS);
		}
	}
}

/* A daemon that dies while everything else runs comes back; one that never came up ends it all. */
static void up_child_gone(struct supervisor *s, struct up_child *c, int status)
{
	char cause[128];
	int64_t rest_ms;
	bool usage = WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_USAGE ||
					   WEXITSTATUS(status) >= 125);

	up_child_cause(cause, sizeof cause, status);
	up_child_died(c, &s->random);
	if (s->state == SUPERVISE_STOPPING)
		return;
	if (s->state == SUPERVISE_STARTING && (usage || c->failures >= UP_START_FAILURES)) {
		up_say(s, "%s cannot run: %s%s%s", c->label, cause,
		       c->log.path[0] ? "; its log is " : "", c->log.path);
		up_stop(s, CTL_ERROR);
		return;
	}
	rest_ms = mono_sub_ms(c->again_at, mono_now());
	if (rest_ms > 0)
		up_say(s, "%s died: %s; it starts again in %d ms", c->label, cause, (int)rest_ms);
	else
		up_say(s, "%s died: %s; it starts again at once", c->label, cause);
}

static void up_reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < s->n_children; i++)
			if (s->children[i].pid == pid) {
				up_child_gone(s, &s->children[i], status);
				break;
			}
	if (s->state == SUPERVISE_STOPPING && up_signal_kind(s, up_stop_order[s->stage], 0) == 0)
		up_stage(s, s->stage + 1);
}

static void up_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		if (info.ssi_signo == SIGHUP && s->hangup) {
			for (size_t i = 0; i < ARRAY_LEN(up_stop_order); i++)
				(void)up_signal_kind(s, up_stop_order[i], SIGHUP);
			continue;
		}
		if (s->state != SUPERVISE_STOPPING) {
			up_say(s, "stopping");
			s->signo = (int)info.ssi_signo;
			up_stop(s, CTL_OK);
		} else {   /* asked twice: at once */
			for (size_t i = 0; i < ARRAY_LEN(up_stop_order); i++)
				(void)up_signal_kind(s, up_stop_order[i], SIGKILL);
		}
	}
	up_reap(s);
}

static bool up_all_ready(const struct supervisor *s)
{
	for (size_t i = 0; i < s->n_children; i++)
		if (!s->children[i].ready)
			return false;
	return true;
}

static void up_look(struct supervisor *s, mono_t now)
{
	if (mono_before(now, s->look_at))
		return;
	if (up_all_ready(s) && s->is_up(s->arg)) {
		s->state = SUPERVISE_RUNNING;
		s->up(s->arg);
		return;
	}
	now = mono_now();
	s->look_at = mono_add_ms(now, UP_LOOK_MS);
	if (mono_before(now, s->note_at))
		return;
	s->note_at = mono_add_ms(now, UP_WAIT_NOTE_MS);
	if (up_all_ready(s))
		up_say(s, "all daemons are ready; waiting for a leader");
	for (size_t i = 0; i < s->n_children; i++)
		if (!s->children[i].ready)
			up_say(s, "waiting for %s to be ready", s->children[i].label);
}

static int up_timeout(const struct supervisor *s, mono_t now)
{
	mono_t first = mono_add_ms(now, UP_TURN_MS);

	if (s->state == SUPERVISE_STARTING)
		first = mono_min(first, s->look_at);
	if (s->state == SUPERVISE_STOPPING && !s->stage_killed)
		first = mono_min(first, s->stage_until);
	for (size_t i = 0; s->state < SUPERVISE_STOPPING && i < s->n_children; i++)
		if (s->children[i].pid == 0)
			first = mono_min(first, s->children[i].again_at);
	return mono_before(first, now) ? 0 : (int)mono_sub_ms(first, now) + 1;
}

static void up_turn(struct supervisor *s, struct pollfd *p)
{
	size_t n = s->n_children;
	mono_t now = mono_now();

	if (s->state < SUPERVISE_STOPPING)
		up_start_due(s, now);
	p[0] = (struct pollfd){.fd = s->signals, .events = POLLIN};
	for (size_t i = 0; i < n; i++) {
		p[1 + 2 * i] = (struct pollfd){.fd = s->children[i].err_fd,
					       .events = POLLIN};
		p[2 + 2 * i] = (struct pollfd){.fd = s->children[i].ready_fd,
					       .events = POLLIN};
	}
	(void)poll(p, 1 + 2 * n, up_timeout(s, now));
	for (size_t i = 0; i < n; i++) {
		if (p[1 + 2 * i].revents != 0)
			up_child_hear(&s->children[i]);
		if (p[2 + 2 * i].revents != 0)
			up_child_hear_ready(&s->children[i]);
	}
	up_signals(s);
	now = mono_now();
	if (s->state == SUPERVISE_STARTING)
		up_look(s, now);
	if (s->state == SUPERVISE_STOPPING)
		up_stage_timeout(s, now);
}

static int up_signals_open(struct supervisor *s, sigset_t *old)
{
	static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		(void)sigaddset(&set, caught[i]);
	(void)sigprocmask(SIG_BLOCK, &set, old);
	(void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals >= 0)
		return CTL_OK;
	up_say(s, "signalfd: %s", strerror(errno));
	return CTL_ERROR;
}

int supervise(struct supervisor *s)
{
	struct pollfd *p = calloc(1 + 2 * s->n_children, sizeof *p);
	sigset_t old;
	int code;

	if (p == NULL) {
		up_say(s, "%s", err_text(ERR_NO_MEMORY));
		return CTL_ERROR;
	}
	code = up_signals_open(s, &old);
	if (code == CTL_OK) {
		s->look_at = mono_now();
		s->note_at = mono_add_ms(mono_now(), UP_WAIT_NOTE_MS);
		s->random = (uint64_t)mono_now().ns;
		while (s->state != SUPERVISE_OVER)
			up_turn(s, p);
		(void)close(s->signals);
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
		code = s->code;
	}
	free(p);
	return code;
}
