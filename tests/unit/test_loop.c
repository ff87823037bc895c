/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rt/loop_timer.h"
#include "tests/lib/tap.h"

enum { ORDER = 64, TIMERS = 500, POSTS = 20000, THREADS = 4 };

/* What ran, in order. */
struct order {
	struct loop *loop;
	int v[ORDER];
	size_t n;
};

struct mark {
	struct order *order;
	int id;
	struct loop_timer timer;
	struct loop_task task;
	struct loop_hook hook, second;
	struct loop_io io;
	struct mark *other;
	unsigned again;
};

static void mark_run(void *arg)
{
	struct mark *m = arg;

	if (m->order->n < ORDER)
		m->order->v[m->order->n++] = m->id;
}

static void marks_init(struct mark *m, size_t n, struct order *o)
{
	*o = (struct order){.loop = loop_new()};
	for (size_t i = 0; i < n; i++)
		m[i] = (struct mark){.order = o, .id = (int)i};
}

static mono_t in_ms(int64_t ms)
{
	return mono_add_ms(mono_now(), ms);
}

TEST(timers_fire_in_order_of_time_once_and_not_before)
{
	static const int ms[] = {30, 10, 20, 0, 25};
	static const int want[] = {3, 1, 2, 4, 0};
	mono_t start = mono_now();
	struct mark m[5];
	struct order o;

	marks_init(m, 5, &o);
	for (size_t i = 0; i < 5; i++) {
		loop_timer_init(&m[i].timer, mark_run, &m[i]);
		loop_timer_set(o.loop, &m[i].timer, mono_add_ms(start, ms[i]));
	}
	while (o.n < 5) {
		loop_turn(o.loop, -1);
		for (size_t i = 0; i < o.n; i++)
			OK(!mono_before(loop_now(o.loop), mono_add_ms(start, ms[o.v[i]])));
	}
	for (size_t i = 0; i < 5; i++)
		EQ_INT(o.v[i], want[i]);
	for (int i = 0; i < 10; i++)
		loop_turn(o.loop, 1);
	EQ_INT(o.n, 5);
	loop_free(o.loop);
}

TEST(a_timer_set_again_moves_and_a_cleared_one_is_silent)
{
	struct mark m[3];
	struct order o;

	marks_init(m, 3, &o);
	for (size_t i = 0; i < 3; i++) {
		loop_timer_init(&m[i].timer, mark_run, &m[i]);
		loop_timer_set(o.loop, &m[i].timer, in_ms(5));
	}
	loop_timer_set(o.loop, &m[0].timer, in_ms(30));
	loop_timer_clear(o.loop, &m[1].timer);
	loop_timer_clear(o.loop, &m[1].timer);
	while (o.n < 2)
		loop_turn(o.loop, -1);
	EQ_INT(o.v[0], 2);
	EQ_INT(o.v[1], 0);
	loop_free(o.loop);
}

static void timer_at_once_again(void *arg)
{
	struct mark *m = arg;

	mark_run(m);
	loop_timer_set(m->order->loop, &m->timer, loop_now(m->order->loop));
}

TEST(a_timer_that_is_always_due_runs_once_a_turn)
{
	struct mark m[1];
	struct order o;

	marks_init(m, 1, &o);
	loop_timer_init(&m[0].timer, timer_at_once_again, &m[0]);
	loop_timer_set(o.loop, &m[0].timer, in_ms(0));
	for (size_t i = 1; i <= 20; i++) {
		loop_turn(o.loop, -1);
		EQ_INT(o.n, i);
	}
	loop_free(o.loop);
}

TEST(the_timer_heap_agrees_with_a_plain_list)
{
	static struct loop_timer t[TIMERS];
	struct loop_heap h = {0};
	uint64_t seed = 7;

	for (int step = 0; step < 20000; step++) {
		size_t i = (size_t)(tap_rand(&seed) % TIMERS), n = 0;
		const struct loop_timer *first = NULL;

		if (tap_rand(&seed) % 3 == 0)
			loop_heap_clear(&h, &t[i]);
		else
			loop_heap_set(&h, &t[i], (mono_t){(int64_t)(tap_rand(&seed) % 1000)});
		if (step % 50 != 0)
			continue;
		for (i = 0; i < TIMERS; i++) {
			n += t[i].slot != 0;
			if (t[i].slot != 0 && (first == NULL || mono_before(t[i].due, first->due)))
				first = &t[i];
		}
		EQ_INT(h.n, n);
		OK((first == NULL) == (loop_heap_top(&h) == NULL));
		OK(first == NULL || loop_heap_top(&h)->due.ns == first->due.ns);
	}
	loop_heap_free(&h);
}

TEST(a_task_posted_twice_runs_once_and_a_cancelled_one_never)
{
	struct mark m[3];
	struct order o;

	marks_init(m, 3, &o);
	for (size_t i = 0; i < 3; i++) {
		loop_task_init(&m[i].task, mark_run, &m[i]);
		loop_post(o.loop, &m[i].task);
		loop_post(o.loop, &m[i].task);
	}
	loop_task_cancel(o.loop, &m[2].task);
	loop_post(o.loop, &m[0].task);
	loop_turn(o.loop, -1);
	EQ_INT(o.n, 2);
	loop_post(o.loop, &m[2].task);
	loop_turn(o.loop, -1);
	EQ_INT(o.n, 3);
	EQ_INT(o.v[2], 2);
	loop_free(o.loop);
}

static void task_cancels_other(void *arg)
{
	struct mark *m = arg;

	mark_run(m);
	loop_task_cancel(m->order->loop, &m->other->task);
}

TEST(a_task_may_cancel_one_that_is_due_in_the_same_turn)
{
	struct mark m[3];
	struct order o;

	marks_init(m, 3, &o);
	m[0].other = &m[1];
	for (size_t i = 0; i < 3; i++) {
		loop_task_init(&m[i].task, i == 0 ? task_cancels_other : mark_run, &m[i]);
		loop_post(o.loop, &m[i].task);
	}
	loop_turn(o.loop, 0);
	EQ_INT(o.n, 2);
	EQ_INT(o.v[1], 2);
	loop_post(o.loop, &m[1].task);
	loop_turn(o.loop, 0);
	EQ_INT(o.n, 3);
	loop_free(o.loop);
}

static void task_posts_itself(void *arg)
{
	struct mark *m = arg;

	mark_run(m);
	loop_post(m->order->loop, &m->task);
}

TEST(a_task_that_posts_itself_runs_once_a_turn)
{
	struct mark m[1];
	struct order o;

	marks_init(m, 1, &o);
	loop_task_init(&m[0].task, task_posts_itself, &m[0]);
	loop_post(o.loop, &m[0].task);
	for (size_t i = 1; i <= 10; i++) {
		loop_turn(o.loop, -1);
		EQ_INT(o.n, i);
	}
	loop_task_cancel(o.loop, &m[0].task);
	loop_free(o.loop);
}

struct poster {
	struct loop *loop;
	struct loop_task task;
	pthread_t thread;
	pthread_mutex_t mutex;
	unsigned made, taken;
};

static void poster_take(void *arg)
{
	struct poster *p = arg;

	pthread_mutex_lock(&p->mutex);
	p->taken = p->made;
	pthread_mutex_unlock(&p->mutex);
}

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (unsigned i = 0; i < POSTS; i++) {
		pthread_mutex_lock(&p->mutex);
		p->made++;
		pthread_mutex_unlock(&p->mutex);
		loop_post(p->loop, &p->task);
	}
	return NULL;
}

/* The loop sleeps for ever between: a lost wake-up would hang this case. */
TEST(no_post_from_any_thread_is_lost)
{
	static struct poster p[THREADS];
	struct loop *l = loop_new();
	bool all = false;

	for (size_t i = 0; i < THREADS; i++) {
		p[i] = (struct poster){.loop = l};
		OK(pthread_mutex_init(&p[i].mutex, NULL) == 0);
		loop_task_init(&p[i].task, poster_take, &p[i]);
	}
	for (size_t i = 0; i < THREADS; i++)
		OK(pthread_create(&p[i].thread, NULL, poster_main, &p[i]) == 0);
	while (!all) {
		loop_turn(l, -1);
		all = true;
		for (size_t i = 0; i < THREADS; i++)
			all = all && p[i].taken == POSTS;
	}
	for (size_t i = 0; i < THREADS; i++)
		OK(pthread_join(p[i].thread, NULL) == 0);
	loop_free(l);
}

static void hook_deletes_itself_and_next(void *arg)
{
	struct mark *m = arg;

	mark_run(m);
	loop_hook_del(m->order->loop, &m->hook);
	loop_hook_del(m->order->loop, &m->other->hook);
}

static void hook_adds(void *arg)
{
	struct mark *m = arg;

	mark_run(m);
	OK(loop_in_hooks(m->order->loop));
	OK(loop_hook_over(m->order->loop, &m->hook));
	OK(!loop_hook_over(m->order->loop, &m->second));   /* it is still to come, or not there */
	if (m->again++ == 0)
		loop_hook_add(m->order->loop, &m->second, mark_run, m->other);
}

TEST(hooks_run_in_order_each_turn_and_may_be_added_and_deleted_inside)
{
	static const int want[] = {0, 1, 3, 5, 0, 3, 5};
	struct mark m[6];
	struct order o;

	marks_init(m, 6, &o);
	m[1].other = &m[2];
	m[3].other = &m[5];
	loop_hook_add(o.loop, &m[0].hook, mark_run, &m[0]);
	loop_hook_add(o.loop, &m[1].hook, hook_deletes_itself_and_next, &m[1]);
	loop_hook_add(o.loop, &m[2].hook, mark_run, &m[2]);
	loop_hook_add(o.loop, &m[3].hook, hook_adds, &m[3]);
	OK(!loop_in_hooks(o.loop));
	loop_turn(o.loop, 0);
	loop_turn(o.loop, 0);
	EQ_INT(o.n, 7);
	for (size_t i = 0; i < 7; i++)
		EQ_INT(o.v[i], want[i]);
	loop_free(o.loop);
}

static void task_defers_other(void *arg)
{
	struct mark *m = arg;

	mark_run(m);
	loop_defer(m->order->loop, &m->other->task);
	loop_defer(m->order->loop, &m->other->task);
}

TEST(what_is_deferred_runs_once_behind_the_hooks_of_the_turn)
{
	static const int want[] = {0, 3, 1, 3};
	struct mark m[4];
	struct order o;

	marks_init(m, 4, &o);
	m[0].other = &m[1];
	loop_hook_add(o.loop, &m[3].hook, mark_run, &m[3]);
	for (size_t i = 0; i < 3; i++)
		loop_task_init(&m[i].task, i == 0 ? task_defers_other : mark_run, &m[i]);
	loop_defer(o.loop, &m[2].task);
	loop_task_cancel(o.loop, &m[2].task);
	loop_post(o.loop, &m[0].task);
	loop_turn(o.loop, 0);
	loop_turn(o.loop, 0);
	EQ_INT(o.n, 4);
	for (size_t i = 0; i < 4; i++)
		EQ_INT(o.v[i], want[i]);
	loop_free(o.loop);
}

static void io_deletes_both(void *arg, uint32_t events)
{
	struct mark *m = arg;

	OK(events & EPOLLIN);
	mark_run(m);
	loop_io_del(m->order->loop, &m->io);
	loop_io_del(m->order->loop, &m->other->io);
	loop_io_del(m->order->loop, &m->other->io);
}

TEST(a_descriptor_deleted_by_another_ones_callback_is_not_called)
{
	struct mark m[2];
	struct order o;
	int fd[2][2];

	marks_init(m, 2, &o);
	for (size_t i = 0; i < 2; i++) {
		m[i].other = &m[1 - i];
		OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd[i]) == 0);
		EQ_INT(write(fd[i][1], "x", 1), 1);
		loop_io_add(o.loop, &m[i].io, fd[i][0], EPOLLIN, io_deletes_both, &m[i]);
	}
	loop_turn(o.loop, -1);
	loop_turn(o.loop, 0);
	EQ_INT(o.n, 1);
	EQ_INT(m[0].io.fd, -1);
	EQ_INT(m[1].io.fd, -1);
	for (size_t i = 0; i < 4; i++)
		close(fd[i / 2][i % 2]);
	loop_free(o.loop);
}

static void io_counts(void *arg, uint32_t events)
{
	struct mark *m = arg;

	m->again = events;
	mark_run(m);
}

TEST(a_descriptor_is_called_for_the_events_it_asks_for)
{
	struct mark m[1];
	struct order o;
	int fd[2];

	marks_init(m, 1, &o);
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	loop_io_add(o.loop, &m[0].io, fd[0], EPOLLIN, io_counts, &m[0]);
	loop_turn(o.loop, 0);
	loop_turn(o.loop, 0);
	EQ_INT(o.n, 0);
	loop_io_set(o.loop, &m[0].io, EPOLLIN | EPOLLOUT);
	loop_turn(o.loop, -1);
	EQ_INT(m[0].again, EPOLLOUT);
	loop_io_set(o.loop, &m[0].io, 0);
	loop_turn(o.loop, 0);
	EQ_INT(o.n, 1);
	close(fd[1]);
	loop_turn(o.loop, -1);
	OK(m[0].again & EPOLLHUP);
	loop_io_del(o.loop, &m[0].io);
	close(fd[0]);
	loop_free(o.loop);
}

static void signal_marks(void *arg, int signo)
{
	struct mark *m = arg;

	m->again = (unsigned)signo;
	mark_run(m);
}

TEST(signals_come_as_callbacks)
{
	struct mark m[2];
	struct order o;
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	OK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
	marks_init(m, 2, &o);
	loop_on_signal(o.loop, SIGUSR1, signal_marks, &m[0]);
	loop_on_signal(o.loop, SIGUSR2, signal_marks, &m[1]);
	OK(kill(getpid(), SIGUSR2) == 0);
	while (o.n < 1)
		loop_turn(o.loop, -1);
	OK(kill(getpid(), SIGUSR1) == 0);
	while (o.n < 2)
		loop_turn(o.loop, -1);
	EQ_INT(m[1].again, SIGUSR2);
	EQ_INT(m[0].again, SIGUSR1);
	loop_free(o.loop);
	OK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
}

static void stop_at_ten(void *arg)
{
	struct mark *m = arg;

	if (++m->again == 10)
		loop_stop(m->order->loop);
	else
		loop_again(m->order->loop);
}

TEST(loop_again_gives_turns_without_waiting_and_stop_ends_the_run)
{
	struct mark m[1];
	struct order o;

	marks_init(m, 1, &o);
	loop_hook_add(o.loop, &m[0].hook, stop_at_ten, &m[0]);
	loop_run(o.loop);
	EQ_INT(m[0].again, 10);
	OK(loop_turn_us_max(o.loop) >= 0);
	loop_free(o.loop);
}

TESTS = {
	T(timers_fire_in_order_of_time_once_and_not_before),
	T(a_timer_set_again_moves_and_a_cleared_one_is_silent),
	T(a_timer_that_is_always_due_runs_once_a_turn),
	T(the_timer_heap_agrees_with_a_plain_list),
	T(a_task_posted_twice_runs_once_and_a_cancelled_one_never),
	T(a_task_may_cancel_one_that_is_due_in_the_same_turn),
	T(a_task_that_posts_itself_runs_once_a_turn),
	T(no_post_from_any_thread_is_lost),
	T(hooks_run_in_order_each_turn_and_may_be_added_and_deleted_inside),
	T(what_is_deferred_runs_once_behind_the_hooks_of_the_turn),
	T(a_descriptor_deleted_by_another_ones_callback_is_not_called),
	T(a_descriptor_is_called_for_the_events_it_asks_for),
	T(signals_come_as_callbacks),
	T(loop_again_gives_turns_without_waiting_and_stop_ends_the_run),
};
TAP_MAIN
