/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes keys: puts and deletes, all those of one command at one revision. Each change goes
 * to three tables: the key's row in `now`, the version it supersedes to `past`, the event to `log`.
 *
 * Results: ERR_OK, what the client is told (ERR_KEY_NOT_FOUND, ERR_LEASE_NOT_FOUND,
 * ERR_RESPONSE_TOO_LARGE, ...), or the backend's error, after which nothing can go on.
 */
#ifndef QUORATE_WRITER_H
#define QUORATE_WRITER_H

#include "mvcc/view.h"
#include "stored/core/effects.h"
#include "stored/core/leases.h"

struct writer {
	struct okv_txn *txn;
	struct mvcc_state *state;        /* its revision and keys move with the changes */
	struct mvcc_view view;           /* so does the view's revision */
	struct effects *effects;
	struct arena *arena;             /* of the results */
	int64_t before;                  /* the revision before the command */
	uint64_t keys_before;
	uint32_t sub;                    /* changes so far */
	struct buf past, now, event;     /* rows being made; they keep their memory */
	struct buf keys;                 /* of a delete range or a lease: what goes next */
	struct leases leases;
	int64_t revoking;                /* the lease that goes with all its keys, or 0 */
};

void writer_init(struct writer *w);
void writer_free(struct writer *w);

/* For one command. *bytes_left bounds its results. */
void writer_begin(struct writer *w, struct okv_txn *txn, struct mvcc_state *state, struct effects *effects,
		  struct arena *arena, size_t *bytes_left);
/* Takes back all that was done since writer_begin; the effects are forgotten too. */
int writer_undo(struct writer *w);

/* What can be said of a put without doing it, as a part of a transaction. */
int writer_may_put(struct writer *w, const struct kv_put *p);
int writer_put(struct writer *w, const struct kv_put *p, struct kv_put_result *out);
int writer_delete(struct writer *w, const struct kv_delete *d, struct kv_delete_result *out);
/* All keys of the lease, in the order of rows, and the lease itself. ERR_LEASE_NOT_FOUND. */
int writer_revoke(struct writer *w, int64_t lease);
int writer_txn(struct writer *w, const struct kv_txn *txn, struct kv_txn_result *out);

#endif
