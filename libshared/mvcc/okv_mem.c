/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory backend, for tests and simulation: each table is a skip list. Heights come from a
 * generator of its own, so that a run can be repeated exactly.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/okv.h"

enum { OKV_MEM_HEIGHT = 20 };

struct okv_mem_node {
	struct okv_mem_node *prev;       /* on the lowest level; NULL: the head */
	uint8_t *value;
	size_t key_len, value_len;
	unsigned height;
	struct okv_mem_node *next[];     /* `height` of them, then the key */
};

struct okv_mem_table {
	struct okv_mem_node *head[OKV_MEM_HEIGHT];
	struct okv_mem_node *last;
	uint64_t rows;
};

struct okv_mem {
	struct okv base;
	struct okv_mem_table tables[OKV_TABLES];
	uint64_t random;
	unsigned readers;
	bool writing;
};

struct okv_mem_txn {
	struct okv_txn base;
	bool wrote;
};

enum okv_mem_at { OKV_MEM_NOWHERE, OKV_MEM_ON, OKV_MEM_BEFORE /* its row has been deleted */ };

struct okv_mem_cursor {
	struct okv_cursor base;
	enum okv_mem_at at;
	struct okv_mem_node *node;       /* NULL with OKV_MEM_BEFORE: the end */
};

#define OKV_MEM(db) ((struct okv_mem *)(void *)(db))
#define OKV_MEM_TXN(t) ((struct okv_mem_txn *)(void *)(t))
#define OKV_MEM_CURSOR(c) ((struct okv_mem_cursor *)(void *)(c))

static struct bytes node_key(const struct okv_mem_node *n)
{
	return bytes_of(&n->next[n->height], n->key_len);
}

static int mem_row(const struct okv_mem_node *n, struct okv_row *row)
{
	if (n == NULL)
		return ERR_NOT_FOUND;
	row->key = node_key(n);
	row->value = bytes_of(n->value, n->value_len);
	return ERR_OK;
}

/* The node before `key` on every level (NULL: the head); returns the first one at or behind it. */
static struct okv_mem_node *mem_find(struct okv_mem_table *t, struct bytes key,
				     struct okv_mem_node *before[OKV_MEM_HEIGHT])
{
	struct okv_mem_node *at = NULL, *next = NULL;

	for (unsigned level = OKV_MEM_HEIGHT; level-- > 0;) {
		next = at ? at->next[level] : t->head[level];
		while (next != NULL && bytes_cmp(node_key(next), key) < 0) {
			at = next;
			next = at->next[level];
		}
		before[level] = at;
	}
	return next;
}

static unsigned mem_height(struct okv_mem *m)
{
	unsigned height = 1;

	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	for (uint64_t r = m->random; (r & 3) == 0 && height < OKV_MEM_HEIGHT; r >>= 2)
		height++;
	return height;
}

static struct okv_mem_node *mem_node(struct okv_mem *m, struct bytes key)
{
	unsigned height = mem_height(m);
	struct okv_mem_node *n = mem_alloc(sizeof *n + height * sizeof n->next[0] + key.len);

	n->height = height;
	n->key_len = key.len;
	memcpy(&n->next[height], key.data, key.len);
	return n;
}

static void mem_link(struct okv_mem_table *t, struct okv_mem_node *n,
		     struct okv_mem_node *before[OKV_MEM_HEIGHT])
{
	for (unsigned i = 0; i < n->height; i++) {
		struct okv_mem_node **to = before[i] ? &before[i]->next[i] : &t->head[i];

		n->next[i] = *to;
		*to = n;
	}
	n->prev = before[0];
	if (n->next[0] != NULL)
		n->next[0]->prev = n;
	else
		t->last = n;
	t->rows++;
}

static void mem_unlink(struct okv_mem_table *t, struct okv_mem_node *n)
{
	struct okv_mem_node *before[OKV_MEM_HEIGHT];

	CHECK(mem_find(t, node_key(n), before) == n);
	for (unsigned i = 0; i < n->height; i++)
		*(before[i] ? &before[i]->next[i] : &t->head[i]) = n->next[i];
	if (n->next[0] != NULL)
		n->next[0]->prev = n->prev;
	else
		t->last = n->prev;
	t->rows--;
	free(n->value);
	free(n);
}

static int okv_mem_get(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes *value)
{
	struct okv_mem_node *before[OKV_MEM_HEIGHT];
	struct okv_mem_node *n = mem_find(&OKV_MEM(t->db)->tables[table], key, before);

	if (n == NULL || !bytes_eq(node_key(n), key))
		return ERR_NOT_FOUND;
	*value = bytes_of(n->value, n->value_len);
	return ERR_OK;
}

static int okv_mem_put(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	struct okv_mem *m = OKV_MEM(t->db);
	struct okv_mem_node *before[OKV_MEM_HEIGHT];
	struct okv_mem_node *n = mem_find(&m->tables[table], key, before);

	uint8_t *copy = mem_dup(value.len ? value.data : (const uint8_t *)"", value.len);

	OKV_MEM_TXN(t)->wrote = true;
	if (n == NULL || !bytes_eq(node_key(n), key)) {
		n = mem_node(m, key);
		mem_link(&m->tables[table], n, before);
	}
	free(n->value);
	n->value = copy;
	n->value_len = value.len;
	return ERR_OK;
}

static int okv_mem_append(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	const struct okv_mem_node *last = OKV_MEM(t->db)->tables[table].last;

	if (last != NULL && bytes_cmp(node_key(last), key) >= 0)
		return ERR_EXISTS;
	return okv_mem_put(t, table, key, value);
}

static int okv_mem_del(struct okv_txn *t, enum okv_table table, struct bytes key)
{
	struct okv_mem_table *tab = &OKV_MEM(t->db)->tables[table];
	struct okv_mem_node *before[OKV_MEM_HEIGHT];
	struct okv_mem_node *n = mem_find(tab, key, before);

	if (n == NULL || !bytes_eq(node_key(n), key))
		return ERR_NOT_FOUND;
	OKV_MEM_TXN(t)->wrote = true;
	mem_unlink(tab, n);
	return ERR_OK;
}

static int okv_mem_cursor(struct okv_txn *t, enum okv_table table, struct okv_cursor **out)
{
	struct okv_mem_cursor *c = mem_alloc(sizeof *c);

	(void)t;
	(void)table;
	*out = &c->base;
	return ERR_OK;
}

static void okv_mem_cursor_end(struct okv_cursor *c)
{
	free(c);
}

static int cursor_on(struct okv_mem_cursor *c, struct okv_mem_node *n, struct okv_row *row)
{
	c->node = n;
	c->at = n ? OKV_MEM_ON : OKV_MEM_NOWHERE;
	return mem_row(n, row);
}

static int okv_mem_seek(struct okv_cursor *cursor, struct bytes key, struct okv_row *row)
{
	struct okv_mem_node *before[OKV_MEM_HEIGHT];

	return cursor_on(OKV_MEM_CURSOR(cursor),
			 mem_find(&OKV_MEM(cursor->txn->db)->tables[cursor->table], key, before), row);
}

static int okv_mem_step(struct okv_cursor *cursor, enum okv_step step, struct okv_row *row)
{
	struct okv_mem_table *t = &OKV_MEM(cursor->txn->db)->tables[cursor->table];
	struct okv_mem_cursor *c = OKV_MEM_CURSOR(cursor);

	switch (step) {
	case OKV_FIRST:
		return cursor_on(c, t->head[0], row);
	case OKV_LAST:
		return cursor_on(c, t->last, row);
	case OKV_NEXT:
		CHECK(c->at != OKV_MEM_NOWHERE);
		return cursor_on(c, c->at == OKV_MEM_BEFORE ? c->node : c->node->next[0], row);
	case OKV_PREV:
	default:
		CHECK(c->at == OKV_MEM_ON);
		return cursor_on(c, c->node->prev, row);
	}
}

static int okv_mem_cursor_del(struct okv_cursor *cursor)
{
	struct okv_mem_table *t = &OKV_MEM(cursor->txn->db)->tables[cursor->table];
	struct okv_mem_cursor *c = OKV_MEM_CURSOR(cursor);
	struct okv_mem_node *next;

	CHECK(c->at == OKV_MEM_ON);
	next = c->node->next[0];
	OKV_MEM_TXN(cursor->txn)->wrote = true;
	mem_unlink(t, c->node);
	c->node = next;
	c->at = OKV_MEM_BEFORE;
	return ERR_OK;
}

static int okv_mem_begin(struct okv *db, bool write, struct okv_txn **out)
{
	struct okv_mem *m = OKV_MEM(db);
	struct okv_mem_txn *t = mem_alloc(sizeof *t);

	CHECK(!m->writing && (!write || m->readers == 0));
	m->writing = write;
	m->readers += !write;
	*out = &t->base;
	return ERR_OK;
}

static int okv_mem_commit(struct okv_txn *t)
{
	OKV_MEM(t->db)->writing = false;
	free(t);
	return ERR_OK;
}

static void okv_mem_abort(struct okv_txn *t)
{
	struct okv_mem *m = OKV_MEM(t->db);

	CHECK(!OKV_MEM_TXN(t)->wrote);
	if (t->write)
		m->writing = false;
	else
		m->readers--;
	free(t);
}

static int okv_mem_stat(struct okv *db, struct okv_stat *st)
{
	struct okv_mem *m = OKV_MEM(db);

	*st = (struct okv_stat){.readers = m->readers};
	for (unsigned i = 0; i < OKV_TABLES; i++)
		st->rows[i] = m->tables[i].rows;
	return ERR_OK;
}

static int okv_mem_check_readers(struct okv *db, int *dead)
{
	(void)db;
	*dead = 0;
	return ERR_OK;
}

static int okv_mem_sync(struct okv *db)
{
	(void)db;
	return ERR_OK;
}

static void okv_mem_close(struct okv *db)
{
	struct okv_mem *m = OKV_MEM(db);

	CHECK(!m->writing && m->readers == 0);
	for (unsigned i = 0; i < OKV_TABLES; i++) {
		for (struct okv_mem_node *n = m->tables[i].head[0], *next; n != NULL; n = next) {
			next = n->next[0];
			free(n->value);
			free(n);
		}
	}
	free(m);
}

static const struct okv_ops okv_mem_ops = {
	.begin = okv_mem_begin, .commit = okv_mem_commit, .abort = okv_mem_abort,
	.get = okv_mem_get, .put = okv_mem_put, .append = okv_mem_append, .del = okv_mem_del,
	.cursor = okv_mem_cursor, .cursor_end = okv_mem_cursor_end, .seek = okv_mem_seek,
	.step = okv_mem_step, .cursor_del = okv_mem_cursor_del, .stat = okv_mem_stat,
	.check_readers = okv_mem_check_readers, .sync = okv_mem_sync, .close = okv_mem_close,
};

int okv_mem_open(struct okv **out)
{
	struct okv_mem *m = mem_alloc(sizeof *m);

	m->base.ops = &okv_mem_ops;
	m->random = 0x9e3779b97f4a7c15u;
	*out = &m->base;
	return ERR_OK;
}
