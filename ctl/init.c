/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ctl/commands.h"
#include "ctl/plan.h"

struct init_options {
	const char *dir, *hosts, *name, *key;
	int64_t nodes, base_port;
};

static const struct flag init_flags[] = {
	FLAG(struct init_options, STR, dir, "dir", 0, NULL, "DIR",
	     "where to make node0/, node1/..."),
	FLAG(struct init_options, I64, nodes, "nodes", 0, "1", "N", "how many nodes"),
	FLAG(struct init_options, I64, base_port, "base-port", 0, "2379", "PORT",
	     "client port of node 0; the peer port is the next; nodes on one host are 10 apart"),
	FLAG(struct init_options, STR, hosts, "hosts", 0, NULL, "LIST",
	     "numeric address of each node (default 127.0.0.1 for all)"),
	FLAG(struct init_options, STR, name, "name", 0, NULL, "LIST",
	     "name of each node (default node0, node1...)"),
	FLAG(struct init_options, STR, key, "key", 0, NULL, "FILE",
	     "only make a secret key in FILE and print its public key"),
	FLAG_END
};

static int init_key(struct ctl *ctl, const char *path)
{
	uint8_t key[KEY_LEN], public_key[KEY_LEN];
	char hex[KEY_HEX_LEN + 1];
	const char *why;
	int rc;

	key_generate(key);
	key_public(key, public_key);
	rc = keyfile_save(path, key, KEYFILE_NEW, &why);
	key_wipe(key);
	if (rc != ERR_OK)
		return ctl_fail(ctl, CTL_ERROR, "%s: %s", path, why);
	key_to_hex(public_key, hex);
	fprintf(ctl->out, "%s\n", hex);
	return CTL_OK;
}

static void init_print(struct ctl *ctl, const struct plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		fprintf(ctl->out, "%s: %s/node%u, clients %s port %u, peers port %u\n",
			p->nodes[i].name, p->dir,
			(unsigned)i, p->nodes[i].host, p->nodes[i].client_port,
			p->nodes[i].peer_port);
	fprintf(ctl->out, "\n`quorate up --dir %s` runs %s here;\n"
		"raftd, stored, leased and gatewayd take `-c %s/node0/quorate.conf`.\n", p->dir,
		p->n == 1 ? "it" : "all of them", p->dir);
}

static int init_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct init_options *o = options;
	struct plan plan;
	int code;

	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_init, "init takes flags only");
	if (o->key != NULL && o->dir != NULL)
		return ctl_bad_args(ctl, &ctl_init, "--key and --dir exclude each other");
	if (o->key != NULL)
		return init_key(ctl, o->key);
	if (o->dir == NULL)
		return ctl_bad_args(ctl, &ctl_init, "init needs --dir");
	code = plan_make(ctl, o->dir, o->nodes, o->base_port, o->hosts, o->name, &plan);
	if (code == CTL_OK)
		code = plan_build(ctl, &plan);
	if (code == CTL_OK)
		init_print(ctl, &plan);
	plan_wipe(&plan);
	return code;
}

const struct ctl_command ctl_init = {
	.name = "init", .args = "", .summary = "Makes the directories, keys and configuration of "
					       "nodes",
	.more = "Each node gets DIR/node<i> with quorate.conf, its secret key, the cluster's "
		"shared\n"
		"secret, and directories for data, sockets and logs. What is there already is "
		"never\n"
		"touched.\n",
	.flags = init_flags, .options_size = sizeof(struct init_options), .run = init_run};
