/* SPDX-License-Identifier: Apache-2.0 */
/* The language: a word and its arguments a line; tests/script/README.md is its manual. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/script/command.h"

/* The node of that name, or 0 and the script has failed. */
static uint64_t node_named(struct world *w, const char *name)
{
	for (uint64_t id = 1; name != NULL && id <= w->n; id++) {
		if (strcmp(w->node[id].name, name) == 0)
			return id;
	}
	world_fail(w, "there is no node %s", name ? name : "(none given)");
	return 0;
}

uint64_t command_node(struct world *w, const char *name, bool alive)
{
	uint64_t id = node_named(w, name);

	if (id != 0 && (w->node[id].r != NULL) != alive) {
		world_fail(w, "%s is %s", name, alive ? "down" : "up");
		return 0;
	}
	return id;
}

uint64_t command_number(struct world *w, const char *text)
{
	char *end = NULL;
	uint64_t v = text ? strtoull(text, &end, 10) : 0;

	if (text == NULL || end == text || *end != 0)
		world_fail(w, "%s is no number", text ? text : "(nothing)");
	return v;
}

/* ---- before anything runs */

static void cmd_nodes(struct world *w, char **arg, int n)
{
	for (int i = 0; i < n; i++)
		world_add(w, arg[i]);
}

static void cmd_log(struct world *w, char **arg, int n)
{
	uint64_t id = node_named(w, arg[0]);
	struct world_log *log = &w->node[id].disk;

	if (w->running)
		world_fail(w, "too late for a log");
	for (int i = 1; i < n && !w->failure[0]; i++)
		log->terms[++log->last] = command_number(w, arg[i]);
	if (log->term < log->terms[log->last])
		log->term = log->terms[log->last];
}

static void cmd_term(struct world *w, char **arg, int n)
{
	uint64_t id = node_named(w, arg[0]);

	if (w->running || n < 2)
		world_fail(w, "too late for a term, or none given");
	else
		w->node[id].disk.term = command_number(w, arg[1]);
}

/* ---- time */

static void cmd_timeout(struct world *w, char **arg, int n)
{
	uint64_t id[LIMIT_NODES];

	for (int i = 0; i < n && i < (int)LIMIT_NODES; i++) {
		id[i] = command_node(w, arg[i], true);
		if (id[i] == 0)
			return;
		if (mono_before(w->now, raft_deadline(w->node[id[i]].r)))
			w->now = raft_deadline(w->node[id[i]].r);
	}
	for (int i = 0; i < n && i < (int)LIMIT_NODES; i++)
		world_step(w, id[i], (struct raft_event){.type = RAFT_EV_TICK});
}

static void cmd_heartbeat(struct world *w, char **arg, int n)
{
	uint64_t id = command_node(w, arg[0], true);

	if (id != 0 && world_status(w, id).role != RAFT_LEADER)
		world_fail(w, "%s does not lead", arg[0]);
	else
		cmd_timeout(w, arg, n);
}

static void cmd_wait(struct world *w, char **arg, int n)
{
	(void)n;
	world_wait(w, (uint32_t)command_number(w, arg[0]), false);
}

static void cmd_run(struct world *w, char **arg, int n)
{
	(void)n;
	w->terse = true;
	world_settle(w);
	world_wait(w, (uint32_t)command_number(w, arg[0]), true);
	w->terse = false;
}

/* ---- messages */

struct selector {
	uint64_t from, to;               /* 0: any */
	const char *type;                /* NULL: any */
};

static struct selector selector_of(struct world *w, char **arg, int n)
{
	struct selector s = {0};

	for (int i = 0; i < n; i++) {
		char *arrow = strstr(arg[i], "->");

		if (arrow == NULL) {
			s.type = arg[i];
			continue;
		}
		*arrow = 0;
		s.from = strcmp(arg[i], "*") ? node_named(w, arg[i]) : 0;
		s.to = strcmp(arrow + 2, "*") ? node_named(w, arrow + 2) : 0;
	}
	return s;
}

static bool selected(const struct selector *s, const struct world_mail *m)
{
	const char *type = m->snapshot ? "SNAPSHOT" : raft_msg_name(m->m.type);

	return (s->from == 0 || s->from == m->m.from) && (s->to == 0 || s->to == m->m.to) &&
	       (s->type == NULL || strcmp(s->type, type) == 0);
}

enum fate { FATE_ARRIVES, FATE_IS_LOST, FATE_ARRIVES_TWICE };

static void snapshot_lost(struct world *w, const struct world_mail *m)
{
	world_step(w, m->m.from, (struct raft_event){.type = RAFT_EV_SNAPSHOT_DONE,
						     .peer = m->m.to});
}

/* What is on its way now; what it causes is not yet. */
static void mail_meets(struct world *w, char **arg, int n, enum fate fate)
{
	struct selector s = selector_of(w, arg, n);
	size_t at = 0, left = w->n_mail;
	bool any = false;

	for (; left > 0 && !w->failure[0]; left--) {
		if (!selected(&s, &w->mail[at])) {
			at++;
			continue;
		}

		struct world_mail m = fate == FATE_ARRIVES_TWICE ? w->mail[at++] : world_take(w, at);

		any = true;
		if (fate != FATE_IS_LOST)
			world_deliver(w, &m);
		else
			say_mail(w, "lost: ", &m);
		if (fate == FATE_IS_LOST && m.snapshot)
			snapshot_lost(w, &m);
	}
	if (!any)
		world_fail(w, "no such message is on its way");
}

static void cmd_deliver(struct world *w, char **arg, int n)
{
	mail_meets(w, arg, n, FATE_ARRIVES);
}

static void cmd_drop(struct world *w, char **arg, int n)
{
	mail_meets(w, arg, n, FATE_IS_LOST);
}

static void cmd_repeat(struct world *w, char **arg, int n)
{
	mail_meets(w, arg, n, FATE_ARRIVES_TWICE);
}

static void cmd_settle(struct world *w, char **arg, int n)
{
	(void)arg;
	(void)n;
	w->terse = true;
	world_settle(w);
	w->terse = false;
}

static void cmd_pending(struct world *w, char **arg, int n)
{
	struct selector s = selector_of(w, arg, n);

	for (size_t i = 0; i < w->n_mail; i++) {
		if (selected(&s, &w->mail[i]))
			say_mail(w, "", &w->mail[i]);
	}
}

/* From now on, silently: nobody is told that a link is gone. */
static void cmd_cut(struct world *w, char **arg, int n)
{
	struct selector s = selector_of(w, arg, n);

	for (uint64_t a = 1; a <= w->n; a++) {
		for (uint64_t b = 1; b <= w->n; b++)
			w->cut[a][b] |= (s.from == 0 || s.from == a) && (s.to == 0 || s.to == b);
	}
}

static void cmd_isolate(struct world *w, char **arg, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t id = node_named(w, arg[i]);

		for (uint64_t other = 1; other <= w->n; other++)
			w->cut[id][other] = w->cut[other][id] = true;
		world_lose(w, id);
	}
}

static void cmd_heal(struct world *w, char **arg, int n)
{
	(void)arg;
	(void)n;
	memset(w->cut, 0, sizeof w->cut);
}

/* ---- disks and processes */

static void cmd_slow(struct world *w, char **arg, int n)
{
	for (int i = 0; i < n; i++)
		w->node[node_named(w, arg[i])].slow = true;
}

static void cmd_fast(struct world *w, char **arg, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t id = command_node(w, arg[i], true);

		w->node[id].slow = false;
		if (id != 0)
			world_sync(w, id);
	}
}

static void cmd_sync(struct world *w, char **arg, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t id = command_node(w, arg[i], true);

		if (id != 0)
			world_sync(w, id);
	}
}

static void cmd_crash(struct world *w, char **arg, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t id = command_node(w, arg[i], true);

		if (id != 0)
			world_crash(w, id);
	}
}

static void cmd_restart(struct world *w, char **arg, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t id = command_node(w, arg[i], false);

		if (id != 0)
			world_restart(w, id);
	}
}

/* ---- clients and administrators */

static void asked(struct world *w, uint64_t id, int rc)
{
	if (rc != ERR_OK)
		say(w, "%s refuses: %s", w->node[id].name, err_text(rc));
}

static void cmd_propose(struct world *w, char **arg, int n)
{
	uint64_t id = command_node(w, arg[0], true);
	uint64_t count = n > 1 ? command_number(w, arg[1]) : 1;

	if (id != 0)
		asked(w, id, world_step(w, id, (struct raft_event){.type = RAFT_EV_PROPOSE,
								   .n = (uint32_t)count}));
}

static void cmd_read(struct world *w, char **arg, int n)
{
	uint64_t id = command_node(w, arg[0], true), ctx = w->n_reads + 1;

	(void)n;
	if (id == 0 || ctx == WORLD_READS)
		return;
	w->n_reads = ctx;
	w->reads[ctx].state = WORLD_READ_WAITS;
	world_step(w, id, (struct raft_event){.type = RAFT_EV_READ, .ctx = ctx});
	if (w->reads[ctx].state == WORLD_READ_WAITS)
		say(w, "read %" PRIu64 " waits at %s", ctx, w->node[id].name);
}

static void cmd_transfer(struct world *w, char **arg, int n)
{
	struct selector s = selector_of(w, arg, n);

	if (s.from == 0 || w->node[s.from].r == NULL)
		world_fail(w, "transfer FROM->TO");
	else
		asked(w, s.from, world_step(w, s.from,
					    (struct raft_event){.type = RAFT_EV_TRANSFER,
								.peer = s.to}));
}

/* The log is cut: a snapshot has all up to `index`. */
static void cmd_compact(struct world *w, char **arg, int n)
{
	uint64_t id = command_node(w, arg[0], true);
	uint64_t index = command_number(w, n > 1 ? arg[1] : NULL);

	if (w->failure[0] || index > w->node[id].applied) {
		world_fail(w, "%s has not applied that far", arg[0]);
		return;
	}
	w->node[id].mem.base = w->node[id].disk.base = index;
	world_step(w, id, (struct raft_event){.type = RAFT_EV_COMPACTED, .index = index});
}

static void cmd_show(struct world *w, char **arg, int n)
{
	for (int i = 0; i < n; i++)
		say_node(w, &w->node[node_named(w, arg[i])]);
	for (uint64_t id = 1; n == 0 && id <= w->n; id++)
		say_node(w, &w->node[id]);
}

static const struct {
	const char *word;
	void (*run)(struct world *w, char **arg, int n);
	int least;
	bool before;                     /* allowed while the logs can still be given */
} commands[] = {
	{"nodes", cmd_nodes, 1, true},
	{"log", cmd_log, 1, true},
	{"term", cmd_term, 2, true},
	{"slow", cmd_slow, 1, true},
	{"timeout", cmd_timeout, 1, false},
	{"heartbeat", cmd_heartbeat, 1, false},
	{"wait", cmd_wait, 1, false},
	{"run", cmd_run, 1, false},
	{"deliver", cmd_deliver, 0, false},
	{"drop", cmd_drop, 0, false},
	{"repeat", cmd_repeat, 0, false},
	{"settle", cmd_settle, 0, false},
	{"pending", cmd_pending, 0, false},
	{"cut", cmd_cut, 1, false},
	{"isolate", cmd_isolate, 1, false},
	{"heal", cmd_heal, 0, false},
	{"fast", cmd_fast, 1, false},
	{"sync", cmd_sync, 1, false},
	{"crash", cmd_crash, 1, false},
	{"restart", cmd_restart, 1, false},
	{"propose", cmd_propose, 1, false},
	{"read", cmd_read, 1, false},
	{"transfer", cmd_transfer, 1, false},
	{"compact", cmd_compact, 2, false},
	{"show", cmd_show, 0, false},
	{"expect", expect_run, 2, false},
};

enum { WORDS_MAX = 40 };

/* "log a: 1 2" and "log a 1 2" are the same. */
static int split(char *line, char **word)
{
	int n = 0;
	char *rest = NULL;

	for (char *t = strtok_r(line, " ", &rest); t != NULL && n < WORDS_MAX;
	     t = strtok_r(NULL, " ", &rest)) {
		size_t len = strlen(t);

		if (t[len - 1] == ':')
			t[len - 1] = 0;
		word[n++] = t;
	}
	return n;
}

void command_run(struct world *w, const char *line)
{
	char copy[400], *word[WORDS_MAX + 1] = {NULL};
	int n;

	(void)snprintf(copy, sizeof copy, "%s", line);
	n = split(copy, word);
	for (size_t i = 0; n > 0 && i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].word, word[0]) != 0)
			continue;
		if (n - 1 < commands[i].least) {
			world_fail(w, "%s needs more words", word[0]);
			return;
		}
		if (!commands[i].before)
			world_start(w);
		if (!w->failure[0])
			commands[i].run(w, word + 1, n - 1);
		return;
	}
	world_fail(w, "there is no command %s", n > 0 ? word[0] : "(empty)");
}
