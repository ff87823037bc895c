/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/retention.h"

#include <string.h>

#include "base/check.h"

void retention_init(struct retention *h, uint64_t keep_s, uint64_t keep_revisions)
{
	*h = (struct retention){.keep_ms = (int64_t)keep_s * 1000, .keep_revisions = (int64_t)keep_revisions};
	h->mark_ms = h->keep_ms / RETENTION_MARKS;
	if (h->mark_ms < RETENTION_LOOK_MS)
		h->mark_ms = RETENTION_LOOK_MS;
}

int64_t retention_look_ms(const struct retention *h)
{
	if (h->keep_revisions > 0)
		return RETENTION_LOOK_MS;
	return h->keep_ms > 0 ? h->mark_ms : 0;
}

static bool mark_is_old(const struct retention *h, size_t i, mono_t now)
{
	return mono_sub_ms(now, h->marks[i].at) >= h->keep_ms;
}

/* Of the marks that are old enough only the newest is of use. */
static void retention_forget(struct retention *h, mono_t now)
{
	size_t old = 0;

	while (old + 1 < h->n && mark_is_old(h, old + 1, now))
		old++;
	h->n -= old;
	memmove(h->marks, h->marks + old, h->n * sizeof *h->marks);
}

/* Timers are late, never early: marks are at least mark_ms apart, and those that count fit. */
static void retention_mark(struct retention *h, mono_t now, int64_t revision)
{
	if (h->n > 0 && mono_sub_ms(now, h->marks[h->n - 1].at) < h->mark_ms)
		return;
	CHECK(h->n < RETENTION_MARKS + 2);
	h->marks[h->n++] = (struct retention_mark){now, revision};
}

/* The revision that was the newest one keep_ms ago, or a little before; 0: that is not known. */
static int64_t retention_by_time(struct retention *h, mono_t now, int64_t revision)
{
	retention_forget(h, now);
	retention_mark(h, now, revision);
	return mark_is_old(h, 0, now) ? h->marks[0].revision : 0;
}

static int64_t retention_by_revisions(const struct retention *h, int64_t revision, int64_t compact_revision)
{
	int64_t oldest = compact_revision > 0 ? compact_revision : 0;
	int64_t excess = revision - oldest - h->keep_revisions;

	return excess > h->keep_revisions / 10 ? revision - h->keep_revisions : 0;
}

int64_t retention_look(struct retention *h, mono_t now, int64_t revision, int64_t compact_revision)
{
	int64_t target = revision;

	if (h->keep_ms > 0)
		target = retention_by_time(h, now, revision);
	if (h->keep_revisions > 0) {
		int64_t by = retention_by_revisions(h, revision, compact_revision);

		target = by < target ? by : target;
	}
	return target > 0 && target > compact_revision ? target : 0;
}
