/* SPDX-License-Identifier: Apache-2.0 */
/* All leases by id, and those that have a clock by what is due next. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "leased/core/lessor_own.h"

enum { TABLE_FIRST = 1024 };

/* splitmix64 over a secret seed: clients choose ids, but not what they share a bucket with. */
static size_t table_place(const struct lessor *l, int64_t id)
{
	uint64_t z = ((uint64_t)id ^ l->seed) + 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (size_t)(z ^ z >> 31) & (l->n_buckets - 1);
}

static void table_grow(struct lessor *l)
{
	struct lease **old = l->buckets;
	size_t n = l->n_buckets;

	l->n_buckets = n ? n * 2 : TABLE_FIRST;
	l->buckets = mem_array(l->n_buckets, sizeof *l->buckets);
	for (size_t i = 0; i < n; i++) {
		for (struct lease *e = old[i], *next; e != NULL; e = next) {
			size_t at = table_place(l, e->id);

			next = e->hash_next;
			e->hash_next = l->buckets[at];
			l->buckets[at] = e;
		}
	}
	mem_free(old);
}

struct lease *lease_find(const struct lessor *l, int64_t id)
{
	struct lease *e = l->n_buckets ? l->buckets[table_place(l, id)] : NULL;

	while (e != NULL && e->id != id)
		e = e->hash_next;
	return e;
}

struct lease *lease_insert(struct lessor *l, int64_t id)
{
	struct lease *e = mem_alloc(sizeof *e);
	size_t at;

	if (l->n >= l->n_buckets)
		table_grow(l);
	at = table_place(l, id);
	e->id = id;
	e->hash_next = l->buckets[at];
	l->buckets[at] = e;
	list_init(&e->node);
	l->n++;
	return e;
}

void lease_unlink(struct lessor *l, struct lease *e)
{
	struct lease **at = &l->buckets[table_place(l, e->id)];

	lease_move(l, e, LEASE_RESTS);
	while (*at != e)
		at = &(*at)->hash_next;
	*at = e->hash_next;
	l->n--;
}

void lease_each(struct lessor *l, void (*fn)(struct lessor *l, struct lease *e, void *arg), void *arg)
{
	for (size_t i = 0; i < l->n_buckets; i++) {
		for (struct lease *e = l->buckets[i], *next; e != NULL; e = next) {
			next = e->hash_next;
			fn(l, e, arg);
		}
	}
}

/* ---- the heap ---- */

mono_t lease_due(const struct lease *e)
{
	return mono_min(e->deadline, e->next_mark);
}

static void heap_set(struct lessor *l, size_t i, struct lease_heap_item item)
{
	l->heap[i] = item;
	item.lease->slot = (uint32_t)i + 1;
}

static void heap_up(struct lessor *l, size_t i)
{
	struct lease_heap_item item = l->heap[i];

	for (; i > 0 && mono_before(item.due, l->heap[(i - 1) / 2].due); i = (i - 1) / 2)
		heap_set(l, i, l->heap[(i - 1) / 2]);
	heap_set(l, i, item);
}

static void heap_down(struct lessor *l, size_t i)
{
	struct lease_heap_item item = l->heap[i];

	for (size_t child; (child = 2 * i + 1) < l->n_heap; i = child) {
		if (child + 1 < l->n_heap && mono_before(l->heap[child + 1].due, l->heap[child].due))
			child++;
		if (!mono_before(l->heap[child].due, item.due))
			break;
		heap_set(l, i, l->heap[child]);
	}
	heap_set(l, i, item);
}

static void heap_push(struct lessor *l, struct lease *e)
{
	CHECK(e->slot == 0);
	if (l->n_heap == l->cap_heap) {
		l->cap_heap = l->cap_heap ? l->cap_heap * 2 : TABLE_FIRST;
		l->heap = mem_grow(l->heap, l->cap_heap, sizeof *l->heap);
	}
	l->heap[l->n_heap] = (struct lease_heap_item){lease_due(e), e};
	heap_up(l, l->n_heap++);
}

static void heap_remove(struct lessor *l, struct lease *e)
{
	size_t i = e->slot - 1;
	struct lease_heap_item last = l->heap[--l->n_heap];

	CHECK(e->slot != 0 && i <= l->n_heap);
	e->slot = 0;
	if (i == l->n_heap)
		return;
	heap_set(l, i, last);
	heap_up(l, i);
	heap_down(l, last.lease->slot - 1);
}

/*
 * A keepalive only moves the lease's own times; its place in the heap is put right when it comes
 * up, once for all keepalives since.
 */
struct lease *lease_pop_due(struct lessor *l, mono_t now)
{
	while (l->n_heap > 0 && !mono_before(now, l->heap[0].due)) {
		struct lease *e = l->heap[0].lease;

		if (mono_before(l->heap[0].due, lease_due(e))) {
			l->heap[0].due = lease_due(e);
			heap_down(l, 0);
			continue;
		}
		return e;
	}
	return NULL;
}

/* ---- places ---- */

static struct list *place_list(struct lessor *l, enum lease_place place, size_t **count)
{
	*count = NULL;
	switch (place) {
	case LEASE_OVER:
		*count = &l->n_over;
		return &l->over;
	case LEASE_ENDING:
		*count = &l->n_ending;
		return &l->ending;
	case LEASE_MARKING:
		*count = &l->n_marking;
		return &l->marking;
	case LEASE_WAKE:
		*count = &l->n_waking;
		return &l->wake;
	case LEASE_WAKING:
		*count = &l->n_waking;
		return &l->waking;
	case LEASE_RESTS:
	case LEASE_TIMED:
		break;
	}
	return NULL;
}

void lease_move(struct lessor *l, struct lease *e, enum lease_place place)
{
	size_t *count;
	struct list *to;

	if (e->place == LEASE_TIMED) {
		heap_remove(l, e);
	} else if (place_list(l, e->place, &count) != NULL) {
		list_remove(&e->node);
		--*count;
	}
	e->place = place;
	to = place_list(l, place, &count);
	if (place == LEASE_TIMED) {
		heap_push(l, e);
	} else if (to != NULL) {
		list_push(to, &e->node);
		++*count;
	}
}

static void lease_rest(struct lessor *l, struct lease *e, void *arg)
{
	(void)l;
	(void)arg;
	list_init(&e->node);
	e->slot = 0;
	e->place = LEASE_RESTS;
	e->mark_seq = 0;
	e->held = 0;
}

void lease_rest_all(struct lessor *l)
{
	lease_each(l, lease_rest, NULL);
	list_init(&l->over);
	list_init(&l->ending);
	list_init(&l->marking);
	list_init(&l->wake);
	list_init(&l->waking);
	l->n_over = l->n_ending = l->n_marking = l->n_waking = 0;
	l->n_heap = 0;
}
