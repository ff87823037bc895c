/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/apply_queue.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

/* One allocation: the entries, and behind them their bytes. */
struct apply_rest {
	struct apply_rest *next;
	size_t bytes;
	struct apply_run run;
	struct log_entry v[];
};

static size_t payload_bytes(const struct apply_run *run)
{
	size_t bytes = 0;

	for (size_t i = run->at; i < run->n; i++)
		bytes += run->v[i].payload.len;
	return bytes;
}

int apply_queue_add(struct apply_queue *q, const struct apply_run *run)
{
	size_t n = run->n - run->at, payload = payload_bytes(run), bytes = payload + n * APPLY_ENTRY_ROOM;
	struct apply_rest *r;
	uint8_t *to;

	CHECK(run->at < run->n);
	if (q->batches >= LIMIT_APPLY_WINDOW_BATCHES || q->bytes >= LIMIT_APPLY_WINDOW_BYTES)
		return ERR_LIMIT;
	r = mem_alloc(sizeof *r + n * sizeof r->v[0] + payload);
	to = (uint8_t *)&r->v[n];
	for (size_t i = 0; i < n; i++) {
		struct bytes from = run->v[run->at + i].payload;

		r->v[i] = run->v[run->at + i];
		r->v[i].payload = bytes_of(to, from.len);
		if (from.len > 0)
			memcpy(to, from.data, from.len);
		to += from.len;
	}
	r->bytes = bytes;
	r->run = (struct apply_run){.v = r->v, .n = n, .applied = run->applied};
	if (q->last != NULL)
		q->last->next = r;
	else
		q->first = r;
	q->last = r;
	q->batches++;
	q->bytes += bytes;
	q->last_index = r->v[n - 1].index;
	return ERR_OK;
}

struct apply_run *apply_queue_first(struct apply_queue *q)
{
	return q->first != NULL ? &q->first->run : NULL;
}

void apply_queue_pop(struct apply_queue *q)
{
	struct apply_rest *r = q->first;

	CHECK(r != NULL && q->batches > 0 && q->bytes >= r->bytes);
	q->first = r->next;
	if (q->first == NULL)
		q->last = NULL;
	q->batches--;
	q->bytes -= r->bytes;
	mem_free(r);
}

void apply_queue_clear(struct apply_queue *q)
{
	while (q->first != NULL)
		apply_queue_pop(q);
}
