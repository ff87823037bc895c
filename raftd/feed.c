/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committed entries to stored. After each connection stored says what it has applied, and the feed
 * goes on behind it: whatever was lost or repeated on the way is harmless.
 */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/node.h"

enum { FEED_TURN_BATCHES = 2, FEED_LAG_MS = 3000 };

static void feed_hello(void *arg, struct link_hello *out)
{
	struct raftd *n = arg;

	out->node_id = n->d->config->node_id;
	out->daemon = DAEMON_RAFTD;
	out->incarnation = n->d->incarnation;
	out->resume = n->commit;
}

static int feed_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct raftd *n = arg;
	struct feed *f = &n->feed;

	f->link = l;
	f->ready = f->behind = false;
	f->applied = peer->resume;
	f->next = peer->resume + 1;
	f->window = 0;
	f->head = f->count = 0;
	return ERR_OK;
}

static bool state_is_snapshot(const struct apply_state *m)
{
	return m->snapshot != NULL && m->snapshot->index == m->applied && m->snapshot->term == m->applied_term;
}

/*
 * Commits are told when they are durable here, so a store is ahead of the log, or of what is known
 * to be committed, in two cases: we have just started; or it has become a snapshot, which it then
 * equals exactly, and a crash came before our log did (raft.h, struct raft_state). Else the log has
 * lost something, or is another's.
 */
static int feed_ahead(struct raftd *n, const struct apply_state *m)
{
	struct raft_event ev = {.type = RAFT_EV_INSTALLED, .index = m->applied,
				.index_term = m->applied_term};
	struct feed *f = &n->feed;

	if (!state_is_snapshot(m)) {
		if (m->applied <= wal_last_index(n->wal))
			return ERR_OK;
		if (f->ahead != m->applied)      /* it will come again and again */
			log_error("the store is ahead of the log, is this its log? applied=%" PRIu64
				  " last=%" PRIu64, m->applied, wal_last_index(n->wal));
		f->ahead = m->applied;
		return ERR_CORRUPT;
	}
	if (!raftd_can_append_small(n))
		return ERR_FULL;                 /* on the next link there will be room */
	if (raftd_step(n, &ev) != ERR_OK)
		fatal("keep the data of this node for a report, and rebuild it under a new node id",
		      "the store's snapshot contradicts the log index=%" PRIu64 " term=%" PRIu64, m->applied,
		      m->applied_term);
	if (n->commit < m->applied) {
		n->commit = m->applied;
		propose_committed(n, n->commit);
	}
	log_info("the store is a snapshot, the log goes on behind it index=%" PRIu64 " term=%" PRIu64, m->applied,
		 m->applied_term);
	return ERR_OK;
}

/* The first of a link says where it stands; later ones are of its snapshots alone. */
static int feed_state(struct raftd *n, const struct apply_state *m)
{
	struct feed *f = &n->feed;
	int rc = ERR_OK;

	if (!f->ready && m->applied < f->applied)
		return ERR_MALFORMED;
	if (!f->ready && m->applied > n->commit)
		rc = feed_ahead(n, m);
	if (rc != ERR_OK)
		return rc;
	if (!f->ready) {
		/* An earlier link may have brought it on since its hello. */
		f->applied = m->applied;
		f->next = m->applied + 1;
		f->ready = true;
		f->behind = f->next < wal_first_index(n->wal);
		f->due = true;
		lag_moved(&f->lag, n->commit, f->applied, mono_now());
		log_info("stored is there applied=%" PRIu64 " commit=%" PRIu64 " snapshot=%" PRIu64, f->applied,
			 n->commit, m->snapshot ? m->snapshot->index : 0);
		snap_recv_state(n, f->applied);
	}
	snap_state(n, m);
	return ERR_OK;
}

static int feed_done(struct raftd *n, const struct apply_done *m)
{
	struct feed *f = &n->feed;

	if (m->index < f->applied || m->index >= f->next)
		return ERR_MALFORMED;    /* it cannot have applied what it was not sent */
	f->applied = m->index;
	while (f->count > 0 && f->sent[f->head].last_index <= m->index) {
		f->window -= f->sent[f->head].bytes;
		f->head = (f->head + 1) % ARRAY_LEN(f->sent);
		f->count--;
	}
	lag_moved(&f->lag, n->commit, f->applied, mono_now());
	f->due = true;
	return ERR_OK;
}

static int feed_msg(void *arg, struct link *l, const struct msg_in *in)
{
	(void)l;
	switch (in->row->number) {
	case MSG_NO_apply_done:
		return feed_done(arg, in->msg);
	case MSG_NO_apply_state:
		return feed_state(arg, in->msg);
	case MSG_NO_apply_installed:
		return snap_recv_installed(arg, in->msg);
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

static void feed_down(void *arg, struct link *l, const char *reason)
{
	struct raftd *n = arg;

	(void)l;
	log_warn("stored has gone: applies wait, commits go on reason=\"%s\"", reason);
	n->feed.link = NULL;
	n->feed.ready = false;
	snap_link_down(n);
}

static void feed_drained(void *arg, struct link *l)
{
	struct raftd *n = arg;

	(void)l;
	n->feed.due = true;
}

/* One batch; false if nothing more can be sent now. */
static bool feed_batch(struct raftd *n)
{
	static struct log_entry entries[LIMIT_BATCH_ITEMS];
	struct feed *f = &n->feed;
	struct apply_batch m = {.commit = n->commit};
	size_t bytes = 0;
	int rc;

	if (f->link == NULL || !f->ready || f->behind || f->next > n->commit || f->window >= LIMIT_APPLY_WINDOW_BYTES ||
	    f->count == ARRAY_LEN(f->sent))
		return false;
	rc = wal_read(n->wal, f->next, n->commit, LIMIT_BATCH_BYTES, LIMIT_BATCH_ITEMS, &f->list);
	if (rc != ERR_OK)
		fatal("replace this disk; an empty data directory needs a new node id",
		      "cannot read the log at index %" PRIu64 ": %s", f->next, wal_why(n->wal));
	CHECK(f->list.n > 0);
	for (size_t i = 0; i < f->list.n; i++) {
		const struct wal_entry *w = &f->list.entries[i];

		entries[i] = (struct log_entry){
			w->index, w->term, w->kind == WAL_NOOP ? LOG_ENTRY_NOOP : LOG_ENTRY_COMMAND, w->data};
		bytes += w->data.len + APPLY_ENTRY_ROOM;
	}
	m.entries.v = entries;
	m.entries.n = f->list.n;
	if (link_send(f->link, MSG_NO_apply_batch, &apply_batch_desc, &m) != ERR_OK)
		return false;
	f->next += f->list.n;
	f->sent[(f->head + f->count) % ARRAY_LEN(f->sent)].last_index = f->next - 1;
	f->sent[(f->head + f->count) % ARRAY_LEN(f->sent)].bytes = bytes;
	f->count++;
	f->window += bytes;
	counter_add(&n->counters.fed_entries, (int64_t)f->list.n);
	return true;
}

/*
 * One large batch for all that a turn has committed. A stored that has far to go gets it over many
 * turns, so that its catching up (from disk, perhaps) does not keep the loop from its peers.
 */
void feed_more(struct raftd *n)
{
	n->feed.due = false;
	for (int i = 0; i < FEED_TURN_BATCHES; i++)
		if (!feed_batch(n))
			return;
	n->feed.due = true;
	loop_again(n->d->loop);
}

void feed_now(struct raftd *n)
{
	feed_more(n);
	if (n->feed.link != NULL)
		link_flush(n->feed.link);
}

bool feed_is_late(const struct raftd *n)
{
	return n->feed.ready && lag_ms(&n->feed.lag, mono_now()) > FEED_LAG_MS;
}

int feed_open(struct raftd *n)
{
	static const struct link_ops ops = {feed_hello, feed_up, feed_msg, feed_down, feed_drained};
	char *path = daemon_socket(n->d, DAEMON_STORED, DAEMON_RAFTD);
	struct link_setup s = {.loop = n->d->loop, .path = path, .messages = &link_apply,
			       .peer = DAEMON_STORED, .ops = &ops, .arg = n};
	int rc = link_dialer_open(&s, &n->feed.dialer);

	mem_free(path);
	return rc;
}
