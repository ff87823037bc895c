/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address in the list of a service. With a session of its own it has a thread, which watches the
 * key; when the session is lost, or somebody deletes the key, it is put again, for ever.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "client/recipes/gate.h"
#include "client/recipes/naming.h"
#include "client/recipes/fence.h"

enum { REGISTRATION_TTL_S = 10, REGISTRATION_PAUSE_MS = 500 };

struct quorate_registration {
	struct quorate *q;             /* of the thread: cancelled by the close */
	struct quorate *own;           /* for taking the address out */
	char *key_text, *address_text;
	struct quorate_bytes key, address;
	int64_t ttl;
	bool kept;                     /* the session is its own, and there is a thread */
	pthread_t keeper;
	atomic_bool closing;
	_Atomic unsigned renewals;
	struct gate gate;              /* who has entered it may use, and change, what follows */
	struct quorate_session *session;   /* NULL: between two sessions */
	struct buf value;
	int64_t revision;              /* of the last put; 0: none that we know of */
	struct fence fence;            /* of puts where there is no key */
};

static int registration_value(struct quorate_bytes address, struct quorate_bytes metadata, struct buf *to,
			      struct quorate_error *e)
{
	buf_init(to, 0);
	if (naming_write(to, bytes_of(address.data, address.size),
			 bytes_of(metadata.data, metadata.size)) != ERR_OK)
		return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
				   "address and metadata must be UTF-8 without a NUL, the address not empty");
	return to->err != ERR_OK ? recipe_no_memory(e) : QUORATE_OK;
}

static bool registration_says(const struct quorate_registration *r, const struct quorate_kv *kv)
{
	return kv->lease == quorate_session_lease(r->session) && kv->value.size == r->value.len &&
	       memcmp(kv->value.data, r->value.data, kv->value.size) == 0;
}

/*
 * Within the gate. Over what is there, whatever that is; but a late copy must not put an older value
 * over a newer one, so each put is over one revision of the key. That is 0 for all times at which there is
 * no key: before we delete it such copies are fenced off.
 */
static int registration_put(struct quorate_registration *r, struct quorate *q, mono_t deadline,
			    struct quorate_error *e)
{
	struct quorate_op put = quorate_op_put(r->key, quorate_bytes(r->value.data, r->value.len),
					       quorate_session_lease(r->session));
	struct quorate_op get = quorate_op_get(r->key), op;
	bool done = false;
	int rc = QUORATE_OK;

	while (rc == QUORATE_OK && !done) {
		struct quorate_compare compares[] = {
			quorate_if(r->key, QUORATE_TARGET_MOD, QUORATE_EQUAL, r->revision), fence_open(&r->fence)};
		struct quorate_txn txn = {compares, 2, &put, 1, &get, 1};
		struct quorate_result *result;
		const struct quorate_kv *kv;

		op = quorate_op_txn(&txn);
		op.flags = QUORATE_IDEMPOTENT;
		rc = recipe_write(q, r->session, &op, deadline, &result, &r->fence.late, e);
		if (rc != QUORATE_OK)
			return rc;
		kv = !result->succeeded && result->results[0]->n_kvs > 0 ? result->results[0]->kvs : NULL;
		done = result->succeeded || (kv != NULL && registration_says(r, kv));
		r->revision = kv != NULL ? kv->mod_revision : done ? result->header.revision : 0;
		quorate_result_free(result);
	}
	return rc;
}

/* ---- the thread of one with a session of its own ---- */

static void registration_pause(struct quorate_registration *r)
{
	mono_t until = mono_add_ms(mono_now(), REGISTRATION_PAUSE_MS);

	(void)pthread_mutex_lock(&r->gate.lock);
	while (!atomic_load(&r->closing) && gate_wait(&r->gate, until))
		;
	(void)pthread_mutex_unlock(&r->gate.lock);
}

/* Within the gate, until it has worked or is to end. */
static void registration_again(struct quorate_registration *r)
{
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;

	o.ttl = r->ttl;
	while (!atomic_load(&r->closing)) {
		if (r->session != NULL && quorate_session_left_ms(r->session) <= 0) {
			quorate_session_leave(r->session);
			r->session = NULL;
		}
		if ((r->session != NULL ||
		     quorate_session_open(r->q, &o, 0, &r->session, NULL) == QUORATE_OK) &&
		    registration_put(r, r->q, recipe_deadline(r->own, 0), NULL) == QUORATE_OK) {
			atomic_fetch_add(&r->renewals, 1);
			return;
		}
		registration_pause(r);
	}
}

/* The history is gone: is the address still there? Then it is so at a newer revision: *from. */
static bool registration_still(struct quorate_registration *r, int64_t *from)
{
	struct quorate_op op = quorate_op_get(r->key);
	struct quorate_result *result;
	bool there = recipe_call(r->q, r->session, &op, recipe_deadline(r->own, 0), &result, NULL) == QUORATE_OK &&
		     result->n_kvs == 1 && result->kvs[0].lease == quorate_session_lease(r->session);

	if (there)
		*from = result->header.revision;
	quorate_result_free(result);
	return there;
}

static void *registration_keep(void *arg)
{
	struct quorate_registration *r = arg;
	struct quorate_error e;

	int64_t seen = 0;              /* it was there at this revision, too */

	while (!atomic_load(&r->closing)) {
		int64_t gone, from;
		int rc;

		(void)gate_enter(&r->gate, MONO_NEVER);
		from = r->revision > seen ? r->revision : seen;
		gate_leave(&r->gate);
		rc = recipe_wait_gone(r->q, r->session, r->key, from, MONO_NEVER, &gone, &e);
		if (rc != QUORATE_OK && rc != QUORATE_ERR_LOST) {
			registration_pause(r);       /* or it is the end */
			continue;
		}
		(void)gate_enter(&r->gate, MONO_NEVER);
		if (rc == QUORATE_ERR_LOST || gone > 0 || !registration_still(r, &seen))
			registration_again(r);
		gate_leave(&r->gate);
	}
	return NULL;
}

/* ---- from outside ---- */

static void registration_free(struct quorate_registration *r)
{
	/* In a child this would wait for threads that are not there. */
	if (r->own == NULL || !recipe_forked(r->own))
		gate_free(&r->gate);
	quorate_close(r->q);
	quorate_close(r->own);
	fence_free(&r->fence);
	buf_free(&r->value);
	free(r->key_text);
	free(r->address_text);
	free(r);
}

static int registration_make(struct quorate *q, const struct quorate_service_options *o,
			     struct quorate_registration **out, struct quorate_error *e)
{
	struct quorate_registration *r = calloc(1, sizeof *r);
	int rc;

	if (r == NULL)
		return recipe_no_memory(e);
	gate_init(&r->gate);
	r->ttl = o->ttl > 0 ? o->ttl : REGISTRATION_TTL_S;
	r->session = o->session;
	r->kept = o->session == NULL;
	r->key_text = recipe_join(o->service, quorate_str("/"), o->address);
	r->key = quorate_bytes(r->key_text, o->service.size + 1 + o->address.size);
	r->address = recipe_copy(&o->address, &r->address_text);
	rc = r->key_text == NULL || r->address_text == NULL ? recipe_no_memory(e) :
	     registration_value(r->address, o->metadata, &r->value, e);
	if (rc == QUORATE_OK)
		rc = fence_init(&r->fence, o->service, e);
	if (rc == QUORATE_OK)
		rc = quorate_namespace(q, quorate_str(NULL), &r->q, e);
	if (rc == QUORATE_OK)
		rc = quorate_namespace(q, quorate_str(NULL), &r->own, e);
	if (rc == QUORATE_OK)
		*out = r;
	else
		registration_free(r);
	return rc;
}

/*
 * Of a session that is not ours: only the address, unless it is somebody else's by now. One revision of the
 * key is deleted: a late copy leaves alone what is registered later under the same lease.
 */
static int registration_delete(struct quorate_registration *r, mono_t deadline, struct quorate_error *e)
{
	struct quorate_op then = quorate_op_delete(r->key), get = quorate_op_get(r->key), op;
	int64_t lease = quorate_session_lease(r->session);
	bool done = false;
	int rc = QUORATE_OK;

	if (quorate_session_left_ms(r->session) > 0)
		rc = fence_close(&r->fence, r->own, r->session, deadline, e);
	if (rc == QUORATE_ERR_LOST)
		rc = QUORATE_OK;
	while (rc == QUORATE_OK && !done) {
		struct quorate_compare mine = quorate_if(r->key, QUORATE_TARGET_MOD, QUORATE_EQUAL, r->revision);
		struct quorate_txn txn = {&mine, 1, &then, 1, &get, 1};
		struct quorate_result *result;
		const struct quorate_kv *kv;

		op = quorate_op_txn(&txn);
		op.flags = QUORATE_IDEMPOTENT;
		rc = recipe_call(r->own, NULL, &op, deadline, &result, e);
		if (rc != QUORATE_OK)
			return rc;
		kv = !result->succeeded && result->results[0]->n_kvs > 0 ? result->results[0]->kvs : NULL;
		done = kv == NULL || kv->lease != lease;
		r->revision = kv != NULL ? kv->mod_revision : 0;
		quorate_result_free(result);
	}
	return rc == QUORATE_OK ? recipe_ok(e) : rc;
}

int quorate_register(struct quorate *q, const struct quorate_service_options *given, int64_t timeout_ms,
		     struct quorate_registration **rp, struct quorate_error *e)
{
	struct quorate_service_options o;
	struct quorate_session_options so = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_registration *r = NULL;
	mono_t deadline = recipe_deadline(q, timeout_ms);
	int rc;

	*rp = NULL;
	if (!recipe_options(&o, sizeof o, given, given->size, e))
		return QUORATE_ERR_BAD_ARGUMENT;
	if (o.service.size == 0)
		return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "a service needs a name");
	rc = o.session != NULL ? recipe_session(q, o.session, e) : QUORATE_OK;
	if (rc == QUORATE_OK)
		rc = registration_make(q, &o, &r, e);
	if (rc != QUORATE_OK)
		return rc;
	so.ttl = r->ttl;
	if (r->kept)
		rc = quorate_session_open(r->q, &so, timeout_ms, &r->session, e);
	if (rc == QUORATE_OK)
		rc = registration_put(r, q, deadline, e);
	if (rc == QUORATE_OK && r->kept && gate_thread(&r->keeper, registration_keep, r) != 0)
		rc = recipe_fail(e, QUORATE_ERR_IO, QUORATE_AGAIN_SAFE, "no thread can be made");
	if (rc == QUORATE_OK) {
		*rp = r;
		return rc;
	}
	/* What the put may have left, or may leave yet, goes with a session of its own. */
	if (r->kept && r->session != NULL)
		(void)quorate_session_close(r->session, RECIPE_CLEAN_MS, NULL);
	else if (!r->kept && r->fence.late)
		(void)registration_delete(r, recipe_deadline(r->own, RECIPE_CLEAN_MS), NULL);
	registration_free(r);
	return rc;
}

int quorate_registration_update(struct quorate_registration *r, struct quorate_bytes metadata,
				int64_t timeout_ms, struct quorate_error *e)
{
	mono_t deadline = recipe_deadline(r->own, timeout_ms);
	struct buf value;
	int rc = recipe_ours(r->own, e);

	if (rc != QUORATE_OK)
		return rc;
	rc = registration_value(r->address, metadata, &value, e);
	if (rc == QUORATE_OK && !gate_enter(&r->gate, deadline))
		rc = recipe_fail(e, QUORATE_ERR_TIMEOUT, QUORATE_AGAIN_SAFE, "it is being registered again");
	if (rc != QUORATE_OK) {
		buf_free(&value);
		return rc;
	}
	buf_free(&r->value);
	r->value = value;
	rc = registration_put(r, r->q, deadline, e);
	gate_leave(&r->gate);
	/* The thread is about to put the new value under a new lease. */
	if (rc == QUORATE_ERR_LOST && r->kept)
		return recipe_fail(e, QUORATE_ERR_TIMEOUT, QUORATE_AGAIN_UNSURE, "it is being registered again");
	return rc;
}

unsigned quorate_registration_renewals(const struct quorate_registration *r)
{
	return atomic_load(&r->renewals);
}

/* The session's own handle has been cancelled, so the lease is revoked through another. */
static int registration_revoke(struct quorate_registration *r, mono_t deadline, struct quorate_error *e)
{
	struct quorate_op op = quorate_op(QUORATE_LEASE_REVOKE);
	struct quorate_result *result;
	int rc;

	op.lease = quorate_session_lease(r->session);
	op.flags = QUORATE_IDEMPOTENT;         /* a lease of a session of ours: no other has had its id */
	rc = quorate_call(r->own, &op, recipe_left_ms(deadline), &result, e);
	quorate_result_free(result);
	quorate_session_leave(r->session);
	return rc == QUORATE_ERR_LEASE_NOT_FOUND ? recipe_ok(e) : rc;
}

int quorate_registration_close(struct quorate_registration *r, int64_t timeout_ms, struct quorate_error *e)
{
	mono_t deadline;
	int rc = recipe_ok(e);

	if (r == NULL)
		return rc;
	deadline = recipe_deadline(r->own, timeout_ms);
	if (recipe_forked(r->own)) {
		rc = recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "another process registered it");
	} else if (r->kept) {
		(void)pthread_mutex_lock(&r->gate.lock);
		atomic_store(&r->closing, true);
		(void)pthread_cond_broadcast(&r->gate.cond);
		(void)pthread_mutex_unlock(&r->gate.lock);
		quorate_cancel_all(r->q);
		(void)pthread_join(r->keeper, NULL);
		if (r->session != NULL)
			rc = registration_revoke(r, deadline, e);
	} else {
		rc = registration_delete(r, deadline, e);
	}
	registration_free(r);
	return rc;
}
