/* SPDX-License-Identifier: Apache-2.0 */
/* As in etcdctl --hex changes nothing here: what is not printable is escaped anyway. */
#include "ctl/print.h"

#include <inttypes.h>

#include "ctl/codec.h"

static void fields_number(struct ctl *ctl, const char *name, int64_t v)
{
	fprintf(ctl->out, "\"%s\" : %" PRId64 "\n", name, v);
}

static void fields_id(struct ctl *ctl, const char *name, uint64_t id)
{
	fprintf(ctl->out, "\"%s\" : %" PRIu64 "\n", name, id);
}

static void fields_bytes(struct ctl *ctl, const char *prefix, const char *name, struct bytes v)
{
	fprintf(ctl->out, "\"%s%s\" : ", prefix, name);
	codec_quote(ctl->out, v);
	fputc('\n', ctl->out);
}

static void fields_header(struct ctl *ctl, const struct kv_header *h)
{
	static const struct kv_header none;

	if (h == NULL)
		h = &none;
	fields_id(ctl, "ClusterID", h->cluster_id);
	fields_id(ctl, "MemberID", h->member_id);
	fields_number(ctl, "Revision", h->revision);
	fprintf(ctl->out, "\"RaftTerm\" : %" PRIu64 "\n", h->raft_term);
}

static void fields_pair(struct ctl *ctl, const char *prefix, const struct kv_pair *p)
{
	fields_bytes(ctl, prefix, "Key", p->key);
	fprintf(ctl->out, "\"%sCreateRevision\" : %" PRId64 "\n", prefix, p->create_revision);
	fprintf(ctl->out, "\"%sModRevision\" : %" PRId64 "\n", prefix, p->mod_revision);
	fprintf(ctl->out, "\"%sVersion\" : %" PRId64 "\n", prefix, p->version);
	fields_bytes(ctl, prefix, "Value", p->value);
	fprintf(ctl->out, "\"%sLease\" : %" PRId64 "\n", prefix, p->lease);
}

static void fields_put(struct ctl *ctl, const struct kv_put_result *r)
{
	fields_header(ctl, r->header);
	if (r->prev_kv != NULL)
		fields_pair(ctl, "Prev", r->prev_kv);
}

static void fields_del(struct ctl *ctl, const struct kv_delete_result *r)
{
	fields_header(ctl, r->header);
	fields_number(ctl, "Deleted", r->deleted);
	for (size_t i = 0; i < r->prev_kvs.n; i++)
		fields_pair(ctl, "Prev", &r->prev_kvs.v[i]);
}

static void fields_range_begin(struct ctl *ctl, const struct kv_range_result *head)
{
	fields_header(ctl, head->header);
}

static void fields_range_pair(struct ctl *ctl, const struct kv_pair *pair, bool first)
{
	(void)first;
	fields_pair(ctl, "", pair);
}

static void fields_range_end(struct ctl *ctl, const struct kv_range_result *head, bool any)
{
	(void)any;
	fprintf(ctl->out, "\"More\" : %s\n", head->more ? "true" : "false");
	fields_number(ctl, "Count", head->count);
}

static void fields_range(struct ctl *ctl, const struct kv_range_result *r)
{
	fields_range_begin(ctl, r);
	for (size_t i = 0; i < r->kvs.n; i++)
		fields_pair(ctl, "", &r->kvs.v[i]);
	fields_range_end(ctl, r, r->kvs.n > 0);
}

static void fields_txn(struct ctl *ctl, const struct kv_txn_result *r)
{
	fields_header(ctl, r->header);
	fprintf(ctl->out, "\"Succeeded\" : %s\n", r->succeeded ? "true" : "false");
	for (size_t i = 0; i < r->responses.n; i++) {
		const struct kv_op_result *op = &r->responses.v[i];

		if (op->put != NULL)
			fields_put(ctl, op->put);
		else if (op->del != NULL)
			fields_del(ctl, op->del);
		else if (op->range != NULL)
			fields_range(ctl, op->range);
		else if (op->txn != NULL)
			fields_txn(ctl, op->txn);
	}
}

static void fields_watch(struct ctl *ctl, const struct kv_header *h, const struct watch_event *v, size_t n)
{
	fields_header(ctl, h);
	for (size_t i = 0; i < n; i++) {
		fprintf(ctl->out, "\"Type\" : %s\n", v[i].type == WATCH_EVENT_PUT ? "PUT" : "DELETE");
		if (v[i].prev_kv != NULL)
			fields_pair(ctl, "Prev", v[i].prev_kv);
		fields_pair(ctl, "", v[i].kv);
	}
}

static void fields_members(struct ctl *ctl, const struct native_members_result *r)
{
	fields_header(ctl, r->header);
	for (size_t i = 0; i < r->members.n; i++) {
		const struct native_member *m = &r->members.v[i];

		fields_id(ctl, "ID", m->id);
		fputs("\"Name\" : ", ctl->out);
		codec_quote(ctl->out, m->name);
		fputs("\n\"PeerURL\" : ", ctl->out);
		codec_quote(ctl->out, m->peer_addr);
		fputs("\n\"ClientURL\" : ", ctl->out);
		codec_quote(ctl->out, m->client_addr);
		fputs("\n\"IsLearner\" : false\n\n", ctl->out);
	}
}

const struct printer print_fields = {
	.put = fields_put, .del = fields_del, .txn = fields_txn, .range_begin = fields_range_begin,
	.range_pair = fields_range_pair, .range_end = fields_range_end, .watch = fields_watch,
	.members = fields_members};
