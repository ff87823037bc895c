/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one evaluation of transactions. stored's apply brings the writes with it; a reader has none.
 *
 * First every compare on the way is evaluated, nested ones included, against the state before the
 * transaction; then everything that can be refused without doing anything is; then the operations
 * of the branches taken are done in order, each seeing what the ones before it did.
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
