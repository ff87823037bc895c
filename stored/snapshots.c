/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/snapname.h"
#include "stored/stored.h"

enum { SNAPSHOTS_RETRY_MIN_MS = 1000, SNAPSHOTS_RETRY_MAX_MS = 300000 };

static struct snap_job job_of(const struct stored *s)
{
	const struct config *c = s->d->config;

	return (struct snap_job){
		.data_dir = c->data_dir, .cluster_id = c->cluster_id, .node_id = c->node_id,
		.generation = s->store.generation.generation, .map_bytes = s->store.map_bytes,
		.bytes_per_s = c->snapshot_rate_mb * MIB,
	};
}

void snapshots_tell(struct stored *s)
{
	struct snapshot_id id = snap_id(&s->snapshots.newest);
	struct apply_state m = {
		.applied = s->store.committed.applied, .applied_term = s->store.committed.applied_term,
		.store_bytes = s->stat.file_bytes - s->stat.free_bytes,
		.snapshot = s->snapshots.any ? &id : NULL,
	};

	/* Not taken is not lost: a link that takes nothing is dropped, and the next begins with it. */
	stored_tell_raftd(s);
	if (s->raftd != NULL)
		(void)link_send(s->raftd, MSG_NO_apply_state, &apply_state_desc, &m);
}

static void refuse(struct stored *s, const struct snapshot_id *id, int error)
{
	struct apply_installed m = {id->index, id->crc, (uint64_t)error};

	stored_tell_raftd(s);
	if (s->raftd != NULL)
		(void)link_send(s->raftd, MSG_NO_apply_installed, &apply_installed_desc, &m);
}

static void install_refused(struct stored *s, int error)
{
	s->snapshots.installing = false;
	refuse(s, &s->snapshots.incoming, error);
}

/*
 * Stores and snapshots that are no longer used, and what a helper has left that failed. Theirs may be
 * gigabytes, and a disk takes its time to give them back: so the helper removes them.
 */
static bool others_are_there(const struct stored *s)
{
	const struct snapshots *n = &s->snapshots;

	return snap_has_others(s->d->config->data_dir, n->any ? &n->newest : NULL) ||
	       generation_has_others(s->store.dir, s->store.generation.generation);
}

static void snapshots_failed(struct stored *s, int error)
{
	struct snapshots *n = &s->snapshots;

	counter_inc(&s->counters.snapshots_failed);
	if (n->work == SNAP_WORK_INSTALL) {
		log_error("a snapshot from another node was not installed index=%" PRIu64 " error=\"%s\"",
			  n->incoming.index, err_text(error));
		install_refused(s, error);
	} else {
		log_error("no snapshot could be made, it is tried again error=\"%s\" in_ms=%u", err_text(error),
			  n->back_off_ms);
	}
	n->clean_wanted = others_are_there(s);
	loop_timer_set(s->d->loop, &n->retry, mono_add_ms(mono_now(), n->back_off_ms));
	n->back_off_ms = n->back_off_ms * 2 < SNAPSHOTS_RETRY_MAX_MS ? n->back_off_ms * 2 : SNAPSHOTS_RETRY_MAX_MS;
}

/* What the directory holds, since the helper has put it there. */
static void snapshots_look(struct stored *s)
{
	struct snapshots *n = &s->snapshots;
	struct snap_info list[SNAP_LIST_MAX];

	n->any = snap_list(s->d->config->data_dir, s->d->config->cluster_id, list) > 0;
	if (n->any)
		n->newest = list[0];
	n->wanted = n->wanted && (!n->any || n->newest.index < n->wanted_index);
	n->clean_wanted = others_are_there(s);
}

static void install_done(struct stored *s)
{
	struct snapshots *n = &s->snapshots;

	n->installing = false;
	stored_commit(s);
	snapshots_look(s);
	if (n->incoming.index <= s->store.committed.applied) {
		log_info("a snapshot was overtaken by the log index=%" PRIu64 " applied=%" PRIu64, n->incoming.index,
			 s->store.committed.applied);
		snapshots_tell(s);
		install_refused(s, ERR_EXISTS);      /* else raftd waits for it, and takes no other */
		return;
	}
	apply_queue_clear(&s->rest);             /* its link ends as well */
	store_switch(&s->store, n->generation);
	n->clean_wanted = true;
	counter_inc(&s->counters.snapshots_installed);
	/* What they were told of is gone: they begin anew, with the new generation's number. */
	stored_drop_gateways(s, "the store has become a snapshot");
	stored_drop_leased(s, "the store has become a snapshot");
	stored_tell_watchd(s);                /* it maps the new one, and reads on in that */
	if (s->raftd != NULL)
		link_drop(s->raftd, "the store has become a snapshot");
}

static void snapshots_next(void *arg);

static void check_later(struct stored *s)
{
	uint64_t every_s = s->d->config->store_check_s;

	if (every_s > 0)
		loop_timer_set(s->d->loop, &s->snapshots.check, mono_add_ms(mono_now(), (int64_t)every_s * 1000));
}

/* Rows that a damaged page hides would be served as absent: nobody is to be served by this file. */
static void check_done(struct stored *s, int rc)
{
	if (rc == ERR_CORRUPT)
		store_damaged(&s->store);
	if (rc == ERR_OK) {
		counter_inc(&s->counters.checks);
		counter_set(&s->counters.check_ms, mono_sub_ms(mono_now(), s->snapshots.began));
	} else if (!s->snapshots.installing) {
		log_error("the store could not be checked for damage, it is tried again later error=\"%s\"",
			  err_text(rc));
	}
	s->snapshots.check_wanted = false;
	check_later(s);
}

static void on_end(void *arg, uint32_t events)
{
	struct stored *s = arg;
	struct snapshots *n = &s->snapshots;
	int rc;

	(void)events;
	if (snap_child_begun(n->end, &n->begun))
		return;
	loop_timer_clear(s->d->loop, &n->deadline);
	loop_io_del(s->d->loop, &n->io);
	rc = snap_child_end(n->pid, n->end, n->begun);
	if (n->work == SNAP_WORK_CHECK || n->work == SNAP_WORK_CLEAN) {
		if (n->work == SNAP_WORK_CHECK)
			check_done(s, rc);
		n->work = SNAP_WORK_NONE;
		snapshots_next(s);
		return;
	}
	if (rc != ERR_OK) {
		snapshots_failed(s, rc);
	} else if (n->work == SNAP_WORK_INSTALL) {
		install_done(s);
	} else {
		snapshots_look(s);
		counter_inc(&s->counters.snapshots_made);
		counter_set(&s->counters.snapshot_ms, mono_sub_ms(mono_now(), n->began));
		snapshots_tell(s);
	}
	if (rc == ERR_OK)
		n->back_off_ms = SNAPSHOTS_RETRY_MIN_MS;
	n->work = SNAP_WORK_NONE;
	snapshots_next(s);
}

static const char *const work_words[] = {"", "a snapshot", "installing a snapshot", "looking for damage",
					 "removing what is no longer used"};

static void on_late(void *arg)
{
	struct stored *s = arg;

	log_error("%s takes too long and is given up: see snapshot_rate_mb s=%" PRId64, work_words[s->snapshots.work],
		  mono_sub_ms(mono_now(), s->snapshots.began) / 1000);
	(void)kill(s->snapshots.pid, SIGKILL);
}

/* A view that is held keeps every page that is freed meanwhile: so it ends, if late. */
static mono_t deadline_of(const struct stored *s)
{
	uint64_t rate = s->d->config->snapshot_rate_mb * MIB;
	uint64_t bytes = s->snapshots.work == SNAP_WORK_INSTALL ? s->snapshots.incoming.bytes : s->stat.file_bytes;

	return mono_add_ms(mono_now(), (int64_t)(LIMIT_SNAPSHOT_COPY_S +
						 bytes * LIMIT_SNAPSHOT_COPY_SLOWER / rate) * 1000);
}

static void work_begin(struct stored *s, enum snap_work work)
{
	struct snapshots *n = &s->snapshots;
	struct snap_job j = job_of(s);
	struct snapshot_id id = n->incoming;

	n->work = work;
	n->begun = false;
	n->began = mono_now();
	if (work == SNAP_WORK_INSTALL) {
		if (generation_highest(s->store.dir, &n->generation) != ERR_OK)
			n->generation = j.generation;
		if (n->generation < j.generation)
			n->generation = j.generation;
		j.generation = ++n->generation;
		j.bytes_per_s = 0;       /* nobody is served by this store until it is done */
	}
	if (work == SNAP_WORK_CLEAN) {
		n->clean_wanted = false;         /* what it does not remove waits for the next time */
		id = n->any ? snap_id(&n->newest) : (struct snapshot_id){0};
	}
	if (snap_child_begin(n->program, work, &j, &id, &n->pid, &n->end) != ERR_OK) {
		log_error("cannot start %s for %s error=\"%s\"", n->program, work_words[work], strerror(errno));
		if (work == SNAP_WORK_CHECK)
			check_done(s, ERR_IO);
		else if (work != SNAP_WORK_CLEAN)
			snapshots_failed(s, ERR_IO);
		n->work = SNAP_WORK_NONE;
		return;
	}
	log_info("%s begun applied=%" PRIu64 " pid=%ld", work_words[work], s->store.committed.applied, (long)n->pid);
	loop_io_add(s->d->loop, &n->io, n->end, EPOLLIN, on_end, s);
	loop_timer_set(s->d->loop, &n->deadline, deadline_of(s));
}

static void snapshots_next(void *arg)
{
	struct stored *s = arg;
	struct snapshots *n = &s->snapshots;

	if (n->work != SNAP_WORK_NONE || s->stopping)
		return;
	/* First what is left of what failed: a disk that is full needs the room. */
	if (n->clean_wanted)
		work_begin(s, SNAP_WORK_CLEAN);
	if (n->work != SNAP_WORK_NONE)
		return;
	if (n->installing)
		work_begin(s, SNAP_WORK_INSTALL);
	else if (n->wanted && n->retry.slot == 0)
		work_begin(s, SNAP_WORK_COPY);
	else if (n->check_wanted)
		work_begin(s, SNAP_WORK_CHECK);
}

static void on_check(void *arg)
{
	snapshots_check(arg);
}

void snapshots_check(struct stored *s)
{
	loop_timer_clear(s->d->loop, &s->snapshots.check);
	s->snapshots.check_wanted = true;
	snapshots_next(s);
}

void snapshots_want(struct stored *s, uint64_t index)
{
	struct snapshots *n = &s->snapshots;

	if (n->any && n->newest.index >= index) {
		snapshots_tell(s);
		return;
	}
	if (!n->wanted || n->wanted_index < index)
		n->wanted_index = index;
	n->wanted = true;
	snapshots_next(s);
}

int snapshots_install(struct stored *s, const struct snapshot_id *id)
{
	struct snapshots *n = &s->snapshots;

	if (id == NULL || id->index == 0 || id->crc > UINT32_MAX)
		return ERR_MALFORMED;
	if (n->installing) {
		/* Said again on a new link; or another one, of a raftd that was started anew: it is asked for again. */
		if (id->index != n->incoming.index || id->crc != n->incoming.crc)
			refuse(s, id, ERR_CLOSED);
		return ERR_OK;
	}
	if (id->index <= s->store.committed.applied) {
		refuse(s, id, ERR_EXISTS);
		return ERR_OK;
	}
	n->incoming = *id;
	n->installing = true;
	/* A copy of what is about to be replaced, or a look at it, is worth nothing; its end begins the install. */
	if (n->work == SNAP_WORK_COPY || n->work == SNAP_WORK_CHECK)
		(void)kill(n->pid, SIGKILL);
	snapshots_next(s);
	return ERR_OK;
}

void snapshots_open(struct stored *s)
{
	struct snapshots *n = &s->snapshots;

	n->io.fd = -1;
	n->back_off_ms = SNAPSHOTS_RETRY_MIN_MS;
	if (n->program == NULL)
		n->program = "/proc/self/exe";
	loop_timer_init(&n->deadline, on_late, s);
	loop_timer_init(&n->retry, snapshots_next, s);
	loop_timer_init(&n->check, on_check, s);
	check_later(s);
	snapshots_look(s);
	snapshots_next(s);
	if (n->any)
		log_info("newest snapshot index=%" PRIu64 " term=%" PRIu64 " revision=%" PRId64 " bytes=%" PRIu64,
			 n->newest.index, n->newest.term, n->newest.revision, n->newest.data_bytes);
}

void snapshots_close(struct stored *s)
{
	struct snapshots *n = &s->snapshots;

	loop_timer_clear(s->d->loop, &n->deadline);
	loop_timer_clear(s->d->loop, &n->retry);
	loop_timer_clear(s->d->loop, &n->check);
	if (n->work == SNAP_WORK_NONE)
		return;
	(void)kill(n->pid, SIGKILL);
	loop_io_del(s->d->loop, &n->io);
	if (n->work == SNAP_WORK_CLEAN)
		(void)close(n->end);     /* amid a large file it ends when that is gone: not waited for */
	else
		(void)snap_child_end(n->pid, n->end, n->begun);
	n->work = SNAP_WORK_NONE;
}

void snapshots_report(const struct stored *s, struct admin_reply *r)
{
	static const char *const doing[] = {"nothing", "copy", "install", "check", "clean"};
	const struct snapshots *n = &s->snapshots;

	admin_begin(r, "snapshot");
	admin_str(r, "doing", doing[n->work]);
	admin_bool(r, "wanted", n->wanted);
	admin_u64(r, "index", n->any ? n->newest.index : 0);
	admin_u64(r, "term", n->any ? n->newest.term : 0);
	admin_i64(r, "revision", n->any ? n->newest.revision : 0);
	admin_u64(r, "bytes", n->any ? snap_id(&n->newest).bytes : 0);
	admin_i64(r, "made", s->counters.snapshots_made.value);
	admin_i64(r, "failed", s->counters.snapshots_failed.value);
	admin_i64(r, "installed", s->counters.snapshots_installed.value);
	admin_i64(r, "store_checks", s->counters.checks.value);
	admin_end(r);
}
