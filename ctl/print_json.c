/* SPDX-License-Identifier: Apache-2.0 */
/* As Go encodes etcd's structs: a field of 0, false or no bytes is left out. */
#include "ctl/print.h"

#include <inttypes.h>

#include "ctl/codec.h"

/* Members of an object: writes the comma that is due. */
struct json_object {
	FILE *out;
	bool any;
};

static void json_name(struct json_object *o, const char *name)
{
	fprintf(o->out, "%s\"%s\":", o->any ? "," : "", name);
	o->any = true;
}

static void json_u64(struct json_object *o, const char *name, uint64_t v)
{
	if (v == 0)
		return;
	json_name(o, name);
	fprintf(o->out, "%" PRIu64, v);
}

static void json_i64(struct json_object *o, const char *name, int64_t v)
{
	if (v == 0)
		return;
	json_name(o, name);
	fprintf(o->out, "%" PRId64, v);
}

static void json_true(struct json_object *o, const char *name, bool v)
{
	if (!v)
		return;
	json_name(o, name);
	fputs("true", o->out);
}

static void json_bytes(struct json_object *o, const char *name, struct bytes v)
{
	if (v.len == 0)
		return;
	json_name(o, name);
	fputc('"', o->out);
	codec_base64(o->out, v);
	fputc('"', o->out);
}

static void json_header(struct json_object *o, const struct kv_header *h)
{
	struct json_object in = {o->out, false};

	if (h == NULL)
		return;
	json_name(o, "header");
	fputc('{', o->out);
	json_u64(&in, "cluster_id", h->cluster_id);
	json_u64(&in, "member_id", h->member_id);
	json_i64(&in, "revision", h->revision);
	json_u64(&in, "raft_term", h->raft_term);
	fputc('}', o->out);
}

void print_json_header(struct ctl *ctl, const struct kv_header *h)
{
	static const struct kv_header none;
	struct json_object o = {ctl->out, false};

	json_header(&o, h != NULL ? h : &none);
}

void print_json_str(FILE *out, const char *name, struct bytes v)
{
	fprintf(out, "\"%s\":", name);
	codec_json(out, v);
}

static void json_pair(FILE *out, const struct kv_pair *p)
{
	struct json_object o = {out, false};

	fputc('{', out);
	json_bytes(&o, "key", p->key);
	json_i64(&o, "create_revision", p->create_revision);
	json_i64(&o, "mod_revision", p->mod_revision);
	json_i64(&o, "version", p->version);
	json_bytes(&o, "value", p->value);
	json_i64(&o, "lease", p->lease);
	fputc('}', out);
}

static void json_pairs(struct json_object *o, const char *name, const struct kv_pair *v, size_t n)
{
	if (n == 0)
		return;
	json_name(o, name);
	for (size_t i = 0; i < n; i++) {
		fputc(i == 0 ? '[' : ',', o->out);
		json_pair(o->out, &v[i]);
	}
	fputc(']', o->out);
}

static void json_put_body(FILE *out, const struct kv_put_result *r)
{
	struct json_object o = {out, false};

	fputc('{', out);
	json_header(&o, r->header);
	if (r->prev_kv != NULL) {
		json_name(&o, "prev_kv");
		json_pair(out, r->prev_kv);
	}
	fputc('}', out);
}

static void json_del_body(FILE *out, const struct kv_delete_result *r)
{
	struct json_object o = {out, false};

	fputc('{', out);
	json_header(&o, r->header);
	json_i64(&o, "deleted", r->deleted);
	json_pairs(&o, "prev_kvs", r->prev_kvs.v, r->prev_kvs.n);
	fputc('}', out);
}

static void json_range_body(FILE *out, const struct kv_range_result *r)
{
	struct json_object o = {out, false};

	fputc('{', out);
	json_header(&o, r->header);
	json_pairs(&o, "kvs", r->kvs.v, r->kvs.n);
	json_true(&o, "more", r->more);
	json_i64(&o, "count", r->count);
	fputc('}', out);
}

static void json_txn_body(FILE *out, const struct kv_txn_result *r);

static void json_op(FILE *out, const struct kv_op_result *op)
{
	fputs("{\"Response\":{", out);
	if (op->range != NULL) {
		fputs("\"response_range\":", out);
		json_range_body(out, op->range);
	} else if (op->put != NULL) {
		fputs("\"response_put\":", out);
		json_put_body(out, op->put);
	} else if (op->del != NULL) {
		fputs("\"response_delete_range\":", out);
		json_del_body(out, op->del);
	} else if (op->txn != NULL) {
		fputs("\"response_txn\":", out);
		json_txn_body(out, op->txn);
	}
	fputs("}}", out);
}

/* Depth is bounded by the decoder. */
static void json_txn_body(FILE *out, const struct kv_txn_result *r)
{
	struct json_object o = {out, false};

	fputc('{', out);
	json_header(&o, r->header);
	json_true(&o, "succeeded", r->succeeded);
	if (r->responses.n > 0) {
		json_name(&o, "responses");
		for (size_t i = 0; i < r->responses.n; i++) {
			fputc(i == 0 ? '[' : ',', out);
			json_op(out, &r->responses.v[i]);
		}
		fputc(']', out);
	}
	fputc('}', out);
}

static void json_put(struct ctl *ctl, const struct kv_put_result *r)
{
	json_put_body(ctl->out, r);
	fputc('\n', ctl->out);
}

static void json_del(struct ctl *ctl, const struct kv_delete_result *r)
{
	json_del_body(ctl->out, r);
	fputc('\n', ctl->out);
}

static void json_txn(struct ctl *ctl, const struct kv_txn_result *r)
{
	json_txn_body(ctl->out, r);
	fputc('\n', ctl->out);
}

static void json_range_begin(struct ctl *ctl, const struct kv_range_result *head)
{
	fputc('{', ctl->out);
	print_json_header(ctl, head->header);
}

static void json_range_pair(struct ctl *ctl, const struct kv_pair *pair, bool first)
{
	fputs(first ? ",\"kvs\":[" : ",", ctl->out);
	json_pair(ctl->out, pair);
}

static void json_range_end(struct ctl *ctl, const struct kv_range_result *head, bool any)
{
	struct json_object o = {ctl->out, true};

	if (any)
		fputc(']', ctl->out);
	json_true(&o, "more", head->more);
	json_i64(&o, "count", head->count);
	fputs("}\n", ctl->out);
}

/* etcd's struct has no names for JSON: they are Go's. */
static void json_watch(struct ctl *ctl, const struct kv_header *h, const struct watch_event *v, size_t n)
{
	struct json_object header = {ctl->out, false};

	fputs("{\"Header\":{", ctl->out);
	json_u64(&header, "cluster_id", h->cluster_id);
	json_u64(&header, "member_id", h->member_id);
	json_i64(&header, "revision", h->revision);
	json_u64(&header, "raft_term", h->raft_term);
	fputs(n > 0 ? "},\"Events\":[" : "},\"Events\":null", ctl->out);
	for (size_t i = 0; i < n; i++) {
		struct json_object o = {ctl->out, false};

		fputs(i > 0 ? ",{" : "{", ctl->out);
		json_i64(&o, "type", v[i].type == WATCH_EVENT_DELETE);
		json_name(&o, "kv");
		json_pair(ctl->out, v[i].kv);
		if (v[i].prev_kv != NULL) {
			json_name(&o, "prev_kv");
			json_pair(ctl->out, v[i].prev_kv);
		}
		fputc('}', ctl->out);
	}
	fputs(n > 0 ? "]" : "", ctl->out);
	fputs(",\"CompactRevision\":0,\"Canceled\":false,\"Created\":false}\n", ctl->out);
}

static void json_member(struct ctl *ctl, const struct native_member *m)
{
	fprintf(ctl->out, ctl->globals.hex ? "{\"ID\":\"%" PRIx64 "\"," : "{\"ID\":%" PRIu64 ",",
		m->id);
	print_json_str(ctl->out, "name", m->name);
	fputs(",\"peerURLs\":[", ctl->out);
	codec_json(ctl->out, m->peer_addr);
	fputs("],\"clientURLs\":[", ctl->out);
	codec_json(ctl->out, m->client_addr);
	fputs("]}", ctl->out);
}

static void json_members(struct ctl *ctl, const struct native_members_result *r)
{
	fputc('{', ctl->out);
	print_json_header(ctl, r->header);
	fputs(",\"members\":[", ctl->out);
	for (size_t i = 0; i < r->members.n; i++) {
		if (i > 0)
			fputc(',', ctl->out);
		json_member(ctl, &r->members.v[i]);
	}
	fputs("]}\n", ctl->out);
}

const struct printer print_json = {
	.put = json_put, .del = json_del, .txn = json_txn, .range_begin = json_range_begin,
	.range_pair = json_range_pair, .range_end = json_range_end, .watch = json_watch,
	.members = json_members};
