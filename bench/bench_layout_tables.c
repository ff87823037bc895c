/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of bench_layout: how rows are written and read in each of the layouts.
 */
#include "bench_layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail(const char *what, const char *why)
{
	fprintf(stderr, "bench_layout: %s: %s\n", what, why);
	exit(111);
}

void must(int rc, const char *what)
{
	if (rc != 0)
		fail(what, mdb_strerror(rc));
}

uint64_t mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void make_key(uint64_t number, char key[KEY_LEN + 1])
{
	uint64_t m = mix64(number ^ 0x5bd1e995u);

	snprintf(key, KEY_LEN + 1, "/registry/bench/%016" PRIx64 "/pod-%03u", m,
	    (unsigned)(m % 1000));
}

void put_be(unsigned char *at, uint64_t v, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		at[i] = (unsigned char)(v >> (8 * (len - 1 - i)));
}

uint64_t get_be(const void *from, unsigned len)
{
	const unsigned char *p = from;
	uint64_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v = v << 8 | p[i];
	return v;
}

void encode_rev(unsigned char *at, uint64_t rev)
{
	put_be(at, rev, 8);
	put_be(at + 8, 0, 4);
}

size_t encode_past_key(unsigned char *at, const void *key, size_t len, uint64_t rev)
{
	const unsigned char *k = key;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		at[n++] = k[i];
		if (k[i] == 0)
			at[n++] = 0xff;
	}
	at[n++] = 0;
	at[n++] = 0;
	put_be(at + n, rev, 8);
	return n + 8;
}

size_t decode_past_key(const MDB_val *row, unsigned char key[KEY_LEN], uint64_t *rev)
{
	const unsigned char *p = row->mv_data;
	size_t n = 0;

	for (size_t i = 0; i < row->mv_size - 10; i++) {
		CHECK(n < KEY_LEN);
		key[n++] = p[i];
		if (p[i] == 0)
			i++;
	}
	*rev = get_be(p + row->mv_size - 8, 8);
	return n;
}

static void encode_head(unsigned char *at, const struct head *h)
{
	encode_rev(at, h->rev);
	put_be(at + REV_LEN, h->create, 8);
	put_be(at + REV_LEN + 8, h->version, 8);
	put_be(at + REV_LEN + 16, h->lease, 8);
}

static void decode_head(const void *from, struct head *h)
{
	const unsigned char *p = from;

	h->rev = get_be(p, 8);
	h->create = get_be(p + REV_LEN, 8);
	h->version = get_be(p + REV_LEN + 8, 8);
	h->lease = get_be(p + REV_LEN + 16, 8);
}

void store_open(struct bench *b)
{
	MDB_txn *txn;

	must(mdb_env_create(&b->env), "create");
	must(mdb_env_set_mapsize(b->env, MAP_BYTES), "mapsize");
	must(mdb_env_set_maxdbs(b->env, 3), "maxdbs");
	must(mdb_env_open(b->env, b->dir, MDB_NOSYNC | MDB_NOTLS, 0600), b->dir);
	must(mdb_txn_begin(b->env, NULL, 0, &txn), "begin");
	must(mdb_dbi_open(txn, "by_rev", MDB_CREATE, &b->by_rev), "open by_rev");
	must(mdb_dbi_open(txn, "now", MDB_CREATE, &b->now), "open now");
	must(mdb_dbi_open(txn, "past", MDB_CREATE, &b->past), "open past");
	must(mdb_txn_commit(txn), "commit");
	must(mdb_txn_begin(b->env, NULL, MDB_RDONLY, &b->read), "begin");
	must(mdb_cursor_open(b->read, b->by_rev, &b->read_rev), "open cursor");
	must(mdb_cursor_open(b->read, b->now, &b->read_now), "open cursor");
	must(mdb_cursor_open(b->read, b->past, &b->read_past), "open cursor");
	mdb_txn_reset(b->read);
}

void store_close(struct bench *b)
{
	mdb_cursor_close(b->read_rev);
	mdb_cursor_close(b->read_now);
	mdb_cursor_close(b->read_past);
	mdb_txn_abort(b->read);
	mdb_env_close(b->env);
}

/* ---- writing ---- */

static bool value_in_now(const struct bench *b)
{
	return b->layout == LAYOUT_B ||
	    (b->layout == LAYOUT_A_INLINE && b->value_len <= INLINE_MAX);
}

static void put_by_rev(struct bench *b, MDB_txn *txn, MDB_val *key, const struct head *h,
    uint64_t prev)
{
	unsigned char rev[REV_LEN];
	MDB_val k = { REV_LEN, rev }, v = { 0, NULL };
	unsigned char *p;

	encode_rev(rev, h->rev);
	if (b->layout == LAYOUT_B)
		v.mv_size = LOG_HEAD + key->mv_size;
	else
		v.mv_size = RECORD_HEAD + key->mv_size + b->value_len;
	must(mdb_put(txn, b->by_rev, &k, &v, MDB_APPEND | MDB_RESERVE), "append");
	p = v.mv_data;
	put_be(p, prev, 8);
	p += 8;
	if (b->layout != LAYOUT_B) {
		put_be(p, h->create, 8);
		put_be(p + 8, h->version, 8);
		put_be(p + 16, h->lease, 8);
		put_be(p + 24, key->mv_size, 2);
		p += 26;
	}
	memcpy(p, key->mv_data, key->mv_size);
	if (b->layout != LAYOUT_B)
		memcpy(p + key->mv_size, b->value, b->value_len);
}

static void put_past(struct bench *b, MDB_txn *txn, const MDB_val *key, uint64_t old_rev,
    const MDB_val *old, uint64_t by)
{
	unsigned char past[PAST_KEY_MAX];
	MDB_val k = { encode_past_key(past, key->mv_data, key->mv_size, old_rev), past };
	MDB_val v = { BY_LEN, b->past_row };

	put_be(b->past_row, by, 8);
	if (b->layout == LAYOUT_B) {
		/* `old` lies in a page that this very transaction may change: it is copied. */
		memcpy(b->past_row + BY_LEN, old->mv_data, old->mv_size);
		v.mv_size += old->mv_size;
	}
	must(mdb_put(txn, b->past, &k, &v, MDB_NOOVERWRITE), "put past");
}

void put_one(struct bench *b, MDB_txn *txn, uint64_t number)
{
	char text[KEY_LEN + 1];
	MDB_val key = { KEY_LEN, text }, old, row = { HEAD_LEN, b->row };
	struct head h = { .rev = ++b->rev, .create = b->rev, .version = 1 }, was = { 0 };
	int rc;

	make_key(number, text);
	put_be(b->value, h.rev, 8);
	rc = mdb_get(txn, b->now, &key, &old);
	if (rc == 0) {
		decode_head(old.mv_data, &was);
		h.create = was.create;
		h.version = was.version + 1;
		put_past(b, txn, &key, was.rev, &old, h.rev);
	} else if (rc != MDB_NOTFOUND) {
		must(rc, "get now");
	}
	put_by_rev(b, txn, &key, &h, was.rev);
	encode_head(b->row, &h);
	if (value_in_now(b)) {
		memcpy(b->row + HEAD_LEN, b->value, b->value_len);
		row.mv_size += b->value_len;
	}
	must(mdb_put(txn, b->now, &key, &row, 0), "put now");
	b->latest[number] = h.rev;
}

/* ---- reading ---- */

static void read_begin(struct bench *b)
{
	must(mdb_txn_renew(b->read), "renew");
	must(mdb_cursor_renew(b->read, b->read_rev), "renew cursor");
	must(mdb_cursor_renew(b->read, b->read_now), "renew cursor");
	must(mdb_cursor_renew(b->read, b->read_past), "renew cursor");
	b->out_len = 0;
}

static void read_end(struct bench *b)
{
	mdb_txn_reset(b->read);
}

static void deliver(struct bench *b, const MDB_val *key, uint64_t rev, const void *value,
    size_t len)
{
	CHECK(len == b->value_len && get_be(value, 8) == rev);
	if (b->out_len + key->mv_size + len > sizeof b->out)
		b->out_len = 0;
	memcpy(b->out + b->out_len, key->mv_data, key->mv_size);
	memcpy(b->out + b->out_len + key->mv_size, value, len);
	b->out_len += key->mv_size + len;
	b->delivered++;
}

/* The value of a version whose revision is known: layout a's second step. */
static void deliver_history(struct bench *b, const MDB_val *key, uint64_t rev)
{
	unsigned char at[REV_LEN];
	MDB_val k = { REV_LEN, at }, v;
	size_t skip = RECORD_HEAD + key->mv_size;

	encode_rev(at, rev);
	must(mdb_cursor_get(b->read_rev, &k, &v, MDB_SET), "get history");
	CHECK(v.mv_size >= skip);
	deliver(b, key, rev, (unsigned char *)v.mv_data + skip, v.mv_size - skip);
}

/* Delivers what `key` was at revision `at`, where its row of `now` is newer than that. */
static bool read_past(struct bench *b, const MDB_val *key, uint64_t at)
{
	unsigned char seek[PAST_KEY_MAX];
	size_t len = encode_past_key(seek, key->mv_data, key->mv_size, at + 1);
	MDB_val k = { len, seek }, v;
	int rc = mdb_cursor_get(b->read_past, &k, &v, MDB_SET_RANGE);
	uint64_t rev;

	rc = mdb_cursor_get(b->read_past, &k, &v, rc == 0 ? MDB_PREV : MDB_LAST);
	if (rc == MDB_NOTFOUND)
		return false;
	must(rc, "seek past");
	if (k.mv_size != len || memcmp(k.mv_data, seek, len - 8) != 0)
		return false;
	rev = get_be((unsigned char *)k.mv_data + len - 8, 8);
	if (b->layout == LAYOUT_B)
		deliver(b, key, rev, (unsigned char *)v.mv_data + BY_LEN + HEAD_LEN,
		    v.mv_size - BY_LEN - HEAD_LEN);
	else
		deliver_history(b, key, rev);
	return true;
}

/* Delivers the version at revision `at` of a key found in `now`; false when it had none yet. */
static bool read_version(struct bench *b, const MDB_val *key, const MDB_val *row, uint64_t at)
{
	struct head h;

	CHECK(row->mv_size >= HEAD_LEN);
	decode_head(row->mv_data, &h);
	if (h.rev > at)
		return read_past(b, key, at);
	if (value_in_now(b))
		deliver(b, key, h.rev, (unsigned char *)row->mv_data + HEAD_LEN,
		    row->mv_size - HEAD_LEN);
	else
		deliver_history(b, key, h.rev);
	return true;
}

void read_point(struct bench *b, uint64_t number, uint64_t at)
{
	char text[KEY_LEN + 1];
	MDB_val key = { KEY_LEN, text }, row;

	make_key(number, text);
	read_begin(b);
	must(mdb_cursor_get(b->read_now, &key, &row, MDB_SET), "get now");
	CHECK(at < b->rev || get_be(row.mv_data, 8) == b->latest[number]);
	read_version(b, &key, &row, at);
	read_end(b);
}

void read_range(struct bench *b, uint64_t number, uint64_t at)
{
	char text[KEY_LEN + 1];
	MDB_val key = { KEY_LEN, text }, row;
	unsigned found = 0;
	int rc;

	make_key(number, text);
	read_begin(b);
	rc = mdb_cursor_get(b->read_now, &key, &row, MDB_SET_RANGE);
	while (rc == 0 && found < RANGE_ROWS) {
		found += read_version(b, &key, &row, at);
		rc = mdb_cursor_get(b->read_now, &key, &row, MDB_NEXT);
	}
	if (rc != 0 && rc != MDB_NOTFOUND)
		must(rc, "range");
	read_end(b);
}

/* Layout b's way from a revision to its value: it is either still the latest or in `past`. */
static void deliver_logged(struct bench *b, const MDB_val *log, uint64_t rev)
{
	MDB_val key = { log->mv_size - LOG_HEAD, (unsigned char *)log->mv_data + LOG_HEAD }, row;

	must(mdb_cursor_get(b->read_now, &key, &row, MDB_SET), "get now");
	CHECK(read_version(b, &key, &row, rev));
}

uint64_t walk_revisions(struct bench *b, uint64_t from, uint64_t count)
{
	unsigned char at[REV_LEN];
	MDB_val k = { REV_LEN, at }, v, key;
	uint64_t rev = from;

	encode_rev(at, from);
	read_begin(b);
	int rc = mdb_cursor_get(b->read_rev, &k, &v, MDB_SET_RANGE);
	for (; rc == 0 && count > 0; count--) {
		rev = get_be(k.mv_data, 8);
		if (b->layout == LAYOUT_B) {
			deliver_logged(b, &v, rev);
		} else {
			key.mv_data = (unsigned char *)v.mv_data + RECORD_HEAD;
			key.mv_size = get_be((unsigned char *)v.mv_data + RECORD_HEAD - 2, 2);
			deliver(b, &key, rev, (unsigned char *)key.mv_data + key.mv_size,
			    v.mv_size - RECORD_HEAD - key.mv_size);
		}
		rc = mdb_cursor_get(b->read_rev, &k, &v, MDB_NEXT);
	}
	read_end(b);
	return rev + 1;
}
