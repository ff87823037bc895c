/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/snap_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/snapname.h"

enum { WRITER_OUT_BYTES = 1024 * 1024 };

struct writer_piece {
	uint64_t offset;
	size_t len;
	uint8_t data[LIMIT_SNAPSHOT_CHUNK_BYTES];
};

struct snap_writer {
	struct snap_writer_setup s;
	pthread_t thread;
	int event_fd;
	struct loop_io io;
	pthread_mutex_t lock;            /* of all below; a piece under way is the thread's alone */
	pthread_cond_t work;
	struct writer_piece *ring;       /* LIMIT_SNAPSHOT_CHUNKS of them */
	uint32_t head, count;
	int fd;                          /* -1: no file */
	bool ended, clean, stop;         /* the thread is to close the file, to remove others, to end */
	struct snapshot_id keep;         /* index 0: nothing */
	unsigned written;                /* pieces, not told yet */
	int error;                       /* errno: nothing more is written to this file */
};

/* ---- the thread ---- */

static void writer_wake(const struct snap_writer *w)
{
	uint64_t one = 1;
	ssize_t n;

	do
		n = write(w->event_fd, &one, sizeof one);
	while (n < 0 && errno == EINTR);
	CHECK(n == (ssize_t)sizeof one || errno == EAGAIN);
}

static int piece_write(const struct snap_writer *w, int fd, const struct writer_piece *p)
{
	uint64_t end = p->offset + p->len;
	ssize_t done;

	do
		done = w->s.write(fd, p->data, p->len, (off_t)p->offset);
	while (done < 0 && errno == EINTR);
	if (done != (ssize_t)p->len)
		return done < 0 ? errno : ENOSPC;
	/* Begun early and in small parts, so that the sync at the end has little left to do. */
	if (end / WRITER_OUT_BYTES != p->offset / WRITER_OUT_BYTES)
		(void)sync_file_range(fd, (off_t)(end / WRITER_OUT_BYTES - 1) * WRITER_OUT_BYTES, WRITER_OUT_BYTES,
				      SYNC_FILE_RANGE_WRITE);
	return 0;
}

/* With the lock, which is given up meanwhile. */
static void writer_piece(struct snap_writer *w)
{
	int fd = w->fd, error;

	pthread_mutex_unlock(&w->lock);
	error = piece_write(w, fd, &w->ring[w->head]);
	pthread_mutex_lock(&w->lock);
	if (w->ended)
		return;                  /* nobody wants to know any more */
	w->head = (w->head + 1) % LIMIT_SNAPSHOT_CHUNKS;
	w->count--;
	w->error = error;
	w->written += error == 0;
	writer_wake(w);
}

static void writer_close_file(struct snap_writer *w)
{
	int fd = w->fd;

	pthread_mutex_unlock(&w->lock);
	(void)close(fd);                 /* of a removed file: gives back its blocks */
	pthread_mutex_lock(&w->lock);
	w->fd = -1;
	w->ended = false;
}

static void files_remove(const char *data_dir, const struct snapshot_id *keep)
{
	char *path = snapname_dir(data_dir);
	DIR *dir = opendir(path);
	const struct dirent *e;
	struct snapshot_id id;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (!snapname_parse_incoming(e->d_name, &id) || memcmp(keep, &id, sizeof id) == 0)
			continue;
		if (unlinkat(dirfd(dir), e->d_name, 0) != 0)
			log_warn("cannot remove file=%s/%s error=\"%s\"", path, e->d_name, strerror(errno));
	}
	if (dir != NULL)
		(void)closedir(dir);
	mem_free(path);
}

static void writer_remove(struct snap_writer *w)
{
	struct snapshot_id keep = w->keep;

	pthread_mutex_unlock(&w->lock);
	files_remove(w->s.data_dir, &keep);
	pthread_mutex_lock(&w->lock);
	if (memcmp(&keep, &w->keep, sizeof keep) == 0)
		w->clean = false;
}

static void *writer_main(void *arg)
{
	struct snap_writer *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		if (w->ended)
			writer_close_file(w);
		else if (w->clean)
			writer_remove(w);
		else if (w->count > 0 && w->error == 0)
			writer_piece(w);
		else
			pthread_cond_wait(&w->work, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the loop ---- */

static void on_written(void *arg, uint32_t events)
{
	struct snap_writer *w = arg;
	uint64_t count;
	unsigned n;
	int error;

	(void)events;
	if (read(w->event_fd, &count, sizeof count) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
	pthread_mutex_lock(&w->lock);
	n = w->written;
	error = w->error;
	w->written = 0;
	pthread_mutex_unlock(&w->lock);
	if (n > 0 || error != 0)
		w->s.written(w->s.arg, n, error);
}

/* Signals belong to the loop: the thread blocks them all. */
static void writer_start(struct snap_writer *w)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
	rc = pthread_create(&w->thread, NULL, writer_main, w);
	CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
	if (rc != 0)
		fatal("give the machine more memory or lower the limits", "cannot start a thread: %s", strerror(rc));
	(void)pthread_setname_np(w->thread, "snap-writer");
}

struct snap_writer *snap_writer_open(const struct snap_writer_setup *s)
{
	struct snap_writer *w = mem_alloc(sizeof *w);

	w->s = *s;
	if (w->s.write == NULL)
		w->s.write = pwrite;
	w->fd = -1;
	w->ring = mem_array(LIMIT_SNAPSHOT_CHUNKS, sizeof *w->ring);
	w->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->event_fd < 0)
		fatal("raise the limit of open files", "no eventfd: %s", strerror(errno));
	CHECK(pthread_mutex_init(&w->lock, NULL) == 0 && pthread_cond_init(&w->work, NULL) == 0);
	loop_io_add(w->s.loop, &w->io, w->event_fd, EPOLLIN, on_written, w);
	writer_start(w);
	return w;
}

void snap_writer_close(struct snap_writer **wp)
{
	struct snap_writer *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	CHECK(pthread_join(w->thread, NULL) == 0);
	loop_io_del(w->s.loop, &w->io);
	(void)close(w->event_fd);
	if (w->fd >= 0)
		(void)close(w->fd);
	(void)pthread_cond_destroy(&w->work);
	(void)pthread_mutex_destroy(&w->lock);
	mem_free(w->ring);
	mem_free(w);
}

bool snap_writer_idle(struct snap_writer *w)
{
	bool idle;

	pthread_mutex_lock(&w->lock);
	idle = w->fd < 0 && !w->clean;
	pthread_mutex_unlock(&w->lock);
	return idle;
}

void snap_writer_begin(struct snap_writer *w, int fd)
{
	pthread_mutex_lock(&w->lock);
	CHECK(w->fd < 0 && !w->ended && w->count == 0 && fd >= 0);
	w->fd = fd;
	w->head = 0;
	w->written = 0;
	w->error = 0;
	pthread_mutex_unlock(&w->lock);
}

bool snap_writer_put(struct snap_writer *w, uint64_t offset, struct bytes data)
{
	struct writer_piece *p;

	CHECK(data.len > 0 && data.len <= LIMIT_SNAPSHOT_CHUNK_BYTES);
	pthread_mutex_lock(&w->lock);
	CHECK(w->fd >= 0 && !w->ended);
	p = w->count < LIMIT_SNAPSHOT_CHUNKS ? &w->ring[(w->head + w->count) % LIMIT_SNAPSHOT_CHUNKS] : NULL;
	if (p != NULL) {
		p->offset = offset;
		p->len = data.len;
		memcpy(p->data, data.data, data.len);
		w->count++;
		pthread_cond_signal(&w->work);
	}
	pthread_mutex_unlock(&w->lock);
	return p != NULL;
}

void snap_writer_end(struct snap_writer *w)
{
	pthread_mutex_lock(&w->lock);
	if (w->fd >= 0) {
		w->ended = true;
		pthread_cond_signal(&w->work);
	}
	w->count = 0;
	w->written = 0;
	w->error = 0;
	pthread_mutex_unlock(&w->lock);
}

void snap_writer_clean(struct snap_writer *w, const struct snapshot_id *keep)
{
	pthread_mutex_lock(&w->lock);
	w->clean = true;
	w->keep = keep != NULL ? *keep : (struct snapshot_id){0};
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}
