/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of mvcc/mvcc.h, for the files of this folder and for stored's apply. */
#ifndef QUORATE_MVCC_VIEW_H
#define QUORATE_MVCC_VIEW_H

#include "mvcc/key.h"
#include "mvcc/mvcc.h"
#include "mvcc/okv.h"
#include "mvcc/row.h"

struct mvcc_env {
	struct okv *db;
};

struct mvcc_view {
	struct okv_txn *txn;
	struct mvcc_info info;
	size_t *bytes_left;       /* of what may be answered; NULL: no bound */
	uint64_t *rows_left;      /* of what a transaction may look at; NULL: no bound */
	bool writing;             /* rows do not last: answers are copied into the arena */
};

/* For stored and for tests: an environment over a backend that the caller has opened and closes. */
struct mvcc_env *mvcc_env_over(struct okv *db);

/* A view inside a write transaction; lives as long as that one, and is not ended. */
void mvcc_view_over(struct mvcc_view *v, struct okv_txn *txn, const struct mvcc_state *s);
void mvcc_info_of(struct mvcc_info *info, const struct mvcc_state *s);
int mvcc_state_read(struct okv_txn *txn, struct mvcc_state *s);        /* ERR_NOT_FOUND: none yet */

/* Takes n bytes off the view's bound. */
bool mvcc_view_spend(struct mvcc_view *v, size_t n);

/* Takes n rows off what the transaction under way may look at; false: it is too large. */
bool mvcc_view_spend_rows(struct mvcc_view *v, uint64_t n);
/* What a value counts as besides its key. */
uint64_t mvcc_value_rows(struct bytes value);

/* The version of an encoded key at a revision, from `past`. */
int mvcc_past_find(struct okv_cursor *past, struct bytes enc, int64_t at, struct mvcc_version *out);

/* A header that only names a revision; NULL if the arena is full. */
struct kv_header *mvcc_header(struct arena *arena, int64_t revision);
/* Copies the pair's bytes into the arena if the view is a writing one. */
int mvcc_pair_keep(struct mvcc_view *v, struct arena *arena, struct kv_pair *pair);

#endif
