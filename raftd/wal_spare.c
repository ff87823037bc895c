/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next segment, made while the present one fills, and the removal of cut ones. So a full disk
 * shows here first, as an alarm in wal_status, and not in the middle of a write.
 *
 *   NONE -> MAKING -> READY -> (taken by the writer) NONE
 *             |
 *             +----> FAILED -> MAKING   after a second, or at once when the writer waits
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "raftd/wal_int.h"

#define SPARE_RETRY_S 1

static bool removal_wanted(const struct wal_shared *sh)
{
	return sh->oldest < sh->keep && !sh->remove_stuck;
}

static bool work_wanted(const struct wal_shared *sh)
{
	return (sh->spare == WAL_SPARE_NONE && !sh->rolling) || removal_wanted(sh) ||
	       sh->sealed_any || sh->unread > 0;
}

static void spare_set(struct wal_shared *sh, enum wal_spare to, const char *reason)
{
	if (to == WAL_SPARE_FAILED && !sh->stop_spare && strcmp(sh->spare_why.text, reason) != 0)
		log_error("no next log segment could be made: %s; what to do: free disk space",
			  reason);
	if (to == WAL_SPARE_READY && sh->spare_why.text[0] != 0)
		log_info("the next log segment could be made after all segment=%" PRIu64,
			 sh->spare_next);
	sh->spare = to;
	wal_why_set(&sh->spare_why, "%s", reason);
	pthread_cond_signal(&sh->spare_changed);
}

/* Called and returns with the lock held; the making itself is done without it. */
static int make_one(struct wal *w)
{
	struct wal_shared *sh = &w->sh;
	struct wal_file file = sh->spare_found;
	struct wal_why why = {""};
	uint64_t number = sh->spare_next, count = number - sh->oldest;
	int rc = ERR_IO;

	sh->spare = WAL_SPARE_MAKING;
	sh->spare_found.fd = -1;
	pthread_mutex_unlock(&sh->lock);
	if (file.fd >= 0)
		rc = wal_check_unused(w, &file, &why);
	else if (count >= LIMIT_WAL_SEGMENTS)
		wal_why_set(&why, "the log has %" PRIu64 " segments, the most there may be", count);
	else
		rc = wal_segment_make(w, number, &file, &why);
	pthread_mutex_lock(&sh->lock);
	if (rc == ERR_OK)
		sh->spare_file = file;
	else
		wal_file_close(w, &file);
	if (rc == ERR_CORRUPT) {     /* that ends us: no alarm of a full disk */
		sh->spare = WAL_SPARE_FAILED;
		sh->spare_why = why;
	} else {
		spare_set(sh, rc == ERR_OK ? WAL_SPARE_READY : WAL_SPARE_FAILED, why.text);
	}
	return rc;
}

static void remove_some(struct wal *w)
{
	struct wal_shared *sh = &w->sh;
	struct wal_why why = {""};
	uint64_t first = sh->oldest, end = sh->keep;
	int rc;

	pthread_mutex_unlock(&sh->lock);
	rc = wal_segment_remove(w, first, end, &why);
	pthread_mutex_lock(&sh->lock);
	if (rc != ERR_OK)
		log_warn("%s", why.text);
	sh->remove_why = why;
	sh->remove_stuck = rc != ERR_OK;   /* until the next cut: the oldest goes first, or none */
	if (rc == ERR_OK)
		sh->oldest = end;
}

/* As make_one. */
static void write_sealed(struct wal *w)
{
	struct wal_shared *sh = &w->sh;
	struct wal_sum sealed = {.rows = NULL};
	bool there = sh->sealed.segment >= sh->keep;

	wal_sum_move(&sealed, &sh->sealed);
	sh->sealed_any = false;
	pthread_mutex_unlock(&sh->lock);
	if (there)               /* it was not cut meanwhile */
		wal_known_write(w, &sealed);
	wal_sum_free(&sealed);
	pthread_mutex_lock(&sh->lock);
}

static int check_some(struct wal *w)
{
	struct wal_shared *sh = &w->sh;
	uint64_t oldest = sh->keep;
	int rc;

	pthread_mutex_unlock(&sh->lock);
	rc = wal_check_slice(w, oldest);
	pthread_mutex_lock(&sh->lock);
	sh->unread = w->check.n - w->check.next;
	return rc;
}

/*
 * One piece of work, the most urgent first. ERR_OK, or what ends us: ERR_INTERNAL, the directory's state
 * is not known; ERR_CORRUPT, ERR_IO: what the start believed of the log is not so.
 */
static int work(struct wal *w, struct wal_why *why)
{
	struct wal_shared *sh = &w->sh;
	int rc = ERR_OK;

	if (sh->sealed_any) {
		write_sealed(w);
	} else if (removal_wanted(sh)) {
		remove_some(w);
	} else if (sh->spare == WAL_SPARE_NONE && !sh->rolling) {
		rc = make_one(w);
		*why = sh->spare_why;
		rc = rc == ERR_INTERNAL || rc == ERR_CORRUPT ? rc : ERR_OK;
	} else if (sh->unread > 0) {
		rc = check_some(w);
		*why = w->check.why;
	}
	return rc;
}

static struct timespec retry_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += SPARE_RETRY_S;
	return ts;
}

static void wait_for_work(struct wal_shared *sh)
{
	struct timespec at = retry_time();
	int rc = 0;

	while (!sh->stop_spare && !work_wanted(sh) && rc != ETIMEDOUT) {
		if (sh->spare == WAL_SPARE_FAILED)
			rc = pthread_cond_timedwait(&sh->prepare, &sh->lock, &at);
		else
			rc = pthread_cond_wait(&sh->prepare, &sh->lock);
	}
	if (rc == ETIMEDOUT && sh->spare == WAL_SPARE_FAILED)
		sh->spare = WAL_SPARE_NONE;
}

/* Filling may take its time; the log's own writes go first. Both calls are only wishes. */
static void lower_priority(void)
{
	const long who_process = 1, class_best_effort_lowest = 2 << 13 | 7;

	(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
	(void)syscall(SYS_ioprio_set, who_process, 0L, class_best_effort_lowest);
}

void *wal_spare_main(void *arg)
{
	struct wal *w = arg;
	struct wal_shared *sh = &w->sh;

	lower_priority();
	pthread_mutex_lock(&sh->lock);
	for (wait_for_work(sh); !sh->stop_spare; wait_for_work(sh)) {
		struct wal_why why;
		int rc = work(w, &why);

		if (rc == ERR_INTERNAL)
			fatal("check the disk and the kernel's log", "%s", why.text);
		if (rc != ERR_OK)
			fatal("see docs/failure-modes.md, raftd", "the log is damaged: %s: %s", err_text(rc),
			      why.text);
	}
	pthread_mutex_unlock(&sh->lock);
	return NULL;
}

void wal_spare_work(struct wal *w)
{
	struct wal_shared *sh = &w->sh;
	struct wal_why why;

	CHECK(!w->threads);
	pthread_mutex_lock(&sh->lock);
	if (sh->spare == WAL_SPARE_FAILED)
		sh->spare = WAL_SPARE_NONE;
	while (!w->dead && work_wanted(sh)) {
		w->dead = work(w, &why) != ERR_OK;
		if (w->dead)
			w->why = why;
	}
	pthread_mutex_unlock(&sh->lock);
}

/* With the lock held: asks the preparer, and waits until it has one or has failed. */
static void wait_spare(struct wal *w)
{
	struct wal_shared *sh = &w->sh;

	if (sh->spare == WAL_SPARE_FAILED)
		sh->spare = WAL_SPARE_NONE;
	atomic_store(&w->hurry, true);
	pthread_cond_signal(&sh->prepare);
	while (sh->spare == WAL_SPARE_NONE || sh->spare == WAL_SPARE_MAKING)
		pthread_cond_wait(&sh->spare_changed, &sh->lock);
	atomic_store(&w->hurry, false);
}

/* Twice, since a first failure may be that of an attempt which was under way before we came. */
static void insist(struct wal *w)
{
	if (!w->threads)
		(void)make_one(w);
	for (int tries = 0; w->threads && tries < 2 && w->sh.spare != WAL_SPARE_READY; tries++)
		wait_spare(w);
}

int wal_spare_take(struct wal *w, struct wal_file *file)
{
	struct wal_shared *sh = &w->sh;
	int rc = ERR_IO;

	pthread_mutex_lock(&sh->lock);
	if (sh->spare != WAL_SPARE_READY)
		insist(w);
	if (sh->spare == WAL_SPARE_READY) {
		*file = sh->spare_file;
		sh->spare_file.fd = -1;
		sh->spare = WAL_SPARE_NONE;
		sh->spare_next++;
		sh->rolling = true;
		rc = ERR_OK;
	} else {
		wal_why_set(&w->tail.why, "the log segment is full and there is no next one: %s",
			    sh->spare_why.text);
	}
	pthread_mutex_unlock(&sh->lock);
	return rc;
}

/* Only now may the next one be made: a crash never leaves two files without a first batch. */
void wal_spare_used(struct wal *w, struct wal_sum *sealed)
{
	struct wal_shared *sh = &w->sh;

	pthread_mutex_lock(&sh->lock);
	sh->rolling = false;
	sh->sealed_any = sealed->state == WAL_SUM_SEALED;
	wal_sum_move(&sh->sealed, sealed);   /* one that still waits has lost its turn */
	pthread_cond_signal(&sh->prepare);
	pthread_mutex_unlock(&sh->lock);
}
