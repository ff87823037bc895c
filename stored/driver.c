/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stored does when: a turn's entries are committed at its end, and what can wait (compaction,
 * hashes, chores) is done in short steps in between.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "stored/stored.h"

enum { STORED_CHORES_MS = 1000, STORED_COMPACT_MS = 2 };

/* A reader that was killed holds its slot, and the pages it saw, until somebody looks. */
static void on_chores(void *arg)
{
	struct stored *s = arg;
	int dead = 0;

	if (okv_check_readers(s->store.db, &dead) == ERR_OK)
		counter_add(&s->counters.readers_dead, dead);
	(void)okv_stat(s->store.db, &s->stat);
	loop_timer_set(s->d->loop, &s->chores, mono_add_ms(mono_now(), STORED_CHORES_MS));
}

/* One step, then as long a pause: what clients wait for goes first. */
static void on_compact(void *arg)
{
	struct stored *s = arg;
	int64_t before = s->store.committed.compacted_revision;
	size_t removed;

	stored_commit(s);
	if (apply_compacting(s->store.apply) && stored_watch_holds(s, mono_now())) {
		loop_timer_set(s->d->loop, &s->compact, mono_add_ms(mono_now(), STORED_COMPACT_MS));
		return;
	}
	if (!store_compact(&s->store, &removed))
		return;
	counter_inc(&s->counters.compact_steps);
	counter_add(&s->counters.compact_rows, (int64_t)removed);
	if (s->store.committed.compacted_revision == before)
		return;
	log_info("compacted revision=%" PRId64, s->store.committed.compacted_revision);
	stored_tell_gateways(s);
}

/* Runs before the links' own hooks, which write what it sends. */
static void on_turn_end(void *arg)
{
	struct stored *s = arg;

	stored_apply_rest(s);
	if (hashes_step(s))
		loop_again(s->d->loop);
	if (stored_list_leases(s))
		loop_again(s->d->loop);
	if (s->compact.slot == 0 && apply_compacting(s->store.apply))
		loop_timer_set(s->d->loop, &s->compact, mono_add_ms(mono_now(), STORED_COMPACT_MS));
}

int stored_open(struct daemon *d)
{
	struct stored *s = mem_alloc(sizeof *s);
	struct store_setup setup = {
		.data_dir = d->config->data_dir,
		.boot_id_file = getenv("QUORATE_BOOT_ID_FILE"),   /* tests pretend that the machine crashed */
		.cluster_id = d->config->cluster_id,
		.node_id = d->config->node_id,
		.map_bytes = d->config->store_map_gb << 30,
	};

	s->d = d;
	d->state = s;
	stored_counters_init(&s->counters);
	store_open(&s->store, &setup);
	return ERR_OK;
}

int stored_start(struct daemon *d)
{
	struct stored *s = d->state;
	int rc;

	loop_hook_add(d->loop, &s->turn_end, on_turn_end, s);
	loop_timer_init(&s->chores, on_chores, s);
	loop_timer_init(&s->compact, on_compact, s);
	on_chores(s);
	snapshots_open(s);
	/* In the order in which they are written to at the end of a turn: first who answers clients. */
	rc = stored_open_gateways(s);
	if (rc == ERR_OK)
		rc = stored_open_watchd(s);
	if (rc == ERR_OK)
		rc = stored_open_leased(s);
	return rc == ERR_OK ? stored_open_raftd(s) : rc;
}

void stored_stop(struct daemon *d)
{
	struct stored *s = d->state;

	apply_queue_clear(&s->rest);
	stored_commit(s);
	s->stopping = true;
	snapshots_close(s);
	loop_timer_clear(d->loop, &s->chores);
	loop_timer_clear(d->loop, &s->compact);
	loop_timer_clear(d->loop, &s->leased_pause);
	loop_timer_clear(d->loop, &s->tell);
	loop_hook_del(d->loop, &s->turn_end);
	store_close(&s->store);
	daemon_stopped(d);
}
