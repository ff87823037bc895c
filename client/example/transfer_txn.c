/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves money between two accounts by a plain transaction: read, compute, and write on condition that
 * both are still what was read. transfer_stm.c lets the library do that.
 *
 *	transfer_txn FROM TO AMOUNT             accounts are keys bank/NAME, with numbers as values
 */
#include <quorate.h>

#include <stdio.h>
#include <stdlib.h>

enum { FROM, TO, NOT_ENOUGH = -1, BUSY = -2, TRIES = 100 };

struct order {
	char key[2][128];
	long amount;
	long has[2];                   /* FROM and TO, in the end */
};

/* What is there, as one transaction of reads; and the compares that hold while it is still so. */
static int look(struct quorate *q, struct order *o, struct quorate_compare *same, struct quorate_error *e)
{
	struct quorate_op gets[2];
	struct quorate_txn txn = {.then = gets, .n_then = 2};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r;

	for (int i = FROM; i <= TO; i++)
		gets[i] = quorate_op_get(quorate_str(o->key[i]));
	if (quorate_call(q, &op, 0, &r, e) != QUORATE_OK)
		return e->code;
	for (int i = FROM; i <= TO; i++) {
		const struct quorate_kv *kv = r->results[i]->n_kvs > 0 ? r->results[i]->kvs : NULL;
		char text[32] = "";

		if (kv != NULL && kv->value.size < sizeof text)
			memcpy(text, kv->value.data, kv->value.size);
		o->has[i] = strtol(text, NULL, 10);
		/* A key that is not there has the mod revision 0. */
		same[i] = quorate_if(quorate_str(o->key[i]), QUORATE_TARGET_MOD, QUORATE_EQUAL,
				     kv == NULL ? 0 : kv->mod_revision);
	}
	quorate_result_free(r);
	return QUORATE_OK;
}

static int move(struct quorate *q, struct order *o, struct quorate_error *e)
{
	for (int i = 0; i < TRIES; i++) {
		char text[2][32];
		struct quorate_compare same[2];
		struct quorate_op puts[2];
		struct quorate_txn txn = {.compares = same, .n_compares = 2, .then = puts, .n_then = 2};
		struct quorate_op op = quorate_op_txn(&txn);
		struct quorate_result *r;
		bool done;

		if (look(q, o, same, e) != QUORATE_OK)
			return e->code;
		if (o->has[FROM] < o->amount)
			return NOT_ENOUGH;
		o->has[FROM] -= o->amount;
		o->has[TO] += o->amount;
		for (int k = FROM; k <= TO; k++) {
			(void)snprintf(text[k], sizeof text[k], "%ld", o->has[k]);
			puts[k] = quorate_op_put(quorate_str(o->key[k]), quorate_str(text[k]), 0);
		}
		if (quorate_call(q, &op, 0, &r, e) != QUORATE_OK)
			return e->code;
		done = r->succeeded;
		quorate_result_free(r);
		if (done)
			return QUORATE_OK;
	}                              /* somebody was faster: look again */
	return BUSY;
}

int main(int argc, char **argv)
{
	struct quorate_options options = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	struct quorate *q;
	struct order o;
	int rc;

	if (argc != 4 || strtol(argv[3], NULL, 10) <= 0 || strcmp(argv[1], argv[2]) == 0) {
		fprintf(stderr, "usage: transfer_txn FROM TO AMOUNT\n");
		return 100;
	}
	for (int i = FROM; i <= TO; i++)
		(void)snprintf(o.key[i], sizeof o.key[i], "bank/%s", argv[1 + i]);
	o.amount = strtol(argv[3], NULL, 10);
	options.endpoints = getenv("QUORATE_ENDPOINTS");
	rc = quorate_open(&options, &q, &e);
	if (rc == QUORATE_OK) {
		rc = move(q, &o, &e);
		quorate_close(q);
	}
	if (rc == NOT_ENOUGH) {
		fprintf(stderr, "%s has only %ld\n", argv[1], o.has[FROM]);
		return 1;
	}
	if (rc != QUORATE_OK) {
		fprintf(stderr, "%s\n", rc == BUSY ? "others were always faster" : e.text);
		return 111;            /* if e.again is UNSURE it may have been done */
	}
	printf("%s %ld, %s %ld\n", argv[1], o.has[FROM], argv[2], o.has[TO]);
	return 0;
}
