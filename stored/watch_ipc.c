/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the store has come, to watchd, which reads the events from the map itself. History that
 * watchd has not read yet is kept for a moment after it was compacted: a watch that follows the
 * newest revision must not end because its node compacted up to it.
 */
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "stored/stored.h"

enum { WATCH_HOLD_MS = 1000 };

static void watch_hello(void *arg, struct link_hello *out)
{
	struct stored *s = arg;

	*out = (struct link_hello){s->d->config->node_id, DAEMON_STORED, s->d->incarnation,
				   s->store.generation.generation};
}

/* Not sent is not lost: the next one says more, and a new link begins with one. */
void stored_tell_watchd(struct stored *s)
{
	const struct mvcc_state *c = &s->store.committed;
	struct store_news m = {s->store.generation.generation, c->revision, c->compact_revision};

	if (s->watchd != NULL && link_send(s->watchd, MSG_NO_store_news, &store_news_desc, &m) == ERR_OK)
		s->watch_compact = c->compact_revision;
}

void stored_commit_watchd(struct stored *s)
{
	if (s->watch_follows || s->watch_compact != s->store.committed.compact_revision)
		stored_tell_watchd(s);
}

static int watch_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct stored *s = arg;

	if (peer->node_id != s->d->config->node_id) {
		log_error("watchd belongs to another node node=%" PRIu64, peer->node_id);
		return ERR_CONFIG;
	}
	if (s->watchd != NULL && s->watchd != l)
		link_drop(s->watchd, "a new watchd has come");
	s->watchd = l;
	s->watch_read = -1;
	s->watch_follows = false;
	log_info("watchd is there");
	stored_tell_watchd(s);
	return ERR_OK;
}

static void watch_down(void *arg, struct link *l, const char *reason)
{
	struct stored *s = arg;

	if (s->watchd != l)
		return;
	s->watchd = NULL;
	log_info("watchd has gone reason=\"%s\"", reason);
}

/* What was committed before it began to follow, it may not have read. */
static void watch_follow(struct stored *s, const struct store_news_follow *m)
{
	s->watch_follows = m->each;
	if (m->each)
		stored_tell_watchd(s);
}

static int watch_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct stored *s = arg;

	if (s->watchd != l || s->stopping)
		return ERR_CLOSED;
	switch (in->row->number) {
	case MSG_NO_store_news_read:
		s->watch_read = ((const struct store_news_read *)in->msg)->revision;
		return ERR_OK;
	case MSG_NO_store_news_follow:
		watch_follow(s, in->msg);
		return ERR_OK;
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

bool stored_watch_holds(struct stored *s, mono_t now)
{
	if (s->watchd == NULL || s->watch_read >= s->store.committed.compact_revision - 1) {
		s->holding = false;
		return false;
	}
	if (!s->holding)
		s->held_since = now;
	s->holding = true;
	return mono_sub_ms(now, s->held_since) < WATCH_HOLD_MS;
}

int stored_open_watchd(struct stored *s)
{
	static const struct link_ops ops = {watch_hello, watch_up, watch_msg, watch_down, NULL};
	char *path = daemon_socket(s->d, DAEMON_STORED, DAEMON_WATCHD);
	struct link_setup setup = {.loop = s->d->loop, .path = path, .messages = &link_news,
				   .peer = DAEMON_WATCHD, .ops = &ops, .arg = s, .max_links = 2};
	int rc = link_server_open(&setup, &s->watch_server);

	mem_free(path);
	return rc;
}
