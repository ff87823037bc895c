/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction that only reads, evaluated in steps at one revision, as mvcc_read_txn does it at
 * once: all its compares, then the ranges of the branches taken. Its answer is gathered in memory,
 * at most LIMIT_TXN_RESPONSE_BYTES, since an error may come late.
 */
#ifndef QUORATE_TXN_JOB_H
#define QUORATE_TXN_JOB_H

#include "gatewayd/range_job.h"

struct txn_frame {
	const struct kv_txn *txn;
	size_t compare;               /* the one being evaluated */
	bool decided, taken;
	size_t op;                    /* of the branch taken */
	size_t mark;                  /* where its result begins, of a nested one */
};

struct txn_job {
	int64_t at;                   /* the revision it sees */
	const struct form *form;
	struct txn_frame frames[LIMIT_TXN_DEPTH];
	size_t depth;                 /* frames in use; 0: done */
	bool in_range;
	struct range_job range;
	size_t range_mark;            /* where its result begins */
	bool any;                     /* of a compare's range: a key has been seen */
	struct buf last;              /* how far a compare over a range has got */
	bool moved;
	struct buf out;               /* the result, in its form */
};

/*
 * `txn` is the owner's; it has passed kv_check_txn and only reads. `header` is complete but for the
 * revision, which is set.
 */
void txn_job_begin(struct txn_job *j, const struct kv_txn *txn, const struct form *form,
		   const struct mvcc_view *v, struct kv_header *header);
/*
 * One step. ERR_OK: done if j->depth is 0, and j->out is the result. ERR_COMPACTED,
 * ERR_FUTURE_REV, ERR_SORT_TOO_LARGE, ERR_RESPONSE_TOO_LARGE, ERR_CORRUPT: the answer.
 * `kept` and *spent (a sorter to be freed in steps, or NULL) as in range_job.h.
 */
int txn_job_step(struct txn_job *j, struct step *s, struct buf *kept, struct sorter **spent);
struct sorter *txn_job_end(struct txn_job *j);
size_t txn_job_bytes(const struct txn_job *j);

#endif
