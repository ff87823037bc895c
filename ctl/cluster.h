/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to each node of a cluster by itself, for the commands that show or compare nodes. */
#ifndef QUORATE_CTL_CLUSTER_H
#define QUORATE_CTL_CLUSTER_H

#include "ctl/ctl.h"

/* The members as any endpoint knows them. An exit code; the error is printed. */
int cluster_members(struct ctl *ctl, struct arena *arena, struct native_members_result *out);

/* One call to one address and no other; until `deadline`. Returns e->code; nothing is printed. */
int cluster_ask(struct ctl *ctl, const char *endpoint, const struct client_request *r,
		mono_t deadline,
		struct client_error *e);

struct cluster_node {
	struct native_member member;
	char endpoint[CLIENT_ENDPOINT_TEXT];     /* its client address */
	bool reached;
	struct native_status_result status;      /* if reached */
	char why[LIMIT_CLIENT_ERROR_BYTES];      /* if not */
};

struct cluster_nodes {
	struct cluster_node v[LIMIT_NODES];
	size_t n;
};

/* All members and the status of those that answer. An exit code; the error is printed. */
int cluster_status(struct ctl *ctl, struct arena *arena, struct cluster_nodes *out);

/* Two nodes that have applied the same commands and hold different data, or false. */
bool cluster_diverged(const struct cluster_nodes *nodes, size_t *a, size_t *b);

/* Of a header that may be missing: then 0. */
int64_t cluster_revision(const struct kv_header *h);
uint64_t cluster_term(const struct kv_header *h);

/* Room for members, status or hashes of every node. */
#define CLUSTER_ARENA_BYTES (8u * MIB)

#endif
