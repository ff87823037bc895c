/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's half of the log: gather, mark, kick, collect, cut. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/wal_int.h"

/* What the batch does to the log: where it ends behind this record, from where it rewrites it. */
static void pack_note(struct wal_pack *p, const struct wal_record *r, uint64_t last)
{
	uint64_t from = UINT64_MAX;

	p->records++;
	p->last_index = last;
	if (r->type == WAL_ENTRY || r->type == WAL_RESET)
		p->last_index = r->index;
	if (r->type == WAL_TRUNCATE) {
		p->last_index = r->index - 1;
		from = r->index;
	}
	if (r->type == WAL_RESET)
		from = 0;
	if (from < p->min_from)
		p->min_from = from;
}

/* Puts a record into the gathering batch; its meaning has not been applied to w->state yet. */
static int gather(struct wal *w, const struct wal_record *r)
{
	struct wal_shared *sh = &w->sh;
	struct wal_pack *p = &sh->gather;
	size_t bytes = wal_record_bytes(r->payload.len);
	int rc = ERR_FULL;

	if (w->dead)
		return ERR_IO;
	pthread_mutex_lock(&sh->lock);
	if (bytes <= w->batch_max - p->len) {
		if (p->records == 0)
			p->start = (struct wal_segment_head){
				.hard = w->state.hard, .prev_index = w->state.last,
				.prev_term = wal_state_term(&w->state, w->state.last)};
		wal_record_put(p->data + p->len, r);
		p->len += (uint32_t)bytes;
		pack_note(p, r, w->state.last);
		rc = ERR_OK;
	}
	pthread_mutex_unlock(&sh->lock);
	return rc;
}

static int append(struct wal *w, const struct wal_record *r)
{
	const char *wrong;
	int rc = gather(w, r);

	if (rc != ERR_OK)
		return rc;
	wrong = wal_state_apply(&w->state, r);
	if (wrong != NULL)
		panic(wrong);
	return ERR_OK;
}

int wal_append_hard_state(struct wal *w, struct wal_hard_state hard)
{
	uint8_t vote[8];

	put_u64(vote, hard.vote);
	return append(w, &(struct wal_record){.type = WAL_HARD_STATE, .term = hard.term,
					      .payload = {vote, sizeof vote}});
}

int wal_append_entry(struct wal *w, uint64_t index, uint64_t term, uint8_t kind,
		     struct bytes payload)
{
	const struct wal_state *s = &w->state;
	int rc;

	if (payload.len > LIMIT_WAL_ENTRY_BYTES ||
	    wal_record_bytes(payload.len) > w->batch_max - WAL_BATCH_HEAD)
		return ERR_LIMIT;
	if (s->nruns == LIMIT_WAL_TERM_RUNS && term != wal_state_term(s, s->last))
		return ERR_LIMIT;
	rc = append(w, &(struct wal_record){.type = WAL_ENTRY, .kind = kind, .index = index,
					    .term = term,
					    .payload = payload});
	if (rc == ERR_OK)
		wal_cache_add(&w->cache, index, term, kind, payload);
	return rc;
}

int wal_append_truncate(struct wal *w, uint64_t from)
{
	struct wal_record r = {.type = WAL_TRUNCATE, .index = from};
	int rc;

	CHECK(from >= w->state.first);
	if (from > w->state.last)
		return ERR_OK;
	r.term = wal_state_term(&w->state, from - 1);
	rc = append(w, &r);
	if (rc == ERR_OK)
		wal_cache_truncate(&w->cache, from);
	return rc;
}

int wal_append_reset(struct wal *w, uint64_t index, uint64_t term)
{
	int rc = append(w, &(struct wal_record){.type = WAL_RESET, .index = index, .term = term});

	if (rc == ERR_OK)
		wal_cache_reset(&w->cache, index + 1);
	return rc;
}

size_t wal_room(struct wal *w)
{
	struct wal_shared *sh = &w->sh;
	size_t left;

	pthread_mutex_lock(&sh->lock);
	left = (w->batch_max - sh->gather.len) / 8 * 8;
	pthread_mutex_unlock(&sh->lock);
	if (w->dead || left < WAL_RECORD_HEAD)
		return 0;
	left -= WAL_RECORD_HEAD;
	return left < LIMIT_WAL_ENTRY_BYTES ? left : LIMIT_WAL_ENTRY_BYTES;
}

void wal_mark(struct wal *w, uint64_t seq)
{
	struct wal_shared *sh = &w->sh;
	struct wal_durable mark = {seq, w->state.last, wal_state_term(&w->state, w->state.last)};
	struct wal_pack *p = NULL;

	CHECK(seq >= w->marked_seq);
	w->marked_seq = seq;
	pthread_mutex_lock(&sh->lock);
	if (sh->gather.records > 0)
		p = &sh->gather;
	else if (sh->busy)
		p = &sh->flight;
	if (p != NULL) {
		p->marked = true;
		p->mark = mark;
	} else {
		sh->news.marked = true;
		sh->news.mark = mark;
	}
	pthread_mutex_unlock(&sh->lock);
	if (p == NULL)
		wal_wake(w);
}

void wal_kick(struct wal *w)
{
	struct wal_shared *sh = &w->sh;
	bool due;

	if (!w->threads)
		return;
	pthread_mutex_lock(&sh->lock);
	due = sh->gather.records > 0 && !sh->pending;
	if (due)
		sh->pending = true;
	pthread_mutex_unlock(&sh->lock);
	if (due)                     /* the writer does not wake up to wait for our lock */
		pthread_cond_signal(&sh->work);
}

int wal_event_fd(const struct wal *w)
{
	return w->event_fd;
}

static void segment_add(struct wal *w, const struct wal_op *op)
{
	if (w->nsegments > 0)
		w->segments[w->nsegments - 1].used = op->point.offset;
	if (w->nsegments == w->segments_cap) {
		w->segments_cap = w->segments_cap ? w->segments_cap * 2 : 16;
		w->segments = mem_grow(w->segments, w->segments_cap, sizeof *w->segments);
	}
	w->segments[w->nsegments++] =
		(struct wal_segment){op->point.segment, op->size, WAL_PAGE, op->seed};
}

void wal_ops_apply(struct wal *w, const struct wal_ops *ops)
{
	for (size_t i = 0; i < ops->n; i++) {
		const struct wal_op *op = &ops->v[i];

		if (op->type == WAL_OP_SEGMENT)
			segment_add(w, op);
		else if (op->type == WAL_OP_TRUNCATE)
			wal_points_truncate(&w->points, op->point.index);
		else
			wal_points_add(&w->points, &op->point);
	}
}

static void drain_event(const struct wal *w)
{
	uint64_t count;

	if (w->event_fd >= 0 && read(w->event_fd, &count, sizeof count) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
}

/*
 * An entry is stable when its batch is durable and nothing that is still on its way takes its
 * place: a truncation in a later batch makes the same index unstable again.
 */
bool wal_collect(struct wal *w, struct wal_durable *durable)
{
	struct wal_shared *sh = &w->sh;
	struct wal_news news;
	uint64_t pending_from;

	drain_event(w);
	pthread_mutex_lock(&sh->lock);
	news = sh->news;
	sh->news = (struct wal_news){.ops = w->ops_back};
	pending_from = sh->gather.min_from;
	if (sh->busy && sh->flight.min_from < pending_from)
		pending_from = sh->flight.min_from;
	pthread_mutex_unlock(&sh->lock);
	wal_ops_apply(w, &news.ops);
	news.ops.n = 0;
	w->ops_back = news.ops;
	if (news.any) {
		uint64_t stable = news.last_index + 1;

		w->segments[w->nsegments - 1].used = news.end;
		w->durable_index = news.last_index;
		wal_cache_stable(&w->cache, stable < pending_from ? stable : pending_from);
	}
	if (news.marked)
		*durable = news.mark;
	return news.marked;
}

static int sync_here(struct wal *w)
{
	struct wal_shared *sh = &w->sh;

	if (w->dead)
		return ERR_IO;
	if (sh->gather.records > 0) {
		sh->pending = true;
		CHECK(wal_flight_take(sh));
		if (wal_flight_write(w) != ERR_OK) {
			w->dead = true;
			w->why = w->tail.why;
			return ERR_IO;
		}
	}
	wal_spare_work(w);
	return w->dead ? ERR_IO : ERR_OK;
}

int wal_sync_now(struct wal *w)
{
	struct wal_shared *sh = &w->sh;

	if (!w->threads)
		return sync_here(w);
	wal_kick(w);
	pthread_mutex_lock(&sh->lock);
	while (sh->busy || sh->pending)
		pthread_cond_wait(&sh->idle, &sh->lock);
	pthread_mutex_unlock(&sh->lock);
	return ERR_OK;
}

uint64_t wal_first_index(const struct wal *w)
{
	return w->state.first;
}

uint64_t wal_last_index(const struct wal *w)
{
	return w->state.last;
}

/* Drops the segments before `keep` from the index; the files go in the background. */
static void cut_segments(struct wal *w, uint64_t keep)
{
	struct wal_shared *sh = &w->sh;
	size_t drop = 0;

	while (w->segments[drop].number < keep)
		drop++;
	w->nsegments -= drop;
	memmove(w->segments, w->segments + drop, w->nsegments * sizeof *w->segments);
	wal_points_cut(&w->points, keep);
	wal_file_close(w, &w->cold);
	pthread_mutex_lock(&sh->lock);
	sh->keep = keep;
	sh->remove_stuck = false;
	pthread_cond_signal(&sh->prepare);
	pthread_mutex_unlock(&sh->lock);
}

/*
 * The segment that holds the last point at or before `before_index` stays, and all behind it. The
 * log then begins where it would after a restart: at the first entry that the kept segments hold.
 */
void wal_cut(struct wal *w, uint64_t before_index)
{
	uint64_t keep = w->segments[w->nsegments - 1].number, first;
	const struct wal_point *p;

	if (before_index > w->durable_index + 1)
		before_index = w->durable_index + 1;
	if (before_index > w->state.last + 1)
		before_index = w->state.last + 1;
	p = wal_points_find(&w->points, before_index);
	if (before_index <= w->durable_index && p != NULL)
		keep = p->segment;
	if (before_index <= w->state.first || keep == w->segments[0].number)
		return;
	cut_segments(w, keep);
	first = w->points.n > 0 ? w->points.v[0].index : w->durable_index + 1;
	if (first > w->state.last + 1)
		first = w->state.last + 1;
	wal_state_cut(&w->state, first);
	wal_cache_cut(&w->cache, first);
}
