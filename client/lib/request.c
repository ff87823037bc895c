/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/request.h"

#include "base/check.h"
#include "base/err.h"
#include "client/again.h"

/* Nested transactions with all their keys prefixed: no more than a request can be, and the lists. */
#define REQUEST_ARENA_BYTES (8u * MIB)
_Static_assert(LIMIT_TXN_OPS <= UINT8_MAX, "a branch's length is a byte of a shape");

enum { REQUEST_SMALL = 64 * KIB };     /* parts of a size for which room is made at once */

struct request_maker {
	struct arena arena;
	struct bytes prefix;
	struct buf *shape;             /* of a transaction: KIND, or TXN, MAY_FAIL, N_THEN, N_OR_ELSE and the parts */
	const char *why;
	bool at_top;                   /* not inside a transaction */
	size_t parts;                  /* operations and compares of a transaction, so far */
};

static const struct request_kind {
	const char *method;
	unsigned flags;                /* that make sense */
	bool in_txn;
} request_kinds[] = {
	[QUORATE_GET] = {"range", QUORATE_PREFIX | QUORATE_FROM_KEY | QUORATE_SERIALIZABLE |
			 QUORATE_KEYS_ONLY | QUORATE_COUNT_ONLY | QUORATE_IDEMPOTENT, true},
	[QUORATE_PUT] = {"put", QUORATE_PREV_KV | QUORATE_IGNORE_VALUE | QUORATE_IGNORE_LEASE |
			 QUORATE_IDEMPOTENT, true},
	[QUORATE_DELETE] = {"delete", QUORATE_PREFIX | QUORATE_FROM_KEY | QUORATE_PREV_KV |
			    QUORATE_IDEMPOTENT, true},
	[QUORATE_TXN] = {"txn", QUORATE_IDEMPOTENT, true},
	[QUORATE_COMPACT] = {"compact", QUORATE_PHYSICAL | QUORATE_IDEMPOTENT, false},
	[QUORATE_LEASE_GRANT] = {"lease_grant", QUORATE_IDEMPOTENT, false},
	[QUORATE_LEASE_REVOKE] = {"lease_revoke", QUORATE_IDEMPOTENT, false},
	[QUORATE_LEASE_KEEPALIVE] = {"lease_keepalive", QUORATE_IDEMPOTENT, false},
	[QUORATE_LEASE_TIME_TO_LIVE] = {"lease_time_to_live", QUORATE_LEASE_KEYS | QUORATE_IDEMPOTENT, false},
	[QUORATE_LEASE_LIST] = {"lease_list", QUORATE_IDEMPOTENT, false},
	[QUORATE_STATUS] = {"status", QUORATE_IDEMPOTENT, false},
	[QUORATE_MEMBERS] = {"members", QUORATE_IDEMPOTENT, false},
	[QUORATE_HASH] = {"hash", QUORATE_IDEMPOTENT, false},
	[QUORATE_MOVE_LEADER] = {"move_leader", QUORATE_IDEMPOTENT, false},
	[QUORATE_SERVER_VERSION] = {"version", QUORATE_IDEMPOTENT, false},
};

static struct bytes request_bytes(struct quorate_bytes b)
{
	return bytes_of(b.data, b.size);
}

static int request_bad(struct request_maker *m, const char *why)
{
	m->why = why;
	return ERR_BAD_ARGUMENT;
}

/* ---- keys ---- */

static int request_no_room(const struct arena *a)
{
	return a->used > REQUEST_ARENA_BYTES / 2 ? ERR_REQUEST_TOO_LARGE : ERR_NO_MEMORY;
}

static int range_join(struct bytes prefix, struct bytes key, struct arena *a, struct bytes *out)
{
	uint8_t *to;

	*out = key;
	if (prefix.len == 0)
		return ERR_OK;
	if (key.len > LIMIT_REQUEST_BYTES)
		return ERR_REQUEST_TOO_LARGE;
	to = arena_alloc(a, prefix.len + key.len);
	if (to == NULL)
		return request_no_room(a);
	memcpy(to, prefix.data, prefix.len);
	if (key.len > 0)
		memcpy(to + prefix.len, key.data, key.len);
	*out = bytes_of(to, prefix.len + key.len);
	return ERR_OK;
}

/* The first key behind all that begin with `key`; all of them 0xff or none at all: "\0", no end. */
static int range_prefix_end(struct bytes key, struct arena *a, struct bytes *out)
{
	size_t len = key.len;
	uint8_t *to;

	while (len > 0 && key.data[len - 1] == 0xff)
		len--;
	*out = bytes_of("", 1);
	if (len == 0)
		return ERR_OK;
	if (len > LIMIT_REQUEST_BYTES)
		return ERR_REQUEST_TOO_LARGE;
	to = arena_alloc(a, len);
	if (to == NULL)
		return request_no_room(a);
	memcpy(to, key.data, len);
	to[len - 1]++;
	*out = bytes_of(to, len);
	return ERR_OK;
}

static bool range_is_open(struct quorate_bytes end)
{
	return end.size == 1 && *(const uint8_t *)end.data == 0;
}

int request_range(struct quorate_bytes key, struct quorate_bytes range_end, unsigned flags,
		  struct bytes prefix, struct arena *a, struct request_range *out)
{
	bool by_prefix = (flags & QUORATE_PREFIX) != 0;
	bool from = (flags & QUORATE_FROM_KEY) != 0 || range_is_open(range_end);
	int rc;

	if ((by_prefix && from) || (flags & (QUORATE_PREFIX | QUORATE_FROM_KEY) && range_end.size > 0))
		return ERR_BAD_ARGUMENT;
	if (key.size == 0 && !by_prefix && !(flags & QUORATE_FROM_KEY))
		return ERR_KEY_EMPTY;
	rc = range_join(prefix, request_bytes(key), a, &out->key);
	out->range_end = bytes_of(NULL, 0);
	if (rc == ERR_OK && by_prefix)
		rc = range_prefix_end(out->key, a, &out->range_end);
	else if (rc == ERR_OK && from)
		rc = range_prefix_end(prefix, a, &out->range_end);
	else if (rc == ERR_OK && range_end.size > 0)
		rc = range_join(prefix, request_bytes(range_end), a, &out->range_end);
	if (out->key.len == 0)
		out->key = bytes_of("", 1);
	return rc;
}

static int request_op_range(struct request_maker *m, const struct quorate_op *op, struct bytes *key,
			    struct bytes *range_end)
{
	struct request_range r = {{NULL, 0}, {NULL, 0}};
	int rc = request_range(op->key, op->range_end, op->flags, m->prefix, &m->arena, &r);

	*key = r.key;
	*range_end = r.range_end;
	return rc == ERR_BAD_ARGUMENT ? request_bad(m, "only one of range_end, PREFIX and FROM_KEY") : rc;
}

/* ---- parts of a transaction, which may stand alone ---- */

static int request_get(struct request_maker *m, const struct quorate_op *op, struct kv_range *r)
{
	*r = (struct kv_range){
		.limit = op->limit, .revision = op->revision, .sort_order = (uint64_t)op->order,
		.sort_target = (uint64_t)op->sort,
		.serializable = (op->flags & QUORATE_SERIALIZABLE) != 0,
		.keys_only = (op->flags & QUORATE_KEYS_ONLY) != 0,
		.count_only = (op->flags & QUORATE_COUNT_ONLY) != 0,
		.min_mod_revision = op->min_mod_revision, .max_mod_revision = op->max_mod_revision,
		.min_create_revision = op->min_create_revision,
		.max_create_revision = op->max_create_revision};
	return request_op_range(m, op, &r->key, &r->range_end);
}

static int request_put(struct request_maker *m, const struct quorate_op *op, struct kv_put *p)
{
	*p = (struct kv_put){
		.value = request_bytes(op->value), .lease = op->lease,
		.prev_kv = (op->flags & QUORATE_PREV_KV) != 0,
		.ignore_value = (op->flags & QUORATE_IGNORE_VALUE) != 0,
		.ignore_lease = (op->flags & QUORATE_IGNORE_LEASE) != 0};
	if (op->key.size == 0)
		return ERR_KEY_EMPTY;
	return range_join(m->prefix, request_bytes(op->key), &m->arena, &p->key);
}

static int request_delete(struct request_maker *m, const struct quorate_op *op, struct kv_delete *d)
{
	*d = (struct kv_delete){.prev_kv = (op->flags & QUORATE_PREV_KV) != 0};
	return request_op_range(m, op, &d->key, &d->range_end);
}

static int request_compare(struct request_maker *m, const struct quorate_compare *c, struct kv_compare *out)
{
	struct request_range r;
	int rc;

	if (c->reserved[0] != 0 || c->reserved[1] != 0 ||
	    (c->flags & ~(unsigned)(QUORATE_PREFIX | QUORATE_FROM_KEY)) != 0)
		return request_bad(m, "a compare has a flag it cannot have, or something in `reserved`");
	rc = request_range(c->key, c->range_end, c->flags, m->prefix, &m->arena, &r);
	if (rc != ERR_OK)
		return rc;
	*out = (struct kv_compare){
		.key = r.key, .range_end = r.range_end, .target = (uint64_t)c->target,
		.op = (uint64_t)c->relation, .number = c->number, .value = request_bytes(c->value)};
	return ERR_OK;
}

static int request_txn(struct request_maker *m, const struct quorate_txn *t, unsigned depth,
		       struct kv_txn *out);

static int request_check(struct request_maker *m, const struct quorate_op *op)
{
	const struct request_kind *k;

	if ((unsigned)op->kind >= ARRAY_LEN(request_kinds) || request_kinds[op->kind].method == NULL)
		return request_bad(m, "no such kind of operation");
	k = &request_kinds[op->kind];
	if (!m->at_top && !k->in_txn)
		return request_bad(m, "a transaction can get, put, delete, and have transactions");
	if (!m->at_top && op->endpoint != NULL)
		return request_bad(m, "an endpoint is chosen for the whole transaction");
	if ((op->flags & ~k->flags) != 0)
		return request_bad(m, "a flag that means nothing for this kind of operation");
	for (size_t i = 0; i < ARRAY_LEN(op->reserved); i++)
		if (op->reserved[i] != 0)
			return request_bad(m, "`reserved` is not 0");
	return op->kind == QUORATE_TXN && op->txn == NULL ? request_bad(m, "a TXN without its txn") : ERR_OK;
}

static int request_part(struct request_maker *m, const struct quorate_op *op, unsigned depth, struct kv_op *out)
{
	static const size_t sizes[] = {
		[QUORATE_GET] = sizeof(struct kv_range), [QUORATE_PUT] = sizeof(struct kv_put),
		[QUORATE_DELETE] = sizeof(struct kv_delete), [QUORATE_TXN] = sizeof(struct kv_txn)};
	int rc = request_check(m, op);
	void *part;

	if (rc != ERR_OK)
		return rc;
	if (op->kind != QUORATE_TXN)
		buf_u8(m->shape, (uint8_t)op->kind);
	part = arena_alloc(&m->arena, sizes[op->kind]);
	if (part == NULL)
		return ERR_NO_MEMORY;
	switch (op->kind) {
	case QUORATE_GET:
		return request_get(m, op, out->range = part);
	case QUORATE_PUT:
		return request_put(m, op, out->put = part);
	case QUORATE_DELETE:
		return request_delete(m, op, out->del = part);
	default:
		return request_txn(m, op->txn, depth + 1, out->txn = part);
	}
}

static int request_branch(struct request_maker *m, const struct quorate_op *ops, size_t n, unsigned depth,
			  struct kv_op **out)
{
	int rc = ERR_OK;

	*out = arena_array(&m->arena, n, sizeof **out);
	if (*out == NULL)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < n && rc == ERR_OK; i++)
		rc = request_part(m, &ops[i], depth, &(*out)[i]);
	return rc;
}

static int request_txn(struct request_maker *m, const struct quorate_txn *t, unsigned depth,
		       struct kv_txn *out)
{
	int rc = ERR_OK;

	if (depth > LIMIT_TXN_DEPTH)
		return ERR_TXN_TOO_DEEP;
	m->parts += t->n_compares + t->n_then + t->n_or_else;
	if (t->n_compares > LIMIT_TXN_OPS || t->n_then > LIMIT_TXN_OPS || t->n_or_else > LIMIT_TXN_OPS ||
	    m->parts > LIMIT_TXN_TREE_OPS)
		return ERR_TOO_MANY_OPS;
	m->at_top = false;
	buf_u8(m->shape, QUORATE_TXN);
	buf_u8(m->shape, t->n_compares > 0);
	buf_u8(m->shape, (uint8_t)t->n_then);
	buf_u8(m->shape, (uint8_t)t->n_or_else);
	*out = (struct kv_txn){.compares = {.n = t->n_compares}, .success = {.n = t->n_then},
			       .failure = {.n = t->n_or_else}};
	out->compares.v = arena_array(&m->arena, t->n_compares, sizeof *out->compares.v);
	if (out->compares.v == NULL)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < t->n_compares && rc == ERR_OK; i++)
		rc = request_compare(m, &t->compares[i], &out->compares.v[i]);
	if (rc == ERR_OK)
		rc = request_branch(m, t->then, t->n_then, depth, &out->success.v);
	if (rc == ERR_OK)
		rc = request_branch(m, t->or_else, t->n_or_else, depth, &out->failure.v);
	return rc == ERR_OK ? m->shape->err : rc;
}

static bool shape_fits(struct cur *shape, const struct quorate_result *r);

/* r NULL: the other branch was taken. */
static bool shape_branch_fits(struct cur *shape, size_t n, const struct quorate_result *r)
{
	if (r != NULL && r->n_results != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!shape_fits(shape, r != NULL ? r->results[i] : NULL))
			return false;
	return true;
}

/* As deep as request_txn() has let it become. */
static bool shape_fits(struct cur *shape, const struct quorate_result *r)
{
	uint8_t kind = cur_u8(shape), may_fail, n_then, n_or_else;

	if (r != NULL && (uint8_t)r->kind != kind)
		return false;
	if (kind != QUORATE_TXN)
		return true;
	may_fail = cur_u8(shape);
	if (r != NULL && !r->succeeded && may_fail == 0)
		return false;
	n_then = cur_u8(shape);
	n_or_else = cur_u8(shape);
	return shape_branch_fits(shape, n_then, r != NULL && r->succeeded ? r : NULL) &&
	       shape_branch_fits(shape, n_or_else, r != NULL && !r->succeeded ? r : NULL);
}

bool request_is_answered(const struct request *r, const struct quorate_result *result)
{
	struct cur shape = cur_of(buf_bytes(&r->shape));

	return r->shape.len == 0 || shape_fits(&shape, result);
}

/* ---- the rest ---- */

union request_params {
	struct kv_range range;
	struct kv_put put;
	struct kv_delete del;
	struct kv_txn txn;
	struct kv_compact compact;
	struct lease_grant grant;
	struct lease_revoke revoke;
	struct native_lease lease;
	struct native_time_to_live time_to_live;
	struct native_lease_list list;
	struct native_hash hash;
	struct native_move_leader move;
	struct native_empty empty;
};

static int request_time_to_live(struct request_maker *m, const struct quorate_op *op,
				struct native_time_to_live *t)
{
	*t = (struct native_time_to_live){.id = op->lease, .keys = (op->flags & QUORATE_LEASE_KEYS) != 0};
	if (op->key.size == 0)
		return ERR_OK;
	return range_join(m->prefix, request_bytes(op->key), &m->arena, &t->after);
}

static int request_params(struct request_maker *m, const struct quorate_op *op, union request_params *p)
{
	switch (op->kind) {
	case QUORATE_GET:
		return request_get(m, op, &p->range);
	case QUORATE_PUT:
		return request_put(m, op, &p->put);
	case QUORATE_DELETE:
		return request_delete(m, op, &p->del);
	case QUORATE_TXN:
		return request_txn(m, op->txn, 1, &p->txn);
	case QUORATE_COMPACT:
		p->compact.revision = op->revision;
		p->compact.physical = (op->flags & QUORATE_PHYSICAL) != 0;
		break;
	case QUORATE_LEASE_GRANT:
		p->grant.id = op->lease;
		p->grant.ttl = op->ttl;
		break;
	case QUORATE_LEASE_REVOKE:
		p->revoke.id = op->lease;
		break;
	case QUORATE_LEASE_KEEPALIVE:
		p->lease.id = op->lease;
		break;
	case QUORATE_LEASE_TIME_TO_LIVE:
		return request_time_to_live(m, op, &p->time_to_live);
	case QUORATE_LEASE_LIST:
		p->list.after = op->lease;
		p->list.limit = op->limit;
		break;
	case QUORATE_HASH:
		p->hash.revision = op->revision;
		break;
	case QUORATE_MOVE_LEADER:
		p->move.target = op->target;
		break;
	case QUORATE_STATUS:
	case QUORATE_MEMBERS:
	case QUORATE_SERVER_VERSION:
		break;
	}
	return ERR_OK;
}

int request_encode(const struct quorate_op *op, struct bytes prefix, struct request *r,
		   const char **why)
{
	struct request_maker m = {.prefix = prefix, .shape = &r->shape, .at_top = true};
	union request_params params = {.range = {.limit = 0}};
	int rc;

	*r = (struct request){0};
	arena_init(&m.arena, REQUEST_ARENA_BYTES);
	buf_init(&r->params, LIMIT_REQUEST_BYTES);
	buf_init(&r->shape, 0);
	rc = request_check(&m, op);
	if (rc == ERR_OK)
		rc = request_params(&m, op, &params);
	if (rc == ERR_OK) {
		r->method = native_method_find(bytes_str(request_kinds[op->kind].method));
		CHECK(r->method != NULL);
		r->read = client_is_read(r->method->name, &params);
		if (op->key.size < REQUEST_SMALL && op->value.size < REQUEST_SMALL && prefix.len < REQUEST_SMALL)
			(void)buf_reserve(&r->params, prefix.len + op->key.size + op->value.size + 64);
		rc = msg_encode(&r->params, r->method->params, &params);
		rc = rc == ERR_LIMIT ? ERR_REQUEST_TOO_LARGE : rc;
	}
	arena_free(&m.arena);
	*why = m.why;
	if (rc != ERR_OK)
		request_free(r);
	return rc;
}

int request_lease_on(struct request *r, int64_t lease, struct bytes after)
{
	struct native_time_to_live t = {.id = lease, .keys = true, .after = after};

	buf_clear(&r->params);
	return msg_encode(&r->params, r->method->params, &t);
}

void request_free(struct request *r)
{
	buf_free(&r->params);
	buf_free(&r->shape);
}
