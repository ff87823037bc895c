/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the live keys at a revision in the order of rows. That is the order of keys but inside a
 * run of long keys, which mvcc/scan.c puts in order.
 */
#ifndef QUORATE_MVCC_WALK_H
#define QUORATE_MVCC_WALK_H

#include "mvcc/view.h"

struct mvcc_walk {
	int64_t at;
	struct okv_cursor *now, *past;       /* past: NULL when reading the latest revision */
	struct okv_row now_row, past_row;    /* what comes next of each */
	bool now_ok, past_ok;                /* there is something next */
	bool bare;                           /* the caller counts: a plain row is not decoded */
	uint64_t looked, limit;              /* rows; limit 0: none */
	uint64_t *rows_left;                 /* keys, see mvcc/txn.h; NULL: no bound */
	int64_t compact;                     /* versions superseded up to here may be gone, or not yet */
	bool in_now;                         /* the key just looked at has a row in `now`... */
	bool counts;                         /* ...or at least one that no node may have removed */

	/* the last row looked at, live or not */
	enum okv_table last_table;
	struct okv_row last_row;

	/* the live row found */
	struct bytes enc;
	struct mvcc_version version;
};

int mvcc_walk_begin(struct mvcc_walk *w, struct mvcc_view *v, int64_t at);
void mvcc_walk_end(struct mvcc_walk *w);
int mvcc_walk_seek(struct mvcc_walk *w, struct bytes from);
/* Behind every row of the encoded key: a scan that looks at one row a time still gets on. */
int mvcc_walk_seek_behind(struct mvcc_walk *w, struct bytes enc);
/* ERR_OK with enc and version, ERR_NOT_FOUND at the end, ERR_LIMIT, ERR_TXN_TOO_LARGE, ERR_CORRUPT. */
int mvcc_walk_next(struct mvcc_walk *w);

#endif
