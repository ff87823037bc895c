/* SPDX-License-Identifier: Apache-2.0 */
/*
 * News from stored, and the map of its store. Without stored the map stays, and what is in it is
 * served; another generation is mapped in place of the old one as soon as stored names it.
 */
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/link_news.h"
#include "watchd/watchd.h"

static void stored_hello(void *arg, struct link_hello *out)
{
	struct watchd *w = arg;

	*out = (struct link_hello){w->d->config->node_id, DAEMON_WATCHD, w->d->incarnation, 0};
}

static int stored_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct watchd *w = arg;

	if (peer->node_id != w->d->config->node_id)
		return ERR_CONFIG;
	w->stored = l;
	w->generation = peer->resume;
	w->read_told = -1;
	w->follows = false;
	return ERR_OK;
}

static void stored_down(void *arg, struct link *l, const char *reason)
{
	struct watchd *w = arg;

	(void)l;
	log_warn("stored has gone: no new events until it is back reason=\"%s\"", reason);
	w->stored = NULL;
}

static int stored_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct watchd *w = arg;
	const struct store_news *m = in->msg;

	(void)l;
	if (in->row->number != MSG_NO_store_news)
		return ERR_UNKNOWN_METHOD;
	w->generation = m->generation;
	w->compact_told = m->compact_revision;
	return ERR_OK;
}

/* Only asked for once something has been compacted. */
void watchd_tell_read(struct watchd *w, int64_t head_rev)
{
	struct store_news_read m = {head_rev - 1};

	if (w->stored == NULL || w->read_told >= w->compact_told - 1 || m.revision < w->compact_told - 1)
		return;
	if (link_send(w->stored, MSG_NO_store_news_read, &store_news_read_desc, &m) == ERR_OK)
		w->read_told = m.revision;
}

/* stored answers with news: what it has committed before it hears this is read all the same. */
void watchd_follow(struct watchd *w, bool each)
{
	struct store_news_follow m = {each};

	if (w->stored != NULL && w->follows != each &&
	    link_send(w->stored, MSG_NO_store_news_follow, &store_news_follow_desc, &m) == ERR_OK)
		w->follows = each;
}

static int map_open(struct watchd *w)
{
	struct buf dir;
	int rc;

	buf_init(&dir, 0);
	mvcc_generation_dir(&dir, w->store_dir, w->generation);
	buf_u8(&dir, 0);
	rc = dir.err ? dir.err : mvcc_open((const char *)dir.data, w->d->config->store_map_gb << 30, &w->env);
	buf_free(&dir);
	return rc;
}

bool watchd_map(struct watchd *w)
{
	int rc;

	if (w->generation == 0)
		return false;
	if (w->env != NULL && w->mapped == w->generation)
		return true;
	if (w->env != NULL)
		mvcc_close(&w->env);
	rc = map_open(w);
	if (rc != ERR_OK) {
		w->env = NULL;
		if (rc != w->map_error)
			log_warn("cannot map the store, trying again generation=%" PRIu64 " error=\"%s\"",
				 w->generation, err_text(rc));
		w->map_error = rc;
		return false;
	}
	w->map_error = ERR_OK;
	w->mapped = w->generation;
	log_info("mapped the store generation=%" PRIu64, w->mapped);
	return true;
}

int watchd_dial_stored(struct watchd *w)
{
	static const struct link_ops ops = {stored_hello, stored_up, stored_msg, stored_down, NULL};
	char *path = daemon_socket(w->d, DAEMON_STORED, DAEMON_WATCHD);
	struct link_setup setup = {.loop = w->d->loop, .path = path, .messages = &link_news,
				   .peer = DAEMON_STORED, .ops = &ops, .arg = w};
	int rc = link_dialer_open(&setup, &w->dialer);

	mem_free(path);
	return rc;
}
