/* SPDX-License-Identifier: Apache-2.0 */
/* The writing end of the log: one batch, one write, one sync. Runs in the writer thread. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/wal_int.h"

void wal_pack_init(struct wal_pack *p, uint32_t batch_max)
{
	p->data = mem_alloc(batch_max);
	wal_pack_clear(p);
}

void wal_pack_clear(struct wal_pack *p)
{
	*p = (struct wal_pack){.data = p->data, .len = WAL_BATCH_HEAD, .min_from = UINT64_MAX};
}

void wal_pack_free(struct wal_pack *p)
{
	free(p->data);
	p->data = NULL;
}

void wal_ops_free(struct wal_ops *ops)
{
	free(ops->v);
	*ops = (struct wal_ops){0};
}

void wal_ops_add(struct wal_ops *ops, const struct wal_op *op)
{
	if (ops->n == ops->cap) {
		ops->cap = ops->cap ? ops->cap * 2 : 64;
		ops->v = mem_grow(ops->v, ops->cap, sizeof *ops->v);
	}
	ops->v[ops->n++] = *op;
}

void wal_tail_index(struct wal_tail *t, const uint8_t *data, const struct wal_batch *b,
		    struct wal_ops *ops)
{
	struct wal_walk walk = wal_walk_of(data, b);
	struct wal_record r;
	uint32_t at, before;

	while (wal_walk_next(&walk, &r, &at, &before)) {
		uint32_t offset = b->offset + at;
		struct wal_op op = {.point = {r.index, t->file.header.segment, offset, before,
					      t->jump}};

		wal_sum_record(&t->sum, &r);
		if (r.type == WAL_ENTRY &&
		    (t->jump || offset - t->point_offset >= WAL_POINT_SPACING)) {
			op.type = WAL_OP_POINT;
			wal_sum_point(&t->sum, r.index, offset, before, t->jump);
			t->point_offset = offset;
			t->jump = false;
		} else if (r.type == WAL_TRUNCATE || r.type == WAL_RESET) {
			op.type = WAL_OP_TRUNCATE;
			op.point.index = r.type == WAL_RESET ? 0 : r.index;
			t->jump = true;
		} else {
			continue;
		}
		wal_ops_add(ops, &op);
	}
}

void wal_tail_seal(struct wal_tail *t, const struct wal_stamp *stamp)
{
	t->sum.state = WAL_SUM_SEALED;
	t->sum.stamp = *stamp;
	t->sum.end = t->offset;
	t->sum.crc = t->chain;
	t->sum.next_number = t->number;
}

static int tail_failed(struct wal *w, const char *step, int rc)
{
	struct wal_tail *t = &w->tail;
	char name[WAL_NAME_MAX];

	wal_name(name, t->file.header.segment, WAL_NAME_SEGMENT);
	wal_why_set(&t->why, "%s/%s offset %" PRIu32 ": %s of the log failed: %s", w->dir, name,
		    t->offset, step,
		    rc < 0 ? strerror(-rc) : "the write came out short");
	return ERR_IO;
}

/* Everything before t->offset is durable: batches go one after the other. */
static int write_sealed(struct wal *w, uint8_t *data, struct wal_batch *b, struct wal_ops *ops)
{
	struct wal_tail *t = &w->tail;
	uint32_t padded = wal_padded(b->bytes), chain;
	int64_t put;
	int rc;

	b->number = t->number;
	b->offset = t->offset;
	b->durable = t->offset;
	b->before = t->chain;
	chain = wal_batch_seal(data, b, t->file.header.seed);
	put = w->io->pwrite(w->io->ctx, t->file.fd, data, padded, b->offset);
	if (put != (int64_t)padded)
		return tail_failed(w, "a write", put < 0 ? (int)put : 0);
	rc = w->io->fdatasync(w->io->ctx, t->file.fd);
	if (rc < 0)
		return tail_failed(w, "a sync", rc);
	wal_tail_index(t, data, b, ops);
	t->offset += padded;
	t->chain = chain;
	t->number++;
	return ERR_OK;
}

/* The first batch of a new segment: alone and synced, so that it seals the segment before. */
int wal_tail_begin(struct wal *w, const struct wal_segment_head *head, struct wal_ops *ops)
{
	struct wal_tail *t = &w->tail;
	const struct wal_header *h = &t->file.header;
	uint8_t page[WAL_PAGE];
	int rc = wal_known_remove(w, h->segment);
	size_t record = wal_record_bytes(WAL_SEGMENT_HEAD_PAYLOAD);
	struct wal_batch b = {.records = 1, .bytes = WAL_BATCH_HEAD + (uint32_t)record};
	struct wal_op op = {.type = WAL_OP_SEGMENT, .size = (uint32_t)h->segment_bytes,
			    .seed = h->seed,
			    .point = {.segment = h->segment, .offset = head->prev_end}};

	t->offset = WAL_PAGE;
	t->chain = h->seed;
	t->jump = true;
	if (rc < 0)              /* or a start would take it for unused */
		return tail_failed(w, "the removal of a summary", rc);
	wal_sum_begin(&t->sum, h, head, t->number);
	wal_segment_head_put(page + WAL_BATCH_HEAD, head);
	wal_ops_add(ops, &op);
	return write_sealed(w, page, &b, ops);
}

static int roll(struct wal *w, struct wal_segment_head head, struct wal_ops *ops)
{
	struct wal_tail *t = &w->tail;
	struct wal_sum sealed = {.rows = NULL};
	struct wal_file next;
	struct wal_stamp stamp;
	int rc = wal_spare_take(w, &next);

	if (rc != ERR_OK)
		return rc;
	CHECK(next.header.segment == t->file.header.segment + 1);
	head.prev_end = t->offset;
	head.prev_crc = t->chain;
	if (w->io->stamp(w->io->ctx, t->file.fd, &stamp) >= 0) {
		wal_tail_seal(t, &stamp);
		wal_sum_move(&sealed, &t->sum);
	}
	wal_file_close(w, &t->file);
	t->file = next;
	rc = wal_tail_begin(w, &head, ops);
	if (rc == ERR_OK)
		wal_spare_used(w, &sealed);
	wal_sum_free(&sealed);
	return rc;
}

static bool fits(const struct wal_tail *t, uint32_t padded)
{
	return padded <= t->file.header.batch_bytes &&
		padded <= t->file.header.segment_bytes - t->offset;
}

int wal_tail_write(struct wal *w, struct wal_pack *p, struct wal_ops *ops)
{
	struct wal_batch b = {.bytes = p->len, .records = p->records};
	uint32_t padded = wal_padded(p->len);

	CHECK(p->records > 0 && p->len > WAL_BATCH_HEAD && padded <= w->batch_max);
	if (!fits(&w->tail, padded)) {
		int rc = roll(w, p->start, ops);

		if (rc != ERR_OK)
			return rc;
	}
	CHECK(fits(&w->tail, padded));
	return write_sealed(w, p->data, &b, ops);
}

static void publish(struct wal_shared *sh, const struct wal_ops *ops, uint32_t end, uint32_t padded,
		    uint64_t us)
{
	struct wal_news *news = &sh->news;

	for (size_t i = 0; i < ops->n; i++)
		wal_ops_add(&news->ops, &ops->v[i]);
	news->any = true;
	news->end = end;
	news->last_index = sh->flight.last_index;
	if (sh->flight.marked) {
		news->marked = true;
		news->mark = sh->flight.mark;
	}
	wal_hist_add(&sh->hist, us);
	sh->batches++;
	sh->batch_bytes += padded;
	wal_pack_clear(&sh->flight);
	sh->busy = false;
}

/* With the lock held. True if there is a batch to write now: it is in `flight`. */
bool wal_flight_take(struct wal_shared *sh)
{
	struct wal_pack empty = sh->flight;

	CHECK(!sh->busy && empty.records == 0);
	if (!sh->pending)
		return false;
	sh->pending = false;
	sh->flight = sh->gather;
	sh->gather = empty;
	sh->busy = true;
	return true;
}

/* `flight` is ours alone while busy, but for its mark, which the loop may still set. */
int wal_flight_write(struct wal *w)
{
	struct wal_shared *sh = &w->sh;
	struct wal_ops ops = {0};
	mono_t begin = mono_now();
	uint32_t padded = wal_padded(sh->flight.len);
	int rc = wal_tail_write(w, &sh->flight, &ops);

	if (rc == ERR_OK) {
		uint64_t us = (uint64_t)mono_sub_us(mono_now(), begin);

		pthread_mutex_lock(&sh->lock);
		publish(sh, &ops, w->tail.offset, padded, us);
		(void)wal_flight_take(sh);   /* before the loop is woken: it finds room to gather */
		pthread_mutex_unlock(&sh->lock);
	}
	wal_ops_free(&ops);
	return rc;
}
