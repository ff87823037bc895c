/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/cluster.h"

#include <string.h>

int cluster_members(struct ctl *ctl, struct arena *arena, struct native_members_result *out)
{
	struct native_empty none = {0};
	struct client_request r = {.method = "members", .params = &none, .arena = arena,
				   .result = out};

	return ctl_call(ctl, &r);
}

int cluster_ask(struct ctl *ctl, const char *endpoint, const struct client_request *r,
		mono_t deadline,
		struct client_error *e)
{
	struct client_options o = {.endpoints = endpoint,
				   .dial_timeout_ms = (unsigned)(ctl->globals.dial_timeout_ms > 0 ?
								 ctl->globals.dial_timeout_ms : 1)};
	struct client *c;
	int rc = client_open(&o, &c, e);

	if (rc != ERR_OK)
		return rc;
	rc = client_call(c, r, deadline, e);
	client_close(&c);
	return rc;
}

static void cluster_ask_status(struct ctl *ctl, struct arena *arena, struct cluster_node *node)
{
	struct native_empty none = {0};
	struct client_request r = {.method = "status", .params = &none, .arena = arena,
				   .result = &node->status};
	struct client_error e;

	if (node->endpoint[0] == 0) {
		(void)snprintf(node->why, sizeof node->why, "its client address is not known");
		return;
	}
	node->reached = cluster_ask(ctl, node->endpoint, &r, ctl_deadline(ctl), &e) == ERR_OK;
	if (!node->reached)
		(void)snprintf(node->why, sizeof node->why, "%s", e.text);
}

int cluster_status(struct ctl *ctl, struct arena *arena, struct cluster_nodes *out)
{
	struct native_members_result members;
	int code = cluster_members(ctl, arena, &members);

	out->n = 0;
	if (code != CTL_OK)
		return code;
	for (size_t i = 0; i < members.members.n; i++) {
		struct cluster_node *node = &out->v[out->n++];

		*node = (struct cluster_node){.member = members.members.v[i]};
		(void)snprintf(node->endpoint, sizeof node->endpoint, "%.*s",
			       (int)node->member.client_addr.len,
			       (const char *)node->member.client_addr.data);
		cluster_ask_status(ctl, arena, node);
	}
	return CTL_OK;
}

bool cluster_diverged(const struct cluster_nodes *nodes, size_t *a, size_t *b)
{
	for (*a = 0; *a < nodes->n; ++*a)
		for (*b = *a + 1; *b < nodes->n; ++*b) {
			const struct cluster_node *x = &nodes->v[*a], *y = &nodes->v[*b];

			if (x->reached && y->reached && x->status.applied == y->status.applied &&
			    x->status.apply_hash.len > 0 && y->status.apply_hash.len > 0 &&
			    !bytes_eq(x->status.apply_hash, y->status.apply_hash))
				return true;
		}
	return false;
}

int64_t cluster_revision(const struct kv_header *h)
{
	return h != NULL ? h->revision : 0;
}

uint64_t cluster_term(const struct kv_header *h)
{
	return h != NULL ? h->raft_term : 0;
}
