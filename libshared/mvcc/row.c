/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/row.h"

#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "mvcc/key.h"

/* Where the fields of a version lie in its row (layout.h). */
enum {
	VERSION_BY = LAYOUT_CRC_BYTES, VERSION_MOD = VERSION_BY + 8, VERSION_SUB = VERSION_MOD + 8,
	VERSION_CREATE = VERSION_SUB + 4, VERSION_VERSION = VERSION_CREATE + 8, VERSION_LEASE = VERSION_VERSION + 8,
	VERSION_KEY_LEN = VERSION_LEASE + 8
};
_Static_assert(VERSION_KEY_LEN + 4 == LAYOUT_VERSION_HEAD, "the head of a version");

/* The checksum takes the row's key in, so that a row in a wrong place is found too. */
static uint32_t row_crc(struct bytes key, struct bytes rest)
{
	return crc32c(crc32c(0, key.data, key.len), rest.data, rest.len);
}

static void row_begin(struct buf *out)
{
	buf_clear(out);
	buf_u32(out, 0);
}

static void row_end(struct buf *out, struct bytes key)
{
	CHECK(out->err == ERR_OK);
	put_u32(out->data, row_crc(key, bytes_of(out->data + LAYOUT_CRC_BYTES, out->len - LAYOUT_CRC_BYTES)));
}

/* A cursor behind the checksum, which has been verified. */
static struct cur row_open(struct bytes key, struct bytes value)
{
	struct cur c = cur_of(value);
	uint32_t crc = cur_u32(&c);

	if (c.err == ERR_OK && crc != row_crc(key, bytes_of(c.pos, cur_left(&c))))
		c.err = ERR_CORRUPT;
	return c;
}

int mvcc_row_check(const struct okv_row *row)
{
	return row->value.len >= LAYOUT_CRC_BYTES &&
	       get_u32(row->value.data) == row_crc(row->key, bytes_of(row->value.data + LAYOUT_CRC_BYTES,
								      row->value.len - LAYOUT_CRC_BYTES))
		       ? ERR_OK : ERR_CORRUPT;
}

static int row_close(struct cur *c)
{
	return cur_end(c) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static struct bytes row_rest(struct cur *c)
{
	return cur_take(c, cur_left(c));
}

/* The user's key part of a row's key. */
static bool version_split(enum okv_table table, struct bytes row_key, struct bytes *enc, int64_t *rev,
			  uint32_t *sub)
{
	if (table == OKV_PAST)
		return mvcc_key_split(row_key, enc, rev, sub);
	*enc = row_key;
	return true;
}

void mvcc_version_encode(struct buf *out, enum okv_table table, struct bytes row_key,
			 const struct mvcc_version *v)
{
	struct bytes enc = row_key, plain;
	int64_t rev = v->mod;
	uint32_t sub = v->sub;

	CHECK(version_split(table, row_key, &enc, &rev, &sub));
	CHECK(rev == v->mod && sub == v->sub && v->key.len <= UINT32_MAX);
	CHECK((table == OKV_PAST) == (v->by != 0));
	plain = mvcc_key_plain(enc);
	row_begin(out);
	buf_reserve(out, LAYOUT_VERSION_HEAD + v->key.len + v->value.len);
	buf_u64(out, (uint64_t)v->by);
	buf_u64(out, (uint64_t)v->mod);
	buf_u32(out, v->sub);
	buf_u64(out, (uint64_t)v->create);
	buf_u64(out, (uint64_t)v->version);
	buf_u64(out, (uint64_t)v->lease);
	buf_u32(out, plain.len ? 0 : (uint32_t)v->key.len);
	if (plain.len == 0)
		buf_add_bytes(out, v->key);
	buf_add_bytes(out, v->value);
	row_end(out, row_key);
}

static bool version_sound(enum okv_table table, const struct mvcc_version *v, int64_t rev, uint32_t sub)
{
	if (v->key.len == 0 || v->mod <= 0 || v->create <= 0 || v->create > v->mod || v->version <= 0)
		return false;
	if (table == OKV_PAST)
		return rev == v->mod && sub == v->sub && v->by > v->mod;
	return v->by == 0;
}

/* The most read of all rows: its head is looked at as a whole, and not field by field. */
int mvcc_version_decode(enum okv_table table, const struct okv_row *row, struct mvcc_version *v)
{
	const uint8_t *p = row->value.data;
	size_t len = row->value.len, key_len;
	int64_t rev = 0;
	uint32_t sub = 0;
	struct bytes enc;

	if (len < LAYOUT_VERSION_HEAD || mvcc_row_check(row) != ERR_OK ||
	    !version_split(table, row->key, &enc, &rev, &sub))
		return ERR_CORRUPT;
	v->by = (int64_t)get_u64(p + VERSION_BY);
	v->mod = (int64_t)get_u64(p + VERSION_MOD);
	v->sub = get_u32(p + VERSION_SUB);
	v->create = (int64_t)get_u64(p + VERSION_CREATE);
	v->version = (int64_t)get_u64(p + VERSION_VERSION);
	v->lease = (int64_t)get_u64(p + VERSION_LEASE);
	key_len = get_u32(p + VERSION_KEY_LEN);
	len -= LAYOUT_VERSION_HEAD;
	p += LAYOUT_VERSION_HEAD;
	if (key_len > len)
		return ERR_CORRUPT;
	v->key = key_len ? bytes_of(p, key_len) : mvcc_key_plain(enc);
	v->value = bytes_of(p + key_len, len - key_len);
	return version_sound(table, v, rev, sub) ? ERR_OK : ERR_CORRUPT;
}

void mvcc_version_pair(const struct mvcc_version *v, struct kv_pair *out)
{
	*out = (struct kv_pair){
		.key = v->key, .create_revision = v->create, .mod_revision = v->mod,
		.version = v->version, .value = v->value, .lease = v->lease,
	};
}

void mvcc_marker_encode(struct buf *out, struct bytes row_key)
{
	row_begin(out);
	row_end(out, row_key);
}

int mvcc_marker_check(const struct okv_row *row)
{
	struct cur c = row_open(row->key, row->value);

	return row_close(&c);
}

void mvcc_event_encode(struct buf *out, struct bytes row_key, const struct mvcc_event *e)
{
	row_begin(out);
	buf_u8(out, (uint8_t)e->type);
	buf_add_bytes(out, e->key);
	row_end(out, row_key);
}

int mvcc_event_decode(const struct okv_row *row, struct mvcc_event *e)
{
	struct cur c = row_open(row->key, row->value);
	uint8_t type = cur_u8(&c);

	e->type = (enum mvcc_event_type)type;
	e->key = row_rest(&c);
	if (row_close(&c) != ERR_OK || !mvcc_rev_decode(row->key, &e->rev, &e->sub))
		return ERR_CORRUPT;
	if ((type != MVCC_EVENT_PUT && type != MVCC_EVENT_DELETE) || e->key.len == 0)
		return ERR_CORRUPT;
	return ERR_OK;
}

void mvcc_state_encode(struct buf *out, const struct mvcc_state *s)
{
	row_begin(out);
	buf_u64(out, s->applied);
	buf_u64(out, s->applied_term);
	buf_u64(out, (uint64_t)s->revision);
	buf_u64(out, (uint64_t)s->compact_revision);
	buf_u64(out, (uint64_t)s->compacted_revision);
	buf_u64(out, s->keys);
	buf_u64(out, s->rejected);
	buf_add(out, s->apply_hash, sizeof s->apply_hash);
	buf_u64(out, s->leases);
	buf_u64(out, s->lessor_term);
	buf_u64(out, s->lessor);
	buf_u64(out, s->lessor_seq);
	row_end(out, bytes_str(LAYOUT_META_STATE));
}

int mvcc_state_decode(struct bytes value, struct mvcc_state *s)
{
	struct cur c = row_open(bytes_str(LAYOUT_META_STATE), value);
	struct bytes hash;

	s->applied = cur_u64(&c);
	s->applied_term = cur_u64(&c);
	s->revision = (int64_t)cur_u64(&c);
	s->compact_revision = (int64_t)cur_u64(&c);
	s->compacted_revision = (int64_t)cur_u64(&c);
	s->keys = cur_u64(&c);
	s->rejected = cur_u64(&c);
	hash = cur_take(&c, sizeof s->apply_hash);
	s->leases = cur_u64(&c);
	s->lessor_term = cur_u64(&c);
	s->lessor = cur_u64(&c);
	s->lessor_seq = cur_u64(&c);
	if (row_close(&c) != ERR_OK)
		return ERR_CORRUPT;
	memcpy(s->apply_hash, hash.data, hash.len);
	return ERR_OK;
}

void mvcc_identity_encode(struct buf *out, const struct mvcc_identity *i)
{
	row_begin(out);
	buf_u32(out, i->format);
	buf_u64(out, i->cluster_id);
	buf_u64(out, i->node_id);
	buf_u64(out, i->generation);
	row_end(out, bytes_str(LAYOUT_META_IDENTITY));
}

/* A later format may say more behind these. */
int mvcc_identity_decode(struct bytes value, struct mvcc_identity *i)
{
	struct cur c = row_open(bytes_str(LAYOUT_META_IDENTITY), value);

	i->format = cur_u32(&c);
	i->cluster_id = cur_u64(&c);
	i->node_id = cur_u64(&c);
	i->generation = cur_u64(&c);
	/* Another format's may be longer: its number is what the caller refuses it by. */
	if (c.err == ERR_OK && i->format != STORE_FORMAT)
		return ERR_OK;
	return row_close(&c);
}

void mvcc_compaction_encode(struct buf *out, const struct mvcc_compaction *p)
{
	row_begin(out);
	buf_u64(out, (uint64_t)p->target);
	buf_add_bytes(out, p->position);
	row_end(out, bytes_str(LAYOUT_META_COMPACTION));
}

int mvcc_compaction_decode(struct bytes value, struct mvcc_compaction *p)
{
	struct cur c = row_open(bytes_str(LAYOUT_META_COMPACTION), value);

	p->target = (int64_t)cur_u64(&c);
	p->position = row_rest(&c);
	if (p->position.len > LAYOUT_ROW_KEY_MAX)
		return ERR_CORRUPT;
	return row_close(&c);
}

void mvcc_done_encode(struct buf *out, struct bytes row_key, const struct mvcc_done *d)
{
	row_begin(out);
	buf_u64(out, d->gateway);
	buf_u64(out, d->seq);
	buf_u64(out, (uint64_t)d->revision);
	buf_u8(out, d->kept);
	buf_add_bytes(out, d->result);
	row_end(out, row_key);
}

int mvcc_done_decode(const struct okv_row *row, struct mvcc_done *d)
{
	struct cur c = row_open(row->key, row->value);
	uint8_t kept;

	d->gateway = cur_u64(&c);
	d->seq = cur_u64(&c);
	d->revision = (int64_t)cur_u64(&c);
	kept = cur_u8(&c);
	d->kept = kept != 0;
	d->result = row_rest(&c);
	if (row_close(&c) != ERR_OK || kept > 1 || row->key.len != 8)
		return ERR_CORRUPT;
	d->index = get_u64be(row->key.data);
	return ERR_OK;
}

void mvcc_session_encode(struct buf *out, struct bytes row_key, const struct mvcc_session *s)
{
	row_begin(out);
	buf_u64(out, s->opened);
	buf_u64(out, s->used);
	buf_u64(out, s->floor);
	row_end(out, row_key);
}

int mvcc_session_decode(const struct okv_row *row, struct mvcc_session *s)
{
	struct cur c = row_open(row->key, row->value);

	s->opened = cur_u64(&c);
	s->used = cur_u64(&c);
	s->floor = cur_u64(&c);
	if (row_close(&c) != ERR_OK || row->key.len != 8)
		return ERR_CORRUPT;
	s->gateway = get_u64be(row->key.data);
	return ERR_OK;
}

void mvcc_lease_encode(struct buf *out, struct bytes row_key, const struct mvcc_lease *l)
{
	row_begin(out);
	buf_u64(out, (uint64_t)l->ttl_s);
	buf_u64(out, (uint64_t)l->remaining_ms);
	buf_u64(out, l->granted);
	buf_u64(out, l->keys);
	row_end(out, row_key);
}

int mvcc_lease_decode(const struct okv_row *row, struct mvcc_lease *l)
{
	struct cur c = row_open(row->key, row->value);

	l->ttl_s = (int64_t)cur_u64(&c);
	l->remaining_ms = (int64_t)cur_u64(&c);
	l->granted = cur_u64(&c);
	l->keys = cur_u64(&c);
	if (row_close(&c) != ERR_OK || row->key.len != LAYOUT_LEASE_BYTES)
		return ERR_CORRUPT;
	l->id = (int64_t)get_u64be(row->key.data);
	if (l->id == 0 || l->ttl_s <= 0 || l->ttl_s > LIMIT_LEASE_TTL_S || l->remaining_ms < 0 ||
	    l->remaining_ms / 1000 > l->ttl_s || l->granted == 0)
		return ERR_CORRUPT;
	return ERR_OK;
}

/* The encoded key behind the lease's id; empty if there is none. */
static struct bytes lease_key_enc(struct bytes row_key)
{
	if (row_key.len <= LAYOUT_LEASE_BYTES)
		return bytes_of(NULL, 0);
	return bytes_of(row_key.data + LAYOUT_LEASE_BYTES, row_key.len - LAYOUT_LEASE_BYTES);
}

void mvcc_lease_key_encode(struct buf *out, struct bytes row_key, struct bytes key)
{
	row_begin(out);
	if (mvcc_key_plain(lease_key_enc(row_key)).len == 0)
		buf_add_bytes(out, key);
	row_end(out, row_key);
}

int mvcc_lease_key_decode(const struct okv_row *row, struct bytes *key)
{
	struct cur c = row_open(row->key, row->value);
	struct bytes enc = lease_key_enc(row->key);

	*key = row_rest(&c);
	if (row_close(&c) != ERR_OK || enc.len == 0)
		return ERR_CORRUPT;
	if (key->len == 0)
		*key = mvcc_key_plain(enc);
	return key->len != 0 ? ERR_OK : ERR_CORRUPT;
}
