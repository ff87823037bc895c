/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LMDB backend; the only includer of lmdb.
 *
 * Without sync (MDB_NOSYNC): a killed process loses nothing, and after a crash of the operating
 * system the store's owner does not trust the file (stored/generation.h). Read transactions are
 * not bound to threads (MDB_NOTLS), and ended ones are kept for the next reader.
 */
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "mvcc/okv.h"

enum { OKV_IDLE_READERS = 16, OKV_RENEW_TRIES = 1000, OKV_GROW_PAGES = 64 };

struct okv_lmdb {
	struct okv base;
	MDB_env *env;
	MDB_dbi dbi[OKV_TABLES];
	struct okv_lmdb_txn *idle[OKV_IDLE_READERS];
	size_t n_idle;
	MDB_txn *probe;          /* see okv_lmdb_is_sound; NULL until needed */
	bool writing;            /* LMDB would deadlock on a second write transaction */
	int fd;                  /* the file, to make it longer: see okv_lmdb_grow */
	size_t page_bytes, pages;    /* that it is long */
};

struct okv_lmdb_txn {
	struct okv_txn base;
	MDB_txn *txn;
};

struct okv_lmdb_cursor {
	struct okv_cursor base;
	MDB_cursor *cursor;
};

#define OKV_LMDB(db) ((struct okv_lmdb *)(void *)(db))
#define OKV_LMDB_TXN(t) ((struct okv_lmdb_txn *)(void *)(t))
#define OKV_LMDB_CURSOR(c) ((struct okv_lmdb_cursor *)(void *)(c))

static int okv_lmdb_err(int rc, const char *what)
{
	switch (rc) {
	case MDB_SUCCESS:
		return ERR_OK;
	case MDB_NOTFOUND:
		return ERR_NOT_FOUND;
	case MDB_KEYEXIST:
		return ERR_EXISTS;
	default:
		break;
	}
	log_error("store database failed call=%s error=\"%s\"", what, mdb_strerror(rc));
	switch (rc) {
	case MDB_MAP_FULL:
		return ERR_FULL;
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case ENOMEM:
		return ERR_NO_MEMORY;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_BAD_TXN:
	case MDB_CURSOR_FULL:
		return ERR_CORRUPT;
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
		return ERR_VERSION;
	default:
		return ERR_IO;
	}
}

/* LMDB's values are not const; it does not write through them here. */
static MDB_val okv_lmdb_val(struct bytes v)
{
	MDB_val m = {.mv_size = v.len};

	memcpy(&m.mv_data, &v.data, sizeof m.mv_data);
	return m;
}

static struct bytes okv_lmdb_bytes(const MDB_val *m)
{
	return bytes_of(m->mv_data, m->mv_size);
}

static void okv_lmdb_row(struct okv_row *row, const MDB_val *k, const MDB_val *v)
{
	row->key = okv_lmdb_bytes(k);
	row->value = okv_lmdb_bytes(v);
}

/* ---- transactions ---- */

/* A new reader, ended again: it keeps its slot, to be renewed. */
static int okv_lmdb_reader(struct okv_lmdb *l, MDB_txn **out)
{
	int dead = 0, rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, out);

	if (rc == MDB_READERS_FULL && mdb_reader_check(l->env, &dead) == 0 && dead > 0)
		rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, out);
	if (rc == MDB_READERS_FULL)
		return ERR_TOO_MANY_REQUESTS;
	if (rc != 0)
		return okv_lmdb_err(rc, "txn_begin");
	mdb_txn_reset(*out);
	return ERR_OK;
}

/*
 * A reader that stops between learning the newest transaction's number N and copying its root, for
 * two whole commits, would copy a root that is being rewritten: commit N + 2 uses the place of N
 * again, and begins to once N + 1 has become the newest. So the copy is good if N was still the
 * newest after it was made, which a second reader finds out.
 */
static int okv_lmdb_is_sound(struct okv_lmdb *l, MDB_txn *txn, bool *sound)
{
	MDB_envinfo info;
	int rc = ERR_OK;

	*sound = mdb_env_info(l->env, &info) == 0 && info.me_last_txnid == mdb_txn_id(txn);
	if (*sound)
		return ERR_OK;           /* not even the root of N + 1 has been written */
	if (l->probe == NULL)
		rc = okv_lmdb_reader(l, &l->probe);
	if (rc == ERR_OK)
		rc = okv_lmdb_err(mdb_txn_renew(l->probe), "txn_renew");
	if (rc != ERR_OK)
		return rc;
	*sound = mdb_txn_id(l->probe) == mdb_txn_id(txn);
	mdb_txn_reset(l->probe);
	return ERR_OK;
}

static int okv_lmdb_renew(struct okv_lmdb *l, MDB_txn *txn)
{
	bool sound = false;

	for (int i = 0; i < OKV_RENEW_TRIES; i++) {
		int rc = okv_lmdb_err(mdb_txn_renew(txn), "txn_renew");

		if (rc == ERR_OK)
			rc = okv_lmdb_is_sound(l, txn, &sound);
		if (rc != ERR_OK || sound)
			return rc;
		mdb_txn_reset(txn);
	}
	/* The writer was killed or stopped between its last write and saying so: until it is back. */
	return ERR_STORE_DOWN;
}

static int okv_lmdb_begin_read(struct okv_lmdb *l, struct okv_lmdb_txn **out)
{
	struct okv_lmdb_txn *t;
	int rc = ERR_OK;

	if (l->n_idle > 0) {
		t = l->idle[--l->n_idle];
	} else {
		t = mem_alloc(sizeof *t);
		rc = okv_lmdb_reader(l, &t->txn);
	}
	if (rc == ERR_OK) {
		rc = okv_lmdb_renew(l, t->txn);
		if (rc != ERR_OK)
			mdb_txn_abort(t->txn);
	}
	if (rc != ERR_OK) {
		free(t);
		return rc;
	}
	*out = t;
	return ERR_OK;
}

/*
 * The file grows ahead of LMDB, a page at a time. LMDB writes neighbouring new pages at once, and
 * then the page cache holds them as one large folio, in which Linux (6.18, ext4) looks at every
 * block before the one to be written: each later write of a page would cost two to four times as
 * much. Only a wish: what is wrong with the disk, LMDB finds out itself.
 */
static void okv_lmdb_grow(struct okv_lmdb *l)
{
	MDB_envinfo info;

	if (mdb_env_info(l->env, &info) != 0)
		return;
	if (l->pages <= info.me_last_pgno)
		l->pages = info.me_last_pgno + 1;        /* LMDB has gone beyond: these are not ours */
	while (l->pages < info.me_last_pgno + OKV_GROW_PAGES &&
	       pwrite(l->fd, "", 1, (off_t)((l->pages + 1) * l->page_bytes - 1)) == 1)
		l->pages++;
}

static int okv_lmdb_begin(struct okv *db, bool write, struct okv_txn **out)
{
	struct okv_lmdb *l = OKV_LMDB(db);
	struct okv_lmdb_txn *t;
	int rc;

	if (!write) {
		rc = okv_lmdb_begin_read(l, &t);
	} else {
		CHECK(!l->writing);
		okv_lmdb_grow(l);
		t = mem_alloc(sizeof *t);
		rc = okv_lmdb_err(mdb_txn_begin(l->env, NULL, 0, &t->txn), "txn_begin");
		if (rc != ERR_OK)
			free(t);
		l->writing = rc == ERR_OK;
	}
	if (rc == ERR_OK)
		*out = &t->base;
	return rc;
}

static int okv_lmdb_commit(struct okv_txn *txn)
{
	struct okv_lmdb_txn *t = OKV_LMDB_TXN(txn);
	int rc = okv_lmdb_err(mdb_txn_commit(t->txn), "txn_commit");

	OKV_LMDB(txn->db)->writing = false;
	free(t);
	return rc;
}

static void okv_lmdb_abort(struct okv_txn *txn)
{
	struct okv_lmdb *l = OKV_LMDB(txn->db);
	struct okv_lmdb_txn *t = OKV_LMDB_TXN(txn);

	if (!txn->write && l->n_idle < OKV_IDLE_READERS) {
		mdb_txn_reset(t->txn);
		l->idle[l->n_idle++] = t;
		return;
	}
	if (txn->write)
		l->writing = false;
	mdb_txn_abort(t->txn);
	free(t);
}

/* ---- rows ---- */

static int okv_lmdb_get(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes *value)
{
	MDB_val k = okv_lmdb_val(key), v;
	int rc = mdb_get(OKV_LMDB_TXN(t)->txn, OKV_LMDB(t->db)->dbi[table], &k, &v);

	if (rc == 0)
		*value = okv_lmdb_bytes(&v);
	return okv_lmdb_err(rc, "get");
}

static int okv_lmdb_put_flags(struct okv_txn *t, enum okv_table table, struct bytes key,
			      struct bytes value, unsigned flags)
{
	MDB_val k = okv_lmdb_val(key), v = okv_lmdb_val(value);

	return okv_lmdb_err(mdb_put(OKV_LMDB_TXN(t)->txn, OKV_LMDB(t->db)->dbi[table], &k, &v, flags), "put");
}

static int okv_lmdb_put(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	return okv_lmdb_put_flags(t, table, key, value, 0);
}

static int okv_lmdb_append(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value)
{
	return okv_lmdb_put_flags(t, table, key, value, MDB_APPEND);
}

static int okv_lmdb_del(struct okv_txn *t, enum okv_table table, struct bytes key)
{
	MDB_val k = okv_lmdb_val(key);

	return okv_lmdb_err(mdb_del(OKV_LMDB_TXN(t)->txn, OKV_LMDB(t->db)->dbi[table], &k, NULL), "del");
}

/* ---- cursors ---- */

static int okv_lmdb_cursor(struct okv_txn *t, enum okv_table table, struct okv_cursor **out)
{
	struct okv_lmdb_cursor *c = mem_alloc(sizeof *c);
	int rc = mdb_cursor_open(OKV_LMDB_TXN(t)->txn, OKV_LMDB(t->db)->dbi[table], &c->cursor);

	if (rc != 0) {
		free(c);
		return okv_lmdb_err(rc, "cursor_open");
	}
	*out = &c->base;
	return ERR_OK;
}

static void okv_lmdb_cursor_end(struct okv_cursor *cursor)
{
	mdb_cursor_close(OKV_LMDB_CURSOR(cursor)->cursor);
	free(cursor);
}

static int okv_lmdb_seek(struct okv_cursor *cursor, struct bytes key, struct okv_row *row)
{
	MDB_val k = okv_lmdb_val(key), v;
	int rc = mdb_cursor_get(OKV_LMDB_CURSOR(cursor)->cursor, &k, &v, MDB_SET_RANGE);

	if (rc == 0)
		okv_lmdb_row(row, &k, &v);
	return okv_lmdb_err(rc, "cursor_get");
}

static int okv_lmdb_step(struct okv_cursor *cursor, enum okv_step step, struct okv_row *row)
{
	static const MDB_cursor_op ops[] = {[OKV_FIRST] = MDB_FIRST, [OKV_LAST] = MDB_LAST,
		[OKV_NEXT] = MDB_NEXT, [OKV_PREV] = MDB_PREV};
	MDB_val k, v;
	int rc = mdb_cursor_get(OKV_LMDB_CURSOR(cursor)->cursor, &k, &v, ops[step]);

	if (rc == 0)
		okv_lmdb_row(row, &k, &v);
	return okv_lmdb_err(rc, "cursor_get");
}

static int okv_lmdb_cursor_del(struct okv_cursor *cursor)
{
	return okv_lmdb_err(mdb_cursor_del(OKV_LMDB_CURSOR(cursor)->cursor, 0), "cursor_del");
}

/* ---- the environment ---- */

/* Table 0 is LMDB's free list: one row per transaction, its value opens with the number of pages. */
static int okv_lmdb_free_pages(MDB_txn *txn, uint64_t *pages)
{
	MDB_cursor *c;
	MDB_val k, v;
	int rc = mdb_cursor_open(txn, 0, &c);

	*pages = 0;
	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
		size_t n = 0;

		if (v.mv_size >= sizeof n)
			memcpy(&n, v.mv_data, sizeof n);
		*pages += n;
	}
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int okv_lmdb_stat_txn(struct okv_lmdb *l, MDB_txn *txn, struct okv_stat *st)
{
	uint64_t pages = 0;
	MDB_envinfo info;
	MDB_stat s;
	int rc = mdb_env_info(l->env, &info);

	if (rc == 0)
		rc = mdb_env_stat(l->env, &s);
	if (rc == 0)
		rc = okv_lmdb_free_pages(txn, &pages);
	if (rc != 0)
		return rc;
	st->file_bytes = ((uint64_t)info.me_last_pgno + 1) * s.ms_psize;
	st->free_bytes = pages * s.ms_psize;
	st->readers = info.me_numreaders;
	for (unsigned i = 0; i < OKV_TABLES && rc == 0; i++) {
		rc = mdb_stat(txn, l->dbi[i], &s);
		st->rows[i] = rc == 0 ? s.ms_entries : 0;
	}
	return rc;
}

struct okv_lmdb_oldest {
	unsigned long long txnid;
	bool any;
};

/* mdb_reader_list gives lines of text "pid thread txnid", '-' for a slot without transaction. */
static int okv_lmdb_oldest_line(const char *line, void *arg)
{
	struct okv_lmdb_oldest *o = arg;
	const char *last = strrchr(line, ' ');
	char *end = NULL;
	unsigned long long id;

	if (last == NULL)
		return 0;
	id = strtoull(last + 1, &end, 10);
	if (end == last + 1 || *end != '\n')
		return 0;
	if (!o->any || id < o->txnid)
		*o = (struct okv_lmdb_oldest){id, true};
	return 0;
}

static uint64_t okv_lmdb_reader_lag(struct okv_lmdb *l)
{
	struct okv_lmdb_oldest o = {0, false};
	MDB_envinfo info;

	if (mdb_reader_list(l->env, okv_lmdb_oldest_line, &o) < 0 || mdb_env_info(l->env, &info) != 0)
		return 0;
	return o.any && info.me_last_txnid > o.txnid ? info.me_last_txnid - o.txnid : 0;
}

static int okv_lmdb_stat(struct okv *db, struct okv_stat *st)
{
	struct okv_lmdb *l = OKV_LMDB(db);
	struct okv_txn *t;
	int rc;

	*st = (struct okv_stat){0};
	st->reader_lag = okv_lmdb_reader_lag(l);
	rc = okv_begin(db, false, &t);
	if (rc != ERR_OK)
		return rc;
	rc = okv_lmdb_err(okv_lmdb_stat_txn(l, OKV_LMDB_TXN(t)->txn, st), "stat");
	okv_abort(&t);
	return rc;
}

static int okv_lmdb_check_readers(struct okv *db, int *dead)
{
	*dead = 0;
	return okv_lmdb_err(mdb_reader_check(OKV_LMDB(db)->env, dead), "reader_check");
}

static int okv_lmdb_sync(struct okv *db)
{
	return okv_lmdb_err(mdb_env_sync(OKV_LMDB(db)->env, 1), "env_sync");
}

static void okv_lmdb_close(struct okv *db)
{
	struct okv_lmdb *l = OKV_LMDB(db);

	CHECK(!l->writing);
	while (l->n_idle > 0) {
		struct okv_lmdb_txn *t = l->idle[--l->n_idle];

		mdb_txn_abort(t->txn);
		free(t);
	}
	if (l->probe != NULL)
		mdb_txn_abort(l->probe);
	mdb_env_close(l->env);
	free(l);
}

static const struct okv_ops okv_lmdb_ops = {
	.begin = okv_lmdb_begin, .commit = okv_lmdb_commit, .abort = okv_lmdb_abort,
	.get = okv_lmdb_get, .put = okv_lmdb_put, .append = okv_lmdb_append, .del = okv_lmdb_del,
	.cursor = okv_lmdb_cursor, .cursor_end = okv_lmdb_cursor_end, .seek = okv_lmdb_seek,
	.step = okv_lmdb_step, .cursor_del = okv_lmdb_cursor_del, .stat = okv_lmdb_stat,
	.check_readers = okv_lmdb_check_readers, .sync = okv_lmdb_sync, .close = okv_lmdb_close,
};

static int okv_lmdb_open_tables(struct okv_lmdb *l, bool write)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(l->env, NULL, write ? 0 : MDB_RDONLY, &txn);

	if (rc != 0)
		return rc;
	for (unsigned i = 0; i < OKV_TABLES && rc == 0; i++)
		rc = mdb_dbi_open(txn, okv_table_name((enum okv_table)i), write ? MDB_CREATE : 0, &l->dbi[i]);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);      /* of a read transaction: keeps the table handles */
}

/* LMDB would abort with a line of its own source. It finds only what damage has made impossible. */
static void okv_lmdb_assert(MDB_env *env, const char *msg)
{
	int code = (int)(intptr_t)mdb_env_get_userctx(env);

	if (code != 0) {
		log_error("the store is damaged: %s", msg);
		_exit(code);
	}
	fatal("the disk or the memory of this machine is in doubt: test both; then delete data_dir/store and start "
	      "stored again: it builds the store anew from the log", "the store is damaged: %s", msg);
}

static int okv_lmdb_measure(struct okv_lmdb *l)
{
	struct stat file;
	MDB_stat s;
	int rc = mdb_env_stat(l->env, &s);

	if (rc == 0)
		rc = mdb_env_get_fd(l->env, &l->fd);
	if (rc == 0 && fstat(l->fd, &file) != 0)
		rc = errno;
	if (rc != 0)
		return rc;
	l->page_bytes = s.ms_psize;
	l->pages = (size_t)file.st_size / l->page_bytes;
	return 0;
}

static int okv_lmdb_open_env(struct okv_lmdb *l, const struct okv_lmdb_setup *s)
{
	unsigned flags = MDB_NOTLS | (s->write ? 0 : MDB_RDONLY) | (s->sync ? 0 : MDB_NOSYNC);
	int rc = mdb_env_create(&l->env);

	if (rc != 0)
		return rc;
	rc = mdb_env_set_userctx(l->env, (void *)(intptr_t)s->damage_code);
	if (rc == 0)
		rc = mdb_env_set_assert(l->env, okv_lmdb_assert);
	if (rc == 0)
		rc = mdb_env_set_mapsize(l->env, s->map_bytes);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(l->env, OKV_TABLES);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(l->env, LIMIT_STORE_READERS);
	if (rc == 0)
		rc = mdb_env_open(l->env, s->dir, flags, 0600);
	if (rc == 0)
		rc = okv_lmdb_open_tables(l, s->write);
	if (rc == 0)
		rc = okv_lmdb_measure(l);
	return rc;
}

int okv_lmdb_copy(struct okv *db, int fd, bool compact)
{
	return okv_lmdb_err(mdb_env_copyfd2(OKV_LMDB(db)->env, fd, compact ? MDB_CP_COMPACT : 0), "env_copy");
}

int okv_lmdb_rows(struct okv_txn *t, uint64_t rows[OKV_TABLES])
{
	const struct okv_lmdb *l = OKV_LMDB(t->db);
	MDB_stat s;
	int rc = 0;

	for (unsigned i = 0; i < OKV_TABLES && rc == 0; i++) {
		rc = mdb_stat(OKV_LMDB_TXN(t)->txn, l->dbi[i], &s);
		rows[i] = rc == 0 ? s.ms_entries : 0;
	}
	return okv_lmdb_err(rc, "stat");
}

int okv_lmdb_open(const struct okv_lmdb_setup *s, struct okv **out)
{
	struct okv_lmdb *l = mem_alloc(sizeof *l);
	int rc = okv_lmdb_open_env(l, s);

	l->base.ops = &okv_lmdb_ops;
	if (rc == 0) {
		*out = &l->base;
		return ERR_OK;
	}
	if (l->env != NULL)
		mdb_env_close(l->env);
	free(l);
	return rc == ENOENT ? ERR_NOT_FOUND : okv_lmdb_err(rc, "env_open");
}
