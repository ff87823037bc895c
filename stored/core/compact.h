/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Physical compaction: a pass removes, first from the head of `log`, then through `past` in the
 * order of its keys, what no reader at or after the target revision can see. How far the pass has
 * come is kept in the tables, so it goes on after a restart. A new target that comes up during a
 * pass is the next pass's.
 *
 * Events at exactly the target stay: a watcher may begin there.
 */
#ifndef QUORATE_COMPACT_H
#define QUORATE_COMPACT_H

#include "mvcc/key.h"
#include "mvcc/row.h"

struct compactor {
	int64_t target;          /* of the pass under way; 0: none */
	struct mvcc_key position;/* in `past`; len 0: not begun, or still in `log` */
	bool dirty;              /* differs from what is in the tables */
};

int compactor_load(struct compactor *c, struct okv_txn *txn);
bool compactor_has_work(const struct compactor *c, const struct mvcc_state *s);
/* At most `rows` rows removed. Moves s->compacted_revision at the end of a pass. */
int compactor_step(struct compactor *c, struct okv_txn *txn, struct mvcc_state *s, size_t rows,
		   size_t *removed);
/* Before each commit. */
int compactor_flush(struct compactor *c, struct okv_txn *txn);

#endif
