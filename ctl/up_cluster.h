/* SPDX-License-Identifier: Apache-2.0 */
/* What `quorate up` runs: the nodes as their configurations describe them, and their daemons. */
#ifndef QUORATE_CTL_UP_CLUSTER_H
#define QUORATE_CTL_UP_CLUSTER_H

#include "ctl/plan.h"
#include "ctl/up_child.h"

enum { UP_DAEMONS = 5, UP_GATEWAYS = 16,
       UP_CHILDREN = LIMIT_NODES * (UP_DAEMONS - 1 + UP_GATEWAYS) };

struct up_node {
	char config_path[PLAN_PATH + 64];
	struct config config;
};

struct up_cluster {
	char dir[PLAN_PATH];
	struct up_node nodes[LIMIT_NODES];
	size_t n;
	char programs[UP_DAEMONS][4096];
	struct up_child *children;           /* by node, then raftd, stored, leased, watchd, gatewayds */
	size_t n_children;
	int lock_fd;
};

struct up_wish {
	const char *dir, *bin_dir;
	int64_t nodes, base_port;            /* 0: as it is, or the default */
	bool verbose;
};

/*
 * Makes the nodes if there are none, reads their configurations, finds the programs, and takes
 * DIR/up.lock. An exit code; the error is printed. up_cluster_close() in any case.
 */
int up_cluster_open(struct ctl *ctl, const struct up_wish *w, struct up_cluster *u);
void up_cluster_close(struct up_cluster *u);

#endif
