/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What watchd does when: at the end of each turn it reads history for a few milliseconds, in
 * slices of one short read transaction each, and sends what the slices gave.
 */
#include <inttypes.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "watchd/watchd.h"

enum { WATCHD_RETRY_MS = 5, WATCHD_MAP_RETRY_MS = 100, WATCHD_HEADS_MS = 100 };

/* Timers do nothing but begin a turn. */
static void on_wake(void *arg)
{
	(void)arg;
}

static void on_heads(void *arg)
{
	struct watchd *w = arg;

	serve_heads(w->serve);
	loop_timer_set(w->d->loop, &w->heads, mono_add_ms(mono_now(), WATCHD_HEADS_MS));
}

static void retry_in(struct watchd *w, int ms)
{
	loop_timer_set(w->d->loop, &w->retry, mono_add_ms(loop_now(w->d->loop), ms));
}

/* One slice; false: no more for now. */
static bool read_slice(struct watchd *w, mono_t now)
{
	struct mvcc_view *view;
	int rc = history_read(w->core, w->env, now, &w->counts, &view);

	if (rc == ERR_OK) {
		serve_slice(w->serve);
		history_close(w->core, &view);
	}
	serve_effects(w->serve);
	switch (rc) {
	case ERR_OK:
		return true;
	case ERR_NOT_FOUND:
		return false;
	case ERR_STORE_DOWN:
	case ERR_TOO_MANY_REQUESTS:
		counter_inc(&w->counters.store_retries_total);
		retry_in(w, WATCHD_RETRY_MS);
		return false;
	default:
		fatal("compare the hashes of the nodes (quorate hash); stop stored and move store/ away to have "
		      "it built again from the log", "the store cannot be read: %s", err_text(rc));
	}
}

static void read_history(struct watchd *w)
{
	mono_t until = mono_add_us(mono_now(), LIMIT_WATCH_TURN_US), now = mono_now();
	struct watch_stats stats;

	watch_core_stats(w->core, &stats);
	watchd_follow(w, stats.watches > 0);
	if (!watchd_map(w)) {
		if (w->generation != 0)
			retry_in(w, WATCHD_MAP_RETRY_MS);
		return;
	}
	while (read_slice(w, now)) {
		now = mono_now();
		if (!mono_before(now, until)) {
			loop_again(w->d->loop);
			break;
		}
	}
	watch_core_stats(w->core, &stats);
	if (stats.compact_revision > w->read_told + 1)
		serve_heads(w->serve);        /* before anything of the past can go */
	watchd_tell_read(w, stats.head.rev);
}

/* Runs before the links' own hooks, which write what it sends. */
static void on_turn_end(void *arg)
{
	struct watchd *w = arg;

	watch_core_tick(w->core, loop_now(w->d->loop));
	serve_effects(w->serve);
	read_history(w);
	watchd_drop_failed(w);
	if (watch_core_due(w->core).ns == MONO_NEVER.ns)
		loop_timer_clear(w->d->loop, &w->progress);
	else
		loop_timer_set(w->d->loop, &w->progress, watch_core_due(w->core));
}

int watchd_open(struct daemon *d)
{
	struct watchd *w = mem_alloc(sizeof *w);
	struct watch_setup setup = {.interval_ms = (int64_t)d->config->watch_progress_ms,
				    .max_watches = LIMIT_WATCHES};

	CHECK(getrandom(&setup.seed, sizeof setup.seed, 0) == sizeof setup.seed);
	w->d = d;
	d->state = w;
	w->compact_told = w->read_told = -1;
	watchd_counters_init(&w->counters);
	w->store_dir = config_path(d->config->data_dir, "store");
	w->core = watch_core_new(&setup);
	w->serve = serve_new(w->core);
	return ERR_OK;
}

int watchd_start(struct daemon *d)
{
	struct watchd *w = d->state;
	int rc;

	loop_hook_add(d->loop, &w->turn_end, on_turn_end, w);
	loop_timer_init(&w->retry, on_wake, w);
	loop_timer_init(&w->progress, on_wake, w);
	loop_timer_init(&w->heads, on_heads, w);
	on_heads(w);
	rc = watchd_open_gateways(w);
	return rc == ERR_OK ? watchd_dial_stored(w) : rc;
}

/* Nothing is kept: whoever comes next begins from what gatewayds say. */
void watchd_stop(struct daemon *d)
{
	struct watchd *w = d->state;

	loop_timer_clear(d->loop, &w->retry);
	loop_timer_clear(d->loop, &w->progress);
	loop_timer_clear(d->loop, &w->heads);
	loop_hook_del(d->loop, &w->turn_end);
	if (w->env != NULL)
		mvcc_close(&w->env);
	daemon_stopped(d);
}
