/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/store_gen.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

enum { GEN_KEY_MAX = 5200 };

uint64_t gen_below(struct gen *g, uint64_t n)
{
	return tap_rand(&g->seed) % n;
}

static bool gen_chance(struct gen *g, unsigned percent)
{
	return gen_below(g, 100) < percent;
}

/*
 * Keys around the ends of levels (mvcc/layout.h: 480 bytes, then 462 each): one the beginning of
 * another, or different in a single byte at some level's end, be it zero or not, or its last.
 */
static size_t gen_level_key(struct gen *g, unsigned number, uint8_t *k)
{
	static const size_t ends[] = {480, 942, 1404, 1866, 480 + 462 * 10};
	static const uint8_t odd[] = {0, 1, 'w', 'y', 0xff};
	size_t end = ends[gen_below(g, 5)], n = end + gen_below(g, 4) - 1;

	memset(k, number % 5 == 0 ? 0 : 'x', GEN_KEY_MAX);
	if (number % 5 == 0)
		n /= 2;          /* every byte is escaped */
	if (gen_below(g, 2)) {
		end = ends[gen_below(g, 5)];
		if (end + 2 < n)
			k[end + gen_below(g, 4) - 2] = odd[gen_below(g, 5)];
		else
			k[n - 1] = odd[gen_below(g, 5)];
	}
	return n;
}

/* Short text, bytes around zero, and keys of 478 to 2,000 bytes that share what a row's key can hold. */
static size_t gen_make_key(struct gen *g, unsigned number, uint8_t *k)
{
	static const size_t lengths[] = {470, 478, 479, 480, 481, 482, 511, 512, 600, 2000};
	size_t n = 0, common;

	if (number < 24) {
		for (n = 0; n < 1 + number % 4; n++)
			k[n] = (uint8_t)('a' + gen_below(g, 3));
		return n;
	}
	if (number < 48) {
		static const uint8_t odd[] = {0, 1, 0xfe, 0xff, 'a'};

		for (n = 0; n < 1 + number % 6; n++)
			k[n] = odd[gen_below(g, 5)];
		return n;
	}
	if (number >= 96)
		return gen_level_key(g, number, k);
	common = number % 3 == 0 ? 479 : 480;
	n = lengths[gen_below(g, 10)];
	memset(k, 'x', n);
	if (number % 4 == 0)
		k[7] = 0;        /* escaped: the cut moves */
	for (size_t i = 470; i < n; i++)
		k[i] = i < common - 3 ? 'y' : (uint8_t)(gen_below(g, 8) ? 'y' : gen_below(g, 4));
	return n;
}

void gen_init(struct gen *g, uint64_t seed)
{
	*g = (struct gen){.seed = seed, .memory = mem_array(GEN_KEYS, GEN_KEY_MAX), .compact_revision = -1};
	for (unsigned i = 0; i < GEN_KEYS; i++) {
		uint8_t *k = g->memory + (size_t)i * GEN_KEY_MAX;

		g->keys[i] = bytes_of(k, gen_make_key(g, i, k));
	}
}

void gen_free(struct gen *g)
{
	free(g->memory);
}

struct bytes gen_key(struct gen *g)
{
	return g->keys[gen_below(g, GEN_KEYS)];
}

static struct bytes gen_end(struct gen *g)
{
	static const uint8_t zero[1] = {0};

	if (gen_chance(g, 30))
		return bytes_of(NULL, 0);
	return gen_chance(g, 30) ? bytes_of(zero, 1) : gen_key(g);
}

static int64_t gen_revision(struct gen *g)
{
	int64_t from = g->compact_revision > 2 ? g->compact_revision - 2 : 0;

	return from + (int64_t)gen_below(g, (uint64_t)(g->revision - from) + 2);
}

void gen_range(struct gen *g, struct kv_range *r)
{
	*r = (struct kv_range){.key = gen_key(g), .range_end = gen_end(g)};
	if (gen_chance(g, 20)) {
		r->key = bytes_str("");
		r->key = bytes_of("\0", 1);
		r->range_end = bytes_of("\0", 1);
	}
	if (gen_chance(g, 50))
		r->limit = (int64_t)gen_below(g, 12) - 1;
	if (gen_chance(g, 50))
		r->revision = gen_revision(g);
	if (gen_chance(g, 40))
		r->sort_order = gen_below(g, 3);
	if (gen_chance(g, 40))
		r->sort_target = gen_below(g, 5);
	r->keys_only = gen_chance(g, 15);
	r->count_only = gen_chance(g, 15);
	if (gen_chance(g, 20))
		r->min_mod_revision = gen_revision(g);
	if (gen_chance(g, 15))
		r->max_mod_revision = gen_revision(g);
	if (gen_chance(g, 10))
		r->min_create_revision = gen_revision(g);
	if (gen_chance(g, 10))
		r->max_create_revision = gen_revision(g);
}

static void *gen_room(struct arena *a, size_t n, size_t size)
{
	void *p = arena_array(a, n ? n : 1, size);

	CHECK(p != NULL);
	return p;
}

static struct bytes gen_value(struct gen *g, struct arena *a)
{
	size_t n = gen_chance(g, 3) ? gen_below(g, 9000) : gen_below(g, 24);
	uint8_t *v = gen_room(a, n, 1);

	for (size_t i = 0; i < n; i++)
		v[i] = (uint8_t)gen_below(g, n > 4 ? 256 : 3);
	return bytes_of(v, n);
}

static struct kv_put *gen_put(struct gen *g, struct arena *a)
{
	struct kv_put *p = gen_room(a, 1, sizeof *p);

	p->key = gen_key(g);
	p->prev_kv = gen_chance(g, 30);
	p->ignore_value = gen_chance(g, 8);
	p->ignore_lease = gen_chance(g, 8);
	if (!p->ignore_value)
		p->value = gen_value(g, a);
	if (!p->ignore_lease && gen_chance(g, 2))
		p->lease = 9;
	return p;
}

static struct kv_delete *gen_delete(struct gen *g, struct arena *a)
{
	struct kv_delete *d = gen_room(a, 1, sizeof *d);

	d->key = gen_key(g);
	if (gen_chance(g, 30))
		d->range_end = gen_chance(g, 10) ? gen_end(g) : gen_key(g);
	d->prev_kv = gen_chance(g, 40);
	return d;
}

static void gen_compare(struct gen *g, struct arena *a, struct kv_compare *c)
{
	c->key = gen_key(g);
	if (gen_chance(g, 20))
		c->range_end = gen_end(g);
	c->target = gen_below(g, 5);
	c->op = gen_below(g, 4);
	c->number = gen_chance(g, 40) ? (int64_t)gen_below(g, 3) : gen_revision(g);
	if (c->target == KV_TARGET_VALUE)
		c->value = gen_value(g, a);
}

static struct kv_txn *gen_txn(struct gen *g, struct arena *a, unsigned depth);

static struct kv_op *gen_ops(struct gen *g, struct arena *a, unsigned depth, size_t *n)
{
	struct kv_op *ops;

	*n = gen_below(g, 5);
	ops = gen_room(a, *n, sizeof *ops);
	for (size_t i = 0; i < *n; i++) {
		uint64_t kind = gen_below(g, depth < 3 ? 10 : 8);

		if (kind < 3) {
			ops[i].range = gen_room(a, 1, sizeof *ops[i].range);
			gen_range(g, ops[i].range);
			if (gen_chance(g, 90) && ops[i].range->revision > g->revision)
				ops[i].range->revision = 0;
			if (gen_chance(g, 90) && ops[i].range->revision < g->compact_revision)
				ops[i].range->revision = 0;
		} else if (kind < 6) {
			ops[i].put = gen_put(g, a);
		} else if (kind < 8) {
			ops[i].del = gen_delete(g, a);
		} else {
			ops[i].txn = gen_txn(g, a, depth + 1);
		}
	}
	return ops;
}

static struct kv_txn *gen_txn(struct gen *g, struct arena *a, unsigned depth)
{
	struct kv_txn *t = gen_room(a, 1, sizeof *t);

	t->compares.n = gen_below(g, 4);
	t->compares.v = gen_room(a, t->compares.n, sizeof *t->compares.v);
	for (size_t i = 0; i < t->compares.n; i++)
		gen_compare(g, a, &t->compares.v[i]);
	t->success.v = gen_ops(g, a, depth, &t->success.n);
	t->failure.v = gen_ops(g, a, depth, &t->failure.n);
	return t;
}

void gen_command(struct gen *g, struct arena *a, struct command *c)
{
	uint64_t kind = gen_below(g, 100);

	*c = (struct command){.put = NULL};
	if (kind < 45) {
		c->put = gen_put(g, a);
	} else if (kind < 60) {
		c->del = gen_delete(g, a);
	} else if (kind < 98) {
		c->txn = gen_txn(g, a, 0);
	} else {
		c->compact = gen_room(a, 1, sizeof *c->compact);
		c->compact->revision = gen_revision(g);
	}
}
