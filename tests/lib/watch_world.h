/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watchd and gatewayd's half of its link in one process, over a store in memory: messages go
 * through frames, watchd and the link die when the test says, clients take what they are sent when
 * they like. Beside it stands the model: the list of all that has happened. Each watch must be
 * handed exactly what of that list is its, in order, once.
 */
#ifndef QUORATE_TEST_WATCH_WORLD_H
#define QUORATE_TEST_WATCH_WORLD_H

#include "clnt/watch_clnt.h"
#include "tests/lib/small_store.h"
#include "tests/proto/net.h"
#include "watchd/history.h"
#include "watchd/serve.h"

enum { WORLD_EVENTS = 20000, WORLD_WATCHES = 64, WORLD_CLIENTS = 6, WORLD_KEYS = 12, WORLD_VALUE = 48 };

struct model_event {
	int64_t rev;
	uint32_t sub;
	enum watch_event_type type;
	unsigned key;
	char value[WORLD_VALUE], prev[WORLD_VALUE];
	bool has_prev;
};

struct model_watch {
	struct watch_sub sub;
	bool used, ended;
	char key[8], end[8];
	int64_t start;
	size_t at;                     /* of the model's events: all before it have been looked at */
	bool cut;                      /* it was handed a part of a revision */
	int64_t progress, asked;
	size_t got;
};

struct watch_world {
	uint64_t seed;
	mono_t now;
	struct small_store store;
	/* watchd */
	struct watch_core *core;
	struct serve *serve;
	struct serve_peer peer;
	struct history_counts counts;
	bool up;
	/* the link */
	struct net to_watchd, to_gateway;
	/* gatewayd */
	struct watch_clnt clnt;
	struct watch_client clients[WORLD_CLIENTS];
	bool stopped[WORLD_CLIENTS];   /* takes nothing */
	struct model_watch watches[WORLD_WATCHES];
	size_t n_delivered, n_canceled, n_progress, n_restarts, most_untaken;
	/* the model */
	struct model_event events[WORLD_EVENTS];
	size_t n_events;
	bool live[WORLD_KEYS];
	char values[WORLD_KEYS][WORLD_VALUE];
	int64_t compact;
	int64_t head_before;           /* as gatewayd knew it before the last message */
	/* lies that the check must find */
	int plant_next;                /* added to the place of each watch that is registered again */
	int plant_lose;                /* of so many deliveries one is lost between watchd and gatewayd */
	const char *fault;             /* what the check has found; NULL: nothing */
};

struct watch_world *watch_world_new(uint64_t seed);
void watch_world_free(struct watch_world *w);

void watch_world_up(struct watch_world *w);        /* a new watchd, or a new link to the old one */
void watch_world_down(struct watch_world *w, bool watchd);   /* the link, and watchd with it */
/* What is under way arrives, watchd reads for `slices` slices, clients take what they take. */
void watch_world_turn(struct watch_world *w, unsigned slices);
/* Until nothing moves any more. */
void watch_world_settle(struct watch_world *w);

struct model_watch *watch_world_watch(struct watch_world *w, unsigned client, const char *key,
				      const char *end, int64_t start);
void watch_world_cancel(struct watch_world *w, struct model_watch *m);
void watch_world_ask(struct watch_world *w, struct model_watch *m);

/* One revision: a put, a delete of a range, or a transaction of several. */
void watch_world_put(struct watch_world *w, unsigned key, const char *value);
void watch_world_delete(struct watch_world *w, unsigned from, unsigned to);
void watch_world_change(struct watch_world *w);    /* as the seed says */
void watch_world_compact(struct watch_world *w, int64_t revision);

/* Every watch that has not ended has been handed all that is its. */
void watch_world_check(struct watch_world *w);

#endif
