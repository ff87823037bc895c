/* SPDX-License-Identifier: Apache-2.0 */
/* What the admin socket says about the log, and the histogram of its sync times. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "raftd/wal_int.h"

/* Eight buckets to each doubling: at most an eighth too high. Bucket b ends at hist_end(b). */
static uint32_t hist_bucket(uint64_t us)
{
	uint32_t log2 = 63 - (uint32_t)__builtin_clzll(us | 1), b;

	if (us < 8)
		return (uint32_t)us;
	b = (log2 - 2) * 8 + (uint32_t)(us >> (log2 - 3) & 7);
	return b < WAL_HIST_BUCKETS ? b : WAL_HIST_BUCKETS - 1;
}

static uint64_t hist_end(uint32_t b)
{
	return b < 8 ? b : ((uint64_t)(b % 8 + 9) << (b / 8 - 1)) - 1;
}

void wal_hist_add(struct wal_hist *h, uint64_t us)
{
	if (h->n == WAL_HIST_WINDOW) {
		memcpy(h->count[1], h->count[0], sizeof h->count[1]);
		memset(h->count[0], 0, sizeof h->count[0]);
		h->max_us[1] = h->max_us[0];
		h->max_us[0] = 0;
		h->n = 0;
	}
	h->count[0][hist_bucket(us)]++;
	h->n++;
	if (us > h->max_us[0])
		h->max_us[0] = us;
}

static uint64_t hist_max(const struct wal_hist *h)
{
	return h->max_us[0] > h->max_us[1] ? h->max_us[0] : h->max_us[1];
}

uint64_t wal_hist_quantile(const struct wal_hist *h, unsigned percent)
{
	uint64_t total = 0, seen = 0, wanted;

	for (uint32_t b = 0; b < WAL_HIST_BUCKETS; b++)
		total += h->count[0][b] + h->count[1][b];
	wanted = (total * percent + 99) / 100;
	for (uint32_t b = 0; b < WAL_HIST_BUCKETS; b++) {
		seen += h->count[0][b] + h->count[1][b];
		if (seen > 0 && seen >= wanted)
			return hist_end(b) < hist_max(h) ? hist_end(b) : hist_max(h);
	}
	return 0;
}

static void status_shared(struct wal *w, struct wal_status *st)
{
	struct wal_shared *sh = &w->sh;

	pthread_mutex_lock(&sh->lock);
	st->batches = sh->batches;
	st->batch_bytes = sh->batch_bytes;
	st->sync_p50_us = wal_hist_quantile(&sh->hist, 50);
	st->sync_p99_us = wal_hist_quantile(&sh->hist, 99);
	st->sync_max_us = hist_max(&sh->hist);
	st->spare = sh->spare;
	st->unread = sh->unread;
	(void)snprintf(st->spare_error, sizeof st->spare_error, "%.*s",
		       (int)sizeof st->spare_error - 1,
		       sh->spare_why.text[0] ? sh->spare_why.text : sh->remove_why.text);
	pthread_mutex_unlock(&sh->lock);
}

void wal_status(struct wal *w, struct wal_status *st)
{
	const struct wal_segment *last = &w->segments[w->nsegments - 1];

	*st = (struct wal_status){
		.segments = w->nsegments, .first_index = w->state.first,
		.last_index = w->state.last,
		.durable_index = w->durable_index, .segment_number = last->number,
		.segment_offset = last->used, .cached_entries = w->cache.n,
		.cached_bytes = w->cache.bytes,
		.index_points = w->points.n};
	for (size_t i = 0; i < w->nsegments; i++)
		st->bytes += w->segments[i].size;
	status_shared(w, st);
}

const char *wal_spare_name(enum wal_spare spare)
{
	static const char *const names[] = {[WAL_SPARE_NONE] = "none",
					    [WAL_SPARE_MAKING] = "making",
					    [WAL_SPARE_READY] = "ready",
					    [WAL_SPARE_FAILED] = "failed"};

	CHECK((size_t)spare < ARRAY_LEN(names));
	return names[spare];
}

const char *wal_why(const struct wal *w)
{
	return w->why.text;
}

uint64_t wal_bytes_from(const struct wal *w, uint64_t index)
{
	const struct wal_point *p = wal_points_find(&w->points, index);
	uint64_t bytes = 0;

	if (index > w->durable_index)
		return 0;
	for (size_t i = 0; i < w->nsegments; i++) {
		const struct wal_segment *s = &w->segments[i];

		if (p == NULL || s->number > p->segment)
			bytes += s->used;
		else if (s->number == p->segment && s->used > p->offset)
			bytes += s->used - p->offset;
	}
	return bytes;
}

uint64_t wal_index_behind(const struct wal *w, uint64_t bytes)
{
	size_t i = w->nsegments, low = 0, high = w->points.n;
	uint64_t behind = 0, number, offset;

	while (i > 0 && behind + w->segments[i - 1].used < bytes)
		behind += w->segments[--i].used;
	if (i == 0)
		return w->state.first;
	number = w->segments[i - 1].number;
	offset = w->segments[i - 1].used - (bytes - behind);
	/* Points ascend in place: the last one at or before that. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct wal_point *p = &w->points.v[mid];

		if (p->segment < number || (p->segment == number && p->offset <= offset))
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 && w->points.v[low - 1].index > w->state.first ? w->points.v[low - 1].index : w->state.first;
}
