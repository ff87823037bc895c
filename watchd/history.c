/* SPDX-License-Identifier: Apache-2.0 */
#include "watchd/history.h"

#include "base/check.h"
#include "base/err.h"

_Static_assert((int)WATCH_EVENT_PUT == (int)MVCC_EVENT_PUT, "one numbering");
_Static_assert((int)WATCH_EVENT_DELETE == (int)MVCC_EVENT_DELETE, "one numbering");

/* The pair before an event, if it is still part of the history that clients can see. */
static int history_prev(struct mvcc_view *v, const struct mvcc_event *e, struct watch_slice_event *out)
{
	int rc;

	if (e->rev - 1 < mvcc_view_info(v)->compact_revision)
		return ERR_OK;
	rc = mvcc_get(v, e->key, e->rev - 1, &out->prev);
	out->has_prev = rc == ERR_OK;
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static int history_load(struct mvcc_view *v, const struct mvcc_event *e, unsigned wants,
			struct watch_slice_event *out)
{
	int rc = ERR_OK;

	*out = (struct watch_slice_event){.at = {e->rev, e->sub}, .type = (enum watch_event_type)e->type,
					  .kv = {.key = e->key, .mod_revision = e->rev}};
	if (e->type == MVCC_EVENT_PUT)
		rc = mvcc_event_pair(v, e, &out->kv);
	if (rc == ERR_NOT_FOUND)
		return ERR_CORRUPT;           /* an event says that it is there */
	return rc == ERR_OK && wants & WATCH_WANT_PREV ? history_prev(v, e, out) : rc;
}

/* ERR_OK with where the slice ends. */
static int history_scan(struct watch_core *c, struct mvcc_view *v, struct mvcc_events *events,
			struct history_counts *counts, struct watch_pos *next)
{
	struct watch_slice_event loaded;
	struct mvcc_event e;
	unsigned wants;
	int rc;

	while ((rc = mvcc_events_next(events, &e)) == ERR_OK) {
		*next = (struct watch_pos){e.rev, e.sub};
		if (watch_slice_full(c, *next))
			return ERR_OK;
		counts->rows++;
		wants = watch_slice_match(c, *next, (enum watch_event_type)e.type, e.key);
		if (wants == 0)
			continue;
		rc = history_load(v, &e, wants, &loaded);
		if (rc != ERR_OK)
			return rc;
		counts->events++;
		watch_slice_add(c, &loaded);
	}
	*next = (struct watch_pos){mvcc_view_info(v)->revision + 1, 0};
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static int history_slice(struct watch_core *c, struct mvcc_view *v, mono_t now, struct history_counts *counts)
{
	struct mvcc_events *events;
	struct watch_pos from, next;
	bool head;
	int rc;

	if (!watch_slice_begin(c, &from, &head))
		return ERR_NOT_FOUND;
	next = from;
	counts->slices++;
	rc = mvcc_events_resume(v, from.rev, from.sub, &events);
	if (rc == ERR_OK) {
		rc = history_scan(c, v, events, counts, &next);
		mvcc_events_end(&events);
	} else if (rc == ERR_COMPACTED) {
		watch_slice_end(c, next, now);
		watch_core_lost(c);
		return ERR_OK;
	}
	if (rc == ERR_OK)
		watch_slice_end(c, next, now);
	return rc;
}

int history_read(struct watch_core *c, struct mvcc_env *env, mono_t now, struct history_counts *counts,
		 struct mvcc_view **view)
{
	const struct mvcc_info *info;
	int rc = mvcc_view_begin(env, view);

	if (rc != ERR_OK)
		return rc;
	info = mvcc_view_info(*view);
	watch_core_store(c, info->revision, info->compact_revision);
	rc = history_slice(c, *view, now, counts);
	if (rc != ERR_OK)
		mvcc_view_end(view);
	return rc;
}

void history_close(struct watch_core *c, struct mvcc_view **view)
{
	watch_slice_done(c);
	mvcc_view_end(view);
}
