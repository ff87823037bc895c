/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>

#include "ctl/cluster.h"
#include "ctl/commands.h"
#include "ctl/print.h"

struct hash_options {
	int64_t rev;
};

static const struct flag hash_flags[] = {
	FLAG(struct hash_options, I64, rev, "rev", 0, "0", "REV",
	     "hash everything up to this revision; 0: the latest of the first node"),
	FLAG_END
};

struct hash_row {
	char endpoint[CLIENT_ENDPOINT_TEXT];
	bool reached;
	struct native_hash_result result;
	char why[LIMIT_CLIENT_ERROR_BYTES];
};

struct hash_rows {
	struct hash_row v[LIMIT_NODES];
	size_t n;
};

enum { HASH_RETRY_MS = 50 };

/* A follower that is a little behind gets the time to come to the revision. */
static void hash_ask(struct ctl *ctl, struct arena *arena, int64_t revision, struct hash_row *row)
{
	struct native_hash params = {revision};
	struct client_request r = {.method = "hash", .params = &params, .arena = arena,
				   .result = &row->result};
	mono_t deadline = ctl_deadline(ctl);
	struct client_error e;
	int rc;

	if (row->endpoint[0] == 0) {
		(void)snprintf(row->why, sizeof row->why, "its client address is not known");
		return;
	}
	while ((rc = cluster_ask(ctl, row->endpoint, &r, deadline, &e)) == ERR_FUTURE_REV &&
	       mono_before(mono_now(), deadline))
		(void)poll(NULL, 0, HASH_RETRY_MS);
	row->reached = rc == ERR_OK;
	if (rc != ERR_OK)
		(void)snprintf(row->why, sizeof row->why, "%s", e.text);
}

static int hash_gather(struct ctl *ctl, struct arena *arena, int64_t revision,
		       struct hash_rows *rows)
{
	struct native_members_result members;
	int code = cluster_members(ctl, arena, &members);

	for (size_t i = 0; code == CTL_OK && i < members.members.n; i++) {
		struct hash_row *row = &rows->v[rows->n++];
		struct bytes addr = members.members.v[i].client_addr;

		(void)snprintf(row->endpoint, sizeof row->endpoint, "%.*s", (int)addr.len,
			       (const char *)addr.data);
		hash_ask(ctl, arena, revision, row);
		if (revision == 0 && row->reached)   /* the others at the same point */
			revision = row->result.hash_revision;
	}
	return code;
}

static void hash_hex(char to[64], struct bytes hash)
{
	size_t n = 0;

	to[0] = 0;
	for (size_t i = 0; i < hash.len && i < 16; i++)
		n += (size_t)snprintf(to + n, 64 - n, "%02x", hash.data[i]);
}

static void hash_json(struct ctl *ctl, const struct hash_row *row, bool first)
{
	char hex[64];

	fputs(first ? "{" : ",{", ctl->out);
	print_json_str(ctl->out, "endpoint", bytes_str(row->endpoint));
	fputc(',', ctl->out);
	if (row->reached) {
		hash_hex(hex, row->result.hash);
		fprintf(ctl->out, "\"hash\":\"%s\",\"hash_revision\":%" PRId64
			",\"compact_revision\":%" PRId64, hex, row->result.hash_revision,
			row->result.compact_revision);
	} else {
		print_json_str(ctl->out, "error", bytes_str(row->why));
	}
	fputc('}', ctl->out);
}

static void hash_table(struct ctl *ctl, const struct hash_rows *rows)
{
	static const char *const headings[] = {"endpoint", "hash", "hash_revision",
					       "compact_revision"};
	struct table *t = table_new(4, headings);
	char hex[64];

	for (size_t i = 0; i < rows->n; i++) {
		const struct hash_row *row = &rows->v[i];

		hash_hex(hex, row->result.hash);
		table_cell(t, "%s", row->endpoint);
		table_cell(t, "%s", row->reached ? hex : row->why);
		table_cell(t, "%" PRId64, row->result.hash_revision);
		table_cell(t, "%" PRId64, row->result.compact_revision);
	}
	table_print(ctl->out, t);
	table_free(&t);
}

static void hash_lines(struct ctl *ctl, const struct hash_rows *rows)
{
	char hex[64];

	for (size_t i = 0; i < rows->n; i++) {
		const struct hash_row *row = &rows->v[i];

		hash_hex(hex, row->result.hash);
		if (!row->reached)
			fprintf(ctl->err, "%s: %s\n", row->endpoint, row->why);
		else if (ctl->format == CTL_FIELDS)
			fprintf(ctl->out,
				"\"Endpoint\" : \"%s\"\n\"Hash\" : \"%s\"\n\"HashRevision\" : "
				"%" PRId64
				"\n\"CompactRevision\" : %" PRId64 "\n\n", row->endpoint, hex,
				row->result.hash_revision, row->result.compact_revision);
		else
			fprintf(ctl->out, "%s, %s, %" PRId64 ", %" PRId64 "\n", row->endpoint, hex,
				row->result.hash_revision, row->result.compact_revision);
	}
}

static void hash_print(struct ctl *ctl, const struct hash_rows *rows)
{
	if (ctl->format == CTL_TABLE) {
		hash_table(ctl, rows);
	} else if (ctl->format == CTL_JSON) {
		fputc('[', ctl->out);
		for (size_t i = 0; i < rows->n; i++)
			hash_json(ctl, &rows->v[i], i == 0);
		fputs("]\n", ctl->out);
	} else {
		hash_lines(ctl, rows);
	}
}

/* Two nodes can be compared if they hashed the same rows. */
static int hash_compare(struct ctl *ctl, const struct hash_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++)
		for (size_t k = i + 1; k < rows->n; k++) {
			const struct hash_row *a = &rows->v[i], *b = &rows->v[k];

			if (a->reached && b->reached &&
			    a->result.hash_revision == b->result.hash_revision &&
			    a->result.compact_revision == b->result.compact_revision &&
			    !bytes_eq(a->result.hash, b->result.hash))
				return ctl_fail(ctl, CTL_ERROR,
						"%s and %s hold different data at revision "
						"%" PRId64,
						a->endpoint, b->endpoint, a->result.hash_revision);
		}
	for (size_t i = 0; i < rows->n; i++)
		if (!rows->v[i].reached)
			return CTL_ERROR;
	return CTL_OK;
}

static int hash_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct hash_options *o = options;
	struct hash_rows rows = {.n = 0};
	struct arena arena;
	int code;

	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_hash, "hash takes no words");
	arena_init(&arena, CLUSTER_ARENA_BYTES);
	code = hash_gather(ctl, &arena, o->rev, &rows);
	if (code == CTL_OK) {
		hash_print(ctl, &rows);
		code = hash_compare(ctl, &rows);
	}
	arena_free(&arena);
	return code;
}

const struct ctl_command ctl_hash = {
	.name = "hash", .args = "", .summary = "Prints a hash of each node's data and compares "
					       "them",
	.more = "Exits with 1 if two nodes hold different data, or if a node does not answer.\n",
	.flags = hash_flags, .options_size = sizeof(struct hash_options), .run = hash_run};
