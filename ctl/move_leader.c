/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "ctl/cluster.h"
#include "ctl/commands.h"

/* The node that is the leader and says so itself, or NULL. */
static const struct cluster_node *leader_of(const struct cluster_nodes *nodes)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->v[i].reached && nodes->v[i].status.leader == nodes->v[i].member.id)
			return &nodes->v[i];
	return NULL;
}

/* A node by its name or its id in hexadecimal, as etcdctl writes ids. */
static int leader_target(struct ctl *ctl, const struct cluster_nodes *nodes, const char *word,
			 uint64_t *id)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (bytes_eq(nodes->v[i].member.name, bytes_str(word))) {
			*id = nodes->v[i].member.id;
			return CTL_OK;
		}
	if (number_parse_u64(word, 16, id) != ERR_OK || *id == 0)
		return ctl_bad_args(ctl, &ctl_move_leader,
				    "bad member ID \"%s\", expecting ID in Hex or a name", word);
	return CTL_OK;
}

enum { LEADER_LOOK_MS = 20 };

/* Who it has become, when the cluster chose: asked until it is known; 0 if it is not in time. */
static uint64_t leader_next(struct ctl *ctl, const struct cluster_node *old)
{
	mono_t deadline = ctl_deadline(ctl);
	uint64_t next = 0;

	while (next == 0 && mono_before(mono_now(), deadline)) {
		struct native_empty none = {0};
		struct native_status_result status = {0};
		struct arena arena;
		struct client_request r = {.method = "status", .params = &none, .arena = &arena,
					   .result = &status};
		struct client_error e;

		arena_init(&arena, CLUSTER_ARENA_BYTES);
		if (cluster_ask(ctl, old->endpoint, &r, deadline, &e) == ERR_OK &&
		    status.leader != old->member.id)
			next = status.leader;
		arena_free(&arena);
		if (next == 0)
			(void)poll(NULL, 0, LEADER_LOOK_MS);
	}
	return next;
}

static int leader_move(struct ctl *ctl, struct arena *arena, const char *word)
{
	struct cluster_nodes nodes;
	struct native_move_leader params = {0};
	struct client_request r = {.method = "move_leader", .params = &params};
	const struct cluster_node *leader;
	struct client_error e;
	int code = cluster_status(ctl, arena, &nodes);

	if (code == CTL_OK && word != NULL)
		code = leader_target(ctl, &nodes, word, &params.target);
	if (code != CTL_OK)
		return code;
	leader = leader_of(&nodes);
	if (leader == NULL)
		return ctl_fail(ctl, CTL_ERROR, "no leader is known");
	if (cluster_ask(ctl, leader->endpoint, &r, ctl_deadline(ctl), &e) != ERR_OK)
		return ctl_fail_client(ctl, &e);
	fprintf(ctl->out, "Leadership transferred from %" PRIx64 " to %" PRIx64 "\n",
		leader->member.id,
		params.target != 0 ? params.target : leader_next(ctl, leader));
	return CTL_OK;
}

static int leader_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	struct arena arena;
	int code;

	(void)options;
	if (argc > 1)
		return ctl_bad_args(ctl, &ctl_move_leader,
				    "move-leader command takes one argument at most");
	arena_init(&arena, CLUSTER_ARENA_BYTES);
	code = leader_move(ctl, &arena, argc == 1 ? argv[0] : NULL);
	arena_free(&arena);
	return code;
}

const struct ctl_command ctl_move_leader = {
	.name = "move-leader", .args = "[ID|NAME]",
	.summary = "Transfers leadership to another node",
	.more = "Without a target to the follower that is closest behind. The command finds the "
		"leader.\n",
	.run = leader_run};
