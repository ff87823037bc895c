/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/io.h"
#include "client/lib/session.h"
#include "client/lib/watch.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"

enum {
	IO_POLL_LINES = LIMIT_CLIENT_ENDPOINTS + 2 * IO_LINES_DRAINING + 8,
	IO_NAMES_AGAIN_MS = 5000
};

#define CALL_OF(l) container_of(container_of((l), struct queue_item, node), struct call, item)
#define LINE_OF(l) container_of((l), struct line, node)

/* ---- made and freed ---- */

int io_make(struct core *c, struct quorate_error *e)
{
	struct io *io = calloc(1, sizeof *io);
	uint64_t seed = 0;
	char why[512];
	int rc;

	c->io = io;
	if (io == NULL)
		return lib_error_of(e, ERR_NO_MEMORY);
	io->core = c;
	list_init(&io->waiting);
	list_init(&io->resting);
	list_init(&io->flying);
	list_init(&io->ended);
	list_init(&io->lines);
	list_init(&io->sessions);
	if (watch_io_make(io) != ERR_OK)
		return lib_error_of(e, ERR_NO_MEMORY);
	if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
		seed = (uint64_t)mono_now().ns;
	rc = client_endpoints_parse(&io->endpoints, c->o.endpoints, CLIENT_NO_LOOKUP, seed, why, sizeof why);
	if (rc != ERR_OK)
		return lib_error(e, rc, ERR_AGAIN_NO, "%s", why);
	/* A thousand clients of one list do not all begin with its first. */
	if ((c->o.flags & QUORATE_IN_ORDER) == 0)
		io->endpoints.next = (size_t)client_random(&io->endpoints.random, io->endpoints.n);
	for (size_t i = 0; i < io->endpoints.n; i++)
		io->has_names = io->has_names || io->endpoints.v[i].addr_len == 0;
	return ERR_OK;
}

void io_free(struct io **iop)
{
	struct io *io = *iop;
	struct list *l;

	*iop = NULL;
	if (io == NULL)
		return;
	while ((l = list_first(&io->lines)) != NULL)
		line_close(LINE_OF(l), NULL);
	names_abandon(&io->names);
	watch_io_free(io);
	flight_free_spare(io);
	free(io);
}

/* ---- names ---- */

/* What cannot be looked up just now is where it was: resolvers fail too, and not only when nodes do. */
static void io_names_keep(struct client_endpoints *found, const struct client_endpoints *old)
{
	for (size_t i = 0, n = found->n; i < n; i++) {
		struct client_endpoint *lost = found->v[i].addr_len == 0 ? &found->v[i] : NULL;

		for (size_t k = 0; k < old->n && lost != NULL; k++) {
			const struct client_endpoint *was = &old->v[k];

			if (was->addr_len == 0 || strcmp(was->text, lost->text) != 0)
				continue;
			if (lost->addr_len == 0)
				*lost = *was;
			else if (found->n < LIMIT_CLIENT_ENDPOINTS)
				found->v[found->n++] = *was;
		}
	}
}

static void io_names_found(struct io *io, struct client_endpoints *found, const char *why)
{
	struct client_endpoints *old = &io->endpoints;

	io_names_keep(found, old);
	for (size_t i = 0; i < found->n; i++)
		for (size_t k = 0; k < old->n; k++)
			if (client_endpoint_same(&found->v[i], &old->v[k])) {
				found->v[i].failures = old->v[k].failures;
				found->v[i].member_id = old->v[k].member_id;
				found->v[i].not_before = old->v[k].not_before;
			}
	for (size_t i = 0; i < found->n; i++)
		if (found->v[i].addr_len == 0)
			(void)lib_error(&io->why, ERR_CLOSED, ERR_AGAIN_SAFE, "%s", why);
	found->random = old->random;
	found->next = found->n > 0 ? old->next % found->n : 0;
	if (found->n > 0)
		*old = *found;
	io_due(io, io->now);
}

/* Names are looked up before the first use, and again while endpoints fail. */
static void io_names(struct io *io, bool wanted)
{
	struct client_endpoints found;
	char why[512];

	if (!io->has_names)
		return;
	if (io->names != NULL) {
		if (names_done(&io->names, &found, why, sizeof why))
			io_names_found(io, &found, why);
		return;
	}
	if (!wanted)
		return;
	if (mono_before(io->now, io->names_again)) {
		io_due(io, io->names_again);
		return;
	}
	io->names = names_begin(io->core->o.endpoints, io->core->wake_fd);
	io->names_again = mono_add_ms(io->now, IO_NAMES_AGAIN_MS);
	io_due(io, io->names_again);
}

/* ---- lines ---- */

struct client_endpoint *io_endpoint(struct io *io)
{
	mono_t until = MONO_NEVER;
	struct client_endpoint *at = client_endpoints_next(&io->endpoints, io->now, &until);

	io_names(io, at == NULL || at->failures > 0 || io->names_again.ns == 0);
	at = client_endpoints_next(&io->endpoints, io->now, &until);   /* of the list that there is now */
	if (at == NULL)
		io_due(io, until);
	return at;
}

static size_t io_lines(const struct io *io, enum line_state state, struct list **first)
{
	size_t n = 0;

	for (struct list *l = io->lines.prev; l != &io->lines; l = l->prev)
		if (LINE_OF(l)->state == state) {
			*first = l;
			n++;
		}
	return n;
}

/* The line for calls: there is one, or one is being made, or the time for it has not come. */
static void io_main_line(struct io *io)
{
	struct client_endpoint *at;
	struct list *oldest;

	while (io_lines(io, LINE_DRAINING, &oldest) > IO_LINES_DRAINING)
		line_close(LINE_OF(oldest), NULL);
	while (io->main == NULL && (at = io_endpoint(io)) != NULL)
		io->main = line_open(io, at, LINE_CALLS);
}

static struct line *io_pinned_line(struct io *io, const char *endpoint, bool *known)
{
	struct client_endpoints *e = &io->endpoints;

	for (struct list *l = io->lines.next; l != &io->lines; l = l->next)
		if (LINE_OF(l)->use == LINE_PINNED && client_endpoint_named(&LINE_OF(l)->at, endpoint))
			return LINE_OF(l);
	for (size_t i = 0; i < e->n; i++) {
		struct line *l = NULL;

		if (!client_endpoint_named(&e->v[i], endpoint))
			continue;
		*known = true;
		if (e->v[i].addr_len == 0)
			io_names(io, true);
		else if (mono_before(io->now, e->v[i].not_before))
			io_due(io, e->v[i].not_before);
		else
			l = line_open(io, &e->v[i], LINE_PINNED);
		if (l != NULL)
			return l;
	}
	return NULL;
}

/* ---- calls ---- */

static void io_send_pinned(struct io *io, struct call *c)
{
	bool known = false;
	struct line *l = io_pinned_line(io, c->endpoint, &known);

	if (l != NULL && l->state == LINE_READY)
		(void)flight_send(l, c);
	else if (l == NULL && !known)
		flight_end(io, c, ERR_BAD_ARGUMENT, ERR_AGAIN_NO, "that is not one of the client's endpoints",
			   c->endpoint);
}

/* Calls in the order in which they came, for as long as there is room on the line. */
static void io_send(struct io *io)
{
	struct list *l, *next;
	bool room = true;

	for (l = io->waiting.next; l != &io->waiting; l = next) {
		struct call *c = CALL_OF(l);

		next = l->next;
		if (c->endpoint != NULL) {
			io_send_pinned(io, c);
			continue;
		}
		if (!room)
			continue;
		if (io->main == NULL)
			io_main_line(io);
		room = io->main != NULL && io->main->state == LINE_READY && flight_send(io->main, c);
	}
}

static void io_write(struct io *io)
{
	struct list *l, *next;

	for (l = io->lines.next; l != &io->lines; l = next) {
		next = l->next;
		if (client_conn_queued(LINE_OF(l)->conn) > 0)
			(void)line_turn(LINE_OF(l));
	}
}

static void io_call_times(struct io *io, struct list *calls)
{
	struct list *l, *next;

	for (l = calls->next; l != calls; l = next) {
		struct call *c = CALL_OF(l);

		next = l->next;
		if (!mono_before(io->now, c->deadline)) {
			flight_expire(io, c);
			continue;
		}
		io_due(io, c->deadline);
		if (calls == &io->resting && mono_before(io->now, c->not_before)) {
			io_due(io, c->not_before);
		} else if (calls == &io->resting) {
			list_remove(l);
			list_push(&io->waiting, l);
		} else if (calls == &io->flying && mono_before(io->now, flight_patience(io, c))) {
			io_due(io, flight_patience(io, c));
		} else if (calls == &io->flying) {
			flight_move(io, c);
			list_remove(l);
			list_push(&io->waiting, l);
		}
	}
}

static void io_timers(struct io *io)
{
	struct list *l, *next;

	io->due = MONO_NEVER;
	io_call_times(io, &io->resting);
	io_call_times(io, &io->waiting);
	io_call_times(io, &io->flying);
	for (l = io->lines.next; l != &io->lines; l = next) {
		next = l->next;
		(void)line_timer(LINE_OF(l));
	}
	session_io_timers(io);
	io_names(io, false);
}

/* ---- what other threads want ---- */

static void io_cancel_views(struct io *io, struct list *calls)
{
	struct list *l, *next;

	for (l = calls->next; l != calls; l = next) {
		next = l->next;
		if (atomic_load(&CALL_OF(l)->view->canceled))
			flight_cancel(io, CALL_OF(l));
	}
}

/* False: it is time to stop. */
static bool io_take(struct io *io)
{
	struct core *core = io->core;
	struct list incoming, canceled, *l;
	struct list watches, sessions;
	bool views, stop;

	list_init(&incoming);
	list_init(&canceled);
	list_init(&watches);
	list_init(&sessions);
	(void)pthread_mutex_lock(&core->lock);
	core->sleeping = false;
	list_splice(&incoming, &core->incoming);
	list_splice(&canceled, &core->canceled);
	list_splice(&watches, &core->watch_work);
	list_splice(&sessions, &core->session_work);
	views = core->views_canceled;
	core->views_canceled = false;
	stop = core->stop;
	(void)pthread_mutex_unlock(&core->lock);
	for (l = incoming.next; l != &incoming; l = l->next)
		io_due(io, CALL_OF(l)->deadline);
	list_splice(&io->waiting, &incoming);
	while ((l = list_pop(&canceled)) != NULL)
		flight_cancel(io, container_of(l, struct call, cancel_node));
	session_io_take(io, &sessions);
	watch_io_take(io, &watches);
	if (views) {
		watch_io_canceled(io);
		session_io_canceled(io);
		io_cancel_views(io, &io->waiting);
		io_cancel_views(io, &io->resting);
		io_cancel_views(io, &io->flying);
	}
	return !stop;
}

static void io_end_all(struct io *io, struct list *calls)
{
	while (!list_empty(calls))
		flight_cancel(io, CALL_OF(list_first(calls)));
}

/* ---- the loop ---- */

/* Under the lock: whoever comes after this wakes the thread. */
static bool io_may_sleep(struct core *core)
{
	bool may;

	(void)pthread_mutex_lock(&core->lock);
	may = list_empty(&core->incoming) && list_empty(&core->canceled) &&
	      list_empty(&core->watch_work) && list_empty(&core->session_work) &&
	      !core->views_canceled && !core->stop;
	core->sleeping = may;
	(void)pthread_mutex_unlock(&core->lock);
	return may;
}

static void io_wait(struct io *io)
{
	struct pollfd p[IO_POLL_LINES];
	struct line *lines[IO_POLL_LINES];
	nfds_t n = 1;
	int64_t ms = io_may_sleep(io->core) ? (mono_sub_ns(io->due, mono_now()) + 999999) / 1000000 : 0;
	uint64_t count;

	p[0] = (struct pollfd){.fd = io->core->wake_fd, .events = POLLIN};
	for (struct list *l = io->lines.next; l != &io->lines && n < IO_POLL_LINES; l = l->next) {
		lines[n] = LINE_OF(l);
		p[n++] = (struct pollfd){.fd = client_conn_fd(LINE_OF(l)->conn),
					 .events = client_conn_events(LINE_OF(l)->conn)};
	}
	ms = ms < 0 ? 0 : ms > 60000 ? 60000 : ms;
	(void)poll(p, n, (int)ms);
	io->now = mono_now();
	if (p[0].revents != 0)
		(void)!read(io->core->wake_fd, &count, sizeof count);
	/* A turn of one line never closes another. One that failed while it was written to is told so. */
	for (nfds_t i = 1; i < n; i++)
		if (p[i].revents != 0 || p[i].fd < 0)
			(void)line_turn(lines[i]);
}

void *io_run(void *arg)
{
	struct core *core = arg;
	struct io *io = core->io;

	io->now = mono_now();
	io->due = MONO_NEVER;
	while (io_take(io)) {
		io->now = mono_now();
		if (!mono_before(io->now, io->due))
			io_timers(io);
		io_send(io);
		watch_io_turn(io);
		leader_turn(io);
		io_write(io);          /* which also reads */
		if (watch_io_dirty(io))
			io_due(io, io->now);
		call_hand_out(core, &io->ended);
		io_wait(io);
		call_hand_out(core, &io->ended);
	}
	io_end_all(io, &io->waiting);
	io_end_all(io, &io->resting);
	io_end_all(io, &io->flying);
	call_hand_out(core, &io->ended);
	return NULL;
}
