/* SPDX-License-Identifier: Apache-2.0 */
/* What tests do to the disk, and ask it, by hand. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/lib/wal_disk_int.h"

uint8_t *wal_disk_bytes(struct wal_disk *d, const char *name, size_t *size)
{
	size_t i = wal_disk_find(&d->now, name);

	if (i == NAMES)
		return NULL;
	*size = d->now.node[i]->size;
	return d->now.node[i]->now;
}

void wal_disk_rot(struct wal_disk *d, const char *name)
{
	size_t i = wal_disk_find(&d->now, name);

	CHECK(i < NAMES);
	memcpy(d->now.node[i]->medium, d->now.node[i]->now, d->now.node[i]->cap);
}

void wal_disk_flush(struct wal_disk *d, const char *name)
{
	wal_disk_rot(d, name);
	d->now.node[wal_disk_find(&d->now, name)]->version++;
}

void wal_disk_resize(struct wal_disk *d, const char *name, size_t size)
{
	size_t i = wal_disk_find(&d->now, name);

	CHECK(i < NAMES);
	wal_disk_grow(d->now.node[i], size);
	d->now.node[i]->version++;
	d->now.node[i]->size = d->now.node[i]->medium_size = size;
}

size_t wal_disk_files(const struct wal_disk *d)
{
	size_t n = 0;

	for (size_t i = 0; i < NAMES; i++)
		n += d->now.node[i] != NULL;
	return n;
}

bool wal_disk_name(const struct wal_disk *d, size_t i, char *name, size_t cap)
{
	for (size_t k = 0; k < NAMES; k++) {
		if (d->now.node[k] == NULL || i-- > 0)
			continue;
		return snprintf(name, cap, "%s", d->now.name[k]) < (int)cap;
	}
	return false;
}

bool wal_disk_dead(const struct wal_disk *d)
{
	return d->dead;
}

int wal_disk_open_fds(const struct wal_disk *d)
{
	int n = 0;

	for (size_t i = 0; i < FDS; i++)
		n += d->fds[i] != NULL;
	return n;
}
