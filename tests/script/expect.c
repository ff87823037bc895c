/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a script claims. A transcript can be rewritten when words or details change; a claim that
 * does not hold ends the script, whatever the transcript says.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/script/command.h"

/* Exactly these lead, each in a term of its own; or none. */
static void expect_leader(struct world *w, char **arg, int n)
{
	bool want[LIMIT_NODES + 1] = {false};

	for (int i = 0; i < n && strcmp(arg[0], "none") != 0; i++)
		want[command_node(w, arg[i], true)] = true;
	for (uint64_t id = 1; id <= w->n; id++) {
		bool leads = w->node[id].r && world_status(w, id).role == RAFT_LEADER;

		if (leads != want[id])
			world_fail(w, "%s %s", w->node[id].name, leads ? "leads" : "does not lead");
	}
}

/* NODE NUMBER: one field of its status. */
static void number_is(struct world *w, char **arg, int n, const char *what, size_t offset)
{
	uint64_t id = command_node(w, arg[0], true);
	uint64_t want = command_number(w, n > 1 ? arg[1] : NULL), got;
	struct raft_status s;

	if (w->failure[0])
		return;
	s = world_status(w, id);
	memcpy(&got, (const char *)&s + offset, sizeof got);
	if (got != want)
		world_fail(w, "%s's %s is %" PRIu64, arg[0], what, got);
}

static void expect_term(struct world *w, char **arg, int n)
{
	number_is(w, arg, n, "term", offsetof(struct raft_status, term));
}

static void expect_commit(struct world *w, char **arg, int n)
{
	number_is(w, arg, n, "commit index", offsetof(struct raft_status, commit));
}

static void expect_applied(struct world *w, char **arg, int n)
{
	number_is(w, arg, n, "applied index", offsetof(struct raft_status, told_commit));
}

static void expect_role(struct world *w, char **arg, int n)
{
	uint64_t id = command_node(w, arg[0], true);

	if (id != 0 && (n < 2 || strcmp(raft_role_name(world_status(w, id).role), arg[1]) != 0))
		world_fail(w, "%s is a %s", arg[0], raft_role_name(world_status(w, id).role));
}

static void expect_vote(struct world *w, char **arg, int n)
{
	uint64_t id = command_node(w, arg[0], true), vote;
	const char *name;

	if (id == 0)
		return;
	vote = world_status(w, id).vote;
	name = vote ? w->node[vote].name : "nobody";
	if (n < 2 || strcmp(name, arg[1]) != 0)
		world_fail(w, "%s's vote is for %s", arg[0], name);
}

static void expect_log(struct world *w, char **arg, int n)
{
	uint64_t id = command_node(w, arg[0], true);
	const struct world_log *log = &w->node[id].mem;
	bool same = log->last - log->base == (uint64_t)n - 1;

	for (int i = 1; i < n && same; i++)
		same = log->terms[log->base + (uint64_t)i] == command_number(w, arg[i]);
	if (!same)
		world_fail(w, "%s's log is another", arg[0]);
}

static void expect_same(struct world *w, char **arg, int n)
{
	const struct world_log *a, *b = NULL;

	for (int i = 0; i < n; i++) {
		a = &w->node[command_node(w, arg[i], true)].mem;
		if (b != NULL && (a->last != b->last ||
				  memcmp(a->terms + 1, b->terms + 1, a->last * sizeof a->terms[0]) != 0))
			world_fail(w, "the logs of %s and %s differ", arg[i - 1], arg[i]);
		b = a;
	}
}

static void expect_read(struct world *w, char **arg, int n)
{
	static const char *const words[] = {"unknown", "waits", "ok", "failed"};
	uint64_t ctx = command_number(w, arg[0]);

	if (ctx >= WORLD_READS || n < 2 || strcmp(words[w->reads[ctx].state], arg[1]) != 0)
		world_fail(w, "read %s: %s", arg[0],
			   ctx < WORLD_READS ? words[w->reads[ctx].state] : "unknown");
	else if (n > 2 && w->reads[ctx].index != command_number(w, arg[2]))
		world_fail(w, "read %s is to be served at %" PRIu64, arg[0], w->reads[ctx].index);
}

static const struct {
	const char *word;
	void (*run)(struct world *w, char **arg, int n);
} claims[] = {
	{"leader", expect_leader}, {"term", expect_term}, {"commit", expect_commit},
	{"applied", expect_applied}, {"role", expect_role}, {"vote", expect_vote},
	{"log", expect_log}, {"same", expect_same}, {"read", expect_read},
};

void expect_run(struct world *w, char **arg, int n)
{
	for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
		if (strcmp(claims[i].word, arg[0]) == 0) {
			claims[i].run(w, arg + 1, n - 1);
			return;
		}
	}
	world_fail(w, "nobody can claim %s", arg[0]);
}
