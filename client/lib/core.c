/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/io.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

/* ---- errors ---- */

void lib_error_at(struct quorate_error *e, const char *endpoint)
{
	size_t len = strnlen(endpoint, sizeof e->endpoint - 1);

	memcpy(e->endpoint, endpoint, len);
	e->endpoint[len] = 0;
}

void lib_error_clear(struct quorate_error *e)
{
	if (e == NULL)
		return;
	e->code = QUORATE_OK;
	e->again = QUORATE_AGAIN_NO;
	e->text[0] = 0;
	e->endpoint[0] = 0;
}

int lib_error(struct quorate_error *e, int code, enum err_again again, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return code;
	lib_error_clear(e);
	e->code = code;
	e->again = (enum quorate_again)again;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	return code;
}

int lib_error_of(struct quorate_error *e, int code)
{
	if (code == ERR_OK) {
		lib_error_clear(e);
		return code;
	}
	return lib_error(e, code, err_again(code), "%s", err_text(code));
}

int lib_error_foreign(struct quorate_error *e, const char *what)
{
	return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "the %s is another client's", what);
}

const char *quorate_error_text(int code)
{
	return err_text(code);
}

/* ---- time ---- */

mono_t wait_deadline(int64_t timeout_ms)
{
	if (timeout_ms < 0 || timeout_ms > INT64_MAX / 1000000)
		return MONO_NEVER;
	return mono_add_ms(mono_now(), timeout_ms);
}

mono_t core_deadline(const struct core *c, int64_t timeout_ms)
{
	return wait_deadline(timeout_ms == 0 ? c->o.timeout_ms : timeout_ms);
}

void lib_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(cond, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
}

bool lib_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, mono_t deadline)
{
	struct timespec t = {(time_t)(deadline.ns / 1000000000), (long)(deadline.ns % 1000000000)};

	if (deadline.ns == MONO_NEVER.ns) {
		(void)pthread_cond_wait(cond, lock);
		return true;
	}
	return pthread_cond_timedwait(cond, lock, &t) == 0;
}

/* ---- waking the I/O thread ---- */

bool core_must_wake(struct core *c)
{
	bool must = c->sleeping;

	c->sleeping = false;           /* one who wakes it is enough */
	return must;
}

void core_wake(struct core *c)
{
	uint64_t one = 1;

	(void)!write(c->wake_fd, &one, sizeof one);
}

/* ---- lives ---- */

/* Of this process: a child has a higher number than its parent, whatever their ids are. */
static atomic_uint core_forks;

static void core_fork_child(void)
{
	atomic_fetch_add(&core_forks, 1);
}

static void core_fork_watch(void)
{
	(void)pthread_atfork(NULL, NULL, core_fork_child);
}

unsigned core_generation(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, core_fork_watch);
	return atomic_load(&core_forks);
}

bool core_forked(const struct core *c)
{
	return atomic_load_explicit(&core_forks, memory_order_relaxed) != c->generation;
}

void view_hold(struct quorate *q)
{
	q->refs++;
}

void view_drop(struct quorate *q)
{
	CHECK(q->refs > 0);
	if (--q->refs == 0)
		free(q);
}

int view_usable(const struct quorate *q, struct quorate_error *e)
{
	if (core_forked(q->core))
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO,
				 "this client was opened by the parent of this process");
	if (atomic_load(&q->canceled))
		return lib_error_of(e, ERR_CANCELED);
	lib_error_clear(e);
	return ERR_OK;
}

void core_use(struct core *c)
{
	(void)pthread_mutex_lock(&c->lock);
	c->users++;
	(void)pthread_mutex_unlock(&c->lock);
}

void core_free(struct core *c)
{
	io_free(&c->io);
	if (c->wake_fd >= 0)
		(void)close(c->wake_fd);
	(void)pthread_cond_destroy(&c->room);
	(void)pthread_mutex_destroy(&c->lock);
	free(c->slots);
	free(c->o.endpoints);
	free(c);
}

void core_leave(struct core *c)
{
	bool last;

	(void)pthread_mutex_lock(&c->lock);
	CHECK(c->users > 0);
	last = --c->users == 0;
	if (last)
		c->stop = true;
	(void)pthread_mutex_unlock(&c->lock);
	if (!last)
		return;
	core_wake(c);
	(void)pthread_join(c->thread, NULL);
	core_free(c);
}
