/* SPDX-License-Identifier: Apache-2.0 */
/* Reading entries: the newest from memory, older ones from disk with every checksum verified. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/wal_int.h"

#define COLD_MORE (64u * KIB)

void wal_list_free(struct wal_list *list)
{
	free(list->entries);
	free(list->cold);
	*list = (struct wal_list){0};
}

static void list_add(struct wal_list *list, struct wal_entry e)
{
	if (list->n == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 64;
		list->entries = mem_grow(list->entries, list->cap, sizeof *list->entries);
	}
	list->entries[list->n++] = e;
}

/* What a reader still wants. */
struct reader {
	struct wal_list *out;
	uint64_t first, last;
	size_t max_bytes, max_entries, bytes;
};

static bool reader_takes(struct reader *rd, struct wal_entry e)
{
	if (rd->out->n == rd->max_entries)
		return false;
	if (rd->out->n > 0 && (e.data.len > rd->max_bytes ||
			       rd->bytes > rd->max_bytes - e.data.len))
		return false;
	rd->bytes += e.data.len;
	list_add(rd->out, e);
	return true;
}

/* A stretch of one segment in memory, being walked from a point of the index. */
struct stretch {
	const uint8_t *data;
	size_t n, at;
	uint32_t base;           /* offset of data[0] in the segment */
	uint32_t seed, chain;
	uint64_t next;           /* index of the next entry */
};

enum walked { WALKED_DONE, WALKED_SHORT, WALKED_BAD };

/* Over the padding to the next batch's head, which must continue the chain. */
static enum walked next_batch(struct stretch *s)
{
	struct wal_batch b;
	uint32_t offset = wal_padded(s->base + (uint32_t)s->at);

	s->at = offset - s->base;
	if (s->at + WAL_BATCH_HEAD > s->n)
		return WALKED_SHORT;
	if (!wal_batch_get(s->data + s->at, s->seed, offset, &b) || b.before != s->chain)
		return WALKED_BAD;
	s->chain = b.crc;
	s->at += WAL_BATCH_HEAD;
	return WALKED_DONE;
}

/* The next record that is not the head of a batch. */
static enum walked next_record(struct stretch *s, struct wal_record *r)
{
	for (;;) {
		const uint8_t *p = s->data + s->at;
		size_t left = s->n - s->at;
		bool page = (s->base + s->at) % WAL_PAGE == 0;
		enum walked got;
		int rc;

		if (left < 8)
			return WALKED_SHORT;
		if (p[4] == WAL_PAD || (page && p[4] == WAL_BATCH)) {   /* p[4]: the type */
			got = next_batch(s);
			if (got != WALKED_DONE)
				return got;
			continue;
		}
		rc = wal_record_get(p, left, r);
		if (rc == ERR_TRUNCATED)
			return WALKED_SHORT;
		if (rc != ERR_OK || r->crc != wal_record_crc(s->chain, p, r->bytes))
			return WALKED_BAD;
		return WALKED_DONE;
	}
}

static enum walked walk(struct stretch *s, struct reader *rd)
{
	struct wal_record r;

	while (s->next <= rd->last) {
		enum walked got = next_record(s, &r);

		if (got != WALKED_DONE)
			return got;
		if (r.type == WAL_ENTRY && r.index == s->next) {
			struct wal_entry e = {r.index, r.term, r.kind, r.payload};

			if (r.index >= rd->first && !reader_takes(rd, e))
				return WALKED_DONE;
			s->next++;
		} else if (r.type != WAL_HARD_STATE) {
			return WALKED_BAD;   /* a jump would stand in the index */
		}
		s->chain = r.crc;
		s->at += r.bytes;
	}
	return WALKED_DONE;
}

static int cold_open(struct wal *w, uint64_t number)
{
	if (w->cold.fd >= 0 && w->cold.header.segment == number)
		return ERR_OK;
	wal_file_close(w, &w->cold);
	return wal_segment_open(w, number, &w->cold, &w->why);
}

static int cold_load(struct wal *w, struct wal_list *out, const struct wal_point *p, size_t n)
{
	char name[WAL_NAME_MAX];
	int rc;

	if (out->cold_cap < n) {
		free(out->cold);
		out->cold = NULL;   /* old bytes need not be copied */
		out->cold = mem_grow(NULL, n, 1);
		out->cold_cap = n;
	}
	rc = wal_read_full(w, w->cold.fd, out->cold, n, p->offset);
	if (rc == 0)
		return ERR_OK;
	wal_name(name, p->segment, WAL_NAME_SEGMENT);
	wal_why_set(&w->why, "%s/%s offset %" PRIu32 ": reading failed: %s", w->dir, name,
		    p->offset, strerror(-rc));
	(void)wal_known_remove(w, p->segment);   /* the next start reads it and fails */
	return ERR_IO;
}

static int cold_damaged(struct wal *w, const struct wal_point *p, const struct stretch *s)
{
	return wal_damaged(w, &w->why, p->segment, s->base + s->at,
			   "entry %" PRIu64 " of the log is damaged", s->next);
}

/* Enough for what is asked, or for one entry: it lies within twice the spacing of its point. */
static int read_cold(struct wal *w, struct reader *rd)
{
	const struct wal_point *p = wal_points_find(&w->points, rd->first);
	const struct wal_segment *seg;
	uint64_t jump, want;
	int rc;

	CHECK(p != NULL);
	jump = wal_points_jump_after(&w->points, p);
	CHECK(rd->first < jump && p->segment >= w->segments[0].number);
	if (rd->last >= jump)
		rd->last = jump - 1;
	seg = &w->segments[p->segment - w->segments[0].number];
	want = 2u * (uint64_t)w->points.spacing + rd->max_bytes + rd->max_bytes / 4 + COLD_MORE;
	rc = cold_open(w, p->segment);
	while (rc == ERR_OK) {
		struct stretch s = {.base = p->offset, .seed = seg->seed, .chain = p->before,
				    .next = p->index};
		enum walked got;

		s.n = want < seg->used - p->offset ? (size_t)want : seg->used - p->offset;
		rc = cold_load(w, rd->out, p, s.n);
		if (rc != ERR_OK)
			break;
		s.data = rd->out->cold;
		got = walk(&s, rd);
		if (got == WALKED_BAD || (got == WALKED_SHORT && rd->out->n == 0 &&
					  s.n == seg->used - p->offset))
			return cold_damaged(w, p, &s);
		if (got == WALKED_DONE || rd->out->n > 0)
			break;
		want *= 2;
	}
	return rc;
}

int wal_read(struct wal *w, uint64_t first, uint64_t last, size_t max_bytes, size_t max_entries,
	     struct wal_list *out)
{
	struct reader rd = {.out = out, .first = first, .last = last, .max_entries = max_entries,
			    .max_bytes = max_bytes};

	CHECK(max_entries > 0);
	if (rd.max_bytes > LIMIT_WAL_BATCH_BYTES)
		rd.max_bytes = LIMIT_WAL_BATCH_BYTES;
	out->n = 0;
	if (first < w->state.first)
		return ERR_COMPACTED;
	if (rd.last > w->state.last)
		rd.last = w->state.last;
	if (first > rd.last)
		return ERR_OK;
	if (first < w->cache.first) {
		if (rd.last >= w->cache.first)
			rd.last = w->cache.first - 1;
		return read_cold(w, &rd);
	}
	for (uint64_t i = first; i <= rd.last; i++)
		if (!reader_takes(&rd, wal_cache_get(&w->cache, i)))
			break;
	return ERR_OK;
}
