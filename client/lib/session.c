/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions as other threads see them. */
#include "client/lib/session.h"

#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "client/lib/watch.h"

enum { SESSION_TTL_S = 60 };

const char session_silent_text[] = "no keepalive was answered for as long as the lease lasts";

mono_t session_clock(void)
{
	struct timespec ts;

	CHECK(clock_gettime(CLOCK_BOOTTIME, &ts) == 0);
	return (mono_t){(int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec};
}

bool session_tie(struct quorate_session *s, struct list *watch_node)
{
	if (s->lost)
		return false;
	list_push(&s->ties, watch_node);
	return true;
}

void session_lose(struct quorate_session *s, int code, const char *text)
{
	struct core *core = s->core;
	struct list *l;

	(void)pthread_mutex_lock(&core->lock);
	if (!s->lost) {
		s->lost = true;
		(void)lib_error(&s->why, code, ERR_AGAIN_NO, "%s", text);
		(void)pthread_cond_broadcast(&s->gone);
		if (s->queue != NULL)
			queue_push(s->queue, &s->item);
	}
	while ((l = list_pop(&s->ties)) != NULL)
		watch_cut(container_of(l, struct quorate_watch, session_node), ERR_LEASE_NOT_FOUND, text);
	(void)pthread_mutex_unlock(&core->lock);
}

/* From its queue. */
static void session_tell(struct queue_item *item)
{
	struct quorate_session *s = container_of(item, struct quorate_session, item);

	s->tell(s->arg, s, &s->why);   /* `why` never changes any more */
}

/* ---- opened ---- */

static int session_options(const struct quorate *q, struct quorate_session_options *o,
			   const struct quorate_session_options *given, struct quorate_error *e)
{
	struct quorate_session_options plain = QUORATE_SESSION_OPTIONS_INIT;

	given = given != NULL ? given : &plain;
	if (!options_take(o, sizeof *o, given, given->size))
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "options: use QUORATE_SESSION_OPTIONS_INIT");
	if ((o->queue == NULL) != (o->lost == NULL))
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "queue and lost() come together");
	if (o->queue != NULL && !queue_is_of(o->queue, q->core))
		return lib_error_foreign(e, "queue");
	if (o->ttl < 0)
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "ttl is negative");
	return ERR_OK;
}

static struct quorate_session *session_make(struct quorate *q, const struct quorate_session_options *o)
{
	struct quorate_session *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->core = q->core;
	s->view = q;
	s->queue = o->queue;
	s->tell = o->lost;
	s->arg = o->arg;
	s->item.run = session_tell;
	list_init(&s->item.node);
	list_init(&s->work_node);
	list_init(&s->io_node);
	list_init(&s->ties);
	lib_cond_init(&s->gone);
	return s;
}

void session_free(struct quorate_session *s)
{
	(void)pthread_cond_destroy(&s->gone);
	free(s);
}

/* A lease that is granted twice because an answer was lost is one that runs out, however late. */
static int session_lease(struct quorate *q, const struct quorate_session_options *o, int64_t timeout_ms,
			 struct quorate_session *s, struct quorate_error *e)
{
	struct quorate_op op = quorate_op(o->lease != 0 ? QUORATE_LEASE_KEEPALIVE : QUORATE_LEASE_GRANT);
	mono_t sent = session_clock(), begun = mono_now();
	struct quorate_result *r;
	int rc;

	op.flags = QUORATE_IDEMPOTENT;
	op.lease = o->lease;
	op.ttl = o->ttl != 0 ? o->ttl : SESSION_TTL_S;
	rc = quorate_call(q, &op, timeout_ms, &r, e);
	if (rc != ERR_OK)
		return rc;
	s->lease = r->lease;
	s->granted = o->lease == 0;
	s->ttl_ms = r->ttl > INT64_MAX / 2000000 ? INT64_MAX / 2000000 : r->ttl * 1000;
	s->good_until = mono_add_ms(sent, s->ttl_ms);
	s->next = mono_add_ms(begun, s->ttl_ms / 3);
	quorate_result_free(r);
	return s->ttl_ms > 0 ? ERR_OK : lib_error_of(e, ERR_LEASE_NOT_FOUND);
}

/* With the lock held: whether the I/O thread must be woken. */
static bool session_ask_io(struct quorate_session *s, unsigned work)
{
	s->work |= work;
	if (!list_linked(&s->work_node))
		list_push(&s->core->session_work, &s->work_node);
	return core_must_wake(s->core);
}

int quorate_session_open(struct quorate *q, const struct quorate_session_options *given, int64_t timeout_ms,
			 struct quorate_session **out, struct quorate_error *e)
{
	struct quorate_session_options o;
	struct core *core = q->core;
	struct quorate_session *s;
	int rc = view_usable(q, e);
	bool wake;

	*out = NULL;
	if (rc == ERR_OK)
		rc = session_options(q, &o, given, e);
	if (rc != ERR_OK)
		return rc;
	s = session_make(q, &o);
	rc = s == NULL ? lib_error_of(e, ERR_NO_MEMORY) : session_lease(q, &o, timeout_ms, s, e);
	if (rc != ERR_OK) {
		if (s != NULL)
			session_free(s);
		return rc;
	}
	(void)pthread_mutex_lock(&core->lock);
	core->users++;
	view_hold(q);
	if (s->queue != NULL)
		queue_hold(s->queue);
	wake = session_ask_io(s, SESSION_OPEN);
	(void)pthread_mutex_unlock(&core->lock);
	if (wake)
		core_wake(core);
	*out = s;
	return ERR_OK;
}

/* ---- asked ---- */

int64_t quorate_session_lease(const struct quorate_session *s)
{
	return s->lease;
}

/* Who is told that it is lost acts upon it, so a late answer to a keepalive must not take it back. */
int64_t quorate_session_left_ms(struct quorate_session *s)
{
	int64_t left;
	bool lost;

	if (core_forked(s->core))
		return 0;
	(void)pthread_mutex_lock(&s->core->lock);
	lost = s->lost;
	left = mono_sub_ms(s->good_until, session_clock());
	(void)pthread_mutex_unlock(&s->core->lock);
	if (!lost && left <= 0)
		session_lose(s, ERR_TIMEOUT, session_silent_text);
	return lost || left <= 0 ? 0 : left;
}

int quorate_session_wait(struct quorate_session *s, int64_t timeout_ms, struct quorate_error *why)
{
	mono_t deadline = wait_deadline(timeout_ms);
	bool in_time = timeout_ms != 0, lost;

	if (core_forked(s->core))
		return view_usable(s->view, why);
	(void)pthread_mutex_lock(&s->core->lock);
	while (!s->lost && in_time)
		in_time = lib_cond_wait(&s->gone, &s->core->lock, deadline);
	lost = s->lost;
	if (lost && why != NULL)
		*why = s->why;
	(void)pthread_mutex_unlock(&s->core->lock);
	if (!lost)
		return lib_error(why, ERR_TIMEOUT, ERR_AGAIN_SAFE, "the session is not lost");
	return ERR_OK;
}

/* ---- closed ---- */

void quorate_session_leave(struct quorate_session *s)
{
	struct core *core;
	bool wake;

	if (s == NULL || core_forked(s->core))
		return;
	core = s->core;
	session_lose(s, ERR_CANCELED, "the session was closed");
	(void)pthread_mutex_lock(&core->lock);
	if (s->queue != NULL) {
		queue_remove(s->queue, &s->item);
		queue_drop(s->queue);
		s->queue = NULL;
	}
	wake = session_ask_io(s, SESSION_CLOSE);   /* which frees it */
	(void)pthread_mutex_unlock(&core->lock);
	if (wake)
		core_wake(core);
	core_leave(core);
}

int quorate_session_close(struct quorate_session *s, int64_t timeout_ms, struct quorate_error *e)
{
	struct quorate_op op = quorate_op(QUORATE_LEASE_REVOKE);
	int rc;

	lib_error_clear(e);
	if (s == NULL || core_forked(s->core))
		return ERR_OK;
	/* Made twice, it may be done late. An id that somebody has chosen may have been granted again by then. */
	op.flags = s->granted ? QUORATE_IDEMPOTENT : 0;
	op.lease = s->lease;
	rc = quorate_call(s->view, &op, timeout_ms, NULL, e);
	if (rc == ERR_LEASE_NOT_FOUND) {   /* which is what was wanted */
		lib_error_clear(e);
		rc = ERR_OK;
	}
	quorate_session_leave(s);
	return rc;
}
