/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of leases, to leased of this node. After a connection it is sent all of them, a page
 * whenever the last one has been taken, and every change as it happens. A leased that does not take
 * what it is sent is dropped: it comes back and is sent all anew.
 */
#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "mvcc/lease.h"
#include "stored/stored.h"

enum { LEASED_PAGE_ROWS = 1000, LEASED_QUEUE_BYTES = 256 * KIB, LEASED_PAUSE_MS = 2 };

_Static_assert(LEASED_PAGE_ROWS <= LIMIT_BATCH_ITEMS, "a page fits a message");

static void leased_hello(void *arg, struct link_hello *out)
{
	struct stored *s = arg;

	stored_commit(s);
	out->node_id = s->d->config->node_id;
	out->daemon = DAEMON_STORED;
	out->incarnation = s->d->incarnation;
	out->resume = 0;
}

static void leased_gone(struct stored *s)
{
	s->leased = (struct leased_link){.server = s->leased.server};
}

void stored_drop_leased(struct stored *s, const char *reason)
{
	struct link *l = s->leased.link;

	if (l == NULL)
		return;
	leased_gone(s);
	link_drop(l, reason);
}

static bool leased_send(struct stored *s, struct store_lease *v, size_t n, bool more, bool listed)
{
	const struct mvcc_state *c = &s->store.committed;
	struct store_leases m = {.more = more, .listed = listed, .applied = c->applied, .term = c->lessor_term,
				 .lessor = c->lessor, .seq = c->lessor_seq};

	m.leases.v = v;
	m.leases.n = n;
	if (link_send(s->leased.link, MSG_NO_store_leases, &store_leases_desc, &m) == ERR_OK)
		return true;
	log_warn("leased dropped reason=\"it does not take what it is sent\"");
	stored_drop_leased(s, "it does not take what it is sent");
	return false;
}

static int leased_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct stored *s = arg;

	if (peer->node_id != s->d->config->node_id)
		return ERR_CONFIG;
	if (s->leased.link != NULL && s->leased.link != l)
		link_drop(s->leased.link, "a new leased has come");
	leased_gone(s);
	s->leased.link = l;
	s->leased.listing = true;
	log_info("leased is there leases=%llu", (unsigned long long)s->store.committed.leases);
	if (leased_send(s, NULL, 0, false, false))
		loop_again(s->d->loop);
	return ERR_OK;
}

static void leased_down(void *arg, struct link *l, const char *reason)
{
	struct stored *s = arg;

	if (s->leased.link != l)
		return;
	log_info("leased has gone reason=\"%s\"", reason);
	leased_gone(s);
}

static int leased_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct stored *s = arg;
	const struct store_leases_wait *w = in->msg;

	if (s->leased.link != l || s->stopping)
		return ERR_CLOSED;
	if (in->row->number != MSG_NO_store_leases_wait)
		return ERR_UNKNOWN_METHOD;
	s->leased.want = w->index > s->leased.want ? w->index : s->leased.want;
	if (s->leased.want <= s->store.committed.applied) {
		s->leased.want = 0;
		(void)leased_send(s, NULL, 0, false, false);
	}
	return ERR_OK;
}

/* ---- changes ---- */

static bool leased_has_news(struct stored *s, size_t events)
{
	const struct mvcc_state *c = &s->store.committed;
	struct leased_link *x = &s->leased;
	bool news = events > 0 || c->lessor_term != x->term || c->lessor != x->lessor || c->lessor_seq != x->seq;

	if (x->want != 0 && x->want <= c->applied) {
		x->want = 0;
		news = true;
	}
	x->term = c->lessor_term;
	x->lessor = c->lessor;
	x->seq = c->lessor_seq;
	return news;
}

/* In pieces, if they are many; the progress holds with the last. */
static void leased_tell(struct stored *s, const struct lease_event *e, size_t n)
{
	static struct store_lease rows[LIMIT_BATCH_ITEMS];
	size_t from = 0;

	do {
		size_t k = n - from < LIMIT_BATCH_ITEMS ? n - from : LIMIT_BATCH_ITEMS;

		for (size_t i = 0; i < k; i++) {
			const struct lease_event *x = &e[from + i];

			rows[i] = (struct store_lease){x->id, x->gone, x->ttl_s, x->remaining_ms, x->granted};
		}
		from += k;
		if (!leased_send(s, rows, k, from < n, false))
			return;
	} while (from < n);
}

void stored_tell_leased(struct stored *s)
{
	const struct lease_event *e;
	size_t n;

	e = apply_lease_events(s->store.apply, &n);
	if (s->leased.link != NULL && leased_has_news(s, n))
		leased_tell(s, e, n);
	apply_lease_told(s->store.apply);
}

/* ---- the list ---- */

bool stored_list_leases(struct stored *s)
{
	static struct mvcc_lease page[LEASED_PAGE_ROWS];
	static struct store_lease rows[LEASED_PAGE_ROWS];
	struct leased_link *x = &s->leased;
	struct mvcc_view *v;
	size_t n;
	int rc;

	if (x->link == NULL || !x->listing)
		return false;
	if (link_queued(x->link) > LEASED_QUEUE_BYTES) {
		loop_timer_set(s->d->loop, &s->leased_pause, mono_add_ms(mono_now(), LEASED_PAUSE_MS));
		return false;
	}
	rc = mvcc_view_begin(s->store.env, &v);
	if (rc == ERR_OK) {
		rc = mvcc_view_leases(v, x->after, page, LEASED_PAGE_ROWS, &n);
		mvcc_view_end(&v);
	}
	if (rc != ERR_OK) {
		log_error("the leases cannot be read error=%s", err_name(rc));
		return false;
	}
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct store_lease){page[i].id, false, page[i].ttl_s, page[i].remaining_ms, page[i].granted};
	if (n > 0)
		x->after = page[n - 1].id;
	x->listing = n == LEASED_PAGE_ROWS;
	(void)leased_send(s, rows, n, false, !x->listing);
	return x->listing;
}

/* The turn that this has begun goes on with the list at its end. */
static void leased_pause(void *arg)
{
	(void)arg;
}

int stored_open_leased(struct stored *s)
{
	static const struct link_ops ops = {leased_hello, leased_up, leased_msg, leased_down, NULL};
	char *path = daemon_socket(s->d, DAEMON_STORED, DAEMON_LEASED);
	struct link_setup setup = {.loop = s->d->loop, .path = path, .messages = &link_leases,
				   .peer = DAEMON_LEASED, .ops = &ops, .arg = s, .max_links = 2};
	int rc = link_server_open(&setup, &s->leased.server);

	loop_timer_init(&s->leased_pause, leased_pause, s);
	mem_free(path);
	return rc;
}
