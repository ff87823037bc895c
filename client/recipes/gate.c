/* SPDX-License-Identifier: Apache-2.0 */
#include "client/recipes/gate.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

void gate_init(struct gate *g)
{
	pthread_condattr_t monotonic;

	g->taken = false;
	(void)pthread_mutex_init(&g->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&g->cond, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
}

void gate_free(struct gate *g)
{
	(void)pthread_cond_destroy(&g->cond);
	(void)pthread_mutex_destroy(&g->lock);
}

bool gate_wait(struct gate *g, mono_t deadline)
{
	struct timespec at = {.tv_sec = deadline.ns / 1000000000, .tv_nsec = deadline.ns % 1000000000};

	if (deadline.ns == MONO_NEVER.ns)
		return pthread_cond_wait(&g->cond, &g->lock) == 0;
	return pthread_cond_timedwait(&g->cond, &g->lock, &at) != ETIMEDOUT;
}

bool gate_enter(struct gate *g, mono_t deadline)
{
	bool entered;

	(void)pthread_mutex_lock(&g->lock);
	while (g->taken && gate_wait(g, deadline))
		;
	entered = !g->taken;
	g->taken = true;
	(void)pthread_mutex_unlock(&g->lock);
	return entered;
}

void gate_leave(struct gate *g)
{
	(void)pthread_mutex_lock(&g->lock);
	g->taken = false;
	(void)pthread_cond_broadcast(&g->cond);
	(void)pthread_mutex_unlock(&g->lock);
}

int gate_thread(pthread_t *t, void *(*run)(void *arg), void *arg)
{
	sigset_t all, old;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(t, NULL, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}
