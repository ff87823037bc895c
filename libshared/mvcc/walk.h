/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the live keys at a revision in the order of keys, down into the levels of long keys and up
 * again (mvcc/layout.h). A key costs as many looks at rows as there are levels between it and the
 * key before it.
 */
#ifndef QUORATE_MVCC_WALK_H
#define QUORATE_MVCC_WALK_H

#include "mvcc/view.h"

struct mvcc_walk {
	int64_t at;
	struct okv_cursor *now, *past;       /* past: NULL when reading the latest revision */
	struct okv_row now_row, past_row;    /* what comes next of each in this level */
	struct bytes past_enc;               /* the second's key without its revision... */
	int64_t past_rev;                    /* ...and that */
	bool now_ok, past_ok;                /* there is something next */
	bool bare;                           /* the caller counts: rows of `now` are not decoded */
	uint64_t looked, limit;              /* rows; limit 0: none */
	uint64_t *rows_left;                 /* see mvcc/txn.h; NULL: no bound */
	int64_t compact;                     /* versions superseded up to here may be gone, or not yet */
	bool in_now;                         /* the key just looked at has a row in `now`... */
	bool counts;                         /* ...or at least one that no node may have removed */

	struct mvcc_key level;               /* how the rows of this level begin; len 0: the top */
	struct buf above;                    /* the markers gone down through, their lengths behind them */
	size_t depth;                        /* how many */
	size_t shared;                       /* levels the last key that counted has in common with the next */

	bool bounded;                        /* keys from `end` on are not wanted */
	struct mvcc_key end;                 /* its marker or row in the level... */
	size_t end_depth;                    /* ...with so many above it... */
	struct bytes end_rest;               /* ...and what it has below */

	/* the last row of a key looked at, live or not */
	enum okv_table last_table;
	struct okv_row last_row;

	/* the live row found */
	struct bytes enc;
	struct mvcc_version version;
};

int mvcc_walk_begin(struct mvcc_walk *w, struct mvcc_view *v, int64_t at);
void mvcc_walk_end(struct mvcc_walk *w);
/* Only keys before `end` (borrowed). Call before the seek, which is to a key before it. */
void mvcc_walk_bound(struct mvcc_walk *w, struct bytes end);
/* To `from`, or behind every row of it: a scan that looks at one row a time still gets on. Once. */
int mvcc_walk_seek(struct mvcc_walk *w, struct bytes from, bool behind);
/* ERR_OK with enc and version, ERR_NOT_FOUND at the end, ERR_LIMIT, ERR_TXN_TOO_LARGE, ERR_CORRUPT. */
int mvcc_walk_next(struct mvcc_walk *w);

#endif
