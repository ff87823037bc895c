/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a power cut leaves of the files that preload_record.so watched. The records are played one
 * by one; at any of them a directory can be filled with one of the images that are possible there:
 *
 * - what was synced is there
 * - of everything else each sector of 512 bytes is as it was, or as any later write made it
 * - a file is as long as synced, or as some unsynced write made it
 * - of the unsynced changes of a directory the first so many have happened (as in a journal), in
 *   each directory so many as chance wants; a synced file may be without a name
 */
#ifndef QUORATE_TEST_POWER_DISK_H
#define QUORATE_TEST_POWER_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/power_record.h"

struct power_disk;

struct power_disk *power_disk_read(const char *trace);
void power_disk_free(struct power_disk *d);
size_t power_disk_records(const struct power_disk *d);

/* Plays the next one; NULL at the end. The bytes behind it are at *data. */
const struct power_record *power_disk_step(struct power_disk *d, const uint8_t **data);

/* Into the empty directory `dir`, as chance wants; `lose` nothing: the page cache, as a kill leaves it. */
void power_disk_image(const struct power_disk *d, uint64_t *random, bool lose, const char *dir);

#endif
