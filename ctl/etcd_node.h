/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node made of etcd's flags. DATA_DIR holds, besides what the daemons put there:
 *
 *   initial-cluster   name, token, members and cluster id of the first start: they stay what they are
 *   quorate.conf      written anew at each start
 *   node.key, cluster.secret, quorate-etcd.lock, run/
 *
 * Nodes know nothing of each other but URLs, so all keys follow from one secret: that of --quorate-secret-file,
 * or one made of the cluster's token, which is no secret at all. From it and its own name each node computes
 * its key, and from the others' names their public keys (ARCHITECTURE, "Static clusters").
 */
#ifndef QUORATE_CTL_ETCD_NODE_H
#define QUORATE_CTL_ETCD_NODE_H

#include "ctl/etcd_flags.h"
#include "ctl/etcd_log.h"
#include "ctl/etcd_urls.h"
#include "rt/config.h"
#include "rt/keyfile.h"

enum { ETCD_PATH = 4096, ETCD_DIR = 3072 };

struct etcd_node {
	const struct etcd_options *o;
	const struct etcd_log *log;
	char *why;                             /* ETCD_WHY bytes: what is wrong */

	char dir[ETCD_DIR];                    /* absolute */
	char run_dir[ETCD_PATH];
	char name[ETCD_NAME];
	struct etcd_cluster cluster, clients;  /* clients: --quorate-client-urls */
	struct etcd_urls listen, advertise;    /* for clients */
	char listen_addr[ETCD_URLS][ETCD_ADDRESS], peer_listen[ETCD_ADDRESS];
	char peer_addr[LIMIT_NODES][ETCD_ADDRESS];
	char client_addr[LIMIT_NODES][ETCD_HOST + 8];   /* "-": not known */

	uint8_t secret[KEY_LEN];
	bool secret_is_token, first;
	uint64_t cluster_id;
	char config_path[ETCD_PATH];
	struct config config;                  /* as the daemons will read it */
	int lock_fd;
};

/*
 * Everything that quorate-etcd needs before it starts the daemons. ERR_OK; ERR_CONFIG: the flags or what is in
 * the directory will not do; ERR_IO: the machine said no; ERR_NOT_FOUND: a name cannot be looked up (yet).
 * n->why says what. etcd_node_close() in any case.
 */
int etcd_node_open(struct etcd_node *n, const struct etcd_options *o, const struct etcd_log *log, char why[ETCD_WHY]);
void etcd_node_close(struct etcd_node *n);

/* The parts, for tests and for etcd_node.c. */
void etcd_keys_secret(const char *token, uint8_t secret[KEY_LEN]);
void etcd_keys_node(const uint8_t secret[KEY_LEN], const char *name, uint8_t key[KEY_LEN]);
uint64_t etcd_keys_cluster_id(const uint8_t secret[KEY_LEN], const struct etcd_cluster *c);
uint64_t etcd_keys_node_id(const uint8_t secret[KEY_LEN], uint64_t cluster_id, const char *name);
/* The configuration in short; etcd_config.c. */
int etcd_config_make(struct etcd_node *n);

#endif
