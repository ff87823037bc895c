/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in DATA_DIR/snap, the one directory of a node into which two daemons write: stored its
 * snapshots, raftd what comes in from another node until it is whole (docs/snapshot-format.md).
 *
 *   snap-<index>-<crc>.snap                     a snapshot, durable
 *   incoming-<index>-<term>-<bytes>-<crc>       raftd's; its length says how much has come
 *   new/                                        stored's copy under way
 *
 * Numbers are decimal, index with 20 digits so that names sort; crc is 8 hexadecimal digits.
 */
#ifndef QUORATE_SNAPNAME_H
#define QUORATE_SNAPNAME_H

#include <stdbool.h>

#include "proto/link_apply.h"

#define SNAPNAME_DIR "snap"

/* Below data_dir; mem_alloc'ed. */
char *snapname_dir(const char *data_dir);
char *snapname_path(const char *data_dir, uint64_t index, uint64_t crc);
char *snapname_incoming(const char *data_dir, const struct snapshot_id *id);

/* Whether it is such a name, and what it says. */
bool snapname_parse(const char *name, uint64_t *index, uint64_t *crc);
bool snapname_parse_incoming(const char *name, struct snapshot_id *id);

#endif
