/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON is Go's encoding of etcd's client structs: for all but revoke the header's members stand in
 * the answer itself, and names are those of the structs.
 */
#include "ctl/print_lease.h"

#include <inttypes.h>

#include "base/buf.h"
#include "ctl/codec.h"

static const struct kv_header *lease_header(const struct kv_header *h)
{
	static const struct kv_header none;

	return h != NULL ? h : &none;
}

static void json_open(struct ctl *ctl, const struct kv_header *h)
{
	h = lease_header(h);
	fprintf(ctl->out, "{\"cluster_id\":%" PRIu64 ",\"member_id\":%" PRIu64 ",\"revision\":%" PRId64
		",\"raft_term\":%" PRIu64, h->cluster_id, h->member_id, h->revision, h->raft_term);
}

static void fields_open(struct ctl *ctl, const struct kv_header *h)
{
	h = lease_header(h);
	fprintf(ctl->out, "\"ClusterID\" : %" PRIu64 "\n\"MemberID\" : %" PRIu64 "\n\"Revision\" : %" PRId64
		"\n\"RaftTerm\" : %" PRIu64 "\n", h->cluster_id, h->member_id, h->revision, h->raft_term);
}

void print_lease_grant(struct ctl *ctl, const struct lease_grant_result *r)
{
	switch (ctl->format) {
	case CTL_JSON:
		json_open(ctl, r->header);
		fprintf(ctl->out, ",\"ID\":%" PRId64 ",\"TTL\":%" PRId64 ",\"Error\":\"\"}\n", r->id, r->ttl);
		break;
	case CTL_FIELDS:
		fields_open(ctl, r->header);
		fprintf(ctl->out, "\"ID\" : %" PRId64 "\n\"TTL\" : %" PRId64 "\n", r->id, r->ttl);
		break;
	default:
		fprintf(ctl->out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n", (uint64_t)r->id, r->ttl);
	}
}

void print_lease_revoke(struct ctl *ctl, int64_t id, const struct lease_revoke_result *r)
{
	switch (ctl->format) {
	case CTL_JSON:
		fputc('{', ctl->out);
		print_json_header(ctl, r->header);
		fputs("}\n", ctl->out);
		break;
	case CTL_FIELDS:
		fields_open(ctl, r->header);
		break;
	default:
		fprintf(ctl->out, "lease %016" PRIx64 " revoked\n", (uint64_t)id);
	}
}

void print_lease_keepalive(struct ctl *ctl, const struct native_keepalive_result *r)
{
	switch (ctl->format) {
	case CTL_JSON:
		json_open(ctl, r->header);
		fprintf(ctl->out, ",\"ID\":%" PRId64 ",\"TTL\":%" PRId64 "}\n", r->id, r->ttl);
		break;
	case CTL_FIELDS:
		fields_open(ctl, r->header);
		fprintf(ctl->out, "\"ID\" : %" PRId64 "\n\"TTL\" : %" PRId64 "\n", r->id, r->ttl);
		break;
	default:
		fprintf(ctl->out, "lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n", (uint64_t)r->id, r->ttl);
	}
}

static int64_t list_id(struct bytes ids, size_t i)
{
	return (int64_t)get_u64(ids.data + 8 * i);
}

void print_lease_list(struct ctl *ctl, const struct kv_header *h, struct bytes ids)
{
	size_t n = ids.len / 8;

	if (ctl->format == CTL_JSON) {
		json_open(ctl, h);
		fputs(",\"leases\":[", ctl->out);
		for (size_t i = 0; i < n; i++)
			fprintf(ctl->out, "%s{\"id\":%" PRId64 "}", i ? "," : "", list_id(ids, i));
		fputs("]}\n", ctl->out);
		return;
	}
	if (ctl->format == CTL_FIELDS)
		fields_open(ctl, h);
	else
		fprintf(ctl->out, "found %zu leases\n", n);
	for (size_t i = 0; i < n; i++)
		fprintf(ctl->out, ctl->format == CTL_FIELDS ? "\"ID\" : %016" PRIx64 "\n" : "%016" PRIx64 "\n",
			(uint64_t)list_id(ids, i));
}

void print_lease_ttl_begin(struct ctl *ctl, const struct native_time_to_live_result *r, bool keys)
{
	bool there = r->granted_ttl != 0;

	switch (ctl->format) {
	case CTL_JSON:
		json_open(ctl, r->header);
		fprintf(ctl->out, ",\"id\":%" PRId64 ",\"ttl\":%" PRId64 ",\"granted-ttl\":%" PRId64 ",\"keys\":",
			r->id, r->ttl, r->granted_ttl);
		fputs(keys && there ? "[" : "null", ctl->out);
		break;
	case CTL_FIELDS:
		fields_open(ctl, r->header);
		fprintf(ctl->out, "\"ID\" : %" PRId64 "\n\"TTL\" : %" PRId64 "\n\"GrantedTTL\" : %" PRId64 "\n",
			r->id, r->ttl, r->granted_ttl);
		break;
	default:
		if (!there) {
			fprintf(ctl->out, "lease %016" PRIx64 " already expired", (uint64_t)r->id);
			break;
		}
		fprintf(ctl->out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)",
			(uint64_t)r->id, r->granted_ttl, r->ttl);
		if (keys)
			fputs(", attached keys([", ctl->out);
	}
}

void print_lease_ttl_key(struct ctl *ctl, struct bytes key, bool first)
{
	switch (ctl->format) {
	case CTL_JSON:
		fputs(first ? "\"" : ",\"", ctl->out);
		codec_base64(ctl->out, key);
		fputc('"', ctl->out);
		break;
	case CTL_FIELDS:
		fputs("\"Key\" : ", ctl->out);
		codec_quote(ctl->out, key);
		fputc('\n', ctl->out);
		break;
	default:
		if (!first)
			fputc(' ', ctl->out);
		(void)fwrite(key.data, 1, key.len, ctl->out);
	}
}

void print_lease_ttl_end(struct ctl *ctl, const struct native_time_to_live_result *r, bool keys)
{
	bool open = keys && r->granted_ttl != 0;

	if (ctl->format == CTL_JSON)
		fputs(open ? "]}\n" : "}\n", ctl->out);
	else if (ctl->format != CTL_FIELDS)
		fputs(open ? "])\n" : "\n", ctl->out);
}
