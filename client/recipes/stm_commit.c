/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit: one transaction of the store, which checks what the level asks for, and else reads
 * again what this try has read, for the next one.
 */
#include "client/recipes/stm_int.h"

/* Nothing that was read has changed: a key that was not there has the mod revision 0. */
static void compare_reads(struct quorate_stm *t, struct quorate_txn *txn)
{
	for (unsigned i = 0; i < t->n_reads; i++) {
		const struct stm_read *r = &t->reads[i];

		t->compares[txn->n_compares++] = quorate_if(r->key, QUORATE_TARGET_MOD, QUORATE_EQUAL,
							  r->kv == NULL ? 0 : r->kv->mod_revision);
	}
}

/*
 * Nothing that will be written has changed since the revision of the reads. What was read too has
 * been compared already, and not by less.
 */
static void compare_writes(struct quorate_stm *t, struct quorate_txn *txn)
{
	if (t->pin == 0)
		return;                /* it has read nothing: there is no revision */
	for (unsigned i = 0; i < t->n_writes; i++)
		if (stm_read_find(t, t->writes[i]->kv.key) == NULL)
			t->compares[txn->n_compares++] = quorate_if(t->writes[i]->kv.key,
				QUORATE_TARGET_MOD, QUORATE_LESS, t->pin + 1);
}

static void ops_of(struct quorate_stm *t, struct quorate_txn *txn)
{
	for (unsigned i = 0; i < t->n_writes; i++) {
		const struct stm_write *w = t->writes[i];

		t->then[txn->n_then++] = w->put ? quorate_op_put(w->kv.key, w->kv.value, w->kv.lease) :
			quorate_op_delete(w->kv.key);
	}
	if (txn->n_compares == 0)
		return;                /* it cannot fail */
	for (unsigned i = 0; i < t->n_reads; i++)
		t->or_else[txn->n_or_else++] = quorate_op_get(t->reads[i].key);
}

int stm_commit(struct quorate_stm *t, bool *done, struct quorate_result **r)
{
	struct quorate_txn txn = {.compares = t->compares, .then = t->then, .or_else = t->or_else};
	struct quorate_op op = quorate_op_txn(&txn);
	int64_t left = stm_left_ms(t);
	int rc;

	*done = false;
	*r = NULL;
	if (left == 0)
		return t->error.code;
	stm_drop_unseen(t);
	if (t->isolation != QUORATE_READ_COMMITTED)
		compare_reads(t, &txn);
	if (t->isolation == QUORATE_SERIALIZABLE_SNAPSHOT)
		compare_writes(t, &txn);
	ops_of(t, &txn);
	*done = txn.n_compares + txn.n_then == 0;
	if (*done)
		return QUORATE_OK;
	rc = quorate_call(t->q, &op, left, r, &t->error);
	if (rc != QUORATE_OK)
		return rc;
	*done = (*r)->succeeded;
	if (!*done) {
		t->pin = (*r)->header.revision;
		stm_read_ahead(t, r);
	}
	return QUORATE_OK;
}
