/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactional memory: the function runs against a view of the past, and what it wrote is committed
 * if the store still looks as its level of isolation asks. etcd's levels, and etcd's compares.
 *
 * Better than there: a node that is behind costs a read by way of the quorum, not the transaction;
 * and after a conflict the view is of the revision of the conflict at once, so that the function
 * sees no mixture of what was fetched ahead and what it reads itself.
 */
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "client/recipes/stm_int.h"

#define STM_PAUSE_MAX_MS 64

static bool is_pinned(const struct quorate_stm *t)
{
	return t->isolation == QUORATE_SERIALIZABLE_SNAPSHOT || t->isolation == QUORATE_SERIALIZABLE_READS;
}

int64_t stm_left_ms(struct quorate_stm *t)
{
	int64_t left;

	if (t->deadline.ns == MONO_NEVER.ns)
		return QUORATE_FOREVER;
	left = mono_sub_ms(t->deadline, mono_now());
	if (left > 0)
		return left;
	recipe_fail(&t->error, QUORATE_ERR_TIMEOUT, QUORATE_AGAIN_SAFE,
		  "the transaction could not be committed in time");
	return 0;
}

/* ---- what the function may do ---- */

static int read_once(struct quorate_stm *t, struct quorate_bytes key, unsigned flags,
		     struct quorate_result **r)
{
	struct quorate_op op = quorate_op_get(key);
	int64_t left = stm_left_ms(t);

	if (left == 0)
		return t->error.code;
	op.flags = flags;
	op.revision = is_pinned(t) ? t->pin : 0;
	return quorate_call(t->q, &op, left, r, &t->error);
}

/*
 * The first read of a pinned transaction asks the quorum, and says the revision of the others, which
 * any node that has come so far may answer.
 */
static int read_store(struct quorate_stm *t, struct quorate_bytes key, struct quorate_result **r)
{
	int rc;

	if (!is_pinned(t))
		return read_once(t, key, QUORATE_SERIALIZABLE, r);
	if (t->pin == 0) {
		rc = read_once(t, key, 0, r);
		if (rc == QUORATE_OK)
			t->pin = (*r)->header.revision;
		return rc;
	}
	rc = read_once(t, key, QUORATE_SERIALIZABLE, r);
	if (rc == QUORATE_ERR_FUTURE_REV)
		rc = read_once(t, key, 0, r);
	t->stale = rc == QUORATE_ERR_COMPACTED;
	return rc;
}

static int read_new(struct quorate_stm *t, struct quorate_bytes key, const struct quorate_kv **kv)
{
	struct stm_read *read = stm_read_find(t, key);
	struct quorate_result *r = NULL;

	if (read == NULL && t->n_reads == STM_KEYS)   /* what an earlier try has read gives way */
		stm_drop_unseen(t);
	if (read == NULL && (read = stm_read_add(t, key)) == NULL)
		return t->error.code;
	read->seen = true;
	if (read_store(t, key, &r) != QUORATE_OK)
		return t->error.code;
	quorate_result_free(read->own);
	read->own = r;
	read->kv = r->n_kvs > 0 ? &r->kvs[0] : NULL;
	*kv = read->kv;
	return QUORATE_OK;
}

int quorate_stm_get(struct quorate_stm *t, struct quorate_bytes key, const struct quorate_kv **kv)
{
	struct stm_write *w;
	struct stm_read *read;

	*kv = NULL;
	if (t->error.code != QUORATE_OK)
		return t->error.code;
	w = stm_write_find(t, key);
	if (w != NULL) {
		*kv = w->put ? &w->kv : NULL;
		return QUORATE_OK;
	}
	read = stm_read_find(t, key);
	if (read == NULL || (read->seen && t->isolation == QUORATE_READ_COMMITTED))
		return read_new(t, key, kv);
	read->seen = true;
	*kv = read->kv;
	return QUORATE_OK;
}

int quorate_stm_put(struct quorate_stm *t, struct quorate_bytes key, struct quorate_bytes value,
		    int64_t lease)
{
	return t->error.code != QUORATE_OK ? t->error.code : stm_write_set(t, true, key, value, lease);
}

int quorate_stm_delete(struct quorate_stm *t, struct quorate_bytes key)
{
	return t->error.code != QUORATE_OK ? t->error.code :
		stm_write_set(t, false, key, quorate_bytes(NULL, 0), 0);
}

/* ---- try by try ---- */

/* All keys in one request, all of one revision. */
static int fetch_ahead(struct quorate_stm *t, const struct quorate_stm_options *o)
{
	struct quorate_txn txn = {.then = t->then};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r = NULL;
	int64_t left;

	for (size_t i = 0; i < o->n_prefetch; i++) {
		if (stm_read_find(t, o->prefetch[i]) != NULL)
			continue;
		if (stm_read_add(t, o->prefetch[i]) == NULL)
			return t->error.code;
		t->then[txn.n_then++] = quorate_op_get(o->prefetch[i]);
	}
	if (txn.n_then == 0)
		return QUORATE_OK;
	left = stm_left_ms(t);
	if (left == 0 || quorate_call(t->q, &op, left, &r, &t->error) != QUORATE_OK)
		return t->error.code;
	t->pin = r->header.revision;
	stm_read_ahead(t, &r);
	return QUORATE_OK;
}

/* Who has lost waits a random while, longer each time, so that two do not meet for ever. */
static void pause_after(struct quorate_stm *t, unsigned tries)
{
	int64_t most_ms = tries < 6 ? INT64_C(1) << tries : STM_PAUSE_MAX_MS, left = stm_left_ms(t);
	uint32_t any = 0;
	struct timespec ts;

	if (left == 0)
		return;
	if (left != QUORATE_FOREVER && left < most_ms)
		most_ms = left;
	(void)!getrandom(&any, sizeof any, GRND_NONBLOCK);
	ts.tv_sec = 0;
	ts.tv_nsec = (long)(most_ms * 1000000 * (any >> 12) >> 20);
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* One try. QUORATE_OK and not *done: there may be another. */
static int try_once(struct quorate_stm *t, int (*apply)(struct quorate_stm *t, void *arg), void *arg,
		    bool *done, struct quorate_result **r)
{
	int rc = apply(t, arg);

	*done = false;
	if (t->error.code != QUORATE_OK) {
		if (!t->stale)
			return t->error.code;
		recipe_ok(&t->error);
		t->stale = false;
		t->pin = 0;
		stm_forget_reads(t);
		return QUORATE_OK;
	}
	if (rc != 0)
		return rc;
	return stm_commit(t, done, r);
}

static int run(struct quorate_stm *t, const struct quorate_stm_options *o,
	       int (*apply)(struct quorate_stm *t, void *arg), void *arg, struct quorate_result **r)
{
	bool done = false;
	int rc = fetch_ahead(t, o);

	for (unsigned tries = 1; rc == QUORATE_OK; tries++) {
		rc = try_once(t, apply, arg, &done, r);
		if (rc != QUORATE_OK || done)
			break;
		stm_forget_writes(t);
		if (o->max_tries != 0 && tries >= o->max_tries)
			return recipe_fail(&t->error, QUORATE_ERR_CONFLICT, QUORATE_AGAIN_SAFE,
					 "others have changed what the transaction read, %u times", tries);
		pause_after(t, tries);
		rc = t->error.code;
	}
	return rc;
}

int quorate_stm_run(struct quorate *q, const struct quorate_stm_options *o,
		    int (*apply)(struct quorate_stm *t, void *arg), void *arg, int64_t timeout_ms,
		    struct quorate_result **r, struct quorate_error *e)
{
	struct quorate_stm_options own = QUORATE_STM_OPTIONS_INIT;
	struct quorate_result *committed = NULL;
	struct quorate_stm *t;
	int rc;

	recipe_ok(e);
	if (r != NULL)
		*r = NULL;
	if (o != NULL && !recipe_options(&own, sizeof own, o, o->size, e))
		return QUORATE_ERR_BAD_ARGUMENT;
	if (own.isolation > QUORATE_READ_COMMITTED)
		return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "unknown level of isolation");
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return recipe_no_memory(e);
	t->q = q;
	t->isolation = own.isolation;
	t->deadline = recipe_deadline(q, timeout_ms);
	rc = run(t, &own, apply, arg, &committed);
	if (e != NULL && t->error.code != QUORATE_OK)
		*e = t->error;
	stm_forget_writes(t);
	stm_forget_reads(t);
	free(t);
	if (r != NULL)
		*r = committed;
	else
		quorate_result_free(committed);
	return rc;
}
