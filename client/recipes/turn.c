/* SPDX-License-Identifier: Apache-2.0 */
#include "client/recipes/turn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What is in front of a place: the answer that says so, and the key to wait for, or NULL. */
struct turn_view {
	struct quorate_result *r;
	const struct quorate_kv *ahead;
	int64_t revision;              /* at which it was so */
};

static void view_clear(struct turn_view *v)
{
	quorate_result_free(v->r);
	*v = (struct turn_view){NULL, NULL, 0};
}

int turn_init(struct turn *t, struct quorate *q, struct quorate_session *s, struct quorate_bytes name,
	      const char *key, const char *before, struct quorate_error *e)
{
	const struct quorate_bytes none = quorate_str(NULL);
	int rc;

	*t = (struct turn){.session = s, .key_text = recipe_join(name, quorate_str(key), none),
			   .before_text = recipe_join(name, quorate_str(before), none)};
	t->key = quorate_bytes(t->key_text, name.size + strlen(key));
	t->before = quorate_bytes(t->before_text, name.size + strlen(before));
	(void)snprintf(t->mark, sizeof t->mark, "%016" PRIx64, recipe_random());
	(void)pthread_mutex_init(&t->lock, NULL);
	rc = recipe_session(q, s, e);
	if (rc == QUORATE_OK)
		rc = fence_init(&t->fence, name, e);
	if (rc == QUORATE_OK && (t->key_text == NULL || t->before_text == NULL))
		rc = recipe_no_memory(e);
	if (rc == QUORATE_OK)
		rc = quorate_namespace(q, quorate_str(NULL), &t->own, e);
	if (rc == QUORATE_OK)
		t->q = q;
	else
		turn_free(t);
	return rc;
}

/* Nothing is to be done any more: neither may a copy of what was asked for put the key again. */
static void turn_fence(struct turn *t)
{
	if (!recipe_forked(t->own) && quorate_session_left_ms(t->session) > 0)
		(void)fence_close(&t->fence, t->own, t->session, recipe_deadline(t->own, RECIPE_CLEAN_MS), NULL);
}

void turn_free(struct turn *t)
{
	if (t->q != NULL && t->state != TURN_OUT)
		(void)turn_leave(t, recipe_deadline(t->own, RECIPE_CLEAN_MS), NULL);
	else if (t->q != NULL)
		turn_fence(t);
	quorate_close(t->own);
	fence_free(&t->fence);
	(void)pthread_mutex_destroy(&t->lock);
	free(t->key_text);
	free(t->before_text);
}

/* ---- one thread at a time ---- */

static int turn_begin(struct turn *t, bool enter, struct quorate_error *e)
{
	int rc = recipe_ours(t->own, e);

	if (rc != QUORATE_OK)
		return rc;
	(void)pthread_mutex_lock(&t->lock);
	if (t->busy)
		rc = recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
				 "another thread is busy with this handle");
	else if (enter && t->state == TURN_IN && turn_token(t) != 0)   /* 0: it was lost */
		rc = recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "this handle holds it already");
	else if (!enter && t->state == TURN_OUT)
		rc = recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "this handle does not hold it");
	else
		t->busy = true;
	(void)pthread_mutex_unlock(&t->lock);
	return rc;
}

static void turn_end(struct turn *t)
{
	(void)pthread_mutex_lock(&t->lock);
	t->busy = false;
	(void)pthread_mutex_unlock(&t->lock);
}

/* The busy thread alone writes it; the lock is for those who come after. */
static void turn_state_set(struct turn *t, enum turn_state state, int64_t created)
{
	(void)pthread_mutex_lock(&t->lock);
	t->state = state;
	t->created = created;
	t->doubt = t->doubt && state == TURN_LEAVING;
	if (state != TURN_IN)
		atomic_store(&t->revision, 0);
	(void)pthread_mutex_unlock(&t->lock);
}

static int turn_lost_place(struct turn *t, struct quorate_error *e)
{
	turn_state_set(t, TURN_OUT, 0);
	return recipe_fail(e, QUORATE_ERR_LOST, QUORATE_AGAIN_NO, "the key %s is gone", t->key_text);
}

static struct quorate_compare turn_mine(const struct turn *t, int64_t created)
{
	/* No key was created at -1. */
	return quorate_if(t->key, QUORATE_TARGET_CREATE, QUORATE_EQUAL, created > 0 ? created : -1);
}

/* The last of those in front: at a txn that creates our key everything there is. */
static struct quorate_op turn_op_ahead(const struct turn *t)
{
	struct quorate_op op = quorate_op_get(t->before);

	op.flags = QUORATE_PREFIX | QUORATE_KEYS_ONLY;
	op.order = QUORATE_DESCEND;
	op.sort = QUORATE_SORT_CREATE;
	op.limit = 1;
	return op;
}

/* ---- a place ---- */

static int turn_put(struct turn *t, struct quorate_bytes value, enum turn_patience patience, mono_t deadline,
		    struct turn_view *v, struct quorate_error *e)
{
	struct quorate_op then[] = {turn_op_ahead(t),
				    quorate_op_put(t->key, value, quorate_session_lease(t->session))};
	struct quorate_op or_else[] = {quorate_op_get(t->key)}, op;
	struct quorate_compare compares[] = {quorate_if_missing(t->key), fence_open(&t->fence),
					     quorate_if_missing(t->before)};
	struct quorate_txn txn = {compares, patience == TURN_TRY ? 3 : 2, then, 2, or_else, 1};

	compares[2].flags = QUORATE_PREFIX;
	view_clear(v);
	op = quorate_op_txn(&txn);
	/* The second time it finds its own key. Before that is deleted a late copy is fenced off. */
	op.flags = QUORATE_IDEMPOTENT;
	return recipe_write(t->q, t->session, &op, deadline, &v->r, &t->fence.late, e);
}

/*
 * What is in front of our key now, or was at a revision that has been seen on the way: then the node
 * asked can answer by itself. If it cannot, a quorum is asked after all.
 */
static int turn_look(struct turn *t, int64_t revision, mono_t deadline, struct turn_view *v,
		     struct quorate_error *e)
{
	struct quorate_op then[] = {quorate_op_get(t->key), turn_op_ahead(t)}, op;
	struct quorate_txn txn = {.then = then, .n_then = 2};
	const struct quorate_result *own, *ahead;
	int rc;

	then[1].max_create_revision = t->created - 1;
	for (size_t i = 0; i < 2 && revision > 0; i++) {
		then[i].flags |= QUORATE_SERIALIZABLE;
		then[i].revision = revision;
	}
	op = quorate_op_txn(&txn);
	view_clear(v);
	rc = recipe_call(t->q, t->session, &op, deadline, &v->r, e);
	if (revision > 0 && (rc == QUORATE_ERR_FUTURE_REV || rc == QUORATE_ERR_COMPACTED))
		return turn_look(t, 0, deadline, v, e);
	if (rc != QUORATE_OK)
		return rc;
	own = v->r->results[0];
	ahead = v->r->results[1];
	if (own->n_kvs != 1 || own->kvs[0].create_revision != t->created)
		return turn_lost_place(t, e);
	v->ahead = ahead->n_kvs > 0 ? &ahead->kvs[0] : NULL;
	v->revision = revision > 0 ? revision : v->r->header.revision;
	return QUORATE_OK;
}

static bool turn_bytes_eq(struct quorate_bytes a, struct quorate_bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* What was said in vain may have been said by an earlier copy, or over something newer than we know. */
static int turn_said(struct turn *t, const struct quorate_result *r, struct quorate_bytes value, bool *said,
		     struct quorate_error *e)
{
	const struct quorate_result *own = r->succeeded ? NULL : r->results[0];

	*said = own == NULL;
	if (own != NULL && (own->n_kvs != 1 || own->kvs[0].create_revision != t->created))
		return turn_lost_place(t, e);
	t->modified = own != NULL ? own->kvs[0].mod_revision : r->header.revision;
	*said = *said || turn_bytes_eq(own->kvs[0].value, value);
	return QUORATE_OK;
}

static int turn_put_value(struct turn *t, struct quorate_bytes value, mono_t deadline, struct quorate_error *e)
{
	struct quorate_op then = quorate_op_put(t->key, value, quorate_session_lease(t->session));
	struct quorate_op or_else = quorate_op_get(t->key), op;
	bool said = false;
	int rc = QUORATE_OK;

	while (rc == QUORATE_OK && !said) {
		/* The change is of one key and over one revision of it: a late copy finds another. */
		struct quorate_compare compares[] = {
			turn_mine(t, t->created),
			quorate_if(t->key, QUORATE_TARGET_MOD, QUORATE_EQUAL, t->modified)};
		struct quorate_txn txn = {compares, 2, &then, 1, &or_else, 1};
		struct quorate_result *r;

		op = quorate_op_txn(&txn);
		op.flags = QUORATE_IDEMPOTENT;
		rc = recipe_call(t->q, t->session, &op, deadline, &r, e);
		if (rc == QUORATE_OK)
			rc = turn_said(t, r, value, &said, e);
		quorate_result_free(r);
	}
	return rc;
}

/* The key was there already: of a call before this one, or of another handle of the session. */
static int turn_found(struct turn *t, const struct quorate_bytes *value, mono_t deadline,
		      struct turn_view *v, bool *mine, struct quorate_error *e)
{
	const struct quorate_result *own = v->r->results[0];
	const struct quorate_kv *kv = own->n_kvs > 0 ? &own->kvs[0] : NULL;
	int rc = QUORATE_OK;

	*mine = kv != NULL && (value != NULL || turn_bytes_eq(kv->value, quorate_str(t->mark)));
	if (!*mine)
		return QUORATE_OK;
	turn_state_set(t, TURN_IN, kv->create_revision);
	t->modified = kv->mod_revision;
	if (value != NULL && !turn_bytes_eq(kv->value, *value))
		rc = turn_put_value(t, *value, deadline, e);
	return rc != QUORATE_OK ? rc : turn_look(t, 0, deadline, v, e);
}

static int turn_place(struct turn *t, const struct quorate_bytes *value, enum turn_patience patience,
		      mono_t deadline, struct turn_view *v, struct quorate_error *e)
{
	struct quorate_bytes says = value != NULL ? *value : quorate_str(t->mark);
	int64_t gone;
	bool mine;
	int rc;

	t->marked = value == NULL;
	for (;;) {
		turn_state_set(t, TURN_UNSURE, 0);
		rc = turn_put(t, says, patience, deadline, v, e);
		if (rc != QUORATE_OK)
			return rc;
		v->revision = v->r->header.revision;
		if (v->r->succeeded) {
			v->ahead = v->r->results[0]->n_kvs > 0 ? &v->r->results[0]->kvs[0] : NULL;
			turn_state_set(t, TURN_IN, v->revision);
			t->modified = v->revision;
			return QUORATE_OK;
		}
		rc = turn_found(t, value, deadline, v, &mine, e);
		if (rc != QUORATE_OK || mine)
			return rc;
		turn_state_set(t, TURN_OUT, 0);
		if (patience == TURN_TRY)
			return recipe_fail(e, QUORATE_ERR_HELD, QUORATE_AGAIN_SAFE, "somebody else holds it");
		rc = recipe_wait_gone(t->q, t->session, t->key, v->revision, deadline, &gone, e);
		if (rc != QUORATE_OK)
			return rc;
	}
}

static int turn_wait(struct turn *t, enum turn_patience patience, mono_t deadline, struct turn_view *v,
		     struct quorate_error *e)
{
	while (v->ahead != NULL) {
		int64_t gone;
		int rc;

		if (patience == TURN_TRY)
			return recipe_fail(e, QUORATE_ERR_HELD, QUORATE_AGAIN_SAFE, "somebody else holds it");
		rc = recipe_wait_gone(t->q, t->session, v->ahead->key, v->revision, deadline, &gone, e);
		if (rc == QUORATE_OK)
			rc = turn_look(t, gone, deadline, v, e);
		else if (rc == QUORATE_ERR_TIMEOUT)
			(void)recipe_fail(e, rc, QUORATE_AGAIN_SAFE, "somebody else has held it all the time");
		if (rc != QUORATE_OK)
			return rc;
	}
	if (quorate_session_left_ms(t->session) <= 0)
		return recipe_fail(e, QUORATE_ERR_LOST, QUORATE_AGAIN_NO, "the session is lost");
	return QUORATE_OK;
}

/* ---- giving it up ---- */

/* Is there a key of ours, put by a call whose answer was lost? None will come any more. */
static int turn_search(struct turn *t, mono_t deadline, struct quorate_error *e)
{
	struct quorate_op op = quorate_op_get(t->key);
	struct quorate_result *r;
	int rc = recipe_call(t->own, t->session, &op, deadline, &r, e);

	if (rc == QUORATE_OK && r->n_kvs > 0 && r->kvs[0].lease == quorate_session_lease(t->session) &&
	    (!t->marked || turn_bytes_eq(r->kvs[0].value, quorate_str(t->mark))))
		turn_state_set(t, TURN_LEAVING, r->kvs[0].create_revision);
	else if (rc == QUORATE_OK)
		turn_state_set(t, TURN_OUT, 0);
	quorate_result_free(r);
	return rc;
}

/*
 * QUORATE_OK, or LOST: there was nothing to delete. That is also what a second try finds after a
 * first one whose answer was lost, so then it means nothing. A late copy finds no key that was created
 * at that revision, for ever.
 */
static int turn_delete(struct turn *t, mono_t deadline, struct quorate_error *e)
{
	struct quorate_op then = quorate_op_delete(t->key), op;
	struct quorate_compare mine = turn_mine(t, t->created);
	struct quorate_txn txn = {&mine, 1, &then, 1, NULL, 0};
	struct quorate_result *r;
	bool there;
	int rc;

	op = quorate_op_txn(&txn);
	op.flags = QUORATE_IDEMPOTENT;
	rc = recipe_write(t->own, t->session, &op, deadline, &r, &t->doubt, e);
	if (rc != QUORATE_OK)
		return rc;
	there = r->succeeded || t->doubt;
	quorate_result_free(r);
	if (!there)
		return turn_lost_place(t, e);
	turn_state_set(t, TURN_OUT, 0);
	return QUORATE_OK;
}

static int turn_drop(struct turn *t, mono_t deadline, struct quorate_error *e)
{
	int rc = fence_close(&t->fence, t->own, t->session, deadline, e);

	if (rc == QUORATE_OK && t->state == TURN_UNSURE)
		rc = turn_search(t, deadline, e);
	if (rc == QUORATE_OK && t->state != TURN_OUT) {
		turn_state_set(t, TURN_LEAVING, t->created);
		rc = turn_delete(t, deadline, e);
	}
	if (rc == QUORATE_ERR_LOST)              /* what may still be there goes with the lease */
		turn_state_set(t, TURN_OUT, 0);
	return rc;
}

/* After a failure that stands in *e, beyond the caller's time. A lost session cleans up by itself. */
static void turn_give_up(struct turn *t, struct quorate_error *e)
{
	int rc = QUORATE_OK;

	if (quorate_session_left_ms(t->session) <= 0)
		turn_state_set(t, TURN_OUT, 0);
	else
		rc = turn_drop(t, recipe_deadline(t->own, RECIPE_CLEAN_MS), NULL);
	if (rc != QUORATE_OK && rc != QUORATE_ERR_LOST)
		e->again = QUORATE_AGAIN_UNSURE;
	else if (e->again == QUORATE_AGAIN_UNSURE || e->code == QUORATE_ERR_TIMEOUT)
		e->again = QUORATE_AGAIN_SAFE;
}

int turn_enter(struct turn *t, const struct quorate_bytes *value, enum turn_patience patience,
	       mono_t deadline, struct quorate_error *e)
{
	struct turn_view v = {NULL, NULL, 0};
	struct quorate_error own;
	int rc;

	if (e == NULL)
		e = &own;
	rc = turn_begin(t, true, e);
	if (rc != QUORATE_OK)
		return rc;
	if (t->state != TURN_OUT || t->fence.late) {
		rc = turn_drop(t, deadline, e);
		rc = rc == QUORATE_ERR_LOST ? QUORATE_OK : rc;
	}
	if (rc == QUORATE_OK)
		rc = turn_place(t, value, patience, deadline, &v, e);
	if (rc == QUORATE_OK)
		rc = turn_wait(t, patience, deadline, &v, e);
	view_clear(&v);
	if (rc == QUORATE_OK)
		atomic_store(&t->revision, t->created);
	else
		turn_give_up(t, e);
	turn_end(t);
	return rc == QUORATE_OK ? recipe_ok(e) : rc;
}

int turn_leave(struct turn *t, mono_t deadline, struct quorate_error *e)
{
	int rc = turn_begin(t, false, e);

	if (rc != QUORATE_OK)
		return rc;
	if (quorate_session_left_ms(t->session) <= 0) {
		turn_state_set(t, TURN_OUT, 0);
		rc = recipe_fail(e, QUORATE_ERR_LOST, QUORATE_AGAIN_NO, "the session is lost");
	} else {
		rc = turn_drop(t, deadline, e);
	}
	turn_end(t);
	return rc;
}

int turn_say(struct turn *t, struct quorate_bytes value, mono_t deadline, struct quorate_error *e)
{
	int rc = turn_begin(t, false, e);

	if (rc != QUORATE_OK)
		return rc;
	if (t->state != TURN_IN)
		rc = recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "this handle is being given up");
	else
		rc = turn_put_value(t, value, deadline, e);
	if (rc == QUORATE_ERR_LOST)
		turn_fence(t);
	turn_end(t);
	return rc;
}

/* ---- holding it ---- */

int64_t turn_token(const struct turn *t)
{
	int64_t revision = atomic_load(&t->revision);

	return revision > 0 && quorate_session_left_ms(t->session) > 0 ? revision : 0;
}

struct quorate_compare turn_held(const struct turn *t)
{
	return turn_mine(t, atomic_load(&t->revision));
}

/* The history is gone: is the key still there? *from: at which revision it was. */
static int turn_still(struct turn *t, int64_t revision, mono_t deadline, int64_t *from, struct quorate_error *why)
{
	struct quorate_op op = quorate_op_get(t->key);
	struct quorate_result *r;
	int rc = recipe_call(t->q, t->session, &op, deadline, &r, why);

	if (rc == QUORATE_OK && r->n_kvs == 1 && r->kvs[0].create_revision == revision)
		*from = r->header.revision;
	else if (rc == QUORATE_OK)
		rc = QUORATE_ERR_LOST;
	quorate_result_free(r);
	return rc;
}

/* What was held is gone: by our own doing? If not, it is not held any more. */
static bool turn_given_up(struct turn *t, int64_t revision)
{
	bool ours;

	(void)pthread_mutex_lock(&t->lock);
	ours = t->state != TURN_IN || t->created != revision;
	if (!ours)
		atomic_store(&t->revision, 0);
	(void)pthread_mutex_unlock(&t->lock);
	return ours;
}

int turn_lost(struct turn *t, int64_t timeout_ms, struct quorate_error *why)
{
	int64_t revision = atomic_load(&t->revision), from = revision, gone = 1;
	mono_t deadline = recipe_wait_deadline(timeout_ms);
	int rc = recipe_ours(t->own, why);

	if (rc != QUORATE_OK)
		return rc;
	if (revision == 0)
		return recipe_fail(why, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "this handle does not hold it");
	if (quorate_session_left_ms(t->session) <= 0)
		rc = recipe_fail(why, QUORATE_ERR_LOST, QUORATE_AGAIN_NO, "the session is lost");
	else if (timeout_ms == 0)
		return recipe_fail(why, QUORATE_ERR_TIMEOUT, QUORATE_AGAIN_SAFE, "it is not lost");
	else do {
		rc = recipe_wait_gone(t->q, t->session, t->key, from, deadline, &gone, why);
		if (rc == QUORATE_OK)
			rc = gone > 0 ? QUORATE_ERR_LOST : turn_still(t, revision, deadline, &from, why);
	} while (rc == QUORATE_OK);
	if (rc != QUORATE_ERR_LOST)
		return rc;
	if (turn_given_up(t, revision))
		return recipe_fail(why, QUORATE_ERR_CANCELED, QUORATE_AGAIN_NO, "it was given up");
	if (quorate_session_left_ms(t->session) > 0)
		(void)recipe_fail(why, QUORATE_ERR_LOST, QUORATE_AGAIN_NO, "the key %s is gone", t->key_text);
	return QUORATE_OK;
}
