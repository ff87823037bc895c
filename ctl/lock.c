/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `quorate lock`: a mutex for people and scripts. While a program runs under it, the lock is either
 * held or the program is told in time: its session counts from the moment a keepalive was sent, so
 * before somebody else can have the lock there is a quarter of the TTL left to end it. What we cannot
 * do when we are killed or stopped, its guard does.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/guard.h"
#include "ctl/hold.h"
#include "ctl/job.h"
#include "ctl/print.h"

enum { LOCK_TTL_MAX = 86400 * 365, LOCK_PAUSE_MS = 500 };

struct lock_options {
	int64_t ttl, wait_ms, error_code;
	const char *signal;
	bool try_once, no_kill;
};

static const struct flag lock_flags[] = {
	FLAG(struct lock_options, I64, ttl, "ttl", 0, "10", "SECONDS",
	     "the lock is free so long after its holder has gone silent"),
	FLAG(struct lock_options, BOOL, try_once, "try", 0, NULL, "", "do not wait for the lock"),
	FLAG(struct lock_options, DURATION, wait_ms, "wait", 0, "0", "TIME",
	     "wait for the lock no longer than this; 0: as long as it takes"),
	FLAG(struct lock_options, STR, signal, "signal", 0, "TERM", "NAME",
	     "what COMMAND is sent when the lock is being lost"),
	FLAG(struct lock_options, BOOL, no_kill, "no-kill", 0, NULL, "",
	     "leave it at that; without this COMMAND is killed before others can have the lock"),
	FLAG(struct lock_options, I64, error_code, "error-code", 0, "1", "N",
	     "exit code if the lock was not got, or was lost"),
	FLAG_END
};

struct lock_run {
	struct hold hold;
	const struct lock_options *o;
	struct quorate_lock *lock;
	int signal;                    /* of o->signal */
	int64_t spare_ms;              /* so long before the end COMMAND is told, */
	int64_t margin_ms;             /* and so long before it killed: a busy machine takes a moment for that */
	struct job job;                /* COMMAND */
};

/* ---- getting it ---- */

static int lock_acquire(void *arg, struct quorate_error *e)
{
	struct lock_run *r = arg;
	int64_t wait_ms = r->o->wait_ms > 0 ? r->o->wait_ms : QUORATE_FOREVER;

	return r->o->try_once ? quorate_lock_try(r->lock, 0, e) : quorate_lock_acquire(r->lock, wait_ms, e);
}

/* That it cannot be watched just now does not mean that it is lost: its session tells too. */
static int lock_lost(void *arg, struct quorate_error *e)
{
	struct lock_run *r = arg;
	int rc = quorate_lock_lost(r->lock, QUORATE_FOREVER, e);

	while (rc != QUORATE_OK && rc != QUORATE_ERR_CANCELED && quorate_lock_token(r->lock) != 0) {
		(void)poll(NULL, 0, LOCK_PAUSE_MS);
		rc = quorate_lock_lost(r->lock, QUORATE_FOREVER, e);
	}
	return rc;
}

static int lock_not_got(struct lock_run *r, const struct quorate_error *e)
{
	int code = hold_fail(&r->hold, e);

	return e->code == QUORATE_ERR_HELD || e->code == QUORATE_ERR_TIMEOUT || e->code == QUORATE_ERR_LOST ?
		(int)r->o->error_code : code;
}

static int lock_get(struct lock_run *r, const char *name)
{
	struct hold_task task = {.run = lock_acquire, .arg = r};
	struct hold_news news = {false, 0};
	struct quorate_error e;
	int code;

	if (quorate_lock_open(r->hold.view, r->hold.session, quorate_str(name), QUORATE_MUTEX, &r->lock,
			      &e) != QUORATE_OK)
		return hold_fail(&r->hold, &e);
	code = hold_task_start(&r->hold, &task);
	if (code != CTL_OK)
		return code;
	while (!news.done && !hold_is_end(news.sig))
		news = hold_wait(&r->hold, &task, -1);
	if (hold_task_end(&r->hold, &task, !news.done) != QUORATE_OK)
		return lock_not_got(r, &task.e);
	return news.done ? CTL_OK : CTL_INTERRUPTED;    /* it came too late to stop it */
}

/* ---- holding it ---- */

static int lock_say_lost(struct lock_run *r, const struct quorate_error *e)
{
	return ctl_fail(r->hold.ctl, (int)r->o->error_code, "the lock is lost: %s", e->text);
}

/* Until a signal comes: then it is released in order. */
static int lock_hold(struct lock_run *r)
{
	struct hold_task task = {.run = lock_lost, .arg = r};
	struct hold_news news = {false, 0};
	int code = hold_task_start(&r->hold, &task);

	if (code != CTL_OK)
		return code;
	code = hold_print_key(&r->hold, quorate_lock_key(r->lock), QUORATE_KEYS_ONLY);
	while (code == CTL_OK && !news.done && !hold_is_end(news.sig))
		news = hold_wait(&r->hold, &task, -1);
	(void)hold_task_end(&r->hold, &task, !news.done);
	return news.done && code == CTL_OK ? lock_say_lost(r, &task.e) : code;
}

/* ---- a program under it ---- */

static void lock_environment(const struct lock_run *r, struct buf *env)
{
	struct quorate_bytes key = quorate_lock_key(r->lock);

	buf_init(env, 0);
	buf_printf(env, "QUORATE_LOCK_KEY=%.*s", (int)key.size, (const char *)key.data);
	buf_u8(env, 0);
	buf_printf(env, "QUORATE_LOCK_REV=%" PRId64, quorate_lock_token(r->lock));
	buf_u8(env, 0);
	buf_printf(env, "QUORATE_LOCK_LEASE=%" PRIx64, (uint64_t)quorate_session_lease(r->hold.session));
	buf_u8(env, 0);
}

/* For so long the program may live if nothing is heard any more. */
static int64_t lock_life_ms(const struct lock_run *r, int64_t left_ms)
{
	return left_ms > r->margin_ms ? left_ms - r->margin_ms : 0;
}

static int lock_start(struct lock_run *r)
{
	struct ctl *ctl = r->hold.ctl;
	mono_t now = guard_now();
	int64_t life = lock_life_ms(r, quorate_session_left_ms(r->hold.session));
	struct buf env;
	int why;

	lock_environment(r, &env);
	why = env.err != ERR_OK ? ENOMEM :
	      job_start(&r->job, &env, r->o->no_kill ? MONO_NEVER : mono_add_ms(now, life));
	buf_free(&env);
	return why == 0 ? CTL_OK : ctl_fail(ctl, job_start_code(why), "cannot run %s: %s", ctl->rest[0],
					    strerror(why));
}

struct lock_watch {
	struct hold_task task;         /* waits for the lock to be lost */
	bool lost, must, told, killed;
	mono_t kill_at;                /* the program; its guard does if we do not */
};

/*
 * What must be done about a lock that is lost, or soon will be? Returns for how long it can wait. The
 * clock is read before what is left is asked for: whoever stands still in between has less.
 */
static int lock_look(struct lock_run *r, struct lock_watch *w)
{
	bool must = w->lost || r->job.unguarded, may_kill = !r->o->no_kill;
	mono_t now = guard_now();
	int64_t left = quorate_session_left_ms(r->hold.session), life = lock_life_ms(r, left), wait;

	/* We have stood still until it was too late: a program that stood still too does not move again. */
	if (!w->told && life <= 0 && may_kill) {
		job_signal(&r->job, SIGKILL);
		w->told = w->killed = true;
	}
	if (!w->told && (must || left <= r->spare_ms)) {
		job_signal(&r->job, r->signal);
		job_signal(&r->job, SIGCONT);
		w->told = true;
	}
	/* While it is not lost the keepalives may be answered after all: then there is no hurry. */
	if (!must)
		w->kill_at = mono_add_ms(now, life);
	else if (!w->must)
		w->kill_at = mono_min(w->kill_at, mono_add_ms(now, life < r->spare_ms ? life : r->spare_ms));
	w->must = must;
	wait = w->told ? mono_sub_ms(w->kill_at, now) : left - r->spare_ms;
	if (w->told && wait <= 0 && may_kill && !w->killed) {
		job_signal(&r->job, SIGKILL);
		w->killed = true;
	}
	if (may_kill)
		job_kill_at(&r->job, w->kill_at);
	/* So often at least that the guard's time is never nearly over. */
	wait = wait > r->spare_ms ? r->spare_ms : wait;
	return wait <= 0 ? -1 : wait > 60000 ? 60000 : (int)wait;
}

/* What a terminal sends goes to the program's group alone while that has the terminal. */
static void lock_signal(struct job *job, int sig)
{
	if (sig == SIGCONT)
		job->waits = true;       /* for lock_look(), which looks first whether it may */
	else if (hold_is_end(sig))
		job_signal(job, sig);
}

static void lock_wait(struct lock_run *r, struct lock_watch *w, int wait_ms)
{
	struct hold_news news;

	r->hold.also = job_descriptor(&r->job);
	news = hold_wait(&r->hold, w->lost ? NULL : &w->task, wait_ms);
	w->lost = w->lost || news.done;
	lock_signal(&r->job, news.sig);
}

/* `code`: what it would be if all had gone well. */
static int lock_verdict(struct lock_run *r, const struct lock_watch *w, int code)
{
	struct ctl *ctl = r->hold.ctl;
	int error_code = (int)r->o->error_code;

	if (w->lost)
		return lock_say_lost(r, &w->task.e);
	if (r->job.unguarded)
		return ctl_fail(ctl, error_code, "the guard of %s was killed: %s was told as if the lock were being lost",
				ctl->rest[0], ctl->rest[0]);
	if (w->told)
		return ctl_fail(ctl, error_code, "the lock was about to be lost: %s was told", ctl->rest[0]);
	if (r->job.late)
		return ctl_fail(ctl, error_code, "the lock was about to be lost while quorate stood still: %s was killed",
				ctl->rest[0]);
	return code;
}

static int lock_program(struct lock_run *r)
{
	struct lock_watch w = {.task = {.run = lock_lost, .arg = r}, .kill_at = MONO_NEVER};
	int code = hold_task_start(&r->hold, &w.task), ended = CTL_OK;
	bool running;

	if (code != CTL_OK)
		return code;
	(void)fflush(r->hold.ctl->out);
	code = lock_start(r);
	running = code == CTL_OK;
	while (running) {
		int wait_ms = lock_look(r, &w);

		if (r->job.waits)
			job_continue(&r->job);
		lock_wait(r, &w, wait_ms);
		running = !job_ended(&r->job, w.lost || w.killed || r->job.unguarded, &ended);
	}
	(void)hold_task_end(&r->hold, &w.task, !w.lost);
	return lock_verdict(r, &w, code != CTL_OK ? code : ended);
}

/* ---- the command ---- */

static int lock_signal_number(const char *name)
{
	static const struct { const char *name; int sig; } known[] = {
		{"TERM", SIGTERM}, {"INT", SIGINT}, {"HUP", SIGHUP}, {"QUIT", SIGQUIT}, {"USR1", SIGUSR1},
		{"USR2", SIGUSR2}, {"KILL", SIGKILL}, {"STOP", SIGSTOP}};

	if (strncmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].sig;
	return 0;
}

static int lock_check(struct ctl *ctl, struct lock_run *r, int argc, char **argv)
{
	if (argc < 1 || argv[0][0] == 0)
		return ctl_bad_args(ctl, &ctl_lock, "lock takes a lock name argument and an optional command to execute");
	if (r->o->ttl < 1 || r->o->ttl > LOCK_TTL_MAX)
		return ctl_bad_args(ctl, &ctl_lock, "--ttl is a number of seconds from 1 on");
	if (r->o->error_code < 0 || r->o->error_code > 255)
		return ctl_bad_args(ctl, &ctl_lock, "--error-code is a number from 0 to 255");
	r->signal = lock_signal_number(r->o->signal);
	if (r->signal == 0)
		return ctl_bad_args(ctl, &ctl_lock, "--signal is one of TERM, INT, HUP, QUIT, USR1, USR2, KILL, STOP");
	r->spare_ms = r->o->ttl * 1000 / 4;
	r->margin_ms = r->o->ttl * 1000 / 20;
	return CTL_OK;
}

/* The guard is forked while there is no thread of the library's. */
static int lock_open(struct lock_run *r, struct ctl *ctl)
{
	int why = ctl->n_rest > 0 ? job_open(&r->job, ctl->rest, !r->o->no_kill) : 0, code;

	if (why != 0)
		return ctl_fail(ctl, CTL_ERROR, "cannot start a guard for %s: %s", ctl->rest[0], strerror(why));
	code = hold_open(&r->hold, ctl, r->o->ttl);
	if (code != CTL_OK && ctl->n_rest > 0)
		job_close(&r->job);
	return code;
}

static int lock_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	struct lock_run r = {.o = options};
	struct quorate_error e;
	int code = lock_check(ctl, &r, argc, argv);
	bool got;

	if (code == CTL_OK && print_of(ctl, &code) != NULL)
		code = lock_open(&r, ctl);
	if (code != CTL_OK)
		return code;
	code = lock_get(&r, argv[0]);
	got = code == CTL_OK;
	if (got)
		code = ctl->n_rest > 0 ? lock_program(&r) : lock_hold(&r);
	if (ctl->n_rest > 0)
		job_close(&r.job);
	if (got && quorate_lock_token(r.lock) != 0 && quorate_lock_release(r.lock, 0, &e) != QUORATE_OK && code == CTL_OK)
		code = e.code == QUORATE_ERR_LOST ? lock_say_lost(&r, &e) : hold_fail(&r.hold, &e);
	quorate_lock_close(r.lock);
	hold_close(&r.hold);
	return code;
}

const struct ctl_command ctl_lock = {
	.name = "lock", .args = "NAME [COMMAND ARGS...]",
	.summary = "Acquires a named lock, and holds it while COMMAND runs or until it is stopped",
	.more = "Without COMMAND the key that holds the lock is printed. With it, quorate ends as COMMAND does.\n"
		"COMMAND finds QUORATE_LOCK_KEY, QUORATE_LOCK_REV (the fencing token: it grows from holder to\n"
		"holder) and QUORATE_LOCK_LEASE in its environment. Signals are passed on to it. When the lock is\n"
		"being lost it is sent --signal, a quarter of the TTL before anybody else can have the lock, and\n"
		"killed with all of its process group when the time is almost over. It is killed too when quorate\n"
		"is, or is stopped for so long. Flags stand before COMMAND.\n",
	.flags = lock_flags, .program_is_second = true, .options_size = sizeof(struct lock_options),
	.run = lock_run};
