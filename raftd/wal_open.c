/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the log. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/wal_int.h"

static bool set_options(struct wal *w, const struct wal_options *given)
{
	struct wal_options *o = &w->options;
	size_t batch;

	*o = *given;
	if (o->segment_bytes == 0)
		o->segment_bytes = LIMIT_WAL_SEGMENT_BYTES;
	if (o->batch_bytes == 0)
		o->batch_bytes = LIMIT_WAL_BATCH_BYTES;
	if (o->cache_bytes == 0)
		o->cache_bytes = LIMIT_WAL_CACHE_BYTES;
	if (o->segment_bytes < WAL_SEGMENT_MIN || o->segment_bytes > LIMIT_WAL_SEGMENT_MAX ||
	    o->segment_bytes % WAL_PAGE != 0 || o->batch_bytes < WAL_PAGE ||
	    o->batch_bytes > LIMIT_WAL_BATCH_BYTES)
		return false;
	batch = o->segment_bytes - 2 * WAL_PAGE;   /* the header, the batch of the head */
	if (batch > o->batch_bytes)
		batch = o->batch_bytes;
	w->batch_max = (uint32_t)(batch / WAL_PAGE * WAL_PAGE);
	return true;
}

static int lock_dir(struct wal *w)
{
	char path[WAL_PATH_MAX];
	int rc;

	wal_path(w, path, sizeof path, "lock");
	w->lock_fd = rc = w->io->lock(w->io->ctx, path);
	if (rc >= 0)
		return ERR_OK;
	if (rc == -EWOULDBLOCK) {
		wal_why_set(&w->why,
			    "%s is in use by another process; what to do: stop that one first",
			    w->dir);
		return ERR_EXISTS;
	}
	wal_why_set(&w->why, "cannot lock %s: %s", path, strerror(-rc));
	return ERR_IO;
}

static int start(struct wal *w)
{
	if (w->options.synchronous)
		return ERR_OK;
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->event_fd < 0) {
		wal_why_set(&w->why, "cannot make an event descriptor: %s", strerror(errno));
		return ERR_IO;
	}
	return wal_threads_start(w);
}

static void release(struct wal *w)
{
	wal_threads_stop(w);
	if (w->event_fd >= 0)
		(void)close(w->event_fd);
	wal_file_close(w, &w->tail.file);
	wal_file_close(w, &w->cold);
	wal_check_free(w);
	wal_sum_free(&w->tail.sum);
	wal_shared_free(w);
	wal_cache_free(&w->cache);
	wal_points_free(&w->points);
	wal_state_free(&w->state);
	wal_ops_free(&w->ops_back);
	free(w->segments);
	if (w->lock_fd >= 0)
		(void)w->io->close(w->io->ctx, w->lock_fd);
	free(w->dir);
	free(w);
}

static int open_locked(struct wal *w, struct wal_recovered *rec)
{
	int rc = wal_recover(w, rec);

	if (rc != ERR_OK)
		return rc;
	wal_cache_init(&w->cache, w->options.cache_bytes, w->state.last + 1);
	return start(w);
}

int wal_open(const char *dir, const struct wal_options *options, struct wal **out,
	     struct wal_recovered *rec)
{
	struct wal *w = mem_alloc(sizeof *w);
	int rc = ERR_CONFIG;

	*out = NULL;
	*rec = (struct wal_recovered){0};
	w->io = options->io ? options->io : &wal_io_posix;
	w->dir = mem_strdup(dir);
	w->batch_max = WAL_PAGE;   /* until the options are known to be good */
	w->lock_fd = w->event_fd = w->tail.file.fd = w->cold.fd = w->check.file.fd = -1;
	w->boot_known = w->io->boot(w->io->ctx, w->boot) >= 0;
	wal_state_init(&w->state);
	wal_points_init(&w->points, LIMIT_WAL_POINTS);
	if (strlen(dir) + WAL_NAME_MAX >= WAL_PATH_MAX)
		wal_why_set(&w->why, "the log's directory name is too long");
	else if (!set_options(w, options))
		wal_why_set(&w->why, "the log's segment size or batch size is out of range");
	else
		rc = ERR_OK;
	wal_shared_init(w);
	if (rc == ERR_OK)
		rc = lock_dir(w);
	if (rc == ERR_OK)
		rc = open_locked(w, rec);
	if (rc == ERR_OK) {
		*out = w;
		return ERR_OK;
	}
	memcpy(rec->why, w->why.text, sizeof rec->why);
	rec->runs = NULL;
	rec->nruns = 0;
	release(w);
	return rc;
}

void wal_close(struct wal **wp)
{
	struct wal *w = *wp;

	if (w == NULL)
		return;
	(void)wal_sync_now(w);
	release(w);
	*wp = NULL;
}

void wal_abandon(struct wal **wp)
{
	if (*wp == NULL)
		return;
	release(*wp);
	*wp = NULL;
}
