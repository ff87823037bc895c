/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store must do, in the simplest way: every version of every key in memory, everything
 * looked through from the beginning. Written from etcd's documented behaviour, not from the store's
 * code. Results are in the arena and point into the model: compare them before the next change.
 */
#ifndef QUORATE_STORE_MODEL_H
#define QUORATE_STORE_MODEL_H

#include "base/arena.h"
#include "proto/kv.h"

struct model_version {
	int64_t mod, create, version, lease;
	uint32_t sub;
	bool deleted;
	struct bytes value;          /* owned */
};

struct model_key {
	struct bytes key;            /* owned */
	struct model_version *v;
	size_t n;
};

struct model_lease {
	int64_t id, ttl, remaining_ms;
	uint64_t granted;
};

struct model {
	struct model_key *keys;      /* sorted */
	size_t n_keys;
	int64_t revision, compact_revision;
	int64_t before;              /* the revision before the command under way */
	uint32_t sub;
	struct model_lease *leases;  /* by id */
	size_t n_leases;
	uint64_t index, term;        /* of the entry that comes next: the caller sets them */
	uint64_t lessor_term, lessor, lessor_seq;
};

void model_init(struct model *m);
void model_free(struct model *m);

/* The result the command must have. */
void model_apply(struct model *m, const struct command *c, struct arena *a, struct command_result *out);
/* Parts of it, in store_model_lease.c and for it. */
struct model_lease *model_find_lease(const struct model *m, int64_t id);
int model_grant(struct model *m, const struct lease_grant *g, struct lease_grant_result *out);
int model_revoke(struct model *m, int64_t id, struct arena *a);
void model_drop(struct model *m, struct bytes key);
/* A lessor's command: there is no result. */
void model_lessor(struct model *m, const struct command *c, struct arena *a);
/* The live keys of a lease, in the order of rows; *n of them, in the arena. */
struct bytes *model_lease_keys(const struct model *m, int64_t id, struct arena *a, size_t *n);
/* An error, or the answer at a revision (<= 0: latest). */
int model_range(const struct model *m, const struct kv_range *r, struct arena *a, struct kv_range_result *out);
/* The live version of a key at a revision, or NULL. */
const struct model_version *model_at(const struct model_key *k, int64_t revision);
uint64_t model_live(const struct model *m);

#endif
