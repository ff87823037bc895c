/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/wal_sum.h"

#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"

#define SUM_VERSION 1u
#define SUM_ROW_BYTES 40u
#define SUM_ROWS_MAX 65536u
#define SUM_CRC 12u            /* where the checksum stands; it covers all else */
#define SUM_FIXED_BYTES 164u

static const uint8_t sum_magic[8] = {'Q', 'R', 'A', 'F', 'T', 'S', 'U', 'M'};

_Static_assert(SUM_FIXED_BYTES + SUM_ROWS_MAX * SUM_ROW_BYTES <= WAL_SUM_BYTES_MAX,
	       "the largest summary is read back");
_Static_assert(LIMIT_WAL_SEGMENT_MAX / 65536u < SUM_ROWS_MAX, "the points of the largest segment fit");

void wal_sum_begin(struct wal_sum *s, const struct wal_header *h,
		   const struct wal_segment_head *head, uint64_t first_number)
{
	*s = (struct wal_sum){.rows = s->rows, .cap = s->cap, .segment = h->segment, .seed = h->seed,
			      .head = *head, .first_number = first_number, .hard = head->hard};
}

void wal_sum_free(struct wal_sum *s)
{
	mem_free(s->rows);
	*s = (struct wal_sum){.rows = NULL};
}

void wal_sum_move(struct wal_sum *to, struct wal_sum *from)
{
	mem_free(to->rows);
	*to = *from;
	*from = (struct wal_sum){.rows = NULL};
}

static void add(struct wal_sum *s, const struct wal_sum_row *row)
{
	if (s->n == SUM_ROWS_MAX) {
		s->overflow = true;
		return;
	}
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->rows = mem_grow(s->rows, s->cap, sizeof *s->rows);
	}
	s->rows[s->n++] = *row;
}

/* A point may stand behind the run that is going on. */
static void entry(struct wal_sum *s, const struct wal_record *r)
{
	struct wal_sum_row *run = s->run < s->n ? &s->rows[s->run] : NULL;

	if (run != NULL && run->type == WAL_SUM_RUN && run->term == r->term &&
	    run->last + 1 == r->index) {
		run->last = r->index;
		return;
	}
	s->run = s->n;
	add(s, &(struct wal_sum_row){.type = WAL_SUM_RUN, .index = r->index, .last = r->index,
				     .term = r->term});
}

void wal_sum_record(struct wal_sum *s, const struct wal_record *r)
{
	switch (r->type) {
	case WAL_ENTRY:
		entry(s, r);
		break;
	case WAL_TRUNCATE:
	case WAL_RESET:
		s->run = s->n;      /* that row is no run */
		add(s, &(struct wal_sum_row){.type = r->type == WAL_RESET ? WAL_SUM_RESET
									 : WAL_SUM_TRUNCATE,
					     .index = r->index, .term = r->term});
		break;
	case WAL_HARD_STATE:
		s->hard = (struct wal_hard_state){r->term, get_u64(r->payload.data)};
		break;
	case WAL_BATCH:
	case WAL_SEGMENT_HEAD:
		break;
	}
}

void wal_sum_point(struct wal_sum *s, uint64_t index, uint32_t offset, uint32_t before, bool jump)
{
	add(s, &(struct wal_sum_row){.type = WAL_SUM_POINT, .index = index, .offset = offset,
				     .before = before, .jump = jump});
}

static void put_row(const struct wal_sum_row *r, struct buf *out)
{
	buf_u32(out, r->type);
	buf_u32(out, r->jump);
	buf_u32(out, r->offset);
	buf_u32(out, r->before);
	buf_u64(out, r->index);
	buf_u64(out, r->last);
	buf_u64(out, r->term);
}

static void put_known(const struct wal_sum *s, struct buf *out)
{
	buf_u32(out, s->state);
	buf_u32(out, s->seed);
	buf_u64(out, s->segment);
	buf_add(out, s->boot, sizeof s->boot);
	buf_u64(out, s->stamp.inode);
	buf_u64(out, s->stamp.size);
	buf_u64(out, (uint64_t)s->stamp.modified_ns);
	buf_u64(out, (uint64_t)s->stamp.changed_ns);
}

static uint32_t sum_crc(const uint8_t *p, size_t n)
{
	return crc32c(crc32c(0, p, SUM_CRC), p + SUM_CRC + 4, n - SUM_CRC - 4);
}

void wal_sum_encode(const struct wal_sum *s, struct buf *out)
{
	size_t start = out->len;

	CHECK(!s->overflow);
	buf_add(out, sum_magic, sizeof sum_magic);
	buf_u32(out, SUM_VERSION);
	buf_u32(out, 0);
	put_known(s, out);
	buf_u64(out, s->head.hard.term);
	buf_u64(out, s->head.hard.vote);
	buf_u64(out, s->head.prev_index);
	buf_u64(out, s->head.prev_term);
	buf_u32(out, s->head.prev_end);
	buf_u32(out, s->head.prev_crc);
	buf_u64(out, s->first_number);
	buf_u64(out, s->next_number);
	buf_u64(out, s->hard.term);
	buf_u64(out, s->hard.vote);
	buf_u32(out, s->end);
	buf_u32(out, s->crc);
	buf_u32(out, (uint32_t)s->n);
	for (size_t i = 0; i < s->n; i++)
		put_row(&s->rows[i], out);
	CHECK(out->err == ERR_OK);
	put_u32(out->data + start + SUM_CRC, sum_crc(out->data + start, out->len - start));
}

static void get_row(struct cur *c, struct wal_sum_row *r)
{
	r->type = (enum wal_sum_type)cur_u32(c);
	r->jump = cur_u32(c) != 0;
	r->offset = cur_u32(c);
	r->before = cur_u32(c);
	r->index = cur_u64(c);
	r->last = cur_u64(c);
	r->term = cur_u64(c);
}

static void get_known(struct cur *c, struct wal_sum *s)
{
	struct bytes boot;

	s->state = (enum wal_sum_state)cur_u32(c);
	s->seed = cur_u32(c);
	s->segment = cur_u64(c);
	boot = cur_take(c, sizeof s->boot);
	if (boot.len > 0)
		memcpy(s->boot, boot.data, boot.len);
	s->stamp.inode = cur_u64(c);
	s->stamp.size = cur_u64(c);
	s->stamp.modified_ns = (int64_t)cur_u64(c);
	s->stamp.changed_ns = (int64_t)cur_u64(c);
}

static void get_rows(struct cur *c, struct wal_sum *s)
{
	s->n = s->cap = cur_u32(c);
	if (s->n > SUM_ROWS_MAX || cur_left(c) != s->n * SUM_ROW_BYTES)
		c->err = ERR_MALFORMED;
	if (c->err != ERR_OK || s->n == 0)
		return;
	s->rows = mem_array(s->n, sizeof *s->rows);
	for (size_t i = 0; i < s->n; i++)
		get_row(c, &s->rows[i]);
}

static bool row_shape(const struct wal_sum_row *r)
{
	switch (r->type) {
	case WAL_SUM_RUN:
		return r->index > 0 && r->last >= r->index;
	case WAL_SUM_TRUNCATE:
	case WAL_SUM_POINT:
		return r->index > 0;
	case WAL_SUM_RESET:
		return true;
	}
	return false;
}

static bool sum_shape(const struct wal_sum *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!row_shape(&s->rows[i]))
			return false;
	return (s->state == WAL_SUM_UNUSED && s->n == 0) || s->state == WAL_SUM_SEALED;
}

int wal_sum_decode(struct bytes in, struct wal_sum *s)
{
	struct cur c = cur_of(in);
	struct bytes magic = cur_take(&c, sizeof sum_magic);
	uint32_t version = cur_u32(&c), crc = cur_u32(&c);

	*s = (struct wal_sum){.rows = NULL};
	if (c.err != ERR_OK || !bytes_eq(magic, bytes_of(sum_magic, sizeof sum_magic)) ||
	    crc != sum_crc(in.data, in.len))
		return ERR_CHECKSUM;
	if (version != SUM_VERSION)
		return ERR_VERSION;
	get_known(&c, s);
	s->head.hard.term = cur_u64(&c);
	s->head.hard.vote = cur_u64(&c);
	s->head.prev_index = cur_u64(&c);
	s->head.prev_term = cur_u64(&c);
	s->head.prev_end = cur_u32(&c);
	s->head.prev_crc = cur_u32(&c);
	s->first_number = cur_u64(&c);
	s->next_number = cur_u64(&c);
	s->hard.term = cur_u64(&c);
	s->hard.vote = cur_u64(&c);
	s->end = cur_u32(&c);
	s->crc = cur_u32(&c);
	get_rows(&c, s);
	if (cur_end(&c) == ERR_OK && sum_shape(s))
		return ERR_OK;
	wal_sum_free(s);
	return ERR_MALFORMED;
}
