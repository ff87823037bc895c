/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster on this machine, in the foreground: starts the daemons, starts again those that die,
 * stops them in order.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "ctl/cluster.h"
#include "ctl/commands.h"
#include "ctl/up_cluster.h"

static const struct flag up_flags[] = {
	FLAG(struct up_wish, STR, dir, "dir", 0, "quorate.data", "DIR",
	     "where the nodes live; made if missing"),
	FLAG(struct up_wish, I64, nodes, "nodes", 0, "0", "N",
	     "how many nodes (default 1, or as many as there are)"),
	FLAG(struct up_wish, I64, base_port, "base-port", 0, "0", "PORT",
	     "client port of node 0 (default 2379); node i has PORT+10i, its peers PORT+10i+1"),
	FLAG(struct up_wish, STR, bin_dir, "bin-dir", 0, NULL, "DIR",
	     "where the daemons are"),
	FLAG(struct up_wish, BOOL, verbose, "verbose", 'v', NULL, "",
	     "show every log line, not only warnings"),
	FLAG_END
};

enum {
	UP_TURN_MS = 1000,
	UP_LOOK_MS = 100,             /* between looks for a leader */
	UP_ASK_MS = 250,              /* of one look: signals wait that long at most */
	UP_WAIT_NOTE_MS = 10000,
	UP_STAGE_MS = 8000,           /* for the daemons of one kind to stop by themselves */
	UP_START_FAILURES = 5
};

/*
 *   starting --all are ready and somebody leads--> running --signal--> stopping --> over
 *       +--------------- signal, or a daemon that cannot start ----------^
 */
enum up_state { UP_STARTING, UP_RUNNING, UP_STOPPING, UP_OVER };

struct up {
	struct ctl *ctl;
	struct up_cluster cluster;
	enum up_state state;
	int code;
	int signals;
	uint64_t random;
	mono_t look_at, note_at;
	size_t look_node;
	unsigned stage;               /* of stopping: which kind is being stopped */
	mono_t stage_until;
	bool stage_killed;
};

static const enum daemon_kind up_stop_order[] = {DAEMON_GATEWAYD, DAEMON_WATCHD, DAEMON_LEASED,
						 DAEMON_STORED, DAEMON_RAFTD};

static void up_say(const struct up *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void up_say(const struct up *u, const char *fmt, ...)
{
	va_list ap;

	fputs("quorate up: ", u->ctl->err);
	va_start(ap, fmt);
	(void)vfprintf(u->ctl->err, fmt, ap);
	va_end(ap);
	fputc('\n', u->ctl->err);
	(void)fflush(u->ctl->err);
}

static void up_stage(struct up *u, unsigned stage);

static void up_stop(struct up *u, int code)
{
	if (u->state == UP_STOPPING)
		return;
	u->state = UP_STOPPING;
	u->code = code;
	/* That links go down is no news now. */
	for (size_t i = 0; i < u->cluster.n_children; i++)
		if (u->cluster.children[i].log.show == UP_LOG_WARNINGS)
			u->cluster.children[i].log.show = UP_LOG_ERRORS;
	up_stage(u, 0);
}

static size_t up_signal_kind(const struct up *u, enum daemon_kind kind, int signo)
{
	size_t alive = 0;

	for (size_t i = 0; i < u->cluster.n_children; i++) {
		const struct up_child *c = &u->cluster.children[i];

		if (c->kind != kind || c->pid == 0)
			continue;
		alive++;
		if (signo != 0)
			(void)kill(c->pid, signo);
	}
	return alive;
}

/* Begins to stop the daemons of one kind; with none left goes on to the next. */
static void up_stage(struct up *u, unsigned stage)
{
	while (stage < ARRAY_LEN(up_stop_order) && up_signal_kind(u, up_stop_order[stage],
								  SIGTERM) == 0)
		stage++;
	u->stage = stage;
	u->stage_killed = false;
	u->stage_until = mono_add_ms(mono_now(), UP_STAGE_MS);
	if (stage == ARRAY_LEN(up_stop_order))
		u->state = UP_OVER;
}

static void up_stage_timeout(struct up *u, mono_t now)
{
	if (u->stage_killed || mono_before(now, u->stage_until))
		return;
	up_say(u, "%s does not stop; killing it", daemon_name(up_stop_order[u->stage]));
	(void)up_signal_kind(u, up_stop_order[u->stage], SIGKILL);
	u->stage_killed = true;
}

static void up_start_due(struct up *u, mono_t now)
{
	for (size_t i = 0; i < u->cluster.n_children; i++) {
		struct up_child *c = &u->cluster.children[i];

		if (c->pid != 0 || mono_before(now, c->again_at))
			continue;
		if (up_child_start(c) != ERR_OK) {
			up_say(u, "node%u %s cannot be started: %s", (unsigned)c->node, c->name,
			       strerror(errno));
			c->again_at = mono_add_ms(now, UP_REST_MAX_MS);
		}
	}
}

/* A daemon that dies while everything else runs comes back; one that never came up ends it all. */
static void up_child_gone(struct up *u, struct up_child *c, int status)
{
	char cause[128];
	bool usage = WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_USAGE ||
					   WEXITSTATUS(status) >= 125);

	up_child_cause(cause, sizeof cause, status);
	up_child_died(c, &u->random);
	if (u->state == UP_STOPPING)
		return;
	if (u->state == UP_STARTING && (usage || c->failures >= UP_START_FAILURES)) {
		up_say(u, "node%u %s cannot run: %s; its log is %s", (unsigned)c->node, c->name,
		       cause, c->log.path);
		up_stop(u, CTL_ERROR);
		return;
	}
	up_say(u, "node%u %s died: %s; it starts again in %d ms", (unsigned)c->node, c->name, cause,
	       (int)mono_sub_ms(c->again_at, mono_now()));
}

static void up_reap(struct up *u)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < u->cluster.n_children; i++)
			if (u->cluster.children[i].pid == pid) {
				up_child_gone(u, &u->cluster.children[i], status);
				break;
			}
	if (u->state == UP_STOPPING && up_signal_kind(u, up_stop_order[u->stage], 0) == 0)
		up_stage(u, u->stage + 1);
}

static void up_signals(struct up *u)
{
	struct signalfd_siginfo s;

	while (read(u->signals, &s, sizeof s) == (ssize_t)sizeof s) {
		if (s.ssi_signo == SIGCHLD)
			continue;
		if (u->state != UP_STOPPING) {
			up_say(u, "stopping");
			up_stop(u, CTL_OK);
		} else {   /* asked twice: at once */
			for (size_t i = 0; i < ARRAY_LEN(up_stop_order); i++)
				(void)up_signal_kind(u, up_stop_order[i], SIGKILL);
		}
	}
	up_reap(u);
}

static bool up_all_ready(const struct up *u)
{
	for (size_t i = 0; i < u->cluster.n_children; i++)
		if (!u->cluster.children[i].ready)
			return false;
	return true;
}

static bool up_has_leader(struct up *u)
{
	const struct config *c = &u->cluster.nodes[u->look_node].config;
	struct native_empty none = {0};
	struct native_status_result status = {0};
	struct arena arena;
	struct client_request r = {.method = "status", .params = &none, .arena = &arena,
				   .result = &status};
	struct client_error e;
	bool led;

	u->look_node = (u->look_node + 1) % u->cluster.n;
	arena_init(&arena, CLUSTER_ARENA_BYTES);
	led = cluster_ask(u->ctl, config_self(c)->client_addr, &r, mono_add_ms(mono_now(),
		UP_ASK_MS), &e) ==
	      ERR_OK && status.leader != 0;
	arena_free(&arena);
	return led;
}

static void up_print_ready(const struct up *u)
{
	FILE *out = u->ctl->out;

	fprintf(out, "%u node%s up in %s; endpoints:\n\n  export QUORATE_ENDPOINTS=",
		(unsigned)u->cluster.n,
		u->cluster.n == 1 ? " is" : "s are", u->cluster.dir);
	for (size_t i = 0; i < u->cluster.n; i++)
		fprintf(out, "%s%s", i ? "," : "",
			config_self(&u->cluster.nodes[i].config)->client_addr);
	fprintf(out, "\n\nTry, in another terminal:\n\n"
		"  quorate put greeting hello\n"
		"  quorate get greeting\n"
		"  quorate status\n"
		"  quorate bench\n"
		"  quorate admin --dir %s --node 0 raftd status\n\n^C stops it; the same command "
		"goes on with it.\n",
		u->cluster.dir);
	(void)fflush(out);
}

static void up_look(struct up *u, mono_t now)
{
	if (mono_before(now, u->look_at))
		return;
	if (up_all_ready(u) && up_has_leader(u)) {
		u->state = UP_RUNNING;
		up_print_ready(u);
		return;
	}
	now = mono_now();
	u->look_at = mono_add_ms(now, UP_LOOK_MS);
	if (mono_before(now, u->note_at))
		return;
	u->note_at = mono_add_ms(now, UP_WAIT_NOTE_MS);
	if (up_all_ready(u))
		up_say(u, "all daemons are ready; waiting for a leader");
	for (size_t i = 0; i < u->cluster.n_children; i++)
		if (!u->cluster.children[i].ready)
			up_say(u, "waiting for node%u %s to be ready",
			       (unsigned)u->cluster.children[i].node,
			       u->cluster.children[i].name);
}

static int up_timeout(const struct up *u, mono_t now)
{
	mono_t first = mono_add_ms(now, UP_TURN_MS);

	if (u->state == UP_STARTING)
		first = mono_min(first, u->look_at);
	if (u->state == UP_STOPPING && !u->stage_killed)
		first = mono_min(first, u->stage_until);
	for (size_t i = 0; u->state < UP_STOPPING && i < u->cluster.n_children; i++)
		if (u->cluster.children[i].pid == 0)
			first = mono_min(first, u->cluster.children[i].again_at);
	return mono_before(first, now) ? 0 : (int)mono_sub_ms(first, now) + 1;
}

static void up_turn(struct up *u, struct pollfd *p)
{
	size_t n = u->cluster.n_children;
	mono_t now = mono_now();

	if (u->state < UP_STOPPING)
		up_start_due(u, now);
	p[0] = (struct pollfd){.fd = u->signals, .events = POLLIN};
	for (size_t i = 0; i < n; i++) {
		p[1 + 2 * i] = (struct pollfd){.fd = u->cluster.children[i].err_fd,
					       .events = POLLIN};
		p[2 + 2 * i] = (struct pollfd){.fd = u->cluster.children[i].ready_fd,
					       .events = POLLIN};
	}
	(void)poll(p, 1 + 2 * n, up_timeout(u, now));
	for (size_t i = 0; i < n; i++) {
		if (p[1 + 2 * i].revents != 0)
			up_child_hear(&u->cluster.children[i]);
		if (p[2 + 2 * i].revents != 0)
			up_child_hear_ready(&u->cluster.children[i]);
	}
	up_signals(u);
	now = mono_now();
	if (u->state == UP_STARTING)
		up_look(u, now);
	if (u->state == UP_STOPPING)
		up_stage_timeout(u, now);
}

static int up_signals_open(struct up *u, sigset_t *old)
{
	static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		(void)sigaddset(&set, caught[i]);
	(void)sigprocmask(SIG_BLOCK, &set, old);
	(void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	u->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return u->signals >= 0 ? CTL_OK : ctl_fail(u->ctl, CTL_ERROR, "signalfd: %s",
						   strerror(errno));
}

static int up_supervise(struct up *u)
{
	struct pollfd *p = calloc(1 + 2 * u->cluster.n_children, sizeof *p);
	sigset_t old;
	int code = p == NULL ? ctl_fail(u->ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY)) :
			       up_signals_open(u, &old);

	if (code == CTL_OK) {
		u->look_at = mono_now();
		u->note_at = mono_add_ms(mono_now(), UP_WAIT_NOTE_MS);
		u->random = (uint64_t)mono_now().ns;
		while (u->state != UP_OVER)
			up_turn(u, p);
		(void)close(u->signals);
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
		code = u->code;
	}
	free(p);
	return code;
}

static int up_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct up_wish *w = options;
	struct up *u;
	int code;

	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_up, "up takes flags only");
	if (w->nodes < 0 || w->base_port < 0)
		return ctl_bad_args(ctl, &ctl_up, "a number is out of its range");
	u = calloc(1, sizeof *u);
	if (u == NULL)
		return ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	u->ctl = ctl;
	code = up_cluster_open(ctl, w, &u->cluster);
	if (code == CTL_OK)
		code = up_supervise(u);
	up_cluster_close(&u->cluster);
	free(u);
	return code;
}

const struct ctl_command ctl_up = {
	.name = "up", .args = "", .summary = "Runs a whole cluster on this machine, in the "
					     "foreground",
	.more = "Makes DIR on the first run and goes on with it on the next. A daemon that dies "
		"is\n"
		"started again. Log lines are in DIR/node<i>/log/; warnings and errors are shown "
		"here\n"
		"too.\n",
	.flags = up_flags, .options_size = sizeof(struct up_wish), .run = up_run};
