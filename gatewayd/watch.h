/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches of callers. What a caller watches, and where it stands, is kept here (clnt/watch_clnt.h);
 * watchd finds the events. What a caller is sent counts against its credit, which is given back when
 * the other side has taken it: one that does not read is sent no more.
 *
 * A watch from now on begins when the store has come as far as every write that had been answered
 * before it was asked for (read_fence): it sees all that is written after that, and nothing else.
 */
#ifndef QUORATE_WATCH_H
#define QUORATE_WATCH_H

#include "base/limits.h"
#include "clnt/watch_clnt.h"
#include "gatewayd/caller.h"
#include "proto/native.h"

struct gate_watch {
	struct watch_sub sub;
	struct gate_watch *hash_next;
	int64_t id;                   /* the caller's */
	/* of etcd's watches only */
	bool fragment;                /* large revisions may come in pieces */
	int64_t asked;                /* the revision of an unanswered progress request, or 0 */
	struct watch_whole *whole;    /* what is kept back of a revision that comes in parts, or NULL */
	uint8_t data[];               /* key, range end */
};

/* Ids that no watch has, the youngest last. */
struct gate_ended {
	int64_t ids[LIMIT_WATCH_ENDED_IDS];
	size_t n;
};

/* The watches of one caller. */
struct gate_watches {
	struct watch_client client;
	struct caller *caller;
	struct gate_watch **buckets;  /* by the caller's number */
	size_t n_buckets, n;
	int64_t last_id;              /* the last one that the server chose */
	struct gate_ended *ended;     /* NULL: none */
};

#define GATE_OF(sub_) container_of((sub_), struct gate_watch, sub)

/* The table of the caller, made if there is none; numbers that the server chooses begin at `first`. */
struct gate_watches *watch_table(struct gateway *g, struct caller *k, int64_t first);
struct gate_watch *watch_find(const struct caller *k, int64_t id);        /* or NULL */

/* What is wrong with it, whatever else is watched: ERR_COMPACTED, ERR_WATCH_RANGE, ERR_BAD_ARGUMENT. */
int watch_check(const struct native_watch *p);
/* What may only be known when it begins: others may have begun since it was asked for. */
int watch_admit(const struct gateway *g, const struct caller *k, const struct native_watch *p);
/*
 * It begins; nothing comes for it before this turn ends. A start_revision of 0 is from now on: the
 * fence must have been passed.
 */
struct gate_watch *watch_begin(struct gateway *g, struct gate_watches *s, const struct native_watch *p);
void watch_end(struct gateway *g, struct gate_watch *w, struct caller *k);
/* The id of a watch that has ended stays taken until it is freed, or many others have been kept after it. */
void watch_keep_id(struct gate_watches *s, int64_t id);
bool watch_free_id(struct gate_watches *s, int64_t id);                   /* false: it was not kept */
/* WATCH_GOT_PROGRESS comes for it (NULL: for each) once it has got everything up to `revision`. */
void watch_ask(struct gateway *g, struct caller *k, struct gate_watch *w, int64_t revision);

#endif
