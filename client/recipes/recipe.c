/* SPDX-License-Identifier: Apache-2.0 */
#include "client/recipes/recipe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "client/lib/session.h"

static const char recipe_lost_text[] = "the session is lost";

int recipe_fail(struct quorate_error *e, int code, enum quorate_again again, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return code;
	e->code = code;
	e->again = again;
	e->endpoint[0] = 0;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	return code;
}

int recipe_ok(struct quorate_error *e)
{
	return recipe_fail(e, QUORATE_OK, QUORATE_AGAIN_NO, "%s", "");
}

int recipe_no_memory(struct quorate_error *e)
{
	return recipe_fail(e, QUORATE_ERR_NO_MEMORY, QUORATE_AGAIN_SAFE, "%s",
			   quorate_error_text(QUORATE_ERR_NO_MEMORY));
}

mono_t recipe_deadline(const struct quorate *q, int64_t timeout_ms)
{
	return core_deadline(q->core, timeout_ms);
}

mono_t recipe_wait_deadline(int64_t timeout_ms)
{
	return wait_deadline(timeout_ms);
}

bool recipe_forked(const struct quorate *q)
{
	return core_forked(q->core);
}

int recipe_ours(const struct quorate *q, struct quorate_error *e)
{
	if (!core_forked(q->core))
		return QUORATE_OK;
	return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
			   "this client was opened by the parent of this process");
}

int recipe_session(const struct quorate *q, const struct quorate_session *s, struct quorate_error *e)
{
	if (s != NULL && s->core == q->core)
		return QUORATE_OK;
	return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "%s", s == NULL ?
			   "a session is needed" : "the session is another client's");
}

bool recipe_options(void *to, size_t to_size, const void *from, size_t from_size, struct quorate_error *e)
{
	if (options_take(to, to_size, from, from_size))
		return true;
	(void)recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
			  "the options are not set up, or are those of a newer version of the library");
	return false;
}

bool recipe_over(mono_t deadline)
{
	return !mono_before(mono_now(), deadline);
}

int64_t recipe_left_ms(mono_t deadline)
{
	int64_t ms;

	if (deadline.ns == MONO_NEVER.ns)
		return QUORATE_FOREVER;
	ms = mono_sub_ms(deadline, mono_now());
	return ms < 1 ? 1 : ms;
}

int64_t recipe_wait_ms(mono_t deadline)
{
	return recipe_over(deadline) ? 0 : recipe_left_ms(deadline);
}

char *recipe_join(struct quorate_bytes a, struct quorate_bytes b, struct quorate_bytes c)
{
	char *to = malloc(a.size + b.size + c.size + 1), *at = to;
	const struct quorate_bytes parts[] = {a, b, c};

	if (to == NULL)
		return NULL;
	for (size_t i = 0; i < 3; i++) {
		if (parts[i].size > 0)
			memcpy(at, parts[i].data, parts[i].size);
		at += parts[i].size;
	}
	*at = 0;
	return to;
}

struct quorate_bytes recipe_copy(const struct quorate_bytes *v, char **to)
{
	*to = recipe_join(*v, quorate_str(NULL), quorate_str(NULL));
	return quorate_bytes(*to, *to != NULL ? v->size : 0);
}

/* In a child none has any time left, but there something else is wrong. */
static bool recipe_lost(const struct quorate *q, struct quorate_session *s)
{
	return s != NULL && !recipe_forked(q) && quorate_session_left_ms(s) <= 0;
}

static int recipe_say_lost(struct quorate_error *e)
{
	return recipe_fail(e, QUORATE_ERR_LOST, QUORATE_AGAIN_NO, "%s", recipe_lost_text);
}

/* Without keepalives it is lost after this; while they are answered it is lost later, or never. */
static mono_t recipe_session_end(struct quorate_session *s)
{
	return s != NULL ? mono_add_ms(mono_now(), quorate_session_left_ms(s)) : MONO_NEVER;
}

int recipe_call(struct quorate *q, struct quorate_session *s, const struct quorate_op *op,
		mono_t deadline, struct quorate_result **r, struct quorate_error *e)
{
	bool late = false;

	return recipe_write(q, s, op, deadline, r, &late, e);
}

int recipe_write(struct quorate *q, struct quorate_session *s, const struct quorate_op *op,
		 mono_t deadline, struct quorate_result **r, bool *late, struct quorate_error *e)
{
	struct quorate_error own;
	bool handed;
	int rc;

	if (e == NULL)
		e = &own;
	for (;;) {
		mono_t until = mono_min(deadline, recipe_session_end(s));

		*r = NULL;
		if (recipe_lost(q, s))
			return recipe_say_lost(e);
		rc = call_wait(q, op, recipe_left_ms(until), r, &handed, e);
		*late = *late || handed;
		if (rc == QUORATE_OK)
			return rc;
		if (recipe_lost(q, s) || rc == QUORATE_ERR_LEASE_NOT_FOUND)
			return recipe_say_lost(e);
		/* Given up only because the session seemed to end; it goes on. */
		if (e->again == QUORATE_AGAIN_NO || recipe_over(deadline) || !recipe_over(until))
			return rc;
	}
}

int recipe_why(struct quorate *q, struct quorate_session *s, int rc, struct quorate_error *e)
{
	return rc != QUORATE_OK && recipe_lost(q, s) ? recipe_say_lost(e) : rc;
}

/* 1: gone, or the history is; 0: neither. */
static bool recipe_news_gone(const struct quorate_news *news, int64_t *gone)
{
	if (news->kind == QUORATE_COMPACTED) {
		*gone = 0;
		return true;
	}
	for (size_t i = 0; news->kind == QUORATE_EVENTS && i < news->n_events; i++) {
		if (news->events[i].type == QUORATE_EVENT_DELETE) {
			*gone = news->events[i].kv.mod_revision;
			return true;
		}
	}
	return false;
}

int recipe_wait_gone(struct quorate *q, struct quorate_session *s, struct quorate_bytes key,
		     int64_t revision, mono_t deadline, int64_t *gone, struct quorate_error *e)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_watch *w;
	struct quorate_news *news;
	bool over = false;
	int rc;

	o.key = key;
	o.flags = QUORATE_NO_PUT;
	o.start_revision = revision + 1;
	o.session = s;
	rc = quorate_watch_open(q, &o, &w, e);
	if (rc != QUORATE_OK)
		return recipe_why(q, s, rc, e);
	while (rc == QUORATE_OK && !over) {
		rc = quorate_watch_next(w, recipe_wait_ms(deadline), &news, e);
		if (rc == QUORATE_OK) {
			over = recipe_news_gone(news, gone);
			quorate_news_free(news);
		}
	}
	quorate_watch_close(w);
	return recipe_why(q, s, rc, e);
}

uint64_t recipe_random(void)
{
	uint64_t v = 0;

	/* Of eight bytes, all or nothing; early in the boot it may wait. */
	if (getrandom(&v, sizeof v, 0) != (ssize_t)sizeof v)
		v = (uint64_t)mono_now().ns;
	return v;
}
