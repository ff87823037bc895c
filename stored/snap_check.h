/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a store whole? A copy is looked at since the log is cut behind it: what a bad disk or memory has
 * changed must not get into one unnoticed. The store itself is from time to time, since it is read.
 * Rows have checksums, and the pages that lead to them have none; so each table must have as many rows
 * as it says, in their order, and each must be found by its key.
 */
#ifndef QUORATE_SNAP_CHECK_H
#define QUORATE_SNAP_CHECK_H

#include "mvcc/okv.h"

/* In a read transaction of LMDB's. ERR_OK, or ERR_CORRUPT, which is named in the log. */
int snap_check(struct okv_txn *t);

#endif
