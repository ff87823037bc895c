/* SPDX-License-Identifier: Apache-2.0 */
/* Clients, and views of them: made, cancelled, closed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "client/lib/core.h"
#include "client/lib/io.h"

enum {
	OPEN_TIMEOUT_MS = 10000,
	OPEN_DIAL_MS = 1000,
	OPEN_CALLS = 4096,
	OPEN_BYTES = 16 * MIB,
	OPEN_RESULT_BYTES = 64 * MIB
};

const char *quorate_version(void)
{
	return QUORATE_VERSION;
}

/* Later versions append: what an older program does not know is 0; what a newer one has must be. */
bool options_take(void *to, size_t to_size, const void *from, size_t from_size)
{
	const unsigned char *rest = from;

	memset(to, 0, to_size);
	if (from_size < sizeof(size_t) || from_size > 4096)
		return false;
	for (size_t i = to_size; i < from_size; i++)
		if (rest[i] != 0)
			return false;
	memcpy(to, from, from_size < to_size ? from_size : to_size);
	return true;
}

static int open_options(struct core_options *to, const struct quorate_options *given, struct quorate_error *e)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;

	if (given != NULL && !options_take(&o, sizeof o, given, given->size))
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO,
				 "options: use QUORATE_OPTIONS_INIT, and a library as new as the header");
	if (o.max_calls > LIMIT_CLIENT_INFLIGHT || (o.flags & ~(unsigned)(QUORATE_ANY_NODE | QUORATE_IN_ORDER)) != 0)
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "options: max_calls or flags");
	*to = (struct core_options){
		.timeout_ms = o.timeout_ms != 0 ? o.timeout_ms : OPEN_TIMEOUT_MS,
		.dial_timeout_ms = o.dial_timeout_ms != 0 ? o.dial_timeout_ms : OPEN_DIAL_MS,
		.max_calls = o.max_calls != 0 ? o.max_calls : OPEN_CALLS, .flags = o.flags,
		.max_bytes = o.max_bytes != 0 ? o.max_bytes : OPEN_BYTES,
		.max_result_bytes = o.max_result_bytes != 0 ? o.max_result_bytes : OPEN_RESULT_BYTES,
		.endpoints = strdup(o.endpoints != NULL ? o.endpoints : "127.0.0.1:2379")};
	return to->endpoints != NULL ? ERR_OK : lib_error_of(e, ERR_NO_MEMORY);
}

static struct quorate *view_make(struct core *c, struct bytes outer, struct bytes inner)
{
	struct quorate *q = malloc(sizeof *q + outer.len + inner.len);

	if (q == NULL)
		return NULL;
	q->core = c;
	atomic_init(&q->canceled, false);
	q->refs = 1;
	q->prefix = quorate_bytes(q->prefix_data, outer.len + inner.len);
	if (outer.len > 0)
		memcpy(q->prefix_data, outer.data, outer.len);
	if (inner.len > 0)
		memcpy(q->prefix_data + outer.len, inner.data, inner.len);
	return q;
}

static struct core *core_make(const struct core_options *o)
{
	struct core *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->o = *o;
	c->generation = core_generation();
	c->users = 1;
	c->first_free = UINT32_MAX;
	list_init(&c->incoming);
	list_init(&c->canceled);
	list_init(&c->watch_work);
	list_init(&c->session_work);
	CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
	lib_cond_init(&c->room);
	c->wake_fd = -1;
	c->slots = calloc(o->max_calls, sizeof *c->slots);
	return c;
}

static int core_start(struct core *c, struct quorate_error *e)
{
	sigset_t all, old;
	int rc;

	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		return lib_error(e, ERR_IO, ERR_AGAIN_SAFE, "eventfd: %m");
	rc = io_make(c, e);
	if (rc != ERR_OK)
		return rc;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&c->thread, NULL, io_run, c);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		return lib_error(e, ERR_IO, ERR_AGAIN_SAFE, "no thread: %s", strerrordesc_np(rc));
	(void)pthread_setname_np(c->thread, "quorate");
	return ERR_OK;
}

int quorate_open(const struct quorate_options *given, struct quorate **q, struct quorate_error *e)
{
	struct core_options o;
	struct bytes none = {NULL, 0};
	struct core *c;
	int rc = open_options(&o, given, e);

	*q = NULL;
	if (rc != ERR_OK)
		return rc;
	c = core_make(&o);
	if (c == NULL) {
		free(o.endpoints);
		return lib_error_of(e, ERR_NO_MEMORY);
	}
	*q = c->slots != NULL ? view_make(c, none, none) : NULL;
	rc = *q == NULL ? lib_error_of(e, ERR_NO_MEMORY) : core_start(c, e);
	if (rc != ERR_OK) {
		free(*q);
		*q = NULL;
		core_free(c);
		return rc;
	}
	lib_error_clear(e);
	return ERR_OK;
}

int quorate_namespace(struct quorate *q, struct quorate_bytes prefix, struct quorate **view,
		      struct quorate_error *e)
{
	int rc = view_usable(q, e);

	*view = NULL;
	if (rc != ERR_OK)
		return rc;
	if (prefix.size > LIMIT_REQUEST_BYTES || q->prefix.size > LIMIT_REQUEST_BYTES)
		return lib_error_of(e, ERR_REQUEST_TOO_LARGE);
	*view = view_make(q->core, bytes_of(q->prefix.data, q->prefix.size), bytes_of(prefix.data, prefix.size));
	if (*view == NULL)
		return lib_error_of(e, ERR_NO_MEMORY);
	core_use(q->core);
	return ERR_OK;
}

void quorate_cancel_all(struct quorate *q)
{
	struct core *c = q->core;
	bool wake;

	if (core_forked(c))
		return;
	(void)pthread_mutex_lock(&c->lock);
	atomic_store(&q->canceled, true);
	c->views_canceled = true;
	(void)pthread_cond_broadcast(&c->room);
	wake = core_must_wake(c);
	(void)pthread_mutex_unlock(&c->lock);
	if (wake)
		core_wake(c);
}

void quorate_close(struct quorate *q)
{
	struct core *c;

	if (q == NULL || core_forked(q->core))
		return;
	c = q->core;
	quorate_cancel_all(q);
	(void)pthread_mutex_lock(&c->lock);
	view_drop(q);
	(void)pthread_mutex_unlock(&c->lock);
	core_leave(c);
}
