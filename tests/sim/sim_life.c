/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holders of leases are promised. No lessor ends a lease before the time that its holder may
 * rely on: one TTL from when it sent the grant, or the last keepalive, that was answered, whichever
 * of the end and the answer comes first. And nobody is told that a lease is there whose end somebody
 * had learnt before it was asked. Times are taken on a clock that always runs as fast as
 * the fastest of the cluster's: a lessor's own may run so fast, and no promise is made against it.
 *
 * That an old lessor ends nothing is the model's word: what each store has done to its leases is
 * compared with it at every entry (sim_check_applied).
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/lease.h"
#include "tests/sim/sim_int.h"

typedef unsigned long long ull;
typedef long long ll;

enum { LIFE_ROUNDING_NS = 1000000, LIFE_ROWS = 64 };

/* ---- the fastest clock ---- */

int64_t sim_fastest(const struct sim *s)
{
	int64_t gone = s->now.ns - s->fastest.at.ns;

	return s->fastest.base_ns + gone + gone / 1000000 * s->fastest.ppm + gone % 1000000 * s->fastest.ppm / 1000000;
}

void sim_rates_changed(struct sim *s)
{
	s->fastest.base_ns = sim_fastest(s);
	s->fastest.at = s->now;
	s->fastest.ppm = 0;
	for (uint64_t id = 1; id <= s->o.nodes; id++)
		if (s->nodes[id].rate_ppm > s->fastest.ppm)
			s->fastest.ppm = s->nodes[id].rate_ppm;
}

/* ---- lives ---- */

static struct sim_life *life_find(struct sim *s, int64_t id, uint64_t granted)
{
	for (size_t i = s->n_lives; i-- > 0;)
		if (s->lives[i].id == id && s->lives[i].granted == granted)
			return &s->lives[i];
	return NULL;
}

static void check_early(struct sim *s, const struct sim_life *l)
{
	if (l->expired && l->ended_ns < l->relied_ns - LIFE_ROUNDING_NS)
		sim_fail(s, "lease: %lld of %lld s ended at %llu, %lld ms before the time that its holder relies on",
			 (ll)l->id, (ll)l->ttl_s, (ull)l->ended, (ll)((l->relied_ns - l->ended_ns) / 1000000));
}

/* The model has come to `index`. */
void sim_life_note(struct sim *s, uint64_t index, const struct command *c)
{
	const struct model_lease *m = c->lease_grant ? model_find_lease(&s->model, c->lease_grant->id) : NULL;

	if (m != NULL && m->granted == index) {
		s->lives = mem_grow(s->lives, s->n_lives + 1, sizeof *s->lives);
		s->lives[s->n_lives++] = (struct sim_life){.id = m->id, .ttl_s = m->ttl, .granted = index};
	}
	for (size_t i = 0; (c->lease_revoke != NULL || c->expire != NULL) && i < s->n_lives; i++) {
		struct sim_life *l = &s->lives[i];

		m = model_find_lease(&s->model, l->id);
		if (l->ended != 0 || (m != NULL && m->granted == l->granted))
			continue;
		l->ended = index;
		l->ended_ns = s->committed[index].fastest_ns;
		l->expired = c->expire != NULL;
		s->out->expired += l->expired;
		check_early(s, l);
	}
}

/* Its grant or keepalive, sent at h.sent_ns, is answered. */
void sim_life_relied(struct sim *s, const struct sim_client *c)
{
	const struct sim_holder *h = &c->h;
	int64_t until = h->sent_ns + h->ttl_s * 1000000000;
	struct sim_life *l;

	(void)sim_check_advance(s, s->committed_last);
	l = life_find(s, h->id, h->granted);
	if (l == NULL) {
		sim_fail(s, "lease: client %u was granted %lld at %llu, where the log grants nothing", c->id, (ll)h->id,
			 (ull)h->granted);
		return;
	}
	if (l->relied_ns < until)
		l->relied_ns = until;
	check_early(s, l);
}

/* It is told that its lease is there, and is kept alive if that is what it had asked for. */
void sim_life_affirmed(struct sim *s, const struct sim_client *c)
{
	const struct sim_life *l;

	(void)sim_check_advance(s, s->committed_last);
	l = life_find(s, c->h.id, c->h.granted);
	if (l != NULL && l->ended != 0 && l->ended <= c->floor)
		sim_fail(s, "lease: client %u is told that %lld is there: it had ended at %llu, which somebody knew at %llu",
			 c->id, (ll)c->h.id, (ull)l->ended, (ull)c->floor);
	else if (c->h.ask.kind == LEASED_KEEPALIVE)
		sim_life_relied(s, c);
}

/* It is told that its lease is no more. */
void sim_life_denied(struct sim *s, const struct sim_client *c)
{
	const struct sim_life *l;

	(void)sim_check_advance(s, s->committed_last);
	l = life_find(s, c->h.id, c->h.granted);
	if (l == NULL || l->ended == 0)
		sim_fail(s, "lease: client %u is told that %lld is no more, and it is", c->id, (ll)c->h.id);
}

/* All leases of a store and their keys, against the model's: both are at the end of the log. */
void sim_life_check(struct sim_node *n, struct mvcc_view *v)
{
	struct sim *s = n->s;
	struct mvcc_lease rows[LIFE_ROWS];
	struct bytes keys[LIFE_ROWS], *want;
	size_t count, n_keys, n_want;
	bool more, same;

	(void)sim_check_advance(s, s->committed_last);
	CHECK(mvcc_view_info(v)->applied == s->applied_last);
	CHECK(mvcc_view_leases(v, 0, rows, LIFE_ROWS, &count) == ERR_OK && count < LIFE_ROWS);
	same = count == s->model.n_leases;
	for (size_t i = 0; same && i < count; i++) {
		const struct model_lease *m = model_find_lease(&s->model, rows[i].id);

		same = m != NULL && m->granted == rows[i].granted && m->ttl == rows[i].ttl_s &&
		       m->remaining_ms == rows[i].remaining_ms;
		CHECK(mvcc_view_lease_keys(v, rows[i].id, bytes_of(NULL, 0), 1u << 20, keys, LIFE_ROWS, &n_keys,
					   &more) == ERR_OK && !more);
		want = model_lease_keys(&s->model, rows[i].id, &s->model_arena, &n_want);
		same = same && n_keys == n_want;
		for (size_t k = 0; same && k < n_keys; k++)
			same = bytes_eq(keys[k], want[k]);
	}
	if (!same)
		sim_fail(s, "lease: node %llu: its %zu leases and their keys are not the model's %zu", (ull)n->id, count,
			 s->model.n_leases);
}

void sim_lives_free(struct sim *s)
{
	free(s->lives);
}

/* ---- in calm ---- */

enum { CALM_LEASE_SLACK_MS = 1000 };

/*
 * Nobody keeps one alive since let_go_at, and all is well: each ends at its time. One change of the
 * leader is allowed for: what passed since the last checkpoint, and the time without a leader.
 */
static bool leases_gone(struct sim *s)
{
	(void)sim_check_advance(s, s->committed_last);
	for (size_t i = 0; i < s->model.n_leases; i++) {
		const struct model_lease *m = &s->model.leases[i];
		int64_t mark = m->ttl * 250 > LESSOR_MARK_MIN_MS ? m->ttl * 250 : LESSOR_MARK_MIN_MS;
		int64_t late = mono_sub_ms(s->now, s->let_go_at) - m->ttl * 1000;

		if (late > mark + CALM_LEASE_SLACK_MS)
			sim_fail(s, "lease: %lld of %lld s lives on in calm, %lld ms after its time", (ll)m->id,
				 (ll)m->ttl, (ll)late);
	}
	return s->model.n_leases == 0;
}

void sim_calm_leases(struct sim *s)
{
	int64_t longest = 0;

	s->let_go_at = s->now;
	(void)sim_check_advance(s, s->committed_last);
	for (size_t i = 0; i < s->model.n_leases; i++)
		if (s->model.leases[i].ttl > longest)
			longest = s->model.leases[i].ttl;
	if (sim_run_until(s, leases_gone, mono_add_ms(s->now, longest * 700)) || !sim_ok(s))
		return;
	sim_transfer(s, 0);
	(void)sim_run_until(s, leases_gone, mono_add_ms(s->now, 60000));
}
