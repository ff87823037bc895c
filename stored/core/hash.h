/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash over the store's content at a revision: every version of every key that can still be read
 * there or between it and the compacted revision, and every event. Equal on all replicas at equal
 * revision and compacted revision, however far each of them has got in giving space back.
 *
 * Computed in steps, each in a view of its own, while the store goes on.
 */
#ifndef QUORATE_STORE_HASH_H
#define QUORATE_STORE_HASH_H

#include "mvcc/digest.h"
#include "mvcc/view.h"

struct store_hash {
	int64_t revision, compact_revision;
	bool in_log;                     /* the keys are done */
	struct mvcc_key position;        /* a row's key: everything up to it is done; len 0: nothing */
	struct digest digest;
	uint8_t hash[DIGEST_BYTES];      /* when it is finished */
};

/* At `revision` (<= 0: the view's). ERR_OK, ERR_COMPACTED, ERR_FUTURE_REV. */
int store_hash_begin(struct store_hash *h, const struct mvcc_view *v, int64_t revision);
/*
 * Looks at up to `rows` rows. ERR_LIMIT: not finished; ERR_OK: h->hash is there; ERR_COMPACTED: the
 * revision has been compacted meanwhile (if only older ones have, it begins anew by itself);
 * ERR_CORRUPT.
 */
int store_hash_step(struct store_hash *h, struct mvcc_view *v, size_t rows);

#endif
