/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The markers of long keys (mvcc/layout.h), for who writes `now` and `past`: a marker is there
 * exactly as long as the level below it has a row in the same table. So they follow from the rows
 * alone, whatever order those came and went in.
 *
 * `enc` is the encoded key without revision, `key` the whole key, which must not lie in the tables.
 * Keys of the top level have no markers, and cost nothing here.
 */
#ifndef QUORATE_LEVELS_H
#define QUORATE_LEVELS_H

#include "mvcc/key.h"
#include "mvcc/okv.h"

/* Before a row of the key is put. */
int levels_add(struct okv_txn *txn, enum okv_table table, struct bytes enc, struct bytes key);
/* After one has been removed. *gone goes up by the markers that went with it. */
int levels_drop(struct okv_txn *txn, enum okv_table table, struct bytes enc, struct bytes key, size_t *gone);

#endif
