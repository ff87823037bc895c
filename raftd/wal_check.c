/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads in the background what a start has believed of summaries: as a start that believes nothing
 * would, and with the same words if it is damaged. Until then a damaged entry is found by whoever
 * reads it: each read verifies the checksums on its way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/wal_int.h"

#define CHECK_SLICE (1u * MIB)

static int reader_read(void *arg, uint8_t *to, size_t n, uint64_t offset)
{
	const struct wal_reader *r = arg;

	return atomic_load(&r->w->stopping) ? -ECANCELED : wal_read_full(r->w, r->fd, to, n, offset);
}

struct wal_source wal_source_of(struct wal_reader *r)
{
	return (struct wal_source){.read = reader_read, .arg = r};
}

static int unreadable(const struct wal *w, struct wal_why *why, uint64_t number, int rc)
{
	char name[WAL_NAME_MAX];

	wal_name(name, number, WAL_NAME_SEGMENT);
	wal_why_set(why, "%s/%s: cannot read a segment: %s", w->dir, name, strerror(-rc));
	if (rc != -ECANCELED)
		(void)wal_known_remove(w, number);
	return ERR_IO;
}

int wal_check_unused(const struct wal *w, const struct wal_file *file, struct wal_why *why)
{
	struct wal_reader reader = {w, file->fd};
	struct wal_source source = wal_source_of(&reader);
	uint64_t number = file->header.segment;
	struct wal_scan s;
	int rc = ERR_OK;

	wal_scan_open(&s, &source, &file->header, 0);
	switch (wal_scan_next(&s)) {
	case WAL_FOUND_END:
		break;
	case WAL_FOUND_FAILED:
		rc = unreadable(w, why, number, s.rc);
		break;
	case WAL_FOUND_CORRUPT:
		rc = wal_damaged(w, why, number, s.bad, "%s", s.why);
		break;
	case WAL_FOUND_BATCH:
	case WAL_FOUND_TORN:
		rc = wal_damaged(w, why, number, WAL_PAGE,
				 "there are bytes where nothing was ever written");
	}
	wal_scan_close(&s);
	return rc;
}

static void next_segment(struct wal *w)
{
	struct wal_check *c = &w->check;

	wal_file_close(w, &c->file);
	wal_scan_close(&c->scan);
	c->next++;
	if (c->next == c->n)
		log_info("the log's older segments are what their summaries say segments=%zu", c->n);
}

/* The same as read_segment() of raftd/wal_recover.c says. */
static int judge(struct wal *w, enum wal_found found)
{
	struct wal_check *c = &w->check;
	const struct wal_believed *b = &c->v[c->next];

	switch (found) {
	case WAL_FOUND_BATCH:
		return ERR_OK;
	case WAL_FOUND_END:
		if (c->scan.at.offset != b->end || c->scan.at.chain != b->crc)
			return wal_damaged(w, &c->why, b->number, c->scan.at.offset,
					   "the segment does not end where it did");
		next_segment(w);
		return ERR_OK;
	case WAL_FOUND_TORN:
		return wal_damaged(w, &c->why, b->number, c->scan.at.offset,
				   "a batch is not whole, but a newer segment is in use");
	case WAL_FOUND_CORRUPT:
		return wal_damaged(w, &c->why, b->number, c->scan.bad, "%s", c->scan.why);
	case WAL_FOUND_FAILED:
		break;
	}
	return c->scan.rc == -ECANCELED ? ERR_OK : unreadable(w, &c->why, b->number, c->scan.rc);
}

int wal_check_slice(struct wal *w, uint64_t oldest)
{
	struct wal_check *c = &w->check;
	struct wal_reader reader;
	uint32_t begin;
	int rc = ERR_OK;

	CHECK(c->next < c->n);
	if (c->v[c->next].number < oldest) {   /* a snapshot has cut it off */
		next_segment(w);
		return ERR_OK;
	}
	if (c->file.fd < 0) {
		struct wal_source none = {.read = NULL};

		rc = wal_segment_open(w, c->v[c->next].number, &c->file, &c->why);
		if (rc != ERR_OK)
			return rc;
		wal_scan_open(&c->scan, &none, &c->file.header, 0);
	}
	reader = (struct wal_reader){w, c->file.fd};
	c->scan.source = wal_source_of(&reader);
	begin = c->scan.at.offset;
	while (c->file.fd >= 0 && rc == ERR_OK && c->scan.at.offset - begin < CHECK_SLICE) {
		enum wal_found found = wal_scan_next(&c->scan);

		rc = judge(w, found);
		if (found == WAL_FOUND_FAILED)
			break;
	}
	return rc;
}

void wal_check_free(struct wal *w)
{
	struct wal_check *c = &w->check;

	wal_file_close(w, &c->file);
	wal_scan_close(&c->scan);
	mem_free(c->v);
	c->v = NULL;
	c->n = c->next = 0;
}
