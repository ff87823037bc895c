/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of work. A piece is a key QUEUE/items/PRIORITY-REVISION-RANDOM, whose REVISION its putter has
 * read just before: so pieces lie in the order in which they were put, except those that were put at
 * the same time, and putting needs no common counter. Who takes a piece puts QUEUE/claims/ with the
 * same end, attached to his session: if that is lost the claim goes, and the piece is there again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/recipes/fence.h"

#define WORK_PAGE 64                   /* pieces looked at in one read */
#define WORK_ID 44                     /* "PPPPPPPPPP-RRRRRRRRRRRRRRRR-XXXXXXXXXXXXXXXX" */

struct quorate_work {
	struct quorate *q;             /* it may be cancelled */
	struct quorate *clean;         /* for giving the piece back */
	struct quorate_session *session;
	struct quorate_result *item;   /* the page it was found in */
	const struct quorate_kv *kv;
	char *claim_text;
	struct quorate_bytes claim;
	int64_t token;                 /* create revision of the claim; 0: not ours any more */
	struct fence fence;            /* of what puts the claim */
	bool doubt;                    /* a try to end the claim had no clear end */
};

/* A taker on his way. */
struct taking {
	struct quorate *q, *clean;     /* as of the piece */
	struct quorate_session *session;
	char *items_text, *claims_text;
	struct quorate_bytes queue, items, claims;   /* "QUEUE", "QUEUE/items/" and "QUEUE/claims/" */
	mono_t deadline;
	int64_t revision;              /* that the search has looked at */
	struct quorate_watch *watch;   /* of both, once nothing was found */
};

static struct quorate_bytes join(struct quorate_bytes a, const char *b, struct quorate_bytes c,
				 char **text)
{
	*text = recipe_join(a, quorate_str(b), c);
	return quorate_bytes(*text, *text == NULL ? 0 : a.size + strlen(b) + c.size);
}

/* Do all keys begin with the prefix? A server may say anything. */
static int all_under(const struct quorate_result *r, struct quorate_bytes prefix, struct quorate_error *e)
{
	for (size_t i = 0; i < r->n_kvs; i++)
		if (r->kvs[i].key.size < prefix.size || memcmp(r->kvs[i].key.data, prefix.data, prefix.size) != 0)
			return recipe_fail(e, QUORATE_ERR_MALFORMED, QUORATE_AGAIN_NO, "a key that was not asked for");
	return QUORATE_OK;
}

/* What stands behind the prefix. */
static struct quorate_bytes behind(struct quorate_bytes key, struct quorate_bytes prefix)
{
	CHECK(key.size >= prefix.size);
	return quorate_bytes((const char *)key.data + prefix.size, key.size - prefix.size);
}

static bool same(struct quorate_bytes a, struct quorate_bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- putting ---- */

int quorate_work_put(struct quorate *q, struct quorate_bytes queue, unsigned priority,
		     struct quorate_bytes value, int64_t timeout_ms, struct quorate_error *e)
{
	mono_t deadline = recipe_deadline(q, timeout_ms);
	struct quorate_bytes key;
	struct quorate_op op;
	struct quorate_result *r;
	char id[WORK_ID + 1], *text;
	int rc;

	op = quorate_op_get(queue);
	op.flags = QUORATE_COUNT_ONLY;
	rc = quorate_call(q, &op, recipe_left_ms(deadline), &r, e);
	if (rc != QUORATE_OK)
		return rc;
	(void)snprintf(id, sizeof id, "%010u-%016llx-%016llx", priority,
		       (unsigned long long)r->header.revision, (unsigned long long)recipe_random());
	quorate_result_free(r);
	key = join(queue, "/items/", quorate_str(id), &text);
	if (text == NULL)
		return recipe_no_memory(e);
	op = quorate_op_put(key, value, 0);
	rc = quorate_call(q, &op, recipe_left_ms(deadline), NULL, e);
	free(text);
	return rc;
}

/* ---- taking ---- */

static int get_page(struct taking *t, struct quorate_bytes after, struct quorate_result **r,
		    struct quorate_error *e)
{
	struct quorate_op op = quorate_op_get(t->items);
	struct quorate_bytes end;
	char *from, *to;
	int rc;

	if (after.size > 0) {
		op.key = join(after, "", quorate_bytes("", 1), &from);
		end = join(t->items, "\xff", quorate_str(NULL), &to);   /* behind all digits */
		op.range_end = end;
	} else {
		from = to = NULL;
		op.flags = QUORATE_PREFIX;
	}
	op.limit = WORK_PAGE;
	op.revision = t->revision;
	rc = after.size > 0 && (from == NULL || to == NULL) ? recipe_no_memory(e) :
		recipe_call(t->q, t->session, &op, t->deadline, r, e);
	free(from);
	free(to);
	return rc;
}

/* The claims of the pieces of a page. */
static int get_claims(struct taking *t, const struct quorate_result *page, struct quorate_result **r,
		      struct quorate_error *e)
{
	struct quorate_bytes first = behind(page->kvs[0].key, t->items);
	struct quorate_bytes last = behind(page->kvs[page->n_kvs - 1].key, t->items);
	struct quorate_op op;
	char *from, *to;
	int rc;

	op = quorate_op_get(join(t->claims, "", first, &from));
	op.range_end = join(t->claims, "", last, &to);
	if (to != NULL)
		op.range_end.size++;   /* with the NUL that stands there */
	op.flags = QUORATE_KEYS_ONLY;
	op.revision = t->revision;
	rc = from == NULL || to == NULL ? recipe_no_memory(e) :
		recipe_call(t->q, t->session, &op, t->deadline, r, e);
	free(from);
	free(to);
	return rc;
}

/*
 * A claim whose answer was lost is nobody's, and yet there for as long as the session; or it may come yet.
 * No other has its mark, so a late copy of this deletes nothing.
 */
static void take_back(struct taking *t, struct quorate_work *w, struct quorate_bytes mark)
{
	struct quorate_compare ours = quorate_if_value(w->claim, QUORATE_EQUAL, mark);
	struct quorate_op then = quorate_op_delete(w->claim);
	mono_t deadline = recipe_deadline(t->clean, RECIPE_CLEAN_MS);
	struct quorate_txn txn = {.compares = &ours, .n_compares = 1, .then = &then, .n_then = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r;

	if (fence_close(&w->fence, t->clean, t->session, deadline, NULL) != QUORATE_OK)
		return;
	op.flags = QUORATE_IDEMPOTENT;
	(void)recipe_call(t->clean, t->session, &op, deadline, &r, NULL);
	quorate_result_free(r);
}

/*
 * Puts the claim if nobody has, and the piece is still there. It may be made twice: a claim of the
 * same session with our mark is ours. Before it is given back a late copy is fenced off; once the piece is
 * done there is none to claim. QUORATE_OK and token 0: somebody else was faster.
 */
static int put_claim(struct taking *t, const struct quorate_kv *item, struct quorate_work *w,
		     struct quorate_error *e)
{
	uint64_t any = recipe_random();
	struct quorate_bytes mark = quorate_bytes(&any, sizeof any);
	struct quorate_compare compares[] = {
		quorate_if_missing(w->claim), fence_open(&w->fence),
		quorate_if(item->key, QUORATE_TARGET_MOD, QUORATE_EQUAL, item->mod_revision)};
	struct quorate_op then = quorate_op_put(w->claim, mark, quorate_session_lease(t->session));
	struct quorate_op or_else = quorate_op_get(w->claim);
	struct quorate_txn txn = {.compares = compares, .n_compares = 3, .then = &then, .n_then = 1,
		.or_else = &or_else, .n_or_else = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	const struct quorate_result *got;
	struct quorate_result *r;
	int rc;

	op.flags = QUORATE_IDEMPOTENT;
	rc = recipe_write(t->q, t->session, &op, t->deadline, &r, &w->fence.late, e);
	got = rc == QUORATE_OK ? r->results[0] : NULL;
	if (rc == QUORATE_OK && r->succeeded)
		w->token = r->header.revision;
	else if (got != NULL && got->n_kvs > 0 && same(got->kvs[0].value, mark))
		w->token = got->kvs[0].create_revision;
	quorate_result_free(r);
	if (w->token == 0 && w->fence.late && quorate_session_left_ms(t->session) > 0)
		take_back(t, w, mark);
	return rc;
}

/* *w, and it keeps the page; or NULL: it was claimed a moment ago. */
static int claim_item(struct taking *t, struct quorate_result **page, size_t at, struct quorate_work **w,
		      struct quorate_error *e)
{
	const struct quorate_kv *item = &(*page)->kvs[at];
	struct quorate_work *work = calloc(1, sizeof *work);
	int rc;

	*w = NULL;
	if (work == NULL)
		return recipe_no_memory(e);
	work->claim = join(t->claims, "", behind(item->key, t->items), &work->claim_text);
	rc = work->claim_text == NULL ? recipe_no_memory(e) : fence_init(&work->fence, t->queue, e);
	if (rc == QUORATE_OK)
		rc = put_claim(t, item, work, e);
	if (rc != QUORATE_OK || work->token == 0) {
		fence_free(&work->fence);
		free(work->claim_text);
		free(work);
		return rc;
	}
	work->q = t->q;
	work->clean = t->clean;
	t->clean = NULL;
	work->session = t->session;
	work->item = *page;
	work->kv = item;
	*page = NULL;
	*w = work;
	return QUORATE_OK;
}

/* The first of a page that nobody has claimed. */
static int search_page(struct taking *t, struct quorate_result **page, struct quorate_work **w,
		       struct quorate_error *e)
{
	struct quorate_result *claims;
	size_t c = 0;
	int rc = get_claims(t, *page, &claims, e);

	*w = NULL;
	if (rc != QUORATE_OK)
		return rc;
	rc = all_under(claims, t->claims, e);
	for (size_t i = 0; rc == QUORATE_OK && *w == NULL && i < (*page)->n_kvs; i++) {
		struct quorate_bytes id = behind((*page)->kvs[i].key, t->items);

		/* Both are in the order of keys, and a claim goes before or with its piece. */
		if (c < claims->n_kvs && same(behind(claims->kvs[c].key, t->claims), id)) {
			c++;
			continue;
		}
		rc = claim_item(t, page, i, w, e);
		if (*w != NULL)
			break;
	}
	quorate_result_free(claims);
	return rc;
}

/* *w, or NULL: there is no piece, at t->revision, that nobody has. COMPACTED: it took too long. */
static int search_once(struct taking *t, struct quorate_work **w, struct quorate_error *e)
{
	struct quorate_result *page = NULL, *next;
	struct quorate_bytes after = quorate_str(NULL);
	bool more = true;
	int rc = QUORATE_OK;

	*w = NULL;
	t->revision = 0;
	while (rc == QUORATE_OK && *w == NULL && more) {
		rc = get_page(t, after, &next, e);
		quorate_result_free(page);
		page = rc == QUORATE_OK ? next : NULL;
		if (page == NULL)
			break;
		rc = all_under(page, t->items, e);
		if (rc != QUORATE_OK)
			break;
		if (t->revision == 0)
			t->revision = page->header.revision;
		more = page->more;
		if (page->n_kvs == 0)
			break;
		after = page->kvs[page->n_kvs - 1].key;
		rc = search_page(t, &page, w, e);
	}
	quorate_result_free(page);
	return rc;
}

static int search(struct taking *t, struct quorate_work **w, struct quorate_error *e)
{
	int rc;

	do
		rc = search_once(t, w, e);
	while (rc == QUORATE_ERR_COMPACTED && !recipe_over(t->deadline));
	return rc;
}

static bool wakes(const struct taking *t, const struct quorate_news *news)
{
	for (size_t i = 0; i < news->n_events; i++) {
		const struct quorate_event *ev = &news->events[i];
		bool item = ev->kv.key.size >= t->items.size &&
			memcmp(ev->kv.key.data, t->items.data, t->items.size) == 0;

		if (item == (ev->type == QUORATE_EVENT_PUT) && ev->kv.mod_revision > t->revision)
			return true;           /* a new piece, or a claim that has gone */
	}
	return false;
}

static int watch_queue(struct taking *t, struct quorate_error *e)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;

	/* "QUEUE/", which stands before both. */
	o.key = quorate_bytes(t->items.data, t->items.size - strlen("items/"));
	o.flags = QUORATE_PREFIX;
	o.start_revision = t->revision + 1;
	o.session = t->session;
	return quorate_watch_open(t->q, &o, &t->watch, e);
}

/* Until it is worth while to search again. */
static int wait_for_news(struct taking *t, struct quorate_error *e)
{
	bool woken = false;
	int rc = t->watch == NULL ? watch_queue(t, e) : QUORATE_OK;

	while (rc == QUORATE_OK && !woken) {
		struct quorate_news *news;

		rc = quorate_watch_next(t->watch, recipe_over(t->deadline) ? 0 : recipe_left_ms(t->deadline),
					&news, e);
		if (rc != QUORATE_OK)
			break;
		if (news->kind == QUORATE_COMPACTED) {
			quorate_watch_close(t->watch);
			t->watch = NULL;
			woken = true;
		} else if (news->kind == QUORATE_EVENTS) {
			woken = wakes(t, news);
		}
		quorate_news_free(news);
	}
	return recipe_why(t->q, t->session, rc, e);
}

int quorate_work_take(struct quorate *q, struct quorate_session *s, struct quorate_bytes queue,
		      int64_t timeout_ms, struct quorate_work **w, struct quorate_error *e)
{
	struct taking t = {.q = q, .session = s, .queue = queue, .deadline = recipe_deadline(q, timeout_ms)};
	int rc;

	*w = NULL;
	rc = recipe_session(q, s, e);
	if (rc != QUORATE_OK)
		return rc;
	rc = quorate_namespace(q, quorate_str(NULL), &t.clean, e);
	if (rc != QUORATE_OK)
		return rc;
	t.items = join(queue, "/items/", quorate_str(NULL), &t.items_text);
	t.claims = join(queue, "/claims/", quorate_str(NULL), &t.claims_text);
	rc = t.items_text == NULL || t.claims_text == NULL ? recipe_no_memory(e) : search(&t, w, e);
	while (rc == QUORATE_OK && *w == NULL) {
		rc = wait_for_news(&t, e);
		if (rc == QUORATE_OK)
			rc = search(&t, w, e);
	}
	if (t.watch != NULL)
		quorate_watch_close(t.watch);
	quorate_close(t.clean);
	free(t.items_text);
	free(t.claims_text);
	return rc;
}

/* ---- having ---- */

struct quorate_bytes quorate_work_value(const struct quorate_work *w)
{
	return w->kv->value;
}

struct quorate_bytes quorate_work_key(const struct quorate_work *w)
{
	return w->kv->key;
}

int64_t quorate_work_token(const struct quorate_work *w)
{
	return quorate_session_left_ms(w->session) > 0 ? w->token : 0;
}

struct quorate_compare quorate_work_held(const struct quorate_work *w)
{
	/* A claim that was given up has a token that no key ever has. */
	return quorate_if(w->claim, QUORATE_TARGET_CREATE, QUORATE_EQUAL, w->token > 0 ? w->token : -1);
}

/*
 * The claim was not there. If a try of ours may have ended it, the piece tells: it is gone if that try
 * was done, and it is there if the claim was lost before. Only if the session is lost too may another have
 * got it, and done it: then nobody knows.
 */
static int claim_gone(struct quorate_work *w, const struct quorate_result *item, struct quorate_error *e)
{
	bool there = item->n_kvs > 0 && item->kvs[0].mod_revision == w->kv->mod_revision;
	bool ours = w->doubt && !there;

	if (ours && quorate_session_left_ms(w->session) > 0)
		return recipe_ok(e);
	return recipe_fail(e, QUORATE_ERR_LOST, ours ? QUORATE_AGAIN_UNSURE : QUORATE_AGAIN_NO, "%s",
			   ours ? "the session is lost, and the piece of work done by us or by another" :
				  "the session was lost, and the piece of work with it");
}

/* A late copy finds no claim that was created at that revision, for ever. */
static int end_claim(struct quorate_work *w, struct quorate *q, bool with_item, int64_t timeout_ms,
		     struct quorate_error *e)
{
	struct quorate_compare held = quorate_work_held(w);
	struct quorate_op ops[] = {quorate_op_delete(w->claim), quorate_op_delete(w->kv->key)};
	struct quorate_op get = quorate_op_get(w->kv->key);
	struct quorate_txn txn = {.compares = &held, .n_compares = 1, .then = ops,
		.n_then = with_item ? 2 : 1, .or_else = &get, .n_or_else = 1};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r;
	int rc;

	if (w->token == 0)
		return recipe_fail(e, QUORATE_ERR_LOST, QUORATE_AGAIN_NO, "the piece of work is not ours any more");
	get.flags = QUORATE_KEYS_ONLY;
	op.flags = QUORATE_IDEMPOTENT;
	/* Not by the session: if that is lost, whether the work is done is worth knowing nonetheless. */
	rc = recipe_write(q, NULL, &op, recipe_deadline(q, timeout_ms), &r, &w->doubt, e);
	if (rc != QUORATE_OK)
		return rc;
	w->token = 0;
	if (!r->succeeded)
		rc = claim_gone(w, r->results[0], e);
	quorate_result_free(r);
	return rc;
}

int quorate_work_done(struct quorate_work *w, int64_t timeout_ms, struct quorate_error *e)
{
	return end_claim(w, w->q, true, timeout_ms, e);
}

void quorate_work_close(struct quorate_work *w)
{
	if (w == NULL)
		return;
	if (quorate_session_left_ms(w->session) > 0)
		(void)fence_close(&w->fence, w->clean, w->session, recipe_deadline(w->clean, RECIPE_CLEAN_MS), NULL);
	if (w->token != 0 && quorate_session_left_ms(w->session) > 0)
		(void)end_claim(w, w->clean, false, RECIPE_CLEAN_MS, NULL);
	quorate_close(w->clean);
	fence_free(&w->fence);
	quorate_result_free(w->item);
	free(w->claim_text);
	free(w);
}
