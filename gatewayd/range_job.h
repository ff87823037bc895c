/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One range, read in steps: each step looks at a bounded number of rows in a view that may be
 * another one each time, always at the same revision.
 *
 *   BEGIN --sorted: GATHER keys, ORDER them---.        ,--all of it is kept: whole-------.
 *     \-----------------------------------> TAKE ------+                                v
 *      \                       keeps the pairs \-too much: SIZE the rest, COUNT it --> READY --> EMIT --> DONE
 *       \-only a number is asked: COUNT --------------------------------------------------^
 *
 * An answer's length and number of pairs stand before the pairs. So the first of them are kept, written, up
 * to keep_max bytes; only what goes beyond is measured (if the form has sizes) and read once more.
 *
 * Memory: what it keeps, keys of two places, and what it sorts (sort.h).
 */
#ifndef QUORATE_RANGE_JOB_H
#define QUORATE_RANGE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gatewayd/form.h"
#include "gatewayd/sort.h"
#include "gatewayd/step.h"
#include "mvcc/mvcc.h"
#include "proto/kv.h"

enum range_phase { RANGE_BEGIN, RANGE_GATHER, RANGE_ORDER, RANGE_TAKE, RANGE_SIZE, RANGE_COUNT, RANGE_READY,
		   RANGE_EMIT, RANGE_DONE };

struct range_job {
	const struct kv_range *r;     /* the owner's; checked by kv_check_range */
	const struct form *form;
	enum range_phase phase;
	int64_t at;                   /* the revision it reads */
	int64_t latest;               /* the store's revision when it began */
	bool filtered, sorted, first_rows;   /* first_rows: only the first limit + 1 are sorted */
	bool sized;                   /* its bytes are counted before the first is written */
	int64_t count;
	uint64_t matched;             /* rows that pass the filters; counted up to limit + 1 */
	uint64_t n, sent;             /* pairs of the answer */
	uint64_t taken;               /* of them: kept */
	uint64_t pair_bytes;          /* of all of them, if `sized` */
	size_t keep_max;              /* no more is kept behind so many bytes */
	bool more;
	bool moved;                   /* `last` is set */
	struct buf last;              /* the last key looked at */
	struct buf behind_kept;       /* and what it was when no more was kept; empty: nothing is kept */
	struct buf kept;              /* between two steps, and if it is not all */
	struct sorter *sort;
};

/*
 * Begins in this view. ERR_OK, ERR_COMPACTED, ERR_FUTURE_REV. in_txn: only a revision of 0 means
 * the latest, and that is `latest`, the transaction's.
 */
int range_job_begin(struct range_job *j, const struct kv_range *r, const struct form *form,
		    const struct mvcc_view *v);
int range_job_begin_in_txn(struct range_job *j, const struct kv_range *r, const struct form *form,
			   const struct mvcc_view *v, int64_t latest);

/*
 * One step towards READY; if it is that already, only whether its revision is still there. What it keeps is in `spare` at first, and stays there if the job is whole after
 * this step: then the answer must be written before `spare` is used again. ERR_OK (look at the phase),
 * ERR_SORT_TOO_LARGE, ERR_COMPACTED (the revision was lost between two steps), ERR_CORRUPT.
 */
int range_job_prepare(struct range_job *j, struct step *s, struct buf *spare);
/* READY, and all pairs are kept. */
bool range_job_whole(const struct range_job *j);
/* Gives the memory of what it has kept back: that is read again. Up to READY, and not when it is whole. */
void range_job_unkeep(struct range_job *j);
/* READY, and not whole: the bytes of the whole answer, if the form knows sizes; else 0. */
size_t range_job_total(const struct range_job *j, const struct kv_header *header);
/* READY: the beginning of a range's result, with what is kept; everything if it is whole (then DONE). */
void range_job_head(struct range_job *j, struct buf *out, const struct kv_header *header, struct buf *spare);
/*
 * READY, and whole: the same as range_job_head without a copy. `out` becomes the owner of the bytes, which begin at
 * *at: RANGE_ROOM is before the pairs for the head, of which at least RANGE_ROOM_LEFT is left.
 */
enum { RANGE_ROOM = 64, RANGE_ROOM_LEFT = 8 };
void range_job_hand_over(struct range_job *j, struct buf *out, size_t *at, const struct kv_header *header,
			 struct buf *spare);
/* Bytes of the pairs that are kept. */
size_t range_job_kept(const struct range_job *j, const struct buf *spare);
/* EMIT: one step of pairs. As range_job_prepare; an error leaves the answer in the middle. */
int range_job_emit(struct range_job *j, struct step *s, struct buf *out);

/* Hands the sorter over, which may be too large to be freed at once; NULL if there is none. */
struct sorter *range_job_end(struct range_job *j);
size_t range_job_bytes(const struct range_job *j);

#endif
