/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving to the leader's node, where writes, linearizable reads and keepalives are a hop shorter.
 * Now and then the node in use is asked who leads. If it is another, endpoints are tried, one at a time,
 * on a line of its own beside the one in use: first the one that is known to be that node's, else those
 * whose node is not known yet. A line whose node says that it leads itself is used from then on.
 * Nothing depends on any of this: where it does not work, calls go on as they did.
 */
#include "base/check.h"
#include "client/lib/io.h"

enum {
	LEADER_FIRST_MS = 500,         /* short programs do not pay for it */
	LEADER_STEP_MS = 200,          /* from one endpoint to the next */
	LEADER_AGAIN_MS = 10000
};

static void leader_note(struct line *l, const struct native_status_result *s)
{
	struct client_endpoints *e = &l->io->endpoints;

	l->leads = s->header != NULL && s->leader != 0 && s->leader == s->header->member_id;
	l->leader = s->leader;
	for (size_t i = 0; s->header != NULL && i < e->n; i++)
		if (client_endpoint_same(&e->v[i], &l->at))
			e->v[i].member_id = s->header->member_id;
}

static void leader_said(struct client_flight *f, const struct client_reply *reply)
{
	struct line *l = f->arg;

	l->status_asked = false;
	l->status_known = true;
	l->leader = 0;
	l->leads = false;
	if (reply->err == ERR_OK)
		leader_note(l, reply->result);
	io_due(l->io, l->io->now);
}

static void leader_ask(struct line *l)
{
	static const struct native_empty nothing = {0};

	l->status = (struct client_flight){.method = native_method_find(bytes_str("status")),
					   .done = leader_said, .arg = l};
	CHECK(l->status.method != NULL);
	l->status_known = false;
	l->status_asked = client_conn_send(l->conn, &l->status, &nothing) == ERR_OK;
	if (l->status_asked && client_conn_flights(l->conn) == 1)
		l->heard = l->io->now;
	io_due(l->io, mono_add_ms(l->io->now, IO_QUIET_MS));
}

static void leader_later(struct io *io, int64_t ms)
{
	io->leader_next = mono_add_ms(io->now, ms);
	io_due(io, io->leader_next);
}

/* Another endpoint that is, or may be, the leader's. */
static struct client_endpoint *leader_endpoint(struct io *io, uint64_t leader)
{
	struct client_endpoints *e = &io->endpoints;
	struct client_endpoint *unknown = NULL;

	for (size_t i = 0; i < e->n; i++) {
		struct client_endpoint *p = &e->v[i];

		if (p->addr_len == 0 || mono_before(io->now, p->not_before) ||
		    client_endpoint_same(p, &io->main->at))
			continue;
		if (p->member_id == leader)
			return p;
		if (p->member_id == 0)
			unknown = p;
	}
	return unknown;
}

/* The candidate has said whether it leads. */
static void leader_decide(struct io *io)
{
	struct line *l = io->candidate;

	io->candidate = NULL;
	if (!l->leads) {
		leader_later(io, l->leader != 0 ? LEADER_STEP_MS : LEADER_AGAIN_MS);
		line_close(l, NULL);
		return;
	}
	l->use = LINE_CALLS;
	if (io->main != NULL)
		line_leave(io->main, false);
	io->main = l;
	leader_later(io, LEADER_AGAIN_MS);
}

static void leader_seek(struct io *io)
{
	struct line *l = io->main;
	struct client_endpoint *at = l->leads || l->leader == 0 ? NULL : leader_endpoint(io, l->leader);

	l->status_known = false;
	if (at != NULL)
		io->candidate = line_open(io, at, LINE_CANDIDATE);
	if (io->candidate == NULL)
		leader_later(io, LEADER_AGAIN_MS);
	else
		io->leader_next = MONO_NEVER;
}

void leader_turn(struct io *io)
{
	struct line *l = io->candidate;

	if ((io->core->o.flags & QUORATE_ANY_NODE) != 0 || io->endpoints.n < 2)
		return;
	if (l != NULL && l->state == LINE_READY && l->status_known)
		leader_decide(io);
	else if (l != NULL && l->state == LINE_READY && !l->status_asked)
		leader_ask(l);
	l = io->main;
	if (l == NULL || l->state != LINE_READY || io->candidate != NULL)
		return;
	if (l->status_known)
		leader_seek(io);
	else if (io->leader_next.ns == 0)
		leader_later(io, LEADER_FIRST_MS);
	else if (mono_before(io->now, io->leader_next))
		io_due(io, io->leader_next);   /* others' times have passed meanwhile, and this was forgotten */
	else if (!l->status_asked)
		leader_ask(l);
}

void leader_line_gone(struct io *io, struct line *l)
{
	if (io->candidate != l)
		return;
	io->candidate = NULL;
	leader_later(io, LEADER_AGAIN_MS);
}
