/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads move money between few accounts until they are told to stop, while others kill nodes.
 * Whatever has become of the single transfers: no money is made and none is lost, and no account
 * is overdrawn. Run by tests/system/test_stm.py, with QUORATE_ENDPOINTS of a cluster.
 *
 *	money LEVEL THREADS                     until standard input ends; then a line with the counts
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/quorate.h"

#define ACCOUNTS 16
#define EACH 1000

static struct quorate *client;
static atomic_bool over;
static atomic_uint moved, unsure, refused, tries;
static struct quorate_stm_options level = QUORATE_STM_OPTIONS_INIT;

struct order {
	char from[16], to[16];
	long amount;
};

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

static int move(struct quorate_stm *t, void *arg)
{
	const struct order *o = arg;
	long from, to;
	int rc;

	tries++;
	if ((rc = balance(t, o->from, &from)) != QUORATE_OK || (rc = balance(t, o->to, &to)) != QUORATE_OK)
		return rc;
	if (from < o->amount)
		return -1;
	if ((rc = set_balance(t, o->from, from - o->amount)) != QUORATE_OK)
		return rc;
	return set_balance(t, o->to, to + o->amount);
}

static void *transfers(void *arg)
{
	unsigned seed = *(unsigned *)arg;
	struct quorate_error e;
	struct order o;

	while (!over) {
		int from = rand_r(&seed) % ACCOUNTS, to = (from + 1 + rand_r(&seed) % (ACCOUNTS - 1)) % ACCOUNTS;
		int rc;

		(void)snprintf(o.from, sizeof o.from, "bank/%d", from);
		(void)snprintf(o.to, sizeof o.to, "bank/%d", to);
		o.amount = 1 + rand_r(&seed) % 300;
		rc = quorate_stm_run(client, &level, move, &o, 60000, NULL, &e);
		if (rc == QUORATE_OK)
			moved++;
		else if (rc == -1)
			refused++;
		else if (e.again == QUORATE_AGAIN_UNSURE)
			unsure++;
		else
			fprintf(stderr, "%d: %s (%s)\n", e.code, e.text, e.endpoint);
	}
	return NULL;
}

static int fill(struct quorate_error *e)
{
	char key[16], value[16];
	int rc = QUORATE_OK;

	(void)snprintf(value, sizeof value, "%d", EACH);
	for (int i = 0; rc == QUORATE_OK && i < ACCOUNTS; i++) {
		(void)snprintf(key, sizeof key, "bank/%d", i);
		rc = quorate_put(client, key, value, e);
	}
	return rc;
}

/* All of it, and whether some account has less than nothing. */
static int count(long *sum, bool *overdrawn, struct quorate_error *e)
{
	struct quorate_op op = quorate_op_get(quorate_str("bank/"));
	struct quorate_result *r;
	int rc;

	op.flags = QUORATE_PREFIX;
	rc = quorate_call(client, &op, 60000, &r, e);
	*sum = 0;
	*overdrawn = false;
	for (size_t i = 0; rc == QUORATE_OK && i < r->n_kvs; i++) {
		char text[32] = "";
		long n;

		memcpy(text, r->kvs[i].value.data, r->kvs[i].value.size < 31 ? r->kvs[i].value.size : 31);
		n = strtol(text, NULL, 10);
		*sum += n;
		*overdrawn = *overdrawn || n < 0;
	}
	if (rc == QUORATE_OK)
		quorate_result_free(r);
	return rc;
}

/* Two counts a second while it goes on: a view of the whole at one revision is never a mixture. */
static void *auditor(void *arg)
{
	struct quorate_error e;
	bool *bad = arg, overdrawn;
	long sum;

	while (!over) {
		if (count(&sum, &overdrawn, &e) == QUORATE_OK && (sum != ACCOUNTS * EACH || overdrawn)) {
			fprintf(stderr, "in the middle of it: %ld, overdrawn: %d\n", sum, overdrawn);
			*bad = true;
		}
		usleep(500000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	unsigned n = argc == 3 ? (unsigned)atoi(argv[2]) : 0, seeds[256];
	pthread_t threads[256], audit;
	struct quorate_error e;
	bool overdrawn, bad = false;
	char byte;
	long sum;

	if (n == 0 || n > 256)
		return 100;
	level.isolation = (enum quorate_isolation)atoi(argv[1]);
	o.endpoints = getenv("QUORATE_ENDPOINTS");
	o.timeout_ms = 60000;
	if (quorate_open(&o, &client, &e) != QUORATE_OK || fill(&e) != QUORATE_OK)
		return fprintf(stderr, "%s\n", e.text), 111;
	for (unsigned i = 0; i < n; i++) {
		seeds[i] = i;
		if (pthread_create(&threads[i], NULL, transfers, &seeds[i]) != 0)
			return 111;
	}
	if (pthread_create(&audit, NULL, auditor, &bad) != 0)
		return 111;
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	over = true;
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pthread_join(audit, NULL);
	if (count(&sum, &overdrawn, &e) != QUORATE_OK)
		return fprintf(stderr, "%s\n", e.text), 111;
	printf("%ld of %d, %u moved, %u refused, %u unsure, %u tries\n", sum, ACCOUNTS * EACH,
	       (unsigned)moved, (unsigned)refused, (unsigned)unsure, (unsigned)tries);
	quorate_close(client);
	return bad || overdrawn || sum != ACCOUNTS * EACH;
}
