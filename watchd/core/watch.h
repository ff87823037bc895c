/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which watcher gets which event: a state machine without I/O or clock. Gatewayds (links), their
 * clients' connections (streams) and watchers come in; slices of history, read by the owner where
 * the core says, come in; deliveries and effects go out.
 *
 * There is one path from history to a watcher. A slice is a stretch of history read once, from a
 * place on, for all watchers that stand in it:
 *
 *   LIVE      stands at the head, with all others that follow the newest revision
 *   BEHIND    stands in the past, in a queue: each turn of it reads one slice
 *   BLOCKED   its stream or link has no credit: costs nothing but its place
 *
 *             place >= head             slice reaches the head
 *   create ------------------> LIVE <------------------------- BEHIND <---- create, credit comes
 *                                \__ matched, no credit __ BLOCKED __/
 *
 * What a watcher has no match in, it passes without a message. Events of one revision come to a
 * watcher in one slice, unless the revision is too large for one: then next.sub is not 0, and a
 * delivery of the rest, or of nothing, follows.
 */
#ifndef QUORATE_WATCH_CORE_H
#define QUORATE_WATCH_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mono.h"
#include "proto/link_watch.h"

/* A place in history: the event it names has not been seen yet. */
struct watch_pos {
	int64_t rev;
	uint32_t sub;
};

static inline int watch_pos_cmp(struct watch_pos a, struct watch_pos b)
{
	if (a.rev != b.rev)
		return a.rev < b.rev ? -1 : 1;
	return a.sub < b.sub ? -1 : a.sub > b.sub;
}

struct watch_core;
struct watch_link;

struct watch_setup {
	uint64_t seed;               /* of hashes and priorities: not to be guessed by clients */
	int64_t interval_ms;         /* between progress notifications */
	size_t max_watches;
	/* 0: as base/limits.h has them; a test takes small ones */
	size_t slice_rows;           /* LIMIT_WATCH_SLICE_ROWS; a revision is cut at four times as many */
	size_t stream_bytes, link_bytes;
	size_t max_bytes;            /* LIMIT_WATCH_BYTES */
};

struct watch_core *watch_core_new(const struct watch_setup *s);
void watch_core_free(struct watch_core **c);

/* A gatewayd. `owner` comes back with what is for it. Closing ends its streams and watchers. */
struct watch_link *watch_link_open(struct watch_core *c, void *owner);
void watch_link_close(struct watch_core *c, struct watch_link **l);
void *watch_link_owner(const struct watch_link *l);
size_t watch_link_watches(const struct watch_link *l);

/* Requests. ERR_MALFORMED, ERR_EXISTS (the number is in use), ERR_LIMIT: the link is to be dropped. */
int watch_link_create(struct watch_core *c, struct watch_link *l, const struct watch_create *w, mono_t now);
void watch_link_cancel(struct watch_core *c, struct watch_link *l, uint64_t watch);
void watch_link_close_stream(struct watch_core *c, struct watch_link *l, uint64_t stream);
void watch_link_ask(struct watch_core *c, struct watch_link *l, uint64_t watch, int64_t revision);
void watch_link_taken(struct watch_core *c, struct watch_link *l, uint64_t cost);
void watch_link_credit(struct watch_core *c, struct watch_link *l, uint64_t stream, uint64_t bytes);

/* What the store is at, before each slice too. Watchers whose next event is compacted are ended. */
void watch_core_store(struct watch_core *c, int64_t revision, int64_t compact_revision);
/* What the last slice was to read is gone: so are those that still had to see it. */
void watch_core_lost(struct watch_core *c);

/* Progress by interval. */
void watch_core_tick(struct watch_core *c, mono_t now);
mono_t watch_core_due(const struct watch_core *c);      /* MONO_NEVER */

/* ---- slices ---- */

struct watch_slice_event {
	struct watch_pos at;
	enum watch_event_type type;
	struct kv_pair kv, prev;     /* valid until the deliveries have been taken */
	bool has_prev;
};

enum { WATCH_WANT_PAIR = 1, WATCH_WANT_PREV = 2 };

/* Is there something to read? From where. The slice must then be ended. */
bool watch_slice_begin(struct watch_core *c, struct watch_pos *from, bool *head);
/* Before the event at `at`: the slice is large enough, and should end here. */
bool watch_slice_full(const struct watch_core *c, struct watch_pos at);
/* What must be known of the event for those it matches (then watch_slice_add); 0: nobody. */
unsigned watch_slice_match(struct watch_core *c, struct watch_pos at, enum watch_event_type type,
			   struct bytes key);
void watch_slice_add(struct watch_core *c, const struct watch_slice_event *e);
/*
 * It was read up to `next`. Then take the deliveries, and after them the effects. The slice's
 * events are kept until watch_slice_done.
 */
void watch_slice_end(struct watch_core *c, struct watch_pos next, mono_t now);
void watch_slice_done(struct watch_core *c);

struct watch_out {
	struct watch_link *link;
	uint64_t stream;
	bool prev_kv;
	const uint32_t *events;      /* indices of the slice's events, ascending; may be none */
	size_t n_events;
	const uint64_t *watches;
	size_t n_watches;            /* at most LIMIT_WATCH_REFS */
	size_t cost;
	struct watch_pos next;
};
size_t watch_slice_out(const struct watch_core *c, const struct watch_out **out);
const struct watch_slice_event *watch_slice_events(const struct watch_core *c, size_t *n);

/* ---- effects: after every call above, until none is left ---- */

enum watch_effect_kind { WATCH_PLACED, WATCH_PROGRESSED, WATCH_CANCELED };

struct watch_effect {
	enum watch_effect_kind kind;
	struct watch_link *link;
	uint64_t watch;
	bool joined;                 /* PLACED: it is LIVE now; else it has left, and stands at next */
	struct watch_pos next;
	int64_t revision;            /* PROGRESSED: all up to here; CANCELED: the compact revision or 0 */
	int error;                   /* CANCELED */
};
size_t watch_core_effects(const struct watch_core *c, const struct watch_effect **out);
void watch_core_effects_done(struct watch_core *c);

struct watch_stats {
	size_t watches, live, behind, blocked, spans, streams;
	struct watch_pos head;       /* rev 0: nothing is known of the store yet */
	int64_t revision, compact_revision;
	struct watch_pos oldest;     /* of those behind, as far as the front of the queue says */
};
void watch_core_stats(const struct watch_core *c, struct watch_stats *s);

#endif
