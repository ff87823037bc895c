/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Summaries on disk: written beside their segments, without a sync, since only a start in the same
 * boot believes them; and whoever cannot write one only makes the next start slower.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal_int.h"

static void sum_path(const struct wal *w, char path[WAL_PATH_MAX], uint64_t number)
{
	char name[WAL_NAME_MAX];

	wal_name(name, number, WAL_NAME_SUMMARY);
	wal_path(w, path, WAL_PATH_MAX, name);
}

int wal_known_remove(const struct wal *w, uint64_t number)
{
	char path[WAL_PATH_MAX];
	int rc;

	sum_path(w, path, number);
	rc = w->io->unlink(w->io->ctx, path);
	return rc == -ENOENT ? 0 : rc;
}

static int write_bytes(const struct wal *w, const char *path, struct bytes v)
{
	int fd = w->io->open(w->io->ctx, path, true), rc;
	int64_t put;

	if (fd < 0)
		return fd;
	put = w->io->pwrite(w->io->ctx, fd, v.data, v.len, 0);
	rc = put < 0 ? (int)put : (size_t)put == v.len ? 0 : -ENOSPC;
	(void)w->io->close(w->io->ctx, fd);
	return rc;
}

/* A part of one, left by a kill, has no good checksum. */
void wal_known_write(const struct wal *w, struct wal_sum *s)
{
	struct buf out;
	char path[WAL_PATH_MAX];
	int rc = wal_known_remove(w, s->segment);

	if (!w->boot_known || s->overflow)
		return;
	memcpy(s->boot, w->boot, sizeof s->boot);
	buf_init(&out, WAL_SUM_BYTES_MAX);
	wal_sum_encode(s, &out);
	sum_path(w, path, s->segment);
	if (rc == 0)
		rc = write_bytes(w, path, buf_bytes(&out));
	buf_free(&out);
	if (rc == 0)
		return;
	log_warn("no summary of a log segment: the next start reads all of it path=%s error=%s", path,
		 strerror(-rc));
	(void)wal_known_remove(w, s->segment);
}

void wal_known_write_unused(const struct wal *w, const struct wal_header *h,
			    const struct wal_stamp *stamp)
{
	struct wal_sum s = {.state = WAL_SUM_UNUSED, .segment = h->segment, .seed = h->seed,
			    .stamp = *stamp};

	wal_known_write(w, &s);
}

static int read_bytes(const struct wal *w, const char *path, struct buf *out)
{
	int fd = w->io->open(w->io->ctx, path, false), rc = -ENODATA;
	int64_t size;
	uint8_t *to;

	if (fd < 0)
		return fd;
	size = w->io->size(w->io->ctx, fd);
	to = size > 0 ? buf_reserve(out, (size_t)size) : NULL;
	if (to != NULL)
		rc = wal_read_full(w, fd, to, (size_t)size, 0);
	if (rc == 0)
		out->len = (size_t)size;
	(void)w->io->close(w->io->ctx, fd);
	return rc;
}

static bool same_stamp(const struct wal_stamp *a, const struct wal_stamp *b)
{
	return a->inode == b->inode && a->size == b->size && a->modified_ns == b->modified_ns &&
	       a->changed_ns == b->changed_ns;
}

static bool rows_fit(const struct wal_sum *s, uint64_t segment_bytes)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->rows[i].offset >= s->end)
			return false;
	return s->state != WAL_SUM_SEALED || s->end <= segment_bytes;
}

/* Of this boot, of this very file, and nobody has touched it since. */
static bool fits(const struct wal *w, const struct wal_file *file, const struct wal_sum *s)
{
	struct wal_stamp now;

	return memcmp(s->boot, w->boot, sizeof s->boot) == 0 &&
	       s->segment == file->header.segment && s->seed == file->header.seed &&
	       rows_fit(s, file->header.segment_bytes) &&
	       w->io->stamp(w->io->ctx, file->fd, &now) >= 0 && same_stamp(&s->stamp, &now);
}

bool wal_known_read(const struct wal *w, const struct wal_file *file, struct wal_sum *s)
{
	char path[WAL_PATH_MAX];
	struct buf in;
	bool known = false;

	*s = (struct wal_sum){.rows = NULL};
	if (!w->boot_known)
		return false;
	buf_init(&in, WAL_SUM_BYTES_MAX);
	sum_path(w, path, file->header.segment);
	if (read_bytes(w, path, &in) == 0 && wal_sum_decode(buf_bytes(&in), s) == ERR_OK)
		known = fits(w, file, s);
	buf_free(&in);
	if (!known)
		wal_sum_free(s);
	return known;
}
