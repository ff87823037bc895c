/* SPDX-License-Identifier: Apache-2.0 */
/* `members`, and `member list` for fingers that know etcdctl. */
#include <inttypes.h>
#include <string.h>

#include "ctl/cluster.h"
#include "ctl/commands.h"
#include "ctl/print.h"

static void members_table(struct ctl *ctl, const struct native_members_result *r)
{
	static const char *const headings[] = {"ID", "Status", "Name", "Peer Addrs", "Client Addrs",
					       "Is Learner"};
	struct table *t = table_new(6, headings);

	for (size_t i = 0; i < r->members.n; i++) {
		const struct native_member *m = &r->members.v[i];

		table_cell(t, "%" PRIx64, m->id);
		table_cell(t, "started");
		table_cell(t, "%.*s", (int)m->name.len, (const char *)m->name.data);
		table_cell(t, "%.*s", (int)m->peer_addr.len, (const char *)m->peer_addr.data);
		table_cell(t, "%.*s", (int)m->client_addr.len, (const char *)m->client_addr.data);
		table_cell(t, "false");
	}
	table_print(ctl->out, t);
	table_free(&t);
}

static int members_show(struct ctl *ctl)
{
	struct native_members_result r;
	struct arena arena;
	int code;

	arena_init(&arena, CLUSTER_ARENA_BYTES);
	code = cluster_members(ctl, &arena, &r);
	if (code == CTL_OK && ctl->format == CTL_TABLE)
		members_table(ctl, &r);
	else if (code == CTL_OK)
		print_of(ctl, &code)->members(ctl, &r);
	arena_free(&arena);
	return code;
}

static int members_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	(void)options;
	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_members, "members takes no words");
	return members_show(ctl);
}

static int member_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	(void)options;
	if (argc != 1 || strcmp(argv[0], "list") != 0)
		return ctl_bad_args(ctl, &ctl_member, "member knows only `list` in this version");
	return members_show(ctl);
}

const struct ctl_command ctl_members = {
	.name = "members", .args = "", .summary = "Lists the nodes of the cluster",
	.more = "A line each: id, status, name, peer address, client address, whether it is a "
		"learner.\n",
	.run = members_run};

const struct ctl_command ctl_member = {
	.name = "member", .args = "list", .summary = "The same as members, as etcdctl spells it",
	.run = member_run};
