/* SPDX-License-Identifier: Apache-2.0 */
/* A get of any size: page by page at one revision, so that memory is bounded. */
#include "client/lib/core.h"

enum { EACH_PAGE = 1000 };

struct each {
	struct quorate *q;
	struct quorate_op op;
	int64_t timeout_ms, limit, done;   /* limit of all; 0: none */
	int (*each)(void *arg, const struct quorate_kv *kv);
	void *arg;
	struct arena arena;
	struct request_range range;    /* of all, as key and range end */
	struct buf key;                /* where the next page begins */
};

static int each_page(struct each *w, struct quorate_result **page, struct quorate_error *e)
{
	int64_t left = w->limit - w->done;
	int rc;

	w->op.limit = w->limit > 0 && left < EACH_PAGE ? left : EACH_PAGE;
	rc = quorate_call(w->q, &w->op, w->timeout_ms, page, e);
	if (rc == ERR_OK && w->op.revision <= 0)
		w->op.revision = (*page)->header.revision;
	return rc;
}

/* Else a server that says the same page again, and that there is more, would never let us go. */
static int each_goes_on(const struct each *w, const struct quorate_result *page, struct quorate_error *e)
{
	const struct quorate_kv *first = page->n_kvs > 0 ? &page->kvs[0] : NULL;

	if (w->key.len == 0 || first == NULL ||
	    bytes_cmp(bytes_of(first->key.data, first->key.size), buf_bytes(&w->key)) >= 0)
		return ERR_OK;
	return lib_error(e, ERR_MALFORMED, ERR_AGAIN_NO, "a page that was not asked for");
}

static int each_pairs(struct each *w, const struct quorate_result *page)
{
	int rc = 0;

	for (size_t i = 0; i < page->n_kvs && rc == 0; i++) {
		rc = w->each(w->arg, &page->kvs[i]);
		w->done++;
	}
	return rc;
}

/* The next page begins right behind the last key, and ends where all do. */
static int each_next(struct each *w, const struct quorate_result *page, struct quorate_error *e)
{
	const struct quorate_kv *last = &page->kvs[page->n_kvs - 1];

	buf_clear(&w->key);
	buf_add(&w->key, last->key.data, last->key.size);
	buf_u8(&w->key, 0);
	w->op.key = quorate_bytes(w->key.data, w->key.len);
	w->op.range_end = quorate_bytes(w->range.range_end.data, w->range.range_end.len);
	w->op.flags &= ~(unsigned)(QUORATE_PREFIX | QUORATE_FROM_KEY);
	return w->key.err == ERR_OK ? ERR_OK : lib_error_of(e, w->key.err);
}

/* The first page goes to *first: it says what the whole is. */
static int each_all(struct each *w, struct quorate_result **first, struct quorate_error *e)
{
	struct quorate_result *page = NULL;
	bool more = true;
	int rc = ERR_OK;

	while (rc == ERR_OK && more) {
		rc = each_page(w, &page, e);
		if (rc != ERR_OK)
			break;
		rc = each_goes_on(w, page, e);
		if (rc == ERR_OK)
			rc = each_pairs(w, page);
		more = page->more && page->n_kvs > 0 && (w->limit <= 0 || w->done < w->limit);
		if (rc == ERR_OK && more)
			rc = each_next(w, page, e);
		if (*first == NULL) {
			*first = page;
		} else {
			(*first)->more = page->more;
			quorate_result_free(page);
		}
	}
	return rc;
}

static int each_check(const struct quorate_op *op, struct quorate_error *e)
{
	if (op->kind != QUORATE_GET || op->order != QUORATE_ORDER_NONE || op->sort != QUORATE_SORT_KEY ||
	    (op->flags & QUORATE_COUNT_ONLY) != 0 || op->limit < 0)
		return lib_error(e, ERR_BAD_ARGUMENT, ERR_AGAIN_NO,
				 "it must be a GET, of pairs in the order of keys");
	return ERR_OK;
}

int quorate_each(struct quorate *q, const struct quorate_op *op, int64_t timeout_ms,
		 int (*each)(void *arg, const struct quorate_kv *kv), void *arg,
		 struct quorate_result **r, struct quorate_error *e)
{
	struct each w = {.q = q, .op = *op, .timeout_ms = timeout_ms, .limit = op->limit, .each = each,
			 .arg = arg};
	struct quorate_result *first = NULL;
	int rc = each_check(op, e);

	if (r != NULL)
		*r = NULL;
	if (rc != ERR_OK)
		return rc;
	arena_init(&w.arena, 4 * MIB);
	buf_init(&w.key, 0);
	rc = request_range(op->key, op->range_end, op->flags, bytes_of(NULL, 0), &w.arena, &w.range);
	rc = rc != ERR_OK ? lib_error_of(e, rc) : each_all(&w, &first, e);
	buf_free(&w.key);
	arena_free(&w.arena);
	if (rc != ERR_OK || r == NULL) {
		quorate_result_free(first);
		return rc;
	}
	first->kvs = NULL;
	first->n_kvs = 0;
	*r = first;
	return ERR_OK;
}
