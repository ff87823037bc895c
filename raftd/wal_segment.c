/* SPDX-License-Identifier: Apache-2.0 */
/* Segment files: made under a temporary name, zero-filled, synced, renamed, and only then used. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "raftd/wal_int.h"

#define FILL_CHUNK (256u * KIB)
#define FILL_SYNC (1u * MIB)   /* little dirty data at a time: the log's own syncs wait behind it */

void wal_why_set(struct wal_why *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why->text, sizeof why->text, fmt, ap);
	va_end(ap);
}

int wal_damaged(const struct wal *w, struct wal_why *why, uint64_t number, uint64_t offset,
		const char *fmt, ...)
{
	char text[256], name[WAL_NAME_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	wal_name(name, number, WAL_NAME_SEGMENT);
	wal_why_set(why, "%s/%s offset %" PRIu64 ": %s; what to do: see docs/log-format.md, \"When the log "
		    "is damaged\"", w->dir, name, offset, text);
	(void)wal_known_remove(w, number);   /* the next start sees it too */
	return ERR_CORRUPT;
}

void wal_path(const struct wal *w, char *path, size_t cap, const char *name)
{
	int n = snprintf(path, cap, "%s/%s", w->dir, name);

	CHECK(n > 0 && (size_t)n < cap);
}

static void segment_path(const struct wal *w, char path[WAL_PATH_MAX], uint64_t number,
			 enum wal_name_type type)
{
	char name[WAL_NAME_MAX];

	wal_name(name, number, type);
	wal_path(w, path, WAL_PATH_MAX, name);
}

void wal_file_close(const struct wal *w, struct wal_file *file)
{
	if (file->fd >= 0)
		(void)w->io->close(w->io->ctx, file->fd);
	file->fd = -1;
}

/* With a given salt the bytes depend on nothing else: a simulated run can be repeated. */
static uint64_t salt_of(const struct wal *w, uint64_t number)
{
	uint64_t z = w->options.salt + number * 0x9e3779b97f4a7c15u;

	if (w->options.salt == 0 && getrandom(&z, sizeof z, 0) != (ssize_t)sizeof z)
		z = (uint64_t)mono_now().ns + number * 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void wal_header_init(const struct wal *w, uint64_t number, struct wal_header *h)
{
	*h = (struct wal_header){
		.segment = number, .cluster_id = w->options.cluster_id,
		.node_id = w->options.node_id,
		.salt = salt_of(w, number), .segment_bytes = w->options.segment_bytes,
		.batch_bytes = w->batch_max};
}

static int write_full(const struct wal *w, int fd, const uint8_t *from, size_t n, uint64_t offset)
{
	int64_t put = w->io->pwrite(w->io->ctx, fd, from, n, offset);

	if (put < 0)
		return (int)put;
	/* a short write of a file is a full disk or a limit */
	return (size_t)put == n ? 0 : -ENOSPC;
}

/* All blocks written once, so that overwriting them later changes no metadata. */
static int fill_zero(const struct wal *w, int fd, uint64_t bytes, const char **step)
{
	uint8_t *zero = mem_alloc(FILL_CHUNK);
	uint64_t at = 0;
	int rc = w->io->allocate(w->io->ctx, fd, bytes);

	*step = "allocate";
	if (rc == -EOPNOTSUPP || rc == -ENOSYS)
		rc = 0;
	while (rc == 0 && at < bytes) {
		size_t n = bytes - at < FILL_CHUNK ? (size_t)(bytes - at) : FILL_CHUNK;

		*step = "write";
		rc = atomic_load(&w->stopping) ? -ECANCELED : write_full(w, fd, zero, n, at);
		at += n;
		if (rc == 0 && at % FILL_SYNC == 0 && at < bytes && !atomic_load(&w->hurry)) {
			*step = "fdatasync";
			rc = w->io->fdatasync(w->io->ctx, fd);
		}
	}
	free(zero);
	return rc;
}

static int fill(const struct wal *w, struct wal_file *file, const char **step)
{
	uint8_t page[WAL_PAGE];
	int rc = fill_zero(w, file->fd, file->header.segment_bytes, step);

	if (rc < 0)
		return rc;
	*step = "write";
	wal_header_encode(page, &file->header);
	rc = write_full(w, file->fd, page, sizeof page, 0);
	if (rc < 0)
		return rc;
	*step = "fsync";
	return w->io->fsync(w->io->ctx, file->fd);
}

/* A file that failed is thrown away and the next try begins with a new one: no sync is retried. */
int wal_segment_make(const struct wal *w, uint64_t number, struct wal_file *file,
		     struct wal_why *why)
{
	char tmp[WAL_PATH_MAX], path[WAL_PATH_MAX];
	struct wal_stamp stamp;
	const char *step = "open";
	int rc;

	segment_path(w, tmp, number, WAL_NAME_TMP);
	segment_path(w, path, number, WAL_NAME_SEGMENT);
	wal_header_init(w, number, &file->header);
	file->fd = rc = w->io->open(w->io->ctx, tmp, true);
	if (rc >= 0)
		rc = fill(w, file, &step);
	if (rc >= 0) {
		step = "rename";
		rc = w->io->rename(w->io->ctx, tmp, path);
	}
	if (rc < 0) {
		wal_why_set(why, "cannot make log segment %s: %s: %s", tmp, step, strerror(-rc));
		wal_file_close(w, file);
		(void)w->io->unlink(w->io->ctx, tmp);
		return ERR_IO;
	}
	rc = w->io->sync_dir(w->io->ctx, w->dir);
	if (rc == 0) {
		if (w->io->stamp(w->io->ctx, file->fd, &stamp) >= 0)
			wal_known_write_unused(w, &file->header, &stamp);
		return ERR_OK;
	}
	wal_why_set(why, "cannot sync directory %s: %s", w->dir, strerror(-rc));
	wal_file_close(w, file);
	if (rc != -EMFILE && rc != -ENFILE)
		return ERR_INTERNAL;
	/* It was not even opened: no sync has failed, and the file holds nothing yet. */
	(void)w->io->unlink(w->io->ctx, path);
	return ERR_IO;
}

int wal_read_full(const struct wal *w, int fd, uint8_t *to, size_t n, uint64_t offset)
{
	while (n > 0) {
		size_t want = n < MIB ? n : MIB;
		int64_t got = w->io->pread(w->io->ctx, fd, to, want, offset);

		if (got <= 0)
			return got < 0 ? (int)got : -ENODATA;
		CHECK((uint64_t)got <= want);
		to += got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

static int check_header(const struct wal *w, const char *path, uint64_t number, const uint8_t *page,
			struct wal_header *h, struct wal_why *why)
{
	int rc = wal_header_decode(page, h);

	if (rc == ERR_VERSION) {
		wal_why_set(why,
			    "%s has a log format that this program does not know; what to do: run "
			    "the version that wrote it, or a newer one", path);
		return rc;
	}
	if (rc != ERR_OK || h->segment != number) {
		wal_why_set(why, "%s offset 0: the segment's header is damaged; what to do: see "
			    "docs/log-format.md, \"When the log is damaged\"", path);
		return ERR_CORRUPT;
	}
	if (h->cluster_id != w->options.cluster_id || h->node_id != w->options.node_id) {
		wal_why_set(why, "%s belongs to node %016" PRIx64 " of cluster %016" PRIx64
			    ", not to this one; what to do: give every node a directory of its own",
			    path,
			    h->node_id, h->cluster_id);
		return ERR_CONFIG;
	}
	return ERR_OK;
}

int wal_segment_open(const struct wal *w, uint64_t number, struct wal_file *file,
		     struct wal_why *why)
{
	char path[WAL_PATH_MAX];
	uint8_t page[WAL_PAGE];
	int64_t size;
	int rc;

	segment_path(w, path, number, WAL_NAME_SEGMENT);
	file->fd = rc = w->io->open(w->io->ctx, path, false);
	if (rc >= 0)
		rc = wal_read_full(w, file->fd, page, sizeof page, 0);
	size = rc < 0 ? rc : w->io->size(w->io->ctx, file->fd);
	if (rc == -ENODATA) {
		wal_why_set(why, "%s is shorter than a header; what to do: see docs/log-format.md, "
			    "\"When the log is damaged\"", path);
		rc = ERR_CORRUPT;
	} else if (size < 0) {
		wal_why_set(why, "cannot read log segment %s: %s", path, strerror((int)-size));
		rc = ERR_IO;
	} else {
		rc = check_header(w, path, number, page, &file->header, why);
	}
	if (rc == ERR_OK && (uint64_t)size != file->header.segment_bytes) {
		wal_why_set(why,
			    "%s has %" PRId64 " bytes instead of %" PRIu64 ", which no crash does; "
			    "what to do: see docs/log-format.md, \"When the log is damaged\"",
			    path, size, file->header.segment_bytes);
		rc = ERR_CORRUPT;
	}
	if (rc != ERR_OK)
		wal_file_close(w, file);
	return rc;
}

/* The oldest first: whatever a crash leaves is one stretch. */
int wal_segment_remove(const struct wal *w, uint64_t first, uint64_t end, struct wal_why *why)
{
	char path[WAL_PATH_MAX];
	int rc = 0;

	segment_path(w, path, first, WAL_NAME_SEGMENT);
	for (uint64_t number = first; rc == 0 && number < end; number++) {
		(void)wal_known_remove(w, number);   /* if one stays, the next start removes it */
		segment_path(w, path, number, WAL_NAME_SEGMENT);
		rc = w->io->unlink(w->io->ctx, path);
		if (rc == -ENOENT)
			rc = 0;
	}
	if (rc == 0)
		rc = w->io->sync_dir(w->io->ctx, w->dir);
	if (rc == 0)
		return ERR_OK;
	wal_why_set(why, "cannot remove old log segment %s: %s", path, strerror(-rc));
	return ERR_IO;
}
