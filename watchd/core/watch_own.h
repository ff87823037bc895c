/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of watchd/core/watch.h, for the files of this folder. */
#ifndef QUORATE_WATCH_OWN_H
#define QUORATE_WATCH_OWN_H

#include "base/list.h"
#include "watchd/core/watch.h"

/*
 * What is watched: one node for all watchers of the same keys. Single keys are in a hash, ranges
 * in a treap by (key, end), where each node knows the furthest end below it.
 */
struct watch_span {
	struct watch_span *left, *right;      /* the treap's; of a single key, left is the bucket's next */
	struct watch_span *furthest;
	struct list live, behind;             /* watchers by in_span */
	uint64_t order;                       /* the treap's priority, or the key's hash */
	uint32_t n;                           /* watchers, blocked ones too */
	uint32_t key_len, end_len;
	bool single, endless;
	uint8_t data[];                       /* key, end */
};

struct watch_index {
	uint64_t seed, random;
	struct watch_span *root;
	struct watch_span **buckets;
	size_t n_buckets, n_singles, n;
	size_t bytes;                         /* of all keys and ends */
};

void watch_index_init(struct watch_index *x, uint64_t seed);
void watch_index_free(struct watch_index *x);
/* The span of these keys, made if there is none; the caller counts itself in n. */
struct watch_span *watch_index_get(struct watch_index *x, struct bytes key, struct bytes end);
/* One watcher less; the last one takes the span with it. */
void watch_index_put(struct watch_index *x, struct watch_span *s);
/* Calls `hit` for every span that has the key. */
struct watch_hit {
	void (*fn)(struct watch_core *c, struct watch_span *s);
	struct watch_core *c;
};
void watch_index_match(struct watch_index *x, struct bytes key, const struct watch_hit *hit);

enum watch_state { WATCH_LIVE, WATCH_BEHIND, WATCH_BLOCKED };

enum { WATCH_NO_SLOT = UINT32_MAX };

struct watcher {
	struct list in_span;          /* linked while live or behind */
	struct list in_stream;
	struct list queue;            /* core's behind, or stream's blocked; live: core's asked, or none */
	struct list timed;
	struct watcher *hash_next;
	struct watch_span *span;
	struct watch_stream *stream;
	uint64_t id;
	int64_t next_rev;
	int64_t progress_at;          /* 0: not asked */
	mono_t active;                /* when it was last sent something; if timed */
	uint32_t next_sub;
	uint32_t slot;                /* in the slice under way */
	uint8_t state;
	bool prev_kv : 1, no_put : 1, no_delete : 1, cut : 1;
};

struct watch_stream {
	struct list in_link;
	struct watch_stream *hash_next;
	struct watch_link *link;
	uint64_t id;
	struct list watchers, blocked;
	int64_t credit;
};

/* Its tables are chained by hash_next. */
struct watch_link {
	struct list in_core;
	void *owner;
	struct list streams;
	struct watcher **buckets;
	struct watch_stream **stream_buckets;
	size_t n_buckets, n, n_stream_buckets, n_streams;
	int64_t credit;
};

struct watch_slot {               /* a watcher that something in the slice has matched */
	struct watcher *w;
	uint64_t hash;                /* of the events it gets */
	uint32_t n, first;            /* its events: watch_slice.lists[first...] */
	uint32_t next;                /* in its group */
};

struct watch_pair {
	uint32_t slot, event;
};

struct watch_group {              /* same stream, same prev_kv, same events */
	uint32_t first, last, n;      /* slots */
};

struct watch_slice {
	bool open, head;
	bool wants_prev;
	struct watch_pos from;
	struct watch_pos last;        /* the last event looked at */
	enum watch_event_type type;   /* of the event being matched */
	unsigned wants;
	size_t rows, bytes;
	struct watch_slice_event *events;
	size_t *costs, *prev_costs;   /* of the events, without and for the pair before */
	size_t n_events, cap_events;
	struct watch_pair *pairs;
	size_t n_pairs, cap_pairs;
	struct watch_slot *slots;
	size_t n_slots, cap_slots;
	uint32_t *lists;
	size_t cap_lists;
	struct watch_group *groups;
	size_t n_groups, cap_groups;
	uint32_t *table;              /* groups by hash */
	size_t cap_table;
	uint64_t *ids;
	size_t n_ids, cap_ids;
	struct watch_out *out;
	size_t n_out, cap_out;
};

struct watch_cut {                /* a watcher that was sent a part of a revision */
	struct watch_link *link;
	uint64_t watch;
};

struct watch_core {
	struct watch_index index;
	int64_t interval_ms;
	size_t slice_rows;
	int64_t stream_bytes, link_bytes;     /* credit to begin with */
	size_t max_watches, max_bytes, n, n_live, n_behind, n_streams;
	bool begun;                   /* something is known of the store */
	bool took_head;               /* the last slice was at the head */
	struct watch_pos head;
	int64_t revision, compact;
	struct list links, behind, asked, timed;
	struct watch_cut *cuts;
	size_t n_cuts, cap_cuts;
	struct watch_effect *effects;
	size_t n_effects, cap_effects;
	struct watch_slice slice;
};

static inline struct watch_pos watcher_next(const struct watcher *w)
{
	return (struct watch_pos){w->next_rev, w->next_sub};
}

/* watch.c */
struct watch_pos watcher_place(const struct watch_core *c, const struct watcher *w);
struct watcher *watcher_find(const struct watch_link *l, uint64_t id);
void watcher_set_next(struct watcher *w, struct watch_pos next);
bool watch_room(const struct watch_stream *s);
void watcher_settle(struct watch_core *c, struct watcher *w);   /* out of all queues, into its state */
void watcher_block(struct watch_core *c, struct watcher *w);
void watcher_end(struct watch_core *c, struct watcher *w, int error);
void watch_effect_add(struct watch_core *c, const struct watch_effect *e);

/* watch_progress.c */
void watcher_progress(struct watch_core *c, struct watcher *w);   /* tells, if it is asked and there */
void watch_asked_check(struct watch_core *c);
void watcher_active(struct watch_core *c, struct watcher *w, mono_t now);

/* watch_slice.c */
void watch_slice_free(struct watch_slice *s);
void *watch_room_for(void *v, size_t *cap, size_t n, size_t size);

/* watch_group.c */
void watch_groups_deliver(struct watch_core *c, struct watch_pos next, mono_t now);
void watcher_cut(struct watch_core *c, struct watcher *w, bool cut);   /* it has a part of a revision, or all of it */
void watch_cuts_end(struct watch_core *c);     /* after all places have been set */

#endif
