/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At most once. A command's id is (gateway incarnation, seq). The results of the newest commands are
 * kept, in the order of the log; what falls out of that window raises its gateway's floor, and
 * nothing at or below the floor is ever applied again. Without an open session nothing is applied
 * at all, so that an incarnation whose floor has been forgotten cannot come back.
 *
 * The tables `done` and `gateways` hold all of it; here is what is needed to find a row. Everything
 * follows from the log alone: no clock, no chance. The limits are part of the store's format.
 */
#ifndef QUORATE_DEDUP_H
#define QUORATE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "mvcc/okv.h"
#include "mvcc/row.h"
#include "stored/core/effects.h"

struct dedup;

struct dedup *dedup_new(void);
void dedup_free(struct dedup **d);
/* From the tables. ERR_OK, ERR_CORRUPT (also: they do not fit together), the backend's errors. */
int dedup_load(struct dedup *d, struct okv_txn *txn);

enum dedup_verdict {
	DEDUP_NEW,               /* apply it, then dedup_add */
	DEDUP_DONE,              /* it was applied at *index */
	DEDUP_TOO_OLD,           /* it may have been applied */
	DEDUP_NO_SESSION
};
enum dedup_verdict dedup_judge(const struct dedup *d, uint64_t gateway, uint64_t seq, uint64_t *index);

/* The kept result of the command at `index`; its bytes last until the next write. */
int dedup_result(struct okv_txn *txn, uint64_t index, struct mvcc_done *out);

/* Opens the gateway's session unless it is open; the one unused for longest may have to go. */
int dedup_open(struct dedup *d, struct okv_txn *txn, struct effects *e, uint64_t gateway, uint64_t index);
/* The gateway is alive: a command of it stands at `index`. */
void dedup_use(struct dedup *d, uint64_t gateway, uint64_t index);
/* Keeps a result; the oldest ones may have to go. */
int dedup_add(struct dedup *d, struct okv_txn *txn, struct effects *e, const struct mvcc_done *done);
/* Writes the sessions that have changed: before each commit. */
int dedup_flush(struct dedup *d, struct okv_txn *txn);

size_t dedup_rows(const struct dedup *d);
size_t dedup_bytes(const struct dedup *d);
size_t dedup_sessions(const struct dedup *d);

#endif
