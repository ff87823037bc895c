/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: epoll, one timerfd (monotonic), one eventfd for other threads, signalfd.
 * One thread owns it and all state of the daemon; only loop_post may be called from elsewhere.
 *
 * A turn: wait; run descriptor callbacks, posted tasks and due timers; then run the turn-end
 * hooks, where links and connections write once what the turn has gathered; then what was
 * deferred, since nobody waits for it.
 */
#ifndef QUORATE_LOOP_H
#define QUORATE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"

struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *l);
void loop_run(struct loop *l);                    /* until loop_stop */
void loop_stop(struct loop *l);
mono_t loop_now(const struct loop *l);            /* taken once a turn */
int64_t loop_turn_us_max(const struct loop *l);   /* the longest turn so far, for metrics */

/* One turn, waiting at most so long (-1: for ever); loop_run is made of these. For tests. */
void loop_turn(struct loop *l, int max_wait_ms);
/* True inside turn-end hooks: what is gathered now may have missed its hook (then loop_again). */
bool loop_in_hooks(const struct loop *l);

/* Descriptors. events: EPOLLIN | EPOLLOUT. The struct is the caller's and must stay put. */
struct loop_io {
	void (*fn)(void *arg, uint32_t events);
	void *arg;
	int fd;               /* -1 when not added */
	uint32_t events;
};
void loop_io_add(struct loop *l, struct loop_io *io, int fd, uint32_t events,
		 void (*fn)(void *arg, uint32_t events), void *arg);
void loop_io_set(struct loop *l, struct loop_io *io, uint32_t events);
void loop_io_del(struct loop *l, struct loop_io *io);   /* safe inside any callback of the turn */

/* Timers, one shot. The struct is the caller's; setting again moves it. */
struct loop_timer {
	void (*fn)(void *arg);
	void *arg;
	mono_t due;
	uint32_t slot;        /* 0 = not armed (heap position + 1) */
};
void loop_timer_init(struct loop_timer *t, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop *l, struct loop_timer *t, mono_t due);
void loop_timer_clear(struct loop *l, struct loop_timer *t);

/* Tasks from any thread. A task is in the queue at most once: posting it again is a no-op. */
struct loop_task {
	void (*fn)(void *arg);
	void *arg;
	struct loop_task *next;
	bool queued;
};
void loop_task_init(struct loop_task *t, void (*fn)(void *arg), void *arg);
void loop_post(struct loop *l, struct loop_task *t);
/* Loop thread only. */
void loop_defer(struct loop *l, struct loop_task *t);   /* behind the hooks: it must not send */
void loop_task_cancel(struct loop *l, struct loop_task *t);

/* Turn-end hooks run in the order of their registration, each turn. */
struct loop_hook {
	void (*fn)(void *arg);
	void *arg;
	struct loop_hook *next;
	uint64_t turn;        /* the last one that it was run in */
};
void loop_hook_add(struct loop *l, struct loop_hook *h, void (*fn)(void *arg), void *arg);
void loop_hook_del(struct loop *l, struct loop_hook *h);
/* Its run of this turn has begun: what is gathered for it now needs another one (loop_again). */
bool loop_hook_over(const struct loop *l, const struct loop_hook *h);

/* One more turn at once instead of waiting: for work done in bounded steps. */
void loop_again(struct loop *l);

/* Signals must be blocked before any thread starts (daemon_main does it). */
void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);

#endif
