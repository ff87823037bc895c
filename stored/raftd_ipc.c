/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries from raftd. All that a turn of the loop brings goes into one transaction, within limits;
 * at its end it is committed, and only then is anybody told. What a turn has no time for waits for the
 * next (apply_queue.h): nobody's link is silent for longer than a few commands take.
 */
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "stored/stored.h"

static void apply_hello(void *arg, struct link_hello *out)
{
	struct stored *s = arg;

	stored_commit(s);
	out->node_id = s->d->config->node_id;
	out->daemon = DAEMON_STORED;
	out->incarnation = s->d->incarnation;
	out->resume = s->store.committed.applied;
	s->told = out->resume;
	s->greeted = s->store.generation.generation;
}

static int apply_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct stored *s = arg;

	if (peer->node_id != s->d->config->node_id) {
		log_error("raftd belongs to another node node=%" PRIu64, peer->node_id);
		return ERR_CONFIG;
	}
	if (s->greeted != s->store.generation.generation)
		return ERR_CLOSED;       /* the store has become another one since our hello */
	if (s->raftd != NULL && s->raftd != l)
		link_drop(s->raftd, "a new raftd has come");
	s->raftd = NULL;
	apply_queue_clear(&s->rest);     /* it is sent again */
	stored_commit(s);                /* what an earlier link has brought */
	s->told = s->store.committed.applied;
	s->raftd = l;
	s->commit = peer->resume;
	log_info("raftd is there commit=%" PRIu64 " applied=%" PRIu64, peer->resume, s->store.committed.applied);
	snapshots_tell(s);
	return ERR_OK;
}

static void apply_down(void *arg, struct link *l, const char *reason)
{
	struct stored *s = arg;

	if (s->raftd != l)
		return;
	s->raftd = NULL;
	apply_queue_clear(&s->rest);
	log_warn("raftd has gone: nothing is applied until it is back reason=\"%s\"", reason);
}

/* Its time is the turn's: what is applied in one turn is no longer under way than one transaction may be. */
static bool txn_is_full(struct stored *s)
{
	s->turn_over = mono_sub_us(mono_now(), s->turn_began) >= LIMIT_APPLY_TXN_US;
	return s->turn_over || s->txn_bytes >= LIMIT_APPLY_TXN_BYTES || s->txn_entries >= LIMIT_APPLY_TXN_ENTRIES;
}

static void apply_one(struct stored *s, const struct log_entry *e)
{
	struct apply_result r;

	if (!s->store.open) {
		s->txn_began = mono_now();
		if (!s->turn_applies)
			s->turn_began = s->txn_began;
		s->turn_applies = true;
		s->txn_bytes = s->txn_entries = 0;
	}
	store_apply(&s->store, e, &r);
	counter_inc(&s->counters.entries_applied);
	counter_add(&s->counters.entries_rejected, r.rejected);
	counter_add(&s->counters.commands_repeated, r.repeated);
	counter_add(&s->counters.commands_failed, r.error != ERR_OK);
	if (r.gateway != 0)
		stored_keep_result(s, e->index, &r);
	s->txn_bytes += e->payload.len + r.result.len;
	s->txn_entries++;
	if (txn_is_full(s))
		stored_commit(s);
}

/*
 * Nothing was done, so nothing will be committed: raftd must be told all the same, or its window
 * stays full. Told no more than it has sent here, even if an earlier link has brought more.
 */
static void tell_skipped(struct stored *s, uint64_t last)
{
	struct apply_done m = {s->store.committed.applied, s->store.committed.revision};

	if (s->store.open)
		return;
	if (m.index > last)
		m.index = last;
	(void)link_send(s->raftd, MSG_NO_apply_done, &apply_done_desc, &m);
}

static void run_go(struct stored *s, struct apply_run *run)
{
	for (; run->at < run->n && !s->turn_over; run->at++) {
		const struct log_entry *e = &run->v[run->at];

		s->untold_bytes += e->payload.len + APPLY_ENTRY_ROOM;
		if (e->index <= apply_state(s->store.apply)->applied) {
			counter_inc(&s->counters.entries_skipped);
			continue;
		}
		apply_one(s, e);
		run->applied = true;
	}
	if (run->n > 0 && run->at == run->n && !run->applied)
		tell_skipped(s, run->v[run->n - 1].index);
}

/* Each follows the one before, or was applied long ago. */
static int run_check(struct stored *s, const struct apply_run *run)
{
	uint64_t last = apply_queue_first(&s->rest) != NULL ? s->rest.last_index : apply_state(s->store.apply)->applied;

	for (size_t i = 0; i < run->n; i++) {
		if (run->v[i].index > last + 1) {
			log_error("raftd left entries out applied=%" PRIu64 " next=%" PRIu64, last, run->v[i].index);
			return ERR_MALFORMED;
		}
		if (run->v[i].index > last)
			last = run->v[i].index;
	}
	return ERR_OK;
}

static int apply_entries(struct stored *s, const struct apply_batch *m)
{
	struct apply_run run = {.v = m->entries.v, .n = m->entries.n};
	int rc = run_check(s, &run);

	if (rc != ERR_OK)
		return rc;
	s->commit = m->commit;
	s->untold_batches++;
	if (apply_queue_first(&s->rest) == NULL)
		run_go(s, &run);
	return run.at < run.n ? apply_queue_add(&s->rest, &run) : ERR_OK;
}

void stored_apply_rest(struct stored *s)
{
	struct apply_run *run;

	while (!s->turn_over && (run = apply_queue_first(&s->rest)) != NULL) {
		run_go(s, run);
		if (run->at == run->n)
			apply_queue_pop(&s->rest);
	}
	stored_commit(s);
	s->turn_applies = s->turn_over = false;
	if (apply_queue_first(&s->rest) != NULL)
		loop_again(s->d->loop);
}

static int apply_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct stored *s = arg;

	if (s->raftd != l || s->stopping)
		return ERR_CLOSED;
	switch (in->row->number) {
	case MSG_NO_apply_batch:
		return apply_entries(s, in->msg);
	case MSG_NO_apply_snapshot:
		snapshots_want(s, ((const struct apply_snapshot *)in->msg)->index);
		return ERR_OK;
	case MSG_NO_apply_install:
		return snapshots_install(s, ((const struct apply_install *)in->msg)->snapshot);
	default:
		return ERR_UNKNOWN_METHOD;
	}
}

void stored_tell_raftd(struct stored *s)
{
	struct apply_done m = {s->store.committed.applied, s->store.committed.revision};

	loop_timer_clear(s->d->loop, &s->tell);
	s->untold_bytes = s->untold_batches = 0;
	if (s->raftd == NULL || m.index == s->told)
		return;
	/* Not sent is not lost: the next one says more, and a new link begins with a hello. */
	if (link_send(s->raftd, MSG_NO_apply_done, &apply_done_desc, &m) == ERR_OK)
		s->told = m.index;
}

static void on_tell(void *arg)
{
	stored_tell_raftd(arg);
}

/*
 * No client waits for it: raftd makes room by it, and cuts its log behind it. Told after each
 * commit, it would wake up on the cores where gatewayd is to answer.
 */
static void tell_raftd_soon(struct stored *s)
{
	if (s->untold_bytes >= LIMIT_APPLY_WINDOW_BYTES / 4 || s->untold_batches >= LIMIT_APPLY_WINDOW_BATCHES / 4)
		stored_tell_raftd(s);
	else if (s->tell.slot == 0 && s->store.committed.applied != s->told)
		loop_timer_set(s->d->loop, &s->tell, mono_add_ms(loop_now(s->d->loop), APPLY_DONE_MS));
}

void stored_commit(struct stored *s)
{
	int64_t us;

	if (!s->store.open)
		return;
	store_commit(&s->store);
	counter_inc(&s->counters.commits);
	us = mono_sub_us(mono_now(), s->txn_began);
	if (us > s->counters.commit_us_max.value)
		counter_set(&s->counters.commit_us_max, us);
	stored_tell_gateways(s);
	stored_commit_watchd(s);
	stored_tell_leased(s);
	tell_raftd_soon(s);
}

int stored_open_raftd(struct stored *s)
{
	static const struct link_ops ops = {apply_hello, apply_up, apply_msg, apply_down, NULL};
	char *path = daemon_socket(s->d, DAEMON_STORED, DAEMON_RAFTD);
	struct link_setup setup = {.loop = s->d->loop, .path = path, .messages = &link_apply,
				   .peer = DAEMON_RAFTD, .ops = &ops, .arg = s, .max_links = 2};
	int rc = link_server_open(&setup, &s->raftd_server);

	loop_timer_init(&s->tell, on_tell, s);
	mem_free(path);
	return rc;
}
