/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "watchd/core/watch_own.h"

enum { INDEX_MIN_BUCKETS = 64, INDEX_DEPTH = 512 };

static uint64_t index_random(struct watch_index *x)
{
	x->random ^= x->random << 13;
	x->random ^= x->random >> 7;
	x->random ^= x->random << 17;
	return x->random;
}

static uint64_t index_mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 29;
}

static uint64_t index_hash(const struct watch_index *x, struct bytes key)
{
	uint64_t h = index_mix(x->seed + key.len);
	size_t i = 0;

	for (; i + 8 <= key.len; i += 8)
		h = index_mix(h ^ get_u64(key.data + i));
	for (; i < key.len; i++)
		h = index_mix(h ^ (key.data[i] + 1u));
	return h;
}

static struct bytes span_key(const struct watch_span *s)
{
	return bytes_of(s->data, s->key_len);
}

static struct bytes span_end(const struct watch_span *s)
{
	return bytes_of(s->data + s->key_len, s->end_len);
}

/* Does the range of `a` end behind that of `b`? */
static bool span_further(const struct watch_span *a, const struct watch_span *b)
{
	if (a->endless || b->endless)
		return a->endless && !b->endless;
	return bytes_cmp(span_end(a), span_end(b)) > 0;
}

static bool span_ends_behind(const struct watch_span *s, struct bytes key)
{
	return s->endless || bytes_cmp(span_end(s), key) > 0;
}

void watch_index_init(struct watch_index *x, uint64_t seed)
{
	*x = (struct watch_index){.seed = seed, .random = index_mix(seed) | 1, .n_buckets = INDEX_MIN_BUCKETS};
	x->buckets = mem_array(x->n_buckets, sizeof *x->buckets);
}

void watch_index_free(struct watch_index *x)
{
	CHECK(x->n == 0 && x->n_singles == 0 && x->root == NULL && x->bytes == 0);
	mem_free(x->buckets);
	x->buckets = NULL;
}

static struct watch_span *span_new(struct bytes key, struct bytes end)
{
	struct watch_span *s = mem_alloc(sizeof *s + key.len + end.len);

	CHECK(key.len <= UINT32_MAX && end.len <= UINT32_MAX);
	s->key_len = (uint32_t)key.len;
	s->end_len = (uint32_t)end.len;
	s->single = end.len == 0;
	s->endless = end.len == 1 && end.data[0] == 0;
	s->furthest = s;
	list_init(&s->live);
	list_init(&s->behind);
	if (key.len > 0)
		memcpy(s->data, key.data, key.len);
	if (end.len > 0)
		memcpy(s->data + key.len, end.data, end.len);
	return s;
}

/* ---- single keys ---- */

static void singles_grow(struct watch_index *x)
{
	size_t n = x->n_buckets * 2;
	struct watch_span **b = mem_array(n, sizeof *b), *s;

	for (size_t i = 0; i < x->n_buckets; i++) {
		while ((s = x->buckets[i]) != NULL) {
			x->buckets[i] = s->left;
			s->left = b[s->order & (n - 1)];
			b[s->order & (n - 1)] = s;
		}
	}
	mem_free(x->buckets);
	x->buckets = b;
	x->n_buckets = n;
}

static struct watch_span *single_find(const struct watch_index *x, struct bytes key, uint64_t hash)
{
	struct watch_span *s = x->buckets[hash & (x->n_buckets - 1)];

	while (s != NULL && (s->order != hash || !bytes_eq(span_key(s), key)))
		s = s->left;
	return s;
}

static struct watch_span *single_get(struct watch_index *x, struct bytes key)
{
	uint64_t hash = index_hash(x, key);
	struct watch_span *s = single_find(x, key, hash);

	if (s != NULL)
		return s;
	if (x->n_singles >= x->n_buckets)
		singles_grow(x);
	s = span_new(key, bytes_of(NULL, 0));
	x->bytes += key.len;
	s->order = hash;
	s->left = x->buckets[hash & (x->n_buckets - 1)];
	x->buckets[hash & (x->n_buckets - 1)] = s;
	x->n_singles++;
	return s;
}

static void single_remove(struct watch_index *x, struct watch_span *s)
{
	struct watch_span **at = &x->buckets[s->order & (x->n_buckets - 1)];

	while (*at != s)
		at = &(*at)->left;
	*at = s->left;
	x->n_singles--;
}

/* ---- ranges ---- */

static int span_cmp(struct bytes key, struct bytes end, const struct watch_span *s)
{
	int order = bytes_cmp(key, span_key(s));

	return order != 0 ? order : bytes_cmp(end, span_end(s));
}

static void span_update(struct watch_span *s)
{
	s->furthest = s;
	if (s->left != NULL && span_further(s->left->furthest, s->furthest))
		s->furthest = s->left->furthest;
	if (s->right != NULL && span_further(s->right->furthest, s->furthest))
		s->furthest = s->right->furthest;
}

/* Splits `t` into what is before `s` and what is behind it. */
static void treap_split(struct watch_span *t, const struct watch_span *s, struct watch_span **left,
			struct watch_span **right, unsigned depth)
{
	CHECK(depth < INDEX_DEPTH);
	if (t == NULL) {
		*left = *right = NULL;
		return;
	}
	if (span_cmp(span_key(s), span_end(s), t) < 0) {
		treap_split(t->left, s, left, &t->left, depth + 1);
		*right = t;
	} else {
		treap_split(t->right, s, &t->right, right, depth + 1);
		*left = t;
	}
	span_update(t);
}

static struct watch_span *treap_merge(struct watch_span *a, struct watch_span *b, unsigned depth)
{
	CHECK(depth < INDEX_DEPTH);
	if (a == NULL || b == NULL)
		return a != NULL ? a : b;
	if (a->order >= b->order) {
		a->right = treap_merge(a->right, b, depth + 1);
		span_update(a);
		return a;
	}
	b->left = treap_merge(a, b->left, depth + 1);
	span_update(b);
	return b;
}

static struct watch_span *treap_insert(struct watch_span *t, struct watch_span *s, unsigned depth)
{
	CHECK(depth < INDEX_DEPTH);
	if (t == NULL || t->order < s->order) {
		treap_split(t, s, &s->left, &s->right, depth);
		span_update(s);
		return s;
	}
	if (span_cmp(span_key(s), span_end(s), t) < 0)
		t->left = treap_insert(t->left, s, depth + 1);
	else
		t->right = treap_insert(t->right, s, depth + 1);
	span_update(t);
	return t;
}

static struct watch_span *treap_remove(struct watch_span *t, struct watch_span *s, unsigned depth)
{
	CHECK(t != NULL && depth < INDEX_DEPTH);
	if (t == s)
		return treap_merge(s->left, s->right, depth);
	if (span_cmp(span_key(s), span_end(s), t) < 0)
		t->left = treap_remove(t->left, s, depth + 1);
	else
		t->right = treap_remove(t->right, s, depth + 1);
	span_update(t);
	return t;
}

static struct watch_span *range_get(struct watch_index *x, struct bytes key, struct bytes end)
{
	struct watch_span *s = x->root;
	int order;

	while (s != NULL && (order = span_cmp(key, end, s)) != 0)
		s = order < 0 ? s->left : s->right;
	if (s != NULL)
		return s;
	s = span_new(key, end);
	x->bytes += key.len + end.len;
	s->order = index_random(x);
	x->root = treap_insert(x->root, s, 0);
	x->n++;
	return s;
}

static void treap_match(struct watch_span *t, struct bytes key, const struct watch_hit *hit, unsigned depth)
{
	CHECK(depth < INDEX_DEPTH);
	if (t == NULL || !span_ends_behind(t->furthest, key))
		return;
	treap_match(t->left, key, hit, depth + 1);
	if (bytes_cmp(span_key(t), key) > 0)
		return;
	if (span_ends_behind(t, key))
		hit->fn(hit->c, t);
	treap_match(t->right, key, hit, depth + 1);
}

/* ---- both ---- */

struct watch_span *watch_index_get(struct watch_index *x, struct bytes key, struct bytes end)
{
	return end.len == 0 ? single_get(x, key) : range_get(x, key, end);
}

void watch_index_put(struct watch_index *x, struct watch_span *s)
{
	CHECK(s->n > 0);
	if (--s->n > 0)
		return;
	CHECK(list_empty(&s->live) && list_empty(&s->behind));
	x->bytes -= s->key_len + s->end_len;
	if (s->single) {
		single_remove(x, s);
	} else {
		x->root = treap_remove(x->root, s, 0);
		x->n--;
	}
	mem_free(s);
}

void watch_index_match(struct watch_index *x, struct bytes key, const struct watch_hit *hit)
{
	struct watch_span *s = x->n_singles > 0 ? single_find(x, key, index_hash(x, key)) : NULL;

	if (s != NULL)
		hit->fn(hit->c, s);
	treap_match(x->root, key, hit, 0);
}
