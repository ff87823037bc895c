/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of watchd share. */
#ifndef QUORATE_WATCHD_H
#define QUORATE_WATCHD_H

#include "base/counter.h"
#include "base/limits.h"
#include "rt/daemon.h"
#include "rt/link.h"
#include "watchd/history.h"
#include "watchd/serve.h"

#define WATCHD_COUNTERS(C) \
	C(COUNTER, slices_total, "slices of history read") \
	C(COUNTER, rows_total, "events looked at") \
	C(COUNTER, events_total, "of them events that some watcher gets") \
	C(COUNTER, deliveries_total, "events handed out, counted once per watcher") \
	C(COUNTER, messages_total, "messages to gatewayds") \
	C(COUNTER, canceled_total, "watchers ended, by compaction or at a limit") \
	C(COUNTER, gateways_dropped_total, "gatewayds dropped because they did not take what they were sent") \
	C(COUNTER, store_retries_total, "times the store could not be read just then") \
	C(GAUGE,   stored_up, "stored is linked") \
	C(GAUGE,   gateways, "gatewayds linked") \
	C(GAUGE,   watchers, "watchers of all clients") \
	C(GAUGE,   watchers_live, "of them those that follow the newest revision") \
	C(GAUGE,   watchers_behind, "of them those that read history") \
	C(GAUGE,   watchers_blocked, "of them those whose client does not take what it is sent") \
	C(GAUGE,   ranges, "different keys and ranges watched") \
	C(GAUGE,   streams, "connections of clients that have watches") \
	C(GAUGE,   revision, "the store's revision") \
	C(GAUGE,   head, "the next revision to be read for those that follow the newest") \
	C(GAUGE,   compact_revision, "history before it is given up; -1: none") \
	C(GAUGE,   store_generation, "of the mapped store; 0: none is mapped")
COUNTER_SET(watchd_counters, WATCHD_COUNTERS);

/* A gatewayd that is linked. */
struct watchd_gateway {
	struct watchd *w;
	struct link *link;               /* NULL: free */
	uint64_t incarnation;
	struct serve_peer peer;
};

struct watchd {
	struct daemon *d;
	struct watch_core *core;
	struct serve *serve;
	struct history_counts counts;
	struct watchd_counters counters;
	struct loop_hook turn_end;

	/* gatewayds */
	struct link_server *server;
	struct watchd_gateway gateways[LIMIT_WATCH_GATEWAYS];

	/* stored and its store */
	struct link_dialer *dialer;
	struct link *stored;
	uint64_t generation;             /* as stored says it; 0: not known yet */
	int64_t compact_told, read_told; /* stored's compact revision; what it was told has been read */
	bool follows;                    /* stored says each batch */
	char *store_dir;
	struct mvcc_env *env;            /* NULL: not mapped */
	uint64_t mapped;
	int map_error;                   /* of the last attempt; logged when it changes */

	struct loop_timer retry;         /* the store could not be mapped or read */
	struct loop_timer heads;         /* to tell gatewayds where the head is */
	struct loop_timer progress;
};

/* driver.c */
int watchd_open(struct daemon *d);
int watchd_start(struct daemon *d);
void watchd_stop(struct daemon *d);

/* gateway_ipc.c */
int watchd_open_gateways(struct watchd *w);
void watchd_drop_failed(struct watchd *w);

/* store_ipc.c: news from stored, and the map */
int watchd_dial_stored(struct watchd *w);
void watchd_tell_read(struct watchd *w, int64_t head_rev);
void watchd_follow(struct watchd *w, bool each);
bool watchd_map(struct watchd *w);       /* the right generation is mapped */

/* report.c: the admin socket */
extern const struct admin_command watchd_commands[];
void watchd_report(void *arg, struct admin_reply *r);
void watchd_refresh(void *arg);

#endif
