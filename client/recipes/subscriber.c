/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch with a position that is kept in the cluster. A place is a revision and how many of its
 * events (of those that this subscription sees) are done: 0 of the next revision when all are.
 *
 * Two keys: POSITION has the place, POSITION/owner a random mark of the newest subscriber. Every
 * write of the place is guarded by a compare of the mark, so an older subscriber, or a request of it
 * that was under way, moves nothing; and by one of the place's revision, which must not be newer than what
 * this subscriber has seen, so neither does an older request of its own.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/recipes/recipe.h"

enum {
	SUBSCRIBER_PLACE_TEXT = 48,
	SUBSCRIBER_QUIET_MS = 60000    /* a position that moves on without events is kept this often */
};

struct place {
	int64_t revision, number;
};

struct quorate_subscriber {
	struct quorate *q;
	char *prefix_text, *position_text, *owner_text;
	struct quorate_bytes prefix, position, owner;
	unsigned flags;
	char mark[24];
	pthread_mutex_t lock;          /* of what follows: */
	struct place handed;           /* the last event that was handed out */
	struct place complete;         /* everything before it has been handed out: number is 0 */
	int64_t known;                 /* a revision that the store has had */
	struct place kept;             /* what the position is known to be at least... */
	mono_t stored;                 /* ...and when it was last written */
	/* Of the thread in quorate_subscriber_next(): */
	struct quorate_watch *watch;   /* NULL: to be opened at `skip` */
	struct place skip;             /* events of this revision that need not come again */
	struct quorate_news *news;
	size_t at;                     /* of its events: the next one */
	struct place seen;             /* of the watch: its last event */
	int64_t compacted;
	char text[SUBSCRIBER_PLACE_TEXT];   /* of ack_op */
};

static bool place_before(struct place a, struct place b)
{
	return a.revision != b.revision ? a.revision < b.revision : a.number < b.number;
}

static struct quorate_bytes place_text(char to[SUBSCRIBER_PLACE_TEXT], struct place p)
{
	int n = snprintf(to, SUBSCRIBER_PLACE_TEXT, "%" PRId64 " %" PRId64, p.revision, p.number);

	return quorate_bytes(to, (size_t)n);
}

static bool place_number(struct quorate_bytes v, size_t *at, int64_t *to)
{
	size_t from = *at;

	for (*to = 0; *at < v.size; ++*at) {
		char c = ((const char *)v.data)[*at];

		if (c < '0' || c > '9')
			break;
		if (*at - from == 18)         /* digits that surely fit */
			return false;
		*to = *to * 10 + (c - '0');
	}
	return *at > from;
}

static bool place_parse(struct quorate_bytes v, struct place *p)
{
	size_t at = 0;

	if (!place_number(v, &at, &p->revision) || at == v.size || ((const char *)v.data)[at++] != ' ')
		return false;
	return place_number(v, &at, &p->number) && at == v.size && p->revision > 0;
}

/* ---- the position ---- */

static struct quorate_compare subscriber_owns(const struct quorate_subscriber *s)
{
	return quorate_if_value(s->owner, QUORATE_EQUAL, quorate_str(s->mark));
}

static int64_t subscriber_known(struct quorate_subscriber *s, int64_t revision)
{
	(void)pthread_mutex_lock(&s->lock);
	s->known = s->known < revision ? revision : s->known;
	revision = s->known;
	(void)pthread_mutex_unlock(&s->lock);
	return revision;
}

enum store_how { STORE_ACK, STORE_SEEK };

/*
 * What a store has brought. One that failed although we are the owner has found a position that was written
 * after what we had seen: by an earlier copy, or by a transaction of our user's. An acknowledgement is
 * done if that is further on; else it is made again.
 */
static int subscriber_stored(struct quorate_subscriber *s, const struct quorate_result *r, struct place p,
			     enum store_how how, bool *done, struct quorate_error *e)
{
	const struct quorate_result *owner = r->succeeded ? NULL : r->results[0], *position;
	struct place now;

	(void)subscriber_known(s, r->header.revision);
	*done = r->succeeded;
	if (*done)
		return QUORATE_OK;
	position = r->results[1];
	if (owner->n_kvs != 1 || owner->kvs[0].value.size != strlen(s->mark) ||
	    memcmp(owner->kvs[0].value.data, s->mark, strlen(s->mark)) != 0)
		return recipe_fail(e, QUORATE_ERR_LOST, QUORATE_AGAIN_NO, "another subscriber has the position %s",
				   s->position_text);
	if (position->n_kvs == 1 && place_parse(position->kvs[0].value, &now))
		*done = how == STORE_ACK ? !place_before(now, p) : !place_before(now, p) && !place_before(p, now);
	return QUORATE_OK;
}

/* A late copy finds a position that was written after what was known when it was sent. */
static int subscriber_put(struct quorate_subscriber *s, struct place p, enum store_how how, mono_t deadline,
			  struct quorate_error *e)
{
	char text[SUBSCRIBER_PLACE_TEXT];
	struct quorate_op then = quorate_op_put(s->position, place_text(text, p), 0), op;
	struct quorate_op or_else[] = {quorate_op_get(s->owner), quorate_op_get(s->position)};
	bool done = false;
	int rc = QUORATE_OK;

	while (rc == QUORATE_OK && !done) {
		struct quorate_compare compares[] = {
			subscriber_owns(s), quorate_if(s->position, QUORATE_TARGET_MOD, QUORATE_LESS,
						       subscriber_known(s, 0) + 1)};
		struct quorate_txn txn = {compares, 2, &then, 1, or_else, 2};
		struct quorate_result *r;

		op = quorate_op_txn(&txn);
		op.flags = QUORATE_IDEMPOTENT;
		rc = recipe_call(s->q, NULL, &op, deadline, &r, e);
		if (rc == QUORATE_OK)
			rc = subscriber_stored(s, r, p, how, &done, e);
		quorate_result_free(r);
	}
	return rc;
}

static int subscriber_store(struct quorate_subscriber *s, struct place p, enum store_how how, mono_t deadline,
			    struct quorate_error *e)
{
	int rc = subscriber_put(s, p, how, deadline, e);

	if (rc == QUORATE_OK) {
		(void)pthread_mutex_lock(&s->lock);
		s->stored = mono_now();
		s->kept = place_before(s->kept, p) ? p : s->kept;
		(void)pthread_mutex_unlock(&s->lock);
	}
	return rc;
}

/*
 * Becomes the owner. From one owner to the next: a late copy finds that the one before it has been
 * followed, and takes the position from nobody. *r: the second of its parts is the position.
 */
static int subscriber_own(struct quorate_subscriber *s, mono_t deadline, struct quorate_result **r,
			  struct quorate_error *e)
{
	struct quorate_op then[] = {quorate_op_put(s->owner, quorate_str(s->mark), 0), quorate_op_get(s->position)};
	struct quorate_op or_else[] = {quorate_op_get(s->owner), quorate_op_get(s->position)}, op;
	struct quorate_compare before = quorate_if_missing(s->owner);
	struct quorate_txn txn = {&before, 1, then, 2, or_else, 2};

	for (;;) {
		const struct quorate_kv *kv;
		int rc;

		op = quorate_op_txn(&txn);
		op.flags = QUORATE_IDEMPOTENT;
		rc = recipe_call(s->q, NULL, &op, deadline, r, e);
		if (rc != QUORATE_OK || (*r)->succeeded)
			return rc;
		kv = (*r)->results[0]->n_kvs > 0 ? (*r)->results[0]->kvs : NULL;
		if (kv != NULL && kv->value.size == strlen(s->mark) &&
		    memcmp(kv->value.data, s->mark, kv->value.size) == 0)
			return QUORATE_OK;             /* by an earlier copy */
		before = quorate_if(s->owner, QUORATE_TARGET_MOD, QUORATE_EQUAL, kv != NULL ? kv->mod_revision : 0);
		quorate_result_free(*r);
		*r = NULL;
	}
}

/* Takes the position; *there: it has been one before, else *p is behind the present. */
static int subscriber_take(struct quorate_subscriber *s, mono_t deadline, bool *there, struct place *p,
			   struct quorate_error *e)
{
	const struct quorate_result *position;
	struct quorate_result *r;
	int rc = subscriber_own(s, deadline, &r, e);

	if (rc != QUORATE_OK)
		return rc;
	position = r->results[1];
	*there = position->n_kvs > 0;
	*p = (struct place){subscriber_known(s, r->header.revision) + 1, 0};
	if (*there && !place_parse(position->kvs[0].value, p))
		rc = recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
				 "the key %s is no position of a subscriber", s->position_text);
	quorate_result_free(r);
	return rc;
}

/* The watch begins anew, behind this place. */
static void subscriber_rewatch(struct quorate_subscriber *s, struct place p)
{
	quorate_watch_close(s->watch);
	s->watch = NULL;
	quorate_news_free(s->news);
	s->news = NULL;
	s->seen = (struct place){0, 0};
	s->skip = p;
}

static void subscriber_stand(struct quorate_subscriber *s, struct place p)
{
	(void)pthread_mutex_lock(&s->lock);
	s->kept = p;
	s->handed = (struct place){0, 0};
	s->complete = (struct place){p.revision, 0};
	(void)pthread_mutex_unlock(&s->lock);
	subscriber_rewatch(s, p);
	s->compacted = 0;
}

static bool subscriber_bad(const struct quorate_subscriber_options *o)
{
	static const char owner[] = "/owner";
	const struct quorate_bytes *a = &o->prefix, *b = &o->position;
	size_t shared = a->size < b->size ? a->size : b->size, behind = a->size - shared;

	/* What it writes itself, POSITION and POSITION/owner, would come back to it as events. */
	return b->size == 0 || o->start_revision < 0 ||
	       ((shared == 0 || memcmp(a->data, b->data, shared) == 0) && behind < sizeof owner &&
		(behind == 0 || memcmp((const char *)a->data + shared, owner, behind) == 0));
}

static int subscriber_make(struct quorate *q, const struct quorate_subscriber_options *o,
			   struct quorate_subscriber **out, struct quorate_error *e)
{
	struct quorate_subscriber *s = calloc(1, sizeof *s);

	if (s == NULL)
		return recipe_no_memory(e);
	s->q = q;
	s->flags = o->flags & (QUORATE_PREV_KV | QUORATE_NO_PUT | QUORATE_NO_DELETE);
	s->prefix = recipe_copy(&o->prefix, &s->prefix_text);
	s->position = recipe_copy(&o->position, &s->position_text);
	s->owner_text = recipe_join(o->position, quorate_str("/owner"), quorate_str(NULL));
	s->owner = quorate_bytes(s->owner_text, o->position.size + strlen("/owner"));
	(void)snprintf(s->mark, sizeof s->mark, "%016" PRIx64, recipe_random());
	(void)pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return s->prefix_text == NULL || s->position_text == NULL || s->owner_text == NULL ?
		recipe_no_memory(e) : QUORATE_OK;
}

static void subscriber_free(struct quorate_subscriber *s)
{
	quorate_watch_close(s->watch);
	quorate_news_free(s->news);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->prefix_text);
	free(s->position_text);
	free(s->owner_text);
	free(s);
}

int quorate_subscriber_open(struct quorate *q, const struct quorate_subscriber_options *given, int64_t timeout_ms,
			    struct quorate_subscriber **sp, struct quorate_error *e)
{
	mono_t deadline = recipe_deadline(q, timeout_ms);
	struct quorate_subscriber_options o;
	struct quorate_subscriber *s = NULL;
	struct place p;
	bool there;
	int rc;

	*sp = NULL;
	if (!recipe_options(&o, sizeof o, given, given->size, e))
		return QUORATE_ERR_BAD_ARGUMENT;
	if (subscriber_bad(&o))
		return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
				   "a subscriber needs a position outside of the prefix");
	rc = subscriber_make(q, &o, &s, e);
	if (rc == QUORATE_OK)
		rc = subscriber_take(s, deadline, &there, &p, e);
	if (rc == QUORATE_OK && !there) {
		p.revision = o.start_revision > 0 ? o.start_revision : p.revision;
		rc = subscriber_store(s, p, STORE_ACK, deadline, e);
	}
	if (rc == QUORATE_OK) {
		subscriber_stand(s, p);
		*sp = s;
	} else if (s != NULL) {
		subscriber_free(s);
	}
	return rc;
}

/* ---- events ---- */

static int subscriber_watch(struct quorate_subscriber *s, struct quorate_error *e)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;

	o.key = s->prefix;
	o.flags = s->flags | QUORATE_PREFIX | QUORATE_PROGRESS;
	o.start_revision = s->skip.revision;
	return quorate_watch_open(s->q, &o, &s->watch, e);
}

/* All events up to this revision have been handed out. */
static void subscriber_complete(struct quorate_subscriber *s, int64_t revision)
{
	(void)pthread_mutex_lock(&s->lock);
	if (s->complete.revision <= revision)
		s->complete.revision = revision + 1;
	(void)pthread_mutex_unlock(&s->lock);
}

/* The next event of the news there are, if it is not done already. */
static bool subscriber_hand(struct quorate_subscriber *s, struct quorate_message *m)
{
	while (s->news != NULL && s->at < s->news->n_events) {
		const struct quorate_event *event = &s->news->events[s->at++];
		int64_t revision = event->kv.mod_revision;
		struct place p = {revision, s->seen.revision == revision ? s->seen.number + 1 : 1};

		s->seen = p;
		(void)pthread_mutex_lock(&s->lock);
		s->handed = place_before(s->handed, p) ? p : s->handed;
		if (s->complete.revision < revision)
			s->complete.revision = revision;
		(void)pthread_mutex_unlock(&s->lock);
		if (s->at == s->news->n_events && !s->news->partial)
			subscriber_complete(s, s->news->revision);
		if (!place_before(s->skip, p) && p.revision == s->skip.revision)
			continue;
		*m = (struct quorate_message){event, p.revision, p.number};
		return true;
	}
	return false;
}

/*
 * Is everything that was handed out acknowledged? Then the position is where all that has come ends,
 * and worth being written now and then, lest it fall behind a compaction.
 */
static bool subscriber_quiet(struct quorate_subscriber *s, struct place *p)
{
	bool quiet;

	(void)pthread_mutex_lock(&s->lock);
	quiet = !place_before(s->kept, s->handed) && place_before(s->kept, s->complete) &&
		mono_sub_ms(mono_now(), s->stored) >= SUBSCRIBER_QUIET_MS;
	*p = s->complete;
	(void)pthread_mutex_unlock(&s->lock);
	return quiet;
}

static int subscriber_keep_quiet(struct quorate_subscriber *s, mono_t deadline, struct quorate_error *e)
{
	struct place p;

	return subscriber_quiet(s, &p) ? subscriber_store(s, p, STORE_ACK, deadline, e) : QUORATE_OK;
}

static int subscriber_say_compacted(struct quorate_subscriber *s, struct quorate_error *e)
{
	return recipe_fail(e, QUORATE_ERR_COMPACTED, QUORATE_AGAIN_NO,
			   "the history from revision %" PRId64 " on is gone up to %" PRId64, s->skip.revision,
			   s->compacted);
}

/* News have come: QUORATE_OK, or what ends it. */
static int subscriber_take_news(struct quorate_subscriber *s, struct quorate_news *news, struct quorate_error *e)
{
	quorate_news_free(s->news);
	s->news = news;
	s->at = 0;
	if (news->kind == QUORATE_COMPACTED) {
		s->compacted = news->compact_revision;
		return subscriber_say_compacted(s, e);
	}
	if (news->kind != QUORATE_PROGRESSED)
		return QUORATE_OK;
	subscriber_complete(s, news->revision);
	return subscriber_keep_quiet(s, recipe_deadline(s->q, 0), e);
}

int quorate_subscriber_next(struct quorate_subscriber *s, int64_t timeout_ms, struct quorate_message *m,
			    struct quorate_error *e)
{
	mono_t deadline = recipe_wait_deadline(timeout_ms);
	struct quorate_news *news;
	int rc = recipe_ours(s->q, e);

	*m = (struct quorate_message){NULL, 0, 0};
	if (rc == QUORATE_OK && s->compacted > 0)
		return subscriber_say_compacted(s, e);
	while (rc == QUORATE_OK && !subscriber_hand(s, m)) {
		if (s->watch == NULL)
			rc = subscriber_watch(s, e);
		if (rc == QUORATE_OK)
			rc = quorate_watch_next(s->watch, recipe_wait_ms(deadline), &news, e);
		if (rc == QUORATE_OK)
			rc = subscriber_take_news(s, news, e);
		else if (rc != QUORATE_ERR_TIMEOUT)      /* it has ended, and the next call begins anew */
			subscriber_rewatch(s, place_before(s->skip, s->seen) ? s->seen : s->skip);
	}
	return rc == QUORATE_OK ? recipe_ok(e) : rc;
}

int64_t quorate_subscriber_compacted(const struct quorate_subscriber *s)
{
	return s->compacted;
}

/* ---- acknowledging ---- */

/* Where to go on behind a message. All of its revision is done if it was the last to be handed out. */
static struct place subscriber_behind(struct quorate_subscriber *s, const struct quorate_message *m)
{
	struct place p;

	(void)pthread_mutex_lock(&s->lock);
	p = m != NULL ? (struct place){m->revision, m->number} : s->handed;
	if (!place_before(p, s->handed) && place_before(p, s->complete))
		p = s->complete;
	(void)pthread_mutex_unlock(&s->lock);
	return p;
}

int quorate_subscriber_ack(struct quorate_subscriber *s, const struct quorate_message *m, int64_t timeout_ms,
			   struct quorate_error *e)
{
	struct place p, kept;

	if (recipe_ours(s->q, e) != QUORATE_OK)
		return QUORATE_ERR_BAD_ARGUMENT;
	p = subscriber_behind(s, m);
	(void)pthread_mutex_lock(&s->lock);
	kept = s->kept;
	(void)pthread_mutex_unlock(&s->lock);
	return place_before(kept, p) ? subscriber_store(s, p, STORE_ACK, recipe_deadline(s->q, timeout_ms), e) :
				       recipe_ok(e);
}

void quorate_subscriber_ack_op(struct quorate_subscriber *s, const struct quorate_message *m,
			       struct quorate_compare *compare, struct quorate_op *op)
{
	*compare = subscriber_owns(s);
	*op = quorate_op_put(s->position, place_text(s->text, subscriber_behind(s, m)), 0);
}

int quorate_subscriber_seek(struct quorate_subscriber *s, int64_t revision, int64_t timeout_ms,
			    struct quorate_error *e)
{
	mono_t deadline = recipe_deadline(s->q, timeout_ms);
	struct quorate_op op = quorate_op_get(s->owner);
	struct quorate_result *r;
	struct place p = {revision, 0};
	int rc = QUORATE_OK;

	if (revision < 0)
		return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO, "a revision is not negative");
	if (revision == 0) {
		rc = recipe_call(s->q, NULL, &op, deadline, &r, e);
		if (rc == QUORATE_OK)
			p.revision = r->header.revision + 1;
		quorate_result_free(r);
	}
	if (rc == QUORATE_OK)
		rc = subscriber_store(s, p, STORE_SEEK, deadline, e);
	if (rc == QUORATE_OK)
		subscriber_stand(s, p);
	return rc;
}

void quorate_subscriber_close(struct quorate_subscriber *s)
{
	if (s == NULL)
		return;
	s->stored = (mono_t){0};              /* worth it now */
	if (s->compacted == 0 && !recipe_forked(s->q))
		(void)subscriber_keep_quiet(s, recipe_deadline(s->q, RECIPE_CLEAN_MS), NULL);
	subscriber_free(s);
}
