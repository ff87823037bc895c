/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches: what the program's threads take from (watch.c), and what the I/O thread does for
 * them (watch_io.c) on a line of their own, so that neither holds the other up.
 */
#ifndef QUORATE_LIB_WATCH_H
#define QUORATE_LIB_WATCH_H

#include "client/lib/core.h"
#include "client/lib/io.h"
#include "client/lib/result.h"
#include "client/watches.h"

/* News in the making, and in a watch's queue. */
struct news_box {
	struct pool pool;
	struct list node;
	struct quorate_news news;
	struct quorate_error error;
};

enum watch_work {
	WATCH_OPEN = 1 << 0, WATCH_CLOSE = 1 << 1, WATCH_LET_GO = 1 << 2, WATCH_ASK = 1 << 3,
	WATCH_STOP = 1 << 4
};

struct quorate_watch {
	struct core *core;
	struct quorate *view;
	/* under the core's lock: */
	struct list work_node, session_node;
	unsigned work;                 /* enum watch_work: for the I/O thread */
	struct list news;
	size_t bytes, max_bytes;       /* of news */
	bool held;                     /* there was no room; let it go when there is */
	bool over;                     /* the last news is in, or has been taken */
	bool over_taken, closed;
	struct quorate_error end;      /* the last news' error */
	int64_t compact_revision;
	pthread_cond_t come;
	struct quorate_queue *queue;
	struct queue_item item;
	void (*ready)(void *arg, struct quorate_watch *w);
	void *arg;
	/* the I/O thread's: */
	struct list io_node;
	int64_t id;                    /* 0: not in the set */
	bool asked;                    /* how far it has got, and not told since */
	struct native_watch params;    /* key and range end point into data */
	uint8_t data[];
};

/* ---- watch.c ---- */

/* Is there room for more? If not, the I/O thread will be told when there is. */
bool watch_has_room(struct quorate_watch *w);
/* Adds to its queue; takes the box also when it cannot: then the watch is over. */
bool watch_put(struct quorate_watch *w, struct news_box *box);
/* If the last of its queue says how far it has got, now it says this: there is room for that always. */
bool watch_progressed(struct quorate_watch *w, int64_t revision);
struct news_box *news_make(enum quorate_news_kind kind, size_t more);
/* The last news, made so that no memory is needed: it is told even when there is none. */
void watch_finish(struct quorate_watch *w, int code, enum err_again again, const char *text,
	       int64_t compact_revision);
bool watch_is_over(struct quorate_watch *w);
/* The same as watch_finish() from any thread, with the lock held. */
void watch_cut(struct quorate_watch *w, int code, const char *text);
void watch_free(struct quorate_watch *w);

/* ---- watch_io.c: in the I/O thread ---- */

int watch_io_make(struct io *io);
void watch_io_free(struct io *io);
void watch_io_take(struct io *io, struct list *work);    /* of core->watch_work, no lock held */
void watch_io_canceled(struct io *io);                   /* those of views that are cancelled end */
void watch_io_turn(struct io *io);                       /* a line if one is needed, what is to be sent */
bool watch_io_dirty(const struct io *io);                /* it should be called again, now */
void watch_io_lost(struct io *io, struct line *l);       /* before the line is closed */

#endif
