/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/loop_timer.h"

enum { LOOP_EVENTS = 256, LOOP_SIGNALS = 65 };

struct loop_signal {
	void (*fn)(void *arg, int signo);
	void *arg;
};

struct loop {
	int epoll_fd;
	struct loop_io wake, timer, signal;
	bool again, stopped, in_hooks;
	mono_t now;
	uint64_t turn;
	int64_t turn_us_max;

	struct loop_heap timers;
	mono_t armed;                 /* what the timerfd is set to */

	struct loop_hook *hooks, *next_hook;
	struct loop_task *deferred;   /* newest first */

	/* Events of the turn; those behind at_event are still to come. */
	struct epoll_event events[LOOP_EVENTS];
	int n_events, at_event;

	struct loop_signal signals[LOOP_SIGNALS];
	sigset_t signal_set;

	/* Under the mutex: the only part other threads touch. */
	pthread_mutex_t mutex;
	struct loop_task *posted, **posted_end;
	struct loop_task *running;    /* taken from posted by this turn */
	bool asleep;                  /* nobody has woken the loop yet */
};

static void loop_ctl(struct loop *l, int op, struct loop_io *io)
{
	struct epoll_event ev = {.events = io->events, .data.ptr = io};

	if (epoll_ctl(l->epoll_fd, op, io->fd, &ev) == 0)
		return;
	if (errno == ENOMEM || errno == ENOSPC)
		fatal("give the machine more memory or raise fs.epoll.max_user_watches",
		      "epoll_ctl: %s", strerror(errno));
	panic("epoll_ctl on a bad descriptor");
}

void loop_io_add(struct loop *l, struct loop_io *io, int fd, uint32_t events,
		 void (*fn)(void *arg, uint32_t events), void *arg)
{
	CHECK(fd >= 0);
	*io = (struct loop_io){fn, arg, fd, events};
	loop_ctl(l, EPOLL_CTL_ADD, io);
}

void loop_io_set(struct loop *l, struct loop_io *io, uint32_t events)
{
	if (io->events == events)
		return;
	io->events = events;
	loop_ctl(l, EPOLL_CTL_MOD, io);
}

void loop_io_del(struct loop *l, struct loop_io *io)
{
	if (io->fd < 0)
		return;
	loop_ctl(l, EPOLL_CTL_DEL, io);
	io->fd = -1;
	for (int i = l->at_event; i < l->n_events; i++)
		if (l->events[i].data.ptr == io)
			l->events[i].data.ptr = NULL;
}

void loop_timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_timer){.fn = fn, .arg = arg};
}

void loop_timer_set(struct loop *l, struct loop_timer *t, mono_t due)
{
	CHECK(t->fn != NULL);
	loop_heap_set(&l->timers, t, due);
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
	loop_heap_clear(&l->timers, t);
}

void loop_task_init(struct loop_task *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_task){.fn = fn, .arg = arg};
}

/* Once the mutex is released the task may be run and freed: only the loop is touched after it. */
void loop_post(struct loop *l, struct loop_task *t)
{
	const uint64_t one = 1;
	bool wake = false;

	pthread_mutex_lock(&l->mutex);
	if (!t->queued) {
		t->queued = true;
		t->next = NULL;
		*l->posted_end = t;
		l->posted_end = &t->next;
		wake = l->asleep;
		l->asleep = false;
	}
	pthread_mutex_unlock(&l->mutex);
	if (wake)
		CHECK(write(l->wake.fd, &one, sizeof one) == sizeof one);
}

static bool loop_unlink(struct loop_task **at, struct loop_task *t)
{
	for (; *at != NULL; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			return true;
		}
	}
	return false;
}

void loop_task_cancel(struct loop *l, struct loop_task *t)
{
	pthread_mutex_lock(&l->mutex);
	if (t->queued) {
		if (!loop_unlink(&l->running, t) && !loop_unlink(&l->deferred, t)) {
			CHECK(loop_unlink(&l->posted, t));
			for (l->posted_end = &l->posted; *l->posted_end != NULL;)
				l->posted_end = &(*l->posted_end)->next;
		}
		t->queued = false;
	}
	pthread_mutex_unlock(&l->mutex);
}

/* `queued` is the mutex's, the list ours: a task is posted or deferred, not both. */
void loop_defer(struct loop *l, struct loop_task *t)
{
	pthread_mutex_lock(&l->mutex);
	if (!t->queued) {
		t->queued = true;
		t->next = l->deferred;
		l->deferred = t;
	}
	pthread_mutex_unlock(&l->mutex);
}

void loop_hook_add(struct loop *l, struct loop_hook *h, void (*fn)(void *arg), void *arg)
{
	struct loop_hook **at = &l->hooks;

	*h = (struct loop_hook){.fn = fn, .arg = arg};
	while (*at != NULL)
		at = &(*at)->next;
	*at = h;
	if (l->in_hooks && l->next_hook == NULL)
		l->next_hook = h;
}

void loop_hook_del(struct loop *l, struct loop_hook *h)
{
	for (struct loop_hook **at = &l->hooks; *at != NULL; at = &(*at)->next) {
		if (*at != h)
			continue;
		*at = h->next;
		if (l->next_hook == h)
			l->next_hook = h->next;
		return;
	}
}

bool loop_hook_over(const struct loop *l, const struct loop_hook *h)
{
	return l->in_hooks && h->turn == l->turn;
}

void loop_again(struct loop *l)
{
	l->again = true;
}

bool loop_in_hooks(const struct loop *l)
{
	return l->in_hooks;
}

void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	int fd = l->signal.fd;

	CHECK(signo > 0 && signo < LOOP_SIGNALS);
	l->signals[signo] = (struct loop_signal){fn, arg};
	sigaddset(&l->signal_set, signo);
	fd = signalfd(fd, &l->signal_set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		fatal("raise the limit of open files", "signalfd: %s", strerror(errno));
	l->signal.fd = fd;
}

/* Edge-triggered: each write to it ends a wait, and nobody has to read it. */
static void loop_woken(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
}

static void loop_read_timer(void *arg, uint32_t events)
{
	struct loop *l = arg;
	uint64_t n;

	(void)events;
	CHECK(read(l->timer.fd, &n, sizeof n) == sizeof n || errno == EAGAIN);
	l->armed = MONO_NEVER;
}

static void loop_read_signal(void *arg, uint32_t events)
{
	struct loop *l = arg;
	struct signalfd_siginfo info;
	struct loop_signal *s;

	(void)events;
	while (read(l->signal.fd, &info, sizeof info) == sizeof info) {
		CHECK(info.ssi_signo < LOOP_SIGNALS);
		s = &l->signals[info.ssi_signo];
		if (s->fn != NULL)
			s->fn(s->arg, (int)info.ssi_signo);
	}
}

static int loop_fd(int fd, const char *what)
{
	if (fd < 0)
		fatal("raise the limit of open files", "%s: %s", what, strerror(errno));
	return fd;
}

struct loop *loop_new(void)
{
	struct loop *l = mem_alloc(sizeof *l);
	sigset_t none;

	sigemptyset(&none);
	l->signal_set = none;
	l->epoll_fd = loop_fd(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	loop_io_add(l, &l->wake, loop_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"),
		    EPOLLIN | EPOLLET, loop_woken, l);
	loop_io_add(l, &l->timer,
		    loop_fd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd"),
		    EPOLLIN, loop_read_timer, l);
	loop_io_add(l, &l->signal, loop_fd(signalfd(-1, &none, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd"),
		    EPOLLIN, loop_read_signal, l);
	CHECK(pthread_mutex_init(&l->mutex, NULL) == 0);
	l->posted_end = &l->posted;
	l->armed = MONO_NEVER;
	l->now = mono_now();
	l->again = true;              /* what was set up before the first turn gets its hooks */
	return l;
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	CHECK(!l->in_hooks && l->n_events == 0);
	loop_heap_free(&l->timers);
	(void)close(l->wake.fd);
	(void)close(l->timer.fd);
	(void)close(l->signal.fd);
	(void)close(l->epoll_fd);
	pthread_mutex_destroy(&l->mutex);
	mem_free(l);
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
}

mono_t loop_now(const struct loop *l)
{
	return l->now;
}

int64_t loop_turn_us_max(const struct loop *l)
{
	return l->turn_us_max;
}

/* Waking too early is harmless, so a timer set back or cleared costs no system call. */
static void loop_arm(struct loop *l)
{
	const struct loop_timer *t = loop_heap_top(&l->timers);
	struct itimerspec when = {0};
	int64_t ns;

	if (t == NULL || !mono_before(t->due, l->armed))
		return;
	ns = t->due.ns > 0 ? t->due.ns : 1;   /* zero would disarm */
	when.it_value.tv_sec = ns / 1000000000;
	when.it_value.tv_nsec = ns % 1000000000;
	CHECK(timerfd_settime(l->timer.fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
	l->armed = t->due;
}

static void loop_wait(struct loop *l, int timeout_ms)
{
	int n;

	loop_arm(l);
	pthread_mutex_lock(&l->mutex);
	if (l->posted != NULL || l->again)
		timeout_ms = 0;
	l->asleep = timeout_ms != 0;
	pthread_mutex_unlock(&l->mutex);
	l->again = false;
	n = epoll_wait(l->epoll_fd, l->events, LOOP_EVENTS, timeout_ms);
	CHECK(n >= 0 || errno == EINTR);
	l->n_events = n > 0 ? n : 0;
	l->at_event = 0;
	l->now = mono_now();
}

static void loop_run_events(struct loop *l)
{
	while (l->at_event < l->n_events) {
		struct epoll_event ev = l->events[l->at_event++];
		struct loop_io *io = ev.data.ptr;

		if (io != NULL)
			io->fn(io->arg, ev.events);
	}
	l->n_events = 0;
}

static struct loop_task *loop_next_task(struct loop *l, struct loop_task **list)
{
	struct loop_task *t;

	pthread_mutex_lock(&l->mutex);
	t = *list;
	if (t != NULL) {
		*list = t->next;
		t->queued = false;
	}
	pthread_mutex_unlock(&l->mutex);
	return t;
}

/* What is posted meanwhile waits for the next turn: no task can starve the rest. */
static void loop_run_tasks(struct loop *l)
{
	struct loop_task *t;

	pthread_mutex_lock(&l->mutex);
	l->asleep = false;
	CHECK(l->running == NULL);
	l->running = l->posted;
	l->posted = NULL;
	l->posted_end = &l->posted;
	pthread_mutex_unlock(&l->mutex);
	while ((t = loop_next_task(l, &l->running)) != NULL)
		t->fn(t->arg);
}

static void loop_run_timers(struct loop *l)
{
	struct loop_timer *t;

	for (size_t left = l->timers.n; left > 0; left--) {
		t = loop_heap_top(&l->timers);
		if (t == NULL || mono_before(l->now, t->due))
			return;
		loop_heap_clear(&l->timers, t);
		t->fn(t->arg);
	}
}

static void loop_run_hooks(struct loop *l)
{
	struct loop_hook *h;

	l->in_hooks = true;
	l->turn++;
	l->next_hook = l->hooks;
	while ((h = l->next_hook) != NULL) {
		l->next_hook = h->next;
		h->turn = l->turn;
		h->fn(h->arg);
	}
	l->in_hooks = false;
}

static void loop_run_deferred(struct loop *l)
{
	struct loop_task *t;

	while (l->deferred != NULL && (t = loop_next_task(l, &l->deferred)) != NULL)
		t->fn(t->arg);
}

void loop_turn(struct loop *l, int max_wait_ms)
{
	int64_t us;

	loop_wait(l, max_wait_ms);
	loop_run_events(l);
	loop_run_tasks(l);
	loop_run_timers(l);
	loop_run_hooks(l);
	loop_run_deferred(l);
	us = mono_sub_us(mono_now(), l->now);
	if (us > l->turn_us_max)
		l->turn_us_max = us;
}

void loop_run(struct loop *l)
{
	l->stopped = false;
	while (!l->stopped)
		loop_turn(l, -1);
}
