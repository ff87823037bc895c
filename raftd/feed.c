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

enum { FEED_TURN_BATCHES = 2 };

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

	if (peer->resume > wal_last_index(n->wal)) {
		/* Commits are told when they are durable here: so the log lost some, or is another's. */
		if (f->ahead != peer->resume)    /* it will come again and again */
			log_error("the store is ahead of the log, is this its log? applied=%" PRIu64
				  " last=%" PRIu64, peer->resume, wal_last_index(n->wal));
		f->ahead = peer->resume;
		return ERR_CORRUPT;
	}
	f->link = l;
	f->applied = peer->resume;
	f->next = peer->resume + 1;
	f->window = 0;
	f->head = f->count = 0;
	log_info("stored is there applied=%" PRIu64 " commit=%" PRIu64, f->applied, n->commit);
	f->due = true;
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
	f->due = true;
	return ERR_OK;
}

static int feed_msg(void *arg, struct link *l, const struct msg_in *in)
{
	(void)l;
	switch (in->row->number) {
	case MSG_NO_apply_done:
		return feed_done(arg, in->msg);
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

	if (f->link == NULL || f->next > n->commit || f->window >= LIMIT_APPLY_WINDOW_BYTES ||
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
		bytes += w->data.len + 64;
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
