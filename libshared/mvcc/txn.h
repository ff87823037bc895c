/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one evaluation of transactions. stored's apply brings the writes with it; a reader has none.
 *
 * First every compare on the way is evaluated, nested ones included, against the state before the
 * transaction; then everything that can be refused without doing anything is; then the operations
 * of the branches taken are done in order, each seeing what the ones before it did.
 *
 * stored does nothing else meanwhile, on all nodes at once, so the work is bounded, and by a count
 * that is the same on all nodes: LIMIT_TXN_ROWS, of which are taken
 *	1 for each compare evaluated and each operation done,
 *	1 for each key looked at in a compare, range or delete, as often as it is looked at: keys of
 *	  the latest revision, and for a range at an older one those that have history since it,
 *	1 for each level of long keys (mvcc/layout.h) gone down from the key before to such a key,
 *	1 for each full KiB of a value that is compared, sorted by or answered by a range.
 * Rows that compaction is still to remove are looked at too, but never counted: each node has its
 * own. More is ERR_TXN_TOO_LARGE.
 */
#ifndef QUORATE_MVCC_TXN_H
#define QUORATE_MVCC_TXN_H

#include "mvcc/view.h"

struct mvcc_txn_writes {
	/* May it be done, judged by the state before the transaction? */
	int (*may_put)(void *arg, const struct kv_put *p);
	/* These set the view's revision to the transaction's, once they change something. */
	int (*put)(void *arg, const struct kv_put *p, struct kv_put_result *out);
	int (*del)(void *arg, const struct kv_delete *d, struct kv_delete_result *out);
	void *arg;
};

/*
 * The transaction has passed kv_check_txn. `writes` may be NULL if it only reads. After an error
 * the writes done so far are the caller's to undo.
 */
int mvcc_txn_run(struct mvcc_view *v, const struct kv_txn *txn, const struct mvcc_txn_writes *writes,
		 struct arena *arena, struct kv_txn_result *out);

#endif
