/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What watchers are promised: each reads exactly its part of the model's history, in order, once,
 * from its start on, whatever dies in between, or is told that it was compacted.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_int.h"

typedef long long ll;

/* ---- the history ---- */

static struct kv_pair pair_of(const struct model_key *k, const struct model_version *v)
{
	return (struct kv_pair){k->key, v->create, v->mod, v->version, v->value, v->lease};
}

/* The model has come to a new revision: what it has changed, in the order of its parts. */
void sim_history_note(struct sim *s)
{
	const struct model *m = &s->model;
	size_t first = s->n_history;

	for (size_t i = 0; i < m->n_keys; i++) {
		const struct model_key *k = &m->keys[i];
		const struct model_version *v = k->n ? &k->v[k->n - 1] : NULL, *prev;
		struct sim_happening h;
		size_t at;

		if (v == NULL || v->mod != m->revision)
			continue;
		h = (struct sim_happening){.rev = v->mod, .sub = v->sub, .deleted = v->deleted,
					   .kv = pair_of(k, v)};
		prev = model_at(k, m->revision - 1);
		h.has_prev = prev != NULL;
		if (h.has_prev)
			h.prev = pair_of(k, prev);
		if (s->n_history == s->cap_history) {
			s->cap_history = s->cap_history ? 2 * s->cap_history : 256;
			s->history = mem_grow(s->history, s->cap_history, sizeof *s->history);
		}
		for (at = s->n_history++; at > first && s->history[at - 1].sub > h.sub; at--)
			s->history[at] = s->history[at - 1];
		s->history[at] = h;
	}
}

static bool wants(const struct sim_watch *w, const struct sim_happening *h)
{
	if (h->rev < w->start || (h->deleted ? w->sub.no_delete : w->sub.no_put))
		return false;
	if (w->sub.range_end.len == 0)
		return bytes_eq(h->kv.key, w->sub.key);
	return bytes_cmp(h->kv.key, w->sub.key) >= 0 && bytes_cmp(h->kv.key, w->sub.range_end) < 0;
}

/* The next event that is this watch's; all that is committed is known. */
const struct sim_happening *sim_stream_next(struct sim *s, struct sim_watch *w)
{
	(void)sim_check_advance(s, s->committed_last);
	while (w->at < s->n_history && !wants(w, &s->history[w->at]))
		w->at++;
	return w->at < s->n_history ? &s->history[w->at] : NULL;
}

void sim_stream_begin(struct sim *s, struct sim_watch *w, int64_t start)
{
	size_t lo = 0, hi;

	(void)sim_check_advance(s, s->committed_last);
	for (hi = s->n_history; lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->history[mid].rev < start)
			lo = mid + 1;
		else
			hi = mid;
	}
	w->begun = true;
	w->start = start;
	w->next = (struct watch_pos){start, 0};
	w->at = lo;
	w->cut = false;
	w->progress = w->asked = 0;
}

/* ---- what a watcher reads ---- */

static bool pairs_equal(const struct kv_pair *a, const struct kv_pair *b)
{
	return bytes_eq(a->key, b->key) && bytes_eq(a->value, b->value) && a->mod_revision == b->mod_revision &&
	       a->create_revision == b->create_revision && a->version == b->version && a->lease == b->lease;
}

static const char *event_wrong(struct sim *s, const struct sim_watch *w, const struct watch_event *e,
			       const struct sim_happening *h)
{
	if (e->kv->mod_revision < w->start)
		return "an event before its start";
	if (h == NULL || e->kv->mod_revision < h->rev)
		return "an event that did not happen, or that it had read before";
	if (e->kv->mod_revision > h->rev || !bytes_eq(e->kv->key, h->kv.key))
		return "an event was left out before this one";
	if ((e->type == WATCH_EVENT_DELETE) != h->deleted || (!h->deleted && !pairs_equal(e->kv, &h->kv)))
		return "an event that is not what happened";
	if (e->prev_kv != NULL && (!w->sub.prev_kv || !h->has_prev || !pairs_equal(e->prev_kv, &h->prev)))
		return "a pair before the event that was not there";
	if (e->prev_kv == NULL && w->sub.prev_kv && h->has_prev && h->rev - 1 >= s->model.compact_revision)
		return "no pair before the event, and it was not compacted";
	return NULL;
}

static void stream_fail(struct sim *s, const struct sim_watcher *c, const struct sim_watch *w, int64_t rev,
			const char *what)
{
	sim_fail(s, "watch: watcher %u, %s..%s from %lld, at %lld: %s", c->id, w->key, w->end, (ll)w->start,
		 (ll)rev, what);
}

void sim_stream_events(struct sim *s, const struct sim_watcher *c, struct sim_watch *w,
		       const struct native_watch_events *m)
{
	const struct sim_happening *h;

	for (size_t i = 0; i < m->events.n; i++) {
		const char *wrong;

		h = sim_stream_next(s, w);
		wrong = event_wrong(s, w, &m->events.v[i], h);
		if (wrong != NULL) {
			stream_fail(s, c, w, m->events.v[i].kv->mod_revision, wrong);
			return;
		}
		w->at++;
		s->out->watched++;
	}
	if (m->events.n == 0 && !w->cut)
		stream_fail(s, c, w, m->next_revision, "a delivery of nothing");
	w->cut = m->next_sub != 0;
	w->next = (struct watch_pos){m->next_revision, (uint32_t)m->next_sub};
	h = sim_stream_next(s, w);
	if (h != NULL && watch_pos_cmp((struct watch_pos){h->rev, h->sub}, w->next) < 0)
		stream_fail(s, c, w, h->rev, "an event is missing at the end of a delivery");
}

void sim_stream_progress(struct sim *s, const struct sim_watcher *c, struct sim_watch *w, int64_t revision)
{
	const struct sim_happening *h = sim_stream_next(s, w);

	if (h != NULL && h->rev <= revision)
		stream_fail(s, c, w, revision, "progress ahead of an event");
	if (revision > s->model.revision)
		stream_fail(s, c, w, revision, "progress to what is not committed");
	if (revision < w->start - 1)
		stream_fail(s, c, w, revision, "progress before its start");
	if (revision < w->progress)
		stream_fail(s, c, w, revision, "progress goes back");
	w->progress = revision;
	w->next = (struct watch_pos){revision + 1, 0};
}

/* As its gatewayd sees it: `place` is where the watch stood there. */
void sim_stream_canceled(struct sim *s, const struct sim_watcher *c, const struct sim_watch *w,
			 struct watch_pos place, int64_t compact_revision, int error)
{
	(void)sim_check_advance(s, s->committed_last);
	if (error != ERR_COMPACTED || compact_revision > s->model.compact_revision)
		stream_fail(s, c, w, compact_revision, "it was ended, and not by compaction");
	else if (place.rev >= compact_revision)
		stream_fail(s, c, w, place.rev, "it was ended though its next event is still there");
}
