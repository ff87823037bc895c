/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much history is to stay, and which revision can therefore be compacted now: by the settings
 * history_s and history_revisions. No clock, no store: both are told.
 *
 * What either setting keeps is kept. By time, the revision of a moment is remembered twenty times
 * in history_s, so up to a twentieth more stays; by revisions, up to a tenth more, so that not
 * every write is followed by a compaction.
 */
#ifndef QUORATE_RETENTION_H
#define QUORATE_RETENTION_H

#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"

enum { RETENTION_MARKS = 20, RETENTION_LOOK_MS = 1000 };

struct retention_mark {
	mono_t at;
	int64_t revision;              /* the newest one then */
};

struct retention {
	int64_t keep_ms, keep_revisions;   /* 0: not by this */
	int64_t mark_ms;                   /* from one mark to the next */
	struct retention_mark marks[RETENTION_MARKS + 2];
	size_t n;
};

void retention_init(struct retention *h, uint64_t keep_s, uint64_t keep_revisions);
/* Milliseconds from one look to the next; 0: nothing is ever compacted by itself. */
int64_t retention_look_ms(const struct retention *h);
/* To be called that often. The revision to compact at, or 0. */
int64_t retention_look(struct retention *h, mono_t now, int64_t revision, int64_t compact_revision);

#endif
