/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories of a cluster's nodes as `quorate init` makes them and `quorate up` finds them:
 *
 *   DIR/node<i>/quorate.conf     the configuration, commented
 *   DIR/node<i>/node.key         the node's secret key, mode 0600
 *   DIR/node<i>/cluster.secret   what all nodes share, mode 0600
 *   DIR/node<i>/data/  run/  log/    mode 0700
 *
 * They are made under another name and renamed, node0 last: a cluster that is there is whole.
 */
#ifndef QUORATE_CTL_PLAN_H
#define QUORATE_CTL_PLAN_H

#include "ctl/ctl.h"
#include "rt/config.h"
#include "rt/keyfile.h"

enum { PLAN_PORT = 2379, PLAN_PORT_STEP = 10, PLAN_NAME = 64, PLAN_HOST = 64, PLAN_PATH = 3072 };

struct plan_node {
	char name[PLAN_NAME], host[PLAN_HOST];
	unsigned client_port, peer_port;
	uint8_t key[KEY_LEN], public_key[KEY_LEN];
};

struct plan {
	char dir[PLAN_PATH];              /* absolute */
	struct plan_node nodes[LIMIT_NODES];
	size_t n;
	uint64_t cluster_id;
	uint8_t secret[KEY_LEN];
};

/*
 * Names and addresses of n nodes: `hosts` and `names` are lists with commas, or NULL for 127.0.0.1
 * and node0, node1... Nodes on the same host get ports PLAN_PORT_STEP apart. An exit code; the
 * error is printed.
 */
int plan_make(struct ctl *ctl, const char *dir, int64_t n, int64_t base_port, const char *hosts,
	      const char *names, struct plan *p);
/* Makes keys, directories and files; refuses if any node is there. An exit code. */
int plan_build(struct ctl *ctl, struct plan *p);
void plan_wipe(struct plan *p);

/* How many nodes DIR has: node0, node1... without a gap. */
size_t plan_count(const char *dir);

#endif
