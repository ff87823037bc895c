/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a copy of the store whole? The log is cut behind it: what a bad disk or memory has changed must
 * not get into one unnoticed. Rows have checksums, and the pages that lead to them have none; so each
 * table must have as many rows as it says, in their order, and each must be found by its key.
 */
#ifndef QUORATE_SNAP_CHECK_H
#define QUORATE_SNAP_CHECK_H

#include "mvcc/okv.h"

/* In a read transaction of that database. ERR_OK, or ERR_CORRUPT, which is named in the log. */
int snap_check(struct okv *db, struct okv_txn *t);

#endif
