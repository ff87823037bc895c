/* SPDX-License-Identifier: Apache-2.0 */
/* A store on disk below tap_dir() to make snapshots of: cluster 5. */
#ifndef QUORATE_SNAP_STORE_H
#define QUORATE_SNAP_STORE_H

#include "stored/snap_file.h"
#include "stored/store.h"

const char *snap_store_path(const char *name);           /* below tap_dir(); one of the last eight */
void snap_store_up(struct store *s, uint64_t node_id, const char *boot);
void snap_store_up_in(struct store *s, const char *data_dir, uint64_t node_id, const char *boot);
void snap_store_drop(struct store *s);                   /* as if it had been killed */
void snap_store_put(struct store *s, const char *key, const char *value);
const char *snap_store_value(struct store *s, const char *key);
struct snap_job snap_store_job(uint64_t node_id, uint64_t generation);

#endif
