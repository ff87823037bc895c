/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/result.h"

#include "base/check.h"
#include "base/err.h"

struct result_box *result_make(enum quorate_kind kind, struct bytes prefix, size_t more, size_t max)
{
	struct result_box *b = pool_make(sizeof *b, more, max);

	if (b == NULL)
		return NULL;
	b->r.kind = kind;
	b->prefix = prefix;
	return b;
}

void result_drop(struct result_box *b)
{
	pool_drop(b);
}

void quorate_result_free(struct quorate_result *r)
{
	if (r != NULL)
		result_drop(container_of(r, struct result_box, r));
}

static int result_short(const struct pool *p)
{
	return p->over ? ERR_RESPONSE_TOO_LARGE : ERR_NO_MEMORY;
}

void result_header(const struct kv_header *from, struct quorate_header *to)
{
	if (from != NULL)
		*to = (struct quorate_header){from->cluster_id, from->member_id, from->revision,
					      from->raft_term};
}

static bool result_strip(struct bytes prefix, struct bytes *key)
{
	if (key->len < prefix.len || !bytes_eq(bytes_of(key->data, prefix.len), prefix))
		return false;
	*key = bytes_of(key->data + prefix.len, key->len - prefix.len);
	return true;
}

int result_pair(struct pool *p, struct bytes prefix, const struct kv_pair *from, struct quorate_kv *to)
{
	struct bytes key = from->key;

	/* A server that answers with somebody else's keys is not believed. */
	if (prefix.len > 0 && !result_strip(prefix, &key))
		return ERR_MALFORMED;
	*to = (struct quorate_kv){
		.create_revision = from->create_revision, .mod_revision = from->mod_revision,
		.version = from->version, .lease = from->lease};
	if (!pool_bytes(p, key, &to->key) || !pool_bytes(p, from->value, &to->value))
		return result_short(p);
	return ERR_OK;
}

static int result_pairs(struct result_box *b, struct quorate_result *r, const struct kv_pair *v, size_t n)
{
	struct quorate_kv *to = n == 0 ? NULL : pool_alloc(&b->pool, n, sizeof *to);
	int rc = n > 0 && to == NULL ? result_short(&b->pool) : ERR_OK;

	for (size_t i = 0; i < n && rc == ERR_OK; i++)
		rc = result_pair(&b->pool, b->prefix, &v[i], &to[i]);
	r->kvs = to;
	r->n_kvs = n;
	return rc;
}

/* The list grows by doubling: what it leaves behind is as much again, at most. */
int result_add_pair(struct result_box *b, const struct kv_pair *pair)
{
	if (b->r.n_kvs == b->kvs_room) {
		size_t room = b->kvs_room ? b->kvs_room * 2 : 1;
		struct quorate_kv *kvs = pool_alloc(&b->pool, room, sizeof *kvs);
		int rc = kvs == NULL ? result_short(&b->pool) : ERR_OK;

		if (rc != ERR_OK)
			return rc;
		if (b->r.n_kvs > 0)
			memcpy(kvs, b->kvs, b->r.n_kvs * sizeof *kvs);
		b->r.kvs = b->kvs = kvs;
		b->kvs_room = room;
	}
	return result_pair(&b->pool, b->prefix, pair, &b->kvs[b->r.n_kvs++]);
}

/* ---- of a transaction and its parts ---- */

static int result_txn(struct result_box *b, struct quorate_result *r, const struct kv_txn_result *from);

static int result_range(struct result_box *b, struct quorate_result *r, const struct kv_range_result *from)
{
	result_header(from->header, &r->header);
	r->count = from->count;
	r->more = from->more;
	return result_pairs(b, r, from->kvs.v, from->kvs.v == NULL ? 0 : from->kvs.n);
}

static int result_put(struct result_box *b, struct quorate_result *r, const struct kv_put_result *from)
{
	result_header(from->header, &r->header);
	return result_pairs(b, r, from->prev_kv, from->prev_kv != NULL);
}

static int result_delete(struct result_box *b, struct quorate_result *r, const struct kv_delete_result *from)
{
	result_header(from->header, &r->header);
	r->count = from->deleted;
	return result_pairs(b, r, from->prev_kvs.v, from->prev_kvs.n);
}

static int result_part(struct result_box *b, struct quorate_result *r, const struct kv_op_result *from)
{
	int parts = (from->range != NULL) + (from->put != NULL) + (from->del != NULL) + (from->txn != NULL);

	if (parts != 1)
		return ERR_MALFORMED;
	if (from->range != NULL) {
		r->kind = QUORATE_GET;
		return result_range(b, r, from->range);
	}
	if (from->put != NULL) {
		r->kind = QUORATE_PUT;
		return result_put(b, r, from->put);
	}
	if (from->del != NULL) {
		r->kind = QUORATE_DELETE;
		return result_delete(b, r, from->del);
	}
	r->kind = QUORATE_TXN;
	return result_txn(b, r, from->txn);
}

/* The decoder has bounded how deep they are nested. */
static int result_txn(struct result_box *b, struct quorate_result *r, const struct kv_txn_result *from)
{
	size_t n = from->responses.n;
	struct quorate_result *parts = n == 0 ? NULL : pool_alloc(&b->pool, n, sizeof *parts);
	const struct quorate_result **list = n == 0 ? NULL : pool_alloc(&b->pool, n, sizeof *list);
	int rc = ERR_OK;

	if (n > 0 && (parts == NULL || list == NULL))
		return result_short(&b->pool);
	result_header(from->header, &r->header);
	r->succeeded = from->succeeded;
	for (size_t i = 0; i < n && rc == ERR_OK; i++) {
		list[i] = &parts[i];
		rc = result_part(b, &parts[i], &from->responses.v[i]);
	}
	r->results = list;
	r->n_results = n;
	return rc;
}

/* ---- leases ---- */

static int result_time_to_live(struct result_box *b, const struct native_time_to_live_result *from)
{
	int rc = ERR_OK;

	result_header(from->header, &b->r.header);
	b->r.lease = from->id;
	b->r.ttl = from->ttl;
	b->r.granted_ttl = from->granted_ttl;
	b->r.more = from->more;
	for (size_t i = 0; i < from->keys.n && rc == ERR_OK; i++) {
		struct kv_pair pair = {.key = from->keys.v[i].key};
		struct bytes key = pair.key;

		/* A lease may have keys outside of the namespace: they are not this view's to see. */
		if (result_strip(b->prefix, &key))
			rc = result_add_pair(b, &pair);
	}
	return rc;
}

static int result_lease_list(struct result_box *b, const struct native_lease_list_result *from)
{
	size_t n = from->leases.n;
	int64_t *to = n == 0 ? NULL : pool_alloc(&b->pool, n, sizeof *to);

	if (n > 0 && to == NULL)
		return result_short(&b->pool);
	result_header(from->header, &b->r.header);
	b->r.more = from->more;
	for (size_t i = 0; i < n; i++)
		to[i] = from->leases.v[i].id;
	b->r.leases = to;
	b->r.n_leases = n;
	return ERR_OK;
}

/* ---- nodes ---- */

static int result_daemons(struct result_box *b, struct quorate_status *s,
			  const struct native_status_result *from)
{
	size_t n = from->daemons.n;
	struct quorate_daemon *to = n == 0 ? NULL : pool_alloc(&b->pool, n, sizeof *to);

	if (n > 0 && to == NULL)
		return result_short(&b->pool);
	for (size_t i = 0; i < n; i++) {
		const struct native_daemon *d = &from->daemons.v[i];

		to[i] = (struct quorate_daemon){pool_str(&b->pool, d->name),
						pool_str(&b->pool, d->state), d->age_ms};
		if (to[i].name == NULL || to[i].state == NULL)
			return result_short(&b->pool);
	}
	s->daemons = to;
	s->n_daemons = n;
	return ERR_OK;
}

static int result_status(struct result_box *b, const struct native_status_result *from)
{
	struct quorate_status *s = pool_alloc(&b->pool, 1, sizeof *s);

	if (s == NULL)
		return result_short(&b->pool);
	result_header(from->header, &b->r.header);
	*s = (struct quorate_status){
		.name = pool_str(&b->pool, from->name), .version = pool_str(&b->pool, from->version),
		.role = pool_str(&b->pool, from->role), .leader = from->leader, .commit = from->commit,
		.applied = from->applied, .last = from->last, .compact_revision = from->compact_revision,
		.store_bytes = from->store_bytes, .used_bytes = from->used_bytes,
		.log_bytes = from->log_bytes, .keys = from->keys};
	b->r.status = s;
	b->r.compact_revision = from->compact_revision;
	if (s->name == NULL || s->version == NULL || s->role == NULL ||
	    !pool_bytes(&b->pool, from->apply_hash, &s->apply_hash))
		return result_short(&b->pool);
	return result_daemons(b, s, from);
}

static int result_members(struct result_box *b, const struct native_members_result *from)
{
	size_t n = from->members.n;
	struct quorate_member *to = n == 0 ? NULL : pool_alloc(&b->pool, n, sizeof *to);

	if (n > 0 && to == NULL)
		return result_short(&b->pool);
	result_header(from->header, &b->r.header);
	for (size_t i = 0; i < n; i++) {
		const struct native_member *m = &from->members.v[i];

		to[i] = (struct quorate_member){m->id, pool_str(&b->pool, m->name),
						pool_str(&b->pool, m->peer_addr),
						pool_str(&b->pool, m->client_addr)};
		if (to[i].name == NULL || to[i].peer_addr == NULL || to[i].client_addr == NULL)
			return result_short(&b->pool);
	}
	b->r.members = to;
	b->r.n_members = n;
	return ERR_OK;
}

static int result_hash(struct result_box *b, const struct native_hash_result *from)
{
	result_header(from->header, &b->r.header);
	b->r.hash_revision = from->hash_revision;
	b->r.compact_revision = from->compact_revision;
	return pool_bytes(&b->pool, from->hash, &b->r.hash) ? ERR_OK : result_short(&b->pool);
}

static int result_version(struct result_box *b, const struct native_version_result *from)
{
	b->r.protocol = from->protocol > UINT32_MAX ? UINT32_MAX : (unsigned)from->protocol;
	b->r.server = pool_str(&b->pool, from->server);
	return b->r.server != NULL ? ERR_OK : result_short(&b->pool);
}

int result_fill(struct result_box *b, const void *from)
{
	const struct lease_grant_result *grant = from;
	const struct native_keepalive_result *keepalive = from;
	const struct kv_compact_result *compact = from;
	const struct lease_revoke_result *revoke = from;
	const struct native_move_leader_result *move = from;

	switch (b->r.kind) {
	case QUORATE_GET:
		return result_range(b, &b->r, from);
	case QUORATE_PUT:
		return result_put(b, &b->r, from);
	case QUORATE_DELETE:
		return result_delete(b, &b->r, from);
	case QUORATE_TXN:
		return result_txn(b, &b->r, from);
	case QUORATE_LEASE_GRANT:
		result_header(grant->header, &b->r.header);
		b->r.lease = grant->id;
		b->r.ttl = grant->ttl;
		return ERR_OK;
	case QUORATE_LEASE_KEEPALIVE:
		result_header(keepalive->header, &b->r.header);
		b->r.lease = keepalive->id;
		b->r.ttl = keepalive->ttl;
		return ERR_OK;
	case QUORATE_LEASE_TIME_TO_LIVE:
		return result_time_to_live(b, from);
	case QUORATE_LEASE_LIST:
		return result_lease_list(b, from);
	case QUORATE_STATUS:
		return result_status(b, from);
	case QUORATE_MEMBERS:
		return result_members(b, from);
	case QUORATE_HASH:
		return result_hash(b, from);
	case QUORATE_SERVER_VERSION:
		return result_version(b, from);
	case QUORATE_COMPACT:
		result_header(compact->header, &b->r.header);
		break;
	case QUORATE_LEASE_REVOKE:
		result_header(revoke->header, &b->r.header);
		break;
	case QUORATE_MOVE_LEADER:
		result_header(move->header, &b->r.header);
		break;
	}
	return ERR_OK;
}
