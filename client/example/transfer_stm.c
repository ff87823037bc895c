/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves money between two accounts: a function reads and writes as if it were alone, and what it
 * wrote takes effect as one, if nobody has changed what it read. transfer_txn.c does it by hand.
 *
 *	transfer_stm FROM TO AMOUNT             accounts are keys bank/NAME, with numbers as values
 */
#include <quorate.h>

#include <stdio.h>
#include <stdlib.h>

enum { NOT_ENOUGH = -1 };

struct order {
	char from[128], to[128];
	long amount;
	long from_has, to_has;         /* in the end */
};

/* No such account: nothing in it. */
static int balance(struct quorate_stm *t, const char *account, long *n)
{
	const struct quorate_kv *kv;
	char text[32] = "";
	int rc = quorate_stm_get(t, quorate_str(account), &kv);

	if (rc == QUORATE_OK && kv != NULL && kv->value.size < sizeof text)
		memcpy(text, kv->value.data, kv->value.size);
	*n = strtol(text, NULL, 10);
	return rc;
}

static int set_balance(struct quorate_stm *t, const char *account, long n)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%ld", n);
	return quorate_stm_put(t, quorate_str(account), quorate_str(text), 0);
}

/* It may run several times, each time with what is there then; only the last time counts. */
static int move(struct quorate_stm *t, void *arg)
{
	struct order *o = arg;
	int rc;

	if ((rc = balance(t, o->from, &o->from_has)) != QUORATE_OK)
		return rc;
	if (o->from_has < o->amount)
		return NOT_ENOUGH;     /* ends it, and nothing is written */
	if ((rc = set_balance(t, o->from, o->from_has -= o->amount)) != QUORATE_OK)
		return rc;
	/* If both are the same account, this reads what was just written. */
	if ((rc = balance(t, o->to, &o->to_has)) != QUORATE_OK)
		return rc;
	return set_balance(t, o->to, o->to_has += o->amount);
}

int main(int argc, char **argv)
{
	struct quorate_options options = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	struct quorate *q;
	struct order o;
	int rc;

	if (argc != 4 || strtol(argv[3], NULL, 10) <= 0) {
		fprintf(stderr, "usage: transfer_stm FROM TO AMOUNT\n");
		return 100;
	}
	(void)snprintf(o.from, sizeof o.from, "bank/%s", argv[1]);
	(void)snprintf(o.to, sizeof o.to, "bank/%s", argv[2]);
	o.amount = strtol(argv[3], NULL, 10);
	options.endpoints = getenv("QUORATE_ENDPOINTS");
	rc = quorate_open(&options, &q, &e);
	if (rc == QUORATE_OK) {
		rc = quorate_stm_run(q, NULL, move, &o, 0, NULL, &e);
		quorate_close(q);
	}
	if (rc == NOT_ENOUGH) {
		fprintf(stderr, "%s has only %ld\n", argv[1], o.from_has);
		return 1;
	}
	if (rc != QUORATE_OK) {
		fprintf(stderr, "%s\n", e.text);
		return 111;            /* if e.again is UNSURE it may have been done */
	}
	printf("%s %ld, %s %ld\n", argv[1], o.from_has, argv[2], o.to_has);
	return 0;
}
