/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases and their keys as the tables have them: for stored, and for gatewayd, which answers
 * questions about them from the mapped store. Leases come in the order of their ids taken as
 * unsigned, keys in the order of rows.
 */
#ifndef QUORATE_MVCC_LEASE_H
#define QUORATE_MVCC_LEASE_H

#include <stdbool.h>
#include <stddef.h>

#include "mvcc/key.h"
#include "mvcc/mvcc.h"
#include "mvcc/okv.h"
#include "mvcc/row.h"

/* A row's key of `lease_keys`: the id, then the encoded key. */
void mvcc_lease_row_key(struct mvcc_key *out, int64_t id, struct bytes enc);

/* ERR_OK, ERR_NOT_FOUND, ERR_CORRUPT. */
int mvcc_lease_get(struct okv_txn *txn, int64_t id, struct mvcc_lease *out);
/* The next ones behind `after` (0: from the first on), at most `max`: *n, less at the end. */
int mvcc_lease_list(struct okv_txn *txn, int64_t after, struct mvcc_lease *v, size_t max, size_t *n);
/*
 * The lease's keys behind the key `after` (empty: from the first on): at most `max` of them and
 * about `bytes`. *more: there are others behind them. They lie where okv.h says.
 */
int mvcc_lease_keys(struct okv_txn *txn, int64_t id, struct bytes after, size_t bytes, struct bytes *v,
		    size_t max, size_t *n, bool *more);

/* The same for readers, who have a view. */
int mvcc_view_lease(struct mvcc_view *v, int64_t id, struct mvcc_lease *out);
int mvcc_view_leases(struct mvcc_view *v, int64_t after, struct mvcc_lease *out, size_t max, size_t *n);
int mvcc_view_lease_keys(struct mvcc_view *v, int64_t id, struct bytes after, size_t bytes,
			 struct bytes *out, size_t max, size_t *n, bool *more);

#endif
