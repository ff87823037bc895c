/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/leases.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

void leases_init(struct leases *ls)
{
	*ls = (struct leases){.txn = NULL};
	buf_init(&ls->row, 0);
}

void leases_free(struct leases *ls)
{
	buf_free(&ls->row);
	mem_free(ls->events);
}

void leases_begin(struct leases *ls, struct okv_txn *txn, struct mvcc_state *state, struct effects *effects)
{
	ls->txn = txn;
	ls->state = state;
	ls->effects = effects;
}

/* ---- what leased is told ---- */

enum { LEASES_KEEP_EVENTS = 4096 };

void leases_told(struct leases *ls)
{
	ls->n = 0;
	if (ls->cap <= LEASES_KEEP_EVENTS)
		return;
	mem_free(ls->events);
	ls->events = NULL;
	ls->cap = 0;
}

/* Bounded by what one transaction of the store takes in. */
static void leases_event(struct leases *ls, const struct mvcc_lease *l, bool gone)
{
	if (ls->n == ls->cap) {
		ls->cap = ls->cap ? ls->cap * 2 : 64;
		ls->events = mem_grow(ls->events, ls->cap, sizeof *ls->events);
	}
	ls->events[ls->n++] = (struct lease_event){l->id, l->ttl_s, l->remaining_ms, l->granted, gone};
}

/* ---- rows ---- */

static int leases_write(struct leases *ls, const struct mvcc_lease *l)
{
	uint8_t key[LAYOUT_LEASE_BYTES];

	put_u64be(key, (uint64_t)l->id);
	mvcc_lease_encode(&ls->row, bytes_of(key, sizeof key), l);
	return okv_put(ls->txn, OKV_LEASES, bytes_of(key, sizeof key), buf_bytes(&ls->row));
}

int leases_find(struct leases *ls, int64_t id, struct mvcc_lease *out)
{
	int rc = mvcc_lease_get(ls->txn, id, out);

	return rc == ERR_NOT_FOUND ? ERR_LEASE_NOT_FOUND : rc;
}

int leases_may_attach(struct leases *ls, int64_t id)
{
	struct mvcc_lease l;
	int rc = leases_find(ls, id, &l);

	return rc == ERR_OK && l.keys >= LIMIT_LEASE_KEYS ? ERR_LEASE_KEYS : rc;
}

/* A key that has a lease has a row of it, and the lease is there: else the store is damaged. */
static int leases_count(struct leases *ls, int64_t id, int64_t by)
{
	struct mvcc_lease l;
	int rc = mvcc_lease_get(ls->txn, id, &l);

	if (rc == ERR_NOT_FOUND || (rc == ERR_OK && by < 0 && l.keys == 0))
		return ERR_CORRUPT;
	l.keys += (uint64_t)by;
	return rc == ERR_OK ? leases_write(ls, &l) : rc;
}

int leases_drop_key(struct leases *ls, struct bytes enc, int64_t id)
{
	struct mvcc_key row_key;
	int rc;

	mvcc_lease_row_key(&row_key, id, enc);
	rc = okv_del(ls->txn, OKV_LEASE_KEYS, mvcc_key_bytes(&row_key));
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int leases_add_key(struct leases *ls, struct bytes key, struct bytes enc, int64_t id)
{
	struct mvcc_key row_key;

	mvcc_lease_row_key(&row_key, id, enc);
	mvcc_lease_key_encode(&ls->row, mvcc_key_bytes(&row_key), key);
	return okv_put(ls->txn, OKV_LEASE_KEYS, mvcc_key_bytes(&row_key), buf_bytes(&ls->row));
}

int leases_move(struct leases *ls, struct bytes key, struct bytes enc, int64_t from, int64_t to)
{
	int rc = ERR_OK;

	if (from == to)
		return ERR_OK;
	if (from != 0) {
		rc = leases_drop_key(ls, enc, from);
		if (rc == ERR_OK)
			rc = leases_count(ls, from, -1);
	}
	if (rc == ERR_OK && to != 0) {
		rc = leases_add_key(ls, key, enc, to);
		if (rc == ERR_OK)
			rc = leases_count(ls, to, 1);
	}
	return rc;
}

/* ---- granted, ended ---- */

static void leases_effect(struct leases *ls, char what, const struct mvcc_lease *l)
{
	uint8_t v[24];

	put_u64(v, (uint64_t)l->ttl_s);
	put_u64(v + 8, (uint64_t)l->remaining_ms);
	put_u64(v + 16, l->granted);
	effects_add(ls->effects, what, (uint64_t)l->id, bytes_of(v, sizeof v), bytes_of(NULL, 0));
}

int leases_grant(struct leases *ls, const struct lease_grant *g, uint64_t index, struct lease_grant_result *out)
{
	struct mvcc_lease l;
	int rc = g->id == 0 ? ERR_LEASE_NOT_FOUND : mvcc_lease_get(ls->txn, g->id, &l);

	if (rc == ERR_OK)
		return ERR_LEASE_EXISTS;
	if (rc != ERR_NOT_FOUND)
		return rc;
	if (ls->state->leases >= LIMIT_LEASES)
		return ERR_TOO_MANY_LEASES;
	l = (struct mvcc_lease){.id = g->id, .ttl_s = g->ttl > 0 ? g->ttl : 1, .granted = index};
	rc = leases_write(ls, &l);
	if (rc != ERR_OK)
		return rc;
	ls->state->leases++;
	leases_effect(ls, 'g', &l);
	leases_event(ls, &l, false);
	out->id = l.id;
	out->ttl = l.ttl_s;
	return ERR_OK;
}

int leases_remove(struct leases *ls, int64_t id)
{
	uint8_t key[LAYOUT_LEASE_BYTES];
	struct mvcc_lease l;
	int rc = leases_find(ls, id, &l);

	if (rc != ERR_OK)
		return rc;
	put_u64be(key, (uint64_t)id);
	rc = okv_del(ls->txn, OKV_LEASES, bytes_of(key, sizeof key));
	if (rc != ERR_OK)
		return rc;
	CHECK(ls->state->leases > 0);
	ls->state->leases--;
	leases_effect(ls, 'v', &l);
	leases_event(ls, &l, true);
	return ERR_OK;
}

/* ---- the lessor's ---- */

/*
 * An entry of another term was sent on by somebody, or written by a leader that was one no more.
 * The claim is what makes everything before it void: what an earlier lessor still had on its way,
 * in this term or another, comes too late or comes before.
 */
void leases_claim(struct leases *ls, const struct lessor_claim *c, uint64_t term)
{
	struct mvcc_state *s = ls->state;

	if (c->term != term || c->lessor == 0 || (c->term == s->lessor_term && c->lessor == s->lessor))
		return;
	s->lessor_term = c->term;
	s->lessor = c->lessor;
	s->lessor_seq = 0;
	effects_add(ls->effects, 'l', c->lessor, bytes_of(NULL, 0), bytes_of(NULL, 0));
}

static bool leases_is_lessor(const struct leases *ls, uint64_t its_term, uint64_t lessor, uint64_t term)
{
	return its_term == term && its_term == ls->state->lessor_term && lessor != 0 &&
	       lessor == ls->state->lessor;
}

int leases_may_expire(struct leases *ls, const struct lessor_expire *e, uint64_t term, bool *may)
{
	struct mvcc_lease l;
	int rc;

	*may = false;
	if (!leases_is_lessor(ls, e->term, e->lessor, term))
		return ERR_OK;
	rc = leases_find(ls, e->id, &l);
	*may = rc == ERR_OK && l.granted == e->granted;
	return rc == ERR_LEASE_NOT_FOUND ? ERR_OK : rc;
}

static int leases_mark(struct leases *ls, const struct lessor_mark *m)
{
	struct mvcc_lease l;
	int rc = leases_find(ls, m->id, &l);

	if (rc != ERR_OK)
		return rc == ERR_LEASE_NOT_FOUND ? ERR_OK : rc;
	if (l.granted != m->granted || m->remaining_ms < 0 || m->remaining_ms / 1000 >= l.ttl_s)
		return ERR_OK;
	l.remaining_ms = m->remaining_ms;
	rc = leases_write(ls, &l);
	if (rc != ERR_OK)
		return rc;
	leases_effect(ls, 'k', &l);
	leases_event(ls, &l, false);
	return ERR_OK;
}

int leases_checkpoint(struct leases *ls, const struct lessor_checkpoint *c, uint64_t term)
{
	int rc = ERR_OK;

	if (!leases_is_lessor(ls, c->term, c->lessor, term) || c->seq <= ls->state->lessor_seq)
		return ERR_OK;
	ls->state->lessor_seq = c->seq;
	for (size_t i = 0; i < c->marks.n && rc == ERR_OK; i++)
		rc = leases_mark(ls, &c->marks.v[i]);
	return rc;
}
