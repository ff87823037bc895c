/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/sort.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

enum { SORT_ROW_COST = 16 };   /* of an allocation, beyond its bytes */

struct sort_row {
	int64_t number;               /* what it is sorted by, if that is a number */
	uint8_t *bytes;               /* key, then the value if it is sorted by that */
	uint32_t key_len, value_len;
};

struct sorter *sorter_new(enum kv_sort_target target, bool descend, size_t max)
{
	struct sorter *s = mem_alloc(sizeof *s);

	s->target = target;
	s->descend = descend;
	s->max = max;
	return s;
}

static size_t sort_cost(const struct sort_row *r)
{
	return r->key_len + r->value_len + SORT_ROW_COST;
}

/* What two rows are compared by; a new one is compared where it lies, before it is copied. */
struct sort_look {
	int64_t number;
	struct bytes key, value;
};

static int64_t sort_number(const struct sorter *s, const struct kv_pair *p)
{
	switch (s->target) {
	case KV_SORT_VERSION:
		return p->version;
	case KV_SORT_CREATE:
		return p->create_revision;
	case KV_SORT_MOD:
		return p->mod_revision;
	default:
		return 0;
	}
}

static struct sort_look sort_look_pair(const struct sorter *s, const struct kv_pair *p)
{
	return (struct sort_look){sort_number(s, p), p->key, p->value};
}

static struct sort_look sort_look_row(const struct sort_row *r)
{
	return (struct sort_look){r->number, bytes_of(r->bytes, r->key_len),
				  bytes_of(r->bytes + r->key_len, r->value_len)};
}

/* The order of the answer. */
static int sort_cmp(const struct sorter *s, const struct sort_look *a, const struct sort_look *b)
{
	int c;

	if (s->target == KV_SORT_VALUE)
		c = bytes_cmp(a->value, b->value);
	else if (s->target == KV_SORT_KEY)
		c = bytes_cmp(a->key, b->key);
	else
		c = (a->number > b->number) - (a->number < b->number);
	if (c != 0)
		return s->descend ? -c : c;
	return bytes_cmp(a->key, b->key);
}

static bool sort_after(const struct sorter *s, size_t i, size_t j)
{
	struct sort_look a = sort_look_row(&s->rows[i]), b = sort_look_row(&s->rows[j]);

	return sort_cmp(s, &a, &b) > 0;
}

static void sort_swap(struct sorter *s, size_t i, size_t j)
{
	struct sort_row x = s->rows[i];

	s->rows[i] = s->rows[j];
	s->rows[j] = x;
}

static void sort_up(struct sorter *s, size_t i)
{
	for (; i > 0 && sort_after(s, i, (i - 1) / 2); i = (i - 1) / 2)
		sort_swap(s, i, (i - 1) / 2);
}

static void sort_down(struct sorter *s, size_t n)
{
	size_t i = 0, child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && sort_after(s, child + 1, child))
			child++;
		if (!sort_after(s, child, i))
			return;
		sort_swap(s, i, child);
		i = child;
	}
}

static int sort_room(struct sorter *s)
{
	size_t cap = s->cap ? s->cap * 2 : 64;

	if (s->n >= LIMIT_SORT_ROWS)
		return ERR_SORT_TOO_LARGE;
	if (s->n < s->cap)
		return ERR_OK;
	s->rows = mem_grow(s->rows, cap, sizeof s->rows[0]);
	s->bytes += (cap - s->cap) * sizeof s->rows[0];
	s->cap = cap;
	return ERR_OK;
}

static void sort_keep(struct sorter *s, struct sort_row *row, const struct kv_pair *p)
{
	row->bytes = mem_alloc((size_t)row->key_len + row->value_len + 1);
	memcpy(row->bytes, p->key.data, row->key_len);
	if (row->value_len > 0)
		memcpy(row->bytes + row->key_len, p->value.data, row->value_len);
	s->bytes += sort_cost(row);
}

int sorter_add(struct sorter *s, const struct kv_pair *pair)
{
	struct sort_row row = {.number = sort_number(s, pair), .key_len = (uint32_t)pair->key.len};
	struct sort_look look = sort_look_pair(s, pair), last;
	bool full = s->max != 0 && s->n == s->max;

	CHECK(s->ordered == 0);
	if (s->target == KV_SORT_VALUE)
		row.value_len = (uint32_t)pair->value.len;
	if (full) {
		last = sort_look_row(&s->rows[0]);
		if (sort_cmp(s, &look, &last) > 0)
			return ERR_OK;
	}
	if (!full && sort_room(s) != ERR_OK)
		return ERR_SORT_TOO_LARGE;
	if (full) {
		s->bytes -= sort_cost(&s->rows[0]);
		mem_free(s->rows[0].bytes);
		sort_keep(s, &row, pair);
		s->rows[0] = row;
		sort_down(s, s->n);
	} else {
		sort_keep(s, &row, pair);
		s->rows[s->n++] = row;
		sort_up(s, s->n - 1);
	}
	return s->bytes <= LIMIT_GATEWAY_SORT_BYTES ? ERR_OK : ERR_SORT_TOO_LARGE;
}

bool sorter_order(struct sorter *s, size_t steps)
{
	for (; steps > 0 && s->ordered < s->n; steps--) {
		size_t left = s->n - s->ordered;

		sort_swap(s, 0, left - 1);
		sort_down(s, left - 1);
		s->ordered++;
	}
	return s->ordered == s->n;
}

struct bytes sorter_key(const struct sorter *s, size_t i)
{
	CHECK(s->ordered == s->n && i < s->n);
	return sort_look_row(&s->rows[i]).key;
}

bool sorter_free_some(struct sorter **sp, size_t rows)
{
	struct sorter *s = *sp;

	if (s == NULL)
		return true;
	for (; rows > 0 && s->n > 0; rows--)
		mem_free(s->rows[--s->n].bytes);
	if (s->n > 0)
		return false;
	mem_free(s->rows);
	mem_free(s);
	*sp = NULL;
	return true;
}
