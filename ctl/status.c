/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "ctl/cluster.h"
#include "ctl/commands.h"
#include "ctl/print.h"
#include "ctl/codec.h"

enum { STATUS_DAEMONS = 1024 };

/* "raftd 5s, stored DOWN, gatewayd.0 5s" */
static void status_daemons(char to[STATUS_DAEMONS], const struct native_status_result *s)
{
	size_t n = 0;

	to[0] = 0;
	for (size_t i = 0; i < s->daemons.n && n < STATUS_DAEMONS - 128; i++) {
		const struct native_daemon *d = &s->daemons.v[i];
		bool up = bytes_eq(d->state, bytes_str("up"));
		char age[32];

		n += (size_t)snprintf(to + n, STATUS_DAEMONS - n, "%s%.*s %s", i ? ", " : "",
				      (int)(d->name.len < 64 ? d->name.len : 64),
				      (const char *)d->name.data,
				      up ? codec_age(age, d->age_ms) : "DOWN");
	}
}

static void status_row(struct table *t, const struct cluster_node *node)
{
	const struct native_status_result *s = &node->status;
	char daemons[STATUS_DAEMONS], store[32], log[32];

	table_cell(t, "%.*s", (int)node->member.name.len, (const char *)node->member.name.data);
	table_cell(t, "%" PRIx64, node->member.id);
	table_cell(t, "%s", node->endpoint);
	if (!node->reached) {
		table_cell(t, "unreachable");
		for (int i = 0; i < 7; i++)
			table_cell(t, "-");
		table_cell(t, "%.120s", node->why);
		return;
	}
	status_daemons(daemons, s);
	table_cell(t, "%.*s", (int)s->role.len, (const char *)s->role.data);
	table_cell(t, s->leader ? "%" PRIx64 : "none", s->leader);
	table_cell(t, "%" PRIu64, cluster_term(s->header));
	table_cell(t, "%" PRIu64, s->commit);
	table_cell(t, "%" PRIu64, s->applied);
	table_cell(t, "%" PRId64, cluster_revision(s->header));
	table_cell(t, "%s", codec_size(store, s->store_bytes));
	table_cell(t, "%s", codec_size(log, s->log_bytes));
	table_cell(t, "%s", daemons);
}

static void status_table(struct ctl *ctl, const struct cluster_nodes *nodes)
{
	static const char *const headings[] = {"name", "id", "endpoint", "role", "leader", "term",
					       "commit",
					       "applied", "revision", "store", "log", "daemons"};
	struct table *t = table_new(12, headings);

	for (size_t i = 0; i < nodes->n; i++)
		status_row(t, &nodes->v[i]);
	table_print(ctl->out, t);
	table_free(&t);
}

static void status_json_daemons(FILE *out, const struct native_status_result *s)
{
	fputs(",\"daemons\":[", out);
	for (size_t i = 0; i < s->daemons.n; i++) {
		const struct native_daemon *d = &s->daemons.v[i];

		fputs(i ? ",{" : "{", out);
		print_json_str(out, "name", d->name);
		fputc(',', out);
		print_json_str(out, "state", d->state);
		fprintf(out, ",\"age_ms\":%" PRId64 "}", d->age_ms);
	}
	fputc(']', out);
}

static void status_json_body(FILE *out, const struct native_status_result *s)
{
	fputs(",\"reachable\":true,", out);
	print_json_str(out, "version", s->version);
	fputc(',', out);
	print_json_str(out, "role", s->role);
	fprintf(out, ",\"cluster_id\":%" PRIu64 ",\"leader\":%" PRIu64 ",\"term\":%" PRIu64,
		s->header != NULL ? s->header->cluster_id : 0, s->leader, cluster_term(s->header));
	fprintf(out, ",\"commit\":%" PRIu64 ",\"applied\":%" PRIu64 ",\"last\":%" PRIu64, s->commit,
		s->applied,
		s->last);
	fprintf(out, ",\"revision\":%" PRId64 ",\"compact_revision\":%" PRId64,
		cluster_revision(s->header),
		s->compact_revision);
	fprintf(out, ",\"store_bytes\":%" PRIu64 ",\"used_bytes\":%" PRIu64
		",\"log_bytes\":%" PRIu64 ",\"keys\":%" PRIu64 ",\"apply_hash\":\"",
		s->store_bytes, s->used_bytes, s->log_bytes, s->keys);
	for (size_t i = 0; i < s->apply_hash.len; i++)
		fprintf(out, "%02x", s->apply_hash.data[i]);
	fputc('"', out);
	status_json_daemons(out, s);
}

static void status_json(struct ctl *ctl, const struct cluster_nodes *nodes, bool diverged)
{
	FILE *out = ctl->out;

	fputs("{\"nodes\":[", out);
	for (size_t i = 0; i < nodes->n; i++) {
		const struct cluster_node *node = &nodes->v[i];

		fputs(i ? ",{" : "{", out);
		print_json_str(out, "name", node->member.name);
		fprintf(out, ",\"id\":%" PRIu64 ",", node->member.id);
		print_json_str(out, "endpoint", bytes_str(node->endpoint));
		if (node->reached) {
			status_json_body(out, &node->status);
		} else {
			fputs(",\"reachable\":false,", out);
			print_json_str(out, "error", bytes_str(node->why));
		}
		fputc('}', out);
	}
	fprintf(out, "],\"diverged\":%s}\n", diverged ? "true" : "false");
}

static void status_field(FILE *out, const char *name, struct bytes v)
{
	fprintf(out, "\"%s\" : ", name);
	codec_quote(out, v);
	fputc('\n', out);
}

static void status_fields(struct ctl *ctl, const struct cluster_nodes *nodes)
{
	FILE *out = ctl->out;

	for (size_t i = 0; i < nodes->n; i++) {
		const struct cluster_node *node = &nodes->v[i];
		const struct native_status_result *s = &node->status;
		char daemons[STATUS_DAEMONS];

		status_field(out, "Name", node->member.name);
		fprintf(out, "\"MemberID\" : %" PRIu64 "\n", node->member.id);
		status_field(out, "Endpoint", bytes_str(node->endpoint));
		if (!node->reached) {
			status_field(out, "Error", bytes_str(node->why));
			fputc('\n', out);
			continue;
		}
		status_daemons(daemons, s);
		status_field(out, "Version", s->version);
		status_field(out, "Role", s->role);
		fprintf(out, "\"Leader\" : %" PRIu64 "\n\"RaftTerm\" : %" PRIu64 "\n\"RaftIndex\" "
										 ": %" PRIu64
			"\n\"RaftAppliedIndex\" : %" PRIu64 "\n\"Revision\" : "
							    "%" PRId64 "\n\"DBSize\" : %" PRIu64
			"\n\"DBSizeInUse\" : %" PRIu64 "\n\"LogSize\" : %" PRIu64 "\n\"Keys\" : "
										  "%" PRIu64 "\n",
			s->leader, cluster_term(s->header), s->commit, s->applied,
			cluster_revision(s->header),
			s->store_bytes, s->used_bytes, s->log_bytes, s->keys);
		status_field(out, "Daemons", bytes_str(daemons));
		fputc('\n', out);
	}
}

static int status_show(struct ctl *ctl, struct arena *arena)
{
	struct cluster_nodes nodes;
	size_t a, b;
	int code = cluster_status(ctl, arena, &nodes);
	bool diverged;

	if (code != CTL_OK)
		return code;
	diverged = cluster_diverged(&nodes, &a, &b);
	if (ctl->format == CTL_JSON)
		status_json(ctl, &nodes, diverged);
	else if (ctl->format == CTL_FIELDS)
		status_fields(ctl, &nodes);
	else
		status_table(ctl, &nodes);
	if (diverged)
		return ctl_fail(ctl, CTL_ERROR,
				"%s and %s hold different data at applied index %" PRIu64
				": one of them is corrupt", nodes.v[a].endpoint,
				nodes.v[b].endpoint,
				nodes.v[a].status.applied);
	return CTL_OK;
}

static int status_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	struct arena arena;
	int code;

	(void)options;
	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_status, "status takes no words");
	arena_init(&arena, CLUSTER_ARENA_BYTES);
	code = status_show(ctl, &arena);
	arena_free(&arena);
	return code;
}

const struct ctl_command ctl_status = {
	.name = "status", .args = "", .summary = "Shows every node of the cluster and its daemons",
	.more = "The nodes are found through any endpoint; those that do not answer are shown as\n"
		"unreachable. Exits with 1 if two nodes have applied the same commands and hold\n"
		"different data.\n",
	.run = status_run};
