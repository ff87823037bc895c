/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A barrier is a key: who meets it waits until it is gone. A double barrier lets a group in when all
 * have come, and out when all have gone: each member is a key of its session under NAME/waiters/,
 * and NAME/ready says that the group was complete.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/recipes/fence.h"

/* ---- single ---- */

/* Somebody who is about to put the barrier: NAME, NAME/hold. */
struct holding {
	struct quorate *q;
	struct quorate_bytes name, hold, mark;
	int64_t lease, intent;         /* intent: the revision at which NAME/hold was put */
	mono_t deadline;
};

static char *hold_key(struct quorate_bytes name)
{
	return recipe_join(name, quorate_str("/hold"), quorate_str(NULL));
}

static int hold_held(struct quorate_error *e)
{
	return recipe_fail(e, QUORATE_ERR_HELD, QUORATE_AGAIN_NO, "the barrier is there already");
}

/*
 * Puts NAME/hold, unless the barrier is there. A late copy leaves that key behind, or makes
 * another's step fail, which is then made again: it never puts the barrier.
 */
static int hold_intend(struct holding *h, struct quorate_error *e)
{
	struct quorate_compare missing = quorate_if_missing(h->name);
	struct quorate_op put = quorate_op_put(h->hold, h->mark, h->lease);
	struct quorate_txn txn = {.compares = &missing, .n_compares = 1, .then = &put, .n_then = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r;
	int rc;

	op.flags = QUORATE_IDEMPOTENT;
	rc = recipe_call(h->q, NULL, &op, h->deadline, &r, e);
	if (rc != QUORATE_OK)
		return rc;
	h->intent = r->header.revision;
	rc = r->succeeded ? QUORATE_OK : hold_held(e);
	quorate_result_free(r);
	return rc;
}

/*
 * Puts the barrier instead of NAME/hold. That key was put at `intent` only: a late copy of this finds it
 * gone, or put later. The mark tells whether an earlier copy did it. If there is no barrier, and an earlier
 * copy may have been done, it may have been released since: it is not put a second time.
 */
static int hold_put(struct holding *h, bool *there, struct quorate_error *e)
{
	struct quorate_compare compares[] = {
		quorate_if(h->hold, QUORATE_TARGET_MOD, QUORATE_EQUAL, h->intent), quorate_if_missing(h->name)};
	struct quorate_op then[] = {quorate_op_put(h->name, h->mark, h->lease), quorate_op_delete(h->hold)};
	struct quorate_op get = quorate_op_get(h->name);
	struct quorate_txn txn = {.compares = compares, .n_compares = 2, .then = then, .n_then = 2,
		.or_else = &get, .n_or_else = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	const struct quorate_result *got;
	struct quorate_result *r;
	bool late = false;
	int rc;

	op.flags = QUORATE_IDEMPOTENT;
	rc = recipe_write(h->q, NULL, &op, h->deadline, &r, &late, e);
	if (rc != QUORATE_OK)
		return rc;
	got = r->succeeded ? NULL : r->results[0];
	*there = got == NULL || got->n_kvs > 0;
	if (!*there && late)
		rc = recipe_fail(e, QUORATE_ERR_LOST, QUORATE_AGAIN_UNSURE,
				 "an answer was lost: the barrier was released since, or not put");
	else if (got != NULL && got->n_kvs > 0 && (got->kvs[0].value.size != h->mark.size ||
		memcmp(got->kvs[0].value.data, h->mark.data, h->mark.size) != 0))
		rc = hold_held(e);
	quorate_result_free(r);
	return rc;
}

/*
 * In two steps, since nobody ends a barrier's hold but by deleting its key: a late copy of a put that
 * needs nothing but a missing key would put it again, for ever.
 */
int quorate_barrier_hold(struct quorate *q, struct quorate_bytes name, int64_t lease, int64_t timeout_ms,
			 struct quorate_error *e)
{
	uint64_t any = recipe_random();
	struct holding h = {.q = q, .name = name, .mark = quorate_bytes(&any, sizeof any), .lease = lease,
			    .deadline = recipe_deadline(q, timeout_ms)};
	char *text = hold_key(name);
	bool there = false;
	int rc = text == NULL ? recipe_no_memory(e) : QUORATE_OK;

	h.hold = quorate_bytes(text, name.size + strlen("/hold"));
	while (rc == QUORATE_OK && !there) {
		rc = hold_intend(&h, e);
		if (rc == QUORATE_OK)
			rc = hold_put(&h, &there, e);   /* not there: another one has come in between */
	}
	free(text);
	return rc;
}

/*
 * The barrier that is there now, and no other: a late copy finds none that was created then. While it is
 * there nobody is about to put it, so NAME/hold, if there is one, is of a late copy.
 */
static int release(struct quorate *q, struct quorate_bytes name, struct quorate_bytes hold, mono_t deadline,
		   struct quorate_error *e)
{
	struct quorate_op then[] = {quorate_op_delete(name), quorate_op_delete(hold)}, op = quorate_op_get(name);
	struct quorate_compare same;
	struct quorate_txn txn = {.compares = &same, .n_compares = 1, .then = then, .n_then = hold.size > 0 ? 2 : 1};
	struct quorate_result *r;
	int rc;

	op.flags = QUORATE_KEYS_ONLY;
	rc = recipe_call(q, NULL, &op, deadline, &r, e);
	if (rc != QUORATE_OK)
		return rc;
	if (r->n_kvs > 0) {
		same = quorate_if(name, QUORATE_TARGET_CREATE, QUORATE_EQUAL, r->kvs[0].create_revision);
		quorate_result_free(r);
		op = quorate_op_txn(&txn);
		op.flags = QUORATE_IDEMPOTENT;
		rc = recipe_call(q, NULL, &op, deadline, &r, e);
	}
	quorate_result_free(r);
	return rc;
}

int quorate_barrier_release(struct quorate *q, struct quorate_bytes name, int64_t timeout_ms,
			    struct quorate_error *e)
{
	char *text = hold_key(name);
	int rc;

	if (text == NULL)
		return recipe_no_memory(e);
	rc = release(q, name, quorate_bytes(text, name.size + strlen("/hold")), recipe_deadline(q, timeout_ms), e);
	free(text);
	return rc;
}

int quorate_barrier_wait(struct quorate *q, struct quorate_bytes name, int64_t timeout_ms,
			 struct quorate_error *e)
{
	mono_t deadline = recipe_deadline(q, timeout_ms);
	struct quorate_op op = quorate_op_get(name);
	int64_t gone = 0;

	op.flags = QUORATE_KEYS_ONLY;
	for (;;) {
		struct quorate_result *r;
		int64_t revision;
		bool there;
		int rc = recipe_call(q, NULL, &op, deadline, &r, e);

		if (rc != QUORATE_OK)
			return rc;
		there = r->n_kvs > 0;
		revision = r->header.revision;
		quorate_result_free(r);
		if (!there)
			return QUORATE_OK;
		rc = recipe_wait_gone(q, NULL, name, revision, deadline, &gone, e);
		if (rc != QUORATE_OK || gone != 0)
			return rc;
	}
}

/* ---- double ---- */

struct quorate_double_barrier {
	struct quorate *q;             /* for waiting: it may be cancelled */
	struct quorate *clean;         /* for taking our key back */
	struct quorate_session *session;
	char *waiters_text, *ready_text, *own_text;
	struct quorate_bytes waiters, ready, own;   /* NAME/waiters/, NAME/ready, our key */
	bool begun;                    /* our key may be there */
	int64_t created;               /* its creation; 0: not in */
	int64_t complete;              /* the group's keys were created up to this revision */
	struct fence fence;            /* of what puts our key */
};

void quorate_double_barrier_close(struct quorate_double_barrier *b)
{
	if (b == NULL)
		return;
	if (b->begun && quorate_session_left_ms(b->session) > 0) {
		mono_t deadline = recipe_deadline(b->clean, RECIPE_CLEAN_MS);

		(void)fence_close(&b->fence, b->clean, b->session, deadline, NULL);
		(void)release(b->clean, b->own, quorate_str(NULL), deadline, NULL);
	}
	quorate_close(b->clean);
	fence_free(&b->fence);
	free(b->waiters_text);
	free(b->ready_text);
	free(b->own_text);
	free(b);
}

static struct quorate_double_barrier *make(struct quorate *q, struct quorate_session *s,
					   struct quorate_bytes name)
{
	struct quorate_double_barrier *b = calloc(1, sizeof *b);
	char id[36];
	int n = snprintf(id, sizeof id, "%llx-%016llx", (unsigned long long)quorate_session_lease(s),
			 (unsigned long long)recipe_random());

	CHECK(n > 0 && (size_t)n < sizeof id);
	if (b == NULL)
		return NULL;
	b->q = q;
	b->session = s;
	b->waiters_text = recipe_join(name, quorate_str("/waiters/"), quorate_str(NULL));
	b->ready_text = recipe_join(name, quorate_str("/ready"), quorate_str(NULL));
	b->own_text = recipe_join(name, quorate_str("/waiters/"), quorate_str(id));
	if (b->waiters_text == NULL || b->ready_text == NULL || b->own_text == NULL ||
	    fence_init(&b->fence, name, NULL) != QUORATE_OK) {
		quorate_double_barrier_close(b);
		return NULL;
	}
	b->waiters = quorate_bytes(b->waiters_text, name.size + strlen("/waiters/"));
	b->ready = quorate_bytes(b->ready_text, name.size + strlen("/ready"));
	b->own = quorate_bytes(b->own_text, b->waiters.size + (size_t)n);
	return b;
}

struct entry {
	int64_t waiters, revision;
	int64_t ready;                 /* when that was said; 0: it was not */
};

/*
 * Puts our key, and looks who is there. Whoever finds nobody is the first of a new group: what an
 * old one has left, whose last member died inside, is cleared away. The second time we find ourselves;
 * before our key is deleted a late copy is fenced off. In the branches of a transaction inside: the fence
 * decides whether, the others how.
 */
static int put_own(struct quorate_double_barrier *b, mono_t deadline, struct entry *out,
		   struct quorate_error *e)
{
	struct quorate_compare nobody = quorate_if(b->waiters, QUORATE_TARGET_CREATE, QUORATE_EQUAL, 0);
	struct quorate_op ops[] = {
		quorate_op_put(b->own, quorate_str(NULL), quorate_session_lease(b->session)),
		quorate_op_get(b->own), quorate_op_get(b->waiters), quorate_op_get(b->ready),
		quorate_op_delete(b->ready)};
	struct quorate_txn put = {.compares = &nobody, .n_compares = 1, .then = ops, .n_then = 5,
		.or_else = ops, .n_or_else = 4};
	struct quorate_compare open = fence_open(&b->fence);
	struct quorate_op put_op = quorate_op_txn(&put);
	struct quorate_txn txn = {.compares = &open, .n_compares = 1, .then = &put_op, .n_then = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	const struct quorate_result *done;
	struct quorate_result *r;
	int rc;

	nobody.flags = QUORATE_PREFIX;
	ops[2].flags = QUORATE_PREFIX | QUORATE_COUNT_ONLY;
	op.flags = QUORATE_IDEMPOTENT;
	b->begun = true;                 /* also if its answer is lost */
	rc = recipe_write(b->q, b->session, &op, deadline, &r, &b->fence.late, e);
	if (rc != QUORATE_OK)
		return rc;
	if (r->n_results != 1 || r->results[0]->n_results < 4) {   /* the fence is not closed before we leave */
		quorate_result_free(r);
		return recipe_fail(e, QUORATE_ERR_MALFORMED, QUORATE_AGAIN_NO, "an answer without its parts");
	}
	done = r->results[0];
	b->created = done->results[1]->n_kvs > 0 ? done->results[1]->kvs[0].create_revision : 0;
	out->waiters = done->results[2]->count;
	out->ready = !done->succeeded && done->results[3]->n_kvs > 0 ? done->results[3]->kvs[0].mod_revision : 0;
	out->revision = r->header.revision;
	quorate_result_free(r);
	return QUORATE_OK;
}

/*
 * Only as a member: a request that comes late must not open the next group's barrier. And only once, so
 * that all members see it at the same revision.
 */
static int say_ready(struct quorate_double_barrier *b, mono_t deadline, struct quorate_error *e)
{
	struct quorate_compare compares[] = {
		quorate_if(b->own, QUORATE_TARGET_CREATE, QUORATE_EQUAL, b->created), quorate_if_missing(b->ready)};
	struct quorate_op put = quorate_op_put(b->ready, quorate_str(NULL), 0), get = quorate_op_get(b->ready);
	struct quorate_txn txn = {.compares = compares, .n_compares = 2, .then = &put, .n_then = 1,
		.or_else = &get, .n_or_else = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r;
	int rc;

	op.flags = QUORATE_IDEMPOTENT;
	rc = recipe_call(b->q, b->session, &op, deadline, &r, e);
	if (rc != QUORATE_OK)
		return rc;
	b->complete = r->header.revision;
	if (!r->succeeded && r->results[0]->n_kvs > 0)
		b->complete = r->results[0]->kvs[0].mod_revision;
	quorate_result_free(r);
	return QUORATE_OK;
}

/* QUORATE_OK and b->complete: it was put; or 0: the history in between is gone, look again. */
static int wait_ready(struct quorate_double_barrier *b, int64_t revision, mono_t deadline,
		      struct quorate_error *e)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_watch *w;
	bool over = false;
	int rc;

	o.key = b->ready;
	o.flags = QUORATE_NO_DELETE;
	o.start_revision = revision + 1;
	o.session = b->session;
	rc = quorate_watch_open(b->q, &o, &w, e);
	if (rc != QUORATE_OK)
		return rc;
	while (rc == QUORATE_OK && !over) {
		struct quorate_news *news;

		rc = quorate_watch_next(w, recipe_over(deadline) ? 0 : recipe_left_ms(deadline), &news, e);
		if (rc != QUORATE_OK)
			break;
		if (news->kind == QUORATE_EVENTS && news->n_events > 0)
			b->complete = news->events[0].kv.mod_revision;
		over = b->complete != 0 || news->kind == QUORATE_COMPACTED;
		quorate_news_free(news);
	}
	quorate_watch_close(w);
	return recipe_why(b->q, b->session, rc, e);
}

static int enter(struct quorate_double_barrier *b, unsigned count, mono_t deadline,
		 struct quorate_error *e)
{
	struct entry entry;
	int rc = QUORATE_OK;

	while (rc == QUORATE_OK && b->complete == 0) {
		rc = put_own(b, deadline, &entry, e);
		if (rc != QUORATE_OK)
			return rc;
		if (b->created == 0 || entry.waiters > (int64_t)count)
			return recipe_fail(e, QUORATE_ERR_FULL, QUORATE_AGAIN_NO,
					   "the double barrier has its %u members", count);
		b->complete = entry.ready;
		if (entry.ready != 0)
			return QUORATE_OK;
		if (entry.waiters == (int64_t)count)
			return say_ready(b, deadline, e);
		rc = wait_ready(b, entry.revision, deadline, e);
	}
	return rc;
}

int quorate_double_barrier_enter(struct quorate *q, struct quorate_session *s, struct quorate_bytes name,
				 unsigned count, int64_t timeout_ms, struct quorate_double_barrier **b,
				 struct quorate_error *e)
{
	int rc = recipe_session(q, s, e);

	*b = NULL;
	if (rc != QUORATE_OK)
		return rc;
	if (count == 0)
		return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
				   "a double barrier needs at least one member");
	*b = make(q, s, name);
	if (*b == NULL)
		return recipe_no_memory(e);
	rc = quorate_namespace(q, quorate_str(NULL), &(*b)->clean, e);
	if (rc == QUORATE_OK)
		rc = enter(*b, count, recipe_deadline(q, timeout_ms), e);
	if (rc != QUORATE_OK) {
		quorate_double_barrier_close(*b);
		*b = NULL;
	}
	return rc;
}

/*
 * Takes our key out; who is the last one ends the group. It may be made twice, at any time: our key is not
 * put again, so none of those that are there later was created when ours was, and we are not alone.
 */
static int leave(struct quorate_double_barrier *b, mono_t deadline, struct quorate_error *e)
{
	struct quorate_compare alone = quorate_if(b->waiters, QUORATE_TARGET_CREATE, QUORATE_EQUAL, b->created);
	struct quorate_op ops[] = {quorate_op_delete(b->own), quorate_op_delete(b->ready)};
	struct quorate_txn txn = {.compares = &alone, .n_compares = 1, .then = ops, .n_then = 2,
		.or_else = ops, .n_or_else = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r;
	int rc;

	alone.flags = QUORATE_PREFIX;
	op.flags = QUORATE_IDEMPOTENT;
	rc = fence_close(&b->fence, b->q, b->session, deadline, e);
	if (rc == QUORATE_OK)
		rc = recipe_call(b->q, b->session, &op, deadline, &r, e);
	if (rc != QUORATE_OK)
		return rc;
	quorate_result_free(r);
	b->created = 0;
	b->begun = false;
	return QUORATE_OK;
}

/*
 * The newest of the group that is still inside: when it has gone the others mostly have. Keys that
 * were created later are the next group's: its members may have been faster out of this one.
 */
static int newest_waiter(struct quorate_double_barrier *b, mono_t deadline, struct quorate_result **r,
			 struct quorate_error *e)
{
	struct quorate_op op = quorate_op_get(b->waiters);

	op.flags = QUORATE_PREFIX | QUORATE_KEYS_ONLY;
	op.order = QUORATE_DESCEND;
	op.sort = QUORATE_SORT_CREATE;
	op.limit = 1;
	op.max_create_revision = b->complete;
	return recipe_call(b->q, b->session, &op, deadline, r, e);
}

int quorate_double_barrier_leave(struct quorate_double_barrier *b, int64_t timeout_ms,
				 struct quorate_error *e)
{
	mono_t deadline = recipe_deadline(b->q, timeout_ms);
	int rc = b->created != 0 ? leave(b, deadline, e) : recipe_ok(e);

	while (rc == QUORATE_OK) {
		struct quorate_result *r;
		int64_t gone;

		rc = newest_waiter(b, deadline, &r, e);
		if (rc != QUORATE_OK)
			break;
		if (r->n_kvs == 0) {
			quorate_result_free(r);
			break;
		}
		rc = recipe_wait_gone(b->q, b->session, r->kvs[0].key, r->header.revision, deadline, &gone, e);
		quorate_result_free(r);
	}
	return rc;
}
