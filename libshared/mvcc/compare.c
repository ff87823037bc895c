/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/compare.h"

static int compare_i64(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static int compare_order(const struct kv_compare *c, const struct kv_pair *p)
{
	switch ((enum kv_compare_target)c->target) {
	case KV_TARGET_VERSION:
		return compare_i64(p->version, c->number);
	case KV_TARGET_CREATE:
		return compare_i64(p->create_revision, c->number);
	case KV_TARGET_MOD:
		return compare_i64(p->mod_revision, c->number);
	case KV_TARGET_LEASE:
		return compare_i64(p->lease, c->number);
	case KV_TARGET_VALUE:
	default:
		return bytes_cmp(p->value, c->value);
	}
}

bool mvcc_compare_pair(const struct kv_compare *c, const struct kv_pair *p)
{
	int order = compare_order(c, p);

	switch ((enum kv_compare_op)c->op) {
	case KV_EQUAL:
		return order == 0;
	case KV_NOT_EQUAL:
		return order != 0;
	case KV_GREATER:
		return order > 0;
	case KV_LESS:
	default:
		return order < 0;
	}
}

bool mvcc_compare_missing(const struct kv_compare *c)
{
	static const struct kv_pair nothing;

	return c->target != KV_TARGET_VALUE && mvcc_compare_pair(c, &nothing);
}
