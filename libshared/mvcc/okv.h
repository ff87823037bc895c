/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordered key-value backend with transactions: what the store needs of a database, and nothing
 * more. Two exist: okv_lmdb (the real one) and okv_mem (for tests and simulation).
 *
 * Bytes that a get or a cursor gives belong to the transaction. In a read transaction they are
 * valid until its end; in a write transaction only until the next put, append or del in it.
 *
 * Results: ERR_OK, ERR_NOT_FOUND, ERR_EXISTS (append out of order), ERR_FULL (the map is full),
 * ERR_NO_SPACE (the disk is), ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY; a read transaction also
 * ERR_STORE_DOWN (the writer stopped in the middle of a commit: try again a little later). After any but the first two a
 * write transaction can only be ended.
 */
#ifndef QUORATE_OKV_H
#define QUORATE_OKV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* The tables of mvcc/layout.h. */
#define OKV_TABLE_LIST(T) \
	T(NOW, "now") T(PAST, "past") T(LOG, "log") T(DONE, "done") T(GATEWAYS, "gateways") T(META, "meta") \
	T(LEASES, "leases") T(LEASE_KEYS, "lease_keys")

enum okv_table {
#define OKV_TABLE_ENUM_(name, text) OKV_##name,
	OKV_TABLE_LIST(OKV_TABLE_ENUM_)
#undef OKV_TABLE_ENUM_
	OKV_TABLES
};

enum okv_step { OKV_FIRST, OKV_LAST, OKV_NEXT, OKV_PREV };

struct okv_row {
	struct bytes key, value;
};

struct okv_stat {
	uint64_t file_bytes;     /* pages ever used */
	uint64_t free_bytes;     /* of them free again */
	uint64_t rows[OKV_TABLES];
	uint64_t readers;        /* reader slots in use, of all processes */
	uint64_t reader_lag;     /* transactions the oldest reader is behind: what stops reuse */
};

struct okv;
struct okv_txn;
struct okv_cursor;

struct okv_ops {
	int (*begin)(struct okv *db, bool write, struct okv_txn **out);
	int (*commit)(struct okv_txn *t);
	void (*abort)(struct okv_txn *t);
	int (*get)(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes *value);
	int (*put)(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value);
	int (*append)(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value);
	int (*del)(struct okv_txn *t, enum okv_table table, struct bytes key);
	int (*cursor)(struct okv_txn *t, enum okv_table table, struct okv_cursor **out);
	void (*cursor_end)(struct okv_cursor *c);
	int (*seek)(struct okv_cursor *c, struct bytes key, struct okv_row *row);
	int (*step)(struct okv_cursor *c, enum okv_step step, struct okv_row *row);
	int (*cursor_del)(struct okv_cursor *c);
	int (*stat)(struct okv *db, struct okv_stat *st);
	int (*check_readers)(struct okv *db, int *dead);
	int (*sync)(struct okv *db);
	void (*close)(struct okv *db);
};

/* Backends put these first in their own. */
struct okv {
	const struct okv_ops *ops;
};
struct okv_txn {
	struct okv *db;
	bool write;
};
struct okv_cursor {
	struct okv_txn *txn;
	enum okv_table table;
};

const char *okv_table_name(enum okv_table table);

int okv_begin(struct okv *db, bool write, struct okv_txn **out);
int okv_commit(struct okv_txn **t);               /* the transaction is gone, whatever comes back */
void okv_abort(struct okv_txn **t);               /* ends a read transaction too; NULL is fine */
int okv_get(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes *value);
int okv_put(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value);
int okv_append(struct okv_txn *t, enum okv_table table, struct bytes key, struct bytes value);
int okv_del(struct okv_txn *t, enum okv_table table, struct bytes key);

/* Close every cursor before its transaction ends, and before the transaction writes. */
int okv_cursor(struct okv_txn *t, enum okv_table table, struct okv_cursor **out);
void okv_cursor_end(struct okv_cursor **c);
int okv_seek(struct okv_cursor *c, struct bytes key, struct okv_row *row);   /* the first row >= key */
int okv_step(struct okv_cursor *c, enum okv_step step, struct okv_row *row);
/* Removes the row it stands on; OKV_NEXT then gives the row behind it. The one write it allows. */
int okv_cursor_del(struct okv_cursor *c);

int okv_stat(struct okv *db, struct okv_stat *st);          /* walks the free list: not too often */
int okv_check_readers(struct okv *db, int *dead);           /* frees slots of dead processes */
int okv_sync(struct okv *db);
void okv_close(struct okv **db);

/* ---- LMDB ---- */

struct okv_lmdb_setup {
	const char *dir;
	uint64_t map_bytes;
	bool write;          /* false: ERR_NOT_FOUND unless a writer has made it */
	bool sync;           /* every commit is synced (for tests; the store syncs its log instead) */
	int damage_code;     /* exit code when LMDB meets a page that cannot be; 0: fatal()'s */
};
/* Also ERR_VERSION: made by another version of LMDB. Never open one directory twice in a process. */
int okv_lmdb_open(const struct okv_lmdb_setup *s, struct okv **out);
/*
 * Writes the newest committed state to `fd` as the bytes of a data.mdb, in order: fd may be a pipe.
 * Holds one view all the time. `compact` leaves unused pages out; ERR_VERSION: that cannot be
 * done with this file, which is not dense where LMDB expects it: try again without.
 */
int okv_lmdb_copy(struct okv *db, int fd, bool compact);
/* How many rows each table says that it has, as of that transaction. */
int okv_lmdb_rows(struct okv_txn *t, uint64_t rows[OKV_TABLES]);

/* ---- memory ---- */

/*
 * One version only: no read transaction while a write transaction is open, and abort of a write
 * transaction that wrote is a panic.
 */
int okv_mem_open(struct okv **out);

#endif
