/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual watchd: the real core, the real reading of history and the real messages; its driver
 * (watchd/driver.c, store_ipc.c) is played. Slices and credits are small, so that much happens
 * between two of them.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/sim/sim_int.h"

enum { WATCHD_HEADS_MS = 100, WATCHD_INTERVAL_MS = 200, WATCHD_MAX = 1000, WATCHD_HOLD_MS = 1000 };

static int watchd_send(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct sim_node *n = arg;

	sim_local_send(n, SIM_GATEWAY_WATCHD, SIM_GATEWAY, number, d, msg);
	return ERR_OK;
}

/* ---- life ---- */

void sim_watchd_start(struct sim_node *n)
{
	struct sim_watchd *w = &n->watchd;
	struct watch_setup setup = {.seed = sim_rand(n->s, SIM_CH_WATCH, 0), .interval_ms = WATCHD_INTERVAL_MS,
				    .max_watches = WATCHD_MAX, .slice_rows = n->s->watch_rows,
				    .stream_bytes = n->s->watch_bytes, .link_bytes = 4 * n->s->watch_bytes};

	w->core = watch_core_new(&setup);
	w->serve = serve_new(w->core);
	w->generation = 0;
	w->compact_told = w->read_told = -1;
	w->heads_at = sim_clock(n);
	w->due = n->s->now;
	sim_local_connect(n, SIM_STORED_WATCHD);
	sim_local_connect(n, SIM_GATEWAY_WATCHD);
}

void sim_watchd_unmap(struct sim_node *n)
{
	free(n->watchd.env);
	n->watchd.env = NULL;
}

void sim_watchd_stop(struct sim_node *n)
{
	struct sim_watchd *w = &n->watchd;

	if (n->link_up[SIM_GATEWAY_WATCHD])
		serve_close(w->serve, &w->peer);
	sim_watchd_unmap(n);
	serve_free(&w->serve);
	watch_core_free(&w->core);
}

void sim_watchd_gateway_up(struct sim_node *n)
{
	struct clnt_io io = {watchd_send, n};
	struct watch_hail hail = {0};

	serve_open(n->watchd.serve, &n->watchd.peer, &io);
	sim_local_send(n, SIM_GATEWAY_WATCHD, SIM_GATEWAY, MSG_NO_watch_hail, &watch_hail_desc, &hail);
}

void sim_watchd_gateway_down(struct sim_node *n)
{
	if (n->watchd.core != NULL)
		serve_close(n->watchd.serve, &n->watchd.peer);
}

void sim_watchd_stored_up(struct sim_node *n)
{
	n->watchd.generation = n->stored.generation;
	n->watchd.read_told = -1;
}

/* ---- history ---- */

/* The file of another generation lies elsewhere; here there is only the newest. */
static bool watchd_map(struct sim_node *n)
{
	struct sim_watchd *w = &n->watchd;

	if (w->env != NULL && w->mapped != w->generation)
		sim_watchd_unmap(n);
	if (w->env == NULL && w->generation != 0 && w->generation == n->stored.generation && n->stored.db != NULL) {
		w->env = mvcc_env_over(n->stored.db);
		w->mapped = w->generation;
	}
	return w->env != NULL;
}

static bool watchd_slice(struct sim_node *n)
{
	struct sim_watchd *w = &n->watchd;
	struct mvcc_view *view;
	int rc = history_read(w->core, w->env, sim_clock(n), &w->counts, &view);

	if (rc == ERR_OK) {
		serve_slice(w->serve);
		history_close(w->core, &view);
	} else if (rc != ERR_NOT_FOUND) {
		sim_fail(n->s, "node %llu: watchd cannot read the store: %s", (unsigned long long)n->id, err_name(rc));
	}
	serve_effects(w->serve);
	return rc == ERR_OK;
}

static void watchd_tell_read(struct sim_node *n, int64_t head_rev)
{
	struct store_news_read m = {head_rev - 1};
	struct sim_watchd *w = &n->watchd;

	if (!n->link_up[SIM_STORED_WATCHD] || w->read_told >= w->compact_told - 1 || m.revision < w->compact_told - 1)
		return;
	sim_local_send(n, SIM_STORED_WATCHD, SIM_STORED, MSG_NO_store_news_read, &store_news_read_desc, &m);
	w->read_told = m.revision;
}

static bool watchd_read(struct sim_node *n)
{
	struct sim_watchd *w = &n->watchd;
	uint64_t slices = 1 + sim_rand(n->s, SIM_CH_WATCH, 3);
	struct watch_stats stats;
	bool more = true;

	if (!watchd_map(n))
		return false;
	while (more && slices-- > 0)
		more = watchd_slice(n);
	watch_core_stats(w->core, &stats);
	if (stats.compact_revision > w->read_told + 1)
		serve_heads(w->serve);
	watchd_tell_read(n, stats.head.rev);
	return more;
}

void sim_watchd_turn(struct sim_node *n)
{
	struct sim_watchd *w = &n->watchd;
	mono_t now = sim_clock(n);
	bool more;

	if (!mono_before(now, w->heads_at)) {
		serve_heads(w->serve);
		w->heads_at = mono_add_ms(now, WATCHD_HEADS_MS);
	}
	watch_core_tick(w->core, now);
	serve_effects(w->serve);
	more = watchd_read(n);
	w->due = more ? sim_soon(n->s, SIM_CH_WATCH, 20, 500)
		      : sim_when(n, mono_min(watch_core_due(w->core), w->heads_at));
}

/* ---- messages ---- */

void sim_watchd_stored_msg(struct sim_node *n, const struct msg_in *in)
{
	const struct store_news *m = in->msg;

	CHECK(in->row->number == MSG_NO_store_news);
	n->watchd.generation = m->generation;
	n->watchd.compact_told = m->compact_revision;
	sim_watchd_turn(n);
}

void sim_watchd_gateway_msg(struct sim_node *n, const struct msg_in *in)
{
	int rc = serve_msg(n->watchd.serve, &n->watchd.peer, in, sim_clock(n));

	if (rc != ERR_OK)
		sim_fail(n->s, "node %llu: watchd refuses what its gatewayd says: %s", (unsigned long long)n->id,
			 err_name(rc));
	serve_effects(n->watchd.serve);
	sim_watchd_turn(n);
}

/* ---- stored's side ---- */

void sim_stored_tell_watchd(struct sim_node *n)
{
	const struct mvcc_state *st = apply_state(n->stored.apply);
	struct store_news m = {n->stored.generation, st->revision, st->compact_revision};

	sim_local_send(n, SIM_STORED_WATCHD, SIM_WATCHD, MSG_NO_store_news, &store_news_desc, &m);
}

void sim_stored_watchd_up(struct sim_node *n)
{
	n->stored.watch_read = -1;
	sim_stored_tell_watchd(n);
}

void sim_stored_watchd_msg(struct sim_node *n, const struct msg_in *in)
{
	CHECK(in->row->number == MSG_NO_store_news_read);
	n->stored.watch_read = ((const struct store_news_read *)in->msg)->revision;
}

/* What was compacted is kept for a moment until watchd has read it. */
bool sim_stored_holds(struct sim_node *n)
{
	struct sim_stored *st = &n->stored;

	if (!n->link_up[SIM_STORED_WATCHD] || st->watch_read >= apply_state(st->apply)->compact_revision - 1) {
		st->holding = false;
		return false;
	}
	if (!st->holding)
		st->held_since = sim_clock(n);
	st->holding = true;
	return mono_sub_ms(sim_clock(n), st->held_since) < WATCHD_HOLD_MS;
}
