/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer thread. While it writes and syncs one batch the loop gathers the next; when it is
 * done and a kick came meanwhile it takes that one at once, so the disk never waits for the loop.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "raftd/wal_int.h"

void wal_wake(const struct wal *w)
{
	uint64_t one = 1;
	ssize_t n;

	if (w->event_fd < 0)
		return;
	do
		n = write(w->event_fd, &one, sizeof one);
	while (n < 0 && errno == EINTR);
	CHECK(n == (ssize_t)sizeof one || errno == EAGAIN);   /* EAGAIN: readable already */
}

static void *writer_main(void *arg)
{
	struct wal *w = arg;
	struct wal_shared *sh = &w->sh;

	pthread_mutex_lock(&sh->lock);
	for (;;) {
		while (!sh->stop && !sh->busy && !wal_flight_take(sh)) {
			pthread_cond_broadcast(&sh->idle);
			pthread_cond_wait(&sh->work, &sh->lock);
		}
		if (sh->stop)
			break;
		pthread_mutex_unlock(&sh->lock);
		if (wal_flight_write(w) != ERR_OK)
			fatal("look at the disk (full?) and the kernel's log, then start again",
			      "%s", w->tail.why.text);
		wal_wake(w);
		pthread_mutex_lock(&sh->lock);
	}
	pthread_mutex_unlock(&sh->lock);
	return NULL;
}

static void init_conds(struct wal_shared *sh)
{
	pthread_condattr_t attr;

	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_mutex_init(&sh->lock, NULL) == 0);
	CHECK(pthread_cond_init(&sh->work, &attr) == 0);
	CHECK(pthread_cond_init(&sh->idle, &attr) == 0);
	CHECK(pthread_cond_init(&sh->prepare, &attr) == 0);
	CHECK(pthread_cond_init(&sh->spare_changed, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
}

void wal_shared_init(struct wal *w)
{
	struct wal_shared *sh = &w->sh;

	init_conds(sh);
	wal_pack_init(&sh->gather, w->batch_max);
	wal_pack_init(&sh->flight, w->batch_max);
	sh->spare_file.fd = sh->spare_found.fd = -1;
}

void wal_shared_free(struct wal *w)
{
	struct wal_shared *sh = &w->sh;

	wal_pack_free(&sh->gather);
	wal_pack_free(&sh->flight);
	wal_ops_free(&sh->news.ops);
	wal_file_close(w, &sh->spare_file);
	wal_file_close(w, &sh->spare_found);
	wal_sum_free(&sh->sealed);
	(void)pthread_cond_destroy(&sh->work);
	(void)pthread_cond_destroy(&sh->idle);
	(void)pthread_cond_destroy(&sh->prepare);
	(void)pthread_cond_destroy(&sh->spare_changed);
	(void)pthread_mutex_destroy(&sh->lock);
}

/* Signals belong to the loop: our threads block them all. */
int wal_threads_start(struct wal *w)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
	rc = pthread_create(&w->writer, NULL, writer_main, w);
	if (rc == 0) {
		w->threads = true;
		rc = pthread_create(&w->preparer, NULL, wal_spare_main, w);
		w->preparer_runs = rc == 0;
	}
	CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
	if (rc == 0) {
		(void)pthread_setname_np(w->writer, "log-writer");
		(void)pthread_setname_np(w->preparer, "log-preparer");
		return ERR_OK;
	}
	wal_why_set(&w->why, "cannot start a thread: %s", strerror(rc));
	wal_threads_stop(w);
	return ERR_IO;
}

/* The writer first: it may be waiting for a segment that the preparer makes. */
void wal_threads_stop(struct wal *w)
{
	struct wal_shared *sh = &w->sh;

	if (!w->threads)
		return;
	pthread_mutex_lock(&sh->lock);
	sh->stop = true;
	pthread_cond_signal(&sh->work);
	pthread_mutex_unlock(&sh->lock);
	CHECK(pthread_join(w->writer, NULL) == 0);
	atomic_store(&w->stopping, true);
	pthread_mutex_lock(&sh->lock);
	sh->stop_spare = true;
	pthread_cond_signal(&sh->prepare);
	pthread_mutex_unlock(&sh->lock);
	if (w->preparer_runs)
		CHECK(pthread_join(w->preparer, NULL) == 0);
	w->threads = false;
}
