/* SPDX-License-Identifier: Apache-2.0 */
/* The two ends of links: servers, which accept, and dialers, which call again for ever. */
#include "rt/link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/link_conn.h"

enum { LINK_WAIT_LOG_MS = 10000 };

struct link_server {
	struct link_end end;
	struct stream_listener *listener;
};

struct link_dialer {
	struct link_end end;
	struct stream_dialer *dialer;
	struct loop_timer retry;
	unsigned delay_ms;            /* of the next attempt, before jitter */
	uint64_t random;
	bool waiting;                 /* said so in the log, at... */
	mono_t waiting_logged;
};

/* The oldest connection that has not said hello makes room: strangers cannot keep a peer out. */
static void link_limit_greeting(struct link_end *e)
{
	struct link *oldest = NULL;

	if (e->n_greeting <= LIMIT_LINK_GREETING)
		return;
	for (struct link *l = e->links; l != NULL; l = l->next)
		if (l->state == LINK_GREETING)
			oldest = l;
	link_fail(oldest, false, "more than %u connections without a hello", LIMIT_LINK_GREETING);
}

static void link_accepted(void *arg, struct stream *stream)
{
	struct link_server *s = arg;

	link_begin(&s->end, stream);
	link_limit_greeting(&s->end);
}

int link_server_open(const struct link_setup *setup, struct link_server **out)
{
	struct link_server *s = mem_alloc(sizeof *s);
	int err;

	link_end_init(&s->end, setup, NULL);
	err = stream_listen(setup->loop, setup->path, link_accepted, s, &s->listener);
	if (err) {
		link_server_close(&s);
		return err;
	}
	*out = s;
	return ERR_OK;
}

void link_server_close(struct link_server **sp)
{
	struct link_server *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	stream_listener_close(&s->listener);
	link_end_free(&s->end);
	mem_free(s);
}

/* splitmix64: dialers that lost one server at one moment must not come back in step. */
static uint64_t link_random(struct link_dialer *d)
{
	uint64_t z = d->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void link_log_waiting(struct link_dialer *d, const char *reason)
{
	mono_t now = loop_now(d->end.s.loop);

	if (d->waiting && mono_sub_ms(now, d->waiting_logged) < LINK_WAIT_LOG_MS)
		return;
	d->waiting = true;
	d->waiting_logged = now;
	log_info("waiting for %s path=%s reason=%s", daemon_name(d->end.s.peer), d->end.s.path, reason);
}

/* In small steps: a peer that took so long to start is found within a quarter of that, not in twice the time. */
static void link_retry(struct link_dialer *d)
{
	const struct link_times *t = &d->end.s.times;
	unsigned half = d->delay_ms / 2, wait = half + (unsigned)(link_random(d) % (d->delay_ms - half + 1));

	d->delay_ms += d->delay_ms < 4 ? 1 : d->delay_ms / 4;
	if (d->delay_ms > t->retry_max_ms)
		d->delay_ms = t->retry_max_ms;
	loop_timer_set(d->end.s.loop, &d->retry, mono_add_ms(loop_now(d->end.s.loop), wait));
}

static void link_dialled(void *arg, struct stream *stream, const char *reason)
{
	struct link_dialer *d = arg;

	if (stream != NULL) {
		link_begin(&d->end, stream);
		return;
	}
	link_log_waiting(d, reason);
	link_retry(d);
}

/* Only a link that has lasted makes the next attempt quick: a peer that refuses us is not hurried. */
static void link_dialer_buried(struct link_end *e, bool was_up, int64_t age_ms, const char *reason)
{
	struct link_dialer *d = container_of(e, struct link_dialer, end);

	if (was_up && age_ms >= e->s.times.retry_max_ms) {
		d->waiting = false;
		d->delay_ms = e->s.times.retry_min_ms;
	}
	link_log_waiting(d, reason);
	link_retry(d);
}

static void link_dial(void *arg)
{
	struct link_dialer *d = arg;

	stream_dial(d->dialer);
}

int link_dialer_open(const struct link_setup *setup, struct link_dialer **out)
{
	struct link_dialer *d = mem_alloc(sizeof *d);
	struct link_setup one = *setup;
	int err;

	one.max_links = 1;
	link_end_init(&d->end, &one, link_dialer_buried);
	CHECK(getrandom(&d->random, sizeof d->random, 0) == sizeof d->random);
	d->delay_ms = d->end.s.times.retry_min_ms;
	loop_timer_init(&d->retry, link_dial, d);
	err = stream_dialer_open(setup->loop, setup->path, link_dialled, d, &d->dialer);
	if (err) {
		link_dialer_close(&d);
		return err;
	}
	stream_dial(d->dialer);
	*out = d;
	return ERR_OK;
}

void link_dialer_close(struct link_dialer **dp)
{
	struct link_dialer *d = *dp;

	if (d == NULL)
		return;
	*dp = NULL;
	stream_dialer_close(&d->dialer);
	loop_timer_clear(d->end.s.loop, &d->retry);
	link_end_free(&d->end);
	mem_free(d);
}

void link_flush(struct link *l)
{
	if (l->state == LINK_UP)
		stream_flush(l->stream);
}

size_t link_queued(const struct link *l)
{
	return l->state == LINK_UP ? stream_queued(l->stream) : 0;
}

void link_drop(struct link *l, const char *reason)
{
	link_fail(l, false, "%s", reason);
}

bool link_is_up(const struct link *l)
{
	return l->state == LINK_UP;
}

const struct link_hello *link_peer(const struct link *l)
{
	return &l->peer;
}

void link_set_arg(struct link *l, void *arg)
{
	l->arg = arg;
}

void *link_get_arg(const struct link *l)
{
	return l->arg;
}

int64_t link_age_ms(const struct link *l)
{
	return l->state == LINK_UP ? mono_sub_ms(loop_now(l->end->s.loop), l->since) : -1;
}

struct link_stats link_stats_total(void)
{
	return *link_stats();
}
