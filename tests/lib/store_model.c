/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/store_model.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

void model_init(struct model *m)
{
	*m = (struct model){.revision = 1, .compact_revision = -1};
}

static struct bytes own(struct bytes b)
{
	return bytes_of(mem_dup(b.len ? b.data : (const uint8_t *)"", b.len), b.len);
}

static void disown(struct bytes b)
{
	uint8_t *p;

	memcpy(&p, &b.data, sizeof p);
	free(p);
}

void model_free(struct model *m)
{
	for (size_t i = 0; i < m->n_keys; i++) {
		for (size_t j = 0; j < m->keys[i].n; j++)
			disown(m->keys[i].v[j].value);
		disown(m->keys[i].key);
		free(m->keys[i].v);
	}
	free(m->keys);
	free(m->leases);
}

static struct model_key *model_key(struct model *m, struct bytes key)
{
	size_t i = 0;

	while (i < m->n_keys && bytes_cmp(m->keys[i].key, key) < 0)
		i++;
	if (i < m->n_keys && bytes_eq(m->keys[i].key, key))
		return &m->keys[i];
	m->keys = mem_grow(m->keys, m->n_keys + 1, sizeof *m->keys);
	memmove(&m->keys[i + 1], &m->keys[i], (m->n_keys - i) * sizeof *m->keys);
	m->keys[i] = (struct model_key){.key = own(key)};
	m->n_keys++;
	return &m->keys[i];
}

const struct model_version *model_at(const struct model_key *k, int64_t revision)
{
	for (size_t i = k->n; i-- > 0;)
		if (k->v[i].mod <= revision)
			return k->v[i].deleted ? NULL : &k->v[i];
	return NULL;
}

uint64_t model_live(const struct model *m)
{
	uint64_t n = 0;

	for (size_t i = 0; i < m->n_keys; i++)
		n += model_at(&m->keys[i], m->revision) != NULL;
	return n;
}

static bool in_range(struct bytes key, struct bytes from, struct bytes end)
{
	if (end.len == 0)
		return bytes_eq(key, from);
	if (bytes_cmp(key, from) < 0)
		return false;
	return (end.len == 1 && end.data[0] == 0) || bytes_cmp(key, end) < 0;
}

static struct kv_pair pair_of(const struct model_key *k, const struct model_version *v)
{
	return (struct kv_pair){k->key, v->create, v->mod, v->version, v->value, v->lease};
}

/* ---- range ---- */

static struct kv_pair *live_pairs(const struct model *m, struct bytes key, struct bytes end, int64_t at,
				  struct arena *a, size_t *n)
{
	struct kv_pair *p = arena_array(a, m->n_keys + 1, sizeof *p);

	CHECK(p != NULL);
	*n = 0;
	for (size_t i = 0; i < m->n_keys; i++) {
		const struct model_version *v = model_at(&m->keys[i], at);

		if (v != NULL && in_range(m->keys[i].key, key, end))
			p[(*n)++] = pair_of(&m->keys[i], v);
	}
	return p;
}

static int sort_cmp(const struct kv_pair *a, const struct kv_pair *b, uint64_t target)
{
	int64_t x = 0, y = 0;

	switch (target) {
	case KV_SORT_VERSION:
		x = a->version;
		y = b->version;
		break;
	case KV_SORT_CREATE:
		x = a->create_revision;
		y = b->create_revision;
		break;
	case KV_SORT_MOD:
		x = a->mod_revision;
		y = b->mod_revision;
		break;
	case KV_SORT_VALUE:
		return bytes_cmp(a->value, b->value);
	default:
		return bytes_cmp(a->key, b->key);
	}
	return x < y ? -1 : x > y;
}

/* Insertion sort: stable, so pairs that are equal stay in key order. */
static void sort_pairs(struct kv_pair *p, size_t n, uint64_t target, bool descend)
{
	for (size_t i = 1; i < n; i++) {
		struct kv_pair x = p[i];
		size_t j = i;

		for (; j > 0; j--) {
			int c = sort_cmp(&p[j - 1], &x, target);

			if (descend ? c >= 0 : c <= 0)
				break;
			p[j] = p[j - 1];
		}
		p[j] = x;
	}
}

static size_t filter(struct kv_pair *p, size_t n, const struct kv_range *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if ((r->max_mod_revision != 0 && p[i].mod_revision > r->max_mod_revision) ||
		    (r->min_mod_revision != 0 && p[i].mod_revision < r->min_mod_revision) ||
		    (r->max_create_revision != 0 && p[i].create_revision > r->max_create_revision) ||
		    (r->min_create_revision != 0 && p[i].create_revision < r->min_create_revision))
			continue;
		p[kept++] = p[i];
	}
	return kept;
}

static struct kv_header *header(struct arena *a, int64_t revision)
{
	struct kv_header *h = arena_alloc(a, sizeof *h);

	CHECK(h != NULL);
	h->revision = revision;
	return h;
}

static void range_at(const struct model *m, const struct kv_range *r, int64_t at, struct arena *a,
		     struct kv_range_result *out)
{
	size_t n, fetch = 0;
	struct kv_pair *p = live_pairs(m, r->key, r->range_end, at, a, &n);
	uint64_t order = r->sort_order;

	*out = (struct kv_range_result){.header = header(a, m->revision), .count = (int64_t)n};
	if (r->count_only)
		return;
	if (r->limit > 0 && r->sort_order == KV_ORDER_NONE && r->max_mod_revision == 0 &&
	    r->min_mod_revision == 0 && r->max_create_revision == 0 && r->min_create_revision == 0)
		fetch = (size_t)r->limit + 1;
	if (fetch != 0 && n > fetch)
		n = fetch;
	n = filter(p, n, r);
	if (order == KV_ORDER_NONE && r->sort_target != KV_SORT_KEY)
		order = KV_ORDER_ASCEND;
	if (order != KV_ORDER_NONE)
		sort_pairs(p, n, r->sort_target, order == KV_ORDER_DESCEND);
	if (r->limit > 0 && n > (size_t)r->limit) {
		n = (size_t)r->limit;
		out->more = true;
	}
	for (size_t i = 0; i < n && r->keys_only; i++)
		p[i].value = bytes_of(NULL, 0);
	out->kvs.v = p;
	out->kvs.n = n;
}

int model_range(const struct model *m, const struct kv_range *r, struct arena *a, struct kv_range_result *out)
{
	if (r->revision > m->revision)
		return ERR_FUTURE_REV;
	if (r->revision > 0 && r->revision < m->compact_revision)
		return ERR_COMPACTED;
	range_at(m, r, r->revision > 0 ? r->revision : m->revision, a, out);
	return ERR_OK;
}

/* ---- changes ---- */

static void model_add(struct model *m, struct model_key *k, struct model_version v)
{
	v.mod = m->before + 1;
	v.sub = m->sub++;
	k->v = mem_grow(k->v, k->n + 1, sizeof *k->v);
	k->v[k->n++] = v;
	m->revision = v.mod;
}

static void model_undo(struct model *m)
{
	for (size_t i = 0; i < m->n_keys; i++)
		while (m->keys[i].n > 0 && m->keys[i].v[m->keys[i].n - 1].mod > m->before)
			disown(m->keys[i].v[--m->keys[i].n].value);
	m->revision = m->before;
}

static int model_put(struct model *m, const struct kv_put *p, struct arena *a, struct kv_put_result *out)
{
	struct model_key *k = model_key(m, p->key);
	const struct model_version *old = model_at(k, m->revision);
	struct model_version v = {.create = m->before + 1, .version = 1};

	if (p->lease != 0 && model_find_lease(m, p->lease) == NULL)
		return ERR_LEASE_NOT_FOUND;
	if ((p->ignore_value || p->ignore_lease) && old == NULL)
		return ERR_KEY_NOT_FOUND;
	if (old != NULL && p->prev_kv) {
		out->prev_kv = arena_alloc(a, sizeof *out->prev_kv);
		CHECK(out->prev_kv != NULL);
		*out->prev_kv = pair_of(k, old);
	}
	if (old != NULL) {
		v.create = old->create;
		v.version = old->version + 1;
	}
	v.value = own(p->ignore_value ? old->value : p->value);
	v.lease = p->ignore_lease ? old->lease : p->lease;
	model_add(m, k, v);
	out->header = header(a, m->revision);
	return ERR_OK;
}

void model_drop(struct model *m, struct bytes key)
{
	model_add(m, model_key(m, key), (struct model_version){.deleted = true, .value = own(bytes_of(NULL, 0))});
}

static void model_delete(struct model *m, const struct kv_delete *d, struct arena *a,
			 struct kv_delete_result *out)
{
	size_t n;
	struct kv_pair *p = live_pairs(m, d->key, d->range_end, m->revision, a, &n);

	for (size_t i = 0; i < n; i++)
		model_drop(m, p[i].key);
	out->deleted = (int64_t)n;
	if (d->prev_kv) {
		out->prev_kvs.v = p;
		out->prev_kvs.n = n;
	}
	out->header = header(a, m->revision);
}

/* ---- transactions ---- */

static int cmp_number(int64_t x, int64_t y)
{
	return x < y ? -1 : x > y;
}

static bool holds_for(const struct kv_compare *c, const struct kv_pair *p)
{
	int r = 0;

	switch (c->target) {
	case KV_TARGET_VERSION:
		r = cmp_number(p->version, c->number);
		break;
	case KV_TARGET_CREATE:
		r = cmp_number(p->create_revision, c->number);
		break;
	case KV_TARGET_MOD:
		r = cmp_number(p->mod_revision, c->number);
		break;
	case KV_TARGET_LEASE:
		r = cmp_number(p->lease, c->number);
		break;
	default:
		r = bytes_cmp(p->value, c->value);
	}
	return c->op == KV_EQUAL ? r == 0 : c->op == KV_NOT_EQUAL ? r != 0 : c->op == KV_GREATER ? r > 0 : r < 0;
}

static bool holds(const struct model *m, const struct kv_compare *c, struct arena *a)
{
	struct kv_pair none = {.version = 0};
	size_t n;
	struct kv_pair *p = live_pairs(m, c->key, c->range_end, m->revision, a, &n);

	if (n == 0)
		return c->target != KV_TARGET_VALUE && holds_for(c, &none);
	for (size_t i = 0; i < n; i++)
		if (!holds_for(c, &p[i]))
			return false;
	return true;
}

/* A transaction whose ways have been chosen: the chosen operations, nested ones decided likewise. */
struct plan {
	bool succeeded;
	const struct kv_op *ops;
	size_t n;
	struct plan *sub;            /* one per operation */
};

static void plan_txn(const struct model *m, const struct kv_txn *t, struct arena *a, struct plan *p)
{
	p->succeeded = true;
	for (size_t i = 0; i < t->compares.n; i++)
		p->succeeded = p->succeeded && holds(m, &t->compares.v[i], a);
	p->ops = p->succeeded ? t->success.v : t->failure.v;
	p->n = p->succeeded ? t->success.n : t->failure.n;
	p->sub = arena_array(a, p->n + 1, sizeof *p->sub);
	CHECK(p->sub != NULL);
	for (size_t i = 0; i < p->n; i++)
		if (p->ops[i].txn != NULL)
			plan_txn(m, p->ops[i].txn, a, &p->sub[i]);
}

static int plan_check_puts(struct model *m, const struct plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct kv_put *put = p->ops[i].put;
		int rc = ERR_OK;

		if (put != NULL && (put->ignore_value || put->ignore_lease) &&
		    model_at(model_key(m, put->key), m->revision) == NULL)
			return ERR_KEY_NOT_FOUND;
		if (put != NULL && put->lease != 0 && model_find_lease(m, put->lease) == NULL)
			return ERR_LEASE_NOT_FOUND;
		if (p->ops[i].txn != NULL)
			rc = plan_check_puts(m, &p->sub[i]);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

static int plan_check_ranges(struct model *m, const struct plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct kv_range *r = p->ops[i].range;
		int rc = ERR_OK;

		if (r != NULL && r->revision != 0 && r->revision > m->revision)
			return ERR_FUTURE_REV;
		if (r != NULL && r->revision != 0 && r->revision < m->compact_revision)
			return ERR_COMPACTED;
		if (p->ops[i].txn != NULL)
			rc = plan_check_ranges(m, &p->sub[i]);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

/* etcd looks at all puts before it looks at any range. */
static int plan_check(struct model *m, const struct plan *p)
{
	int rc = plan_check_puts(m, p);

	return rc == ERR_OK ? plan_check_ranges(m, p) : rc;
}

static void *room(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);

	CHECK(p != NULL);
	return p;
}

static int plan_do(struct model *m, const struct plan *p, struct arena *a, struct kv_txn_result *out)
{
	int rc = ERR_OK;

	out->succeeded = p->succeeded;
	out->responses.n = p->n;
	out->responses.v = arena_array(a, p->n + 1, sizeof *out->responses.v);
	for (size_t i = 0; i < p->n && rc == ERR_OK; i++) {
		struct kv_op_result *o = &out->responses.v[i];
		const struct kv_op *op = &p->ops[i];

		if (op->range != NULL) {
			o->range = room(a, sizeof *o->range);
			range_at(m, op->range, op->range->revision > 0 ? op->range->revision : m->revision, a,
				 o->range);
		} else if (op->put != NULL) {
			o->put = room(a, sizeof *o->put);
			rc = model_put(m, op->put, a, o->put);
		} else if (op->del != NULL) {
			o->del = room(a, sizeof *o->del);
			model_delete(m, op->del, a, o->del);
		} else {
			o->txn = room(a, sizeof *o->txn);
			rc = plan_do(m, &p->sub[i], a, o->txn);
		}
	}
	out->header = header(a, m->revision);
	return rc;
}

/* ---- is a transaction allowed? every pair of changes is looked at ---- */

struct change {
	const struct kv_put *put;
	const struct kv_delete *del;
};

struct changes {
	struct change v[4096];
	size_t n;
};

static bool change_clash(const struct change *x, const struct change *y)
{
	if (x->put != NULL && y->put != NULL)
		return bytes_eq(x->put->key, y->put->key);
	if (x->put != NULL)
		return in_range(x->put->key, y->del->key, y->del->range_end);
	if (y->put != NULL)
		return in_range(y->put->key, x->del->key, x->del->range_end);
	return false;
}

static bool list_clash(const struct kv_op *ops, size_t n, struct changes *all)
{
	size_t start = all->n;
	bool clash = false;

	for (size_t i = 0; i < n; i++) {
		size_t from = all->n;

		if (ops[i].put != NULL || ops[i].del != NULL) {
			CHECK(all->n < ARRAY_LEN(all->v));
			all->v[all->n++] = (struct change){ops[i].put, ops[i].del};
		} else if (ops[i].txn != NULL) {
			clash = list_clash(ops[i].txn->success.v, ops[i].txn->success.n, all) || clash;
			clash = list_clash(ops[i].txn->failure.v, ops[i].txn->failure.n, all) || clash;
		}
		for (size_t x = start; x < from; x++)
			for (size_t y = from; y < all->n; y++)
				clash = clash || change_clash(&all->v[x], &all->v[y]);
	}
	return clash;
}

static int model_txn(struct model *m, const struct kv_txn *t, struct arena *a, struct kv_txn_result *out)
{
	struct changes *all = mem_alloc(sizeof *all);
	struct plan plan;
	bool clash;
	int rc;

	clash = list_clash(t->success.v, t->success.n, all);
	all->n = 0;
	clash = list_clash(t->failure.v, t->failure.n, all) || clash;
	free(all);
	if (clash)
		return ERR_DUPLICATE_KEY;
	plan_txn(m, t, a, &plan);
	rc = plan_check(m, &plan);
	return rc == ERR_OK ? plan_do(m, &plan, a, out) : rc;
}

void model_apply(struct model *m, const struct command *c, struct arena *a, struct command_result *out)
{
	int rc = ERR_OK;

	*out = (struct command_result){.error = ERR_OK};
	m->before = m->revision;
	m->sub = 0;
	if (c->put != NULL) {
		out->put = room(a, sizeof *out->put);
		rc = model_put(m, c->put, a, out->put);
	} else if (c->del != NULL) {
		out->del = room(a, sizeof *out->del);
		model_delete(m, c->del, a, out->del);
	} else if (c->txn != NULL) {
		out->txn = room(a, sizeof *out->txn);
		rc = model_txn(m, c->txn, a, out->txn);
	} else if (c->lease_grant != NULL) {
		out->lease_grant = room(a, sizeof *out->lease_grant);
		rc = model_grant(m, c->lease_grant, out->lease_grant);
		out->lease_grant->header = header(a, m->revision);
	} else if (c->lease_revoke != NULL) {
		out->lease_revoke = room(a, sizeof *out->lease_revoke);
		rc = model_revoke(m, c->lease_revoke->id, a);
		out->lease_revoke->header = header(a, m->revision);
	} else {
		out->compact = room(a, sizeof *out->compact);
		if (c->compact->revision <= m->compact_revision)
			rc = ERR_COMPACTED;
		else if (c->compact->revision > m->revision)
			rc = ERR_FUTURE_REV;
		else
			m->compact_revision = c->compact->revision;
		out->compact->header = header(a, m->revision);
	}
	if (rc != ERR_OK) {
		model_undo(m);
		*out = (struct command_result){.error = (uint64_t)rc};
	}
	out->revision = m->revision;
}
