/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster on this machine, in the foreground: starts the daemons, starts again those that die,
 * stops them in order.
 */
#include <stdlib.h>

#include "ctl/cluster.h"
#include "ctl/commands.h"
#include "ctl/show.h"
#include "ctl/supervise.h"
#include "ctl/up_cluster.h"

static const struct flag up_flags[] = {
	FLAG(struct up_wish, STR, dir, "dir", 0, "quorate.data", "DIR",
	     "where the nodes live; made if missing"),
	FLAG(struct up_wish, I64, nodes, "nodes", 0, "0", "N",
	     "how many nodes (default 1, or as many as there are)"),
	FLAG(struct up_wish, I64, base_port, "base-port", 0, "0", "PORT",
	     "client port of node 0 (default 2379); node i has PORT+10i, its peers PORT+10i+1"),
	FLAG(struct up_wish, STR, bin_dir, "bin-dir", 0, NULL, "DIR",
	     "where the daemons are"),
	FLAG(struct up_wish, BOOL, verbose, "verbose", 'v', NULL, "",
	     "show every log line, not only warnings"),
	FLAG_END
};

enum { UP_ASK_MS = 250 };             /* of one look for a leader */

struct up {
	struct ctl *ctl;
	struct up_cluster cluster;
	size_t look_node;
};

static void up_say(void *arg, const char *text)
{
	const struct up *u = arg;

	struct buf line;

	buf_init(&line, 0);
	buf_printf(&line, "quorate up: %s\n", text);
	show_text(u->ctl->err, buf_bytes(&line));
	buf_free(&line);
}

static bool up_has_leader(void *arg)
{
	struct up *u = arg;
	const struct config *c = &u->cluster.nodes[u->look_node].config;
	struct native_empty none = {0};
	struct native_status_result status = {0};
	struct arena arena;
	struct client_request r = {.method = "status", .params = &none, .arena = &arena,
				   .result = &status};
	struct client_error e;
	bool led;

	u->look_node = (u->look_node + 1) % u->cluster.n;
	arena_init(&arena, CLUSTER_ARENA_BYTES);
	led = cluster_ask(u->ctl, config_self(c)->client_addr, &r, mono_add_ms(mono_now(),
		UP_ASK_MS), &e) ==
	      ERR_OK && status.leader != 0;
	arena_free(&arena);
	return led;
}

static void up_print_ready(void *arg)
{
	const struct up *u = arg;
	struct buf text;

	buf_init(&text, 0);
	buf_printf(&text, "%u node%s up in %s; endpoints:\n\n  export QUORATE_ENDPOINTS=", (unsigned)u->cluster.n,
		   u->cluster.n == 1 ? " is" : "s are", u->cluster.dir);
	for (size_t i = 0; i < u->cluster.n; i++)
		buf_printf(&text, "%s%s", i ? "," : "", config_self(&u->cluster.nodes[i].config)->client_addr);
	buf_printf(&text, "\n\nTry, in another terminal:\n\n"
		   "  quorate put greeting hello\n"
		   "  quorate get greeting\n"
		   "  quorate status\n"
		   "  quorate bench\n"
		   "  quorate admin --dir %s --node 0 raftd status\n\n^C stops it; the same command "
		   "goes on with it.\n",
		   u->cluster.dir);
	show_text(u->ctl->out, buf_bytes(&text));
	buf_free(&text);
}

static int up_supervise(struct up *u)
{
	struct supervisor s = {.children = u->cluster.children, .n_children = u->cluster.n_children,
			       .say = up_say, .is_up = up_has_leader, .up = up_print_ready, .arg = u};

	return supervise(&s);
}

static int up_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct up_wish *w = options;
	struct up *u;
	int code;

	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_up, "up takes flags only");
	if (w->nodes < 0 || w->base_port < 0)
		return ctl_bad_args(ctl, &ctl_up, "a number is out of its range");
	u = calloc(1, sizeof *u);
	if (u == NULL)
		return ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	u->ctl = ctl;
	code = up_cluster_open(ctl, w, &u->cluster);
	if (code == CTL_OK)
		code = up_supervise(u);
	up_cluster_close(&u->cluster);
	free(u);
	return code;
}

const struct ctl_command ctl_up = {
	.name = "up", .args = "", .summary = "Runs a whole cluster on this machine, in the "
					     "foreground",
	.more = "Makes DIR on the first run and goes on with it on the next. A daemon that dies "
		"is\n"
		"started again. Log lines are in DIR/node<i>/log/; warnings and errors are shown "
		"here\n"
		"too, unless nobody reads them: then they are only there.\n",
	.flags = up_flags, .options_size = sizeof(struct up_wish), .run = up_run};
