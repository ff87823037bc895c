/* SPDX-License-Identifier: Apache-2.0 */
/* The leases of the model, and what lessors write of them. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/key.h"
#include "tests/lib/store_model.h"

struct model_lease *model_find_lease(const struct model *m, int64_t id)
{
	for (size_t i = 0; i < m->n_leases; i++)
		if (m->leases[i].id == id)
			return &m->leases[i];
	return NULL;
}

static int row_cmp(struct bytes a, struct bytes b)
{
	struct mvcc_key x, y;

	mvcc_key_encode(&x, a);
	mvcc_key_encode(&y, b);
	return bytes_cmp(mvcc_key_bytes(&x), mvcc_key_bytes(&y));
}

struct bytes *model_lease_keys(const struct model *m, int64_t id, struct arena *a, size_t *n)
{
	struct bytes *v = arena_array(a, m->n_keys + 1, sizeof *v);

	CHECK(v != NULL);
	*n = 0;
	for (size_t i = 0; i < m->n_keys; i++) {
		const struct model_version *ver = model_at(&m->keys[i], m->revision);
		size_t at = *n;

		if (ver == NULL || ver->lease != id)
			continue;
		for (; at > 0 && row_cmp(v[at - 1], m->keys[i].key) > 0; at--)
			v[at] = v[at - 1];
		v[at] = m->keys[i].key;
		++*n;
	}
	return v;
}

int model_grant(struct model *m, const struct lease_grant *g, struct lease_grant_result *out)
{
	struct model_lease l = {g->id, g->ttl > 0 ? g->ttl : 1, 0, m->index};

	if (g->ttl > 9000000000)
		return ERR_LEASE_TTL;
	if (g->id == 0)
		return ERR_LEASE_NOT_FOUND;
	if (model_find_lease(m, g->id) != NULL)
		return ERR_LEASE_EXISTS;
	m->leases = mem_grow(m->leases, m->n_leases + 1, sizeof *m->leases);
	m->leases[m->n_leases++] = l;
	*out = (struct lease_grant_result){NULL, l.id, l.ttl};
	return ERR_OK;
}

static void model_end_lease(struct model *m, struct model_lease *l, struct arena *a)
{
	size_t n;
	struct bytes *keys = model_lease_keys(m, l->id, a, &n);

	for (size_t i = 0; i < n; i++)
		model_drop(m, keys[i]);
	*l = m->leases[--m->n_leases];
}

int model_revoke(struct model *m, int64_t id, struct arena *a)
{
	struct model_lease *l = model_find_lease(m, id);

	if (l == NULL)
		return ERR_LEASE_NOT_FOUND;
	model_end_lease(m, l, a);
	return ERR_OK;
}

static bool is_lessor(const struct model *m, uint64_t term, uint64_t lessor)
{
	return term == m->term && term == m->lessor_term && lessor == m->lessor && lessor != 0;
}

void model_lessor(struct model *m, const struct command *c, struct arena *a)
{
	struct model_lease *l;

	m->before = m->revision;
	m->sub = 0;
	if (c->claim != NULL && c->claim->term == m->term && c->claim->lessor != 0 &&
	    !is_lessor(m, c->claim->term, c->claim->lessor)) {
		m->lessor_term = c->claim->term;
		m->lessor = c->claim->lessor;
		m->lessor_seq = 0;
	}
	if (c->expire != NULL && is_lessor(m, c->expire->term, c->expire->lessor)) {
		l = model_find_lease(m, c->expire->id);
		if (l != NULL && l->granted == c->expire->granted)
			model_end_lease(m, l, a);
	}
	if (c->checkpoint == NULL || !is_lessor(m, c->checkpoint->term, c->checkpoint->lessor) ||
	    c->checkpoint->seq <= m->lessor_seq)
		return;
	m->lessor_seq = c->checkpoint->seq;
	for (size_t i = 0; i < c->checkpoint->marks.n; i++) {
		const struct lessor_mark *k = &c->checkpoint->marks.v[i];

		l = model_find_lease(m, k->id);
		if (l != NULL && l->granted == k->granted && k->remaining_ms >= 0 && k->remaining_ms < l->ttl * 1000)
			l->remaining_ms = k->remaining_ms;
	}
}
