/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/loop_timer.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

static void heap_put(struct loop_heap *h, size_t i, struct loop_timer *t)
{
	h->v[i] = t;
	t->slot = (uint32_t)i + 1;
}

static void heap_up(struct loop_heap *h, size_t i)
{
	struct loop_timer *t = h->v[i];

	for (; i > 0 && mono_before(t->due, h->v[(i - 1) / 2]->due); i = (i - 1) / 2)
		heap_put(h, i, h->v[(i - 1) / 2]);
	heap_put(h, i, t);
}

static void heap_down(struct loop_heap *h, size_t i)
{
	struct loop_timer *t = h->v[i];
	size_t child;

	for (; (child = 2 * i + 1) < h->n; i = child) {
		if (child + 1 < h->n && mono_before(h->v[child + 1]->due, h->v[child]->due))
			child++;
		if (!mono_before(h->v[child]->due, t->due))
			break;
		heap_put(h, i, h->v[child]);
	}
	heap_put(h, i, t);
}

static void heap_fix(struct loop_heap *h, size_t i)
{
	heap_up(h, i);
	heap_down(h, h->v[i]->slot - 1);
}

void loop_heap_set(struct loop_heap *h, struct loop_timer *t, mono_t due)
{
	t->due = due;
	if (t->slot != 0) {
		CHECK(t->slot <= h->n && h->v[t->slot - 1] == t);
		heap_fix(h, t->slot - 1);
		return;
	}
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 64;
		h->v = mem_grow(h->v, h->cap, sizeof *h->v);
	}
	heap_put(h, h->n++, t);
	heap_up(h, h->n - 1);
}

void loop_heap_clear(struct loop_heap *h, struct loop_timer *t)
{
	size_t i;

	if (t->slot == 0)
		return;
	i = t->slot - 1;
	CHECK(i < h->n && h->v[i] == t);
	t->slot = 0;
	if (i == --h->n)
		return;
	heap_put(h, i, h->v[h->n]);
	heap_fix(h, i);
}

struct loop_timer *loop_heap_top(const struct loop_heap *h)
{
	return h->n ? h->v[0] : NULL;
}

void loop_heap_free(struct loop_heap *h)
{
	for (size_t i = 0; i < h->n; i++)
		h->v[i]->slot = 0;
	mem_free(h->v);
	*h = (struct loop_heap){0};
}
