/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/print.h"

#include <inttypes.h>

#include "ctl/codec.h"

const struct printer *print_of(struct ctl *ctl, int *exit_code)
{
	switch (ctl->format) {
	case CTL_SIMPLE:
		return &print_simple;
	case CTL_JSON:
		return &print_json;
	case CTL_FIELDS:
		return &print_fields;
	case CTL_TABLE:
		break;
	}
	*exit_code = ctl_fail(ctl, CTL_BAD_FEATURE, "table not supported as output format");
	return NULL;
}

static void simple_line(struct ctl *ctl, struct bytes v)
{
	if (ctl->globals.hex)
		codec_hex(ctl->out, v);
	else
		(void)fwrite(v.data, 1, v.len, ctl->out);
	fputc('\n', ctl->out);
}

static void simple_pair(struct ctl *ctl, const struct kv_pair *pair)
{
	if (!ctl->value_only)
		simple_line(ctl, pair->key);
	simple_line(ctl, pair->value);
}

static void simple_put(struct ctl *ctl, const struct kv_put_result *r)
{
	fputs("OK\n", ctl->out);
	if (r->prev_kv != NULL)
		simple_pair(ctl, r->prev_kv);
}

static void simple_del(struct ctl *ctl, const struct kv_delete_result *r)
{
	fprintf(ctl->out, "%" PRId64 "\n", r->deleted);
	for (size_t i = 0; i < r->prev_kvs.n; i++)
		simple_pair(ctl, &r->prev_kvs.v[i]);
}

static void simple_range_begin(struct ctl *ctl, const struct kv_range_result *head)
{
	(void)ctl;
	(void)head;
}

static void simple_range_pair(struct ctl *ctl, const struct kv_pair *pair, bool first)
{
	(void)first;
	simple_pair(ctl, pair);
}

static void simple_range_end(struct ctl *ctl, const struct kv_range_result *head, bool any)
{
	(void)ctl;
	(void)head;
	(void)any;
}

static void simple_txn(struct ctl *ctl, const struct kv_txn_result *r)
{
	fputs(r->succeeded ? "SUCCESS\n" : "FAILURE\n", ctl->out);
	for (size_t i = 0; i < r->responses.n; i++) {
		const struct kv_op_result *op = &r->responses.v[i];

		fputc('\n', ctl->out);
		if (op->put != NULL)
			simple_put(ctl, op->put);
		else if (op->del != NULL)
			simple_del(ctl, op->del);
		else if (op->txn != NULL)
			simple_txn(ctl, op->txn);
		for (size_t k = 0; op->range != NULL && k < op->range->kvs.n; k++)
			simple_pair(ctl, &op->range->kvs.v[k]);
	}
}

static void simple_watch(struct ctl *ctl, const struct kv_header *h, const struct watch_event *v, size_t n)
{
	(void)h;
	for (size_t i = 0; i < n; i++) {
		fputs(v[i].type == WATCH_EVENT_PUT ? "PUT\n" : "DELETE\n", ctl->out);
		if (v[i].prev_kv != NULL)
			simple_pair(ctl, v[i].prev_kv);
		simple_pair(ctl, v[i].kv);
	}
}

static void simple_members(struct ctl *ctl, const struct native_members_result *r)
{
	for (size_t i = 0; i < r->members.n; i++) {
		const struct native_member *m = &r->members.v[i];

		fprintf(ctl->out, "%" PRIx64 ", started, %.*s, %.*s, %.*s, false\n", m->id,
			(int)m->name.len, (const char *)m->name.data,
			(int)m->peer_addr.len, (const char *)m->peer_addr.data,
			(int)m->client_addr.len, (const char *)m->client_addr.data);
	}
}

const struct printer print_simple = {
	.put = simple_put, .del = simple_del, .txn = simple_txn, .range_begin = simple_range_begin,
	.range_pair = simple_range_pair, .range_end = simple_range_end, .watch = simple_watch,
	.members = simple_members};
