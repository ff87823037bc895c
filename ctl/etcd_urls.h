/* SPDX-License-Identifier: Apache-2.0 */
/* URLs as etcd's flags have them, and `name=URL,name=URL`. */
#ifndef QUORATE_CTL_ETCD_URLS_H
#define QUORATE_CTL_ETCD_URLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/limits.h"
#include "ctl/etcd_flags.h"

enum { ETCD_HOST = 256, ETCD_ADDRESS = 72, ETCD_URLS = 16, ETCD_NAME = 64 };

struct etcd_url {
	char host[ETCD_HOST];        /* without brackets */
	unsigned port;
};

struct etcd_urls {
	struct etcd_url v[ETCD_URLS];
	size_t n;
};

/* "http://HOST:PORT,..."; ERR_OK or ERR_CONFIG with a sentence that names the flag. */
int etcd_urls_parse(const char *flag, const char *text, struct etcd_urls *out, char why[ETCD_WHY]);

struct etcd_cluster {
	struct etcd_peer {
		char name[ETCD_NAME];
		struct etcd_urls urls;
	} v[LIMIT_NODES];            /* by name, ascending: the same on every node */
	size_t n;
};

/* "a=http://...,b=http://...,a=http://..." */
int etcd_cluster_parse(const char *flag, const char *text, struct etcd_cluster *out, char why[ETCD_WHY]);
const struct etcd_peer *etcd_cluster_find(const struct etcd_cluster *c, const char *name);   /* or NULL */

/* "1.2.3.4:2379", "[::1]:2379": the host is looked up if it is a name. ERR_OK or ERR_NOT_FOUND. */
int etcd_url_resolve(const struct etcd_url *u, char to[ETCD_ADDRESS]);
/* "host:port" as given */
void etcd_url_text(const struct etcd_url *u, char *to, size_t size);

#endif
